"""Adversarial distillation in pixels: what is seen, who learns from what, and the known bugs that can happen here."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.layers import layer_norm
from recast.flow.path import interpolate
from recast.flow.schedule import resolution_shift
from recast.latents.tokens import unpack
from recast.train.distill import heads as critic
from recast.train.distill import student
from recast.train.distill.add import AddStage, PixelPart
from recast.train.distill.add_settings import AddSettings
from recast.train.distill.heads import HeadSettings
from recast.train.distill.pixel_features import AutoencoderFeatures
from recast.train.distill.pixel_heads import PixelHeads
from recast.train.distill.student import Law
from recast.train.flow_stage import FlowTraining
from recast.train.loop import run
from recast.train.settings import Optimiser, Run, Settings
from tests.train.distill.adversaries import EDITS, made_add, of_parts, pair_batch, part_of, student_inputs
from tests.train.distill.test_ladd_course import Stream
from tests.train.pairs import pairs


def looked_at(of: AddStage, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The pixels that features are taken of, call by call."""
    given: list[Tensor] = []
    inner = of.features.maps
    monkeypatch.setattr(of.features, "maps", lambda pixels, taps: given.append(pixels) or inner(pixels, taps))
    return given


def decoded(of: AddStage, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return of.reading.autoencoder.decode(unpack(tokens, (4, 4)))


# The known bugs.


@pytest.mark.parametrize("name", student.SAMPLERS)
def test_bug_1_the_students_walk_ends_at_zero(name: str, monkeypatch: pytest.MonkeyPatch):
    of = made_add(sampler=name)
    batch = pair_batch(of, 1)
    given = student_inputs(of, monkeypatch)
    with torch.no_grad():
        of.seen(batch.each, batch.noise, batch.guidance)
    assert of.times(batch.each) == student.grid(4, resolution_shift(16))
    assert [float(t[0]) for _, t in given] == of.times(batch.each)[:-1]
    assert (of.times(batch.each)[0], of.times(batch.each)[-1]) == (1, 0)


def test_bug_2_what_teaches_is_guided_and_so_is_what_counts_as_real(monkeypatch: pytest.MonkeyPatch):
    of = made_add()
    with pytest.raises(ConfigError, match=r"guidance=3\.0: the pairs were made with 1\.0"):
        of.prepare(pair_batch(of, guidance=1.0), 0.0)
    with pytest.raises(ConfigError, match="accepts_unguided"):
        AddSettings(guidance=1.0)
    part = part_of(of, pair_batch(of, 2))
    asked: list[tuple[Any, ...]] = []
    inner = of.teacher.velocity
    monkeypatch.setattr(of.teacher, "velocity", lambda *told, **rest: asked.append(told) or inner(*told, **rest))
    of.loss("generator", of_parts(part), 0.5)
    ((_, _, _, null, scale),) = asked
    assert scale == 3.0
    empty = of.reading.encode([""])
    torch.testing.assert_close(null.text[0], of.teacher.flow.txt_in(empty.tokens)[0])


@pytest.mark.parametrize("k", [0, 2])
def test_bug_3_the_students_input_below_noise_is_not_pure_noise(k: int, monkeypatch: pytest.MonkeyPatch):
    of = made_add(law=Law(main=tuple(float(i == k) for i in range(4))), on_policy=0.0, pictures=1.0)
    (each,) = of.reading.prepare(pairs(2), 0.5).passes
    part = part_of(of, pairs(2))
    given = student_inputs(of, monkeypatch)
    of.loss("generator", of_parts(part), 0.5)
    (x_t, t), time = given[-1], of.times(each)[k]
    assert t.tolist() == pytest.approx([time] * 2)
    torch.testing.assert_close(x_t, (1 - time) * each.clean + time * part.start)
    assert (float((x_t - part.start).abs().max()) > 0.1) == (k > 0)


def test_bug_4_what_is_decoded_is_the_clean_end_and_not_the_velocity(monkeypatch: pytest.MonkeyPatch):
    """A student whose velocity leads to a known picture shows that picture, at every time of its grid."""
    of = made_add(distill=0.0)
    part = part_of(of, pair_batch(of))
    known = torch.randn(part.real.shape, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(of.reading.flow, "forward", lambda x, t, condition: (x - known) / t[:, None, None])
    given = looked_at(of, monkeypatch)
    of.loss("generator", of_parts(part), 0.5)
    torch.testing.assert_close(given[0], decoded(of, known), atol=1e-4, rtol=1e-3)


def test_bug_5_the_real_is_not_noised(monkeypatch: pytest.MonkeyPatch):
    of = made_add()
    batch = pair_batch(of)
    part = part_of(of, batch)
    given = looked_at(of, monkeypatch)
    of.loss("generator", of_parts(part), 0.5)
    of.loss("discriminator", of_parts(part), 0.5)
    assert part.fake is not None
    fake, real = given
    torch.testing.assert_close(real, decoded(of, batch.each.clean))
    torch.testing.assert_close(fake, decoded(of, part.fake))


# Who learns from what.


@pytest.mark.parametrize(
    ("contexts", "attention", "conditioning"),
    [(0, "full", "sequence"), (1, "full", "channels"), (2, "full", "sequence"), (2, "cached", "sequence")],
)
def test_the_student_learns_in_its_phase_and_the_heads_in_theirs_and_nothing_else_ever(
    contexts: int, attention: str, conditioning: Any
):
    wider = {"in_channels": 128} if conditioning == "channels" else {}
    changes = {"mispaired": 0.5, "r1": 1e-3, "regression": 0.1, "augment": ("colour", "translation", "cutout")}
    training = replace(EDITS, conditioning=conditioning)
    of = made_add({"context_attention": attention, **wider}, training=training, **changes)
    frozen = {"teacher": of.teacher.flow, "autoencoder": of.reading.autoencoder}
    before = {name: copy.deepcopy(network.state_dict()) for name, network in frozen.items()}
    prepared = of.prepare(pair_batch(of, 2, contexts=contexts), 0.5)
    loss = of.loss("generator", prepared, 0.5)
    assert loss is not None
    loss.value.backward()
    own = [parameter.grad for parameter in of.reading.flow.parameters()]
    assert sum(gradient is not None and bool(gradient.abs().max() > 0) for gradient in own) > 0.9 * len(own)
    assert all(parameter.grad is None for parameter in of.heads.parameters())
    assert {"adversarial", "distill", "regression", "std_ratio"} == set(loss.parts)
    kept = [None if gradient is None else gradient.clone() for gradient in own]
    loss = of.loss("discriminator", prepared, 0.5)
    assert loss is not None
    loss.value.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in of.heads.parameters())
    for one, parameter in zip(kept, of.reading.flow.parameters(), strict=True):
        assert one is parameter.grad or (one is not None and torch.equal(one, parameter.grad))  # type: ignore[arg-type]
    for name, network in frozen.items():
        assert all(parameter.grad is None for parameter in network.parameters())
        assert all(torch.equal(value, before[name][key]) for key, value in network.state_dict().items())
    assert set(loss.parts) == set(of._names) >= {"mispaired", "r1"}


def test_both_losses_sum_the_hinge_over_heads():
    of = made_add(distill=0.0)
    batch = pair_batch(of, 3)
    prepared = of.prepare(batch, 0.5)
    (part,) = prepared.parts
    losses = {phase: of.loss(phase, prepared, 0.5) for phase in ("generator", "discriminator")}
    with torch.no_grad():
        real, fake = (of._judge(part, of._see(part, each)) for each in (part.real, part.fake))
    told = sum(float(-each.mean()) for each in fake)
    hinge = sum(float((1 - a).relu().mean() + (1 + b).relu().mean()) for a, b in zip(real, fake, strict=True))
    assert float(losses["generator"].value.detach()) == pytest.approx(told, rel=1e-4)
    assert float(losses["discriminator"].value.detach()) == pytest.approx(hinge, rel=1e-4)


def test_the_teacher_draws_the_student_to_where_one_step_from_its_own_noised_picture_leads(
    monkeypatch: pytest.MonkeyPatch,
):
    of = made_add(adversarial=0.0)
    part = part_of(of, pair_batch(of, 3))
    loss = of.loss("generator", of_parts(part), 0.5)
    assert loss is not None
    fake, t = part.fake, part.draws.level[1].float()
    assert fake is not None
    assert part.question is not None
    x_t, _ = interpolate(fake, part.draws.over, t)
    ends = x_t - t[:, None, None] * of.teacher.velocity(
        x_t, t, part.question.condition, part.question.null, part.question.scale
    )
    apart = (decoded(of, fake) - decoded(of, ends)).square().mean(dim=(1, 2, 3))
    assert float(loss.value.detach()) == pytest.approx(2.5 * float(((1 - t) * apart).mean()), rel=1e-4)
    assert 0 < float(t.min()) < float(t.max()) < 1


def test_the_students_steps_bring_it_nearer_to_what_is_taught():
    of = made_add(on_policy=0.0, adversarial=0.0)
    batch, found = pair_batch(of, 2), []
    optimiser = torch.optim.Adam(of.reading.flow.parameters(), lr=2e-3)
    for _ in range(5):
        loss = of.loss("generator", of.prepare(batch, 0.5), 0.5)
        assert loss is not None
        found.append(float(loss.parts["distill"]))
        optimiser.zero_grad()
        loss.value.backward()
        optimiser.step()
    assert found[-1] < 0.9 * found[0]


# What heads see and are told.


def test_heads_are_told_the_words_and_every_picture_shown(monkeypatch: pytest.MonkeyPatch):
    of = made_add()
    none, one, two = (part_of(of, pair_batch(of, 2, contexts=contexts)) for contexts in range(3))
    assert not none.source.any()
    assert two.each.context is not None
    vectors = [layer_norm(of.features.pooled(decoded(of, run))) for run in two.each.context.split(16, dim=1)]
    torch.testing.assert_close(two.source, (vectors[0] + vectors[1]) / 2)
    torch.testing.assert_close(one.source, vectors[0])
    pooled = of.reading.encode(one.each.prompts).pooled
    torch.testing.assert_close(one.text, pooled)
    with torch.no_grad():
        given = of._see(one, one.real)
        said = of._judge(one, given)
        other_words, other_source = (
            of._judge(one, given, one.text.flip(0)),
            of._judge(replace(one, source=-one.source), given),
        )
    for logits, words, source in zip(said, other_words, other_source, strict=True):
        assert ((logits - words).abs().flatten(1).max(dim=1).values > 1e-3).all()
        assert ((logits - source).abs().flatten(1).max(dim=1).values > 1e-3).all()


def test_a_crop_is_the_same_place_of_real_and_fake_and_another_for_each_example(monkeypatch: pytest.MonkeyPatch):
    of = made_add(crop_px=32)
    part = part_of(of, pair_batch(of, 4))
    latents: list[Tensor] = []
    inner = of.reading.autoencoder.decode
    monkeypatch.setattr(of.reading.autoencoder, "decode", lambda given: latents.append(given.detach()) or inner(given))
    given = looked_at(of, monkeypatch)
    of.loss("generator", of_parts(part), 0.5)
    of.loss("discriminator", of_parts(part), 0.5)
    assert all(each.shape == (4, 3, 32, 32) for each in given)
    assert part.fake is not None
    fake, _taught, real = latents
    corners = []
    for row in range(4):
        for top in range(0, 6, 2):
            for left in range(0, 6, 2):
                whole = unpack(part.real, (4, 4))[row, :, top : top + 4, left : left + 4]
                if torch.equal(real[row], whole):
                    corners.append((top, left))
                    same = unpack(part.fake, (4, 4))[row, :, top : top + 4, left : left + 4]
                    assert torch.equal(fake[row], same)
    assert len(corners) == 4
    assert len(set(corners)) > 1
    assert made_add(crop_px=640)._decoded((4, 4)) == (4, 4)
    with pytest.raises(ConfigError, match="crop_px=40: whole tokens of 16 pixels needed; try 32"):
        made_add(crop_px=40)


def test_changes_are_the_same_for_real_and_fake(monkeypatch: pytest.MonkeyPatch):
    of = made_add(augment=("translation", "cutout"), distill=0.0)
    part = part_of(of, pair_batch(of, 3))
    part.fake = part.real
    given = looked_at(of, monkeypatch)
    with torch.no_grad():
        part.seen = of._see(part, part.fake)
    of.loss("discriminator", of_parts(part), 0.5)
    assert torch.equal(given[0], given[1])
    assert not torch.allclose(given[0], decoded(of, part.real), atol=1e-3)


def test_mispaired_negatives_are_real_pictures_under_other_words():
    of = made_add(mispaired=1.0)
    batch = pair_batch(of, 3)
    prompts = ("make it red", "make it red", "make it blue")
    uses = tuple(replace(use, prompt=prompt) for use, prompt in zip(batch.each.uses, prompts, strict=True))
    part = part_of(of, replace(batch, each=replace(batch.each, uses=uses)))
    with torch.no_grad():
        given = of._see(part, part.real)
        (extra,) = of._extras(part, given, of._judge(part, given))
        text = of.reading.encode(("make it red", "make it blue", "make it red")).pooled
        expected = len(of.heads.taps) * critic.fake_hinge(of._judge(part, given, text))
    assert (extra.name, extra.weight, extra.has.tolist()) == ("mispaired", 1.0, [False, True, True])
    torch.testing.assert_close(extra.value, expected)


# Runs.


def test_a_run_that_is_broken_off_goes_on_as_if_it_had_not_been(tmp_path: Path):
    def course(place: Path, stop_at: int) -> AddStage:
        of = made_add(course={"steps": 3}, r1=1e-5, generator_from=0.2, accuracy_needed=0.0, crop_px=32)
        planned = Run(steps=3, save_every_steps=99, log_every_steps=1, peak_tflops=1.0, validate_every_steps=99)
        done: list[int] = []
        events = run(of, Stream(of, 2), Settings(run=planned), place, should_stop=lambda: len(done) >= stop_at)
        done += (event.progress.step for event in events if not event.is_saved)
        return of

    whole = course(tmp_path / "whole", 9)
    course(tmp_path / "parts", 2)
    again, start = course(tmp_path / "parts", 9), made_add()
    for name in ("flow", "heads", "gate"):
        first, expected, found = (each.networks[name].state_dict() for each in (start, whole, again))
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        assert any(not torch.equal(first[key], found[key]) for key in first)
    assert set(again.networks) == {"flow", "heads", "gate"}


def test_work_grows_by_what_is_done_and_shrinks_with_what_is_decoded():
    of = made_add(on_policy=0.0)
    batch = pair_batch(of, 2)

    def flops(**changes: Any) -> float:
        of.settings = replace(of.settings, **changes)
        of.prepare(batch, 0.5)
        return of.flops(batch)

    whole = flops()
    assert flops(mispaired=1.0) > whole
    assert flops(mispaired=0.0, distill=0.0) < whole
    assert flops(distill=2.5, crop_px=32) < 0.6 * whole


def test_what_does_not_fit_is_refused():
    of = made_add()
    other = PixelHeads(of.features, of.teacher.flow.config, HeadSettings(taps=(0.2,), width=16, groups=4))
    with pytest.raises(ConfigError, match=r"heads: made for blocks \(0,\), settings.heads says \(2, 4\)"):
        AddStage(of.reading, of.teacher, of.features, other, of.settings, discriminator_optimiser=Optimiser())
    with pytest.raises(ConfigError, match="'nfsd': for teachers guided by two evaluations"):
        made_add({"guidance_embed": True}, distill_weighting="nfsd")
    made_add({"guidance_embed": True}, distill_weighting="nfsd", distill=0.0)
    for wrong in (
        {"distill": -1.0}, {"distill_weighting": "flat"}, {"crop_px": 0}, {"augment": ("noise",)}, {"mispaired": -1.0},
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            AddSettings(**wrong)  # type: ignore[arg-type]
    assert AutoencoderFeatures(of.reading.autoencoder).depth == 5


def test_text_to_image_and_edits_are_distilled_from_one_batch_of_pictures():
    of = made_add(training=FlowTraining(edit=0.5, text_to_image=0.5, keep=0, text_dropout=0), pictures=1.0)
    prepared = of.prepare(pairs(6), 0.5)
    assert [part.each.context is None for part in prepared.parts] == [False, True]
    for part in prepared.parts:
        assert isinstance(part, PixelPart)
        assert not part.is_end.any()
        assert torch.equal(part.real, part.each.clean.float())
    loss = of.loss("generator", prepared, 0.5)
    assert loss is not None
    assert loss.value.isfinite()
