"""The element-wise work of a step by our Triton kernels (`recast.speed.kernels`): one launch where Plain makes many.

Lossless: the same precision; sums in another order. With rounding "exact", every number is rounded where the core
rounds it; with "fast", once, where it is written. Nothing of Triton is imported before a `Fused` is made.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.speed.linear import Linear, Rows

Rounding = Literal["exact", "fast"]
NEEDED, NEEDED_FOR_ROWS = (8, 0), (8, 9)  # compute capability: Ampere; Ada and Hopper, which have eight-bit floats


def missing(device: torch.device, *, rows: bool = False) -> str | None:
    """Why our kernels cannot run on a device, None where they can. rows: those that write eight bits."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device.type != "cuda":
        return f"the device is {device.type}; our kernels run on CUDA"
    if not torch.cuda.is_available():
        return "this PyTorch finds no CUDA device"
    has, needed = torch.cuda.get_device_capability(device), NEEDED_FOR_ROWS if rows else NEEDED
    if has < needed:
        what = "eight-bit rows need" if rows else "our kernels need"
        return f"{what} compute capability {needed[0]}.{needed[1]}; this device has {has[0]}.{has[1]}"
    return None


class Fused:
    """`recast.speed.ops.Ops` by our kernels. Tensors may have samples that lie apart; rows lie one after another."""

    def __init__(self, rounding: Rounding = "fast") -> None:
        """Raises ConfigError for another rounding, or where Triton is not installed."""
        if rounding not in ("exact", "fast"):
            raise ConfigError(f"rounding={rounding!r}: 'exact' or 'fast' accepted")
        if importlib.util.find_spec("triton") is None:
            raise ConfigError("ops: Triton is not installed, and our kernels need it; use recast.speed.ops.Plain")
        from recast.speed.kernels import gelu, head, modulated_norm, qk_norm_rope, rows

        self.exact = rounding == "exact"
        self._norm, self._rope, self._gelu, self._head, self._rows = modulated_norm, qk_norm_rope, gelu, head, rows

    def enter(self, x: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False) -> Tensor | Rows:
        return self._norm.enter(x, shift, scale, exact=self.exact, rows=rows)

    def leave(self, x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
        return torch.addcmul(x, gate, update)  # one launch already, with one rounding

    def leave_enter(
        self, x: Tensor, update: Tensor, gate: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False
    ) -> tuple[Tensor, Tensor | Rows]:
        return self._norm.leave_enter(x, update, gate, shift, scale, exact=self.exact, rows=rows)

    def norm_rotate(self, qkv: Tensor, query_scale: Tensor, key_scale: Tensor, rotary: Tensor) -> None:
        self._rope.norm_rotate(qkv, query_scale, key_scale, rotary, exact=self.exact)

    def gelu(self, x: Tensor, *, rows: bool = False) -> Tensor | Rows:
        return self._gelu.gelu_rows(x, exact=self.exact) if rows else self._gelu.gelu(x)

    def gelu_of(self, layer: Linear, x: Tensor | Rows, *, rows: bool = False) -> Tensor | Rows:
        return self.gelu(layer(x), rows=rows)

    def to_rows(self, x: Tensor) -> Rows:
        return self._rows.to_rows(x, exact=self.exact)

    def head(
        self,
        x: Tensor,
        update: Tensor | None,
        gate: Tensor | None,
        shift: Tensor,
        scale: Tensor,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        return self._head.head(x, update, gate, shift, scale, weight, bias, exact=self.exact)
