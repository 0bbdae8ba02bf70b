"""What narrows a key of a YAML document beyond its type: marks for `Annotated`, read by `documents`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Between:
    """Of a number, from `least` to `most`, both accepted; of a tuple or mapping, how many it holds."""

    least: float
    most: float


@dataclass(frozen=True)
class Like:
    """Of a text that as a whole matches `pattern`; words: what that is, for a person."""

    pattern: str
    words: str


@dataclass(frozen=True)
class OneOf:
    """Of a text that is one of some words."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class PictureFile:
    """Of a path whose file is a whole picture with sides of at least `least_px`.

    takes_svg: whether it may be an SVG, which is only looked for.
    """

    least_px: int = 1
    takes_svg: bool = False


@dataclass(frozen=True)
class Bundled:
    """Of a path that may also be the bare name of a file with `suffix` in `folder`, such as a font that we bring."""

    folder: Path
    suffix: str

    def names(self) -> list[str]:
        return sorted(each.stem for each in self.folder.glob(f"*{self.suffix}"))


@dataclass(frozen=True)
class MayBeAbsent:
    """Of a path whose file need not be there; what is there is a file."""


HEX = Like("#[0-9A-Fa-f]{6}", 'a colour such as "#E0242B" (in quotes: a bare # begins a comment)')
PAINT = Like(
    "#[0-9A-Fa-f]{6}|[A-Za-z][A-Za-z0-9_-]*", 'a colour such as "#E0242B" (in quotes) or a role of the palette'
)
NAME = Like("[A-Za-z][A-Za-z0-9_-]{0,39}", "a name of letters, digits, _ and -, beginning with a letter,")
SOME = Like(r"(?s).*\S.*", "a text that is not empty")
