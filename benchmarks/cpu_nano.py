"""Edits with `nano` on a CPU: recast beside diffusers, the same weights, the same pictures, the same run.

    python benchmarks/cpu_nano.py [--edits 5] [--repeats 3] [--arms core lossless lossless@ab2:10 ...]

An arm is [MODEL/]WAY[.bf16][@SAMPLER:STEPS[:FIRST]]. MODEL is `nano` or `nano-turbo`. WAY is core, int8, compile (the
whole network), a plan of `recast.speed` (exact, lossless), tuned (lossless with every product in the way that is
fastest here), a plan with an option that skips work (lossless+context-reuse:every=6), cached (the context computed
once: exact for weights that were trained so, which these were not, so that its time alone counts), or diffusers,
whose SAMPLER is euler or unipc (its multistep solver of second order, over the same times). Numbers are fp32, with
.bf16 bf16. FIRST, as 0.5, is the length of the first step in that of the others, as `--times` would ask for it. A walk
that is left out is the model's own: of `nano`, 28 Euler steps; so `diffusers` is what every arm is compared with, and
always there.

Both pipelines read the same converted files and get the same noise; neither encodes the words while the clock runs,
and both encode the picture, as one not seen before. Each repeat makes every edit by every arm, in turn.

s, least, most    wall seconds of a whole warm edit: the median, and the extremes, over repeats and edits
processor s       median of the processor's seconds, of all threads: others at work disturb them less
x diffusers       its seconds over the arm's of the same repeat and edit: the median (least to most); and by processor
to AB2, to HEUN   distance of the last tokens to those of the converged walk, |a - b| / |b| in %: the median over edits
                  (least to most). Two yardsticks, by the core in fp32: 60 steps of ab2, and 60 of heun, whose 119
                  evaluations share no solver with an arm; the two are a row of the table themselves
nearer            edits in which the arm ends nearer than diffusers does (by ab2; by heun)
dB                PSNR of the picture to that of the ab2 yardstick, median (least to most)

From fresh processes, for --from-start: seconds to the first step and to the picture, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import record
import torch
from cpu_nano_arms import SIDE, Arm, Edit, Ended, Ours, Theirs, edits

PEER = "diffusers"
USUAL = ["lossless", "lossless@ab2:10", "lossless@ab2:8:0.5", "lossless@euler:10", "nano-turbo/lossless"]
USUAL += ["diffusers@euler:10", "diffusers@unipc:10"]
YARDSTICKS = {"AB2": Arm.read("core@ab2:60"), "HEUN": Arm.read("core@heun:60")}
Times = dict[str, list[list[float]]]  # of each arm, repeats of edits


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="*", default=USUAL, help=f"beside diffusers (default: {' '.join(USUAL)})")
    parser.add_argument("--edits", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each edit by each arm (default 3)")
    parser.add_argument("--from-start", nargs="*", default=[], metavar="ARM", help="arms to start in fresh processes")
    parser.add_argument(
        "--hold", type=Path, metavar="FILE", help="wait before each repeat while it exists: others measure"
    )
    parser.add_argument(
        "--ends-threads",
        type=int,
        metavar="N",
        help="of torch while the clock does not run, on a machine that is shared",
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        from_start_child(Arm.read(args.child), args.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "nano-diffusers"
        asked = [Arm.read(name) for name in [PEER, *(name for name in args.arms if name != PEER)]]
        ways = made(asked, folder)
        pictures = edits(args.edits)
        threads = torch.get_num_threads()
        torch.set_num_threads(args.ends_threads or threads)
        ends = {arm.name: [ways[arm].run(edit, arm) for edit in pictures] for arm in asked}
        core = Ours("nano", "core", "fp32")
        converged = {name: [core.run(edit, arm) for edit in pictures] for name, arm in YARDSTICKS.items()}
        torch.set_num_threads(threads)
        wall, processor = timed(ways, pictures, args)
        rows = [line(arm.name, ends[arm.name], ends[PEER], converged) for arm in asked]
        for row, arm in zip(rows, asked, strict=True):
            row |= speed(arm.name, wall, processor)
            row |= from_start(arm, folder) if arm.name in args.from_start else {}
    rows.append(line("the yardstick HEUN", converged["HEUN"], ends[PEER], converged))
    heads = list(dict.fromkeys(head for row in rows for head in row))
    print(record.table([{head: row.get(head, "") for head in heads} for row in rows]))
    away = {name: distances(found, converged) for name, found in [*ends.items(), ("HEUN", converged["HEUN"])]}
    how = {"side": SIDE, "repeats": args.repeats, "edits": [(edit.name, edit.prompt, edit.seed) for edit in pictures]}
    record.append("cpu_nano", {**how, "rows": rows, "samples": {"wall s": wall, "processor s": processor, **away}})


def made(asked: list[Arm], folder: Path) -> dict[Arm, Ours | Theirs]:
    """What makes the edits of each arm; arms that differ by their walk alone share it."""
    kept: dict[tuple[str, str, str], Ours | Theirs] = {}
    for arm in asked:
        key = arm.model, arm.way, arm.dtype
        if key not in kept:
            kept[key] = Theirs(folder, arm.dtype) if arm.way == PEER else Ours(*key)
    return {arm: kept[arm.model, arm.way, arm.dtype] for arm in asked}


def timed(ways: dict[Arm, Ours | Theirs], pictures: list[Edit], args: argparse.Namespace) -> tuple[Times, Times]:
    """Seconds by the wall and by the processor, of every arm, by repeat and edit."""
    wall: Times = {arm.name: [] for arm in ways}
    processor: Times = {arm.name: [] for arm in ways}
    for repeat in range(args.repeats):
        while args.hold is not None and args.hold.exists():
            time.sleep(0.2)
        for arm, way in ways.items():  # what is made once for a number of threads, and compiled
            way.run(pictures[0], arm)
        for found in (*wall.values(), *processor.values()):
            found.append([])
        for edit in pictures:
            for arm, way in ways.items():
                begun, begun_cpu = time.perf_counter(), time.process_time()
                way.run(edit, arm)
                wall[arm.name][-1].append(time.perf_counter() - begun)
                processor[arm.name][-1].append(time.process_time() - begun_cpu)
        print(f"repeat {repeat + 1} of {args.repeats} made", file=sys.stderr, flush=True)
    return wall, processor


# Figures.


def speed(name: str, wall: Times, processor: Times) -> dict[str, Any]:
    """The seconds of an arm, and diffusers' seconds over them."""
    return {
        "s": median(flat(wall[name])),
        "least": min(flat(wall[name])),
        "most": max(flat(wall[name])),
        "processor s": median(flat(processor[name])),
        "x diffusers": spread([p / s for p, s in zip(flat(wall[PEER]), flat(wall[name]), strict=True)]),
        "by processor": spread([p / s for p, s in zip(flat(processor[PEER]), flat(processor[name]), strict=True)]),
    }


def line(name: str, ends: list[Ended], peer: list[Ended], converged: dict[str, list[Ended]]) -> dict[str, Any]:
    """How near to the converged walk an arm ends."""
    away, theirs = distances(ends, converged), distances(peer, converged)
    nearer = [
        sum(mine < other for mine, other in zip(away[f"to {yard} %"], theirs[f"to {yard} %"], strict=True))
        for yard in converged
    ]
    return {
        "arm": name,
        **{f"to {yard}": spread(away[f"to {yard} %"]) for yard in converged},
        "nearer": "; ".join(f"{count} of {len(ends)}" for count in nearer),
        "dB": spread(away["to AB2 dB"]),
    }


def distances(ends: list[Ended], converged: dict[str, list[Ended]]) -> dict[str, list[float]]:
    """How far each edit ends from each yardstick: tokens in %, pictures in dB."""
    found = {}
    for yardstick, there in converged.items():
        found[f"to {yardstick} %"] = [distance(end, to) for end, to in zip(ends, there, strict=True)]
        found[f"to {yardstick} dB"] = [psnr(end.rgb, to.rgb) for end, to in zip(ends, there, strict=True)]
    return found


def distance(a: Ended, b: Ended) -> float:
    """|a - b| / |b| over tokens, in per cent."""
    return 100 * float((a.tokens - b.tokens).norm() / b.tokens.norm())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, in dB; 99 for equal pictures."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def spread(values: list[float]) -> str:
    """The median, and the extremes."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def flat(times: list[list[float]]) -> list[float]:
    return [seconds for repeat in times for seconds in repeat]


# From the start of a process.


def from_start(arm: Arm, folder: Path) -> dict[str, float]:
    """Seconds from process start to the first step and to the picture, and peak memory, in a process of its own."""
    command = [sys.executable, __file__, "--child", arm.name, "--folder", str(folder)]
    begun = time.time()
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    marks = json.loads(answer.stdout.splitlines()[-1])
    return {
        "first step from start s": marks["first"] - begun,
        "picture from start s": marks["done"] - begun,
        "peak MB": marks["peak_mb"],
    }


def from_start_child(arm: Arm, folder: Path) -> None:
    """What the fresh process does: load, edit, say when. diffusers' words are encoded before its first step too."""
    first: list[float] = []
    edit = edits(1)[0]
    way = Theirs(folder, arm.dtype) if arm.way == PEER else Ours(arm.model, arm.way, arm.dtype)
    network = way.pipeline.transformer if isinstance(way, Theirs) else way.pipeline.network
    if isinstance(way, Theirs):
        forward = network.forward

        def marked(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            first.append(time.time())
            return out

        network.forward = marked
        way.run(edit, arm)
    else:
        way.run(edit, arm, on_step=lambda _: first.append(time.time()))
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent process had
    peak_kb = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"first": first[0], "done": time.time(), "peak_mb": peak_kb / 1024}))


if __name__ == "__main__":
    main()
