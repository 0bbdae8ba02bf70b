"""What is in a checkpoint, and how to read each tensor: the layouts meet here. No torch, no data, only headers.

A checkpoint is one part of a model (`flow`, `autoencoder`, `text_encoder`, `text_encoder_2`) under its BFL names.
A path may be a safetensors file, a diffusers folder or one of its subfolders, a folder of BFL files, or a recast
folder: `config.json` (with "format": "recast-1"), `flow.safetensors`, `ae.safetensors`, `text_encoder/`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from recast.config import PRESETS, AutoencoderConfig, FlowConfig, ModelConfig, from_dict, preset
from recast.errors import MissingWeights, WeightsError
from recast.weights import configs, names
from recast.weights.deltas import is_delta, read_delta
from recast.weights.files import Stored, checksum, count, few, require_local
from recast.weights.locate import FORMAT, PARTS, Absent, Found, Layout, Part, find_files, settings_of

_PREFIXES = {  # in files that hold a whole model, longest first
    "flow": ("model.diffusion_model.", "diffusion_model."),
    "autoencoder": ("first_stage_model.", "vae."),
    "text_encoder": ("text_encoders.clip_l.transformer.",),
    "text_encoder_2": ("text_encoders.t5xxl.transformer.",),
}
_OTHERS = ("text_encoders.", "cond_stage_model.", "conditioner.")  # known, and no part of what we read
_MARKS = {  # tensors by which a part is known, in either layout
    "flow": ("img_in.weight", "x_embedder.weight", "txt_in.weight", "context_embedder.weight"),
    "autoencoder": ("encoder.conv_in.weight", "decoder.conv_in.weight"),
    "text_encoder": ("text_model.final_layer_norm.weight", "shared.weight"),
    "text_encoder_2": ("shared.weight",),
}
_IGNORED = ("position_ids", "scaled_fp8", ".scale_input")  # buffers and marks that are no weights
_FOREIGN = {  # tensor names that other quantisers leave behind
    ".absmax": "bitsandbytes nf4 or int8",
    ".quant_map": "bitsandbytes nf4",
    ".wscales": "SVDQuant",
    ".smooth_factor": "SVDQuant",
    ".qweight": "SVDQuant, GPTQ or AWQ",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor of a file that is, or is some of the rows of, a tensor of ours."""

    stored: Stored
    scale: Stored | None = None  # of "scaled fp8": the values are stored * scale


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of one tensor of ours are: pieces to be stacked by rows."""

    name: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    halves_swapped: bool = False  # the second half of the rows comes first in the file


@dataclass(frozen=True)
class Checkpoint:
    """One part of a model in files: its tensors by their BFL names, and what else is known about it."""

    path: Path
    part: Part
    layout: Layout
    files: tuple[Path, ...]
    tensors: dict[str, Source]
    incomplete: tuple[str, ...]  # tensors of the file's own layout without which one of ours cannot be made
    ignored: tuple[str, ...]  # tensors that are no weights
    variant: str | None
    known_config: FlowConfig | AutoencoderConfig | None

    @property
    def config(self) -> FlowConfig | AutoencoderConfig:
        """From config.json or the file's header if one says, else from the shapes; WeightsError if neither can."""
        if self.known_config is not None:
            return self.known_config
        shapes = {name: source.shape for name, source in self.tensors.items()}
        if self.part == "flow":
            return configs.flow_config(shapes)
        if self.part == "autoencoder":
            return configs.autoencoder_config(shapes)
        raise WeightsError(f"part={self.part!r}: has no config of ours; read the config.json beside it")

    @property
    def parameters(self) -> int:
        return sum(count(source.shape) for source in self.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """How many tensors of the files, scales aside, have each dtype."""
        return dict(Counter(piece.stored.dtype for source in self.tensors.values() for piece in source.pieces))

    @property
    def size_bytes(self) -> int:
        return sum(piece.stored.size_bytes for source in self.tensors.values() for piece in source.pieces)


@dataclass(frozen=True)
class Summary:
    """What `recast info` says about a path."""

    path: Path
    parts: dict[str, Checkpoint]
    variant: str | None
    sha256: str | None

    @property
    def layout(self) -> str:
        return " + ".join(sorted({part.layout for part in self.parts.values()}))


def open_checkpoint(path: str | Path, part: Part = "flow", *, variant: str | None = None) -> Checkpoint:
    """The tensors of one part of the model at `path`, under their BFL names; reads headers only.

    variant: the caller's word for which of the published models it is, needed where the tensors cannot tell
    (`kontext_dev`, `dev` and `krea_dev` are alike). Where a folder holds both layouts, the BFL file is read: it
    needs no rearranging, and its autoencoder is the fp32 one.
    Raises MissingWeights if path or part is not there, WeightsError for a format that cannot be read.
    """
    path = Path(path)
    if is_delta(path):
        raise WeightsError(
            f"weights={str(path)!r}: a delta, which changes {read_delta(path).base.name} and holds no {part} of its "
            "own; `recast.load` reads it; where a checkpoint is asked for, pass its base or an exported model"
        )
    found = find_files(path, part)
    stored = {name: tensor for header in found.headers for name, tensor in header.tensors.items()}
    _refuse_foreign(path, stored)
    ours, scales, ignored = _of_part(path, part, stored)
    layout: Layout = found.layout or ("diffusers" if _is_diffusers(part, ours) else "bfl")
    known, name = _known_config(part, found)
    if layout == "diffusers" and part in ("flow", "autoencoder"):
        tensors, incomplete = _rearranged(part, ours, scales)
    else:
        tensors = {key: Source(key, tensor.shape, (Piece(tensor, scales.get(key)),)) for key, tensor in ours.items()}
        incomplete = ()
    if part == "flow":
        shapes = {key: source.shape for key, source in tensors.items()}
        variant = configs.find_variant(shapes, found.hints, variant) or name
    return Checkpoint(
        path=path,
        part=part,
        layout=layout,
        files=tuple(header.path for header in found.headers),
        tensors=tensors,
        incomplete=incomplete,
        ignored=tuple(ignored),
        variant=variant,
        known_config=known,
    )


def read_config(path: str | Path, *, variant: str | None = None) -> ModelConfig:
    """The config of the whole model at `path`, or of a delta; for published weights, the preset of their variant.

    Raises WeightsError if the tensors cannot tell which model it is and neither names nor `variant` say so.
    """
    path = Path(path)
    require_local(path)
    if is_delta(path):
        return read_delta(path).config
    settings = settings_of(path) if path.is_dir() else {}
    if settings.get("format") == FORMAT:
        return from_dict({key: value for key, value in settings.items() if key != "format"})
    flow = open_checkpoint(path, "flow", variant=variant)
    if flow.variant is None or flow.variant not in PRESETS:
        raise WeightsError(
            f"variant: {path.name!r} does not tell which model it is; kontext_dev, dev and krea_dev have the "
            f"same tensors; pass variant=... (accepted: {', '.join(configs.FILES)})"
        )
    assert isinstance(flow.config, FlowConfig)
    model = replace(preset(flow.variant), flow=flow.config)
    try:
        autoencoder = open_checkpoint(path, "autoencoder").config
    except Absent:
        return model
    assert isinstance(autoencoder, AutoencoderConfig)
    return replace(model, autoencoder=autoencoder)


def open_all(path: str | Path, *, variant: str | None = None) -> dict[str, Checkpoint]:
    """Every part of a model that is at `path`. Raises MissingWeights if none is."""
    parts: dict[str, Checkpoint] = {}
    for part in PARTS:
        try:
            parts[part] = open_checkpoint(path, part, variant=variant if part == "flow" else None)
        except Absent:
            continue
    if not parts:
        raise MissingWeights(
            f"weights={str(path)!r}: no part of a model found; a flow transformer or an autoencoder in BFL, "
            "diffusers or recast layout is accepted; an adapter is given beside a model, not as one"
        )
    return parts


def summary(path: str | Path, *, variant: str | None = None, with_checksum: bool = False) -> Summary:
    """What is at `path`, part by part; with_checksum reads every byte. Needs no torch."""
    parts = open_all(path, variant=variant)
    flow = parts.get("flow")
    return Summary(Path(path), parts, flow.variant if flow else None, checksum(path) if with_checksum else None)


def _of_part(
    path: Path, part: Part, stored: dict[str, Stored]
) -> tuple[dict[str, Stored], dict[str, Stored], list[str]]:
    """The tensors of one part without their prefix, the scales of those that have one, and what is ignored."""
    prefixes = [prefix for other in _PREFIXES.values() for prefix in other if _any_starts(stored, prefix)]
    own = [prefix for prefix in _PREFIXES[part] if prefix in prefixes]
    kept = {}
    for name, tensor in stored.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        if prefix in own or (not prefix and not name.startswith(_OTHERS)):
            kept[name.removeprefix(prefix)] = tensor
    if not any(mark in kept for mark in _MARKS[part]) and not (part == "flow" and _is_flow_like(kept)):
        raise Absent(f"weights={str(path)!r}: holds no {part}; its tensors begin {few(stored, 3)}")
    scales, ignored, ours = {}, [], {}
    for name, tensor in kept.items():
        scaled = name.removesuffix("scale_weight") + "weight"
        if name.endswith(".scale_weight") and scaled in kept:
            scales[scaled] = tensor
        elif name.endswith(_IGNORED):
            ignored.append(name)
        else:
            ours[name] = tensor
    return ours, scales, ignored


def _rearranged(
    part: Part, stored: dict[str, Stored], scales: dict[str, Stored]
) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Tensors of the diffusers layout as ours; names that fit nowhere stay, and are unexpected when loading."""
    rest, sources, incomplete = dict(stored), {}, []
    for name, parts in names.tensors_of(names.modules_of(part, stored)).items():
        found = [rest.pop(theirs) for theirs in parts if theirs in rest]
        if len(found) < len(parts):
            if found:
                incomplete += [theirs for theirs in parts if theirs not in stored]
            continue
        shape = (sum(tensor.shape[0] for tensor in found), *found[0].shape[1:]) if len(found) > 1 else found[0].shape
        if names.is_pixel_attention(name) and len(shape) == 2:
            shape = (*shape, 1, 1)
        if any(tensor.shape[1:] != found[0].shape[1:] for tensor in found):
            raise WeightsError(f"{name}: parts of shapes {[t.shape for t in found]} do not stack; check the files")
        pieces = tuple(Piece(tensor, scales.get(theirs)) for theirs, tensor in zip(parts, found, strict=True))
        sources[name] = Source(name, shape, pieces, name.startswith(names.HALVES_SWAPPED))
    sources |= {name: Source(name, tensor.shape, (Piece(tensor, scales.get(name)),)) for name, tensor in rest.items()}
    return sources, tuple(incomplete)


def _known_config(part: Part, found: Found) -> tuple[FlowConfig | AutoencoderConfig | None, str | None]:
    """The config that is written beside or in the files, and the model's name if that is too."""
    settings, layout = found.settings, found.layout
    if part not in ("flow", "autoencoder"):
        return None, None
    if layout == "recast":
        model = from_dict({key: value for key, value in settings.items() if key != "format"})
        return (model.flow if part == "flow" else model.autoencoder), model.name
    if layout == "diffusers" and settings:
        if part == "flow":
            name = str(settings.get("_name_or_path", ""))
            return configs.flow_from_diffusers(settings), name if re.fullmatch(r"\w+", name) else None
        return configs.autoencoder_from_diffusers(settings), None
    written = found.headers[0].metadata.get("recast")
    if written is None:
        return None, None
    try:
        content = json.loads(written)
        return configs.component(part, content[part]), content["name"]
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(
            f"{found.headers[0].path.name}: the config in its header is unreadable ({error}); "
            "that of a file written by recast is expected; write it again"
        ) from error


def _refuse_foreign(path: Path, stored: dict[str, Stored]) -> None:
    for name in stored:
        kind = next((kind for mark, kind in _FOREIGN.items() if name.endswith(mark)), None)
        if kind is None and ".quant_state." in name:
            kind = "bitsandbytes nf4"
        if kind:
            raise WeightsError(
                f"weights={str(path)!r}: quantised by {kind} ({name}); bf16, fp16, fp32 or fp8 weights are "
                "accepted; get the original file, recast quantises it itself"
            )


def _is_diffusers(part: Part, stored: Mapping[str, Stored]) -> bool:
    if part == "flow":
        return any(name.startswith(("x_embedder.", "transformer_blocks.", "single_transformer_")) for name in stored)
    return part == "autoencoder" and any(".mid_block." in name for name in stored)


def _is_flow_like(stored: Mapping[str, Stored]) -> bool:
    return any(name.startswith(("double_blocks.", "transformer_blocks.")) and "lora" not in name for name in stored)


def _any_starts(stored: Mapping[str, Stored], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in stored)
