"""Small batches of pairs: coloured squares before and after an edit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recast.config import tiny
from recast.flow.transformer import FlowTransformer
from recast.train.data.example import Batch
from recast.train.flow_stage import FlowStage, FlowTraining
from recast.train.settings import Optimiser, Run
from tests.tiny import randomise, tiny_autoencoder, tiny_text

SIDE = 64
WORDS = ("red", "green", "blue", "white", "black", "yellow", "purple", "orange")


def picture(seed: int, side: int = SIDE) -> Tensor:
    """A picture (3, side, side) uint8 of a square on a plain ground, its colours and place by the seed."""
    generator = torch.Generator().manual_seed(seed)
    ground, colour = torch.randint(0, 256, (2, 3, 1, 1), generator=generator, dtype=torch.uint8)
    top, left = torch.randint(0, side // 2, (2,), generator=generator).tolist()
    made = ground.repeat(1, side, side)
    made[:, top : top + side // 2, left : left + side // 2] = colour
    return made


def pairs(count: int = 4, *, first: int = 0, contexts: int = 1, masks: bool = False, **changes: Any) -> Batch:
    """Examples first, first + 1, ..., each with `contexts` pictures, an instruction, its inverse and captions."""
    numbers = tuple(range(first, first + count))
    targets = torch.stack([picture(1000 + n) for n in numbers])
    shown = tuple(torch.stack([picture(100 * k + n) for n in numbers]) for k in range(contexts))
    mask = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.bool)
    mask[:, :, :16, :32] = True  # two tokens of sixteen
    batch = Batch(
        numbers=numbers,
        of=count,
        ids=tuple(f"pair-{n}" for n in numbers),
        target=targets,
        contexts=shown,
        instructions=tuple(f"make it {WORDS[n % 8]}" if contexts else None for n in numbers),
        inverses=tuple("undo it" if contexts else None for _ in numbers),
        captions=tuple((*(f"before {k} {n}" for k in range(contexts)), f"a {WORDS[n % 8]} square") for n in numbers),
        masks=mask if masks else None,
        bases=(0,) * count,
        kinds=tuple("colour" if n % 2 else "shape" for n in numbers) if contexts else (),
    )
    return replace(batch, **changes)


def stage(
    training: FlowTraining | None = None,
    *,
    flow: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    optimiser: Optimiser | None = None,
    **parts: Any,
) -> FlowStage:
    """A flow stage of the `tiny` preset with random weights; flow: changes of its config."""
    network = FlowTransformer(replace(tiny().flow, **{"guidance_embed": False} | (flow or {})))
    randomise(network, 0)
    return FlowStage(
        flow=network,
        autoencoder=tiny_autoencoder(),
        text=tiny_text(),
        training=training or FlowTraining(),
        optimiser=optimiser or Optimiser(),
        run=Run(**{"steps": 10} | (run or {})),
        **parts,
    )
