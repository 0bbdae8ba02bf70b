"""The element-wise work of a step on a CPU that multiplies bf16 natively: there it takes longer than the products.

Lossless: numbers are bf16 where they were; between two products they are rounded once, where the core rounds them after
every operation. Plain: `recast.speed.ops.Plain`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recast.loading import has_fast_bf16
from recast.speed import linear
from recast.speed.linear import Linear, Rows
from recast.speed.ops import Plain

EPS = 1e-6


def missing(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this is of no use on a device, None where it is."""
    if device.type != "cpu":
        return f"the device is {device.type}"
    if dtype != torch.bfloat16:
        return f"the weights are {str(dtype).removeprefix('torch.')}, and a step is mostly products"
    if not has_fast_bf16():
        return "this CPU has no bf16 units, and a step is mostly products"
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return "this PyTorch is built without oneDNN"
    return None


class FewPasses(Plain):
    """`Plain`, with fewer walks over memory."""

    def norm_rotate(self, qkv: Tensor, query_scale: Tensor, key_scale: Tensor, rotary: Tensor) -> None:
        """As `Plain.norm_rotate`, q and k as one, in fp32 from where they are read to where they are written.

        The turn does not change a vector's length, so that the division by it can come last.
        """
        both = qkv[:, :, :2]  # (b, s, 2, k, e)
        x = both.float()
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        x.mul_(torch.stack((query_scale, key_scale))[:, None])
        turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        turned.mul_(rotary.transpose(1, 2)[:, :, None])  # by (b, s, 1, 1, p)
        both.copy_(x.mul_((length.square_() / x.shape[-1] + EPS).rsqrt_()))

    def gelu_of(self, layer: Linear, x: Tensor | Rows, *, rows: bool = False) -> Tensor | Rows:
        """As `Plain.gelu_of`, by oneDNN where it can: GELU of the sums while they are in registers, rounded once."""
        if rows or type(layer) is not linear.Plain or not isinstance(x, Tensor):
            return super().gelu_of(layer, x, rows=rows)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "tanh")
        return made
