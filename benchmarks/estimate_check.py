"""Is `recast estimate` right? Peak memory and time of real commands with `nano` on this CPU, predicted and measured.

    python benchmarks/estimate_check.py [--runs 3] [--steps 4] [--threads 1] [--dtype fp32] [--cases "NAME;..."]
        [--plans NAME,...] [--no-keep]

Every run is a command in a process of its own: `recast generate` or `recast edit`, and before it `recast estimate
--json` with the same flags, which has nothing but the formula and its own probe of the machine. Memory is what the
process grew by, from the moment before the command (torch and the other libraries imported, and used once) to its peak
(Linux). Time is from the model in memory to the picture, without loading and writing. On a machine that others use as
well, the wall clock says little: the processor's time of one thread is compared then, and both are kept. Each figure
is the median over runs, of memory the least and the most too; each ratio is predicted over measured. Prints a table
and appends to results/estimate_check.jsonl, unless told --no-keep.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import record

ROOT = Path(__file__).resolve().parents[1]
PHOTO, PICTURES = ROOT / "examples" / "cat.png", ROOT / "docs" / "pictures"
OTHER, THIRD = PICTURES / "demo.jpg", PICTURES / "world.jpg"  # each of a shape of its own


class Case(NamedTuple):
    """A command, and the flags that ask `recast estimate` of it."""

    command: list[str]
    flags: list[str]


def generated(width: int, height: int, *more: str) -> Case:
    flags = ["--width", str(width), "--height", str(height), *more]
    return Case(["generate", "a red circle", *flags], flags)


def edited(size: str, *more: str, beside: Sequence[Path] = ()) -> Case:
    further = [word for path in beside for word in ("--image", str(path))]
    asked = ["--size", size, *more]
    command = ["edit", str(PHOTO), "make it night", "--preserve", "off", *further, *asked]
    return Case(command, [str(PHOTO), *further, *asked])


FITTED = {  # the formula was made while looking at these
    "generate 256x256": generated(256, 256),
    "generate 384x320": generated(384, 320),
    "generate 640x384": generated(640, 384),
    "generate 512x512": generated(512, 512),
    "edit 256x256": edited("256x256"),
    "edit 384x320": edited("384x320"),
    "edit 640x384": edited("640x384"),
    "edit 512x512": edited("512x512"),
}
UNSEEN = {
    "generate 320x448": generated(320, 448),
    "generate 768x512": generated(768, 512),
    "generate 448x448 in bf16": generated(448, 448, "--dtype", "bf16"),
    "edit 320x320": edited("320x320"),
    "edit 512x288": edited("512x288"),
    "edit 448x448": edited("448x448"),
    "edit with a second picture": edited("auto", beside=[OTHER]),
    "edit with two further pictures": edited("auto", beside=[OTHER, THIRD]),
}
CASES = FITTED | UNSEEN
PLANS = ("reference", "lossless")


def main() -> None:
    """Every case by every plan, in turns; print; append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="processes a case and plan (default 3)")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--dtype", default="fp32", help="fp32 (default), bf16 or auto, where a case does not say it")
    parser.add_argument("--keep", default=True, action=argparse.BooleanOptionalAction, help="append to the results")
    parser.add_argument("--cases", help=f"of: {'; '.join(CASES)}, with ; between; or: fitted, unseen")
    parser.add_argument("--plans", default=",".join(PLANS), help=f"of: {', '.join(PLANS)}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measured(json.loads(args.child))), file=sys.stderr)
        return
    groups = {None: CASES, "fitted": FITTED, "unseen": UNSEEN}
    cases = list(groups[args.cases]) if args.cases in groups else [name.strip() for name in args.cases.split(";")]
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(args.runs):
        for case in cases:
            for plan in args.plans.split(","):
                found = {**foretold(case, plan, args), **run(case, plan, args)}
                rows.setdefault((case, plan), []).append(found)
                print(f"{case}, {plan}: {json.dumps(found)}", file=sys.stderr, flush=True)
    print(record.table([line(case, plan, found) for (case, plan), found in rows.items()]))
    for name, about, bound in (("memory", "grown", 0.1), ("time", "processor_s", 0.25)):
        off = [
            one["peak" if name == "memory" else "seconds"] / one[about] - 1 for found in rows.values() for one in found
        ]
        within = sum(abs(share) <= bound for share in off)
        print(f"{name}: {within} of {len(off)} runs within {bound:.0%}; predicted {min(off):+.0%} to {max(off):+.0%}")
    for (case, plan), found in rows.items() if args.keep else ():
        settings = {"steps": args.steps, "dtype": args.dtype, "threads_asked": args.threads, "load": os.getloadavg()[0]}
        record.append("estimate_check", {"case": case, "plan": plan, **settings, "samples": found})


def line(case: str, plan: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table: medians, and their ratios."""
    grown = [one["grown"] / 2**20 for one in found]
    middle = {name: median(one[name] for one in found) for name in found[0]}
    return {
        "command": case,
        "plan": plan,
        "MiB predicted": f"{middle['peak'] / 2**20:.0f}",
        "MiB measured": f"{middle['grown'] / 2**20:.0f} ({min(grown):.0f} to {max(grown):.0f})",
        "ratio": spread([one["peak"] / one["grown"] for one in found]),
        "s predicted": f"{middle['seconds']:.2f}",
        "processor s": f"{middle['processor_s']:.2f}",
        "wall s": f"{middle['wall_s']:.2f}",
        "ratio to processor": spread([one["seconds"] / one["processor_s"] for one in found]),
        "ratio to wall": spread([one["seconds"] / one["wall_s"] for one in found]),
    }


def spread(ratios: list[float]) -> str:
    """The median, and the extremes."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def foretold(case: str, plan: str, args: argparse.Namespace) -> dict[str, float]:
    """What `recast estimate` says of a case, in a process of its own."""
    command = ["estimate", *CASES[case].flags, "--steps", str(args.steps), *planned(plan), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "recast", *command], env=environment(args), check=True, capture_output=True, text=True
    )
    said = json.loads(done.stdout)
    return {"peak": said["bytes"]["peak"], "seconds": said["seconds"]["all"]}


def run(case: str, plan: str, args: argparse.Namespace) -> dict[str, float]:
    """What the command itself takes, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", f"{folder}/out.png", "--seed", "1", "--quiet"]
        command = [*CASES[case].command, "--steps", str(args.steps), *planned(plan), *out]
        done = subprocess.run(
            [sys.executable, __file__, "--child", json.dumps(command)],
            env=environment(args), check=True, capture_output=True, text=True,
        )  # fmt: skip
    found: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return found


def planned(plan: str) -> list[str]:
    return [] if plan == "reference" else ["--plan", plan]


def environment(args: argparse.Namespace) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(args.threads), "PYTHONPATH": str(ROOT), "RECAST_DTYPE": args.dtype}


def measured(command: list[str]) -> dict[str, float]:
    """One command, in this process, which must have done nothing before."""
    import time

    import torch

    from recast.cli import edit, generate, main, planned_cost, work  # noqa: F401 # imported as the command would
    from recast.retouch import editor  # noqa: F401
    from recast.speed import apply  # noqa: F401

    with torch.inference_mode():  # the libraries' own threads and buffers
        torch.nn.Linear(64, 64)(torch.randn(64, 64))
        torch.nn.Conv2d(3, 8, 3)(torch.randn(1, 3, 32, 32))
    spent: dict[str, float] = {}
    make = work.make

    def timed(*given: Any, **more: Any) -> Any:
        begun, begun_cpu = time.perf_counter(), time.process_time()
        made = make(*given, **more)
        spent.update(wall_s=time.perf_counter() - begun, processor_s=time.process_time() - begun_cpu)
        return made

    work.make = timed
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    if main(command):
        raise SystemExit(f"{command}: failed")
    return {"grown": resident("VmHWM") - before, "before": before, **spent}


def resident(name: str) -> int:
    """VmRSS, the resident set now, or VmHWM, its peak, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
