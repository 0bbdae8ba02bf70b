"""How to sample: every option of a request, checked, under the field's usual names too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from recast.config import check_sampler
from recast.errors import ConfigError

ALIASES = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "true_cfg_scale": "true_guidance",
    "num_images_per_prompt": "num_images",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to sample. None stands for the model's own default (`recast.config.Defaults`)."""

    negative_prompt: str | None = None  # what to move away from; used where true_guidance is not 1
    steps: int | None = None
    guidance: float | None = None  # fed to the guidance embedding, one evaluation a step
    true_guidance: float | None = None  # classifier-free guidance, two evaluations a step; 1.0 is off
    sampler: str | None = None  # one of `recast.config.SAMPLERS`
    times: Sequence[float] | None = None  # a grid of one's own, from 1 to 0, instead of steps
    seed: int | None = None  # of the first picture; the next have seed + 1, seed + 2 ...; None draws one
    num_images: int = 1
    batch_size: int = 1  # pictures per network call; 1 gives the same bytes however many are asked for

    def __post_init__(self) -> None:
        for name in ("steps", "num_images", "batch_size"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 1, 1_000_000)
        for name in ("guidance", "true_guidance"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name))
        if self.seed is not None:
            _check_whole("seed", self.seed, 0, 2**63 - self.num_images)
        if self.sampler is not None:
            check_sampler("sampler", self.sampler)
        if self.negative_prompt is not None and not isinstance(self.negative_prompt, str):
            raise ConfigError(f"negative_prompt={self.negative_prompt!r}: a string accepted; pass one or leave it out")
        if self.times is not None:
            self._check_times(self.times)

    def _check_times(self, times: Any) -> None:
        if self.steps is not None:
            raise ConfigError("times, steps: both given; times says how many steps there are, leave steps out")
        if not isinstance(times, Sequence) or isinstance(times, str):
            raise ConfigError(f"times={times!r}: a list of numbers accepted, e.g. [1, 0.7, 0.4, 0]")
        for t in times:
            _check_number("times", t)
        # Recipes of earlier versions hold schedules that begin a rounding below 1; they are walked as they were.
        starts = len(times) >= 2 and abs(times[0] - 1) < 1e-6
        if not starts or times[-1] != 0 or not all(a > b for a, b in pairwise(times)):
            raise ConfigError(f"times={list(times)}: numbers that fall from 1 to 0 accepted, e.g. [1, 0.7, 0.4, 0]")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Options from keyword arguments, the field's usual aliases included."""
        named: dict[str, Any] = {}
        for name, value in values.items():
            ours = ALIASES.get(name, name)
            if ours in named:
                raise ConfigError(f"{name}={value!r}: given twice, it is another name of {ours}; leave one out")
            named[ours] = value
        unknown = sorted(set(named) - {f.name for f in fields(cls)})
        if unknown:
            accepted = ", ".join(f.name for f in fields(cls))
            raise ConfigError(f"{', '.join(unknown)}: not an option of this call; accepted: {accepted}; leave it out")
        return cls(**named)


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name}={value!r}: a whole number from {low} to {high} accepted; pass one")


def _check_number(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{name}={value!r}: a finite number accepted; pass one")
