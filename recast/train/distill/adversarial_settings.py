"""What adversarial distillations have in common, as data: the student's course, what is real, whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from recast.errors import ConfigError
from recast.train.distill.gate import Blind
from recast.train.distill.scales import Scales
from recast.train.distill.student import SAMPLERS, Law, SamplerName
from recast.train.distill.teacher import ALWAYS


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings(Scales):
    """What `adversarial.AdversarialStage` reads. Shares of examples are drawn, shares of the run run from 0 to 1.

    guidance, edit_guidance: that what counts as real was made with; fed to guidance embeddings.
    """

    law: Law = field(default_factory=Law)
    sampler: SamplerName = "euler"  # the student's own walk, in training and in use
    shifts_schedule: bool = True  # by resolution: the student's grid and the noise levels
    accepts_unguided: bool = False  # either scale may be 1
    teacher_steps: int = 25  # of the teacher's walk, where pictures come instead of pairs
    interval: tuple[float, float] = ALWAYS  # of times at which that walk is guided, where it is by two evaluations
    rescale: float = 0.0  # share by which its spread is taken back (`teacher.rescaled`)
    pictures: float = 0.0  # share of what counts as real that is pictures themselves; the rest the teacher has made
    paired_noise: bool = True  # the student begins with the noise of the teacher's walk, as Euler keeps it
    on_policy: float = 0.5  # share of states that the student itself came to; the others are real ones, noised
    adversarial: float = 1.0  # weight in the student's loss
    regression: float = 0.0  # weight of its distance (L1) to the teacher's picture of the same noise
    outside: float = 0.0  # weight of its distance (L1) to the source, outside an edit's mask, where it is known
    r1: float = 0.0  # weight of the penalty on gradients with respect to the heads' inputs; 1e-5 is usual
    mispaired: float = 0.0  # weight of real pictures under another example's words, as fakes
    discriminator_steps: int = 2  # for each of the student's
    generator_from: float = 0.1  # share of the run in which the discriminator is trained alone
    accuracy_needed: float = 0.55  # of the discriminator, at the end of that
    blind: Blind = "stop"  # if it has less; skip leaves the student as it is

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ConfigError(f"sampler={self.sampler!r}: {' or '.join(SAMPLERS)} accepted; choose one")
        if self.blind not in ("stop", "skip"):
            raise ConfigError(f"blind={self.blind!r}: stop or skip accepted; choose one")
        self._require_shares("pictures", "on_policy", "generator_from", "accuracy_needed", "rescale")
        low, high = self.interval
        if not 0 <= low <= high <= 1:
            raise ConfigError(f"interval={self.interval}: two times with 0 <= first <= second <= 1 accepted")
        self._require_weights("adversarial", "regression", "outside", "r1", "mispaired")
        if not (isinstance(self.discriminator_steps, int) and self.discriminator_steps >= 1):
            raise ConfigError(f"discriminator_steps={self.discriminator_steps!r}: a whole number from 1 accepted")
        if not self.teacher_steps > self.law.steps:
            raise ConfigError(
                f"teacher_steps={self.teacher_steps}: more than the {self.law.steps} of the student needed; 25 is usual"
            )
        self.check_scales()
        for name in ("guidance", "edit_guidance"):
            if getattr(self, name) == 1 and not self.accepts_unguided:
                raise ConfigError(
                    f"{name}={getattr(self, name)}: a scale above 1 accepted: pictures made without guidance teach a "
                    "student that then has none; pass that of the teacher, 2.5 to 3.5 is usual, or 1 with "
                    "accepts_unguided=true"
                )
        self._require_states()
        if self.regression and not self.paired_noise:
            raise ConfigError(
                f"regression={self.regression}: for paired_noise=true alone: another noise leads to another picture; "
                "set regression=0, or pair the noise"
            )

    def _require_states(self) -> None:
        """Raises ConfigError where real pictures, noised, are not what the student's own walk would come to."""
        if self.sampler == "renoise" and self.paired_noise:
            raise ConfigError(
                "paired_noise=true: false accepted with sampler='renoise', whose walk draws new noise at every step: "
                "states under the teacher's own would show what none shows in use; set paired_noise=false, and "
                "regression=0"
            )
        if self.sampler == "euler" and not (self.paired_noise or self.on_policy):
            raise ConfigError(
                f"on_policy={self.on_policy}: above 0 accepted with sampler='euler' and paired_noise=false: pictures "
                "under noise that did not lead to them are states of re-noising; set on_policy=1, paired_noise=true, "
                "or sampler=renoise"
            )

    def _require_shares(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 to 1 accepted")

    def _require_weights(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a number from 0 accepted")


S = TypeVar("S", bound=AdversarialSettings)


def walked_by(settings: S, sampler: SamplerName) -> S:
    """The settings of a student of this sampler, with those that belong to it.

    By re-noising, what a step sees does not follow from the noise that the walk began with: no noise is paired, and no
    picture of the teacher is what a student's is drawn to.
    """
    if sampler == "renoise":
        return replace(settings, sampler=sampler, paired_noise=False, regression=0.0)
    return replace(settings, sampler=sampler)
