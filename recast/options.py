"""How to sample: every option of a request, checked, under the field's usual names too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

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
    sampler: str = "euler"  # or "heun", or "renoise" for distilled weights
    times: Sequence[float] | None = None  # a grid of one's own, from 1 to 0, instead of steps
    seed: int | None = None  # of the first picture; the next have seed + 1, seed + 2 ...; None draws one
    num_images: int = 1
    batch_size: int = 1  # pictures per network call; 1 gives the same bytes however many are asked for

    def __post_init__(self) -> None:
        for name in ("steps", "num_images", "batch_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name}={value!r}: a whole number from 1 accepted")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed={self.seed}: a whole number from 0 to 2^63 - 1 accepted")
        if self.sampler not in ("euler", "heun", "renoise"):
            raise ConfigError(f"sampler={self.sampler!r}: euler, heun or renoise accepted")
        if self.times is not None:
            grid = list(self.times)
            if self.steps is not None:
                raise ConfigError("times, steps: both given; times says how many steps there are, leave steps out")
            if len(grid) < 2 or grid[-1] != 0 or not all(1 >= a > b for a, b in pairwise(grid)):
                raise ConfigError(f"times={grid}: numbers that fall from at most 1 to 0 accepted, e.g. 1, 0.7, 0.4, 0")

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
            raise ConfigError(f"{', '.join(unknown)}: not an option of this call; accepted: {accepted}")
        return cls(**named)
