"""A source looked at once for several edits: the same bytes, and the work done once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from recast.config import tiny
from recast.errors import ConfigError, InputError
from recast.pixels.image import Picture
from recast.retouch import difference, doubt, register, side
from recast.retouch.detectors import Unit
from recast.retouch.editor import Editor
from recast.retouch.frame import Frame
from recast.retouch.merge import Merge, merge
from recast.retouch.original import Original
from recast.retouch.source_half import SourceHalf
from recast.retouch.thresholds import THRESHOLDS
from recast.run import Step
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return cv2.resize(skimage.data.astronaut()[:240, 100:420], (240, 180))


def moved(source: np.ndarray, x: float = 3.0, drift: float = 0.0) -> np.ndarray:
    """The source shifted and tinted, with a disc in it."""
    there = cv2.warpAffine(source, np.float32([[1, 0, x], [0, 1, -2]]), source.shape[1::-1], borderMode=1)
    rgb = np.clip(there + np.float32([drift, 0, -drift]), 0, 255).astype(np.uint8)
    return cv2.circle(rgb, (75, 60), 22, (30, 200, 60), -1)


def background(source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An edit that is new but for a face in the middle, and where it was allowed to be."""
    free = np.ones(source.shape[:2], np.float32)
    cv2.ellipse(free, (94, 98), (38, 56), 0, 0, 360, 0, -1)
    rgb = cv2.resize(skimage.data.coffee()[100:340, 100:420], (240, 180))
    rgb[20:170, 50:140] = source[20:170, 50:140]
    return rgb, free


def told(made: Merge) -> tuple[object, ...]:
    """All that a merge says, but for its seconds."""
    proof = None if made.certificate is None else made.certificate.to_json()
    report = {name: value for name, value in made.report.items() if name != "timings_s"}
    return made.result.samples.tobytes(), made.support.tobytes(), proof, report, made.warnings


def test_merges_that_share_a_half_give_the_bytes_they_give_alone_on_several_threads_too(source):
    edits = [moved(source), moved(source, 0, 6), background(source)[0]]
    half = SourceHalf(Original(source))
    with ThreadPoolExecutor(2) as pool:
        shared = list(pool.map(lambda edit: merge(half, edit), edits))
    assert [told(made) for made in shared] == [told(merge(source, edit)) for edit in edits]
    assert shared[0].registration.kind == "similarity"
    assert shared[1].colour.is_corrected


def test_a_shared_half_is_looked_at_once(source, monkeypatch):
    looks: list[str] = []
    for module, name in ((side.points, "keypoints"), (difference, "_busy")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, r=real, **k: looks.append(n) or r(*a, **k))
    half = SourceHalf(Original(source))
    for x in (2, 3, 4):
        merge(half, moved(source, x))
    assert (looks.count("keypoints"), looks.count("_busy")) == (1 + 3, 1)


def test_a_half_of_other_thresholds_is_refused(source):
    other = replace(THRESHOLDS, registering=replace(THRESHOLDS.registering, ratio=0.7))
    with pytest.raises(ConfigError, match="other thresholds"):
        merge(SourceHalf(Original(source), other), moved(source))


def test_an_edit_known_to_lie_in_place_is_not_searched_and_gives_the_same_bytes(source, monkeypatch):
    source, rgb, free = (cv2.resize(each, (480, 360)) for each in (source, *background(source)))
    searched = merge(source, rgb, mask=free, is_strict=True)
    monkeypatch.setattr(side.points, "keypoints", lambda *a, **k: pytest.fail("searched"))
    placed = merge(source, rgb, mask=free, is_strict=True, held=free == 0)
    assert placed.registration.is_identity
    assert np.array_equal(placed.result.samples, searched.result.samples)
    assert placed.certificate == searched.certificate
    assert np.array_equal(placed.result.samples[~placed.support], source[~placed.support])


def test_an_edit_of_which_a_part_was_held_is_taken_as_it_is_where_the_rest_is_new(source, monkeypatch):
    """As a blurred decoder leaves it: what was held shows the same, though hardly a tile to a quarter of a pixel."""
    free = cv2.resize(background(source)[1], (480, 360)) > 0
    source, rgb = cv2.resize(source, (480, 360)), cv2.resize(skimage.data.coffee()[100:340, 100:420], (480, 360))
    rgb[~free] = cv2.GaussianBlur(np.roll(source, 1, axis=0), (0, 0), 2)[~free]
    for module, name in ((register, "_by_keypoints"), (doubt, "founded")):
        monkeypatch.setattr(module, name, lambda *a, n=name, **k: pytest.fail(n))
    made = merge(source, rgb, mask=free.astype(np.float32), is_strict=True, held=~free)
    assert (made.verdict, made.registration.is_identity) == ("local", True)
    inner = cv2.erode(free.astype(np.uint8), np.ones((61, 61))) > 0  # beyond the seam
    assert np.array_equal(made.result.samples[inner], rgb[inner])
    assert np.array_equal(made.result.samples[~free], source[~free])


def test_a_held_part_of_another_size_is_refused(source):
    with pytest.raises(InputError, match=r"held: bool \(3, 4\) came; bool \(180, 240\) accepted"):
        merge(source, moved(source), held=np.ones((3, 4), bool))
    with pytest.raises(InputError, match=r"held: float64 \(180, 240\) came; bool .* accepted"):
        merge(source, moved(source), held=np.ones((180, 240)))


def test_what_a_detector_finds_in_the_held_part_is_not_called_changed(source):
    free = cv2.resize(background(source)[1], (480, 360)) > 0
    source, rgb = cv2.resize(source, (480, 360)), cv2.resize(skimage.data.coffee()[100:340, 100:420], (480, 360))
    rgb[~free] = source[~free]
    rows, columns = np.nonzero(~free)
    box = columns.min() + 30, rows.min() + 40, columns.max() - 30, rows.max() - 40
    face = SimpleNamespace(name="faces", kind="face", find=lambda rgb: [Unit("face", tuple(map(int, box)))])
    made = merge(source, rgb, mask=free.astype(np.float32), is_strict=True, held=~free, detectors=[face])
    assert made.verdict == "local"
    assert not [each for each in made.warnings if "face" in each]


def test_what_moved_farther_than_a_tile_sees_is_laid_back_though_a_part_was_held():
    source = cv2.resize(skimage.data.rocket(), (640, 480))
    free = np.ones((480, 640), bool)
    free[:96, :128] = False
    rgb = np.roll(source, 25, axis=1)
    rgb[~free] = source[~free]
    made = merge(source, rgb, mask=free.astype(np.float32), is_strict=True, held=~free)
    assert made.registration.shift == pytest.approx((25, 0), abs=0.2)


def test_a_held_part_counts_on_a_smaller_grid_and_not_where_the_ratio_differs(source):
    free = cv2.resize(background(source)[1], (480, 360)) > 0
    source, rgb = cv2.resize(source, (480, 360)), cv2.resize(skimage.data.coffee()[100:340, 100:420], (480, 360))
    rgb[~free] = source[~free]
    for size, is_heard in (((240, 180), True), ((240, 150), False)):
        found = Frame.of(Original(source), Original(cv2.resize(rgb, size)))
        _, lying = found.placed(THRESHOLDS.registering, held=~free)
        assert lying.is_new is is_heard


def test_one_held_corner_does_not_vouch_for_an_edit_that_moved_by_a_pixel(source):
    """All but 16 px was free and drifted: it is laid back on its source, not taken for new."""
    free = np.ones(source.shape[:2], np.float32)
    free[:16, :16] = 0
    rgb = cv2.circle(np.roll(source, 1, axis=1), (75, 60), 22, (30, 200, 60), -1)
    rgb[:16, :16] = source[:16, :16]
    made = merge(source, rgb, mask=free, is_strict=True, held=free == 0)
    assert made.registration.shift == pytest.approx((1, 0), abs=0.1)
    assert made.support.mean() < 0.1


def test_where_no_colour_is_corrected_the_first_difference_stands(source, monkeypatch):
    rgb = cv2.circle(source.copy(), (75, 60), 22, (30, 200, 60), -1)
    seen: list[int] = []
    real = difference.difference
    monkeypatch.setattr(difference, "difference", lambda *a, **k: seen.append(1) or real(*a, **k))
    made = merge(source, rgb)
    assert (len(seen), made.colour.is_corrected, made.verdict) == (1, False, "local")
    merge(source, moved(source, 0, 6))
    assert len(seen) == 4  # before, after the first correction, and after the second


def test_two_edits_of_a_source_that_is_looked_at_decode_its_own_tokens_once(source, monkeypatch):
    pipeline = tiny_pipeline(defaults=replace(tiny().defaults, max_tokens=400))
    editor = Editor(pipeline)
    small = cv2.resize(source, (96, 64))
    alone = [editor.edit(small, "x", seed=seed, steps=1).pictures[0].rgb for seed in (1, 2)]
    decoded: list[int] = []
    real = pipeline.autoencoder.decode
    monkeypatch.setattr(pipeline.autoencoder, "decode", lambda *a, **k: decoded.append(1) or real(*a, **k))
    half = editor.look_at(small)
    shared = [editor.edit(half, "x", seed=seed, steps=1).pictures[0].rgb for seed in (1, 2)]
    assert len(decoded) == 1 + 2
    assert all(np.array_equal(one, other) for one, other in zip(alone, shared, strict=True))


def test_the_same_tokens_on_another_grid_are_decoded_anew(source):
    half = SourceHalf(Original(source))
    tokens, generator = torch.zeros(1, 4, 2), object()
    decoded: list[int] = []
    step = Step(1, 1, 0.0, (0,), tokens, tokens, decode=lambda _: decoded.append(1) or [Picture(source)])
    for grid in ((2, 2), (2, 2), (1, 4)):
        half.decoded(step, tokens, (generator, None, grid))
    assert len(decoded) == 2


def test_the_editor_says_that_an_edit_lies_in_place_where_its_sampler_held_a_part(source, monkeypatch):
    editor = Editor(tiny_pipeline(defaults=replace(tiny().defaults, max_tokens=400)))
    small = cv2.resize(source, (96, 64))
    free = np.zeros((64, 96), np.uint8)
    free[:, :8] = 255
    known: list[np.ndarray | None] = []
    monkeypatch.setattr("recast.retouch.editor.merge", lambda *a, **k: known.append(k["held"]) or merge(*a, **k))
    editor.edit(small, "x", seed=1, steps=1, mask=np.dstack([free] * 3))
    editor.edit(small, "x", seed=1, steps=1, mask=np.full((64, 96, 3), 255, np.uint8))
    editor.edit(small, "x", seed=1, steps=1)
    assert known[1:] == [None, None]
    columns = np.flatnonzero(known[0].all(axis=0))
    assert known[0].shape == (64, 96)
    assert list(columns) == list(range(32, 96))  # the token that the mask touches, and one more, may change


def test_one_thing_that_moved_on_new_ground_speaks_for_no_motion_of_the_whole():
    source, rgb = (cv2.resize(each, (480, 360)) for each in (skimage.data.astronaut(), skimage.data.coffee()))
    held = np.zeros((360, 480), bool)
    held[:72, :96] = True
    rgb[held] = source[held]
    rgb[250:310, 200:270] = source[230:290, 180:250]
    _, lying = Frame.of(Original(source), Original(rgb)).placed(THRESHOLDS.registering, held=held)
    assert lying.is_new
