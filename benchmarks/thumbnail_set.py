"""Twenty variants of one base as a set, beside twenty separate edits: time, likeness, legibility, checks.

    python benchmarks/thumbnail_set.py [--count 20] [--steps 10] [--together 10] [--out FOLDER] [--separate 20]

The base is the example channel's frame, drawn anew; the variants are its backgrounds, each with several seeds. Arms,
in turn, some separate edits before each request of the set, so that a busy machine disturbs them alike:

    separate        an edit a call, as `recast edit` makes them, the model as it was trained
    separate, cached    the same by the set's own plan, with the context looked at once a call
    set             what `recast thumbnails make` does: one request a group, one look at the base for all steps, and
                    the plan that `auto` chooses

All arms have the same prompts, seeds, steps, mask and strictness, and end with the merge that keeps the character and
a file; that of the set also tells who is in each picture. Its pictures are those of "separate, cached"; "separate" has
the context attended to anew at each step, which makes others and takes longer: both ratios are printed. Seconds are
those of the clock, and of the processor, which say less of other work on the machine. The set is then lettered, checked
and ranked. likeness: cosines of every face of a kept variant to the character's references. read: share of lettered
variants whose title is read right at 168 pixels (T4).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import record

from recast import loading
from recast.cli.sight import sight
from recast.cli.thumbnails_work import certificate_of
from recast.errors import GateFailed
from recast.retouch.editor import Editor
from recast.speed import accelerate
from recast.thumbnails.base import size_of
from recast.thumbnails.brief import Level, read_brief_and_kit
from recast.thumbnails.instructions import BACKGROUNDS
from recast.thumbnails.variants import TOGETHER
from recast.thumbnails.workflow import Set, Tools

EXAMPLE = Path(__file__).parent.parent / "examples" / "channel"
sys.path.insert(0, str(EXAMPLE))
import draw as example  # noqa: E402


class Clock:
    """Seconds of the clock and of the processor, of all that it was wound round."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float]] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.rows.append((time.perf_counter() - wall, time.process_time() - cpu))

    def mean(self) -> np.ndarray:
        return np.mean(self.rows, axis=0)

    def median(self) -> float:
        return float(np.median([wall for wall, _ in self.rows]))


class Between:
    """An editor that lets others work before each request, and counts what that takes."""

    def __init__(self, editor: Editor) -> None:
        self.editor, self.before, self.others = editor, list[Callable[[], None]](), Clock()
        self.begun: list[float] = []  # each request, by the clock without the others

    def look_at(self, image: Any) -> Any:
        return self.editor.look_at(image)

    def start_edit(self, *args: Any, **options: Any) -> Any:
        with self.others():
            if self.before:
                self.before.pop(0)()
        self.begun.append(time.perf_counter() - sum(wall for wall, _ in self.others.rows))
        return self.editor.start_edit(*args, **options)


def separately(editor: Editor, folder: Path, work: Set, numbers: Iterable[int], clock: Clock) -> None:
    """Some of the variants, an edit each."""
    asked = work.asked()
    for number in numbers:
        with clock(), suppress(GateFailed):  # an edit that a strict merge refuses took its time all the same
            made = editor.edit(
                folder / "frame.png",
                asked[number].prompt,
                seed=asked[number].tries[0],
                steps=work.brief.steps,
                mask=work.folder / "free.png",
                preserve="strict",
            )
            made.save(folder / "separate.png")


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="variants of the set")
    parser.add_argument("--separate", type=int, default=20, help="of them also made separately")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--together", type=int, default=TOGETHER)
    parser.add_argument("--out", type=Path, help="keep the set here (usual: a folder that is removed)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        example.main(folder)
        for name in ("brief.yaml", "brand.yaml"):
            (folder / name).write_bytes((EXAMPLE / name).read_bytes())
        brief, kit = read_brief_and_kit(folder / "brief.yaml")
        names = list(BACKGROUNDS)
        levels = tuple(
            Level(name=f"{names[i % len(names)]}-{i // len(names) + 1}", edit=BACKGROUNDS[names[i % len(names)]])
            for i in range(args.count)
        )
        brief = replace(brief, steps=args.steps, variants=replace(brief.variants, levels=levels))
        cached = Between(Editor(accelerate(loading.load("nano", context_attention="cached"), "auto").pipeline))
        full = Editor(loading.load("nano"))
        config = cached.editor.config
        tools = Tools(
            generator=lambda: cached,
            model={"name": config.name},
            size=size_of(multiple=config.pixels_per_token, most_tokens=config.defaults.max_tokens),
            sight=sight("nano"),
            certificate=certificate_of,
            together=args.together,
        )
        work = Set(brief, kit, args.out or folder / "set", tools)
        list(work.make(until="base"))
        full.edit(folder / "frame.png", "Make it night", steps=1, seed=0)  # warm
        cached.editor.edit(folder / "frame.png", "Make it night", steps=1, seed=0)
        apart, apart_cached, together = Clock(), Clock(), Clock()
        groups = -(-args.count // args.together)
        for numbers in np.array_split(np.arange(args.separate), groups):
            cached.before.append(partial(_both, full, cached.editor, folder, work, numbers, apart, apart_cached))
        with together():
            list(work.make(until="variants"))
        set_s = together.rows[0] - np.sum(cached.others.rows, axis=0)
        ended = time.perf_counter() - sum(wall for wall, _ in cached.others.rows)
        sizes = np.diff([*range(0, args.count, args.together), args.count])
        has_retries = len(cached.begun) != groups
        median = None if has_retries else float(np.median(np.diff([*cached.begun, ended]) / sizes))
        begun = time.perf_counter()
        events = work.make()
        while True:
            try:
                next(events)
            except StopIteration as done:
                finished = done.value
                break
        rest = time.perf_counter() - begun
        report(args, finished, set_s, apart, apart_cached, rest, median)


def _both(
    full: Editor, cached: Editor, folder: Path, work: Set, numbers: Iterable[int], apart: Clock, apart_cached: Clock
) -> None:
    separately(full, folder, work, numbers, apart)
    separately(cached, folder, work, numbers, apart_cached)


def report(
    args: argparse.Namespace,
    finished: Any,
    together: np.ndarray,
    apart: Clock,
    apart_cached: Clock,
    rest: float,
    median: float | None,  # seconds a variant; None where some were tried again
) -> None:
    count = len(finished.entries)
    tried = sum(len(each.made.tried) for each in finished.entries)
    kept = [each for each in finished.entries if each.made.is_kept]
    read = [finding for each in kept for finding in each.findings if finding.check == "T4"]
    shipped = [each for each in finished.entries if each.is_shipped]
    row = {
        "variants": count,
        "tries": tried,
        "steps": args.steps,
        "set s": float(together[0]),
        "separate s": float(apart.mean()[0]) * count,
        "separate, cached s": float(apart_cached.mean()[0]) * count,
        "set / separate": float(together[0] / (apart.mean()[0] * tried)),
        "set / separate, medians": None if median is None else median / apart.median(),
        "set / separate, cached, medians": None if median is None else median / apart_cached.median(),
        "set / separate, processor": float(together[1] / (apart.mean()[1] * tried)),
        "set / separate, cached, processor": float(together[1] / (apart_cached.mean()[1] * tried)),
        "set / separate, cached": float(together[0] / (apart_cached.mean()[0] * tried)),
        "lettering, checks, export s": rest,
        "kept": len(kept),
        "passed": sum(each.place is not None for each in finished.entries),
        "shipped": len(shipped),
        "likeness mean": float(np.mean(finished.consistency)) if finished.consistency else None,
        "likeness worst": float(min(finished.consistency)) if finished.consistency else None,
        "read at 168 px": sum(each.verdict == "pass" for each in read) / max(1, len(read)),
        "shipped with a fail": sum(any(f.verdict == "fail" for f in each.findings) for each in shipped),
    }
    record.append("thumbnail_set", row)
    print(record.table([{"": name, "value": value} for name, value in row.items()]))


if __name__ == "__main__":
    main()
