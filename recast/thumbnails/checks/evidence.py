"""One picture as the checks see it: each fact is found once, when the first check asks for it, or said to be unseen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from recast.errors import ConfigError, InputError, ShapeError
from recast.pixels import image as files
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks.limits import Limits
from recast.thumbnails.checks.title import Title, read_title, set_title
from recast.thumbnails.design import Design
from recast.thumbnails.identity import Cast, Sheet, cast, sheet
from recast.thumbnails.kit import Kit
from recast.thumbnails.profiles import USUAL, Profile
from recast.thumbnails.seeing import FoundFace, ReadLine, Sight

LOOKED_AT_PX = 1280
"""The longer side at which a picture is looked at: 4K shows the eye no more, and takes nine times as long."""
SMALL_PX = 168
"""The longer side of a thumbnail in a list beside a video, where it must still work."""
ENLARGED = 4
IN_A_FACE = 0.6
"""The share of a read line's box within a face from which on it is no text: readers take round eyes for zeros."""
HOW_TO_READ = "no reader of text is there; pip install 'recast[reading]'"
HOW_TO_SEE = "nothing finds faces; pass a face recogniser"


class Unseen(Exception):
    """A fact that cannot be had: the sentence says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a picture is meant to show, as far as that is known.

    text: the title that is to be read, "" for none, None where nobody said. characters: ids that must show, None where
    nobody said. allowed: other strings that may be read, as on a product. is_edit: of a given frame.
    """

    text: str | None = None
    characters: tuple[str, ...] | None = None
    allowed: tuple[str, ...] = ()
    is_edit: bool | None = None


@dataclass(eq=False, kw_only=True)
class Evidence:
    """source: a file, or a picture that is not written yet. sheets: of the characters; None: made from the kit's.

    certificate: from a file to the text of the certificate it carries, or None.
    """

    source: Path | Picture
    design: Design | None = None
    kit: Kit | None = None
    expected: Expected = field(default_factory=Expected)
    sight: Sight = field(default_factory=Sight)
    limits: Limits = field(default_factory=Limits)
    profile: Profile = USUAL
    sheets: Sequence[Sheet] | None = None
    certificate: Callable[[Path], str | None] | None = None

    @cached_property
    def path(self) -> Path:
        """The file. Unseen for a picture that is none yet."""
        if isinstance(self.source, Picture):
            raise Unseen("the picture is not a file yet; export it, and check the file")
        return self.source

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file. Raises InputError for one that cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise InputError(
                f"picture={str(self.path)!r}: cannot be read ({error.strerror}); {files.ACCEPTED} accepted; check that "
                "it names one file you may read"
            ) from error

    @cached_property
    def picture(self) -> Picture:
        """The whole picture, decoded. Unseen for one that does not decode."""
        if isinstance(self.source, Picture):
            return self.source
        try:
            return files.read(self.data, name=self.path.name)
        except InputError as error:
            raise Unseen("the file does not decode, see G4; export it again") from error

    @cached_property
    def rgb(self) -> np.ndarray:
        """The picture (H, W, 3) uint8 on black, as platforms flatten it, its longer side at most 1280."""
        picture = self.picture
        rgb = picture.rgb
        if picture.alpha is not None:
            rgb = np.rint(rgb * (picture.alpha[..., None] / np.float32(255))).astype(np.uint8)
        return _within(rgb, LOOKED_AT_PX)

    @cached_property
    def small(self) -> np.ndarray:
        """The picture as lists show it, averaged by area, its longer side 168."""
        return _resized(self.rgb, SMALL_PX)

    @cached_property
    def below(self) -> np.ndarray:
        """What lies beneath lettering and logo, as large as `rgb`; the picture itself where that is not known."""
        if self.design is None:
            return self.rgb
        height, width = self.rgb.shape[:2]
        base = self.design.base.rgb
        shrinks = base.shape[1] > width
        return cv2.resize(base, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    @cached_property
    def small_below(self) -> np.ndarray:
        """`below` as lists show it, as large as `small`."""
        return _resized(self.below, SMALL_PX)

    @cached_property
    def covered(self) -> np.ndarray:
        """Where graphics lie in `below`, (H, W) bool: nowhere in a design's base, else where lines were read."""
        height, width = self.below.shape[:2]
        covered = np.zeros((height, width), bool)
        if self.design is None and self.sight.text is not None:
            for line in self.lines:
                left, top, right, bottom = line.box.pixels(width=width, height=height)
                covered[top:bottom, left:right] = True
        return covered

    @cached_property
    def lines(self) -> list[ReadLine]:
        """What is read in the picture at full size. Unseen without a reader."""
        return self._read(self.rgb)

    @cached_property
    def small_lines(self) -> list[ReadLine]:
        """What is read in the picture at 168 pixels, enlarged four times. Unseen without a reader."""
        height, width = self.small.shape[:2]
        return self._read(cv2.resize(self.small, (width * ENLARGED, height * ENLARGED), interpolation=cv2.INTER_CUBIC))

    @cached_property
    def all_faces(self) -> list[FoundFace]:
        """Every face, largest first. Unseen without a recogniser."""
        if self.sight.faces is None:
            raise Unseen(self.sight.why.get("faces", HOW_TO_SEE))
        return sorted(self.sight.faces.faces(self.rgb), key=lambda each: -each.box.height)

    @cached_property
    def faces(self) -> list[FoundFace]:
        """The faces that count, largest first. Unseen without a recogniser."""
        return [each for each in self.all_faces if each.box.height >= self.limits.counted_face]

    @cached_property
    def cast(self) -> Cast:
        """Which of the faces that count is which character's. Unseen without a recogniser, or without characters.

        Raises ConfigError where a character is expected whom neither kit nor sheets have.
        """
        if self.kit is None or not (self.kit.characters or self.sheets):
            raise Unseen("whose faces these should be is not known; pass a brand kit with characters")
        known = [
            *dict.fromkeys([each.id for each in self.kit.characters] + [each.character for each in self.sheets or ()])
        ]
        strange = [each for each in self.expected.characters or () if each not in known]
        if strange:
            raise ConfigError(
                f"characters={', '.join(strange)}: not in the kit; {', '.join(known)} accepted; choose among them"
            )
        found, eyes = self.faces, self.sight.faces
        assert eyes is not None
        return cast(self.rgb, self.known_sheets, eyes, found=found)

    @cached_property
    def known_sheets(self) -> Sequence[Sheet]:
        """The sheets of the kit's characters: those given, or made from their references; none without a recogniser."""
        if self.sheets is not None or self.kit is None or self.sight.faces is None:
            return self.sheets or ()
        return [sheet(each, self.sight.faces) for each in self.kit.characters]

    @cached_property
    def title(self) -> Title | None:
        """The title: exactly, of a design; else as it is read, None where nothing is. Unseen without a reader."""
        if self.design is not None and self.design.lettering is not None:
            return set_title(self.design.lettering)
        if self.design is not None and not self.expected.text:
            return None
        return read_title(self.lines, self.rgb)

    def _read(self, rgb: np.ndarray) -> list[ReadLine]:
        if self.sight.text is None:
            raise Unseen(self.sight.why.get("text", HOW_TO_READ))
        faces = [] if self.sight.faces is None else [each.box for each in self.all_faces]
        return [
            each
            for each in self.sight.text.read(rgb)
            if each.text.strip() and not any(each.box.overlap(face) > IN_A_FACE * each.box.area for face in faces)
        ]


def logo_boxes(seen: Evidence) -> Sequence[Box]:
    """Where the logo of a design lies: one box, or none."""
    return () if seen.design is None or seen.design.logo is None else (seen.design.logo.box,)


def _within(rgb: np.ndarray, longest: int) -> np.ndarray:
    return rgb if max(rgb.shape[:2]) <= longest else _resized(rgb, longest)


def _resized(rgb: np.ndarray, longest: int) -> np.ndarray:
    """The picture with its longer side so many pixels, averaged by area."""
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if min(height, width) * scale < 1:
        raise ShapeError(f"picture: {width}x{height} came; sides of at most 100 to 1 accepted; crop it")
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
