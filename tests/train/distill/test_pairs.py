"""Pairs: what the teacher made is what is read, killed or not; and where a stream of them stands."""

import json
import os
import signal
from dataclasses import fields, replace
from itertools import islice

import pytest
import torch

from recast.errors import ConfigError, InputError, WeightsError
from recast.flow.schedule import resolution_shift
from recast.train.distill import pair_writing, pairs
from recast.train.distill.asking import asked
from recast.train.distill.pair_manifest import Manifest
from recast.train.distill.pair_writing import PairSettings, made_by, write
from recast.train.distill.pairs import Pairs
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowTraining
from recast.train.parallel import ALONE, Ranks
from recast.weights.files import TensorFile
from tests.train.distill.toy import SMALL
from tests.train.pairs import pairs as pairs_of
from tests.train.pairs import stage
from tests.train.small_runs import Stream

ASKED = FlowTraining(edit=0.5, text_to_image=0.5, keep=0.0, text_dropout=0.0)
TOLD = PairSettings(count=12, steps=2, guidance=2.0, batches_per_shard=1, seed=3)


def reading():
    return stage(ASKED, flow=SMALL)


def teacher(seed: int = 0) -> Teacher:
    made = reading().flow
    with torch.no_grad():
        made.img_in.weight.add_(seed)
    return Teacher(made)


def written(place, told: PairSettings = TOLD, **changes):
    """All of it; how many pairs there were after each shard."""
    return [each.pairs for each in write(teacher(), reading(), Stream(ALONE), place, told, **changes)]


def files(place) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in place.iterdir() if not each.name.startswith(".")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("pairs") / "whole"
    assert written(place) == [4, 8, 12]
    return place


def test_a_pair_is_the_endpoint_of_its_noise_under_what_was_asked(whole):
    """Every pair read back, against the teacher walked again from the noise that came with it."""
    made, same = reading(), teacher()
    seen = set()
    for batch in islice(Pairs(whole, batch=4), 8):
        here = batch.to(torch.device("cpu"))
        each = here.each
        condition, null, scale = asked(made, same.flow, each, 2.0)
        mu = resolution_shift(each.clean.shape[1])
        again = same.endpoint(here.noise, condition, null, steps=2, guidance=scale, mu=mu)
        torch.testing.assert_close(each.clean, again, atol=4e-3, rtol=2e-3)
        seen |= {(use.kind, use.prompt[:4], bool(use.contexts)) for use in each.uses}
        assert (batch.guidance, batch.steps, batch.of) == (2.0, 2, 4)
    assert {(kind, has) for kind, _, has in seen} == {("edit", True), ("text_to_image", False)}
    assert {words for kind, words, _ in seen if kind == "edit"} <= {"make", "undo"}


def test_states_of_the_walk_and_a_scale_of_edits_are_kept_and_read_back(tmp_path):
    told = replace(TOLD, count=8, steps=6, states=3, sampler="ab2", edit_guidance=1.0)
    written(tmp_path, told)
    made, same, scales = reading(), teacher(), {}
    for batch in Pairs(tmp_path, batch=2).once():
        here = batch.to(torch.device("cpu"))
        each, is_edit = here.each, here.each.context is not None
        scales[is_edit] = here.guidance
        condition, null, scale = asked(made, same.flow, each, 1.0 if is_edit else 2.0)
        mu = resolution_shift(each.clean.shape[1])
        walk = {"steps": 6, "kept": 3, "guidance": scale, "mu": mu, "walk": "ab2"}
        again = same.states(here.noise, condition, null, **walk)
        stood = torch.cat([here.states, each.clean[:, None]], dim=1)
        torch.testing.assert_close(stood, again, atol=4e-3, rtol=2e-3)
    assert scales == {True: 1.0, False: 2.0}
    for name, value in (("states", 4), ("sampler", "heun"), ("edit_guidance", 0.5)):
        with pytest.raises(ConfigError, match=f"{name}="):
            replace(told, **{name: value})


def test_a_folder_of_an_earlier_version_is_gone_on_with(whole, tmp_path):
    """Its manifest knows nothing of settings that came later; they stand for what was done then."""
    for each in whole.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    said = json.loads((tmp_path / "manifest.json").read_text())
    for name in ("sampler", "states", "edit_guidance"):
        del said["settings"][name]
    (tmp_path / "manifest.json").write_text(json.dumps(said))
    assert written(tmp_path, replace(TOLD, count=16)) == [16]
    with pytest.raises(ConfigError, match="states 1 there, 2 here"):
        written(tmp_path, replace(TOLD, count=20, states=2))


def test_a_folder_that_does_not_say_how_it_was_asked_is_gone_on_with(whole, tmp_path):
    """And it stays the folder that it was: students know it by its digest."""
    for each in whole.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    said = json.loads((tmp_path / "manifest.json").read_text())
    assert said.pop("asked_by")["training.edit"] == 0.5
    earlier = json.dumps(said, indent=1, sort_keys=True) + "\n"
    (tmp_path / "manifest.json").write_text(earlier)
    assert Manifest.read(tmp_path).text() == earlier
    assert len(Pairs(tmp_path, batch=4)) == 12
    assert written(tmp_path, replace(TOLD, count=16)) == [16]
    assert "asked_by" not in json.loads((tmp_path / "manifest.json").read_text())


OTHERS = {
    "edit": 0.4, "text_to_image": 0.4, "keep": 0.1, "reverse": 0.2, "uses": 2, "context_dropout": 0.1,
    "keep_instructions": ("leave it",), "conditioning": "channels", "context_offset": False,
}  # fmt: skip
OWN = {
    "text_dropout", "kept_encodings", "times", "mask_weight", "train_text", "text_rate", "guidance", "guidance_loss",
    "guidance_loss_ramp",
}  # fmt: skip
"""Of a student's training, or of memory: no pair depends on them."""


def test_every_setting_of_training_chooses_what_is_asked_or_is_a_students_own():
    assert set(pair_writing.CHOOSING) == OTHERS.keys()
    assert {each.name for each in fields(FlowTraining)} == OTHERS.keys() | OWN


@pytest.mark.parametrize("name", OTHERS)
def test_a_folder_is_not_gone_on_with_by_another_choice(name, whole):
    made = reading()
    made.training = replace(ASKED, **{name: OTHERS[name]})
    with pytest.raises(ConfigError, match=rf"training\.{name} .* there, .* here"):
        next(write(teacher(), made, Stream(ALONE), whole, replace(TOLD, count=16)))


def test_what_is_known_of_an_edit_is_read_back(tmp_path, monkeypatch):
    class Same(Stream):
        def __iter__(self):
            for batch in super().__iter__():
                target = batch.target.clone()
                target[0] = batch.contexts[0][0]
                yield replace(batch, target=target, masks=torch.ones(len(target), 1, 64, 64, dtype=torch.bool))

    made = stage(replace(ASKED, edit=1.0, text_to_image=0.0, reverse=0.0), flow=SMALL)
    list(write(teacher(), made, Same(ALONE), tmp_path, replace(TOLD, count=4)))
    (batch,) = Pairs(tmp_path, batch=4).once()
    seen = dict(zip(batch.ids, batch.each.uses, strict=True))
    asked_for = next(iter(Same(ALONE)))
    assert [seen[name].is_copy for name in asked_for.ids] == [True, False, False, False]
    assert [seen[name].category for name in asked_for.ids] == list(asked_for.kinds)
    assert batch.each.mask.all()
    # shards of earlier versions say nothing of it
    inner = pairs.read_header

    def older(path):
        header = inner(path)
        groups = [{k: v for k, v in each.items() if k not in ("copies", "categories", "bases", "masked")}
                  for each in json.loads(header.metadata["groups"])]  # fmt: skip
        return replace(header, metadata={**header.metadata, "groups": json.dumps(groups)})

    monkeypatch.setattr(pairs, "read_header", older)
    (batch,) = Pairs(tmp_path, batch=4).once()
    assert {(use.is_copy, use.category) for use in batch.each.uses} == {(False, "")}
    assert batch.each.mask is None


class Masked(Stream):
    """Edits of the second of two pictures; of every other batch the masks are known."""

    def __iter__(self):
        for batch in super().__iter__():
            number = batch.numbers[0]
            made = pairs_of(len(batch.ids), first=number, contexts=2, of=batch.of, bases=(1,) * len(batch.ids))
            masks = torch.zeros(len(batch.ids), 1, 64, 64, dtype=torch.bool)
            for row in range(len(masks)):
                masks[row, 0, 16 * row + 15, 17] = True  # one pixel of the token in row `row` and column 1
            yield replace(made, masks=None if number // 4 % 2 else masks)


def test_masks_are_read_back_token_by_token_and_what_has_none_stays_without(tmp_path):
    """The shard holds both kinds; a writer that is stopped and goes on writes the same bytes."""
    made = stage(replace(ASKED, edit=0.8, text_to_image=0.2), flow=SMALL)
    told, places = replace(TOLD, batches_per_shard=2), (tmp_path / "straight", tmp_path / "stopped")
    for place, counts in zip(places, ((16,), (1, 16)), strict=True):
        for count in counts:
            list(write(teacher(), made, Masked(ALONE), place, replace(told, count=count)))
    assert files(places[0]) == files(places[1])
    kept, known = Pairs(places[0], batch=3), []
    for batch in kept.once():
        batch = batch.to(torch.device("cpu"))
        assert batch.each.mask is None or batch.each.mask.dtype == torch.bool
        for row, use in enumerate(batch.each.uses):
            number = int(batch.ids[row].removeprefix("pair-"))
            assert use.has_mask == (use.kind == "edit" and not number // 4 % 2)
            if use.has_mask:
                known.append(number)
                assert batch.each.mask[row].nonzero().flatten().tolist() == [4 * (number % 4) + 1]
                assert use.base == 1
        assert (batch.each.mask is None) == (not any(use.has_mask for use in batch.each.uses))
    assert len(known) == kept.masked > 4


def test_the_context_is_kept_as_the_teacher_saw_it(whole):
    """In 16 bits, rounded before the teacher's walk: what the student sees is the same to the bit."""
    seen = []
    made = reading()
    inner = made.condition
    made.condition = lambda each, *rest: seen.append(each) or inner(each, *rest)
    batch = next(iter(Stream(ALONE)))
    kept = {row.id: row for key, row in pair_writing._made(teacher(), made, batch, TOLD) if key.contexts}
    (told,) = [each for each in seen if each.context is not None]
    assert kept
    for row, use in enumerate(told.uses):
        assert torch.equal(kept[batch.ids[use.example]].tensors["context"].float(), told.context[row])


def test_noise_is_that_of_the_example_and_is_refused_where_it_comes_out_differently(whole, tmp_path):
    numbers = [
        n for part in Pairs(whole, batch=1)._shapes.values() for each in part.parts for n in each.words["numbers"]
    ]
    assert sorted(numbers) == list(range(12))
    made = pairs.noise_of([5, 7], 3, (16, 64))
    assert torch.equal(made[1], pairs.noise_of([7], 3, (16, 64))[0])
    assert not torch.equal(made, pairs.noise_of([5, 7], 4, (16, 64)))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, data in files(whole).items():
        (copy / name).write_bytes(data)
    said = json.loads((copy / "manifest.json").read_text())
    said["settings"]["seed"] = 4
    (copy / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="noise comes out differently"):
        next(iter(Pairs(copy, batch=4)))


def killed(place, at: tuple[str, int]) -> None:
    """Write in another process, which is killed in the middle of call number at[1] of a function."""
    child = os.fork()
    if child == 0:
        try:
            owner, name = {"put": (TensorFile, "put"), "publish": (pair_writing, "write_whole")}[at[0]]
            inner, calls = getattr(owner, name), []

            def watched(*arguments):
                calls.append(1)
                if len(calls) == at[1]:
                    os.kill(os.getpid(), signal.SIGKILL)
                return inner(*arguments)

            setattr(owner, name, watched)
            written(place)
        finally:
            os._exit(1)  # not by a kill
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_writing_and_continued_the_files_are_the_same(whole, tmp_path):
    place = tmp_path / "killed"
    killed(place, ("put", 2))  # inside the first shard
    assert not (place / "manifest.json").exists()
    killed(place, ("publish", 2))  # the second shard is there, and the manifest does not say so
    assert Manifest.read(place).pairs == 4
    assert written(place) == [8, 12]
    assert files(place) == files(whole)
    assert written(place) == []
    assert written(place, replace(TOLD, count=13)) == [16]
    assert {name: data for name, data in files(place).items() if name in files(whole) and name != "manifest.json"} == {
        name: data for name, data in files(whole).items() if name != "manifest.json"
    }


def test_pairs_of_other_networks_settings_or_folders_are_refused(whole, tmp_path):
    with pytest.raises(WeightsError, match="made by the teacher"):
        next(write(teacher(1), reading(), Stream(ALONE), whole, replace(TOLD, count=100)))
    other = made_by(teacher(1).flow, reading().autoencoder, reading().text)
    with pytest.raises(WeightsError, match="made by the teacher"):
        Pairs(whole, batch=4, made_by=other)
    assert len(Pairs(whole, batch=4, made_by={"text encoder": other["text encoder"]})) == 12
    with pytest.raises(ConfigError, match=r"guidance 2.0 there, 3.0 here"):
        written(whole, replace(TOLD, count=100, guidance=3.0))
    more = replace(TOLD, count=100)
    other = stage(replace(ASKED, edit=0.6, mask_weight=2.0), flow=SMALL)
    with pytest.raises(ConfigError, match=r"settings: training.edit 0.5 there, 0.6 here; its own"):
        next(write(teacher(), other, Stream(ALONE), whole, more))
    with pytest.raises(ConfigError, match=r"settings: run.seed 0 there, 5 here; its own"):
        next(write(teacher(), stage(ASKED, flow=SMALL, run={"seed": 5}), Stream(ALONE), whole, more))
    with pytest.raises(ConfigError, match="text_dropout"):
        next(write(teacher(), stage(FlowTraining(), flow=SMALL), Stream(ALONE), tmp_path / "new", TOLD))
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="holds other things than pairs"):
        written(tmp_path)
    with pytest.raises(InputError, match="no readable"):
        Pairs(tmp_path, batch=4)
    with pytest.raises(ConfigError, match="dtype='fp8'"):
        PairSettings(dtype="fp8")


def test_a_damaged_shard_is_refused(whole, tmp_path):
    for name, data in files(whole).items():
        (tmp_path / name).write_bytes(data[:-2] if name.startswith("pairs-00001") else data)
    with pytest.raises(InputError, match=r"pairs-00001-00\.safetensors has"):
        Pairs(tmp_path, batch=4)


def test_a_pair_takes_the_bytes_that_are_stated(whole):
    """2 (n + r) d, 16 for the noise, the words; and a header a file."""
    sizes = [len(data) for name, data in files(whole).items() if name.endswith(".safetensors")]
    rows = [part for shape in Pairs(whole, batch=1)._shapes.values() for part in shape.parts]
    tokens = sum(len(part.words["numbers"]) * (16 + 16 * len(part.words["contexts"])) for part in rows)
    words = sum(len(json.dumps(part.words)) for part in rows)
    assert 2 * 64 * tokens + 12 * 16 + words < sum(sizes) < 2 * 64 * tokens + 12 * 16 + 1.2 * words + 3 * 1000


def read(batches, count: int) -> list[tuple]:
    return [(each.ids, each.numbers, each.noise, each.each.clean) for each in islice(batches, count)]


def same(one: list[tuple], other: list[tuple]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a[:2] == b[:2] and all(torch.equal(x, y) for x, y in zip(a[2:], b[2:], strict=True)) for a, b in pairs)


def test_batches_go_on_exactly_where_they_stood(whole):
    straight = read(Pairs(whole, batch=2, seed=1), 9)
    first = Pairs(whole, batch=2, seed=1)
    begun = read(iter(first), 4)  # two more have been read ahead
    state = json.loads(json.dumps(first.state()))
    first.close()
    again = Pairs(whole, batch=2, seed=1)
    again.load_state(state)
    assert same(begun + read(again, 5), straight)
    assert not same(straight, read(Pairs(whole, batch=2, seed=2), 9))
    for other in (Pairs(whole, batch=2, seed=2), Pairs(whole, batch=4, seed=1)):
        with pytest.raises(ConfigError, match="of another stream of pairs"):
            other.load_state(state)


def test_each_process_reads_its_part_of_the_same_batches(whole):
    straight = read(Pairs(whole, batch=4), 4)
    assert [number for each in straight for number in each[1]] == list(range(16))  # draws are by these
    parts = [read(Pairs(whole, batch=4, ranks=Ranks(data_rank=rank, data_size=2)), 4) for rank in range(2)]
    for one, a, b in zip(straight, *parts, strict=True):
        assert same([one], [(a[0] + b[0], a[1] + b[1], torch.cat([a[2], b[2]]), torch.cat([a[3], b[3]]))])
    with pytest.raises(ConfigError, match="batch=3: cannot be cut into 2"):
        Pairs(whole, batch=3, ranks=Ranks(data_size=2))


def test_every_pair_comes_once_an_epoch_and_shapes_as_often_as_they_have_pairs(whole):
    made = Pairs(whole, batch=1)
    counts = {bool(key.contexts): shape.count for key, shape in made._shapes.items()}
    assert sum(counts.values()) == 12
    seen: dict[bool, list[str]] = {True: [], False: []}
    for batch in islice(made, 240):
        seen[bool(batch.each.context_grids)] += batch.ids
    for has_context, ids in seen.items():
        own = counts[has_context]
        assert len(ids) == pytest.approx(20 * own, abs=40)
        for epoch in range(len(ids) // own):
            assert len(set(ids[epoch * own : (epoch + 1) * own])) == own
        assert ids[:own] != ids[own : 2 * own]
