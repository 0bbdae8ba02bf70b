"""A recipe of memory carried out: where the weights of a pipeline lie, and what passes through the device.

The pipeline that came in gives its weights away and cannot be used any more: held twice, they would not fit.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from recast.context.text import ByteT5, CachedEncoder, TextEncoder
from recast.errors import ConfigError
from recast.latents.autoencoder import Autoencoder
from recast.pipeline import Pipeline
from recast.speed.blocks import Block, Modulator
from recast.speed.engine import Blocks, Engine, Resident
from recast.speed.linear import mapped
from recast.speed.memory import Memory
from recast.speed.streaming import Streamed
from recast.speed.text_eviction import Evicted, StreamedText


def put(
    pipeline: Pipeline,
    engine: Engine,
    blocks: list[Block],
    modulators: list[Modulator],
    memory: Memory,
    device: torch.device,
) -> list[str]:
    """Lay out the weights of a pipeline, and of the engine that computes for it, as a recipe says; what was done."""
    engine.blocks = passing(blocks, memory, device)
    if memory.modulators == "host":
        engine.modulators = Streamed(modulators, device, slots=2, lasting=False)
    else:
        engine.modulators = [mapped(one, lambda tensor: tensor.to(device)) for one in modulators]
    engine.mlp_rows = memory.mlp_rows
    if memory.autoencoder_band is not None:
        pipeline.autoencoder = cast(Autoencoder, Banded(pipeline.autoencoder, memory.autoencoder_band))
    pipeline.text = text_by(pipeline.text, memory, device)
    return in_words(memory, len(engine.blocks))


def in_words(memory: Memory, num_blocks: int) -> list[str]:
    """What stays on the device under a recipe, and what passes through."""
    said = [f"{memory.resident_blocks} of {num_blocks} blocks stay on the device"]
    said += [f"the text encoder is {memory.text}"] if memory.text != "resident" else []
    said += ["modulations pass through once a request"] if memory.modulators == "host" else []
    said += [f"the MLP takes {memory.mlp_rows} tokens at once"] if memory.mlp_rows else []
    said += [f"the autoencoder takes {memory.autoencoder_band} rows at once"] if memory.autoencoder_band else []
    return said


def passing(blocks: list[Block], memory: Memory, device: torch.device) -> Blocks:
    """The blocks on the device, all or those that stay. Emptied on the way, `blocks` holds nothing twice."""
    if memory.resident_blocks >= len(blocks):
        return Resident([mapped(blocks.pop(0), lambda tensor: tensor.to(device)) for _ in range(len(blocks))])
    one_by_one = (blocks.pop(0) for _ in range(len(blocks)))
    return Streamed(one_by_one, device, resident=memory.resident_blocks, slots=memory.slots)


def take_back(engine: Engine) -> tuple[list[Block], list[Modulator]]:
    """All weights of an engine as they are, on the host; the engine keeps none."""

    def home(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to("cpu", copy=True)

    blocks = [mapped(block, home) for block in engine.blocks.walk(0, len(engine.blocks))]
    modulators = [mapped(one, home) for one in engine.modulators]
    engine.blocks, engine.modulators = Resident([]), []
    return blocks, modulators


def text_by(text: TextEncoder, memory: Memory, device: torch.device) -> TextEncoder:
    """The text encoder as a recipe wants it. One that is no encoder of ours stays where it is."""
    if isinstance(text, Evicted) or not isinstance(text, CachedEncoder):
        return text
    if memory.text == "resident":
        return text.to(device)
    whole = memory.text == "evicted" or isinstance(text, ByteT5)  # a few MB: not worth a layer at a time
    return (Evicted if whole else StreamedText)(text, device)


class GivenAway:
    """Stands where a pipeline's network was before its weights moved on: whatever is asked of it is refused."""

    def __getattr__(self, name: str) -> Any:
        raise ConfigError(
            "pipeline: its weights moved to the accelerated one; `accelerate(...).pipeline` accepted; use that"
        )


class Banded:
    """An autoencoder that works in bands of rows, whatever the size; in all else the one it was given."""

    def __init__(self, autoencoder: Autoencoder, rows: int) -> None:
        self._autoencoder, self.rows = autoencoder, rows

    def encode(self, pixels: Tensor, *, band: int | None = None) -> Tensor:
        """As `Autoencoder.encode`, in the smaller of both bands."""
        return self._autoencoder.encode(pixels, band=min(band or self.rows, self.rows))

    def decode(self, latents: Tensor, *, band: int | None = None) -> Tensor:
        """As `Autoencoder.decode`, in the smaller of both bands."""
        return self._autoencoder.decode(latents, band=min(band or self.rows, self.rows))

    def __getattr__(self, name: str) -> Any:
        if name == "_autoencoder":  # of a copy that is being made
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return getattr(self._autoencoder, name)
