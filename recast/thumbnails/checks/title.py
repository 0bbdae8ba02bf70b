"""A title as checks know it: exactly, from the design it was set in, or as it was read and measured in pixels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recast.thumbnails.boxes import Box, union
from recast.thumbnails.design import Lettering
from recast.thumbnails.render import coverage
from recast.thumbnails.seeing import ReadLine

HEADLINE = 0.5
"""Of the tallest line's height: lower lines are not part of the title but small print, or signs in the picture."""
AROUND = 0.12  # of a read line's height, looked at beyond its box
LEAST_INK = 0.08  # of the box around a read line: less cannot be all of its letters
SPECK = 0.25  # of a line's height: lower parts of it are dots, commas and accents


@dataclass(frozen=True)
class TitleLine:
    """text, box around the ink with its stroke, height of the capitals as a share of the frame's height."""

    text: str
    box: Box
    cap_height: float


@dataclass(frozen=True, eq=False)
class Title:
    """lettering: what it was set from; None where it was read, and then `ink` is where pixels look like letters.

    ink: (H, W) float32 in 0..1, of the picture that was read.
    """

    text: str
    lines: tuple[TitleLine, ...]
    lettering: Lettering | None = None
    ink: np.ndarray | None = None

    @property
    def is_estimated(self) -> bool:
        return self.lettering is None

    @property
    def cap_height(self) -> float:
        """The lowest of its lines'."""
        return min(each.cap_height for each in self.lines)

    def coverage(self, *, width: int, height: int) -> np.ndarray:
        """Of each pixel the share that letters cover, without stroke and shadow: (height, width) float32."""
        if self.lettering is None:
            assert self.ink is not None
            assert self.ink.shape == (height, width), "read in a picture of another size"
            return self.ink
        return coverage(self.lettering, width=width, height=height)


def set_title(lettering: Lettering) -> Title:
    """The title of a design. Its boxes hold what lies of the stroke outside the glyphs; a shadow may go anywhere."""
    around = 0.0 if lettering.stroke is None else lettering.stroke.width / 2
    lines = tuple(
        TitleLine(each.text, each.box.grown(around / lettering.aspect, around), each.cap_height)
        for each in lettering.lines
    )
    return Title(lettering.text, lines, lettering)


def read_title(lines: Sequence[ReadLine], rgb: np.ndarray) -> Title | None:
    """The title among the lines read in a picture (H, W, 3) uint8: the tall ones; None of none."""
    tallest = max((each.box.height for each in lines), default=0.0)
    chosen = in_order([each for each in lines if each.box.height >= HEADLINE * tallest])
    if not chosen:
        return None
    ink = np.zeros(rgb.shape[:2], np.float32)
    measured = []
    for line in chosen:
        down = AROUND * line.box.height
        around = line.box.grown(down * rgb.shape[0] / rgb.shape[1], down)
        left, top, right, bottom = around.pixels(width=rgb.shape[1], height=rgb.shape[0])
        letters = _letters(rgb[top:bottom, left:right])
        ink[top:bottom, left:right] = np.maximum(ink[top:bottom, left:right], letters)
        measured.append(TitleLine(line.text, _tight(letters, line.box, left, top, rgb), _tall(letters) / rgb.shape[0]))
    return Title(" ".join(each.text for each in chosen), tuple(measured), ink=ink)


def in_order(lines: Sequence[ReadLine]) -> list[ReadLine]:
    """Lines in reading order: rows from the top, each from the left; parts of a row overlap by half their height."""
    rows: list[list[ReadLine]] = []
    for line in sorted(lines, key=lambda each: each.box.center[1]):
        last = rows[-1][-1].box if rows else None
        if last is not None and min(last.bottom, line.box.bottom) - max(last.top, line.box.top) > 0.5 * min(
            last.height, line.box.height
        ):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda each: each.box.left)]


def near(title: Title, lines: Sequence[ReadLine], *, by: float = 0.03) -> list[ReadLine]:
    """Those lines that mostly lie where the title does, give or take a share of the frame; in reading order."""
    around = union(each.box for each in title.lines)
    if around is None:
        return []
    around = around.grown(by)
    return in_order([each for each in lines if each.box.overlap(around) > 0.5 * each.box.area])


def plain(text: str) -> str:
    """A text as reading compares it: compatibility forms, no case, no spaces or punctuation unless nothing else is."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    solid = "".join(each for each in folded if not each.isspace())
    return "".join(each for each in solid if not unicodedata.category(each).startswith("P")) or solid


def misread(read: str, meant: str) -> float:
    """Edit distance (Levenshtein 1966) over the length of the longer, 0 same to 1, of two texts as reading compares."""
    a, b = plain(read), plain(meant)
    row = list(range(len(b) + 1))
    for i, from_a in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, from_b in enumerate(b, 1):
            diagonal, row[j] = row[j], min(diagonal + (from_a != from_b), row[j] + 1, row[j - 1] + 1)
    return row[-1] / max(len(a), len(b), 1)


def _letters(rgb: np.ndarray) -> np.ndarray:
    """Which pixels of a read line look like its letters, (h, w) float32 0 or 1: one of two classes of grey (Otsu 1979).

    Letters lie inside the box and the ground around it. So what hangs together with the border is ground, in either
    class: a light ground and light letters are kept apart by a dark stroke. Of what is left the class with more pixels
    is the letters. Where hardly anything is left, the letters reach the border: then the class with less of it.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    _, light = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    inside = max((_inside(each) for each in (light, 1 - light)), key=lambda each: int(each.sum()))
    if inside.mean() >= LEAST_INK:
        return inside.astype(np.float32)
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    made: np.ndarray = light if border.mean() <= 0.5 else 1 - light
    return made.astype(np.float32)


def _tight(letters: np.ndarray, box: Box, left: int, top: int, rgb: np.ndarray) -> Box:
    """The box around the ink of a line, whose reader draws boxes with room around; its own where no ink is seen."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(letters.astype(np.uint8))
    tall = np.flatnonzero(stats[1:, cv2.CC_STAT_HEIGHT] >= SPECK * letters.shape[0]) + 1
    seen = np.isin(parts, tall)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not rows.size:
        return box
    edges = left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1
    return Box.of_pixels(*map(float, edges), width=rgb.shape[1], height=rgb.shape[0])


def _inside(mask: np.ndarray) -> np.ndarray:
    """What of a mask (h, w) does not hang together with the border."""
    _, parts = cv2.connectedComponents(mask)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    made: np.ndarray = mask * ~np.isin(parts, edge)
    return made


def _tall(letters: np.ndarray) -> float:
    """The height in pixels of the taller letters of a line: the 75th percentile over its parts, dots left out."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(letters.astype(np.uint8))
    heights = stats[1:count, cv2.CC_STAT_HEIGHT]
    heights = heights[heights >= SPECK * letters.shape[0]]
    return float(np.percentile(heights, 75)) if heights.size else 0.0
