"""Students of few steps: the grid they walk, how often each time is trained on, and their own states."""

import pytest
import torch

from recast.errors import ConfigError, ShapeError
from recast.flow import schedule
from recast.flow.path import velocity_to
from recast.flow.sampler import euler, renoise
from recast.train.distill import student
from recast.train.distill.student import PUBLISHED, Law


@pytest.mark.parametrize("name", student.SAMPLERS)
def test_bug_1_the_grid_ends_at_zero_and_so_does_the_walk(name: student.SamplerName):
    """A walk that stops above 0 leaves noise in the picture: on a straight path it must land on the clean end."""
    clean, noise = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    for steps in (1, 2, 4, 8):
        for mu in (0.0, 0.5, 1.15):
            times = student.grid(steps, mu)
            assert (len(times), times[0], times[-1]) == (steps + 1, 1.0, 0.0)
            assert times == schedule.times(steps, mu=mu)
            walk = student.sampler(name, lambda: noise)
            found = student.picture(lambda x, t: velocity_to(x, clean, t), noise, times, walk)
            torch.testing.assert_close(found, clean)


@pytest.mark.parametrize("times", [[1.0, 0.75, 0.5, 0.11], [0.9, 0.5, 0.0], [1.0, 0.5, 0.5, 0.0], [1.0], [0.0]])
def test_bug_1_times_that_do_not_fall_from_one_to_zero_are_refused(times: list[float]):
    with pytest.raises(ConfigError, match="from 1 to exactly 0"):
        student.picture(lambda x, t: x, torch.zeros(1, 2, 3), times)


@pytest.mark.parametrize("law", [Law(), PUBLISHED, Law(steps=2, main=(1.0, 0.0), warmup=(0.25, 0.75))])
def test_times_come_as_often_as_the_law_says(law: Law):
    even = torch.rand(100_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for share in (0.0, 0.04, 0.05, 0.9):
        found = torch.bincount(law.index(even, share), minlength=law.steps) / len(even)
        wanted = law.warmup if law.warmup and share < 0.05 else law.main or (1 / law.steps,) * law.steps
        assert found.tolist() == pytest.approx(wanted, abs=0.006)
        assert {i for i, each in enumerate(found) if each} == {i for i, each in enumerate(wanted) if each}


def test_a_time_that_is_never_trained_on_is_not_met_at_the_edges_either():
    law = Law(main=(0.0, 0.1, 0.9, 0.0))
    assert law.index(torch.tensor([0.0, 0.1, 1 - 2**-53], dtype=torch.float64), 1.0).tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"main": (0.5, 0.5)},
        {"main": (0.5, 0.5, 0.5, -0.5)},
        {"warmup": (0.1, 0.1, 0.1, 0.1)},
        {"warmup_until": 2.0},
    ],
)
def test_what_is_no_law_is_refused(wrong: dict[str, object]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Law(**wrong)


def bent(x: torch.Tensor, t: float) -> torch.Tensor:
    """A velocity whose path is not straight."""
    return torch.sin(3 * x) + t


def test_states_on_policy_are_those_of_the_students_own_euler_walk():
    noise, times = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(2)), student.grid(4, 0.7)
    states = [noise, *(state.x for state in euler(bent, noise, times))]
    k = torch.tensor([0, 1, 2, 3, 1, 0])
    found = student.roll_in(bent, noise, times, k)
    for row, index in enumerate(k.tolist()):
        torch.testing.assert_close(found[row], states[index][row], rtol=0, atol=0)


def test_states_of_a_re_noising_student_are_those_of_its_walk():
    generator = torch.Generator().manual_seed(3)
    noise, *fresh = torch.randn(4, 3, 4, 3, generator=generator).unbind()
    times = student.grid(4, 0.0)
    kept, again = iter(fresh), iter(fresh)
    states = [noise, *(state.x for state in renoise(lambda: next(kept))(bent, noise, times[:4]))]
    found = student.roll_in(
        bent, noise, times, torch.tensor([3, 0, 2]), walk=student.sampler("renoise", lambda: next(again))
    )
    for row, index in enumerate((3, 0, 2)):
        torch.testing.assert_close(found[row], states[index][row], rtol=0, atol=0)


def test_a_roll_in_runs_no_more_than_it_needs_or_as_often_as_it_is_told_and_has_no_graph():
    calls = []
    weight = torch.ones((), requires_grad=True)

    def velocity(x: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return weight * x

    noise, times, k = torch.ones(2, 3, 3), student.grid(4, 0.0), torch.tensor([1, 0])
    few = student.roll_in(velocity, noise, times, k)
    assert (len(calls), few.requires_grad) == (1, False)
    torch.testing.assert_close(student.roll_in(velocity, noise, times, k, evaluations=3), few, rtol=0, atol=0)
    assert len(calls) == 1 + 3
    for wrong in (torch.tensor([4, 0]), torch.tensor([-1, 0])):
        with pytest.raises(ConfigError, match="k from"):
            student.roll_in(velocity, noise, times, wrong)
    with pytest.raises(ConfigError, match="evaluations=0"):
        student.roll_in(velocity, noise, times, k, evaluations=0)


def test_bug_4_the_clean_picture_is_the_state_less_t_times_the_velocity():
    generator = torch.Generator().manual_seed(4)
    clean, noise = torch.randn(2, 3, 4, 2, generator=generator)
    t = torch.tensor([1.0, 0.5, 0.2])
    x_t = torch.lerp(clean, noise, t[:, None, None])
    torch.testing.assert_close(student.clean(x_t, noise - clean, t), clean)
    with pytest.raises(ShapeError, match="one time per sample"):
        student.clean(x_t, noise - clean, t[:1])


def test_another_sampler_is_refused():
    with pytest.raises(ConfigError, match="euler or renoise"):
        student.sampler("heun", lambda: torch.zeros(1))  # type: ignore[arg-type]
