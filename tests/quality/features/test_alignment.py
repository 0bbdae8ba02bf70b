import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.errors import InputError
from recast.quality.features.alignment import TEMPLATE, aligned_crop, similarity_transform

POINTS = np.array([(200, 300), (300, 310), (245, 360), (205, 420), (285, 428)], float)


def test_the_transform_is_the_least_squares_one_worked_out_elsewhere():
    matrix = similarity_transform(POINTS)
    expected = [[0.345441419, 0.0239703778, -38.0134999], [-0.0239703778, 0.345441419, -47.7810366]]
    np.testing.assert_allclose(matrix, expected, rtol=2e-8)
    assert np.hypot(*matrix[:, 0]) == pytest.approx(0.3462720794, abs=1e-10)
    np.testing.assert_allclose(matrix @ [200, 300, 1], [38.26590, 51.05731], atol=5e-6)


@given(st.floats(0.05, 20), st.floats(-3.1, 3.1), st.floats(-500, 500), st.floats(-500, 500))
def test_the_transform_undoes_any_turn_scale_and_shift(scale, angle, x, y):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity_transform(TEMPLATE @ turn.T + (x, y))
    np.testing.assert_allclose(np.column_stack([matrix[:, :2] @ turn, matrix @ [x, y, 1]]), np.eye(2, 3), atol=1e-6)


def test_a_mirrored_face_is_turned_but_never_mirrored_back():
    matrix = similarity_transform(TEMPLATE * (-1, 1))
    assert np.linalg.det(matrix[:, :2]) > 0


def test_points_in_one_place_are_refused():
    with pytest.raises(InputError, match="all in one place"):
        similarity_transform(np.ones((5, 2)))


def test_another_number_of_points_is_refused():
    with pytest.raises(InputError, match="order of the template"):
        similarity_transform(np.ones((4, 2)))


def test_the_crop_shows_a_point_of_the_picture_where_the_matrix_puts_it():
    across, down = np.meshgrid(np.arange(500), np.arange(500))
    spot = 255 * np.exp(-((across - 245) ** 2 + (down - 360) ** 2) / (2 * 9**2))  # on the nose
    crop = aligned_crop(spot.round().astype(np.uint8)[..., None].repeat(3, 2), POINTS)[..., 1].astype(float)
    rows, columns = np.indices(crop.shape)
    x, y = similarity_transform(POINTS) @ [245, 360, 1]
    assert (columns * crop).sum() / crop.sum() == pytest.approx(x, abs=0.05)
    assert (rows * crop).sum() / crop.sum() == pytest.approx(y, abs=0.05)


def test_the_crop_is_black_where_the_picture_ends():
    crop = aligned_crop(np.full((60, 60, 3), 200, np.uint8), TEMPLATE)  # the crop's own scale: 112 px of 60
    assert crop.shape == (112, 112, 3)
    assert crop[:59, :59].min() == 200
    assert crop[61:].max() == 0
    assert crop[:, 61:].max() == 0
