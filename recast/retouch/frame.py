"""Two pictures and the grid they are compared on; and the way from the grid back to the source's own pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from recast.retouch import register
from recast.retouch.asked import Box
from recast.retouch.colour import ColourFit
from recast.retouch.original import Original
from recast.retouch.register import Registration
from recast.retouch.side import Side
from recast.retouch.source_half import SourceHalf
from recast.retouch.thresholds import GRID_PIXELS, Registering
from recast.retouch.warp import resized

SAME_RATIO = 0.005
"""Ratios of width to height closer than this are one: a side rounded to whole tokens is off by less."""
BAND_ROWS = 512


@dataclass(frozen=True, eq=False)
class Frame:
    """A source and its edit. grid: (width, height) of what both are compared at, at most as fine as the coarser one.

    canvas: the edit's pixels (h, w, 3), or (h, w, 4) where rows or columns were added that it does not have: there
    the fourth is 0. how: how it was laid there, in words.
    """

    original: Original
    edited: Original
    grid: tuple[int, int]
    source: np.ndarray = field(repr=False)  # (gh, gw, 3) uint8
    canvas: np.ndarray = field(repr=False)
    how: str

    @classmethod
    def of(cls, original: Original, edited: Original, half: SourceHalf | None = None) -> Frame:
        """half: of this source, if it is at hand."""
        pixels = min(GRID_PIXELS, original.width * original.height, edited.width * edited.height)
        shrink = min(1.0, math.sqrt(pixels / (original.width * original.height)))
        grid = max(1, round(original.width * shrink)), max(1, round(original.height * shrink))
        source = (half or SourceHalf(original)).on(grid).picture
        is_same_size = (edited.width, edited.height) == (original.width, original.height)
        how = "as it is" if is_same_size else f"scaled from {edited.width}x{edited.height}"
        return cls(original, edited, grid, source, _levels(edited), how)

    @property
    def scale(self) -> float:
        """Source pixels to a pixel of the grid: along the side where they are more, should rounding make a difference.

        It does in strips: 10000 x 10 pixels on a grid of 316 x 1 are 32 to a pixel one way and 10 the other.
        """
        return max(self.original.width / self.grid[0], self.original.height / self.grid[1])

    @property
    def has_other_ratio(self) -> bool:
        """Whether the edit has to be stretched, or was cut, to lie on its source."""
        ours, theirs = self.original, self.edited
        return abs(theirs.width / theirs.height / (ours.width / ours.height) - 1) > SAME_RATIO

    @cached_property
    def is_identical(self) -> bool:
        same = self.original.samples.shape == self.edited.samples.shape and self.original.depth == self.edited.depth
        return (
            same and self.original.icc == self.edited.icc and np.array_equal(self.original.samples, self.edited.samples)
        )

    @cached_property
    def is_cut_out(self) -> bool:
        """Whether the edit has a transparency of its own, which a merge leaves out."""
        ours, theirs = self.original, self.edited
        if theirs.alpha is None or theirs.alpha.min() == theirs.levels:
            return False
        if ours.alpha is None:
            return True
        return not np.array_equal(ours.alpha // (ours.levels // 255), theirs.alpha // (theirs.levels // 255))

    @cached_property
    def small(self) -> np.ndarray:
        """The edit on the grid before it is registered: (gh, gw, 3 or 4) uint8."""
        small = resized(self.canvas, self.grid)
        return small if small.dtype == np.uint8 else np.rint(small.clip(0, 255)).astype(np.uint8)

    @cached_property
    def shown(self) -> np.ndarray:
        """Its colours alone: (gh, gw, 3) uint8."""
        return self.small[..., :3]

    def placed(
        self, thresholds: Registering, side: Side | None = None, *, held: np.ndarray | None = None
    ) -> tuple[Frame, Registration]:
        """The frame with the edit laid so that it fits best, and where it lies. side: of the source, if at hand.

        held: (H, W) bool of the source, as of `register`; not for an edit of another ratio.

        An edit of another ratio was either stretched, or cut at two sides, before or after it was made: both are tried.
        Where neither lays it on its source it is another framing.
        """
        side = side or Side(self.source, thresholds)
        if self.has_other_ratio:
            held = None
        elif held is not None:
            held = cv2.resize(held.astype(np.uint8), self.grid, interpolation=cv2.INTER_NEAREST) > 0
        best, lying = self, register.register(side, self.shown, held=held, thresholds=thresholds)
        if not self.has_other_ratio:
            return best, lying
        ratio = self.original.width / self.original.height
        best = replace(self, how=self.how.replace("scaled", "stretched"))
        whole = replace(self, canvas=_padded(self.canvas, ratio), how=self.how.replace("scaled", "cut"))
        other = register.register(side, whole.shown, thresholds=thresholds)
        if (not other.is_reframed, other.inliers) > (not lying.is_reframed, lying.inliers):
            best, lying = whole, other
        if not lying.is_reframed and not lying.is_evident:
            came, wanted = (f"{each.width}x{each.height}" for each in (self.edited, self.original))
            reason = f"{came} is another ratio than {wanted}, and neither stretched nor cut does it lie on the source"
            lying = replace(lying, is_reframed=True, reason=reason)
        return best, lying

    def refined(
        self, unchanged: np.ndarray, start: Registration, thresholds: Registering, side: Side | None = None
    ) -> Registration:
        """Where the edit lies, seen from what did not change. side: of the source, if at hand."""
        side = side or Side(self.source, thresholds)
        return register.register(side, self.shown, unchanged=unchanged, start=start, thresholds=thresholds)

    def on_grid(self, registration: Registration) -> tuple[np.ndarray, np.ndarray]:
        """The edit laid on the source, on the grid: (gh, gw, 3) uint8, and where there is any: (gh, gw) bool."""
        width, height = self.grid
        return _split(*registration.warp(self.small, width=width, height=height, grid=self.grid))

    def edit_in(self, box: Box, registration: Registration, colour: ColourFit) -> tuple[np.ndarray, np.ndarray]:
        """The edit in a box of the source, in its own space and levels: float32 (h, w, 3), and where there is any."""
        size = {"width": self.original.width, "height": self.original.height}
        warped = registration.warp(self.canvas, grid=self.grid, box=box, **size)
        pixels, valid = _split(*warped)
        return self.original.from_srgb(colour.apply(pixels, box=box, **size), box), valid

    def source_in(self, box: Box) -> np.ndarray:
        """The source in a box: float32 (h, w, 3) in its own levels."""
        left, top, right, bottom = box
        return self.original.samples[top:bottom, left:right].astype(np.float32)

    def aligned(self, registration: Registration, colour: ColourFit) -> Original:
        """The whole edit on the source, at its size and depth; what the edit does not cover repeats its rim."""
        samples = np.empty_like(self.original.samples)
        for box in self._bands():
            pixels, _ = self.edit_in(box, registration, colour)
            samples[box[1] : box[3]] = np.rint(pixels.clip(0, self.original.levels)).astype(samples.dtype)
        return self.original.with_samples(samples)

    def native_box(self, here: np.ndarray, around: int) -> Box:
        """The box of the source that a mask of the grid covers, with `around` source pixels more on each side."""
        left, top, width, height = cv2.boundingRect(here.astype(np.uint8))
        x, y = self.original.width / self.grid[0], self.original.height / self.grid[1]
        return (
            max(0, math.floor(left * x) - around),
            max(0, math.floor(top * y) - around),
            min(self.original.width, math.ceil((left + width) * x) + around),
            min(self.original.height, math.ceil((top + height) * y) + around),
        )

    def native_map(self, values: np.ndarray, box: Box) -> np.ndarray:
        """Values (gh, gw) of the grid in a box of the source: float32 (h, w), linear in between."""
        left, top, right, bottom = box
        if self.grid == (self.original.width, self.original.height):
            return values[top:bottom, left:right].astype(np.float32)
        x, y = self.grid[0] / self.original.width, self.grid[1] / self.original.height
        matrix = np.array([[x, 0, (left + 0.5) * x - 0.5], [0, y, (top + 0.5) * y - 0.5]])
        size = right - left, bottom - top
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(values.astype(np.float32), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def native_mask(self, here: np.ndarray, box: Box) -> np.ndarray:
        """A mask (gh, gw) of the grid in a box of the source: (h, w) bool."""
        return self.native_map(here.astype(np.float32), box) >= 0.5

    def _bands(self) -> Iterator[Box]:
        for top in range(0, self.original.height, BAND_ROWS):
            yield 0, top, self.original.width, min(top + BAND_ROWS, self.original.height)


def _levels(edited: Original) -> np.ndarray:
    """sRGB levels 0..255: uint8, or float32 where 8 bits would lose some of the edit's 16."""
    if edited.depth == 16 and edited.icc is None:
        return edited.samples.astype(np.float32) / np.float32(257)
    return edited.srgb8()


def _padded(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """The pixels in the middle of a canvas of this ratio, with a fourth channel that is 0 where there are none."""
    height, width = pixels.shape[:2]
    across, down = max(0, round(height * ratio) - width), max(0, round(width / ratio) - height)
    white = np.full((height, width, 1), 255, pixels.dtype)
    sides = (down // 2, down - down // 2, across // 2, across - across // 2)
    canvas = cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_REPLICATE)
    there = cv2.copyMakeBorder(white, *sides, cv2.BORDER_CONSTANT, value=0)
    return np.dstack([canvas, there])


def _split(warped: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if warped.shape[2] == 3:
        return warped, valid
    return np.ascontiguousarray(warped[..., :3]), valid & (warped[..., 3] > 254)
