"""With a mask, the rows of an evaluation are those of the region."""

import pytest
import torch

from recast.context.keeping import Hold
from recast.errors import ConfigError
from recast.flow.sampler import adams_bashforth_2, euler, held
from recast.pixels.geometry import own_size
from recast.speed.refresh import Refresh
from recast.speed.region_steps import region_steps
from tests.speed.walks import TIMES, distance, engine, final, request, whole_final

ONCE = Refresh(first=1, every=None, last=False)
CONTEXT, TEXT = 18, 7
CORNER = (torch.arange(12) == 0)[None]  # of a grid of 3 x 4: with a ring of one, 2 x 2 tokens


def rows_of(engine) -> list[int]:
    """Image rows of the first block of each evaluation."""
    return [rows - TEXT for rows, _ in engine.attend.seen[:: len(engine.blocks)]]


@pytest.mark.parametrize("mode", ["full", "cached"])
@pytest.mark.parametrize(("ring", "rows"), [(0, 1), (1, 4), (2, 9), (5, 12)])
def test_the_rows_are_those_of_the_mask_and_its_ring(mode: str, ring: int, rows: int):
    region = engine(region_steps(ONCE, ring=ring), context_attention=mode)
    x, condition = request(region)
    region.attend.seen.clear()  # cached: the context's own
    final(region, x, condition, may_change=lambda: CORNER)
    whole = 12 + (CONTEXT if mode == "full" else 0)
    assert rows_of(region) == [whole] + [whole if rows == 12 else rows] * 6
    assert {keys for _, keys in region.attend.seen} == {TEXT + 12 + CONTEXT}


@pytest.mark.parametrize("mode", ["full", "cached"])
def test_a_mask_of_everything_is_exact(mode: str):
    x, condition = request(engine(context_attention=mode))
    made = final(engine(region_steps(ONCE), context_attention=mode), x, condition, may_change=lambda: CORNER | True)
    assert torch.equal(made, whole_final(x, condition, context_attention=mode))


@pytest.mark.parametrize("mode", ["full", "cached"])
@pytest.mark.parametrize("batch", [1, 2])
def test_at_the_time_of_the_refresh_the_region_s_velocity_is_the_whole_one(mode: str, batch: int):
    """Then what was kept of the others is right. Those outside come back as 0."""
    region = engine(region_steps(ONCE, ring=0), context_attention=mode)
    x, condition = request(region, batch=batch)
    mask = torch.zeros(batch, 12, dtype=torch.bool)
    mask[0, [1, 2, 6]] = mask[-1, 9] = True
    velocity = region.along(condition, [0.6], lambda: mask)
    whole = velocity(x, 0.6)
    velocity = region.along(condition, [0.6, 0.6 - 1e-7, 0.0], lambda: mask)
    velocity(x, 0.6)
    made = velocity(x, 0.6 - 1e-7)
    computed = mask.any(dim=0)
    torch.testing.assert_close(made[:, computed], whole[:, computed], rtol=0, atol=1e-4)
    assert (made[:, ~computed] == 0).all()
    assert computed.sum() == 3 + 1


@pytest.mark.parametrize("sampler", [euler, adams_bashforth_2])
def test_with_held_the_picture_does_not_depend_on_the_velocity_of_tokens_left_out(sampler):
    x, condition = request(engine())
    source = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    region = engine(region_steps(Refresh(first=2, every=3)))
    velocity = region.along(condition, TIMES, lambda: CORNER)
    *_, plain = held(sampler, source, lambda: CORNER)(velocity, x, TIMES)
    velocity = region.along(condition, TIMES, lambda: CORNER)
    *_, other = held(sampler, source, lambda: CORNER)(
        lambda x, t: torch.where(CORNER[..., None], velocity(x, t), 99.0), x, TIMES
    )
    assert torch.equal(plain.x, other.x)
    assert torch.equal(plain.x[~CORNER], source[~CORNER])


def test_with_held_a_region_ends_near_where_whole_evaluations_end():
    x, condition = request(engine())
    source = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    holding = held(euler, source, lambda: CORNER)
    whole = whole_final(x, condition, sampler=holding)
    skipping = engine(region_steps(Refresh(first=3, every=2)))
    made = final(skipping, x, condition, sampler=holding, may_change=lambda: CORNER)
    assert distance(made[CORNER], whole[CORNER]) < distance(x[CORNER], whole[CORNER]) / 2
    assert not torch.equal(made, whole)


def test_a_mask_narrowed_on_the_way_is_followed_one_evaluation_later():
    """The leaving tokens are computed once more, and kept: every token stays a key of all others."""
    region = engine(region_steps(ONCE, ring=0))
    x, condition = request(region)
    hold = Hold(own_size(64, 48, 16), (torch.arange(12) < 6).view(3, 4).numpy(), 1, torch.device("cpu"))
    velocity = region.along(condition, TIMES, hold)
    for step, t in enumerate(TIMES[:-1]):
        if step == 2:
            hold.masks[0] = (torch.arange(12) < 2).view(3, 4).numpy()
        velocity(x * t, t)
    assert rows_of(region) == [12 + CONTEXT, 6, 6, 2, 2, 2, 2]
    assert {keys for _, keys in region.attend.seen} == {TEXT + 12 + CONTEXT}


def test_a_mask_narrowed_to_nothing_costs_nothing_and_one_that_grows_a_refresh():
    now = [CORNER]
    region = engine(region_steps(ONCE, ring=0))
    x, condition = request(region)
    velocity = region.along(condition, TIMES, lambda: now[0])
    velocity(x, TIMES[0])
    now[0] = CORNER & False
    velocity(x, TIMES[1])  # the last token leaves
    before = region.blocks.handed
    assert (velocity(x, TIMES[2]) == 0).all()
    assert region.blocks.handed == before
    now[0] = CORNER
    velocity(x, TIMES[3])
    assert rows_of(region) == [12 + CONTEXT, 1, 12 + CONTEXT]


def test_a_request_without_a_mask_is_refused():
    region = engine(region_steps())
    _, condition = request(region)
    for asked in (None, lambda: None):
        with pytest.raises(ConfigError, match="a request without a mask came; pass a mask, or leave region steps off"):
            region.along(condition, TIMES, asked)
    with pytest.raises(ConfigError, match="ring=-1: a whole number of tokens from 0"):
        region_steps(ring=-1)
