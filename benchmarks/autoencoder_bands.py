"""What bands of rows cost and save: peak memory and time of the nano autoencoder, whole and in bands.

    python benchmarks/autoencoder_bands.py [--width 1536] [--height 1024] [--bands 0 64 256]

One fresh process a row, fp32, on the CPU. The last column is the largest difference to the whole: of
latents of unit variance, or of pixels in [-1, 1], where one level of 255 is 0.008.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import record


def status_mib(name: str) -> float:
    """A memory figure of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def child(direction: str, band: int, width: int, height: int) -> None:
    """What the fresh process does: one pass, measured; then the difference to the whole."""
    import torch

    import recast

    model = recast.load("nano", device="cpu", dtype="fp32").autoencoder
    torch.manual_seed(0)
    shape = (1, 16, height // 8, width // 8) if direction == "decode" else (1, 3, height, width)
    given = torch.randn(shape) if direction == "decode" else torch.rand(shape) * 2 - 1
    before = status_mib("VmRSS")
    with torch.inference_mode():
        begun = time.perf_counter()
        out = getattr(model, direction)(given, band=band or None)
        row = {"seconds": time.perf_counter() - begun, "peak MiB": status_mib("VmHWM") - before}
        whole = out if band == 0 else getattr(model, direction)(given)
    row["largest difference"] = (out - whole).abs().max().item()
    print(json.dumps(row))


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--bands", type=int, nargs="*", default=[0, 64, 256], help="rows; 0 is the whole picture")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], int(args.child[1]), args.width, args.height)
        return
    rows: list[dict[str, Any]] = []
    for direction in ("encode", "decode"):
        for band in args.bands:
            size = ["--width", str(args.width), "--height", str(args.height)]
            command = [sys.executable, __file__, "--child", direction, str(band), *size]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"pass": direction, "rows a band": band or "all", **json.loads(answer.stdout)})
    print(record.table(rows))
    record.append("autoencoder_bands", {"width": args.width, "height": args.height, "rows": rows})


if __name__ == "__main__":
    main()
