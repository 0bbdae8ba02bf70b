"""A brief: what one video's thumbnails are to be, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Factor = Literal["text", "layout", "colour", "background", "expression", "prop", "style"]
"""What the variants of a set differ in. text, layout, colour: set anew over one picture; the others: edited."""
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Level:
    """One value of the declared factor.

    name: short and unique. edit: the instruction, for factors that are edited; None leaves the base as it is. text: the
    title, layout: the id of a layout, colour: fill of the letters, each None for the brief's own.
    """

    name: str
    edit: str | None = None
    text: str | None = None
    layout: str | None = None
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class Base:
    """The picture that all variants share: a given frame, or words to generate one; frame with edit: edited first.

    keep: what no edit may touch. "characters": the faces found, and what belongs to them; "nothing"; or boxes in
    percent of the frame come as `keep_boxes`.
    """

    frame: Path | None = None
    prompt: str | None = None
    edit: str | None = None
    keep: Literal["characters", "nothing"] = "characters"
    keep_boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variants:
    """factor and levels; each is made with `seeds_per_level` seeds. retries: new seeds for a face that is lost."""

    factor: Factor
    levels: tuple[Level, ...]
    seeds_per_level: int = 1
    retries: int = 2
    ship: int = 3  # how many of those that pass are exported, best first, one a level


@dataclass(frozen=True, kw_only=True)
class Brief:
    """One video. text: the title on the picture. kit: the brand kit's file. characters: ids that must show.

    hypothesis: what the set is to find out; manifests carry it. images: further context pictures by name, such as
    product: the instructions call them @product; @host and @logo come from the kit.
    """

    title: str
    text: str
    kit: Path
    folder: Path
    base: Base
    variants: Variants
    topic: str = ""
    promise: str = ""
    audience: str = ""
    hooks: tuple[str, ...] = ()
    hypothesis: str = ""
    characters: tuple[str, ...] = ()
    images: Mapping[str, Path] = field(default_factory=dict)
    layout: str | None = None
    text_in_scene: bool = False  # glyphs set into the scene by the model, read back, else the layer
    seed: int = 0
    steps: int | None = None
    profiles: tuple[str, ...] = ()  # none: the kit's
