"""Which times are trained on: laws of t on [0, 1] (1 is noise), each with its distribution function beside it.

A law is a shape that is symmetric about 1/2, moved towards the noise by mu in the logit of t, which is the shift that
schedules have too, plus a share of even times, so that both ends stay known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.schedule import resolution_shift

MODE_MAX = 2 / (math.pi - 2)
"""Above it the map of `mode` is no longer one to one."""


@dataclass(frozen=True, kw_only=True)
class TimeLaw:
    """How often each time is trained on.

    logit_normal: logit(t) is normal with mean mu. uniform and mode: even times, or more of those in the middle, then
    shifted by mu. Source: Esser et al. 2024 (arXiv 2403.03206), section 3.1 and, for mu by resolution, 5.3.2.
    """

    kind: Literal["logit_normal", "uniform", "mode"] = "logit_normal"
    mu: float | None = None  # the log of the shift; None takes it from the number of target tokens, as schedules do
    sigma: float = 1.0  # of logit_normal
    scale: float = 1.29  # of mode; 0 is uniform
    uniform_share: float = 0.05  # of times that are even over [0, 1] instead, unshifted

    def __post_init__(self) -> None:
        if self.kind not in ("logit_normal", "uniform", "mode"):
            raise ConfigError(f"kind={self.kind!r}: logit_normal, uniform or mode accepted; choose one")
        if not self.sigma > 0:
            raise ConfigError(f"sigma={self.sigma}: a number above 0 accepted")
        if not -1 <= self.scale <= MODE_MAX:
            raise ConfigError(f"scale={self.scale}: a number from -1 to {MODE_MAX:.3f} accepted")
        if not 0 <= self.uniform_share <= 1:
            raise ConfigError(f"uniform_share={self.uniform_share}: a share from 0 to 1 accepted")

    def times(self, choice: Tensor, quantile: Tensor, tokens: int) -> Tensor:
        """Times (b,) in [0, 1], fp32, from two even numbers in [0, 1) each: choice (b,) and quantile (b,).

        choice picks the even share, quantile is the place in the law. tokens: of the target.
        """
        u = quantile.double()
        shaped = torch.sigmoid(torch.logit(self._shape(u)) + self._mu(tokens))
        return torch.where(choice < self.uniform_share, u, shaped).float()

    def cdf(self, t: Tensor, tokens: int) -> Tensor:
        """The share of times up to t (any shape), in fp64."""
        t = t.double()
        back = torch.sigmoid(torch.logit(t) - self._mu(tokens))
        return self.uniform_share * t.clamp(0, 1) + (1 - self.uniform_share) * self._shape_cdf(back)

    def _mu(self, tokens: int) -> float:
        return resolution_shift(tokens) if self.mu is None else self.mu

    def _shape(self, u: Tensor) -> Tensor:
        """The quantile function of the shape: rises from 0 to 1 with u."""
        if self.kind == "logit_normal":
            return torch.sigmoid(self.sigma * torch.special.ndtri(u))
        if self.kind == "mode":
            return _mode(u, self.scale)
        return u

    def _shape_cdf(self, t: Tensor) -> Tensor:
        if self.kind == "logit_normal":
            return torch.special.ndtr(torch.logit(t) / self.sigma)
        if self.kind == "mode":
            return _mode_inverse(t, self.scale)
        return t


def _mode(u: Tensor, scale: float) -> Tensor:
    """u - scale (cos^2(pi (1 - u) / 2) - u): the published law, read from 1 - u so that it rises."""
    return (u - scale * (torch.cos(math.pi / 2 * (1 - u)).square() - u)).clamp(0, 1)


def _mode_inverse(t: Tensor, scale: float) -> Tensor:
    """The u at which `_mode` is t, by halving [0, 1] sixty times: it has no closed form."""
    low, high = torch.zeros_like(t), torch.ones_like(t)
    for _ in range(60):
        middle = (low + high) / 2
        is_low = _mode(middle, scale) < t
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return (low + high) / 2
