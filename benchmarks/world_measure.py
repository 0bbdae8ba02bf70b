"""How often the world's measure is right, wrong or does not know: by condition, by start, by attribute.

    python benchmarks/world_measure.py [--count 300] [--conditions clean,noise,...] [--starts near,far] [--workers 2]
                                        [--no-record]

Conditions: clean; noise (31 dB); jpeg 4:4:4 and jpeg 4:2:0 (quality 90, Pillow); round trip (autoencoder of nano).
Starts: near, one attribute drawn anew; far, every attribute drawn anew, only who is there, sizes and faces shared.
"wrong pictures": scenes with one attribute that is not as asked, and how many of them were taken for right.
--workers: processes that share the scenes; what is counted does not depend on them.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
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


@cache
def condition(name: str) -> Condition:
    """What happens to a picture (H, W, 3) uint8, given a seed, under the condition of this name."""
    if name == "round trip":
        import recast
        from recast.quality.systems.controls import round_trip

        there_and_back = round_trip(recast.load("nano"))
        return lambda pixels, seed: there_and_back(pixels)
    made: dict[str, Condition] = {
        "clean": lambda pixels, seed: pixels,
        "noise": _noise,
        "jpeg 4:4:4": lambda pixels, seed: _jpeg(pixels, 0),
        "jpeg 4:2:0": lambda pixels, seed: _jpeg(pixels, 2),
    }
    return made[name]


@dataclass
class Counted:
    """Counts over some scenes; those of two parts add up to those of the whole."""

    total: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counted) -> None:
        self.total.update(other.total)
        self.wrong.update(other.wrong)
        self.unknown.update(other.unknown)


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


def read_one(name: str, start: str, seed: int) -> Counted:
    """What reading one scene under a condition, from a start, adds to the counts."""
    scene, counted = sample.scene(seed), Counted()
    pixels = condition(name)(draw(scene), seed)
    begun = time.process_time()
    found = measure.read(pixels, started(scene, start, seed))
    counted.total["seconds"] += time.process_time() - begun
    is_same, missed = measure.looks_same(found.scene, scene), 0
    for path in measure.readable(scene):
        counted.total["attributes"] += 1
        finding, attribute = found.found.get(path), path.rpartition(".")[2]
        if finding is not None and finding.may_be(get(scene, path)):
            continue
        if finding is None or not finding.is_known:
            counted.unknown[attribute] += 1
        elif is_same:
            continue
        else:
            counted.wrong[attribute] += 1
        missed += 1
    counted.total["exact"] += missed == 0
    return counted


def accept_one(name: str, start: str, seed: int) -> Counted:
    """What a scene drawn with one attribute that is not as asked, a few times, adds to the counts."""
    scene, dice, counted = sample.scene(seed), random.Random(seed), Counted()
    paths = list(measure.readable(scene))
    for path in dice.sample(paths, min(len(paths), WRONG_PER_SCENE)):
        other = with_value(scene, path, dice.choice(list(values(scene, path))))
        if measure.looks_same(other, scene):
            continue
        found = checks.read(condition(name)(draw(other), seed), scene, scene, (path,))
        counted.total["shown"] += 1
        counted.total["taken"] += found.holds(path)
        counted.total["unsure"] += found.value(path) == measure.UNKNOWN
    return counted


def rates(counted: Counted, count: int) -> dict[str, Any]:
    """Attributes read over `count` scenes: how many wrong and unknown, by name, and seconds of processor a scene."""
    total, wrong, unknown = counted.total, counted.wrong.total(), counted.unknown.total()
    return {
        "scenes": count, "exact scenes": total["exact"] / count, "attributes": total["attributes"],
        "wrong": wrong, "unknown": unknown, "right": 1 - (wrong + unknown) / max(total["attributes"], 1),
        "s/scene": total["seconds"] / count,
        "wrong by name": dict(counted.wrong), "unknown by name": dict(counted.unknown),
    }  # fmt: skip


def accepted(counted: Counted, count: int) -> dict[str, Any]:
    """Of pictures with one attribute that is not as asked, how many were taken for right."""
    total = counted.total
    return {"wrong pictures": total["shown"], "taken for right": total["taken"], "unknown": total["unsure"]}


def main() -> None:
    """Print the table; append its rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--conditions", default="clean,noise,jpeg 4:4:4,jpeg 4:2:0,round trip")
    parser.add_argument("--starts", default="near,far", help="of near, far; empty for none")
    parser.add_argument("--no-wrong", action="store_true", help="no pictures with a wrong attribute")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the scenes")
    parser.add_argument("--no-record", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with _pool(options.workers) as pool:
        for name in options.conditions.split(","):
            for start in filter(None, (*options.starts.split(","), "" if options.no_wrong else WRONG)):
                one, table = (accept_one, accepted) if start == WRONG else (read_one, rates)
                counted = Counted()
                for each in pool(partial(one, name, start), range(FIRST_SEED, FIRST_SEED + options.count)):
                    counted.add(each)
                row = {"condition": name, "start": start, **table(counted, options.count)}
                print(row, flush=True)
                if not options.no_record:
                    record.append("world_measure", {**row, "opencv": cv2.__version__})


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Iterator[Counted]]]:
    """A `map` over so many processes, each with one thread; over none but this one for one."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as processes:
        yield processes.map


def _one_thread() -> None:
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _noise(pixels: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, SIGMA, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def _jpeg(pixels: np.ndarray, subsampling: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=subsampling)
    return np.asarray(Image.open(file).convert("RGB"))


if __name__ == "__main__":
    main()
