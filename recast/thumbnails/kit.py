"""A brand kit: the colours, letters, logo, people, layouts and rules of one channel, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recast.thumbnails.boxes import Box

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right", "center"]
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Colour:
    """One colour of the palette. hex: "#RRGGBB"; tol: CIEDE2000 within which a colour counts as this one."""

    role: str
    hex: str
    tol: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Font:
    """role: "headline" or a name of the channel's own. tracking: thousandths of an em between letters."""

    role: str
    file: Path
    license: str
    case: Literal["upper", "as-is"] = "as-is"
    tracking: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StrokeStyle:
    """color: hex or a role of the palette. px: at a frame 720 pixels high."""

    color: str
    px: float


@dataclass(frozen=True, kw_only=True)
class ShadowStyle:
    """Pixels of a frame 720 pixels high; blur is a Gaussian's sigma."""

    dx: float = 0.0
    dy: float = 6.0
    blur: float = 12.0
    opacity: float = 0.6


@dataclass(frozen=True, kw_only=True)
class TextStyle:
    """fill: hex or a role of the palette."""

    fill: str = "#FFFFFF"
    stroke: StrokeStyle | None = None
    shadow: ShadowStyle | None = None


@dataclass(frozen=True, kw_only=True)
class LogoStyle:
    """width_pct: least and most width in percent of the frame; clear_space_pct: nothing else so near."""

    file: Path
    anchor: Corner = "top-left"
    width_pct: tuple[float, float] = (8.0, 14.0)
    clear_space_pct: float = 2.0
    mono: Path | None = None


@dataclass(frozen=True, kw_only=True)
class LoRA:
    file: Path
    weight: float = 1.0
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Consent:
    """Who allowed the use of a face, and when (ISO date)."""

    by: str
    date: str


@dataclass(frozen=True, kw_only=True)
class Character:
    """A person of the channel. references: 1 to 8 pictures that show one face each.

    identity_min: the least cosine to the references; None: the recogniser's own calibrated limit.
    """

    id: str
    references: tuple[Path, ...]
    lora: LoRA | None = None
    identity_min: float | None = None
    must_keep: tuple[str, ...] = ()
    consent: Consent | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where face and text go, in percent of the frame as (left, top, right, bottom); the logo's corner."""

    id: str
    text: Box
    face: Box | None = None
    logo: Corner | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """saturation: least and most mean (HSV, 0..1). key: how light the channel's pictures are."""

    reference_images: tuple[Path, ...] = ()
    saturation: tuple[float, float] | None = None
    key: Literal["high", "mid", "low"] | None = None
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """max_words, max_characters, max_lines: of a title. min_contrast: of letters to what is around them (WCAG)."""

    max_words: int = 5
    max_characters: int = 24
    max_lines: int = 2
    forbid_badge_zone: bool = True
    min_contrast: float = 4.5
    brand_min: dict[str, float] = field(default_factory=dict)  # least sub-score (0..100) by name; below: fail
    extra_faces: bool = False  # whether faces other than the characters' may show


@dataclass(frozen=True, kw_only=True)
class ExportStyle:
    profiles: tuple[str, ...] = ("youtube-portable",)


@dataclass(frozen=True, kw_only=True)
class Kit:
    """Everything a channel's thumbnails have in common. folder: that its relative paths start from."""

    name: str
    folder: Path
    palette: tuple[Colour, ...] = ()
    fonts: tuple[Font, ...] = ()
    text_style: TextStyle = field(default_factory=TextStyle)
    logo: LogoStyle | None = None
    characters: tuple[Character, ...] = ()
    layouts: tuple[Layout, ...] = ()
    look: Look = field(default_factory=Look)
    rules: Rules = field(default_factory=Rules)
    export: ExportStyle = field(default_factory=ExportStyle)

    def colour(self, name: str) -> str:
        """The hex of a role of the palette; a hex comes back as it is."""
        return next((each.hex for each in self.palette if each.role == name), name)
