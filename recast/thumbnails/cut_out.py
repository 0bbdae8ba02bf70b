"""Cut-outs: pictures that say where another may not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recast.errors import InputError
from recast.pixels import image


def cut_out(path: Path, *, size: tuple[int, int]) -> np.ndarray:
    """Where a cut-out is white, or opaque where it has alpha: (H, W) bool, True where nothing may change.

    size: width and height of the picture it belongs to.
    Raises InputError, which begins with the path, for a cut-out of another size, and for one that keeps nothing or all.
    """
    mask = image.read(path, name="base.keep_mask")
    if (mask.width, mask.height) != size:
        came, accepted = f"{mask.width}x{mask.height}", f"{size[0]}x{size[1]}"
        raise InputError(f"{path}: {came} came; {accepted} accepted, the size of the base; export it again")
    if mask.alpha is not None and mask.alpha.min() < 255:
        kept, whole, none = np.asarray(mask.alpha >= 128), "opaque", "transparent"
    else:
        kept, whole, none = np.asarray(mask.rgb.mean(-1) >= 128), "white", "black"
    if kept.all() or not kept.any():
        came = f"{whole} everywhere: nothing may change" if kept.all() else f"{none} everywhere: nothing is kept"
        words = f"{whole} where nothing may change and {none} elsewhere accepted; export it again, or leave it out"
        raise InputError(f"{path}: {came}; {words}")
    return kept
