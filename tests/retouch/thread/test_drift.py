"""Drift is measured on what should have stayed, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from recast.retouch.thread.drift import drift, support_png, union
from tests.retouch.thread.fake import noise


def test_a_picture_that_is_the_root_has_not_drifted() -> None:
    root = noise()
    found = drift(root, root.copy(), np.zeros((16, 24), bool))
    assert found == {
        "over": "preserved", "preserved": 384, "of": 384, "changed": 0, "delta_e_mean": 0.0, "delta_e_max": 0.0,
        "sharpness": 1.0, "identity": None, "absent": ["identity: no face model given"],
    }  # fmt: skip


def test_only_what_was_preserved_counts() -> None:
    root, support = noise(), np.zeros((16, 24), bool)
    support[:8] = True
    node = root.copy()
    node[:8] = 0
    assert drift(root, node, support)["delta_e_max"] == 0.0
    node[12, 5] = 255 - node[12, 5]
    found = drift(root, node, support)
    assert (found["preserved"], found["changed"]) == (192, 1)
    expected = deltaE_ciede2000(rgb2lab(root[12:13, 5:6]), rgb2lab(node[12:13, 5:6]))[0, 0]
    assert found["delta_e_max"] == pytest.approx(expected, abs=0.02)
    assert found["delta_e_mean"] == pytest.approx(expected / 192, abs=1e-3)
    assert drift(root, node, None)["over"] == "frame"
    assert drift(root, node, None)["changed"] == 193
    assert drift(root, node, np.ones((16, 24), bool)) == drift(root, node, None), "nothing was set apart"


def test_a_blurred_picture_has_lost_sharpness_and_a_changed_region_does_not_count_as_such() -> None:
    root = noise(width=64, height=64)
    blurred = cv2.GaussianBlur(root, (0, 0), 1.0)
    assert drift(root, blurred, None)["sharpness"] < 0.1
    assert drift(blurred, root, None)["sharpness"] > 10
    support = np.zeros((64, 64), bool)
    support[20:40, 20:40] = True
    node = root.copy()
    node[20:40, 20:40] = 0
    assert drift(root, node, support)["sharpness"] == 1.0
    assert drift(root, node, None)["sharpness"] != 1.0


def test_what_cannot_be_measured_is_absent_with_its_reason() -> None:
    root = noise()
    assert drift(root, noise(width=8, height=8), None)["absent"] == [
        "everything: another size than the root, 8x8 against 24x16"
    ]
    flat = np.zeros_like(root)
    assert drift(flat, root, None)["sharpness"] is None
    assert drift(root, root, None, lambda a, b: None)["absent"] == ["identity: no face found"]
    seen = []
    found = drift(root, root, None, lambda a, b: seen.append((a, b)) or 0.75)
    assert (found["identity"], found["absent"]) == (0.75, [])
    assert seen[0][0] is root


def test_supports_add_up_on_the_way() -> None:
    first, second = np.zeros((3, 10), bool), np.zeros((3, 10), bool)
    first[0, 1], second[2, 9] = True, True
    total = union([support_png(first), support_png(second)], (3, 10))
    assert total is not None
    assert np.array_equal(total, first | second)
    assert union([support_png(first), None], (3, 10)) is None
    assert union([support_png(first)], (3, 11)) is None
