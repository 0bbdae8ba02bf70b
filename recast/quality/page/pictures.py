"""The pictures of a page: small ones in it, whole ones in it or beside it, and what each system did to its source."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from recast.errors import InputError
from recast.pixels import image
from recast.quality import metrics

SMALL_PX = 256  # longest side in the grid
SMALL_BYTES = 20_000  # a heavier one is packed again, however few its pixels
QUALITY = 84
SAME = 5.0  # delta E up to which two smoothed colours count as the same, the middle of what the precision looks at
HEAT = (5.0, 10.0, 20.0, 40.0)  # delta E where the next colour begins
# Right change, missed, damaged, wrong value; then the four degrees of a plain difference. The same as in report.css.
COLOURS = ((0, 158, 96), (30, 110, 235), (224, 36, 46), (240, 140, 0))
HEAT_COLOURS = ((255, 214, 90), (255, 150, 50), (235, 70, 60), (170, 20, 110))
NAMES = ("right change", "missed", "damaged", "wrong value")
BROWSER = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}


@dataclass(frozen=True)
class Shot:
    """A picture of the page: where it lies, how large it is, and its small form."""

    file: Path | None  # None: an overlay, which is as large as it will ever be
    kind: str
    width: int
    height: int
    size_bytes: int
    small: bytes
    small_kind: str


class Album:
    """The pictures of one page, each once, however often it is shown."""

    def __init__(self, pictures: Path | Mapping[str, Path]) -> None:
        self.shots: dict[str, Shot] = {}
        self.missing: list[str] = []
        self._pictures = pictures
        self._names: dict[str, str | None] = {}
        self._recent: dict[str, np.ndarray] = {}

    def add(self, path: str | None) -> str | None:
        """The name of the picture at `path` on this page; None for none, and for one in `missing`."""
        if path is None:
            return None
        if path not in self._names:
            self._names[path] = self._take(path)
        return self._names[path]

    def overlay(self, source: str, answer: str | None, output: str) -> tuple[str | None, str]:
        """The name of a transparent picture of what was changed in `output`, and the same in words; paths come in.

        None if one of the pictures cannot be read, or if nothing is to be shown.
        """
        arrays = [self._small(path) for path in (source, output, *([] if answer is None else [answer]))]
        if any(array is None for array in arrays):
            return None, ""
        first = arrays[0]
        assert first is not None
        height, width = first.shape[:2]
        fitted = [metrics.register(array, width, height)[0] for array in arrays if array is not None]
        colours: tuple[tuple[int, int, int], ...]
        if answer is None:
            marks, colours = heat(fitted[0], fitted[1]), HEAT_COLOURS
            words = f"differs from the source in {(marks > 0).mean():.1%} of the picture"
        else:
            marks, colours = verdicts(fitted[0], fitted[1], fitted[2]), COLOURS
            words = ", ".join(f"{name} {(marks == i).mean():.1%}" for i, name in enumerate(NAMES, start=1))
        if not marks.any():
            return None, words
        data = _paletted(marks, colours)
        name = "o" + hashlib.sha256(data).hexdigest()[:15]
        self.shots[name] = Shot(None, "png", width, height, len(data), data, "png")
        return name, words

    def forget(self) -> None:
        """Free the arrays kept for overlays; their files are read again if they are needed again."""
        self._recent.clear()

    def _take(self, path: str) -> str | None:
        file = self._file(path)
        if not file.is_file():
            self.missing.append(path)
            return None
        data = file.read_bytes()
        name = "p" + hashlib.sha256(data).hexdigest()[:15]
        if name in self.shots:
            return name
        try:
            picture = image.read(data, name=path).to_pil()
        except InputError:
            self.missing.append(path)
            return None
        with Image.open(io.BytesIO(data), formats=image.READ) as opened:
            kind = BROWSER.get(opened.format or "", "")
        small, small_kind = data, kind
        if max(picture.size) > SMALL_PX or len(data) > SMALL_BYTES or not kind:
            shrunk = picture.copy()
            shrunk.thumbnail((SMALL_PX, SMALL_PX), Image.Resampling.LANCZOS)
            small, small_kind = _webp(shrunk), "webp"
        self.shots[name] = Shot(
            file, kind or small_kind, picture.width, picture.height, len(data) if kind else 0, small, small_kind
        )
        return name

    def _file(self, path: str) -> Path:
        if isinstance(self._pictures, Mapping):
            return Path(self._pictures.get(path, path))
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise InputError(
                f"picture={path!r}: leads out of the run folder; a path within it accepted; mend the results"
            )
        return self._pictures / pure

    def _small(self, path: str) -> np.ndarray | None:
        """The picture as RGB (H, W, 3) uint8, no side longer than SMALL_PX; None if it cannot be read."""
        if path not in self._recent:
            name = self.add(path)
            if name is None:
                return None
            shot = self.shots[name]
            is_small = shot.file is not None and max(shot.width, shot.height) <= SMALL_PX
            opened = image.read(shot.file if is_small and shot.file else shot.small).to_pil()
            if opened.mode == "RGBA":
                opened = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened)
            self._recent[path] = np.asarray(opened.convert("RGB"))
        return self._recent[path]


def verdicts(source: np.ndarray, output: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """What became of each pixel, uint8 (H, W): 1 right change, 2 missed, 3 damaged, 4 wrong value, 0 rightly kept.

    Pictures (H, W, 3) uint8 of one size. All pass the box filter of the precision, so that noise is no damage.
    """
    k = metrics.box_size(*source.shape[:2])
    was, seen, meant = (metrics.box_linear(picture, k) for picture in (source, output, answer))
    changed = metrics.delta_e(was, meant) > SAME
    moved, wrong = metrics.delta_e(was, seen) > SAME, metrics.delta_e(meant, seen) > SAME
    marks = np.zeros(changed.shape, np.uint8)
    marks[changed & ~wrong] = 1
    marks[changed & wrong & ~moved] = 2
    marks[~changed & moved] = 3
    marks[changed & wrong & moved] = 4
    return marks


def heat(source: np.ndarray, output: np.ndarray) -> np.ndarray:
    """How far each pixel went from the source, uint8 (H, W): 0 for not at all, then one step per bound of HEAT."""
    k = metrics.box_size(*source.shape[:2])
    difference = metrics.delta_e(metrics.box_linear(source, k), metrics.box_linear(output, k))
    return np.digitize(difference, HEAT).astype(np.uint8)


def data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _webp(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def _paletted(marks: np.ndarray, colours: tuple[tuple[int, int, int], ...]) -> bytes:
    picture = Image.frombytes("P", marks.shape[::-1], marks.tobytes())
    picture.putpalette([0, 0, 0, *(level for colour in colours for level in colour)])
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes([0] + [255] * len(colours)), optimize=True, bits=4)
    return file.getvalue()
