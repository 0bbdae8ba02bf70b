"""Latent adversarial distillation: what is real, what is fake, who learns from what, and the known bugs."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.path import interpolate
from recast.flow.sampler import euler
from recast.flow.schedule import resolution_shift
from recast.train import optim
from recast.train.distill import student
from recast.train.distill.adversarial_settings import walked_by
from recast.train.distill.asking import asked
from recast.train.distill.beside import Mixed
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.student import Law
from recast.train.parallel import Ranks
from recast.train.settings import Optimiser
from recast.train.stage import trained
from tests.train.distill.adversaries import EDITS, made, made_add, of_parts, pair_batch, part_of, student_inputs
from tests.train.pairs import pairs


def noised_for_heads(of: LaddStage, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the teacher is given to look at, call by call."""
    given: list[Tensor] = []
    inner = of.teacher.features

    def spy(x_t: Tensor, *rest: Any) -> list[Tensor]:
        given.append(x_t.detach())
        return inner(x_t, *rest)

    monkeypatch.setattr(of.teacher, "features", spy)
    return given


# The five known bugs.


@pytest.mark.parametrize("name", student.SAMPLERS)
def test_bug_1_the_students_walk_ends_at_zero(name: str, monkeypatch: pytest.MonkeyPatch):
    of = made(sampler=name)
    batch = pair_batch(of)
    given = student_inputs(of, monkeypatch)
    with torch.no_grad():
        seen = of.seen(batch.each, batch.noise, batch.guidance)
    assert of.times(batch.each) == student.grid(4, resolution_shift(16))
    assert [float(t[0]) for _, t in given] == of.times(batch.each)[:-1]
    assert of.times(batch.each)[-1] == 0
    assert len(seen) == 4


def test_bug_2_what_counts_as_real_was_made_with_the_settings_guidance(monkeypatch: pytest.MonkeyPatch):
    of = made()
    with pytest.raises(ConfigError, match=r"guidance=3\.0: the pairs were made with 1\.0"):
        of.prepare(pair_batch(of, guidance=1.0), 0.0)
    with pytest.raises(ConfigError, match="made in 4 steps"):
        of.prepare(pair_batch(of, steps=4), 0.0)
    with pytest.raises(ConfigError, match=r"guidance=1\.0.*accepts_unguided"):
        LaddSettings(guidance=1.0)
    with pytest.raises(ConfigError, match=r"edit_guidance=1\.0.*accepts_unguided"):
        LaddSettings(edit_guidance=1.0)
    with pytest.raises(ConfigError, match="edit_guidance=inf: a finite scale"):
        LaddSettings(edit_guidance=float("inf"))
    LaddSettings(guidance=1.0, edit_guidance=1.0, accepts_unguided=True)
    # what the teacher makes itself is guided too: away from the empty prompt
    asked: list[dict[str, Any]] = []
    inner = of.teacher.endpoint

    def spy(noise: Tensor, condition: Any, null: Any, **rest: Any) -> Tensor:
        asked.append({"noise": noise, "null": null, **rest})
        return inner(noise, condition, null, **rest)

    monkeypatch.setattr(of.teacher, "endpoint", spy)
    part = part_of(of, pairs(2))
    (call,) = asked
    assert (call["guidance"], call["steps"]) == (3.0, 25)
    empty = of.reading.encode([""])
    torch.testing.assert_close(call["null"].text[0], of.teacher.flow.txt_in(empty.tokens)[0])
    assert torch.equal(call["noise"], part.start)
    assert part.is_end.all()
    # edits at a scale of their own, and pictures without contexts at the other
    own = replace(of.settings, edit_guidance=1.0, accepts_unguided=True)
    of.settings = own
    of.prepare(pair_batch(of, guidance=1.0), 0.0)
    with pytest.raises(ConfigError, match=r"guidance=1\.0: the pairs were made with 3\.0"):
        of.prepare(pair_batch(of), 0.0)
    part_of(of, pairs(2))
    assert (asked[-1]["guidance"], asked[-1]["null"]) == (1.0, None)
    with pytest.raises(ConfigError, match=r"edit_guidance=0\.5"):
        replace(own, edit_guidance=0.5)


def test_what_the_teacher_makes_on_the_way_is_guided_at_the_settings_times_and_taken_back_in_spread():
    of = made(teacher_steps=5, interval=(0.2, 0.9), rescale=0.5)
    part = part_of(of, pairs(2))
    with torch.no_grad():
        condition, null, scale = asked(of.reading, of.teacher.flow, part.each, 3.0)
    told = {"steps": 5, "kept": 1, "guidance": scale, "mu": of.mu(part.each)}
    for less in ({}, {"interval": (0.2, 0.9)}, {"rescale": 0.5}):
        ends = of.teacher.states(part.start, condition, null, **told, **less)[:, -1]
        assert not torch.allclose(part.real, ends, atol=1e-3)
    both = {"interval": (0.2, 0.9), "rescale": 0.5}
    torch.testing.assert_close(part.real, of.teacher.states(part.start, condition, null, **told, **both)[:, -1])
    for wrong in ({"interval": (0.9, 0.2)}, {"rescale": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            LaddSettings(**wrong)


@pytest.mark.parametrize("on_policy", [0.0, 1.0])
@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_bug_3_the_students_input_below_noise_is_not_pure_noise(
    k: int, on_policy: float, monkeypatch: pytest.MonkeyPatch
):
    """It is the real picture noised to that time, or where the student's own Euler walk stands then."""
    of = made(law=Law(main=tuple(float(i == k) for i in range(4))), on_policy=on_policy)
    batch = pair_batch(of)
    part = part_of(of, batch)
    times = of.times(part.each)
    if on_policy:
        with torch.no_grad():
            velocity = of.velocity(part.each, 3.0)
            walk = euler(lambda x, t: velocity(x, torch.full((4,), t)), batch.noise, times)
            expected = [batch.noise, *(state.x for state in walk)][k]
    else:
        expected, _ = interpolate(batch.each.clean, batch.noise, torch.full((4,), times[k]))
    given = student_inputs(of, monkeypatch)
    of.loss("generator", of_parts(part), 0.5)
    x_t, t = given[-1]
    assert t.tolist() == pytest.approx([times[k]] * 4)
    torch.testing.assert_close(x_t, expected)
    assert (float((x_t - batch.noise).abs().max()) > 0.1) == (k > 0)


@pytest.mark.parametrize("on_policy", [0.0, 1.0])
def test_a_student_that_renoises_learns_on_states_under_noise_of_their_own(
    on_policy: float, monkeypatch: pytest.MonkeyPatch
):
    """By hand: its clean picture of one time under new noise at the next; or a real picture, never under the noise that
    the teacher walked from.
    """
    of = made(sampler="renoise", law=Law(main=(0.0, 0.0, 1.0, 0.0)), on_policy=on_policy)
    batch = pair_batch(of)
    part = part_of(of, batch)
    times, draws = of.times(batch.each), part.draws
    assert torch.equal(part.start, draws.start)
    assert not part.is_end.any()  # nor is the teacher's picture that of this noise
    with torch.no_grad():
        velocity = of.velocity(part.each, 3.0)
        expected = draws.start
        for k in (0, 1):
            clean = expected - times[k] * velocity(expected, torch.full((4,), times[k]))
            expected = (1 - times[k + 1]) * clean + times[k + 1] * draws.fresh[k]
    if not on_policy:
        expected = (1 - times[2]) * batch.each.clean + times[2] * draws.start
        told = expected - (1 - times[2]) * batch.each.clean  # what is noise in it
        assert abs(float((told * batch.noise).mean())) < 0.1 * times[2]
    given = student_inputs(of, monkeypatch)
    loss = of.loss("generator", of_parts(part), 0.5)
    assert loss is not None
    loss.value.backward()
    x_t, t = given[-1]
    assert t.tolist() == pytest.approx([times[2]] * 4)
    torch.testing.assert_close(x_t.detach(), expected, atol=1e-5, rtol=1e-4)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients(of, "flow"))


def test_a_sampler_and_the_noise_it_learns_from_belong_together():
    kept = LaddSettings(regression=0.1, on_policy=0.0)
    changed = walked_by(kept, "renoise")
    assert changed == replace(kept, sampler="renoise", paired_noise=False, regression=0.0)
    assert walked_by(kept, "euler") == kept
    with pytest.raises(ConfigError, match=r"paired_noise=true: false accepted with sampler='renoise'"):
        replace(kept, sampler="renoise", regression=0.0)
    with pytest.raises(ConfigError, match=r"on_policy=0\.0: above 0 accepted with sampler='euler'"):
        LaddSettings(paired_noise=False, on_policy=0.0)
    LaddSettings(paired_noise=False, on_policy=0.1)


def test_bug_4_the_fake_is_the_clean_end_and_not_the_velocity(monkeypatch: pytest.MonkeyPatch):
    """A student whose velocity leads to a known picture makes that picture, at every time of its grid."""
    of = made()
    part = part_of(of, pair_batch(of, 8))
    known = torch.randn(part.real.shape, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(of.reading.flow, "forward", lambda x, t, condition: (x - known) / t[:, None, None])
    with torch.no_grad():
        torch.testing.assert_close(of._fake(part, 0.5), known, atol=1e-5, rtol=1e-4)


def test_bug_5_the_real_is_noised_once_and_like_the_fake(monkeypatch: pytest.MonkeyPatch):
    of = made()
    batch = pair_batch(of)
    part = part_of(of, batch)
    given = noised_for_heads(of, monkeypatch)
    of.loss("generator", of_parts(part), 0.5)
    of.loss("discriminator", of_parts(part), 0.5)
    assert part.fake is not None
    fake, real = given
    level, over = part.level[:, None, None], part.draws.over
    torch.testing.assert_close(real, (1 - level) * batch.each.clean + level * over)
    torch.testing.assert_close(fake, (1 - level) * part.fake + level * over)
    assert 0 < float(level.min()) < float(level.max()) < 1


# Who learns from what.


def gradients(of: LaddStage, name: str) -> list[Tensor | None]:
    return [parameter.grad for parameter in of.networks[name].parameters()]


@pytest.mark.parametrize(
    ("contexts", "attention", "conditioning"),
    [
        (0, "full", "sequence"), (1, "full", "sequence"), (2, "full", "sequence"), (0, "cached", "sequence"),
        (1, "cached", "sequence"), (3, "cached", "sequence"), (0, "full", "channels"), (1, "full", "channels"),
    ],
)  # fmt: skip
def test_the_student_learns_in_its_phase_and_the_heads_in_theirs_and_the_teacher_never(
    contexts: int, attention: str, conditioning: Any
):
    training = replace(EDITS, conditioning=conditioning)
    wider = {"in_channels": 128} if conditioning == "channels" else {}
    changes = {"mispaired": 0.5, "copies": 0.5, "approximate_r1": 0.1, "r1": 1e-3, "regression": 0.1}
    of = made({"context_attention": attention, **wider}, training=training, **changes)
    before = copy.deepcopy(of.teacher.flow.state_dict())
    prepared = of.prepare(pair_batch(of, contexts=contexts), 0.5)
    loss = of.loss("generator", prepared, 0.5)
    assert loss is not None
    loss.value.backward()
    moved = [gradient is not None and bool(gradient.abs().max() > 0) for gradient in gradients(of, "flow")]
    assert sum(moved) > 0.9 * len(moved)
    assert all(gradient is None for gradient in gradients(of, "heads"))
    kept = [None if gradient is None else gradient.clone() for gradient in gradients(of, "flow")]
    loss = of.loss("discriminator", prepared, 0.5)
    assert loss is not None
    loss.value.backward()
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients(of, "heads"))
    for one, other in zip(kept, gradients(of, "flow"), strict=True):
        assert one is other or (one is not None and other is not None and torch.equal(one, other))
    assert all(parameter.grad is None for parameter in of.teacher.flow.parameters())
    assert all(torch.equal(value, of.teacher.flow.state_dict()[name]) for name, value in before.items())
    assert set(loss.parts) == set(of._names)
    assert not any(value.requires_grad for value in loss.parts.values())
    assert bool(loss.parts["copies"].isnan()) == (contexts == 0)


def test_the_discriminator_judges_the_same_fake_with_or_without_the_students_phase():
    one, other = made(), made()
    batch = pair_batch(one)
    after, alone = one.prepare(batch, 0.5), other.prepare(batch, 0.5)
    one.loss("generator", after, 0.5)
    first, second = one.loss("discriminator", after, 0.5), other.loss("discriminator", alone, 0.5)
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first.value, second.value)


def test_the_students_steps_lower_its_loss():
    of = made()
    batch = pair_batch(of)
    (optimiser,) = optim.build(trained(of.phases[0], of.networks), Optimiser(lr=1e-3, warmup_steps=0))
    for head in of.heads.heads:
        torch.nn.init.normal_(head.out.weight, generator=torch.Generator().manual_seed(1))
    found = []
    for _ in range(6):
        loss = of.loss("generator", of.prepare(batch, 0.5), 0.5)
        assert loss is not None
        found.append(float(loss.value.detach()))
        optimiser.zero_grad()
        loss.value.backward()
        optimiser.step()
    assert found[-1] < found[0] - 0.01


def test_the_students_loss_is_of_examples_that_count_alone_and_regression_of_paired_ones():
    of = made(adversarial=0.0, regression=2.0)
    batch = pair_batch(of)
    part = part_of(of, batch)
    part.is_end = torch.tensor([True, False, True, True])
    loss = of.loss("generator", of_parts(part), 0.5)
    assert loss is not None
    assert part.fake is not None
    apart = (part.fake - batch.each.clean).abs().mean(dim=(1, 2))
    assert float(loss.value.detach()) == pytest.approx(2 * float(apart[[0, 2, 3]].sum()) / 4, rel=1e-4)
    assert float(loss.parts["regression"]) == pytest.approx(float(apart[[0, 2, 3]].mean()), rel=1e-4)
    dummy = replace(part, each=replace(part.each, counts=False))
    both = of_parts(part, dummy)
    again = of.loss("generator", replace(both, count=4), 0.5)
    assert again is not None
    torch.testing.assert_close(again.value, loss.value)
    with pytest.raises(ConfigError, match="paired_noise"):
        LaddSettings(regression=0.1, paired_noise=False)


def test_what_an_example_has_no_loss_for_does_not_spoil_the_others():
    of = made(regression=2.0, on_policy=1.0)
    part = part_of(of, pair_batch(of))
    part.is_end = torch.tensor([True, False, True, True])
    part.real[1] = torch.nan  # the student's own walk does not read it
    loss = of.loss("generator", of_parts(part), 0.5)
    assert loss is not None
    assert bool(loss.value.isfinite())
    assert bool(loss.parts["regression"].isfinite())


def test_noise_is_the_teachers_own_or_drawn_anew():
    of, apart = made(), made(paired_noise=False)
    batch = pair_batch(of)
    assert torch.equal(part_of(of, batch).start, batch.noise)
    part = part_of(apart, batch)
    assert float((part.start - batch.noise).abs().min(dim=1).values.max()) > 0
    assert not part.is_end.any()
    drawn = part_of(apart, batch).draws
    noises = [drawn.start, drawn.end, drawn.over, drawn.disturbance, *drawn.fresh]
    for i, one in enumerate(noises):
        for other in noises[:i]:
            assert abs(float((one * other).mean())) < 0.1


def test_pictures_count_as_real_themselves_by_their_share():
    of = made(pictures=0.5, teacher_steps=5)
    part = part_of(of, pairs(12))
    (each,) = of.reading.prepare(pairs(12), 0.5).passes
    same = [torch.equal(part.real[row], each.clean[row]) for row in range(12)]
    assert same == (~part.is_end).tolist()
    assert 2 <= sum(same) <= 10
    assert not part_of(made(pictures=1.0), pairs(4)).is_end.any()


# Negatives.


def test_mispaired_negatives_are_real_pictures_under_other_words(monkeypatch: pytest.MonkeyPatch):
    of = made(mispaired=1.0)
    batch = pair_batch(of, 3)
    prompts = ("make it red", "make it red", "make it blue")
    uses = tuple(replace(use, prompt=prompt) for use, prompt in zip(batch.each.uses, prompts, strict=True))
    part = part_of(of, replace(batch, each=replace(batch.each, uses=uses)))
    given = noised_for_heads(of, monkeypatch)
    told: list[Tensor] = []
    inner = of.heads.forward
    monkeypatch.setattr(
        of.heads, "forward", lambda seen, grid, t, text: told.append(text) or inner(seen, grid, t, text)
    )
    value, is_wrong = of._mispaired(part)
    assert is_wrong.tolist() == [False, True, True]
    (noised,), (text,) = given, told
    torch.testing.assert_close(noised, interpolate(part.real, part.draws.over, part.level)[0])
    pooled = of.reading.encode(("make it red", "make it blue", "make it red")).pooled
    torch.testing.assert_close(text, pooled)
    assert value.shape == (3,)
    logits = of._judge(part, of._see(part, part.real, part.condition))
    assert not torch.allclose(value, torch.stack([(1 + each).relu().mean((1, 2)) for each in logits]).mean(0))


@pytest.mark.parametrize("making", [made, made_add])
def test_words_of_other_processes_are_other_words_too(making: Any, monkeypatch: pytest.MonkeyPatch):
    of = making(mispaired=1.0)
    batch = pair_batch(of, 1)
    with pytest.raises(ConfigError, match=r"mispaired=1\.0: a single example"):
        of.prepare(batch, 0.5)
    (use,) = batch.each.uses
    there = [(7, 0, "make it square"), (3, 0, "make it round")]
    monkeypatch.setattr(Ranks, "gather", lambda ranks, own: [own, there])
    part = part_of(of, batch)
    assert (use.number, part.others, of._have_others(part).tolist()) == (0, ("make it round",), [True])
    there[1] = (3, 0, use.prompt)
    part = part_of(of, batch)
    assert not of._have_others(part).any()


def test_words_are_paired_across_the_passes_of_a_batch():
    of = made(mispaired=1.0, pictures=0.5)
    one, other = of.prepare(Mixed(pair_batch(of, 1), pairs(1, first=1, contexts=2)), 0.5).parts
    assert (one.others, other.others) == (other.each.prompts, one.each.prompts)
    assert one.others != other.others
    alike = of.prepare(Mixed(pair_batch(of, 1), pairs(1)), 0.5)  # one number and the same words in both streams
    assert not any(of._have_others(part).any() for part in alike.parts)


def test_copies_are_contexts_of_the_targets_grid_and_wrong_for_edits_alone(monkeypatch: pytest.MonkeyPatch):
    of = made(copies=1.0)
    batch = pair_batch(of, 8, contexts=2)
    kinds = ["keep" if row == 3 else "edit" for row in range(8)]
    uses = tuple(
        replace(use, kind=kind, is_copy=row == 5)
        for row, (use, kind) in enumerate(zip(batch.each.uses, kinds, strict=True))
    )
    part = part_of(of, replace(batch, each=replace(batch.each, uses=uses)))
    given = noised_for_heads(of, monkeypatch)
    assert part.each.context is not None
    _, is_wrong = of._copies(part, part.each.context)
    assert is_wrong.tolist() == [row not in (3, 5) for row in range(8)]  # neither to keep nor to change nothing
    first, second = (interpolate(run, part.draws.over, part.level)[0] for run in part.each.context.split(16, dim=1))
    chosen = [int(torch.allclose(given[0][row], second[row])) for row in range(8)]
    for row, which in enumerate(chosen):
        torch.testing.assert_close(given[0][row], (first, second)[which][row])
    assert set(chosen) == {0, 1}
    other = replace(part.each, context=part.each.context[:, :24], context_grids=((4, 6),))
    assert other.context is not None
    assert not of._copies(replace(part, each=other, condition=wider(of, other)), other.context)[1].any()


def wider(of: LaddStage, each: Any) -> Any:
    return of.reading.condition(each, each.prompts, 3.0, of.teacher.flow)
