"""What a latent adversarial distillation does, as data; how is said in `ladd`."""

from __future__ import annotations

from dataclasses import dataclass, field

from recast.errors import ConfigError
from recast.train.distill.adversarial_settings import AdversarialSettings
from recast.train.distill.heads import HeadSettings
from recast.train.times import TimeLaw


@dataclass(frozen=True, kw_only=True)
class LaddSettings(AdversarialSettings):
    """What a latent adversarial distillation does, beside what all adversarial ones do."""

    renoise_mean: float = -0.5  # of the logit of noise levels: higher looks at structure, lower at texture
    renoise_std: float = 1.0
    renoise_uniform: float = 0.0  # share of noise levels that are even over [0, 1]
    heads: HeadSettings = field(default_factory=HeadSettings)
    mispaired: float = 0.5
    copies: float = 0.5  # weight of edits that copy a context, as fakes; not of those that find nothing to change
    approximate_r1: float = 0.1  # weight of the penalty on logits that move when what is seen is disturbed
    approximate_r1_noise: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_shares("renoise_uniform")
        self._require_weights("copies", "approximate_r1")
        for name in ("renoise_std", "approximate_r1_noise"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a number above 0 accepted")

    def levels(self, mu: float) -> TimeLaw:
        """How often each noise level is looked at, mu the shift by resolution."""
        return TimeLaw(
            kind="logit_normal", mu=self.renoise_mean + mu, sigma=self.renoise_std, uniform_share=self.renoise_uniform
        )
