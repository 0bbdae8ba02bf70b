"""The report of a run: one HTML page that needs nothing but a browser, and the same numbers as JSON and CSV.

The page is a function of the results and the pictures: the same input gives the same bytes, so two reports can be
compared line by line. Nothing in it is fetched from anywhere, and its tables can be read without scripts.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recast.errors import InputError
from recast.quality.page import document, escape, grid, json_block, sections
from recast.quality.page.pictures import Album, Shot, data_uri
from recast.world.folder import write_whole

SCHEMA = 1
LIMIT_BYTES = 25_000_000  # beyond it, a mail programme refuses the page and a phone takes its time
CELLS = ("system", "category", "column", "value", "low", "high", "n", "clusters", "failures", "coverage", "note")
NEEDED = (
    "suite", "created", "command", "versions", "machine", "systems", "columns", "cells", "differences", "chains",
    "latency", "items", "warnings",
)  # fmt: skip


def write(
    results: Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    pictures: Path | Mapping[str, Path],
    limit_bytes: int = LIMIT_BYTES,
) -> list[Path]:
    """The files written: the page `out`, its twins .json and .csv, and the pictures beside it, if any.

    results: as `recast.quality.table.results` gives them. pictures: the folder that their paths lead from, or the file
    of each path. All pictures are in the page if it stays within limit_bytes; otherwise small ones are, and the whole
    ones lie in a folder beside it; otherwise both lie there. A picture that cannot be read is a warning on the page.
    Raises InputError for results of another form, and for a place that cannot be written.
    """
    _check(results)
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"out={str(out)!r}: a name that ends in .html accepted; add it")
    twins = [out.with_suffix(".json"), out.with_suffix(".csv")]
    if not out.parent.is_dir() or out.is_dir():
        raise InputError(f"out={str(out)!r}: a file in an existing folder accepted; mkdir -p {out.parent}")
    album = Album(pictures)
    data = grid.items(results, album)
    chains = sections.chains(results, album)
    stored, beside, storage = _store(album, f"{out.stem}-files", limit_bytes - len(data) - len(chains))
    lost = len(album.missing)
    more = (
        [f"{lost} of the pictures that the results name cannot be read, {album.missing[0]} among them"] if lost else []
    )
    page = document(
        "report",
        title=escape(results["suite"]["title"]),
        header=sections.header(results),
        warnings=sections.warnings(results, more),
        leaders=sections.leaders(results),
        scores=sections.scores(results),
        categories=sections.categories(results),
        chains=chains,
        speed=sections.speed(results),
        failures=sections.failures(results),
        cards=sections.cards(results),
        methods=sections.methods(results, [twin.name for twin in twins], storage),
        items=data,
        pictures=json_block("pictures", stored),
    )
    folder = out.with_name(f"{out.stem}-files")
    files = {folder / name: content for name, content in beside.items()}
    texts = dict(zip([*twins, out], (as_json(results), as_csv(results), page), strict=True))
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # named by its content
            continue
        write_whole(path, content.read_bytes() if isinstance(content, Path) else content)
    for path, text in texts.items():  # the page last: where it is, all it speaks of is too
        write_whole(path, text.encode())
    return [*texts, *files]


def as_json(results: Mapping[str, Any]) -> str:
    """The results as JSON text, a line for each small thing."""
    return json.dumps(results, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def as_csv(results: Mapping[str, Any]) -> str:
    """The cells of the tables as CSV with a heading; shares are in 0..1, what is unknown is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CELLS)
    writer.writerows([cell[name] for name in CELLS] for cell in results["cells"])
    return file.getvalue()


def _store(album: Album, folder: str, limit_bytes: int) -> tuple[dict[str, Any], dict[str, bytes | Path], str]:
    """Each picture's place in the page, what lies beside the page, and a sentence that says which.

    The place of a picture: [its small form, its whole form or None where the small one is whole, width, height].
    """
    shots = album.shots
    small = sum(_inlined(len(shot.small)) for shot in shots.values())
    whole = small + sum(_inlined(shot.size_bytes) for shot in shots.values() if _has_more(shot))
    places: dict[str, Any] = {}
    beside: dict[str, bytes | Path] = {}
    for name, shot in shots.items():
        thumb, full = data_uri(shot.small, shot.small_kind), None
        if small > limit_bytes:
            beside[f"{name}-small.{shot.small_kind}"] = shot.small
            thumb = f"{folder}/{name}-small.{shot.small_kind}"
        if _has_more(shot):
            assert shot.file is not None
            if whole <= limit_bytes:
                full = data_uri(shot.file.read_bytes(), shot.kind)
            else:
                beside[f"{name}.{shot.kind}"] = shot.file
                full = f"{folder}/{name}.{shot.kind}"
        places[name] = [thumb, full, shot.width, shot.height]
    if not beside:
        return places, beside, "All pictures are in this page, in full size."
    which = "All pictures lie" if small > limit_bytes else "Small pictures are in this page; those in full size lie"
    return places, beside, f"{which} in the folder <code>{escape(folder)}</code> beside it: move them together."


def _has_more(shot: Shot) -> bool:
    """Whether the small form is not all there is."""
    return shot.size_bytes > 0 and shot.small_kind + str(len(shot.small)) != shot.kind + str(shot.size_bytes)


def _inlined(size_bytes: int) -> int:
    return 4 * ((size_bytes + 2) // 3)


def _check(results: Mapping[str, Any]) -> None:
    """Raise InputError for results that this page cannot show, before anything is read or written."""
    if results.get("schema") != SCHEMA:
        raise InputError(f"results: schema {results.get('schema')!r} came; {SCHEMA} accepted; evaluate again")
    missing = [name for name in NEEDED if name not in results]
    if missing:
        raise InputError(f"results: {', '.join(missing)} missing; all of {', '.join(NEEDED)} accepted; evaluate again")
    systems = {system["id"] for system in results["systems"]}
    columns = {column["id"] for column in results["columns"]}
    _known("system", (cell["system"] for cell in results["cells"]), systems)
    _known("column", (cell["column"] for cell in results["cells"]), columns)
    _known("system", (slug for item in results["items"] for slug in item["systems"]), systems)
    _known("system", (one["system"] for name in ("chains", "latency") for one in results[name]), systems)
    _known("system", (one[end] for one in results["differences"] for end in "ab"), systems)
    _known("column", (one["column"] for one in results["differences"]), columns)


def _known(name: str, came: Iterable[str], accepted: set[str]) -> None:
    unknown = sorted(set(came) - accepted)
    if unknown:
        raise InputError(f"results: {name} {unknown[0]!r} came; {', '.join(sorted(accepted))} accepted; evaluate again")
