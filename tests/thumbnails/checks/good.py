"""A thumbnail with which nothing is wrong, the channel that it belongs to, and eyes that know the world it shows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from recast.pixels.image import Picture
from recast.thumbnails.boxes import BADGE, Box
from recast.thumbnails.checks import Evidence, Expected
from recast.thumbnails.contrast import luminance
from recast.thumbnails.design import Design, Lettering, Logo
from recast.thumbnails.fitting import fit
from recast.thumbnails.identity import Sheet
from recast.thumbnails.kit import Character, Colour, Font, Kit, Layout, LogoStyle, StrokeStyle, TextStyle
from recast.thumbnails.palette import colours, palette
from recast.thumbnails.render import coverage, render
from recast.thumbnails.seeing import FoundFace, ReadLine, Sight
from recast.thumbnails.shaping import bundled
from recast.world import scene as world
from recast.world.draw import draw
from recast.world.faces import true_faces

WIDTH, HEIGHT = 1280, 720
HOST = world.Character(skin="light", hair="short", shirt="yellow", place="right", dx=-0.125, dy=-0.03125, scale=1.25)
SCENE = world.Scene(background="studio", time="day", characters=(HOST,))
FONT = Font(role="headline", file=bundled("anton"), license="OFL-1.1", case="upper")
STYLE = TextStyle(fill="#FFFFFF", stroke=StrokeStyle(color="#0B0B0F", px=10))
TEXT_AREA = Box(0.08, 0.3, 0.5, 0.8)
LOGO_BOX = Box(0.08, 0.1, 0.2, 0.1 + 0.12 * 16 / 9 / 2)
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100"><rect width="200" height="100" rx="20" '
    'fill="#FFD21F"/><circle cx="50" cy="50" r="30" fill="#0B0B0F"/></svg>'
)


def identity(who: world.Character) -> np.ndarray:
    """Who someone is, (32,) of length 1: near nobody else."""
    key = repr([getattr(who, name) for name in world.IDENTITY])
    vector = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(32)
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True)
class KnowsFaces:
    """Finds the faces of a scene where they were drawn: what a perfect detector would."""

    scene: world.Scene
    name: str = "truth"
    limit: float = 0.6
    smallest_px: int = 16

    def faces(self, rgb: np.ndarray) -> Sequence[FoundFace]:
        found = []
        for who, (box, gap, sees) in zip(self.scene.characters, true_faces(self.scene, 16 / 9), strict=True):
            x, y = box.center
            eyes = ((x - gap * box.width, y), (x + gap * box.width, y)) if sees else ()
            found.append(FoundFace(Box(box.left, box.top, box.right, box.bottom), 1.0, identity(who), eyes))
        return found


@dataclass(frozen=True)
class ReadsKnown:
    """Reads the titles it knows where their shapes are seen: where light follows the letters' coverage."""

    known: tuple[Lettering, ...]
    name: str = "by shape"
    least: float = 0.6

    def read(self, rgb: np.ndarray) -> Sequence[ReadLine]:
        height, width = rgb.shape[:2]
        light, found = luminance(rgb), []
        for lettering in self.known:
            letters = cv2.resize(_drawn(lettering), (width, height), interpolation=cv2.INTER_AREA)
            for line in lettering.lines:
                left, top, right, bottom = line.box.grown(0.01, 0.02).pixels(width=width, height=height)
                seen, meant = (each[top:bottom, left:right].ravel() for each in (light, letters))
                if seen.std() > 0.02 and abs(np.corrcoef(seen, meant)[0, 1]) >= self.least:
                    found.append(ReadLine(line.text, line.box, 1.0))
        return found


@cache
def _drawn(lettering: Lettering) -> np.ndarray:
    return coverage(lettering, width=WIDTH, height=HEIGHT)


@cache
def lettered(text: str = "WHY IT FAILED", style: TextStyle = STYLE, area: Box = TEXT_AREA) -> Lettering:
    return fit(text, FONT, style, area=area, avoid=(BADGE,))


def logo(box: Box = LOGO_BOX) -> Logo:
    return Logo(file="logo.svg", box=box, svg=LOGO)


@cache
def base(scene: world.Scene = SCENE) -> Picture:
    return Picture(draw(scene, WIDTH, HEIGHT))


def sheets() -> list[Sheet]:
    return [Sheet("host", identity(HOST)[None], 0.6, "truth")]


@cache
def good_design() -> Design:
    return Design(base=base(), lettering=lettered(), logo=logo(), layout="face-right")


def evidence(source: Path | Picture, design: Design | None, scene: world.Scene = SCENE, **known: object) -> Evidence:
    """What is known of the good thumbnail, and of any that differs from it as `known` says."""
    usual = {
        "sheets": sheets(),
        "expected": Expected(text="WHY IT FAILED", characters=("host",), is_edit=False),
        "sight": Sight(KnowsFaces(scene), ReadsKnown((lettered(),))),
    }
    return Evidence(source=source, design=design, **(usual | known))


@cache
def channel(folder: Path) -> Kit:
    """The kit of the channel, its files in a folder: the palette is that of the good thumbnail."""
    (folder / "logo.svg").write_text(LOGO)
    swatches = palette([colours(rendered(good_design()).rgb)])
    return Kit(
        name="example",
        folder=folder,
        palette=tuple(Colour(role=f"colour {i}", hex=each.hex, tol=8) for i, each in enumerate(swatches)),
        fonts=(FONT,),
        text_style=STYLE,
        logo=LogoStyle(file=folder / "logo.svg"),
        characters=(Character(id="host", references=(folder / "host.png",)),),
        layouts=(Layout(id="face-right", text=TEXT_AREA, face=Box(0.55, 0.08, 0.97, 0.95), logo="top-left"),),
    )


@cache
def rendered(design: Design) -> Picture:
    return render(design, width=WIDTH, height=HEIGHT)
