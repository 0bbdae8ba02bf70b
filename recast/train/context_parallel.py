"""Context parallel: the joint sequence, shared out among processes that work on the same examples.

Text, target and context tokens are each cut into as many runs as there are processes. All that a block does
token by token stays where it is; attention gathers the keys and values of all, in any order, for there is no mask.
The output is gathered, so every process sees the whole velocity and the same loss. Each then has a part of the
gradient of every parameter, and those parts must be summed: what leaves here is multiplied by the number of
processes, so that a mean over them, as data parallel takes it, is that sum.
Source: Liu et al. 2023 (arXiv 2310.01889) cuts likewise and passes keys round a ring; here they are gathered at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from recast.flow.transformer import Condition, FlowTransformer
from recast.train.activations import blocks

Group = dist.ProcessGroup
_IN_CONDITION = ("positions", "text", "context", "context_positions", "extra")


def parallelise(network: FlowTransformer, group: Group) -> None:
    """Cut the sequence of a network over a group of processes, in place: `condition` and `forward` take whole tokens.

    The tokens of a `Condition` are this process's own.
    """
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    bare: Any = network
    condition, with_text, forward = bare.condition, bare.with_text, bare.forward

    def own(tokens: Tensor | None) -> Tensor | None:
        return None if tokens is None else tokens.tensor_split(size, dim=1)[rank]

    def condition_of_own(**inputs: Any) -> Condition:
        made: Condition = condition(
            **{name: own(each) if name in _IN_CONDITION else each for name, each in inputs.items()}
        )
        return made

    def with_own_text(made: Condition, text: Tensor, pooled: Tensor | None) -> Condition:
        other: Condition = with_text(made, own(text), pooled)
        return other

    def forward_of_own(x: Tensor, t: Tensor, made: Condition) -> Tensor:
        runs = x.tensor_split(size, dim=1)
        velocity: Tensor = _Whole.apply(forward(runs[rank], t, made), [each.shape[1] for each in runs], group)
        return velocity

    bare.condition, bare.with_text, bare.forward = condition_of_own, with_own_text, forward_of_own
    for block in blocks(network):
        block.attend = _attend_to_all(block.attend, group)


def _attend_to_all(attend: Callable[..., Tensor], group: Group) -> Callable[..., Tensor]:
    """Attention of this process's queries to the keys and values of all processes."""

    def joint(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        lengths = _lengths(k.shape[2], group)
        pad = (0, 0, 0, max(lengths) - k.shape[2])  # of the token axis: what is gathered is of one size
        every = _Gathered.apply(torch.nn.functional.pad(torch.stack([k, v]), pad), group)  # (processes, 2, b, k, s, e)
        keys, values = torch.cat(
            [each[..., :length, :] for each, length in zip(every, lengths, strict=True)], dim=-2
        ).unbind()
        return attend(q, keys, values)

    return joint


def _lengths(own: int, group: Group) -> list[int]:
    """How many tokens each process has; asked on the CPU, so that the device need not be waited for."""
    return [int(each) for each in _gathered(torch.tensor([own]), group)]


def _gathered(own: Tensor, group: Group) -> list[Tensor]:
    own = own.contiguous()
    every = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(every, own, group=group)
    return every


class _Gathered(torch.autograd.Function):
    """A tensor (...) of each process, stacked (processes, ...); backward, the sum of what all want of one's own."""

    @staticmethod
    def forward(context: Any, own: Tensor, group: Group) -> Tensor:
        context.group = group
        return torch.stack(_gathered(own, group))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        own = torch.empty_like(gradients[0][0])
        dist.reduce_scatter(own, [each.contiguous() for each in gradients[0]], group=context.group)
        return own, None


class _Whole(torch.autograd.Function):
    """Tokens of all processes, in order; backward, this process's own part of the gradient, times their number."""

    @staticmethod
    def forward(context: Any, own: Tensor, lengths: list[int], group: Group) -> Tensor:
        context.rank, context.lengths = dist.get_rank(group), lengths
        every = _gathered(torch.nn.functional.pad(own, (0, 0, 0, max(lengths) - own.shape[1])), group)
        return torch.cat([each[:, :length] for each, length in zip(every, lengths, strict=True)], dim=1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        own = gradients[0].split(context.lengths, dim=1)[context.rank]
        return own * len(context.lengths), None, None
