"""A title and a logo over a base, as a kit has them: where there is room, in colours that can be read there.

`lettered` is the top: logo in its corner → the room that is left → the title fitted into it → colours that the picture
allows. Each step is a function of its own file: `logos`, `fitting`, `legibility`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails import logos
from recast.thumbnails.boxes import BADGE, BAR, SOFT, Box
from recast.thumbnails.design import Design, Lettering
from recast.thumbnails.fitting import fit
from recast.thumbnails.kit import Font, Kit, Layout, TextStyle
from recast.thumbnails.legibility import legible
from recast.thumbnails.shaping import bundled

FACE_GAP = 0.012  # between a face and letters or logo, a share of the frame's width
HEADLINE = "headline"


def lettered(
    base: Picture,
    text: str | None,
    kit: Kit,
    *,
    layout: str | None = None,
    fill: str | None = None,
    faces: Sequence[Box] | None = None,
    aspect: float = 16 / 9,
    badge: bool | None = None,
) -> Design:
    """The base with the kit's logo and a title, and notes on everything that was decided.

    text: None for no title. layout: an id of the kit's; None: its first, or the recommended margin where it has none.
    fill: of the letters, a colour or a role of the palette; None: the kit's. faces: found on the base; None: not looked
    for, so that the layout's own face box is kept free. aspect: width / height of the frame. badge: whether its
    duration badge is kept free; None: as the kit's rules say.
    Raises ConfigError for a layout that the kit has not, and for a title that does not fit; InputError for fonts and
    logos that cannot be used.
    """
    chosen = _layout(kit, layout)
    if faces is None:
        faces = [chosen.face] if chosen.face else []
    kept = [each.grown(FACE_GAP, FACE_GAP * aspect) for each in faces]
    has_badge = kit.rules.forbid_badge_zone if badge is None else badge
    logo, notes = None, list[str]()
    if kit.logo:
        logo, said = logos.place(
            kit.logo, base=base, aspect=aspect, corner=chosen.logo, avoid=list(faces), badge=has_badge
        )
        notes += said
        clear = kit.logo.clear_space_pct / 100
        kept.append(logo.box.grown(clear, clear * aspect))
    if has_badge:
        kept += [BADGE, BAR]
    lettering = None
    if text is not None:
        style = resolved(kit, fill)
        font = headline(kit)

        def setting(style: TextStyle, plate: str | None) -> Lettering:
            return fit(text, font, style, area=chosen.text, avoid=kept, rules=kit.rules, aspect=aspect, plate=plate)

        colours = [each.hex for each in kit.palette]
        found = legible(setting, style, base, palette=colours, least=kit.rules.min_contrast)
        lettering = found.lettering
        notes += [found.note] if found.note else []
        notes += [] if kit.fonts else [f"font: the kit names none; {font.file.name} is set"]
    return Design(base=base, lettering=lettering, logo=logo, layout=chosen.id, notes=tuple(notes))


def headline(kit: Kit) -> Font:
    """The kit's headline font, or else its first; a bundled one for a kit that names none."""
    named = [each for each in kit.fonts if each.role == HEADLINE]
    if named or kit.fonts:
        return (named or list(kit.fonts))[0]
    return Font(role=HEADLINE, file=bundled("anton"), license="OFL-1.1", case="upper")


def resolved(kit: Kit, fill: str | None = None) -> TextStyle:
    """The kit's text style with every colour as "#RRGGBB". fill: in the place of its own, a colour or a role."""
    style = replace(kit.text_style, fill=kit.colour(fill or kit.text_style.fill))
    if style.stroke:
        style = replace(style, stroke=replace(style.stroke, color=kit.colour(style.stroke.color)))
    return style


def _layout(kit: Kit, name: str | None) -> Layout:
    if name is None:
        return kit.layouts[0] if kit.layouts else Layout(id="margin", text=SOFT)
    for each in kit.layouts:
        if each.id == name:
            return each
    known = ", ".join(each.id for each in kit.layouts) or "none; the kit has no layouts"
    raise ConfigError(f"layout={name!r}: no layout of the kit {kit.name!r}; accepted: {known}; name one of them")
