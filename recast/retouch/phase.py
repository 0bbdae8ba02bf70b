"""How far tiles of one picture lie from the same tiles of another, by phase: for pictures with too few keypoints."""

from __future__ import annotations

import numpy as np


def tile_shifts(
    source: np.ndarray, edited: np.ndarray, *, tile: int, confident: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 2) and shifts (n, 2), x and y in px, of the tiles that show clearly how far they moved.

    source, edited: (h, w) float32. tile: side in px, of tiles that overlap by half; a third of it is the farthest
    shift found. confident: how many times higher the peak has to be than any other, 3 px and more away.
    Source: Kuglin and Hines 1975; Stone et al. 2001 (IEEE TGRS 39) for leaving out frequencies that are mostly noise.
    """
    height, width = source.shape
    tile_y, tile_x = min(tile, height), min(tile, width)
    tops, lefts = _starts(height, tile_y), _starts(width, tile_x)
    window = np.outer(np.hanning(tile_y + 2)[1:-1], np.hanning(tile_x + 2)[1:-1]).astype(np.float32)
    first, second = (_spectra(picture, tops, lefts, window) for picture in (source, edited))
    cross = first.conj() * second
    size = np.abs(cross)
    fy, fx = np.fft.fftfreq(tile_y)[:, None], np.fft.rfftfreq(tile_x)
    smooth = np.exp(-(fx**2 + fy**2) / (2 * 0.12**2)).astype(np.float32)
    floor = 1e-3 * size.max(axis=(1, 2), keepdims=True) + 1e-6
    surface = np.fft.irfft2(cross / (size + floor) * smooth, s=(tile_y, tile_x), axes=(1, 2))
    surface = np.fft.fftshift(surface, axes=(1, 2))
    x0, y0 = np.meshgrid(np.array(lefts) + (tile_x - 1) / 2, np.array(tops) + (tile_y - 1) / 2)
    centres, shifts = [], []
    for centre, values in zip(np.stack([x0.ravel(), y0.ravel()], 1), surface, strict=True):
        shift = _peak(values, confident)
        if shift is not None:
            centres.append(centre)
            shifts.append(shift)
    return np.array(centres).reshape(-1, 2), np.array(shifts).reshape(-1, 2)


def _starts(length: int, tile: int) -> list[int]:
    count = 1 + -(-2 * (length - tile) // tile)
    return [round(k * (length - tile) / max(count - 1, 1)) for k in range(count)]


def _spectra(picture: np.ndarray, tops: list[int], lefts: list[int], window: np.ndarray) -> np.ndarray:
    tile_y, tile_x = window.shape
    tiles = np.stack([picture[top : top + tile_y, left : left + tile_x] for top in tops for left in lefts])
    return np.fft.rfft2((tiles - tiles.mean(axis=(1, 2), keepdims=True)) * window, axes=(1, 2))


def _peak(surface: np.ndarray, confident: float) -> tuple[float, float] | None:
    """Where the highest point lies from the middle, x and y to a part of a px; None if another is nearly as high."""
    rows, columns = surface.shape
    reach_y, reach_x = rows // 3, columns // 3
    part = surface[rows // 2 - reach_y : rows // 2 + reach_y + 1, columns // 2 - reach_x : columns // 2 + reach_x + 1]
    y, x = np.unravel_index(int(part.argmax()), part.shape)
    top = float(part[y, x])
    others = part.copy()
    others[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 0
    if top <= 0 or top < confident * float(others.max()):
        return None
    dy = _vertex(part[y - 1 : y + 2, x]) if 0 < y < part.shape[0] - 1 else 0.0
    dx = _vertex(part[y, x - 1 : x + 2]) if 0 < x < part.shape[1] - 1 else 0.0
    return float(x) - reach_x + dx, float(y) - reach_y + dy


def _vertex(three: np.ndarray) -> float:
    """Where the parabola through three values at -1, 0, 1 is highest."""
    left, middle, right = (float(v) for v in three)
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(np.clip((left - right) / (2 * bend), -0.5, 0.5))
