"""What the checks of thumbnails look with: faces, text and style, joined from the rooms that have them.

A recogniser of faces is "world" (the people of the procedural world; the usual one where the model is a nano) or
"auraface:PATH" with a YuNet beside it, both from local files. Text is read by RapidOCR, if it is installed: its
networks lie in its package. Nothing is downloaded, and what is absent is said in `Sight.why`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.errors import ConfigError, InputError, MissingWeights

if TYPE_CHECKING:
    from recast.quality.features.faces import Detector, Recogniser
    from recast.thumbnails.seeing import Embeds, FoundFace, ReadLine, ReadsText, SeesFaces, Sight
    from recast.world.recogniser import WorldFaces

CHIN = 0.6
"""Of the height of a YuNet box, what lies between the eyes and the chin."""
FACES = "world, world:FILE, auraface:FILE or none"
READERS = "rapidocr or none"
READING = "text: pip install 'recast[reading]' brings RapidOCR with its networks"
SEEING = (
    "faces: pass a recogniser: --faces world for people of the procedural world, --faces auraface:glintr100.onnx "
    "--detector face_detection_yunet_2023mar.onnx for real ones, from local files"
)


def sight(
    model: str | Path = "nano",
    *,
    variant: str | None = None,
    faces: str | None = None,
    detector: str | Path | None = None,
    calibration: str | Path | None = None,
    read: str | None = None,
    style: bool = True,
) -> Sight:
    """Everything there is to look with.

    model, variant: the name or path of the model that makes the pictures, and which one its files hold where they do
    not tell; of a nano the people are known. faces: world, world:FILE, auraface:FILE, none, or None for world with a
    nano and none else. detector: YuNet's file, with auraface.
    calibration: a file of `thumbnails.calibration`, for the limit of the recogniser; None for the one beside its
    file (.json). read: rapidocr, none, or None for rapidocr if it is installed.
    Raises ConfigError for another word or a package that was named and is absent, MissingWeights for absent files,
    WeightsError for a model that is none, where faces are left to it.
    """
    from recast.thumbnails.seeing import Sight

    why: dict[str, str] = {}
    if faces is None and not has_world_people(name_of(model, variant)):
        why["faces"] = SEEING
    elif faces == "none":
        why["faces"] = "faces: --faces none was passed"
    if read is None and not _has_reader():
        why["text"] = READING
    elif read == "none":
        why["text"] = "text: --read none was passed"
    if not style:
        why["style"] = "style: it was left out"
    return Sight(
        faces=None if "faces" in why else _faces(faces or "world", detector, calibration),
        text=None if "text" in why else _reader(read or "rapidocr"),
        style=_style() if style else None,
        why=why,
    )


def has_world_people(name: str) -> bool:
    """Whether a model of this name (`ModelConfig.name`) makes people of the procedural world: nano and its kin."""
    return name.partition("-")[0] == "nano"


def name_of(model: str | Path, variant: str | None = None) -> str:
    """The name in the config of a model that is given by name or path. Reads headers alone.

    Raises MissingWeights for a path with nothing there, WeightsError for files that are no model or do not tell which.
    """
    from recast import models, weights

    known = models.find(str(model))
    return weights.read_config(model, variant=variant).name if known is None else known.config.name


def _faces(faces: str, detector: str | Path | None, calibration: str | Path | None) -> SeesFaces:
    kind, _, path = faces.partition(":")
    if kind not in ("world", "auraface") or (kind == "auraface" and not path):
        raise ConfigError(f"faces={faces!r}: {FACES} accepted; name one")
    if kind == "world":
        if detector is not None:
            raise ConfigError(
                f"detector={str(detector)!r}: came with faces={faces!r}, which needs none; auraface:FILE takes one; "
                "leave it out"
            )
        return WorldPeople(path or None, calibration=calibration)
    if detector is None:
        raise MissingWeights(
            f"detector: none came, and faces={faces!r} needs one; YuNet's face_detection_yunet_2023mar.onnx accepted; "
            "pass its path"
        )
    return AuraFaces(path, detector, calibration=calibration)


def _reader(read: str) -> ReadsText:
    if read != "rapidocr":
        raise ConfigError(f"read={read!r}: {READERS} accepted; name one")
    if not _has_reader():
        raise ConfigError(f"read='rapidocr': the package rapidocr is not installed; {READING.removeprefix('text: ')}")
    return RapidReader()


def _style() -> Embeds:
    from recast.thumbnails.style import Style

    return Style()


class WorldPeople:
    """`world.recogniser.WorldFaces` as the checks know faces (`thumbnails.seeing.SeesFaces`)."""

    def __init__(self, path: str | Path | None = None, *, calibration: str | Path | None = None) -> None:
        from recast.thumbnails.calibration import read_limit
        from recast.weights.files import checksum
        from recast.world.recogniser import WorldFaces

        self._world: WorldFaces = WorldFaces(path)
        self._limit = None if calibration is None else read_limit(calibration, network=checksum(self._world.path))
        self.name, self.smallest_px = self._world.name, self._world.smallest_px
        self.path = Path(self._world.path)

    @property
    def limit(self) -> float:
        return self._world.limit if self._limit is None else self._limit

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        """The faces of a picture (H, W, 3) uint8, largest first."""
        from recast.thumbnails.boxes import Box
        from recast.thumbnails.seeing import FoundFace

        found = []
        for face in self._world.faces(rgb):
            box = Box(face.box.left, face.box.top, face.box.right, face.box.bottom)
            found.append(FoundFace(box, face.score, face.identity, face.eyes))
        return found


class AuraFaces:
    """YuNet and AuraFace, or another recogniser of its form (`thumbnails.seeing.SeesFaces`).

    recogniser, detector: ONNX files. calibration: of `thumbnails.calibration`; None for RECOGNISER.json beside it.
    Raises MissingWeights for a file that is absent, WeightsError for one of another form, ConfigError without
    onnxruntime, InputError for the calibration of another recogniser.
    """

    name = "auraface"

    def __init__(
        self, recogniser: str | Path, detector: str | Path, *, calibration: str | Path | None = None, threads: int = 1
    ) -> None:
        from recast.quality.features.faces import ELIGIBLE_PX, Detector, Recogniser

        self.path = Path(recogniser)
        self._recogniser: Recogniser = Recogniser(recogniser, threads=threads)
        self._detector: Detector = Detector(detector, threads=threads)
        self._calibration = None if calibration is None else Path(calibration)
        self.smallest_px = round(ELIGIBLE_PX / CHIN)
        if calibration is not None:
            _ = self.limit  # a wrong file is told at once

    @cached_property
    def limit(self) -> float:
        """Raises MissingWeights if nobody has calibrated this recogniser: no published limit holds everywhere."""
        from recast.thumbnails.calibration import read_limit
        from recast.weights.files import checksum

        file = self._calibration or self.path.with_suffix(".json")
        if not file.is_file():
            raise MissingWeights(
                f"calibration: {str(file)!r} is not there; the limit of a recogniser is measured on known people; "
                "calibrate it with a folder of pictures for each of some people, or set identity_min in the kit"
            )
        return read_limit(file, network=checksum(self.path))

    def faces(self, rgb: np.ndarray) -> list[FoundFace]:
        """The faces of a picture (H, W, 3) uint8, largest first. YuNet marks eyes also where they are closed."""
        from recast.quality.features.alignment import aligned_crop
        from recast.thumbnails.boxes import Box
        from recast.thumbnails.seeing import FoundFace

        height, width = rgb.shape[:2]
        found = []
        for face in self._detector.faces(rgb):
            left, top, right, bottom = (float(side) for side in face.box)
            vector = self._recogniser.vector(aligned_crop(rgb, face.points))
            marked = tuple((float(x) / width, float(y) / height) for x, y in face.points[:2])
            box = Box.of_pixels(left, top, right, bottom, width=width, height=height)
            found.append(FoundFace(box, face.score, vector, marked))
        return sorted(found, key=lambda each: -each.box.area)


class RapidReader:
    """RapidOCR with the networks of its own package (`thumbnails.seeing.ReadsText`), loaded when first asked.

    least: lines that it is less sure of, 0..1, are left out. shorter_px: a picture is enlarged until its shorter side
    has so many pixels; RapidOCR's own 736 takes more than twice the time. threads: of each network.
    PaddleOCR's recogniser may leave out spaces between words that stand close: compare without them.
    """

    def __init__(self, *, least: float = 0.5, shorter_px: int = 480, threads: int = 1) -> None:
        if not 0 <= least <= 1 or shorter_px < 32 or threads < 1:
            raise ConfigError(
                f"least={least}, shorter_px={shorter_px}, threads={threads}: 0 to 1, 32 or more and 1 or more accepted"
            )
        self.least, self.shorter_px, self.threads = least, shorter_px, threads

    @cached_property
    def name(self) -> str:
        from importlib.metadata import version

        return f"rapidocr {version('rapidocr')}"

    @cached_property
    def characters(self) -> frozenset[str] | None:
        """Every character that the recogniser has learnt, as its file lists them; None where it lists none."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is not run
        session = onnxruntime.InferenceSession(
            str(_networks()[1]), sess_options=options, providers=["CPUExecutionProvider"]
        )
        listed = session.get_modelmeta().custom_metadata_map.get("character")
        return None if listed is None else frozenset(listed.splitlines())

    def read(self, rgb: np.ndarray) -> list[ReadLine]:
        """The lines of a picture (H, W, 3) uint8, from top to bottom, and from the left where they are level."""
        from recast.thumbnails.boxes import Box
        from recast.thumbnails.seeing import ReadLine

        height, width = _checked(rgb)
        made = self._engine(_bgr(rgb), use_det=True)
        if made.boxes is None or made.txts is None:
            return []
        lines = []
        for text, score, corners in zip(made.txts, made.scores, made.boxes, strict=True):
            (left, top), (right, bottom) = np.min(corners, 0), np.max(corners, 0)
            if text.strip() and score >= self.least and left < right and top < bottom:
                box = Box.of_pixels(float(left), float(top), float(right), float(bottom), width=width, height=height)
                lines.append(ReadLine(text, box, float(score)))
        return _in_order(lines)

    def read_line(self, rgb: np.ndarray) -> tuple[str, float]:
        """What a picture (H, W, 3) uint8 of one line of text says, and how sure, 0..1; "" and 0 for nothing.

        Ten times faster than `read`: nothing is searched for.
        """
        _checked(rgb)
        made = self._engine(_bgr(rgb), use_det=False)
        if not made.txts or not made.txts[0].strip():
            return "", 0.0
        return str(made.txts[0]), float(made.scores[0])

    @cached_property
    def _engine(self) -> Any:
        """Given the paths of its files it looks for no others: without, it would fetch what it misses."""
        from rapidocr import RapidOCR

        detector, recogniser = _networks()
        return RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,  # whether a line stands on its head: never in a thumbnail
                "Det.model_path": str(detector),
                "Rec.model_path": str(recogniser),
                "Det.limit_side_len": self.shorter_px,
                "EngineConfig.onnxruntime.intra_op_num_threads": self.threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )


def _networks() -> tuple[Path, Path]:
    """RapidOCR's detector and recogniser, from its package."""
    spec = find_spec("rapidocr")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "models"
    return _only(folder, "*_det_*.onnx"), _only(folder, "*_rec_*.onnx")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise MissingWeights(
            f"rapidocr: {len(found)} files {pattern} in {folder}; one accepted, as its package has; install it again"
        )
    return found[0]


def _in_order(lines: list[ReadLine]) -> list[ReadLine]:
    """From top to bottom; of lines whose middles are within half a line's height, from the left."""
    rest, ordered = sorted(lines, key=lambda line: line.box.center[1]), []
    while rest:
        first = rest[0].box
        level = [each for each in rest if each.box.center[1] - first.center[1] < first.height / 2]
        ordered += sorted(level, key=lambda line: line.box.left)
        rest = rest[len(level) :]
    return ordered


def _checked(rgb: np.ndarray) -> Sequence[int]:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or min(rgb.shape[:2]) < 1:
        raise InputError(f"rgb: {rgb.dtype} {rgb.shape} came; uint8 (H, W, 3) accepted; convert the picture")
    return rgb.shape[:2]


def _bgr(rgb: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rgb[..., ::-1])


def _has_reader() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None
