"""Plain folders of pairs, as people make them.

    PLACE/metadata.jsonl     one JSON object a line: source (or sources), target, instruction; caption, inverse, mask,
                             base and kind if there are any. Paths are relative to PLACE

or, without it, files of one stem in folders:

    PLACE/source/a.png  PLACE/target/a.png  PLACE/instruction/a.txt      and source2/, mask/, caption/ if there are any

or pictures with their words beside them, to be made from these words:

    PLACE/a.png  PLACE/a.txt
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recast.errors import InputError
from recast.train.data.example import Shape
from recast.train.data.record import Encoded, Origin, Record, Records
from recast.train.data.shards import SUFFIXES
from recast.train.data.split import named

LIST = "metadata.jsonl"
SOURCES = re.compile(r"source(\d*)")
KNOWN = ("source", "sources", "target", "instruction", "inverse", "caption", "mask", "base", "kind", "id")
TEXTS = ("instruction", "inverse", "caption", "mask", "kind")
"""Fields of a list that are text, or null for none."""


class FolderSource(Records):
    """The pairs of a folder, in the order of its list, or of their names.

    Raises InputError for a folder of another layout, a list that cannot be read, a field it does not know, a picture
    or words that are missing, and a path that leads out of the folder.
    """

    def __init__(self, place: Path | str, *, licence: str = "unknown") -> None:
        self.place, self.licence = Path(place), licence
        if not self.place.is_dir():
            raise InputError(f"place={place}: no folder; one with {LIST}, or source/ and target/, accepted")
        if (self.place / LIST).exists():
            self.rows = _listed(self.place / LIST)
        elif (self.place / "target").is_dir():
            self.rows = _paired(self.place)
        else:
            self.rows = _captioned(self.place)
        if not self.rows:
            raise InputError(f"place={place}: no pairs in it; at least one accepted; see recast.train.data.folder")

    @property
    def length(self) -> int:
        return len(self.rows)

    def id(self, index: int) -> str:
        return str(self.rows[index]["id"])

    def shape(self, index: int) -> Shape:
        row = self.rows[index]
        contexts = tuple(self._picture(each).measured() for each in row["sources"])
        return Shape(self._picture(row["target"]).measured(), contexts)

    def record(self, index: int) -> Record:
        row = self.rows[index]
        contexts = tuple(self._picture(each) for each in row["sources"])
        caption = self._words(row.get("caption"))
        return Record(
            id=self.id(index),
            contexts=contexts,
            target=self._picture(row["target"]),
            instruction=self._words(row.get("instruction")),
            inverse=row.get("inverse"),
            captions=(*[None] * len(contexts), caption),
            mask=self._picture(row["mask"]) if row.get("mask") else None,
            base=row.get("base", 0),
            kind=row.get("kind") or "",
            licence=self.licence,
        )

    def origins(self) -> Iterator[Origin]:
        """Of each pair its base context and its target, by their bytes."""
        for row in self.rows:
            base = row.get("base", 0)
            try:
                shown = [*row["sources"][base : base + 1], row["target"]]
                yield Origin(tuple(named(inside(self.place, name)) for name in shown))
            except (InputError, TypeError):  # `example` says what is wrong
                yield Origin()

    def about(self) -> Mapping[str, Any]:
        """Its place, and a hash of its list and of the lengths of its files."""
        digest = hashlib.sha256(json.dumps([_plain(row) for row in self.rows], sort_keys=True).encode())
        for row in self.rows:
            words = [each for each in (row.get("instruction"), row.get("caption")) if isinstance(each, Path)]
            for name in (*row["sources"], row["target"], *filter(None, [row.get("mask")]), *words):
                path = self.place / name
                digest.update(str(path.stat().st_size if path.exists() else None).encode())
        return {
            "kind": "folder",
            "place": str(self.place),
            "examples": self.length,
            "sha256": digest.hexdigest(),
            "licence": self.licence,
        }

    def _picture(self, name: str) -> Encoded:
        path = inside(self.place, name)
        return Encoded(name=str(path), load=lambda: path)

    def _words(self, words: str | Path | None) -> str | None:
        """Words as they are, or those in a file."""
        if not isinstance(words, Path):
            return words
        try:
            return (self.place / words).read_text(encoding="utf-8-sig").strip()  # some editors begin it with a mark
        except (OSError, ValueError) as error:
            raise InputError(f"{self.place / words}: cannot be read ({error}); a text in UTF-8 accepted") from error


def inside(place: Path, name: str) -> Path:
    """The file of that name under a folder. Raises InputError for a name that leads out of it."""
    path = (place / name).resolve()
    if not path.is_relative_to(place.resolve()):
        raise InputError(f"{name!r}: leads out of {place}; paths inside it accepted; move the picture there")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line. Raises InputError that names the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); JSON lines in UTF-8 accepted") from error
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028 and its like
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number} is no JSON ({error}); one object a line accepted") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is {type(row).__name__}; one JSON object a line accepted")
        rows.append(row)
    return rows


def _listed(path: Path) -> list[dict[str, Any]]:
    rows = lines(path)
    pairs: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        unknown = sorted(set(row) - set(KNOWN))
        sources = row.get("sources", [row["source"]] if "source" in row else [])
        what = ""
        if unknown or not isinstance(row.get("target"), str):
            what = f"{unknown[0]!r} is no field of it" if unknown else "it has no target"
        elif "source" in row and "sources" in row:
            what = "it has source and sources; one of them accepted"
        elif not isinstance(sources, list) or not all(isinstance(each, str) for each in sources):
            what = f"source is {sources!r}; a path, or in sources a list of paths, accepted"
        elif strange := [name for name in TEXTS if not isinstance(row.get(name), str | None)]:
            what = f"{strange[0]} is {row[strange[0]]!r}; a text accepted"
        elif type(base := row.get("base", 0)) is not int:
            what = f"base is {base!r}; the number of a source, from 0, accepted"
        if what:
            raise InputError(f"{path}: pair {number}: {what}; {', '.join(KNOWN)} accepted; correct the list")
        row.pop("source", None)
        row["sources"] = sources
        name = str(row.get("id", Path(row["target"]).with_suffix("")))
        if "id" not in row and name in pairs:  # another way to the same picture
            name = f"{name}#{number}"
        if name in pairs:
            raise InputError(f"{path}: pair {number}: its id {name!r} is that of pair {pairs[name]}; make them differ")
        pairs[name] = number
        row["id"] = name
    return rows


def _paired(place: Path) -> list[dict[str, Any]]:
    folders = sorted(each.name for each in place.iterdir() if each.is_dir() and SOURCES.fullmatch(each.name))
    if not folders:
        raise InputError(f"place={place}: target/ without source/; both, and instruction/, accepted; add them")
    sources = [_stems(place, name, SUFFIXES) for name in folders]
    targets, words = _stems(place, "target", SUFFIXES), _stems(place, "instruction", ("txt",))
    for name, found in [*zip(folders, sources, strict=True), ("instruction", words)]:
        apart = sorted(set(found) ^ set(targets))
        if apart:
            raise InputError(
                f"place={place}: target/ and {name}/ differ in {len(apart)} names, as {', '.join(apart[:5])}; a file "
                "of the same stem in each accepted; add or remove them"
            )
    more = {name: _stems(place, name, kinds) for name, kinds in (("mask", SUFFIXES), ("caption", ("txt",)))}
    for name, found in more.items():
        apart = sorted(set(found) - set(targets))
        if apart:
            raise InputError(
                f"place={place}: {name}/ has {', '.join(apart[:5])} without a target; remove or rename them"
            )
    return [
        {
            "id": stem,
            "sources": [str(each[stem]) for each in sources],
            "target": str(targets[stem]),
            "instruction": words[stem],
            "mask": str(more["mask"][stem]) if stem in more["mask"] else None,
            "caption": more["caption"].get(stem),
        }
        for stem in sorted(targets)
    ]


def _captioned(place: Path) -> list[dict[str, Any]]:
    shown, words = _stems(place, ".", SUFFIXES), _stems(place, ".", ("txt",))
    apart = sorted(set(shown) ^ set(words))
    if apart:
        raise InputError(
            f"place={place}: {len(apart)} pictures without words or words without a picture, as "
            f"{', '.join(apart[:5])}; a .txt of the same stem beside each picture accepted; add or remove them"
        )
    return [{"id": stem, "sources": [], "target": str(shown[stem]), "caption": words[stem]} for stem in sorted(shown)]


def _stems(place: Path, folder: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of some kinds in a folder, by their stems, relative to `place`."""
    found: dict[str, Path] = {}
    for path in sorted((place / folder).glob("*")):
        if path.suffix.lower().removeprefix(".") in suffixes:
            if path.stem in found:
                raise InputError(
                    f"{path}: {found[path.stem].name} has the same stem; one file of each accepted; rename it"
                )
            found[path.stem] = path.relative_to(place)
    return found


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in row.items()}
