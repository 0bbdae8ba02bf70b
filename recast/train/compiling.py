"""Blocks of a transformer, compiled: a few graphs for all shapes that a recipe has.

The first shape of a kind is traced as it is, the second with its sizes as symbols, which serve all others. Kinds are:
each of a block's methods, keys and values of a context or none, rows or all, with gradients or without, a batch of
one or of more. Symbols from the first call on (`dynamic=True`) would halve the graphs, but the inductor of torch 2.13
fails on the last block of `nano` then ("Exponent must be non-negative").
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import torch

from recast.errors import TrainingError
from recast.flow.transformer import FlowTransformer
from recast.train.activations import blocks

GRAPHS = 64
"""Of one method that are accepted, of all networks of a run together; torch's own limit is 8.

Of cached attention a single block's has 11 in training, with batches of one among the shapes; 19 with passes without
gradients, as a student's are; and 27 with a teacher in bf16 beside it.
"""


def compile_blocks(
    network: FlowTransformer, *, is_whole: bool = True, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile what the blocks compute, in place; parameter names stay. Hooks around the blocks are left alone.

    is_whole: a method that is not one graph is an error; False for blocks that talk with other processes inside.
    backend: as `torch.compile` takes it. A block raises TrainingError where a method needs more than GRAPHS, which
    those of other networks in the process count among: torch would go on uncompiled instead, and say so once in a log.
    """
    for block in blocks(network):
        for name in ("forward", "context_alone"):
            if hasattr(block, name):
                setattr(block, name, _compiled(getattr(block, name), fullgraph=is_whole, backend=backend))


def uncompiled() -> AbstractContextManager[Any]:
    """Within it, compiled methods run as they are written."""
    return torch.compiler.set_stance("force_eager")


def _compiled(method: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    from torch._dynamo import config  # seconds to import
    from torch._dynamo.exc import FailOnRecompileLimitHit

    compiled = torch.compile(method, **options)

    @wraps(method)
    def call(*inputs: Any, **named: Any) -> Any:
        with config.patch(recompile_limit=GRAPHS, fail_on_recompile_limit_hit=True):
            try:
                return compiled(*inputs, **named)
            except FailOnRecompileLimitHit as problem:
                raise TrainingError(
                    f"run.compile=true: {method.__qualname__} was compiled {GRAPHS} times, and is asked for inputs "
                    "that none of these graphs takes; shapes, dtypes and devices that come again accepted "
                    '(TORCH_LOGS="recompiles" names what differs); start the run again with run.compile=false, '
                    "it goes on from its newest checkpoint"
                ) from problem

    return call
