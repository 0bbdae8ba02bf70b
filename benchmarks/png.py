"""A PNG of `recast.pixels.png` beside Pillow's: seconds and bytes; and what writing keeps a batch from doing.

    python benchmarks/png.py [PICTURE ...] [--sizes 1024x1024 3840x2160] [--threads 1 2] [--repeats 3] [--batch 6]

Each picture (by default the example photograph) is enlarged to each size and written to memory by Pillow at its own
settings and by ours. Arms take turns; best and median of the wall clock, and the best of all threads' seconds
together, which a busy machine disturbs less. Every file of ours is read back by Pillow and compared.

--batch: so many pictures of each size are "made", by matrix products of about 0.3 s on one thread, and written to a
folder: each before the next is made, or by the writer of `recast edit --batch` (`recast.cli.writing`). What the main
thread spends outside the making is on the critical path: its processor time, and the wall clock of the whole.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
from PIL import Image

from recast.pixels import image, png

PHOTO = Path(__file__).parent.parent / "examples" / "cat.png"


def by_pillow(rgb: np.ndarray) -> bytes:
    """As `image.encode` has it."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def rows_of(path: Path, size: str, threads: list[int], repeats: int) -> list[dict[str, Any]]:
    """One picture at one size, all arms in turn."""
    width, height = map(int, size.split("x"))
    resized = image.read(path).to_pil().convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    rgb = np.asarray(resized)
    works: dict[str, Callable[[], bytes]] = {"Pillow": lambda: by_pillow(rgb)}
    for count in threads:
        works[f"ours, {count} threads"] = lambda count=count: png.encode(rgb, threads=count)  # type: ignore[misc]
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    sizes = {}
    for _ in range(repeats):
        for name, work in works.items():
            begun, used = time.perf_counter(), time.process_time()
            data = work()
            samples[name].append((time.perf_counter() - begun, time.process_time() - used))
            sizes[name] = len(data)
            with Image.open(io.BytesIO(data)) as opened:
                assert np.array_equal(np.asarray(opened), rgb), f"{name}: another picture came back"
    rows = []
    for name in works:
        wall, used_s = zip(*samples[name], strict=True)
        row = {"picture": path.name, "size": size, "arm": name, "best s": min(wall)}
        row |= {"median s": statistics.median(wall), "threads' s, best": min(used_s), "bytes": sizes[name]}
        rows.append(row)
    return rows


def batch_rows(path: Path, size: str, count: int, repeats: int) -> list[dict[str, Any]]:
    """A batch of pictures written between the making of them, and beside it, in turn."""
    import torch

    from recast.cli.writing import Writer

    torch.set_num_threads(1)
    width, height = map(int, size.split("x"))
    rgb = np.asarray(image.read(path).to_pil().convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    factor = torch.randn(1024, 1024)

    def make() -> float:
        begun = time.thread_time()
        for _ in range(12):
            torch.mm(factor, factor)
        return time.thread_time() - begun

    def between(folder: Path) -> float:
        made = 0.0
        for number in range(count):
            made += make()
            image.write(rgb, folder / f"{number}.png")
        return made

    def beside(folder: Path) -> float:
        made = 0.0
        with Writer(lambda name, error: False) as writer:
            for number in range(count):
                made += make()
                writer.put(str(number), lambda number=number: image.write(rgb, folder / f"{number}.png"))  # type: ignore[misc]
        return made

    samples: dict[str, list[tuple[float, float]]] = {"between": [], "beside": []}
    for _ in range(repeats):
        for name, run in (("between", between), ("beside", beside)):
            with tempfile.TemporaryDirectory() as folder:
                begun, used = time.perf_counter(), time.thread_time()
                made = run(Path(folder))
                spent = time.thread_time() - used - made
                samples[name].append((time.perf_counter() - begun, spent))
                assert len(list(Path(folder).glob("*.png"))) == count
    return [
        {
            "size": size,
            "written": name,
            "pictures": count,
            "wall s, best": min(wall for wall, _ in found),
            "wall s, median": statistics.median(wall for wall, _ in found),
            "main thread outside making, s a picture": statistics.median(spent for _, spent in found) / count,
        }
        for name, found in samples.items()
    ]


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, default=[PHOTO])
    parser.add_argument("--sizes", nargs="+", default=["1024x1024", "3840x2160"], metavar="WxH")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=0, metavar="N", help="pictures of a batch; 0 measures no batch")
    args = parser.parse_args()
    rows = [
        row for path in args.pictures for size in args.sizes for row in rows_of(path, size, args.threads, args.repeats)
    ]
    print(record.table(rows))
    record.append("png", {"rows": rows})
    if args.batch:
        found = [row for size in args.sizes for row in batch_rows(args.pictures[0], size, args.batch, args.repeats)]
        print(record.table(found))
        record.append("png", {"batch": found})


if __name__ == "__main__":
    main()
