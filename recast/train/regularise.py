"""What keeps latents in bounds: a Gaussian posterior pulled to the unit one, or a codebook; and noise for the decoder.

Latents here are the encoder's own, before scale and shift: (b, c, h, w).
Sources: Kingma and Welling 2014 (arXiv 1312.6114); van den Oord et al. 2017 (arXiv 1711.00937), the codebook and its
moving averages (appendix A.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from recast.errors import ConfigError, ShapeError

LOG_VARIANCE = (-30.0, 20.0)  # beyond these an exponential in float32 is nothing, or no number


def posterior(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance, each (b, c, h, w) in float32, of what the encoder gives, (b, 2c, h, w)."""
    mean, log_variance = moments.float().chunk(2, dim=1)
    return mean, log_variance.clamp(*LOG_VARIANCE)


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The divergence of N(mean, exp(log_variance)) from N(0, 1), in nats, the mean over all numbers: 0 or more."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A draw from the posterior, (b, c, h, w), by unit noise of that shape."""
    return mean + (0.5 * log_variance).exp() * noise


def jitter(latents: Tensor, noise: Tensor, amplitude: Tensor) -> Tensor:
    """Latents with noise of `amplitude` (b,) times each example's own standard deviation, which takes no gradient."""
    if amplitude.shape != latents.shape[:1]:
        raise ShapeError(f"amplitude: {tuple(amplitude.shape)} came; one number an example, ({len(latents)},), needed")
    spread = latents.detach().flatten(1).std(dim=1)
    return latents + (amplitude * spread)[:, None, None, None] * noise


class Quantised(NamedTuple):
    """Latents on the codebook."""

    latents: Tensor  # (b, c, h, w), the nearest codes; their gradient goes to the encoder as if nothing had happened
    loss: Tensor  # scalar: of the commitment, and of the codebook unless that follows averages
    codes: Tensor  # (b, h, w) int64
    perplexity: Tensor  # scalar: how many codes are in use, were all used equally


class Codebook(nn.Module):
    """Vectors to which latents are rounded, one a position.

    follow="average": a code is the moving average of the latents that chose it, moved by `follow`, and the same in all
    processes. follow="loss": codes are parameters that the optimiser moves. In both a code that nothing chooses is put
    beside the one chosen most, which so is split; the places are drawn by the number of the splitting alone.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    splittings: Tensor

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        follow: Literal["average", "loss"] = "average",
        commitment: float = 0.25,
        decay: float = 0.99,
        dead_below: float = 0.03,
        seed: int = 0,
    ) -> None:
        """dead_below: a code chosen less often than this share of an even one is revived.

        Raises ConfigError for numbers that cannot work.
        """
        super().__init__()
        if size < 2 or channels < 1 or commitment < 0 or not 0 <= decay < 1 or not 0 <= dead_below < 1:
            raise ConfigError(
                f"size={size}, channels={channels}, commitment={commitment}, decay={decay}, dead_below={dead_below}: "
                "from 2, from 1, from 0, and two shares below 1 accepted"
            )
        if follow not in ("average", "loss"):
            raise ConfigError(f"follow={follow!r}: average or loss accepted; choose one")
        self.follows_loss, self.commitment, self.decay = follow == "loss", commitment, decay
        self.dead_below = dead_below
        drawn = torch.randn(size, channels, generator=torch.Generator().manual_seed(seed))
        if self.follows_loss:
            self.codes = nn.Parameter(drawn)
        else:
            self.register_buffer("codes", drawn)
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", drawn.clone())
        self.register_buffer("splittings", torch.zeros((), dtype=torch.int64))

    def forward(self, latents: Tensor) -> Quantised:
        """Each position's vector replaced by the nearest code. The books are not touched: see `follow`.

        loss = mean |code - sg(latents)|^2 (follow="loss" alone) + commitment * mean |latents - sg(code)|^2.
        The commitment weighs the term that moves the encoder. Source: arXiv 1711.00937, equation 3.
        """
        if latents.ndim != 4 or latents.shape[1] != self.codes.shape[1]:
            raise ShapeError(f"latents: {tuple(latents.shape)} came; (b, {self.codes.shape[1]}, h, w) accepted")
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            vectors = rearrange(latents, "b c h w -> (b h w) c")
            with torch.no_grad():
                distance = self.codes.square().sum(1) - 2 * vectors @ self.codes.T
                chosen = distance.argmin(dim=1)
                used = torch.bincount(chosen, minlength=len(self.codes)).float() / len(chosen)
                perplexity = torch.exp(-(used * used.clamp(min=1e-12).log()).sum())
            rounded = rearrange(self.codes[chosen], "(b h w) c -> b c h w", b=len(latents), h=latents.shape[2])
            loss = self.commitment * (latents - rounded.detach()).square().mean()
            if self.follows_loss:
                loss = loss + (rounded - latents.detach()).square().mean()
            straight = latents + (rounded - latents).detach()
        codes = rearrange(chosen, "(b h w) -> b h w", b=len(latents), h=latents.shape[2])
        return Quantised(straight, loss, codes, perplexity)

    @torch.no_grad()
    def follow(self, latents: Tensor, chosen: Tensor, mean: Callable[[Tensor], Tensor] = lambda x: x) -> int:
        """Move averages, codes and the dead by the latents (b, c, h, w) that chose these codes; how many were revived.

        mean: of a tensor over all processes. A batch that is not finite moves nothing.
        """
        vectors = rearrange(latents.detach().float(), "b c h w -> (b h w) c")
        counts = torch.bincount(chosen.flatten(), minlength=len(self.codes)).float()
        sums = torch.zeros_like(self.sums).index_add_(0, chosen.flatten(), vectors)
        seen = mean(torch.cat([counts[:, None], sums], dim=1))
        if not bool(seen.isfinite().all()):
            return 0
        self.counts.lerp_(seen[:, 0], 1 - self.decay)
        self.sums.lerp_(seen[:, 1:], 1 - self.decay)
        if not self.follows_loss:
            is_used = self.counts > 1e-6
            self.codes[is_used] = self.sums[is_used] / self.counts[is_used, None]
        return self._revive()

    def _revive(self) -> int:
        """Split the codes chosen most, so that each dead one gets half of one's choices and a place beside it."""
        dead = (self.counts < self.dead_below * self.counts.mean()).nonzero()[:, 0]
        dead = dead[: len(self.counts) // 2]
        if not len(dead):
            return 0
        full = self.counts.argsort(descending=True, stable=True)[: len(dead)]
        generator = torch.Generator().manual_seed(int(self.splittings))
        apart = torch.randn(len(dead), self.codes.shape[1], generator=generator).to(self.codes)
        apart *= 0.05 * (self.codes.std(dim=0) + 1e-3)
        self.codes[dead] = self.codes[full] + apart
        self.codes[full] -= apart
        self.counts[full] /= 2
        self.counts[dead] = self.counts[full]
        changed = torch.cat([dead, full])
        self.sums[changed] = self.codes[changed] * self.counts[changed, None]
        self.splittings += 1
        return len(dead)
