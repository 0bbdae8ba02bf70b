"""Direct trajectory distillation: regression on walks of the teacher, to their ends or from state to state.

To the end: the student's clean prediction is drawn to the teacher's endpoint of the same noise. The states it is
trained on are those of its own walk, so that it learns to end well from where it really comes. Exact where a picture
follows from its noise, soft where it does not.
From state to state: each step of the student is to go where the teacher goes in many, from where the teacher stands at
its beginning. What is to be learned is the bend of the path within a step, which needs far less training.
Without a discriminator either is stable. They are the baseline of a few-step student, and what adversarial distillation
may start from.
Source: Luhman & Luhman 2021 (arXiv 2101.02388), section 3, for the regression to a teacher's endpoints; on the
student's own states, Yin et al. 2024 (arXiv 2405.14867), section 4.5. Salimans & Ho 2022 (arXiv 2202.00512), section 3,
for many steps in one; of a path cut into windows, Yan et al. 2024 (PeRFlow, arXiv 2405.07510), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.train.distill import student
from recast.train.distill.distance import Distance, check_distance, distance
from recast.train.distill.paired import PairedStage, at_one_time, check_outside
from recast.train.distill.pairs import PairBatch
from recast.train.distill.student import Law, SamplerName
from recast.train.flow_stage import BACKWARD, FlowStage
from recast.train.objective import even
from recast.train.stage import Loss

Trained = Literal["one", "every", "through"]
Towards = Literal["end", "states"]


@dataclass(frozen=True, kw_only=True)
class DirectSettings:
    """What a student is trained on.

    trained: one time of its grid for each example, by `law`; every time of it, each from the state that the walk brings
    without a gradient; or through: the end of the walk alone, with the gradient of all its steps, for small networks.
    towards: the end of the teacher's walk, from states of the student's own; or states: from each of the teacher's to
    the next, for which pairs must hold as many as the student has steps (`PairSettings.states`).
    """

    law: Law = field(default_factory=Law)  # its `steps` are the student's
    trained: Trained = "one"
    towards: Towards = "end"
    distance: Distance = "l1"
    outside: float = 0.0  # weight of that distance to the source, outside an edit's mask, where it is known
    shifts_schedule: bool = True  # the student's times, by resolution
    sampler: SamplerName = "euler"  # the student's, in training and in use

    def __post_init__(self) -> None:
        if self.trained not in ("one", "every", "through"):
            raise ConfigError(f"trained={self.trained!r}: one, every or through accepted; choose one")
        if self.towards not in ("end", "states"):
            raise ConfigError(f"towards={self.towards!r}: end or states accepted; choose one")
        if self.towards == "states" and self.trained != "one":
            raise ConfigError(
                f"trained={self.trained!r}: one accepted with towards='states', where no step waits for another"
            )
        check_distance(self.distance)
        check_outside(self.outside)
        if self.sampler != "euler":
            raise ConfigError(
                f"sampler={self.sampler!r}: euler accepted: a pair ties its endpoint to the noise of the walk, and "
                "another sampler draws new noise on the way; train LADD or consistency for it"
            )
        if self.trained != "one" and (self.law.main or self.law.warmup):
            raise ConfigError(f"trained={self.trained!r}: all times are trained on; leave out the law's shares")


class DirectStage(PairedStage):
    """Trains a student of `settings.law.steps` Euler steps on a teacher's pairs (`pairs.Pairs`). See `PairedStage`."""

    name = "direct"

    def __init__(self, reading: FlowStage, settings: DirectSettings, *, held_out: Sequence[PairBatch] = ()) -> None:
        self.settings = settings
        super().__init__(reading, steps=settings.law.steps, shifts_schedule=settings.shifts_schedule, held_out=held_out)

    def loss(self, phase: str, prepared: PairBatch, share: float) -> Loss | None:
        """The mean distance to the endpoints; k0, k1, ...: of the examples at each time of the grid, noise first.

        outside: of the same clean predictions from the source outside the mask, where the settings ask for it.
        """
        if self.settings.trained == "one":
            found, clean, k = (self._at_one if self.settings.towards == "end" else self._on_the_way)(prepared, share)
            parts = {f"k{i}": (found.detach() * (k == i)).sum() / (k == i).sum() for i in range(self.steps)}
            loss, seen = Loss(found.mean(), parts), [clean]
        else:
            seen = self._along(prepared)
            each = [distance(clean, prepared.each.clean, self.settings.distance) for clean in seen]
            parts = {f"k{i}": losses.detach().mean() for i, losses in enumerate(each)}
            if self.settings.trained == "through":
                seen, each = seen[-1:], each[-1:]
            loss = Loss(torch.stack(each).mean(), parts)
        return self.with_outside(loss, seen, prepared.each, self.settings.outside, self.settings.distance)

    def flops(self, batch: PairBatch) -> float:
        """Of the walk to the states, all of it, and of the trained evaluations with their backward passes.

        Under adapters the transformer's matrices have no gradient of their own; that they cost less is not counted.
        """
        step, condition = self.work(batch.each)
        if self.settings.trained != "one":
            return BACKWARD * (self.steps * step + condition)
        if self.settings.towards == "states":
            return BACKWARD * (step + condition)
        return (self.steps - 1) * step + condition + BACKWARD * (step + condition)

    def states(self, batch: PairBatch, k: Tensor) -> Tensor:
        """Where the student's own walk from the pairs' noise stands at times[k], (b, n, d), without a gradient."""
        with torch.no_grad():
            velocity = self.velocity(batch.each, batch.guidance)
        together = self.steps - 1 if self.reading.ranks.size > 1 else None
        times = self.times(batch.each)
        return student.roll_in(at_one_time(velocity), batch.noise, times, k, evaluations=together)

    def _at_one(self, batch: PairBatch, share: float) -> tuple[Tensor, Tensor, Tensor]:
        """The distance (b,) at one time of each example, the clean prediction (b, n, d) there, and which time (b,)."""
        k = self._drawn(batch, share)
        x_t = self.states(batch, k)
        t = torch.tensor(self.times(batch.each), device=x_t.device)[k]
        velocity = self.velocity(batch.each, batch.guidance)(x_t, t)
        clean = student.clean(x_t, velocity, t)
        return distance(clean, batch.each.clean, self.settings.distance), clean, k

    def _on_the_way(self, batch: PairBatch, share: float) -> tuple[Tensor, Tensor, Tensor]:
        """The distance (b,) of velocities from the one that leads to the teacher's next state, the clean prediction
        (b, n, d) there, and which time (b,).
        """
        if batch.states is None or batch.states.shape[1] != self.steps - 1:
            held = 1 if batch.states is None else batch.states.shape[1] + 1
            raise ConfigError(
                f"pairs: hold {held} state(s) of the teacher's walk; {self.steps} needed, as many as the student's "
                f"steps; write pairs with settings.states={self.steps}, or set settings.towards=end"
            )
        k = self._drawn(batch, share)
        stood = torch.cat([batch.noise[:, None], batch.states, batch.each.clean[:, None]], dim=1).float()
        rows, times = torch.arange(len(k), device=k.device), torch.tensor(self.times(batch.each), device=k.device)
        x_t, t = stood[rows, k], times[k]
        wanted = (stood[rows, k + 1] - x_t) / (times[k + 1] - t)[:, None, None]
        velocity = self.velocity(batch.each, batch.guidance)(x_t, t)
        return distance(velocity, wanted, self.settings.distance), student.clean(x_t, velocity, t), k

    def _drawn(self, batch: PairBatch, share: float) -> Tensor:
        """At which time of the grid (b,) each example is trained."""
        drawn = even(batch.numbers, self.reading.run.seed, 1)[:, 0]
        return self.settings.law.index(drawn, share).to(self.reading.device)

    def _along(self, batch: PairBatch) -> list[Tensor]:
        """The clean end (b, n, d) that each step of the walk sees."""
        velocity = at_one_time(self.velocity(batch.each, batch.guidance))
        x, found = batch.noise.float(), []
        for t, t_next in pairwise(self.times(batch.each)):
            v = velocity(x, t)
            found.append(x - t * v)
            x = x + (t_next - t) * v
            x = x if self.settings.trained == "through" else x.detach()
        return found
