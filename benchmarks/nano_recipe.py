"""Does `nano`, loaded through recast, do what its recipe measured? Reconstruction and edits of held-out scenes.

    python benchmarks/nano_recipe.py --world path/to/world.py [--edits 15] [--pictures 100] [--steps 10]

`world.py` is the module that drew the training pictures (sample_single, render). Prints each figure beside the
recipe's. "nearer": inside the region that should change, the result is nearer to the true edited render than to the
source. "unchanged": PSNR outside that region, to the pixel; "8 px away": at least that far from it.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from PIL import Image, ImageFilter

import recast
from recast.pixels.image import from_pixels, to_pixels

RECIPE_PSNR = {"flat": 31.6, "watercolor": 31.1, "pencil": 31.8, "pixel": 27.3, "poster": 24.7}
RECIPE_EDITS = {  # nearer %, PSNR whole, PSNR unchanged
    "shirt": (80, 21.3, 30.5),
    "tod": (80, 17.3, 28.1),
    "bg": (73, 17.4, 26.0),
    "glasses": (67, 26.0, 31.4),
    "text": (53, 18.7, 31.1),
    "logo": (40, 27.8, 30.4),
    "obj": (7, 24.0, 30.4),
}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, in dB, of 8-bit arrays."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def reconstruction(model: recast.Pipeline, world: Any, count: int) -> list[dict[str, Any]]:
    """PSNR of encode then decode, by style, of `count` held-out renders."""
    by_style: dict[str, list[float]] = {}
    for i in range(count):
        scene = world.rscene(random.Random(3_000_000_000 + i))
        rgb = world.render(scene)
        with torch.inference_mode():
            again = model.autoencoder.decode(model.autoencoder.encode(to_pixels(rgb)))
        by_style.setdefault(scene.style, []).append(psnr(from_pixels(again)[0], rgb))
    return [
        {"style": style, "pictures": len(values), "PSNR": float(np.mean(values)), "recipe": recipe}
        for style, recipe in {**RECIPE_PSNR, "all": 30.2}.items()
        if (values := list(chain(*by_style.values())) if style == "all" else by_style.get(style))
    ]


def edits(model: recast.Pipeline, world: Any, count: int, steps: int) -> list[dict[str, Any]]:
    """The recipe's table of automatic checks: `count` held-out flat scenes of each kind."""
    rows = []
    for kind, recipe in RECIPE_EDITS.items():
        nearer, whole, kept, far = [], [], [], []
        seed = 4_000_000_000
        while len(whole) < count:
            seed += 1
            draw = random.Random(seed)
            scene = replace(world.rscene(draw), style="flat", char=True)
            made = getattr(world, f"ed_{kind}")(scene, draw)
            if made is None:
                continue
            source, truth = world.render(scene), world.render(made[0])
            result = model.edit(source, made[1], seed=len(whole), steps=steps).pictures[0].rgb
            changed = (source != truth).any(-1)
            nearer.append(psnr(result[changed], truth[changed]) > psnr(result[changed], source[changed]))
            whole.append(psnr(result, truth))
            away = ~np.asarray(Image.fromarray(changed).convert("L").filter(ImageFilter.MaxFilter(17)), dtype=bool)
            kept.append(psnr(result[~changed], source[~changed]))
            far.append(psnr(result[away], source[away]) if away.any() else np.nan)
        rows.append(
            {
                "edit": kind,
                "nearer %": 100 * float(np.mean(nearer)),
                "recipe %": recipe[0],
                "PSNR whole": float(np.mean(whole)),
                "recipe whole": recipe[1],
                "PSNR unchanged": float(np.mean(kept)),
                "8 px away": float(np.nanmean(far)),
                "recipe unchanged": recipe[2],
            }
        )
    return rows


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, required=True, help="the module that drew the training pictures")
    parser.add_argument("--edits", type=int, default=15, help="edits of each kind (default 15)")
    parser.add_argument("--pictures", type=int, default=100, help="pictures to reconstruct (default 100)")
    parser.add_argument("--steps", type=int, default=10, help="Euler steps (default 10, as in the recipe)")
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("world", args.world)
    assert spec is not None
    assert spec.loader is not None
    world = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["world"] = world  # its dataclasses look themselves up
    spec.loader.exec_module(world)
    model = recast.load("nano", device="cpu", dtype="fp32")
    for name, rows in (
        ("reconstruction", reconstruction(model, world, args.pictures)),
        ("edits", edits(model, world, args.edits, args.steps)),
    ):
        print(f"\n{name}\n{record.table(rows)}", flush=True)
        record.append("nano_recipe", {"check": name, "steps": args.steps, "rows": rows})


if __name__ == "__main__":
    main()
