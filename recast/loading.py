"""Files to a pipeline: which model, on what device, in which number format."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from recast import weights
from recast.config import ContextAttention, ModelConfig
from recast.context.text import TextEncoder
from recast.context.text_files import load_byte_t5, load_clip_t5, stand_alone_files
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.flow.layers import Embedder
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.models import place
from recast.pipeline import Pipeline
from recast.recipe import Adapter
from recast.weights.configs import FILES as PUBLISHED

log = logging.getLogger(__name__)

AdapterFiles = Sequence[str | Path | tuple[str | Path, float]]
"""Adapters to have in the weights, in order: each a path, or (path, strength)."""


def load(
    name_or_path: str | Path = "nano",
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    variant: str | None = None,
    adapters: AdapterFiles = (),
    context_attention: ContextAttention | None = None,
) -> Pipeline:
    """A model, read by its name (`recast models`) or from local files in BFL, diffusers or recast layout.

    A file may be a delta (`recast.weights.deltas`): its base lies in the same folder, or is inside the package.
    device: "auto" (CUDA, else CPU) or any torch device. dtype: "auto", see `pick_dtype`.
    variant: which model the files hold, where neither their names nor their tensors say (Kontext, dev and Krea
    have the same tensors). adapters: LoRA files, each a path or (path, strength), folded into the weights.
    context_attention: "full" or "cached" (docs/model.md), where it is to be other than the files' config says.
    Raises MissingWeights if files are not there, WeightsError if they do not fit, ConfigError for what `adapter_files`
    refuses.
    """
    files = open_files(name_or_path, variant=variant)
    target = pick_device(device)
    precision = pick_dtype(dtype, target)
    given = adapter_files(adapters)
    config, parts = files.config, files.parts
    if context_attention is not None:
        config = replace(config, flow=replace(config.flow, context_attention=context_attention))
    with torch.device("meta"):
        autoencoder = Autoencoder(config.autoencoder)
    flow = load_flow(files, config, precision, torch.device("cpu") if given or files.delta else target)
    weights.load_into(autoencoder, parts["autoencoder"], dtype=torch.float32, device=target)
    read_text = load_byte_t5 if config.text.kind == "byte_t5" else load_clip_t5
    text = read_text(files.home, config.text, target, precision)
    folded = []
    for path, strength in given:
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
        checksums=partial(_checksums, files, weights.remember),
        recalled=partial(_checksums, files, weights.recalled),
        adapters=folded,
    )


def adapter_files(adapters: AdapterFiles) -> list[tuple[str | Path, float]]:
    """Path and strength of each; a strength of 1 where none came.

    Raises ConfigError for what is no list of paths and finite strengths, and for a delta among them.
    """
    accepted = "a list of paths, or of (path, finite strength), accepted, as [('style.safetensors', 0.8)]; pass one"
    if isinstance(adapters, str) or not isinstance(adapters, Sequence):
        raise ConfigError(f"adapters: {adapters!r} came; {accepted}")
    given = [entry if isinstance(entry, tuple) else (entry, 1.0) for entry in adapters]
    for entry in given:
        if len(entry) != 2 or not isinstance(entry[0], str | Path) or not _is_finite(entry[1]):
            raise ConfigError(f"adapters: {entry!r} came; {accepted}")
        if weights.is_delta(entry[0]):
            raise ConfigError(
                f"adapters={str(entry[0])!r}: a delta over {weights.read_delta(entry[0]).base.name}, with steps and "
                "guidance of its own; adapters accepted; load it as the model"
            )
    return given


def _is_finite(strength: object) -> bool:
    return isinstance(strength, int | float) and not isinstance(strength, bool) and math.isfinite(strength)


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
    files = open_files(name_or_path, variant=variant)
    config = files.config
    with torch.device("meta"):
        flow, autoencoder = FlowTransformer(config.flow), Autoencoder(config.autoencoder)
    return Pipeline(
        config,
        flow,
        autoencoder,
        cast(TextEncoder, None),
        checksums=partial(_checksums, files, weights.remember),
    )


@dataclass(frozen=True)
class Files:
    """The files of a whole model, looked at and not read."""

    config: ModelConfig
    parts: Mapping[str, weights.Checkpoint]  # of a delta, those of its base
    home: Path  # the folder that text encoders are in
    delta: weights.Delta | None = None


def open_files(name_or_path: str | Path, *, variant: str | None = None) -> Files:
    """A model's files by their headers. Raises MissingWeights or WeightsError where those already tell."""
    here = place(name_or_path)
    if not weights.is_delta(here):
        return Files(weights.read_config(here, variant=variant), _parts(here, variant), _home(here))
    delta = weights.read_delta(here)
    base = _base_place(delta)
    variant = delta.base.name if delta.base.name in PUBLISHED else None
    under, parts = weights.read_config(base, variant=variant), _parts(base, variant)
    check_over(delta, under)
    return Files(delta.config, parts, _home(base), delta)


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
    """The dtype of the flow transformer and the text encoder; the core's autoencoder stays in fp32.

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


def load_flow(files: Files, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> FlowTransformer:
    """The flow transformer with its weights; of a delta, with the base it was made from."""
    wanted, lacks = config.flow, False
    if files.delta is not None:
        weights.check_base(files.delta, files.parts["flow"])
        lacks = wanted.guidance_embed and not _has_guidance(files.parts["flow"])
    with torch.device("meta"):
        flow = FlowTransformer(replace(wanted, guidance_embed=wanted.guidance_embed and not lacks))
    weights.load_into(flow, files.parts["flow"], dtype=dtype, device=device)
    if lacks:
        flow.config, flow.guidance_in = wanted, Embedder(256, wanted.hidden_size).to(device, dtype)
        for parameter in flow.guidance_in.parameters():
            nn.init.zeros_(parameter)
    if files.delta is not None:
        weights.apply_delta(flow, files.delta)
    return flow


def _has_guidance(flow: weights.Checkpoint) -> bool:
    return any(name.startswith("guidance_in.") for name in flow.tensors)


def _base_place(delta: weights.Delta) -> Path:
    """Where the base of a delta lies: in the delta's own folder, or in the package by its name."""
    beside = delta.path.parent
    with suppress(MissingWeights):
        weights.open_checkpoint(beside, "flow", variant=None)
        return beside
    try:
        return place(delta.base.name)
    except MissingWeights:
        raise MissingWeights(
            f"delta={delta.path.name!r}: is over {delta.base.name}, whose weights are not in {str(beside)!r}; put the "
            "delta into their folder"
        ) from None


def check_over(delta: weights.Delta, base: ModelConfig) -> None:
    """Raises WeightsError unless a delta's model is its base in all but guidance, attention and how it is asked."""
    ours, theirs = delta.config, base
    flow = replace(theirs.flow, guidance_embed=ours.flow.guidance_embed, context_attention=ours.flow.context_attention)
    pairs = {"flow": (ours.flow, flow), "autoencoder": (ours.autoencoder, theirs.autoencoder)}
    pairs |= {"text": (ours.text, theirs.text)}
    apart = [name for name, (mine, found) in pairs.items() if mine != found]
    if apart:
        raise WeightsError(
            f"delta={delta.path.name!r}: is over a {delta.base.name} of another {' and '.join(apart)}; the very base "
            "it was made from accepted; put that beside the delta"
        )


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


def _checksums(files: Files, hashed: Callable[[Path], str]) -> dict[str, str]:
    """The hash of every file that was read, as "part/file". hashed: of one file."""
    found = {f"{name}/{file.name}": file for name, part in files.parts.items() for file in part.files}
    if "text_encoder" not in files.parts:  # stand-alone encoders, which are no part of a checkpoint
        found |= {f"text_encoder/{file.name}": file for file in stand_alone_files(files.home)}
    if files.delta is not None:
        found[f"delta/{files.delta.path.name}"] = files.delta.path
    return {name: hashed(file) for name, file in found.items()}
