"""Who is it? The faces of the world's people in any picture, and a unit vector for each that says whose it is.

The networks are `identity_network`'s, trained by `recipes/identity.sh`; their file lies in the package with what was
measured of it: `identity.safetensors` and `identity.json` in recast/nano. They know people of the world, by IDENTITY of
`scene`, and nobody else: of a photograph they say nothing worth having.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.nn import functional as F

from recast.errors import ConfigError, InputError, MissingWeights, WeightsError
from recast.weights.files import checksum, few, read_header
from recast.world.faces import FaceBox, crop, eyes, to_grid
from recast.world.folder import write_whole
from recast.world.identity_network import STRIDE, USUAL_PX, IdentityNetwork, folded

OWN = Path(__file__).parent.parent / "nano" / "identity.safetensors"
SCORE = 0.4
"""Centres that the finder is less sure of are left out."""
OVERLAP = 0.4
"""Of two boxes that share more of their area, the surer one stays."""
MOST = 64
"""Faces told apart in one picture."""
SMALLEST_PX = 14
"""Height from forehead to chin below which a face says too little of whose it is."""


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A face that was found: where, how sure (0..1), its identity vector (64,) of length 1.

    eyes: both as (x, y) shares of the picture; none where they are hidden, as behind sunglasses.
    """

    box: FaceBox
    score: float
    identity: np.ndarray
    eyes: tuple[tuple[float, float], ...] = ()


class WorldFaces:
    """Finder and recogniser of the world's people (`recast.thumbnails.seeing.SeesFaces`, in attributes).

    path: of the networks, the package's own unless given. limit: the least cosine of two pictures of one person; None
    for the calibrated one beside the file. score: how sure the finder has to be.
    Raises MissingWeights without the file, WeightsError for another one, ConfigError for a score outside (0, 1].
    """

    name = "world"
    smallest_px = SMALLEST_PX

    def __init__(self, path: str | Path | None = None, *, limit: float | None = None, score: float = SCORE) -> None:
        if not 0 < score <= 1:
            raise ConfigError(f"score={score}: a number above 0, at most 1, accepted; {SCORE} is usual")
        if limit is not None and not -1 <= limit <= 1:
            raise ConfigError(f"limit={limit}: a cosine from -1 to 1 accepted; None for the calibrated one")
        self.path, self.score, self._limit = OWN if path is None else Path(path), score, limit
        self._network = load(self.path)

    @cached_property
    def limit(self) -> float:
        """The least cosine of two pictures of one person: one pair of strangers in a thousand reaches it.

        Raises MissingWeights where no calibration lies beside the networks, WeightsError for that of other networks.
        """
        return float(calibration(self.path)["limit"]) if self._limit is None else self._limit

    def faces(self, rgb: np.ndarray) -> list[SeenFace]:
        """The faces of a picture (H, W, 3) uint8, largest first; the same numbers whatever else is running."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or min(rgb.shape[:2]) < 1:
            raise InputError(f"rgb: {rgb.dtype} {rgb.shape} came; uint8 (H, W, 3) accepted; convert the picture")
        found = self.find(rgb)
        if not found:
            return []
        vectors = self.vectors([crop(rgb, box) for box, *_ in found])
        height, width = rgb.shape[:2]
        seen = [
            SeenFace(box, score, vector, eyes(box, gap, width=width, height=height) if is_seen else ())
            for (box, score, gap, is_seen), vector in zip(found, vectors, strict=True)
        ]
        return sorted(seen, key=lambda face: -face.box.width * face.box.height)

    @torch.inference_mode()
    def find(self, rgb: np.ndarray) -> list[tuple[FaceBox, float, float, bool]]:
        """Of each face, surest first: its box, how sure, how far an eye is from its middle, whether eyes are seen."""
        pixels, across, down = to_grid(rgb)
        said = self._network.finder(_unit([pixels]))
        heat = torch.sigmoid(said.heat[0])
        is_peak = (heat == F.max_pool2d(heat[None], 3, 1, 1)[0]) & (heat >= self.score)
        rows, columns = (each.tolist() for each in torch.nonzero(is_peak, as_tuple=True))
        at = sorted(zip(rows, columns, strict=True), key=lambda cell: (-float(heat[cell]), cell))
        kept: list[tuple[FaceBox, float, float, bool]] = []
        width, height = rgb.shape[1] * across, rgb.shape[0] * down  # of the picture on the grid
        for row, column in at:
            offset, size = said.offset[0, row, column], USUAL_PX * said.size[0, row, column].clamp(-3, 3).exp()
            x, y = (STRIDE * (cell + 0.5 + float(each)) for cell, each in zip((column, row), offset, strict=True))
            wide, high = float(size[0]), float(size[1])
            left, top, right, bottom = x - wide / 2, y - high / 2, x + wide / 2, y + high / 2
            box = FaceBox(left / width, top / height, right / width, bottom / height)
            if len(kept) < MOST and box.within() > 0 and all(box.overlap(other) <= OVERLAP for other, *_ in kept):
                gap, is_seen = float(said.gap[0, row, column]), float(said.seen[0, row, column]) > 0
                kept.append((box, float(heat[row, column]), gap, is_seen))
        return kept

    @torch.inference_mode()
    def vectors(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """The identity of each crop (64, 64, 3) uint8 as `faces.crop` cuts them: (n, 64) float32, each of length 1.

        One at a time: a crop's vector is the same to the bit, however many others there are.
        """
        return np.concatenate([self._network.namer(_unit([each])).numpy() for each in crops])


def load(path: Path) -> IdentityNetwork:
    """The networks of a file, in fp32. Raises MissingWeights without it, WeightsError unless every tensor fits."""
    if not path.is_file():
        raise MissingWeights(
            f"faces={str(path)!r}: no such file; the networks that know the world's people are made by "
            "recipes/identity.sh; make them, or name their file"
        )
    network = IdentityNetwork(is_folded=True)
    own = network.state_dict()
    stored = {name: tuple(each.shape) for name, each in read_header(path).tensors.items()}
    strange = [name for name in {*own, *stored} if name not in own or stored.get(name) != tuple(own[name].shape)]
    if strange:
        raise WeightsError(
            f"faces={str(path)!r}: tensors that are missing, unexpected or of another shape: {few(strange)}; a file "
            "of recipes/identity.sh accepted"
        )
    tensors = {name: each.float() for name, each in load_file(path).items()}
    if not all(bool(each.isfinite().all()) for each in tensors.values()):
        raise WeightsError(f"faces={str(path)!r}: numbers that are not finite; a file of recipes/identity.sh accepted")
    network.load_state_dict(tensors)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def save(network: IdentityNetwork, path: Path) -> Path:
    """Write trained networks, folded and in bf16, whole or not at all, and return the path."""
    state = folded(network).state_dict()
    tensors = {name: each.to(torch.bfloat16).contiguous() for name, each in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_bytes(tensors, {"format": "pt", "recast": "identity"}))
    return path


def calibration(path: Path = OWN) -> dict[str, Any]:
    """What was measured of the networks at `path`: the JSON file beside them, as benchmarks/identity_calibration.py
    writes it. Raises MissingWeights if there is none, WeightsError if it is of other networks or broken.
    """
    file = path.with_suffix(".json")
    remedy = "run benchmarks/identity_calibration.py, or pass a limit"
    try:
        measured: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        network, limit = measured["network"], measured["limit"]
    except FileNotFoundError:
        raise MissingWeights(f"limit: {str(file)!r} is not there, and no limit came; {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"limit: {str(file)!r} is no calibration ({error!r}); {remedy}") from None
    if network != checksum(path) or not isinstance(limit, int | float) or not -1 <= limit <= 1:
        raise WeightsError(f"limit: {str(file)!r} is of other networks than {path.name} or broken; {remedy}")
    return measured


def _unit(pictures: list[np.ndarray]) -> Tensor:
    """Pictures (H, W, 3) uint8 of one size as (n, 3, H, W) in [-1, 1], channels last in memory."""
    return (torch.from_numpy(np.stack(pictures)).float() / 127.5 - 1).permute(0, 3, 1, 2)
