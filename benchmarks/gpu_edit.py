"""Edits and pictures from words by every plan, beside diffusers, on one GPU: time by stage, cold start, memory.

    python benchmarks/gpu_edit.py [--preset kontext_dev] [--steps 28] [--repeats 20] [--rounds 3] [--minutes N]
                                  [--arms NAME,...] [--cases NAME,...] [--out FOLDER] [--smoke]
    python benchmarks/gpu_edit.py --tables FOLDER/samples.jsonl ...

One process per arm and round, arms taking turns (A B C A B C ...), random normal weights of the true shapes from one
seed, the same pictures, text features and noise. Every request brings a picture not seen before, so that what is kept
between requests takes part in none; keys and values of a cached context count as sampling. Three warm-up requests
(the first is the cold one, reported on its own), then the timed ones: median, p10 and p90 of each stage. `cold s` is
the first request of a case in its process, with the model in memory. Compiled kernels are kept in a folder of each arm
in --scratch; where an earlier case or process had left some there, `cold s` says `kernels kept`.
Before an arm the GPU may cool down to where it began, `--cool` seconds at most; its temperature, clock and power are
sampled while the arm runs. Three tables, never mixed: lossless, near-lossless,
approximate; each with the ratio to diffusers eager and to its regional compile measured in the same run, and
`distance`: the velocity at a fixed point from that of the reference arm, relative, divided by the distance of the
reference arm (bf16) from itself in fp32 where that fits (`--distance-in-fp32`), else relative alone. None for cached
arms, whose network is another one, nor for approximate ones, whose error is one of several steps.

Text features are drawn, not encoded: the text encoders are the same for every arm. Weights are random, so pictures
are not looked at and what depends on data (`first-block`) is not timed here but on nano (benchmarks/approximate.py).
With --smoke: `tiny`, two steps, 64 x 64, on a CPU: that the script runs from end to end. Arms that cannot run are
printed with the reason.

--out has three files: samples.jsonl, every request as it ends (what is there when the run ends early can be made
tables of by --tables); workers.log, all that the processes said, their tracebacks above all; tables.md, anew after
every arm. At the end of the run, by --minutes, an error, Ctrl-C or SIGTERM too, a row for each process and case is
appended to benchmarks/results/gpu_edit.jsonl.
With --minutes: what claims are made of comes first (`MUST`), then the rest; three timed requests, one warm-up, no wait
for a cool GPU, unless asked for otherwise. When the time is over, what is under way is cut short, its samples are kept,
and what was left out is said, with the --from that goes on there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu_edit_arms import ARMS, CASES, SMOKE, Job, evaluations, jobs, slug

STARTED = time.perf_counter()  # before torch is imported: what a worker calls cold begins here
LEAST_S = 45.0  # of a process on a GPU, weights and one request: with less time left, none is begun


def main(argv: Sequence[str] | None = None) -> None:
    """Send every arm through every round; print; append."""
    args = arguments(argv)
    if args.worker:
        work(args)
        return
    import gpu_edit_table

    if args.tables:
        kept = [json.loads(line) for path in args.tables for line in Path(path).read_text().splitlines()]
        print(gpu_edit_table.document(kept))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the process under way is ended too
    until = None if args.minutes is None else time.monotonic() + 60 * args.minutes
    cases = list(SMOKE if args.smoke else CASES) if args.cases is None else args.cases.split(",")
    arms = list(ARMS) if args.arms is None else args.arms.split(",")
    print(measure(args, jobs(arms, cases, args.rounds, must_first=args.minutes is not None), until))


def measure(args: argparse.Namespace, asked: Sequence[Job], until: float | None) -> str:
    """Do the jobs, as far as there is time; the tables, and what was left out, also in the folder of --out."""
    import gpu_edit_table
    import gpu_state
    import record
    from gpu_edit_process import CUT_SHORT

    out, scratch = Path(args.out or tempfile.mkdtemp()), Path(args.scratch or tempfile.mkdtemp())
    for folder in (out, scratch):
        folder.mkdir(parents=True, exist_ok=True)
    samples: list[dict[str, Any]] = []
    with open(out / "samples.jsonl", "a", encoding="utf-8") as file:

        def keep(sample: dict[str, Any]) -> None:
            file.write(json.dumps(sample) + "\n")
            file.flush()
            samples.append(sample)

        keep({**record.where(), "preset": args.preset})
        done, first_c = args.begin, gpu_state.cool(None, 0)
        try:
            for job in asked[args.begin :]:
                if until is not None and until - time.monotonic() < (0 if args.smoke else LEAST_S):
                    break
                about = {"job": done, "arm": job.arm, "round": job.round}
                gpu_state.cool(first_c, args.cool)
                with gpu_state.Watch() as watch:
                    for sample in run_worker(args, job, out, scratch, until):
                        keep(about | sample)
                keep(about | {"gpu_state": watch.said})
                add_distances(samples, scratch, keep)
                for row in gpu_edit_table.rows_of(samples):
                    if row["job"] == done:
                        print(f"{done + 1} of {len(asked)}: {in_short(row)}", file=sys.stderr, flush=True)
                write(out / "tables.md", gpu_edit_table.document(samples))
                if any(sample.get("not_run") == CUT_SHORT for sample in samples):
                    break
                done += 1
        finally:  # not before: distances come with the reference
            for row in gpu_edit_table.rows_of(samples) if not args.smoke else ():
                record.append("gpu_edit", {"preset": args.preset, **row})
    made = gpu_edit_table.document(samples)
    if done < len(asked):
        rest = "; ".join(f"{one.arm} ({', '.join(one.cases)}), round {one.round}" for one in asked[done:])
        made += f"\nleft out after {args.minutes:g} minutes, go on with --from {done}: {rest}"
        write(out / "tables.md", made)
    return made


def in_short(row: dict[str, Any]) -> str:
    """A row for whoever waits."""
    about = f"round {row['round']}: {row['arm']}: {row.get('case', '')} "
    if not row.get("sample"):
        return about + row.get("not_run", "no timed request")
    return about + f"{1000 * statistics.median(row['sample']) / evaluations(row):.1f} ms/step"


def add_distances(samples: Sequence[dict[str, Any]], scratch: Path, keep: Callable[[dict[str, Any]], None]) -> None:
    """Keep the distance of every velocity that is there, with that of the reference, once."""
    import gpu_edit_table

    known = {(one["arm"], one["case"]) for one in samples if "distance" in one}
    for arm, case in dict.fromkeys((one["arm"], one["case"]) for one in samples if "kind" in one):
        far = None if (arm, case) in known else gpu_edit_table.distance(scratch, arm, case)
        if far is not None:
            keep({"arm": arm, "case": case, "distance": far})


def write(path: Path, text: str) -> None:
    """The file whole, or as it was."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="kontext_dev")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--repeats", type=int, help="timed requests an arm, case and round (default 20; 3 by minutes)")
    parser.add_argument(
        "--warm-ups", type=int, help="requests between the cold one and these (default 2; 1 by minutes)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cool", type=float, help="s an arm waits at most for a cool GPU (default 60; 0 by minutes)")
    parser.add_argument("--minutes", type=float, help="by the clock, from the start; what matters most first")
    parser.add_argument("--from", dest="begin", type=int, default=0, help="number of the process to begin with")
    parser.add_argument("--arms", help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--cases", help=f"of: {', '.join(CASES)}")
    parser.add_argument("--out", help="folder for samples, tables and what processes say (default: a temporary one)")
    parser.add_argument("--scratch", help="folder for velocities and compiled kernels (default: a temporary one)")
    parser.add_argument("--tables", nargs="+", metavar="SAMPLES", help="print the tables of these files, and no more")
    parser.add_argument("--distance-in-fp32", action="store_true", help="needs 48 GB for kontext_dev beside the rest")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name, usual, by_minutes in (("repeats", 20, 3), ("warm_ups", 2, 1), ("cool", 60.0, 0.0)):
        if getattr(args, name) is None:
            setattr(args, name, usual if args.minutes is None else by_minutes)
    if args.smoke:
        args.preset, args.device, args.steps = "tiny", "cpu", 2
        args.repeats, args.warm_ups, args.rounds = 1, 0, 1
    return args


def run_worker(
    args: argparse.Namespace, job: Job, out: Path, scratch: Path, until: float | None
) -> Iterator[dict[str, Any]]:
    """The samples of one arm, by a process of its own; last, one that says why, where it failed."""
    from gpu_edit_process import samples_of

    flags = ["--smoke"] if args.smoke else [
        "--preset", args.preset, "--device", args.device, "--steps", str(args.steps),
        "--repeats", str(args.repeats), "--warm-ups", str(args.warm_ups),
    ]  # fmt: skip
    what = ["--worker", job.arm, "--cases", ",".join(job.cases), "--scratch", str(scratch)]
    command = [sys.executable, __file__, *flags, *what, *["--distance-in-fp32"] * args.distance_in_fp32]
    here = str(Path(__file__).resolve().parent.parent)
    kernels = kernels_of(job.arm, scratch)
    environment = {
        **os.environ,
        "TRITON_CACHE_DIR": f"{kernels}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{kernels}/inductor",
        "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")])),
        "PYTHONFAULTHANDLER": "1",  # a crash of a kernel says where it was
    }
    title = f"{job.arm}, round {job.round}"
    yield from samples_of(command, log=out / "workers.log", title=title, environment=environment, until=until)


def kernels_of(arm: str, scratch: Path) -> Path:
    """The folder of the kernels that an arm has compiled."""
    return scratch / f"kernels-{slug(arm)}"


# A worker: one arm, in a process of its own.


def work(args: argparse.Namespace) -> None:
    """Every case of one arm; a JSON line for each request, as soon as it is done."""
    import torch
    from gpu_edit_ours import ours, preset_of, synchronise
    from gpu_edit_peer import peer_of

    arm, scratch = ARMS[args.worker], Path(args.scratch)
    imported = time.perf_counter() - STARTED
    device = torch.device(args.device)
    config = preset_of(args.preset, cached=arm.cached)
    made = peer_of(args, arm, config, device) if arm.peer else ours(args, arm, config, device)
    about = {"import_s": imported, "load_s": time.perf_counter() - STARTED - imported, **getattr(made, "said", {})}
    for name in args.cases.split(","):
        case = (CASES | SMOKE)[name]
        if arm.approximate == "context-reuse" and not case.references:
            continue  # there is no context to reuse
        steps = case.steps or args.steps
        has_kernels = any(path.is_file() for path in kernels_of(args.worker, scratch).rglob("*"))
        about |= {"steps": steps, "variants": case.variants, "has_kernels": has_kernels}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for kind in ("cold", *["warm-up"] * args.warm_ups, *["timed"] * args.repeats):
            begun = time.perf_counter()
            stages = made.request(case, steps)
            synchronise(device)
            sample = {"arm": args.worker, "case": name, "kind": kind, **stages}
            if kind == "cold":
                sample |= {"cold_s": time.perf_counter() - begun, **about}
            peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
            print(json.dumps(sample | {"peak_gib": peak / 2**30}), flush=True)
        torch.save(made.velocity(case), scratch / f"{slug(args.worker)}-{slug(name)}.pt")


if __name__ == "__main__":
    main()
