"""An edit brought onto its source in one resampling: a matrix, a smooth bend, and pictures of any size.

Positions are pixel centres at integers. A picture of W columns seen on a grid of gw has column x at
(x + 0.5) * gw / W - 0.5 of the grid.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

BLOCK_PX = 1024
LONGEST_CROP_PX = 8192  # cv2.remap takes pictures under 32768 a side
MARGIN_PX = 4


def resample(
    picture: np.ndarray,
    matrix: np.ndarray,
    bend: np.ndarray | None,
    *,
    width: int,
    height: int,
    grid: tuple[int, int],
    box: tuple[int, int, int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What `picture` shows at each pixel of a frame width x height, and where it shows anything.

    picture: (H, W) or (H, W, C), uint8, uint16 or float32. matrix (2, 3), bend (rows, columns, 2) or None: from the
    frame's grid to the picture's grid, both `grid` = (gw, gh) positions. box: x0, y0, x1, y1 of the frame, or all.
    Returns pixels (h, w[, C]) of the picture's type and valid (h, w) bool; outside it the nearest edge is repeated.
    Bicubic, after a Gaussian that takes out what a smaller frame cannot hold. A box has the numbers of the whole.
    """
    x0, y0, x1, y1 = box or (0, 0, width, height)
    pixels = np.empty((y1 - y0, x1 - x0, *picture.shape[2:]), picture.dtype)
    valid = np.empty((y1 - y0, x1 - x0), bool)
    steps = _steps(picture, matrix, width, height)
    for block in _blocks((x0, y0, x1, y1), max(16, min(BLOCK_PX, int(LONGEST_CROP_PX / max(1.0, *steps))))):
        (left, top, right, bottom), whole = block
        columns, rows = np.arange(left, right), np.arange(top, bottom)
        x, y = positions(columns, rows, matrix, bend, frame=(width, height), grid=grid, picture=picture.shape[1::-1])
        crop, origin = _crop(picture, matrix, bend, whole, width, height, grid, steps)
        part = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
        valid[part] = _inside(x, y, picture)
        x, y = (x - origin[0]).astype(np.float32), (y - origin[1]).astype(np.float32)
        pixels[part] = cv2.remap(crop, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).reshape(
            pixels[part].shape
        )
    return pixels, valid


def positions(
    columns: np.ndarray,
    rows: np.ndarray,
    matrix: np.ndarray,
    bend: np.ndarray | None,
    *,
    frame: tuple[int, int],
    grid: tuple[int, int],
    picture: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Where in a picture (width, height) the frame's columns (w,) and rows (h,) fall: x and y (h, w) float64."""
    scale_x, scale_y = picture[0] / grid[0], picture[1] / grid[1]
    across = (columns + 0.5) * (grid[0] / frame[0]) - 0.5
    down = ((rows + 0.5) * (grid[1] / frame[1]) - 0.5)[:, None]
    x = ((matrix[0, 0] * across + matrix[0, 2] + 0.5) * scale_x - 0.5) + (matrix[0, 1] * scale_x) * down
    y = (matrix[1, 0] * scale_y) * across + ((matrix[1, 1] * down + matrix[1, 2] + 0.5) * scale_y - 0.5)
    if bend is not None:
        weights_x, weights_y = basis(across, grid[0], bend.shape[1]), basis(down[:, 0], grid[1], bend.shape[0])
        x += np.einsum("hr,rw->hw", weights_y, np.einsum("rc,wc->rw", bend[..., 0] * scale_x, weights_x))
        y += np.einsum("hr,rw->hw", weights_y, np.einsum("rc,wc->rw", bend[..., 1] * scale_y, weights_x))
    return x, y


def basis(at: np.ndarray, length: int, count: int) -> np.ndarray:
    """Weights (n, count) of the control points of a cubic B-spline along a side, at grid positions `at` (n,).

    Control points lie evenly from the first pixel to the last. Beyond each end one more is taken to continue its two
    neighbours straight, so that the curve passes through the end points; all weights are positive and sum to one.
    """
    t = np.clip(np.asarray(at, np.float64) / max(length - 1, 1), 0, 1) * (count - 1)
    first = np.minimum(t.astype(int), count - 2)
    t = t - first
    quarters = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights = np.zeros((len(t), count + 2))
    for k in range(4):
        weights[np.arange(len(t)), first + k] += quarters[k]
    weights[:, [1, 2]] += weights[:, [0, 0]] * [2, -1]
    weights[:, [-2, -3]] += weights[:, [-1, -1]] * [2, -1]
    return weights[:, 1:-1]


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (h, w, c) at another size (width, height): averaged where smaller, cubic where larger."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    is_smaller = size[0] * size[1] < width * height
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC)


def _inside(x: np.ndarray, y: np.ndarray, picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    slack = 1e-6  # of float64 arithmetic: the outermost pixels of a frame that does not move are inside
    inside = (x >= -0.5 - slack) & (x <= width - 0.5 + slack)
    inside &= (y >= -0.5 - slack) & (y <= height - 0.5 + slack)
    return inside


def _steps(picture: np.ndarray, matrix: np.ndarray, width: int, height: int) -> tuple[float, float]:
    """Pixels of the picture per pixel of the frame, across and down."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    return scale * picture.shape[1] / width, scale * picture.shape[0] / height


def _blocks(
    box: tuple[int, int, int, int], side: int
) -> Iterator[tuple[tuple[int, int, int, int], tuple[int, int, int, int]]]:
    """Parts of a box, each with the square of the frame's fixed lattice that it lies in."""
    x0, y0, x1, y1 = box
    for top in range(y0 // side * side, y1, side):
        for left in range(x0 // side * side, x1, side):
            part = (max(left, x0), max(top, y0), min(left + side, x1), min(top + side, y1))
            yield part, (left, top, left + side, top + side)


def _crop(
    picture: np.ndarray,
    matrix: np.ndarray,
    bend: np.ndarray | None,
    block: tuple[int, int, int, int],
    width: int,
    height: int,
    grid: tuple[int, int],
    steps: tuple[float, float],
) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of the picture that a block of the frame shows, smoothed if it shrinks, and where it begins."""
    left, top, right, bottom = block
    size = picture.shape[1::-1]
    corners = positions(
        np.array([left, right]), np.array([top, bottom]), matrix, None, frame=(width, height), grid=grid, picture=size
    )
    sigmas = [0.5 * np.sqrt(max(step**2 - 1, 0)) for step in steps]
    spans = []
    for axis in (0, 1):
        push = 0.0 if bend is None else float(np.abs(bend[..., axis]).max()) * size[axis] / grid[axis]
        reach = MARGIN_PX + push + np.ceil(4 * sigmas[axis])
        first = int(np.clip(np.floor(corners[axis].min() - reach), 0, size[axis] - 1))
        last = int(np.clip(np.ceil(corners[axis].max() + reach) + 1, first + 1, size[axis]))
        spans.append((first, last))
    crop = picture[spans[1][0] : spans[1][1], spans[0][0] : spans[0][1]]
    if max(sigmas) > 0:
        kernels = [cv2.getGaussianKernel(2 * int(np.ceil(3 * s)) + 1, s) if s > 0 else np.ones((1, 1)) for s in sigmas]
        crop = cv2.sepFilter2D(crop, -1, kernels[0], kernels[1], borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(crop), (spans[0][0], spans[1][0])
