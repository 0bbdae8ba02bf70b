"""What of a source stays: masks as tokens, narrowing, and tokens carried over."""

import numpy as np
import pytest
import torch

from recast.context.keeping import Carried, Hold, may_change
from recast.errors import ConfigError, InputError, ShapeError
from recast.pixels.geometry import own_size

FIT = own_size(80, 64)


def mask(*places: tuple[int, int]) -> np.ndarray:
    made = np.zeros((64, 80), np.float32)
    for row, column in places:
        made[row, column] = 1
    return made


def test_a_pixel_frees_its_token_and_those_around_it():
    expected = np.zeros((4, 5), bool)
    expected[0:3, 2:5] = True
    assert np.array_equal(may_change(FIT, mask((16, 63))), expected)
    corner = may_change(FIT, mask((63, 0)))
    assert np.argwhere(corner).tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_a_mask_without_light_is_refused():
    with pytest.raises(InputError, match="0 everywhere"):
        may_change(FIT, mask())


def test_narrowing_only_takes_away_and_only_from_one_picture():
    asked = may_change(FIT, mask((5, 5)))
    hold = Hold(FIT, asked, 2, torch.device("cpu"))
    before = hold().clone()
    hold.narrow(1, mask((5, 5), (60, 70)))
    assert torch.equal(hold(), before)
    hold.narrow(1, mask((60, 5)))
    assert torch.equal(hold()[0], before[0])
    assert not hold()[1].any()
    with pytest.raises(ConfigError, match="index=2"):
        hold.narrow(2, mask((5, 5)))


def test_nothing_is_held_until_it_is_asked():
    hold = Hold(FIT, None, 2, torch.device("cpu"))
    assert hold() is None
    hold.narrow(0, mask((5, 5)))
    assert hold()[1].all()
    assert hold()[0].sum() == 4


def test_carried_tokens_replace_the_source_s_where_they_hold():
    valid = np.zeros((4, 5), bool)
    valid[1, 2] = valid[3, 4] = True
    encoded, tokens = torch.randn(1, 20, 8), torch.randn(1, 20, 8)
    after = Carried(tokens, valid).over(lambda: encoded)
    changed = (after != encoded).all(-1)[0]
    assert changed.nonzero().ravel().tolist() == [7, 19]
    assert torch.equal(after[0, 7], tokens[0, 7])


def test_carried_tokens_of_another_grid_are_refused():
    for tokens, valid in (((1, 20, 8), (5, 4)), ((1, 19, 8), (4, 5)), ((1, 20, 4), (4, 5))):
        with pytest.raises(ShapeError, match="carried"):
            Carried(torch.zeros(tokens), np.zeros(valid, bool)).check((4, 5), 8)
    with pytest.raises(ShapeError, match="float"):
        Carried(torch.zeros(1, 20, 8), np.zeros((4, 5))).check((4, 5), 8)


def test_the_hash_is_of_what_holds():
    tokens, valid = torch.randn(1, 20, 8), np.zeros((4, 5), bool)
    valid[0, 0] = True
    other = tokens.clone()
    other[0, 5] = 0
    first = Carried(tokens, valid).sha256()
    assert Carried(other, valid).sha256() == first
    other[0, 0] = 0
    assert Carried(other, valid).sha256() != first
