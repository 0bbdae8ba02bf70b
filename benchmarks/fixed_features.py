"""Features of pictures from a network that no training here moves: for KID, and for how much seeds differ.

DINOv2's class token where its files are at hand (`recast.quality.features`). Else the encoder of `nano`'s autoencoder,
frozen, after its middle block: mean of each quarter of the picture and deviation over all of it, channel by channel. It
sees texture, colour and layout, and knows little of what things are.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import recast
from recast.pixels import geometry, image
from recast.world.folder import write_whole


class Extractor(Protocol):
    """about: what decides the features, in words."""

    about: str

    def features(self, picture: np.ndarray) -> np.ndarray:
        """Features (d,) of a picture (H, W, 3) uint8 of any size."""
        ...


def find(models: Path | None, device: str = "cpu") -> Extractor:
    """DINOv2 from a folder of models, if it lies there; else the encoder of nano."""
    if models is not None:
        from recast.quality.features.files import Models

        if Models.within(models).available()["dino"].ready:
            return DinoToken(models / "dinov2", device)
    return NanoEncoder(device)


class DinoToken:
    """The class token of the whole picture."""

    def __init__(self, folder: Path, device: str) -> None:
        from recast.quality.features.dino import Dino

        self._dino = Dino(folder, device=device)
        self.about = f"DINOv2 class token, {self._dino.describe()}"

    def features(self, picture: np.ndarray) -> np.ndarray:
        return self._dino.vector(picture)


class NanoEncoder:
    """What nano's frozen encoder has after its middle block."""

    def __init__(self, device: str) -> None:
        model = recast.load("nano", device=device, dtype="fp32")
        self._encoder, self._multiple, self._device = model.autoencoder, model.config.pixels_per_token, model.device
        self._seen: list[Tensor] = []
        self._encoder.encoder.mid.register_forward_hook(lambda module, given, found: self._seen.append(found[0]))
        digest = next(each for name, each in model.checksums().items() if name.startswith("autoencoder"))
        self.about = f"encoder of nano ({digest[:12]}) after its middle block"

    @torch.inference_mode()
    def features(self, picture: np.ndarray) -> np.ndarray:
        fit = geometry.own_size(picture.shape[1], picture.shape[0], self._multiple)
        self._encoder.encode(image.to_pixels(geometry.apply(fit, picture)).to(self._device))
        (seen,) = [self._seen.pop()]
        quarters = F.adaptive_avg_pool2d(seen, 2).flatten()
        return torch.cat([quarters, seen.std(dim=(2, 3)).flatten()]).float().cpu().numpy()


class Kept:
    """Features by the hash of the picture's pixels, kept in a file of a run: nothing is looked at twice."""

    def __init__(self, extractor: Extractor, path: Path) -> None:
        self.extractor, self.path = extractor, path
        self._known: dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path) as found:
                if str(found["about"]) == extractor.about:
                    self._known = dict(zip(found["hashes"].tolist(), found["features"], strict=True))

    def of(self, pictures: Iterable[np.ndarray | None]) -> list[np.ndarray | None]:
        """The features (d,) of each picture (H, W, 3) uint8, in their order; None where there is no picture."""
        before = len(self._known)
        found: list[np.ndarray | None] = []
        for picture in pictures:
            if picture is None:
                found.append(None)
                continue
            digest = image.Picture(rgb=picture).sha256()
            if digest not in self._known:
                self._known[digest] = self.extractor.features(picture)
            found.append(self._known[digest])
        if len(self._known) > before:
            held = io.BytesIO()
            names = np.array(list(self._known))
            np.savez(held, about=self.extractor.about, hashes=names, features=np.stack(list(self._known.values())))
            write_whole(self.path, held.getvalue())
        return found
