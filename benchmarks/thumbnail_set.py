"""Twenty variants of one base as a set, beside twenty separate edits: time, likeness, legibility, checks.

    python benchmarks/thumbnail_set.py [--count 20] [--steps 10] [--together 5] [--out FOLDER] [--separate 20]

The base is the example channel's frame, drawn anew; the variants are its backgrounds, each with several seeds. Arms,
in turn over groups of variants so that a busy machine disturbs them alike:

    separate        an edit a call, as `recast edit` makes them, the model as it was trained
    separate, cached    the same with the context looked at once a call
    set             what `recast thumbnails make` does: one request a group, one look at the base for all steps

Each arm ends with the merge that keeps the character. The set is then lettered, checked and ranked. likeness: cosines
of every face of a kept variant to the character's references. read: share of lettered variants whose title is read
right at 168 pixels (T4).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from recast import loading
from recast.cli.sight import sight
from recast.cli.thumbnails_work import certificate_of
from recast.retouch.editor import Editor
from recast.thumbnails.base import size_of
from recast.thumbnails.brief import Level, read_brief_and_kit
from recast.thumbnails.instructions import BACKGROUNDS
from recast.thumbnails.workflow import Set, Tools

EXAMPLE = Path(__file__).parent.parent / "examples" / "channel"
sys.path.insert(0, str(EXAMPLE))
import draw as example  # noqa: E402


class Timed:
    """An editor whose requests are timed."""

    def __init__(self, editor: Editor) -> None:
        self.editor, self.seconds = editor, 0.0

    def start_edit(self, *args: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        run = self.editor.start_edit(*args, **options)
        run.finish()
        self.seconds += time.perf_counter() - begun
        return run


def separately(editor: Editor, folder: Path, work: Set, count: int) -> list[float]:
    """Seconds of `count` variants, an edit each."""
    seconds = []
    for each in work.asked()[:count]:
        begun = time.perf_counter()
        editor.edit(
            folder / "frame.png",
            each.prompt,
            seed=each.tries[0],
            steps=work.brief.steps,
            mask=work.folder / "free.png",
            preserve="auto",
        )
        seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="variants of the set")
    parser.add_argument("--separate", type=int, default=20, help="of them also made separately")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--together", type=int, default=5)
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
        cached = Timed(Editor(loading.load("nano", context_attention="cached")))
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
        first = args.separate // 2
        apart = separately(full, folder, work, first)
        apart_cached = separately(cached.editor, folder, work, first)
        begun = time.perf_counter()
        list(work.make(until="variants"))
        together = time.perf_counter() - begun
        apart += separately(full, folder, work, args.separate - first)
        apart_cached += separately(cached.editor, folder, work, args.separate - first)
        begun = time.perf_counter()
        events = work.make()
        while True:
            try:
                next(events)
            except StopIteration as done:
                finished = done.value
                break
        rest = time.perf_counter() - begun
        report(args, finished, together, np.mean(apart), np.mean(apart_cached), rest, cached.seconds)


def report(
    args: argparse.Namespace,
    finished: Any,
    together: float,
    apart: Any,
    apart_cached: Any,
    rest: float,
    requests: float,
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
        "set s": together,
        "separate s": float(apart) * count,
        "separate, cached s": float(apart_cached) * count,
        "set / separate": together / (float(apart) * tried),
        "set / separate, cached": together / (float(apart_cached) * tried),
        "requests s": requests,
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
