"""Direct distillation: what it learns, from which states, and why its pairs must be pairs."""

from dataclasses import replace

import pytest
import torch

from recast.errors import ConfigError
from recast.flow.sampler import euler
from recast.flow.schedule import resolution_shift, times
from recast.train.distill.direct import DirectSettings, DirectStage
from recast.train.distill.pairs import PairBatch
from recast.train.distill.student import Law
from tests.train.distill import toy

MARGIN = 3.0
"""So many times nearer to the teacher's 25 steps than the teacher's own 4 is a student after 60 updates."""


@pytest.fixture(scope="module")
def known() -> dict[str, object]:
    """The teacher's pairs, held-out ones, and how far its own four steps end from its 25."""
    made = toy.reading()
    teacher = toy.teacher_of(made)
    held = toy.pairs_of(made, teacher, range(toy.HELD_OUT, toy.HELD_OUT + 32))
    few = toy.ends(made, teacher, range(toy.HELD_OUT, toy.HELD_OUT + 32), steps=4)
    return {
        "teacher": teacher,
        "pairs": toy.pairs_of(made, teacher, range(128)),
        "held": held,
        "few": float((few - held.each.clean).square().mean()),
    }


def new(known, **settings) -> DirectStage:
    """A student that begins as the teacher."""
    return DirectStage(toy.reading(), DirectSettings(**settings), held_out=[known["held"]])


@pytest.fixture(scope="module")
def learned(known) -> dict[str, float]:
    """How a student does after 60 updates."""
    made = new(known, distance="mse")
    toy.train(made, known["pairs"], 60)
    return made.validate()


def test_four_steps_come_nearer_to_the_teachers_pictures_than_its_own_four_steps(known, learned):
    found = learned
    assert found["endpoint"] < known["few"] / MARGIN
    assert found["endpoint"] == found["clean3"] < found["clean0"]


def test_a_picture_must_be_that_of_its_noise(known, learned):
    """Endpoints given to other noise teach only their mean; the student ends up far from the truth."""
    pairs, wrong = known["pairs"], new(known, distance="mse")
    order = torch.arange(len(pairs.numbers)).roll(4)  # of the same prompt
    toy.train(wrong, replace(pairs, noise=pairs.noise[order]), 25)
    assert wrong.validate()["endpoint"] > 4 * learned["endpoint"]


def test_from_state_to_state_a_student_learns_the_bend_of_each_step():
    """In fewer updates than above; from states of other noise it learns nothing."""
    made = toy.reading()
    teacher = toy.teacher_of(made)
    judged = range(toy.HELD_OUT, toy.HELD_OUT + 32)
    walks, held = (toy.walks_of(made, teacher, at, 24, 4) for at in (range(128), judged))
    few = toy.ends(made, teacher, judged, steps=4)
    error = {}
    for name, told in (("own", walks), ("others", replace(walks, states=walks.states.roll(1, dims=0)))):
        student = DirectStage(toy.reading(), DirectSettings(towards="states", distance="mse"), held_out=[held])
        toy.train(student, told, 40)
        error[name] = student.validate()["endpoint"]
    assert error["own"] < float((few - held.each.clean).square().mean()) / MARGIN
    assert error["others"] > 4 * error["own"]


def test_a_step_from_state_to_state_has_no_loss_where_the_velocity_leads_to_the_next(known):
    made = DirectStage(toy.reading(), DirectSettings(towards="states"))
    batch = toy.picked(known["pairs"], range(8), first=0)
    path = torch.stack(walked(made, batch), dim=1)  # Euler's states: each velocity leads to the next of them
    told = replace(batch, each=replace(batch.each, clean=path[:, -1]), states=path[:, 1:-1])
    parts = made.loss("direct", told, 0.5).parts
    seen = [float(value) for value in parts.values() if value.isfinite()]  # times that an example was drawn at
    assert len(seen) > 1
    assert max(seen) < 1e-4
    further = replace(told, states=told.states + torch.tensor([0.0, 0.5, 0.0])[:, None, None])
    assert float(made.loss("direct", further, 0.5).value.detach()) > 0.1
    for wrong in (replace(told, states=None), replace(told, states=told.states[:, :2])):
        with pytest.raises(ConfigError, match=r"settings\.states=4"):
            made.loss("direct", wrong, 0.5)


def walked(made: DirectStage, batch: PairBatch) -> list[torch.Tensor]:
    """The states of the student's walk, noise first, told step by step from its flow alone."""
    each, schedule = batch.each, times(4, mu=resolution_shift(toy.TOKENS))
    with torch.no_grad():
        condition = made.reading.condition(each, each.prompts, 1.0)

        def velocity(x, t):
            return made.reading.flow(x, torch.full(x.shape[:1], t), condition)

        return [batch.noise, *(state.x for state in euler(velocity, batch.noise, schedule))]


def test_it_is_trained_on_states_of_its_own_walk_each_at_the_time_of_the_state(known):
    made, batch = new(known), toy.picked(known["pairs"], range(8), first=0)
    path = walked(made, batch)
    k = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    expected = torch.stack([path[int(at)][row] for row, at in enumerate(k)])
    torch.testing.assert_close(made.states(batch, k), expected)
    seen = []
    inner = made.reading.flow.forward
    made.reading.flow.forward = lambda x, t, condition: seen.append((x.detach(), t)) or inner(x, t, condition)
    made.loss("direct", made.prepare(batch, 0.5), 0.5)
    x, t = seen[-1]  # the evaluation that is trained
    schedule = torch.tensor(times(4, mu=resolution_shift(toy.TOKENS)))
    at = [int((schedule == one).nonzero()) for one in t]
    torch.testing.assert_close(x, torch.stack([path[one][row] for row, one in enumerate(at)]))
    assert len(set(at)) > 1


def test_the_loss_is_that_of_the_clean_end_and_not_of_the_velocity(known):
    """If the endpoint is what the student sees at each step, the loss of that step is zero."""
    made, batch = new(known, trained="every", distance="l1"), toy.picked(known["pairs"], range(8), first=0)
    path, schedule = walked(made, batch), times(4, mu=resolution_shift(toy.TOKENS))
    for k in range(4):
        t, after = schedule[k], schedule[k + 1]
        velocity = (path[k + 1] - path[k]) / (after - t)
        told = replace(batch, each=replace(batch.each, clean=path[k] - t * velocity))
        losses = made.loss("direct", told, 0.5).parts
        assert float(losses[f"k{k}"]) < 1e-5
        assert all(float(losses[f"k{other}"]) > 1e-3 for other in range(4) if other != k)


def test_the_gradient_of_every_step_is_its_own_and_through_them_all_is_that_of_the_end(known):
    batch = toy.picked(known["pairs"], range(8), first=0)
    gradients = {}
    for trained in ("every", "through"):
        made = new(known, trained=trained, distance="mse")
        loss = made.loss("direct", batch, 0.5)
        loss.value.backward()
        told = float(loss.value.detach())
        gradients[trained] = made.reading.flow.final_layer.linear.weight.grad.clone()
    end = walked(made, batch)[-1]
    assert told == pytest.approx(float((end - batch.each.clean).square().mean()), rel=1e-4)
    made, weight, small = new(known, trained="through", distance="mse"), (5, 7), 1e-2
    with torch.no_grad():
        moved = []
        for sign in (1, -1):
            made.reading.flow.final_layer.linear.weight[weight] += sign * small
            moved.append(float((walked(made, batch)[-1] - batch.each.clean).square().mean()))
            made.reading.flow.final_layer.linear.weight[weight] -= sign * small
    assert float(gradients["through"][weight]) == pytest.approx((moved[0] - moved[1]) / (2 * small), rel=0.05)
    made, schedule = new(known), torch.tensor(times(4, mu=resolution_shift(toy.TOKENS)))
    velocity = made.velocity(batch.each, batch.guidance)
    for x_t, t in zip(walked(made, batch)[:4], schedule[:4], strict=True):  # states that know no gradient
        seen = x_t - t * velocity(x_t, t.expand(8))
        ((seen - batch.each.clean).square().mean() / 4).backward(retain_graph=True)
    torch.testing.assert_close(made.reading.flow.final_layer.linear.weight.grad, gradients["every"])


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="sampler='renoise'"):
        DirectSettings(sampler="renoise")
    with pytest.raises(ConfigError, match="trained='all'"):
        DirectSettings(trained="all")
    with pytest.raises(ConfigError, match="towards='start'"):
        DirectSettings(towards="start")
    with pytest.raises(ConfigError, match="trained='every'"):
        DirectSettings(towards="states", trained="every")
    with pytest.raises(ConfigError, match="distance='l3'"):
        DirectSettings(distance="l3")
    with pytest.raises(ConfigError, match="leave out the law's shares"):
        DirectSettings(trained="every", law=Law(main=(1.0, 0.0, 0.0, 0.0)))
