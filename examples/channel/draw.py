"""Draws the pictures of the example channel: its presenter, a frame of the video, her cut-out, the past thumbnails.

    python examples/channel/draw.py [FOLDER]    usual: the folder of this file

The world draws them, so who is who and what is written is known exactly.
"""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from recast.pixels import image
from recast.world.draw import draw
from recast.world.scene import Character, Face, Scene

HOST = Character(
    skin="tan",
    hair="long",
    hair_colour="brown",
    face=Face(width=1.0, eye_size=1.125),
    glasses="round glasses",
    outfit="hoodie",
    shirt="teal",
    expression="surprised",
    pose="pointing",
    place="right",
    scale=1.25,
)
FRAME = Scene(background="rays", variant=1, characters=(HOST,))
SHEET = (("happy", "standing", "room"), ("surprised", "waving", "city"), ("calm", "cheering", "mountains"))
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 120">
<circle cx="60" cy="60" r="56" fill="#FFD21F" stroke="#0B0B0F" stroke-width="8"/>
<path d="M38 40h44v34H38z" fill="#0B0B0F"/><circle cx="50" cy="57" r="7" fill="#FFD21F"/>
<circle cx="70" cy="57" r="7" fill="#FFD21F"/><path d="M57 24h6v16h-6z" fill="#0B0B0F"/>
<circle cx="60" cy="22" r="6" fill="#E0242B"/><path d="M44 82h32v10H44z" fill="#0B0B0F"/>
</svg>
"""


def main(folder: Path) -> None:
    (folder / "faces").mkdir(parents=True, exist_ok=True)
    image.write(draw(FRAME, width=1280, height=720), folder / "frame.png")
    image.write(cut_out(HOST, width=1280, height=720), folder / "host_cutout.png")
    for i, (expression, pose, background) in enumerate(SHEET, start=1):
        person = replace(HOST, expression=expression, pose=pose, place="center", shirt=("teal", "red", "blue")[i - 1])
        scene = Scene(background=background, variant=i, characters=(person,))
        image.write(draw(scene, width=384, height=384), folder / "faces" / f"host_{i}.png")
    image.write_bytes(LOGO.encode(), folder / "logo.svg")


def cut_out(person: Character, *, width: int, height: int) -> np.ndarray:
    """White where a person is, (height, width, 3), up to the middle of the outline: where two drawings differ."""
    drawn = (
        draw(Scene(background="plain", characters=people), width=width, height=height) for people in ((person,), ())
    )
    changed = np.abs(np.subtract(*(each.astype(int) for each in drawn))).sum(-1) > 0
    closed = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.dstack([255 * cv2.erode(closed, np.ones((5, 5), np.uint8))] * 3)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
