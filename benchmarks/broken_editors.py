"""Editors broken on purpose, scored: each must move the column it should, and leave the others alone.

    python benchmarks/broken_editors.py [--limit 120] [--out runs/broken]

Every editor starts from the right answer and spoils one thing: the whole picture shifted by 2 % of its height, tinted,
noisy or compressed; the wrong part changed instead of the right one; the face drifting by small steps; one letter of
the title wrong. Prints a table with the four controls, and appends a row an editor to results/broken_editors.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recast.quality import build, edits, scoring, table
from recast.quality import run as running
from recast.quality.store import Store
from recast.quality.suites import Item, Suite, pixels
from recast.quality.systems.contract import Request
from recast.quality.systems.controls import Control, controls
from recast.world.draw import draw
from recast.world.rules import problems, shows
from recast.world.scene import CHOICES, STEP, Face, Mark, Scene, Thing, get, put

Editor = Callable[[Item, Request], np.ndarray]


def right(item: Item, request: Request) -> np.ndarray:
    """The right answer."""
    answer = item.turns[request.turn].answer
    assert answer is not None
    return pixels(answer)


def shifted(item: Item, request: Request) -> np.ndarray:
    """The right answer moved by 2 % of its height, right and down."""
    picture = right(item, request)
    by = round(picture.shape[0] * 0.02)
    return np.pad(picture, ((by, 0), (by, 0), (0, 0)), "edge")[: picture.shape[0], : picture.shape[1]]


def tinted(item: Item, request: Request) -> np.ndarray:
    """The right answer under a warm tint of 31 dB, as far from it as the noise below, but everywhere alike."""
    return np.clip(right(item, request) + np.array((9, 3, -8)), 0, 255).astype(np.uint8)


def noisy(item: Item, request: Request) -> np.ndarray:
    """The right answer under white noise of 31 dB, what a good autoencoder leaves."""
    picture = right(item, request)
    rng = np.random.default_rng(request.seed)
    return np.clip(np.round(picture + rng.normal(0, 255 * 10 ** (-31 / 20), picture.shape)), 0, 255).astype(np.uint8)


def compressed(item: Item, request: Request) -> np.ndarray:
    """The right answer as a JPEG file of quality 75."""
    _, data = cv2.imencode(".jpg", right(item, request)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])


def wrong_part(item: Item, request: Request) -> np.ndarray:
    """The source with another attribute changed than the one that was asked for."""
    truth = edits.truth_of(item, request.turn)
    start = truth.source if truth.source is not None else truth.target
    asked = {path.rpartition(".")[0] or path for path in truth.asked}
    return _drawn(_other(start, truth.asked, asked), item, truth)


def also_changed(item: Item, request: Request) -> np.ndarray:
    """The right answer, and besides something changed that nobody asked for."""
    truth = edits.truth_of(item, request.turn)
    return _drawn(_other(truth.target, truth.asked, set()), item, truth)


def drifting(item: Item, request: Request) -> np.ndarray:
    """The right answer with a face that has become another by 12 steps of 1/64, plus 4 a turn of a chain."""
    truth = edits.truth_of(item, request.turn)
    scene = truth.target
    for index, person in enumerate(scene.characters):
        by = (12 + 4 * request.turn) * STEP
        moved = {
            each.name: _moved(getattr(person.face, each.name), by if place % 2 else -by)
            for place, each in enumerate(fields(Face))
        }
        scene = put(scene, f"characters.{index}.face", Face(**moved))
    return _drawn(scene, item, truth)


def misspelt(item: Item, request: Request) -> np.ndarray:
    """The right answer with one letter of its title wrong."""
    truth = edits.truth_of(item, request.turn)
    title = truth.target.title
    if title is None:
        return right(item, request)
    place = max(range(len(title.text)), key=lambda i: (title.text[i].isalnum(), i))
    wrong = "K" if title.text[place] not in "Kk" else "S"
    text = title.text[:place] + wrong + title.text[place + 1 :]
    return _drawn(replace(truth.target, title=replace(title, text=text)), item, truth)


EDITORS: dict[str, Editor] = {
    "shifted": shifted,
    "tinted": tinted,
    "noise 31 dB": noisy,
    "JPEG 75": compressed,
    "wrong part": wrong_part,
    "also changed": also_changed,
    "face drifts": drifting,
    "one wrong letter": misspelt,
}


def _drawn(scene: Scene, item: Item, truth: edits.Truth) -> np.ndarray:
    return draw(scene, item.width, item.height, photograph=truth.photograph)


def _moved(value: float, by: float) -> float:
    return min(max(value + by, 1 - 9 * STEP), 1 + 12 * STEP)  # the grid's ends


def _other(scene: Scene, asked: tuple[str, ...], parts: set[str]) -> Scene:
    """The scene with something changed that shows and was not asked for: a thing's colour, a shirt, a hat, a border."""
    for path, value in _changes(scene):
        part = path.rpartition(".")[0]
        if path in asked or part in asked or (part and part in parts and len(scene.characters) + len(scene.things) > 1):
            continue
        changed = put(scene, path, value)
        seen = [each for each in (path, *asked) if get(changed, each) is not None and shows(scene, each)]
        if all(shows(changed, each) for each in seen) and not set(problems(changed)) - set(problems(scene)):
            return changed
    marks = tuple(mark for mark in scene.marks if mark.kind != "border")
    if marks == scene.marks:
        marks = (*marks, Mark(kind="border", colour="purple", place="all"))
    return replace(scene, marks=marks)


def _changes(scene: Scene) -> Iterator[tuple[str, Any]]:
    for index, thing in enumerate(scene.things):
        yield from ((f"things.{index}.colour", v) for v in CHOICES[Thing]["colour"] if v != thing.colour)
    for index, person in enumerate(scene.characters):
        low = scene.title is not None and scene.title.place != "top"  # and may lie over the shirt
        for name in ("hat", "shirt") if low else ("shirt", "hat"):
            values = CHOICES[type(person)][name]
            yield from ((f"characters.{index}.{name}", v) for v in values if v != getattr(person, name))


def evaluate(suite: Suite, out: Path, names: tuple[str, ...] = tuple(EDITORS)) -> dict[str, Any]:
    """The table's data: the controls and the broken editors over a suite."""
    store = Store(out)
    store.begin(running.about(suite, "benchmarks/broken_editors.py"))
    systems = [*controls(suite), *(Broken(name, suite, EDITORS[name]) for name in names)]
    judges = scoring.judges(suite, None)
    for system in systems:
        for step in running.make(suite, system, store):
            _say(f"{system.name}: {step.done}/{step.of}")
        for done, of in scoring.score(suite, store, running.slug(system.name), judges):
            _say(f"{system.name}: scored {done}/{of}")
    _say("")
    return table.results([out])[0]


class Broken(Control):
    """A broken editor: knows the suite as a control does, and is tested as a system."""

    is_control = False


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a system: its columns in percent, and the text and character categories apart."""
    cells = {(c["system"], c["category"], c["column"]): c["value"] for c in found["cells"]}
    made = []
    for system in found["systems"]:
        row: dict[str, Any] = {"editor": system["name"]}
        for column in ("instruction", "consistency", "precision", "stability"):
            value = cells.get((system["id"], "all", column))
            row[column] = None if value is None else round(100 * value, 1)
        text = cells.get((system["id"], "text", "instruction"))
        row["instruction, text"] = None if text is None else round(100 * text, 1)
        made.append(row)
    return made


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")


def main() -> None:
    import record

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("runs/broken"))
    args = parser.parse_args()
    suite = build.find("worldbench-1", args.out / "suite").only(limit=args.limit)
    found = rows(evaluate(suite, args.out))
    print(record.table(found))
    for row in found:
        record.append("broken_editors", {"items": len(suite.items), "suite": suite.sha256[:12], **row})


if __name__ == "__main__":
    main()
