"""Tokens handed on: those of the source where it was kept, those of the edit where it shows, none at their border."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch

from recast.config import tiny
from recast.retouch.carry import carry
from recast.retouch.editor import Editor
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def turn():
    """An edit of the middle of a photograph, in 6 x 8 tokens."""
    model = tiny_pipeline(defaults=replace(tiny().defaults, max_tokens=400))
    mask = np.zeros((96, 128), np.float32)
    mask[20:70, 30:90] = 1
    source = skimage.data.astronaut()[:96, :128].copy()
    return model, source, Editor(model).edit(source, "x", mask=mask, steps=2, seed=0, preserve="strict")


def test_kept_tokens_are_the_source_s_and_shown_ones_the_edit_s(turn):
    _, _, result = turn
    carried = carry(result)
    support = result.edits[0].support.reshape(6, 16, 8, 16).any((1, 3))
    assert carried.is_valid[~support].all()
    flat = torch.from_numpy((~support).ravel())
    assert torch.equal(carried.tokens[:, flat], result.source_tokens[:, flat])
    shown = carried.is_valid & support
    new = torch.from_numpy(shown.ravel())
    assert torch.equal(carried.tokens[:, new], result.tokens[0][:, new])
    border = ~carried.is_valid
    assert border.any()
    for row, column in zip(*np.nonzero(shown), strict=True):
        cell = np.s_[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        apart = result.pictures[0].rgb[cell].astype(float) - result.raws[0].rgb[cell]
        assert np.sqrt((apart**2).mean()) <= 3.01


def test_the_next_turn_starts_from_what_was_carried(turn):
    model, _, result = turn
    carried = carry(result)
    after = Editor(model).edit(result.pictures[0], "y", carried=carried, steps=1, seed=0)
    valid = torch.from_numpy(carried.is_valid.ravel())
    assert torch.equal(after.source_tokens[:, valid], carried.tokens[:, valid])
    fresh = Editor(model).edit(result.pictures[0], "y", steps=1, seed=0)
    assert torch.equal(after.source_tokens[:, ~valid], fresh.source_tokens[:, ~valid])
    assert not torch.equal(after.source_tokens, fresh.source_tokens)
    assert after.recipe.preserving.carried == carried.sha256()
    assert fresh.recipe.preserving.carried is None


def test_there_is_nothing_to_carry_from_what_was_not_merged(turn):
    model, source, _ = turn
    assert carry(Editor(model, preserve="off").edit(source, "x", steps=1, seed=0)) is None
