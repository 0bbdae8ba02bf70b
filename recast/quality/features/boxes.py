"""A picture and a noun phrase → where the thing is, how many there are, and a mask: Grounding DINO, OWL-ViT, OWLv2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import ConfigError, InputError, WeightsError
from recast.quality.features.pretrained import load
from recast.quality.features.regions import picture, suppress, union_mask

# What each network was published with: how a phrase is put, and the score from which a box is kept.
NETWORKS = {
    "grounding-dino": ("{}.", 0.25),
    "owlvit": ("a photo of a {}", 0.1),
    "owlv2": ("a photo of a {}", 0.1),
}
ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True)
class Box:
    """One thing found: corners in pixels, right and bottom beyond the last one, and the score in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


class Finder:
    """An open-vocabulary detector. One phrase a pass, so that a score depends on no other phrase."""

    def __init__(
        self, folder: str | Path, *, score: float | None = None, overlap: float = 0.5, device: str = "cpu"
    ) -> None:
        """score: boxes below are dropped, None for the network's published limit. overlap: of two boxes that share
        more, the better scored one stays, so that one thing is counted once.

        Raises MissingWeights or WeightsError unless the folder holds one of the three networks.
        """
        self._parts = load(folder, "AutoModelForZeroShotObjectDetection", place="boxes", with_text=True, device=device)
        kind = self._parts.network.config.model_type
        if kind not in NETWORKS:
            raise WeightsError(f"boxes={str(folder)!r}: {kind} came; {', '.join(NETWORKS)} accepted; take one of them")
        self.kind, (self.template, published) = kind, NETWORKS[kind]
        self.score, self.overlap = published if score is None else score, overlap
        if not (0 < self.score < 1 and 0 < overlap <= 1):
            raise ConfigError(f"score={score}, overlap={overlap}: each between 0 and 1 accepted")
        self._most = int(self._parts.network.config.text_config.max_position_embeddings)
        if kind == "grounding-dino":
            self._most = min(self._most, int(self._parts.network.config.max_text_len))

    def find(self, pixels: np.ndarray, phrase: str) -> list[Box]:
        """The boxes of what the phrase names, best score first.

        Raises InputError for an empty phrase, or one longer than the network reads.
        """
        import torch

        pixels = picture(pixels)
        tokens = self._tokens(phrase)
        values = self._parts.processor(images=[pixels], input_data_format="channels_last", return_tensors="pt")
        with torch.inference_mode():
            found = self._parts.network(**tokens, **values.to(self._parts.device))
        scores = found.logits[0].sigmoid().max(-1).values.float().cpu().numpy()
        boxes = _corners(found.pred_boxes[0].float().cpu().numpy(), self.kind, *pixels.shape[1::-1])
        shows = (boxes[:, 2:] > boxes[:, :2]).all(1)  # OWLv2 sees its own padding too
        good = np.flatnonzero((scores > self.score) & shows)
        kept = good[suppress(boxes[good], scores[good], self.overlap)]
        return [Box(*map(float, (*boxes[i], scores[i]))) for i in kept]

    def count(self, pixels: np.ndarray, phrase: str) -> int:
        """How many of what the phrase names there are. Raises InputError like `find`."""
        return len(self.find(pixels, phrase))

    def mask(self, pixels: np.ndarray, phrase: str, *, margin: float = 0.02) -> np.ndarray:
        """bool (H, W): the union of the boxes and what lies within `margin` of the diagonal around them.

        All False where nothing was found: the caller decides what to measure instead. Raises InputError like `find`.
        """
        height, width = picture(pixels).shape[:2]
        boxes = [(box.left, box.top, box.right, box.bottom) for box in self.find(pixels, phrase)]
        return union_mask(np.array(boxes).reshape(-1, 4), width=width, height=height, margin=margin)

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        return {**self._parts.describe(), "prompt": self.template, "score": self.score, "overlap": self.overlap}

    def _tokens(self, phrase: str) -> Any:
        """The network's text inputs of one phrase: its noun without the article, in the published wording."""
        noun = phrase.strip().rstrip(".").lower()
        for article in ARTICLES:
            noun = noun.removeprefix(article)
        if not noun:
            raise InputError(f"phrase={phrase!r}: empty; a noun phrase accepted, such as 'red hat'")
        tokens = self._parts.tokenizer([self.template.format(noun)], return_tensors="pt")
        length = tokens["input_ids"].shape[1]
        if length > self._most:
            raise InputError(f"phrase={phrase[:40]!r}: {length} tokens; at most {self._most} accepted; shorten it")
        return tokens.to(self._parts.device)


def _corners(boxes: np.ndarray, kind: str, width: int, height: int) -> np.ndarray:
    """Relative centres and sizes (n, 4) as corners in pixels, cut at the picture's border.

    OWLv2 pads the picture to a square below and to the right, so its unit is the longer side; the others stretch it.
    """
    scale = np.full(4, max(width, height)) if kind == "owlv2" else np.array([width, height, width, height])
    corners = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2]) * scale
    return np.clip(corners, 0, np.array([width, height, width, height]))
