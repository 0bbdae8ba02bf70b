"""Weights into files, in any of the three layouts: one tensor in memory at a time, and whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recast.config import AutoencoderConfig, FlowConfig, ModelConfig, to_dict
from recast.errors import WeightsError
from recast.weights import configs, names
from recast.weights.checkpoint import Checkpoint, open_all, read_config
from recast.weights.files import ITEM_BYTES, TensorFile, arriving, count, few
from recast.weights.locate import FOLDERS, FORMAT, Layout
from recast.weights.reading import TORCH_DTYPES, default_dtype, read_tensor

SHARD_BYTES = 10**10
DTYPE_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
_COMPANIONS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_COMPANION_FILES = (".json", ".safetensors", ".txt", ".model")

Entry = tuple[str, tuple[int, ...]]  # dtype, shape


@dataclass(frozen=True)
class _Tensors:
    """One part to be written: what each tensor is, how to get it when its turn comes, and the part's config."""

    entries: dict[str, Entry]
    read: Callable[[str], Tensor]
    config: FlowConfig | AutoencoderConfig | None


def save(
    path: str | Path,
    parts: Mapping[str, nn.Module | Mapping[str, Tensor]],
    config: ModelConfig,
    *,
    layout: Layout = "recast",
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    text_encoder_config: Mapping[str, Any] | None = None,
) -> Path:
    """Write the parts of a model, `{"flow": module, "autoencoder": module}`, and return the path.

    A path ending in .safetensors is one part in the BFL layout; any other is a folder. dtype: of floating-point
    tensors, as they are if None. text_encoder_config: what goes into text_encoder/config.json beside that part.
    Raises WeightsError if something is at `path`, or the layout cannot hold the model.
    """
    path = Path(path)
    own = _components(config)
    tensors = {}
    for part, content in parts.items():
        state = content.state_dict() if isinstance(content, nn.Module) else dict(content)
        tensors[part] = _of_state(part, state, own.get(part), dtype)
    with arriving(path) as partial:
        _write(partial, path, tensors, config.name, config, layout, shard_bytes)
        if text_encoder_config is not None and "text_encoder" in parts:
            _write_json(partial / "text_encoder" / "config.json", text_encoder_config)
    return path


def convert(
    source: str | Path,
    target: str | Path,
    layout: Layout,
    *,
    parts: tuple[str, ...] = ("flow", "autoencoder"),
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    config: ModelConfig | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write the model at `source` at `target` in another layout, and return the target.

    Values are the same to the bit unless dtype asks otherwise; eight-bit floats become bfloat16. Text encoders,
    tokenizers and scheduler that lie beside them go along as they are. config: for models that tensors and names
    cannot tell; variant: as in `open_checkpoint`.
    Raises WeightsError if something is at `target`, or the layout cannot hold the model.
    """
    source, target = Path(source), Path(target)
    found = {part: opened for part, opened in open_all(source, variant=variant).items() if part in parts}
    if not found:
        raise WeightsError(f"parts={parts}: not at {str(source)!r}; see `recast info` for what is")
    own = _components(config) if config else {}
    tensors = {part: _of_checkpoint(opened, own.get(part), dtype) for part, opened in found.items()}
    model = config or (read_config(source, variant=variant) if layout == "recast" else None)
    name = model.name if model else found["flow"].variant if "flow" in found else None
    with arriving(target) as partial:
        _write(partial, target, tensors, name, model, layout, shard_bytes)
        if partial.is_dir() and source.is_dir():
            _copy_companions(source, partial)
    return target


def _write(
    path: Path,
    target: Path,
    parts: Mapping[str, _Tensors],
    name: str | None,
    model: ModelConfig | None,
    layout: Layout,
    shard_bytes: int,
) -> None:
    """Write at `path` what will be moved to `target`."""
    if target.suffix == ".safetensors":
        if layout != "bfl" or len(parts) != 1:
            raise WeightsError(
                f"target={target.name!r}: {' and '.join(parts) or 'nothing'} in the layout {layout!r} into one file; "
                "one part in the layout 'bfl' is accepted; name a folder, or choose a part"
            )
        [(part, tensors)] = parts.items()
        _write_file(path, tensors, _header(part, tensors, name))
        return
    path.mkdir()
    if layout == "recast":
        if model is None or "flow" not in parts:
            raise WeightsError(
                f"layout='recast': {' and '.join(parts) or 'nothing'} and config={model and model.name}; "
                "a recast folder holds a flow transformer and its config; choose the layout 'bfl' for a part"
            )
        _write_json(path / "config.json", {"format": FORMAT, **to_dict(model)})
    flow_file = "flow.safetensors" if layout == "recast" else configs.FILES.get(name or "", "flow.safetensors")
    for part, tensors in parts.items():
        if part not in FOLDERS:
            (path / part).mkdir()
            _write_file(path / part / "model.safetensors", tensors, {})
        elif layout == "diffusers":
            _write_diffusers(path / FOLDERS[part], part, tensors, name, shard_bytes)
        else:
            file = flow_file if part == "flow" else "ae.safetensors"
            _write_file(path / file, tensors, _header(part, tensors, name))


def _write_file(path: Path, tensors: _Tensors, header: Mapping[str, str]) -> None:
    with TensorFile(path, tensors.entries, header) as file:
        for name in tensors.entries:
            file.put(name, tensor_bytes(tensors.read(name)))


def _write_diffusers(folder: Path, part: str, tensors: _Tensors, name: str | None, shard_bytes: int) -> None:
    """`transformer/` or `vae/`: config.json, and shards with an index if one file would exceed shard_bytes."""
    folder.mkdir()
    _write_json(folder / "config.json", _diffusers_settings(part, tensors, name))
    plan = _diffusers_plan(part, tensors.entries)
    entries = {theirs: entry for pieces in plan.values() for theirs, entry in pieces.items()}
    shards = _shard(entries, shard_bytes)
    total = sum(_size(entry) for entry in entries.values())
    with ExitStack() as stack:
        where: dict[str, TensorFile] = {}
        for file, shard in shards.items():
            opened = stack.enter_context(TensorFile(folder / file, {theirs: entries[theirs] for theirs in shard}))
            where |= dict.fromkeys(shard, opened)
        for ours, pieces in plan.items():
            tensor = tensors.read(ours)
            if ours.startswith(names.HALVES_SWAPPED):
                tensor = torch.cat(tensor.chunk(2)[::-1])
            rows = tensor.split([shape[0] for _, shape in pieces.values()])
            for theirs, piece in zip(pieces, rows, strict=True):
                where[theirs].put(theirs, tensor_bytes(piece))
    if len(shards) > 1:
        weight_map = {theirs: file for file, shard in shards.items() for theirs in shard}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        _write_json(folder / "diffusion_pytorch_model.safetensors.index.json", index)


def _diffusers_plan(part: str, entries: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """For each of our tensors, the diffusers tensors that its rows become, in order."""
    table = names.tensors_of(names.modules_of(part, entries))
    unknown = [name for name in entries if name not in table]
    if unknown:
        raise WeightsError(
            f"layout='diffusers': has no place for {few(unknown)}; the tensors of a published architecture are "
            "accepted; save in the layout 'recast' or 'bfl'"
        )
    hidden_size = entries["img_in.weight"][1][0] if "img_in.weight" in entries else 0
    plan = {}
    for name, (dtype, shape) in entries.items():
        rest = shape[1:2] if names.is_pixel_attention(name) else shape[1:]
        parts = names.spans(table[name], shape[0], hidden_size)
        plan[name] = {part.name: (dtype, (part.rows, *rest)) for part in parts}
    return plan


def _shard(entries: Mapping[str, Entry], limit_bytes: int) -> dict[str, list[str]]:
    """File names and the tensors in each; a file exceeds the limit only for a single tensor that does."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, entry in entries.items():
        if filled and filled + _size(entry) > limit_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += _size(entry)
    stem = "diffusion_pytorch_model"
    if len(shards) == 1:
        return {f"{stem}.safetensors": shards[0]}
    return {f"{stem}-{i:05}-of-{len(shards):05}.safetensors": shard for i, shard in enumerate(shards, 1)}


def _diffusers_settings(part: str, tensors: _Tensors, name: str | None) -> dict[str, Any]:
    config = tensors.config
    if isinstance(config, FlowConfig):
        settings = configs.flow_to_diffusers(config)
    elif isinstance(config, AutoencoderConfig):
        settings = configs.autoencoder_to_diffusers(config)
    else:
        raise WeightsError(f"{part}: its config cannot be told from its tensors; pass config=...")
    return {**settings, **({"_name_or_path": name} if name else {})}


def _header(part: str, tensors: _Tensors, name: str | None) -> dict[str, str]:
    """What a file of ours says about itself: shapes do not tell all of a config."""
    if tensors.config is None:
        return {}
    return {"recast": json.dumps({"name": name, part: asdict(tensors.config)})}


def _of_state(
    part: str, state: dict[str, Tensor], config: FlowConfig | AutoencoderConfig | None, dtype: torch.dtype | None
) -> _Tensors:
    for name, tensor in state.items():
        if tensor.is_meta:
            raise WeightsError(f"{part}: {name} is on the meta device and has no values; load the module first")

    def wanted(tensor: Tensor) -> torch.dtype:
        return dtype if dtype and tensor.is_floating_point() else tensor.dtype

    entries = {name: (DTYPE_NAMES[wanted(tensor)], tuple(tensor.shape)) for name, tensor in state.items()}
    return _Tensors(entries, lambda name: state[name].detach().to("cpu", wanted(state[name])), config)


def _of_checkpoint(
    opened: Checkpoint, config: FlowConfig | AutoencoderConfig | None, dtype: torch.dtype | None
) -> _Tensors:
    if opened.incomplete:
        raise WeightsError(
            f"weights={str(opened.path)!r}: missing: {few(opened.incomplete)}; every part of a fused tensor is "
            "needed; get the whole file"
        )
    if config is None:
        try:
            config = opened.config
        except WeightsError:  # widths nobody published: only layouts that need no config can be written
            config = None
    entries = {
        name: (DTYPE_NAMES[dtype or default_dtype(source)], source.shape) for name, source in opened.tensors.items()
    }
    return _Tensors(entries, lambda name: read_tensor(opened.tensors[name], dtype), config)


def _components(config: ModelConfig) -> dict[str, FlowConfig | AutoencoderConfig]:
    return {"flow": config.flow, "autoencoder": config.autoencoder}


def _copy_companions(source: Path, target: Path) -> None:
    for folder in _COMPANIONS:
        files = [file for file in sorted((source / folder).glob("*")) if file.suffix in _COMPANION_FILES]
        if files and not (target / folder).exists():
            (target / folder).mkdir()
            for file in files:
                shutil.copyfile(file, target / folder / file.name)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _size(entry: Entry) -> int:
    dtype, shape = entry
    return count(shape) * ITEM_BYTES[dtype]


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor on the CPU as `TensorFile.put` takes it: row by row, without a copy if it lies so."""
    if tensor.numel() == 0:
        return memoryview(b"")
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data
