"""Registration: how exactly a known motion is found, what is refused as another framing, and what never fails.

A pair is made by moving a picture by a known map and spoiling it as an editor does: a field of colour of 6 levels, blur
and noise as an autoencoder leaves them, JPEG 85. Errors are those of the corner of the frame that is off most.
"""

import functools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from recast.errors import ShapeError
from recast.retouch import keypoints, register, residual, warp
from recast.retouch.register import Registration
from recast.retouch.thresholds import THRESHOLDS
from recast.world.draw import draw
from recast.world.sample import scene

LIMITS = THRESHOLDS.registering
MOVES = [((0, 0), 1, 0), ((12, -12), 1, 0), ((2.25, 1.75), 1.004, 0), ((-5, 4), 0.96, 0), ((6.5, 3), 1.04, 0)]
MOVES += [((1, 2), 1, 1), ((-7.75, 5.25), 0.98, -0.7)]


@functools.cache
def picture(name: str) -> np.ndarray:
    if name == "flat":
        return poster()
    if name == "world":
        return draw(scene(7), 512, 512)
    found = getattr(data, name)()
    return found if found.ndim == 3 else cv2.cvtColor(found, cv2.COLOR_GRAY2RGB)


def poster() -> np.ndarray:
    """A flat graphic: plain areas, two shapes, two lines of text."""
    pixels = np.full((640, 1024, 3), 240, np.uint8)
    pixels[:210] = (30, 60, 140)
    cv2.rectangle(pixels, (80, 300), (360, 560), (220, 60, 40), -1, cv2.LINE_AA)
    cv2.circle(pixels, (700, 420), 110, (40, 160, 90), -1, cv2.LINE_AA)
    cv2.putText(pixels, "GRAND OPENING", (60, 140), cv2.FONT_HERSHEY_DUPLEX, 2.6, (255, 255, 255), 6, cv2.LINE_AA)
    cv2.putText(pixels, "sale 50% off", (420, 600), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (20, 20, 20), 3, cv2.LINE_AA)
    return pixels


def motion(pixels: np.ndarray, shift: tuple[float, float], zoom: float, degrees: float) -> np.ndarray:
    """(2, 3): a turn and a zoom about the middle of the frame, then a shift."""
    centre = (np.array(pixels.shape[1::-1]) - 1) / 2
    angle = np.radians(degrees)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([turn, (centre + shift - turn @ centre)[:, None]])


def spoiled(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=pixels.shape).astype(np.float32), (0, 0), 1.0)
    out = cv2.GaussianBlur(pixels, (0, 0), 0.8) + noise / noise.std() * 5 + np.stack([4 * x + 2 * y, -6 * x, 6 * y], 2)
    _, file = cv2.imencode(".jpg", np.clip(np.rint(out), 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return cv2.imdecode(file, cv2.IMREAD_COLOR)


def moved(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = pixels.shape[1::-1]
    return cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)


def replaced(pixels: np.ndarray, share: float, filler: np.ndarray) -> np.ndarray:
    """With another picture in the middle, over a share of the frame."""
    height, width = pixels.shape[:2]
    h, w = int(height * share**0.5), int(width * share**0.5)
    top, left = (height - h) // 2, (width - w) // 2
    out = pixels.copy()
    out[top : top + h, left : left + w] = cv2.resize(filler, (width, height))[top : top + h, left : left + w]
    return out


def corner_error(found: Registration, truth: np.ndarray, pixels: np.ndarray) -> float:
    height, width = pixels.shape[:2]
    columns, rows = np.array([0, width - 1]), np.array([0, height - 1])
    maps = [(found.matrix, found.bend), (truth, None)]
    size = {"frame": (width, height), "grid": (width, height), "picture": (width, height)}
    (x, y), (true_x, true_y) = [warp.positions(columns, rows, *one, **size) for one in maps]
    return float(np.hypot(x - true_x, y - true_y).max())


NAMES = ["astronaut", "chelsea", "coffee", "rocket", "brick", "world", "flat"]


@pytest.mark.parametrize("k", range(len(NAMES)))
@pytest.mark.parametrize("share", [0, 0.3])
def test_a_motion_is_found_to_a_third_of_a_pixel_with_most_of_the_frame_unchanged(k: int, share: float) -> None:
    source, move = picture(NAMES[k]), MOVES[k - 3 if share else k]
    truth = motion(source, *move)
    edited = spoiled(moved(replaced(source, share, picture("camera")), truth), k)
    assert corner_error(register.register(source, edited), truth, source) <= 0.3


@pytest.mark.parametrize(("name", "k"), [("astronaut", 1), ("coffee", 4), ("rocket", 1), ("brick", 4)])
def test_a_motion_is_found_to_half_a_pixel_with_a_quarter_unchanged(name: str, k: int) -> None:
    source = picture(name)
    truth = motion(source, *MOVES[k])
    edited = spoiled(moved(replaced(source, 0.75, picture("camera")), truth), k)
    unchanged = np.zeros(source.shape[:2], bool)
    unchanged[:24] = unchanged[-24:] = unchanged[:, :24] = unchanged[:, -24:] = True
    found = register.register(source, edited, unchanged=unchanged)
    assert corner_error(found, truth, source) <= 0.5


@pytest.mark.parametrize(("name", "worst"), [("coffee", 0.3), ("flat", 0.5)])
def test_a_wobble_of_two_pixels_is_found(name: str, worst: float) -> None:
    source = picture(name)
    height, width = source.shape[:2]
    y, x = np.mgrid[0:height, 0:width] * (2 * np.pi / max(height, width))
    push = np.stack([2 * np.sin(y + 1) * np.cos(0.7 * x), 2 * np.sin(x + 2) * np.cos(0.8 * y)], 2)
    columns, rows = np.arange(width), np.arange(height)
    back = np.stack(np.meshgrid(columns, rows), 2).astype(np.float64)
    for _ in range(8):
        back = np.stack(np.meshgrid(columns, rows), 2) - cv2.remap(
            push, back.astype(np.float32), None, cv2.INTER_LINEAR
        )
    edited = spoiled(cv2.remap(source, back.astype(np.float32), None, cv2.INTER_LANCZOS4))
    found = register.register(source, edited)
    assert found.bend is not None
    size = {"frame": (width, height), "grid": (width, height), "picture": (width, height)}
    at_x, at_y = warp.positions(columns, rows, found.matrix, found.bend, **size)
    off = np.hypot(at_x - columns - push[..., 0], at_y - rows[:, None] - push[..., 1])
    assert np.median(off) < worst


def test_no_bend_where_there_is_no_wobble() -> None:
    source = picture("coffee")
    edited = spoiled(moved(source, motion(source, (3, 1), 1.01, 0)))
    assert register.register(source, edited).bend is None
    every = replace(LIMITS, bend_gain=-1.0, least_bend_tiles=0, least_px=0.0)
    assert register.register(source, edited, thresholds=every).bend is not None


def test_a_bend_stays_within_its_cap() -> None:
    source = picture("coffee")
    y, x = np.mgrid[0 : source.shape[0], 0 : source.shape[1]].astype(np.float32)
    edited = cv2.remap(source, x + 3 * np.sin(y / 90), y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    for most_px in (1.0, LIMITS.bend_most_px):
        found = register.register(source, edited, thresholds=replace(LIMITS, bend_most_px=most_px))
        assert found.bend is not None
        assert min(most_px, 2) - 1e-5 < np.linalg.norm(found.bend, axis=2).max() <= most_px + 1e-5


def test_a_second_pass_keeps_to_the_unchanged_pixels() -> None:
    """Two halves move differently: the mask says which is meant."""
    source = picture("coffee")
    left, right = motion(source, (1.5, 0), 1, 0), motion(source, (-1.5, 0), 1, 0)
    edited = moved(source, left)
    edited[:, 300:] = moved(source, right)[:, 300:]
    for part, truth in ((slice(0, 280), left), (slice(320, 600), right)):
        unchanged = np.zeros(source.shape[:2], bool)
        unchanged[:, part] = True
        first = register.register(source, edited, thresholds=replace(LIMITS, least_bend_tiles=10**6))
        assert abs(first.shift[0] - truth[0, 2]) > 0.3
        second = register.register(
            source, edited, unchanged=unchanged, start=first, thresholds=replace(LIMITS, least_bend_tiles=10**6)
        )
        assert abs(second.shift[0] - truth[0, 2]) < 0.3
        assert first.pair is second.pair


def test_a_mask_of_next_to_nothing_changes_nothing() -> None:
    source = picture("coffee")
    edited = spoiled(moved(source, motion(source, (3, 1), 1, 0)))
    first = register.register(source, edited)
    few = np.zeros(source.shape[:2], bool)
    few[:40, :40] = True
    assert register.register(source, edited, unchanged=few, start=first) is first


def test_a_start_of_other_pictures_lends_nothing_but_its_motion() -> None:
    source, other = picture("coffee"), cv2.resize(picture("astronaut"), (600, 400))
    start = register.register(other, moved(other, motion(other, (3, 1), 1, 0)))
    edited = moved(source, motion(source, (3.5, 1), 1, 0))
    found = register.register(source, edited, unchanged=np.ones(source.shape[:2], bool), start=start)
    assert found.shift == pytest.approx((3.5, 1), abs=0.1)


def perspective(pixels: np.ndarray, share: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    to = corners.copy()
    to[0] += (width * share, height * share)
    matrix = cv2.getPerspectiveTransform(corners, to)
    return cv2.warpPerspective(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("name", ["astronaut", "flat"])
@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("mirrored", lambda p: np.ascontiguousarray(p[:, ::-1])),
        ("zoomed", lambda p: moved(p, motion(p, (0, 0), 1.3, 0))),
        ("zoomed by 0.8", lambda p: moved(p, motion(p, (0, 0), 0.85, 0))),
        ("turned", lambda p: moved(p, motion(p, (0, 0), 1, 4))),
        ("shifted", lambda p: moved(p, motion(p, (0.1 * p.shape[1], 0), 1, 0))),
        ("seen from elsewhere", lambda p: perspective(p, 0.06)),
        ("seen from elsewhere", lambda p: perspective(p, 0.15)),
        ("nothing of the source", lambda p: cv2.resize(picture("rocket"), p.shape[1::-1])),
    ],
)
def test_another_framing_is_said_to_be_one(name: str, reason: str, change: object) -> None:
    found = register.register(picture(name), change(picture(name)))  # type: ignore[operator]
    assert found.is_reframed
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("move", [((0, 0), 1.07, 0), ((0, 0), 0.93, 0), ((0, 0), 1, 1.8), ((28, 0), 1, 0)])
def test_a_drift_within_the_limits_is_none(move: tuple[tuple[float, float], float, float]) -> None:
    source = picture("astronaut")
    found = register.register(source, moved(source, motion(source, *move)))
    assert not found.is_reframed
    assert corner_error(found, motion(source, *move), source) < 0.3


def test_what_says_too_little_is_no_framing() -> None:
    source = picture("astronaut")
    for edited in (np.zeros_like(source), np.full_like(source, 90)):
        found = register.register(source, edited)
        assert (found.kind, found.is_reframed, found.is_identity) == ("identity", False, True)
        assert found.reason.startswith("no motion found")


def test_a_part_that_moves_does_not_take_the_frame_with_it() -> None:
    """A textured object on plain ground that has no keypoints, only soft shading: the object moves, the rest stays."""
    y, x = np.mgrid[0:480, 0:640]
    ground = 128 + 50 * np.sin(x / 9) * np.sin(y / 140) + 0 * x
    source = np.repeat(ground[..., None], 3, 2).astype(np.uint8)
    edited = source.copy()
    thing = cv2.resize(picture("astronaut"), (200, 200))
    source[100:300, 100:300] = thing
    edited[112:312, 124:324] = thing
    assert register.register(source, edited).shift == pytest.approx((0, 0), abs=0.25)
    careless = register.register(source, edited, thresholds=replace(LIMITS, still_gain=1e9))
    assert careless.shift == pytest.approx((24, 12), abs=1)


def test_few_keypoints_leave_it_to_tiles() -> None:
    source = np.full((600, 900, 3), (250, 200, 60), np.uint8)
    cv2.circle(source, (450, 300), 180, (200, 30, 30), -1, cv2.LINE_AA)
    cv2.rectangle(source, (40, 40), (200, 120), (20, 20, 20), -1)
    truth = motion(source, (7, -4), 1.004, 0)
    found = register.register(source, moved(source, truth))
    assert (found.kind, found.is_reframed) == ("tiles", False)
    assert "keypoints" in found.reason
    assert corner_error(found, truth, source) < 0.3


def test_repeated_texture_stays_where_it_is() -> None:
    y, x = np.mgrid[0:400, 0:600]
    tiles = (((x // 20) + (y // 20)) % 2 * 160 + 40).astype(np.uint8)
    source = np.repeat(tiles[..., None], 3, 2)
    for edited in (spoiled(source), spoiled(replaced(source, 0.3, picture("coffee")))):
        found = register.register(source, edited)
        assert not found.is_reframed
        assert found.shift == pytest.approx((0, 0), abs=0.3)


def fit(count: int, of: int, cells: int) -> tuple[keypoints.Similarity, np.ndarray]:
    inliers = np.arange(of) < count
    here = (np.arange(of) % cells % 4) * 25.0 + 5 + 1j * ((np.arange(of) % cells // 4) * 25.0 + 5)
    return keypoints.Similarity(1 + 0j, 0j, inliers), here


@pytest.mark.parametrize(
    ("count", "of", "cells", "against"),
    [(8, 20, 3, ""), (7, 7, 3, "keypoints agree, too few"), (8, 41, 3, "of the keypoints"), (40, 40, 2, "cells")],
)
def test_keypoints_have_to_be_enough_in_number_share_and_place(count: int, of: int, cells: int, against: str) -> None:
    said = register._against(*fit(count, of, cells), (100, 100), LIMITS)
    assert (said == "") == (against == "")
    assert against in said


def test_unrelated_pictures_never_agree() -> None:
    names = ["astronaut", "coffee", "rocket", "brick", "flat"]
    found = [
        keypoints.keypoints(
            cv2.cvtColor(cv2.resize(picture(n), (512, 512)), cv2.COLOR_RGB2GRAY), pixels=1 << 18, most=2000
        )
        for n in names
    ]
    for i, one in enumerate(found):
        for other in found[:i]:
            for radius in (77, None):
                pairs = keypoints.matched(one, other, ratio=LIMITS.ratio, radius=radius)
                agreed = keypoints.agree(one.points[pairs[:, 0]], other.points[pairs[:, 1]], within=1.5)
                assert agreed is None or agreed.inliers.sum() < LIMITS.least_inliers / 2


def test_the_same_numbers_with_any_number_of_threads() -> None:
    source = picture("coffee")
    edited = spoiled(moved(replaced(source, 0.3, picture("camera")), motion(source, (3, 1), 1.01, 0.3)))
    unchanged = np.ones(source.shape[:2], bool)
    unchanged[100:300, 150:450] = False
    before = cv2.getNumThreads()
    seen = set()
    try:
        for threads in (1, 2, 4, 1):
            cv2.setNumThreads(threads)
            found = register.register(source, edited, unchanged=unchanged)
            pixels, valid = found.warp(edited, width=1200, height=800, grid=(600, 400))
            seen.add((found.matrix.tobytes(), found.residual_px, pixels.tobytes(), valid.tobytes()))
    finally:
        cv2.setNumThreads(before)
    assert len(seen) == 1


def test_identical_pictures_are_copied() -> None:
    source = picture("coffee")
    found = register.register(source, source.copy())
    pixels, valid = found.warp(source, width=600, height=400, grid=(600, 400))
    assert (found.kind, found.is_identity, found.reason) == ("identity", True, "")
    assert np.array_equal(pixels, source)
    assert valid.all()


def test_less_than_a_quarter_of_a_pixel_is_not_warped() -> None:
    source = picture("coffee")
    for shift, is_identity in ((0.15, True), (0.4, False)):
        edited = moved(source, motion(source, (shift, 0), 1, 0))
        found = register.register(source, edited)
        assert found.is_identity == is_identity
        warped, _ = found.warp(edited, width=600, height=400, grid=(600, 400))
        assert np.array_equal(warped, edited) == is_identity


def test_a_warp_brings_the_edit_home_at_any_size() -> None:
    """Edit at half the source's size, moved by 2 of its pixels: 4 of the source's."""
    source = picture("coffee")
    small = cv2.resize(source, (300, 200), interpolation=cv2.INTER_AREA)
    edited = moved(small, motion(small, (2, -1), 1.01, 0))
    found = register.register(small, edited)
    warped, valid = found.warp(edited, width=600, height=400, grid=(300, 200))
    off = np.abs(warped.astype(int) - cv2.resize(small, (600, 400), interpolation=cv2.INTER_CUBIC))
    assert np.median(off[valid]) <= 2
    shifted = found.warp(edited, width=600, height=400, grid=(300, 200), box=(2, 2, 600, 400))[0]
    assert np.array_equal(shifted, warped[2:, 2:])


def bent(grid: tuple[int, int]) -> Registration:
    push = np.random.default_rng(0).uniform(-3, 3, (5, 8, 2))
    matrix = np.array([[1.01, -0.01, 3.3], [0.01, 1.01, -2.2]])
    return Registration("similarity", matrix, push, 0, 0.0, 0.0, False, "", grid)


@pytest.mark.parametrize("size", [(1500, 1100), (600, 400), (150, 90)])
def test_a_box_has_the_numbers_of_the_whole(size: tuple[int, int]) -> None:
    edited = picture("coffee")
    whole, valid = bent((300, 200)).warp(edited, width=size[0], height=size[1], grid=(300, 200))
    assert 0.9 < valid.mean() < 1
    w, h = size
    for box in ((0, 0, w, h // 3), (w // 2 - 7, h // 2 - 5, w // 2 + 30, h // 2 + 30), (w - 3, h - 2, w, h)):
        part, ok = bent((300, 200)).warp(edited, width=w, height=h, grid=(300, 200), box=box)
        x0, y0, x1, y1 = box
        assert np.array_equal(part, whole[y0:y1, x0:x1])
        assert np.array_equal(ok, valid[y0:y1, x0:x1])


def test_valid_is_where_the_edit_shows_something() -> None:
    source = picture("coffee")
    found = Registration("similarity", motion(source, (10, 0), 1, 0), None, 0, 0.0, 0.0, False, "", (600, 400))
    _, valid = found.warp(source, width=600, height=400, grid=(600, 400))
    assert valid[:, :590].all()
    assert not valid[:, 590:].any()


def test_a_smaller_frame_does_not_alias() -> None:
    stripes = np.zeros((400, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = np.array([[1.0, 0, 1.3], [0, 1, 0.6]])
    pixels, _ = replace(bent((200, 133)), matrix=matrix, bend=None).warp(
        stripes, width=200, height=133, grid=(200, 133)
    )
    assert np.abs(pixels[:, 4:-4].astype(int) - 128).max() < 25


def test_a_spline_passes_through_its_ends_and_keeps_lines_straight() -> None:
    weights = warp.basis(np.linspace(0, 99, 500), 100, 8)
    assert weights.min() >= 0
    assert np.allclose(weights.sum(1), 1)
    assert np.allclose(weights @ np.linspace(0, 99, 8), np.linspace(0, 99, 500))
    assert weights[0, 0] == 1
    assert weights[-1, -1] == 1


def test_tiles_measure_the_shift_between_two_pictures() -> None:
    grey = cv2.cvtColor(picture("coffee"), cv2.COLOR_RGB2GRAY)
    truth = motion(picture("coffee"), (0.4, -0.3), 1, 0)
    pair = residual.levels(grey, moved(grey, truth))
    assert len(pair) == 3
    tiles = residual.measure(pair[-1], register.STILL, None, (600, 400), None, LIMITS)
    sure = tiles.texture > 100
    assert np.median(tiles.shift[sure], axis=0) == pytest.approx((0.4, -0.3), abs=0.05)


def test_a_tile_of_other_content_is_not_trusted() -> None:
    source = picture("coffee")
    edited = spoiled(source)
    edited[:, 300:] = cv2.resize(picture("astronaut"), (600, 400))[:, 300:]
    greys = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (source, edited)]
    tiles = residual.measure(residual.levels(*greys)[-1], register.STILL, None, (600, 400), None, LIMITS)
    trust, sure = residual._trust(tiles, LIMITS), tiles.texture > 50
    left = tiles.centres[:, 0] < 270
    assert np.median(trust[left & sure]) > 0.8
    assert np.mean(trust[(tiles.centres[:, 0] > 330) & sure] > 0) < 0.05


def test_a_bend_has_to_take_away_some_of_what_differs() -> None:
    """One that pushes by a pixel, over tiles that differ as much with it as without."""
    grey = cv2.cvtColor(picture("coffee"), cv2.COLOR_RGB2GRAY)
    pair = residual.levels(grey, cv2.cvtColor(spoiled(picture("coffee")), cv2.COLOR_RGB2GRAY))
    tiles = residual.measure(pair[-1], register.STILL, None, (600, 400), None, LIMITS)
    step, push = np.zeros((2, 3)), np.ones((5, 8, 2))
    assert not residual._is_bent(tiles, tiles, step, push, (600, 400), LIMITS)
    worse = replace(tiles, error=tiles.error * 1.2)
    assert residual._is_bent(worse, tiles, step, push, (600, 400), LIMITS)
    assert not residual._is_bent(worse, tiles, step, push * 0.1, (600, 400), LIMITS)
    few = replace(LIMITS, least_bend_tiles=10**6)
    assert not residual._is_bent(worse, tiles, step, push, (600, 400), few)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3, 2), (31, 31), (32, 32), (33, 40), (64, 900), (12, 4000)])
@pytest.mark.parametrize("fill", ["noise", "plain", "gradient"])
def test_any_size_and_content_is_taken(size: tuple[int, int], fill: str) -> None:
    height, width = size
    draw_ = np.random.default_rng(1)
    source = {
        "noise": draw_.integers(0, 256, (height, width, 3), np.uint8),
        "plain": np.full((height, width, 3), 77, np.uint8),
        "gradient": np.broadcast_to((np.arange(width) % 256)[:, None], (height, width, 3)).astype(np.uint8),
    }[fill]
    for edited in (source.copy(), 255 - source, draw_.integers(0, 256, source.shape, np.uint8), np.zeros_like(source)):
        unchanged = draw_.random((height, width)) < 0.5
        found = register.register(source, edited, unchanged=unchanged)
        pixels, valid = found.warp(edited, width=width * 2, height=height, grid=(width, height))
        assert pixels.shape == (height, width * 2, 3)
        assert valid.shape == (height, width * 2)
        assert np.isfinite(found.matrix).all()
        assert found.to_dict()["grid"] == [width, height]


def test_what_does_not_fit_is_refused_by_name() -> None:
    grey = np.zeros((40, 40), np.uint8)
    rgb = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(ShapeError, match="source: uint8"):
        register.register(grey, rgb)
    with pytest.raises(ShapeError, match="edited: float32"):
        register.register(rgb, rgb.astype(np.float32))
    with pytest.raises(ShapeError, match="edited: 20x40 came; 40x40"):
        register.register(rgb, rgb[:, :20])
    with pytest.raises(ShapeError, match="unchanged: bool"):
        register.register(rgb, rgb, unchanged=np.zeros((2, 2), bool))
    found = register.register(rgb, rgb)
    with pytest.raises(ShapeError, match="grid: "):
        found.warp(rgb, width=40, height=40, grid=(20, 20))
    with pytest.raises(ShapeError, match="box: "):
        found.warp(rgb, width=40, height=40, grid=(40, 40), box=(0, 0, 41, 40))


def test_a_picture_at_night_lies_where_it_lay_by_day():
    source = np.ascontiguousarray(data.coffee())
    night = np.rint(source * np.array([0.35, 0.42, 0.62])).astype(np.uint8)
    assert register.register(source, night).is_identity
