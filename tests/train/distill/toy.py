"""A teacher that is known through and through: random weights, four prompts, pictures of four tokens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recast.flow.schedule import resolution_shift
from recast.train import optim
from recast.train.distill.asking import asked
from recast.train.distill.pairs import PairBatch, noise_of
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage
from recast.train.settings import Optimiser
from recast.train.stage import trained
from recast.train.uses import TARGET, Pass, Use
from tests.train.pairs import stage

PROMPTS = ("red", "green", "blue", "white")
SMALL = {"hidden_size": 32, "num_heads": 2, "depth": 1, "depth_single_blocks": 2}
CURVED = 1.3
"""Weights this much larger than usual give a velocity that four straight steps do not follow."""
GUIDANCE, STEPS, TOKENS, CHANNELS = 2.0, 25, 4, 64
HELD_OUT = 10_000
BATCH = 16


def reading(**changes: Any) -> FlowStage:
    """A flow stage whose flow is the teacher's beginning, with short texts."""
    made = stage(flow={**SMALL, **changes}, optimiser=Optimiser(lr=2e-3, warmup_steps=0))
    made.text.max_length = 8
    with torch.no_grad():
        for parameter in made.flow.parameters():
            parameter.mul_(CURVED)
    return made


def teacher_of(made: FlowStage) -> Teacher:
    return Teacher(copy.deepcopy(made.flow))


def asked_of(numbers: Sequence[int]) -> Pass:
    """Text to image by the prompts in turn; clean tokens are not known yet."""
    uses = tuple(
        Use(example=i, number=n, kind="text_to_image", target=TARGET, contexts=(), prompt=PROMPTS[n % len(PROMPTS)])
        for i, n in enumerate(numbers)
    )
    clean = torch.zeros(len(uses), TOKENS, CHANNELS)
    return Pass(uses=uses, clean=clean, grid=(2, 2), context=None, context_grids=(), mask=None)


def ends(made: FlowStage, teacher: Teacher, numbers: Sequence[int], steps: int = STEPS) -> Tensor:
    """The teacher's guided endpoints of these numbers' noise."""
    return states(made, teacher, numbers, steps, 1)[:, -1]


def states(made: FlowStage, teacher: Teacher, numbers: Sequence[int], steps: int, kept: int) -> Tensor:
    """Where its walks stand after each of so many parts, their ends last."""
    each = asked_of(numbers)
    with torch.no_grad():
        condition, null, scale = asked(made, teacher.flow, each, GUIDANCE)
    noise, mu = noise_of(numbers, 0, (TOKENS, CHANNELS)), resolution_shift(TOKENS)
    return teacher.states(noise, condition, null, steps=steps, kept=kept, guidance=scale, mu=mu)


def pairs_of(made: FlowStage, teacher: Teacher, numbers: Sequence[int]) -> PairBatch:
    return PairBatch(
        each=replace(asked_of(numbers), clean=ends(made, teacher, numbers)),
        noise=noise_of(numbers, 0, (TOKENS, CHANNELS)),
        of=len(numbers),
        ids=tuple(map(str, numbers)),
        guidance=GUIDANCE,
        steps=STEPS,
    )


def walks_of(made: FlowStage, teacher: Teacher, numbers: Sequence[int], steps: int, kept: int) -> PairBatch:
    """Pairs that hold the states of their walks."""
    stood = states(made, teacher, numbers, steps, kept)
    batch = pairs_of(made, teacher, numbers)
    return replace(batch, each=replace(batch.each, clean=stood[:, -1]), states=stood[:, :-1], steps=steps)


def edited(batch: PairBatch) -> PairBatch:
    """The same pairs as edits of pictures that go by the prompt, of which the upper two tokens must change."""
    shown = {prompt: noise_of([i], 7, (TOKENS, CHANNELS))[0] for i, prompt in enumerate(PROMPTS)}
    uses = tuple(replace(use, kind="edit", contexts=(0,), has_mask=True) for use in batch.each.uses)
    context = torch.stack([shown[use.prompt] for use in uses])
    mask = torch.tensor([True, True, False, False]).expand(len(uses), -1)
    each = replace(batch.each, uses=uses, context=context, context_grids=(batch.each.grid,), mask=mask)
    return replace(batch, each=each)


def picked(batch: PairBatch, rows: Sequence[int], first: int) -> PairBatch:
    """Some of the pairs, at places first, first + 1, ... of a stream."""
    uses = tuple(replace(batch.each.uses[row], example=i, number=first + i) for i, row in enumerate(rows))
    may = (batch.each.context, batch.each.mask, batch.states)
    context, mask, states = (None if kept is None else kept[list(rows)] for kept in may)
    each = replace(batch.each, uses=uses, clean=batch.each.clean[list(rows)], context=context, mask=mask)
    noise, ids = batch.noise[list(rows)], tuple(map(str, rows))
    return replace(batch, each=each, noise=noise, of=len(rows), ids=ids, states=states)


def train(made: Any, batch: PairBatch, steps: int) -> None:
    """Optimiser steps of a stage on random pairs; the rate falls to 0 over the second half."""
    (phase,) = made.phases
    optimisers = optim.build(trained(phase, made.networks), phase.optimiser)
    for step in range(steps):
        share = step / steps
        draws = torch.randperm(len(batch.numbers), generator=torch.Generator().manual_seed(step))
        some = picked(batch, draws[:BATCH].tolist(), step * BATCH)
        loss = made.loss(phase.name, made.prepare(some, share), share)
        optim.set_rate(optimisers, min(1.0, 2 * (1 - share)))
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.value.backward()
        for optimiser in optimisers:
            optimiser.step()
