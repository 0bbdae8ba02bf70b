"""The term outside the mask of an edit: what it looks at, what it is worth, and that it holds a student there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recast import config
from recast.errors import ConfigError
from recast.train.distill import runs
from recast.train.distill.beside import Beside
from recast.train.distill.consistency import ConsistencySettings, ConsistencyStage
from recast.train.distill.direct import DirectSettings, DirectStage
from recast.train.distill.distance import DISTANCES, distance, outside
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.pair_writing import PairSettings, write
from recast.train.distill.pairs import PairBatch, Pairs
from recast.train.distill.presets import preset
from recast.train.distill.teacher import Teacher
from recast.train.examples import Examples
from recast.train.parallel import ALONE
from recast.train.presets import Data
from recast.train.uses import TARGET, FlowTraining, Pass, Use
from tests.train.data.sets import png
from tests.train.distill import toy
from tests.train.distill.adversaries import made, made_add, of_parts, pair_batch, part_of
from tests.train.pairs import stage
from tests.train.small_runs import Stream
from tests.train.test_examples import folder


def asked_of(masks: Tensor, *, base: int = 1, grids: Any = ((1, 2), (2, 2)), **changes: Any) -> Pass:
    """Edits of four tokens that are shown two pictures; the one that is changed is the second, of sixes and ups."""
    uses = tuple(
        Use(example=i, number=i, kind="edit", target=TARGET, contexts=(0, 1), prompt="", base=base, has_mask=True)
        for i in range(len(masks))
    )
    context = torch.arange(6.0)[:, None].expand(len(masks), 6, 3)
    told = {"uses": uses, "clean": torch.zeros(len(masks), 4, 3), "grid": (2, 2), "context": context}
    return Pass(**told | {"context_grids": grids, "mask": masks} | changes)


MASKS = torch.tensor([[True, False, False, False], [True, True, True, False], [True] * 4, [False] * 4])


@pytest.mark.parametrize("kind", DISTANCES)
def test_outside_is_the_mean_over_the_tokens_that_must_stay_whatever_their_number(kind: Any):
    """Zero where they are the source's; a shift of all weighs the same under any mask; the inside is not seen."""
    each = asked_of(MASKS)
    source = torch.arange(2.0, 6.0)[:, None].expand(4, 4, 3)
    clean = torch.where(MASKS[..., None], torch.randn(4, 4, 3) * 100, source).requires_grad_()
    apart, has = outside(clean, each, kind)
    assert has.tolist() == [True, True, False, True]  # of an edit of everything nothing must stay
    assert apart.tolist() == [0.0] * 4
    apart, _ = outside(clean + 0.5, each, kind)
    expected = float(distance(torch.full((1, 1, 1), 0.5), torch.zeros(1, 1, 1), kind))
    assert apart.tolist() == pytest.approx([expected, expected, 0, expected])
    (gradient,) = torch.autograd.grad(apart.sum(), clean)
    assert torch.equal(gradient.ne(0).all(dim=2), ~MASKS)


def test_who_has_no_source_or_no_mask_has_no_such_term():
    clean = torch.randn(4, 4, 3)
    each = asked_of(MASKS)
    away, has = outside(clean, asked_of(MASKS, base=0, grids=((1, 2), (2, 2))), "l1")  # its source has two tokens
    assert not has.any()
    assert not away.any()
    unknown = replace(each.uses[0], has_mask=False)
    _, has = outside(clean, replace(each, uses=(unknown, *each.uses[1:])), "l1")
    assert has.tolist() == [False, True, False, True]
    for less in ({"mask": None}, {"context": None, "context_grids": ()}):
        away, has = outside(clean, replace(each, **less), "l1")  # type: ignore[arg-type]
        assert not has.any()
        assert not away.any()


# In the stages.


@pytest.fixture(scope="module")
def known() -> tuple[Teacher, PairBatch]:
    made = toy.reading()
    teacher = toy.teacher_of(made)
    return teacher, toy.edited(toy.walks_of(made, teacher, range(40), 8, 4))


@pytest.mark.parametrize(
    "told", [{}, {"towards": "states"}, {"trained": "every"}, {"trained": "through"}], ids=lambda told: str(told)
)
def test_a_direct_students_loss_has_the_term_of_those_that_have_a_mask(known: Any, told: Any):
    """It is the mean over those of what the student says at the times at which it is trained."""
    batch = toy.picked(known[1], range(4), 0)
    uses = (replace(batch.each.uses[0], has_mask=False), *batch.each.uses[1:])
    batch = replace(batch, each=replace(batch.each, uses=uses))
    plain = DirectStage(toy.reading(), DirectSettings(**told)).loss("direct", batch, 0.5)
    held = DirectStage(toy.reading(), DirectSettings(**told, outside=3.0)).loss("direct", batch, 0.5)
    assert plain is not None
    assert held is not None
    assert "outside" not in plain.parts
    assert set(held.parts) == {*plain.parts, "outside"}
    mean = float(held.parts["outside"])
    assert mean > 0.1
    if "trained" in told:
        with torch.no_grad():
            seen = DirectStage(toy.reading(), DirectSettings()).seen(batch.each, batch.noise, batch.guidance)
        every = [float((clean - batch.each.context).abs()[1:, 2:].mean()) for clean in seen]
        assert mean == pytest.approx(every[-1] if told["trained"] == "through" else sum(every) / 4, rel=1e-4)
    torch.testing.assert_close(held.value, plain.value + 3.0 * mean * 3 / 4)
    bare = DirectStage(toy.reading(), DirectSettings(**told, outside=3.0))
    none = bare.loss("direct", replace(batch, each=replace(batch.each, mask=None)), 0.5)
    assert none is not None
    assert bool(none.parts["outside"].isnan())
    torch.testing.assert_close(none.value, plain.value)


@pytest.mark.parametrize("way", ["end", "states", "consistency"])
def test_a_student_that_says_the_source_outside_has_no_such_loss(known: Any, way: Any, monkeypatch: pytest.MonkeyPatch):
    """Whatever it says inside, at every time of its grid: the velocity is that of the straight way to the source."""
    teacher, batch = known[0], toy.picked(known[1], range(16), 0)
    of: ConsistencyStage | DirectStage
    if way == "consistency":
        told = ConsistencySettings(guidance=toy.GUIDANCE, teacher_steps=2, target_decay=0.0, outside=1.0)
        of = ConsistencyStage(toy.reading(), teacher, told)
    else:
        of = DirectStage(toy.reading(), DirectSettings(towards=way, outside=1.0))
    source, inside = batch.each.context, batch.each.mask

    def forward(x: Tensor, t: Tensor, condition: Any) -> Tensor:
        straight = (x - source) / t.clamp(min=1e-6)[:, None, None]
        return torch.where(inside[..., None], torch.randn_like(x), straight)

    monkeypatch.setattr(of.reading.flow, "forward", forward)
    loss = of.loss(of.name, of.prepare(batch, 0.5), 0.5)
    assert loss is not None
    assert float(loss.parts["outside"]) < 1e-5
    assert float(loss.value) > 0.1


def test_the_term_brings_a_student_to_its_sources_outside_the_mask(known: Any):
    """And what judges a student says so."""
    judged, found = toy.picked(known[1], range(32, 40), toy.HELD_OUT), {}
    for weight in (0.0, 4.0):
        settings = DirectSettings(towards="states", distance="mse", outside=weight)
        of = DirectStage(toy.reading(), settings, held_out=[judged])
        toy.train(of, toy.picked(known[1], range(32), 0), 10)
        found[weight] = of.validate()["outside"]
    assert found[4.0] < 0.75 * found[0.0]


def test_consistency_has_the_term_too(known: Any):
    teacher, batch = known
    batch, values = toy.picked(batch, range(4), 0), {}
    for weight in (0.0, 2.0):
        told = ConsistencySettings(guidance=toy.GUIDANCE, teacher_steps=2, target_decay=0.0, outside=weight)
        of = ConsistencyStage(toy.reading(), teacher, told)
        loss = of.loss("consistency", of.prepare(batch, 0.0), 0.5)
        assert loss is not None
        values[weight] = loss
    assert "outside" not in values[0.0].parts
    term = 2.0 * values[2.0].parts["outside"]
    assert float(term) > 0
    torch.testing.assert_close(values[2.0].value, values[0.0].value + term)


@pytest.mark.parametrize("making", [made, made_add])
def test_an_adversarys_student_is_held_to_the_source_where_there_is_one(making: Any):
    of = making(adversarial=0.0, outside=2.0, **({"distill": 0.0} if making is made_add else {}))
    batch = pair_batch(of)
    mask = torch.zeros(4, 16, dtype=torch.bool)
    mask[:, :5] = True
    uses = tuple(replace(use, has_mask=row != 1) for row, use in enumerate(batch.each.uses))
    part = part_of(of, replace(batch, each=replace(batch.each, uses=uses, mask=mask)))
    loss = of.loss("generator", of_parts(part), 0.5)
    assert loss is not None
    assert part.fake is not None
    apart = (part.fake - batch.each.context).abs()[:, 5:].mean(dim=(1, 2))[[0, 2, 3]]
    assert float(loss.parts["outside"]) == pytest.approx(float(apart.mean()), rel=1e-5)
    assert float(loss.value.detach()) == pytest.approx(2 * float(apart.sum()) / 4, rel=1e-5)
    loss.value.backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in of.reading.flow.parameters())


# How it is judged, and asked for.


def test_students_are_judged_outside_the_masks_that_are_known(known: Any):
    batch = toy.picked(known[1], range(6), 0)
    uses = tuple(replace(use, has_mask=row % 2 == 0) for row, use in enumerate(batch.each.uses))
    batch = replace(batch, each=replace(batch.each, uses=uses))
    bare = replace(batch, each=replace(batch.each, mask=None, context=None, context_grids=()))
    of = DirectStage(toy.reading(), DirectSettings(), held_out=[batch, bare])
    with torch.no_grad():
        end = of.seen(batch.each, batch.noise, batch.guidance)[-1]
    assert batch.each.context is not None
    expected = (end - batch.each.context)[::2, 2:].square().mean()
    assert of.validate()["outside"] == pytest.approx(float(expected), rel=1e-5)
    assert "outside" not in DirectStage(toy.reading(), DirectSettings(), held_out=[bare]).validate()


def test_the_term_is_refused_where_no_pair_has_a_mask(tmp_path: Any):
    of = preset("ladd", "tiny")
    reading = stage(FlowTraining(edit=1, text_to_image=0, keep=0, text_dropout=0), flow=toy.SMALL)
    told = PairSettings(count=4, steps=1, guidance=2.0, batches_per_shard=1)
    list(write(Teacher(reading.flow), reading, Stream(ALONE), tmp_path / "train", told))
    starts = runs.Starts(pairs=tmp_path)
    for settings in (DirectSettings(outside=0.5), LaddSettings(outside=0.5), ConsistencySettings(outside=0.5)):
        with pytest.raises(ConfigError, match=r"outside=0\.5: none of the 4 pairs .* has a mask"):
            runs._batches(replace(of, settings=settings), starts, None, [], {}, ALONE, None)  # type: ignore[arg-type]
        plain = replace(of, settings=replace(settings, outside=0.0))
        assert isinstance(runs._batches(plain, starts, None, [], {}, ALONE, None), Pairs)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"outside=-1\.0: a number from 0"):
            replace(settings, outside=-1.0)


def test_of_pictures_one_must_have_a_mask_or_else_the_pairs_beside_them(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    places = [folder(tmp_path / name, 9) for name in ("plain", "masked")]
    listed = tmp_path / "masked" / "metadata.jsonl"
    *rows, last = map(json.loads, listed.read_text().split("\n"))
    (tmp_path / "masked" / "mask.png").write_bytes(png(np.zeros((32, 32, 3), np.uint8)))
    listed.write_text("\n".join(map(json.dumps, [*rows, {**last, "mask": "mask.png"}])))
    (tmp_path / "masked" / "3a.png").write_bytes(b"no picture")  # data.on_bad=skip goes on without it
    of, known = preset("ladd", "tiny"), 0

    def stream(*_: Any, **__: Any) -> Any:
        return type("Known", (Stream,), {"masked": known, "place": tmp_path, "__len__": lambda self: 4})(ALONE)

    def read(place: str, settings: Any, pairs: Any = tmp_path, **changes: Any) -> Any:
        data = Data(places=(place,), batch_size=4, held_out=0)
        told = replace(of, settings=settings, data=data, training=replace(of.training, **changes))
        examples = Examples(data, config.tiny())
        return runs._batches(told, runs.Starts(pairs=pairs), examples, [], {}, ALONE, None)

    monkeypatch.setattr(runs.pair_runs, "stream", stream)
    alone, mixed = LaddSettings(outside=0.5, pictures=1.0), LaddSettings(outside=0.5, pictures=0.5)
    for told in ((ConsistencySettings(outside=0.5), None), (LaddSettings(outside=0.5), None), (alone,), (mixed,)):
        with pytest.raises(ConfigError, match=r"outside=0\.5: none of .*9 examples of data\.places, .* has a mask"):
            read(places[0], *told)
        assert read(places[1], *told)
    with pytest.raises(ConfigError, match=r"training\.edit=0 uses them, has a mask"):
        read(places[1], alone, edit=0.0, text_to_image=1.0)
    known = 1
    assert isinstance(read(places[0], mixed), Beside)
    with pytest.raises(ConfigError, match="none of 9 examples"):
        read(places[0], alone)  # its pairs only judge
