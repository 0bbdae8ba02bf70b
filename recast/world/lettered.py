"""The title of a picture of which all else is known: what it says and how it looks, or that there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2

from recast.errors import InputError
from recast.world import reading
from recast.world.attributes import FAR, UNKNOWN, choose
from recast.world.eye import Eye
from recast.world.scene import Scene, Title

PATCH = 1 / 16
"""Side of a patch, in heights of the picture, in which lettering would be seen."""


@dataclass(frozen=True)
class FoundTitle:
    """What was found: a title, None if there is none, or UNKNOWN; and the one that was wanted."""

    title: Title | str | None
    want: Title | None
    width: int
    height: int

    def value(self, path: str, free: Sequence[str] = ()) -> Any:
        """What is at "title" or "title.colour": as wanted wherever that would look the same, or is free."""
        found, (_, _, name) = self.title, path.partition(".")
        if not isinstance(found, Title):
            return found
        if name:
            return self._value(found, name)
        values = {each.name: self._value(found, each.name) for each in fields(Title)}
        if self.want is not None:
            values |= {name: getattr(self.want, name) for name in values if f"title.{name}" in free}
        return Title(**values)

    def _value(self, found: Title, name: str) -> Any:
        here = getattr(found, name)
        want = here if self.want is None else getattr(self.want, name)
        if want == here or (self.want is not None and self._same(self.want, found)):
            return want
        if name == "text":
            return want if reading.same_text(want, here, found.font) else here
        return want if self._same(replace(found, **{name: want}), found) else here

    def _same(self, a: Title, b: Title) -> bool:
        try:
            one, other = (reading.canonical(each, self.width, self.height) for each in (a, b))
        except InputError:  # a title that does not fit at all is none of those that do
            return False
        return one == other


def read(eye: Eye, scene: Scene, want: Title | None, before: Title | None, *, is_font_open: bool = True) -> FoundTitle:
    """The title in the picture, all else being as in the scene. want, before: titles it may be.

    is_font_open: whether it may be in any font; else only those of `want` and `before` are tried: far quicker.
    """
    guesses = [title for title in dict.fromkeys((want, before)) if title is not None]
    bare = replace(scene, title=None)
    if want is None and is_absent(eye, bare, guesses):
        return FoundTitle(None, want, eye.width, eye.height)
    fonts = reading.ALL if is_font_open or not guesses else tuple(dict.fromkeys(title.font for title in guesses))
    found = reading.read_title(eye.pixels, guesses=guesses, background=eye.drawn(bare), fonts=fonts)
    title: Title | str | None = found.title
    if title is None and (want is None or not is_absent(eye, bare, guesses)):
        title = UNKNOWN
    return FoundTitle(title, want, eye.width, eye.height)


def is_absent(eye: Eye, bare: Scene, guesses: Sequence[Title]) -> bool:
    """Whether the picture shows the bare scene rather than any of the titles, and nothing that might be another."""
    if guesses:
        finding, _ = choose(eye, "title", [bare, *(replace(bare, title=title) for title in guesses)])
        if not finding.is_known or finding.value is not None:
            return False
    residual = eye.residual(bare)
    side = max(3, round(PATCH * residual.shape[0]))
    return bool(cv2.blur(residual, (side, side), borderType=cv2.BORDER_REPLICATE).max() <= FAR)
