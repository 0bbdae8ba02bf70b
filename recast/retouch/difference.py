"""What changed: a difference that knows its own noise, hysteresis, and pixels that belong together as regions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from recast.errors import ShapeError
from recast.pixels.lab import ciede2000, lab
from recast.retouch.thresholds import GRID_PIXELS, THRESHOLDS, Differing, Judging


@dataclass(frozen=True, eq=False)
class Difference:
    """How far an edit is from its source at each pixel, and how far is far, given the noise of the whole."""

    delta: np.ndarray
    """(h, w) float32: CIEDE2000 of the slightly blurred pictures; 0 where not valid."""
    structure: np.ndarray
    """(h, w) float32: 1 - SSIM of the luminance; 0 where not valid."""
    weak: np.ndarray
    """(h, w) bool: more than noise."""
    strong: np.ndarray
    """(h, w) bool: certainly a change."""
    valid: np.ndarray
    """(h, w) bool: where the edit shows anything."""
    bins: np.ndarray
    """(h, w) uint8: how busy the source is round each pixel, 0 is flat."""
    noise: tuple[tuple[float, float], ...]
    """Median and MAD of `delta` in each bin of texture, from flat to busy."""
    weak_at: tuple[float, ...]
    """`delta` from which a pixel of each bin is weak."""
    strong_at: tuple[float, ...]
    """`delta` from which a pixel of each bin is strong."""

    def is_far(self, thresholds: Judging = THRESHOLDS.judging) -> bool:
        """Whether most of what the edit shows is far from the source, whatever its noise."""
        shown = self.delta[self.valid]
        return bool(len(shown)) and float(np.quantile(shown, 1 - thresholds.most)) > thresholds.apart


@dataclass(frozen=True, eq=False)
class Looked:
    """What of a source a difference needs, however often its edit is laid on it anew."""

    lab: np.ndarray
    """(h, w, 3) float32: CIELAB of the slightly blurred source."""
    luma: np.ndarray
    """(h, w) float32 levels, not blurred."""
    bins: np.ndarray
    """(h, w) uint8: as in Difference."""

    @classmethod
    def at(cls, source: np.ndarray, thresholds: Differing = THRESHOLDS.differing) -> Looked:
        """Of levels (h, w, 3), uint8 or float32."""
        blurred = _blurred(source, thresholds.blur)
        bins = np.digitize(_busy(blurred, thresholds), thresholds.bins).astype(np.uint8)
        return cls(lab(blurred), _luminance(source), bins)


def difference(
    source: np.ndarray,
    edited: np.ndarray,
    valid: np.ndarray | None = None,
    thresholds: Differing = THRESHOLDS.differing,
    looked: Looked | None = None,
) -> Difference:
    """What is weakly and strongly different between two pictures that lie on each other.

    source, edited: levels (h, w, 3), uint8 or float32. valid: (h, w) bool, everywhere if None. looked: of this source,
    with these thresholds, if it is at hand. Raises ShapeError unless they have one size.
    Noise grows with texture (resampling, compression and autoencoders all lose fine detail first), so it is measured
    apart in bins of how busy the source is. Source: product notes, section 3.4, step 5.
    """
    if source.shape != edited.shape or source.ndim != 3 or source.shape[2] != 3:
        raise ShapeError(
            f"source, edited: shapes {source.shape} and {edited.shape}; one size (h, w, 3) is needed: "
            "warp the edit onto the source first"
        )
    if valid is None:
        valid = np.ones(source.shape[:2], dtype=bool)
    elif valid.shape != source.shape[:2]:
        raise ShapeError(f"valid: shape {valid.shape}; that of the pictures, {source.shape[:2]}, is needed")
    if not valid.all():  # what the edit does not show must not leak over its border
        edited = np.where(valid[..., None], edited, source.astype(edited.dtype))
    looked = Looked.at(source, thresholds) if looked is None else looked
    bins, lab_edited = looked.bins, lab(_blurred(edited, thresholds.blur))
    delta = ciede2000(looked.lab, lab_edited)
    structure = _structure(looked.luma, _luminance(edited), thresholds.window)

    least = thresholds.weak, thresholds.strong
    noise, weak_at, strong_at = _levels(delta, bins, valid, least, thresholds.flatter_ratio, thresholds)
    least = thresholds.structure, thresholds.dull_structure
    _, odd_at, surely_odd_at = _levels(structure, bins, valid, least, np.inf, thresholds)
    weak_at = np.minimum(weak_at, np.float32(thresholds.most_weak))
    strong_at = np.minimum(strong_at, np.float32(thresholds.most_strong))
    weak_map = weak_at[bins]
    # Structure finds geometry of low contrast; its window reaches over borders, so colour must at least hint at it.
    weak = delta > weak_map
    weak |= (structure > odd_at[bins]) & (delta > np.float32(thresholds.structure_delta) * weak_map)
    strong = delta > strong_at[bins]
    weak &= ~_spill(source, edited, delta, thresholds)
    strong &= weak
    dull = _dull(looked.lab[..., 0], lab_edited[..., 0], thresholds) & (structure > surely_odd_at[bins])
    weak |= dull
    strong |= dull
    return Difference(
        delta * valid,
        structure * valid,
        weak & valid,
        strong & valid,
        valid,
        bins,
        noise,
        tuple(float(level) for level in weak_at),
        tuple(float(level) for level in strong_at),
    )


def unchanged(difference: Difference, thresholds: Differing = THRESHOLDS.differing) -> np.ndarray:
    """Pixels (h, w) bool that are like their source and far from any change."""
    return away_from((groups(difference, thresholds) > 0) | difference.strong, difference, thresholds)


def away_from(changed: np.ndarray, difference: Difference, thresholds: Differing = THRESHOLDS.differing) -> np.ndarray:
    """Pixels (h, w) bool that the edit shows, far from those that changed (h, w)."""
    reach = max(round(thresholds.erosion * length_scale(difference.valid.shape)), 1)
    same = ~changed & difference.valid
    made: np.ndarray = cv2.erode(same.astype(np.uint8), _disc(reach), borderValue=1) > 0
    return made


def groups(difference: Difference, thresholds: Differing = THRESHOLDS.differing) -> np.ndarray:
    """Regions (h, w) int32: 0 none, 1 to n in the order of their first pixel, row by row."""
    shape = difference.weak.shape
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thresholds.closing, thresholds.closing))
    closed = cv2.morphologyEx(difference.weak.astype(np.uint8), cv2.MORPH_CLOSE, kernel)  # to the frame's last row
    closed *= difference.valid
    # Hysteresis: a fragment without any strong pixel is noise, however near it lies to a change.
    count, fragments = cv2.connectedComponents(closed, connectivity=8)
    has_strong = np.zeros(count, dtype=bool)
    has_strong[fragments[difference.strong]] = True
    has_strong[0] = False
    kept = has_strong[fragments]
    # Weak noise runs along edges in thin lines: away from any strong pixel only what has some width is kept.
    if kept.any():
        diagonal = float(np.hypot(shape[0], shape[1]))
        to_strong = cv2.distanceTransform((~difference.strong).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        wide = cv2.morphologyEx(kept.astype(np.uint8), cv2.MORPH_OPEN, _disc(thresholds.opening // 2), borderValue=0)
        kept &= (to_strong <= thresholds.leash * diagonal) | (wide > 0)
    # Fragments near each other are one: letters of a word, the two borders of a ring.
    reach = _disc(_reach(shape, thresholds))
    count, near = cv2.connectedComponents(cv2.dilate(kept.astype(np.uint8), reach), connectivity=8)
    near[~kept] = 0
    strength = np.bincount(near[difference.strong & kept], minlength=count)
    return in_order(np.where((strength >= _least(shape, thresholds))[near], near, 0))


def fill_holes(labels: np.ndarray, difference: Difference, thresholds: Differing = THRESHOLDS.differing) -> np.ndarray:
    """The regions (h, w) int32 without holes that are small, or that differ too; a ring keeps its untouched inside.

    A hole is enclosed by one region alone and reaches no edge of the frame. It is filled if it is smaller than
    `hole` of the frame, or if its mean `delta` exceeds both `hole_delta` of the weak level and two MAD of noise.
    """
    count, holes, stats, _ = cv2.connectedComponentsWithStats((labels == 0).astype(np.uint8), connectivity=4)
    lowest = np.full(count, np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.zeros(count, dtype=np.int32)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        for hole, beside in ((here, there), (there, here)):
            meets = (labels[hole] == 0) & (labels[beside] > 0)
            np.minimum.at(lowest, holes[hole][meets], labels[beside][meets])
            np.maximum.at(highest, holes[hole][meets], labels[beside][meets])
    is_open = np.zeros(count, dtype=bool)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        is_open[holes[edge]] = True
    is_enclosed = (lowest == highest) & ~is_open
    levels = np.array(
        [
            max(thresholds.hole_delta * weak, median + 2 * mad)
            for weak, (median, mad) in zip(difference.weak_at, difference.noise, strict=True)
        ],
        dtype=np.float32,
    )
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    over = np.bincount(holes.ravel(), (difference.delta - levels[difference.bins]).ravel(), minlength=count) / area
    is_filled = is_enclosed & ((area < thresholds.hole * labels.size) | (over > 0))
    is_filled[0] = False
    made: np.ndarray = np.where(is_filled[holes] & difference.valid, lowest[holes], labels)
    return made


def with_faint(
    labels: np.ndarray, difference: Difference, where: np.ndarray, thresholds: Differing = THRESHOLDS.differing
) -> np.ndarray:
    """The regions (h, w) int32, and inside `where` (h, w) bool what is weak all over: there a change is expected.

    What lies near a region that reaches inside belongs to it; the rest of each connected part of `where` is one region,
    however many fragments it has.
    """
    faint = (difference.weak & where & (labels == 0)).astype(np.uint8)
    faint = cv2.morphologyEx(faint, cv2.MORPH_CLOSE, np.ones((thresholds.closing,) * 2, np.uint8))
    faint[~where | (labels > 0)] = 0
    count, fragments, stats, _ = cv2.connectedComponentsWithStats(faint, connectivity=8)
    if count == 1:
        return labels
    is_inside = np.zeros(int(labels.max(initial=0)) + 1, bool)
    is_inside[labels[where]] = True
    beside = cv2.dilate((labels * is_inside[labels]).astype(np.float32), _disc(_reach(labels.shape, thresholds)))
    _, parts = cv2.connectedComponents(where.astype(np.uint8), connectivity=8)
    lookup, nearest = np.zeros((2, count), np.int32)
    here = np.asarray(fragments[faint > 0], np.int64)
    np.maximum.at(lookup, here, parts[faint > 0] + len(is_inside) - 1)
    np.maximum.at(nearest, here, beside[faint > 0].astype(np.int32))
    lookup = np.where(nearest > 0, nearest, lookup)
    lookup[stats[:, cv2.CC_STAT_AREA] < _least(labels.shape, thresholds)] = 0
    lookup[0] = 0
    made: np.ndarray = np.where(labels > 0, labels, lookup[fragments])
    return made


def cut_at(labels: np.ndarray, allowed: np.ndarray, thresholds: Differing = THRESHOLDS.differing) -> np.ndarray:
    """The regions (h, w) int32 cut at the edge of `allowed` (h, w) bool: what of one lies outside is one of its own.

    What is left outside of a region that reaches inside counts from the size of the smallest region.
    """
    outside = np.where(allowed, 0, labels)
    is_cut = np.zeros(int(labels.max(initial=0)) + 1, bool)
    is_cut[labels[allowed]] = True
    is_small = is_cut & (np.bincount(outside.ravel(), minlength=len(is_cut)) < _least(labels.shape, thresholds))
    outside[is_small[outside]] = 0
    made: np.ndarray = np.where(outside > 0, outside + len(is_cut), np.where(allowed, labels, 0)).astype(np.int32)
    return made


def length_scale(shape: tuple[int, ...]) -> float:
    """The diagonal of a picture (h, w) over that of a square of the grid's pixels; 1 at most, for panoramas."""
    return min(1.0, float(np.hypot(shape[0], shape[1]) / (2 * GRID_PIXELS) ** 0.5))


def in_order(labels: np.ndarray) -> np.ndarray:
    """The same regions (h, w) int32 numbered without gaps by their top-left corner: top first, then left."""
    numbers = np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1
    if not len(numbers):
        return np.zeros(labels.shape, dtype=np.int32)
    rows, columns = np.nonzero(labels)
    found = labels[rows, columns]
    top = np.full(int(numbers[-1]) + 1, labels.shape[0])
    left = np.full(int(numbers[-1]) + 1, labels.shape[1])
    np.minimum.at(top, found, rows)
    np.minimum.at(left, found, columns)
    order = sorted(numbers, key=lambda number: (top[number], left[number], number))
    lookup = np.zeros(int(numbers[-1]) + 1, dtype=np.int32)
    lookup[order] = np.arange(1, len(order) + 1)
    made: np.ndarray = lookup[labels]
    return made


def _reach(shape: tuple[int, ...], thresholds: Differing) -> int:
    """Half of how far apart two fragments of one region may lie."""
    return max(round(thresholds.near * float(np.hypot(shape[0], shape[1])) / 2), 1)


def _least(shape: tuple[int, ...], thresholds: Differing) -> int:
    """Pixels of the smallest region."""
    return max(round(thresholds.least_strong * length_scale(shape)), thresholds.least_strong_small)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Levels (h, w, 3), float32."""
    made: np.ndarray = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return made


def _luminance(picture: np.ndarray) -> np.ndarray:
    """Rec. 601 luma (h, w), float32 levels."""
    made: np.ndarray = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2GRAY)
    return made


def _busy(picture: np.ndarray, thresholds: Differing) -> np.ndarray:
    """How busy a picture is round each pixel (h, w): mean gradient of its luma, levels per pixel."""
    luma = _luminance(picture)
    across = cv2.Sobel(luma, -1, 1, 0, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(luma, -1, 0, 1, scale=1 / 8, borderType=cv2.BORDER_REFLECT)
    gradient = np.sqrt(across * across + down * down)  # cv2.magnitude differs in last bits by where arrays lie
    side = (thresholds.around, thresholds.around)
    made: np.ndarray = cv2.boxFilter(gradient, -1, side, borderType=cv2.BORDER_REFLECT)
    return made


def _structure(first: np.ndarray, second: np.ndarray, window: int) -> np.ndarray:
    """1 - SSIM (h, w) of two lumas over square windows. Source: Wang et al. 2004, equation 13, K = 0.01, 0.03."""

    def mean(values: np.ndarray) -> np.ndarray:
        made: np.ndarray = cv2.boxFilter(values, -1, (window, window), borderType=cv2.BORDER_REFLECT)
        return made

    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    m1, m2 = mean(first), mean(second)
    both, squares = m1 * m2, m1 * m1 + m2 * m2
    covariance = mean(first * second) - both
    variances = mean(first * first + second * second) - squares
    made: np.ndarray = 1 - (2 * both + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return made


def _spill(source: np.ndarray, edited: np.ndarray, delta: np.ndarray, thresholds: Differing) -> np.ndarray:
    """Where a difference is only the blur of a larger one beside it (h, w) bool: the pixel's own levels agree."""
    if source.dtype != edited.dtype:
        source, edited = source.astype(np.float32), edited.astype(np.float32)
    red, green, blue = cv2.split(cv2.absdiff(source, edited))
    apart = cv2.max(cv2.max(red, green), blue)
    side = 2 * thresholds.spill_reach + 1
    largest = cv2.dilate(delta, np.ones((side, side), dtype=np.uint8))
    made: np.ndarray = (apart < thresholds.spill_levels) & (delta < np.float32(thresholds.spill_share) * largest)
    return made


def _dull(first: np.ndarray, second: np.ndarray, thresholds: Differing) -> np.ndarray:
    """Where both lightnesses are so low or so high that colour difference hardly sees a change (h, w) bool."""
    made: np.ndarray = (np.maximum(first, second) < thresholds.dark) | (np.minimum(first, second) > thresholds.bright)
    return made


def _levels(
    values: np.ndarray,
    bins: np.ndarray,
    valid: np.ndarray,
    least: tuple[float, float],
    flatter_ratio: float,
    thresholds: Differing,
) -> tuple[tuple[tuple[float, float], ...], np.ndarray, np.ndarray]:
    """The noise (median, MAD) of values (h, w) in each bin, and from where a value is weakly and strongly above it.

    Each level lies between `least` and `most_ratio` times the level of the whole frame: a busy object taken from a
    flat picture fills the busy bin alone, and its own change must not pass for the noise of that bin. Nor may that of a
    sky, which fills the flat ones: noise of colour grows with texture, so that a bin has at most `flatter_ratio` times
    that of the busier ones. That of structure does not, and is larger on flat ground.
    """
    step = max(round((values.size / thresholds.sample) ** 0.5), 1)
    values, bins, valid = (field[::step, ::step] for field in (values, bins, valid))
    values, bins = values[valid], bins[valid]
    whole = _noise(values, thresholds)
    noise: list[tuple[float, float]] = []
    busier: list[tuple[float, float]] = []  # of bins that have noise of their own
    for number in reversed(range(len(thresholds.bins) + 1)):
        found = values[bins == number]
        if len(found) < thresholds.least_bin:
            noise.insert(0, whole)
            continue
        median, mad = _noise(found, thresholds)
        if busier:
            most = [flatter_ratio * max(each) for each in zip(*busier, strict=True)]
            median, mad = min(median, most[0]), min(mad, most[1])
        busier.append((median, mad))
        noise.insert(0, busier[-1])
    weak_at, strong_at = (
        np.array(
            [
                np.clip(median + times * mad, floor, thresholds.most_ratio * max(floor, whole[0] + times * whole[1]))
                for median, mad in noise
            ],
            dtype=np.float32,
        )
        for floor, times in zip(least, (thresholds.weak_deviations, thresholds.strong_deviations), strict=True)
    )
    return tuple(noise), weak_at, strong_at


def _noise(values: np.ndarray, thresholds: Differing) -> tuple[float, float]:
    """Median and MAD of values (n,), neither more than what the lowest quarter of them makes likely.

    Without the second rule a change of more than half of the frame would be its own noise.
    """
    if not len(values):
        return 0.0, 0.0
    middle = len(values) // 2
    ranked = np.partition(values, (middle // 2, middle))
    quarter, median = float(ranked[middle // 2]), float(ranked[middle])
    mad = float(np.partition(abs(values - np.float32(median)), middle)[middle])
    return min(median, thresholds.median_of_quarter * quarter), min(mad, thresholds.mad_of_quarter * quarter)


def _disc(radius: int) -> np.ndarray:
    """A disc as a structuring element, side 2 radius + 1."""
    made: np.ndarray = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return made
