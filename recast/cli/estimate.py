"""`recast estimate`: memory and time of a picture, before anything is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli import planned_cost
from recast.cli.options import setting, width_height
from recast.cli.rates import Rates, measure_rates
from recast.config import PRESETS, ModelConfig, preset
from recast.cost import Estimate, Request, estimate
from recast.errors import ConfigError

if TYPE_CHECKING:
    import torch

HELP = """Say how much memory and time a picture will take, before anything is loaded.

  recast estimate --model kontext_dev --references 1 --device cuda
  recast estimate photo.png --steps 8
  recast estimate --model kontext_dev --references 1 --device cuda --plan fp8 --vram 24gb --tflops 700

Parameters are exact. FLOPs count the products of matrices, attention and convolutions. Memory is that of the tensors
alive at once, and on CUDA half a GB of the driver's. Time is FLOPs at a rate measured here on a part of each network,
in about a second; where there is no such device, --tflops can state the rate. With a plan, memory is that of its own
engine, what a cap lets stay on the device is said, and time is a forecast: what the plan's option skips, at the
plan's rates."""

GIB = 2**30
ACCURACY = {  # measured by benchmarks/estimate_check.py and tests/test_cost.py
    "parameters": "exact",
    "flops": "exact for the products; norms, activations and the like are not counted",
    "memory": f"tensors by formula, within 5 %; {planned_cost.BESIDE_TENSORS}. Python and torch themselves (about 0.3 "
    "GiB) and workspaces of GPU libraries come on top",
    "time": "by a rate measured now, the processor's own where others use the CPU too: mostly within 25 % on nano. "
    "Loading, the first use of each kernel (0.1 to 0.2 s on a CPU), and merging an edit into its source, come on top",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast estimate [IMAGE] [options]"
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="the picture to edit; only its size matters")
    parser.add_argument("--model", metavar="NAME", help=f"{', '.join(PRESETS)}, or a path; usual: nano")
    parser.add_argument("--variant", metavar="NAME", help="which model the files hold, where they do not tell")
    parser.add_argument("--width", type=int, metavar="N", help="of the picture, instead of IMAGE; usual: the model's")
    parser.add_argument("--height", type=int, metavar="N", help="the same")
    parser.add_argument(
        "--image",
        dest="beside",
        action="append",
        default=[],
        metavar="PATH",
        help="a further picture the model looks at, as of `recast edit`; only its size matters; repeat for more",
    )
    parser.add_argument(
        "--references",
        type=int,
        metavar="N",
        help="instead of --image: pictures the model looks at, the edited one included, the further ones as large as "
        "it; 0 is text to picture; usual: 1 with IMAGE, else 0",
    )
    parser.add_argument(
        "--size", type=_size, metavar="SIZE", help="as of `recast edit`: auto (usual), source, trained or 1024x768"
    )
    parser.add_argument("--steps", "--num-inference-steps", type=int, metavar="N", help="usual: the model's")
    parser.add_argument(
        "--sampler", metavar="NAME", help="euler, ab2, dpmpp_2m, renoise; heun asks twice a step; usual: the model's"
    )
    parser.add_argument(
        "--true-guidance", "--true-cfg-scale", type=float, metavar="SCALE", help="two network calls a step unless 1"
    )
    parser.add_argument("-n", "--num-images", type=int, default=1, metavar="N", help="how many pictures (usual: 1)")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="pictures per call (usual: 1)")
    parser.add_argument(
        "--dtype", metavar="NAME", help="bf16 or fp32; usual: bf16 where the device is fast at it, else fp32"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; usual: the best there is")
    parser.add_argument("--tflops", type=float, metavar="RATE", help="TFLOP/s to count with, instead of measuring")
    parser.add_argument("--memory", type=float, metavar="GIB", help="of the device, instead of asking it")
    planned_cost.configure(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from recast import models

    for flag in ("tflops", "memory"):
        if getattr(args, flag) is not None and not getattr(args, flag) > 0:
            raise ConfigError(f"--{flag}={getattr(args, flag)}: a number above 0 accepted")
    config = _config(setting(args, "model") or models.default(), args.variant)
    name, device = _device(setting(args, "device") or "auto")
    request = _request(config, args, _dtype(setting(args, "dtype") or "auto", name, device))
    cost = estimate(config, request)
    available, available_is = _available(args.memory, name, device)
    asked = planned_cost.asked(args, config.defaults.sampler)
    rates = None
    if args.tflops is not None:
        rates = Rates(*3 * [1e12 * args.tflops])
    elif device is not None:
        rates = measure_rates(config, device, request.dtype, sum(cost.tokens.values()))
    data = _data(config, request, cost, name, available, available_is, rates)
    if asked is not None:
        where = planned_cost.Where(name, device, available, available_is, None if args.tflops is not None else rates)
        data |= planned_cost.changes(asked, config, request, cost, where, data)
    if args.json:
        from recast.cli.output import print_json

        print_json(data)
    else:
        print("\n".join(_lines(data)))
    return 0


def seconds(cost: Estimate, rates: Rates) -> dict[str, float]:
    """The time of each stage."""
    return {
        "text": rates.seconds(cost.text),
        "encode": cost.encode.total / rates.autoencoder,
        "sample": rates.seconds(cost.condition.plus(cost.sampling)),
        "decode": cost.decode.total / rates.autoencoder,
    }


# From flags to a request.


def _config(name: str, variant: str | None) -> ModelConfig:
    from recast import models, weights

    known = models.find(name)
    if known is not None and (known.place is not None or not Path(name).exists()):
        return known.config
    if name in PRESETS and not Path(name).exists():
        return preset(name)

    return weights.read_config(name, variant=variant)


def _device(name: str) -> tuple[str, torch.device | None]:
    """The device's name, and the device itself if it is here."""
    from recast.loading import pick_device

    try:
        device = pick_device(name)
    except ConfigError:
        if name.split(":")[0] not in ("cuda", "mps"):
            raise
        return name, None
    return str(device), device


def _available(stated_gib: float | None, name: str, device: torch.device | None) -> tuple[int | None, str]:
    """How much memory there is, where that is known, and which memory it is, in words that follow its size."""
    from recast.cli.machine import device_bytes
    from recast.speed.cap import free_bytes

    if stated_gib:
        return int(stated_gib * GIB), f"stated for {name}"
    if device is None:
        return None, f"on {name}"
    free = free_bytes(device)  # of a card, as a run would choose by it
    return (device_bytes(device)[0], f"on {name}") if free is None else (int(free), f"free on {name}")


def _dtype(name: str, device_name: str, device: torch.device | None) -> str:
    """As `recast.loading.pick_dtype`, which tries the device; of one that is not here, the usual is assumed."""
    import torch

    from recast.loading import pick_dtype

    if device is None and name == "auto":
        return "bf16" if device_name.startswith("cuda") else "fp32"
    return "bf16" if pick_dtype(name, device or torch.device("cpu")) == torch.bfloat16 else "fp32"


def _size(text: str) -> str | tuple[int, int]:
    return text if text in ("auto", "source", "trained") else width_height(text)


def _request(config: ModelConfig, args: argparse.Namespace, dtype: str) -> Request:
    """What the flags ask for, at the size the model would work at. Raises ConfigError for what cannot work."""
    from recast.context.fitting import fit_pictures
    from recast.options import Options
    from recast.pixels import geometry
    from recast.speed.forecast import asked_at

    defaults = config.defaults
    if args.image is not None and (args.width or args.height):
        raise ConfigError("IMAGE, --width, --height: both given; the picture has a size, leave the flags out")
    if args.beside and args.references is not None:
        raise ConfigError(f"--references={args.references}, --image: both given; pictures are counted, leave it out")
    references = len(args.beside) + (1 if args.beside or args.image is not None else 0)
    references = references if args.references is None else args.references
    if references < 0 or (args.image is not None and references == 0):
        raise ConfigError(f"--references={references}: the pictures the model looks at, IMAGE included; 1 or more")
    if references and not config.takes_context:
        raise ConfigError(
            f"--references={references}: {config.name} was trained to make pictures from text alone; "
            "use nano or kontext_dev, or --references 0"
        )
    if args.size is not None and not references:
        raise ConfigError(f"--size={args.size}: of an edit; use --width and --height, or --references 1")
    options = Options(
        steps=args.steps,
        sampler=args.sampler or defaults.sampler,
        num_images=args.num_images,
        batch_size=args.batch_size,
        true_guidance=args.true_guidance,
    )
    true_guidance = defaults.edit_true_guidance if references else defaults.generate_true_guidance
    width, height = args.width or defaults.width, args.height or defaults.height
    contexts: tuple[tuple[int, int], ...] = ()
    if references:
        fits = fit_pictures(config, _pictures(args, width, height, references), args.size or "auto")
        contexts = tuple((fit.width, fit.height) for fit in fits)
        width, height = contexts[0]
    geometry.check_size(width, height, config.pixels_per_token)
    return Request(
        width=width,
        height=height,
        contexts=contexts,
        evaluations=len(asked_at(options.sampler or defaults.sampler, options.steps or defaults.steps)),
        true_guidance=true_guidance if options.true_guidance is None else options.true_guidance,
        num_images=options.num_images,
        batch_size=options.batch_size,
        dtype=dtype,
    )


def _pictures(args: argparse.Namespace, width: int, height: int, references: int) -> list[tuple[int, int]]:
    """The sizes of the pictures of an edit, the edited one first: the files', else width x height, or the edited's."""
    from recast.pixels import image

    if args.image is not None:
        picture = image.read(args.image, name="IMAGE")
        width, height = picture.width, picture.height
    beside = [image.read(path, name="--image") for path in args.beside]
    further = [(one.width, one.height) for one in beside] or (references - 1) * [(width, height)]
    return [(width, height), *further]


# What is said.


def _data(
    config: ModelConfig,
    request: Request,
    cost: Estimate,
    device: str,
    available: int | None,
    available_is: str,
    rates: Rates | None,
) -> dict[str, Any]:
    total = planned_cost.core_bytes(cost, device)
    times = None if rates is None else seconds(cost, rates)
    return {
        "model": config.name,
        "request": asdict(request),
        "device": device,
        "tokens": cost.tokens,
        "parameters": cost.parameters,
        "bytes": {
            **{f"weights of {name}": size for name, size in cost.weights_bytes.items()},
            "encode": cost.encode_bytes,
            "step": cost.step_bytes,
            "decode": cost.decode_bytes,
            "peak": total,
        },
        "flops": {
            "text": cost.text.total,
            "encode": cost.encode.total,
            "step": {"linear": cost.step.linear, "attention": cost.step.attention},
            "evaluations": cost.evaluations,
            "sample": cost.condition.total + cost.sampling.total,
            "decode": cost.decode.total,
        },
        "device_bytes": available,
        "device_bytes_are": available_is,
        "fits": None if available is None else total <= available,
        "flops_per_s": None if rates is None else asdict(rates),
        "seconds": None if times is None else {**times, "all": sum(times.values())},
        "warnings": list(_warnings(config, request, total, device, available, available_is)),
        "accuracy": ACCURACY,
    }


def _warnings(
    config: ModelConfig, request: Request, total: int, device: str, available: int | None, available_is: str
) -> Iterator[str]:
    if available is None or total <= available:
        return
    advice = _what_fits(config, request, device, available)
    yield f"memory: {_size_of(total)} needed, {_size_of(available)} {available_is}; {advice}"


def _what_fits(config: ModelConfig, request: Request, device: str, available: int) -> str:
    """The nearest request that fits: one picture at a time, then bf16, then a smaller picture."""
    for change, other in _smaller(config, request):
        if planned_cost.core_bytes(estimate(config, other), device) <= available:
            return f"{change} fits"
    smallest = replace(_scaled(config, request, 0), dtype="bf16", batch_size=1)
    weights = sum(estimate(config, smallest).weights_bytes.values())
    return f"no size fits: the weights alone are {weights / GIB:.1f} GiB in bf16; use a device with more, or nano"


def _smaller(config: ModelConfig, request: Request) -> Iterator[tuple[str, Request]]:
    single = replace(request, batch_size=1)
    if request.batch_size > 1:
        yield "--batch-size 1", single
    half = replace(single, dtype="bf16")
    words = "" if request.dtype == "bf16" else "--dtype bf16"
    if words:
        yield words, half
    for eighths in range(7, 0, -1):
        scaled = _scaled(config, half, eighths)
        yield f"{words} {scaled.width}x{scaled.height}".strip(), scaled


def _scaled(config: ModelConfig, request: Request, eighths: int) -> Request:
    """The request at so many eighths of its width and height, in whole tokens; further pictures stay as they are."""
    side = config.pixels_per_token
    width, height = (max(1, length * eighths // 8 // side) * side for length in (request.width, request.height))
    contexts = ((width, height), *request.contexts[1:]) if request.contexts else ()
    return replace(request, width=width, height=height, contexts=contexts)


def _lines(data: dict[str, Any]) -> Iterator[str]:
    request, flops, times = data["request"], data["flops"], data["seconds"]
    kind = f"edit, {len(request['contexts'])} context" if request["contexts"] else "text to picture"
    count = "" if request["num_images"] == 1 else f"{request['num_images']} pictures, {request['batch_size']} a call, "
    yield (
        f"{data['model']} on {data['device']} in {request['dtype']}: {kind}, {count}{request['width']}x"
        f"{request['height']}, {sum(data['tokens'].values())} tokens, {flops['evaluations']} evaluations"
    )
    if "plan" in data:
        yield from planned_cost.lines(data["plan"])
    yield ""
    sizes = {name: size for name, size in data["bytes"].items() if name != "peak"}
    for name, number in data["parameters"].items():
        weighs = sizes.pop(f"weights of {name}", None)
        yield f"{name:16}{number:>16,} parameters{'' if weighs is None else _size_of(weighs):>14}".rstrip()
    for name, size in sizes.items():
        yield f"{f'{name}, at once':43}{_size_of(size):>14}"
    largest = "the largest stage, weights included"
    if "plan" not in data:
        beside = ", and the driver's" if data["device"].startswith("cuda") else ""
        largest = f"weights and the largest of these three{beside}"
    yield f"{'memory':43}{_size_of(data['bytes']['peak']):>14}   {largest}"
    yield ""
    for name in ("text", "encode", "sample", "decode"):
        spent = "" if times is None else f"{_time(times[name]):>20}"
        yield f"{name:16}{flops[name] / 1e12:>16.3f} TFLOP{spent}"
    step = flops["step"]
    yield f"{'one step':16}{sum(step.values()) / 1e12:>16.3f} TFLOP, {step['attention'] / 1e12:.3f} of it attention"
    if times is None:
        yield f"time: not available, there is no {data['device']} here to measure; --tflops RATE can state one"
    else:
        rates = [f"{rate / 1e12:.3g} TFLOP/s in the {name}" for name, rate in _flop_rates(data)]
        yield f"{'time':16}{_time(times['all']):>42}   at {', '.join(rates)}"
    yield ""
    if data["fits"]:
        yield f"fits: {_size_of(data['bytes']['peak'])} of {_size_of(data['device_bytes'])} {data['device_bytes_are']}"
    yield from (f"warning: {warning}" for warning in data["warnings"])
    yield from (f"{name}: {words}" for name, words in data["accuracy"].items())


def _flop_rates(data: dict[str, Any]) -> Iterator[tuple[str, float]]:
    said = {"linear": "products"}
    return ((said.get(name, name), rate) for name, rate in data["flops_per_s"].items() if name != "bus")


def _size_of(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.1f} MiB"


def _time(seconds: float) -> str:
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / length:.{2 if unit == 's' else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
