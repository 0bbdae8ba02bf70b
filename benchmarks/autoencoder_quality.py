"""What a model's autoencoder keeps: of held-out scenes of the world, of photographs, of lettering, over many trips.

    python benchmarks/autoencoder_quality.py [--model nano] [--scenes 200] [--trips 5] [--device auto] [--no-record]

PSNR       of encode, decode, round to 8 bits, dB: the mean over pictures, and the worst tenth; 256 x 256
lettering  share of the titles that read right in the picture and still do, exactly, after one trip
drift      dB that the last of --trips round trips has lost against the first, both to the picture itself
spread     of latents, the standard deviation of each channel over all scenes: the least and the most

Scenes are of the split that no training sees; photographs are those of photo-edits-1, which nothing here is trained on.
Prints each figure beside what is asked of `nano` (docs/train.md), appends them to results/autoencoder_quality.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import record
import torch

import recast
from recast.latents.autoencoder import Autoencoder
from recast.pixels.image import from_pixels, to_pixels
from recast.quality.build import PHOTOGRAPHS, framed, load
from recast.train.data.world import WorldSource
from recast.train.readable import lettering

SIDE = 256
ASKED = {"scenes PSNR": 36.0, "photographs PSNR": 30.0, "drift dB": -1.5, "spread least": 0.8, "spread most": -1.2}
"""At least; below zero, at most its size."""


class Trip(NamedTuple):
    """A picture (H, W, 3) uint8, what each round trip made of it, and its latents (c, h, w)."""

    picture: np.ndarray
    made: list[np.ndarray]
    latents: torch.Tensor


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--trips", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-record", action="store_true")
    args = parser.parse_args()
    autoencoder = recast.load(args.model, device=args.device).autoencoder
    pictures, truths = zip(*scenes(args.scenes), strict=True)
    drawn = [travelled(autoencoder, picture, args.trips) for picture in pictures]
    photographs = [travelled(autoencoder, framed(load(name), SIDE, SIDE), args.trips) for name in PHOTOGRAPHS]
    figures = quality("scenes", drawn) | quality("photographs", photographs)
    read = lettering(pictures, truths)
    reads = [share for i, trip in enumerate(drawn) if (share := read(i, trip.made[0])) is not None]
    figures |= {"lettering %": 100 * float(np.mean(reads)) if reads else float("nan"), "titles": len(reads)}
    spread = torch.stack([trip.latents for trip in drawn]).transpose(0, 1).flatten(1).std(dim=1)
    figures |= {"spread least": float(spread.min()), "spread most": float(spread.max())}
    figures["drift dB"] = float(np.mean([psnr(t.picture, t.made[0]) - psnr(t.picture, t.made[-1]) for t in drawn]))
    print(record.table([line(name, value) for name, value in figures.items()]))
    if not args.no_record:
        about = {"model": args.model, "scenes": args.scenes, "trips": args.trips, "side": SIDE}
        each = {name: [psnr(t.picture, t.made[0]) for t in some] for name, some in (("s", drawn), ("p", photographs))}
        record.append("autoencoder_quality", {**about, "figures": figures, "PSNR": each, "photographs": [*PHOTOGRAPHS]})


def scenes(count: int) -> Iterator[tuple[np.ndarray, Any]]:
    """Held-out pictures of the world, and what is true of each."""
    source = WorldSource(sizes=((SIDE, SIDE),), split="held out")
    for number in range(count):
        example = source.example(number)
        yield example.target, example.truth


@torch.inference_mode()
def travelled(autoencoder: Autoencoder, picture: np.ndarray, trips: int) -> Trip:
    """The picture through the autoencoder, again and again, in 8 bits between."""
    made, first, shown = [], None, picture
    for _ in range(trips):
        latents = autoencoder.encode(to_pixels(shown).to(next(autoencoder.parameters()).device))
        first = latents if first is None else first
        (shown,) = from_pixels(autoencoder.decode(latents))
        made.append(shown)
    assert first is not None
    return Trip(picture, made, first[0].float().cpu())


def quality(name: str, trips: list[Trip]) -> dict[str, float]:
    """PSNR after one trip: the mean, and the mean of the worst tenth."""
    values = sorted(psnr(trip.picture, trip.made[0]) for trip in trips)
    worst = values[: max(1, len(values) // 10)]
    return {f"{name} PSNR": float(np.mean(values)), f"{name} PSNR, worst tenth": float(np.mean(worst))}


def line(name: str, value: float) -> dict[str, Any]:
    """A figure beside what is asked."""
    asked = ASKED.get(name)
    wanted = "" if asked is None else f"{'at least' if asked > 0 else 'at most'} {abs(asked):g}"
    met = "" if asked is None else "yes" if (value >= asked if asked > 0 else value <= -asked) else "no"
    return {"figure": name, "measured": value, "asked": wanted, "met": met}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, in dB; 99 for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


if __name__ == "__main__":
    main()
