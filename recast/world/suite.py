"""The world's frozen benchmarks: from seeds that training never uses, written with every answer and every truth.

    worldbench-1     edits of every category and kind, pictures from words, chains of 6
    worldchains-1    chains of 6, 10 and 30; chains that change nothing; there-and-back chains
    worldwords-1     pictures from words, short, medium and long

What they ask is kept in the package, as scenes and words (`frozen/NAME.jsonl.gz`), so that the world may learn new
edits and phrasings without changing a benchmark; the pictures are drawn from the scenes. `plan` is how the files were
made, `freeze` makes one.

A turn's truth: `scene` (the target), `asked` (paths that the instruction names), `free` (paths it leaves open),
`identity` (people of the target who must be who they were), `base` (which context is changed). An item's truth:
`contexts`, the scenes of its pictures.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.world import heldout
from recast.world.chains import Chain, chain, nothing_chain, there_and_back
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.edits import EVERYDAY, KINDS, NANO_BYTES, Edit, edit
from recast.world.folder import Writer, write_whole
from recast.world.sample import FIRST_UNTRAINED
from recast.world.sample import scene as random_scene
from recast.world.scene import Scene, from_json, to_json
from recast.world.words import LENGTHS, description

SEEDS = FIRST_UNTRAINED
"""Where the benchmarks' seeds begin; training stays below."""
LICENCE = "CC0-1.0: drawn by recast; fonts under their own licences"
COUNTS: Mapping[str, int] = {
    "local": 60,
    "global": 28,
    "text": 36,
    "style reference": 16,
    "character reference": 20,
    "two pictures": 20,
    "nothing": 8,
}
"""Edits of each category in worldbench-1: every kind at least once, and all of it in half an hour on a laptop."""
PHOTOGRAPHS = 20
"""Everyday edits of photograph-like pictures in worldbench-1."""
WORDS = 24
CHAINS = 6
HELD_OUT_SHARE = 1 / 3
"""How often an item is drawn to ask for something that is never drawn for training."""
WIDE_SHARE = 1 / 4
"""How often an item is 16:9."""
SQUARE, WIDE = (256, 256), (336, 192)
Row = dict[str, Any]


def write(name: str, out: Path) -> Iterator[int]:
    """Write one of SUITES into a new folder; the number of items written, as they are."""
    if name not in SUITES:
        raise InputError(f"suite={name!r}: {', '.join(SUITES)} accepted")
    writer = Writer(out)
    rows: list[Row] = []
    for row in frozen(name):
        rows.append(drawn(writer, row))
        yield len(rows)
    base, _, version = name.rpartition("-")
    notes = ["a model must not be trained on seeds of 2^40 and above, nor on what `heldout.listing()` lists"]
    writer.finish(rows, name=base, version=version, title=SUITES[name][0], licence=LICENCE, notes=notes)


def frozen(name: str) -> list[Row]:
    """What a suite asks, as it was frozen: rows without pictures."""
    data = (files("recast.world") / "frozen" / f"{name}.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(data).decode().splitlines()]


def freeze(rows: Iterable[Row], path: Path) -> None:
    """Write what a suite asks: for a new version, never for one that was used."""
    lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)
    write_whole(path, gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))


def drawn(writer: Writer, row: Row, photograph: np.ndarray | None = None) -> Row:
    """The row with its pictures: of every context, and the right answer of every turn.

    photograph: (H, W, 3) uint8 of the row's size, the ground of its scenes whose background is "photograph".
    """
    width, height = row["width"], row["height"]

    def picture(data: Mapping[str, Any]) -> str:
        scene = from_json(data)
        ground = photograph if scene.background == "photograph" else None
        return writer.picture(draw(scene, width, height, photograph=ground))

    return {
        **row,
        "contexts": [picture(scene) for scene in row["truth"]["contexts"]],
        "turns": [{**turn, "answer": picture(turn["truth"]["scene"])} for turn in row["turns"]],
    }


def worldbench() -> Iterator[Row]:
    number = 0
    for category, count in COUNTS.items():
        kinds = KINDS[category]
        for n in range(count):
            made = edit(SEEDS + number, category=category, kind=kinds[n % len(kinds)], split=_split(number))
            yield edit_row(made, f"{_slug(category)}-{n:04d}", category, number)
            number += 1
    everyday = [kind for kinds in KINDS.values() for kind in kinds if kind in EVERYDAY]
    for n in range(PHOTOGRAPHS):
        made = _everyday(SEEDS + number, everyday[n * 7 % len(everyday)], _split(number))
        yield edit_row(made, f"photograph-{n:04d}", "photograph", number)
        number += 1
    for n in range(WORDS):
        yield words_row(n, number)
        number += 1
    for n in range(CHAINS):
        six = chain(SEEDS + number, 6, split=_split(number))
        yield chain_row(six, f"chain-{n:04d}", "chain of 6", number)
        number += 1


def worldchains() -> Iterator[Row]:
    number = 1 << 20
    makers: list[tuple[str, int, Callable[..., Chain], int]] = [
        ("chain of 6", 12, chain, 6),
        ("chain of 10", 8, chain, 10),
        ("chain of 30", 4, chain, 30),
        ("nothing, 10 times", 6, nothing_chain, 10),
        ("there and back, 10", 6, there_and_back, 10),
    ]
    for category, count, make, turns in makers:
        for n in range(count):
            made = make(SEEDS + number, turns, split=_split(number))
            yield chain_row(made, f"{_slug(category)}-{n:04d}", category, number)
            number += 1


def worldwords() -> Iterator[Row]:
    for n in range(150):
        yield words_row(n, (1 << 21) + n)


def edit_row(made: Edit, key: str, category: str, number: int) -> Row:
    """One edit as an item of a suite."""
    return {
        **_row(key, category, made.kind, number, [made.target]),
        "truth": {"contexts": [to_json(scene) for scene in made.contexts]},
        "turns": [_turn(made)],
    }


def chain_row(made: Chain, key: str, category: str, number: int) -> Row:
    """One chain as an item of a suite; a person must stay who it was in the first picture."""
    return {
        **_row(key, category, category, number, [made.start, *(each.target for each in made.edits)]),
        "truth": {"contexts": [to_json(made.start)]},
        "turns": [_turn(each) for each in made.edits],
    }


def words_row(n: int, number: int) -> Row:
    """One picture from words: judged by what the words name, and by nothing else."""
    scene = random_scene(SEEDS + number, split=_split(number))
    length = tuple(LENGTHS)[n % len(LENGTHS)]
    said = description(scene, Dice(SEEDS + number, "words"), length=length, limit_bytes=NANO_BYTES)
    turn = {
        "instruction": said.text,
        "truth": {"scene": to_json(scene), "asked": list(said.named), "free": _open(scene), "identity": [], "base": 0},
    }
    return {
        **_row(f"words-{n:04d}", "from words", f"{length} description", number, [scene]),
        "truth": {"contexts": []},
        "turns": [turn],
    }


def _turn(made: Edit) -> Row:
    return {
        "instruction": made.instruction,
        "truth": {
            "scene": to_json(made.target),
            "asked": list(made.asked),
            "free": list(made.free),
            "identity": sorted({i for i, _, _ in made.identity}),
            "base": made.base,
        },
    }


def _row(key: str, category: str, kind: str, number: int, scenes: Sequence[Scene]) -> Row:
    width, height = WIDE if Dice(SEEDS + number, "size").chance(WIDE_SHARE) else SQUARE
    return {
        "key": key,
        "category": category,
        "kind": kind,
        "base": f"scene-{number}",
        "width": width,
        "height": height,
        "seed": number,
        "split": "held out" if any(heldout.reasons(scene) for scene in scenes) else "train",
    }


def _open(scene: Scene) -> list[str]:
    """What words never say: where exactly things stand, and how a background is laid out."""
    paths = ["variant"] if scene.is_drawn else []
    for i in range(len(scene.characters)):
        paths += [f"characters.{i}.{name}" for name in ("scale", "dx", "dy")]
    return [*paths, *(f"things.{i}.dx" for i in range(len(scene.things)))]


def _everyday(seed: int, kind: str, split: str) -> Edit:
    """An everyday edit of a photograph-like picture; the next seeds' pictures are tried where one does not suit."""
    for attempt in range(50):
        source = random_scene(seed + (attempt << 24), split=split, kind="photo")
        try:
            return edit(seed, kind=kind, split=split, source=source)
        except InputError:
            continue
    raise AssertionError(f"seed={seed}: no photograph-like picture suits {kind!r}")


def _split(number: int) -> str:
    """Drawn, not counted off: a rule in step with kinds or lengths would compare these and not the splits."""
    return "held out" if Dice(SEEDS + number, "split").chance(HELD_OUT_SHARE) else "train"


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")


SUITES: Mapping[str, tuple[str, Callable[[], Iterator[Row]]]] = {
    "worldbench-1": ("worldbench 1: edits, words and chains with exact answers", worldbench),
    "worldchains-1": ("worldchains 1: chains of up to 30 edits with exact answers", worldchains),
    "worldwords-1": ("worldwords 1: pictures from words, checked exactly", worldwords),
}
"""The benchmarks by name: their title, and how what they ask was drawn."""
