"""Records → scores: whatever in a run has no score yet is scored, by the world's truth or by models of real pictures.

Making and scoring are apart, so that a measure can be changed and run again without asking for one picture anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from recast.quality import edits
from recast.quality.store import DONE, Mode, Result, Score, Store
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
    """Score what a system made and nobody scored, or other judges did; (done, of) items as they are done."""
    store.repair(name)
    results, known = store.results(name), store.scores(name)
    done_with = {(s.item, s.turn, s.mode): s for s in known.values() if s.metric == DONE}
    waiting: list[tuple[Item, list[Result | None]]] = []
    modes: tuple[Mode, ...] = ("free", "forced")
    for item in suite.items:
        for mode in modes:
            units = [results.get((item.key, turn, mode)) for turn in range(len(item.turns))]
            made = [unit for unit in units if unit is not None]
            if made and not all(_is_done(unit, done_with.get(unit.unit), item, judges) for unit in made):
                waiting.append((item, units))
    for done, scores in enumerate(_scored(waiting, store, judges), 1):
        store.add_all(name, scores)
        yield done, len(waiting)


def _is_done(result: Result, mark: Score | None, item: Item, judges: Judges) -> bool:
    """Whether all scores of a unit are there, of the picture it has now and by these judges."""
    if mark is None or mark.sha256 != result.sha256 or mark.detail.get("status") != result.status:
        return False
    return edits.has_truth(item) or mark.detail.get("absent") == list(judges.absent)


def _scored(waiting: Sequence[tuple[Item, list[Result | None]]], store: Store, judges: Judges) -> Iterator[list[Score]]:
    """The scores of each item. World items go to processes, if there are many; models of real pictures stay here."""
    here = [pair for pair in waiting if not edits.has_truth(pair[0])]
    there = [pair for pair in waiting if edits.has_truth(pair[0])]
    workers = min(_cores(), len(there))
    if len(there) < FEW or workers < 2:
        here, there = [*there, *here], []
    if there:
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread)
        try:
            left = iter(there)
            running = {pool.submit(score_item, *pair, store.folder) for pair in islice(left, 2 * workers)}
            while running:  # few at a time: whoever stops waits for those in hand, and keeps all that were done
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(score_item, *pair, store.folder) for pair in islice(left, len(finished))}
                for future in finished:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    for item, units in here:
        yield score_item(item, units, store.folder, judges.panel)


def score_item(item: Item, results: list[Result | None], folder: Path, panel: Panel | None = None) -> list[Score]:
    """The scores of all turns of one item, each with the hash of the picture it is of, and a mark that they are all.

    A picture that is gone, or no longer what it was, has no hash here: it is scored again when it was made again.
    """
    store = Store(folder)
    pictures = [store.picture(result) if result is not None else None for result in results]
    hashes = [r.sha256 if r and p is not None else None for r, p in zip(results, pictures, strict=True)]
    if edits.has_truth(item):
        found, absent = edits.score(item, results, pictures), []
    else:
        assert panel is not None
        found, absent = panel.score(item, results, pictures), list(panel.absent)
    scores = [replace(each, sha256=hashes[each.turn]) for each in found]
    marks = [
        Score(
            item=item.key,
            turn=turn,
            mode=result.mode,
            metric=DONE,
            value=1.0,
            check="none",
            sha256=hashes[turn],
            detail={"absent": absent, "status": result.status},
        )
        for turn, result in enumerate(results)
        if result is not None
    ]
    return [*scores, *marks]


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _one_thread() -> None:
    """Processes share the cores; threads of their own would only get in each other's way."""
    import cv2

    cv2.setNumThreads(1)
