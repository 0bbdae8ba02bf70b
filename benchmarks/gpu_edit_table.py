"""The tables of benchmarks/gpu_edit.py: from samples to rows, and to lines with their ratios to the peers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import record
from gpu_edit_arms import ARMS, CASES, SMOKE, STAGES, evaluations, slug


def rows_of(samples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each process and case, and one for each process that failed; in the order of their first sample.

    samples: as `gpu_edit.py` keeps them, of one run after another. A case that was cut short has the samples that
    there are, maybe none timed. The distance of an arm and case is that of all its rows of a run.
    """
    rows: dict[tuple[int, int, str | None], dict[str, Any]] = {}
    distances: dict[tuple[int, str, str | None], str] = {}
    run = 0
    for sample in samples:
        if "arm" not in sample:  # where it was measured
            run += 1
        elif "distance" in sample:
            distances[run, sample["arm"], sample["case"]] = sample["distance"]
        elif "gpu_state" in sample:
            for key, row in rows.items():
                if key[:2] == (run, sample["job"]):
                    row["gpu_state"] = sample["gpu_state"]
        else:
            row = rows.setdefault((run, sample["job"], sample.get("case")), {"gpu_state": {}})
            kind = sample.get("kind")
            row |= {name: value for name, value in sample.items() if name not in (*STAGES, "kind")}
            for stage in STAGES if kind else ():
                row.setdefault(stage, []).extend([sample[stage]] if kind == "timed" else [])
    for (run, _, case), row in rows.items():
        if (run, row["arm"], case) in distances:
            row["distance"] = distances[run, row["arm"], case]
    return list(rows.values())


def document(samples: Iterable[dict[str, Any]]) -> str:
    """The three tables and what was not run, as Markdown."""
    rows, parts = rows_of(samples), []
    for table in ("lossless", "near-lossless", "approximate"):
        shown = [line for case in CASES | SMOKE for line in lines(rows, table, case)]
        parts += [f"\n{table}\n", record.table(shown) if shown else "no arm of this table was run"]
    parts += [f"not run: {row['arm']}: {row['not_run']}" for row in rows if "not_run" in row]
    parts += [f"no timed request: {row['arm']}: {row['case']}" for row in rows if row.get("sample") == []]
    return "\n".join(dict.fromkeys(parts))


def lines(rows: Sequence[dict[str, Any]], table: str, case: str) -> Iterator[dict[str, Any]]:
    """The lines of one table for one case, each with its ratio to the peers of the same case."""
    rows = [row for row in rows if row.get("sample")]

    def step_ms(arm: str) -> float | None:
        mine = [row for row in rows if row["arm"] == arm and row.get("case") == case]
        every = [seconds / evaluations(row) for row in mine for seconds in row["sample"]]
        return 1000 * statistics.median(every) if every else None

    peers = {name: step_ms(f"diffusers {name}") for name in ("eager", "compile", "torchao fp8 compile")}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm and row.get("case") == case]
        if ARMS[arm].table != table or not mine:
            continue
        ms = step_ms(arm)
        assert ms is not None
        samples = sorted(1000 * s / evaluations(row) for row in mine for s in row["sample"])

        def stage(name: str, mine: Sequence[dict[str, Any]] = mine) -> float:
            return 1000 * statistics.median(value for row in mine for value in row[name])

        line = {
            "case": case,
            "arm": arm,
            "ms/step": ms,
            "p10": samples[len(samples) // 10],
            "p90": samples[-1 - len(samples) // 10],
            "encode ms": stage("encode"),
            "decode ms": stage("decode"),
            "file ms": stage("file"),
            "in all s": statistics.median(
                sum(parts) for row in mine for parts in zip(*(row[name] for name in STAGES), strict=True)
            ),
            "cold s": cold(mine),
            "peak GiB": max(row["peak_gib"] for row in mine),
            "MHz": in_the_middle(mine, "clock_mhz"),
            "W": in_the_middle(mine, "power_w"),
        }
        for name, peer in peers.items():
            line[f"x {name}"] = "–" if peer is None else f"{peer / ms:.2f}"
        line["distance"] = next((row["distance"] for row in mine if "distance" in row), "–")
        yield line


def cold(rows: Sequence[dict[str, Any]]) -> float | str:
    """Seconds of the first request of the first process that had all its kernels to compile, or as it says."""
    anew = [row["cold_s"] for row in rows if not row["has_kernels"]]
    return anew[0] if anew else f"{rows[0]['cold_s']:.4g}, kernels kept"


def in_the_middle(rows: Sequence[dict[str, Any]], name: str) -> float | str:
    """The median over rounds of the median that was sampled of the GPU's state while an arm ran."""
    found = [row["gpu_state"][name][1] for row in rows if name in row["gpu_state"]]
    return statistics.median(found) if found else "–"


def distance(folder: Path, arm: str, case: str) -> str | None:
    """How far an arm's velocity is from the reference arm's, in units of bf16's own error where that is known.

    None where it is not known, or not yet.
    """
    import torch

    def load(name: str) -> torch.Tensor | None:
        place = folder / f"{slug(name)}-{slug(case)}.pt"
        return torch.load(place, weights_only=True) if place.exists() else None

    if ARMS[arm].cached or ARMS[arm].approximate:
        return None
    mine, base, exact = load(arm), load("reference"), load("fp32")
    if mine is None or base is None or mine.shape != base.shape:
        return None
    if exact is None:
        return f"{(mine - base).norm() / base.norm():.4f}"
    return f"{(mine - exact).norm() / (base - exact).norm().clamp_min(1e-12):.2f} x bf16"
