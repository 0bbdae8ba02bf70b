"""The stage of adapters: a flow stage whose panel shows the base beside what the adapters make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from recast.config import Defaults
from recast.train import objective, panel, validation
from recast.train.adapters import Adapters
from recast.train.data.example import Batch, Example
from recast.train.data.loader import collated
from recast.train.flow_stage import FlowStage, picture_of
from recast.train.panel import Ask
from recast.train.uses import Pass, fixed


class AdapterStage(FlowStage):
    """Trains adapters. Its panel: contexts, before, after and answer of each held-out example of `panel`.

    prompts: asked too, as text to image of the usual size; nobody knows the answer. usual: of the base: pictures are
    guided as it is used.
    """

    def __init__(self, *, adapters: Adapters, usual: Defaults, prompts: Sequence[str] = (), **more: Any) -> None:
        super().__init__(adapters=adapters, **more)
        self.adapters, self.usual = adapters, usual
        self.prompts = [_batch(prompts, usual)] if prompts else []
        self._before: list[np.ndarray] | None = None  # by the base, which stays as it is

    def samples(self) -> Mapping[str, np.ndarray]:
        """One picture: a row for each example of the panel, then for each prompt."""
        if not (self.panel or self.prompts):
            return {}
        if self._before is None:
            with self.adapters.off():
                self._before = [made for _, made in self._answered()]
        asks, after = zip(*self._answered(), strict=True)
        return {"panel": panel.sheet(asks, {"before": self._before, "after": after}, says_seed=False)}

    def _answered(self) -> list[tuple[Ask, np.ndarray]]:
        """What is asked, and the picture that the flow makes of it."""
        found = []
        for batches, is_known in ((self.panel, True), (self.prompts, False)):
            for batch in batches:
                for use, made in self.answers(batch, validation.one_each(fixed(batch, self.training))):
                    contexts = tuple(picture_of(batch, slot, use.example) for slot in use.contexts)
                    answer = picture_of(batch, use.target, use.example) if is_known else None
                    found.append((Ask(prompt=use.prompt, contexts=contexts, answer=answer), made))
        return found

    def _sample(self, each: Pass) -> list[np.ndarray]:
        """Pictures (H, W, 3) uint8 of a pass, from noise that is always the same, guided as the base usually is."""
        usual, fed = self.usual, self.usual.guidance or 1.0
        scale = usual.generate_true_guidance
        if each.context is not None:
            scale, fed = usual.edit_true_guidance, usual.edit_guidance or fed
        wanted = self.velocity(each, each.prompts, fed)
        unwanted = self.velocity(each, [""] * len(each.uses), fed)

        def guided(x: Tensor, t: Tensor) -> Tensor:
            return objective.guided_target(unwanted(x, t), wanted(x, t), scale)

        velocity = wanted if scale == 1 else guided
        return self.pictures(validation.walk(each, velocity, self.sampling, self.device), each.grid)


def _batch(prompts: Sequence[str], usual: Defaults) -> Batch:
    """These prompts as examples of white pictures, which are never shown."""
    white = np.full((usual.height, usual.width, 3), 255, np.uint8)
    examples = [Example(id=f"prompt-{n}", target=white, captions=(prompt,)) for n, prompt in enumerate(prompts)]
    return collated(examples, range(len(prompts)), len(prompts))
