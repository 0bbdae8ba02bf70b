"""A picture → its lines of text: PaddleOCR's two networks (detector DB, recogniser CTC) in ONNX Runtime.

What surrounds the networks is written here rather than taken from a package that wraps them: those bring networks of
their own, fetch what they miss, and change thresholds between versions. It is one page, and each step is tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import MissingWeights, WeightsError
from recast.quality.features.files import ocr_files
from recast.quality.features.onnx_files import describe_runtime, open_session
from recast.quality.features.regions import picture
from recast.weights.files import checksum

# ImageNet's, applied to B, G, R in this order: so was the detector trained.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SHORTER_PX, LONGER_PX = 736, 2000  # a small picture is enlarged to the first, a large one shrunk to the second
INK = 0.3  # a pixel of the detector's map above is text
BOX = 0.5  # a region whose mean is below is dropped
GROWTH = 1.6  # the detector was trained on shrunk regions: grow by area * GROWTH / perimeter
LEAST_PX = 3
LINE_HEIGHT, LINE_WIDTH = 48, 320


@dataclass(frozen=True, eq=False)
class Line:
    """A line of text: what it says, how sure the recogniser is (mean over characters, 0..1), and where.

    box: (4, 2) corners in pixels, from the text's top left, clockwise.
    """

    text: str
    confidence: float
    box: np.ndarray


class Reader:
    """Both networks and the list of characters between them."""

    def __init__(self, folder: str | Path, *, least_confidence: float = 0.5, threads: int = 1) -> None:
        """least_confidence: lines below are taken for texture and left out.

        Raises MissingWeights for missing files, WeightsError if the characters do not fit the recogniser.
        """
        self.folder, self.least_confidence, self.threads = Path(folder), least_confidence, threads
        try:
            detector, recogniser, listed = ocr_files(self.folder)
        except MissingWeights as error:
            raise MissingWeights(f"ocr={str(folder)!r}: {error}") from error
        self._detector = open_session(detector, threads=threads)
        self._recogniser = open_session(recogniser, threads=threads)
        shape = self._recogniser.get_inputs()[0].shape
        self._line_height, self._fixed_width = (side if isinstance(side, int) else None for side in shape[2:])
        classes = self._probabilities(np.zeros((LINE_HEIGHT, LINE_WIDTH, 3), np.uint8)).shape[1]
        self._alphabet = self._characters(listed, classes)

    def lines(self, pixels: np.ndarray) -> list[Line]:
        """The lines of a picture, from the top, and from the left where they stand side by side."""
        pixels = picture(pixels)
        found = [Line(*self.text(_cut(pixels, box)), box) for box in self.boxes(pixels)]
        return _in_order([line for line in found if line.text.strip() and line.confidence >= self.least_confidence])

    def boxes(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Where the detector sees text: corners (4, 2) each, from the text's top left, clockwise."""
        import cv2

        height, width = pixels.shape[:2]
        scale = max(1.0, SHORTER_PX / min(height, width))
        scale = min(scale, LONGER_PX / max(height, width))
        size = [max(32, round(side * scale / 32) * 32) for side in (width, height)]
        shrinks = size[0] < width or size[1] < height
        resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        blob = (resized[..., ::-1] / np.float32(255) - MEAN) / DEVIATION
        name = self._detector.get_inputs()[0].name
        (ink,) = self._detector.run(None, {name: blob.transpose(2, 0, 1)[None].astype(np.float32)})[:1]
        return [box * (width / size[0], height / size[1]) for box in regions(ink.reshape(ink.shape[-2:]))]

    def text(self, crop: np.ndarray) -> tuple[str, float]:
        """What one upright line uint8 (h, w, 3) says, and the mean confidence of its characters; ("", 0.0) if none."""
        probabilities = self._probabilities(crop)
        best, sure = probabilities.argmax(1), probabilities.max(1)
        starts = np.flatnonzero((best != 0) & (best != np.concatenate([[-1], best[:-1]])))  # CTC: blank is class 0
        if not len(starts):
            return "", 0.0
        return "".join(self._alphabet[best[i]] for i in starts), float(sure[starts].mean())

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        files = {file.name: checksum(file) for file in ocr_files(self.folder) if file}
        sizes = {"shorter_px": SHORTER_PX, "longer_px": LONGER_PX, "ink": INK, "box": BOX, "growth": GROWTH}
        return {
            "files": files,
            **sizes,
            "least_confidence": self.least_confidence,
            **describe_runtime(threads=self.threads),
        }

    def _probabilities(self, crop: np.ndarray) -> np.ndarray:
        """The recogniser's probability of each class at each step, (steps, classes)."""
        import cv2

        height = self._line_height or LINE_HEIGHT
        natural = math.ceil(height * crop.shape[1] / crop.shape[0])
        width = self._fixed_width or max(LINE_WIDTH, natural)
        inner = min(width, natural)
        resized = cv2.resize(crop, (inner, height), interpolation=cv2.INTER_LINEAR)
        blob = np.zeros((1, 3, height, width), np.float32)
        blob[0, :, :, :inner] = resized[..., ::-1].transpose(2, 0, 1) / np.float32(127.5) - 1
        (steps,) = self._recogniser.run(None, {self._recogniser.get_inputs()[0].name: blob})[:1]
        if steps.ndim != 3 or abs(steps[0].sum(1) - 1).max() > 0.01:
            came = f"an output {steps.shape}" + (" whose rows do not sum to 1" if steps.ndim == 3 else "")
            raise WeightsError(
                f"ocr={str(self.folder)!r}: rec gives {came}; probabilities (1, steps, classes) accepted"
            )
        return steps[0]

    def _characters(self, listed: Path | None, classes: int) -> list[str]:
        """One character for each class; the first is the blank. A space is added where only it is lacking."""
        inside = self._recogniser.get_modelmeta().custom_metadata_map.get("character")
        if listed is None and inside is None:
            raise MissingWeights(
                f"ocr={str(self.folder)!r}: no list of characters in rec and no *.txt; add its own list"
            )
        content = inside if listed is None else listed.read_text(encoding="utf-8")
        assert content is not None
        characters = content.removesuffix("\n").replace("\r", "").split("\n")
        if classes == len(characters) + 2:
            characters.append(" ")
        if classes != len(characters) + 1:
            raise WeightsError(
                f"ocr={str(self.folder)!r}: {len(characters)} characters for {classes} classes of rec; one fewer, or "
                "two fewer if a space is to be added, accepted; take the list that was published with it"
            )
        return ["", *characters]


def regions(ink: np.ndarray) -> list[np.ndarray]:
    """The grown boxes (4, 2) around connected text of the detector's map (h, w), in pixels of the map.

    Source: Liao et al. 2020 (arXiv:1911.08947), section 3.3, with rectangles as in PaddleOCR.
    """
    import cv2

    outlines, _ = cv2.findContours((ink > INK).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for outline in outlines:
        centre, (width, height), angle = cv2.minAreaRect(outline)
        if min(width, height) < LEAST_PX:
            continue
        inside = np.zeros(ink.shape, np.uint8)
        cv2.fillPoly(inside, [cv2.boxPoints((centre, (width, height), angle)).astype(np.int32)], 1)
        if ink[inside > 0].mean() < BOX:
            continue
        reach = 2 * width * height * GROWTH / (2 * (width + height))
        boxes.append(_from_top_left(cv2.boxPoints((centre, (width + reach, height + reach), angle))))
    return boxes


def _from_top_left(corners: np.ndarray) -> np.ndarray:
    """The corners of a rectangle, clockwise on the screen, from the one nearest to the top left."""
    around = corners - corners.mean(0)
    clockwise = corners[np.argsort(np.arctan2(around[:, 1], around[:, 0]), kind="stable")]
    return np.roll(clockwise, -int(clockwise.sum(1).argmin()), 0).astype(float)


def _cut(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The upright picture of a box's content; one much higher than wide is turned: text that runs downward."""
    import cv2

    width = max(1, round(float(np.linalg.norm(box[1] - box[0]))))
    height = max(1, round(float(np.linalg.norm(box[3] - box[0]))))
    targets = np.array([(0, 0), (width, 0), (0, height)], np.float32)
    matrix = cv2.getAffineTransform(box[[0, 1, 3]].astype(np.float32), targets)
    crop = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(np.rot90(crop)) if height >= 1.5 * width else crop


def _in_order(lines: list[Line]) -> list[Line]:
    """Lines in rows from the top, each row from the left. A row: centres within half a line's height of its first."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box[:, 1].mean()):
        half = (line.box[:, 1].max() - line.box[:, 1].min()) / 2
        if rows and line.box[:, 1].mean() - rows[-1][0].box[:, 1].mean() < half:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[:, 0].min())]
