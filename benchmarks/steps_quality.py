"""Quality against evaluations of the network: a teacher at many steps and few, and every student of it at few.

    python benchmarks/steps_quality.py [nano=nano] turbo=PATH [NAME=PATH ...] [--items 238] [--seeds 3]
        [--suite worldbench-1] [--teacher-steps 50,28,16,8,4] [--student-steps 8,4,2,1] [--held-at 4]
        [--features MODELS] [--device auto] [--out runs/steps-quality] [--no-record]

The first model is the teacher, the others its students; each samples as its own defaults say, in so many steps. The
same items with the same seeds go to all, a few items at a time to each in turn, so that a busy hour is everybody's.
Chains of edits are left out. The folder keeps every picture and score: run it again and it goes on.

evaluations   calls of the network for one picture, counted there, the same with guidance in two passes
denoise s     median seconds of the sampling stage, without encoding and decoding
instruction   share of pictures that show all that was asked (%); consistency: of a character's components that are as
              they were; kept: of pixels that had to stay that did, of local edits; text: instruction, of text edits
KID x 1000    to the right answers, on fixed features, which the first line names; 0 is none
diversity     mean distance of the features of an item's pictures by other seeds; noise counts as diversity too, and so
              does what drifts where an edit was to keep its source
inside        the same, with the source in place of all that a local edit was to keep: where it equals the right answer.
              Pictures from text and other edits count whole, and are most of it (by category: in the record); edits
              that change nothing do not count. Of a thing whose place is left open, what stands beside its place in
              the right answer is not seen

Intervals are 95 %, by base pictures drawn anew (bias-corrected and accelerated). Prints the table and every bar with
its verdict (`steps_bars`), writes OUT/steps_quality.svg, appends a row for each arm and student to
results/steps_quality.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import fixed_features
import numpy as np
import plots
import record
import steps_bars
from steps_bars import COLUMNS, Sample
from torch import Tensor

import recast
from recast.flow.transformer import Network
from recast.pipeline import Pipeline
from recast.quality import build, edits, metrics, scoring, suites
from recast.quality import run as running
from recast.quality.statistics import Interval
from recast.quality.store import Score, Store
from recast.quality.suites import Item, Suite
from recast.quality.systems.contract import Made, Request
from recast.quality.systems.local import Local

TOGETHER = 8
"""Items that one arm is asked before the next arm's turn."""
FAR = 1_000_003
"""From one seed of an item to its next: no other item's."""


class Counting:
    """A network that counts its evaluations."""

    def __init__(self, network: Network) -> None:
        self.network, self.count = network, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def along(self, *args: Any, **options: Any) -> Callable[[Tensor, float], Tensor]:
        inner = self.network.along(*args, **options)

        def velocity(x: Tensor, t: float) -> Tensor:
            self.count += 1
            return inner(x, t)

        return velocity


class Counted(Local):
    """A model in so many steps, with the evaluations of each picture in its detail."""

    def make(self, request: Request) -> Made:
        network = self.model.network
        assert isinstance(network, Counting)
        network.count = 0
        made = super().make(request)
        made.detail["evaluations"] = network.count
        return made


@dataclass(frozen=True)
class Arm:
    """One model in one number of steps."""

    model: str
    steps: int
    system: Counted

    @property
    def name(self) -> str:
        return running.slug(self.system.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["nano=nano"], metavar="NAME=PATH", help="the teacher first")
    parser.add_argument("--suite", default="worldbench-1", help="a built-in suite, or the folder of one")
    parser.add_argument("--items", type=int, help="taken evenly from every category; all, if left out")
    parser.add_argument("--seeds", type=int, default=3, help="pictures of each item (default 3); 1 has no diversity")
    parser.add_argument("--teacher-steps", type=_steps, default=(50, 28, 16, 8, 4))
    parser.add_argument("--student-steps", type=_steps, default=(8, 4, 2, 1))
    parser.add_argument("--held-at", type=int, default=4, help="steps at which students are held to the bars")
    parser.add_argument("--features", type=Path, metavar="MODELS", help="folder with dinov2/, for KID and diversity")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/steps-quality"))
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args()
    named = [each.partition("=")[::2] if "=" in each else (each, each) for each in args.models]
    if len({name for name, _ in named}) < len(named):
        parser.error("models: a name came twice; give each its own, NAME=PATH")
    pipelines = {name: counting(recast.load(path, device=args.device)) for name, path in named}
    arms = [
        Arm(name, steps, Counted(name=f"{name} {steps}", model=model, steps=steps))
        for number, (name, model) in enumerate(pipelines.items())
        for steps in (args.student_steps if number else args.teacher_steps)
    ]
    suite = build.find(args.suite, args.out / "suite")
    asked = drawn(suite, args.items, args.seeds)
    store = Store(args.out)
    store.begin(running.about(suite, " ".join(sys.argv)))
    make(asked, arms, store)
    for arm in arms:
        for done, of in scoring.score(asked, store, arm.name, scoring.judges(asked, None)):
            print(f"\rscored {arm.name}: {done} of {of}   ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    kept = fixed_features.Kept(fixed_features.find(args.features), args.out / "features.npz")
    answers = answers_of(asked, kept)
    found = {arm: samples(asked, arm, store, kept) for arm in arms}
    print(
        f"{suite.name}-{suite.version}: {len(asked.items) // args.seeds} items, {args.seeds} seeds; KID and diversity"
    )
    print(f"on {kept.extractor.about}\n")
    rows = [figures(arm, found[arm], answers) for arm in arms]
    print(record.table([shown(row) for row in rows]))
    (args.out / "steps_quality.svg").write_text(drawing(rows))
    how = {"suite": f"{suite.name}-{suite.version}", "items": len(asked.items) // args.seeds, "seeds": args.seeds}
    how |= {"features": kept.extractor.about, "device": str(next(iter(pipelines.values())).device)}
    for row in rows if not args.no_record else ():
        record.append("steps_quality", {**how, **row})
    for student, bars in verdicts(arms, found, answers, args.held_at).items():
        print(f"\n{student}, beside {arms[0].model}:\n")
        print(record.table([_bar(bar) for bar in bars]))
        if not args.no_record:
            told = [{**asdict(bar), "verdict": bar.verdict} for bar in bars]
            record.append("steps_quality", {**how, "student": student, "bars": told})


# Asking.


def counting(model: Pipeline) -> Pipeline:
    """The same pipeline, its evaluations counted."""
    model.network = Counting(model.network)
    return model


def drawn(suite: Suite, items: int | None, seeds: int) -> Suite:
    """Single edits and pictures of a suite, as many as asked for, each once for every seed: ITEM, ITEM+1, ..."""
    single = replace(suite, items=tuple(item for item in suite.items if len(item.turns) == 1)).only(limit=items)
    return replace(
        single,
        items=tuple(
            replace(item, key=f"{item.key}+{draw}" if draw else item.key, seed=item.seed + FAR * draw)
            for item in single.items
            for draw in range(seeds)
        ),
    )


def make(asked: Suite, arms: Sequence[Arm], store: Store) -> None:
    """Every picture that the store lacks."""
    total, done = len(asked.items) * len(arms), 0
    for first in range(0, len(asked.items), TOGETHER):
        part = replace(asked, items=asked.items[first : first + TOGETHER])
        for arm in arms:
            for progress in running.make(part, arm.system, store):
                done += 1
                print(
                    f"\r{done} of {total}: {arm.name} {progress.result.status}   ", end="", file=sys.stderr, flush=True
                )
    print(file=sys.stderr)


# Finding.


def answers_of(asked: Suite, kept: fixed_features.Kept) -> list[Sample]:
    """The right pictures of all items, once each."""
    right = [(item, item.turns[0].answer) for item in asked.items if "+" not in item.key]
    features = kept.of(suites.pixels(answer) for _, answer in right if answer is not None)
    items = [item for item, answer in right if answer is not None]
    return [_sample(item, {}, features=each) for item, each in zip(items, features, strict=True)]


def samples(asked: Suite, arm: Arm, store: Store, kept: fixed_features.Kept) -> list[Sample]:
    """What an arm made of every item, in the items' order."""
    results, scores = store.results(arm.name), store.scores(arm.name)
    by_unit: dict[str, dict[str, Score]] = {}
    for score in scores.values():
        by_unit.setdefault(score.item, {})[score.metric] = score
    made = [results[item.key, 0, "free"] for item in asked.items]
    whole = kept.of(store.picture(result) for result in made)
    within = kept.of(inside(item, store.picture(result)) for item, result in zip(asked.items, made, strict=True))
    found = []
    for item, result, seen, seen_inside in zip(asked.items, made, whole, within, strict=True):
        own = by_unit.get(item.key, {})
        numbers = {name: own[name].value for name in ("instruction", "consistency") if name in own}
        if "precision" in own and own["precision"].value is not None:  # None: the picture is gone, as are its others
            # Of a picture that failed there is no detail, and nothing was kept
            numbers["kept"] = own["precision"].detail.get("kept", 0.0)
        found.append(
            _sample(
                item,
                {name: value for name, value in numbers.items() if value is not None},
                evaluations=result.detail.get("evaluations"),
                seconds=result.detail.get("timings_s", {}).get("sample"),
                features=seen,
                inside=seen_inside,
            )
        )
    return found


def inside(item: Item, picture: np.ndarray | None) -> np.ndarray | None:
    """A picture (H, W, 3) with the source wherever a local edit was to keep it; whole, where nothing says what that is.

    Local as `kept` has it: by `edits.LOCAL_SHARE`. None without a picture, and for an edit that was to change nothing.
    """
    turn = item.turns[0]
    if picture is None or not item.contexts or turn.answer is None:
        return picture
    source, changed = _region(item.contexts[(turn.truth or {}).get("base", 0)], turn.answer)
    if changed.mean() > edits.LOCAL_SHARE:
        return picture
    if not changed.any():
        return None
    shown, _ = metrics.register(picture, item.width, item.height)
    return np.where(changed[..., None], shown, source)


@cache
def _region(context: Path, answer: Path) -> tuple[np.ndarray, np.ndarray]:
    """The source (H, W, 3), and where the right answer differs from it (H, W)."""
    source = suites.pixels(context)
    return source, (source != suites.pixels(answer)).any(2)


def _sample(item: Item, scores: dict[str, float], **more: Any) -> Sample:
    key, _, draw = item.key.partition("+")
    return Sample(item=key, base=item.base, category=item.category, draw=int(draw or 0), scores=scores, **more)


# Saying.


def figures(arm: Arm, found: Sequence[Sample], answers: Sequence[Sample]) -> dict[str, Any]:
    """An arm's row: numbers with their intervals, over all and by category."""
    evaluations = [s.evaluations for s in found if s.evaluations is not None]
    seconds = [s.seconds for s in found if s.seconds is not None]
    within = steps_bars.inside(found)
    categories = dict.fromkeys(s.category for s in found)
    by_category = {
        column: {category: steps_bars.mean(found, column, category) for category in categories}
        for column in COLUMNS[:3]
    }
    by_category["diversity_inside"] = {
        category: steps_bars.diversity([s for s in within if s.category == category], answers)
        for category in categories
    }
    return {
        "arm": arm.name,
        "model": arm.model,
        "steps": arm.steps,
        "evaluations": float(np.mean(evaluations)) if evaluations else None,
        "denoise_s": float(np.median(seconds)) if seconds else None,
        "pictures": sum(s.features is not None for s in found),
        "failures": sum(s.features is None for s in found),
        **{column: steps_bars.mean(found, column) for column in COLUMNS},
        "kid": steps_bars.kid(found, answers),
        "diversity": steps_bars.diversity(found, answers),
        "diversity_inside": steps_bars.diversity(within, answers),
        "by_category": by_category,
    }


def shown(row: dict[str, Any]) -> dict[str, str]:
    """A row as the table prints it."""
    cells = {"arm": row["arm"], "evaluations": _plain(row["evaluations"], ".3g"), "denoise s": _plain(row["denoise_s"])}
    cells |= {f"{column} %": _cell(row[column], 100, 1) for column in COLUMNS}
    cells |= {"KID x 1000": _cell(row["kid"], 1000, 1), "diversity": _cell(row["diversity"], 1, 3)}
    cells |= {"inside": _cell(row["diversity_inside"], 1, 3)}
    return cells | {"failures": str(row["failures"])}


def verdicts(
    arms: Sequence[Arm], found: dict[Arm, list[Sample]], answers: Sequence[Sample], held_at: int
) -> dict[str, list[steps_bars.Bar]]:
    """The bars of every student that was asked at `held_at` steps."""
    teacher = {arm.steps: found[arm] for arm in arms if arm.model == arms[0].model}
    students = [arm for arm in arms if arm.model != arms[0].model and arm.steps == held_at]
    most = teacher[max(teacher)]
    return {arm.name: steps_bars.bars(found[arm], most, teacher.get(8), answers) for arm in students}


def drawing(rows: Sequence[dict[str, Any]]) -> str:
    """The plot for docs/: seven figures against evaluations."""
    titles = {
        "instruction": ("instruction success, %", 100),
        "consistency": ("character consistency, %", 100),
        "kept": ("kept region, %", 100),
        "text": ("text as asked, %", 100),
        "kid": ("KID x 1000 to the right answers", 1000),
        "diversity": ("diversity between seeds", 1),
        "diversity_inside": ("diversity inside what was to change", 1),
    }
    every = []
    for name, (title, by) in titles.items():
        lines: dict[str, list[plots.Point]] = {}
        for row in rows:
            if row[name] is not None and row["evaluations"]:
                ends = [None if each is None else each * by for each in row[name]]
                lines.setdefault(row["model"], []).append(plots.Point(row["evaluations"], *ends))  # type: ignore[arg-type]
        every.append(plots.Panel(title, lines))
    return plots.panels(every, x_label="evaluations of the network for one picture")


def _bar(bar: steps_bars.Bar) -> dict[str, str]:
    is_share = bar.name.startswith(("within", "better"))
    by, digits = (100, 1) if is_share else (1, 2)
    bound = f"above {by * bar.bound:g}" if bar.is_strict else f"at least {by * bar.bound:g}"
    return {"bar": bar.name, "found": _cell(bar.found, by, digits), "asked": bound, "verdict": bar.verdict}


def _cell(found: Interval | None, by: float, digits: int) -> str:
    if found is None or not np.isfinite(found.value):
        return "–"
    value = f"{by * found.value:.{digits}f}"
    if found.low is None or found.high is None:
        return value
    return f"{value} [{by * found.low:.{digits}f}, {by * found.high:.{digits}f}]"


def _plain(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else f"{value:{form}}"


def _steps(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


if __name__ == "__main__":
    main()
