"""Latents of unit scale: their mean and spread, channel by channel, and an autoencoder that has them built in.

A published autoencoder has one scale and one shift for all channels. Those of each channel are folded into the
encoder's last convolution and the decoder's first, so that files keep the published layout.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError, InputError, WeightsError
from recast.latents.autoencoder import Autoencoder
from recast.weights.files import arriving, checksum, read_json

SUFFIX = ".statistics.json"


@dataclass(frozen=True, kw_only=True)
class LatentStatistics:
    """Of latents as `Autoencoder.encode` gives them, one number a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pictures: int
    positions: int  # numbers that each channel's statistics are of

    @property
    def hash(self) -> str:
        """SHA-256 of the numbers, in hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@torch.no_grad()
def statistics(autoencoder: Autoencoder, batches: Iterable[Tensor]) -> LatentStatistics:
    """Mean and standard deviation of every channel, over pixels (b, 3, H, W) in [-1, 1], on the autoencoder's device.

    Ten thousand crops are enough. Sums are in float64 and merged batch by batch, so that their number does not matter.
    Raises InputError for no batch, or for latents that are not finite. Source: Chan, Golub and LeVeque 1983.
    """
    pictures, count = 0, 0
    mean = spread = torch.zeros(autoencoder.config.z_channels, dtype=torch.float64)
    for pixels in batches:
        latents = autoencoder.encode(pixels).double().cpu().transpose(0, 1).flatten(1)
        if not latents.isfinite().all():
            raise InputError(
                f"batches: the latents of the batch after picture {pictures} are not finite; pixels in [-1, 1] and "
                "sound weights accepted; look at both"
            )
        more = latents.shape[1]
        off = latents.mean(1) - mean
        spread = (
            spread
            + (latents - latents.mean(1, keepdim=True)).square().sum(1)
            + off**2 * (count * more / (count + more))
        )
        mean = mean + off * (more / (count + more))
        count += more
        pictures += len(pixels)
    if not count:
        raise InputError("batches: none came; at least one batch of pixels needed; check where they come from")
    std = (spread / count).sqrt()
    return LatentStatistics(mean=tuple(mean.tolist()), std=tuple(std.tolist()), pictures=pictures, positions=count)


def normalised(
    autoencoder: Autoencoder, found: LatentStatistics, *, shifts: Literal["each", "shared"] = "shared"
) -> Autoencoder:
    """A copy whose latents have standard deviation 1 in every channel of those statistics.

    Scales are exact everywhere. The decoder's first convolution pads with zeros, that is with an encoder's value of 0,
    which is no longer the value 0 of a shifted latent; so there are two ways for shifts.
    each: means are 0, scale_factor is 1 and shift_factor 0. Inside, all is as it was; at the outermost latents the
    first convolution gives other values than before (by `border`), which its norms spread a little. A decoder that is
    trained on after this, with `decoder_only`, learns the new border.
    shared: shift_factor is one number, the mean of mean / std over channels; means are near 0 and not 0, and
    reconstructions are the same to rounding everywhere.
    Raises ConfigError for statistics that do not fit, or of a channel that is constant.
    """
    config = autoencoder.config
    if len(found.mean) != config.z_channels or len(found.std) != config.z_channels:
        raise ConfigError(
            f"statistics: {len(found.std)} channels; {config.z_channels} needed; take those of this autoencoder"
        )
    dead = [channel for channel, std in enumerate(found.std) if not std > 1e-6]
    if dead:
        raise ConfigError(
            f"statistics: channels {dead} are constant; a spread above 1e-6 needed; lower the weight of KL"
        )
    if shifts not in ("each", "shared"):
        raise ConfigError(f"shifts={shifts!r}: each or shared accepted; choose one")
    std, mean = _raw(autoencoder, found)
    one = 0.0 if shifts == "each" else float((mean / std).mean())
    shift = mean if shifts == "each" else torch.zeros_like(mean)  # subtracted by the convolution itself
    made = copy.deepcopy(autoencoder)
    made.config = replace(config, scale_factor=1.0, shift_factor=one)
    last, first = made.encoder.conv_out, made.decoder.conv_in
    assert last.bias is not None
    assert first.bias is not None
    with torch.no_grad():
        bias, weight = last.bias.double(), last.weight.double()
        ones = torch.ones_like(std)
        last.weight.copy_(weight / torch.cat([std, ones])[:, None, None, None])
        last.bias.copy_((bias - torch.cat([shift, 2 * std.log()])) / torch.cat([std, ones]))
        weight = first.weight.double()
        first.bias.copy_(first.bias.double() + (weight * shift[:, None, None]).sum((1, 2, 3)))
        first.weight.copy_(weight * std[:, None, None])
    return made


def border(autoencoder: Autoencoder, found: LatentStatistics) -> Tensor:
    """By how much shifts="each" changes the first convolution of the decoder just outside of a corner, (width, 3, 3).

    [:, i, j] is what the tap in row i, column j adds where it falls outside of the picture.
    """
    _, mean = _raw(autoencoder, found)
    return (autoencoder.decoder.conv_in.weight.detach().double() * mean[:, None, None]).sum(1)


def _raw(autoencoder: Autoencoder, found: LatentStatistics) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of what the encoder itself gives, float64 on its device."""
    config, device = autoencoder.config, autoencoder.encoder.conv_out.weight.device
    std, mean = (torch.tensor(part, dtype=torch.float64, device=device) for part in (found.std, found.mean))
    return std / config.scale_factor, mean / config.scale_factor + config.shift_factor


def write(found: LatentStatistics, weights: Path) -> Path:
    """Write the statistics beside a file of weights, with the hash of both; the path of what was written.

    Raises WeightsError if they are there already, MissingWeights if the weights are not.
    """
    content = {"weights_sha256": checksum(weights), "hash": found.hash, **asdict(found)}
    path = weights.with_suffix(SUFFIX)
    with arriving(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read(weights: Path) -> LatentStatistics:
    """The statistics beside a file of weights. Raises WeightsError if they are of other weights, or were changed."""
    path = weights.with_suffix(SUFFIX)
    content = read_json(path)
    own = checksum(weights)
    try:
        said, hashed = content.pop("weights_sha256"), content.pop("hash")
        found = LatentStatistics(
            mean=tuple(content["mean"]),
            std=tuple(content["std"]),
            pictures=content["pictures"],
            positions=content["positions"],
        )
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path.name}: not latent statistics ({error}); measure them again") from None
    if said != own or hashed != found.hash:
        what = "of other weights" if said != own else "changed after they were written"
        raise WeightsError(f"{path.name}: {what}; those of {weights.name} ({own[:12]}) needed; measure them again")
    return found
