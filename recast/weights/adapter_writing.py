"""Adapters into files that other programs read: the way back of `adapters`.

Rows of a fused matrix that were changed apart (q, k, v) stay apart in the diffusers layout. The layouts that know only
the fused matrix get one pair for all of them, B block by block along the diagonal and A stacked: the same change, and
readers that take q, k and v apart again find the zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from recast.config import VERSION
from recast.errors import WeightsError
from recast.weights import names
from recast.weights.adapters import Change
from recast.weights.files import TensorFile, arriving
from recast.weights.writing import DTYPE_NAMES, tensor_bytes

AdapterFormat = Literal["diffusers", "bfl", "kohya"]
_Pair = tuple[Tensor, Tensor]  # B (rows, r), A (r, columns)


def save_adapter(
    path: str | Path,
    changes: Iterable[Change],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    format: AdapterFormat = "diffusers",
    dtype: torch.dtype | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write low-rank changes of a flow transformer as one .safetensors file, whole or not at all; the path.

    changes: as `read_adapter` gives them, or made in training. shapes: of the transformer's parameters, by our names.
    dtype: of the file's factors, as they are if None. about: JSON data for the header, under "recast".

    - diffusers: `transformer.*.lora_A.weight` and `lora_B.weight`, for diffusers, PEFT, ai-toolkit and ComfyUI.
      alpha / r is multiplied into B, and the header says lora_alpha = r: diffusers takes alpha from the header, or from
      `.alpha` tensors in one of its two loaders only, and refuses both together; ComfyUI takes the tensors only.
    - bfl: `diffusion_model.*.lora_A.weight`, `lora_B.weight` and `alpha`, our names behind ComfyUI's prefix.
    - kohya: `lora_unet_*.lora_down.weight`, `lora_up.weight` and `alpha`, for sd-scripts, ComfyUI and diffusers.

    Raises WeightsError for a change that is not low-rank, for numbers that are not finite, for a module that the
    model lacks, and if something is at `path`.
    """
    path = Path(path)
    if format not in get_args(AdapterFormat):
        raise WeightsError(f"format={format!r}: {', '.join(get_args(AdapterFormat))} accepted; choose one")
    if path.suffix != ".safetensors":
        raise WeightsError(f"path={path.name!r}: a name that ends in .safetensors accepted; add the ending")
    modules: dict[str, list[Change]] = {}
    for change in changes:
        _check(change, shapes)
        modules.setdefault(change.target.module, []).append(change)
    if not modules:
        raise WeightsError("changes: none came; an adapter changes at least one module; attach it to some")
    write = _diffusers if format == "diffusers" else _fused
    tensors, header = write(modules, shapes, format)
    tensors = {name: tensor if name.endswith(".alpha") or dtype is None else tensor.to(dtype)
               for name, tensor in tensors.items()}  # fmt: skip
    for name, tensor in tensors.items():  # after the cast: fp16 has numbers that are not finite above 65504
        if not torch.isfinite(tensor.float()).all():
            raise WeightsError(f"{name}: has numbers that are not finite as {tensor.dtype}; train again, or pass fp32")
    header["recast"] = json.dumps({"version": VERSION, **(about or {})})
    entries = {name: (DTYPE_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    with arriving(path) as partial, TensorFile(partial, entries, header) as file:
        for name, tensor in tensors.items():
            file.put(name, tensor_bytes(tensor))
    return path


def _diffusers(
    modules: Mapping[str, list[Change]], shapes: Mapping[str, tuple[int, ...]], _: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by the modules of diffusers, and the header that its loaders look for."""
    table = names.modules_of("flow", shapes)
    hidden_size = shapes["img_in.weight"][0]
    pairs: dict[str, _Pair] = {}
    for module, changes in modules.items():
        for part, first, size in names.spans(table[module], shapes[f"{module}.weight"][0], hidden_size):
            touching = [c for c in changes if c.target.first < first + size and first < c.target.first + c.target.rows]
            if touching:
                up, down = _stack(touching, first, size)
                if f"{module}.".startswith(names.HALVES_SWAPPED):
                    up = torch.cat(up.chunk(2)[::-1])
                pairs[part] = up, down
    ranks = {part: down.shape[0] for part, (_, down) in pairs.items()}
    usual = max(set(ranks.values()), key=list(ranks.values()).count)
    other = {f"^{part}": rank for part, rank in ranks.items() if rank != usual}
    settings = {
        "r": usual, "lora_alpha": usual, "rank_pattern": other, "alpha_pattern": other,
        "target_modules": sorted(pairs), "bias": "none", "use_dora": False, "use_rslora": False,
    }  # fmt: skip
    tensors = {}
    for part, (up, down) in pairs.items():
        tensors[f"transformer.{part}.lora_A.weight"] = down
        tensors[f"transformer.{part}.lora_B.weight"] = up
    written = json.dumps({f"transformer.{name}": value for name, value in settings.items()})
    return tensors, {"lora_adapter_metadata": written}


def _fused(
    modules: Mapping[str, list[Change]], shapes: Mapping[str, tuple[int, ...]], format: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by our own modules, each with its alpha."""
    tensors: dict[str, Tensor] = {}
    for module, changes in modules.items():
        scale = changes[0].scale
        up, down = _stack(changes, 0, shapes[f"{module}.weight"][0], scale)
        if format == "kohya":
            name, (a, b) = f"lora_unet_{module.replace('.', '_')}", ("lora_down", "lora_up")
        else:
            name, (a, b) = f"diffusion_model.{module}", ("lora_A", "lora_B")
        tensors[f"{name}.{a}.weight"], tensors[f"{name}.{b}.weight"] = down, up
        tensors[f"{name}.alpha"] = torch.tensor(scale * down.shape[0], dtype=torch.float32)
    if format != "kohya":
        return tensors, {}
    ranks = [len(change.tensors[1]) for changes in modules.values() for change in changes]
    rank = max(set(ranks), key=ranks.count)
    alpha = rank * next(iter(modules.values()))[0].scale
    return tensors, {"ss_network_module": "networks.lora_flux", "ss_network_dim": str(rank),
                     "ss_network_alpha": f"{alpha:g}"}  # fmt: skip


def _stack(changes: list[Change], first: int, rows: int, scale: float = 1.0) -> _Pair:
    """One pair for the rows from `first` on: B (rows, sum of r) and A (sum of r, columns), to be scaled by `scale`."""
    ups, downs = [], []
    for change in changes:
        up, down = (tensor.detach().to("cpu") for tensor in change.tensors)
        if change.target.halves_swapped:
            up = torch.cat(up.chunk(2)[::-1])
        start, stop = max(first, change.target.first), min(first + rows, change.target.first + change.target.rows)
        placed = up.new_zeros(rows, up.shape[1])
        placed[start - first : stop - first] = up[start - change.target.first : stop - change.target.first]
        ups.append(placed if change.scale == scale else placed * (change.scale / scale))
        downs.append(down)
    return torch.cat(ups, dim=1), torch.cat(downs)


def _check(change: Change, shapes: Mapping[str, tuple[int, ...]]) -> None:
    target = change.target
    if change.kind != "low_rank":
        raise WeightsError(
            f"{target.module}: a change of the kind {change.kind!r}; low_rank accepted, which all formats can hold"
        )
    if change.parameter != f"{target.module}.weight" or change.parameter not in shapes:
        raise WeightsError(f"{change.parameter}: the model lacks it; is it a change of another model?")
    up, down = (tuple(tensor.shape) for tensor in change.tensors)
    rows, columns = shapes[change.parameter]
    fits = up == (target.rows, down[0]) and target.first + target.rows <= rows and down[1] >= columns
    if not fits or not change.scale > 0:
        raise WeightsError(
            f"{target.module}: B {up}, A {down}, scale {change.scale:g} for rows {target.first} to "
            f"{target.first + target.rows} of a matrix ({rows}, {columns}); shapes that fit, scale above 0 accepted"
        )
