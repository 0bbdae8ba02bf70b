"""Training pairs as WebDataset shards: plain tar files that any loader reads in order.

A record has one key and these members, each named KEY.MEMBER:

    source.png      the picture to change (H, W, 3); absent where the record is a reference without a source
    source2.png     the second picture, where the instruction names one
    target.png      the picture wanted
    mask.png        (H, W) white where source and target differ: what must change; black must not
    json            {"category", "kind", "instruction", "inverse" (or null), "captions": [of each source..., of the
                    target], "scenes": [...], "asked": [...], "free": [...], "seed", "split"}

The same seed and count give the same bytes: members carry no time and no owner.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.edits import Edit, edit
from recast.world.scene import to_json
from recast.world.words import describe

PER_SHARD = 1000


def write_pairs(
    out: Path, count: int, *, seed: int = 0, width: int = 256, height: int = 256, split: str = "train"
) -> Iterator[tuple[int, int]]:
    """Write `count` pairs as out/pairs-000000.tar, ...; (done, of) as records are written.

    A shard that is complete is not written again; one that was not finished is. Raises InputError for a count below 1.
    """
    if count < 1:
        raise InputError(f"count={count}: at least 1 accepted")
    out.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, PER_SHARD):
        path = out / f"pairs-{start // PER_SHARD:06d}.tar"
        stop = min(start + PER_SHARD, count)
        if path.exists() and _holds(path, stop - start):
            yield stop, count
            continue
        part = path.with_name(f".{path.name}.part")
        with tarfile.open(part, "w") as tar:
            for number in range(start, stop):
                for name, data in record(seed + number, width=width, height=height, split=split).items():
                    _add(tar, f"{number:08d}.{name}", data)
                yield number + 1, count
        part.replace(path)


def record(seed: int, *, width: int, height: int, split: str) -> dict[str, bytes]:
    """The members of one record, by name."""
    made = edit(seed, split=split)
    sources = [draw(scene, width, height) for scene in made.contexts]
    target = draw(made.target, width, height)
    members = {f"source{'' if n == 0 else n + 1}.png": _png(pixels) for n, pixels in enumerate(sources)}
    members["target.png"] = _png(target)
    changed = (sources[0] != target).any(2)
    members["mask.png"] = _png(np.repeat(changed[..., None], 3, axis=2).astype(np.uint8) * 255)
    text = json.dumps(describe_record(made, seed, split), ensure_ascii=False, sort_keys=True)
    members["json"] = text.encode()
    return members


def describe_record(made: Edit, seed: int, split: str) -> dict[str, Any]:
    """The words and the truth of a record, as JSON data."""
    dice = Dice(seed, "captions")
    scenes = [*made.contexts, made.target]
    return {
        "category": made.category,
        "kind": made.kind,
        "instruction": made.instruction,
        "inverse": made.inverse,
        "captions": [describe(scene, dice.stream(str(n))) for n, scene in enumerate(scenes)],
        "scenes": [to_json(scene) for scene in scenes],
        "asked": list(made.asked),
        "free": list(made.free),
        "seed": seed,
        "split": split,
    }


def _holds(path: Path, records: int) -> bool:
    try:
        with tarfile.open(path) as tar:
            return sum(name.endswith(".json") for name in tar.getnames()) == records
    except tarfile.TarError:
        return False


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _png(pixels: np.ndarray) -> bytes:
    return image.encode(image.Picture(rgb=pixels), "png")
