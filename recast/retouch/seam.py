"""Where the border of a change runs: the cheapest closed path round it, through pixels on which both pictures agree.

The border lies in the ring outside the core, so that no changed pixel is cut. A pixel of the ring belongs to the rim
pixel nearest to it; the path is a distance from the rim for every rim pixel, which may change by one step from one
node to the next. That makes the cheapest closed path a product of small matrices in the (min, +) algebra: exact, the
same on every run, and for contours of any shape, with holes, or a thousand letters at once. A watershed would look
at the worst pixel only and fray in noise; a minimum cut of the whole ring costs seconds at 4K.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np

from recast.retouch.thresholds import THRESHOLDS, Composing

STATES = 9  # distances of the path from the rim: 1/10 ... 9/10 of the reach
_NEVER = np.float32(1e9)


@dataclass(frozen=True, eq=False)
class Seam:
    """The path round a core, as seen from each pixel (h, w): float32, native pixels.

    outside: distance from the core, 0 in it. radius: where on the way outwards the path is crossed. width: how
    wide the border may be there. radius and width are 0 from `reach_px` outwards and in the core.
    """

    outside: np.ndarray
    radius: np.ndarray
    width: np.ndarray
    reach_px: float


def route(
    core: np.ndarray,
    grey: np.ndarray,
    delta: np.ndarray,
    *,
    scale: float = 1.0,
    thresholds: Composing = THRESHOLDS.composing,
) -> Seam:
    """The seam round a core (h, w) bool; its cost is `delta` plus the gradient of the source.

    grey: the source's levels (h, w) float32, 0..255. delta: (h, w) float32, CIEDE2000. scale: native pixels in a
    pixel of the analysis grid. A core that is empty, or all of the crop, has a seam nowhere.
    """
    reach = thresholds.reach_px * scale
    if core.all() or not core.any():
        nothing = np.zeros(core.shape, np.float32)
        return Seam(nothing if core.all() else nothing + np.float32(2 * reach), nothing, nothing, reach)
    outside, labels = cv2.distanceTransformWithLabels(
        (~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    gradient = _gradient(grey)
    radius_of = np.zeros(int(labels.max()) + 1, np.float32)  # by label, which is a pixel of the core
    width_of = np.zeros_like(radius_of)
    for nodes in _batches(core, stride=max(1, round(2 * scale))):
        steepness, cost = _sampled(nodes, gradient, delta, reach, thresholds)
        width = _width(steepness, nodes.is_node.sum(1), thresholds) * np.float32(scale)
        radius = cheapest(cost + _forbidden(width, reach)) * np.float32(reach / (STATES + 1))
        for points, r, w in _between(nodes, radius, width):
            at = labels[points[:, 1], points[:, 0]]
            np.maximum.at(radius_of, at, r)  # a stroke one pixel wide is passed on both sides
            np.maximum.at(width_of, at, w)
    missed = radius_of == 0
    radius_of[missed], width_of[missed] = reach / 2, thresholds.least_width_px * scale
    ring = (outside > 0) & (outside < reach)
    near = labels[ring]
    radius, width = np.zeros_like(outside), np.zeros_like(outside)
    radius[ring], width[ring] = radius_of[near], width_of[near]
    return Seam(outside, radius, width, reach)


def cheapest(cost: np.ndarray) -> np.ndarray:
    """The states 1..k (b, n) of the cheapest closed path through costs (b, n, k), by at most one state a step.

    n is a power of two. A node whose costs are all NaN is padding: the path passes it without a change of state.
    Ties go to the lower state. Exact: the best of every way round, by products of (min, +) matrices in pairs.
    """
    states = cost.shape[2]
    steps = np.abs(np.arange(states)[:, None] - np.arange(states))
    moves = np.where(steps > 1, _NEVER, np.float32(1e-3) * steps).astype(np.float32)
    stay = np.where(steps > 0, _NEVER, 0).astype(np.float32)
    matrices = np.where(np.isnan(cost)[:, :, None, :], stay, moves + np.nan_to_num(cost)[:, :, None, :])
    between: list[np.ndarray] = []  # for each pair of matrices, the best state in the middle for every two ends
    while matrices.shape[1] > 1:
        left, right = matrices[:, ::2], matrices[:, 1::2]
        best = left[..., 0, None] + right[..., 0, None, :]
        middle = np.zeros(best.shape, np.uint8)
        for via in range(1, states):
            way = left[..., via, None] + right[..., via, None, :]
            middle[way < best] = via
            np.minimum(best, way, out=best)
        between.append(middle)
        matrices = np.minimum(best, _NEVER)
    start = np.argmin(np.diagonal(matrices[:, 0], axis1=1, axis2=2), axis=1)
    ends: np.ndarray = np.stack([start, start], 1)  # the state before the first node is that of the last
    rows = np.arange(len(cost))[:, None]
    for choice in reversed(between):
        halves = np.empty((len(ends), 2 * ends.shape[1] - 1), ends.dtype)
        halves[:, ::2] = ends
        halves[:, 1::2] = choice[rows, np.arange(ends.shape[1] - 1), ends[:, :-1], ends[:, 1:]]
        ends = halves
    return ends[:, 1:] + 1


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Contours with the same power of two as their number of nodes: every so many points of each, and padding."""

    contours: list[np.ndarray]  # (points, 2) int, x and y
    stride: int
    points: np.ndarray  # (b, n, 2) float32
    normals: np.ndarray  # (b, n, 2) float32, outwards
    is_node: np.ndarray  # (b, n) bool


def _batches(core: np.ndarray, stride: int) -> list[_Nodes]:
    found, _ = cv2.findContours(core.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    by_length: dict[int, list[np.ndarray]] = defaultdict(list)
    for each in found:
        by_length[1 << (-(-len(each) // stride) - 1).bit_length()].append(each.reshape(-1, 2))
    batches = []
    for n, contours in sorted(by_length.items()):
        points, normals = np.zeros((2, len(contours), n, 2), np.float32)
        is_node = np.zeros((len(contours), n), bool)
        for row, contour in enumerate(contours):
            along = np.roll(contour, -2, 0) - np.roll(contour, 2, 0)
            across = np.stack([-along[:, 1], along[:, 0]], 1)[::stride].astype(np.float32)
            count = len(across)
            points[row, :count], normals[row, :count] = contour[::stride], across
            is_node[row, :count] = True
        normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), np.float32(1e-6))
        batches.append(_Nodes(contours, stride, points, normals, is_node))
    return batches


def _sampled(
    nodes: _Nodes, gradient: np.ndarray, delta: np.ndarray, reach: float, thresholds: Composing
) -> tuple[np.ndarray, np.ndarray]:
    """The mean gradient on the way outwards from each node (b, n), and the cost of each state (b, n, STATES)."""
    away = np.arange(1, STATES + 1, dtype=np.float32) * np.float32(reach / (STATES + 1))
    places = np.rint(nodes.points[:, :, None] + nodes.normals[:, :, None] * away[:, None]).astype(np.int32)
    height, width = gradient.shape
    x, y = places[..., 0].clip(0, width - 1), places[..., 1].clip(0, height - 1)
    steep = gradient[y, x]
    cost = delta[y, x] + np.float32(thresholds.gradient_cost) * steep
    cost[~nodes.is_node] = np.nan
    return steep.mean(2), cost


def _width(steepness: np.ndarray, counts: np.ndarray, thresholds: Composing) -> np.ndarray:
    """How wide the border may be (b, n), grid pixels: narrow across strong edges, which would show twice."""
    at = np.arange(steepness.shape[1])
    spread = np.take_along_axis(steepness, at % counts[:, None], 1)
    for k in (-2, -1, 1, 2):  # the nodes beside it, round the contour
        spread = np.maximum(spread, np.take_along_axis(steepness, (at + k) % counts[:, None], 1))
    flat = 1 / (1 + np.square(spread / np.float32(thresholds.steep)))
    return np.float32(thresholds.least_width_px) + flat * np.float32(thresholds.reach_px - thresholds.least_width_px)


def _forbidden(width: np.ndarray, reach: float) -> np.ndarray:
    """What a state costs if half the width on either side of it does not fit between the core and the reach."""
    away = np.arange(1, STATES + 1) / (STATES + 1)
    middle = np.abs(away - 0.5) < 0.01
    too_near = np.minimum(away, 1 - away) * reach < width[..., None] / 2 - 1e-3
    return np.where(too_near & ~middle, np.float32(1e4), np.float32(0))


def _between(nodes: _Nodes, radius: np.ndarray, width: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each contour's points, and radius and width there, straight from node to node."""
    out = []
    for row, contour in enumerate(nodes.contours):
        at = np.arange(0, len(contour), nodes.stride)
        where = np.arange(len(contour))
        r, w = (np.interp(where, at, each[row, : len(at)], period=len(contour)) for each in (radius, width))
        out.append((contour, r.astype(np.float32), w.astype(np.float32)))
    return out


def _gradient(grey: np.ndarray) -> np.ndarray:
    """Levels a pixel (h, w), from Sobel's operator."""
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    steep: np.ndarray = np.sqrt(across * across + down * down)  # cv2.magnitude's last bit depends on the threads
    return steep
