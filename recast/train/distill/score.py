"""What a frozen teacher says of a student's picture, from one step at a random noise level.

The picture x is noised, x_t = (1 - t) x + t noise, and the teacher asked what it sees there:

    exponential   its clean end x_t - t v(x_t, t), v guided; weight 1 - t: high noise says little of this picture
    sds           the same end; weight t (1 - t) / 2: the gradient of the squared distance to it is, in tokens, that of
                  score distillation, t^2 (e - noise), with e the noise that the teacher sees
    nfsd          x - t / (1 - t) d, where d is what is left of the guided noise without the noise itself: with a
                  prompt's e_c, the empty one's e_0 and that of what to keep away from, e_n,
                  d = g (e_c - e_0) + (e_0 - e_n), below t = 0.2 with e_0 alone in the second place; weight as of sds

Sources: Sauer et al. 2023 (arXiv 2311.17042), section 3.3; Poole et al. 2022 (arXiv 2209.14988), section 3, with
w(t) = sigma_t^2; Katzir et al. 2023 (arXiv 2310.17590), section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.path import interpolate, noise_at
from recast.flow.transformer import Condition
from recast.train.distill import student
from recast.train.distill.add_settings import Weighting
from recast.train.distill.asking import asked
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage
from recast.train.uses import Pass

QUIET = 0.2
"""Below this noise level what the teacher predicts without a prompt is taken for what it would change."""


@dataclass(frozen=True)
class Question:
    """What the teacher is asked of a pass: its conditions, of k examples, and the scale of guidance."""

    condition: Condition
    null: Condition | None
    scale: float
    negative: Condition | None = None

    @classmethod
    def of(
        cls, reading: FlowStage, teacher: Teacher, each: Pass, *, guidance: float, weighting: Weighting, negative: str
    ) -> Question:
        """To be called within `reading.autocast`. negative: the prompt of nfsd."""
        flow = teacher.flow
        condition, null, scale = asked(reading, flow, each, guidance)
        if weighting != "nfsd":
            return cls(condition, null, scale)

        def under(prompt: str) -> Condition:
            text = reading.encode([prompt])
            return flow.with_text(condition, text.tokens, text.pooled)

        return cls(condition, null or under(""), scale, under(negative))


@torch.no_grad()
def taught(
    teacher: Teacher, clean: Tensor, noise: Tensor, t: Tensor, question: Question, weighting: Weighting
) -> tuple[Tensor, Tensor]:
    """Clean tokens (k, n, d) that the student's are drawn to, fp32, and weights (k,) of their squared distance.

    clean, noise (k, n, d); t (k,) in (0, 1), fp32. To be called within the autocast of the run.
    """
    x_t, _ = interpolate(clean, noise, t)
    if weighting != "nfsd":
        v = teacher.velocity(x_t, t, question.condition, question.null, question.scale)
        return student.clean(x_t, v, t), weights(t, weighting)
    assert question.null is not None
    assert question.negative is not None
    over = t[:, None, None]
    wanted, plain = teacher.both(x_t, t, question.condition, question.null)
    away = teacher.velocity(x_t, t, question.negative)
    # Of two predictions at one point the noises differ by (1 - t) times the velocities, which t / (1 - t) takes back.
    change = over * (question.scale * (wanted - plain) + plain - away)
    quiet = over * question.scale * (wanted - plain) + over / (1 - over) * noise_at(x_t, plain, over)  # type: ignore[arg-type]
    return clean - torch.where(over < QUIET, quiet, change), weights(t, weighting)


def weights(t: Tensor, weighting: Weighting) -> Tensor:
    """How much the squared distance counts at noise levels t (b,)."""
    return 1 - t if weighting == "exponential" else t * (1 - t) / 2


def check(teacher: Teacher, weighting: Weighting) -> None:
    """Raises ConfigError for a teacher that cannot be asked as the weighting wants."""
    if weighting == "nfsd" and teacher.flow.config.guidance_embed:
        raise ConfigError(
            "distill_weighting='nfsd': for teachers guided by two evaluations: one with a guidance embedding does not "
            "say what it predicts without guidance; choose exponential or sds"
        )
