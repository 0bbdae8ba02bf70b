"""A matrix product with weights, in the number format it is kept in; what it eats is a tensor or eight-bit rows."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Part = TypeVar("Part")


class Rows(NamedTuple):
    """Rows of eight-bit numbers, each with a scale of its own: x is about values * scale."""

    values: Tensor  # (b, s, d) float8_e4m3fn
    scale: Tensor  # (b, s, 1) fp32


class Linear(Protocol):
    """x W^T + bias. A linear layer of the engine: what a plan may replace."""

    @property
    def eats_rows(self) -> bool:
        """Whether it is given `Rows`; whoever makes x asks, so that the rounding is done where the row is at hand."""
        ...

    def __call__(self, x: Tensor | Rows, out: Tensor | None = None) -> Tensor:
        """x (b, s, d) to (b, s, o); out: where to, (b, s, o), which may be a run of rows of a larger tensor."""
        ...

    def add_to(self, total: Tensor, x: Tensor | Rows) -> Tensor:
        """total (b, s, o) + x W^T: the product accumulates where it can, so that no second tensor is made."""
        ...

    def outputs(self, first: int, last: int) -> Linear:
        """The same layer with outputs first to last alone; shares its storage."""
        ...


@dataclass(frozen=True)
class Plain:
    """Weights in the dtype of what they multiply."""

    weight: Tensor  # (o, d)
    bias: Tensor | None = None  # (o,)

    eats_rows = False

    def __call__(self, x: Tensor | Rows, out: Tensor | None = None) -> Tensor:
        assert isinstance(x, Tensor)
        if out is None or x.shape[0] > 1:  # the rows of several samples do not lie one after another in `out`
            made = torch.nn.functional.linear(x, self.weight, self.bias)
            return made if out is None else out.copy_(made)
        if self.bias is None:
            torch.mm(x[0], self.weight.t(), out=out[0])
        else:
            torch.addmm(self.bias, x[0], self.weight.t(), out=out[0])
        return out

    def add_to(self, total: Tensor, x: Tensor | Rows) -> Tensor:
        assert isinstance(x, Tensor)
        assert self.bias is None, "the bias belongs to the product that comes first"
        flat = total.flatten(0, 1)
        return torch.addmm(flat, x.flatten(0, 1), self.weight.t(), out=flat).view_as(total)

    def outputs(self, first: int, last: int) -> Plain:
        return Plain(self.weight[first:last], None if self.bias is None else self.bias[first:last])


def tensors(part: Any) -> Iterator[Tensor]:
    """Every tensor of a dataclass of tensors and dataclasses, in the order of its fields."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            yield value
        elif is_dataclass(value):
            yield from tensors(value)


def mapped(part: Part, function: Callable[[Tensor], Tensor]) -> Part:
    """The same dataclass with `function` of each of its tensors, in the order of `tensors`."""
    changed: dict[str, Any] = {}
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = function(value)
        elif is_dataclass(value):
            changed[field.name] = mapped(value, function)
    return replace(part, **changed)  # type: ignore[type-var]
