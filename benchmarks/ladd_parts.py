"""What each part of latent adversarial distillation is worth: the stage as it is, then with one part changed at a time.

    OMP_NUM_THREADS=1 python benchmarks/ladd_parts.py [--seeds 0,1] [--steps 100] [--only NAME ...] [--out FOLDER]
    python benchmarks/ladd_parts.py --preset nano --pairs runs/pairs --init runs/direct --minutes 5 [--items 120]

Parts: which blocks the heads sit on; the law of noise levels at which they look (its mean m); negatives (mis-paired
words, copies of the context); the penalty R1 (none, approximate, of gradients); the share of the student's own states;
the regression that is kept; what the student begins as; the sampler that it is trained and asked by.

Without a preset it is the toy (`toy_edits`), on one core: a teacher and its pairs for each seed, then all students of
it; figures are of edits that were never trained on, the mean over seeds and the half of their range. All students of a
seed see the same examples in the same order. With `--preset nano`, the same changes of `recast distill ladd`, each
student judged on worldbench-1 in four steps as in `steps_quality`; what is there already goes on or is only judged.

right, sharp, error, KID, styles: `toy_edits.figures`. endpoint: mean squared error to the teacher's picture of the same
noise (x 1000). accuracy: the discriminator's when its time alone ended; below 0.55 the student stays as it was.
Appends every student to results/ladd_parts.jsonl. What the folder holds already is not made again, so that seeds may
be run side by side and a last call draws the table of all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import record

from recast.errors import TrainingError
from recast.world.folder import write_whole

Change = Mapping[str, Any]
MEANS = {"toy": -3.0, "nano": -0.5}
"""m of the stage as it is: of `toy_edits.LADD`, and of the preset."""
PARTS: dict[str, Change] = {
    "as it is": {},
    "heads: first block": {"taps": (1 / 3,)},
    "heads: last block": {"taps": (1.0,)},
    "heads: every block": {"taps": None},
    "levels: m - 1.5": {"mean_by": -1.5},
    "levels: m + 1.5": {"mean_by": 1.5},
    "negatives: none": {"mispaired": 0.0, "copies": 0.0},
    "negatives: mis-paired alone": {"copies": 0.0},
    "negatives: copies alone": {"mispaired": 0.0},
    "R1: none": {"approximate_r1": 0.0, "r1": 0.0},
    "R1: of gradients": {"approximate_r1": 0.0, "r1": 1e-2},
    "own states: none": {"on_policy": 0.0},
    "own states: half": {"on_policy": 0.5},
    "regression: none": {"regression": 0.0},
    "begins as the teacher": {"start": "teacher"},
    "sampler: re-noise": {"sampler": "renoise"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=("toy", "nano"), default="toy")
    parser.add_argument("--seeds", default="0,1", help="of the toy: of teacher, heads and draws (default 0,1)")
    parser.add_argument("--steps", type=int, default=100, help="of the toy: of each adversarial run (default 100)")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="a part; again for more (usual: all)")
    parser.add_argument("--model", default="nano", help="of nano: the teacher")
    parser.add_argument("--pairs", help="of nano: what `recast distill pairs` wrote")
    parser.add_argument("--init", help="of nano: the run of `recast distill direct`")
    parser.add_argument("--minutes", type=float, default=5, help="of nano: of each run")
    parser.add_argument("--items", type=int, default=120, help="of nano: items of worldbench-1 that are judged")
    parser.add_argument("--out", type=Path, default=Path("runs/ladd-parts"))
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args()
    chosen = {name: PARTS[name] for name in args.only or PARTS}
    if args.preset == "nano":
        if not args.pairs or not args.init:
            parser.error("--pairs and --init: needed with --preset nano")
        _nano(args, chosen)
        return
    rows = [row for seed in args.seeds.split(",") for row in _toy(args, chosen, int(seed))]
    print(_table(rows))


# The toy.


def _toy(args: argparse.Namespace, chosen: Mapping[str, Change], seed: int) -> list[dict[str, Any]]:
    """A row for the teacher in 25 steps and in 4, for the students that are begun with, and for each part."""
    import torch
    import toy_edits as toy

    torch.set_num_threads(1)
    place, judged = args.out / f"seed-{seed}", range(toy.HELD_OUT, toy.HELD_OUT + toy.JUDGED)
    rows: list[dict[str, Any]] = []

    def say(part: str, network: Any, steps: int, accuracy: float | None = None, sampler: Any = "euler") -> None:
        made = toy.walked(network, judged, steps, sampler)
        endpoint = 1000 * float((made - ends).square().mean())
        told = {"preset": "toy", "part": part, "seed": seed, "steps": args.steps, "accuracy": accuracy}
        rows.append({**told, **toy.figures(made, judged), "endpoint": endpoint})
        _row(place, part).parent.mkdir(parents=True, exist_ok=True)
        write_whole(_row(place, part), json.dumps(rows[-1]).encode())
        print(f"seed {seed}: {rows[-1]}", file=sys.stderr, flush=True)
        if not args.no_record:
            record.append("ladd_parts", rows[-1])

    def is_known(part: str) -> bool:
        path = _row(place, part)
        if path.exists():
            rows.append(json.loads(path.read_text()))
        return path.exists()

    teacher = toy.taught(place / "teacher", steps=toy.TEACHER_UPDATES, seed=seed)
    ends = toy.walked(teacher, judged, toy.TEACHER_STEPS)
    pairs = toy.pairs_of(teacher, range(toy.PAIRS))
    for steps in (toy.TEACHER_STEPS, 4):
        if not is_known(f"teacher, {steps} steps"):
            say(f"teacher, {steps} steps", teacher, steps)
    direct = toy.regressed(teacher, pairs, place / "direct", steps=toy.DIRECT_UPDATES, seed=seed)
    if not is_known("direct"):
        say("direct", direct, 4)
    if not is_known("direct, re-noised"):
        say("direct, re-noised", direct, 4, sampler="renoise")
    if not is_known("consistency"):
        made = toy.consistent(teacher, pairs, place / "consistency", steps=toy.DIRECT_UPDATES, seed=seed)
        say("consistency", made, 4)
    for name, change in chosen.items():
        if is_known(name):
            continue
        settings = dict(change)
        if "mean_by" in settings:
            settings["renoise_mean"] = MEANS["toy"] + settings.pop("mean_by")
        start = teacher if settings.pop("start", None) == "teacher" else direct
        if "taps" in settings:
            settings["heads"] = toy.heads(settings.pop("taps"))
        folder = place / _folder(name)
        student, stage = toy.adversarial(teacher, start, pairs, folder, steps=args.steps, seed=seed, **settings)
        say(name, student, 4, float(stage.gate.accuracy), stage.settings.sampler)
    return rows


def _row(place: Path, part: str) -> Path:
    return place / "rows" / f"{_folder(part)}.json"


def _folder(name: str) -> str:
    """A part's name as a folder's."""
    return "".join(each if each.isalnum() or each == "-" else "_" for each in name.lower())


def _table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, and half of their range; `of direct`: the error over that of the seed's own first student."""
    first = {row["seed"]: row["error"] for row in rows if row["part"] == "direct"}
    rows = [{**row, "of direct %": 100 * row["error"] / first[row["seed"]]} for row in rows]
    digits = {"right": 1, "sharp": 1, "error": 4, "of direct %": 1, "kid": 2, "styles": 2, "endpoint": 2, "accuracy": 2}
    made = []
    for part in dict.fromkeys(row["part"] for row in rows):
        own, line = [row for row in rows if row["part"] == part], {"part": part}
        for name, places in digits.items():
            values = [row[name] for row in own if row[name] is not None]
            spread = (max(values) - min(values)) / 2 if values else 0.0
            line[name] = f"{np.mean(values):.{places}f} ± {spread:.{places}f}" if values else "–"
        made.append(line)
    return record.table(made)


# nano.


def _nano(args: argparse.Namespace, chosen: Mapping[str, Change]) -> None:
    """Every student trained and exported, then all of them beside the teacher in one run of `steps_quality`."""
    models = [f"teacher={args.model}"]
    for name, change in chosen.items():
        place, change = args.out / _folder(name), dict(change)
        if "mean_by" in change:
            change["renoise_mean"] = MEANS["nano"] + change.pop("mean_by")
        start = [] if change.pop("start", None) == "teacher" else ["--init", args.init]
        taps = {f"heads.{key}": change.pop(key) for key in ("taps",) if key in change}
        words = [f"settings.{key}={_word(value)}" for key, value in {**change, **taps}.items()]
        _recast(
            "distill", "ladd", "--preset", "nano", "--model", args.model, "--pairs", args.pairs, *start,
            "--minutes", str(args.minutes), "--out", str(place / "run"), "--set", "settings.blind=skip",
            *(part for word in words for part in ("--set", word)),
        )  # fmt: skip
        if not (place / "model").exists():
            _recast(
                "distill", "export", "--run", str(place / "run"), "--base", args.model, "--out", str(place / "model")
            )
        models.append(f"{place.name}={place / 'model'}")
    told = ["--items", str(args.items), "--teacher-steps", "28,4", "--student-steps", "4", "--seeds", "2"]
    command = [sys.executable, str(Path(__file__).parent / "steps_quality.py"), *models, *told]
    _run([*command, "--out", str(args.out / "judged"), *(["--no-record"] if args.no_record else [])])


def _word(value: Any) -> str:
    """A setting as --set takes it."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return "[" + ",".join(f"{each:g}" for each in value) + "]" if isinstance(value, tuple) else f"{value:g}"


def _recast(*words: str) -> None:
    _run([sys.executable, "-m", "recast", *words])


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise TrainingError(f"{' '.join(command)}: did not end well; see above, and run this again: it goes on")


if __name__ == "__main__":
    main()
