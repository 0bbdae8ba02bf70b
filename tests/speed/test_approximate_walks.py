"""What holds for every walk that skips work: exact where nothing is skipped, and no state but its own."""

import pytest
import torch

from recast.errors import ConfigError
from recast.flow.guidance import guided
from recast.flow.sampler import euler, held
from recast.speed.approximate import Approximate
from recast.speed.context_reuse import context_reuse
from recast.speed.extrapolate import extrapolate
from recast.speed.refresh import Refresh
from recast.speed.region_steps import region_steps
from recast.speed.step_cache import step_cache
from tests.speed.walks import TIMES, distance, engine, final, request, whole_final

ALWAYS, SELDOM = Refresh(first=1, every=1), Refresh(first=3, every=3)
SKIPS_NOTHING = {
    "context_reuse": context_reuse(ALWAYS),
    "step_cache": step_cache(0.0),
    "extrapolate": extrapolate(ALWAYS, order=0),
    "region_steps": region_steps(ALWAYS),
}
SKIPS = {
    "context_reuse": context_reuse(SELDOM),
    "extrapolated context": context_reuse(SELDOM, extrapolates=True),
    "step_cache": step_cache(1e6, warm_up=2, most_skipped=2),
    "extrapolate": extrapolate(SELDOM, order=2),
    "region_steps": region_steps(SELDOM),
}
MASK = (torch.arange(12) % 4 < 2)[None]  # the left half of the grid of 3 x 4


@pytest.mark.parametrize("name", SKIPS_NOTHING)
@pytest.mark.parametrize("batch", [1, 2])
def test_where_nothing_is_skipped_a_walk_is_exact(name: str, batch: int):
    x, condition = request(engine(), batch=batch)
    made = final(engine(SKIPS_NOTHING[name]), x, condition, may_change=lambda: MASK)
    assert distance(made, whole_final(x, condition)) < 1e-6


@pytest.mark.parametrize("name", SKIPS)
def test_where_something_is_skipped_it_is_not(name: str):
    x, condition = request(engine())
    made = final(engine(SKIPS[name]), x, condition, may_change=lambda: MASK)
    assert distance(made, whole_final(x, condition)) > 1e-4


@pytest.mark.parametrize("name", SKIPS)
def test_the_two_walks_of_guidance_share_no_state(name: str):
    """Side by side on one engine they go as on an engine each; and a walk leaves nothing for the next."""
    x, wanted = request(engine())
    unwanted = request(engine(), seed=5)[1]

    def walk(first, second):
        v = guided(first.along(wanted, TIMES, lambda: MASK), second.along(unwanted, TIMES, lambda: MASK), 1.5)
        *_, last = held(euler, x * 0.1, lambda: MASK)(v, x, TIMES)
        return last.x

    one = engine(SKIPS[name])
    together, again = walk(one, one), walk(one, one)
    assert torch.equal(together, walk(engine(SKIPS[name]), engine(SKIPS[name])))
    assert torch.equal(together, again)


FITTING = {"has_context": True, "has_mask": True, "sampler": "euler", "is_cached": False}


@pytest.mark.parametrize(
    ("option", "asked", "said"),
    [
        ("context-reuse", {"has_context": False}, "a request without context pictures came; use it for edits"),
        ("context-reuse", {"is_cached": True}, "this network keeps the context exactly, at no cost; leave it off"),
        ("region", {"has_mask": False}, "whose sampler no mask binds came; pass a mask, or boxes with preserve=strict"),
        ("extrapolate", {"sampler": "heun"}, "sampler=heun came; euler, ab2 or dpmpp_2m accepted"),
    ],
)
def test_a_request_that_a_walk_would_refuse_is_refused_before_there_are_weights(option, asked, said):
    read = Approximate.read(option)
    read.check(**FITTING)
    with pytest.raises(ConfigError, match=f"--approximate='{option}': .*{said}"):
        read.check(**FITTING | asked, one="--approximate")
