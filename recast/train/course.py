"""A whole run, planned: on which devices it fits, how long a step takes, and all of them; as a table or as JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from recast import cost
from recast.config import FlowConfig, ModelConfig
from recast.errors import ConfigError
from recast.flow.layers import SingleStreamBlock, rotary_table
from recast.train.data.example import Shape
from recast.train.hardware import DEVICES, Device, device, here
from recast.train.plan import Advice, Method, Plan, advise, tokens_of
from recast.train.presets import Preset
from recast.train.settings import Checkpointing, Precision
from recast.train.uses import FlowTraining

PROBE_FLOPS, PROBE_TOKENS, PROBE_S = 2e9, 512, 1.0
"""Of the forward pass of a block that is tried on the device at hand, at most; how long, of which the best counts."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A run to be planned. None is not settled: the largest batch that fits is taken, and no time in all is told.

    size: (width, height) of the target and of one context; None for the model's own. examples: that a step takes, all
    devices together. steps, samples or minutes: how long it is. methods: how the transformer may be trained, each a row
    of the table on each device; on a CPU all of them in `on_cpu`. checkpointing: None for the least that fits.
    """

    model: ModelConfig
    size: tuple[int, int] | None = None
    examples: int | None = None
    steps: int | None = None
    samples: int | None = None
    minutes: float | None = None
    methods: tuple[Method, ...] = (Method(), Method(lora_rank=16))
    on_cpu: Precision = "fp32"
    checkpointing: Checkpointing | None = None

    def __post_init__(self) -> None:
        for name in ("examples", "steps", "samples", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value}: a number above 0 accepted")
        lengths = {name: value for name in ("steps", "samples", "minutes") if (value := getattr(self, name))}
        if len(lengths) > 1:
            raise ConfigError(f"{', '.join(f'{n}={v}' for n, v in lengths.items())}: one length accepted; leave one")

    @property
    def shape(self) -> Shape:
        side = self.size or (self.model.defaults.width, self.model.defaults.height)
        return Shape(side, (side,) if self.model.takes_context else ())

    def samples_of(self, made: Plan) -> float | None:
        """Examples in all."""
        if self.steps is not None:
            return self.steps * made.method.batch * made.method.accumulate * made.parallel.data
        return 60 * self.minutes * made.examples_s if self.minutes is not None else self.samples

    def hours_of(self, made: Plan) -> float | None:
        """Of the whole run. Loading, judging and saving come on top."""
        samples = self.samples_of(made)
        return None if samples is None else samples / made.examples_s / 3600


@dataclass(frozen=True)
class Place:
    """A device, and the share of its peak that a step was seen to reach there; None: assumed (`recast.train.plan`)."""

    device: Device
    share: float | None = None


def of_preset(preset: Preset) -> Course:
    """The course of a preset, every example an edit with one context. Raises ConfigError for an autoencoder or text.

    An example that is used several times in a step counts as often, as it does in the journal.
    """
    if not isinstance(preset.training, FlowTraining):
        raise ConfigError(f"preset: for `train {preset.what}`; one for flow or lora accepted, whose memory is known")
    data, run = preset.data, preset.run
    method = Method(
        lora_rank=None if preset.lora is None else preset.lora.rank,
        trains_text=preset.training.train_text,
        precision=run.precision,
        optimiser=preset.optimiser.kind,
        accumulate=run.accumulate,
    )
    return Course(
        model=preset.model,
        size=None if data.buckets else data.sizes[0],
        examples=None if data.batch_size is None else data.batch_size * run.accumulate * preset.training.uses,
        steps=run.steps,
        minutes=run.minutes if run.steps is None else None,
        methods=(method,),
        on_cpu=run.precision,
        checkpointing=run.checkpointing,
    )


def places(name: str | None, flow: FlowConfig, on_cpu: Precision = "fp32") -> list[Place]:
    """Devices by name: cpu or cuda for the one at hand, one of `hardware.DEVICES`, or None for all of these.

    What is at hand is measured, on a block of the transformer: a CPU in `on_cpu`. Raises ConfigError for another name.
    """
    kinds = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if name is not None and name not in kinds:
        return [Place(device(name))]
    found = [] if name is not None else [Place(each) for each in DEVICES]
    for kind in kinds if name is None else [name]:
        made = here(torch.device(kind), on_cpu)
        rate = measured(flow, torch.device(kind), on_cpu)
        label = made.name if made.is_cpu else f"this {made.name}"
        found.append(Place(replace(made, name=label), min(1.0, rate / (1e12 * made.peak_tflops))))
    return found


def measured(flow: FlowConfig, kind: torch.device, on_cpu: Precision = "fp32") -> float:
    """FLOP/s of a forward and a backward pass of one block, of fewer heads where that of the model would take long.

    In bf16 on an accelerator, in `on_cpu` on a CPU.
    """
    heads = flow.num_heads
    while heads > 4 and _block_flops(replace(flow, num_heads=heads, hidden_size=heads * flow.head_dim)) > PROBE_FLOPS:
        heads //= 2
    flow = replace(flow, num_heads=heads, hidden_size=heads * flow.head_dim)
    precision = torch.float32 if kind.type == "cpu" and on_cpu == "fp32" else torch.bfloat16
    block = SingleStreamBlock(flow).to(kind, precision)
    x = torch.randn(1, PROBE_TOKENS, flow.hidden_size, device=kind, dtype=precision, requires_grad=True)
    vector = torch.randn(1, flow.hidden_size, device=kind, dtype=precision)
    rotary = rotary_table(torch.zeros(1, PROBE_TOKENS, len(flow.axes_dim), device=kind), flow.axes_dim, flow.theta)
    spent: list[float] = []
    while len(spent) < 4 or sum(spent) < PROBE_S:  # the first warms up
        begun = time.perf_counter()
        block(x, vector, rotary)[0].float().square().mean().backward()
        if kind.type == "cuda":
            torch.cuda.synchronize(kind)
        spent.append(time.perf_counter() - begun)
    return 3 * _block_flops(flow) / min(spent[1:])


def _block_flops(flow: FlowConfig) -> float:
    d, h, n = flow.hidden_size, flow.mlp_hidden, PROBE_TOKENS
    return 2.0 * n * (4 * d * d + 2 * d * h) + 4.0 * d * n**2


def report(course: Course, at: Sequence[Place], *, is_json: bool) -> str:
    """Every way to train on every device: a table, or the same as JSON.

    Raises ConfigError for a size that is no whole number of tokens.
    """
    advices = []
    for method in course.methods:
        for place in at:
            exact = replace(method, utilisation=place.share)
            exact = replace(exact, precision=course.on_cpu) if place.device.is_cpu else exact
            advices.append(
                advise(
                    course.model,
                    course.shape,
                    place.device,
                    exact,
                    examples=course.examples,
                    checkpointing=course.checkpointing,
                )
            )
    if is_json:
        return json.dumps([_as_data(each, course) for each in advices], indent=1)
    side, contexts = course.shape
    parameters = cost.flow_parameters(course.model.flow)
    head = (
        f"{course.model.name}: {parameters / 1e6:.4g} M parameters; target {side[0]} x {side[1]} "
        f"({tokens_of(course.model, side)} tokens), {len(contexts)} context, {course.model.text.max_length} of text; "
        "eager.\nTime is work over a share of the peak (the last column): of this machine measured on a block, of "
        "others assumed.\n"
    )
    return head + "\n" + table(advices, course)


def table(advices: Sequence[Advice], course: Course) -> str:
    """Markdown: a row for each piece of advice; below it, why smaller layouts do not do."""
    has_length = course.steps or course.samples or course.minutes
    heads = [
        "model", "trained", "hardware", "devices", "checkpointing", "batch a device", "precision", "GiB used", "of",
        "PFLOP an example", "s a step", "examples/s", *(["examples in all", "hours"] if has_length else []), "MFU %",
        "at % of the peak",
    ]  # fmt: skip
    rows, reasons = [], []
    for each in advices:
        best = each.chosen or each.refused[-1]
        method = best.method
        name = [best.model, _trained(method), best.hardware.name]
        if each.chosen is None:
            rows.append([*name, f"over {best.parallel.processes}", *["–"] * (len(heads) - 4)])
        else:
            examples = method.batch * method.accumulate
            samples, hours = course.samples_of(best), course.hours_of(best)
            times = "" if method.accumulate == 1 else f" x {method.accumulate}"
            rows.append(
                [
                    *name, str(best.parallel.processes), method.checkpointing, f"{method.batch}{times}",
                    method.precision, f"{best.peak_gib:.1f}", f"{best.room_gib:.0f}",
                    f"{best.model_flops / examples / 1e15:.3g}", f"{best.seconds:.3g}", f"{best.examples_s:.3g}",
                    *([] if samples is None else [f"{samples:.0f}"]), *([] if hours is None else [f"{hours:.3g}"]),
                    f"{100 * best.mfu:.0f}", f"{100 * best.utilisation:.0f}",
                ]
            )  # fmt: skip
        if each.refused:
            reasons.append(f"- {', '.join(name)}, {best.room_gib:.0f} GiB: {_reasons(each.refused)}")
    lines = ["| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows]]
    return "\n".join(
        lines + (["", "Why not fewer, or less checkpointing: GiB needed", "", *reasons] if reasons else [])
    )


def _trained(method: Method) -> str:
    return "all" if method.lora_rank is None else f"LoRA, rank {method.lora_rank}"


def _reasons(refused: Sequence[Plan]) -> str:
    """What each number of devices would need of each, with the thriftiest checkpointing tried."""
    least: dict[int, Plan] = {}
    for each in refused:
        count = each.parallel.processes
        if count not in least or each.peak_gib < least[count].peak_gib:
            least[count] = each
    said = [
        f"{each.peak_gib:.1f} on each of {count} (checkpointing {each.method.checkpointing}, "
        f"most of it {max(each.memory_gib, key=lambda name: each.memory_gib[name])})"
        for count, each in sorted(least.items())
    ]
    return "; ".join(said)


def _as_data(advice: Advice, course: Course) -> dict[str, Any]:
    """An advice as JSON data."""

    def one(made: Plan) -> dict[str, Any]:
        derived = ("peak_gib", "room_gib", "fits", "seconds", "examples_s", "mfu")
        found = asdict(made) | {name: getattr(made, name) for name in derived}
        found |= {"samples": course.samples_of(made), "hours": course.hours_of(made)}
        assert all(math.isfinite(each) for each in (made.peak_gib, made.seconds))
        return found

    return {
        "chosen": None if advice.chosen is None else one(advice.chosen),
        "refused": [one(each) for each in advice.refused],
    }
