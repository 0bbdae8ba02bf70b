"""The first-block cache: what it computes, when, and what it hands back."""

import pytest
import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.speed.step_cache import step_cache
from tests.speed.walks import TIMES, engine, final, request


def blocks_run(walk, batch: int = 1) -> list[int]:
    """How many blocks each evaluation of a walk over TIMES ran."""
    caching = engine(walk)
    x, condition = request(caching, batch=batch)
    velocity, counts = caching.along(condition, TIMES), []
    for t in TIMES[:-1]:
        before = caching.blocks.handed
        velocity(x * t, t)
        counts.append(caching.blocks.handed - before)
    return counts


def test_a_skipped_evaluation_runs_one_block_and_runs_of_them_are_limited():
    every = len(engine().blocks)
    assert blocks_run(step_cache(1e6, warm_up=2, most_skipped=2)) == [every, every, 1, 1, every, 1, 1]
    assert blocks_run(step_cache(1e6, warm_up=1, most_skipped=99)) == [every, 1, 1, 1, 1, 1, 1]
    assert blocks_run(step_cache(0.0, warm_up=1)) == [every] * 7


def change(first: tuple[Tensor, float], second: tuple[Tensor, float], condition) -> float:
    """The relative change of what the first block adds to the target's tokens, between two states and times."""
    plain, added = engine(), []
    with torch.inference_mode():
        for x, t in (first, second):
            joint = plain.start(x, plain.modulations(condition, TIMES)[t], condition)
            before = joint.image.x[:, : x.shape[1]]
            plain.run(joint, 1)
            added.append(plain.settled(joint)[:, : x.shape[1]] - before)
    return ((added[1] - added[0]).abs().mean() / added[0].abs().mean()).item()


def is_whole(threshold: float, states: list[tuple[Tensor, float]], condition) -> bool:
    """Whether the last of these states is computed whole."""
    caching = engine(step_cache(threshold, warm_up=1))
    velocity = caching.along(condition, TIMES)
    for x, t in states:
        before = caching.blocks.handed
        velocity(x, t)
    return caching.blocks.handed - before == len(caching.blocks)


def test_the_threshold_is_of_the_relative_change_of_what_the_first_block_adds():
    x, condition = request(engine())
    states = [(x, TIMES[0]), (x, TIMES[1])]
    changed = change(*states, condition)
    assert changed > 0
    assert is_whole(0.99 * changed, states, condition)
    assert not is_whole(1.01 * changed, states, condition)


def test_small_changes_add_up():
    """The second state is near the first, the third near the second but not the first: it is computed whole."""
    x, condition = request(engine())
    step = 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    states = [(x + k * step, TIMES[0]) for k in range(3)]
    one, other, both = (change(states[i], states[j], condition) for i, j in ((0, 1), (1, 2), (0, 2)))
    threshold = (max(one, other) + both) / 2
    assert both > 1.5 * max(one, other)
    assert not is_whole(threshold, states[:2], condition)
    assert is_whole(threshold, states, condition)


def test_the_picture_that_changes_most_decides_for_its_batch():
    x, condition = request(engine())  # of one picture, for both
    moved = x + 0.5
    changed = change((x, TIMES[0]), (moved, TIMES[0]), condition)
    states = [(torch.cat([x, x]), TIMES[0]), (torch.cat([x, moved]), TIMES[0])]
    assert is_whole(0.99 * changed, states, condition)
    assert not is_whole(1.01 * changed, states, condition)


def test_an_evaluation_skipped_at_the_same_state_and_time_is_the_whole_one():
    """Then the first block adds what it added, and what the others added is right."""
    caching = engine(step_cache(1e-9, warm_up=1))
    x, condition = request(caching, batch=2)
    velocity = caching.along(condition, TIMES)
    whole, before = velocity(x, TIMES[2]), caching.blocks.handed
    again = velocity(x, TIMES[2])
    assert caching.blocks.handed == before + 1
    torch.testing.assert_close(again, whole, rtol=0, atol=1e-5)


def test_a_walk_starts_with_nothing_kept():
    caching = engine(step_cache(1e6, warm_up=1, most_skipped=99))
    x, condition = request(caching)
    assert torch.equal(final(caching, x, condition), final(caching, x, condition))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threshold": -0.1}, "threshold=-0.1: a number from 0"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"threshold": "0.1"}, "threshold='0.1'"),
        ({"warm_up": 0}, "warm_up=0: a whole number"),
        ({"most_skipped": 1.5}, "most_skipped=1.5"),
    ],
)
def test_what_cannot_work_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        step_cache(**given)
