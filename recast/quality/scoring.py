"""Records → scores: whatever in a run has no score yet is scored, by the world's truth or by models of real pictures.

Making and scoring are apart, so that a measure can be changed and run again without asking for one picture anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from recast.quality import edits
from recast.quality.store import Mode, Result, Score, Store
from recast.quality.suites import Item, Suite

if TYPE_CHECKING:
    from recast.quality.real import Panel

FEW = 24
"""Fewer items than this are scored here; for more, every core gets a process, which takes two seconds to start."""


@dataclass(frozen=True)
class Judges:
    """What scores a suite: its own truth, or for real pictures a panel of local models. absent: a reason each."""

    panel: Panel | None
    absent: tuple[str, ...] = ()


def judges(suite: Suite, models: Path | None) -> Judges:
    """The judges a suite needs. Models are looked for only if an item has no truth of its own."""
    if all(edits.has_truth(item) for item in suite.items):
        return Judges(None)
    from recast.quality.real import Panel

    panel = Panel.of(models)
    return Judges(panel, panel.absent)


def score(suite: Suite, store: Store, name: str, judges: Judges) -> Iterator[tuple[int, int]]:
    """Score what a system made and nobody scored; (done, of) items as they are done."""
    results, known = store.results(name), store.scores(name)
    fresh: dict[tuple[str, int, Mode], str | None] = {}
    for old in known.values():
        fresh[old.item, old.turn, old.mode] = old.sha256
    waiting: list[tuple[Item, list[Result | None]]] = []
    modes: tuple[Mode, ...] = ("free", "forced")
    for item in suite.items:
        for mode in modes:
            units = [results.get((item.key, turn, mode)) for turn in range(len(item.turns))]
            made = [unit for unit in units if unit is not None]
            if made and any(unit.unit not in fresh or fresh[unit.unit] != unit.sha256 for unit in made):
                waiting.append((item, units))
    for done, scores in enumerate(_scored(waiting, store, judges), 1):
        for each in scores:
            store.add(name, each)
        yield done, len(waiting)


def _scored(waiting: Sequence[tuple[Item, list[Result | None]]], store: Store, judges: Judges) -> Iterator[list[Score]]:
    """The scores of each item. World items go to processes, if there are many; models of real pictures stay here."""
    workers = min(len(os.sched_getaffinity(0)), len(waiting))
    here = [pair for pair in waiting if not edits.has_truth(pair[0])]
    there = [pair for pair in waiting if edits.has_truth(pair[0])]
    if len(there) < FEW or workers < 2:
        here, there = [*there, *here], []
    if there:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            futures: list[Future[list[Score]]] = [pool.submit(score_item, *pair, store.folder) for pair in there]
            for future in as_completed(futures):
                yield future.result()
    for item, units in here:
        yield score_item(item, units, store.folder, judges.panel)


def score_item(item: Item, results: list[Result | None], folder: Path, panel: Panel | None = None) -> list[Score]:
    """The scores of all turns of one item, each with the hash of the picture it is of."""
    store = Store(folder)
    pictures = [store.picture(result) if result is not None else None for result in results]
    hashes = [result.sha256 if result is not None else None for result in results]
    if edits.has_truth(item):
        found = edits.score(item, results, pictures)
    else:
        assert panel is not None
        found = panel.score(item, results, pictures)
    return [replace(each, sha256=hashes[each.turn]) for each in found]


def _one_thread() -> None:
    """Processes share the cores; threads of their own would only get in each other's way."""
    import cv2

    cv2.setNumThreads(1)
