"""Channels of the world for benchmarks/brand_score.py: each its own host, places, palette, font, logo and layout.

Eight are set by hand (CHANNELS); `drawn` makes others from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recast.pixels.image import Picture, write
from recast.thumbnails.design import Design
from recast.thumbnails.kit import Kit, read_kit
from recast.thumbnails.lettering import lettered
from recast.thumbnails.render import render
from recast.world import scene as world
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.lettering import FONTS
from recast.world.scene import EXPRESSIONS, HELD, POSES, VARIANTS, Character, Face, Scene, Thing

WIDTH, HEIGHT = 1280, 720
TITLES = (
    "40 DAYS", "I QUIT", "TOO FAST", "THE LAST ONE", "NO WAY OUT", "WHO WINS", "HIDDEN ROOM", "FREE CAKE",
    "DO NOT OPEN", "MY SECRET", "BIG NEWS", "GONE WRONG",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What a channel's thumbnails have in common. logo: the inside of an SVG of 100 x 100."""

    name: str
    host: Character
    backgrounds: tuple[tuple[str, str], ...]
    look: str
    fill: str
    stroke: str
    font: str
    logo: str
    corner: str
    case: str = "upper"
    things: tuple[str, ...] = ()
    side: str = "right"  # of the host


def _face(*numbers: int) -> Face:
    names = ("width", "height", "eye_size", "eye_gap", "nose", "mouth")
    return Face(**{name: 1 + number / 64 for name, number in zip(names, numbers, strict=True)})


STAR = "M50 3 61 38 98 38 68 59 79 95 50 73 21 95 32 59 2 38 39 38Z"
CHANNELS = (
    Channel(
        name="island", fill="#FFFFFF", stroke="#0B3A53", font="anton", corner="top-left", look="warm",
        host=Character(skin="tan", hair="long", hair_colour="black", face=_face(-6, 4, 6, 0, 0, 4), shirt="orange"),
        backgrounds=(("beach", "day"), ("beach", "sunset")), things=("boat", "umbrella"),
        logo='<circle cx="50" cy="50" r="48" fill="#F4A11D"/>'
             f'<path d="{STAR}" fill="#FFFFFF" transform="translate(20 20) scale(.6)"/>',
    ),
    Channel(
        name="night-city", fill="#FFE14A", stroke="#101018", font="archivo", corner="top-right", look="cool",
        host=Character(skin="pale", hair="short", hair_colour="blue", glasses="square glasses", outfit="jacket",
                       shirt="black", face=_face(6, -4, 0, 4, -6, 0), beard=True),
        side="left", backgrounds=(("city", "night"), ("room", "night")), things=("car", "robot"),
        logo='<rect x="2" y="2" width="96" height="96" rx="18" fill="#101018"/>'
             '<path d="M55 8 20 56 46 56 40 92 80 40 54 40Z" fill="#FFE14A"/>',
    ),
    Channel(
        name="kitchen", fill="#D62839", stroke="#FFFFFF", font="rounded", corner="top-left", look="none", case="as-is",
        host=Character(skin="light", hair="bun", hair_colour="red", freckles=True, outfit="striped t-shirt",
                       shirt="pink", face=_face(0, 0, 4, -4, 6, 6)),
        backgrounds=(("room", "day"),), things=("cake", "apple", "cup"),
        logo='<circle cx="50" cy="50" r="48" fill="#FFFFFF"/>'
             '<path d="M50 88C6 56 14 22 34 22 46 22 50 34 50 38 50 34 54 22 66 22 86 22 94 56 50 88Z" '
             'fill="#D62839"/>',
    ),
    Channel(
        name="space", fill="#7DF9FF", stroke="#1B1035", font="bangers", corner="top-right", look="contrast",
        host=Character(skin="brown", hair="curly", hair_colour="black", outfit="hoodie", shirt="purple",
                       face=_face(4, 6, -6, 0, 4, -6)),
        side="left", backgrounds=(("space", "day"),), things=("rocket", "robot"),
        logo='<circle cx="50" cy="50" r="46" fill="#7B2CBF"/>'
             '<path d="M4 62C30 78 74 74 97 34 90 84 30 98 4 62Z" fill="#7DF9FF"/>',
    ),
    Channel(
        name="forest", fill="#FFFFFF", stroke="#173B1C", font="slab", corner="bottom-left", look="none",
        host=Character(skin="dark", hair="short", hair_colour="gray", hat="beanie", hat_colour="green", beard=True,
                       outfit="jacket", shirt="green", face=_face(-4, -6, 0, 6, 0, 0)),
        backgrounds=(("forest", "day"), ("mountains", "day")), things=("mushroom", "flower"),
        logo='<path d="M50 4 92 90 8 90Z" fill="#2E7D32" stroke="#FFFFFF" stroke-width="6"/>',
    ),
    Channel(
        name="studio", fill="#FF7A00", stroke="#FFFFFF", font="chunky", corner="top-right", look="none",
        host=Character(skin="light", hair="spiky", hair_colour="blonde", glasses="round glasses", shirt="teal",
                       face=_face(0, 6, 6, 6, -4, 0)),
        side="left", backgrounds=(("studio", "day"), ("rays", "day")), things=("gift", "ball"),
        logo='<rect x="4" y="22" width="92" height="56" fill="#00A6A6"/>'
             '<rect x="16" y="34" width="68" height="10" fill="#FFFFFF"/>'
             '<rect x="16" y="54" width="44" height="10" fill="#FFFFFF"/>',
    ),
    Channel(
        name="desert", fill="#111111", stroke="#FFD166", font="marker", corner="top-left", look="warm",
        host=Character(skin="tan", hair="bald", hat="cap", hat_colour="red", beard=True, hair_colour="brown",
                       shirt="white", face=_face(6, 0, -4, -6, 0, -4)),
        backgrounds=(("desert", "day"), ("desert", "sunset")), things=("car", "balloon"),
        logo='<path d="M50 2 98 50 50 98 2 50Z" fill="#EF476F"/><circle cx="50" cy="50" r="20" fill="#FFD166"/>',
    ),
    Channel(
        name="archive", fill="#FFFFFF", stroke="#222222", font="anton", corner="top-right", look="black and white",
        host=Character(skin="pale", hair="ponytail", hair_colour="brown", outfit="jacket", shirt="black",
                       face=_face(-6, -6, -4, 0, -6, 6)),
        side="left", backgrounds=(("city", "day"), ("room", "day")), things=("cat", "cup"),
        logo='<rect x="4" y="4" width="92" height="92" fill="#E63946"/>'
             '<path d="M20 50 44 74 82 28" fill="none" stroke="#FFFFFF" stroke-width="14"/>',
    ),
)  # fmt: skip
LETTERS = (
    ("#FFFFFF", "#14213D"), ("#FFD60A", "#001D3D"), ("#E5383B", "#FFFFFF"), ("#80ED99", "#1B3A2B"),
    ("#111111", "#FFB703"), ("#F72585", "#FFFFFF"), ("#A2D2FF", "#240046"), ("#FB5607", "#FFF3B0"),
)  # fmt: skip
PAINTS = ("#D00000", "#FAA307", "#2A9D8F", "#264653", "#7209B7", "#3A86FF", "#80B918", "#FF70A6", "#FFFFFF", "#1D1D1F")
GROUNDS = (
    '<circle cx="50" cy="50" r="47" fill="{}"/>', '<rect x="3" y="3" width="94" height="94" rx="16" fill="{}"/>',
    '<path d="M50 2 98 50 50 98 2 50Z" fill="{}"/>', '<rect x="3" y="22" width="94" height="56" fill="{}"/>',
)  # fmt: skip
SIGNS = (
    f'<path d="{STAR}" fill="{{}}" transform="translate(22 22) scale(.56)"/>',
    '<path d="M28 50 44 66 72 34" fill="none" stroke="{}" stroke-width="12"/>',
    '<path d="M40 30 70 50 40 70Z" fill="{}"/>', '<circle cx="50" cy="50" r="17" fill="{}"/>',
    '<path d="M34 32V68M50 32V68M66 32V68" stroke="{}" stroke-width="9"/>',
    '<path d="M53 22 32 54 48 54 45 78 68 44 52 44Z" fill="{}"/>',
)  # fmt: skip
LAYOUTS = {
    "right": "{id: host-right, text: [8, 26, 52, 88], face: [52, 8, 97, 95]}",
    "left": "{id: host-left, text: [48, 26, 92, 80], face: [3, 8, 48, 95]}",
}


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """One thumbnail: its scene, its design, and the flat picture (H, W, 3) uint8."""

    scene: Scene
    design: Design
    rgb: np.ndarray = field(repr=False)


def drawn(seed: int, count: int = 8) -> tuple[Channel, ...]:
    """Other channels: places, letters' colours and signs of logos differ among at most eight, all else is by chance."""
    dice = Dice(seed, "brands")
    places, letters = dice.shuffled(world.BACKGROUNDS), dice.shuffled(LETTERS)
    made = []
    for i in range(count):
        fill, stroke = letters[i % len(letters)]
        ground, sign = dice.shuffled(PAINTS)[:2]
        background = places[i % len(places)]
        times = ("day",) if background in world.TIMELESS else (dice.choice(world.TIMES), dice.choice(world.TIMES))
        host = Character(
            skin=dice.choice(tuple(world.SKINS)), hair=dice.choice(world.HAIRS),
            hair_colour=dice.choice(tuple(world.HAIR_COLOURS)),
            beard=dice.chance(0.3), freckles=dice.chance(0.2), outfit=dice.choice(world.OUTFITS),
            shirt=dice.choice(world.SHIRTS),
            glasses=dice.weighted({"none": 6, "round glasses": 1, "square glasses": 1}),
            hat=dice.weighted({"none": 6, "cap": 1, "beanie": 1}),
            face=_face(*(6 - 2 * dice.below(7) for _ in range(6))),
        )  # fmt: skip
        channel = Channel(
            name=f"drawn-{seed}-{i}",
            fill=fill,
            stroke=stroke,
            font=dice.choice(tuple(FONTS)),
            corner=dice.choice(("top-left", "top-right", "bottom-left")),
            look=dice.choice(world.LOOKS),
            host=host,
            backgrounds=tuple((background, time) for time in dict.fromkeys(times)),
            things=tuple(dice.shuffled(world.THINGS)[:2]),
            logo=dice.choice(GROUNDS).format(ground) + SIGNS[i % len(SIGNS)].format(sign),
            case=dice.weighted({"upper": 4, "as-is": 1}),
            side=dice.choice(("left", "right")),
        )
        made.append(channel)
    return tuple(made)


def kit_of(channel: Channel, folder: Path) -> Kit:
    """The channel's kit, written to and read from a folder with its logo and pictures of its host."""
    folder.mkdir(parents=True, exist_ok=True)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{channel.logo}</svg>'
    (folder / "logo.svg").write_text(svg)
    references = []
    for i, mood in enumerate(("happy", "calm", "surprised", "sad")):
        host = replace(channel.host, expression=mood, place="center", scale=1.25)
        scene = Scene(background="plain", variant=3 * i, characters=(host,))
        references.append(f"host_{mood}.png")
        write(draw(scene, 384, 384), folder / references[-1])
    (folder / "brand.yaml").write_text(
        "schema: 1\n"
        f"name: {channel.name}\n"
        f'palette: [{{role: fill, hex: "{channel.fill}"}}, {{role: line, hex: "{channel.stroke}"}}]\n'
        f"fonts: [{{role: headline, file: {FONTS[channel.font].path}, license: OFL-1.1, case: {channel.case}}}]\n"
        "text_style: {fill: fill, stroke: {color: line, px: 12}}\n"
        f"logo: {{file: logo.svg, anchor: {channel.corner}, width_pct: [8, 10], clear_space_pct: 1}}\n"
        f"characters: [{{id: host, references: [{', '.join(references)}]}}]\n"
        f"layouts: [{LAYOUTS[channel.side]}]\n"
        "rules: {max_lines: 3}\n"
    )
    return read_kit(folder / "brand.yaml")


def thumbnail(channel: Channel, kit: Kit, number: int) -> Thumbnail:
    """The channel's thumbnail of a number: another background, pose, mood, prop and title each."""
    dice = Dice(number, f"brand {channel.name}")
    background, time = dice.choice(channel.backgrounds)
    side = channel.side
    host = replace(
        channel.host,
        place=side,
        scale=1.0 + dice.below(20) / 64,
        expression=dice.choice(EXPRESSIONS),
        pose=dice.choice(POSES),
        holding=dice.choice(("none", "none", *HELD)),
    )
    other = "right" if side == "left" else "left"
    things = (Thing(kind=dice.choice(channel.things), size="small", place=other),) if dice.chance(0.6) else ()
    scene = Scene(
        background=background,
        time=time,
        variant=dice.below(VARIANTS),
        look=channel.look,
        characters=(host,),
        things=things,
    )
    title = TITLES[(7 * number + len(channel.name)) % len(TITLES)]
    return thumbnail_of(scene, kit, title if channel.case == "upper" else title.capitalize())


def thumbnail_of(scene: Scene, kit: Kit, title: str) -> Thumbnail:
    """The thumbnail of a scene with a title set by a kit."""
    design = lettered(Picture(draw(scene, WIDTH, HEIGHT)), title, kit)
    return Thumbnail(scene, design, render(design, width=WIDTH, height=HEIGHT).rgb)
