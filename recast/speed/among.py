"""A plan carried out by several processes: what each takes of the weights, and how its engine works with the others."""

from __future__ import annotations

from typing import NamedTuple

import torch

from recast.config import FlowConfig
from recast.context.text import CachedEncoder
from recast.errors import ConfigError
from recast.pipeline import Pipeline
from recast.speed.blocks import Block
from recast.speed.engine import Engine
from recast.speed.linear import mapped
from recast.speed.plan import Plan
from recast.speed.processes import Process
from recast.speed.several import Several, shared
from recast.speed.shares import shares
from recast.speed.streaming import stem_on


class Among(NamedTuple):
    """The processes that share the work, and which of them this is."""

    several: Several
    here: Process

    @property
    def is_tensor(self) -> bool:
        return self.several.tensor > 1

    def share(self, blocks: list[Block], place: torch.device) -> list[Block]:
        """In tensor parallel this process's share of each block, on the device; else the blocks as they are."""
        if not self.is_tensor:
            return blocks
        found = []
        for block in blocks:  # one by one: the shares of all, on the host, are as large as the device's
            cut = shares([block], self.here.rank, self.here.size)[0]
            found.append(mapped(cut, lambda tensor: tensor.to(place)))
        return found

    def engine(self, made: Pipeline, engine: Engine, place: torch.device) -> tuple[Engine, str, str]:
        """The engine among the others, and what to report: technique and how.

        In tensor parallel its blocks are shares, the pipeline's other parts go to the device, and its flow gives its
        blocks up.
        """
        here, several = self.here, self.several
        of = f"process {here.rank} of {here.size}"
        if not self.is_tensor:
            return shared(engine, several, here), "sequence", f"{of}: its own tokens, and its own heads of all of them"
        engine.modulators = [mapped(one, lambda tensor: tensor.to(place)) for one in engine.modulators]
        stem_on(made.flow, place)
        if isinstance(made.text, CachedEncoder):
            made.text = made.text.to(place)
        cut = shared(engine, several, here, blocks=engine.blocks)
        return cut, "tensor", f"{of}: its own heads and hidden width of every layer"


def among_of(several: Several | None, here: Process | None, plan: Plan, config: FlowConfig) -> Among | None:
    """Who shares the work; None for one process alone. Raises ConfigError for what several cannot do."""
    if several is None or several.processes == 1:
        return None
    if here is None:
        raise ConfigError(f"here: missing beside {several}; what `recast.speed.processes.meet` gives accepted; pass it")
    for is_wrong, why in (
        (not plan.engine, "is without the engine, and that is what processes share"),
        (plan.attention == "eight-bit", "has an engine beside the shared one, for its first and last step"),
        (plan.vram_bytes is not None, "has a cap on memory (vram), under which one process holds all weights"),
    ):
        if is_wrong:
            raise ConfigError(
                f"plan={plan.name}: {why}; exact, lossless or fp8, without a cap, accepted for several processes; "
                "choose one of them"
            )
    several.check(config)
    return Among(several, here)
