"""A finished set on disk, small: a base, its variants, what was shipped of them, the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails import manifest, openraster
from recast.thumbnails.stages import sha256

WIDTH, HEIGHT = 96, 64
STILL = (slice(16, 48), slice(50, 90))
"""Of every variant, what no edit may touch."""
LETTERED_PX = 20
"""From the left, columns that white lettering covers."""
SHIPPED = ("night", "beach")


def noise(seed: int, *, still: bool = True) -> np.ndarray:
    """A picture of noise, with a grey block that all of them have."""
    rgb = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    if still:
        rgb[STILL] = 90
    return rgb


def finished_set(folder: Path) -> Path:
    """night (of `noise(1)`) and beach are shipped, rain passed, lost is rejected; sprinkled noise as pictures."""
    for name in ("variants", "export"):
        (folder / name).mkdir(parents=True)
    image.write(noise(0), folder / "base.png")
    free = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    free[STILL] = 0
    image.write(free, folder / "free.png")
    rows = [_row(folder, name, seed) for seed, name in enumerate((*SHIPPED, "rain", "lost"), start=1)]
    said = {"schema": 1, "title": "A robot", "factor": "background", "variants": rows}
    manifest.write(folder / manifest.NAME, said)
    return folder


def _row(folder: Path, name: str, seed: int) -> dict[str, Any]:
    picture = noise(seed)
    image.write(picture, folder / "variants" / f"{name}.png")
    files = []
    if name in SHIPPED:
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        alpha[:, :LETTERED_PX] = 255
        layers = [("base", Picture(picture)), ("letters", Picture(np.full_like(picture, 255), alpha))]
        openraster.write(folder / "export" / f"{name}.ora", layers, Picture(picture))
        path = image.write(picture, folder / "export" / f"{name}.youtube-portable.jpg")
        files = [{"profile": "youtube-portable", "file": path.name, "sha256": sha256(path)}]
    finding = {"check": "C3", "verdict": "warn", "says": "flat", "advice": "", "numbers": {}, "boxes": []}
    return {
        "name": name,
        "level": name,
        "is_shipped": name in SHIPPED,
        "is_kept": name != "lost",
        "reason": "host: no face" if name == "lost" else "",
        "place": None if name == "lost" else seed,
        "similarity": {"host": 0.93},
        "findings": [finding],
        "files": files,
    }
