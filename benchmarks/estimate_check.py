"""Is `recast estimate` right? Peak memory and time of `nano` on this CPU, predicted and measured.

Each case runs in three processes of its own. Memory is the median growth of the resident set, from before loading
to its peak (Linux). Time is the best of all runs, by the wall and by the processor: on a machine that others use
too, only the second, with one thread, tells what an idle one would need. Prints a table and appends to
results/estimate_check.jsonl.

    python benchmarks/estimate_check.py [--runs 3] [--steps 4] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import record

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "edit 256x256": (256, 256, True),
    "edit 512x288": (512, 288, True),
    "text 256x256": (256, 256, False),
    "text 512x512": (512, 512, False),
    "edit 384x320": (384, 320, True),  # this one and the next were not looked at when constants were chosen
    "text 640x384": (640, 384, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--case", choices=CASES)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args.case, args.runs, args.steps)))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": str(ROOT)}
    print(
        f"{'case':16}{'MiB predicted':>14}{'measured':>10}{'ratio':>7}{'s predicted':>13}{'measured':>10}{'ratio':>7}"
    )
    for case in CASES:
        command = [sys.executable, __file__, "--case", case, "--runs", str(args.runs), "--steps", str(args.steps)]
        rows = []
        for _ in range(3):
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout))
        row = rows[0]
        memory, clock = row["bytes"], row["seconds"]
        memory["all"] = [one["bytes"]["measured"] for one in rows]
        memory["measured"] = median(memory["all"])
        for name in ("predicted", "wall", "cpu"):
            clock[name] = min(one["seconds"][name] for one in rows)
        print(
            f"{case:16}{memory['predicted'] / 2**20:14.1f}{memory['measured'] / 2**20:10.1f}"
            f"{memory['predicted'] / memory['measured']:7.2f}{clock['predicted']:13.2f}{clock['wall']:8.2f}"
            f"{clock['predicted'] / clock['wall']:7.2f}{clock['cpu']:8.2f}{clock['predicted'] / clock['cpu']:7.2f}",
            flush=True,
        )
        record.append("estimate_check", {**row, "threads_asked": args.threads, "load": os.getloadavg()[0]})


def measure(case: str, runs: int, steps: int) -> dict[str, object]:
    """One case, in this process, which must have done nothing before."""
    import numpy as np
    import torch

    from recast.cli.estimate import measure_rates, seconds
    from recast.config import VERSION, nano
    from recast.cost import Request, estimate, resident_bytes
    from recast.loading import load

    width, height, is_edit = CASES[case]
    request = Request(
        width=width,
        height=height,
        contexts=((width, height),) if is_edit else (),
        evaluations=steps,
        true_guidance=1.0,
    )
    cost = estimate(nano(), request)
    # Probing first: it also brings in what every process with torch holds, its libraries and their threads.
    rates = [measure_rates(nano(), torch.device("cpu"), "fp32", sum(cost.tokens.values()))]
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    pipeline = load("nano", device="cpu", dtype="fp32")
    source = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    options = {"steps": steps, "seed": 1, "true_guidance": 1.0}
    walls, processors, grown = [], [], 0
    for _ in range(runs):
        pipeline.text._cache.clear()
        started, started_cpu = time.perf_counter(), time.process_time()
        if is_edit:
            pipeline.edit(source, "make it red", size="source", **options)
        else:
            pipeline.generate("a red circle", width=width, height=height, **options)
        walls.append(time.perf_counter() - started)
        processors.append(time.process_time() - started_cpu)
        grown = grown or resident("VmHWM") - before  # of the first run, as the verb makes one
        rates.append(measure_rates(nano(), torch.device("cpu"), "fp32", sum(cost.tokens.values())))
    predicted = min(sum(seconds(cost, rate).values()) for rate in rates)
    return {
        "case": case,
        "steps": steps,
        "runs": runs,
        "bytes": {"predicted": resident_bytes(cost, "cpu"), "measured": grown},
        "seconds": {"predicted": predicted, "wall": min(walls), "cpu": min(processors), "walls": walls},
        "hardware": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "versions": {"recast": VERSION, "torch": torch.__version__, "python": platform.python_version()},
    }


def resident(name: str) -> int:
    """VmRSS, the resident set now, or VmHWM, its peak, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
