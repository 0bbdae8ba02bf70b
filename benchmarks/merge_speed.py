"""Seconds and memory of a merge and of what follows it, each row in a process of its own.

    python benchmarks/merge_speed.py [--only 4K] [--repeats 3] [--threads 2] [--no-record]

The edit moves and zooms a photograph, drifts its colours, adds noise, saves it as a JPEG, and paints a disc over a
share of it. Columns, medians of the repeats after a first run that is not timed; "cpu" is the time of all cores
together, which hardly depends on what else the machine does, and "s" is by the clock:
merge           a full merge
re-merge        other regions of the same merge are taken (Merge.accepting), certificate included
folder          the same from the folder beside the result (Parts.accepting)
certify, verify the certificate is made, and checked
PNG, WebP       the result is encoded without loss, once
MiB             "before": the process with both pictures read, and what making them left behind; "peak": the most that
                the first merge takes above it, so that the sum is the peak of the whole process
load            processes that wanted a core when the row was done
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import record
from merge_cases import distorted, photograph

from recast.pixels import srgb
from recast.retouch.certificate import certify, verify
from recast.retouch.merge import merge
from recast.retouch.original import Original, encode_original
from recast.retouch.regions import read_parts

SIZES = {"1 MP": (1280, 800), "4K": (3840, 2160)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row. share: of the frame that is changed on purpose."""

    size: str
    share: float = 0.05
    depth: int = 8
    has_alpha: bool = False
    is_p3: bool = False
    is_written: bool = False

    @property
    def name(self) -> str:
        parts = [self.size, f"{self.share:.0%}", f"{self.depth} bit"]
        return ", ".join(parts + ["alpha"] * self.has_alpha + ["Display P3"] * self.is_p3)


PLAIN = (Case(size="x", is_written=True), Case(size="x", share=0.3), Case(size="x", depth=16),
         Case(size="x", has_alpha=True), Case(size="x", is_p3=True),
         Case(size="x", share=0.3, depth=16, has_alpha=True, is_p3=True))  # fmt: skip
CASES = tuple(replace(case, size=size) for size in SIZES for case in PLAIN)


def pair(case: Case) -> tuple[Original, Original]:
    """The source and its edit."""
    width, height = SIZES[case.size]
    rng = random.Random(case.size)
    source = cv2.resize(photograph("motorcycle", rng), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).normal(0, 2, source.shape)  # an enlarged picture has none of its own
    source = np.rint((source + grain).clip(0, 255)).astype(np.uint8)
    target, radius = source.copy(), (case.share / np.pi) ** 0.5
    axes = round(width * radius), round(height * radius)
    cv2.ellipse(target, (width // 2, height // 2), axes, 0, 0, 360, (20, 220, 60), -1, cv2.LINE_AA)
    edited, _ = distorted(target, "all", rng)
    samples = source if case.depth == 8 else source * np.uint16(257)
    ramp = np.linspace(0, 2**case.depth - 1, width).astype(samples.dtype)
    alpha = np.ascontiguousarray(np.broadcast_to(ramp, (height, width))) if case.has_alpha else None
    return Original(samples, alpha, display_p3() if case.is_p3 else None), Original(edited)


def display_p3() -> bytes:
    """The sRGB profile with the primaries of Display P3 (adapted to D50) in their place."""
    made = bytearray(srgb.profile())
    primaries = {b"rXYZ": (0.51512, 0.24120, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189),
                 b"bXYZ": (0.15710, 0.06657, 0.78407)}  # fmt: skip
    (count,) = struct.unpack_from(">I", made, 128)
    for entry in range(count):
        name, at, _ = struct.unpack_from(">4sII", made, 132 + 12 * entry)
        if name in primaries:
            struct.pack_into(">3i", made, at + 8, *(round(value * 65536) for value in primaries[name]))
    return bytes(made)


def seconds(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """The median by the clock, and of the processor's time on all cores."""
    clock, busy = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - started[0])
        busy.append(time.process_time() - started[1])
    return statistics.median(clock), statistics.median(busy)


def memory_mib(name: str) -> float:
    """VmRSS or VmHWM of this process. Not getrusage's: that one starts with what the parent process held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def measured(case: Case, repeats: int) -> dict[str, Any]:
    """The row of a case."""
    source, edited = pair(case)
    merge(source.samples[:64, :64].copy(), edited.samples[:64, :64].copy())  # imports what is imported late
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = memory_mib("VmRSS")
    made = merge(source, edited)
    peak = memory_mib("VmHWM") - before
    if made.verdict != "local":
        raise SystemExit(f"{case.name}: {made.verdict} ({made.reason}), nothing to time")
    ids = [region.id for region in made.regions]
    row: dict[str, Any] = {"case": case.name, "peak MiB": round(peak), "before MiB": round(before)}
    row |= {"changed": made.report["changed_share"]}

    def timed(name: str, work: Callable[[], Any], times: int = repeats) -> None:
        row[f"{name} s"], row[f"{name} cpu"] = seconds(work, times)

    timed("merge", lambda: merge(source, edited))
    timed("re-merge", lambda: made.accepting(ids[:1]))
    with tempfile.TemporaryDirectory() as folder:
        parts = read_parts(made.write_parts(Path(folder) / "parts"))
        timed("folder", lambda: parts.accepting(ids[:1]))
    timed("certify", lambda: certify(source, made.result, made.support))
    timed("verify", lambda: verify(source, made.result, made.certificate))
    if case.is_written:
        timed("PNG", lambda: encode_original(made.result, "png"), 1)
        timed("WebP", lambda: encode_original(made.result, "webp"), 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-record", dest="is_recorded", action="store_false")
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)  # in the process of one row
    asked = parser.parse_args()
    if asked.row is not None:
        cv2.setNumThreads(asked.threads)
        print(json.dumps(measured(CASES[asked.row], asked.repeats)))
        return
    rows = []
    for number, case in enumerate(CASES):
        if asked.only in case.name:
            command = [sys.executable, __file__, "--row", str(number), "--repeats", str(asked.repeats)]
            command += ["--threads", str(asked.threads)]
            environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads)}
            answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if answer.returncode:
                raise SystemExit(answer.stderr)
            rows.append(json.loads(answer.stdout) | {"load": round(os.getloadavg()[0], 1)})
            print(rows[-1], file=sys.stderr)
            if asked.is_recorded:
                record.append("merge_speed", rows[-1] | {"cv2_threads": asked.threads, "repeats": asked.repeats})
    heads = max(rows, key=len)
    print(record.table([{head: row.get(head, "-") for head in heads} for row in rows]))


if __name__ == "__main__":
    main()
