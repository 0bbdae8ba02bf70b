"""Where a thumbnail goes, and what is accepted there: sizes, bytes, formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recast.errors import ConfigError

MB = 1_000_000
"""Platforms write MB and mean either; the smaller of the two is accepted by both."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """width, height: pixels of what is exported; their ratio is the only one accepted.

    good_width: less is accepted, and shown coarsely; least_width: less is refused. formats: as Pillow names them.
    has_badge: whether a duration badge lies over the lower right corner.
    """

    name: str
    width: int
    height: int
    good_width: int
    least_width: int
    limit_bytes: int = 2 * MB
    formats: tuple[str, ...] = ("JPEG", "PNG")
    has_badge: bool = False


PROFILES: Mapping[str, Profile] = {
    each.name: each
    for each in (
        Profile(name="youtube-portable", width=1280, height=720, good_width=1280, least_width=640, has_badge=True),
        Profile(
            name="youtube-4k",
            width=3840,
            height=2160,
            good_width=1280,
            least_width=640,
            limit_bytes=50 * MB,
            has_badge=True,
        ),
        Profile(name="shorts", width=1080, height=1920, good_width=1080, least_width=720),
        Profile(name="square", width=1080, height=1080, good_width=1080, least_width=600),
        Profile(name="feed-4x5", width=1080, height=1350, good_width=1080, least_width=600),
        Profile(name="og", width=1200, height=630, good_width=1200, least_width=600),
        Profile(name="x", width=1600, height=900, good_width=1200, least_width=600),
        Profile(name="podcast", width=3000, height=3000, good_width=1400, least_width=1400, limit_bytes=10 * MB),
    )
}
USUAL = PROFILES["youtube-portable"]


def profile(name: str) -> Profile:
    """The profile of a name. Raises ConfigError for one that there is not."""
    if name not in PROFILES:
        raise ConfigError(f"profile={name!r}: no such profile; {', '.join(PROFILES)} accepted; choose one of them")
    return PROFILES[name]
