"""Blocks of a transformer, compiled: a few graphs for all shapes that a recipe has.

Batch, sequence and the rows that are read are symbols from the first call on, so pictures of other sizes, other counts
of context pictures and other batches need no graph of their own. What does need one: each of a block's methods, keys
and values of a context or none, rows or all, with gradients or without; and a batch of one.
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

GRAPHS = 32
"""Of one method that are accepted. A single block has 8 at most, or twice as many with batches of one; a teacher of
other widths has its own."""


def compile_blocks(
    network: FlowTransformer, *, is_whole: bool = True, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compile what the blocks compute, in place; parameter names stay. Hooks around the blocks are left alone.

    is_whole: a method that is not one graph is an error; False for blocks that talk with other processes inside.
    backend: as `torch.compile` takes it. A block raises TrainingError where a method needs more than GRAPHS: torch
    would go on uncompiled instead, and say so once in a log.
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
    from torch.fx.experimental import _config as symbols

    compiled = torch.compile(method, dynamic=True, **options)

    @wraps(method)
    def call(*inputs: Any, **named: Any) -> Any:
        # Without duck shapes a context as long as the target, at first, is not taken for always as long.
        with (
            config.patch(recompile_limit=GRAPHS, fail_on_recompile_limit_hit=True),
            symbols.patch(use_duck_shape=False),  # type: ignore[attr-defined]  # set when it is imported
        ):
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
