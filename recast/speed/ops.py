"""What is done between the matrix products, in one interface: written out plainly here, fused in `kernels`.

Letters as in `recast.flow.layers`: `k` heads, `e` width of one, `p` = e / 2, `s` a sequence of tokens.
Plain rounds where the core rounds, so an engine that uses it is the core's network in another order of work.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from recast.flow.layers import gelu, layer_norm, rotate
from recast.speed.linear import Linear, Rows

LARGEST = 448.0  # of float8_e4m3fn
SMALLEST_SCALE = 1e-12  # of a row of zeros


class Ops(Protocol):
    """The element-wise work of a step. rows: whether what comes back is `Rows`, for a layer that eats them.

    shift, scale, gate: (1, 1, d) or (b, 1, d).
    """

    def enter(self, x: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False) -> Tensor | Rows:
        """(1 + scale) LayerNorm(x) + shift of x (b, s, d)."""
        ...

    def leave(self, x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
        """x + gate update, all (b, s, d)."""
        ...

    def leave_enter(
        self, x: Tensor, update: Tensor, gate: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False
    ) -> tuple[Tensor, Tensor | Rows]:
        """`leave`, and `enter` of what it gives, in one pass."""
        ...

    def norm_rotate(self, qkv: Tensor, query_scale: Tensor, key_scale: Tensor, rotary: Tensor) -> None:
        """q and k of qkv (b, s, 3, k, e) normed by head, scaled by (e,) and turned, in place; v stays.

        rotary: complex64 (1, 1, s, p) or (b, 1, s, p). The samples of qkv may lie apart, its rows may not.
        """
        ...

    def gelu(self, x: Tensor, *, rows: bool = False) -> Tensor | Rows:
        """GELU, in its tanh form, of x (b, s, h)."""
        ...

    def gelu_of(self, layer: Linear, x: Tensor | Rows, *, rows: bool = False) -> Tensor | Rows:
        """`gelu` of what a layer makes of x (b, s, d): (b, s, h)."""
        ...

    def to_rows(self, x: Tensor) -> Rows:
        """x (b, s, d) in eight bits, a scale to each row."""
        ...

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
        """`leave`, where there is an update, `enter`, and the product with weight (o, d), plus bias (o,): (b, s, o)."""
        ...


class Plain:
    """The interface by the core's own functions, one after another."""

    def enter(self, x: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False) -> Tensor | Rows:
        entered = torch.addcmul(shift, layer_norm(x), 1 + scale)
        return self.to_rows(entered) if rows else entered

    def leave(self, x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
        return torch.addcmul(x, gate, update)

    def leave_enter(
        self, x: Tensor, update: Tensor, gate: Tensor, shift: Tensor, scale: Tensor, *, rows: bool = False
    ) -> tuple[Tensor, Tensor | Rows]:
        x = self.leave(x, update, gate)
        return x, self.enter(x, shift, scale, rows=rows)

    def norm_rotate(self, qkv: Tensor, query_scale: Tensor, key_scale: Tensor, rotary: Tensor) -> None:
        by_token = rotary.transpose(1, 2)  # (b, s, 1, p)
        for part, scale in ((qkv[:, :, 0], query_scale), (qkv[:, :, 1], key_scale)):
            part.copy_(rotate(F.rms_norm(part, part.shape[-1:], eps=1e-6) * scale, by_token))

    def gelu(self, x: Tensor, *, rows: bool = False) -> Tensor | Rows:
        return self.to_rows(gelu(x)) if rows else gelu(x)

    def gelu_of(self, layer: Linear, x: Tensor | Rows, *, rows: bool = False) -> Tensor | Rows:
        return self.gelu(layer(x), rows=rows)

    def to_rows(self, x: Tensor) -> Rows:
        scale = (x.abs().amax(dim=-1, keepdim=True).float() / LARGEST).clamp_min(SMALLEST_SCALE)
        return Rows((x.float() / scale).to(torch.float8_e4m3fn), scale)

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
        if update is not None and gate is not None:
            x = self.leave(x, update, gate)
        entered = self.enter(x, shift, scale)
        assert isinstance(entered, Tensor)
        return F.linear(entered, weight, bias)
