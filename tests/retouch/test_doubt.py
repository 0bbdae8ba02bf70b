"""What looks changed and is not is left out, by one rule each; what is small, soft or thin and was meant stays."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import skimage.data
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from recast.retouch import difference
from recast.retouch.doubt import founded

PICTURES = ("coffee", "astronaut", "chelsea", "flat")
HEIGHT, WIDTH = 240, 320
Y, X = np.mgrid[:HEIGHT, :WIDTH]
DISC = (Y - 120) ** 2 + (X - 160) ** 2 < 45**2


def picture(name: str) -> np.ndarray:
    if name == "flat":
        return np.full((HEIGHT, WIDTH, 3), (180, 150, 120), np.uint8)
    return np.ascontiguousarray(getattr(skimage.data, name)()[:HEIGHT, :WIDTH])


def levels(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def edge(px: float) -> np.ndarray:
    """The disc (h, w, 1) with a soft edge so many pixels wide."""
    mask = DISC.astype(np.float32)
    return (mask if px == 0 else cv2.GaussianBlur(mask, (0, 0), px / 2.5))[..., None]


def in_the_middle() -> np.ndarray:
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[80:160, 100:220] = 7
    return labels


def found(source: np.ndarray, edited: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regions before and after doubt."""
    labels = difference.groups(difference.difference(source, edited))
    return labels, founded(labels, source, edited)


# --- each rule by itself: the others let these pass ---------------------------------------------------------------


def test_what_hardly_differs_anywhere_is_no_change() -> None:
    """It has a border, and no blur explains it; it is only too faint."""
    source = picture("flat")
    labels = in_the_middle()
    apart = np.where(labels > 0, 5, 0)[..., None]
    assert not founded(labels, source, levels(source + apart)).any()
    assert np.array_equal(founded(labels, source, levels(source + apart / 5 * 7)), labels)


def test_what_goes_on_beyond_its_border_is_no_change() -> None:
    """Ten levels would be enough, and no blur explains them; but they wander over the whole frame."""
    source = picture("flat")
    labels = in_the_middle()
    drift = 10 * np.exp(-((Y - 120) ** 2 + (X - 160) ** 2) / (2 * 90**2))[..., None]
    assert not founded(labels, source, levels(source + drift)).any()
    with_border = np.where(labels[..., None] > 0, drift, 0)
    assert np.array_equal(founded(labels, source, levels(source + with_border)), labels)


def test_a_drift_that_is_large_is_a_change() -> None:
    source = picture("flat")
    labels = in_the_middle()
    light = 40 * np.exp(-((Y - 120) ** 2 + (X - 160) ** 2) / (2 * 90**2))[..., None]
    assert np.array_equal(founded(labels, source, levels(source + light)), labels)


def test_lines_that_were_made_softer_are_no_change() -> None:
    """Twenty levels and more, and nothing of the frame lies outside the region to be a drift as well."""
    source = picture("flat")
    source[::6] = 20
    labels = np.full((HEIGHT, WIDTH), 3, np.int32)
    soft = cv2.GaussianBlur(source, (0, 0), 0.8)
    assert np.abs(soft.astype(int) - source).max() > 20
    assert not founded(labels, source, soft).any()
    gone = cv2.GaussianBlur(source, (0, 0), 6)
    assert np.array_equal(founded(labels, source, gone), labels)


def test_one_region_is_doubted_and_the_other_keeps_its_number() -> None:
    source = picture("flat")
    labels = in_the_middle()
    labels[:40, :40] = 2
    edited = source.copy()
    edited[labels == 7] -= 4
    edited[labels == 2] -= 40
    assert set(np.unique(founded(labels, source, edited))) == {0, 2}
    assert set(np.unique(labels)) == {0, 2, 7}  # what came is not written to


# --- what was meant -----------------------------------------------------------------------------------------------


def hue(source: np.ndarray, px: float) -> np.ndarray:
    """The disc moved in hue so that its median CIEDE2000 is 6."""
    lab = rgb2lab(source)
    low, high = 0.0, 60.0
    for _ in range(12):
        middle = (low + high) / 2
        moved = lab + middle * np.array([0, 1, -0.5])
        is_less = np.median(deltaE_ciede2000(lab[DISC], moved[DISC])) < 6
        low, high = (middle, high) if is_less else (low, middle)
    return levels(lab2rgb(lab + edge(px) * (moved - lab)) * 255)


def small_and_soft(source: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Edits that somebody asks for, each easily taken for what an editor does to the whole picture."""
    for colour in (255, 0):
        text = source.copy()
        cv2.putText(text, "THIN TEXT", (40, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.83, (colour,) * 3, 2, cv2.LINE_AA)
        yield f"text of 18 px in strokes of 2 px, level {colour}", text
    for px in (4, 8, 16, 24):
        yield f"shadow of 15 levels, edge {px} px", levels(source - 15 * edge(px))
    for px in (0, 8):
        yield f"hue by dE00 6, edge {px} px", hue(source, px)
    blurred = cv2.GaussianBlur(source, (0, 0), 5)
    yield "everything but the disc out of focus", np.where(DISC[..., None], source, blurred)


@pytest.mark.parametrize("name", PICTURES)
def test_a_small_or_soft_change_survives(name: str) -> None:
    source = picture(name)
    for what, edited in small_and_soft(source):
        if "focus" in what and name in ("chelsea", "flat"):
            continue  # so smooth that a blur changes nothing to be seen
        before, after = found(source, edited)
        assert before.any(), what
        kept = np.count_nonzero(after) / np.count_nonzero(before)
        assert kept >= (0.9 if "focus" in what else 1), (what, kept)


@pytest.mark.parametrize("name", PICTURES)
def test_a_small_thing_that_was_removed_stays_removed(name: str) -> None:
    """Its place is smooth then, as if it had only been made softer."""
    clean = picture(name)
    ground = cv2.GaussianBlur(clean, (0, 0), 4)
    for radius, level in ((3, 40), (5, 25), (9, 25)):
        spot = np.zeros((HEIGHT, WIDTH), np.float32)
        cv2.circle(spot, (100, 90), radius, 1.0, -1, cv2.LINE_AA)
        spot = cv2.GaussianBlur(spot, (0, 0), 0.7)[..., None]
        near = cv2.GaussianBlur(((Y - 90) ** 2 + (X - 100) ** 2 < 20**2).astype(np.float32), (0, 0), 2)[..., None]
        removed = levels(clean + (ground - clean.astype(np.float32)) * near)
        before, after = found(levels(removed - level * spot), removed)
        assert before[85:96, 95:106].any(), (radius, level)
        assert np.array_equal(after, before), (radius, level)


def test_a_thin_wire_that_was_removed_stays_removed() -> None:
    clean = picture("flat")
    wired = clean.copy()
    cv2.line(wired, (10, 30), (300, 200), (20, 20, 20), 1, cv2.LINE_AA)
    before, after = found(wired, clean)
    assert before.any()
    assert np.array_equal(after, before)
