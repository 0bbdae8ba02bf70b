"""Pictures to passes: what a step does with each example, its pictures encoded, uses of one length put together.

Uses with context and uses without are two passes. Where there is no context, its tokens are not in the sequence; zeros
in their place would be read as a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import pack
from recast.train import objective
from recast.train.data.example import Batch
from recast.train.settings import Run
from recast.train.uses import TARGET, FlowTraining, Pass, Use, plan

ENCODE_PX = 1 << 22
"""Pixels encoded at once: the encoder needs far more memory a pixel than what comes after it."""


class Slot(NamedTuple):
    """The tokens of some examples' pictures of one slot."""

    tokens: Tensor  # (k, n, d)
    row: Mapping[int, int]  # of an example of the batch
    grid: tuple[int, int]


def autocast(run: Run, device: torch.device) -> AbstractContextManager[None]:
    """The precision in which the run's networks compute."""
    return torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16")


class PassMaker:
    """Encodes batches with a frozen autoencoder, as `training` says; where it says so, it remembers pictures."""

    def __init__(self, autoencoder: Autoencoder, training: FlowTraining, run: Run, device: torch.device) -> None:
        self.autoencoder, self.training, self.run, self.device = autoencoder, training, run, device
        self._planned: tuple[Batch | None, list[Use]] = (None, [])
        self._kept: dict[tuple[tuple[int, ...], bytes], Tensor] = {}  # tokens, those used last at the end

    def uses(self, batch: Batch) -> list[Use]:
        """What this step does with the batch's examples; the same list if asked for again."""
        if self._planned[0] is not batch:
            self._planned = batch, plan(batch, self.training, self.run.seed)
        return self._planned[1]

    def passes(self, batch: Batch, uses: Sequence[Use], *, with_dummies: bool = False) -> tuple[Pass, ...]:
        """Uses with contexts, and uses without, each encoded.

        with_dummies: a pass that other processes may run is run here too, on one example that does not count:
        sharded networks are gathered together or not at all.
        """
        chosen = [([use for use in uses if bool(use.contexts) == has_context], True) for has_context in (True, False)]
        if with_dummies and batch.contexts:
            training = self.training
            may = (
                training.edit + training.keep > 0,
                training.text_to_image + training.edit * training.context_dropout > 0,
            )
            for place, is_run in enumerate(may):
                if is_run and not chosen[place][0]:
                    contexts = tuple(range(len(batch.contexts))) if place == 0 else ()
                    chosen[place] = [replace(uses[0], target=TARGET, contexts=contexts, has_mask=False)], False
        wanted: dict[int, set[int]] = {}
        for members, _ in chosen:
            for use in members:
                for slot in (use.target, *use.contexts):
                    wanted.setdefault(slot, set()).add(use.example)
        slots = {slot: self._tokens(batch, slot, sorted(examples)) for slot, examples in wanted.items()}
        return tuple(self._pass(batch, members, slots, counts) for members, counts in chosen if members)

    def _pass(self, batch: Batch, uses: Sequence[Use], slots: Mapping[int, Slot], counts: bool) -> Pass:
        def rows(slot_of: Callable[[Use], int]) -> Tensor:
            return torch.stack([slots[slot_of(use)].tokens[slots[slot_of(use)].row[use.example]] for use in uses])

        context = None
        shown = len(uses[0].contexts)
        if shown:
            context = torch.cat([rows(lambda use, k=k: use.contexts[k]) for k in range(shown)], dim=1)  # type: ignore[misc]
        grid = slots[uses[0].target].grid
        grids = tuple(slots[slot].grid for slot in uses[0].contexts)
        if self.training.conditioning == "channels" and shown and grids != (grid,):
            raise ConfigError(
                f"conditioning='channels': one context of the target's grid {grid} accepted; {grids} came; "
                "train on such pairs, or by sequence"
            )
        mask = None
        if any(use.has_mask for use in uses) and batch.masks is not None:
            known = objective.token_mask(batch.masks, self.autoencoder.config.pixels_per_token)
            empty = torch.zeros_like(known[0])
            mask = torch.stack([known[use.example] if use.has_mask else empty for use in uses]).to(self.device)
        return Pass(
            uses=tuple(uses),
            clean=rows(lambda use: use.target),
            grid=grid,
            context=context,
            context_grids=grids,
            mask=mask,
            counts=counts,
        )

    @torch.no_grad()
    def _tokens(self, batch: Batch, slot: int, examples: Sequence[int]) -> Slot:
        pictures = batch.target if slot == TARGET else batch.contexts[slot]
        height, width = pictures.shape[-2:]
        side = self.autoencoder.config.pixels_per_token
        row, grid = {example: row for row, example in enumerate(examples)}, (height // side, width // side)
        if self.training.kept_encodings:
            return Slot(torch.cat([self._remembered(pictures[example]) for example in examples]), row, grid)
        pictures = pictures.to(self.device, non_blocking=True)  # whole: what is picked from it is not pinned any more
        tokens = []
        for some in torch.tensor(examples).split(max(1, ENCODE_PX // (height * width))):
            pixels = pictures[some].float() / 127.5 - 1
            with autocast(self.run, self.device):
                tokens.append(pack(self.autoencoder.encode(pixels)).float())
        return Slot(torch.cat(tokens), row, grid)

    def _remembered(self, picture: Tensor) -> Tensor:
        """The tokens (1, n, d) of a picture (3, H, W) uint8 on the CPU, moved where they are not known yet.

        It is encoded alone, so that they do not depend on its batch.
        """
        key = tuple(picture.shape), hashlib.blake2b(picture.contiguous().numpy().tobytes()).digest()
        tokens = self._kept.pop(key, None)
        if tokens is None:
            with autocast(self.run, self.device):
                tokens = pack(self.autoencoder.encode(picture[None].to(self.device).float() / 127.5 - 1)).float()
        self._kept[key] = tokens
        if len(self._kept) > self.training.kept_encodings:
            del self._kept[next(iter(self._kept))]
        return tokens
