"""What is kept beside a merge so that its regions can be taken or left later: a folder of parts.

    parts.json      what is what, with the hash of every other file; the only one that is ever rewritten
    source.png      the source, byte for byte as it came (or .jpg, ...)
    edit.png        the edit, byte for byte as it came, unmerged
    aligned.png     the edit laid on the source, at the source's size, unmerged
    layers.npz      alpha and colours of every region, exactly those that were composed

A folder is published whole or not at all, and is checked against its hashes when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recast.config import VERSION
from recast.errors import InputError, RecastError, ShapeError
from recast.pixels.image import Picture, read
from recast.retouch import compose
from recast.retouch.certificate import certify
from recast.retouch.compose import Layer
from recast.retouch.layer_files import pack, unpack
from recast.retouch.original import Original, loss_of, read_original, write_original

FORMAT = "recast-parts-1"
INDEX = "parts.json"
INDEX_LIMIT_BYTES = 64 << 20  # a certificate holds the mask of the support
_ROLES = ("source", "edit", "aligned", "layers")


@dataclass(frozen=True)
class Region:
    """One change: id from 1; box x0, y0, x1, y1 and area of its core in the source's pixels; delta_e: mean CIEDE2000.

    kind: "content", or "colour" where the structure stayed. contains: what a detector found in it, such as "face".
    """

    id: int
    box: tuple[int, int, int, int]
    area: int
    delta_e: float
    kind: str
    contains: tuple[str, ...] = ()
    is_accepted: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"box": list(self.box), "contains": list(self.contains)}

    @classmethod
    def from_dict(cls, data: Any) -> Region:
        """The region of `to_dict`. Raises ValueError or TypeError, or KeyError, for anything else."""
        left, top, right, bottom = (int(side) for side in data["box"])
        return cls(
            int(data["id"]), (left, top, right, bottom), int(data["area"]), float(data["delta_e"]), str(data["kind"]),
            tuple(str(each) for each in data["contains"]), bool(data["is_accepted"]),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Parts:
    """A merge taken apart. layers: one for each of the regions, in their order.

    certificate: the text of that of the merge with the regions that are accepted, if one was given.
    """

    folder: Path
    source: Original
    regions: tuple[Region, ...]
    layers: tuple[Layer, ...]
    certificate: str | None
    files: dict[str, str]

    @property
    def accepted(self) -> tuple[int, ...]:
        """The ids of the regions that are taken."""
        return tuple(region.id for region in self.regions if region.is_accepted)

    def merged(self, accepted: Iterable[int] | None = None) -> Original:
        """The source with these regions laid in, or with those that are accepted. Raises InputError for unknown ids."""
        samples = compose.composite(self.source.samples, self._chosen(accepted))
        return self.source.with_samples(samples)

    def support(self, accepted: Iterable[int] | None = None) -> np.ndarray:
        """Where that merge may differ from the source: (H, W) bool."""
        return compose.support(self._chosen(accepted), self.source.samples.shape[:2])

    def accepting(self, accepted: Iterable[int]) -> Parts:
        """The same parts with these regions taken and no others, and the certificate of that merge; not yet stored."""
        ids = set(accepted)
        proof = certify(self.source, self.merged(ids), self.support(ids))
        regions = tuple(replace(region, is_accepted=region.id in ids) for region in self.regions)
        return replace(self, regions=regions, certificate=proof.to_json())

    def write(self, path: str | os.PathLike[str], **options: Any) -> list[str]:
        """Write the merge with its certificate, where the format keeps it; what a reader should know of it.

        Options and errors as of `recast.retouch.original.write_original`.
        """
        merged, format = self.merged(), options.get("format") or Path(path).suffix.removeprefix(".")
        loss = loss_of(format, options.get("quality"), original=merged)
        write_original(merged, path, certificate=None if loss else self.certificate, **options)
        return [loss] if loss and self.certificate is not None else []

    def keep(self) -> None:
        """Store in the folder which regions are taken, and the certificate; as `set_accepted`."""
        set_accepted(self.folder, self.accepted, self.certificate)

    def path(self, role: str) -> Path:
        """Where the "source", "edit", "aligned" or "layers" lie."""
        return self.folder / self.files[role]

    @cached_property
    def aligned(self) -> Picture:
        """The unmerged edit at the source's size."""
        return read(self.path("aligned"), limit_pixels=self.source.width * self.source.height)

    def _chosen(self, accepted: Iterable[int] | None) -> list[Layer]:
        ids = set(self.accepted if accepted is None else accepted)
        _check_ids(ids, self.regions)
        return [layer for layer, region in zip(self.layers, self.regions, strict=True) if region.id in ids]


def write_parts(
    folder: str | os.PathLike[str],
    *,
    source: bytes,
    edit: bytes,
    aligned: np.ndarray,
    layers: Sequence[Layer],
    regions: Sequence[Region],
    levels: int,
    certificate: str | None = None,
) -> Path:
    """The folder, once all of it is safely there; parts that were there before are replaced at once.

    source, edit: files as they came. aligned: (H, W, 3) uint8, the edit laid on the source. layers, regions: of the
    merge, one for one. levels: the largest sample of the source, 255 or 65535. Raises InputError for a folder that
    holds anything but parts, or that cannot be written.
    """
    target = Path(os.path.realpath(folder))
    _check_target(target, folder)
    if len(layers) != len(regions) or len({region.id for region in regions}) != len(regions):
        raise InputError(
            f"regions: {len(regions)} for {len(layers)} layers came; one for each layer, ids all different, accepted; "
            "pass those of one merge"
        )
    files = {"source": f"source{_suffix(source)}", "edit": f"edit{_suffix(edit)}"}
    files |= {"aligned": "aligned.png", "layers": "layers.npz"}
    aside = target.with_name(f".recast-{secrets.token_hex(8)}.part")
    with _writing(folder):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside.mkdir()
            _store(aside / files["source"], source)
            _store(aside / files["edit"], edit)
            _store(aside / files["aligned"], _png(aligned))
            _store(aside / files["layers"], pack(layers, levels))
            index = {
                "format": FORMAT,
                "recast": VERSION,
                "levels": levels,
                "files": {role: _entry(aside / name) for role, name in files.items()},
                "regions": [
                    region.to_dict() | {"layer": _layer_entry(layer)}
                    for region, layer in zip(regions, layers, strict=True)
                ],
                "certificate": certificate,
            }
            _store(aside / INDEX, _json(index))
            _publish(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return Path(folder)


def read_parts(folder: str | os.PathLike[str], *, limit_pixels: int = 100_000_000) -> Parts:
    """The parts in a folder, with every file checked against its hash.

    Raises InputError, naming the folder and the file, for what is missing, damaged, or not in this format.
    """
    place = Path(folder)
    index = _index(place)
    try:
        files = {role: _checked(place, index["files"][role]) for role in _ROLES}
        regions = tuple(Region.from_dict(entry) for entry in index["regions"])
        if len({region.id for region in regions}) != len(regions):
            raise ValueError("two regions with one id")
        source = read_original(place / files["source"], limit_pixels=limit_pixels)
        if source.levels != index["levels"]:
            raise ValueError(f"levels {index['levels']}, the source has {source.levels}")
        heads = [_layer_head(entry["layer"], source) for entry in index["regions"]]
        layers = unpack((place / files["layers"]).read_bytes(), heads, source.levels)
        certificate = index["certificate"]
        if not (certificate is None or isinstance(certificate, str)):
            raise TypeError("certificate: no text")
    except RecastError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(place, f"{INDEX}: {type(error).__name__} {error}") from error
    return Parts(place, source, regions, layers, certificate, files)


def set_accepted(folder: str | os.PathLike[str], accepted: Iterable[int], certificate: str | None = None) -> None:
    """Record which regions are taken, and the certificate of that merge; atomic, all other files stay as they are.

    Raises InputError for ids that are no region's, and like `read_parts` for an index that cannot be read.
    """
    place = Path(folder)
    index = _index(place)
    ids = set(accepted)
    try:
        regions = [Region.from_dict(entry) for entry in index["regions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(place, f"{INDEX}: {type(error).__name__} {error}") from error
    _check_ids(ids, regions)
    for entry, region in zip(index["regions"], regions, strict=True):
        entry |= replace(region, is_accepted=region.id in ids).to_dict()
    aside = place / f".recast-{secrets.token_hex(8)}.part"
    with _writing(folder):
        try:
            _store(aside, _json(index | {"certificate": certificate}))
            os.replace(aside, place / INDEX)
            _sync(place)
        finally:
            aside.unlink(missing_ok=True)


def _check_ids(ids: set[int], regions: Sequence[Region]) -> None:
    known = [region.id for region in regions]
    strange = sorted(ids - set(known))
    if strange:
        accepted = ", ".join(map(str, known)) or "none (there is no region)"
        raise InputError(f"accepted: no region {strange[0]}; {accepted} accepted; see the list of regions")


def _check_target(target: Path, folder: str | os.PathLike[str]) -> None:
    if not target.exists() or (target.is_dir() and ((target / INDEX).is_file() or not any(target.iterdir()))):
        return
    raise InputError(
        f"folder={os.fspath(folder)!r}: holds something else than parts; a new place, or the parts of an earlier "
        "merge, accepted; choose another, or remove it"
    )


def _publish(aside: Path, target: Path) -> None:
    """Give the folder its name; the parts that have it are moved away first, and back if that fails."""
    _sync(aside)
    gone = target.with_name(f".{target.name}.{secrets.token_hex(8)}.gone")
    if target.exists():
        target.rename(gone)
    try:
        aside.rename(target)
    except OSError:
        if gone.exists():
            gone.rename(target)
        raise
    _sync(target.parent)
    shutil.rmtree(gone, ignore_errors=True)


def _index(place: Path) -> dict[str, Any]:
    try:
        path = place / INDEX
        if path.stat().st_size > INDEX_LIMIT_BYTES:
            raise ValueError(f"more than {INDEX_LIMIT_BYTES} bytes")
        index = json.loads(path.read_text(encoding="utf-8"))
        found = index["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(place, f"{INDEX}: {getattr(error, 'strerror', None) or error}") from error
    if found != FORMAT:
        raise InputError(
            f"folder={str(place)!r}: parts in the format {found!r}; {FORMAT!r} accepted; read them with the version "
            "of recast that wrote them"
        )
    return dict(index)


def _checked(place: Path, entry: Any) -> str:
    """The name of a file in the folder, once it has the size and hash written down."""
    name, size, digest = str(entry["file"]), int(entry["bytes"]), str(entry["sha256"])
    if name != Path(name).name or name in ("", ".", "..", INDEX) or "\\" in name:
        raise ValueError(f"file {name!r}: no name of a file in this folder")
    path = place / name
    if not path.is_file():
        raise _damaged(place, f"{name}: missing")
    if path.stat().st_size != size:
        raise _damaged(place, f"{name}: {path.stat().st_size} bytes, {size} written")
    if _sha256(path) != digest:
        raise _damaged(place, f"{name}: another SHA-256 than was written")
    return name


def _damaged(place: Path, what: str) -> InputError:
    return InputError(
        f"folder={str(place)!r}: no whole parts of a merge ({what}); a folder as `merge` leaves it accepted; merge "
        "again, or fetch the folder again"
    )


def _layer_entry(layer: Layer) -> dict[str, Any]:
    return {"box": list(layer.box), "seam": layer.seam, "seam_kind": layer.seam_kind}


def _layer_head(entry: Any, source: Original) -> tuple[compose.Box, float, str]:
    x0, y0, x1, y1 = (int(side) for side in entry["box"])
    if not (0 <= x0 < x1 <= source.width and 0 <= y0 < y1 <= source.height):
        raise ValueError(f"box {x0, y0, x1, y1} of a layer is not inside {source.width}x{source.height}")
    return (x0, y0, x1, y1), float(entry["seam"]), str(entry["seam_kind"])


def _png(rgb: np.ndarray) -> bytes:
    """A PNG of (H, W, 3) uint8, compressed lightly: it is written with every merge and read now and then."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ShapeError(f"aligned: {rgb.dtype} {rgb.shape} came; uint8 (H, W, 3) accepted; convert it")
    _, data = cv2.imencode(".png", rgb[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return bytes(data)


def _suffix(data: bytes) -> str:
    """The usual ending of a picture file, from its first bytes; ".bin" if they say nothing."""
    starts = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"II*\0": ".tif", b"MM\0*": ".tif"}
    starts |= {b"BM": ".bmp", b"P5": ".pgm", b"P6": ".ppm"}
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:12] == b"ftypavif":
        return ".avif"
    return next((suffix for start, suffix in starts.items() if data.startswith(start)), ".bin")


@contextmanager
def _writing(folder: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"folder={os.fspath(folder)!r}: cannot be written ({error.strerror or error}); a folder in a place with "
            "room that you may write to accepted; make room, or choose another"
        ) from error


def _store(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _entry(path: Path) -> dict[str, Any]:
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
