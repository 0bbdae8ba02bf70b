"""Whole pixels picked by a mask: just what NumPy's own indexing gives."""

import numpy as np
import pytest

from recast.retouch.picked import picked


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32"])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (7, 9, 3), (7, 9, 4), (7, 9, 0), (0, 9, 3), (1, 1, 3)])
def test_picked_pixels_are_those_of_the_mask_row_by_row(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, shape).astype(dtype)
    for mask in (rng.random(shape[:2]) < 0.5, np.zeros(shape[:2], bool), np.ones(shape[:2], bool)):
        found = picked(picture, mask)
        assert found.dtype == picture.dtype
        np.testing.assert_array_equal(found, picture[mask])


def test_a_picture_may_lie_in_memory_in_any_order() -> None:
    picture = np.arange(6 * 8 * 4, dtype=np.uint16).reshape(6, 8, 4)
    mask = np.arange(48).reshape(6, 8) % 3 > 0
    for view in (picture[..., :3], picture[..., ::-1], picture[::2], picture.transpose(1, 0, 2)):
        here = mask.T if view.shape[0] == 8 else mask[: view.shape[0]]
        np.testing.assert_array_equal(picked(view, here), view[here])
