"""LoRA at no cost a step: W + s B A folded into the weights an engine works with, where they lie.

Which adapters are in, and how strongly, may change between any two requests. Addresses stay, so graphs go on; only
layers that an adapter touches are written. Of these a master is kept, or is there anyway where the engine works with
copies in another format or place: removal gives its bits back, since nothing is computed in the other direction.
Sums are taken in fp32 over all adapters and rounded once, as `recast.weights.fold` takes them: lossless.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recast.errors import ConfigError, WeightsError
from recast.speed.blocks import Block, Double, Modulator, Stream
from recast.speed.engine import Engine, Resident
from recast.speed.linear import Linear, Plain
from recast.speed.streaming import Streamed
from recast.weights.adapters import Adapter, Change, read_adapter

Requantise = Callable[[Linear, Tensor], None]  # a layer in another format, and its weight (o, d), to be written into it
Changes = Sequence[tuple[Change, float]]  # of one parameter, each with its strength
ALL = slice(None)
PARTS = {torch.float32: 1, torch.float64: 1, torch.bfloat16: 3}  # of a number of fp32, or fp64, in tensors of a dtype
ROUNDED_ONCE = ("low_rank", "replace")  # in any dtype; a CPU rounds the product of "add" before it adds


@dataclass(frozen=True)
class Written:
    """What a change of adapters has written."""

    parameters: tuple[str, ...]
    weights_bytes: int  # of these, as the engine works with them; traffic is about twice that, and the adapters


@dataclass(frozen=True)
class Place:
    """Where an engine reads some rows and columns of a parameter: a tensor of its own, or a layer's weight."""

    parameter: str
    where: Tensor | Linear
    rows: slice
    columns: slice


class Folding:
    """The adapters in an engine's weights. Not to be used while the engine is at work.

    Contexts that were cached before are of other weights: whoever keeps them forgets them after `set`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        requantise: Requantise | None = None,
        keep_on: torch.device | str | None = None,
    ) -> None:
        """requantise: writes a weight into a layer that is not plain; needed once an adapter touches one.

        keep_on: where masters are kept that have to be copied; None for the device of the weights. On a host they
        cost the device no memory, and each change its bus.
        Raises ConfigError for an engine whose weights are shared out, or lie where this does not know how to write.
        """
        if engine.num_heads != engine.config.num_heads:
            raise ConfigError(
                "engine: its weights are shared out among processes; whole ones accepted; load the pipeline with its "
                "adapters, then share it out"
            )
        self._engine, self._requantise, self._keep_on = engine, requantise, keep_on
        self._places: dict[str, list[Place]] = {}
        for place in (*_places(_held(engine.blocks)), *_of_modulators(engine)):
            self._places.setdefault(place.parameter, []).append(place)
        self._masters: dict[str, Tensor] = {}
        self._written: dict[str, Changes | None] = {}  # by parameter; None, half written
        self.active: tuple[tuple[Adapter, float], ...] = ()

    def read(self, path: str | Path) -> Adapter:
        """`recast.weights.read_adapter` for this network, its tensors on the device. The same errors, and report."""
        adapter = read_adapter(path, self._engine.flow)
        device = self._engine.device
        moved = (
            replace(change, tensors=tuple(tensor.to(device) for tensor in change.tensors)) for change in adapter.changes
        )
        return replace(adapter, changes=tuple(moved))

    @torch.inference_mode()
    def set(self, *adapters: tuple[Adapter, float]) -> Written:
        """Have these in the weights, each at its strength, and no others; none restores the masters to the bit.

        Raises ConfigError for a strength that is no finite number, for a control adapter, which widens a layer, and
        for a layer that needs `requantise`; WeightsError for an adapter of another model. Nothing is written then.
        """
        wanted: dict[str, list[tuple[Change, float]]] = {}
        for adapter, strength in adapters:
            self._check(adapter, strength)
            for change in adapter.changes:
                wanted.setdefault(change.parameter, []).append((change, strength))
        names = sorted(wanted.keys() | self._written.keys())
        touched = [name for name in names if not _is_same(self._written.get(name, ()), wanted.get(name, ()))]
        for name in touched:
            self._check_places(name)
        size = 0
        for name in touched:
            self._written[name] = None  # should writing fail, the next call writes it again
            size += self._write(name, wanted.get(name, ()))
            if name in wanted:
                self._written[name] = wanted[name]
            else:
                del self._written[name]
                self._masters.pop(name, None)
        for weights in (self._engine.blocks, self._engine.modulators):
            if touched and isinstance(weights, Streamed):
                weights.forget()
        self.active = adapters
        return Written(tuple(touched), size)

    # Inside.

    def _write(self, name: str, changes: Changes) -> int:
        """Fold into one parameter's places; the bytes of the working weights."""
        parameter = self._engine.flow.get_parameter(name).data
        own, others = self._own(name)
        if own and name not in self._masters:
            self._masters[name] = parameter.to(self._keep_on or parameter.device, copy=True)
        master = self._masters[name] if own else parameter
        changes = _joined(changes, parameter.dtype)
        if own and _is_rounded_once(changes, parameter.dtype):
            parameter.copy_(master)
            for change, strength in changes:
                change.apply(parameter, strength)
            folded = parameter
        else:
            sums = _summed(master.to(self._engine.device), changes)
            folded = parameter.copy_(sums) if own else sums.to(parameter.dtype)
        size = parameter.nbytes if own else 0
        for place in others:
            part = folded[place.rows, place.columns] if folded.ndim > 1 else folded[place.rows]
            if isinstance(place.where, Tensor):
                place.where.copy_(part)
                size += place.where.nbytes
            else:
                assert self._requantise is not None
                self._requantise(place.where, part)
                size += part.numel()
        return size

    def _own(self, name: str) -> tuple[bool, list[Place]]:
        """Whether the engine reads the network's own parameter, and where else it reads what is in it."""
        parameter, places = self._engine.flow.get_parameter(name), self._places.get(name, [])
        others = [
            place
            for place in places
            if not (isinstance(place.where, Tensor) and _is_same_storage(place.where, parameter))
        ]
        return len(others) < len(places) or not places, others

    def _check(self, adapter: Adapter, strength: float) -> None:
        if not math.isfinite(strength):
            raise ConfigError(f"strength={strength}: a finite number is needed; 1.0 is the adapter as trained")
        if adapter.report.in_channels is not None:
            raise ConfigError(
                f"adapter={adapter.path.name!r}: it widens img_in to {adapter.report.in_channels} channels, and "
                "weights stay where they are here; load the pipeline with it"
            )
        shapes = {name: tuple(value.shape) for name, value in self._engine.flow.named_parameters()}
        for change in adapter.changes:
            shape = shapes.get(change.parameter)
            fits = shape is not None and change.target.first + change.target.rows <= shape[0]
            if not fits or (change.kind == "low_rank" and shape and change.tensors[1].shape[1:] != shape[1:]):
                raise WeightsError(
                    f"adapter={adapter.path.name!r}: changes {change.parameter}, here {shape or 'missing'}; an adapter "
                    "that was read for this network is accepted; use `Folding.read`"
                )

    def _check_places(self, name: str) -> None:
        if self._engine.flow.get_parameter(name).is_meta:
            raise ConfigError(f"{name}: the network's own weights were given up; keep them, on the host, to fold")
        for place in self._own(name)[1]:
            if not isinstance(place.where, Tensor) and self._requantise is None:
                raise ConfigError(
                    f"requantise: missing, and the engine has {name} as {type(place.where).__name__}; pass what "
                    "writes weights into such a layer"
                )


def _is_same(one: Changes | None, other: Changes) -> bool:
    if one is None or len(one) != len(other):
        return False
    return all(a is b and strength == there for (a, strength), (b, there) in zip(one, other, strict=True))


def _summed(master: Tensor, changes: Changes) -> Tensor:
    """A master with all changes, in fp32 (fp64 stays); the master itself where there are none."""
    if not changes:
        return master
    sums = master.to(torch.promote_types(master.dtype, torch.float32), copy=True)
    for change, strength in changes:
        change.apply(sums, strength)
    return sums


def _joined(changes: Changes, dtype: torch.dtype) -> Changes:
    """The same changes, those of low rank in the same rows as one: W + s B A + s' B' A' is W + [s B, s' B'] [A; A'].

    So that weights are read and written once, whatever the number of adapters. s B has more digits than the dtype of
    the weights keeps: in bf16 it is a sum of three tensors, with the 24 bits of fp32.
    """
    by_rows: dict[tuple[int, int], list[tuple[Change, float]]] = {}
    for change, strength in changes:
        if change.kind == "low_rank" and dtype in PARTS and all(each.dtype == dtype for each in change.tensors):
            by_rows.setdefault((change.target.first, change.target.rows), []).append((change, strength))
    several = {id(change) for group in by_rows.values() if len(group) > 1 for change, _ in group}
    left = [(change, strength) for change, strength in changes if id(change) not in several]
    return [*left, *((_as_one(group, dtype), 1.0) for group in by_rows.values() if len(group) > 1)]


def _as_one(group: Changes, dtype: torch.dtype) -> Change:
    ups, downs = [], []
    for change, strength in group:
        up, down = change.tensors
        if change.target.halves_swapped:
            up = torch.cat(up.chunk(2)[::-1])
        rest = up.to(torch.promote_types(dtype, torch.float32)) * (strength * change.scale)
        for _ in range(PARTS[dtype]):
            ups.append(rest.to(dtype))
            downs.append(down)
            rest = rest - ups[-1]
    first = group[0][0]
    target = replace(first.target, halves_swapped=False)
    return replace(first, target=target, tensors=(torch.cat(ups, dim=1), torch.cat(downs)), scale=1.0)


def _is_rounded_once(changes: Changes, dtype: torch.dtype) -> bool:
    """Whether changes can be added to weights of this dtype one after another, and still be rounded but once.

    That saves two passes over a tensor of twice the size: a product that accumulates in fp32 reads and writes the
    weights as they are. No row may be changed twice, and no number of an adapter lose digits in the dtype.
    """
    rows: list[tuple[int, int]] = []
    for change, _ in changes:
        first, last = change.target.first, change.target.first + change.target.rows
        is_exact = all(torch.promote_types(tensor.dtype, dtype) == dtype for tensor in change.tensors)
        if change.kind not in ROUNDED_ONCE or not is_exact or any(a < last and first < b for a, b in rows):
            return False
        rows.append((first, last))
    return True


def _is_same_storage(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


# Where an engine reads what.


def _held(source: Any) -> list[Any]:
    """The blocks, or modulators, of an engine as they lie in memory, wherever that is."""
    if isinstance(source, Resident):
        return source.blocks
    if isinstance(source, Streamed):
        passing = source.on_host()
        return [*source.walk(0, len(source) - len(passing)), *passing]
    if isinstance(source, list):
        return source
    raise ConfigError(f"engine: its weights are in {type(source).__name__}; resident or streamed ones accepted")


def _of_modulators(engine: Engine) -> Iterator[Place]:
    depth = engine.config.depth
    names = [f"double_blocks.{i}.{stream}_mod.lin" for i in range(depth) for stream in ("txt", "img")]
    names += [f"single_blocks.{i}.modulation.lin" for i in range(engine.config.depth_single_blocks)]
    modulators: list[Modulator] = _held(engine.modulators)
    for name, modulator in zip([*names, "final_layer.adaLN_modulation.1"], modulators, strict=True):
        yield from _of_layer(name, modulator.layer)


def _places(blocks: Iterable[Block]) -> Iterator[Place]:
    num_double = 0
    for index, block in enumerate(blocks):
        if isinstance(block, Double):
            num_double += 1
            for name, stream in (("txt", block.text), ("img", block.image)):
                attention, mlp = f"double_blocks.{index}.{name}_attn", f"double_blocks.{index}.{name}_mlp"
                yield from _of_scales(f"{attention}.norm", stream)
                yield from _of_layer(f"{attention}.qkv", stream.qkv)
                yield from _of_layer(f"{attention}.proj", stream.proj)
                yield from _of_layer(f"{mlp}.0", stream.mlp_in)
                yield from _of_layer(f"{mlp}.2", stream.mlp_out)
            continue
        name, stream = f"single_blocks.{index - num_double}", block.stream
        width = len(_weight(stream.proj))
        yield from _of_scales(f"{name}.norm", stream)
        yield from _of_layer(f"{name}.linear1", stream.qkv, rows=slice(0, 3 * width))
        yield from _of_layer(f"{name}.linear1", stream.mlp_in, rows=slice(3 * width, None))
        yield from _of_layer(f"{name}.linear2", stream.proj, columns=slice(0, width))
        yield from _of_layer(f"{name}.linear2", stream.mlp_out, columns=slice(width, None))
        if block.joined is not None:
            yield from _of_layer(f"{name}.linear2", block.joined)


def _of_scales(name: str, stream: Stream) -> Iterator[Place]:
    yield Place(f"{name}.query_norm.scale", stream.query_scale, ALL, ALL)
    yield Place(f"{name}.key_norm.scale", stream.key_scale, ALL, ALL)


def _of_layer(name: str, layer: Linear, rows: slice = ALL, columns: slice = ALL) -> Iterator[Place]:
    yield Place(f"{name}.weight", layer.weight if isinstance(layer, Plain) else layer, rows, columns)
    bias = getattr(layer, "bias", None)
    if isinstance(bias, Tensor):
        yield Place(f"{name}.bias", bias, rows, ALL)


def _weight(layer: Linear) -> Tensor:
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        raise ConfigError(f"engine: a layer is {type(layer).__name__}, without a weight (o, d) to write to")
    return weight
