"""What the checks look with, as protocols: the caller passes real ones in, and what it has none of is reported absent.

No room knows another: face networks live in `recast.quality`, the world's own in `recast.world`, and `recast.cli`
joins them to this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from recast.thumbnails.boxes import Box


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face that was found: where, how sure (0..1), its identity vector (d,) of length 1.

    eyes: the two eyes as (x, y) shares of the frame, or none where the network marks none or sees them closed.
    """

    box: Box
    score: float
    identity: np.ndarray
    eyes: tuple[tuple[float, float], ...] = ()


class SeesFaces(Protocol):
    """A detector and a recogniser together. Cosines of identities compare with `limit`.

    name: of the recogniser, as calibrations and manifests record it. limit: the least cosine of two pictures of one
    person; calibrated to one false acceptance in a thousand. smallest_px: faces lower than this are not judged.
    """

    @property
    def name(self) -> str: ...
    @property
    def limit(self) -> float: ...
    @property
    def smallest_px(self) -> int: ...
    def faces(self, rgb: np.ndarray) -> Sequence[FoundFace]:
        """The faces of a picture (H, W, 3) uint8, largest first."""
        ...


@dataclass(frozen=True)
class ReadLine:
    """A line of text that was read: what it says, where, how sure (0..1)."""

    text: str
    box: Box
    score: float


class ReadsText(Protocol):
    """A reader of text in pictures. name: as manifests record it."""

    @property
    def name(self) -> str: ...
    def read(self, rgb: np.ndarray) -> Sequence[ReadLine]:
        """The lines of a picture (H, W, 3) uint8, from top to bottom."""
        ...


class Embeds(Protocol):
    """A picture to a vector whose cosine says how alike two pictures are. name: as manifests record it."""

    @property
    def name(self) -> str: ...
    def embed(self, rgb: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8 to a vector (d,) of length 1."""
        ...


@dataclass(frozen=True)
class Sight:
    """Everything the checks may look with; None where there is none. why: what to install or pass, by field."""

    faces: SeesFaces | None = None
    text: ReadsText | None = None
    style: Embeds | None = None
    why: dict[str, str] = field(default_factory=dict)
