"""How far apart are variants, and how far are look-alikes? What V1 holds the variants of a set to.

    python benchmarks/variant_distance.py --bases 40 [--set my-video/set ...]

A base is a person on a ground of the world with a title; of each one comes a pair for every factor, as a set would
have it, and look-alikes: the same picture saved again, scaled, brightened, shifted, and the same ground drawn with
another seed. Measured as V1 does (`checks.apart`): bits of the perceptual hash of the whole and of the part in which
two differ, 1 - cosine of the embedding of looks; of text, layout and colour what is declared. Prints the 0, 5, 50, 95
and 100 % quantiles and the shares that pass, and appends them to benchmarks/results/variant_distance.jsonl.
--set: candidates of finished sets, every two of them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import record

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Factor
from recast.thumbnails.checks import Evidence, Limits, check_set
from recast.thumbnails.design import Design
from recast.thumbnails.kit import Colour, Font, Kit, Layout, StrokeStyle, TextStyle
from recast.thumbnails.lettering import lettered
from recast.thumbnails.render import render
from recast.thumbnails.seeing import Sight
from recast.thumbnails.shaping import bundled
from recast.thumbnails.style import Style
from recast.world.draw import draw
from recast.world.faces import true_faces
from recast.world.scene import BACKGROUNDS, EXPRESSIONS, HELD, SHIRTS, STYLES, TIMELESS, TIMES, Character, Scene

WIDTH, HEIGHT = 640, 360
TITLES = ("IT DREW ME", "I QUIT", "DAY 100", "SO CLOSE", "NEVER AGAIN", "THE TRUTH", "TOO FAST", "WHO WON?", "24 HOURS")
KIT = Kit(
    name="bench",
    folder=Path(),
    palette=tuple(
        Colour(role=role, hex=hex)
        for role, hex in (("light", "#FFFFFF"), ("accent", "#FFD21F"), ("primary", "#E0242B"), ("ink", "#0B0B0F"))
    ),
    fonts=(Font(role="headline", file=bundled("anton"), license="OFL-1.1", case="upper"),),
    text_style=TextStyle(fill="light", stroke=StrokeStyle(color="ink", px=10)),
    layouts=(
        Layout(id="low", text=Box(0.08, 0.5, 0.5, 0.92)),
        Layout(id="high", text=Box(0.08, 0.1, 0.5, 0.5)),
    ),
)
SIGHT = Sight(style=Style())
LOOK_ALIKES = ("saved again", "scaled", "brighter", "shifted", "another seed")
FACTORS: tuple[Factor, ...] = ("background", "expression", "prop", "style", "text", "layout", "colour")
DECLARED = ("letters", "moved", "letters_de00")
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Made:
    """One variant: its scene, and what of its lettering is not the usual."""

    scene: Scene
    text: str
    layout: str = "low"
    fill: str = "light"

    def design(self) -> Design:
        faces = [Box(each.left, each.top, each.right, each.bottom) for each, _, _ in true_faces(self.scene, 16 / 9)]
        base = Picture(draw(self.scene, WIDTH, HEIGHT))
        return lettered(base, self.text, KIT, layout=self.layout, fill=self.fill, faces=faces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for i in range(options.bases):
        for name, pair in pairs(random.Random(f"{options.seed}-{i}")):
            found.setdefault(name, []).append(pair)
        print(f"base {i + 1} of {options.bases}", flush=True)
    for folder in options.set:
        found[f"the set {folder.parent.name}"] = list(of_a_set(folder))
    rows = [row(name, many) for name, many in found.items()]
    print(record.table([{name: _short(value) for name, value in each.items()} for each in rows]))
    limits = {"hash_bits": Limits().hash_bits, "embedding": Limits().embedding, "least": Limits().differs_least}
    record.append("variant_distance", {"bases": options.bases, "seed": options.seed, "limits": limits, "rows": rows})


def pairs(dice: random.Random) -> Iterator[tuple[str, dict[str, float]]]:
    """Of one base: its name and distances to a look-alike of every kind, and to another level of every factor."""
    while True:
        base = drawn(dice)
        try:
            design = base.design()
            break
        except (ConfigError, InputError):
            continue  # no room for this title beside this face
    flat = render(design, width=WIDTH, height=HEIGHT).rgb
    for name in LOOK_ALIKES[:-1]:
        yield f"look-alike: {name}", apart(of(flat, None), of(look_alike(name, flat), None), "background")
    made: list[tuple[str, Factor, Made]] = [("look-alike: another seed", "background", another_seed(base, dice))]
    made += [(factor, factor, other_level(base, factor, dice)) for factor in FACTORS]
    for name, factor, other in made:
        try:
            second = other.design()
        except (ConfigError, InputError):
            continue
        yield name, apart(of(flat, design), of(render(second, width=WIDTH, height=HEIGHT).rgb, second), factor)


def of(rgb: np.ndarray, design: Design | None) -> Evidence:
    return Evidence(source=Picture(rgb), design=design, sight=SIGHT)


def apart(first: Evidence, second: Evidence, factor: Factor) -> dict[str, float]:
    """What V1 measures between two, and whether it lets them pass."""
    finding = check_set({"a": first, "b": second}, factor=factor)[0]
    return {**finding.numbers["pairs"]["a / b"], "passes": float(finding.verdict == "pass")}


def of_a_set(folder: Path) -> Iterator[dict[str, float]]:
    """Every two candidates of a set of another factor than text, layout and colour, which need the designs."""
    files = sorted((folder / "candidates").iterdir())
    seen = {path.stem: of(image.read(path).rgb, None) for path in files}
    factor = json.loads((folder / "manifest.json").read_text())["factor"]
    for a, b in combinations(seen, 2):
        yield apart(seen[a], seen[b], factor)


def drawn(dice: random.Random) -> Made:
    ground = dice.choice(BACKGROUNDS)
    day = "day" if ground in TIMELESS else dice.choice(TIMES)
    who = Character(place="right", dx=0.0, shirt=dice.choice(SHIRTS), scale=dice.choice([0.75, 1.0, 1.25]),
                    expression=dice.choice(EXPRESSIONS))  # fmt: skip
    scene = Scene(background=ground, time=day, variant=dice.randrange(8), characters=(who,))
    return Made(scene, dice.choice(TITLES))


def another_seed(base: Made, dice: random.Random) -> Made:
    others = [each for each in range(8) if each != base.scene.variant]
    return replace(base, scene=replace(base.scene, variant=dice.choice(others)))


def other_level(base: Made, factor: Factor, dice: random.Random) -> Made:
    """The base with another level of a factor, all else the same."""
    scene, (who,) = base.scene, base.scene.characters
    if factor == "background":
        ground = dice.choice([each for each in BACKGROUNDS if each != scene.background])
        return replace(base, scene=replace(scene, background=ground, time="day"))
    if factor == "expression":
        other = dice.choice([each for each in EXPRESSIONS if each != who.expression])
        return replace(base, scene=replace(scene, characters=(replace(who, expression=other),)))
    if factor == "prop":
        held = replace(who, holding=dice.choice([each for each in HELD if each != "none"]))
        return replace(base, scene=replace(scene, characters=(held,)))
    if factor == "style":
        return replace(base, scene=replace(scene, style=dice.choice([each for each in STYLES if each != "flat"])))
    if factor == "text":
        return replace(base, text=dice.choice([each for each in TITLES if each != base.text]))
    if factor == "layout":
        return replace(base, layout="high")
    return replace(base, fill=dice.choice(["accent", "primary"]))


def look_alike(name: str, rgb: np.ndarray) -> np.ndarray:
    """The same picture as somebody else would save it."""
    if name == "saved again":
        return image.read(image.encode(Picture(rgb), "jpeg", quality=60), name=name).rgb
    if name == "scaled":
        return cv2.resize(rgb, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    if name == "brighter":
        return np.clip(rgb * 1.12 + 4, 0, 255).astype(np.uint8)
    shift = np.array([[1, 0, 0.01 * WIDTH], [0, 1, 0.01 * HEIGHT]])
    moved: np.ndarray = cv2.warpAffine(rgb, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return moved


def row(name: str, many: list[dict[str, float]]) -> dict[str, object]:
    spread = {}
    for key in ("bits", "bits_where_different", "embedding"):
        known = [each[key] for each in many if key in each]
        spread[key] = [round(float(each), 4) for each in np.quantile(known, QUANTILES)] if known else []
    declared = [value for each in many for key, value in each.items() if key in DECLARED]
    return {
        "pair": name,
        "pairs": len(many),
        **spread,
        "declared": [round(float(each), 3) for each in np.quantile(declared, QUANTILES)] if declared else [],
        "passes": float(np.mean([each["passes"] for each in many])),
    }


def _short(value: object) -> object:
    return " ".join(f"{each:.3g}" for each in value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
