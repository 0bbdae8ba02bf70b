"""Pictures and captions in CLIP's common space: likeness, agreement, and the direction of an edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.quality.features.pretrained import load
from recast.quality.features.regions import picture

LEAST_DISTRACTORS = 9
STILL = 1e-6  # two unit vectors closer than float32 can tell apart point nowhere


@dataclass(frozen=True)
class Retrieval:
    """Whether an edit is told from others by its direction.

    success: the right caption has the largest cosine, alone, and the picture moved further than the floor.
    rank: 1 is best; a tie counts against the edit. chance: of a random picture to be first. cosines: right one first;
    None: a direction that does not exist, because nothing moved or two captions mean the same.
    """

    success: bool
    rank: int
    cosines: tuple[float | None, ...]
    moved: float
    floor: float
    chance: float


class Clip:
    """A CLIP network and its published preprocessing."""

    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        """Raises MissingWeights or WeightsError unless the folder holds a whole CLIP model."""
        self._parts = load(folder, "CLIPModel", place="clip", with_text=True, device=device)
        self._most = int(self._parts.network.config.text_config.max_position_embeddings)

    def pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors (n, d), float32, of pictures of any sizes, resized and cropped as published."""
        import torch

        if not pictures:
            raise InputError("pictures: none came; at least one accepted")
        network = self._parts.network
        rows = []
        for index, pixels in enumerate(pictures):  # one at a time: sizes differ, and a batch moves the last digits
            given = picture(pixels, f"pictures[{index}]")
            values = self._parts.processor(images=[given], input_data_format="channels_last", return_tensors="pt")
            with torch.inference_mode():
                pooled = network.vision_model(pixel_values=values["pixel_values"].to(self._parts.device)).pooler_output
                rows.append(network.visual_projection(pooled)[0].float().cpu().numpy())
        return unit(np.stack(rows))

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (n, d), float32, of captions.

        Raises InputError for an empty caption, and for one that the network would read only the beginning of.
        """
        import torch

        if not texts:
            raise InputError("texts: none came; at least one caption accepted")
        network, rows = self._parts.network, []
        for text in texts:
            if not text.strip():
                raise InputError("texts: an empty caption came; say what the picture should show")
            tokens = self._parts.tokenizer([text], return_tensors="pt").to(self._parts.device)
            if tokens["input_ids"].shape[1] > self._most:
                long = f"{tokens['input_ids'].shape[1]} tokens came ({text[:40]!r}...)"
                raise InputError(
                    f"texts: {long}; at most {self._most} accepted, two of them marks; shorten the caption"
                )
            with torch.inference_mode():
                pooled = network.text_model(**tokens).pooler_output
                rows.append(network.text_projection(pooled)[0].float().cpu().numpy())
        return unit(np.stack(rows))

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        return self._parts.describe()


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) scaled to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """The cosine of two unit vectors (d,): CLIP-I of two pictures, CLIP-T of a picture and its caption."""
    return float(first @ second)


def direction(before: np.ndarray, after: np.ndarray, text_before: np.ndarray, text_after: np.ndarray) -> float | None:
    """CLIP-dir: cosine of the picture's move and the captions' move, from unit vectors (d,).

    None where either did not move: 0/0 is no agreement and no disagreement.
    Source: Gal et al. 2021 (arXiv:2108.00946), directional loss.
    """
    moved, asked = after - before, text_after - text_before
    lengths = float(np.linalg.norm(moved)), float(np.linalg.norm(asked))
    if min(lengths) < STILL:
        return None
    return float(moved @ asked) / (lengths[0] * lengths[1])


def retrieval(
    before: np.ndarray,
    after: np.ndarray,
    text_before: np.ndarray,
    right: np.ndarray,
    distractors: np.ndarray,
    *,
    floor: float,
) -> Retrieval:
    """Did the picture move the way the right caption says, rather than one of the others? All are unit vectors (d,).

    distractors: (k, d), k >= 9 captions of other edits of the same source. floor: how far the vector of the picture
    moves when it only goes through the autoencoder of the model under test; an edit has to move it further.
    Raises InputError for fewer distractors, or one that says what the right caption says.
    """
    distractors = np.asarray(distractors)
    if distractors.ndim != 2 or len(distractors) < LEAST_DISTRACTORS:
        raise InputError(f"distractors: {distractors.shape} came; at least ({LEAST_DISTRACTORS}, d) accepted; add more")
    if not floor >= 0:
        raise InputError(
            f"floor={floor}: a distance of at least 0 accepted; measure it on the autoencoder's own output"
        )
    if np.linalg.norm(distractors - right, axis=1).min() < STILL:
        raise InputError("distractors: one equals the right caption; other edits accepted; take another")
    cosines = tuple(direction(before, after, text_before, text) for text in (right, *distractors))
    own = -np.inf if cosines[0] is None else cosines[0]
    rank = 1 + sum(cosine is not None and cosine >= own for cosine in cosines[1:])
    if cosines[0] is None:
        rank = len(cosines)
    moved = float(np.linalg.norm(after - before))
    return Retrieval(rank == 1 and moved > floor, rank, cosines, moved, floor, 1 / len(cosines))
