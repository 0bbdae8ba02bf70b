"""A distillation's preset and the places it starts from to a run that needs only to be started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recast import loading
from recast.config import FlowConfig, ModelConfig, guided
from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.pipeline import Pipeline
from recast.train import adapters, export, parallel, runs
from recast.train.distill import beside, embedding, heads, pair_runs, pair_writing, result, start
from recast.train.distill.add import AddStage
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.adversarial import AdversarialStage
from recast.train.distill.adversarial_settings import AdversarialSettings
from recast.train.distill.consistency import ConsistencySettings, ConsistencyStage
from recast.train.distill.direct import DirectSettings, DirectStage
from recast.train.distill.guidance import GuidanceSettings, GuidanceStage
from recast.train.distill.heads import Heads
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pair_writing import PairSettings
from recast.train.distill.paired import require_masks
from recast.train.distill.pairs import PairBatch, Pairs
from recast.train.distill.pixel_features import AutoencoderFeatures, DinoFeatures, PixelFeatures
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.presets import FROM_PAIRS, Distillation
from recast.train.distill.student import SamplerName
from recast.train.distill.teacher import Teacher
from recast.train.examples import Examples
from recast.train.flow_stage import FlowStage
from recast.train.parallel import Ranks
from recast.train.runs import Ready
from recast.train.settings import Settings
from recast.train.stage import Batches, Stage
from recast.train.validation import Sampling

Makers = Mapping[str, str]
"""SHA-256 of teacher, autoencoder and text encoder, as `pair_writing.made_by` has them."""


@dataclass(frozen=True, kw_only=True)
class Starts:
    """What a distillation starts from.

    model: the teacher, a name or a path as `recast.load` takes it; None for the preset's own. init: the student's
    beginning, an earlier distillation or a model; None for the teacher itself. pairs: the folder of a run that wrote
    them. features: of a discriminator in pixels, DINOv2's files; None for the autoencoder's own.
    """

    model: str | None = None
    init: Path | None = None
    pairs: Path | None = None
    features: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Few:
    """What is asked of a student of few steps, in training and in use."""

    steps: int
    sampler: SamplerName
    guidance: float
    edit_guidance: float  # of what has contexts
    shifts_schedule: bool


def ready(
    preset: Distillation,
    starts: Starts,
    *,
    ranks: Ranks = parallel.ALONE,
    event: Callable[..., None] | None = None,
) -> Ready:
    """Everything that `loop.run` takes, of every way to a student.

    The student is trained in fp32, beside a teacher in the run's precision; without `init` it starts as the teacher is
    in that. Under adapters, the student they are on is in the run's precision too. A student of few steps that starts
    with a guidance embedding its teacher lacks is told the scale once and for all, and loses it (`start.at_scale`).
    Raises ConfigError, InputError, WeightsError or MissingWeights for what does not fit, before anything is trained.
    """
    _check(preset, starts)
    model = teacher_of(preset, starts.model)
    base = start.teacher(model, preset.run.precision, ranks)
    require_guided(preset, base.config)
    makers = pair_writing.made_by(base.flow, base.autoencoder, base.text)
    judged = pair_runs.judged_by(starts.pairs, makers) if preset.data.held_out else []
    few = None if preset.what == "guidance" else _few(preset, starts, makers)
    flow = _student(preset, starts, base.flow, few)
    config = _described(base.config, flow.config, few)
    low_rank = None
    if preset.lora is not None:
        put_on = embedding.attach if few is None else adapters.attach
        low_rank = put_on(flow, preset.lora, seed=preset.run.seed)
    about: dict[str, Any] = {"latents": runs.latents(base.autoencoder), "makers": dict(makers)}

    def wrapped(network: FlowTransformer) -> FlowTransformer:
        parallel.wrap(network, preset.run, preset.parallel, ranks)
        return network

    target = None
    if isinstance(preset.settings, ConsistencySettings) and preset.settings.target_decay:
        target = wrapped(start.whole(flow).requires_grad_(False))
    wrapped(flow)
    teacher = None if preset.what == "direct" else Teacher(wrapped(base.flow))  # its teacher has said all in its pairs
    examples = Examples(preset.data, base.config, event=event)
    reading = _reading(preset, base, examples, flow, low_rank, few, ranks)
    stage, said = _stage(preset, starts, reading, teacher, target, judged, ranks)
    batches = _batches(preset, starts, examples, judged, makers, ranks, event)
    about |= {"examples": _about(batches), **said}

    def write(place: Path, folder: Path) -> list[Path]:
        if low_rank is None:
            return result.write(folder, export.read_network(place, "flow"), config)
        again = loading.load(model, device="cpu", dtype=preset.run.precision).flow
        plain = _student(preset, starts, again, few)
        began = base.config.name if starts.init is None else starts.init.name
        return result.write_adapted(folder, place, plain, low_rank, config, began)

    def verdict() -> str | None:
        if not (isinstance(stage, AdversarialStage) and stage.is_shut):
            return None
        return (
            f"the discriminator tells real from fake in {float(stage.gate.accuracy):.2f} of cases, "
            f"{stage.settings.accuracy_needed:g} needed; the student stays as it began"
        )

    return Ready(stage, batches, _settings(preset, about), write, verdict)


def teacher_of(preset: Distillation, model: str | None) -> str:
    """Where the teacher is. Raises ConfigError where the preset brings none and none is named."""
    found = preset.model if model is None else model
    if found is None:
        raise ConfigError(
            f"--model: missing; the preset is for {preset.teacher}, whose weights do not come with the package; pass "
            "the path of a model"
        )
    return found


def _check(preset: Distillation, starts: Starts) -> None:
    """What can be told before weights are read."""
    if isinstance(preset.settings, PairSettings):
        raise ConfigError("what='pairs': written by pair_runs.write_pairs, not trained")
    teacher_of(preset, starts.model)
    if starts.features is not None and preset.what != "add":
        raise ConfigError(f"--features: for add alone, not {preset.what}; leave it out")
    if starts.pairs is None:
        if FROM_PAIRS.get(preset.what):
            raise ConfigError(
                f"--pairs: missing; {preset.what} learns from pictures of the teacher with their noise; write some by "
                "`recast distill pairs`, and pass that run's folder"
            )
        return
    if preset.what not in FROM_PAIRS:
        raise ConfigError(f"--pairs: not for {preset.what}, which takes pictures; leave it out")
    pair_runs.require(starts.pairs)
    if preset.data.batch_size is None:
        raise ConfigError(f"data.tokens={preset.data.tokens}: pairs come by data.batch_size; set it, and tokens=none")


def require_guided(preset: Distillation, model: ModelConfig) -> None:
    """Raises ConfigError for the way `guidance` from a teacher that is told its guidance as it is."""
    if preset.what == "guidance" and model.flow.guidance_embed:
        raise ConfigError(
            f"--model: {model.name} is told its guidance already, in one evaluation; a teacher guided by two passes "
            "accepted; go on with `recast distill direct`"
        )


# Networks.


def _few(preset: Distillation, starts: Starts, makers: Makers) -> _Few:
    settings = preset.settings
    if isinstance(settings, DirectSettings):
        assert starts.pairs is not None
        told = pair_runs.stream(starts.pairs, batch=1, seed=0, ranks=parallel.ALONE, makers=makers)
        _require_states(settings, told)
        guidance, edits, steps = told.guidance, told.edit_guidance, settings.law.steps
    elif isinstance(settings, ConsistencySettings):
        guidance, edits, steps = settings.guidance, settings.scale(is_edit=True), settings.steps
    else:
        assert isinstance(settings, AdversarialSettings)
        guidance, edits, steps = settings.guidance, settings.scale(is_edit=True), settings.law.steps
    return _Few(
        steps=steps,
        sampler=settings.sampler,
        guidance=guidance,
        edit_guidance=edits,
        shifts_schedule=settings.shifts_schedule,
    )


def _require_states(settings: DirectSettings, pairs: Pairs) -> None:
    """Raises ConfigError where a student goes from state to state, and the pairs' are not at its times."""
    if settings.towards != "states":
        return
    shifted = bool(pairs.manifest.settings["shifts_schedule"])
    if (pairs.states, shifted) != (settings.law.steps, settings.shifts_schedule):
        raise ConfigError(
            f"pairs={str(pairs.place)!r}: {pairs.states} state(s) of each walk, shifts_schedule={shifted}; "
            f"{settings.law.steps} and {settings.shifts_schedule} needed, those of the student; write pairs with "
            f"settings.states={settings.law.steps}, or set settings.towards=end"
        )


def _student(preset: Distillation, starts: Starts, teacher: FlowTransformer, few: _Few | None) -> FlowTransformer:
    """The network that is trained, or, under adapters, what they are on: on the CPU, not wrapped."""
    made = start.whole(teacher) if starts.init is None else start.read(starts.init)
    start.require_kin(made.config, teacher.config)
    has_spare = made.config.guidance_embed and not teacher.config.guidance_embed
    if few is not None and has_spare and made.config.context_attention == "full":
        if few.edit_guidance != few.guidance:
            is_read = isinstance(preset.settings, DirectSettings)  # from its pairs
            given, do = ("pairs", "write pairs with") if is_read else ("settings", "set")
            raise ConfigError(
                f"--init: told its guidance by an embedding, which is to be one scale; {given} of "
                f"guidance={few.guidance:g}, edit_guidance={few.edit_guidance:g} came; begin with the teacher, or {do} "
                "one scale for both"
            )
        made = start.at_scale(made, few.guidance)
    if preset.lora is not None:
        made = made.to(teacher.dtype)
    if few is None and not made.config.guidance_embed:
        made = embedding.with_guidance(made, seed=preset.run.seed)
    if few is None:
        made.guidance_in.float()  # it is trained whole
    return made


def _described(base: ModelConfig, flow: FlowConfig, few: _Few | None) -> ModelConfig:
    if few is None:
        return guided(base, flow)
    return result.few_step(
        base,
        flow,
        steps=few.steps,
        sampler=few.sampler,
        guidance=few.guidance,
        edit_guidance=few.edit_guidance,
        shifts_schedule=few.shifts_schedule,
    )


def _reading(
    preset: Distillation,
    base: Pipeline,
    examples: Examples,
    flow: FlowTransformer,
    low_rank: adapters.Adapters | None,
    few: _Few | None,
    ranks: Ranks,
) -> FlowStage:
    """The flow stage around the student, with what it is judged by and the walk that its panel shows."""
    data, usual = preset.data, base.config.defaults
    judged = examples.held_out(None if few is None else data.shown)
    if few is None:
        guidance = max(usual.generate_true_guidance, usual.edit_true_guidance)
        shown = Sampling(guidance=guidance, shifts_schedule=base.config.shifts_schedule)
    else:
        shown = Sampling(
            steps=few.steps, guidance=few.guidance, shifts_schedule=few.shifts_schedule, sampler=few.sampler
        )
    return FlowStage(
        flow=flow,
        autoencoder=base.autoencoder,
        text=base.text,
        training=preset.training,
        optimiser=preset.optimiser,
        run=preset.run,
        ranks=ranks,
        adapters=low_rank,
        held_out=examples.batches(judged, ranks) if few is None else [],
        panel=examples.batches(judged[: data.shown], ranks),
        panel_settings=shown,
    )


def _stage(
    preset: Distillation,
    starts: Starts,
    reading: FlowStage,
    teacher: Teacher | None,
    target: FlowTransformer | None,
    judged: Sequence[PairBatch],
    ranks: Ranks,
) -> tuple[Stage, dict[str, Any]]:
    """The stage, and what of it is in no setting and decides the result, as JSON data."""
    settings = preset.settings
    if isinstance(settings, DirectSettings):
        return DirectStage(reading, settings, held_out=judged), {}
    assert teacher is not None
    if isinstance(settings, GuidanceSettings):
        return GuidanceStage(reading=reading, teacher=teacher, settings=settings), {}
    if isinstance(settings, ConsistencySettings):
        return ConsistencyStage(reading, teacher, settings, target=target, held_out=judged), {}
    assert preset.critic is not None
    rate, seed = preset.critic, preset.run.seed
    if isinstance(settings, LaddSettings):
        latent = Heads(teacher.flow.config, settings.heads).initialise(seed)
        heads.shared(latent, preset.run, preset.parallel, ranks)
        return LaddStage(reading, teacher, latent, settings, discriminator_optimiser=rate, held_out=judged), {}
    assert isinstance(settings, AddSettings)
    features: PixelFeatures = AutoencoderFeatures(reading.autoencoder)
    if starts.features is not None:
        features = DinoFeatures.load(starts.features, ranks.device)
    visual = PixelHeads(features, teacher.flow.config, settings.heads).initialise(seed)
    heads.shared(visual, preset.run, preset.parallel, ranks)
    made = AddStage(reading, teacher, features, visual, settings, discriminator_optimiser=rate, held_out=judged)
    return made, {"features": features.describe()}


# Examples.


def _batches(
    preset: Distillation,
    starts: Starts,
    examples: Examples,
    judged: Sequence[PairBatch],
    makers: Makers,
    ranks: Ranks,
    event: Callable[..., None] | None,
) -> Batches:
    """Pictures, or pairs where there are some, or for a discriminator that is shown both, both side by side.

    Raises ConfigError where pictures are trained on that are among the `judged` pairs, and where a term outside the
    mask is asked for and neither has masks.
    """
    data, settings, training = preset.data, preset.settings, preset.training
    assert not isinstance(settings, PairSettings)
    weight = 0.0 if isinstance(settings, GuidanceSettings) else settings.outside
    is_real = isinstance(settings, AdversarialSettings) and settings.pictures == 1  # pairs are there to judge by
    if starts.pairs is None or is_real:
        pair_runs.require_apart(examples, judged, starts.pairs)
        require_masks(weight, None, examples.train, training)
        return examples.loader(ranks, event)
    assert data.batch_size is not None
    pairs, pictures = data.batch_size, 0
    if isinstance(settings, AdversarialSettings) and settings.pictures:
        pairs, pictures = beside.counts(data.batch_size, settings.pictures, ranks.data_size)
    found = pair_runs.stream(starts.pairs, batch=pairs, seed=data.seed, ranks=ranks, makers=makers)
    require_masks(weight, found, examples.train if pictures else None, training)
    if not pictures:
        return found
    pair_runs.require_apart(examples, judged, starts.pairs)
    return beside.Beside(found, examples.loader(ranks, event, batch_size=pictures))


def _about(batches: Any) -> dict[str, Any]:
    """What a stream reads, as JSON data."""
    if isinstance(batches, beside.Beside):
        return {"pairs": _about(batches.pairs), "pictures": _about(batches.pictures)}
    found: dict[str, Any] = batches.about()
    return found


def _settings(preset: Distillation, about: dict[str, Any]) -> Settings:
    names = ("what", "training", "settings", "optimiser", "critic", "lora")
    said = {name: getattr(preset, name) for name in names}
    return Settings(run=preset.run, parallel=preset.parallel, stage=said, data=about)
