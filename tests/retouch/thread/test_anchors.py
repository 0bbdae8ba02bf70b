"""Anchors: what was left alone is not encoded again, the root rides along, and tokens of other weights stay home."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from recast.config import tiny
from recast.errors import ConfigError, InputError
from recast.pixels.image import Picture
from recast.retouch.editor import Editor
from recast.retouch.thread import Anchors, Thread
from recast.retouch.thread.anchors import TOKENS
from tests.tiny import tiny_pipeline


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.fixture(scope="module")
def model():
    return tiny_pipeline(defaults=replace(tiny().defaults, max_tokens=400))


class Watched(Editor):
    """An editor that remembers what it was given."""

    def __init__(self, generator, **options):
        super().__init__(generator, **options)
        self.given = []

    def edit(self, image, prompt, **options):
        self.given.append(options)
        result = super().edit(image, prompt, **options)
        self.last = result
        return result


MASK = np.zeros((96, 128), np.float32)
MASK[20:70, 30:90] = 1
SOURCE = Picture(skimage.data.astronaut()[:96, :128].copy())


def two_turns(folder: Path, editor: Watched, anchors: Anchors, **second) -> Thread:
    thread = Thread.create(folder, SOURCE, anchors=anchors)
    thread.edit(editor, "x", mask=MASK, preserve="strict", steps=2, seed=0)
    thread.edit(editor, "y", **{"mask": MASK, "preserve": "strict", "steps": 2, "seed": 1, **second})
    return thread


def test_tokens_of_what_was_left_alone_go_through_the_encoder_once(model, tmp_path):
    editor = Watched(model)
    first = Thread.create(tmp_path / "t", SOURCE)
    first.edit(editor, "x", mask=MASK, preserve="strict", steps=2, seed=0)
    before = editor.last.source_tokens
    first.edit(editor, "y", mask=MASK, preserve="strict", steps=2, seed=1)
    carried = editor.given[1]["carried"]
    assert "carried" not in editor.given[0]
    flat = torch.from_numpy(carried.is_valid.ravel())
    assert 0 < flat.float().mean() < 1
    assert torch.equal(editor.last.source_tokens[:, flat], carried.tokens[:, flat])
    outside = torch.from_numpy(~editor.last.edits[0].support.reshape(6, 16, 8, 16).any((1, 3)).ravel())
    assert torch.equal(editor.last.source_tokens[:, outside & flat], before[:, outside & flat])


def test_nothing_is_carried_when_told_so_or_onto_another_grid_or_by_other_weights(model, tmp_path):
    editor = Watched(model)
    two_turns(tmp_path / "off", editor, Anchors(carries=False))
    two_turns(tmp_path / "size", editor, Anchors(), size=(96, 96))
    two_turns(tmp_path / "crop", editor, Anchors(), context=(16, 16, 112, 96))
    assert all("carried" not in given for given in editor.given)
    thread = two_turns(tmp_path / "other", editor, Anchors())
    assert "carried" in editor.given[-1]
    other = Watched(tiny_pipeline(defaults=replace(tiny().defaults, max_tokens=400)))
    other.generator.checksums = lambda: {"autoencoder/x": "0" * 64}
    thread.edit(other, "z", steps=2, seed=2)
    assert "carried" not in other.given[0]


def test_the_root_rides_along_from_the_second_turn_on(model, tmp_path):
    editor = Watched(model)
    two_turns(tmp_path / "t", editor, Anchors(carries=False, rides=True), references=[SOURCE])
    assert "references" not in editor.given[0]
    (own, (name, root)) = editor.given[1]["references"]
    assert name is None
    assert np.array_equal(root.rgb, SOURCE.rgb)
    assert own is not None


def test_an_unmerged_turn_hands_on_all_its_tokens(model, tmp_path):
    editor = Watched(model)
    thread = Thread.create(tmp_path / "t", SOURCE)
    thread.edit(editor, "x", preserve="off", steps=2, seed=0)
    made = editor.last.tokens[0]
    thread.edit(editor, "y", preserve="off", steps=2, seed=1)
    assert torch.equal(editor.last.source_tokens, made.float())


def test_tokens_are_carried_between_turns_of_one_size_that_was_asked_for(model, tmp_path):
    editor = Watched(model)
    thread = two_turns(tmp_path / "t", editor, Anchors(), size=(96, 96))
    thread.edit(editor, "z", mask=MASK, preserve="strict", steps=2, seed=2, size=(96, 96))
    assert ["carried" in given for given in editor.given] == [False, False, True]
    thread.replay(editor, "main", SOURCE)
    assert ["carried" in given for given in editor.given[3:]] == [False, False, True]


def test_a_scaled_picture_is_carried_unless_a_crop_may_be_taken(model, tmp_path):
    editor = Watched(tiny_pipeline())  # takes fewer tokens than the picture has
    thread = Thread.create(tmp_path / "t", Picture(np.tile(SOURCE.rgb, (2, 2, 1))))
    first = thread.edit(editor, "x", steps=1, seed=0)
    mask = np.tile(MASK, (2, 2))
    for more, is_carried in (({"mask": mask}, False), ({"mask": mask, "context": "whole"}, True), ({}, True)):
        thread.edit(editor, "y", at=first.id, steps=1, seed=1, **more)
        assert ("carried" in editor.given[-1]) == is_carried, more


def test_references_by_name_ride_with_the_root(model):
    given = Anchors(rides=True).given(Editor(model), {"references": {"logo": [SOURCE, SOURCE]}}, None, SOURCE)
    assert [name for name, _ in given["references"]] == ["logo", "logo", None]


@pytest.mark.parametrize("anchors", [Anchors(rides=True), Anchors(carries=False)])
def test_a_replay_has_the_anchors_that_each_edit_had(model, tmp_path, anchors):
    editor = Watched(model)
    two_turns(tmp_path / "t", editor, anchors)
    thread = Thread.open(tmp_path / "t")
    replayed = thread.replay(editor, "main", SOURCE)
    assert replayed.pixels_sha256 == thread.node("main").pixels_sha256
    assert replayed.files[TOKENS] == thread.node("main").files[TOKENS]
    assert [set(given) for given in editor.given[2:]] == [set(given) for given in editor.given[:2]]
    other = Thread.open(tmp_path / "t", anchors=Anchors(carries=True, rides=False))
    other.replay(editor, "main", SOURCE)
    assert "carried" in editor.given[-1]
    assert "references" not in editor.given[-1]


def test_a_region_that_was_left_out_is_not_carried(model, tmp_path):
    editor = Watched(model)
    mask = np.zeros((96, 128), np.float32)
    mask[8:40, 8:40] = mask[60:90, 80:120] = 1
    thread = Thread.create(tmp_path / "t", SOURCE)
    node = thread.edit(editor, "x", mask=mask, preserve="strict", steps=2, seed=0)
    made = editor.last.tokens[0]
    assert len(node.regions) == 2
    rejected = thread.variant(node.id, reject=[1])
    thread.edit(editor, "y", steps=1, seed=1)
    known = editor.given[-1]["carried"]
    differs = (thread.picture(rejected).rgb != thread.picture(node).rgb).any(-1)
    touched = differs.reshape(6, 16, 8, 16).any((1, 3))
    assert touched.any()
    assert not known.is_valid[touched].any()
    thread.edit(editor, "y", at=node.id, steps=1, seed=1)
    before = editor.given[-1]["carried"]
    assert np.array_equal(known.is_valid, before.is_valid & ~touched)
    flat = torch.from_numpy((before.is_valid & touched).ravel())
    assert flat.any()
    assert torch.equal(before.tokens[:, flat], made[:, flat]), "the region as it was made"


@pytest.mark.parametrize("data", [b"", b"spoilt", b"PK\x03\x04 spoilt", npy(np.zeros(3)), npz(tokens=np.zeros(3))])
def test_spoilt_tokens_are_told(model, data):
    with pytest.raises(InputError, match="tokens: not as recast wrote them"):
        Anchors().given(Editor(model), {}, data, None)


def test_switches_are_the_thread_s(model, tmp_path):
    thread = Thread.create(tmp_path / "t", SOURCE)
    with pytest.raises(ConfigError, match=r"Thread\.open"):
        thread.edit(Editor(model), "x", anchors=Anchors())


def test_the_tokens_travel_with_the_thread(model, tmp_path):
    thread = two_turns(tmp_path / "t", Watched(model), Anchors())
    assert all(TOKENS in node.files for node in thread.path()[1:])
    assert thread.check() == []
