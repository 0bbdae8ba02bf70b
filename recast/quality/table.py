"""Records → one table: every column by category with its interval, systems beside controls, nothing left out.

    runs → `results` → {systems, columns, cells, differences, chains, latency, items, warnings}

The dictionary is all that the page and its machine-readable twins show. A unit that failed counts 0 in every column
it would have counted in; a check that could not be made lowers the coverage, and is in no mean.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.quality import calibration, suites
from recast.quality.metrics import latency
from recast.quality.real import judge_warnings
from recast.quality.statistics import Interval, cluster_bootstrap, holm, paired_difference, wilson
from recast.quality.store import DONE, Result, Score, Store
from recast.quality.suites import Item, Suite
from recast.quality.turns import stability

SCHEMA = 1
COLUMNS: tuple[dict[str, Any], ...] = (
    {
        "id": "instruction",
        "title": "Instruction Success",
        "unit": "%",
        "better": "higher",
        "version": 1,
        "range": "0 to 100 %; no-op 0 except where nothing was asked for, oracle 100",
        "formula": "share of items whose every named attribute is read from the picture as asked; on real pictures the "
        "first check that can be made",
        "weakness": "strict: one attribute of three wrong is a failure; unknown counts as wrong",
    },
    {
        "id": "consistency",
        "title": "Character Consistency",
        "unit": "%",
        "better": "higher",
        "version": 1,
        "range": "0 to 100 %; a copy of the source has 100, so read it beside Instruction Success",
        "formula": "world: share of the identity's visible components read as they were; real pictures: cosine of face "
        "embeddings, 0 at strangers, 100 at the face's own round trip",
        "weakness": "a character that does not change cannot become another: no-op is best by definition",
    },
    {
        "id": "precision",
        "title": "Local Edit Precision",
        "unit": "%",
        "better": "higher",
        "version": 1,
        "range": "0 to 100 %; no-op near 0, oracle 100",
        "formula": "root of (share of what had to change that is the answer x share of the rest that is the source), "
        "mean over thresholds of 3 to 10 in Lab after a box filter",
        "weakness": "needs the one right answer; free choices of the model are granted where the world can read them",
    },
    {
        "id": "stability",
        "title": "Multi-turn Stability",
        "unit": "%",
        "better": "higher",
        "version": 1,
        "range": "0 to 100 %; no-op near 0, oracle 100",
        "formula": "mean over turns of (share of all requests so far that hold x share of never touched pixels that "
        "are as in the first picture x consistency)",
        "weakness": "a product: says that something gives way, the curves say what",
    },
    {
        "id": "seconds",
        "title": "Generation Speed",
        "unit": "s",
        "better": "lower",
        "version": 1,
        "range": "seconds",
        "formula": "median time from request to picture in memory, queue and download included",
        "weakness": "belongs to a machine or a service at an hour, not to a model",
    },
)
PER_ITEM = ("instruction", "consistency", "precision")
FEW = 30
"""Fewer items than this are marked: their interval is wide, and rough at its ends."""


@dataclass(frozen=True)
class Entry:
    """A system's records over a suite, as the table sees them: calibrated scores by unit."""

    id: str
    about: Mapping[str, Any]
    folder: Path
    results: Mapping[tuple[str, int], Result]
    scores: Mapping[tuple[str, int], Mapping[str, Score]]

    @property
    def is_control(self) -> bool:
        return bool(self.about["control"])


def results(
    runs: Sequence[Path], *, suite: Suite | None = None, resamples: int = 10_000
) -> tuple[dict[str, Any], dict]:
    """Everything the page shows of some runs of one suite, and where each of its pictures lies.

    suite: given where the folder that the first run names has moved. Raises InputError for runs of different suites
    and for two systems of one name.
    """
    stores = [Store(run) for run in runs]
    if not stores:
        raise InputError("runs: none came; at least one folder written by `recast evaluate` accepted")
    abouts = [store.about() for store in stores]
    for run, about in zip(runs, abouts, strict=True):
        if about["suite"]["sha256"] != abouts[0]["suite"]["sha256"]:
            names = [f"{each['suite']['name']} {each['suite']['sha256'][:8]}" for each in (abouts[0], about)]
            raise InputError(f"run={run}: of {names[1]}, the first is of {names[0]}; runs of one suite accepted")
    suite = suite or suites.load(_place(stores[0], abouts[0]))
    if suite.sha256 != abouts[0]["suite"]["sha256"]:
        raise InputError(
            f"suite={suite.root}: is {suite.sha256[:8]} now, the runs are of {abouts[0]['suite']['sha256'][:8]}; the "
            "suite as it was asked accepted; fetch or write it anew"
        )
    entries = _entries(stores, suite)
    asked = [item for item in suite.items if any((item.key, 0) in entry.results for entry in entries)]
    cells = [cell for entry in entries for cell in _cells(entry, asked, suite, resamples)]
    pictures: dict[str, Path] = {}
    found = {
        "schema": SCHEMA,
        "suite": {**abouts[0]["suite"], "items": len(suite.items), "asked": len(asked), "categories": _rows(asked)},
        "created": max(about["created"] for about in abouts),
        "command": "; ".join(dict.fromkeys(about["command"] for about in abouts)),
        "versions": abouts[0]["versions"],
        "machine": abouts[0]["machine"],
        "systems": [{"id": entry.id, **entry.about, "notes": []} for entry in entries],
        "columns": list(COLUMNS),
        "cells": cells,
        "differences": _differences(entries, asked, resamples),
        "chains": [chain for entry in entries for chain in _chains(entry, asked, pictures, resamples)],
        "latency": [_latency(entry) for entry in entries if not entry.is_control and entry.results],
        "items": [_item(item, turn, entries, pictures, suite) for item in asked for turn in range(len(item.turns))],
        "warnings": [],
    }
    found["suite"].pop("folder", None)
    found["warnings"] = _warnings(found, entries, asked, suite)
    return found, pictures


def _entries(stores: Sequence[Store], suite: Suite) -> list[Entry]:
    """Every system of every run; a control that several runs have is taken from the first."""
    entries: list[Entry] = []
    for store in stores:
        for name in store.systems():
            about = store.system(name)
            same = next((entry for entry in entries if entry.id == name), None)
            if same is not None:
                if about["control"] and same.is_control:
                    continue
                raise InputError(f"run={store.folder}: {name} is in two runs; give one of them another --name")
            results = {(r.item, r.turn): r for r in store.results(name).values() if r.mode == "free"}
            scores: dict[tuple[str, int], dict[str, Score]] = {}
            for score in store.scores(name).values():
                if score.mode == "free":
                    scores.setdefault((score.item, score.turn), {})[score.metric] = score
            entries.append(Entry(name, about, store.folder, results, scores))
    entries.sort(key=lambda entry: (not entry.is_control, entry.id))
    return [_calibrated(entry, entries) for entry in entries]


def _calibrated(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """The entry on the scale of the strangers and of its own autoencoder's floor; without one, of the first floor."""
    floors = [each for each in entries if each.is_control and "autoencoder" in each.about["describe"]]
    model = entry.about["describe"].get("autoencoder", entry.about["describe"].get("model"))
    floors.sort(key=lambda floor: floor.about["describe"]["autoencoder"] != model)
    stranger = next((each.scores for each in entries if each.is_control and each.id == "stranger"), None)
    scale = calibration.of(floors[0].scores if floors else None, stranger)
    return replace(entry, scores={unit: scale.apply(scores) for unit, scores in entry.scores.items()})


def _place(store: Store, about: Mapping[str, Any]) -> Path:
    """Where the suite of a run lies: inside it, if it was written there, else where it was."""
    inside = store.folder / "suite"
    return inside if (inside / "suite.json").is_file() else Path(about["suite"]["folder"])


def values(entry: Entry, items: Iterable[Item], column: str) -> dict[tuple[str, int], float | None]:
    """A column's number for every unit it counts in; None where the check could not be made.

    Whether a unit counts is for the scorer to say: it writes a score, be it 0 for a failure, or none at all.
    """
    found: dict[tuple[str, int], float | None] = {}
    for item in items:
        if len(item.turns) == 1:  # chains have a column of their own
            score = entry.scores.get((item.key, 0), {}).get(column)
            if score is not None:
                found[item.key, 0] = score.value
    return found


def _cells(entry: Entry, asked: Sequence[Item], suite: Suite, resamples: int) -> list[dict[str, Any]]:
    by_key = {item.key: item for item in asked}
    cells = []
    for column in PER_ITEM:
        known = values(entry, asked, column)
        for category in ("all", *_rows(asked)):
            units = [u for u in known if category == "all" or by_key[u[0]].category == category]
            cells.append(_cell(entry, column, category, units, known, by_key, resamples))
    cells += _stability_cells(entry, asked, resamples)
    cells += _seconds_cells(entry, asked, resamples)
    return [cell for cell in cells if cell["n"] or cell["coverage"] is not None or cell["category"] == "all"]


def _cell(
    entry: Entry,
    column: str,
    category: str,
    units: Sequence[tuple[str, int]],
    known: Mapping[tuple[str, int], float | None],
    by_key: Mapping[str, Item],
    resamples: int,
) -> dict[str, Any]:
    usable = [unit for unit in units if known[unit] is not None]
    interval = Interval(0.0, None, None)
    clusters = [by_key[key].base for key, _ in usable]
    if usable:
        interval = cluster_bootstrap(
            [known[unit] or 0.0 for unit in usable],
            clusters,
            [by_key[key].category for key, _ in usable] if category == "all" else None,
            resamples=resamples,
        )
    interval = _honest(interval, len(set(clusters)))
    return {
        "system": entry.id,
        "category": category,
        "column": column,
        "value": interval.value if usable else None,
        "low": interval.low,
        "high": interval.high,
        "n": len(usable),
        "clusters": len(set(clusters)),
        "failures": sum(_status(entry, unit) != "ok" for unit in units),
        "coverage": len(usable) / len(units) if units else None,
        "note": None,
    }


def _honest(interval: Interval, clusters: int) -> Interval:
    """The interval, but where all values are equal and resampling shows none: Wilson's on the clusters at 0 or 1."""
    if interval.low is None or interval.high is None or interval.high > interval.low:
        return interval
    if interval.value in (0, 1) and clusters:
        low, high = wilson(interval.value * clusters, clusters)
        return Interval(interval.value, low, high)
    return Interval(interval.value, None, None)


def _stability_cells(entry: Entry, asked: Sequence[Item], resamples: int) -> list[dict[str, Any]]:
    cells = []
    chains = [item for item in asked if len(item.turns) > 1]
    for category in ("all", *dict.fromkeys(item.category for item in chains)):
        chosen = [item for item in chains if category in ("all", item.category)]
        scored = [(item, curve) for item in chosen if (curve := _curve(entry, item, "quality")) is not None]
        means = [float(np.mean(curve)) for _, curve in scored]
        categories = [item.category for item, _ in scored] if category == "all" else None
        bases = [item.base for item, _ in scored]
        interval = Interval(0, None, None)
        if means:
            interval = _honest(cluster_bootstrap(means, bases, categories, resamples=resamples), len(set(bases)))
        cells.append(
            {
                "system": entry.id,
                "category": category,
                "column": "stability",
                "value": interval.value if means else None,
                "low": interval.low,
                "high": interval.high,
                "n": len(means),
                "clusters": len(set(bases)),
                "failures": sum(
                    any(_status(entry, (item.key, turn)) != "ok" for turn in range(len(item.turns)))
                    for item, _ in scored
                ),
                "coverage": len(means) / len(chosen) if chosen else None,
                "note": None,
            }
        )
    return cells


def _seconds_cells(entry: Entry, asked: Sequence[Item], resamples: int) -> list[dict[str, Any]]:
    """Median seconds; its interval from the order of the times (no model of their distribution)."""
    cells = []
    by_key = {item.key: item for item in asked}
    timed = [(r, by_key[r.item]) for r in entry.results.values() if r.seconds is not None and r.item in by_key]
    for category in ("all", *_rows(asked)):
        chosen = [result for result, item in timed if category in ("all", item.category)]
        seconds = sorted(result.seconds for result in chosen if result.seconds is not None)
        if entry.is_control:
            seconds = []
        low, high = _median_interval(seconds)
        cells.append(
            {
                "system": entry.id,
                "category": category,
                "column": "seconds",
                "value": float(np.median(seconds)) if seconds else None,
                "low": low,
                "high": high,
                "n": len(seconds),
                "clusters": len(seconds),
                "failures": 0,
                "coverage": None,
                "note": None,
            }
        )
    return cells


def _median_interval(ordered: Sequence[float]) -> tuple[float | None, float | None]:
    """The 95 % interval of a median by the binomial ranks of the ordered values; None for fewer than six."""
    from scipy.stats import binom

    n = len(ordered)
    rank = int(binom.ppf(0.025, n, 0.5)) if n else 0
    return (ordered[rank - 1], ordered[n - rank]) if rank >= 1 else (None, None)


def _curve(entry: Entry, item: Item, metric: str) -> list[float] | None:
    """A metric over the turns of a chain; None where a turn has no such number."""
    scores = [entry.scores.get((item.key, turn), {}).get(metric) for turn in range(len(item.turns))]
    if any(score is None or score.value is None for score in scores):
        return None
    return [float(score.value) for score in scores if score is not None and score.value is not None]


CURVES = ("instructed", "held", "kept", "quality", "identity", "colour_shift", "sharpness")


def _chains(entry: Entry, asked: Sequence[Item], pictures: dict[str, Path], resamples: int) -> list[dict[str, Any]]:
    """For every length of chain, each curve's mean and 95 % band over the chains, and one chain as an example."""
    found = []
    groups: dict[tuple[str, int], list[Item]] = {}
    for item in asked:
        if len(item.turns) > 1 and (item.key, 0) in entry.results:
            groups.setdefault((item.category, len(item.turns)), []).append(item)
    for (category, length), items in groups.items():
        curves: dict[str, list[float | None]] = {}
        low: dict[str, list[float | None]] = {}
        high: dict[str, list[float | None]] = {}
        for metric in CURVES:
            rows = [row for item in items if (row := _curve(entry, item, metric)) is not None]
            if not rows:
                continue
            bases = [item.base for item in items if _curve(entry, item, metric) is not None]
            bands = [cluster_bootstrap([row[t] for row in rows], bases, resamples=resamples) for t in range(length)]
            curves[metric] = [band.value for band in bands]
            low[metric], high[metric] = [band.low for band in bands], [band.high for band in bands]
        quality = [row for item in items if (row := _curve(entry, item, "quality")) is not None]
        example = items[0]
        found.append(
            {
                "system": entry.id,
                "category": category,
                "length": length,
                "chains": len(items),
                "curves": curves,
                "low": low,
                "high": high,
                "half_life": stability(np.array(quality))["half_life"] if quality else None,
                "example": {
                    "item": example.key,
                    "instructions": [turn.instruction for turn in example.turns],
                    "pictures": [
                        _register(pictures, entry.folder, result.picture) if result and result.picture else None
                        for turn in range(length)
                        for result in [entry.results.get((example.key, turn))]
                    ],
                },
            }
        )
    return found


def _differences(entries: Sequence[Entry], asked: Sequence[Item], resamples: int) -> list[dict[str, Any]]:
    """Every pair of systems that are no controls, on the units both have, all p-values corrected together (Holm)."""
    by_key = {item.key: item for item in asked}
    found: list[dict[str, Any]] = []
    tested = [entry for entry in entries if not entry.is_control]
    for a, b in itertools.combinations(tested, 2):
        for column in PER_ITEM:
            mine, theirs = values(a, asked, column), values(b, asked, column)
            both = [unit for unit in mine if mine[unit] is not None and theirs.get(unit) is not None]
            if len({by_key[key].base for key, _ in both}) < 2:
                continue
            difference = paired_difference(
                [mine[unit] or 0.0 for unit in both],
                [theirs[unit] or 0.0 for unit in both],
                [by_key[key].base for key, _ in both],
                [by_key[key].category for key, _ in both],
                resamples=resamples,
            )
            has_width = difference.low is not None and difference.high != difference.low  # else nothing was learnt
            found.append(
                {
                    "a": a.id,
                    "b": b.id,
                    "column": column,
                    "difference": difference.value,
                    "low": difference.low if has_width else None,
                    "high": difference.high if has_width else None,
                    "p": difference.p,
                    "n": len(both),
                }
            )
    for row, p in zip(found, holm([row["p"] for row in found]) if found else (), strict=True):
        row["p_holm"] = float(p)
    return found


def _latency(entry: Entry) -> dict[str, Any]:
    timed = [result for result in entry.results.values() if result.seconds is not None]
    seconds = [float(result.seconds) for result in timed if result.seconds is not None]
    server = [result.server_seconds for result in timed if result.server_seconds is not None]
    sizes = Counter((result.width, result.height) for result in timed)
    width, height = sizes.most_common(1)[0][0] if sizes else (None, None)
    known = latency(seconds) if seconds else {"n": 0, "p50": None, "p90": None, "p95": None}
    notes = [f"{len(sizes)} sizes; {width}x{height} is the most frequent"] if len(sizes) > 1 else []
    if entry.about.get("concurrency", 1) > 1:
        notes.append(f"up to {entry.about['concurrency']} requests in flight")
    note = "; ".join(notes) or None
    return {
        "system": entry.id,
        "n": len(seconds),
        "seconds": sorted(seconds),
        "p50": known["p50"],
        "p90": known["p90"],
        "p95": known["p95"],
        "server_p50": float(np.median(server)) if server else None,
        "width": width,
        "height": height,
        "note": note,
    }


def _item(item: Item, turn: int, entries: Sequence[Entry], pictures: dict[str, Path], suite: Suite) -> dict[str, Any]:
    asked = item.turns[turn]
    shown: dict[str, Any] = {}
    for entry in entries:
        result = entry.results.get((item.key, turn))
        scores = entry.scores.get((item.key, turn), {})
        shown[entry.id] = {
            "picture": _register(pictures, entry.folder, result.picture) if result and result.picture else None,
            "status": result.status if result else "missing",
            "reason": result.reason if result else "never asked",
            "seconds": result.seconds if result else None,
            "scores": {name: score.value for name, score in scores.items() if name != DONE},
            "checks": {name: score.check for name, score in scores.items() if name != DONE},
            "reasons": {name: score.reason for name, score in scores.items() if score.reason},
            "flags": sorted({flag for score in scores.values() for flag in score.detail.get("flags", ())}),
            "overlay": None,
        }
    return {
        "key": item.key,
        "turn": turn,
        "category": item.category,
        "kind": item.kind,
        "base": item.base,
        "split": item.split,
        "instruction": asked.instruction,
        "contexts": [_register(pictures, suite.root, str(path.relative_to(suite.root))) for path in item.contexts],
        "answer": _register(pictures, suite.root, str(asked.answer.relative_to(suite.root))) if asked.answer else None,
        "systems": shown,
    }


def _register(pictures: dict[str, Path], folder: Path, path: str) -> str:
    """The name of a picture on the page, and where it lies. Pictures are named by content, so equal names are equal."""
    pictures.setdefault(path, folder / path)
    return path


def _rows(asked: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(item.category for item in asked))


def _status(entry: Entry, unit: tuple[str, int]) -> str:
    result = entry.results.get(unit)
    return result.status if result else "missing"


def _warnings(found: Mapping[str, Any], entries: Sequence[Entry], asked: Sequence[Item], suite: Suite) -> list[str]:
    """What a reader must know before believing the table."""
    warnings = [*suite.warnings, *judge_warnings(entries)]
    if len(asked) < len(suite.items):
        warnings.append(f"{len(asked)} of the suite's {len(suite.items)} items were asked")
    for cell in found["cells"]:
        where = f"{cell['system']}, {cell['column']}, {cell['category']}"
        is_control = any(entry.id == cell["system"] and entry.is_control for entry in entries)
        if cell["category"] == "all" and not is_control:
            if cell["coverage"] is not None and cell["coverage"] < 0.9:
                warnings.append(f"{where}: only {cell['coverage']:.0%} of the items could be checked")
            if 0 < cell["n"] < FEW:
                warnings.append(f"{where}: {cell['n']} items; the interval is rough")
    for entry in entries:
        missing = sum(_status(entry, (item.key, t)) == "missing" for item in asked for t in range(len(item.turns)))
        if missing:
            warnings.append(f"{entry.id}: {missing} units were never asked; they count in no mean")
        unscored = sum(DONE not in entry.scores.get(unit, {}) for unit in entry.results)
        if unscored:
            warnings.append(f"{entry.id}: {unscored} units have no score yet; run `recast evaluate` again")
    return warnings
