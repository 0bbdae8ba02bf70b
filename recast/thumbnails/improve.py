"""A design that fails where it is small → one that does not: the title set again, within what the kit leaves free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recast.errors import ConfigError, InputError
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks import Evidence, Expected, Limits, check
from recast.thumbnails.design import Design
from recast.thumbnails.findings import Finding
from recast.thumbnails.identity import Sheet
from recast.thumbnails.kit import Kit
from recast.thumbnails.lettering import lettered
from recast.thumbnails.render import render
from recast.thumbnails.seeing import Sight

WHERE_SMALL = ("S1", "T2", "T3", "T4", "X1")
"""The checks that a title set again can mend."""
TRIES = 8
HEAVIER = 1.6
"""By which a stroke grows: at 168 pixels the kit's own may be less than half a pixel."""
WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True, kw_only=True)
class Improved:
    """What came of it. changes: in words, none where the design was fine or nothing was better. tries: that were set.

    before, after: findings of the checks in WHERE_SMALL.
    """

    design: Design
    before: tuple[Finding, ...]
    after: tuple[Finding, ...]
    changes: tuple[str, ...] = ()
    tries: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing fails or warns any more."""
        return _wrong(self.after) == (0, 0)


def improve(
    design: Design,
    kit: Kit,
    *,
    sight: Sight,
    faces: Sequence[Box] | None = None,
    sheets: Sequence[Sheet] | None = None,
    tries: int = TRIES,
) -> Improved:
    """The design itself if its title holds at 168 pixels, else the best of a few others that the kit allows.

    In turn: a heavier stroke, each other colour of the palette, then the same in each other layout; the first that
    neither fails nor warns is taken, else the one that fails least, if that is less than the design does. Picture,
    logo file, font and words stay. faces: as of `lettered`. Raises ConfigError for a design without a title.
    """
    if design.lettering is None:
        raise ConfigError("design: no lettering came; a design with a title accepted; nothing else is set again")
    text = design.lettering.text
    aspect = design.lettering.aspect
    found = _findings(design, kit, sight, sheets)
    best = Improved(design=design, before=found, after=found)
    tried = 0
    for words, other, layout, fill in _ways(design, kit):
        if best.holds or tried >= tries:
            break
        try:
            made = lettered(design.base, text, other, layout=layout, fill=fill, faces=faces, aspect=aspect)
        except (ConfigError, InputError):
            continue  # no room for the title in this layout
        tried += 1
        after = _findings(made, kit, sight, sheets)
        if _wrong(after) < _wrong(best.after):
            best = replace(best, design=made, after=after, changes=(words, *made.notes))
    return replace(best, tries=tried)


def _ways(design: Design, kit: Kit) -> Iterator[tuple[str, Kit, str | None, str | None]]:
    """What may be changed, in words, as the kit, the layout and the fill to set the title by."""
    assert design.lettering is not None
    layouts: list[str | None] = [design.layout] if any(each.id == design.layout for each in kit.layouts) else [None]
    layouts += [each.id for each in kit.layouts if each.id not in layouts]
    style = kit.text_style
    heavy = kit
    if style.stroke is not None:
        stroke = replace(style.stroke, px=style.stroke.px * HEAVIER)
        heavy = replace(kit, text_style=replace(style, stroke=stroke))
    for layout in layouts:
        moved = f"layout {layout}" if layout != layouts[0] else ""
        if moved:
            yield moved, kit, layout, None
        if heavy is not kit:
            yield _joined(moved, f"stroke {HEAVIER:g} times as wide"), heavy, layout, None
        for colour in kit.palette:
            if colour.hex != design.lettering.fill:
                yield _joined(moved, f"letters in {colour.role}"), kit, layout, colour.role


def _findings(design: Design, kit: Kit, sight: Sight, sheets: Sequence[Sheet] | None) -> tuple[Finding, ...]:
    assert design.lettering is not None
    aspect = design.lettering.aspect
    width, height = (WIDTH, round(WIDTH / aspect)) if aspect >= 1 else (round(HEIGHT * aspect), HEIGHT)
    seen = Evidence(
        source=render(design, width=width, height=height),
        design=design,
        kit=kit,
        expected=Expected(text=design.lettering.text),
        sight=sight,
        limits=Limits.of(kit),
        sheets=sheets,
    )
    return tuple(check(seen, WHERE_SMALL))


def _wrong(findings: Sequence[Finding]) -> tuple[int, int]:
    """How many fail, and how many warn."""
    verdicts = [each.verdict for each in findings]
    return verdicts.count("fail"), verdicts.count("warn")


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
