"""Where a change was asked for: a painted mask, boxes, an area to take whole; at the source's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from recast.errors import ConfigError, InputError

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Asked:
    """where, taken: (H, W) bool, or None for everywhere and for nothing."""

    where: np.ndarray | None
    taken: np.ndarray | None
    is_strict: bool

    @classmethod
    def of(cls, width: int, height: int, mask: Any, boxes: Sequence[Box], taken: Any, is_strict: bool) -> Asked:
        """Checked. Raises InputError for a mask of another size, one that is dark everywhere, or a box that is none,
        ConfigError for is_strict without mask and boxes.
        """
        if is_strict and mask is None and not boxes:
            raise ConfigError("is_strict: neither mask nor boxes came; say where a change is allowed, or leave it out")
        where = _mask(mask, width, height, "mask")
        for box in boxes:
            left, top, right, bottom = check_box(box, width, height)
            where = np.zeros((height, width), bool) if where is None else where
            where[top:bottom, left:right] = True
        return cls(where, _mask(taken, width, height, "take"), is_strict)

    def on_grid(self, grid: tuple[int, int]) -> np.ndarray | None:
        return None if self.where is None else _shrunk(self.where, grid)

    def taken_on_grid(self, grid: tuple[int, int]) -> np.ndarray | None:
        return None if self.taken is None else _shrunk(self.taken, grid)

    def allowed_on_grid(self, grid: tuple[int, int]) -> np.ndarray | None:
        """Where a strict merge may change anything; None where nothing is strict."""
        where, taken = self.on_grid(grid), self.taken_on_grid(grid)
        return None if where is None or not self.is_strict else where if taken is None else where | taken

    def areas(self, grid: tuple[int, int], valid: np.ndarray) -> np.ndarray:
        """All that was asked for as regions (h, w) int32 of the grid, where the edit shows anything: valid (h, w)."""
        where, taken = self.on_grid(grid), self.taken_on_grid(grid)
        assert where is not None
        area = (where if taken is None else where | taken) & valid
        return np.asarray(cv2.connectedComponents(area.astype(np.uint8), connectivity=8)[1])

    def allowed(self, box: Box) -> np.ndarray:
        """Where bytes may differ, in a box (left, top, right, bottom): everywhere unless strict."""
        left, top, right, bottom = box
        if self.where is None or not self.is_strict:
            return np.ones((bottom - top, right - left), bool)
        allowed = self.where[top:bottom, left:right]
        return allowed if self.taken is None else allowed | self.taken[top:bottom, left:right]

    def touches(self, core: np.ndarray, box: Box) -> bool:
        """Whether a region was asked for: it reaches into where a change was."""
        left, top, right, bottom = box
        if self.where is None:
            return True
        inside = self.where[top:bottom, left:right]
        if self.taken is not None:
            inside = inside | self.taken[top:bottom, left:right]
        return bool((core & inside).any())


def check_box(box: Any, width: int, height: int, name: str = "boxes") -> Box:
    """A box (left, top, right, bottom) in whole pixels, right and bottom beyond the last. Raises InputError."""
    accepted = f"(left, top, right, bottom) with 0 <= left < right <= {width}, 0 <= top < bottom <= {height} accepted"
    is_whole = isinstance(box, Sequence) and len(box) == 4 and all(isinstance(side, int | np.integer) for side in box)
    if not is_whole:
        raise InputError(f"{name}: {box!r} came; {accepted}, in whole pixels of the source; mend it")
    left, top, right, bottom = (int(side) for side in box)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise InputError(f"{name}: {tuple(box)} came; {accepted}; mend it")
    return left, top, right, bottom


def _mask(mask: Any, width: int, height: int, name: str) -> np.ndarray | None:
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "buif":
        came = f"{mask.dtype} {mask.shape}"
        raise InputError(f"{name}: {came} came; an array ({height}, {width}) of 0 to 1 accepted; read it first")
    if mask.shape != (height, width):
        came = "x".join(map(str, mask.shape[::-1]))
        raise InputError(f"{name}: {came} came; {width}x{height} accepted, the size of the source; redraw it on that")
    if not mask.any():
        raise InputError(
            f"{name}: dark everywhere, so it names no pixel; above 0 where a change may be accepted; paint it, "
            "or read it with the other mask mode"
        )
    if mask.dtype == bool:
        return mask.copy()
    low, high = mask.min(), mask.max()
    if not (low >= 0 and high <= (255 if mask.dtype == np.uint8 else 1)):
        raise InputError(f"{name}: values from {low} to {high}; 0 to 1 accepted; divide by the maximum")
    # any touch of the brush is a wish; a level of noise is not. Bytes up to 1 are no levels, but 0 and 1
    wish = 16 if high > 1 else 16 / 255
    if high < wish:
        raise InputError(f"{name}: {high} at most, which is noise; {wish:.3g} accepted where a change may be; paint it")
    return np.asarray(mask >= wish)


def _shrunk(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A mask on the grid (width, height): wherever any of its pixels fall."""
    if mask.shape == grid[::-1]:
        return mask
    small = cv2.resize(mask.astype(np.float32), grid, interpolation=cv2.INTER_AREA)
    return small > 0
