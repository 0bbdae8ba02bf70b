"""The frozen teacher: guidance where it is asked for, endpoints, and what its blocks see."""

import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from recast.errors import ConfigError, ShapeError
from recast.flow.sampler import euler
from recast.flow.schedule import times
from recast.latents.tokens import positions
from recast.train.distill.teacher import WALKS, Teacher, joined, picked, rescaled
from tests.tiny import tiny_flow

CONTEXTS = [None, "full", "cached"]


def asked(context: str | None, count: int = 3, seed: int = 0, **changes):
    """A teacher, states, times, and the conditions with a prompt and without."""
    made = tiny_flow(guidance_embed=False, context_attention=context or "full", **changes)
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    pictures = {}
    if context is not None:
        places = torch.cat([positions((2, 2), index=1), positions((1, 2), index=2)], dim=1)
        pictures = {"context": normal(count, 6, 64), "context_positions": places}
    condition = made.condition(
        positions=positions((2, 3)), text=normal(count, 5, 24), pooled=normal(count, 24), **pictures
    )
    null = made.with_text(condition, normal(1, 5, 24), normal(1, 24))
    return Teacher(made), normal(count, 6, 64), torch.rand(count, generator=g), condition, null


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_guided_velocity_is_that_of_two_evaluations_sample_by_sample(context):
    teacher, x_t, t, condition, null = asked(context)
    wanted, unwanted = teacher.flow(x_t, t, condition), teacher.flow(x_t, t, null)
    g = torch.tensor([1.0, 2.0, 4.5])
    found = teacher.velocity(x_t, t, condition, null, g)
    torch.testing.assert_close(found, unwanted + g[:, None, None] * (wanted - unwanted), atol=2e-5, rtol=1e-4)
    assert (found[1:] - wanted[1:]).abs().max() > 0.01  # there is something to guide


def test_a_scale_of_one_costs_one_evaluation_and_any_other_one_call_of_twice_the_rows(monkeypatch):
    teacher, x_t, t, condition, null = asked("full")
    inner, seen = teacher.flow.forward, []
    monkeypatch.setattr(teacher.flow, "forward", lambda x, t, c: seen.append(len(x)) or inner(x, t, c))
    plain = teacher.velocity(x_t, t, condition, null, 1.0)
    assert torch.equal(plain, teacher.velocity(x_t, t, condition))
    teacher.velocity(x_t, t, condition, null, torch.tensor([1.0, 1.0, 1.5]))
    teacher.velocity(x_t, t, condition, null, 3.0, interval=(0.0, 0.001))
    assert seen == [3, 3, 6, 3]


def test_outside_the_interval_of_times_there_is_no_guidance():
    teacher, x_t, _, condition, null = asked(None)
    t = torch.tensor([0.2, 0.5, 0.9])
    found = teacher.velocity(x_t, t, condition, null, 3.0, interval=(0.3, 0.9))
    bare, full = teacher.velocity(x_t, t, condition), teacher.velocity(x_t, t, condition, null, 3.0)
    torch.testing.assert_close(found[0], bare[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1:], full[1:])
    assert (full[0] - bare[0]).abs().max() > 0.01


def test_states_that_are_not_kept_are_let_go(monkeypatch: pytest.MonkeyPatch):
    alive = []

    def walk(velocity, x, times):
        made = []
        for _ in times[1:]:
            state = SimpleNamespace(x=x.clone())
            made.append(weakref.ref(state.x))
            yield state
            del state
            alive.append(sum(each() is not None for each in made))

    monkeypatch.setitem(WALKS, "euler", walk)
    teacher, x_t, _, condition, null = asked(None)
    found = teacher.states(x_t, condition, null, steps=6, kept=2, guidance=1.0, mu=0.0)
    assert found.shape[1] == 2
    assert alive[:4] == [1, 1, 1, 2]  # the one just made, or one that is kept and the one just made


def test_rescaling_gives_the_clean_end_the_spread_of_the_unguided_one():
    _, x_t, t, *_ = asked(None)
    g = torch.Generator().manual_seed(1)
    wanted, guided = torch.randn(2, 3, 6, 64, generator=g).unbind()
    guided = 3 * guided

    def spread(velocity):
        return (x_t - t[:, None, None] * velocity).flatten(1).std(dim=1)

    torch.testing.assert_close(spread(rescaled(guided, wanted, x_t, t, 1.0)), spread(wanted))
    half = rescaled(guided, wanted, x_t, t, 0.5)
    torch.testing.assert_close(spread(half), (spread(wanted) + spread(guided)) / 2)
    torch.testing.assert_close(rescaled(guided, wanted, x_t, t, 0.0), guided)
    assert rescaled(guided, wanted, x_t, torch.zeros(3), 1.0).isfinite().all()


def test_an_endpoint_is_a_guided_euler_walk_to_exactly_zero_and_has_no_graph():
    teacher, noise, _, condition, null = asked("cached")
    found = teacher.endpoint(noise.requires_grad_(True), condition, null, steps=3, guidance=2.0, mu=0.7)

    def at(x, t):
        here = torch.full((len(x),), t)
        wanted, unwanted = teacher.flow(x, here, condition), teacher.flow(x, here, null)
        return unwanted + 2.0 * (wanted - unwanted)

    with torch.no_grad():
        *_, last = euler(at, noise, times(3, mu=0.7))
    assert last.t == 0.0
    torch.testing.assert_close(found, last.x, atol=1e-4, rtol=1e-4)
    assert not found.requires_grad


def test_states_of_a_walk_stand_at_the_times_of_a_walk_of_so_many_steps():
    teacher, noise, _, condition, _ = asked("full")
    seen, inner = [], teacher.velocity
    teacher.velocity = lambda x, t, *rest, **more: seen.append((float(t[0]), x)) or inner(x, t, *rest, **more)
    found = teacher.states(noise, condition, steps=6, kept=3, guidance=1.0, mu=0.7, walk="ab2")
    for part, t in enumerate(times(3, mu=0.7)[1:-1]):
        at, x = seen[2 * (part + 1)]  # two steps a part
        assert at == pytest.approx(t)
        torch.testing.assert_close(found[:, part], x)
    end = teacher.endpoint(noise, condition, steps=6, guidance=1.0, mu=0.7, walk="ab2")
    assert torch.equal(found[:, -1], end)
    assert not torch.allclose(end, teacher.endpoint(noise, condition, steps=6, guidance=1.0, mu=0.7), atol=1e-4)
    with pytest.raises(ConfigError, match="a divisor of steps=6"):
        teacher.states(noise, condition, steps=6, kept=4, guidance=1.0, mu=0.7)


@pytest.mark.parametrize("context", CONTEXTS)
def test_features_are_the_targets_tokens_after_each_block_and_stop_at_the_deepest(context):
    teacher, x_t, t, condition, _ = asked(context)
    flow, seen, handles = teacher.flow, {}, []
    blocks = [*flow.double_blocks, *flow.single_blocks]
    for number, block in enumerate(blocks):
        handles.append(block.register_forward_hook(lambda _m, _a, out, k=number: seen.__setitem__(k, out)))
    flow(x_t, t, condition)
    expected = [seen[0][1][:, :6], seen[1][1][:, :6], seen[2][0][:, 5:11], seen[3][0][:, 5:11], seen[4][0]]
    for depth in range(5):
        seen.clear()
        taps = [depth, 0]
        found = teacher.features(x_t, t, condition, taps)
        assert sorted(seen) == list(range(depth + 1))
        for tap, tokens in zip(taps, found, strict=True):
            torch.testing.assert_close(tokens, expected[tap], atol=1e-5, rtol=1e-4)
    for handle in handles:
        handle.remove()


def test_gradients_reach_the_state_and_no_parameter():
    teacher, x_t, t, condition, null = asked("full")
    teacher = Teacher(teacher.flow.train().requires_grad_(True))
    assert not teacher.flow.training
    x_t.requires_grad_(True)
    sum(each.square().mean() for each in teacher.features(x_t, t, condition, [1, 3])).backward()
    assert x_t.grad is not None
    assert (x_t.grad.flatten(1).norm(dim=1) > 0).all()
    x_t.grad = None
    teacher.velocity(x_t, t, condition, null, 2.0).square().mean().backward()
    assert float(x_t.grad.norm()) > 0
    assert all(not p.requires_grad and p.grad is None for p in teacher.flow.parameters())


@pytest.mark.parametrize("context", CONTEXTS)
def test_joined_and_picked_conditions_are_those_of_their_samples(context):
    teacher, x_t, t, condition, null = asked(context)
    both = teacher.flow(torch.cat([x_t, x_t]), torch.cat([t, t]), joined(condition, null, 3))
    torch.testing.assert_close(both[3:], teacher.flow(x_t, t, null), atol=1e-5, rtol=1e-4)
    rows = torch.tensor([2, 0])
    for each in (condition, null):
        found = teacher.flow(x_t[rows], t[rows], picked(each, rows))
        torch.testing.assert_close(found, teacher.flow(x_t, t, each)[rows], atol=1e-5, rtol=1e-4)


def test_one_sample_has_a_prompt_and_an_empty_one_of_its_own():
    teacher, x_t, t, condition, null = asked("cached", count=1)
    wanted, unwanted = teacher.both(x_t, t, condition, null)
    torch.testing.assert_close(wanted, teacher.flow(x_t, t, condition), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(unwanted, teacher.flow(x_t, t, null), atol=1e-5, rtol=1e-4)


def test_what_cannot_be_asked_is_refused():
    teacher, x_t, t, condition, null = asked("full")
    with pytest.raises(ConfigError, match="null: None came with guidance=2"):
        teacher.velocity(x_t, t, condition, None, 2.0)
    with pytest.raises(ConfigError, match="interval"):
        teacher.velocity(x_t, t, condition, null, 2.0, interval=(0.5, 0.2))
    with pytest.raises(ShapeError, match="guidance"):
        teacher.velocity(x_t, t, condition, null, torch.ones(3, 1))
    with pytest.raises(ConfigError, match="taps"):
        teacher.features(x_t, t, condition, [5])
    with pytest.raises(ConfigError, match="taps"):
        teacher.features(x_t, t, condition, [])
    with pytest.raises(ShapeError, match="t: one time per sample"):
        teacher.features(x_t, t[:, None], condition, [0])
    with pytest.raises(ShapeError, match="condition: made for"):
        teacher.features(x_t, t, replace(condition, context=None), [0])
