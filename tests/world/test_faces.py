import numpy as np
import pytest

from recast.world.draw import draw_parts
from recast.world.faces import CROP, FaceBox, crop, eyes, to_grid, true_faces
from recast.world.identity_network import CROP_PX, MULTIPLE
from recast.world.scene import Character, Face, Scene


@pytest.mark.parametrize(("width", "height"), [(256, 256), (320, 180)])
def test_a_true_face_is_where_skin_is_drawn(width, height):
    """Of a bald person the face is all skin; ears stand out at its sides, the neck below it."""
    scene = Scene(background="plain", characters=(Character(hair="bald", face=Face(width=1.125, height=0.875)),))
    ((box, gap, is_seen),) = true_faces(scene, width / height)
    drawn = draw_parts(scene, width, height)
    skin = np.isin(drawn.labels, [i for i, name in enumerate(drawn.names) if name.startswith("characters.0")])
    rows = np.flatnonzero(skin.any(1))
    assert abs(rows[0] - box.top * height) < 3
    across = np.flatnonzero(skin[round((box.top + 0.15 * box.height) * height)])
    assert box.left * width - 2 < across[0] < across[-1] < box.right * width + 2
    eye_parts = drawn.mask("characters.0.eyes")
    columns = np.flatnonzero(eye_parts.any(0))
    (left, y), (right, _) = eyes(box, gap, width=width, height=height)
    assert abs((columns[0] + columns[-1]) / 2 - (left + right) / 2 * width) < 2
    assert columns[0] < left * width < right * width < columns[-1]
    assert abs(np.flatnonzero(eye_parts.any(1)).mean() - y * height) < 2
    assert is_seen


def test_eyes_behind_sunglasses_are_not_seen():
    ((_, _, is_seen),) = true_faces(Scene(characters=(Character(glasses="sunglasses"),)), 1.0)
    assert not is_seen


def test_overlap_is_the_shared_area_over_both():
    box = FaceBox(0, 0, 0.2, 0.2)
    assert box.overlap(box) == pytest.approx(1)
    assert box.overlap(FaceBox(0.1, 0, 0.3, 0.2)) == pytest.approx(1 / 3)
    assert box.overlap(FaceBox(0.2, 0, 0.4, 0.2)) == 0
    assert FaceBox(-0.1, 0, 0.1, 0.2).within() == pytest.approx(0.5)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (64, 64), (100, 300), (7, 3)])
def test_a_picture_keeps_its_shape_on_the_grid(width, height):
    pixels, across, down = to_grid(np.zeros((height, width, 3), np.uint8))
    assert pixels.shape[0] % MULTIPLE == pixels.shape[1] % MULTIPLE == 0
    assert width * across <= pixels.shape[1] < width * across + MULTIPLE
    assert height * down <= pixels.shape[0] < height * down + MULTIPLE
    if min(width, height) > 50:
        assert across == pytest.approx(down, rel=0.02)
        assert 0.95 * 192**2 < width * across * height * down < 1.05 * 192**2


def test_a_crop_is_centred_on_the_face_and_repeats_the_edge_outside():
    rgb = np.zeros((100, 200, 3), np.uint8)
    rgb[48:52, 98:102] = 255
    seen = crop(rgb, FaceBox(0.45, 0.4, 0.55, 0.6))
    assert seen.shape == (CROP_PX, CROP_PX, 3)
    bright = np.argwhere(seen[..., 0] > 128)
    assert np.abs(bright.mean(0) - (CROP_PX - 1) / 2).max() < 1.5
    assert len(bright) == pytest.approx((4 * CROP_PX / (CROP * 20)) ** 2, rel=0.35)
    rgb[:, 0] = (9, 8, 7)
    outside = crop(rgb, FaceBox(-0.3, 0.4, -0.2, 0.6))
    assert (outside == (9, 8, 7)).all()
