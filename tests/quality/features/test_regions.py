import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.errors import InputError
from recast.quality.features.regions import overlap, picture, square_crop, suppress, union_mask


def ramp(height=50, width=80):
    """A picture whose pixels say where they are: x, y, 0."""
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([across, down, 0 * across], -1).astype(np.uint8)


def test_a_crop_is_the_square_around_the_box():
    crop = square_crop(ramp(), (20, 10, 30, 30))
    assert crop.shape == (20, 20, 3)
    assert crop[0, 0].tolist() == [15, 10, 0]


def test_a_crop_is_moved_inward_at_the_border():
    assert square_crop(ramp(), (75, 5, 80, 25))[0, 0].tolist() == [60, 5, 0]


@given(st.tuples(st.integers(0, 79), st.integers(0, 49), st.integers(1, 80), st.integers(1, 50)))
def test_a_crop_is_square_and_holds_the_box_where_the_picture_allows(box):
    left, top = box[:2]
    right, bottom = min(80, left + box[2]), min(50, top + box[3])
    crop = square_crop(ramp(), (left, top, right, bottom))
    side = crop.shape[0]
    assert crop.shape == (side, side, 3)
    assert side == min(50, max(right - left, bottom - top))
    assert crop[0, 0, 1] <= top
    assert crop[-1, 0, 1] >= bottom - 1
    if right - left <= 50:
        assert crop[0, 0, 0] <= left
        assert crop[0, -1, 0] >= right - 1


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (90, 10, 95, 20), (10, -9, 20, -1)])
def test_a_box_without_a_pixel_is_refused(box):
    with pytest.raises(InputError, match="no pixel"):
        square_crop(ramp(), box)


def test_overlap_is_the_shared_area_over_the_common_one():
    box, others = (
        np.array([0.0, 0, 10, 10]),
        np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]]),
    )
    np.testing.assert_allclose(overlap(box, others), [1, 50 / 150, 0, 4 / 100])


def test_suppression_is_by_score_and_a_suppressed_box_suppresses_nothing():
    """b overlaps a and c, which do not overlap: without b, both stay."""
    boxes = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10], [9, 0, 19, 10]])
    assert suppress(boxes, np.array([0.9, 0.8, 0.7]), 0.3) == [0, 2]
    assert suppress(boxes, np.array([0.8, 0.9, 0.7]), 0.3) == [1]


def test_a_mask_reaches_equally_far_in_every_direction():
    mask = union_mask(np.array([[40, 30, 60, 40]]), width=120, height=90, margin=0.1)  # the diagonal is 150
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (25, 74, 15, 54)
    assert not mask[15, 25]  # round corners
    assert mask[30 - 10, 40 - 10]


def test_a_mask_joins_boxes_and_is_empty_without_any():
    boxes = np.array([[0, 0, 5, 5], [20, 20, 25, 25]])
    assert union_mask(boxes, width=30, height=30, margin=0).sum() == 50
    assert not union_mask(boxes[:0], width=30, height=30).any()


@pytest.mark.parametrize(
    ("pixels", "came"),
    [
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((4, 4, 4), np.uint8), "4, 4, 4"),
        (np.zeros((0, 4, 3), np.uint8), "0, 4, 3"),
        ([1], "list"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(pixels, came):
    with pytest.raises(InputError, match=f"source: .*{came}"):
        picture(pixels, "source")
