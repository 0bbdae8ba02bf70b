"""How far a reconstruction is from its picture: the autoencoder's losses on pixels, and the numbers they end in.

Pixels are (b, 3, H, W) in [-1, 1], computed in float32 whatever comes. Every loss is a mean, so that its size depends
on neither the batch nor the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from recast.errors import ConfigError, ShapeError

BLOCK = 8  # pixels along one side of a block of the cosine transform
WINDOW = 11  # pixels along one side of the window of structural similarity
SIGMA = 1.5  # of that window
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first; those used are made to add up to 1
SCALES = (1.0, 0.5, 0.25)  # what a scale of 1, 1/2, 1/4 weighs in the losses over several

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""A learned distance of two batches of pixels: a scalar, or one number a picture."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What each part of the reconstruction loss weighs; 0 leaves it out."""

    pixel: float = 1.0
    gradient: float = 0.5  # edges; without it flat pictures are blurred
    frequency: float = 0.25
    structure: float = 0.25  # 1 - MS-SSIM
    perceptual: float = 0.5  # of the distance the caller passes; of none without it
    charbonnier: float = 1e-3  # below this a difference counts by its square; 0 for L1
    scales: int = 3  # of MS-SSIM: the shorter side must be at least 11 * 2^(scales - 1) pixels

    def __post_init__(self) -> None:
        for each in fields(self):
            if not (math.isfinite(getattr(self, each.name)) and getattr(self, each.name) >= 0):
                raise ConfigError(f"{each.name}={getattr(self, each.name)}: a number from 0 accepted; mend the weights")
        if not 1 <= self.scales <= len(EXPONENTS):
            raise ConfigError(f"scales={self.scales}: 1 to {len(EXPONENTS)} accepted; 3 suits crops of 64 pixels")
        if not any((self.pixel, self.gradient, self.frequency, self.structure)):
            raise ConfigError(
                "pixel, gradient, frequency, structure: all are 0; one above 0 needed; nothing else keeps the picture"
            )


def loss(
    reconstruction: Tensor, pixels: Tensor, weights: Weights, perceptual: Perceptual | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, a scalar with its graph, and its parts before weighting, without graphs.

    Raises ShapeError for two shapes that differ, or that a part cannot take.
    """
    _check(reconstruction, pixels)
    reconstruction, pixels = reconstruction.float(), pixels.float()
    parts: dict[str, Tensor] = {}
    if weights.pixel:
        parts["pixel"] = pixel(reconstruction, pixels, weights.charbonnier)
    if weights.gradient:
        parts["gradient"] = gradient(reconstruction, pixels)
    if weights.frequency:
        parts["frequency"] = frequency(reconstruction, pixels)
    if weights.structure:
        parts["structure"] = 1 - ms_ssim(reconstruction, pixels, weights.scales).mean()
    if weights.perceptual and perceptual is not None:
        parts["perceptual"] = perceptual(reconstruction, pixels).float().mean()
    total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return total, {name: value.detach() for name, value in parts.items()}


def pixel(reconstruction: Tensor, pixels: Tensor, charbonnier: float = 1e-3) -> Tensor:
    """The mean of sqrt(difference^2 + charbonnier^2) - charbonnier, over three scales; L1 if charbonnier is 0.

    Source: Charbonnier et al. 1994; Lai et al. 2017 (arXiv 1704.03915), section 3.
    """
    total = pixels.new_zeros(())
    for scale, (ours, theirs) in zip(SCALES, _scales(reconstruction, pixels), strict=True):
        apart = ours - theirs
        if charbonnier:
            apart = torch.sqrt(apart.square() + charbonnier**2) - charbonnier
        total = total + scale * apart.abs().mean()
    return total


def gradient(reconstruction: Tensor, pixels: Tensor) -> Tensor:
    """L1 of the differences between neighbours, across and down, over three scales.

    Source: Mathieu et al. 2016 (arXiv 1511.05440), section 3.2, with exponent 1, of signed differences.
    """
    total = pixels.new_zeros(())
    for scale, (ours, theirs) in zip(SCALES, _scales(reconstruction, pixels), strict=True):
        apart = ours - theirs
        total = total + scale * (apart.diff(dim=-1).abs().mean() + apart.diff(dim=-2).abs().mean()) / 2
    return total


def frequency(reconstruction: Tensor, pixels: Tensor) -> Tensor:
    """L1 of the cosine transform of 8 x 8 blocks, weighted from 1/8 at the mean to 1 from the middle frequencies on.

    Source: the transform of JPEG (ITU-T T.81, annex A.3.3).
    """
    coefficients = block_dct(reconstruction - pixels)
    order = torch.arange(BLOCK, device=pixels.device)
    weights = ((1 + order[:, None] + order[None, :]) / BLOCK).clamp(max=1)
    return (weights * coefficients.abs()).mean()


def block_dct(x: Tensor) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of every 8 x 8 block of x (b, c, H, W): (b, c, H/8, W/8, 8, 8).

    The last two axes are the frequencies down and across. Raises ShapeError unless H and W are multiples of 8.
    """
    if any(side % BLOCK for side in x.shape[-2:]):
        raise ShapeError(f"x: height and width must be multiples of {BLOCK}; got {tuple(x.shape)}; crop it first")
    blocks = rearrange(x.float(), "b c (h p) (w q) -> b c h w p q", p=BLOCK, q=BLOCK)
    cosines = _cosines(x.device)
    with torch.autocast(x.device.type, enabled=False):
        return cosines @ blocks @ cosines.T


@lru_cache(maxsize=8)
def _cosines(device: torch.device) -> Tensor:
    """Rows are frequencies, columns pixels: an orthogonal matrix (8, 8)."""
    place = torch.arange(BLOCK, dtype=torch.float64)
    rows = torch.cos(math.pi / BLOCK * (place[None, :] + 0.5) * place[:, None]) * math.sqrt(2 / BLOCK)
    rows[0] = math.sqrt(1 / BLOCK)
    return rows.to(device, torch.float32)


def ms_ssim(a: Tensor, b: Tensor, scales: int = 3) -> Tensor:
    """The structural similarity of each picture over `scales` halvings, (b,); 1 for equal pictures.

    Contrast and structure at every scale, luminance at the coarsest alone; what falls below 1e-4 counts as 1e-4.
    Raises ShapeError if the coarsest scale does not hold a window. Source: Wang, Simoncelli and Bovik 2003, equation 7.
    """
    _check(a, b)
    least = WINDOW * 2 ** (scales - 1)
    if min(a.shape[-2:]) < least:
        raise ShapeError(
            f"pixels: {tuple(a.shape)} came; {least} pixels a side needed for {scales} scales; "
            "take larger crops or fewer scales"
        )
    exponents = torch.tensor(EXPONENTS[:scales], device=a.device)
    exponents = exponents / exponents.sum()
    similarity = torch.ones(a.shape[:2], device=a.device)
    a, b = a.float(), b.float()
    for scale in range(scales):
        luminance, structure = _ssim_parts(a, b)
        last = scale == scales - 1
        mean = ((luminance * structure) if last else structure).mean(dim=(-2, -1))
        similarity = similarity * mean.clamp(min=1e-4) ** exponents[scale]
        if not last:
            a, b = _halved(a), _halved(b)
    return similarity.mean(dim=1)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """The structural similarity of each picture, (b,): mean over channels and the windows that lie inside.

    Source: Wang et al. 2004, IEEE Transactions on Image Processing 13 (4), section III.
    """
    _check(a, b)
    if min(a.shape[-2:]) < WINDOW:
        raise ShapeError(f"pixels: {tuple(a.shape)} came; {WINDOW} pixels a side needed; take larger pictures")
    luminance, structure = _ssim_parts(a.float(), b.float())
    return (luminance * structure).mean(dim=(1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of each picture in dB, (b,); at most 100, which equal pictures have."""
    _check(a, b)
    error = (a.double() - b.double()).square().mean(dim=(1, 2, 3)) / 4  # of levels in 0..1
    return (-10 * torch.log10(error.clamp(min=1e-10))).float()


def _ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, at every window inside: (b, 3, H - 10, W - 10).

    Luminance is a ratio, so levels count from black: 0 to 2.
    """
    a, b = a + 1, b + 1
    with torch.autocast(a.device.type, enabled=False):
        both = torch.cat([a, b, a * a, b * b, a * b])
        mean_a, mean_b, aa, bb, ab = _windowed(both).chunk(5)
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    variance_a, variance_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_a + variance_b + c2)


def _windowed(x: Tensor) -> Tensor:
    """The Gaussian mean over every window inside x (b, c, H, W), in full float32.

    Variances are small differences of such means. On a GPU a channels-last x would go to cuDNN, which may round it to
    ten bits (TF32) first; a contiguous one does not.
    """
    x = x.contiguous()
    place = torch.arange(WINDOW, device=x.device) - WINDOW // 2
    window = torch.exp(-(place**2) / (2 * SIGMA**2))
    window = window / window.sum()
    channels = x.shape[1]
    down = window.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
    across = window.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(x, down, groups=channels), across, groups=channels)


def _scales(reconstruction: Tensor, pixels: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
    """Both at 1, 1/2 and 1/4 of their size, by area."""
    if min(pixels.shape[-2:]) < 2 ** len(SCALES):
        raise ShapeError(f"pixels: {tuple(pixels.shape)} came; {2 ** len(SCALES)} pixels a side needed; take more")
    pairs = [(reconstruction.float(), pixels.float())]
    while len(pairs) < len(SCALES):
        ours, theirs = pairs[-1]
        pairs.append((_halved(ours), _halved(theirs)))
    return pairs


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim != 4:
        raise ShapeError(
            f"reconstruction, pixels: {tuple(a.shape)} and {tuple(b.shape)} came; the same (b, 3, H, W) accepted"
        )
