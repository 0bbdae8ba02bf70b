"""Adapters into weights, and out again to the bit.

Folding adds the change once, in fp32, so that a step costs nothing more. What was there before is kept, not computed
back: adding and subtracting a change once alters a tenth of the weights. Originals cost nothing while they are mapped
from a file, so fold before moving a model to a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import nn

from recast.errors import ConfigError, WeightsError
from recast.weights.adapters import ORIGINALS, WIDENED, Adapter


@dataclass(frozen=True, eq=False)
class Folded:
    """An adapter that is in a module's weights; give it to `unfold` to take it out."""

    adapter: Adapter
    strength: float
    parameters: tuple[str, ...]


@dataclass
class _State:
    """What stands in the place of a module's folded parameters, and which adapters are in them."""

    placed: dict[str, nn.Parameter] = field(default_factory=dict)
    active: list[Folded] = field(default_factory=list)


_STATES: WeakKeyDictionary[nn.Module, _State] = WeakKeyDictionary()


def fold(module: nn.Module, adapter: Adapter, strength: float = 1.0) -> Folded:
    """Put an adapter into the weights of `module`; parameters it touches are replaced, not written to.

    Sums are taken in fp32 from the original weights over all folded adapters, in their order, and cast once.
    Raises ConfigError for a strength that is no finite number, WeightsError if weights were loaded in between.
    """
    if not math.isfinite(strength):
        raise ConfigError(f"strength={strength}: a finite number is needed; 1.0 is the adapter as trained")
    state = _STATES.setdefault(module, _State())
    folded = Folded(adapter, strength, tuple(sorted({change.parameter for change in adapter.changes})))
    _check_in_place(module, state, folded.parameters)
    state.active.append(folded)
    _recompute(module, state, folded.parameters)
    return folded


def unfold(module: nn.Module, folded: Folded) -> None:
    """Take an adapter out: the weights are, to the bit, as if it had never been in. Any order will do."""
    state = _STATES.get(module)
    if state is None or folded not in state.active:
        raise WeightsError(
            f"adapter={folded.adapter.path.name!r}: not folded into this module; give what `fold` returned, once"
        )
    _check_in_place(module, state, folded.parameters)
    state.active.remove(folded)
    _recompute(module, state, folded.parameters)


def settle(module: nn.Module) -> None:
    """Make what is folded in the weights themselves: it cannot be taken out, and the originals are let go."""
    ORIGINALS.pop(module, None)
    _STATES.pop(module, None)


@torch.no_grad()
def _recompute(module: nn.Module, state: _State, parameters: tuple[str, ...]) -> None:
    originals = ORIGINALS.setdefault(module, {})
    for name in parameters:
        current = module.get_parameter(name)
        original = originals.setdefault(name, current)
        changes = [
            (change, folded.strength)
            for folded in state.active
            for change in folded.adapter.changes
            if change.parameter == name
        ]
        if changes:
            # float64 stays; a change of device or dtype since the first fold (module.to) is followed
            base = original.to(current.device, torch.promote_types(original.dtype, torch.float32), copy=True)
            columns = [c.tensors[-1].shape[1] for c, _ in changes if name == WIDENED and c.kind == "low_rank"]
            extra = max(columns, default=0) - base.shape[-1]
            if extra > 0:
                base = nn.functional.pad(base, (0, extra))
            for change, strength in changes:
                own = change.tensors[-1].shape[1] if change.kind == "low_rank" else original.shape[-1]
                change.apply(base[:, :own] if name == WIDENED else base, strength)
            new = nn.Parameter(base.to(current.dtype), requires_grad=current.requires_grad)
        elif original.device == current.device and original.dtype == current.dtype:
            new = original
        else:
            new = nn.Parameter(original.to(current.device, current.dtype), requires_grad=current.requires_grad)
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, new)
        if changes:
            state.placed[name] = new
        else:
            del originals[name]
            state.placed.pop(name, None)


def _check_in_place(module: nn.Module, state: _State, parameters: tuple[str, ...]) -> None:
    for name in parameters:
        if name in state.placed and module.get_parameter(name) is not state.placed[name]:
            raise WeightsError(
                f"{name}: replaced since an adapter was folded into it; unfold adapters before loading weights"
            )
