"""Are titles read at 168 pixels? OCR of generated designs as they are set first, and after `thumbnails.improve`.

    python benchmarks/small_size.py --designs 40

Before: the title as large as it fits, in the kit's own colours, whatever lies behind. Designs: people and grounds of
the world, a list of titles, three kits (white with a stroke, plain white, colour on colour). Prints pass rates of T4
and of all checks that a title can mend, before and after, and appends a line to benchmarks/results/small_size.jsonl.
RapidOCR reads both times, and `improve` takes what it reads: another reader, or a person, may differ.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import record

from recast.cli.sight import sight
from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import BADGE, Box
from recast.thumbnails.design import Design
from recast.thumbnails.findings import Finding
from recast.thumbnails.fitting import fit
from recast.thumbnails.improve import Improved, improve
from recast.thumbnails.kit import Colour, Font, Kit, Layout, StrokeStyle, TextStyle
from recast.thumbnails.lettering import resolved
from recast.thumbnails.shaping import bundled
from recast.world.draw import draw
from recast.world.faces import true_faces
from recast.world.scene import BACKGROUNDS, SHIRTS, TIMELESS, TIMES, Character, Scene

TITLES = (
    "WHY IT FAILED", "I QUIT", "DAY 100", "SO CLOSE", "NEVER AGAIN", "THE TRUTH", "TOO FAST", "WHO WON?", "FIRST TRY",
    "IT WORKED", "BIG NEWS", "DON'T DO THIS", "GONE WRONG", "24 HOURS",
)  # fmt: skip
PALETTE = (
    Colour(role="light", hex="#FFFFFF"),
    Colour(role="accent", hex="#FFD21F"),
    Colour(role="primary", hex="#E0242B"),
    Colour(role="ink", hex="#0B0B0F"),
)
STYLES = {
    "stroke": TextStyle(fill="light", stroke=StrokeStyle(color="ink", px=8)),
    "plain": TextStyle(fill="light"),
    "colour": TextStyle(fill="primary", stroke=StrokeStyle(color="accent", px=4)),
}
LAYOUTS = (
    Layout(id="low", text=Box(0.08, 0.56, 0.42, 0.9)),
    Layout(id="left", text=Box(0.08, 0.1, 0.5, 0.9)),
    Layout(id="top", text=Box(0.08, 0.1, 0.92, 0.4)),
)
SIDES = ("before", "after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", type=int, default=40)
    parser.add_argument("--tries", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began, dice = time.monotonic(), random.Random(options.seed)
    eyes = replace(sight("nano", faces="none", read="rapidocr", style=False), why={})
    found: list[Improved] = []
    while len(found) < options.designs:
        name, style = dice.choice(list(STYLES.items()))
        font = Font(role="headline", file=bundled(dice.choice(["anton", "geologica"])), license="OFL-1.1", case="upper")
        kit = Kit(
            name=name,
            folder=Path(),
            palette=PALETTE,
            fonts=(font,),
            text_style=style,
            layouts=LAYOUTS,
        )
        ground = dice.choice(BACKGROUNDS)
        who = Character(place="right", dx=0.0, shirt=dice.choice(SHIRTS), scale=dice.choice([0.75, 1.0, 1.25]))
        day = "day" if ground in TIMELESS else dice.choice(TIMES)
        scene = Scene(background=ground, time=day, variant=dice.randrange(8), characters=(who,))
        faces = [Box(each.left, each.top, each.right, each.bottom) for each, _, _ in true_faces(scene, 16 / 9)]
        try:
            letters = fit(dice.choice(TITLES), font, resolved(kit), area=LAYOUTS[0].text, avoid=[*faces, BADGE])
        except ConfigError:
            continue  # no room for this title beside this face
        design = Design(base=Picture(draw(scene, 1280, 720)), lettering=letters, layout="low")
        found.append(improve(design, kit, sight=eyes, faces=faces, tries=options.tries))
        last = found[-1]
        print(f"{len(found):3d} {name:<7}{ground:<10}", end="")
        print(f"{' '.join(_fails(last.before)) or '-':<12}→ {' '.join(_fails(last.after)) or '-':<12}", end="")
        print("; ".join(last.changes[:1]), flush=True)
    report(found, options, time.monotonic() - began)


def report(found: list[Improved], options: argparse.Namespace, seconds: float) -> None:
    rows = {
        "read at 168 px (T4)": [_holds(each, ["T4"]) for each in found],
        "T2, T3, T4, X1 without fail": [_holds(each, ["T2", "T3", "T4", "X1"]) for each in found],
    }
    made = {}
    for name, pairs in rows.items():
        before, after = (sum(pair[side] for pair in pairs) for side in (0, 1))
        made[name] = {"before": before, "after": after, "of": len(found)}
        print(f"{name:<30} before {before:3d} of {len(found)}   after {after:3d} of {len(found)}")
    tries = Counter(each.tries for each in found)
    print(f"designs set anew: {sum(bool(each.changes) for each in found)}; tries: {dict(sorted(tries.items()))}")
    fails = {side: dict(Counter(check for each in found for check in _fails(getattr(each, side)))) for side in SIDES}
    print(f"failed checks before: {fails['before']}; after: {fails['after']}; {seconds:.0f} s")
    record.append("small_size", {**vars(options), "rows": made, "fails": fails, "seconds": round(seconds, 1)})


def _holds(each: Improved, checks: list[str]) -> tuple[bool, bool]:
    """Whether none of some checks fails, before and after."""
    before, after = ([found.verdict for found in side if found.check in checks] for side in (each.before, each.after))
    return "fail" not in before, "fail" not in after


def _fails(findings: tuple[Finding, ...]) -> list[str]:
    return [each.check for each in findings if each.verdict == "fail"]


if __name__ == "__main__":
    main()
