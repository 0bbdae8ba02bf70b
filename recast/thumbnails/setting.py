"""A variant's picture to its design: the brief's title in the kit's letters, in the shape of each profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recast.errors import ConfigError, InputError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import FRAME, Box, union
from recast.thumbnails.brief import Brief, Level
from recast.thumbnails.design import Design
from recast.thumbnails.export import frame
from recast.thumbnails.kit import Kit
from recast.thumbnails.lettering import lettered
from recast.thumbnails.profiles import PROFILES, Profile

CHECKED_IN = "youtube-portable"
"""The profile that every candidate is written and checked in, when the brief's first is none for 16:9."""


def profiles_of(brief: Brief, kit: Kit) -> list[Profile]:
    """Where the pictures go: as the brief says, else the kit."""
    return [PROFILES[name] for name in (brief.profiles or kit.export.profiles)]


def checked_in(brief: Brief, kit: Kit) -> Profile:
    """The profile in which candidates are set and checked."""
    wide = (each for each in profiles_of(brief, kit) if each.width * 9 == each.height * 16 and each.width <= 1920)
    return next(wide, PROFILES[CHECKED_IN])


def text_of(brief: Brief, level: Level) -> str:
    """The title of one variant."""
    return brief.text if level.text is None else level.text


def design(
    picture: Picture, brief: Brief, kit: Kit, level: Level, faces: Sequence[Box] | None, *, profile: Profile
) -> Design:
    """The design of one variant in a profile's shape, which is the picture's own. faces: as of `lettered`.

    Raises InputError and ConfigError of fonts, logos and titles that do not fit, naming the level.
    """
    try:
        return lettered(
            picture,
            text_of(brief, level) or None,
            kit,
            layout=level.layout or brief.layout,
            fill=level.colour,
            faces=faces,
            aspect=profile.width / profile.height,
            badge=kit.rules.forbid_badge_zone and profile.has_badge,
        )
    except (InputError, ConfigError) as error:
        raise type(error)(f"{level.name}, {profile.name}: {error}") from error


def reframed(made: Design, brief: Brief, kit: Kit, level: Level, faces: Sequence[Box], *, profile: Profile) -> Design:
    """The design for a profile: itself where the shape is its own, else cut as wide or high as fits.

    The cut is centred on the faces, or on the middle where there are none; a kit's layouts are for wide frames, so
    letters take the largest room that is left. What was cut away is in the notes.
    """
    aspect = profile.width / profile.height
    picture = made.base
    if abs(picture.width / picture.height / aspect - 1) < 0.005:
        return made
    around = union(faces) or FRAME
    left, top, right, bottom = frame(picture, aspect, centre=around.center)
    cut = Picture(np.ascontiguousarray(picture.rgb[top:bottom, left:right]))
    seen = [box for face in faces if (box := _within(face, picture, (left, top, right, bottom))).meets(FRAME)]
    title = text_of(brief, level) if made.lettering is not None else ""
    anew = design(
        cut,
        replace(brief, layout=None),
        replace(kit, layouts=()),
        replace(level, layout=None, text=title),
        seen,
        profile=profile,
    )
    note = f"{profile.name}: cut to columns {left} to {right} and rows {top} to {bottom} of the base"
    return replace(anew, notes=(*anew.notes, note))


def _within(face: Box, picture: Picture, cut: tuple[int, int, int, int]) -> Box:
    """A face's box in shares of the cut."""
    left, top, right, bottom = cut
    width, height = right - left, bottom - top
    return Box(
        (face.left * picture.width - left) / width,
        (face.top * picture.height - top) / height,
        (face.right * picture.width - left) / width,
        (face.bottom * picture.height - top) / height,
    )
