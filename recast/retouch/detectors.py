"""What is changed whole or not at all: faces, lines of text, logos, found by plug-ins with local model files.

Half a new face on half an old one is worse than either. Without a detector a merge works as well; it says that none
looked. Anything with a name, a kind and `find` is a detector, and can be passed beside ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from recast.errors import ConfigError, MissingWeights, ShapeError, WeightsError

SHARE = 0.15
"""Of a unit: where more is flagged, all of it is taken; product research, section 3.4, step 7."""
FACE_SIDE_PX = 640  # the published YuNet has one input size
TEXT_SIDE_PX = 960
FACE_SCORE, FACE_OVERLAP, FACES_MOST = 0.6, 0.3, 5000
INK, BOX, GROWTH, LEAST_PX = 0.3, 0.5, 1.5, 3  # of PP-OCR's detector: threshold, mean in a box, its growth, its side
LOGO_SIDE_PX, LOGO_GREY = 640, 114  # as YOLO is exported and trained: the input, and what fills it up
LOGO_SCORE, LOGO_OVERLAP = 0.25, 0.45
LOGO_MODEL = "a YOLO detector exported with an input of 1x3x640x640"
MEAN = np.array((123.675, 116.28, 103.53), np.float32)  # of B, G, R: in that order PP-OCR's detector is trained
DEVIATION = np.array((58.395, 57.12, 57.375), np.float32)


@dataclass(frozen=True, eq=False)
class Unit:
    """A thing found: kind, box (left, top, right, bottom) inside the picture, mask (h, w) bool of the box or None."""

    kind: str
    box: tuple[int, int, int, int]
    mask: np.ndarray | None = None

    def inside(self, shape: tuple[int, ...]) -> np.ndarray:
        """Its pixels in a picture of a shape: (H, W) bool. Raises ShapeError for a box or mask that does not fit."""
        left, top, right, bottom = self.box
        if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
            raise ShapeError(f"box={self.box}: does not lie in {shape[1]}x{shape[0]}; one inside accepted; clip it")
        if self.mask is not None and self.mask.shape != (bottom - top, right - left):
            raise ShapeError(f"mask: {self.mask.shape} came; {(bottom - top, right - left)} accepted, the box's size")
        where = np.zeros(shape[:2], bool)
        where[top:bottom, left:right] = True if self.mask is None else self.mask
        return where

    def __str__(self) -> str:
        return f"{self.kind} at {','.join(map(str, self.box))}"


class Detector(Protocol):
    """Finds things of one kind. name: of the flag that brings it, as "faces"; kind: of one of them, as "face"."""

    name: str
    kind: str

    def find(self, rgb: np.ndarray) -> list[Unit]:
        """The units in rgb (H, W, 3) uint8 sRGB."""


class Faces:
    """YuNet (face_detection_yunet_2023mar.onnx) in OpenCV. The file is opened when a picture first comes."""

    name = "faces"
    kind = "face"

    def __init__(self, path: str | Path, *, score: float = FACE_SCORE) -> None:
        """score: faces below are passed over. Raises MissingWeights without the file, ConfigError for another score."""
        self.path, self.score = _existing(path, self.name), _checked_score(score, FACE_SCORE)

    def find(self, rgb: np.ndarray) -> list[Unit]:
        """The faces, from the top. Larger pictures are shrunk to 640 pixels. Raises WeightsError for another model."""
        small, scale = _shrunk(rgb, FACE_SIDE_PX, multiple=FACE_SIDE_PX)
        try:
            _, found = self._network.detect(small[..., ::-1])
        except cv2.error as error:
            raise _not_this(self.path, "YuNet of 2023", error) from error
        units = []
        for left, top, width, height in [] if found is None else found[:, :4]:
            corners = np.array([(left, top), (left + width, top + height)])
            units += _boxed(self.kind, corners / scale, rgb.shape)
        return sorted(units, key=lambda unit: unit.box[1::-1])

    @cached_property
    def _network(self) -> Any:
        side = (FACE_SIDE_PX, FACE_SIDE_PX)
        try:
            return cv2.FaceDetectorYN.create(str(self.path), "", side, self.score, FACE_OVERLAP, FACES_MOST)
        except cv2.error as error:
            raise _not_this(self.path, "YuNet of 2023", error) from error


class Text:
    """A text detector with differentiable binarisation, of PP-OCR's making, in OpenCV; opened when first needed.

    Its map is read here: OpenCV 5.0's own reader (TextDetectionModel_DB) takes no map of four dimensions.
    Source: Liao et al. 2020 (arXiv:1911.08947), section 3.3 for the growth of a box.
    """

    name = "text"
    kind = "text"

    def __init__(self, path: str | Path) -> None:
        """Raises MissingWeights without the file."""
        self.path = _existing(path, self.name)

    def find(self, rgb: np.ndarray) -> list[Unit]:
        """The lines of text, from the top, each with its own mask. Raises WeightsError for another model."""
        small, scale = _shrunk(rgb, TEXT_SIDE_PX, multiple=32)
        blob = (small[..., ::-1] - MEAN) / DEVIATION
        try:
            self._network.setInput(np.ascontiguousarray(blob.transpose(2, 0, 1)[None]))
            ink = self._network.forward()
        except cv2.error as error:
            raise _not_this(self.path, "a DB text detector", error) from error
        if ink.size != blob.shape[0] * blob.shape[1] or not (ink.min() >= 0 and ink.max() <= 1):
            raise _not_this(self.path, "a DB text detector", f"its output {ink.shape} is no map from 0 to 1")
        units = []
        for corners in _grown_boxes(ink.reshape(blob.shape[:2])):
            units += _boxed(self.kind, corners / scale, rgb.shape, has_mask=True)
        return sorted(units, key=lambda unit: unit.box[1::-1])

    @cached_property
    def _network(self) -> Any:
        try:
            return cv2.dnn.readNetFromONNX(str(self.path))
        except cv2.error as error:
            raise _not_this(self.path, "a DB text detector", error) from error


class Logos:
    """A detector of logos, or of whatever it was trained on, in one of the two layouts in which YOLO is exported.

    Input: (1, 3, 640, 640), RGB in [0, 1], the picture scaled to fit, in the middle, grey 114 around it. Output: either
    (1, 4 + classes, n), as of YOLOv8 and 11, or (1, n, 5 + classes), as of YOLOv5, whose fifth number is the chance
    that there is anything. The first four are centre x, y, width and height in pixels of the input; then the score of
    each class, in [0, 1]. Which class it is does not matter here. Boxes that overlap by more than 0.45 are one.
    """

    name = "logos"
    kind = "logo"

    def __init__(self, path: str | Path, *, score: float = LOGO_SCORE) -> None:
        """score: logos below are passed over. Raises MissingWeights without the file, ConfigError for another score."""
        self.path, self.score = _existing(path, self.name), _checked_score(score, LOGO_SCORE)

    def find(self, rgb: np.ndarray) -> list[Unit]:
        """The logos, from the top. Raises WeightsError for another model."""
        side = LOGO_SIDE_PX
        height, width = rgb.shape[:2]
        scale = side / max(width, height)
        fitted = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = ((side - length) // 2 for length in fitted)
        canvas = np.full((side, side, 3), LOGO_GREY, np.uint8)
        how = cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA
        canvas[top : top + fitted[1], left : left + fitted[0]] = cv2.resize(rgb, fitted, interpolation=how)
        boxes, scores = self._boxes(canvas)
        chosen = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), self.score, LOGO_OVERLAP)
        units = []
        for x, y, wide, high in boxes[np.array(chosen, np.int64).ravel()]:
            corners = np.array([(x, y), (x + wide, y + high)], float) - (left, top)
            units += _boxed(self.kind, corners / (fitted[0] / width, fitted[1] / height), rgb.shape)
        return sorted(units, key=lambda unit: unit.box[1::-1])

    def _boxes(self, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4), left, top, width and height in the canvas (640, 640, 3), and their scores (n,)."""
        blob = canvas.astype(np.float32).transpose(2, 0, 1)[None] / 255
        try:
            self._network.setInput(np.ascontiguousarray(blob))
            found = self._network.forward()
        except cv2.error as error:
            raise _not_this(self.path, LOGO_MODEL, error) from error
        if found.ndim != 3 or found.shape[0] != 1 or min(found.shape[1:]) < 5:
            raise _not_this(self.path, LOGO_MODEL, f"its output {found.shape} holds no boxes with scores")
        is_v5 = found.shape[1] > found.shape[2]  # there are more candidates than classes
        rows = found[0] if is_v5 else found[0].T
        scores = rows[:, 4:].max(1)
        if is_v5:
            scores = rows[:, 4] * rows[:, 5:].max(1, initial=0) if rows.shape[1] > 5 else rows[:, 4]
        if not (np.isfinite(rows).all() and scores.min() >= 0 and scores.max() <= 1):
            raise _not_this(self.path, LOGO_MODEL, "its scores are not all from 0 to 1")
        keep = scores >= self.score
        boxes = rows[keep, :4].astype(np.float32)
        boxes[:, :2] -= boxes[:, 2:] / 2
        return boxes, scores[keep].astype(np.float32)

    @cached_property
    def _network(self) -> Any:
        try:
            return cv2.dnn.readNetFromONNX(str(self.path))
        except cv2.error as error:
            raise _not_this(self.path, LOGO_MODEL, error) from error


KNOWN = {"faces": Faces, "text": Text, "logos": Logos}
VARIABLES = {name: f"RECAST_{name.upper()}" for name in KNOWN}


def load_detectors(
    files: Mapping[str, str | Path | None] | None = None, environment: Mapping[str, str] | None = None
) -> tuple[Detector, ...]:
    """The detectors asked for: a path for "faces", "text", "logos"; None, or left out, leaves it to the environment.

    environment: looked up for RECAST_FACES, RECAST_TEXT and RECAST_LOGOS; None for nothing. Raises ConfigError for a
    name that is none, MissingWeights for a file that is not there.
    """
    files, environment = files or {}, environment or {}
    if unknown := sorted(files.keys() - KNOWN.keys()):
        raise ConfigError(f"detectors: {unknown[0]!r} came; {', '.join(KNOWN)} accepted; pass others as objects")
    places = {name: files.get(name) or environment.get(VARIABLES[name]) for name in KNOWN}
    return tuple(KNOWN[name](place) for name, place in places.items() if place)


def absences(detectors: Iterable[Detector]) -> list[str]:
    """A note for each known detector that is not there: what it would take whole may be cut."""
    present = {detector.name for detector in detectors}
    return [
        f"{name}: no detector, so a change may cut one in two; --{name} FILE or {VARIABLES[name]} brings one"
        for name in KNOWN
        if name not in present
    ]


def find_units(detectors: Iterable[Detector], *pictures: np.ndarray) -> list[Unit]:
    """All that the detectors find in pictures (H, W, 3) uint8 of one size; what two of them show alike counts once."""
    units: dict[Any, Unit] = {}
    for detector in detectors:
        for rgb in pictures:
            for unit in detector.find(rgb):
                mask = None if unit.mask is None else unit.mask.tobytes()
                units.setdefault((unit.kind, unit.box, mask), unit)
    return list(units.values())


@dataclass(frozen=True, eq=False)
class Touched:
    """What became of a unit that regions reach into. share: of it that was flagged, 0 to 1, before all or none was."""

    unit: Unit
    share: float
    is_taken: bool

    def note(self, labels: np.ndarray, ids: Mapping[int, int] | None = None, allowed: np.ndarray | None = None) -> str:
        """What to tell the user. labels (h, w): the regions as they stand. ids: what the user knows each label by, the
        label itself if None. allowed (h, w) bool: where a strict merge may change anything, everywhere if None.
        """
        what = f"{self.unit}: {self.share:.0%} changed"
        if not self.is_taken:
            return f"{what}, kept as in the source"
        place = self.unit.inside(labels.shape)
        found = [int(number) for number in np.unique(labels[place]) if number]
        known = [number if ids is None else ids[number] for number in found if ids is None or number in ids]
        into = f"region{'s' if len(known) > 1 else ''} {', '.join(map(str, known))}" if known else "no region"
        is_cut = allowed is not None and not allowed[place].all() and allowed[place].any()
        return f"{what}, cut at the edge of mask and boxes, in {into}" if is_cut else f"{what}, taken whole into {into}"


def atomic(labels: np.ndarray, units: Sequence[Unit], share: float = SHARE) -> tuple[np.ndarray, list[Touched]]:
    """Labels (h, w) int32 in which each unit belongs to one region whole, or to none; and those that were touched.

    0 is no region. More than `share` of a unit flagged: all of it joins the region that has most of it, and others that
    reach into it join too. Otherwise none of it is flagged, unless it lies in a unit that is taken. Taking one unit may
    take the next that overlaps it. Regions are numbered from 1 by the top, then the left, of their boxes.
    """
    labels = labels.copy()
    places = [unit.inside(labels.shape) for unit in units]
    flagged = [float((labels[place] > 0).mean()) if place.any() else 0.0 for place in places]
    taken: list[int] = []
    waiting = [index for index, place in enumerate(places) if place.any()]
    while more := [index for index in waiting if (labels[places[index]] > 0).mean() > share]:
        for index in more:
            counts = np.bincount(labels[places[index]])
            counts[0] = 0
            joined = np.isin(labels, np.flatnonzero(counts)) & (labels > 0)
            labels[joined | places[index]] = counts.argmax()
        taken += more
        waiting = [index for index in waiting if index not in more]
    whole = np.zeros(labels.shape, bool)
    for index in taken:
        whole |= places[index]
    touched = [index for index in waiting if flagged[index] > 0]
    for index in touched:
        labels[places[index] & ~whole] = 0
    labels = _renumbered(labels)
    told = [Touched(units[index], flagged[index], index in taken) for index in sorted([*taken, *touched])]
    return labels, told


def contents(labels: np.ndarray, units: Sequence[Unit]) -> dict[int, tuple[str, ...]]:
    """The kinds of units that each region of labels (h, w) reaches into, in alphabetical order; those that do."""
    kinds: dict[int, set[str]] = {}
    for unit in units:
        for number in np.unique(labels[unit.inside(labels.shape)]):
            if number:
                kinds.setdefault(int(number), set()).add(unit.kind)
    return {number: tuple(sorted(found)) for number, found in sorted(kinds.items())}


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """The same regions from 1, ordered by top and left of their boxes, then by their old numbers."""
    corners = []
    for number in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == number)
        corners.append((int(rows.min()), int(columns.min()), int(number)))
    table = np.zeros(labels.max(initial=0) + 1, labels.dtype)
    for new, (_, _, old) in enumerate(sorted(corners), start=1):
        table[old] = new
    return table[labels]


def _checked_score(score: float, usual: float) -> float:
    if not 0 < score <= 1:
        raise ConfigError(f"score={score}: in (0, 1] accepted; {usual} is usual; pass one")
    return score


def _existing(path: str | Path, name: str) -> Path:
    if not Path(path).is_file():
        raise MissingWeights(
            f"{name}={str(path)!r}: no such file; an ONNX file accepted; check the path, or leave it out"
        )
    return Path(path)


def _grown_boxes(ink: np.ndarray) -> list[np.ndarray]:
    """The corners (4, 2) of rectangles around connected ink of a map (h, w) in 0..1, grown to the text's own size."""
    outlines, _ = cv2.findContours((ink > INK).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for outline in outlines:
        centre, (width, height), angle = cv2.minAreaRect(outline)
        if min(width, height) < LEAST_PX:
            continue
        inside = np.zeros(ink.shape, np.uint8)
        cv2.fillPoly(inside, [outline], 1)
        if ink[inside > 0].mean() >= BOX:
            reach = width * height * GROWTH / (width + height)
            boxes.append(cv2.boxPoints((centre, (width + reach, height + reach), angle)).astype(float))
    return boxes


def _not_this(path: Path, wanted: str, error: cv2.error | str) -> WeightsError:
    why = " ".join(str(error).split())[:200]
    return WeightsError(f"model={str(path)!r}: OpenCV cannot use it ({why}); {wanted} accepted; get the file again")


def _shrunk(rgb: np.ndarray, side_px: int, *, multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture at the top left of a black one whose sides are multiples, and its scale (x, y), at most 1."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side_px / max(width, height))
    small_width, small_height = max(1, round(width * scale)), max(1, round(height * scale))
    if scale < 1:
        rgb = cv2.resize(rgb, (small_width, small_height), interpolation=cv2.INTER_AREA)
    padded = np.zeros((-(-small_height // multiple) * multiple, -(-small_width // multiple) * multiple, 3), np.uint8)
    padded[:small_height, :small_width] = rgb
    return padded, np.array([small_width / width, small_height / height])


def _boxed(kind: str, corners: np.ndarray, shape: tuple[int, ...], *, has_mask: bool = False) -> list[Unit]:
    """The unit around corners (n, 2) in picture pixels, cut to the picture; none if nothing is left of it."""
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    left, top = (int(value) for value in low.clip(0))
    right, bottom = (int(value) for value in np.minimum(high, (shape[1], shape[0])))
    if left >= right or top >= bottom:
        return []
    if not has_mask:
        return [Unit(kind, (left, top, right, bottom))]
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners - (left, top)).astype(np.int32)], 1)
    return [Unit(kind, (left, top, right, bottom), mask.astype(bool))]
