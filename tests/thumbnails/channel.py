"""A small channel on disk: files that a brief and a kit may name, and pictures to learn from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from recast.pixels.image import write

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><path d="M5 0 10 10 0 10Z" fill="#E0242B"/></svg>'


def files(folder: Path) -> Path:
    """The files that the templates name."""
    (folder / "faces").mkdir(parents=True, exist_ok=True)
    write(np.full((72, 128, 3), 90, np.uint8), folder / "frame.jpg")
    write(np.full((48, 48, 3), 90, np.uint8), folder / "faces" / "host.jpg")
    (folder / "logo.svg").write_text(LOGO)
    return folder


def picture(
    seed: int, *, ground: tuple[int, int, int] = (20, 60, 160), width: int = 320, height: int = 180
) -> np.ndarray:
    """A picture of a channel: a ground that varies a little, a yellow disc and a white bar at places of their own."""
    random = np.random.default_rng(seed)
    made = np.full((height, width, 3), ground, np.int16) + random.integers(-6, 7, 3)
    made = np.clip(made, 0, 255).astype(np.uint8)
    center = int(width * random.uniform(0.6, 0.75)), int(height * random.uniform(0.45, 0.6))
    cv2.circle(made, center, int(height * random.uniform(0.22, 0.3)), (250, 210, 40), -1, cv2.LINE_AA)
    top = int(height * random.uniform(0.1, 0.2))
    cv2.rectangle(made, (int(width * 0.08), top), (int(width * 0.4), top + height // 8), (245, 245, 245), -1)
    return made
