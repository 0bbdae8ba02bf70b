"""Edits and pictures from words by every plan, beside diffusers, on one GPU: time by stage, cold start, memory.

    python benchmarks/gpu_edit.py [--preset kontext_dev] [--steps 28] [--repeats 20] [--rounds 3]
                                  [--arms NAME,...] [--cases NAME,...] [--out FOLDER] [--smoke]

One process per arm and round, arms taking turns (A B C A B C ...), random normal weights of the true shapes from one
seed, the same pictures, text features and noise. Every request brings a picture not seen before, so that what is kept
between requests takes part in none; keys and values of a cached context count as sampling. Three warm-up requests
(the first is the cold one, reported on its own), then the timed ones: median, p10 and p90 of each stage. Compiled
kernels are kept in a folder of each arm, so that `cold s`, of round 0, has them compiled anew if --out is a new one.
Before an arm the GPU may cool down to where it began, `--cool` seconds at most; its temperature, clock and power are
sampled while the arm runs. Three tables, never mixed: lossless, near-lossless,
approximate; each with the ratio to diffusers eager and to its regional compile measured in the same run, and
`distance`: the velocity at a fixed point from that of the reference arm, relative, divided by the distance of the
reference arm (bf16) from itself in fp32 where that fits (`--distance-in-fp32`), else relative alone. None for cached
arms, whose network is another one, nor for approximate ones, whose error is one of several steps.

Text features are drawn, not encoded: the text encoders are the same for every arm. Weights are random, so pictures
are not looked at and what depends on data (`first-block`) is not timed here but on nano (benchmarks/approximate.py).
With --smoke: `tiny`, two steps, 64 x 64, on a CPU: that the script runs from end to end. Arms that cannot run are
printed with the reason. Every sample is appended to benchmarks/results/gpu_edit.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu_edit_arms import ARMS, CASES, SMOKE, STAGES, evaluations, slug
from gpu_edit_table import lines

STARTED = time.perf_counter()  # before torch is imported: what a worker calls cold begins here


def main() -> None:
    """Send every arm through every round; print; append."""
    args = arguments()
    if args.worker:
        work(args)
        return
    import gpu_state
    import record

    cases = list(SMOKE if args.smoke else CASES) if args.cases is None else args.cases.split(",")
    arms = list(ARMS) if args.arms is None else args.arms.split(",")
    folder = Path(args.out or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    first_c = gpu_state.cool(None, 0)
    for number in range(args.rounds):
        for arm in arms:
            gpu_state.cool(first_c, args.cool)
            with gpu_state.Watch() as watch:
                found = list(run_worker(args, arm, cases, folder))
            for row in found:
                row["gpu_state"] = watch.said
                rows.append({"round": number, **row})
                said = row.get("not_run") or f"{1000 * statistics.median(row['sample']) / evaluations(row):.1f} ms/step"
                print(f"round {number}: {arm}: {row.get('case', '')} {said}", file=sys.stderr, flush=True)
                if not args.smoke:
                    record.append("gpu_edit", {"preset": args.preset, "round": number, **row})
    for table in ("lossless", "near-lossless", "approximate"):
        print(f"\n{table}\n")
        shown = [line for case in cases for line in lines(rows, table, case, folder)]
        print(record.table(shown) if shown else "no arm of this table was run")
    refused = {row["arm"]: row["not_run"] for row in rows if "not_run" in row}
    for arm, why in refused.items():
        print(f"not run: {arm}: {why}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="kontext_dev")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--repeats", type=int, default=20, help="timed requests an arm, case and round (default 20)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cool", type=float, default=60, help="seconds an arm waits at most for a cool GPU")
    parser.add_argument("--arms", help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--cases", help=f"of: {', '.join(CASES)}")
    parser.add_argument("--out", help="folder for velocities (default: a temporary one)")
    parser.add_argument("--distance-in-fp32", action="store_true", help="needs 48 GB for kontext_dev beside the rest")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.smoke:
        args.preset, args.device, args.steps, args.repeats, args.rounds = "tiny", "cpu", 2, 1, 1
    return args


def run_worker(args: argparse.Namespace, arm: str, cases: Sequence[str], folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of one arm, by a process of its own; one row that says why, where it cannot run."""
    flags = ["--smoke"] if args.smoke else [
        "--preset", args.preset, "--device", args.device, "--steps", str(args.steps), "--repeats", str(args.repeats)
    ]  # fmt: skip
    command = [sys.executable, __file__, *flags, "--worker", arm, "--cases", ",".join(cases), "--out", str(folder)]
    if args.distance_in_fp32:
        command.append("--distance-in-fp32")
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    kernels = folder / f"kernels-{slug(arm)}"
    caches = {"TRITON_CACHE_DIR": f"{kernels}/triton", "TORCHINDUCTOR_CACHE_DIR": f"{kernels}/inductor"}
    environment = {**os.environ, **caches, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"arm":')]
    yield from found
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        yield {"arm": arm, "not_run": said[-1]}


# A worker: one arm, in a process of its own.


def work(args: argparse.Namespace) -> None:
    """Every case of one arm; a JSON line each."""
    import torch
    from gpu_edit_ours import ours, preset_of, synchronise
    from gpu_edit_peer import peer_of

    arm, folder = ARMS[args.worker], Path(args.out)
    imported = time.perf_counter() - STARTED
    device = torch.device(args.device)
    side = CASES | SMOKE
    config = preset_of(args.preset, cached=arm.cached)
    made = peer_of(args, arm, config, device) if arm.peer else ours(args, arm, config, device)
    loaded = time.perf_counter() - STARTED - imported
    for name in args.cases.split(","):
        case = side[name]
        if arm.approximate == "context-reuse" and not case.references:
            continue  # there is no context to reuse
        steps = case.steps or args.steps
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        made.request(case, steps)
        synchronise(device)
        cold = time.perf_counter() - begun
        for _ in range(0 if args.smoke else 2):
            made.request(case, steps)
        samples = [made.request(case, steps) for _ in range(args.repeats)]
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        torch.save(made.velocity(case), folder / f"{slug(args.worker)}-{slug(name)}.pt")
        row = {"arm": args.worker, "case": name, "steps": steps, "import_s": imported, "load_s": loaded}
        row |= {
            "variants": case.variants,
            "cold_s": cold,
            "peak_gib": peak / 2**30,
            **{s: [one[s] for one in samples] for s in STAGES},
        }
        print(json.dumps(row | getattr(made, "said", {})), flush=True)


if __name__ == "__main__":
    main()
