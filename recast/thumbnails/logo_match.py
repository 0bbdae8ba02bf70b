"""Where a logo is in a picture of any origin: normalised cross-correlation at several sizes, then stretched.

The likeliest places come from its colours and from its outlines; there, the logo laid on the colour that is around it
is held against the picture, on whole pixels. From the best of these, place, size and stretch are moved by fractions of
a pixel until nothing fits better: what is measured hangs on the picture, not on the grid that it was searched on.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.palette import working

WIDTH = 480
"""Pictures are searched at about this width for a frame of 16:9: a logo of 8 % has 38 pixels."""
STEP = 1.1
BEYOND = 0.6, 1.5
"""How much narrower and wider than the kit's least and most width a logo is looked for."""
SIZES = (STEP**-0.67, STEP**-0.33, 1.0, STEP**0.33, STEP**0.67)
STRETCHES = (0.8, 0.9, 1.1, 1.25)
UNLIKELY = 0.08
"""Of a correlation, what each factor of e in the stretch has to gain: pixels at the edge gain a little by chance."""
STRETCHED = 2
"""Of the best places, how many are tried with the logo stretched."""
CANDIDATES = 12
SIZES_EACH = 2
"""Of the candidates, how many have about the same middle: one strange place at all sizes does not keep others out."""
COVERS = 200
"""Alpha from which a logo hides what is behind it."""
FAR_LEVELS = 100.0
"""A difference of colour, in levels, that weighs as much as outlines that have nothing in common."""
APART_PX = 6
SLACK_PX = 4
PAD_PX = 3
LEAST_PX = 12
SOFT_PX = 0.5
"""Standard deviation of the blur under which logo and picture are compared between whole pixels."""
FIRST_STEPS = 0.5, 0.5, 0.03, 0.06
"""By how much a place (pixels, across and down), the logarithm of the size and that of the stretch first move."""
HALVINGS = 4
GROUND_PX = 3.0
"""Standard deviation of how far what is around a logo tells what it lies on."""
FAINT = 0.01
"""The part that the mean of all around has in it, so that there is something far inside a large logo."""
FOUND = 0.7
"""The least correlation of a logo that is there; benchmarks/brand_score.py prints it of pictures with and without."""


@dataclass(frozen=True)
class FoundLogo:
    """Where; correlation: -1..1, by colour too; stretch: its width over height, as a multiple of the file's own."""

    box: Box
    correlation: float
    stretch: float


def find(rgb: np.ndarray, logo: Picture, *, widths: tuple[float, float]) -> FoundLogo | None:
    """The place in a picture (H, W, 3) uint8 that is most like a logo with alpha; None if none could hold it.

    widths: least and most width expected, shares of the frame. The caller compares `correlation` with FOUND.
    """
    small = working(rgb, WIDTH * WIDTH * 9 // 16)
    rgba = logo.rgb, np.full(logo.rgb.shape[:2], 255, np.uint8) if logo.alpha is None else logo.alpha
    ratio = logo.width / logo.height
    soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), SOFT_PX)
    best: list[tuple[float, FoundLogo, tuple[float, float], float]] = []
    for across, left, top in _places(small, rgba, ratio, widths):
        middle = left + across / 2, top + across / ratio / 2
        found = _sizes(small, rgba, (across, across / ratio), middle, 1.0)
        best += [(_worth(soft, rgba, found), found, middle, across)] if found else []
    best = sorted(best, key=lambda each: -each[0])[:STRETCHED]
    stretched = [
        _sizes(small, rgba, (across * by**0.5, across / ratio / by**0.5), middle, by)
        for _, _, middle, across in best
        for by in STRETCHES
    ]
    tried = [each[:2] for each in best] + [(_worth(soft, rgba, each), each) for each in stretched if each]
    if not tried:
        return None
    return _refined(soft, rgba, max(tried, key=lambda each: each[0])[1])


def _places(
    small: np.ndarray, rgba: tuple[np.ndarray, np.ndarray], ratio: float, widths: tuple[float, float]
) -> list[tuple[float, float, float]]:
    """Width, left and top, in pixels, of where a logo may be: alike in outline, and near in colour where it covers."""
    height, width = small.shape[:2]
    outline, colours = _padded(_outline(small)), _padded(small.astype(np.float32))
    found = []
    across = max(widths[0] * BEYOND[0] * width, LEAST_PX, LEAST_PX * ratio)
    while across <= min(widths[1] * BEYOND[1], 0.9) * width and across / ratio < 0.9 * height:
        wanted, alpha = (_padded(each) for each in _sized(*rgba, across, across / ratio))
        alike = cv2.matchTemplate(outline, _outline(wanted, alpha), cv2.TM_CCOEFF_NORMED)
        mask = np.dstack([(alpha > COVERS).astype(np.float32)] * 3)
        if mask.any():
            off = cv2.matchTemplate(colours, wanted, cv2.TM_SQDIFF, mask=mask) / mask.sum()
            alike = alike - np.sqrt(np.maximum(off, 0)) / FAR_LEVELS
        found += [(-score, across, x, y) for score, x, y in _tops(alike)]
        across *= STEP
    kept: list[tuple[float, float, float]] = []
    for _, across, x, y in sorted(found):
        middle = np.array([x + across / 2, y + across / ratio / 2])
        near = [
            each
            for each in kept
            if np.abs(middle - each[1:] - np.array([each[0], each[0] / ratio]) / 2).max() < APART_PX
        ]
        if len(near) < SIZES_EACH:
            kept.append((across, x, y))
    return kept[:CANDIDATES]


def _tops(scores: np.ndarray) -> list[tuple[float, int, int]]:
    """The two best places of a map that are apart: score, x and y."""
    found = []
    scores = np.where(np.isfinite(scores), scores, -np.inf).astype(np.float32)
    for _ in range(2):
        _, score, _, (x, y) = cv2.minMaxLoc(scores)
        found.append((float(score), x, y))
        scores[max(y - APART_PX, 0) : y + APART_PX + 1, max(x - APART_PX, 0) : x + APART_PX + 1] = -np.inf
    return found


def _sizes(
    small: np.ndarray, rgba: tuple[np.ndarray, np.ndarray], size: tuple[float, float], middle: tuple[float, float],
    stretch: float,
) -> FoundLogo | None:  # fmt: skip
    """The best match about a place among sizes within a STEP."""
    found = [_match(small, rgba, (size[0] * by, size[1] * by), middle, stretch) for by in SIZES]
    return max([each for each in found if each], key=lambda each: each.correlation, default=None)


def _match(
    small: np.ndarray, rgba: tuple[np.ndarray, np.ndarray], size: tuple[float, float], middle: tuple[float, float],
    stretch: float,
) -> FoundLogo | None:  # fmt: skip
    """The best place within SLACK_PX, for one size; the logo lies on the median colour of what is around it."""
    colours, alpha = _sized(*rgba, *size)
    tall, wide = alpha.shape
    left, top = round(middle[0] - wide / 2), round(middle[1] - tall / 2)
    x0, y0 = max(left - SLACK_PX, 0), max(top - SLACK_PX, 0)
    window = small[y0 : top + tall + SLACK_PX, x0 : left + wide + SLACK_PX]
    if window.shape[0] < tall or window.shape[1] < wide:
        return None
    edge = np.ones(window.shape[:2], bool)
    edge[SLACK_PX:-SLACK_PX, SLACK_PX:-SLACK_PX] = False
    ground = np.median(window[edge], axis=0)
    share = alpha[..., None].astype(np.float32) / 255
    laid = colours * share + ground.astype(np.float32) * (1 - share)
    mask = cv2.dilate((alpha > 32).astype(np.float32), np.ones((5, 5), np.uint8))
    found = cv2.matchTemplate(
        window.astype(np.float32), laid.astype(np.float32), cv2.TM_CCOEFF_NORMED, mask=np.dstack([mask] * 3)
    )
    found[~np.isfinite(found)] = -1
    _, score, _, (x, y) = cv2.minMaxLoc(found)
    height, width = small.shape[:2]
    box = Box.of_pixels(x0 + x, y0 + y, x0 + x + wide, y0 + y + tall, width=width, height=height)
    return FoundLogo(box, float(np.clip(score, -1, 1)), stretch)


def _worth(soft: np.ndarray, rgba: tuple[np.ndarray, np.ndarray], found: FoundLogo) -> float:
    """The worth, as of `_fit`, of a match on whole pixels."""
    at, mark, ratio = _start(soft, rgba, found)
    return _fit(soft, mark, ratio, at)[0]


def _start(
    soft: np.ndarray, rgba: tuple[np.ndarray, np.ndarray], found: FoundLogo
) -> tuple[np.ndarray, np.ndarray, float]:
    """A match as `_fit` takes it: where it is, the logo near its size, and the logo's width over height."""
    height, width = soft.shape[:2]
    ratio = rgba[0].shape[1] / rgba[0].shape[0]
    box = found.box
    across = (box.width * width * box.height * height * ratio) ** 0.5  # of the logo unstretched, of the same area
    at = np.array([box.center[0] * width, box.center[1] * height, np.log(across), np.log(found.stretch)])
    return at, _double(rgba, across, across / ratio), ratio


def _refined(soft: np.ndarray, rgba: tuple[np.ndarray, np.ndarray], found: FoundLogo) -> FoundLogo:
    """The match moved to where its worth is largest: pattern search in place, size and stretch, steps halved."""
    height, width = soft.shape[:2]
    at, mark, ratio = _start(soft, rgba, found)
    worth = _fit(soft, mark, ratio, at)[0]
    steps = np.array(FIRST_STEPS)
    for _ in range(HALVINGS):
        for _ in range(8):
            tried = [at + sign * step for step in np.diag(steps) for sign in (1, -1)]
            worths = [_fit(soft, mark, ratio, each)[0] for each in tried]
            if max(worths) <= worth:
                break
            at, worth = tried[int(np.argmax(worths))], max(worths)
        steps = steps / 2
    wide, tall = _sides(ratio, at)
    x, y = at[:2] - 0.5 * np.array([wide, tall])
    placed = Box.of_pixels(float(x), float(y), float(x + wide), float(y + tall), width=width, height=height)
    return FoundLogo(placed, _fit(soft, mark, ratio, at)[1], float(np.exp(at[3])))


def _sides(ratio: float, at: np.ndarray) -> tuple[float, float]:
    """Width and height in pixels of a logo at (x, y, logarithms of size and stretch)."""
    across = float(np.exp(at[2]))
    return across * float(np.exp(at[3] / 2)), across / ratio * float(np.exp(-at[3] / 2))


def _double(rgba: tuple[np.ndarray, np.ndarray], width: float, height: float) -> np.ndarray:
    """The logo (h, w, 4) float32, colours times alpha and alpha 0..1, at twice a size, blurred as the picture is."""
    colours, alpha = _sized(*rgba, 2 * width, 2 * height)
    share = alpha.astype(np.float32) / 255
    edge = round(6 * SOFT_PX)
    made = cv2.copyMakeBorder(np.dstack([colours * share[..., None], share]), *(edge,) * 4, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.GaussianBlur(made, (0, 0), 2 * SOFT_PX))


def _fit(soft: np.ndarray, mark: np.ndarray, ratio: float, at: np.ndarray) -> tuple[float, float]:
    """Worth and correlation of a logo as of `_double` laid over a blurred picture at (x, y, log size, log stretch).

    The concordance correlation: unlike the usual one it falls where colours are others or fainter than the logo's.
    Pixels count by how near they are to the logo, without an edge. What it lies on is the mean of what is around it,
    nearer things more.
    The worth is less for a stretched one: among equals a logo is as its file has it.
    Source: Lin 1989, A Concordance Correlation Coefficient to Evaluate Reproducibility.
    """
    wide, tall = _sides(ratio, at)
    edge = round(6 * SOFT_PX)
    scale = wide / (mark.shape[1] - 2 * edge), tall / (mark.shape[0] - 2 * edge)
    x0, y0 = int(at[0] - wide / 2) - APART_PX, int(at[1] - tall / 2) - APART_PX
    x1, y1 = int(at[0] + wide / 2) + APART_PX + 1, int(at[1] + tall / 2) + APART_PX + 1
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, soft.shape[1]), min(y1, soft.shape[0])
    if x1 - x0 < 2 or y1 - y0 < 2:
        return -1.0, -1.0
    left, top = at[0] - wide / 2 - x0, at[1] - tall / 2 - y0
    matrix = np.array([
        [scale[0], 0, left - scale[0] * (edge - 0.5) - 0.5], [0, scale[1], top - scale[1] * (edge - 0.5) - 0.5],
    ])  # fmt: skip
    laid = cv2.warpAffine(mark, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    share = laid[..., 3:]
    near = np.clip(4 * cv2.GaussianBlur(laid[..., 3], (0, 0), 2.0), 0, 1)[..., None]
    window = soft[y0:y1, x0:x1]
    ring = near * (1 - share)
    mean = (window * ring).sum((0, 1)) / max(float(ring.sum()), 1e-6)
    weight = cv2.GaussianBlur(ring[..., 0], (0, 0), GROUND_PX)[..., None] + FAINT
    ground = (cv2.GaussianBlur(window * ring, (0, 0), GROUND_PX) + FAINT * mean) / weight
    wanted = laid[..., :3] + ground * (1 - share)
    total = float(near.sum())
    a, b = (each - (each * near).sum((0, 1)) / total for each in (window, wanted))
    off = ((window - wanted) * near).sum((0, 1))
    both = float((near * a * a).sum() + (near * b * b).sum() + off @ off / total)
    alike = 2 * float((near * a * b).sum()) / both if both > 0 else -1.0
    return alike - UNLIKELY * abs(float(at[3])), float(np.clip(alike, -1, 1))


def _sized(rgb: np.ndarray, alpha: np.ndarray, width: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Colours and alpha averaged to a size in pixels; colours weighted by alpha, so that none comes from nothing."""
    size = max(round(width), 2), max(round(height), 2)
    covered = cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    painted = cv2.resize(rgb * (alpha[..., None] / np.float32(255)), size, interpolation=cv2.INTER_AREA)
    colours = painted / np.maximum(covered[..., None] / 255, 1e-3)
    return np.clip(colours, 0, 255).astype(np.float32), np.rint(covered).astype(np.uint8)


def _padded(pixels: np.ndarray) -> np.ndarray:
    """With an edge of nothing, so that the outline of what fills its file is there to compare."""
    return np.asarray(cv2.copyMakeBorder(pixels, *(PAD_PX,) * 4, cv2.BORDER_CONSTANT, value=0))


def _outline(rgb: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """The largest gradient over the channels (h, w) float32; of a logo also that of its alpha."""
    planes = [rgb[..., i].astype(np.float32) for i in range(3)]
    if alpha is not None:
        share = alpha.astype(np.float32) / np.float32(255)
        planes = [plane * share + np.float32(128) * (1 - share) for plane in planes]
        planes.append(alpha.astype(np.float32) / np.float32(2))
    strength = [np.hypot(cv2.Sobel(p, cv2.CV_32F, 1, 0), cv2.Sobel(p, cv2.CV_32F, 0, 1)) for p in planes]
    made: np.ndarray = np.sqrt(np.maximum.reduce(strength))
    return made
