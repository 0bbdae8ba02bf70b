"""Named distillations: functions returning a frozen config. A variant is `replace`, or `recast distill --set`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal, get_args

from recast.config import nano
from recast.errors import ConfigError
from recast.train.adapters import LoRA
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.consistency import ConsistencySettings
from recast.train.distill.direct import DirectSettings
from recast.train.distill.guidance import GuidanceSettings
from recast.train.distill.heads import HeadSettings
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pair_writing import PairSettings
from recast.train.presets import TINY_DATA, Data, nano_flow
from recast.train.settings import Optimiser, Parallel, Run
from recast.train.times import TimeLaw
from recast.train.uses import FlowTraining

What = Literal["pairs", "guidance", "direct", "consistency", "ladd", "add"]
WHATS: tuple[What, ...] = get_args(What)
"""Pairs are a teacher's pictures with their noise; the others are ways to a student."""
FROM_PAIRS: Mapping[What, bool] = {"direct": True, "consistency": False, "ladd": False, "add": False}
"""What reads pairs, and whether it must: the others may take pictures instead."""
StageSettings = PairSettings | GuidanceSettings | DirectSettings | ConsistencySettings | LaddSettings | AddSettings


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A whole run: from which teacher, in what way, on what, and for how long."""

    what: What
    teacher: str  # a preset of `recast.config`: whose sizes a plan counts with until weights are there
    model: str | None  # where its weights are, as `recast.load` takes it; None: nowhere by themselves
    settings: StageSettings
    training: FlowTraining  # what examples are used for
    optimiser: Optimiser
    critic: Optimiser | None = None  # of a discriminator
    lora: LoRA | None = None  # of the student, if adapters are what is trained; None trains all of it
    data: Data = field(default_factory=Data)
    run: Run
    parallel: Parallel = field(default_factory=Parallel)

    def __post_init__(self) -> None:
        if self.what in ("ladd", "add") and self.critic is None:
            raise ConfigError(f"critic=None: {self.what} has a discriminator, which needs an optimiser; give one")
        if self.training.text_dropout and self.what != "guidance":
            raise ConfigError(
                f"training.text_dropout={self.training.text_dropout}: 0 accepted: without its prompt a picture of the "
                "teacher shows nothing of it"
            )


# nano: minutes on one large GPU.

NANO_GUIDANCE, NANO_EDIT_GUIDANCE = nano().defaults.generate_true_guidance, nano().defaults.edit_true_guidance
"""Of the pictures that few-step students of `nano` learn from: what it is asked for by default."""


def nano_pairs() -> Distillation:
    """Walks of `nano` in 24 steps of second order, with the states that four steps pass through: 30,000."""
    return Distillation(
        what="pairs",
        teacher="nano",
        model="nano",
        settings=PairSettings(
            count=30_000,
            steps=24,
            sampler="ab2",
            states=4,
            guidance=NANO_GUIDANCE,
            edit_guidance=NANO_EDIT_GUIDANCE,
            batches_per_shard=4,
        ),
        training=FlowTraining(text_dropout=0, times=TimeLaw(mu=0.4, uniform_share=0.1)),
        optimiser=Optimiser(),
        data=replace(nano_flow().data, batch_size=128),
        run=Run(minutes=24 * 60, precision="bf16", compile=True),
    )  # fmt: skip


def nano_guidance() -> Distillation:
    """`nano-dev`: guidance in one evaluation, by adapters and the embedding of the scale."""
    start = nano_pairs()
    return replace(
        start,
        what="guidance",
        settings=GuidanceSettings(),
        training=replace(start.training, text_dropout=0.05),
        optimiser=Optimiser(lr=5e-4, warmup_steps=100),
        lora=LoRA(rank=16),
        run=_judged(start.run, minutes=6),
    )


def nano_direct() -> Distillation:
    """A student of four steps by regression from state to state: where `nano-turbo` begins."""
    start = nano_pairs()
    return replace(
        start,
        what="direct",
        settings=DirectSettings(towards="states"),
        optimiser=Optimiser(lr=2e-4, warmup_steps=100),
        run=_judged(start.run, minutes=8),
    )


def nano_consistency() -> Distillation:
    """A student of four steps by consistency in four phases."""
    return replace(
        nano_direct(),
        what="consistency",
        settings=ConsistencySettings(guidance=NANO_GUIDANCE, edit_guidance=NANO_EDIT_GUIDANCE),
    )


def nano_ladd() -> Distillation:
    """`nano-turbo`: adversarial, on its own four Euler steps, with a little of the regression kept."""
    start = nano_direct()
    return replace(
        start,
        what="ladd",
        settings=LaddSettings(
            on_policy=1.0,
            regression=0.1,
            r1=1e-5,
            guidance=NANO_GUIDANCE,
            edit_guidance=NANO_EDIT_GUIDANCE,
            accepts_unguided=True,  # edits by nano are not guided by default
        ),
        optimiser=Optimiser(lr=1e-5, betas=(0.5, 0.95), warmup_steps=100, schedule="cosine"),
        critic=Optimiser(lr=1e-3, betas=(0.5, 0.95), weight_decay=0, warmup_steps=100),
        run=_judged(start.run, minutes=10),
    )


def nano_add() -> Distillation:
    """The predecessor in pixels, for comparison."""
    return replace(
        nano_ladd(),
        what="add",
        settings=AddSettings(guidance=NANO_GUIDANCE, edit_guidance=NANO_EDIT_GUIDANCE, accepts_unguided=True),
    )


# kontext_dev: 11.9 B parameters, from local weights. Its guidance is distilled already.


def kontext_dev_pairs() -> Distillation:
    """Pictures of FLUX.1 Kontext [dev], told the guidance it is made for."""
    return Distillation(
        what="pairs",
        teacher="kontext_dev",
        model=None,
        settings=PairSettings(count=20_000, steps=28, guidance=2.5, batches_per_shard=4, dtype="bf16"),
        training=FlowTraining(edit=1, text_to_image=0, keep=0, text_dropout=0),
        optimiser=Optimiser(),
        data=Data(sizes=((1024, 1024),), batch_size=8, workers=8, held_out=8, shown=2),
        run=Run(minutes=7 * 24 * 60, precision="bf16"),
    )


def kontext_dev_direct() -> Distillation:
    """Four steps for Kontext by regression."""
    start = kontext_dev_pairs()
    return replace(
        start,
        what="direct",
        settings=DirectSettings(),
        optimiser=Optimiser(lr=1e-5, warmup_steps=500),
        run=_judged(start.run, steps=3000, accumulate=8, checkpointing="full"),
    )


def kontext_dev_consistency() -> Distillation:
    """Four steps for Kontext by consistency in four phases, without pairs."""
    return replace(kontext_dev_direct(), what="consistency", settings=ConsistencySettings(guidance=2.5))


def kontext_dev_ladd() -> Distillation:
    """Four steps for Kontext, adversarial: heads on eight of its 57 blocks, noise levels that show structure."""
    start = kontext_dev_direct()
    heads = HeadSettings(taps=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), width=512)
    return replace(
        start,
        what="ladd",
        settings=LaddSettings(guidance=2.5, heads=heads, renoise_mean=0.0, regression=0.1, r1=1e-5),
        optimiser=Optimiser(lr=2e-6, betas=(0.5, 0.95), warmup_steps=200),
        critic=Optimiser(lr=1e-5, betas=(0.5, 0.95), weight_decay=0, warmup_steps=200),
        run=replace(start.run, steps=10_000),
    )


def kontext_dev_add() -> Distillation:
    """The predecessor in pixels, for comparison."""
    return replace(kontext_dev_ladd(), what="add", settings=AddSettings(guidance=2.5))


# tiny: every stage on 64 x 64 pixels, in seconds on a CPU.

_FEW = Data(**{**vars(TINY_DATA), "batch_size": 4, "held_out": 4, "shown": 2})


def tiny_pairs() -> Distillation:
    """A few pictures of whatever model is at hand, at 64 x 64."""
    return Distillation(
        what="pairs",
        teacher="tiny",
        model=None,
        settings=PairSettings(count=16, steps=8, guidance=2.5, batches_per_shard=2),
        training=FlowTraining(text_dropout=0),
        optimiser=Optimiser(),
        data=_FEW,
        run=Run(minutes=10),
    )


def tiny_guidance() -> Distillation:
    """Guidance in one evaluation, at 64 x 64."""
    start = tiny_pairs()
    return replace(
        start,
        what="guidance",
        settings=GuidanceSettings(walk_steps=2),
        data=replace(start.data, held_out=1, shown=0),  # judged at five scales
        optimiser=Optimiser(lr=5e-4, warmup_steps=2),
        lora=LoRA(rank=4, alpha=4.0),
        run=_brief(steps=12),
    )


def tiny_direct() -> Distillation:
    """Four steps by regression, at 64 x 64."""
    start = tiny_pairs()
    return replace(
        start,
        what="direct",
        settings=DirectSettings(),
        optimiser=Optimiser(lr=2e-4, warmup_steps=2),
        run=_brief(steps=12),
    )


def tiny_consistency() -> Distillation:
    """Four steps by consistency, at 64 x 64."""
    return replace(tiny_direct(), what="consistency", settings=ConsistencySettings(guidance=2.5, teacher_steps=2))


def tiny_ladd() -> Distillation:
    """Four steps, adversarial, at 64 x 64; the student moves whatever the discriminator sees."""
    heads = HeadSettings(taps=(0.4, 0.8), width=32, groups=8)
    settings = LaddSettings(guidance=2.5, heads=heads, teacher_steps=8, generator_from=0.3, accuracy_needed=0.0)
    return replace(
        tiny_direct(),
        what="ladd",
        settings=settings,
        optimiser=Optimiser(lr=1e-5, betas=(0.5, 0.95), warmup_steps=2),
        critic=Optimiser(lr=1e-3, betas=(0.5, 0.95), weight_decay=0, warmup_steps=2),
    )


def tiny_add() -> Distillation:
    """The predecessor in pixels, at 64 x 64."""
    settings = AddSettings(guidance=2.5, teacher_steps=8, generator_from=0.3, accuracy_needed=0.0)
    return replace(tiny_ladd(), what="add", settings=settings)


def _judged(run: Run, **changes: object) -> Run:
    """A run of an optimiser, judged and saved now and then."""
    told: dict[str, object] = {"minutes": None, "steps": None, "save_every_steps": 500, "validate_every_steps": 500}
    return replace(run, **{**told, **changes})  # type: ignore[arg-type]


def _brief(steps: int) -> Run:
    return Run(steps=steps, sample_every_steps=0, validate_every_steps=1000, save_every_steps=1000)


PRESETS: Mapping[str, Callable[[], Distillation]] = {
    "-".join(made.__name__.rsplit("_", 1)): made
    for made in (
        nano_pairs, nano_guidance, nano_direct, nano_consistency, nano_ladd, nano_add,
        kontext_dev_pairs, kontext_dev_direct, kontext_dev_consistency, kontext_dev_ladd, kontext_dev_add,
        tiny_pairs, tiny_guidance, tiny_direct, tiny_consistency, tiny_ladd, tiny_add,
    )
}  # fmt: skip


def preset(what: What, name: str) -> Distillation:
    """The preset for `what` of a name: "nano", or in full "nano-ladd".

    Raises ConfigError for a name that is none, or that of another `what`.
    """
    for full in (f"{name}-{what}", name):
        if full in PRESETS and full.endswith(f"-{what}"):
            return PRESETS[full]()
    fitting = [each for each in PRESETS if each.endswith(f"-{what}")]
    others = [each for each in PRESETS if each.startswith(f"{name}-")] or [name] * (name in PRESETS)
    if others:
        raise ConfigError(
            f"preset={name!r}: none for `distill {what}`, which has {', '.join(fitting)}; it stands for "
            f"{', '.join(others)}; choose one"
        )
    near = get_close_matches(name, [*PRESETS, *(each.rsplit("-", 1)[0] for each in PRESETS)], 1)
    hint = f"; did you mean {near[0]}" if near else "; choose one"
    raise ConfigError(f"preset={name!r}: {', '.join(PRESETS)} accepted{hint}")
