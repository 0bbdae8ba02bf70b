"""The local models of a run, each loaded when it is first asked, and what they saw in a picture, seen once.

Four systems are scored on one source: its lines, boxes, faces and vectors are the same for all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.errors import ConfigError
from recast.quality.features.files import Availability, Models

if TYPE_CHECKING:
    from recast.quality.features.boxes import Finder
    from recast.quality.features.clip import Clip
    from recast.quality.features.dino import Dino
    from recast.quality.features.faces import Faces, Likeness
    from recast.quality.features.judge import Judge
    from recast.quality.features.perceptual import Lpips
    from recast.quality.features.reading import Reader

JUDGE_FILE = "judge.json"
MOST = 4096
"""Answers remembered; a line of text, a few boxes or a vector each."""


class Sight:
    """What the models of a folder see. Ask only for what `why_not` gives None for."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.state: Mapping[str, Availability] = models.available()
        self._seen: dict[tuple[str, str, str], Any] = {}

    @classmethod
    def within(cls, folder: Path | None) -> Sight:
        """The models of a folder laid out as `features.files` says, and of its judge.json: {"url": …, "model": …}.

        None: no models. Raises MissingWeights if there is no such folder, ConfigError for a judge.json of another form.
        """
        if folder is None:
            return cls(Models())
        return cls(Models.within(folder, **_judge(Path(folder) / JUDGE_FILE)))

    def why_not(self, measure: str) -> str | None:
        """Why a measure (identity, clip, dino, lpips, ocr, boxes, judge) cannot be taken; None if it can."""
        state = self.state[measure]
        return None if state.ready else f"{measure}: {state.reason}"

    def stamp(self, measure: str) -> str:
        """Which files, or which judge, a measure was taken with: 12 digits of a hash."""
        files = self.state[measure].files or {}
        text = json.dumps(self.judge.describe() if measure == "judge" else files, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def lines(self, picture: np.ndarray) -> list[str]:
        """What is written in the picture, line by line."""
        found: list[str] = self._once("ocr", "", picture, lambda: [line.text for line in self.reader.lines(picture)])
        return found

    def boxes(self, picture: np.ndarray, phrase: str) -> np.ndarray:
        """Where the thing is: (n, 4), left, top, right, bottom, best score first."""

        def find() -> np.ndarray:
            found = self.finder.find(picture, phrase)
            return np.array([(box.left, box.top, box.right, box.bottom) for box in found]).reshape(-1, 4)

        boxes: np.ndarray = self._once("boxes", phrase, picture, find)
        return boxes

    def has_face(self, picture: np.ndarray) -> bool:
        """Whether a face is large enough to be held to its identity."""
        from recast.quality.features.faces import ELIGIBLE_PX

        def look() -> bool:
            return any(face.eye_to_chin_px >= ELIGIBLE_PX for face in self.faces.detector.faces(picture))

        return bool(self._once("identity", "", picture, look))

    def likeness(self, source: np.ndarray, output: np.ndarray) -> Likeness:
        return self.faces.identity(source, output)

    def vector(self, picture: np.ndarray) -> np.ndarray:
        """The picture in CLIP's space (d,), of length 1."""
        vector: np.ndarray = self._once("clip", "", picture, lambda: self.clip.pictures([picture])[0])
        return vector

    def captions(self, texts: Sequence[str]) -> np.ndarray:
        """The captions in CLIP's space (n, d), of length 1 each. Raises InputError for one that is too long."""
        key = ("clip", "captions", "\n".join(texts))
        if key not in self._seen:
            self._keep(key, self.clip.texts(texts))
        vectors: np.ndarray = self._seen[key]
        return vectors

    @cached_property
    def reader(self) -> Reader:
        from recast.quality.features.reading import Reader

        assert self.models.ocr is not None
        return Reader(self.models.ocr)

    @cached_property
    def finder(self) -> Finder:
        from recast.quality.features.boxes import Finder

        assert self.models.boxes is not None
        return Finder(self.models.boxes)

    @cached_property
    def clip(self) -> Clip:
        from recast.quality.features.clip import Clip

        assert self.models.clip is not None
        return Clip(self.models.clip)

    @cached_property
    def dino(self) -> Dino:
        from recast.quality.features.dino import Dino

        assert self.models.dino is not None
        return Dino(self.models.dino)

    @cached_property
    def lpips(self) -> Lpips:
        from recast.quality.features.perceptual import Lpips

        assert self.models.lpips is not None
        return Lpips(self.models.lpips)

    @cached_property
    def faces(self) -> Faces:
        from recast.quality.features.faces import Detector, Faces, Recogniser

        assert self.models.yunet is not None
        assert self.models.auraface is not None
        return Faces(Detector(self.models.yunet), Recogniser(self.models.auraface))

    @cached_property
    def judge(self) -> Judge:
        from recast.quality.features.judge import Judge

        assert self.models.judge_url is not None
        assert self.models.judge_model is not None
        return Judge(self.models.judge_url, self.models.judge_model)

    def _once(self, measure: str, what: str, picture: np.ndarray, see: Callable[[], Any]) -> Any:
        key = (measure, what, hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest())
        if key not in self._seen:
            self._keep(key, see())
        return self._seen[key]

    def _keep(self, key: tuple[str, str, str], seen: Any) -> None:
        if len(self._seen) >= MOST:
            self._seen.pop(next(iter(self._seen)))  # the oldest
        self._seen[key] = seen


def _judge(path: Path) -> dict[str, str]:
    """judge_url and judge_model of a judge.json; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text())
        return {"judge_url": str(data["url"]), "judge_model": str(data["model"])}
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f'judge={str(path)!r}: {type(error).__name__} ({error}); {{"url": …, "model": …}} accepted; mend the file'
        ) from None
