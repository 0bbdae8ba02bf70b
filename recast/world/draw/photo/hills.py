"""Terrain in layers: fractal ridges, lit and textured, each paler with its distance, under a sky."""

from __future__ import annotations

import cv2
import numpy as np

from recast.world.draw import exact
from recast.world.draw.photo.clouds import ROUGH, SMOOTH, relief, sky_with_clouds
from recast.world.draw.photo.palette import painted, tones

LANDS = (0, 1, 4, 5, 6, 8, 10)  # families of colour that ground has


def hills(variant: int, width: int, height: int) -> np.ndarray:
    """A picture (height, width, 3) uint8 of hills or mountains, from the far haze to the ground at one's feet."""
    draws = exact.Draws(31, variant)
    picture = sky_with_clouds(draws, width, height)
    haze = picture[height // 2].astype(np.int64).sum(0) // width
    layers = 3 + draws.below(3)
    rough = exact.tile(1, ROUGH)
    land = tones(draws.choice(LANDS))
    steep = draws.between(0.5, 1.5)
    rows = np.arange(height, dtype=np.int16)[:, None]
    tops, places = [], []
    for i in range(layers):
        tops.append(_ridge(draws, width, height, (i + 1) / layers, steep))
        places.append((exact.place(draws), exact.place(draws)))
    for i, (top, (rough_place, smooth_place)) in enumerate(zip(tops, places, strict=True)):
        near = (i + 1) / layers
        first = min(int(top.min()), height - 1)
        # Below its last row that can be seen, nearer layers hide all of it
        last = int(np.min(tops[i + 1 :], 0).max()) if i + 1 < layers else height
        if last <= first:
            continue
        size = (width, height - first)
        share = (height - first) / height
        texture = exact.window(rough, rough_place, (0.24 + 0.2 * near) * share, *size, 1.0 + near)[: last - first]
        patches = exact.window(exact.tile(2, SMOOTH), smooth_place, 0.3 * share, *size, 2.0)[: last - first]
        index = exact.weighted(patches, texture, 190, 66, 0)
        # Haze takes the colours and the contrast from what is far
        colours = painted(index, (land * (i + 1) + haze * (layers - i - 1)) // layers, 40, 44)
        slopes = relief(texture, max(1, height // 100), int(20 + 200 * near * near))
        light = exact.weighted(slopes, texture, 200, int(10 + 90 * near), int(23 - 45 * near))
        mask = (rows[first:last] >= top[None]).astype(np.uint8)
        cv2.copyTo(exact.scaled(colours, light), mask, picture[first:last])
    return picture


def _ridge(draws: exact.Draws, width: int, height: int, near: float, steep: float) -> np.ndarray:
    """For each column the row where a layer begins, (width,) int16: far ridges are jagged, near ones rolling."""
    broad, fine = (
        cv2.resize(
            exact.tile(seed, keep)[draws.below(exact.TILE)][
                None, start : start + min(int(span * width / height), 1400)
            ],
            (width, 1),
            interpolation=cv2.INTER_LINEAR,
        )[0].astype(np.int64)
        - 128
        for seed, keep, span, start in (
            (2, SMOOTH, 200 + draws.below(260), draws.below(exact.TILE)),
            (3, 200, 330, draws.below(exact.TILE)),
        )
    )
    shape = broad * int(256 * (1.25 - 0.6 * near)) + fine * int(64 * (1 - near))
    base = 0.3 + 0.52 * near * (0.6 + 0.4 * near)
    rows = int(base * height) - (shape * int(height * steep) >> 16)
    return rows.clip(0, height).astype(np.int16)
