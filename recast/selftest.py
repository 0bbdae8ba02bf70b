"""Five tiny edits with known results: does this installation compute what it should, and if not, which part is broken?

`nano` makes five pictures of 64 pixels, each of another feature. On the way from words to a picture every stage is
compared with values kept in `nano/golden.json`; the first stage that differs, or a part that fails by itself,
names the suspect. Kept values are written by `python -m recast.selftest --write`.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recast import weights
from recast.config import VERSION
from recast.errors import ConfigError, InputError
from recast.flow.layers import rotate
from recast.flow.transformer import FlowTransformer
from recast.loading import load
from recast.nano import NANO
from recast.pipeline import Pipeline, Run
from recast.pixels.image import Picture

GOLDEN = NANO / "golden.json"
FORMAT, COMMAND = "recast-golden-1", "python -m recast.selftest --write"

# The stages of a picture, in order, each with the part that is suspected if it is the first to differ.
STAGES = {
    "text": "text encoder",
    "noise": "random numbers (torch.Generator)",
    "context": "autoencoder, encoding",
    "positions": "rotary positions",
    "velocity": "flow transformer",
    "adapter": "adapters (LoRA)",
    "latents": "sampler, schedule or guidance",
    "picture": "autoencoder, decoding",
}

# How far a stage may be from its kept values, in fp32, in fp32 on a GPU (which may round to TF32), and in bf16:
# relative; of the picture's 8 x 8 blocks, in levels of 255. Measured: the largest distance over all edits; in fp32
# with other kernels (one thread, two; without oneDNN; plain attention; no vector instructions); TF32 imitated on a
# CPU by rounding the inputs of every product; bf16 on a CPU. Faults: the smallest first seen at that stage of those
# in tests/test_selftest.py.
#
#              measured: fp32     TF32     bf16     smallest fault
# text                   1.3e-6   7.1e-4   0.014    0.11   pooled over the padding
# noise                  1.7e-6   1.7e-6   1.7e-6   0.0015 not drawn in bf16
# context                1.8e-6   2.7e-4   0.0022   0.48   latents not scaled
# positions              2.0e-6   2.0e-6   2.0e-6   0.052  two contexts at one index
# velocity               2.1e-6   3.1e-4   0.0082   0.017  a norm's epsilon of 0.1; most are above 0.3
# adapter                2.6e-6   8.7e-4   0.031    0.74   half of its strength
# latents                2.3e-6   5.6e-4   0.016    0.17   schedule not shifted
# picture                0.016    0.13     2.9      31     latents not scaled
# weights                5e-6, rounding of the kept values   1.1e-3 eight bits with one scale for a matrix
# attention              6.2e-7   -        0.0017   0.065  scale 10 % too large
# rotation               4.2e-8   -        0.0017   1.4    pairs of halves
KINDS = ("fp32", "tf32", "bf16")
LIMITS = {
    "text": (1e-4, 5e-3, 0.05),
    "noise": (1e-4, 1e-4, 1e-4),
    "context": (1e-4, 5e-3, 0.02),
    "positions": (1e-4, 1e-4, 1e-4),
    "velocity": (1e-4, 5e-3, 0.03),
    "adapter": (1e-4, 5e-3, 0.1),
    "latents": (1e-4, 5e-3, 0.06),
    "picture": (0.5, 1.0, 9.0),
    "weights": (5e-4, 5e-4, 5e-4),
    "attention": (1e-4, 5e-3, 0.01),
    "rotation": (1e-4, 5e-3, 0.01),
}
ERRORS = (RuntimeError, ValueError, TypeError, StopIteration)  # of a kernel a device cannot run, or of ours


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One of the five: what it asks of the pipeline, and what it is there for."""

    name: str
    prompt: str
    width: int = 64
    height: int = 64
    references: tuple[tuple[int, int], ...] = ()  # (width, height) of further pictures
    is_generated: bool = False
    has_adapter: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


EDITS = (
    Edit(name="text to picture", prompt="a red circle on a blue background", is_generated=True),
    Edit(name="one context", prompt="make the circle green"),
    Edit(name="two contexts", prompt="put the shape of image 2 on the left", references=((48, 80),)),
    Edit(
        name="true guidance",
        prompt="make the background yellow",
        options={"negative_prompt": "dark, blurred", "true_guidance": 3.0},
    ),
    Edit(name="16:9 with a LoRA", prompt="add a white square", width=128, height=72, has_adapter=True),
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: where, how far from the kept values, and how far it may be."""

    where: str
    suspect: str
    distance: float  # relative; of pictures, levels of 255
    limit: float
    note: str = ""

    @property
    def is_ok(self) -> bool:
        return self.distance <= self.limit  # false for NaN


@dataclass(frozen=True)
class Report:
    """All findings, parts first and then the stages of the edits."""

    parts: tuple[Finding, ...]
    edits: Mapping[str, tuple[Finding, ...]]

    @property
    def is_ok(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> list[Finding]:
        return [one for group in (self.parts, *self.edits.values()) for one in group if not one.is_ok]

    @property
    def suspect(self) -> str | None:
        """The part to look at first: one that fails by itself, else that of the earliest stage that differs."""
        broken = [one for one in self.parts if not one.is_ok]
        if broken:
            return broken[0].suspect
        order = list(STAGES.values())
        suspects = {one.suspect for findings in self.edits.values() for one in findings if not one.is_ok}
        return min(suspects, key=order.index, default=None)


Values = dict[str, list[float]]  # of one edit, by stage


def check(pipeline: Pipeline, golden: Mapping[str, Any] | None = None, *, edits: Sequence[Edit] = EDITS) -> Report:
    """Run the five edits, or some of them, on `pipeline` and compare: it must be `nano`, on any device, in any dtype.

    The pipeline is as before afterwards. Raises InputError if the kept values are missing or of another kind,
    ConfigError for another model.
    """
    golden = read_golden() if golden is None else golden
    exact = "fp32" if pipeline.device.type == "cpu" else "tf32"
    kind = KINDS.index("bf16" if pipeline.dtype == torch.bfloat16 else exact)
    limits = {stage: row[kind] for stage, row in LIMITS.items()}
    with one_thread():
        parts = tuple(_parts(pipeline, golden, limits))
        return Report(parts, {edit.name: tuple(_stages(pipeline, edit, golden, limits)) for edit in edits})


def measure(pipeline: Pipeline, edit: Edit) -> tuple[Values, str]:
    """The values of every stage of one edit, as `golden.json` keeps them, and an error's text if one ended it early.

    Each is a sketch: 32 signed sums over the tensor, so that the relative distance of two sketches is about that of
    the tensors. The picture is its means over 8 x 8 blocks, (8, 8, 3) in levels of 255.
    """
    defaults = replace(pipeline.config.defaults, min_tokens=4, max_tokens=64)
    small = Pipeline(replace(pipeline.config, defaults=defaults), pipeline.flow, pipeline.autoencoder, pipeline.text)
    options = {"seed": 7, "steps": 2, "true_guidance": 1.0, **edit.options}
    values: dict[str, list[Tensor]] = {}
    picture: Picture | None = None
    error = ""
    with _watched(pipeline.flow) as calls:
        try:
            texts = [small.text.encode([prompt]) for prompt in (edit.prompt, options.get("negative_prompt")) if prompt]
            values["text"] = [part for text in texts for part in (text.tokens, text.pooled) if part is not None]
            with _folded(pipeline.flow) if edit.has_adapter else nullcontext():
                run = _start(small, edit, options)
                for step in run:
                    if step.index == step.of:
                        values["latents"] = [step.tokens]
                picture = run.result.pictures[0]
        except ERRORS as problem:
            error = _one_line(problem)
    if calls:
        (x, t, condition), velocity = calls[0]
        values["noise"] = [x]
        if condition.context is not None:
            values["context"] = [condition.context]
        values["positions"] = [torch.view_as_real(condition.rotary)]
        with torch.inference_mode():
            values["velocity"] = [pipeline.flow(x, t, condition)]  # the adapter is out again
        if edit.has_adapter:
            values["adapter"] = [velocity - values["velocity"][0]]
    if edit.options:  # guidance calls twice, in an order that is free
        values.pop("velocity", None)
    sketches = {stage: _sketch(values[stage]) for stage in STAGES if stage in values}
    return sketches | ({} if picture is None else {"picture": _blocks(picture.rgb)}), error


def _start(pipeline: Pipeline, edit: Edit, options: Mapping[str, Any]) -> Run:
    if edit.is_generated:
        return pipeline.start_generate(edit.prompt, width=edit.width, height=edit.height, **options)
    references = [source(width, height, hue=1 + i) for i, (width, height) in enumerate(edit.references)]
    return pipeline.start_edit(source(edit.width, edit.height), edit.prompt, references=references, **options)


def source(width: int, height: int, *, hue: int = 0) -> np.ndarray:
    """A drawn picture (height, width, 3) uint8: a disc on a ramp."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    ramp = np.stack([60 + 120 * x / width, 90 + 80 * y / height, np.full_like(x, 150.0)], axis=-1)
    inside = (x - 0.4 * width) ** 2 + (y - 0.55 * height) ** 2 < (0.3 * min(width, height)) ** 2
    picture = np.where(inside[..., None], np.array([220.0, 40.0, 50.0]), ramp)
    return np.roll(picture, hue, axis=-1).round().astype(np.uint8)


def read_golden(path: Path = GOLDEN) -> dict[str, Any]:
    """The kept values. Raises InputError if they are not there or not of these five edits."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path.name}: cannot be read ({error}); written by `{COMMAND}`; install recast anew"
        ) from None
    if data.get("format") != FORMAT or list(data.get("edits", {})) != [edit.name for edit in EDITS]:
        raise InputError(f"{path.name}: values of another version; those of `{COMMAND}` accepted; install recast anew")
    return data


def write_golden(path: Path = GOLDEN) -> None:
    """Compute the kept values here, in fp32 on the CPU, and keep them."""
    pipeline = load("nano", device="cpu", dtype="fp32")
    data = {
        "format": FORMAT,
        "command": COMMAND,
        "versions": {"recast": VERSION, "torch": torch.__version__},
        "files": nano_checksums(),
        "weights": {name: _rounded(_sizes(network)) for name, network in _networks(pipeline).items()},
        "edits": {edit.name: {s: _rounded(v) for s, v in measure(pipeline, edit)[0].items()} for edit in EDITS},
    }
    text = json.dumps(data, indent=1)
    path.write_text(_numbers_on_one_line(text) + "\n")


def nano_checksums() -> dict[str, str]:
    """SHA-256 of each weight file of `nano`, by its name within the model."""
    files = sorted(file for part in weights.open_all(NANO).values() for file in part.files)
    return {file.relative_to(NANO).as_posix(): weights.checksum(file) for file in files}


# Parts that are tested by themselves.


def _parts(pipeline: Pipeline, golden: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[Finding]:
    for name, network in _networks(pipeline).items():
        yield _weights_finding(name, network, golden["weights"], limits["weights"])
    kernels: set[Any] = {block.attend for block in (*pipeline.flow.double_blocks, *pipeline.flow.single_blocks)}
    for kernel in kernels:
        yield _probe("attention", "attention kernel", limits, partial(_attention_distance, kernel, pipeline))
    yield _probe("rotation", "rotary kernel", limits, partial(_rotation_distance, pipeline))


def _probe(where: str, suspect: str, limits: Mapping[str, float], distance: Callable[[], float]) -> Finding:
    try:
        return Finding(where, suspect, distance(), limits[where])
    except ERRORS as error:
        return Finding(where, suspect, math.inf, limits[where], _one_line(error))


def _networks(pipeline: Pipeline) -> dict[str, nn.Module]:
    text = getattr(pipeline.text, "network", None)
    if text is None or pipeline.config.name != "nano":
        raise ConfigError(f"model={pipeline.config.name!r}: the kept values are of nano; load that for the self-test")
    return {"text encoder": text, "autoencoder": pipeline.autoencoder, "flow transformer": pipeline.flow}


def _weights_finding(name: str, network: nn.Module, kept: Mapping[str, Sequence[float]], limit: float) -> Finding:
    """How far the size of any tensor is from what it was: finds corruption, and rounding that is too coarse."""
    names = [parameter for parameter, _ in network.named_parameters()]
    where, suspect = f"weights of the {name}", f"weights of the {name}"
    if len(names) != len(kept[name]):
        return Finding(where, suspect, math.inf, limit, f"{len(names)} tensors, {len(kept[name])} expected")
    off = [abs(size / old - 1) if old else size for size, old in zip(_sizes(network), kept[name], strict=True)]
    worst = max(range(len(off)), key=lambda i: math.inf if math.isnan(off[i]) else off[i])
    return Finding(where, suspect, off[worst], limit, f"worst: {names[worst]}")


def _sizes(network: nn.Module) -> list[float]:
    """The mean magnitude of each tensor."""
    means = [parameter.detach().abs().mean(dtype=torch.float32) for parameter in network.parameters()]
    return torch.stack(means).tolist()


def _attention_distance(attend: Callable[[Tensor, Tensor, Tensor], Tensor], pipeline: Pipeline) -> float:
    """Of an attention kernel to the formula in fp64. More keys than queries, as a last block has them."""
    heads, width = 2, pipeline.config.flow.head_dim
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, heads, 37, width), (1, heads, 83, width), (1, heads, 83, width))
    q, k, v = (2 * torch.randn(shape, generator=generator, dtype=torch.float32) for shape in shapes)
    q, k, v = (part.to(pipeline.dtype) for part in (q, k, v))
    with torch.inference_mode():
        got = attend(*(part.to(pipeline.device) for part in (q, k, v))).cpu().double()
    q, k, v = (part.double() for part in (q, k, v))
    expected = ((q @ k.mT / math.sqrt(width)).softmax(-1) @ v).transpose(1, 2).flatten(2)
    return _distance(got, expected) if got.shape == expected.shape else math.inf


def _rotation_distance(pipeline: Pipeline) -> float:
    """Of `rotate` to the formula in fp64: pair (x, y) to (x cos - y sin, x sin + y cos)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((1, 2, 19, 16), generator=generator, dtype=torch.float32).to(pipeline.dtype)
    angle = 40 * torch.rand((1, 1, 19, 8), generator=generator, dtype=torch.float64)
    table = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
    with torch.inference_mode():
        got = rotate(x.to(pipeline.device), table.to(pipeline.device)).cpu().double()
    even, odd = x.double()[..., ::2], x.double()[..., 1::2]
    turned = (even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos())
    return _distance(got, torch.stack(turned, dim=-1).flatten(-2))


# Watching a run, and comparing.


@contextmanager
def one_thread() -> Iterator[None]:
    """On tensors this small threads gain nothing, and on a busy machine they wait for each other: 70 s, not 2."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _watched(flow: nn.Module) -> Iterator[list[tuple[Any, Tensor]]]:
    """Every call of the transformer, what it is given and the velocity it gives, by a hook that is gone afterwards."""
    calls: list[tuple[Any, Tensor]] = []
    hook = flow.register_forward_hook(lambda _, given, velocity: calls.append((given, velocity)))
    try:
        yield calls
    finally:
        hook.remove()


@contextmanager
def _folded(flow: FlowTransformer) -> Iterator[None]:
    """A small LoRA of a trainer's usual names, through a file, in the weights; out of them again afterwards."""
    module = "transformer.single_transformer_blocks.{}.attn.to_v.lora_{}.weight"
    width = flow.config.hidden_size
    wave = torch.arange(4 * width, dtype=torch.float32).reshape(4, width)
    tensors = {}
    for block in range(2):
        tensors[module.format(block, "A")] = torch.sin(0.7 * wave + block) / width**0.5
        tensors[module.format(block, "B")] = torch.cos(0.3 * wave + block).T.contiguous()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "selftest.safetensors"
        save_file(tensors, path)
        folded = weights.fold(flow, weights.read_adapter(path, flow))
    try:
        yield
    finally:
        weights.unfold(flow, folded)


def _stages(
    pipeline: Pipeline, edit: Edit, golden: Mapping[str, Any], limits: Mapping[str, float]
) -> Iterator[Finding]:
    values, error = measure(pipeline, edit)
    for stage, kept in golden["edits"][edit.name].items():
        if stage in values:
            yield _compare(stage, values[stage], kept, limits[stage])
        else:
            yield Finding(stage, STAGES[stage], math.inf, limits[stage], error)


def _compare(stage: str, values: Sequence[float], kept: Sequence[float], limit: float) -> Finding:
    got, expected = np.array(values, np.float64), np.array(kept, np.float64)
    suspect, note = STAGES[stage], ""
    if got.shape != expected.shape:
        return Finding(stage, suspect, math.inf, limit, f"{got.size} numbers, {expected.size} expected")
    if not np.isfinite(got).all():
        return Finding(stage, suspect, math.nan, limit, "not a number")
    if stage == "picture":
        distance = float(np.abs(got - expected).max())
        note = "one colour all over" if np.ptp(got) < 1 else ""
    else:
        distance = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    if stage == "adapter" and np.linalg.norm(got) < 0.05 * np.linalg.norm(expected):
        note = "the LoRA changes nothing"
    return Finding(stage, suspect, distance, limit, note)


def _sketch(tensors: Sequence[Tensor], count: int = 32) -> list[float]:
    """`count` sums of all numbers under signs that look random, divided by sqrt(count): Johnson and Lindenstrauss."""
    flat = np.concatenate([tensor.detach().float().cpu().numpy().ravel() for tensor in tensors]).astype(np.float64)
    signs = np.random.RandomState(0).randint(0, 2, (count, 4099)) * 2.0 - 1.0  # RandomState never changes
    rows = math.ceil(flat.size / 4099)
    grid = np.pad(flat, (0, rows * 4099 - flat.size)).reshape(rows, 4099)
    turns = np.random.RandomState(1).randint(0, 2, (rows, count)) * 2.0 - 1.0
    sums = ((grid @ signs.T) * turns).sum(0)
    return list(sums / math.sqrt(count))


def _blocks(rgb: np.ndarray) -> list[float]:
    height, width, _ = rgb.shape
    blocks = rgb.astype(np.float64).reshape(8, height // 8, 8, width // 8, 3).mean((1, 3))
    return list(blocks.ravel())


def _distance(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _numbers_on_one_line(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        inside = lines and lines[-1].lstrip().split(": ")[-1].startswith("[") and not lines[-1].endswith(("]", "],"))
        if inside:
            lines[-1] += line.strip() + (" " if line.endswith(",") and not line.strip().startswith("]") else "")
        else:
            lines.append(line)
    return "\n".join(line.replace(", ]", "]") for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Check, or with --write keep what is computed here."""
    if list(arguments) == ["--write"]:
        write_golden()
        return 0
    if arguments:
        print(f"{' '.join(arguments)}: --write or nothing accepted", file=sys.stderr)
        return 2
    report = check(load("nano"))
    for name, findings in {"parts": report.parts, **report.edits}.items():
        for one in findings:
            mark = "ok  " if one.is_ok else "FAIL"
            print(f"{mark}  {name:18}{one.where:30}{one.distance:12.3g} of {one.limit:g}  {one.note}")
    return 0 if report.is_ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
