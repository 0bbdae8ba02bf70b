"""What a distillation takes: evaluations of a step, memory, time, and the fewest devices it fits on, by formula.

Memory of the student is `recast.train.plan`'s, of all that stands beside it said here. Time is work over a share of
the peak that is assumed, as there. Nothing is loaded: sizes come from a config alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import torch

from recast import cost
from recast.config import ModelConfig
from recast.errors import ConfigError
from recast.train.alive import Step, moments
from recast.train.data.example import Shape
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.adversarial_settings import AdversarialSettings
from recast.train.distill.consistency import ConsistencySettings
from recast.train.distill.direct import DirectSettings
from recast.train.distill.guidance import GuidanceSettings
from recast.train.distill.judges import judges_of
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pair_writing import PairSettings
from recast.train.distill.presets import Distillation
from recast.train.distill.scales import Scales
from recast.train.flow_stage import BACKWARD
from recast.train.hardware import DEVICES, Device, here
from recast.train.plan import CHECKPOINTING, GIB, RESERVED_GIB, SHARDS, Method, Plan
from recast.train.plan import plan as plan_of
from recast.train.settings import Checkpointing, Parallel

STATE_BYTES = 16
"""Of a parameter that is trained in fp32 without an average: itself, its gradient, two moments."""


class Load(NamedTuple):
    """A network, how often it is evaluated for one example in one step, and what one evaluation costs.

    A pass forward and back counts as one; steps that differ in turn count as their mean.
    """

    name: str
    evaluations: float
    flops: float


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A number of devices that a distillation fits on, or does not: what each holds, and how long a step takes."""

    hardware: Device
    devices: int  # sharing parameters, or copies of such groups where asked for
    batch: int  # examples at once on each
    accumulate: int
    checkpointing: Checkpointing
    memory_gib: dict[str, float]
    host_gib: float  # of each process before its networks are shared out, beside what is in memory_gib
    seconds: float  # of one step; of pairs, of one example on all devices together
    utilisation: float

    @property
    def peak_gib(self) -> float:
        return sum(self.memory_gib.values())


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A distillation on one kind of device: its least layout, or the largest that is still too small; or that asked."""

    layout: Layout
    fits: bool
    is_asked: bool = False  # the layout is what the preset's `parallel` and `run` say
    steps: int  # in all; of pairs, examples; 0 where the minutes are too few for one
    hours: float


def shape_of(preset: Distillation, model: ModelConfig) -> Shape:
    """The example a plan counts with: the first of the preset's sizes, with one context where the model takes any."""
    side = preset.data.sizes[0]
    return Shape(side, (side,) if model.takes_context and preset.training.edit else ())


def loads(preset: Distillation, model: ModelConfig, *, has_pairs: bool) -> list[Load]:
    """What one example costs in one step, network by network; of pairs, in all.

    model: the teacher. has_pairs: whether pairs are read, where they need not be.
    """
    settings, flow = preset.settings, model.flow
    shape = shape_of(preset, model)
    side = model.pixels_per_token
    (target, *contexts) = (w // side * (h // side) for w, h in (shape.target, *shape.contexts))
    counts = {"text": model.text.max_length, "context": sum(contexts)}
    one = cost.step_work(flow, target=target, **counts).plus(cost.condition_work(flow, **counts)).total
    width, height = shape.target

    scale = settings.scale(is_edit=bool(contexts)) if isinstance(settings, Scales) else 1.0

    def guided(scale: float) -> int:
        return 1 if flow.guidance_embed or scale == 1 else 2

    if isinstance(settings, PairSettings):
        return [Load("teacher", settings.steps * guided(scale), one)]
    trained = Load("student, forward and back", 1, BACKWARD * one)
    if isinstance(settings, GuidanceSettings):
        walked = settings.walk_steps * settings.walk_share * (1 - settings.walk_from)
        return [Load("teacher", 2 * (1 + walked), one), trained]
    if isinstance(settings, DirectSettings):
        if settings.trained != "one":
            return [trained._replace(evaluations=settings.law.steps)]
        if settings.towards == "states":
            return [trained]
        return [Load("student", settings.law.steps - 1, one), trained]
    if isinstance(settings, ConsistencySettings):
        return [Load("teacher", guided(scale), one), Load("target", 1, one), trained]

    turn = 1 / settings.discriminator_steps
    found = [
        Load("student", (settings.law.steps - 1) * bool(settings.on_policy) + 1 - turn, one),
        trained._replace(evaluations=turn),
    ]
    if not has_pairs and settings.pictures < 1:
        found.append(Load("teacher, to make what is real", settings.teacher_steps * guided(scale), one))
    judges = judges_of(settings, model)
    judged = judges.flops(shape.target, side)
    if isinstance(settings, LaddSettings):
        look = one * (max(settings.heads.blocks(flow)) + 1) / (flow.depth + flow.depth_single_blocks)
        looks = 2 + bool(settings.mispaired) + bool(settings.approximate_r1) + bool(settings.copies and contexts)
        return [
            *found,
            Load("teacher as far as the deepest head", looks, look),
            Load("teacher as far as the deepest head, back", turn, look),
            Load("heads, forward and back", looks + turn * 2 / BACKWARD, BACKWARD * judged),
        ]
    assert isinstance(settings, AddSettings)
    crop = settings.crop_px
    if crop is not None:
        width, height = min(width, crop), min(height, crop)
        judged = judges.flops((width, height), side)
    decode = cost.decode_work(model.autoencoder, width=width, height=height).total
    look = cost.encode_work(model.autoencoder, width=width, height=height).total
    steps = guided(scale) + (settings.distill_weighting == "nfsd") if settings.distill else 0
    whole = [cost.decode_work(model.autoencoder, width=w, height=h).total for w, h in shape.contexts]
    return [
        *found,
        Load("teacher, one step", turn * steps, one),
        Load("decoder", 2 + turn * bool(settings.distill) + sum(whole) / decode, decode),
        Load("decoder, back", turn, decode),
        Load("features", 2 + len(whole), look),
        Load("features, back", turn, look),
        Load("heads, forward and back", 2 + bool(settings.mispaired) + turn * 2 / BACKWARD, BACKWARD * judged),
    ]


def forecast(preset: Distillation, model: ModelConfig, hardware: Device, *, has_pairs: bool = False) -> Forecast:
    """The fewest devices that a preset fits on, whose batch and accumulation make up its own.

    Where none fits, fits is False and the layout is the largest looked at.
    """
    examples = (preset.data.batch_size or 1) * preset.run.accumulate
    work, found = loads(preset, model, has_pairs=has_pairs), None
    for devices in (each for each in SHARDS if examples % each == 0 and (each == 1 or not hardware.is_cpu)):
        for kind in CHECKPOINTING:
            for batch in _divisors(examples // devices):
                found = _layout(preset, model, hardware, Parallel(shard=devices), kind, batch, work)
                if found.peak_gib <= hardware.memory_gib - RESERVED_GIB:
                    return _timed(preset, found, fits=True)
            if isinstance(preset.settings, PairSettings):
                break  # there is nothing to compute again
    assert found is not None
    return _timed(preset, found, fits=False)


def asked(preset: Distillation, model: ModelConfig, hardware: Device, *, has_pairs: bool = False) -> Forecast:
    """A preset on the processes that it asks for, each on a device, with its own checkpointing and accumulation.

    Raises ConfigError for a share that a plan does not count with, and a batch that is not to be shared out evenly.
    """
    share, examples = preset.parallel, preset.data.batch_size or 1
    if share.tensor * share.context > 1:
        raise ConfigError(
            f"tensor={share.tensor}, context={share.context}: a plan counts with shard and replicate alone; leave them "
            "out of --dry-run"
        )
    if examples % share.data:
        raise ConfigError(
            f"batch_size={examples}: a multiple of shard x replicate = {share.data} accepted; change one of them"
        )
    work = loads(preset, model, has_pairs=has_pairs)
    kind, batch = preset.run.checkpointing, examples // share.data
    found = _layout(preset, model, hardware, share, kind, batch, work)
    fits = found.peak_gib <= hardware.memory_gib - RESERVED_GIB
    return replace(_timed(preset, found, fits=fits), is_asked=True)


def devices() -> list[Device]:
    """Those that forecasts are made for: of the table, and the CPU at hand."""
    return [*DEVICES, here(torch.device("cpu"))]


def as_data(
    preset: Distillation, model: ModelConfig, *, has_pairs: bool, places: Sequence[Device] | None = None
) -> dict[str, Any]:
    """Evaluations and forecasts as JSON data; where processes are asked for, those first, on every accelerator."""
    shape, there = shape_of(preset, model), places or devices()
    found = [forecast(preset, model, each, has_pairs=has_pairs) for each in there]
    if preset.parallel.processes > 1:
        found = [asked(preset, model, each, has_pairs=has_pairs) for each in there if not each.is_cpu] + found
    return {
        "teacher": model.name,
        "parameters": cost.flow_parameters(model.flow),
        "target": list(shape.target),
        "contexts": len(shape.contexts),
        "examples_a_step": (preset.data.batch_size or 1) * preset.run.accumulate,
        "evaluations": {each.name: round(each.evaluations, 4) for each in loads(preset, model, has_pairs=has_pairs)},
        "flops_an_example": sum(each.evaluations * each.flops for each in loads(preset, model, has_pairs=has_pairs)),
        "forecasts": [asdict(each) | {"peak_gib": each.layout.peak_gib} for each in found],
    }


def table(data: dict[str, Any]) -> str:
    """The same for people: what a step evaluates, then a row for each kind of device."""
    lines = [
        f"{data['teacher']}: {data['parameters'] / 1e6:.4g} M parameters; {data['target'][0]} x {data['target'][1]}, "
        f"{data['contexts']} context; {data['examples_a_step']} examples a step; "
        f"{data['flops_an_example'] / 1e12:.3g} TFLOP an example",
        "an example takes " + ", ".join(f"{count:g} of {name}" for name, count in data["evaluations"].items()),
        "Time is work over a share of the peak that is assumed (the last column), not measured.",
        "",
    ]
    parts = list(dict.fromkeys(name for each in data["forecasts"] for name in each["layout"]["memory_gib"]))
    heads = ["hardware", "devices", "batch x accumulate", "checkpointing", *parts, "GiB used", "of"]
    heads += ["on the host, to load", "s a step"]
    rows = [[*heads, "steps", "hours", "at % of the peak"]]
    rows.append(["---"] * len(rows[0]))
    for each in data["forecasts"]:
        layout = each["layout"]
        count = str(layout["devices"]) if each["fits"] or each["is_asked"] else f"over {layout['devices']}"
        count += ", asked for" * each["is_asked"] + ": too few" * (each["is_asked"] and not each["fits"])
        memory = [f"{layout['memory_gib'][name]:.2g}" if name in layout["memory_gib"] else "" for name in parts]
        rows.append(
            [
                layout["hardware"]["name"], count, f"{layout['batch']} x {layout['accumulate']}",
                layout["checkpointing"], *memory, f"{each['peak_gib']:.1f}",
                f"{layout['hardware']['memory_gib'] - RESERVED_GIB:.0f}", f"{layout['host_gib']:.3g}",
                f"{layout['seconds']:.3g}", f"{each['steps']:,}" if each["steps"] else "0: not one in this time",
                f"{each['hours']:.3g}", f"{100 * layout['utilisation']:.0f}",
            ]
        )  # fmt: skip
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


# Memory and time.


def _layout(
    preset: Distillation,
    model: ModelConfig,
    hardware: Device,
    share: Parallel,
    kind: Checkpointing,
    batch: int,
    work: Sequence[Load],
) -> Layout:
    shape, run = shape_of(preset, model), preset.run
    per_device = (preset.data.batch_size or 1) * run.accumulate // share.data
    method = Method(
        lora_rank=None if preset.lora is None else preset.lora.rank,
        trains_text=False,
        precision=run.precision,
        checkpointing=kind,
        batch=batch,
        accumulate=per_device // batch,
        optimiser=preset.optimiser.kind,
    )
    student, count = plan_of(model, shape, share, hardware, method), share.shard
    flops = per_device * sum(each.evaluations * each.flops for each in work)
    again = student.executed_flops - student.model_flops  # computed once more, and the encoders
    trained = sum(each.evaluations for each in work if each.name == "student, forward and back")
    flops += again * min(trained, 1.0)
    is_pairs = isinstance(preset.settings, PairSettings)
    memory = _pairs_gib(preset, model, student, count) if is_pairs else _gib(preset, model, student, count)
    seconds = flops / (hardware.peak_tflops * 1e12 * student.utilisation)
    return Layout(
        hardware=hardware,
        devices=share.processes,
        batch=batch,
        accumulate=method.accumulate,
        checkpointing=kind,
        memory_gib=memory,
        host_gib=0.0 if hardware.is_cpu else _host_gib(preset, model, share.processes),
        seconds=seconds,
        utilisation=student.utilisation,
    )


def _gib(preset: Distillation, model: ModelConfig, student: Plan, count: int) -> dict[str, float]:
    """By part, at the worst moment of the student's step; of a discriminator, its graph beside the student's."""
    settings, flow = preset.settings, model.flow
    parameters, item = cost.flow_parameters(flow), 2 if preset.run.precision == "bf16" else 4
    parts = {"student" if name == "weights" else name: size for name, size in student.memory_gib.items()}
    if preset.what != "direct":
        parts["teacher"] = item * parameters / count / GIB
    if isinstance(settings, ConsistencySettings) and settings.target_decay:
        parts["target"] = 4 * parameters / count / GIB
    if not isinstance(settings, AdversarialSettings):
        return parts
    judges = judges_of(settings, model)
    batch, target = student.method.batch, shape_of(preset, model).target
    parts["heads"] = STATE_BYTES * judges.parameters / GIB
    judged = batch * judges.kept_bytes(target, model.pixels_per_token)
    if isinstance(settings, LaddSettings):
        judged += _through_teacher(preset, model, student.method, settings, is_sharded=count > 1)
    else:
        assert isinstance(settings, AddSettings)
        width, height = (min(side, settings.crop_px or side) for side in target)
        both: tuple[Literal["decoder", "encoder"], ...] = ("decoder", "encoder")
        for part in both:
            judged += batch * cost.graph_bytes(model.autoencoder, part, width=width, height=height)
    parts["judging"] = judged / GIB
    return parts


def _host_gib(preset: Distillation, model: ModelConfig, processes: int) -> float:
    """What each process holds beside its device at most: networks are read whole there, and then shared out.

    A teacher that is not shared out is read into the device (`start.teacher`), and so is that of pairs; a student, and
    its target, never are.
    """
    parameters, settings = cost.flow_parameters(model.flow), preset.settings
    if isinstance(settings, PairSettings):
        return 0.0
    teacher = (2 if preset.run.precision == "bf16" else 4) * (processes > 1)
    has_target = isinstance(settings, ConsistencySettings) and bool(settings.target_decay)
    return (teacher + 4 * (1 + has_target)) * parameters / GIB


def _through_teacher(
    preset: Distillation, model: ModelConfig, method: Method, settings: LaddSettings, *, is_sharded: bool
) -> float:
    """Bytes of the graph from a picture to the deepest head, through the frozen teacher."""
    flow, shape, side = model.flow, shape_of(preset, model), model.pixels_per_token
    (target, *contexts) = (w // side * (h // side) for w, h in (shape.target, *shape.contexts))
    deepest = max(settings.heads.blocks(flow)) + 1
    doubles, singles = min(deepest, flow.depth), max(deepest - flow.depth, 1)
    step = Step(
        target=target,
        text=model.text.max_length,
        context=sum(contexts),
        batch=method.batch,
        precision=method.precision,
        checkpointing=method.checkpointing,
        lora_rank=0,  # nothing of it is trained
        sharded=is_sharded,
    )
    cut = replace(flow, depth=doubles, depth_single_blocks=singles)
    (forward, *_) = moments(cut, step, gradient_bytes=0.0, gathered_item=2 if method.precision == "bf16" else 4)
    return forward.total


def _pairs_gib(preset: Distillation, model: ModelConfig, student: Plan, count: int) -> dict[str, float]:
    shape, side = shape_of(preset, model), model.pixels_per_token
    (target, *contexts) = (w // side * (h // side) for w, h in (shape.target, *shape.contexts))
    item = 2 if preset.run.precision == "bf16" else 4
    at_once = student.method.batch * (1 if model.flow.guidance_embed else 2)
    alive = cost.step_bytes(
        model.flow,
        target=target,
        text=model.text.max_length,
        context=sum(contexts),
        batch=at_once,
        item=item,
        texts=at_once,
    )
    return {
        "teacher": item * cost.flow_parameters(model.flow) / count / GIB,
        "encoders": student.memory_gib["encoders"],
        "activations": alive / GIB,
    }


def _timed(preset: Distillation, layout: Layout, *, fits: bool) -> Forecast:
    run, settings = preset.run, preset.settings
    if isinstance(settings, PairSettings):
        steps = -(-settings.count // ((preset.data.batch_size or 1) * run.accumulate))
    elif run.steps is not None:
        steps = run.steps
    else:
        assert run.minutes is not None
        return Forecast(layout=layout, fits=fits, steps=int(60 * run.minutes / layout.seconds), hours=run.minutes / 60)
    return Forecast(layout=layout, fits=fits, steps=steps, hours=steps * layout.seconds / 3600)


def _divisors(number: int) -> list[int]:
    """Of a number, the largest first."""
    return [each for each in range(number, 0, -1) if number % each == 0]
