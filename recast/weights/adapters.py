"""Adapters of any trainer, as changes of our parameters: strength * (alpha / r) * B A, and its variants."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from recast.errors import MissingWeights, WeightsError
from recast.weights.adapter_keys import Target, family, find_target, is_text_encoder, split_key, targets
from recast.weights.checkpoint import Piece, Source
from recast.weights.files import Header, few, read_header, read_json, require_local
from recast.weights.reading import map_tensor, read_tensor

LIMIT_BYTES = 2 << 30
WIDENED = "img_in.weight"  # control adapters bring the condition's channels, which their base does not have

Kind = Literal["low_rank", "kronecker", "hadamard", "add", "replace"]
_WHOLE: tuple[tuple[str, Kind], ...] = (("diff", "add"), ("diff_b", "add"), ("set", "replace"))


@dataclass(frozen=True)
class Change:
    """What an adapter does to some rows of one parameter."""

    parameter: str
    target: Target
    kind: Kind
    tensors: tuple[Tensor, ...]
    scale: float = 1.0  # alpha / r

    def apply(self, weight: Tensor, strength: float) -> None:
        """Change weight, an fp32 parameter of ours, in place. A replacement is whole at any strength but 0."""
        last = self.target.first + self.target.rows
        rows, factor = weight[self.target.first : last], strength * self.scale
        tensors = [tensor.to(weight.device, weight.dtype) for tensor in self.tensors]
        if self.target.halves_swapped:
            left = tensors[0] if self.kind == "low_rank" else self._whole(tensors)
            left = torch.cat(left.chunk(2)[::-1])
            tensors = [left, *tensors[1:]] if self.kind == "low_rank" else [left]
        elif self.kind in ("kronecker", "hadamard"):
            tensors = [self._whole(tensors)]
        if self.kind == "low_rank":
            rows.addmm_(tensors[0], tensors[1], alpha=factor)
        elif self.kind == "replace":
            if strength:
                rows.copy_(tensors[0].view_as(rows))
        else:
            rows.add_(tensors[0].reshape(rows.shape), alpha=factor)

    def _whole(self, tensors: list[Tensor]) -> Tensor:
        if self.kind == "kronecker":
            left, right = tensors
            return torch.kron(left, right)
        if self.kind == "hadamard":
            w1_a, w1_b, w2_a, w2_b = tensors
            return (w1_a @ w1_b) * (w2_a @ w2_b)
        return tensors[0]


@dataclass(frozen=True)
class AdapterReport:
    """What was understood of an adapter file, key by key."""

    family: str  # who writes such files; several, joined by " + ", if it mixes them
    matched: tuple[str, ...]
    unmatched: tuple[str, ...]  # no module of the model, or the same rows a second time
    text_encoder: tuple[str, ...]  # understood and not applied
    modules: tuple[str, ...]  # of ours, that change
    ranks: tuple[int, ...]  # all that occur
    in_channels: int | None  # of the widened img_in, for control adapters: the pipeline must bring the condition


@dataclass(frozen=True, eq=False)
class Adapter:
    """Changes of a model's parameters, read from a file."""

    path: Path
    changes: tuple[Change, ...]
    report: AdapterReport


# Parameters as they were before adapters were folded into their module; `folding` keeps it.
ORIGINALS: WeakKeyDictionary[nn.Module, dict[str, nn.Parameter]] = WeakKeyDictionary()


def read_adapter(path: str | Path, module: nn.Module) -> Adapter:
    """The changes that the adapter at `path`, a file or a PEFT folder, makes to `module`, a flow transformer.

    Keys that fit nothing are in the report; a file of which none fits is a WeightsError, and so are shapes that do
    not fit, numbers that are not finite, half a pair, and DoRA, whose norm over the changed weight no sum can hold.
    """
    header = read_header(_adapter_file(Path(path)))
    size = header.path.stat().st_size
    if size > LIMIT_BYTES:
        raise WeightsError(
            f"adapter={header.path.name!r}: {size} bytes; at most {LIMIT_BYTES} accepted; is it a whole model?"
        )
    originals = ORIGINALS.get(module, {})
    shapes = {name: tuple(originals.get(name, value).shape) for name, value in module.named_parameters()}
    table = targets(shapes)
    settings = _peft_settings(header)
    maps: dict[Path, Tensor] = {}
    groups, unknown = _groups(header, maps)

    found: dict[str, tuple[Target, str]] = {}
    for name in groups:
        target, prefix = find_target(name, table)
        if target is not None:
            found[name] = (target, prefix)
        else:
            unknown += groups[name].keys
    changes: list[Change] = []
    matched: list[str] = []
    ranks: set[int] = set()
    for name in sorted(found, key=lambda name: found[name][0].naming != "diffusers"):
        target, group = found[name][0], groups[name]
        made = _changes(name, target, group.tensors, settings, shapes)
        if not made or any(_overlap(old, new) for old in changes for new in made):
            unknown += group.keys
            continue
        changes += made
        matched += group.keys
        ranks.update(change.tensors[1].shape[0] for change in made if change.kind == "low_rank")
    text = [key for key in unknown if is_text_encoder(key)]
    unmatched = sorted(set(unknown) - set(text))
    if not matched:
        raise WeightsError(
            f"adapter={header.path.name!r}: none of its {len(header.tensors)} keys fits the flow transformer: "
            f"text encoder {few(text, 3)}, unknown {few(unmatched)}; names like "
            "'transformer.transformer_blocks.0.attn.to_q.lora_A.weight' or "
            "'lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight' are accepted; is it of another model?"
        )
    widened = [change.tensors[-1].shape[1] for change in changes if _is_wider(change, shapes)]
    report = AdapterReport(
        family=family(found.values()),
        matched=tuple(sorted(matched)),
        unmatched=tuple(unmatched),
        text_encoder=tuple(sorted(text)),
        modules=tuple(sorted({change.target.module for change in changes})),
        ranks=tuple(sorted(ranks)),
        in_channels=max(widened, default=None),
    )
    return Adapter(header.path, tuple(changes), report)


@dataclass
class _Group:
    """The tensors that a file has for one module, by their role."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


def _groups(header: Header, maps: dict[Path, Tensor]) -> tuple[dict[str, _Group], list[str]]:
    groups: dict[str, _Group] = {}
    unknown = []
    for key, stored in header.tensors.items():
        split = split_key(key)
        if split is None:
            unknown.append(key)
            continue
        name, role = split
        source = Source(key, stored.shape, (Piece(stored),))
        tensor = map_tensor(source, maps)
        group = groups.setdefault(name, _Group())
        group.tensors[role] = read_tensor(source) if tensor is None else tensor
        group.keys.append(key)
    return groups, unknown


def _changes(
    name: str,
    target: Target,
    tensors: dict[str, Tensor],
    settings: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> list[Change]:
    """The changes in one group of tensors; none if it has nothing but an alpha."""
    if "dora" in tensors or settings.get("use_dora"):
        raise WeightsError(
            f"{name}: DoRA, which scales the changed weight by its norm; plain LoRA, LoKr and LoHa are accepted; "
            "merge it into a checkpoint with the program that trained it, or train without DoRA"
        )
    if "tucker" in tensors:
        raise WeightsError(f"{name}: a Tucker core, made for convolutions; a linear layer's adapter has none")
    for role, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise WeightsError(f"{name}: {role} has numbers that are not finite; get or train it again")
    weight = next((full for leaf in ("weight", "scale") if (full := f"{target.module}.{leaf}") in shapes), "")
    bias = f"{target.module}.bias"
    found = {role: tensor for role, tensor in tensors.items() if role not in ("alpha", "dora")}
    made: list[Change] = []
    if {"down", "up"} & found.keys():
        down, up = _pop(name, found, "down").flatten(1), _pop(name, found, "up").flatten(1)
        scale = _scale(name, down.shape[0], tensors, settings)
        made.append(Change(weight, target, "low_rank", (up, down), scale))
        if "up_bias" in found:
            made.append(Change(bias, target, "add", (found.pop("up_bias"),), scale))
    elif any(role.startswith("lokr") for role in found):
        halves, rank = [], None
        for half in ("lokr_w1", "lokr_w2"):
            if half in found:
                halves.append(found.pop(half))
            else:
                left, right = _pop(name, found, f"{half}_a"), _pop(name, found, f"{half}_b")
                halves.append(left.float() @ right.float())
                rank = right.shape[0]
        scale = 1.0 if rank is None else _scale(name, rank, tensors, {})
        made.append(Change(weight, target, "kronecker", tuple(halves), scale))
    elif any(role.startswith("hada") for role in found):
        four = tuple(_pop(name, found, f"hada_{role}") for role in ("w1_a", "w1_b", "w2_a", "w2_b"))
        made.append(Change(weight, target, "hadamard", four, _scale(name, four[1].shape[0], tensors, {})))
    for role, kind in _WHOLE:
        if role in found:
            made.append(Change(bias if role == "diff_b" else weight, target, kind, (found.pop(role),)))
    if found:
        raise WeightsError(f"{name}: {', '.join(found)} alone; the rest of the change is needed; get the whole file")
    for change in made:
        _check_shape(name, change, shapes)
    return made


def _check_shape(name: str, change: Change, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises WeightsError unless a change has the shape of the rows it is for."""
    sizes = [tuple(tensor.shape) for tensor in change.tensors]
    came: tuple[int, ...]
    if change.kind == "low_rank":
        came = (sizes[0][0], sizes[1][1])
        fits = sizes[0][1] == sizes[1][0]
    elif change.kind == "kronecker":
        fits, came = True, tuple(a * b for a, b in zip(*sizes, strict=False))
    elif change.kind == "hadamard":
        fits, came = sizes[0][1] == sizes[1][0] and sizes[2][1] == sizes[3][0], (sizes[0][0], sizes[1][1])
        fits = fits and came == (sizes[2][0], sizes[3][1])
    else:
        fits, came = True, sizes[0]
    if change.parameter not in shapes:
        raise WeightsError(f"{name}: changes {change.parameter}, which the model lacks; is it of another model?")
    wanted = (change.target.rows, *shapes[change.parameter][1:])
    if not fits or (came != wanted and not _is_wider(change, shapes)):
        raise WeightsError(
            f"{name}: tensors of shapes {', '.join(map(str, sizes))} make a change of {came}; {wanted} is needed "
            f"for {change.parameter}; is it an adapter of another model?"
        )


def _is_wider(change: Change, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a change brings input channels that the model does not have yet."""
    if change.parameter != WIDENED or change.kind != "low_rank":
        return False
    rows, columns = shapes[WIDENED]
    up, down = change.tensors
    return up.shape[0] == rows and down.shape[1] > columns


def _scale(name: str, rank: int, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> float:
    """alpha / r, with the alpha of the tensors, else that of the header's settings, else r."""
    alpha = float(tensors["alpha"].float()) if "alpha" in tensors else 0.0
    if alpha:
        return alpha / rank
    if settings.get("lora_alpha") is None:
        return 1.0
    module = name.removeprefix("base_model.model.").removeprefix("transformer.")
    patterns = settings.get("alpha_pattern") or {}
    alpha = next((v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", module)), settings["lora_alpha"])
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _pop(name: str, tensors: dict[str, Tensor], role: str) -> Tensor:
    if role not in tensors:
        raise WeightsError(f"{name}: without its {role}; all of a change is needed; get the whole file")
    return tensors.pop(role)


def _overlap(one: Change, other: Change) -> bool:
    if one.parameter != other.parameter:
        return False
    return (
        one.target.first < other.target.first + other.target.rows
        and other.target.first < one.target.first + one.target.rows
    )


def _peft_settings(header: Header) -> dict[str, Any]:
    """lora_alpha and its kin, from the file's header (diffusers) or adapter_config.json beside it (PEFT)."""
    written = header.metadata.get("lora_adapter_metadata")
    if written is not None:
        try:
            content = json.loads(written)
        except ValueError as error:
            raise WeightsError(f"adapter={header.path.name!r}: lora_adapter_metadata is no JSON ({error})") from error
        return {key.removeprefix("transformer."): value for key, value in content.items()}
    beside = header.path.with_name("adapter_config.json")
    return read_json(beside) if header.path.stem == "adapter_model" and beside.is_file() else {}


_OF_A_RUN = Path("weights", "adapter.safetensors")  # what `recast train lora` writes


def _adapter_file(path: Path) -> Path:
    require_local(path, "adapter", "a .safetensors file or the folder of an adapter")
    if path.is_file():
        return path
    for name in ("adapter_model.safetensors", "pytorch_lora_weights.safetensors"):
        if (path / name).is_file():
            return path / name
    held = [str(file) for file in (*sorted(path.glob("*.safetensors")), path / _OF_A_RUN) if file.is_file()]
    there = f", such as {held[0]}" if held else ""
    if not held and (path / "checkpoints").is_dir():
        there = f"; a run has {_OF_A_RUN} when it is over"
    raise MissingWeights(
        f"adapter={str(path)!r}: no adapter_model.safetensors or pytorch_lora_weights.safetensors in the folder; "
        f"pass the path of the file{there}"
    )
