"""Undo the drift of colour an editor leaves over the whole frame, fitted where nothing else changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from recast.errors import ShapeError
from recast.retouch.thresholds import THRESHOLDS, Colouring

TERMS = ("1", "x", "y", "xy", "x^2", "y^2", "v", "vx", "vy")
"""x and y run from -1 to 1 over the frame, v from -1 to 1 over the levels of one channel of the edit."""
_ROWS = 32  # worked on at a time: what they need stays in the processor's cache


@dataclass(frozen=True, eq=False)
class ColourFit:
    """What to add to each channel of the edit: a polynomial of TERMS, never more than `cap` levels."""

    coefficients: np.ndarray | None
    """(3, 9) float64, levels per term; None adds nothing."""
    largest: float = 0.0
    """The largest correction over the cells it was fitted on, in levels."""
    mean: float = 0.0
    """The mean correction over these cells, in levels, without its sign."""
    reason: str = ""
    """Why there is no fit, or what to know of it; "" if nothing."""
    low: np.ndarray | None = None
    """(3,) lowest v seen of each channel; a darker value is corrected like this one."""
    high: np.ndarray | None = None
    """(3,) highest v seen of each channel."""
    cap: float = Colouring.cap
    field: np.ndarray | None = None
    """(rows, columns, 3) float32 levels to add on top, at the centres of equal cells of the frame; None adds none."""

    @property
    def is_corrected(self) -> bool:
        """Whether anything is added at all."""
        return self.coefficients is not None or self.field is not None

    def apply(
        self, edited: np.ndarray, *, width: int, height: int, box: tuple[int, int, int, int] | None = None
    ) -> np.ndarray:
        """The corrected levels (h, w, 3), float32, not rounded, from 0 to 255.

        edited: levels (h, w, 3), uint8 or float32, of the pixels x0 <= x < x1, y0 <= y < y1 of `box` in a frame of
        width x height, or of the whole frame. Raises ShapeError if its size is not that of the box.
        """
        x0, y0, x1, y1 = box or (0, 0, width, height)
        if edited.shape != (y1 - y0, x1 - x0, 3):
            raise ShapeError(
                f"edited: shape {edited.shape}, but the box ({x0}, {y0}, {x1}, {y1}) of a frame of {width}x{height} "
                f"needs {(y1 - y0, x1 - x0, 3)}; pass the pixels of the box, or name their box"
            )
        made = edited.astype(np.float32)
        field = None if self.field is None else _at(self.field, width=width, height=height, box=(x0, y0, x1, y1))
        for top in range(y0, y1, _ROWS):
            rows = slice(top - y0, min(top + _ROWS, y1) - y0)
            if self.coefficients is not None and self.low is not None and self.high is not None:
                self._bend(made[rows], width=width, height=height, box=(x0, top, x1, min(top + _ROWS, y1)))
            if field is not None:
                made[rows] += field[rows]
                level = edited[rows].astype(np.float32)
                least, most = np.maximum(level - self.cap, 0), np.minimum(level + self.cap, 255)
                np.clip(made[rows], least, most, out=made[rows])
        return made

    def _bend(self, made: np.ndarray, *, width: int, height: int, box: tuple[int, int, int, int]) -> None:
        """Add the polynomial to levels (h, w, 3) float32, in place."""
        assert self.coefficients is not None
        assert self.low is not None
        assert self.high is not None
        x0, y0, x1, y1 = box
        x = _positions(np.arange(x0, x1), width)[None, :]
        y = _positions(np.arange(y0, y1), height)[:, None]
        for channel, c in enumerate(self.coefficients):
            level = np.ascontiguousarray(made[..., channel])
            v = np.clip(
                level * np.float32(1 / 127.5) - 1, np.float32(self.low[channel]), np.float32(self.high[channel])
            )
            offset = (c[0] + c[2] * y + c[5] * y * y) + (c[1] + c[3] * y) * x + c[4] * x * x
            v *= (c[6] + c[7] * x + c[8] * y).astype(np.float32)
            v += offset.astype(np.float32)
            np.clip(v, -self.cap, self.cap, out=v)
            v += level
            np.clip(v, 0, 255, out=made[..., channel])

    def to_dict(self) -> dict[str, object]:
        """What a report says of the fit: numbers in levels."""
        return {
            "is_corrected": self.is_corrected,
            "field": 0.0 if self.field is None else round(float(abs(self.field).max()), 3),
            "largest": round(self.largest, 3),
            "mean": round(self.mean, 3),
            "reason": self.reason,
        }


NO_FIT = ColourFit(None, reason="the edit is given as it is")


def fit(
    source: np.ndarray, edited: np.ndarray, unchanged: np.ndarray, thresholds: Colouring = THRESHOLDS.colouring
) -> ColourFit:
    """The correction that brings the edit closest to the source where nothing else changed.

    source, edited: levels (h, w, 3), uint8 or float32. unchanged: (h, w) bool. A polynomial of TERMS first; then, of
    what it leaves, whatever is smooth: the drift of an editor need be no parabola.
    Raises ShapeError unless the three have one size.
    """
    low_order = _low_order(source, edited, unchanged, thresholds)
    share = float(unchanged.mean()) if unchanged.size else 0.0
    if share < thresholds.least_unchanged:
        return low_order
    height, width = unchanged.shape
    field = _smooth(source, low_order.apply(edited, width=width, height=height), unchanged, thresholds)
    return low_order if field is None else replace(low_order, field=field)


def unclipped(
    corrected: np.ndarray, edited: np.ndarray, source: np.ndarray, thresholds: Colouring = THRESHOLDS.colouring
) -> np.ndarray:
    """The corrected levels (h, w, 3) float32, equal to the source's where clipping hides whether they were.

    edited: before the correction, source: (h, w, 3), uint8 or float32. A level drifted beyond white or black lost what
    it was: anything further out may have been there, as far as a drift may go.
    """
    made = corrected.astype(np.float32)
    for top in range(0, len(made), _ROWS):
        rows = slice(top, top + _ROWS)
        up, down = edited[rows] >= 255 - thresholds.clipped, edited[rows] <= thresholds.clipped
        if up.any() or down.any():
            further = source[rows].astype(np.float32) - corrected[rows]
            up &= (further > 0) & (further <= thresholds.cap)
            down &= (further < 0) & (further >= -thresholds.cap)
            np.copyto(made[rows], source[rows], where=up | down)
    return made


def _low_order(
    source: np.ndarray, edited: np.ndarray, unchanged: np.ndarray, thresholds: Colouring = THRESHOLDS.colouring
) -> ColourFit:
    """The polynomial that brings the edit closest to the source where nothing else changed.

    source, edited: levels (h, w, 3), uint8 or float32. unchanged: (h, w) bool.
    Fitted on means over square cells: the noise of single values, which stand on both sides of the equation, would
    pull the slope over v towards less contrast. Least squares, reweighted by Tukey's biweight of the residual.
    Raises ShapeError unless the three have one size.
    """
    if source.shape != edited.shape or source.shape[:2] != unchanged.shape:
        raise ShapeError(
            f"source, edited, unchanged: shapes {source.shape}, {edited.shape}, {unchanged.shape}; "
            "one size is needed: warp the edit onto the source first"
        )
    share = float(unchanged.mean()) if unchanged.size else 0.0
    if share < thresholds.least_unchanged:
        least = thresholds.least_unchanged
        return ColourFit(None, reason=f"only {share:.1%} of the frame is unchanged, below {least:.0%}: no fit")
    wanted, given, x, y = _cells(source, edited, unchanged, thresholds)
    if len(x) < thresholds.least_cells:
        return ColourFit(None, reason=f"only {len(x)} cells are unchanged, below {thresholds.least_cells}: no fit")
    coefficients = np.empty((3, len(TERMS)))
    low, high = given.min(0), given.max(0)
    moved = np.empty_like(given)
    for channel in range(3):
        terms = _terms(x, y, given[:, channel])
        drift = (wanted[:, channel] - given[:, channel]) * 127.5
        coefficients[channel] = _robust(terms, drift, thresholds)
        moved[:, channel] = np.clip(terms @ coefficients[channel], -thresholds.cap, thresholds.cap)
    largest, mean = float(abs(moved).max()), float(abs(moved).mean())
    if largest < thresholds.least_drift:
        return ColourFit(None, largest, mean, f"the drift stays below {thresholds.least_drift} levels: none to undo")
    drift = (wanted - given) * 127.5
    if np.median(abs(drift - moved)) >= np.median(abs(drift)):
        return ColourFit(None, largest, mean, "no smooth correction brings the edit closer to the source")
    reason = f"the drift reaches the cap of {thresholds.cap:g} levels" if largest >= thresholds.cap else ""
    return ColourFit(coefficients, largest, mean, reason, low, high, thresholds.cap)


def _smooth(source: np.ndarray, edited: np.ndarray, unchanged: np.ndarray, thresholds: Colouring) -> np.ndarray | None:
    """What is left between source and edit, smoothed over the unchanged cells (rows, columns, 3); None if too little.

    A Gaussian over what is known, divided by the same Gaussian over where it is known (Knutsson and Westin 1993,
    normalised convolution); it dies away where nothing is known near by.
    """
    height, width = unchanged.shape
    side = max(1, round((width * height) ** 0.5 / thresholds.field_cells))
    cells = max(1, width // side), max(1, height // side)
    left = source.astype(np.float32) - edited
    left *= unchanged[..., None]
    left = cv2.resize(left, cells, interpolation=cv2.INTER_AREA)
    known = cv2.resize(unchanged.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    # Tukey's biweight again: what lies far off is a change that nobody has seen yet, and must not pass for drift.
    worst = np.abs(left).max(axis=2) / np.maximum(known, 1e-3)
    trust = np.square(np.maximum(1 - np.square(worst / thresholds.field_outlier), 0)).astype(np.float32)
    left *= trust[..., None]
    known *= trust
    sigma = thresholds.field_sigma * thresholds.field_cells
    left, known = (cv2.GaussianBlur(each, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for each in (left, known))
    weight = np.maximum(known, thresholds.field_known)
    field: np.ndarray = np.clip(left / weight[..., None], -thresholds.field_cap, thresholds.field_cap)
    return field if abs(field).max() >= thresholds.least_drift else None


def _at(field: np.ndarray, *, width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A field (rows, columns, 3) at the pixels of a box of a frame width x height: float32 (h, w, 3), linear."""
    x0, y0, x1, y1 = box
    x, y = field.shape[1] / width, field.shape[0] / height
    matrix = np.array([[x, 0, (x0 + 0.5) * x - 0.5], [0, y, (y0 + 0.5) * y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    made: np.ndarray = cv2.warpAffine(field, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return made


def _positions(index: np.ndarray, length: int) -> np.ndarray:
    """Pixel numbers as positions of their centres from -1 to 1."""
    made: np.ndarray = (2 * index + 1) / length - 1
    return made


def _cells(
    source: np.ndarray, edited: np.ndarray, unchanged: np.ndarray, thresholds: Colouring
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean v of source and edit (n, 3), x and y (n,) over the cells of which at least half is unchanged, float64."""
    height, width = unchanged.shape
    side = round((width * height) ** 0.5 / thresholds.cells)
    side = max(1, min(side, thresholds.cell, width, height))  # no strip is too narrow for a cell
    high, wide = height // side, width // side
    frame = slice(0, high * side), slice(0, wide * side)

    def mean(values: np.ndarray) -> np.ndarray:
        made: np.ndarray = cv2.resize(values, (wide, high), interpolation=cv2.INTER_AREA)
        return made.reshape(high * wide, -1).astype(np.float64)

    weight = unchanged[frame].astype(np.float32)
    share = mean(weight)
    keep = share[:, 0] >= 0.5
    means = [
        mean(picture[frame].astype(np.float32) * weight[..., None])[keep] / share[keep] / 127.5 - 1
        for picture in (source, edited)
    ]
    rows, columns = np.divmod(np.flatnonzero(keep), wide)
    x, y = ((n + 0.5) * side / length * 2 - 1 for n, length in ((columns, width), (rows, height)))
    return means[0], means[1], x, y


def _terms(x: np.ndarray, y: np.ndarray, v: np.ndarray) -> np.ndarray:
    """TERMS at n cells (n, 9)."""
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y, v, v * x, v * y], axis=1)


def _robust(terms: np.ndarray, drift: np.ndarray, thresholds: Colouring) -> np.ndarray:
    """Coefficients (9,) of least squares with `reweightings` of Tukey's biweight, cut at 4.685 deviations.

    A small ridge keeps terms that the picture cannot tell apart (one flat colour: 1 and v) from growing against each
    other.
    """
    weight = np.ones(len(drift))
    ridge = thresholds.ridge * len(drift) * np.diag([0.0] + [1.0] * (len(TERMS) - 1))
    made = np.zeros(len(TERMS))
    for _ in range(thresholds.reweightings + 1):
        weighted = terms * weight[:, None]
        made = np.linalg.solve(weighted.T @ terms + ridge + 1e-9 * np.eye(len(TERMS)), weighted.T @ drift)
        left = drift - terms @ made
        spread = max(1.4826 * float(np.median(abs(left))), thresholds.least_spread)
        weight = np.square(np.maximum(1 - np.square(left / (4.685 * spread)), 0))
        if not weight.any():
            break
    return made
