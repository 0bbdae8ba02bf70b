"""Keys and values of the context, kept between refreshes."""

import pytest
import torch

from recast.errors import ConfigError
from recast.flow.sampler import heun
from recast.speed.context_reuse import context_reuse
from recast.speed.refresh import Refresh
from tests.speed.walks import TIMES, Rows, distance, engine, final, request, whole_final

TEXT, TARGET, CONTEXT = 7, 12, 18


def test_between_refreshes_the_context_has_keys_and_no_rows():
    refresh = Refresh(first=2, every=3, last=True)
    reusing = engine(context_reuse(refresh))
    x, condition = request(reusing)
    final(reusing, x, condition)
    each = len(reusing.blocks)
    everything = TEXT + TARGET + CONTEXT
    rows = [seen[0] for seen in reusing.attend.seen[::each]]  # of the first block of each evaluation
    steps = len(TIMES) - 1
    assert rows == [everything if refresh.at(step, steps) else TEXT + TARGET for step in range(steps)]
    assert rows.count(everything) == refresh.count(steps) == 4
    assert {seen[1] for seen in reusing.attend.seen} == {everything}


def test_what_is_kept_is_of_the_last_refresh():
    """Velocities after a refresh do not depend on what the refresh before it saw."""
    x, condition = request(engine())
    ends = []
    for before in (x, x + 1):
        velocity = engine(context_reuse(Refresh(first=2, every=None, last=False))).along(condition, TIMES)
        velocity(before, TIMES[0]), velocity(x, TIMES[1])
        ends.append(velocity(x, TIMES[2]))
    assert torch.equal(*ends)


def test_extrapolated_keys_and_values_lie_on_the_line_through_two_refreshes():
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    reusing = engine(context_reuse(Refresh(first=2, every=None, last=False), extrapolates=True))
    plain = reusing.attend
    assert isinstance(plain, Rows)

    def noting(q, k, v):
        seen.append((k[:, -CONTEXT:].clone(), v[:, -CONTEXT:].clone()))
        return plain.inner(q, k, v)

    reusing.attend = noting
    x, condition = request(reusing)
    velocity = reusing.along(condition, TIMES)
    for t in TIMES[:3]:
        velocity(x * t, t)
    each = len(reusing.blocks)
    share = (TIMES[2] - TIMES[0]) / (TIMES[1] - TIMES[0])
    for block in range(each):
        for part in (0, 1):
            first, second, third = (seen[step * each + block][part] for step in range(3))
            torch.testing.assert_close(third, first + share * (second - first), rtol=0, atol=1e-5)
            assert (third - second).abs().max() > 1e-3


def test_kept_context_is_nearer_to_the_whole_than_none_at_all():
    x, condition = request(engine())
    whole = whole_final(x, condition)
    kept = final(engine(context_reuse(Refresh(first=2, every=3))), x, condition)
    without = whole_final(*request(engine(), context=False))
    assert distance(kept, whole) < distance(without, whole) / 2


def test_a_sampler_that_asks_twice_at_one_time_is_served():
    x, condition = request(engine())
    made = final(engine(context_reuse(Refresh(first=3, every=2), extrapolates=True)), x, condition, sampler=heun)
    assert 1e-5 < distance(made, whole_final(x, condition, sampler=heun)) < 1


def test_requests_that_have_nothing_to_reuse_are_refused():
    cached = engine(context_reuse(), context_attention="cached")
    with pytest.raises(ConfigError, match="keeps the context exactly at no cost; leave it off"):
        cached.along(request(cached)[1], TIMES)
    full = engine(context_reuse())
    with pytest.raises(ConfigError, match="without context pictures"):
        full.along(request(full, context=False)[1], TIMES)
    with pytest.raises(ConfigError, match="first=1: extrapolating needs two"):
        context_reuse(Refresh(first=1), extrapolates=True)
