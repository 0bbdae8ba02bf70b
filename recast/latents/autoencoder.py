"""Pixels (b, 3, 8h, 8w) to latents (b, c, h, w) of unit scale, and back: the autoencoder of FLUX.1.

Large pictures go through in bands of rows. The norms and the attention see the whole picture either way, and
bands overlap by what a convolution reaches, so bands change nothing but the memory used (and the last bit).
Parameter names are those of the published BFL file. Source: Rombach et al. 2022 (arXiv 2112.10752).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from recast.config import AutoencoderConfig
from recast.errors import ShapeError

Layer = Callable[[Tensor], Tensor]


class Autoencoder(nn.Module):
    """Encoder and decoder, with the shift and scale that bring latents to zero mean and unit variance."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor, *, band: int | None = None) -> Tensor:
        """The mean latents (b, c, H/8, W/8), normalised, of pixels (b, 3, H, W) in [-1, 1].

        band: rows of pixels a convolution works on at once; None for all. Saves temporaries (module docstring).
        Raises ShapeError if H or W is not a multiple of 8.
        """
        if any(side % self.config.downscale for side in pixels.shape[-2:]):
            raise ShapeError(
                f"pixels: height and width must be multiples of {self.config.downscale}; "
                f"got {tuple(pixels.shape)}; pad them first (recast.pixels.geometry)"
            )
        mean, _log_variance = self.encoder(pixels, band).chunk(2, dim=1)
        return self.config.scale_factor * (mean - self.config.shift_factor)

    def decode(self, latents: Tensor, *, band: int | None = None) -> Tensor:
        """Pixels (b, 3, 8h, 8w), about [-1, 1], of normalised latents (b, c, h, w). band: as in `encode`."""
        return self.decoder(latents / self.config.scale_factor + self.config.shift_factor, band)


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

    def forward(self, pixels: Tensor, band: int | None = None) -> Tensor:
        """pixels (b, 3, H, W) to moments (b, 2c, H/8, W/8)."""
        x = in_bands(self.conv_in, pixels, band)
        for level in self.down:
            x = level(x, band)
            band = band if band is None or level.resample is None else max(band // 2, 2)
        return norm_silu_conv(self.norm_out, self.conv_out, self.mid(x))


class Decoder(nn.Module):
    """The way back: three doublings. `up` is indexed by level of the encoder, so it runs from the last to the first."""

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

    def forward(self, latents: Tensor, band: int | None = None) -> Tensor:
        """Latents (b, c, h, w), as the encoder gave them, to pixels (b, 3, 8h, 8w)."""
        x = self.mid(self.conv_in(latents))
        scale = 2 ** (len(self.up) - 1)
        for level in reversed(self.up):
            x = level(x, None if band is None else max(band // scale, 2))
            scale //= 2
        return norm_silu_conv(self.norm_out, self.conv_out, x, band)


class Level(nn.Module):
    """The blocks of one resolution, then the change to the next under its published name, if there is one."""

    def __init__(self, blocks: Sequence[nn.Module], name: str, resample: nn.Module | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.resample = name if resample is not None else None
        if resample is not None:
            setattr(self, name, resample)

    def forward(self, x: Tensor, band: int | None) -> Tensor:
        for block in self.block:
            x = block(x, band)
        return x if self.resample is None else getattr(self, self.resample)(x, band)


class Middle(nn.Module):
    """Block, attention, block, at the lowest resolution: a 64th of the pixels, so never in bands."""

    def __init__(self, width: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(width, width, config)
        self.attn_1 = PixelAttention(width, config)
        self.block_2 = ResnetBlock(width, width, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class ResnetBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1 x 1 convolution on x where the width changes."""

    def __init__(self, width_in: int, width_out: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.num_groups, width_in, eps=1e-6)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(config.num_groups, width_out, eps=1e-6)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()

    def forward(self, x: Tensor, band: int | None = None) -> Tensor:
        hidden = norm_silu_conv(self.norm1, self.conv1, x, band)
        hidden = norm_silu_conv(self.norm2, self.conv2, hidden, band)
        if band is None:
            return self.nin_shortcut(x) + hidden
        for rows in bands(x.shape[-2], band):  # into `hidden`: one large tensor fewer
            hidden[..., rows, :] += self.nin_shortcut(x[..., rows, :])
        return hidden


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

    def forward(self, x: Tensor, band: int | None = None) -> Tensor:
        return in_bands(lambda rows: self.conv(F.pad(rows, (0, 1, 0, 1))), x, band, overlap=2)


class Upsample(nn.Module):
    """Twice the size: every pixel four times, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, band: int | None = None) -> Tensor:
        return in_bands(lambda rows: self.conv(F.interpolate(rows, scale_factor=2.0, mode="nearest")), x, band)


def norm_silu_conv(norm: nn.GroupNorm, conv: nn.Conv2d, x: Tensor, band: int | None = None) -> Tensor:
    """conv(silu(norm(x))). In bands, the norm's statistics are taken over the whole of x (b, c, h, w) first."""
    if band is None:
        return conv(F.silu(norm(x), inplace=not torch.is_grad_enabled()))
    scale, shift = group_norm_as_affine(norm, x, band)
    return in_bands(lambda rows: conv(F.silu(rows * scale + shift, inplace=True)), x, band)


def group_norm_as_affine(norm: nn.GroupNorm, x: Tensor, band: int) -> tuple[Tensor, Tensor]:
    """scale and shift (b, c, 1, 1) with norm(x) = scale x + shift, from one pass over the rows of x for each moment."""

    def average(moment: Layer) -> Tensor:
        sums = [moment(grouped[..., rows, :].float()).sum((2, 3, 4)) for rows in bands(x.shape[-2], band)]
        return torch.stack(sums).sum(0)[:, :, None, None, None] / grouped[0, 0].numel()

    grouped = rearrange(x, "b (g c) h w -> b g c h w", g=norm.num_groups)
    mean = average(lambda rows: rows)
    variance = average(lambda rows: (rows - mean).square())
    weight = rearrange(norm.weight.float(), "(g c) -> g c 1 1", g=norm.num_groups)
    bias = rearrange(norm.bias.float(), "(g c) -> g c 1 1", g=norm.num_groups)
    scale = weight * torch.rsqrt(variance + norm.eps)
    shift = bias - mean * scale
    return scale.flatten(1, 2).to(x.dtype), shift.flatten(1, 2).to(x.dtype)


def in_bands(layer: Layer, x: Tensor, band: int | None, *, overlap: int = 1) -> Tensor:
    """layer(x), over bands of `band` rows that reach `overlap` rows into their neighbours.

    layer: maps (b, c, h, w) to (b, c', s h, s w) for some scale s, and reaches at most `overlap` rows, so that
    the rows kept are those it gives on the whole of x. With a stride of two, band and overlap must be even.
    """
    height = x.shape[-2]
    if band is None or band >= height:
        return layer(x)
    out = None
    for rows in bands(height, band):
        start = max(rows.start - overlap, 0)
        part = layer(x[..., start : rows.stop + overlap, :])
        if out is None:
            scale = part.shape[-1] / x.shape[-1]
            out = part.new_empty(*part.shape[:2], int(height * scale), part.shape[-1])
        top, count = int((rows.start - start) * scale), int((rows.stop - rows.start) * scale)
        out[..., int(rows.start * scale) : int(rows.stop * scale), :] = part[..., top : top + count, :]
    assert out is not None  # a picture has rows
    return out


def bands(height: int, band: int) -> Iterator[slice]:
    """Slices of `band` rows, an even number of them, that cover `height`."""
    band += band % 2
    for start in range(0, height, band):
        yield slice(start, min(start + band, height))
