"""Whether the student may follow its discriminator yet: what an adversarial stage remembers between steps.

A discriminator that cannot tell real from fake still moves the student, at the full rate and at random. So it is
trained alone first, and the student follows it only if it sees something. All of this is saved with the networks.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from recast.errors import TrainingError

Blind = Literal["stop", "skip"]
WINDOW = 20
"""Steps over which the accuracy is averaged."""
_UNDECIDED, _OPEN, _SHUT = 0, 1, 2


class Gate(nn.Module):
    """Counts batches, averages the discriminator's accuracy, and opens once. Has no parameters; stays on the CPU."""

    batches: Tensor  # prepared so far
    seen: Tensor  # accuracies so far
    accuracy: Tensor
    verdict: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("batches", "seen", "verdict"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("accuracy", torch.zeros((), dtype=torch.float64))

    def count(self) -> None:
        """One batch more."""
        self.batches += 1

    def turn(self, every: int, accumulate: int) -> bool:
        """Whether the step of the last batch is one of the student's: each `every`-th, of `accumulate` batches each."""
        step = (int(self.batches) - 1) // accumulate
        return step % every == every - 1

    def note(self, accuracy: float) -> None:
        """The accuracy of one batch: the mean over all processes, so that all decide alike."""
        self.seen += 1
        self.accuracy += (accuracy - self.accuracy) / min(int(self.seen), WINDOW)

    def decide(self, bound: float, blind: Blind) -> None:
        """Open, or stay shut for good, by the accuracy so far; once decided, it stays so.

        Without a warm-up there is no accuracy, and it opens.
        Raises TrainingError if the accuracy is below `bound` and blind is "stop".
        """
        if int(self.verdict) != _UNDECIDED:
            return
        if int(self.seen) == 0 or float(self.accuracy) >= bound:
            self.verdict.fill_(_OPEN)
        elif blind == "skip":
            self.verdict.fill_(_SHUT)
        else:
            found = round(float(self.accuracy), 3)
            raise TrainingError(
                f"accuracy={found}: the discriminator tells real from fake no better than this after "
                f"its warm-up; at least accuracy_needed={bound} needed for the student to learn from it; lower "
                "renoise_mean, raise the discriminator's lr or heads.width, tap other blocks, warm up longer "
                "(generator_from), or leave the stage out (blind='skip')"
            )

    @property
    def is_undecided(self) -> bool:
        return int(self.verdict) == _UNDECIDED

    @property
    def is_open(self) -> bool:
        return int(self.verdict) == _OPEN

    @property
    def is_shut(self) -> bool:
        """The discriminator stayed blind: there is nothing to be learned from it."""
        return int(self.verdict) == _SHUT
