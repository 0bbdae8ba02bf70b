"""The pictures of docs/retouch.md: source, raw edit, what changed, merged; and the figures in their captions.

    python benchmarks/merge_pictures.py [--out docs/pictures/retouch]

nano.jpg   a scene of the world edited by nano through `Editor`
photo.jpg  a photograph with an arrow added, then shifted, zoomed, tinted, blurred and compressed (`merge_cases`)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from merge_cases import case

import recast
from recast.pixels.image import write
from recast.retouch.merge import Merge, merge
from recast.world import sample
from recast.world.draw import draw

GAP_PX, TILE_PX = 8, 288
INSTRUCTION = "put glasses on the character"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/retouch"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    photo = case("astronaut", "arrow", "all", 3)
    show(merge(photo.source, photo.edited), photo.edited, args.out / "photo.jpg")
    scene = draw(sample.scene(sample.FIRST_UNTRAINED + 5, kind="cartoon"))
    edited = recast.Editor(recast.load("nano")).edit(scene, INSTRUCTION, seed=2, steps=8)
    show(edited.edits[0], edited.raws[0].rgb, args.out / "nano.jpg")


def show(made: Merge, raw: np.ndarray, path: Path) -> None:
    """The four pictures in a row, written; what share of the source's pixels each of two holds, printed."""
    source, merged = made.source.srgb8(), made.result.srgb8()
    pale = 255 - (255 - cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)) // 3
    changed = np.where(made.support[..., None], merged, pale[..., None])
    tiles = [cv2.resize(picture, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA if source.shape[0] > TILE_PX else
             cv2.INTER_CUBIC) for picture in (source, raw, changed, merged)]  # fmt: skip
    gap = np.full((TILE_PX, GAP_PX, 3), 255, np.uint8)
    write(np.hstack([part for tile in tiles for part in (tile, gap)][:-1]), path, quality=88)
    equal = [f"{(picture == source).all(-1).mean():.1%}" for picture in (raw, merged)]
    print(
        f"{path}: {made.verdict}, {len(made.regions)} regions; the source's pixels in the edit, in the merge: {equal}"
    )
    for region in made.regions:
        print(f"  {region}")


if __name__ == "__main__":
    main()
