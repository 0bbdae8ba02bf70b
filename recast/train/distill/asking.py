"""What is asked of a teacher, so that it is guided in the way it can be: by its embedding, or against no prompt."""

from __future__ import annotations

from recast.flow.transformer import Condition, FlowTransformer
from recast.train.flow_stage import FlowStage
from recast.train.uses import Pass


def asked(
    reading: FlowStage, flow: FlowTransformer, each: Pass, guidance: float
) -> tuple[Condition, Condition | None, float]:
    """Condition, null condition and scale for `Teacher.velocity` and `Teacher.endpoint`, of a pass of k examples.

    A network with a guidance embedding is told `guidance` and evaluated once, with scale 1; another one, where
    `guidance` is not 1, is guided away from the empty prompt with the same contexts. To be called within
    `reading.autocast`.
    """
    if flow.config.guidance_embed:
        return reading.condition(each, each.prompts, guidance, flow), None, 1.0
    condition = reading.condition(each, each.prompts, 1.0, flow)
    if guidance == 1:
        return condition, None, 1.0
    empty = reading.encode([""])
    return condition, flow.with_text(condition, empty.tokens, empty.pooled), guidance
