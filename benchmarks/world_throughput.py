"""How many pictures of the world one core draws in a second, by kind of picture and by size.

    python benchmarks/world_throughput.py [--pictures 60] [--repeats 5] [--no-record]

Each repeat draws every picture of a row once, rows in turn, on one thread; the first is warm-up. Prints the median of
the repeats' mean milliseconds, their spread (least and most), and pictures per second. "sampled" is the mix that
`recast.world.sample` gives, the one that training draws.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import record

from recast.world import sample
from recast.world.draw import draw
from recast.world.scene import PHOTOGRAPHS, STYLES, Scene, Title

SIZES = ((256, 256), (336, 192), (512, 512), (1280, 720))


def rows(pictures: int) -> Iterator[tuple[str, tuple[int, int], list[Scene]]]:
    """The rows of the table: kind, size, scenes."""
    mixed = [sample.scene(seed) for seed in range(pictures)]
    bare = [
        replace(sample.scene(seed, kind="cartoon"), style="flat", look="none", title=None, marks=(), blur=False)
        for seed in range(pictures)
    ]
    titles = [replace(scene, title=Title(text=f"DAY {i}!", font="anton")) for i, scene in enumerate(bare)]
    photographs = [
        replace(scene, background=PHOTOGRAPHS[i % len(PHOTOGRAPHS)], variant=i) for i, scene in enumerate(bare)
    ]
    for size in SIZES:
        yield "sampled", size, mixed
        yield "cartoon", size, bare
        yield "photograph-like", size, photographs
        yield "cartoon, title", size, titles
        if size == SIZES[0]:
            for style in STYLES[1:]:
                yield f"cartoon, {style}", size, [replace(scene, style=style) for scene in bare]


def main() -> None:
    """Print the table; append its rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    plan = list(rows(options.pictures))
    seen: dict[int, list[float]] = {i: [] for i in range(len(plan))}
    for repeat in range(options.repeats + 1):
        for i, (_, size, scenes) in enumerate(plan):
            few = scenes if size[0] * size[1] < 300_000 else scenes[: max(1, len(scenes) // 4)]
            start = time.process_time()
            for scene in few:
                draw(scene, *size)
            if repeat:
                seen[i].append((time.process_time() - start) / len(few) * 1e3)
    table: list[dict[str, Any]] = [
        {
            "pictures": kind,
            "size": f"{width}x{height}",
            "median ms": statistics.median(seen[i]),
            "least ms": min(seen[i]),
            "most ms": max(seen[i]),
            "pictures/s": 1e3 / statistics.median(seen[i]),
        }
        for i, (kind, (width, height), _) in enumerate(plan)
    ]
    print(record.table(table))
    if not options.no_record:
        for row in table:
            record.append("world_throughput", {**row, "opencv": cv2.__version__, "repeats": options.repeats})


if __name__ == "__main__":
    main()
