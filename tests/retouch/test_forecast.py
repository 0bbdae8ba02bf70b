"""Where an edit is going: tokens that leave their source beyond the noise, as pixels and boxes."""

import numpy as np
import pytest
import torch

from recast.pixels.geometry import fit, own_size
from recast.retouch.forecast import Forecast, boxes_of, foretell, tokens_changing
from recast.run import Step

GRID = (12, 16)


def tokens(spread: float = 0.15, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A source and a prediction of it that is off by noise alone: (n, d)."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(GRID[0] * GRID[1], 64, generator=generator)
    return source, source + spread * torch.randn(source.shape, generator=generator)


def changed(clean: torch.Tensor, rows: slice, columns: slice, by: float = 2.0) -> torch.Tensor:
    grid = clean.clone().reshape(*GRID, -1)
    grid[rows, columns] += by
    return grid.reshape(clean.shape)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.15, 0.3])
def test_noise_alone_foretells_nothing(spread):
    source, clean = tokens(spread)
    assert not tokens_changing(clean, source, GRID).any()


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.15, 0.3])
def test_a_change_is_foretold_where_it_is(spread):
    source, clean = tokens(spread)
    found = tokens_changing(changed(clean, slice(3, 7), slice(5, 10)), source, GRID)
    expected = np.zeros(GRID, bool)
    expected[3:7, 5:10] = True
    assert found[expected].all()
    assert (found & ~expected).sum() <= 40  # two tokens around: one by the window, one beside
    assert not found[9:].any()
    assert not found[:, 13:].any()


def test_a_faint_change_counts_in_a_calm_picture_and_not_in_a_noisy_one():
    for spread, is_found in ((0.02, True), (0.3, False)):
        source, clean = tokens(spread)
        found = tokens_changing(changed(clean, slice(3, 7), slice(5, 10), 0.2), source, GRID)
        assert found.any() == is_found


def test_a_change_of_everything_is_not_taken_for_noise():
    source, clean = tokens(0.1)
    assert tokens_changing(clean + 1.5, source, GRID).all()


def test_a_change_of_next_to_nothing_is_none():
    """Tokens that are held are exactly the source's: beside them any noise would stand out."""
    source, clean = tokens(0.01)
    held = source.clone()
    held[90:110] = clean[90:110]
    assert not tokens_changing(held, source, GRID).any()


def step_of(clean: torch.Tensor, source: torch.Tensor) -> Step:
    return Step(3, 9, 0.6, (7, 8), torch.stack([clean, source]), torch.stack([clean, source]), list, source[None])


def test_each_picture_has_its_own_forecast_in_pixels_of_the_source():
    source, clean = tokens()
    step = step_of(changed(clean, slice(3, 7), slice(5, 10)), source)
    first, second = foretell(step, own_size(250, 190))
    assert (first.seed, second.seed, first.step, first.of) == (7, 8, 3, 9)
    assert first.mask.shape == (190, 250)
    assert first.mask[16 * 4 : 16 * 6, 16 * 6 : 16 * 9].all()
    assert first.share == pytest.approx(first.mask.mean())
    assert not second.mask.any()
    assert second.boxes == ()
    larger = foretell(step, fit(1000, 750, min_tokens=190, max_tokens=192))[0]
    assert larger.mask.shape == (750, 1000)
    assert larger.share == pytest.approx(first.share, rel=0.1)


def test_a_forecast_leaves_a_box_when_a_good_part_of_it_lies_outside():
    mask = np.zeros((100, 100), bool)
    mask[20:40, 20:60] = True
    forecast = Forecast(mask, 0.08, boxes_of(mask), 0, 1, 3)
    assert forecast.boxes == ((20, 20, 60, 40),)
    assert forecast.outside([(20, 20, 60, 40)]) == 0
    assert forecast.outside([(20, 20, 40, 40)]) == pytest.approx(0.5)
    assert forecast.outside([(20, 20, 40, 40), (40, 0, 100, 100)]) == 0
    assert not forecast.is_leaving([(20, 20, 52, 40)])
    assert forecast.is_leaving([(20, 20, 40, 40)])
    assert not Forecast(mask & False, 0.0, (), 0, 1, 3).is_leaving([(0, 0, 1, 1)])


def test_boxes_are_those_of_the_connected_parts_from_the_top():
    mask = np.zeros((20, 20), bool)
    mask[10:12, 0:3] = mask[2:5, 8:9] = mask[2:3, 1:4] = True
    assert boxes_of(mask) == ((1, 2, 4, 3), (8, 2, 9, 5), (0, 10, 3, 12))
