"""Files to a pipeline: which model, on what device, in which number format."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import cast

import torch

from recast import weights
from recast.config import ContextAttention
from recast.context.text import TextEncoder
from recast.context.text_files import load_byte_t5, load_clip_t5, stand_alone_files
from recast.errors import ConfigError, MissingWeights
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.nano import NANO
from recast.pipeline import Pipeline
from recast.recipe import Adapter

log = logging.getLogger(__name__)


def load(
    name_or_path: str | Path = "nano",
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    variant: str | None = None,
    adapters: Sequence[str | Path | tuple[str | Path, float]] = (),
    context_attention: ContextAttention | None = None,
) -> Pipeline:
    """A model, read from `nano` inside the package or from local files in BFL, diffusers or recast layout.

    device: "auto" (CUDA, else CPU) or any torch device. dtype: "auto", see `pick_dtype`.
    variant: which model the files hold, where neither their names nor their tensors say (Kontext, dev and Krea
    have the same tensors). adapters: LoRA files, each a path or (path, strength), folded into the weights.
    context_attention: "full" or "cached" (docs/model.md), where it is to be other than the files' config says.
    Raises MissingWeights if files are not there, WeightsError if they do not fit.
    """
    folder = place(name_or_path)
    target = pick_device(device)
    precision = pick_dtype(dtype, target)
    config = weights.read_config(folder, variant=variant)
    if context_attention is not None:
        config = replace(config, flow=replace(config.flow, context_attention=context_attention))
    parts = _parts(folder, variant)
    with torch.device("meta"):
        flow, autoencoder = FlowTransformer(config.flow), Autoencoder(config.autoencoder)
    weights.load_into(flow, parts["flow"], dtype=precision, device="cpu" if adapters else target)
    weights.load_into(autoencoder, parts["autoencoder"], dtype=torch.float32, device=target)
    read_text = load_byte_t5 if config.text.kind == "byte_t5" else load_clip_t5
    text = read_text(_home(folder), config.text, target, precision)
    folded = []
    for entry in adapters:
        path, strength = entry if isinstance(entry, tuple) else (entry, 1.0)
        adapter = weights.read_adapter(path, flow)
        weights.fold(flow, adapter, strength)
        if adapter.report.in_channels is not None:  # a control adapter widens the input
            flow.config = replace(flow.config, in_channels=adapter.report.in_channels)
        folded.append(recorded(path, adapter, strength))
        log.info("adapter folded file=%s matched=%d unmatched=%d", path, folded[-1].matched, folded[-1].unmatched)
    flow.to(target)  # folded on the CPU, where originals that are mapped cost no memory
    config = replace(config, flow=flow.config)
    return Pipeline(
        config,
        flow,
        autoencoder,
        text,
        checksums=partial(_checksums, parts, _home(folder)),
        adapters=folded,
    )


def recorded(path: str | Path, adapter: weights.Adapter, strength: float) -> Adapter:
    """What a recipe says of an adapter that was read from `path` and is in the weights."""
    report = adapter.report
    return Adapter(
        file=Path(path).name,
        sha256=weights.checksum(path),
        strength=strength,
        matched=len(report.matched),
        unmatched=len(report.unmatched) + len(report.text_encoder),
    )


def outline(name_or_path: str | Path = "nano", *, variant: str | None = None) -> Pipeline:
    """The model without its weights: it checks requests and says what they resolve to, and can run none.

    Costs a look at the files' headers. Raises MissingWeights or WeightsError where those already tell.
    """
    folder = place(name_or_path)
    config = weights.read_config(folder, variant=variant)
    parts = _parts(folder, variant)
    with torch.device("meta"):
        flow, autoencoder = FlowTransformer(config.flow), Autoencoder(config.autoencoder)
    return Pipeline(
        config,
        flow,
        autoencoder,
        cast(TextEncoder, None),
        checksums=partial(_checksums, parts, _home(folder)),
    )


def place(name_or_path: str | Path) -> Path:
    """Where a model's files are: `nano` is inside the package, any other name is a path."""
    return NANO if str(name_or_path) == "nano" else Path(name_or_path)


def pick_device(device: str) -> torch.device:
    """The device called `device`; "auto" is the best there is. Raises ConfigError for one this machine lacks."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")  # MPS is not tested, so not chosen
    kind, _, number = device.partition(":")
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    index = int(number) if number.isdecimal() else 0 if not number else -1
    if not 0 <= index < here.get(kind, 0):
        usable = ", ".join(name for name, count in here.items() if count)
        raise ConfigError(f"device={device!r}: not usable here; auto, {usable} accepted; choose one")
    return torch.device(device)


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of the flow transformer and the text encoder; the autoencoder stays in fp32.

    "auto" is bf16 on CUDA, and on a CPU that multiplies bf16 faster than fp32; fp32 elsewhere.
    Pictures of `nano` in bf16 are 52 to 61 dB from those in fp32 (docs/log.md).
    """
    if dtype == "auto":
        fast = device.type == "cuda" or (device.type == "cpu" and has_fast_bf16())
        return torch.bfloat16 if fast else torch.float32
    named = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "fp32": torch.float32, "float32": torch.float32}
    if dtype in named.values():
        return dtype  # type: ignore[return-value]
    if dtype not in named:
        raise ConfigError(f"dtype={dtype!r}: auto, bf16 or fp32 accepted")
    return named[str(dtype)]


@cache
def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices at 1.5 times the speed of fp32 or more: by trying, about 10 ms.

    Without native instructions bf16 is emulated, and slower; no CPU's name tells as surely as one product. One that
    is hopeless is not tried to the end: emulated, a product takes a hundred times as long.
    """

    def fastest(dtype: torch.dtype, tries: int) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        samples = []
        for _ in range(tries):
            begun = time.perf_counter()
            torch.mm(matrix, matrix)
            samples.append(time.perf_counter() - begun)
        return min(samples)

    usual = fastest(torch.float32, 8)
    if fastest(torch.bfloat16, 2) > 4 * usual:  # the first call of two makes the kernel
        return False
    return usual > 1.5 * fastest(torch.bfloat16, 8)


def _parts(folder: Path, variant: str | None) -> dict[str, weights.Checkpoint]:
    parts = weights.open_all(folder, variant=variant)
    if folder.is_file():  # one file of several: the others lie beside it
        for part in weights.PARTS:
            with suppress(MissingWeights):
                parts.setdefault(part, weights.open_checkpoint(folder.parent, part))
    for part in ("flow", "autoencoder"):
        if part not in parts:
            raise MissingWeights(f"weights={str(folder)!r}: its {part} is not there; put its file beside the others")
    return parts


def _home(place: Path) -> Path:
    """The folder of a model, of which `place` may be one file."""
    return place if place.is_dir() else place.parent


def _checksums(parts: Mapping[str, weights.Checkpoint], folder: Path) -> dict[str, str]:
    """The hash of every file that was read, as "part/file"."""
    files = {f"{name}/{file.name}": file for name, part in parts.items() for file in part.files}
    if "text_encoder" not in parts:  # stand-alone encoders, which are no part of a checkpoint
        files |= {f"text_encoder/{file.name}": file for file in stand_alone_files(folder)}
    return {name: weights.checksum(file) for name, file in files.items()}
