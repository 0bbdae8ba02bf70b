"""Merging beside the best-known merge node, on the same pictures in the same run.

    python benchmarks/merge.py [--seeds 280] [--distortions none,jpeg,...] [--changes object,...] [--no-record]

Columns, each the mean over cases unless it says otherwise:
false area    share of the frame taken for changed farther than 8 px from anything that was (%)
altered       share of the pixels that were not to change whose bytes differ from the source's (%)
recall        share of the truly changed pixels (CIEDE2000 of 2 or more) that the mask covers, by kind of change (%)
off           mean CIEDE2000 between the result and the right answer, inside the change
displaced     how far the merged patch lies from where it belongs, objects and arrows, px (largest in brackets)
seconds       median time of a merge
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable

import cv2
import numpy as np
import record
from merge_cases import CHANGES, DISTORTIONS, Case, cases
from merge_peers import diff_merge
from skimage.color import deltaE_ciede2000, rgb2lab

from recast.retouch.merge import merge

NEAR_PX = 8
Merged = tuple[np.ndarray, np.ndarray]  # the result, and the mask of what was taken for changed in 0..1


def ours(source: np.ndarray, edited: np.ndarray) -> Merged:
    """Our merge; a verdict that keeps nothing counts as a mask of everything."""
    made = merge(source, edited)
    if made.verdict in ("global", "reframed"):
        return made.result.samples, np.ones(source.shape[:2], np.float32)
    mask = np.zeros(source.shape[:2], np.float32)
    for layer, region in zip(made.layers, made.regions, strict=True):
        left, top, right, bottom = layer.box
        if region.is_accepted:
            np.maximum(mask[top:bottom, left:right], layer.alpha, out=mask[top:bottom, left:right])
    return made.result.samples, mask


MERGERS: dict[str, Callable[[np.ndarray, np.ndarray], Merged]] = {
    "recast": ours,
    "diff-merge": diff_merge,
    "diff-merge, alpha": lambda source, edited: diff_merge(source, edited, "alpha"),
}


def measured(case: Case, merger: Callable[[np.ndarray, np.ndarray], Merged]) -> dict[str, float]:
    """The figures of one merge of one case."""
    started = time.perf_counter()
    result, mask = merger(case.source, case.edited)
    seconds = time.perf_counter() - started
    near = cv2.dilate(case.truth.astype(np.uint8), np.ones((2 * NEAR_PX + 1,) * 2, np.uint8)) > 0
    labs = rgb2lab(case.source), rgb2lab(case.target)
    plain = case.truth & (deltaE_ciede2000(*labs) >= 2)
    figures = {
        "false": float(((mask >= 0.5) & ~near).mean()),
        "altered": float((result != case.source).any(-1)[~case.truth].mean()),
        "seconds": seconds,
    }
    if plain.any():
        figures["recall"] = float((mask[plain] >= 0.5).mean())
        figures["off"] = float(deltaE_ciede2000(rgb2lab(result)[plain], labs[1][plain]).mean())
    if case.box is not None and case.name.split("/")[1] in ("object", "arrow"):
        figures["displaced"] = displaced(case, result)
    return figures


def displaced(case: Case, result: np.ndarray) -> float:
    """How far, in pixels, the patch of the result lies from where it belongs; searched 40 px around."""
    left, top, right, bottom = case.box
    reach = 40
    there = case.target[top:bottom, left:right]
    field = result[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach]
    scores = cv2.matchTemplate(field, there, cv2.TM_SQDIFF)
    y, x = np.unravel_index(int(scores.argmin()), scores.shape)
    return float(np.hypot(y - min(top, reach), x - min(left, reach)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=280, help="how many cases; 280 is each once")
    parser.add_argument("--distortions", default=",".join(DISTORTIONS))
    parser.add_argument("--changes", default=",".join(CHANGES))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--worst", type=int, default=0, help="print so many of our worst cases a column")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args()
    chosen = {"distortions": tuple(args.distortions.split(",")), "changes": tuple(args.changes.split(","))}
    mergers = {"recast": ours} if args.only_ours else MERGERS
    found: dict[str, list[tuple[Case, dict[str, float]]]] = defaultdict(list)
    for case in cases(range(args.first, args.first + args.seeds), **chosen):
        for name, merger in mergers.items():
            found[name].append((case, measured(case, merger)))
    for column in ("false", "recall", "off", "altered") if args.worst else ():
        rows = [(f[column], case.name) for case, f in found["recast"] if column in f]
        for value, name in sorted(rows, reverse=column != "recall")[: args.worst]:
            print(f"worst {column}: {value:.4f} {name}")
    for distortion in (*chosen["distortions"], "every"):
        for name in mergers:
            rows = [(c, f) for c, f in found[name] if distortion in ("every", c.name.split("/")[2])]
            if rows:
                line = row(rows)
                print(f"{distortion:12s} {name:18s} " + "  ".join(f"{key} {value}" for key, value in line.items()))
                if not args.no_record:
                    record.append("merge", {"distortion": distortion, "merger": name, "cases": len(rows), **line})


def row(rows: list[tuple[Case, dict[str, float]]]) -> dict[str, float | str]:
    """The means of a merger's figures."""

    def mean(column: str, change: str = "") -> float:
        values = [f[column] for case, f in rows if column in f and change in ("", case.name.split("/")[1])]
        return float(np.mean(values)) if values else float("nan")

    moved = [f["displaced"] for _, f in rows if "displaced" in f]
    return {
        "false area %": round(100 * mean("false"), 2),
        "altered %": round(100 * mean("altered"), 2),
        **{f"recall {change} %": round(100 * mean("recall", change), 1) for change in CHANGES
           if any(case.name.split("/")[1] == change for case, _ in rows)},
        "off dE": round(mean("off"), 2),
        "displaced px": f"{np.mean(moved):.1f} [{np.max(moved):.0f}]" if moved else "-",
        "seconds": round(float(np.median([f["seconds"] for _, f in rows])), 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
