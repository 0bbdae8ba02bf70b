"""A short loop through the variants of one base: from key picture to key picture in the autoencoder's latent space.

What all key pictures share is the same bytes in every frame, and each key picture is a frame itself. Between two of
them, a and b, with weights that are 0 where the keys are equal and rise softly beside it:

    frame(t) = a + t (b - a) + weight * (D(z_t) - D(z_a) - t (D(z_b) - D(z_a)))

D decodes, z_t runs from the latents of a to those of b. The first part is a plain cross-fade; the second is what the
way through the latents adds to it, which is nothing at both ends. So what the autoencoder loses of a picture never
shows, and nothing jumps where a key picture is held.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from recast.errors import ConfigError, InputError
from recast.pixels import geometry, image
from recast.pixels.geometry import Fit
from recast.thumbnails.variants import Step

if TYPE_CHECKING:
    from torch import Tensor

    from recast.pipeline import Pipeline

SHORTEST_S, LONGEST_S = 3.0, 6.0
LEAST_S = 0.5
"""Of each key picture with the way to the next: faster changes tire, and above three flashes a second they harm."""
FPS_STEP = 6
"""Of frames a second, and half seconds of length: so a loop can be thinned to a half or a third and last as long."""
PARALLEL = 1e-3
"""Sine of the angle below which two latents count as one direction: there the arc is the straight line."""
Way = Literal["spherical", "linear"]


@dataclass(frozen=True, eq=False)
class Key:
    """A key picture. rgb: (H, W, 3) uint8, as it is shown. plain: the same without lettering, which is what becomes
    latents. cover: (H, W) float32 in 0..1, how much of each pixel lettering hides.
    """

    name: str
    rgb: np.ndarray
    plain: np.ndarray
    cover: np.ndarray


@dataclass(frozen=True, eq=False)
class Loop:
    """The frames of a loop, (H, W, 3) uint8 each, at a steady rate; after the last comes the first again.

    static: (H, W) bool, the pixels that are the same in all frames. keys: which frames show a key picture as it is.
    """

    frames: tuple[np.ndarray, ...]
    fps: int
    static: np.ndarray
    keys: tuple[int, ...]

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.fps


@dataclass(frozen=True, kw_only=True)
class Timing:
    """seconds: of the whole loop. fps: frames a second. hold: share of the time in which key pictures stand still."""

    seconds: float = 4.0
    fps: int = 12
    hold: float = 0.5

    def __post_init__(self) -> None:
        if not (SHORTEST_S <= self.seconds <= LONGEST_S and self.seconds % LEAST_S == 0):
            raise ConfigError(f"seconds={self.seconds:g}: {SHORTEST_S:g} to {LONGEST_S:g} accepted, in half seconds")
        if self.fps not in range(FPS_STEP, 31, FPS_STEP):
            raise ConfigError(f"fps={self.fps}: 6, 12, 18, 24 or 30 accepted; 12 is usual")
        if not 0 <= self.hold < 1:
            raise ConfigError(f"hold={self.hold:g}: a share from 0 up to, not including, 1 accepted; 0.5 is usual")

    def plan(self, keys: int) -> list[tuple[int, float]]:
        """For each frame: the key it comes from, and how far it is on the way to the next, 0..1, slow at both ends."""
        if keys < 2:
            raise ConfigError(f"variants: {keys} came; two or more accepted: one alone does not move")
        most = int(self.seconds / LEAST_S)
        if keys > most:
            raise ConfigError(
                f"variants: {keys} came for {self.seconds:g} s; up to {most} accepted, half a second each; "
                "choose fewer, or a longer loop"
            )
        count = round(self.seconds * self.fps)
        starts = [round(count * i / keys) for i in range(keys + 1)]
        planned = []
        for key, (start, end) in enumerate(pairwise(starts)):
            still = max(1, round(self.hold * (end - start)))
            moving = end - start - still
            shares = [0.0] * still + [(i + 1) / (moving + 1) for i in range(moving)]
            planned += [(key, share * share * (3 - 2 * share)) for share in shares]
        return planned


def animate(
    keys: Sequence[Key],
    pipeline: Pipeline,
    *,
    timing: Timing | None = None,
    way: Way = "linear",
    border: float = 0.02,
) -> Generator[Step, None, Loop]:
    """The loop through key pictures of one size; yields how far it is.

    pipeline: whose autoencoder is used, at the size at which the model edits pictures of this size. way: as
    `along` has it. border: how far from what stands still the weights reach 1, a share of the height.
    Raises ConfigError for a timing that cannot be, InputError for keys of several sizes or that do not differ.
    """
    timing = timing or Timing()
    plan = timing.plan(len(keys))
    static = _static(keys)
    weight = _weights(static, border * len(static))
    defaults = pipeline.config.defaults
    fit = geometry.fit(
        static.shape[1],
        static.shape[0],
        min_tokens=defaults.min_tokens,
        max_tokens=defaults.max_tokens,
        multiple=pipeline.config.pixels_per_token,
    )
    work = len(keys) + sum(share > 0 for _, share in plan)
    latents, decoded = [], []
    for done, key in enumerate(keys):
        yield Step("animate", done, work, key.name)
        latents.append(_encode(key.plain, fit, pipeline))
        decoded.append(_decode(latents[-1], fit, pipeline))
    frames: list[np.ndarray] = []
    done = len(keys)
    for first, share in plan:
        second = (first + 1) % len(keys)
        a, b = keys[first], keys[second]
        if share == 0:
            frames.append(a.rgb)
            continue
        yield Step("animate", done, work, f"{a.name} to {b.name}")
        done += 1
        between = _decode(along(latents[first], latents[second], share, way=way), fit, pipeline)
        shown = 1 - _mixed(a.cover, b.cover, share)
        adds = between - _mixed(decoded[first], decoded[second], share)
        frame = _mixed(a.rgb, b.rgb, share) + (weight * shown)[..., None] * adds
        frames.append(np.rint(frame).clip(0, 255).astype(np.uint8))
    held = tuple(i for i, (_, share) in enumerate(plan) if share == 0)
    return Loop(tuple(frames), timing.fps, static, held)


def along(a: Tensor, b: Tensor, t: float, *, way: Way = "linear") -> Tensor:
    """The latents (1, c, h, w) at t, 0..1, on the way from a to b, for each place (h, w) by itself.

    linear: straight, which passes through shorter latents, so colours soften half-way. spherical: the direction goes
    along the arc, the length straight, so they stay strong; with nano they overshoot, and clouds get dark fringes.
    Source of the arc: Shoemake 1985, Animating Rotation with Quaternion Curves.
    """
    import torch

    if way not in ("spherical", "linear"):
        raise ConfigError(f"way={way!r}: spherical or linear accepted")
    straight = torch.lerp(a, b, t)
    if way == "linear":
        return straight
    long_a, long_b = (x.norm(dim=1, keepdim=True) for x in (a, b))
    u, v = a / long_a.clamp(min=1e-6), b / long_b.clamp(min=1e-6)
    angle = (u * v).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * u + (t * angle).sin() * v) / sine.clamp(min=PARALLEL)
    return torch.where(sine < PARALLEL, straight, arc * torch.lerp(long_a, long_b, t))


def _static(keys: Sequence[Key]) -> np.ndarray:
    """Where all keys are equal (H, W) bool. Raises InputError for other sizes, or keys that are all the same."""
    first = keys[0]
    for each in keys[1:]:
        if each.rgb.shape != first.rgb.shape:
            came = " and ".join(f"{key.name} {key.rgb.shape[1]}x{key.rgb.shape[0]}" for key in (first, each))
            raise InputError(f"variants: {came} came; pictures of one size accepted; choose edits of one base")
    static = np.logical_and.reduce([(each.rgb == first.rgb).all(-1) for each in keys])
    if static.all():
        raise InputError(f"variants: {', '.join(key.name for key in keys)} are one picture; choose others")
    return static


def _weights(static: np.ndarray, border_px: float) -> np.ndarray:
    """0 on what stands still, rising smoothly to 1 at border_px from it; (H, W) float32."""
    if not static.any():
        return np.ones(static.shape, np.float32)
    away = cv2.distanceTransform((~static).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(away / max(border_px, 1.0), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _encode(rgb: np.ndarray, fit: Fit, pipeline: Pipeline) -> Tensor:
    """The latents (1, c, h, w) float32 of a picture."""
    import torch

    with torch.inference_mode():
        pixels = image.to_pixels(geometry.apply(fit, rgb)).to(pipeline.device)
        return pipeline.autoencoder.encode(pixels).float()


def _decode(latents: Tensor, fit: Fit, pipeline: Pipeline) -> np.ndarray:
    """The picture (H, W, 3) float32, 0..255, of latents, at the size of the fit's source."""
    import torch

    with torch.inference_mode():
        rgb = image.from_pixels(pipeline.autoencoder.decode(latents))[0]
    return geometry.undo(fit, rgb).astype(np.float32)


def _mixed(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """a at 0, b at 1; exactly a where the two are equal."""
    a = a.astype(np.float32)
    return a + np.float32(t) * (b - a)
