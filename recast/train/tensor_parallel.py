"""Tensor parallel: the heads and hidden widths of every block, shared out among processes.

The fused matrices (q, k, v of a stream; q, k, v and MLP of a single block) hold several parts in their rows, and
each process needs its share of every part. Their rows, or columns, are therefore kept in another order: all that
process 0 needs, then all that process 1 needs. `state_dict` and `load_state_dict` speak the published order.
Vectors (biases, norms) are whole in every process. Activations between blocks are whole and equal.
Source: Shoeybi et al. 2019 (arXiv 1909.08053), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn import functional as F

from recast.errors import ConfigError
from recast.flow.layers import Attention, DoubleStreamBlock, QKNorm, RMSNorm, SingleStreamBlock
from recast.flow.transformer import FlowTransformer


class Order(NamedTuple):
    """How a matrix is kept: place i of dimension `dim` holds place places[i] of the published one."""

    dim: int
    places: Tensor

    def kept(self, published: Tensor) -> Tensor:
        """A whole matrix, in the order that processes need."""
        return published.index_select(self.dim, self.places.to(published.device))

    def published(self, kept: Tensor) -> Tensor:
        """A whole matrix, as published."""
        return kept.index_select(self.dim, self.places.argsort().to(kept.device))


def parallelise(network: FlowTransformer, mesh: DeviceMesh) -> None:
    """Share the blocks of a network out over a mesh of one dimension, in place.

    Raises ConfigError if heads or hidden width do not divide, or if a matrix is not a plain linear layer.
    """
    size, config = mesh.size(), network.config
    for name, count in (("num_heads", config.num_heads), ("mlp_hidden", config.mlp_hidden)):
        if count % size:
            raise ConfigError(f"tensor={size}: must divide {name}={count}; choose a divisor, or share by shard alone")
    for block in network.double_blocks:
        _double(block, config.hidden_size, config.mlp_hidden, mesh)
    for single in network.single_blocks:
        _single(single, config.hidden_size, config.mlp_hidden, mesh)


def orders(network: nn.Module) -> dict[str, Order]:
    """The parameters of a network that are not kept in the published order, by name."""
    return dict(_orders(network))


def reordered(tensor: Tensor, order: Order, *, publish: bool) -> Tensor:
    """The matrix in the other order, shared out as it was. All processes of its mesh must call this."""
    turn = order.published if publish else order.kept
    if not isinstance(tensor, DTensor):
        return turn(tensor)
    whole = turn(tensor.full_tensor())
    return distribute_tensor(whole, tensor.device_mesh, tensor.placements, src_data_rank=None)


def sharded_dimension(parameter: Tensor) -> int | None:
    """Along which dimension tensor parallel has cut a parameter; None if it has not."""
    if not isinstance(parameter, DTensor):
        return None
    return next((placement.dim for placement in parameter.placements if isinstance(placement, Shard)), None)


def _orders(network: nn.Module) -> Iterator[tuple[str, Order]]:
    for name, module in network.named_modules():
        order = getattr(module, "kept_order", None)
        if order is not None:
            yield f"{name}.weight", order


def _double(block: DoubleStreamBlock, width: int, hidden: int, mesh: DeviceMesh) -> None:
    for attention, mlp in ((block.img_attn, block.img_mlp), (block.txt_attn, block.txt_mlp)):
        _attention(attention, width, mesh)
        _columns(mlp[0], [hidden], mesh)
        _rows(mlp[2], [hidden], mesh)


def _attention(attention: Attention, width: int, mesh: DeviceMesh) -> None:
    _columns(attention.qkv, [width] * 3, mesh)
    _rows(attention.proj, [width], mesh)
    attention.num_heads //= mesh.size()
    _norms(attention.norm, mesh)


def _single(block: SingleStreamBlock, width: int, hidden: int, mesh: DeviceMesh) -> None:
    _columns(block.linear1, [width] * 3 + [hidden], mesh)
    _rows(block.linear2, [width, hidden], mesh)
    block.num_heads //= mesh.size()
    block.widths = [each // mesh.size() for each in block.widths]
    _norms(block.norm, mesh)


def _columns(linear: Any, parts: Sequence[int], mesh: DeviceMesh) -> None:
    """Every process makes its share of each part of the output, from the whole input."""
    index = _share(parts, mesh.size())
    _keep(linear, Order(0, index), mesh)
    own = index.chunk(mesh.size())[mesh.get_local_rank()]

    def forward(x: Tensor) -> Tensor:
        bias = None if linear.bias is None else _spread(linear.bias, mesh)[own.to(x.device)]
        return F.linear(_spread(x, mesh), _local(linear.weight), bias)

    linear.forward = forward


def _rows(linear: Any, parts: Sequence[int], mesh: DeviceMesh) -> None:
    """Every process reads its share of each part of the input; the outputs are summed."""
    _keep(linear, Order(1, _share(parts, mesh.size())), mesh)

    def forward(x: Tensor) -> Tensor:
        partial = F.linear(x, _local(linear.weight))
        whole = DTensor.from_local(partial, mesh, [Partial()], run_check=False).redistribute(placements=[Replicate()])
        return whole.to_local() if linear.bias is None else whole.to_local() + linear.bias

    linear.forward = forward


def _norms(norm: QKNorm, mesh: DeviceMesh) -> None:
    """The scales are shared by all heads: their gradients are summed over the processes that hold them."""
    for each in (norm.query_norm, norm.key_norm):
        _norm(each, mesh)


def _norm(norm: RMSNorm, mesh: DeviceMesh) -> None:
    def forward(x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=1e-6) * _spread(norm.scale, mesh)

    norm.forward = forward  # type: ignore[method-assign]


def _share(parts: Sequence[int], size: int) -> Tensor:
    """Published places of a fused dimension, those that process 0 needs first: its share of every part."""
    starts = [sum(parts[:i]) for i in range(len(parts))]
    return torch.cat(
        [
            torch.arange(start + rank * part // size, start + (rank + 1) * part // size)
            for rank in range(size)
            for start, part in zip(starts, parts, strict=True)
        ]
    )


def _keep(layer: nn.Module, order: Order, mesh: DeviceMesh) -> None:
    """Put the weight into its order and cut it; let the state dict speak the published one."""
    linear: Any = layer
    if type(layer) is not nn.Linear:
        raise ConfigError(
            f"tensor={mesh.size()}: plain linear layers can be cut, not {type(layer).__name__}, which adapters or "
            "quantisation have put there; share by shard alone"
        )
    cut = distribute_tensor(order.kept(linear.weight.detach()), mesh, [Shard(order.dim)], src_data_rank=None)
    linear.weight = nn.Parameter(cut, requires_grad=linear.weight.requires_grad)
    linear.kept_order = order
    linear.register_state_dict_post_hook(_publish)
    linear.register_load_state_dict_pre_hook(_take)


def _publish(linear: Any, tensors: dict[str, Any], prefix: str, _: Any) -> None:
    tensors[f"{prefix}weight"] = reordered(tensors[f"{prefix}weight"], linear.kept_order, publish=True)


def _take(linear: Any, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    name = f"{prefix}weight"
    if name in tensors:
        came = reordered(tensors[name], linear.kept_order, publish=False)
        if not isinstance(came, DTensor):
            came = distribute_tensor(
                came.to(linear.weight.device), linear.weight.device_mesh, linear.weight.placements, src_data_rank=None
            )
        tensors[name] = came


def _local(weight: Tensor) -> Tensor:
    return weight.to_local() if isinstance(weight, DTensor) else weight


def _spread(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """x as it is, equal in all processes; its gradient is the sum of theirs."""
    return DTensor.from_local(x, mesh, [Replicate()], run_check=False).to_local(grad_placements=[Partial()])
