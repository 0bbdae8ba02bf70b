"""Judging a flow: the held-out loss at fixed times with fixed noise, and pictures to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from recast.errors import ConfigError, TrainingError
from recast.flow.sampler import euler, renoise
from recast.flow.schedule import resolution_shift, times
from recast.train.objective import Velocities, generator
from recast.train.parallel import Ranks
from recast.train.uses import KINDS, Pass, Use

LEVELS = 8
"""Times at which the held-out loss is taken: the middles of as many equal parts of [0, 1]."""
SEED = 0
"""Of held-out noise and of the panel's: the same in every run, so that runs can be compared."""
GAP, TEXT_WIDTH, TEXT_SIZE = 4, 160, 12


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the panel's pictures are made: a plain Euler walk, or for students of few steps their own."""

    steps: int = 12
    guidance: float = 2.5  # fed to the guidance embedding of models that have one
    shifts_schedule: bool = True  # by resolution
    sampler: Literal["euler", "renoise"] = "euler"

    def __post_init__(self) -> None:
        if self.sampler not in ("euler", "renoise"):
            raise ConfigError(f"sampler={self.sampler!r}: euler or renoise accepted; choose one")
        if self.steps < 1:
            raise ConfigError(f"steps={self.steps}: at least 1 needed; 12 show what a picture becomes")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One example of the panel; pictures are (H, W, 3) uint8."""

    contexts: tuple[np.ndarray, ...]
    text: str
    result: np.ndarray
    truth: np.ndarray


def level(index: int) -> float:
    """The time of a level: (index + 1/2) / LEVELS."""
    return (index + 0.5) / LEVELS


def fixed_noise(each: Pass, purpose: str) -> Tensor:
    """Noise (k, n, d) on the CPU, by the number of the example and the purpose: the same on every device."""
    shape = each.clean.shape[1:]
    return torch.stack([torch.randn(shape, generator=generator(SEED, number, purpose)) for number in each.numbers])


def measure(
    passes: Sequence[Pass], errors: Callable[[Pass, Tensor, Tensor], Tensor], ranks: Ranks, device: torch.device
) -> dict[str, float]:
    """Mean squared errors of held-out passes, each at all LEVELS: `loss`; `t0` ... by level; by use, the same;
    `kind/...` of edits; `inside` and `outside` what must change, where that is known.

    errors: of a pass, times (k,) and noise (k, n, d), by token (k, n). The work is shared out among the processes,
    which call the network equally often, all with a context or all without.
    Raises TrainingError where there is nothing to judge.
    """
    if not passes:
        raise TrainingError(
            "held_out: no example can be judged; examples with an instruction where training.edit is above 0, or with "
            "a caption where training.text_to_image is, needed; set data.held_out=0 to judge nothing"
        )
    sums = {name: torch.zeros(2, dtype=torch.float64) for name in _names(passes)}
    for has_context in (True, False):  # together: sharded networks are gathered more often for a context
        alike = [each for each in passes if (each.context is not None) == has_context]
        jobs = [(each, index) for each in alike for index in range(LEVELS)]
        for turn in range(-(-len(jobs) // ranks.data_size)):
            place = turn * ranks.data_size + ranks.data_rank
            each, index = jobs[place % len(jobs)]
            t = torch.full((len(each.uses),), level(index), device=device)
            found = errors(each, t, fixed_noise(each, f"held out {index}").to(device)).double().cpu()
            if place < len(jobs):
                for name, value in _scores(each, index, found):
                    sums[name] += torch.tensor([value, 1.0], dtype=torch.float64)
    shared = ranks.mean({f"{name} {i}": pair[i] for name, pair in sums.items() for i in (0, 1)})
    return {name: shared[f"{name} 0"] / shared[f"{name} 1"] if shared[f"{name} 1"] else float("nan") for name in sums}


def one_each(uses: Iterable[Use]) -> list[Use]:
    """The first use of every example."""
    first: dict[int, Use] = {}
    for use in uses:
        first.setdefault(use.example, use)
    return list(first.values())


def walk(each: Pass, velocity: Velocities, sampling: Sampling, device: torch.device) -> Tensor:
    """The tokens (k, n, d) that a pass ends at, from its fixed noise."""

    def at(x: Tensor, t: float) -> Tensor:
        return velocity(x, torch.full(x.shape[:1], t, device=device))

    mu = resolution_shift(each.clean.shape[1]) if sampling.shifts_schedule else 0.0
    x = fixed_noise(each, "panel").to(device)
    fresh = (fixed_noise(each, f"panel {number}").to(device) for number in count(1))
    sampler = euler if sampling.sampler == "euler" else renoise(lambda: next(fresh))
    for state in sampler(at, x, times(sampling.steps, mu=mu)):
        x = state.x
    return x


def draw_panel(rows: Sequence[Row]) -> np.ndarray:
    """One picture (H, W, 3) uint8: a row for each example, contexts | text | result | truth, aligned at the right."""
    columns = max(len(row.contexts) for row in rows)
    sides = [(*row.contexts, row.result, row.truth) for row in rows]
    cell = max(picture.shape[1] for pictures in sides for picture in pictures)
    heights = [max(picture.shape[0] for picture in pictures) for pictures in sides]
    width = (columns + 2) * (cell + GAP) + TEXT_WIDTH + GAP
    sheet = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) + 1)), "white")
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        places = [index + columns - len(row.contexts) for index in range(len(row.contexts))]
        lefts = [GAP + place * (cell + GAP) for place in places]
        text_left = GAP + columns * (cell + GAP)
        lefts += [text_left + TEXT_WIDTH + k * (cell + GAP) for k in (0, 1)]
        for left, picture in zip(lefts, (*row.contexts, row.result, row.truth), strict=True):
            sheet.paste(Image.fromarray(picture), (left, y))
        sheet.paste(_label(row.text, TEXT_WIDTH - GAP, height), (text_left, y))
        y += height + GAP
    return np.asarray(sheet)


def _label(text: str, width: int, height: int) -> Image.Image:
    """The text in black on white, cut into lines that fit; what does not fit below is left out, marked by dots."""
    font = ImageFont.load_default(TEXT_SIZE)
    per_line = max(1, int(width / (font.getlength("abcdefghij klmnopqrst") / 21)))
    lines = textwrap.wrap(text, per_line) or ["(empty)"]
    room = max(1, height // (TEXT_SIZE + 3))
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[room - 1][: per_line - 1] + "…"]
    made = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(made).multiline_text((0, 0), "\n".join(lines), fill="black", font=font, spacing=3)
    return made


def _names(passes: Sequence[Pass]) -> list[str]:
    """Every name that a score of these passes can have."""
    uses = [use for each in passes for use in each.uses]
    names = ["loss", *(f"t{index}" for index in range(LEVELS))]
    for kind in KINDS:
        if any(use.kind == kind for use in uses):
            names += [f"{kind}/loss", *(f"{kind}/t{index}" for index in range(LEVELS))]
    names += [f"kind/{name}" for name in sorted({use.category for use in uses if use.category})]
    return names + (["inside", "outside"] if any(each.mask is not None for each in passes) else [])


def _scores(each: Pass, index: int, errors: Tensor) -> Iterator[tuple[str, float]]:
    """Names and values of every sample of a pass at one level; errors (k, n)."""
    for row, use in enumerate(each.uses):
        value = float(errors[row].mean())
        for name in ("loss", f"t{index}", f"{use.kind}/loss", f"{use.kind}/t{index}"):
            yield name, value
        if use.category:
            yield f"kind/{use.category}", value
        if use.has_mask and each.mask is not None:
            inside = each.mask[row].cpu()
            for name, place in (("inside", inside), ("outside", ~inside)):
                if place.any():
                    yield name, float(errors[row][place].mean())
