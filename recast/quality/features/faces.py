"""A picture → its faces and their identity vectors (YuNet, AuraFace); two pictures → is it still the same person?

YuNet runs in ONNX Runtime and is decoded here, rather than by OpenCV's FaceDetectorYN: one runtime with a fixed number
of threads serves both networks, the published file has one input size (OpenCV's engine sets it aside, and which of its
engines reads a file changes between versions), and each number of the decoding can be tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import ConfigError, WeightsError
from recast.quality.features.alignment import aligned_crop
from recast.quality.features.onnx_files import describe_runtime, first_nodes, open_session
from recast.quality.features.regions import picture, suppress
from recast.weights.files import checksum

STRIDES = (8, 16, 32)
OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)
ELIGIBLE_PX = 48  # from the eyes to the chin; smaller faces carry too little identity to be held to it


@dataclass(frozen=True, eq=False)
class Face:
    """A face found: box (4,) left, top, right, bottom; points (5, 2) in the template's order; score in [0, 1].

    The detector speaks of the subject's right eye: the eye on the image's left, first here as in the template.
    """

    box: np.ndarray
    points: np.ndarray
    score: float

    @property
    def eye_to_chin_px(self) -> float:
        """From between the eyes, through the middle of the mouth, to the border of the box.

        The detector marks no chin; its box ends there. Along the face's own axis the measure holds for tilted heads.
        """
        eyes, mouth = self.points[:2].mean(0), self.points[3:].mean(0)
        axis = (mouth - eyes) / max(float(np.linalg.norm(mouth - eyes)), 1e-9)
        exits = [
            (self.box[side + (2 if along > 0 else 0)] - eyes[side]) / along
            for side, along in enumerate(axis)
            if abs(along) > 1e-9
        ]
        return max(0.0, float(min(exits, default=0.0)))


@dataclass(frozen=True)
class Likeness:
    """How alike the faces of two pictures are: cosine -1..1 of the worst-kept source face, None if there is none.

    eligible: the source shows a face that is large enough; if not, the pair says nothing of identity.
    reason: None, or why there is no similarity: "no_face_in_source", "faces_too_small", "no_face" (none in the
    output), "fewer_faces" (fewer than eligible ones in the source). The last two are failures of the output.
    pairs: (source face, output face, cosine), faces counted by falling score.
    """

    similarity: float | None
    eligible: bool
    reason: str | None
    pairs: tuple[tuple[int, int, float], ...]
    source_faces: int
    output_faces: int


class Detector:
    """YuNet (face_detection_yunet_2023mar.onnx): finds faces from about 10 pixels."""

    def __init__(self, path: str | Path, *, score: float = 0.6, overlap: float = 0.3, threads: int = 1) -> None:
        """score: faces below are dropped; overlap: of two boxes that share more, the better scored one stays.

        Raises MissingWeights without the file, WeightsError unless it has YuNet's twelve outputs.
        """
        if not (0 < score <= 1 and 0 < overlap <= 1):
            raise ConfigError(f"score={score}, overlap={overlap}: each in (0, 1] accepted; 0.6 and 0.3 are usual")
        self.path, self.score, self.overlap, self.threads = Path(path), score, overlap, threads
        self._session = open_session(self.path, threads=threads)
        missing = set(OUTPUTS) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise WeightsError(f"model={str(path)!r}: no output {', '.join(sorted(missing))}; YuNet of 2023 accepted")
        self._input = self._session.get_inputs()[0].name
        shape = self._session.get_inputs()[0].shape
        self._height, self._width = (side if isinstance(side, int) else 640 for side in shape[2:])

    def faces(self, pixels: np.ndarray) -> list[Face]:
        """The faces of a picture, best score first. Larger pictures than the network's input are shrunk to fit it."""
        padded, scale = self._letterbox(picture(pixels))
        blob = padded[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)  # BGR, 0 to 255
        outputs = dict(zip(OUTPUTS, self._session.run(list(OUTPUTS), {self._input: blob}), strict=True))
        boxes, points, scores = decode(outputs, width=self._width, height=self._height, least=self.score)
        boxes, points = boxes / np.tile(scale, 2), points / scale
        return [Face(boxes[i], points[i], float(scores[i])) for i in suppress(boxes, scores, self.overlap)]

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        file = {"file": self.path.name, "sha256": checksum(self.path)}
        return {**file, "score": self.score, "overlap": self.overlap, **describe_runtime(threads=self.threads)}

    def _letterbox(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture at the top left of a black one of the network's size, and its scale (x, y), at most 1."""
        import cv2

        height, width = pixels.shape[:2]
        scale = min(1.0, self._width / width, self._height / height)
        new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
        if scale < 1:
            pixels = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_AREA)
        padded = np.zeros((self._height, self._width, 3), np.uint8)
        padded[:new_height, :new_width] = pixels
        return padded, np.array([new_width / width, new_height / height])


def decode(
    outputs: dict[str, np.ndarray], *, width: int, height: int, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4), points (n, 5, 2) and scores (n,) ≥ `least` of YuNet's twelve outputs, in input pixels.

    Each cell of each stride proposes one face: its centre and points in cells from the cell's corner, its size as the
    logarithm of cells; the score is the geometric mean of class and object score. Source: OpenCV, FaceDetectorYN.
    """
    boxes, points, scores = [], [], []
    for stride in STRIDES:
        across, down = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        cells = np.stack([across, down], -1).reshape(-1, 2).astype(float)
        parts = {kind: outputs[f"{kind}_{stride}"].reshape(len(cells), -1) for kind in ("cls", "obj", "bbox", "kps")}
        score = np.sqrt(np.clip(parts["cls"][:, 0], 0, 1) * np.clip(parts["obj"][:, 0], 0, 1))
        good = score >= least
        centre = (cells[good] + parts["bbox"][good, :2]) * stride
        half = np.exp(parts["bbox"][good, 2:].astype(float)) * stride / 2
        boxes.append(np.hstack([centre - half, centre + half]))
        points.append((cells[good, None] + parts["kps"][good].reshape(-1, 5, 2)) * stride)
        scores.append(score[good])
    return np.concatenate(boxes), np.concatenate(points), np.concatenate(scores)


class Recogniser:
    """AuraFace (glintr100.onnx), or another recogniser of its form: an aligned crop → a unit vector."""

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        """Raises MissingWeights without the file, WeightsError unless it has one input (·, 3, 112, 112)."""
        self.path, self.threads = Path(path), threads
        self._session = open_session(self.path, threads=threads)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, 112, 112]:
            came = ", ".join(f"{entry.name} {entry.shape}" for entry in inputs)
            raise WeightsError(f"model={str(path)!r}: inputs {came}; one of (n, 3, 112, 112) accepted, as AuraFace has")
        self._input = inputs[0].name
        self.normalises_itself = _normalises_itself(self.path)

    def vector(self, crop: np.ndarray) -> np.ndarray:
        """The identity of one aligned crop uint8 (112, 112, 3): float32 (d,) of length 1.

        One at a time: the published graph promises no larger batch.
        """
        return self._vector(picture(crop, "crop"), self.normalises_itself)

    def margins(self, first: np.ndarray, again: np.ndarray, stranger: np.ndarray) -> tuple[float, float]:
        """How much more alike two aligned crops of one person are than two of strangers, in cosine: with the value
        range decided at load, and with the other one. The first should be the larger: a self-test of that decision.
        """
        margins = []
        for inside in (self.normalises_itself, not self.normalises_itself):
            a, b, c = (self._vector(picture(crop, "crop"), inside) for crop in (first, again, stranger))
            margins.append(float(a @ b - max(a @ c, b @ c)))
        return margins[0], margins[1]

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        values = "0 to 255" if self.normalises_itself else "(v - 127.5) / 127.5"
        file = {"file": self.path.name, "sha256": checksum(self.path)}
        return {**file, "values": values, **describe_runtime(threads=self.threads)}

    def _vector(self, crop: np.ndarray, inside: bool) -> np.ndarray:
        blob = crop.transpose(2, 0, 1)[None].astype(np.float32)
        if not inside:
            blob = (blob - 127.5) / 127.5
        vector = self._session.run(None, {self._input: blob})[0].reshape(-1)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)


class Faces:
    """Both networks together: the identity measure."""

    def __init__(self, detector: Detector, recogniser: Recogniser) -> None:
        self.detector, self.recogniser = detector, recogniser

    def embed(self, pixels: np.ndarray) -> tuple[list[Face], np.ndarray]:
        """The faces of a picture, best score first, and their unit vectors (n, d)."""
        faces = self.detector.faces(pixels)
        vectors = [self.recogniser.vector(aligned_crop(pixels, face.points)) for face in faces]
        return faces, np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)

    def identity(self, source: np.ndarray, output: np.ndarray) -> Likeness:
        """How well the output keeps every eligible face of the source (at least 48 pixels from eyes to chin).

        Faces are paired so that the sum of cosines is largest; the worst pair counts. Faces of any size in the output
        are candidates: a person may step back.
        """
        from scipy.optimize import linear_sum_assignment

        faces, vectors = self.embed(source)
        found, candidates = self.embed(output)
        large = [index for index, face in enumerate(faces) if face.eye_to_chin_px >= ELIGIBLE_PX]
        counts = {"source_faces": len(faces), "output_faces": len(found)}
        if not large:
            reason = "faces_too_small" if faces else "no_face_in_source"
            return Likeness(None, False, reason, (), **counts)
        if not found:
            return Likeness(None, True, "no_face", (), **counts)
        cosines = vectors[large] @ candidates.T
        rows, columns = linear_sum_assignment(cosines, maximize=True)
        pairs = tuple((large[r], int(c), float(cosines[r, c])) for r, c in zip(rows, columns, strict=True))
        if len(pairs) < len(large):
            return Likeness(None, True, "fewer_faces", pairs, **counts)
        return Likeness(min(cosine for *_, cosine in pairs), True, None, pairs, **counts)

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        parts = {"detector": self.detector.describe(), "recogniser": self.recogniser.describe()}
        return {**parts, "eligible_eye_to_chin_px": ELIGIBLE_PX}


def _normalises_itself(path: Path) -> bool:
    """Whether a subtraction and a multiplication are among the graph's first eight nodes: InsightFace's rule."""
    nodes = first_nodes(path, 8)
    has = {
        kind: any(operator == kind or name.startswith((kind, f"_{word}")) for name, operator in nodes)
        for kind, word in (("Sub", "minus"), ("Mul", "mul"))
    }
    return all(has.values())
