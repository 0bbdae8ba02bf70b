"""Named, versioned sets of things to ask: our own folders, KontextBench, and any folder laid out like either.

A suite is read once and checked whole before anything is made: every item, every picture it names, and that nothing
differs from what its hash vouches for.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.world.folder import SCHEMA, picture_name

KONTEXT_BENCH = {
    "Instruction Editing - Local": 416,
    "Instruction Editing - Global": 262,
    "Character Reference": 193,
    "Text Editing": 92,
    "Style Reference": 63,
}
"""Categories and pairs of the published set (arXiv 2506.15742, section 4; black-forest-labs/kontext-bench)."""
KONTEXT_BASES = 108
SHORTEST_SIDE_PX = 64


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One request of an item. answer: the one right picture, where there is one. truth: what a world knows of it."""

    instruction: str
    answer: Path | None = None
    truth: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to ask: a picture from words (no contexts), an edit (one turn), or a chain of edits (several)."""

    key: str
    category: str
    kind: str
    base: str
    width: int
    height: int
    seed: int
    contexts: tuple[Path, ...]
    turns: tuple[Turn, ...]
    split: str | None = None
    truth: Mapping[str, Any] | None = None

    def sources(self) -> tuple[np.ndarray, ...]:
        """The context pictures, uint8 (H, W, 3) each."""
        return tuple(pixels(path) for path in self.contexts)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A set of items. sha256 covers every instruction and every pixel. notes: what a reader of the table must know."""

    name: str
    version: str
    title: str
    sha256: str
    licence: str
    items: tuple[Item, ...]
    root: Path
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In the order of first appearance."""
        return tuple(dict.fromkeys(item.category for item in self.items))

    @cached_property
    def by_key(self) -> Mapping[str, Item]:
        return {item.key: item for item in self.items}

    def only(self, *, categories: Sequence[str] = (), limit: int | None = None) -> Suite:
        """The items of some categories, at most `limit`, taken evenly from every category and kind in a fixed order.

        The hash stays that of the whole suite: a part is a part of it. Raises InputError for a category it lacks.
        """
        unknown = set(categories) - set(self.categories)
        if unknown:
            accepted = ", ".join(self.categories)
            raise InputError(f"category={sorted(unknown)[0]!r}: not in {self.name}; accepted: {accepted}")
        if limit is not None and limit < 1:
            raise InputError(f"limit={limit}: at least 1 accepted; leave it out for all")
        chosen = [item for item in self.items if not categories or item.category in categories]
        if limit is not None and limit < len(chosen):
            kept = {item.key for item in _stratified(chosen)[:limit]}
            chosen = [item for item in chosen if item.key in kept]
        return replace(self, items=tuple(chosen))


def load(folder: Path) -> Suite:
    """The suite in a folder: one of ours (suite.json), KontextBench or a folder like it (metadata.jsonl).

    Raises InputError for anything missing, unreadable or different from what the suite's hash vouches for.
    """
    folder = Path(folder)
    if (folder / "suite.json").is_file():
        return _load_ours(folder)
    for place in (folder, folder / "test"):
        if (place / "metadata.jsonl").is_file():
            return _load_metadata(place)
    raise InputError(
        f"suite={folder}: neither suite.json nor metadata.jsonl is there; a folder written by `recast world suite`, or "
        "KontextBench's test/ folder (metadata.jsonl and images/), accepted"
    )


def pixels(path: Path) -> np.ndarray:
    """A picture of a suite as uint8 (H, W, 3): upright, sRGB, transparency over white."""
    picture = image.read(path, name=str(path))
    if picture.alpha is None:
        return picture.rgb
    share = picture.alpha[..., None].astype(np.uint16)
    return ((picture.rgb * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def _load_ours(folder: Path) -> Suite:
    head = _json(folder / "suite.json", (folder / "suite.json").read_text())
    if head.get("schema") != SCHEMA:
        raise InputError(f"{folder}/suite.json: schema {head.get('schema')!r} came; {SCHEMA} accepted; write it anew")
    data, text = _text(folder / "items.jsonl")
    if hashlib.sha256(data).hexdigest() != head.get("sha256"):
        raise InputError(f"{folder}/items.jsonl: changed since the suite was written; write or fetch it anew")
    items = []
    for number, line in enumerate(text.splitlines(), 1):
        raw = _json(f"{folder}/items.jsonl:{number}", line)
        try:
            items.append(_ours(folder, raw))
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder}/items.jsonl:{number}: no {error}; write or fetch the suite anew") from None
    paths = {path for item in items for path in _pictures(item)}
    for path in sorted(paths):
        if not path.is_file():
            raise InputError(f"{path}: missing from the suite; write or fetch it anew")
        if picture_name(image.read(path).sha256()) != str(path.relative_to(folder)):
            raise InputError(f"{path}: its pixels are not those of its name; write or fetch the suite anew")
    _check_keys(items, folder)
    about = {key: value for key, value in head.items() if key not in ("schema", "items", "sha256")}
    return Suite(
        name=head["name"],
        version=head["version"],
        title=head.get("title", head["name"]),
        sha256=head["sha256"],
        licence=head.get("licence", "not stated"),
        items=tuple(items),
        root=folder,
        notes=tuple(head.get("notes", ())),
        about=about,
    )


def _ours(folder: Path, raw: Mapping[str, Any]) -> Item:
    turns = tuple(
        Turn(
            instruction=turn["instruction"],
            answer=folder / turn["answer"] if turn.get("answer") else None,
            truth=turn.get("truth"),
        )
        for turn in raw["turns"]
    )
    return Item(
        key=raw["key"],
        category=raw["category"],
        kind=raw["kind"],
        base=raw["base"],
        width=raw["width"],
        height=raw["height"],
        seed=raw["seed"],
        split=raw.get("split"),
        contexts=tuple(folder / path for path in raw["contexts"]),
        turns=turns,
        truth=raw.get("truth"),
    )


def _load_metadata(folder: Path) -> Suite:
    """KontextBench, or any folder of its layout: metadata.jsonl with file_name, instruction, category and key."""
    data, text = _text(folder / "metadata.jsonl")
    rows = [_json(f"{folder}/metadata.jsonl:{n}", line) for n, line in enumerate(text.splitlines(), 1) if line]
    hashes, sizes = [], []
    for number, row in enumerate(rows, 1):
        for name in ("file_name", "instruction"):
            if not isinstance(row.get(name), str):
                raise InputError(f"{folder}/metadata.jsonl:{number}: no {name}; a text accepted; mend the line")
        path = folder / row["file_name"]
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise InputError(f"{path}: named in metadata.jsonl:{number} and not there; fetch the folder anew")
        shown = pixels(path)
        if min(shown.shape[:2]) < SHORTEST_SIDE_PX:
            raise InputError(
                f"{path}: {shown.shape[1]}x{shown.shape[0]}; a shorter side of {SHORTEST_SIDE_PX} accepted"
            )
        exact = hashlib.sha256(f"{shown.shape}".encode() + shown.tobytes()).hexdigest()
        hashes.append((exact, perceptual_hash(shown)))
        sizes.append((shown.shape[1], shown.shape[0]))
    bases = group(hashes)
    items = [
        Item(
            key=str(row.get("key", f"{number:04d}")),
            category=str(row.get("category", "all")),
            kind=str(row.get("category", "all")),
            base=f"base-{bases[number]:04d}",
            width=sizes[number][0],
            height=sizes[number][1],
            seed=number,
            contexts=(folder / row["file_name"],),
            turns=(Turn(instruction=row["instruction"]),),
        )
        for number, row in enumerate(rows)
    ]
    _check_keys(items, folder)
    is_kontext = bool(set(KONTEXT_BENCH) & {item.category for item in items})
    warnings = tuple(kontext_faults(items)) if is_kontext else ()
    pictures = hashlib.sha256("".join(sorted(exact for exact, _ in hashes)).encode()).hexdigest()
    return Suite(
        name="kontext-bench" if is_kontext else folder.resolve().name,
        version="1",
        title="KontextBench" if is_kontext else folder.resolve().name,
        sha256=hashlib.sha256(data + "".join(exact for exact, _ in hashes).encode()).hexdigest(),
        licence="MIT (the collection; rights in single photographs are their owners')" if is_kontext else "not stated",
        items=tuple(items),
        root=folder,
        warnings=warnings,
        about={"metadata_sha256": hashlib.sha256(data).hexdigest(), "pictures_sha256": pictures},
    )


def kontext_faults(items: Sequence[Item]) -> list[str]:
    """What keeps a local copy from being the published KontextBench: numbers made on such a copy are not its own."""
    faults = []
    counts = Counter(item.category for item in items)
    if len(items) != sum(KONTEXT_BENCH.values()):
        faults.append(f"{len(items)} pairs; the published set has {sum(KONTEXT_BENCH.values())}")
    faults += [
        f"category {name}: {counts[name]} pairs; the published set has {wanted}"
        for name, wanted in KONTEXT_BENCH.items()
        if counts[name] != wanted
    ]
    faults += [f"category {name}: not of the published set" for name in counts if name not in KONTEXT_BENCH]
    bases = len({item.base for item in items})
    if bases != KONTEXT_BASES:
        slight = " (recompression may split or join one or two)" if abs(bases - KONTEXT_BASES) <= 2 else ""
        faults.append(f"{bases} different base pictures; the published set has {KONTEXT_BASES}{slight}")
    return faults


def perceptual_hash(picture: np.ndarray) -> int:
    """64 bits of a picture's coarse brightness: the signs of its low cosine frequencies against their median."""
    import cv2

    gray = cv2.cvtColor(cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    low = cv2.dct(gray.astype(np.float32))[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int("".join("1" if bit else "0" for bit in bits), 2)


def group(hashes: Sequence[tuple[str, int]], distance: int = 4) -> list[int]:
    """Of each picture (pixel hash, perceptual hash), the number of its base picture, by order of first appearance."""
    leaders: list[tuple[str, int]] = []
    groups = []
    for exact, rough in hashes:
        same = (n for n, (e, r) in enumerate(leaders) if e == exact or (r ^ rough).bit_count() <= distance)
        number = next(same, len(leaders))
        if number == len(leaders):
            leaders.append((exact, rough))
        groups.append(number)
    return groups


def _stratified(items: Sequence[Item]) -> list[Item]:
    """All items, the first of every (category, kind) before the second of any; categories take turns."""
    seen: Counter[tuple[str, str]] = Counter()
    ranks = []
    for place, item in enumerate(items):
        ranks.append((seen[item.category, item.kind], place))
        seen[item.category, item.kind] += 1
    by_category: dict[str, list[Item]] = {}
    for _, item in sorted(zip(ranks, items, strict=True), key=lambda pair: pair[0]):
        by_category.setdefault(item.category, []).append(item)
    queues = list(by_category.values())
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _pictures(item: Item) -> list[Path]:
    return [*item.contexts, *(turn.answer for turn in item.turns if turn.answer is not None)]


def _check_keys(items: Sequence[Item], folder: Path) -> None:
    if not items:
        raise InputError(f"suite={folder}: no items; at least one accepted")
    twice = [key for key, count in Counter(item.key for item in items).items() if count > 1]
    if twice:
        raise InputError(f"suite={folder}: key {twice[0]!r} twice; every key must be its own; mend the file")


def _text(path: Path) -> tuple[bytes, str]:
    """A file's bytes, and the text they are."""
    try:
        data = path.read_bytes()
        return data, data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); UTF-8 text accepted; write or fetch it anew") from None


def _json(where: Path | str, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error}); write or fetch it anew") from None
    if not isinstance(data, dict):
        raise InputError(f"{where}: {type(data).__name__} came; an object accepted")
    return data
