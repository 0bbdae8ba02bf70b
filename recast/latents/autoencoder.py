"""Pixels (b, 3, 8h, 8w) to latents (b, c, h, w) of unit scale, and back: the autoencoder of FLUX.1.

Every layer works on bands: the rows of a picture from top to bottom, as a list; usually one band, the picture.
A large picture is cut into several, each freed as soon as it has been used. Norms take their statistics over all
bands and convolutions reach into their neighbours, so that bands change the memory needed, and only the last bit.
Parameter names are those of the published BFL file. Source: Rombach et al. 2022 (arXiv 2112.10752).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from recast.config import AutoencoderConfig
from recast.errors import ConfigError, ShapeError

Layer = Callable[[Tensor], Tensor]
Bands = list[Tensor]  # each (b, c, rows, w)


class Autoencoder(nn.Module):
    """Encoder and decoder, with the shift and scale that bring latents to zero mean and unit variance."""

    computes = "core"
    """By what, in words: another way gives other bits."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor, *, band: int | None = None) -> Tensor:
        """The mean latents (b, c, H/8, W/8), normalised, of pixels (b, 3, H, W) in [-1, 1].

        band: rows of pixels worked on at once, a multiple of twice 8; None for all.
        Raises ShapeError if H or W is not a multiple of 8, ConfigError for a band that will not do.
        """
        if any(side % self.config.downscale for side in pixels.shape[-2:]):
            raise ShapeError(
                f"pixels: height and width must be multiples of {self.config.downscale}; "
                f"got {tuple(pixels.shape)}; pad them first (recast.pixels.geometry)"
            )
        moments = self.encoder(split(pixels, self._rows(band)))
        mean, _log_variance = moments.chunk(2, dim=1)
        return self.config.scale_factor * (mean - self.config.shift_factor)

    def decode(self, latents: Tensor, *, band: int | None = None) -> Tensor:
        """Pixels (b, 3, 8h, 8w), about [-1, 1], of normalised latents (b, c, h, w). band: as in `encode`."""
        rows = self._rows(band)
        raw = latents / self.config.scale_factor + self.config.shift_factor
        return self.decoder(raw, None if rows is None else rows // self.config.downscale)

    def _rows(self, band: int | None) -> int | None:
        smallest = 2 * self.config.downscale
        if band is not None and (band < smallest or band % smallest):
            raise ConfigError(
                f"band={band}: a multiple of {smallest} accepted; try {max(1, band // smallest) * smallest}"
            )
        return band


class Encoder(nn.Module):
    """Convolutions and three halvings; 2 c channels out: mean and log variance."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.ch * multiple for multiple in config.ch_mult]
        self.conv_in = nn.Conv2d(config.in_channels, config.ch, 3, padding=1)
        self.down = nn.ModuleList()
        width = config.ch
        for level, level_width in enumerate(widths):
            blocks = [
                ResnetBlock(width if i == 0 else level_width, level_width, config) for i in range(config.num_res_blocks)
            ]
            is_last = level == len(widths) - 1
            self.down.append(Level(blocks, "downsample", None if is_last else Downsample(level_width)))
            width = level_width
        self.mid = Middle(width, config)
        self.norm_out = nn.GroupNorm(config.num_groups, width, eps=1e-6)
        self.conv_out = nn.Conv2d(width, 2 * config.z_channels, 3, padding=1)

    def forward(self, pixels: Bands) -> Tensor:
        """Pixels (b, 3, H, W) in bands to moments (b, 2c, H/8, W/8)."""
        x = over(self.conv_in, pixels)
        for level in self.down:
            x = level(x)
        x = self.mid([torch.cat(x, dim=2)])
        return norm_silu_conv(self.norm_out, self.conv_out, x)[0]


class Decoder(nn.Module):
    """The way back: three doublings. `up` is indexed by the encoder's levels, so it runs from the last to the first."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.ch * multiple for multiple in config.ch_mult]
        width = widths[-1]
        self.conv_in = nn.Conv2d(config.z_channels, width, 3, padding=1)
        self.mid = Middle(width, config)
        levels = []
        for level in reversed(range(len(widths))):
            blocks = [
                ResnetBlock(width if i == 0 else widths[level], widths[level], config)
                for i in range(config.num_res_blocks + 1)
            ]
            levels.append(Level(blocks, "upsample", Upsample(widths[level]) if level > 0 else None))
            width = widths[level]
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = nn.GroupNorm(config.num_groups, width, eps=1e-6)
        self.conv_out = nn.Conv2d(width, config.out_ch, 3, padding=1)

    def forward(self, latents: Tensor, rows: int | None = None) -> Tensor:
        """Latents (b, c, h, w), as the encoder gave them, to pixels (b, 3, 8h, 8w), in bands of `rows` latents."""
        (x,) = self.mid([self.conv_in(latents)])
        bands = split(x, rows)
        for level in reversed(self.up):
            bands = level(bands)
        return torch.cat(norm_silu_conv(self.norm_out, self.conv_out, bands), dim=2)


class Level(nn.Module):
    """The blocks of one resolution, then the change to the next under its published name, if there is one."""

    def __init__(self, blocks: Sequence[nn.Module], name: str, resample: nn.Module | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.resample = name if resample is not None else None
        if resample is not None:
            setattr(self, name, resample)

    def forward(self, x: Bands) -> Bands:
        for block in self.block:
            x = block(x)
        return x if self.resample is None else getattr(self, self.resample)(x)


class Middle(nn.Module):
    """Block, attention, block, at the lowest resolution: a 64th of the pixels, so always one band."""

    def __init__(self, width: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(width, width, config)
        self.attn_1 = PixelAttention(width, config)
        self.block_2 = ResnetBlock(width, width, config)

    def forward(self, x: Bands) -> Bands:
        (whole,) = self.block_1(x)
        return self.block_2([self.attn_1(whole)])


class ResnetBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1 x 1 convolution on x where the width changes."""

    def __init__(self, width_in: int, width_out: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.num_groups, width_in, eps=1e-6)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(config.num_groups, width_out, eps=1e-6)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        if width_in != width_out:
            self.nin_shortcut = nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Bands) -> Bands:
        hidden = norm_silu_conv(self.norm1, self.conv1, x, keep=True)
        if hasattr(self, "nin_shortcut"):
            x = over(self.nin_shortcut, x, overlap=0)
        hidden = norm_silu_conv(self.norm2, self.conv2, hidden)
        return [x.pop(0) + hidden.pop(0) for _ in range(len(x))]


class PixelAttention(nn.Module):
    """One head over all positions, 1 x 1 convolutions as projections."""

    def __init__(self, width: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.num_groups, width, eps=1e-6)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        q, k, v = (
            rearrange(layer(normed), "b c h w -> b 1 (h w) c").contiguous() for layer in (self.q, self.k, self.v)
        )  # contiguous, or the library falls back to holding all (h w)^2 scores
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(rearrange(attended, "b 1 (h w) c -> b c h w", h=x.shape[-2]))


class Downsample(nn.Module):
    """Half the size: a stride of two, padded on the right and at the bottom alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Bands) -> Bands:
        return over(lambda rows: self.conv(F.pad(rows, (0, 1, 0, 1))), x, overlap=2)


class Upsample(nn.Module):
    """Twice the size: every pixel four times, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Bands) -> Bands:
        return over(lambda rows: self.conv(F.interpolate(rows, scale_factor=2.0, mode="nearest")), x)


def norm_silu_conv(norm: nn.GroupNorm, conv: nn.Conv2d, x: Bands, *, keep: bool = False) -> Bands:
    """conv(silu(norm(x))), the norm taken over all bands; x is used up unless it is to be kept."""
    normed: Layer = norm if len(x) == 1 else norm_of_all(norm, x)
    return over(lambda rows: conv(F.silu(normed(rows), inplace=not torch.is_grad_enabled())), x, keep=keep)


def norm_of_all(norm: nn.GroupNorm, x: Bands) -> Layer:
    """The group norm whose statistics are those of all bands of x together: scale rows + shift."""
    counts = torch.tensor([band[0, 0].numel() for band in x], device=x[0].device) / sum(b[0, 0].numel() for b in x)
    moments = [torch.var_mean(band.float(), dim=(2, 3), correction=0) for band in x]
    variances, means = (
        rearrange(torch.stack(moment), "n b (g c) -> n b g c", g=norm.num_groups)
        for moment in zip(*moments, strict=True)
    )
    weights = counts[:, None, None, None] / means.shape[-1]  # of a band and channel in its group
    mean = (weights * means).sum((0, 3))[..., None]
    variance = (weights * (variances + (means - mean).square())).sum((0, 3))[..., None]
    scale = norm.weight.float().unflatten(0, (norm.num_groups, -1)) * torch.rsqrt(variance + norm.eps)
    shift = norm.bias.float().unflatten(0, (norm.num_groups, -1)) - mean * scale
    scale, shift = (part.flatten(1)[:, :, None, None].to(x[0].dtype) for part in (scale, shift))
    return lambda rows: torch.addcmul(shift, rows, scale)


def over(layer: Layer, x: Bands, *, overlap: int = 1, keep: bool = False) -> Bands:
    """The layer on every band of x, with `overlap` rows of the bands above and below, which are cut off again.

    layer: maps (b, c, h, w) to (b, c', s h, s w) for some scale s, and reaches at most `overlap` rows, so that the
    rows left are those it gives on the whole. With a stride of two, bands and overlap must be even. Unless x is to be
    kept, it is emptied on the way: a band is freed when the one below has seen its last rows.
    """
    if len(x) == 1:
        return [layer(x[0] if keep else x.pop())]
    out: Bands = []
    above: Tensor | None = None
    waiting = list(x)
    if not keep:
        x.clear()
    while waiting:
        rows = waiting.pop(0)
        below = waiting[0][..., :overlap, :] if waiting else None
        part = layer(torch.cat([piece for piece in (above, rows, below) if piece is not None], dim=2))
        scale = part.shape[-1] / rows.shape[-1]
        top, count = int((0 if above is None else overlap) * scale), int(rows.shape[-2] * scale)
        out.append(part[..., top : top + count, :].clone())
        above = rows[..., rows.shape[-2] - overlap :, :].clone()
    return out


def split(x: Tensor, rows: int | None) -> Bands:
    """Bands of x (b, c, h, w), of `rows` rows but for the last; None for one band."""
    return [x] if rows is None else list(x.split(rows, dim=2))
