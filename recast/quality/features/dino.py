"""DINOv2's class token of a subject: likeness of characters that have no human face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recast.quality.features.pretrained import load
from recast.quality.features.regions import picture, square_crop


class Dino:
    """A DINOv2 network and its published preprocessing: shorter side to 256, bicubic, centre 224."""

    def __init__(self, folder: str | Path, *, device: str = "cpu") -> None:
        """Raises MissingWeights or WeightsError unless the folder holds a whole DINOv2 model."""
        self._parts = load(folder, "Dinov2Model", place="dinov2", with_text=False, device=device)

    def vector(
        self, pixels: np.ndarray, box: np.ndarray | tuple[float, float, float, float] | None = None
    ) -> np.ndarray:
        """The class token of the square around a box, or of the whole picture: float32 (d,) of length 1.

        Crop to the subject: of a whole picture, most of the vector is background.
        """
        import torch

        subject = picture(pixels) if box is None else square_crop(pixels, box)
        values = self._parts.processor(images=[subject], input_data_format="channels_last", return_tensors="pt")
        with torch.inference_mode():
            states = self._parts.network(pixel_values=values["pixel_values"].to(self._parts.device)).last_hidden_state
        token = states[0, 0].float().cpu().numpy()
        return token / max(float(np.linalg.norm(token)), 1e-12)

    def likeness(
        self,
        first: np.ndarray,
        second: np.ndarray,
        boxes: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> float:
        """The cosine, -1..1, of the subjects of two pictures; boxes: where they are in each."""
        first_box, second_box = boxes if boxes is not None else (None, None)
        return float(self.vector(first, first_box) @ self.vector(second, second_box))

    def describe(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        return {**self._parts.describe(), "resize": str(self._parts.processor.size)}
