"""Tensors from files into modules: each key accounted for, and no weight held twice.

A tensor that is in the file as the module wants it is mapped: its pages are the file's, shared with every other
process that reads it, and dropped by the system when memory is short. One that must be stacked, swapped, cast or
sent to another device is read, piece by piece, straight to where it will stay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from recast.errors import WeightsError
from recast.weights.checkpoint import Checkpoint, Piece, Source
from recast.weights.files import EIGHT_BIT_FLOATS, Stored, few

logger = logging.getLogger(__name__)

TORCH_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
CHUNK_BYTES = 8 << 20  # of a tensor being cast: small enough for the allocator to give the same memory again
OPTIONAL = ("position_ids", "encoder.embed_tokens.weight")  # a buffer; a second copy of `shared.weight`


@dataclass(frozen=True)
class Loaded:
    """What `load_into` did."""

    tensors: int
    mapped: int  # of them, those whose pages are the file's
    ignored: tuple[str, ...]  # tensors of the file that are no weights


def load_into(
    module: nn.Module,
    checkpoint: Checkpoint,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> Loaded:
    """Give `module`, built on the meta device, the weights of `checkpoint`; its parameters are replaced.

    dtype None keeps the file's; eight-bit floats, which no layer computes in, become bfloat16 unless asked for.
    The files must not be rewritten while the module lives (replace them under another name).
    Raises WeightsError, with the module untouched, if a name is missing, unexpected, or of another shape.
    """
    wanted = module.state_dict(keep_vars=True)
    device = torch.device(device)
    aliases = _aliases(wanted)
    ignored = [*checkpoint.ignored, *(n for n in checkpoint.tensors if n not in wanted and n.endswith(OPTIONAL))]
    names = [name for name in checkpoint.tensors if name not in ignored]
    _account(checkpoint, wanted, names, aliases)
    _refuse_left_on_meta(module, wanted)

    maps: dict[Path, Tensor] = {}
    mapped = 0
    for name in names:
        source = checkpoint.tensors[name]
        target = dtype if wanted[name].is_floating_point() else None
        tensor = map_tensor(source, maps) if device.type == "cpu" else None
        if tensor is not None and tensor.dtype == (target or default_dtype(source)):
            mapped += 1
        else:
            tensor = read_tensor(source, target, device)
        for alias in aliases.get(id(wanted[name]), [name]):
            _assign(module, alias, tensor, wanted[name])
    logger.info("weights=%s part=%s tensors=%d mapped=%d", checkpoint.path, checkpoint.part, len(names), mapped)
    return Loaded(len(names), mapped, tuple(ignored))


def read_tensor(source: Source, dtype: torch.dtype | None = None, device: str | torch.device = "cpu") -> Tensor:
    """One tensor of ours, copied from its pieces, dequantised if they carry scales; (source.shape)."""
    dtype = dtype or default_dtype(source)
    result = torch.empty(source.shape, dtype=dtype)
    rows, half = 0, source.shape[0] // 2 if source.halves_swapped else 0
    for piece in source.pieces:
        stored = piece.stored
        if not stored.shape:
            _fill(result.view(1), replace(piece, stored=replace(stored, shape=(1,))))
            continue
        target = result[rows : rows + stored.shape[0]].view(stored.shape)
        if half:
            _fill(target[half:], piece, 0, half)
            _fill(target[:half], piece, half, stored.shape[0])
        else:
            _fill(target, piece)
        rows += stored.shape[0]
    return result.to(device)


def map_tensor(source: Source, maps: dict[Path, Tensor]) -> Tensor | None:
    """A tensor whose memory is the file's, or None if the file does not hold it as it is wanted.

    Writing to it changes this process's copy of the page, never the file. maps: kept for the next call.
    """
    piece = source.pieces[0]
    stored, dtype = piece.stored, TORCH_DTYPES[piece.stored.dtype]
    whole = len(source.pieces) == 1 and not source.halves_swapped and piece.scale is None
    if not whole or stored.size_bytes == 0 or stored.start % dtype.itemsize:
        return None
    if stored.file not in maps:
        size = stored.file.stat().st_size
        maps[stored.file] = torch.from_file(str(stored.file), shared=False, size=size, dtype=torch.uint8)
    data = maps[stored.file][stored.start : stored.start + stored.size_bytes]
    return data.view(dtype).view(source.shape)


def default_dtype(source: Source) -> torch.dtype:
    """The widest dtype of a tensor's pieces; bfloat16 for eight-bit floats."""
    dtypes = [_computable(piece.stored.dtype) for piece in source.pieces]
    widest = dtypes[0]
    for dtype in dtypes[1:]:
        widest = torch.promote_types(widest, dtype)
    return widest


def _fill(target: Tensor, piece: Piece, first: int = 0, last: int | None = None) -> None:
    """Read rows first to last of a piece into `target`, casting and scaling on the way if need be."""
    stored = piece.stored
    dtype = TORCH_DTYPES[stored.dtype]
    if dtype == target.dtype and piece.scale is None and target.is_contiguous():
        _read_bytes(target, stored, first)
        return
    scale = None if piece.scale is None else _row_scales(piece.scale, stored)[first:last]
    step = max(1, CHUNK_BYTES * stored.shape[0] // max(1, stored.size_bytes))
    for row, some in zip(range(0, len(target), step), target.split(step), strict=True):
        raw = torch.empty(some.shape, dtype=dtype)
        _read_bytes(raw, stored, first + row)
        if scale is None:
            some.copy_(raw)
        else:
            some.copy_(raw.float() * scale[row : row + step].view(-1, *[1] * (raw.ndim - 1)))


def _row_scales(stored: Stored, scaled: Stored) -> Tensor:
    """The scale of each row of a "scaled fp8" tensor, (rows,) fp32; files keep one for all of them, or one each."""
    scale = torch.empty(stored.shape, dtype=TORCH_DTYPES[stored.dtype])
    _read_bytes(scale, stored, 0)
    scale = scale.float().flatten()
    if scale.numel() not in (1, scaled.shape[0]):
        raise WeightsError(
            f"{stored.name}: {scale.numel()} values; one, or one per row of {scaled.name} {scaled.shape}, "
            "is accepted; get the file again"
        )
    return scale.expand(scaled.shape[0])


def _read_bytes(target: Tensor, stored: Stored, first_row: int) -> None:
    """Read into contiguous memory; not by mapping, whose pages would count beside the copy."""
    if target.numel() == 0:
        return
    row_bytes = stored.size_bytes // stored.shape[0] if first_row else 0
    data = target.flatten().view(torch.uint8).numpy().data
    with stored.file.open("rb", buffering=0) as file:
        file.seek(stored.start + first_row * row_bytes)
        while data:
            read = file.readinto(data)
            if not read:
                raise WeightsError(f"weights={str(stored.file)!r}: ends inside {stored.name}; get the file again")
            data = data[read:]


def _computable(dtype: str) -> torch.dtype:
    return torch.bfloat16 if dtype in EIGHT_BIT_FLOATS else TORCH_DTYPES[dtype]


def _aliases(wanted: dict[str, Tensor]) -> dict[int, list[str]]:
    """Names of the module that are one and the same parameter."""
    groups: dict[int, list[str]] = {}
    for name, tensor in wanted.items():
        groups.setdefault(id(tensor), []).append(name)
    return groups


def _account(
    checkpoint: Checkpoint, wanted: dict[str, Tensor], names: list[str], aliases: dict[int, list[str]]
) -> None:
    given = set(names)
    missing = [
        name
        for name, tensor in wanted.items()
        if not given.intersection(aliases[id(tensor)]) and not name.endswith("position_ids")
    ]
    unexpected = given - wanted.keys()
    misshapen = [
        f"{name}: {checkpoint.tensors[name].shape} in the file, {tuple(wanted[name].shape)} in the model"
        for name in names
        if name in wanted and checkpoint.tensors[name].shape != tuple(wanted[name].shape)
    ]
    if not (missing or unexpected or misshapen):
        return
    parts = {"missing": missing, "of them in part": checkpoint.incomplete}
    parts |= {"unexpected": list(unexpected), "of another shape": misshapen}
    raise WeightsError(
        f"weights={str(checkpoint.path)!r}: the {checkpoint.part} does not fit the model; "
        + "; ".join(f"{what}: {few(found)}" for what, found in parts.items() if found)
        + f"; {len(wanted)} names are accepted, each once; check variant and config, or get the whole file"
    )


def _refuse_left_on_meta(module: nn.Module, wanted: dict[str, Tensor]) -> None:
    left = [name for name, buffer in module.named_buffers() if buffer.is_meta and name not in wanted]
    if left:
        raise WeightsError(
            f"module: buffers {few(left)} are on the meta device and in no file; a module computes them when "
            "used, or is built with them on a real device"
        )


def _assign(module: nn.Module, name: str, tensor: Tensor, old: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    if isinstance(old, nn.Parameter):
        setattr(owner, leaf, nn.Parameter(tensor, requires_grad=old.requires_grad))
    else:
        setattr(owner, leaf, tensor)
