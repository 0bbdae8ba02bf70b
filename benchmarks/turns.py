"""Many turns of local edits with nano: how far what nobody asked about drifts from turn 0, each anchor off in turn.

    python benchmarks/turns.py [--turns 30] [--steps 10] [--pictures world,photograph] [--arms all,...] [--out FOLDER]

Arms: all; merge off (every anchor but the merge of each turn); carry off, residual off, root off; none.
Each instruction comes with the box that it is about, as a user draws one; merged arms pass it on.
Figures, over the pixels outside all boxes, against turn 0:
dE         mean CIEDE2000
sharpness  variance of the Laplacian over that of turn 0
equal      share of bytes that are those of turn 0 (%)
broken     pixels outside the union of the supports that differ from turn 0: must be 0 wherever turns are merged
Writes FOLDER/turns.json (every turn), strips of pictures and the plot of docs/retouch.md; appends the last turns'
figures to results/turns.jsonl.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import record
import skimage.data
from skimage.color import deltaE_ciede2000, rgb2lab

import recast
from recast.errors import InputError
from recast.pixels.image import read, write
from recast.retouch.editor import Editor
from recast.retouch.thread import Anchors, Thread
from recast.retouch.thread.drift import union
from recast.world import edits, sample
from recast.world.draw import draw

ARMS: dict[str, tuple[str, bool, Anchors]] = {  # preserve, residual, anchors
    "all": ("auto", True, Anchors(carries=True, rides=True)),
    "merge off": ("off", True, Anchors(carries=True, rides=True)),
    "carry off": ("auto", True, Anchors(carries=False, rides=True)),
    "residual off": ("auto", False, Anchors(carries=True, rides=True)),
    "root off": ("auto", True, Anchors(carries=True, rides=False)),
    "none": ("off", False, Anchors(carries=False, rides=False)),
}
Box = tuple[int, int, int, int]
Turn = tuple[str, Box]  # an instruction, and what it is about


def world_turns(count: int, seed: int = sample.FIRST_UNTRAINED + 7) -> tuple[np.ndarray, list[Turn]]:
    """A cartoon scene 256x256, and local edits of it in words, each true of the first picture."""
    scene = sample.scene(seed, kind="cartoon")
    source, turns, number = draw(scene), [], seed
    while len(turns) < count:
        number += 1
        try:
            made = edits.edit(number, category="local", source=scene, split="any")
        except InputError:
            continue
        about = (draw(made.target) != source).any(-1).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(cv2.dilate(about, np.ones((17, 17), np.uint8)))
        if width * height < 0.25 * about.size:
            turns.append((made.instruction, (left, top, left + width, top + height)))
    return source, turns


def photograph_turns(count: int) -> tuple[np.ndarray, list[Turn]]:
    """A photograph 256x256, and stickers and arrows asked for in its corners."""
    source = cv2.resize(skimage.data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    corners = {"top left": (0, 0), "top right": (160, 0), "bottom left": (0, 160), "bottom right": (160, 160)}
    colours, things = ("red", "yellow", "blue", "green", "white"), ("star", "heart", "circle", "arrow")
    turns = []
    for turn in range(count):
        corner = list(corners)[turn % 4]
        left, top = corners[corner]
        words = f"add a {colours[turn % 5]} {things[turn // 2 % 4]} in the {corner} corner"
        turns.append((words, (left, top, left + 96, top + 96)))
    return source, turns


def run(source: np.ndarray, turns: list[Turn], arm: str, pipeline: recast.Pipeline, folder: Path, steps: int) -> list:
    """The figures of every turn of one arm; its pictures as a strip in `folder`."""
    preserve, gives_back, anchors = ARMS[arm]
    editor = Editor(pipeline, preserve=preserve, gives_back=gives_back)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    thread = Thread.create(folder, read(source), anchors=anchors)
    free = np.ones(source.shape[:2], bool)
    for _, (left, top, right, bottom) in turns:
        free[top:bottom, left:right] = False
    first, pictures, supports, figures = rgb2lab(source), [source], [], []
    for number, (instruction, box) in enumerate(turns, start=1):
        where = {} if preserve == "off" else {"boxes": [box]}
        node = thread.edit(editor, instruction, steps=steps, seed=number, **where)
        picture = thread.picture(node).rgb
        pictures.append(picture)
        supports.append(thread.read(node, "support") if "support" in node.files else None)
        touched = union(supports, picture.shape[:2])
        figures.append(
            {
                "turn": number,
                "dE": round(float(deltaE_ciede2000(first[free], rgb2lab(picture)[free]).mean()), 3),
                "sharpness": round(sharpness(picture, free) / sharpness(source, free), 3),
                "equal %": round(100 * float((picture == source)[free].mean()), 2),
                "broken": None if touched is None else int(((picture != source).any(-1) & ~touched).sum()),
            }
        )
    shown = [pictures[k] for k in sorted({0, 1, 2, 5, 10, 20, len(turns)}) if k < len(pictures)]
    write(np.hstack(shown), folder.with_suffix(".png"))
    return figures


def sharpness(picture: np.ndarray, where: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), -1)[where].var())


COLOURS = {"all": "#0a7d3c", "merge off": "#c22", "none": "#111", "carry off": "#2a6fdb", "residual off": "#b8860b",
           "root off": "#8a4fbf"}  # fmt: skip


def plot(every: dict[str, dict[str, list]], turns: int) -> str:
    """An SVG: mean CIEDE2000 to turn 0 outside all boxes, turn by turn, one panel a picture and one line an arm."""
    width, height, left, top = 420, 240, 44, 30
    most = max(row["dE"] for arms in every.values() for rows in arms.values() for row in rows) * 1.05
    lines = []
    for panel, (name, arms) in enumerate(every.items()):
        x0 = panel * (width + 40) + left
        lines.append(f'<text x="{x0}" y="18">{name}: mean dE00 to turn 0, outside all boxes</text>')
        for level in range(0, int(most) + 1, 5):
            y = top + height * (1 - level / most)
            lines.append(
                f'<path d="M{x0} {y:.1f}h{width}" stroke="#ccc"/><text x="{x0 - 24}" y="{y + 4:.1f}">{level}</text>'
            )
        for number, (arm, rows) in enumerate(arms.items()):
            points = " ".join(
                f"{x0 + width * row['turn'] / turns:.1f},{top + height * (1 - row['dE'] / most):.1f}" for row in rows
            )
            first = f"{x0},{top + height}"
            dash = "" if arm in ("all", "none") else ' stroke-dasharray="6 3"'
            lines.append(
                f'<polyline points="{first} {points}" fill="none" stroke="{COLOURS[arm]}" stroke-width="2"{dash}/>'
            )
            y = top + height + 40 + 16 * (number // 3)
            lines.append(f'<text x="{x0 + 140 * (number % 3)}" y="{y}" fill="{COLOURS[arm]}">{arm}</text>')
        lines.append(f'<text x="{x0}" y="{top + height + 18}">0</text>')
        lines.append(f'<text x="{x0 + width - 60}" y="{top + height + 18}">turn {turns}</text>')
    size = f'width="{len(every) * (width + 40) + left}" height="{top + height + 70}"'
    style = 'font-family="sans-serif" font-size="12"'
    body = ['<rect width="100%" height="100%" fill="#fff"/>', *lines, "</svg>", ""]
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', *body])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pictures", default="world,photograph")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/turns"))
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args()
    pipeline = recast.load("nano")
    every: dict[str, dict[str, list]] = {}
    for name in args.pictures.split(","):
        source, turns = world_turns(args.turns) if name == "world" else photograph_turns(args.turns)
        for arm in args.arms.split(","):
            folder = args.out / name / arm.replace(" ", "-")
            figures = run(source, turns, arm, pipeline, folder, args.steps)
            every.setdefault(name, {})[arm] = figures
            (args.out / "turns.json").write_text(json.dumps(every, indent=1) + "\n")
            (args.out / "turns.svg").write_text(plot(every, args.turns))
            for turn in sorted({1, 10, args.turns}):
                if turn <= len(figures):
                    print(f"{name:11s} {arm:13s} {figures[turn - 1]}", flush=True)
                    if not args.no_record:
                        record.append("turns", {"picture": name, "arm": arm, "steps": args.steps, **figures[turn - 1]})


if __name__ == "__main__":
    main()
