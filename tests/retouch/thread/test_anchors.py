"""Anchors: what was left alone is not encoded again, the root rides along, and tokens of other weights stay home."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from recast.config import tiny
from recast.errors import InputError
from recast.pixels.image import Picture
from recast.retouch.editor import Editor
from recast.retouch.thread import Anchors, Thread
from recast.retouch.thread.anchors import TOKENS
from tests.tiny import tiny_pipeline


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


def test_spoilt_tokens_are_told(model, tmp_path):
    anchors = Anchors()
    with pytest.raises(InputError, match="tokens"):
        anchors.given(Editor(model), {}, b"spoilt", None)


def test_the_tokens_travel_with_the_thread(model, tmp_path):
    thread = two_turns(tmp_path / "t", Watched(model), Anchors())
    assert all(TOKENS in node.files for node in thread.path()[1:])
    assert thread.check() == []
