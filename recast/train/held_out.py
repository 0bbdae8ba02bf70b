"""How good an autoencoder is, on fixed pictures: as it is used, in float32, by the mean latents, with 8-bit results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from recast.errors import InputError
from recast.latents.autoencoder import Autoencoder
from recast.pixels.image import from_pixels, to_pixels
from recast.train import reconstruction
from recast.train.reconstruction import Perceptual, Weights
from recast.train.regularise import Codebook

TRIPS = 5  # encodings and decodings in a row: five turns of editing
AT_ONCE = 16  # pictures
SHOWN = 8

Measure = Callable[[int, np.ndarray], float | None]
"""Of held-out picture number i, as reconstructed (H, W, 3) uint8, some number; None where it has none."""


class HeldOut:
    """Pictures never trained on, in groups of one size."""

    def __init__(
        self, pictures: Sequence[np.ndarray], device: torch.device, measures: Mapping[str, Measure] | None = None
    ) -> None:
        """pictures: (H, W, 3) uint8. Raises InputError for none, or for sides that are not multiples of 16."""
        if not pictures:
            raise InputError("held_out: no picture came; at least one needed; draw some from the held-out split")
        sizes: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pictures):
            if picture.ndim != 3 or any(side % 16 for side in picture.shape[:2]):
                raise InputError(
                    f"held_out: picture {number} is {picture.shape}; (H, W, 3) with sides that are multiples of 16 "
                    "accepted; crop it (recast.pixels.geometry)"
                )
            sizes.setdefault(picture.shape, []).append(number)
        self.groups = [
            (numbers[i : i + AT_ONCE], np.stack([pictures[n] for n in numbers[i : i + AT_ONCE]]))
            for numbers in sizes.values()
            for i in range(0, len(numbers), AT_ONCE)
        ]
        self.device, self.measures = device, dict(measures or {})

    @torch.no_grad()
    def numbers(
        self, autoencoder: Autoencoder, weights: Weights, perceptual: Perceptual | None = None
    ) -> dict[str, float]:
        """Means over the pictures.

        loss: of the reconstruction. psnr (dB) and ssim: of the 8-bit result. drift: dB lost from the first of five
        round trips to the last, 8 bits between them. std/i: of channel i of the normalised latents, over all pictures;
        std_least, std_most: of them. Measures by their names, over the pictures that have them.
        """
        rows: dict[str, list[Tensor]] = {"loss": [], "psnr": [], "ssim": [], "drift": []}
        measured: dict[str, list[float]] = {name: [] for name in self.measures}
        moments: list[Tensor] = []
        for numbers, pixels in self._pixels():
            latents = autoencoder.encode(pixels)
            channels = latents.double().transpose(0, 1).flatten(1)
            counts = torch.full((len(channels),), float(channels.shape[1]), device=self.device, dtype=torch.float64)
            moments.append(torch.stack([counts, channels.sum(1), channels.square().sum(1)]))
            decoded = autoencoder.decode(latents)
            loss, _ = reconstruction.loss(decoded, pixels, weights, perceptual)
            once = trip = _eight_bits(decoded)
            for _ in range(TRIPS - 1):
                trip = _eight_bits(autoencoder.decode(autoencoder.encode(trip)))
            first = reconstruction.psnr(once, pixels)
            rows["loss"].append(loss.expand(len(pixels)))
            rows["psnr"].append(first)
            rows["ssim"].append(reconstruction.ssim(once, pixels))
            rows["drift"].append(first - reconstruction.psnr(trip, pixels))
            if self.measures:
                for number, picture in zip(numbers, from_pixels(once), strict=True):
                    for name, measure in self.measures.items():
                        value = measure(number, picture)
                        measured[name] += [] if value is None else [value]
        found = {name: float(torch.cat(values).mean()) for name, values in rows.items()}
        found |= {name: sum(values) / len(values) for name, values in measured.items() if values}
        count, total, squares = torch.stack(moments).sum(0)
        std = (squares / count - (total / count).square()).clamp(min=0).sqrt().tolist()
        found |= {"std_least": min(std), "std_most": max(std)}
        return found | {f"std/{channel}": value for channel, value in enumerate(std)}

    @torch.no_grad()
    def through(self, autoencoder: Autoencoder, book: Codebook) -> dict[str, float]:
        """psnr_quantised: as `psnr`, of latents rounded to the codebook. perplexity: of the codes, mean of groups."""
        values, used = [], []
        for _, pixels in self._pixels():
            mean, _ = autoencoder.encoder([pixels]).chunk(2, dim=1)
            quantised = book(mean)
            values.append(reconstruction.psnr(_eight_bits(autoencoder.decoder(quantised.latents)), pixels))
            used.append(quantised.perplexity)
        return {"psnr_quantised": float(torch.cat(values).mean()), "perplexity": float(torch.stack(used).mean())}

    @torch.no_grad()
    def strips(self, autoencoder: Autoencoder) -> dict[str, np.ndarray]:
        """Of the first pictures of each group, by its size: source, reconstruction, four times their difference."""
        made: dict[str, list[np.ndarray]] = {}
        for _, pixels in self._pixels():
            sources = from_pixels(pixels[:SHOWN])
            found = from_pixels(autoencoder.decode(autoencoder.encode(pixels[:SHOWN])))
            apart = np.abs(found.astype(np.int16) - sources.astype(np.int16))
            strips = np.concatenate([sources, found, (4 * apart).clip(0, 255).astype(np.uint8)], axis=2)
            made.setdefault(f"reconstruction_{sources.shape[2]}x{sources.shape[1]}", []).extend(strips)
        return {name: np.concatenate(strips[:SHOWN], axis=0) for name, strips in made.items()}

    def _pixels(self) -> Iterator[tuple[list[int], Tensor]]:
        for numbers, pictures in self.groups:
            yield numbers, torch.cat([to_pixels(picture) for picture in pictures]).to(self.device)


def _eight_bits(pixels: Tensor) -> Tensor:
    """Pixels as they are when written to a file and read again."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
