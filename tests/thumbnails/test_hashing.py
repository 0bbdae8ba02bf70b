"""Claims of recast.thumbnails.hashing."""

import cv2
import numpy as np
import pytest

from recast.errors import ShapeError
from recast.thumbnails.hashing import BITS, distance, perceptual_hash
from tests.thumbnails.checks.good import base


def test_distance_counts_bits():
    assert distance(0b1011, 0b0001) == 2
    assert distance(0, 2**BITS - 1) == BITS


def test_scale_and_compression_leave_almost_every_bit():
    rgb = base().rgb
    smaller = cv2.resize(rgb, (640, 360), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", smaller[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    assert distance(perceptual_hash(rgb), perceptual_hash(again)) <= 2
    assert distance(perceptual_hash(rgb), perceptual_hash(np.clip(rgb * 0.8 + 20, 0, 255).astype(np.uint8))) <= 2


def test_a_mirrored_picture_is_far_away():
    rgb = base().rgb
    assert distance(perceptual_hash(rgb), perceptual_hash(np.ascontiguousarray(rgb[:, ::-1]))) >= 20


def test_what_is_no_picture_is_refused():
    with pytest.raises(ShapeError, match="uint8"):
        perceptual_hash(np.zeros((4, 4, 3)))
