"""Pictures, similarities and times to numbers. Pure functions: no file, clock, model or global generator.

A picture is uint8 (H, W, 3) in sRGB, a mask is bool (H, W). `source` is what was given to be edited, `output` what came
back, `answer` what should have come back. A value that nothing defines (no pixel to look at) is None, never a number.
Strings have a file of their own, `text_scores`, as have chains of edits, `turns`; intervals are in `statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from recast.errors import InputError

THRESHOLDS = (3, 4, 5, 6, 7, 8, 9, 10)  # of delta E: below 3 a side by side hides it, beyond 10 nobody misses it
STRICT_THRESHOLDS = tuple(range(11))
PSNR_CAP_DB = 60.0
BLOCK = 8  # pixels
SAME_ASPECT = 1.02
REACH = 4  # pixels that a displacement may have and still be called one

# IEC 61966-2-1, with the white of D65 (0.95047, 1, 1.08883) divided out, so that white is (1, 1, 1).
_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_XYZ = (_XYZ / _XYZ.sum(1, keepdims=True)).astype(np.float32)
_TOE = np.float32(216 / 24389)
_LAB = np.array([[0, 116, 0, -16], [500, -500, 0, 0], [0, 200, -200, 0]], np.float32)


def linear(rgb: np.ndarray) -> np.ndarray:
    """The picture in linear light, float32 (H, W, 3) in 0..1."""
    return cv2.LUT(np.ascontiguousarray(rgb), _LINEAR)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65, float32 (H, W, 3), of a picture or of linear light (float, 0..1)."""
    light = linear(rgb) if rgb.dtype == np.uint8 else np.ascontiguousarray(rgb, np.float32)
    xyz = cv2.transform(light, _XYZ)
    # The straight toe below 216 / 24389 is the cube root's tangent there, so the two add up without a branch.
    toe = np.minimum(xyz - _TOE, 0)
    return cv2.transform(cv2.pow(np.maximum(xyz, _TOE), 1 / 3) + (841 / 108) * toe, _LAB)


def delta_e(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The colour difference CIE 1976 of two pictures, or of two in linear light, pixel by pixel: float32 (H, W)."""
    return lab_distance(lab(a), lab(b))


def lab_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`delta_e` of two pictures that are in Lab already."""
    apart = a - b
    return np.sqrt(cv2.transform(apart * apart, np.ones((1, 3), np.float32)))


def box_linear(rgb: np.ndarray, k: int) -> np.ndarray:
    """The picture under a k x k box filter in linear light, float32 (H, W, 3); at its edge it is mirrored."""
    return linear(rgb) if k == 1 else cv2.blur(linear(rgb), (k, k), borderType=cv2.BORDER_REFLECT_101)


def box_size(height: int, width: int) -> int:
    """The odd number of pixels nearest to a twentieth of the shorter side, at least 3: 5 at 96 pixels, 13 at 256."""
    return max(3, 2 * (min(height, width) // 40) + 1)


def register(output: np.ndarray, width: int, height: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The output (H, W, 3 or 4) uint8 at width x height, and what was done to it, in words.

    "flattened": something was transparent, white is behind it. "resized": the aspect ratio was the same within 2 %;
    each side that shrinks is averaged by area, each that grows is interpolated by Lanczos. "reframed": the aspect ratio
    was another; the largest centred part that has it is resized so.
    """
    if output.dtype != np.uint8 or output.ndim != 3 or output.shape[2] not in (3, 4) or 0 in output.shape:
        raise InputError(f"output: {output.dtype} {output.shape} came; uint8 (H, W, 3 or 4) accepted; decode it first")
    if min(width, height) < 1:
        raise InputError(f"width={width}, height={height}: at least 1 accepted; take the source's")
    flags: tuple[str, ...] = ()
    if output.shape[2] == 4:
        alpha = output[..., 3:].astype(np.uint32)
        if (alpha < 255).any():
            flags = ("flattened",)
        output = ((output[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    rows, columns = output.shape[:2]
    if (columns, rows) == (width, height):
        return output, flags
    if max(columns * height, rows * width) <= SAME_ASPECT * min(columns * height, rows * width):
        box = (0.0, 0.0, float(columns), float(rows))
        flags += ("resized",)
    else:
        scale = max(width / columns, height / rows)
        x, y = max(0.0, (columns - width / scale) / 2), max(0.0, (rows - height / scale) / 2)
        box = (x, y, columns - x, rows - y)
        flags += ("reframed",)
    image = Image.fromarray(output)
    area, lanczos = Image.Resampling.BOX, Image.Resampling.LANCZOS
    image = image.resize((width, rows), area if width < box[2] - box[0] else lanczos, (box[0], 0, box[2], rows))
    image = image.resize((width, height), area if height < box[3] - box[1] else lanczos, (0, box[1], width, box[3]))
    return np.asarray(image), flags


def shift(source: np.ndarray, output: np.ndarray, kept: np.ndarray) -> tuple[int, int] | None:
    """By how many whole pixels (right, down), up to 4 each way, the kept part of the output is displaced.

    None where the kept part is empty or flat. The value of a displaced picture put back (`put_back`) is for a line
    beside the raw one, never instead of it. Source: phase correlation, Kuglin and Hines 1975.
    """
    check_pictures(source=source, output=output)
    height, width = kept.shape
    soft = cv2.GaussianBlur(_shrunk(kept, REACH).astype(np.float32), (0, 0), REACH / 2)
    soft = soft * np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])  # the frame does not move
    if not soft.any():
        return None
    spectra = []
    for picture in (source, output):
        light = lab(picture)[..., 0]
        spectra.append(np.fft.rfft2((light - np.average(light, weights=soft)) * soft))
    cross = spectra[1] * spectra[0].conj()
    if abs(cross).max() < 1e-3:
        return None
    peaks = np.fft.irfft2(cross / np.maximum(abs(cross), 1e-9), s=kept.shape)
    near = np.roll(peaks, (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1]
    y, x = np.unravel_index(near.argmax(), near.shape)
    return int(x) - REACH, int(y) - REACH


def put_back(output: np.ndarray, displacement: tuple[int, int]) -> np.ndarray:
    """The output moved by (-right, -down) whole pixels, its edge repeated where nothing is known."""
    (right, down), (height, width) = displacement, output.shape[:2]
    rows, columns = np.arange(height) + down, np.arange(width) + right
    return output[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]


def local_edit_precision(
    source: np.ndarray,
    output: np.ndarray,
    answer: np.ndarray,
    *,
    k: int | None = None,
    band: int | None = None,
    floor: np.ndarray | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[str, Any]:
    """Whether what had to change became the answer, and the rest stayed: `precision` = sqrt(edited * kept), in 0..1.

    M is where source and answer differ. All pictures pass a k x k box filter in linear light, so that an autoencoder's
    noise is no error; k is `box_size` unless given. Pixels up to `band` from the border of M, on both sides, count for
    nothing; the band is k // 2 unless given, as far as the box reaches, so that no kept pixel sees a changed one.
    `edited`: share of M beyond the band (of M, where nothing of it is) within a threshold of the answer; `kept`: share
    of the rest beyond the band within a threshold of the source; each the mean over the thresholds of delta E, with
    the single shares in `edited_at` and `kept_at`. floor: what the autoencoder makes of the answer; it moves all
    thresholds up by what takes the first to the 95th percentile of its delta E to the answer, if that is larger.

    Where nothing must change, `edited` is None and the precision is `kept`; where nothing may stay, the reverse. Doing
    nothing scores a little above 0, for the band: print it beside. Raises InputError unless the sizes are the same.
    """
    check_pictures(source=source, output=output, answer=answer, **({} if floor is None else {"floor": floor}))
    k = box_size(*source.shape[:2]) if k is None else k
    band = k // 2 if band is None else band
    if k < 1 or k % 2 == 0 or band < 0:
        raise InputError(
            f"k={k}, band={band}: an odd k of at least 1 and a band of at least 0 accepted; leave them out"
        )
    changed = _differ(source, answer)
    inside, outside = _shrunk(changed, band), _shrunk(~changed, band)
    inside = inside if inside.any() else changed
    seen, meant = lab(box_linear(output, k)), lab(box_linear(answer, k))
    if floor is not None:
        raised = np.percentile(lab_distance(lab(box_linear(floor, k)), meant), 95) - thresholds[0]
        thresholds = [t + max(0.0, float(raised)) for t in thresholds]
    edited_at = _shares(lab_distance(seen, meant)[inside], thresholds)
    kept_at = _shares(lab_distance(seen, lab(box_linear(source, k)))[outside], thresholds)
    edited, kept = _mean(edited_at), _mean(kept_at)
    parts = [part for part in (edited, kept) if part is not None]
    return {
        "precision": math.prod(parts) ** (1 / len(parts)),
        "edited": edited,
        "kept": kept,
        "edited_at": edited_at,
        "kept_at": kept_at,
        "thresholds": [float(t) for t in thresholds],
        "k": k,
        "band": band,
        "changed_share": float(changed.mean()),
    }


def strict_iou(source: np.ndarray, output: np.ndarray, answer: np.ndarray) -> float:
    """The set score of exact renders, unfiltered: rightly changed / (to change + wrongly changed), mean over 0..10.

    Where nothing must change it is 1 at a threshold that nothing exceeds, otherwise 0. Noise that no viewer would
    object to takes it to 0.06: it is for comparison with other reports.
    """
    check_pictures(source=source, output=output, answer=answer)
    changed = _differ(source, answer)
    seen = lab(output)
    right, wrong = lab_distance(seen, lab(answer))[changed], lab_distance(seen, lab(source))[~changed]
    scores = []
    for threshold in STRICT_THRESHOLDS:
        union = len(right) + (wrong > threshold).sum()
        scores.append((right <= threshold).sum() / union if union else 1.0)
    return float(np.mean(scores))


def kept(
    first: np.ndarray, output: np.ndarray, untouched: np.ndarray, *, k: int | None = None, band: int | None = None
) -> float | None:
    """The share, in 0..1, of never touched pixels that still are what they were in the first picture of a chain.

    untouched: bool (H, W), what no request up to this turn had to change. As in `local_edit_precision`, with a band one
    pixel wider (3 at 96 pixels), for the borders of many edits add up. None where no pixel is left.
    """
    check_pictures(first=first, output=output)
    k = box_size(*first.shape[:2]) if k is None else k
    rest = _shrunk(untouched, k // 2 + 1 if band is None else band)
    return _mean(_shares(lab_distance(lab(box_linear(output, k)), lab(box_linear(first, k)))[rest], THRESHOLDS))


def trimmed_distance(
    source: np.ndarray, output: np.ndarray, share: float, *, where: np.ndarray | None = None
) -> float | None:
    """The mean delta E of the most alike (1 - share) of all blocks of 8 x 8 pixels; with a mask, of the blocks in it.

    share: 0.4 for a local edit, 0.25 for one of text, where no mask is known; the same for every system, for a mask
    guessed from the output would let a system define its own excuse. 0 with a mask. None where the mask has no whole
    block. Blocks at the right and bottom edge may be smaller.
    """
    check_pictures(source=source, output=output)
    if not 0 <= share < 1:
        raise InputError(f"share={share}: 0 up to below 1 accepted; 0.4 for a local edit, 0.25 for text, 0 with a mask")
    blocks = _block_means(delta_e(source, output)).ravel()
    if where is not None:
        blocks = blocks[_block_means(where.astype(np.float32)).ravel() > 0.999]
    if not blocks.size:
        return None
    return float(np.sort(blocks)[: max(1, round((1 - share) * blocks.size))].mean())


def kept_score(distance: float, floor: float, reference: float) -> float:
    """A distance as a score in 0..1: 1 at the autoencoder's own, `floor`, 0 at that of unrelated pictures."""
    return _calibrated(distance, reference, floor, ("floor", "reference"))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """The peak signal-to-noise ratio of two pictures, in dB; equal ones are given 60, and none more."""
    error = l2(a, b)
    return min(PSNR_CAP_DB, -10 * math.log10(error)) if error else PSNR_CAP_DB


def l1(a: np.ndarray, b: np.ndarray) -> float:
    """The mean absolute difference of two pictures, levels in 0..1."""
    check_pictures(a=a, b=b)
    return float(cv2.absdiff(a, b).mean() / 255)


def l2(a: np.ndarray, b: np.ndarray) -> float:
    """The mean squared difference of two pictures, levels in 0..1; no root, as the field prints it."""
    check_pictures(a=a, b=b)
    return float(np.square(cv2.absdiff(a, b) / 255.0).mean())


def ssim(a: np.ndarray, b: np.ndarray, where: np.ndarray | None = None) -> float | None:
    """Structural similarity, mean over the channels and over the windows that lie in the picture, and in the mask.

    Gaussian windows of 11 pixels, sigma 1.5, so the mask loses 5 pixels at its border. None where no window is left.
    Source: Wang et al. 2004, IEEE Transactions on Image Processing 13 (4), section III.
    """
    check_pictures(a=a, b=b)
    one, two = a.astype(np.float64), b.astype(np.float64)
    xx, yy, xy, x, y = (cv2.GaussianBlur(z, (11, 11), 1.5) for z in (one * one, two * two, one * two, one, two))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * x * y + c1) * (2 * (xy - x * y) + c2) / ((x * x + y * y + c1) * (xx - x * x + yy - y * y + c2))
    inside = np.zeros(a.shape[:2], bool)
    inside[5:-5, 5:-5] = True
    if where is not None:
        inside &= _shrunk(where, 5)
    return float(likeness[inside].mean()) if inside.any() else None


def consistency(similarity: float | None, impostor: float, itself: float) -> float:
    """An identity's cosine as a score in 0..1: 0 at strangers' mean, 1 at that of a face with its own floor control.

    None, no face found in the output, is 0.
    """
    return 0.0 if similarity is None else _calibrated(similarity, impostor, itself, ("impostor", "itself"))


def worst_match(similarities: np.ndarray) -> float | None:
    """The least cosine when source faces (rows) are assigned to output faces (columns) so that the sum is largest.

    None if a source face is left without one.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = similarities.shape
    if rows == 0:
        raise InputError("similarities: no source face came; one row per source face accepted; leave the item out")
    if columns < rows:
        return None
    return float(similarities[linear_sum_assignment(similarities, maximize=True)].min())


def threshold_at(impostors: np.ndarray, false_accept_rate: float) -> float:
    """The least cosine that no more than this share of impostor pairs reaches.

    Raises InputError for fewer than 3 / rate pairs: of so few, none may pass by luck alone (the rule of three).
    """
    needed = math.ceil(3 / false_accept_rate - 1e-9)
    if len(impostors) < needed:
        raise InputError(
            f"impostors: {len(impostors)} pairs came; at least {needed} accepted for a rate of {false_accept_rate}; "
            "raise the rate or add pictures"
        )
    passing = math.floor(false_accept_rate * len(impostors) + 1e-9)
    return float(np.nextafter(np.sort(impostors)[::-1][passing], np.inf))


def latency(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Quantiles of times per picture, as far as so many can say: `p50`, `p90` from 30 on, `p95` from 100 on, or None.

    Below 100, p90 is rough: one of thirty is its whole tail. Also `n` and `max`.
    """
    times = np.asarray(seconds, float)
    if not times.size or not np.isfinite(times).all() or (times < 0).any():
        raise InputError(
            f"seconds: {times.size} came, not all of them times; finite numbers from 0 accepted; drop failures"
        )
    n = times.size
    quantiles = {
        f"p{q}": float(np.percentile(times, q)) if n >= least else None for q, least in ((50, 1), (90, 30), (95, 100))
    }
    return {"n": n, **quantiles, "max": float(times.max())}


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two pictures differ, bool (H, W): exact, and an order faster than `any` along three channels."""
    apart = a != b
    return apart[..., 0] | apart[..., 1] | apart[..., 2]


def _shrunk(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask without what lies up to so many pixels, in a square, from its border; the picture's edge is none."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)).astype(bool)


def _shares(distances: np.ndarray, thresholds: Sequence[float]) -> list[float] | None:
    return [float((distances <= t).mean()) for t in thresholds] if distances.size else None


def _mean(shares: list[float] | None) -> float | None:
    return None if shares is None else float(np.mean(shares))


def _block_means(values: np.ndarray) -> np.ndarray:
    """The mean of each 8 x 8 block, or of what there is of it at the right and bottom: (H / 8, W / 8), rounded up."""
    starts = [np.arange(0, side, BLOCK) for side in values.shape]
    sums, counts = values, np.ones_like(values)
    for axis, start in enumerate(starts):
        sums, counts = np.add.reduceat(sums, start, axis), np.add.reduceat(counts, start, axis)
    return sums / counts


def _calibrated(value: float, zero: float, one: float, names: tuple[str, str]) -> float:
    if zero == one:
        raise InputError(f"{names[0]} and {names[1]}: both {one}; two values that differ accepted; check the controls")
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def check_pictures(**pictures: np.ndarray) -> None:
    """Raise InputError unless all are uint8 (H, W, 3) of the size of the first."""
    first, shape = next(iter(pictures)), next(iter(pictures.values())).shape
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.shape != shape:
            expected = "uint8 (H, W, 3)" if name == first else f"uint8 {shape}, as {first},"
            raise InputError(f"{name}: {picture.dtype} {picture.shape} came; {expected} accepted; `register` it first")
