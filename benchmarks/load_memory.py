"""Loading weights holds them once: peak memory against file size, in both published layouts.

    python benchmarks/load_memory.py --gb 2.5

Makes a checkpoint of published tensor names and widths with as many blocks as fill --gb, as one BFL file and as a
diffusers folder of three shards; loads each in a fresh process, reads every value once so that mapped pages count,
and prints peak resident memory above that of the same process just before. Fails above a ratio of 1.15.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import record
import torch

from recast.config import FlowConfig, kontext_dev
from recast.flow.transformer import FlowTransformer
from recast.weights import convert, load_into, open_checkpoint
from recast.weights.files import TensorFile

LIMIT = 1.15
DOUBLE, SINGLE, STEM = 339_831_296, 141_591_808, 139_357_248  # parameters of a block, and of the rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.5, help="size of the checkpoint, in 10**9 bytes")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes per layout")
    parser.add_argument("--dir", type=Path, help="where to make the checkpoint; removed afterwards")
    parser.add_argument("--child", nargs=4, metavar=("PATH", "DEPTH", "SINGLE", "DTYPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        path, depth, single, dtype = arguments.child
        print(json.dumps(measure(Path(path), int(depth), int(single), dtype)))
        return

    blocks = max(1, round((arguments.gb * 1e9 / 2 - STEM) / (DOUBLE + 2 * SINGLE)))  # 19 to 38, as published
    config = replace(kontext_dev().flow, depth=blocks, depth_single_blocks=2 * blocks)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        bfl, diffusers = Path(folder) / "flux1-dev.safetensors", Path(folder) / "diffusers"
        make(bfl, config)
        shard_bytes = int(bfl.stat().st_size / 2.4)  # two full shards and a rest, as published
        convert(bfl, diffusers, "diffusers", shard_bytes=shard_bytes, config=replace(kontext_dev(), flow=config))
        for layout, path in (("bfl", bfl), ("diffusers", diffusers / "transformer")):
            for dtype in ("as it is", "float32"):
                child = ["--child", str(path), str(blocks), str(2 * blocks), dtype]
                runs = [run(child) for _ in range(arguments.repeats)]
                rows.append({"layout": layout, "dtype": dtype, **middle(runs)})
    report(rows, blocks)
    if any(row["ratio"] > LIMIT for row in rows if row["dtype"] == "as it is"):
        sys.exit(f"ratio above {LIMIT}")


def make(path: Path, config: FlowConfig) -> None:
    """A BFL file of bf16 noise in the published names and widths, one tensor in memory at a time."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in FlowTransformer(config).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1 << 20, generator=generator).to(torch.bfloat16)
    with TensorFile(path, {name: ("BF16", shape) for name, shape in shapes.items()}) as file:
        for name, shape in shapes.items():
            size = torch.Size(shape).numel()
            values = noise.repeat(-(-size // noise.numel()))[:size]
            file.put(name, values.view(torch.uint8).numpy().data)


def run(child: list[str]) -> dict[str, float]:
    out = subprocess.run([sys.executable, __file__, *child], check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(out.stdout)
    return measured


def measure(path: Path, depth: int, single: int, dtype: str) -> dict[str, float]:
    """In a fresh process: peak memory of loading the checkpoint and reading all of it, in bytes."""
    config = replace(kontext_dev().flow, depth=depth, depth_single_blocks=single)
    with torch.device("meta"):
        module = FlowTransformer(config)
    torch.ones(8).sum()
    checkpoint = open_checkpoint(path)
    baseline = resident("VmRSS")
    start = time.perf_counter()
    load_into(module, checkpoint, dtype=torch.float32 if dtype == "float32" else None)
    loaded = time.perf_counter() - start
    total = sum(float(parameter.detach().view(-1)[::1024].float().sum()) for parameter in module.parameters())
    peak = resident("VmHWM")
    size = checkpoint.size_bytes * (2 if dtype == "float32" else 1)
    return {
        "weights_bytes": size,
        "baseline_bytes": baseline,
        "peak_bytes": peak,
        "ratio": (peak - baseline) / size,
        "load_s": loaded,
        "load_and_read_s": time.perf_counter() - start,
        "sum": total,
    }


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (the most so far), mapped file pages included, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{field} is not in /proc/self/status: this benchmark needs Linux")


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number; of the ratio, the largest, because it is what is promised."""
    return {key: median(run[key] for run in runs) for key in runs[0]} | {"ratio": max(run["ratio"] for run in runs)}


def report(rows: list[dict[str, Any]], blocks: int) -> None:
    print(f"{'layout':10} {'dtype':9} {'weights GB':>10} {'baseline GB':>11} {'peak GB':>8} {'ratio':>6} {'load s':>7}"
          f" {'+ read s':>8}")  # fmt: skip
    for row in rows:
        gb = [row[key] / 1e9 for key in ("weights_bytes", "baseline_bytes", "peak_bytes")]
        print(f"{row['layout']:10} {row['dtype']:9} {gb[0]:10.2f} {gb[1]:11.2f} {gb[2]:8.2f} {row['ratio']:6.3f}"
              f" {row['load_s']:7.2f} {row['load_and_read_s']:8.2f}")  # fmt: skip
    record.append("load_memory", {"double_blocks": blocks, "rows": rows})


if __name__ == "__main__":
    main()
