"""Points that two pictures share, and the similarity on which most of them agree.

Points are complex numbers x + iy in grid pixels, so that a similarity is z -> a z + b: |a| its scale, arg a its angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SEED = 0


@dataclass(frozen=True, eq=False)
class Keypoints:
    """points (n,) complex128 in grid pixels; descriptors (n, 128) float32, whole numbers of norm about 512."""

    points: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def where(self, keep: np.ndarray) -> Keypoints:
        """Those of a mask (n,) bool."""
        return Keypoints(self.points[keep], self.descriptors[keep])


@dataclass(frozen=True, eq=False)
class Similarity:
    """z -> a z + b, and which of the matches (n,) bool it explains."""

    a: complex
    b: complex
    inliers: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """The same as (2, 3) float64, for columns (x, y, 1)."""
        a, b = self.a, self.b
        return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def keypoints(grey: np.ndarray, *, pixels: int, most: int) -> Keypoints:
    """SIFT keypoints of a grey picture (h, w) uint8, evened out in contrast (CLAHE), the strongest of each cell.

    It is looked at on `pixels` pixels at most; SIFT doubles it once more. Source: Lowe 2004 (IJCV 60), section 3-6.
    """
    height, width = grey.shape
    shrink = min(1.0, np.sqrt(pixels / (height * width)))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = grey if shrink == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    even = cv2.createCLAHE(2.0, (8, 8)).apply(small)
    found, descriptors = cv2.SIFT.create(enable_precise_upscale=True).detectAndCompute(even, None)
    if descriptors is None:
        return Keypoints(np.zeros(0, complex), np.zeros((0, 128), np.float32))
    x = (np.array([f.pt[0] for f in found]) + 0.5) * (width / size[0]) - 0.5
    y = (np.array([f.pt[1] for f in found]) + 0.5) * (height / size[1]) - 0.5
    keep = _spread(x / width, y / height, np.array([f.response for f in found]), most)
    return Keypoints((x + 1j * y)[keep], descriptors[keep])


def _spread(x: np.ndarray, y: np.ndarray, strength: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` points: every cell of 8 x 8 gives its strongest first, then its second, and so on."""
    cell = (np.clip(y * 8, 0, 7).astype(int) * 8) + np.clip(x * 8, 0, 7).astype(int)
    order = np.lexsort((-strength, cell))
    starts = np.searchsorted(cell[order], np.arange(64))
    rank = np.empty(len(x), int)
    rank[order] = np.arange(len(x)) - starts[cell[order]]
    return np.sort(np.lexsort((-strength, rank))[:most])


def matched(source: Keypoints, edited: Keypoints, *, ratio: float, radius: float | None = None) -> np.ndarray:
    """Pairs (m, 2) of indices of points that are each other's nearest and clearly nearer than the second.

    radius: how far in grid pixels a point may have moved, or None for any distance. Descriptors are whole numbers,
    so their products are exact in float32 and the pairs do not depend on the number of threads.
    """
    if len(source) < 2 or len(edited) < 2:
        return np.zeros((0, 2), int)
    a, b = source.descriptors, edited.descriptors
    apart = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * (a @ b.T)
    if radius is not None:
        dx = source.points.real.astype(np.float32)[:, None] - edited.points.real.astype(np.float32)
        dy = source.points.imag.astype(np.float32)[:, None] - edited.points.imag.astype(np.float32)
        apart[dx * dx + dy * dy > radius * radius] = np.float32(1e9)
    rows = np.arange(len(source))
    nearest = apart.argmin(1)
    first = apart[rows, nearest]
    mutual = apart.argmin(0)[nearest] == rows
    apart[rows, nearest] = np.float32(1e9)
    keep = mutual & (first < ratio * ratio * apart.min(1)) & (first < 1e8)
    pairs = np.stack([rows[keep], nearest[keep]], 1)
    return _single(source.points, edited.points, pairs)


def _single(source: np.ndarray, edited: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The pairs without those that join the same two places again: SIFT describes one place several times."""
    places = np.stack([np.round(source[pairs[:, 0]], 0), np.round(edited[pairs[:, 1]], 0)], 1)
    _, first = np.unique(places, axis=0, return_index=True)
    return pairs[np.sort(first)]


def agree(source: np.ndarray, edited: np.ndarray, *, within: float, tries: int = 1024) -> Similarity | None:
    """The similarity that most pairs of points (n,) complex follow within a distance; None if under three do.

    RANSAC with a fixed seed over pairs of matches (Fischler and Bolles 1981), then least squares on the inliers.
    Of two that explain as many, the one that moves less.
    """
    n = len(source)
    if n < 3:
        return None
    draw = np.random.default_rng(SEED)
    i, j = draw.integers(0, n, tries), draw.integers(0, n, tries)
    apart = source[j] - source[i]
    keep = np.abs(apart) > 4 * within
    if not keep.any():
        return None
    i, j, apart = i[keep], j[keep], apart[keep]
    a = (edited[j] - edited[i]) / apart
    b = edited[i] - a * source[i]
    sample = draw.permutation(n)[:400]
    off = np.abs(a[:, None] * source[sample] + b[:, None] - edited[sample])
    votes = (off < within).sum(1)
    moved = np.abs(a * source.mean() + b - source.mean())
    best: Similarity | None = None
    for k in np.lexsort((moved, -votes))[:8]:
        found = _settled(source, edited, complex(a[k]), complex(b[k]), within)
        if found is not None and (best is None or found.inliers.sum() > best.inliers.sum()):
            best = found
    return best


def perspective(source: np.ndarray, edited: np.ndarray, *, within: float) -> tuple[int, np.ndarray | None]:
    """How many pairs of points (n,) complex the best homography explains, and its matrix (3, 3); 0 and None if none.

    RANSAC of OpenCV, whose draws are the same every time.
    """
    if len(source) < 8:
        return 0, None
    here, there = (np.stack([z.real, z.imag], 1).astype(np.float32) for z in (source, edited))
    matrix, inliers = cv2.findHomography(here, there, cv2.RANSAC, within, maxIters=2000)
    return (0, None) if matrix is None else (int(inliers.sum()), np.asarray(matrix, np.float64))


def _settled(source: np.ndarray, edited: np.ndarray, a: complex, b: complex, within: float) -> Similarity | None:
    """Least squares on the inliers, repeated until they stay the same."""
    inliers = np.abs(a * source + b - edited) < within
    for _ in range(10):
        if inliers.sum() < 3:
            return None
        a, b = similarity(source[inliers], edited[inliers])
        now = np.abs(a * source + b - edited) < within
        if (now == inliers).all():
            break
        inliers = now
    return Similarity(a, b, inliers) if inliers.sum() >= 3 else None


def similarity(source: np.ndarray, edited: np.ndarray, weights: np.ndarray | None = None) -> tuple[complex, complex]:
    """a, b of the z -> a z + b nearest in least squares; source, edited (n,) complex, weights (n,) or all one."""
    weights = np.ones(len(source)) if weights is None else weights
    total = weights.sum()
    here, there = (weights * source).sum() / total, (weights * edited).sum() / total
    from_here, from_there = source - here, edited - there
    spread = (weights * np.abs(from_here) ** 2).sum()
    a = complex((weights * from_here.conj() * from_there).sum() / spread) if spread > 0 else 1 + 0j
    return a, complex(there - a * here)
