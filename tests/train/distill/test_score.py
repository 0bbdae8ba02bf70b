"""What a teacher says of a student's picture from one step: ends, weights, and the gradients they are to have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recast.flow.path import interpolate, noise_at
from recast.train.distill import score
from recast.train.distill.add import AddStage, PixelPart
from tests.train.distill.adversaries import made_add, pair_batch, part_of

T = torch.tensor([0.1, 0.5, 0.9])


def asked(weighting: Any, guidance: float = 3.0) -> tuple[AddStage, PixelPart, Tensor, Tensor, Tensor]:
    """A stage, its part, what is taught of the real pictures and how much it counts, and their noised states."""
    of = made_add(distill_weighting=weighting, negative="bad", guidance=guidance, accepts_unguided=True)
    part = part_of(of, pair_batch(of, 3, guidance=guidance))
    assert isinstance(part, PixelPart)
    assert part.question is not None
    clean, weight = score.taught(of.teacher, part.real, part.draws.over, T, part.question, weighting)
    return of, part, clean, weight, interpolate(part.real, part.draws.over, T)[0]


def noises(of: AddStage, part: PixelPart, x_t: Tensor, prompt: str | None) -> Tensor:
    """The teacher's noise under a prompt; None for the examples' own."""
    prompts = part.each.prompts if prompt is None else [prompt] * 3
    with torch.no_grad():
        v = of.teacher.velocity(x_t, T, of.reading.condition(part.each, prompts, 1.0, of.teacher.flow))
    return noise_at(x_t, v, T[:, None, None])  # type: ignore[arg-type]


def descent(part: PixelPart, clean: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the weighted squared distance with respect to the student's tokens."""
    return 2 * weight[:, None, None] * (part.real - clean)


def test_high_noise_says_little_and_the_end_is_the_guided_teachers():
    of, part, clean, weight, x_t = asked("exponential")
    torch.testing.assert_close(weight, 1 - T)
    wanted, plain = noises(of, part, x_t, None), noises(of, part, x_t, "")
    guided = plain + 3.0 * (wanted - plain)
    t = T[:, None, None]
    torch.testing.assert_close(clean, (x_t - t * guided) / (1 - t), atol=1e-4, rtol=1e-4)


def test_sds_has_the_gradient_of_score_distillation():
    of, part, clean, weight, x_t = asked("sds")
    wanted, plain = noises(of, part, x_t, None), noises(of, part, x_t, "")
    expected = T[:, None, None].square() * (plain + 3.0 * (wanted - plain) - part.draws.over)
    torch.testing.assert_close(descent(part, clean, weight), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_nfsd_leaves_the_noise_itself_out(guidance: float):
    of, part, clean, weight, x_t = asked("nfsd", guidance)
    wanted, plain, away = (noises(of, part, x_t, prompt) for prompt in (None, "", "bad"))
    change = guidance * (wanted - plain) + torch.where(T[:, None, None] < 0.2, plain, plain - away)
    torch.testing.assert_close(descent(part, clean, weight), T[:, None, None].square() * change, atol=1e-4, rtol=1e-3)
