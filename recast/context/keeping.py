"""What of an edit's source stays: tokens held where a mask says so, and tokens known from the turn before."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recast.errors import ConfigError, InputError, ShapeError
from recast.pixels.geometry import Fit, tokens_touched
from recast.pixels.mask import grow


@dataclass(frozen=True, eq=False)
class Carried:
    """Tokens of a picture that are known from the turn that made it, so that they need not be encoded once more.

    tokens: (1, n, d), on the grid of the edit to come. is_valid: (rows, columns) bool, where they still hold.
    """

    tokens: Tensor
    is_valid: np.ndarray

    def sha256(self) -> str:
        """The hash of what is carried, in fp32, and where."""
        kept = self.tokens.float().cpu().numpy()[:, self.is_valid.ravel()]
        return hashlib.sha256(np.packbits(self.is_valid).tobytes() + kept.tobytes()).hexdigest()

    def check(self, grid: tuple[int, int], channels: int) -> None:
        """Raise ShapeError unless this is for a grid (rows, columns) of tokens with so many channels."""
        wanted = (1, grid[0] * grid[1], channels)
        if tuple(self.tokens.shape) != wanted or self.is_valid.shape != grid or self.is_valid.dtype != np.bool_:
            came = f"tokens {tuple(self.tokens.shape)}, is_valid {self.is_valid.dtype} {self.is_valid.shape}"
            raise ShapeError(
                f"carried: {came} came; {wanted} and bool {grid} accepted; carry between edits of one size"
            )

    def over(self, encode: Callable[[], Tensor]) -> Tensor:
        """The picture's tokens (1, n, d): those that are known, the others as `encode` gives them, in its dtype.

        Where all are known, `encode` is not called, and they come as they are. Call `check` before.
        """
        if self.is_valid.all():
            return self.tokens
        encoded = encode()
        is_valid = torch.from_numpy(self.is_valid.ravel()).to(encoded.device)
        return torch.where(is_valid[:, None], self.tokens.to(encoded), encoded)


def may_change(fit: Fit, mask: np.ndarray, name: str = "mask") -> np.ndarray:
    """The tokens (rows, columns) bool that a mask (H, W) of the source lets change: those it touches, one more around.

    Generous on purpose: an edit needs room to meet what stays. Raises InputError for a mask that is nowhere above 0.
    """
    if not (mask > 0).any():
        accepted = "one above 0, white in a file, where the edit may be accepted"
        raise InputError(f"{name}: nothing may change where it is 0, and it is 0 everywhere; {accepted}; paint it")
    return grow(tokens_touched(fit, mask).astype(np.float32), math.sqrt(2)) > 0


class Hold:
    """Which tokens of the pictures under way may change; narrower once the caller asks."""

    def __init__(self, fit: Fit, asked: np.ndarray | None, pictures: int, device: torch.device) -> None:
        self.fit, self.device = fit, device
        self.masks = [asked] * pictures

    def narrow(self, index: int, mask: np.ndarray) -> None:
        """Let picture `index` change only where the mask (H, W) of the source is above 0, and was allowed before."""
        if not 0 <= index < len(self.masks):
            raise ConfigError(f"index={index}: 0 to {len(self.masks) - 1} accepted, as pictures are under way")
        tokens, before = may_change(self.fit, np.asarray(mask), "narrow"), self.masks[index]
        self.masks[index] = tokens if before is None else tokens & before

    def __call__(self) -> Tensor | None:
        """The mask (b, n) bool for the sampler; None where every token may change."""
        if all(mask is None for mask in self.masks):
            return None
        rows = [np.ones(self.fit.tokens, bool) if mask is None else mask.ravel() for mask in self.masks]
        return torch.from_numpy(np.stack(rows)).to(self.device)
