"""How often the world's measure is right, wrong or does not know: by condition, by start, by attribute.

    python benchmarks/world_measure.py [--count 300] [--conditions clean,noise,...] [--starts near,far] [--no-record]

Conditions: clean; noise (31 dB); jpeg 4:4:4 and jpeg 4:2:0 (quality 90, Pillow); round trip (autoencoder of nano).
Starts: near, one attribute drawn anew; far, every attribute drawn anew, only who is there, sizes and faces shared.
"wrong pictures": scenes with one attribute that is not as asked, and how many of them were taken for right.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import record
from PIL import Image

from recast.errors import InputError
from recast.world import checks, measure, sample
from recast.world.attributes import values, with_value
from recast.world.draw import draw
from recast.world.scene import Scene, check, get

FIRST_SEED = 50_000
SIGMA = 255 / 10 ** (31 / 20)
WRONG_PER_SCENE = 4
WRONG = "wrong pictures"
Condition = Callable[[np.ndarray, int], np.ndarray]


def conditions(names: list[str]) -> dict[str, Condition]:
    """What happens to a picture (H, W, 3) uint8, given a seed, by name."""
    made: dict[str, Condition] = {
        "clean": lambda pixels, seed: pixels,
        "noise": _noise,
        "jpeg 4:4:4": lambda pixels, seed: _jpeg(pixels, 0),
        "jpeg 4:2:0": lambda pixels, seed: _jpeg(pixels, 2),
    }
    if "round trip" in names:
        import recast
        from recast.quality.systems.controls import round_trip

        there_and_back = round_trip(recast.load("nano"))
        made["round trip"] = lambda pixels, seed: there_and_back(pixels)
    return {name: made[name] for name in names}


def started(scene: Scene, start: str, seed: int) -> Scene:
    """The scene a reading starts from."""
    dice = random.Random(seed)
    paths = list(measure.readable(scene))
    for path in paths if start == "far" else [dice.choice(paths)]:
        changed = with_value(scene, path, dice.choice(list(values(scene, path))))
        try:
            scene = check(changed)
        except InputError:  # a time that the new background does not have
            continue
    return scene


def rates(condition: Condition, start: str, count: int) -> dict[str, Any]:
    """Attributes read over `count` scenes: how many wrong and unknown, by name, and seconds of processor a scene."""
    total, wrong, unknown, whole, spent = 0, Counter[str](), Counter[str](), 0, 0.0
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = sample.scene(seed)
        pixels = condition(draw(scene), seed)
        begun = time.process_time()
        found = measure.read(pixels, started(scene, start, seed))
        spent += time.process_time() - begun
        is_same, missed = measure.looks_same(found.scene, scene), 0
        for path in measure.readable(scene):
            total += 1
            finding, name = found.found.get(path), path.rpartition(".")[2]
            if finding is not None and finding.may_be(get(scene, path)):
                continue
            if finding is None or not finding.is_known:
                unknown[name] += 1
            elif is_same:
                continue
            else:
                wrong[name] += 1
            missed += 1
        whole += missed == 0
    return {
        "scenes": count, "exact scenes": whole / count, "attributes": total,
        "wrong": sum(wrong.values()), "unknown": sum(unknown.values()),
        "right": 1 - (sum(wrong.values()) + sum(unknown.values())) / max(total, 1),
        "s/scene": spent / count, "wrong by name": dict(wrong), "unknown by name": dict(unknown),
    }  # fmt: skip


def accepted(condition: Condition, count: int) -> dict[str, Any]:
    """Of pictures with one attribute that is not as asked, how many were taken for right."""
    shown = taken = unsure = 0
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene, dice = sample.scene(seed), random.Random(seed)
        paths = list(measure.readable(scene))
        for path in dice.sample(paths, min(len(paths), WRONG_PER_SCENE)):
            other = with_value(scene, path, dice.choice(list(values(scene, path))))
            if measure.looks_same(other, scene):
                continue
            found = checks.read(condition(draw(other), seed), scene, scene, (path,))
            shown, taken = shown + 1, taken + found.holds(path)
            unsure += found.value(path) == measure.UNKNOWN
    return {"wrong pictures": shown, "taken for right": taken, "unknown": unsure}


def main() -> None:
    """Print the table; append its rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--conditions", default="clean,noise,jpeg 4:4:4,jpeg 4:2:0,round trip")
    parser.add_argument("--starts", default="near,far", help="of near, far; empty for none")
    parser.add_argument("--no-wrong", action="store_true", help="no pictures with a wrong attribute")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for name, condition in conditions(options.conditions.split(",")).items():
        for start in filter(None, (*options.starts.split(","), "" if options.no_wrong else WRONG)):
            found = accepted(condition, options.count) if start == WRONG else rates(condition, start, options.count)
            row = {"condition": name, "start": start, **found}
            print(row, flush=True)
            if not options.no_record:
                record.append("world_measure", {**row, "opencv": cv2.__version__})


def _noise(pixels: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, SIGMA, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def _jpeg(pixels: np.ndarray, subsampling: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=subsampling)
    return np.asarray(Image.open(file).convert("RGB"))


if __name__ == "__main__":
    main()
