"""One evaluation instead of two: a model with embedded guidance beside its teacher, guided by two passes.

    python benchmarks/guidance_quality.py [--teacher nano] [--student nano-dev] [--items 8] [--steps 25]
        [--scales 1,2,3,4] [--tasks edit,generate] [--out FOLDER]

Items of worldbench-1, single edits and pictures from words, evenly taken; teacher and student begin from the same noise
of the item's seed. For every scale g, PSNR in dB between the teacher's two passes at g and the student's one at g; and
the teacher's one pass, which is what leaving guidance out gives. At g = 1, where the teacher has one pass too, it says
how far the student has moved away from it. The bar is 25 dB at g = 3. strength: how far the student's picture lies from
the teacher's one pass, as a share of how far the teacher's two passes do. Intervals are 95 %, by base pictures. With
--out, the pictures: contexts, one pass of the teacher, two, one of the student.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import record

import recast
from recast.pixels import image
from recast.quality import build, suites
from recast.quality.metrics import psnr
from recast.quality.statistics import cluster_bootstrap
from recast.quality.suites import Item

BAR_DB, BAR_AT = 25.0, 3.0
"""At this scale one evaluation is to be so near to two."""


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="nano")
    parser.add_argument("--student", default="nano-dev")
    parser.add_argument("--items", type=int, default=8, help="of each task (default 8)")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--scales", default="1,2,3,4")
    parser.add_argument("--tasks", default="edit,generate")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    scales = [float(each) for each in args.scales.split(",")]
    teacher, student = (recast.load(name, device="cpu", dtype="fp32") for name in (args.teacher, args.student))
    with tempfile.TemporaryDirectory() as folder:
        asked = build.find("worldbench-1", Path(folder)).items
        for task in args.tasks.split(","):
            items = [each for each in asked if len(each.turns) == 1 and bool(each.contexts) == (task == "edit")]
            items = [items[i] for i in np.linspace(0, len(items) - 1, min(args.items, len(items))).astype(int)]
            found = [measured(each, teacher, student, scales, args) for each in items]
            rows = [row(task, scale, [each[scale] for each in found], args) for scale in scales]
            for each in rows:
                record.append("guidance_quality", each)
            print(record.table([shown(each) for each in rows]), flush=True)


def measured(
    item: Item, teacher: Any, student: Any, scales: Sequence[float], args: argparse.Namespace
) -> dict[float, dict[str, Any]]:
    """By scale: PSNR of the student's one pass and of the teacher's to the teacher's two; strength; seconds."""
    pictures = [suites.pixels(path) for path in item.contexts]

    def ask(model: Any, **guidance: float) -> tuple[np.ndarray, float]:
        how = {"seed": item.seed, "steps": args.steps, **guidance}
        started = time.perf_counter()
        if pictures:
            made = model.edit(pictures[0], item.turns[0].instruction, references=pictures[1:], **how)
        else:
            made = model.generate(item.turns[0].instruction, width=item.width, height=item.height, **how)
        return made.pictures[0].rgb, time.perf_counter() - started

    plain, plain_s = ask(teacher, true_guidance=1.0)
    found = {}
    for scale in scales:
        two, two_s = (plain, plain_s) if scale == 1 else ask(teacher, true_guidance=scale)
        one, one_s = ask(student, guidance=scale)
        found[scale] = {
            "base": item.base,
            "student": psnr(one, two),
            "plain": psnr(plain, two),
            "one s": one_s,
            "two s": two_s,
        }
        far = _apart(two, plain)
        found[scale]["strength"] = _apart(one, plain) / far if far else float("nan")
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            row = [*(_sized(each, two) for each in pictures), plain, two, one]
            image.write(np.hstack(row), args.out / f"{item.key.replace('/', '-')}-{scale:g}.png")
    print(
        item.key,
        {scale: f"{each['student']:.1f} ({each['plain']:.1f})" for scale, each in found.items()},
        file=sys.stderr,
    )
    return found


def row(task: str, scale: float, found: Sequence[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    """One scale of one task."""
    interval = cluster_bootstrap([each["student"] for each in found], [each["base"] for each in found])
    low, high = (np.nan if each is None else each for each in interval[1:])
    return {
        "task": task,
        "g": scale,
        "items": len(found),
        "steps": args.steps,
        "student": args.student,
        "student dB": float(np.mean([each["student"] for each in found])),
        "student dB low": low,
        "student dB high": high,
        "left out dB": float(np.mean([each["plain"] for each in found])),
        "strength": float(np.median([each["strength"] for each in found])),
        "two passes over one, seconds": float(np.median([each["two s"] / each["one s"] for each in found])),
        "bar": None if scale != BAR_AT else "met" if low >= BAR_DB else "missed" if high < BAR_DB else "open",
    }


def shown(row: dict[str, Any]) -> dict[str, str]:
    interval = f"[{row['student dB low']:.1f}, {row['student dB high']:.1f}]"
    return {
        "": f"{row['task']}, g = {row['g']:g}",
        "student to two passes, dB": f"{row['student dB']:.1f} {interval}",
        "guidance left out, dB": f"{row['left out dB']:.1f}",
        "strength": "" if np.isnan(row["strength"]) else f"{row['strength']:.2f}",
        "seconds, two over one": f"{row['two passes over one, seconds']:.2f}",
        f"bar, {BAR_DB:g} dB": row["bar"] or "",
    }


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.square(one.astype(np.float64) - other).mean()))


def _sized(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize(like.shape[1::-1]))


if __name__ == "__main__":
    main()
