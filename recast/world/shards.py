"""Training pairs as WebDataset shards: plain tar files that any loader reads in order.

    OUT/
      pairs.json              what they are: seed, width, height, split, kind, count, code version, records per shard
      pairs-000000.tar, ...   PER_SHARD records each, the last one the rest

A record has one key and these members, each named KEY.MEMBER:

    source.png      the first picture (H, W, 3) that the instruction is about
    source2.png     the second picture, where the instruction names one
    target.png      the picture wanted
    mask.png        (H, W, 3) white where the picture that is kept, number `base`, differs from the target: what must
                    change; black: what must not
    json            {"category", "kind", "instruction", "inverse" (or null), "captions": [of each source..., of the
                    target], "scenes": [...], "asked": [...], "free": [...], "base": the source, from 0, from which
                    everything not asked for is kept, "identity": [[i, j, k]...] person i of the target is person k
                    of source j, "seed", "split"}

The same arguments give the same bytes: members carry no time and no owner.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from recast.config import VERSION
from recast.errors import InputError
from recast.pixels import image
from recast.world.dice import Dice
from recast.world.draw import changed, draw
from recast.world.edits import Edit, edit
from recast.world.folder import write_whole
from recast.world.scene import to_json
from recast.world.suite import SEEDS
from recast.world.words import describe

PER_SHARD = 1000
ABOUT = "pairs.json"


def write_pairs(
    out: Path,
    count: int,
    *,
    seed: int = 0,
    width: int = 256,
    height: int = 256,
    split: str = "train",
    kind: str | None = None,
) -> Iterator[tuple[int, int]]:
    """Write `count` pairs as the `paths` of `out`; (done, of) as records are written.

    kind: of every edit, or None for any. A shard that is complete is not written again; one that was not finished is,
    and so is the last of a smaller count. Raises InputError for a count below 1, for training seeds that are the
    benchmarks', for what `edit` and `draw` refuse, and for a folder of other pairs, in which nothing is touched.
    """
    if count < 1:
        raise InputError(f"count={count}: at least 1 accepted")
    if split == "train" and seed + count > SEEDS:
        raise InputError(
            f"seed={seed}, count={count}: seeds of 2^40 and above are the benchmarks'; for training seed + count up to "
            f"{SEEDS} accepted; choose a smaller seed"
        )
    record(seed, width=width, height=height, split=split, kind=kind)  # what cannot be made leaves nothing behind
    about = {"seed": seed, "width": width, "height": height, "split": split, "kind": kind, "count": count}
    _claim(out, {**about, "version": VERSION, "records_per_shard": PER_SHARD})
    for number, path in enumerate(paths(out, count)):
        start, stop = number * PER_SHARD, min((number + 1) * PER_SHARD, count)
        if path.exists() and _holds(path, stop - start):
            yield stop, count
            continue
        with _whole(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for n in range(start, stop):
                for name, data in record(seed + n, width=width, height=height, split=split, kind=kind).items():
                    _add(tar, f"{n:08d}.{name}", data)
                yield n + 1, count


def paths(out: Path, count: int) -> list[Path]:
    """Where the shards of `count` pairs lie, in order."""
    return [out / f"pairs-{number:06d}.tar" for number in range(-(-count // PER_SHARD))]


def record(seed: int, *, width: int, height: int, split: str, kind: str | None = None) -> dict[str, bytes]:
    """The members of one record, by name."""
    made = edit(seed, split=split, kind=kind)
    sources = [draw(scene, width, height) for scene in made.contexts]
    target = draw(made.target, width, height)
    members = {f"source{'' if n == 0 else n + 1}.png": _png(pixels) for n, pixels in enumerate(sources)}
    members["target.png"] = _png(target)
    mask = changed(sources[made.base], target)
    members["mask.png"] = _png(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255)
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
        "base": made.base,
        "identity": [list(each) for each in made.identity],
        "seed": seed,
        "split": split,
    }


def _claim(out: Path, about: dict[str, Any]) -> None:
    """Say in `out` what it holds. Raises InputError where it holds anything but the first of the same pairs."""
    path = out / ABOUT
    if path.exists():
        try:
            there = json.loads(path.read_bytes())
        except ValueError:
            there = None
        if not isinstance(there, dict) or type(there.get("count")) is not int:
            raise InputError(f"out={out}: its {ABOUT} cannot be read; remove the folder or name another")
        differing = [
            f"{name} {there.get(name)!r} there and {about.get(name)!r} asked for"
            for name in {**about, **there}
            if there.get(name) != about.get(name) and (name != "count" or there["count"] > about["count"])
        ]
        if differing:
            accepted = "the same pairs, or more of them, accepted"
            raise InputError(f"out={out}: holds other pairs: {', '.join(differing)}; {accepted}; name another folder")
        if there == about:
            return
    elif any(out.glob("pairs-*.tar")):
        raise InputError(f"out={out}: holds shards without a {ABOUT}; a new folder accepted; name another")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(about, indent=1) + "\n").encode())


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write `path` by: moved into place when it is whole and on the disk, removed when it is not.

    Its name is its own, so that two processes never write into each other's.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def _holds(path: Path, records: int) -> bool:
    """Whether a shard is whole and of that many records: the last shard of a smaller count has fewer."""
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
