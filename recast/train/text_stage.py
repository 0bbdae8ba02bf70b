"""The text encoder's pre-training: it learns to read before it learns to draw.

Left to the flow's loss alone, an encoder learns what is in the pictures first and what is in the words much later.
Texts of the world cost nothing and what they say is known, so a CPU can teach an encoder to read beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recast.context.t5 import T5Config, T5Encoder, buckets
from recast.context.text import PAD
from recast.errors import ConfigError
from recast.train import text_heads as heads
from recast.train import text_labels as labels
from recast.train.settings import Optimiser, Precision
from recast.train.stage import Loss, Phase
from recast.train.text_batches import UNIT, TextBatch, encode, write
from recast.train.text_heads import Heads, Weights
from recast.world.dice import Dice

GLANCES = None, -1, 1, "near", -2, 2
"""Where the heads of a new encoder look, in turn: anywhere, at the byte at a distance, or at those near it."""
GLANCE = 6.0
"""How much a head prefers the byte that it looks at: three quarters of its attention, of 144 tokens."""
_NEAR = 6  # bytes: about a word; T5 tells distances under 8 apart
STRIDE = 16
"""A group of texts is padded to a multiple of so many tokens."""


def nano_encoder() -> T5Config:
    """The encoder of `nano`: 1.85 M parameters over bytes."""
    return T5Config(vocab_size=384, d_model=192, d_kv=32, d_ff=512, num_layers=4, num_heads=6)


@dataclass(frozen=True, kw_only=True)
class TextTraining:
    """How an encoder learns to read.

    Work on padding is most of the work where texts are short, so a batch is cut into `groups` by length, each padded
    as far as its longest text needs; the share `padded` of the groups is padded to max_length, as the model will read.
    """

    optimiser: Optimiser = field(default_factory=lambda: Optimiser(kind="muon", lr=2e-3, weight_decay=0.01))
    weights: Weights = field(default_factory=Weights)
    groups: int = 4
    padded: float = 0.25
    validate: int = 512  # texts
    validate_seed: int = 0

    def __post_init__(self) -> None:
        if self.groups < 1 or not 0 <= self.padded <= 1:
            raise ConfigError(
                f"groups={self.groups}, padded={self.padded}: 1 or more, and a share from 0 to 1 accepted"
            )
        if self.validate < UNIT or self.validate % UNIT:
            raise ConfigError(f"validate={self.validate}: a multiple of {UNIT} accepted")


def new_encoder(config: T5Config, seed: int) -> T5Encoder:
    """An encoder with random weights, drawn on the CPU from the seed, each scaled as T5's own.

    Its relative biases start where reading does: most heads look at a byte beside their own. From none at all, a
    table of biases that moves by its learning rate a step would need thousands of steps to find its neighbours.
    Source: Raffel et al. 2020 (arXiv 1910.10683), section 3.1.2, and Shazeer and Stern 2018 (arXiv 1804.04235): inputs
    of unit scale keep it; q also takes the 1 / sqrt(d_kv) that T5's attention leaves out.
    """
    generator = torch.Generator().manual_seed(seed)
    encoder = T5Encoder(config)
    inner = config.num_heads * config.d_kv
    stds = {"q": (config.d_model * config.d_kv) ** -0.5, "o": inner**-0.5, "wo": config.d_ff**-0.5, "shared": 1.0}
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim == 2:
                std = stds.get(name.split(".")[-2], config.d_model**-0.5)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        table = encoder.encoder.get_parameter("block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        distances = torch.arange(1 - config.relative_attention_max_distance, config.relative_attention_max_distance)
        bucket = buckets(distances, config.relative_attention_num_buckets, config.relative_attention_max_distance)
        for head in range(config.num_heads):
            glance = GLANCES[head % len(GLANCES)]
            for distance, row in zip(distances.tolist(), bucket.tolist(), strict=True):
                if distance == glance:
                    table[row, head] += GLANCE
                elif glance == "near" and abs(distance) <= _NEAR:
                    table[row, head] += GLANCE * (1 - abs(distance) / (_NEAR + 1))
    return encoder


class Prepared(NamedTuple):
    """Texts in groups of about one length, and what they say, in the same order."""

    groups: tuple[Tensor, ...]  # each (g, m) int64 ids
    classes: Tensor  # (b, a)
    strings: Tensor  # (b, 2, p)
    roles: Tensor  # of every token that is not padding
    words: Tensor


class TextStage:
    """An encoder and its heads (`stage.Stage`).

    encoder: trained where it is. max_length: tokens that the model will pad to. seed: of the heads' first weights.
    """

    name = "text"
    averaged = ("text", "heads")

    def __init__(
        self,
        encoder: T5Encoder,
        training: TextTraining,
        *,
        max_length: int,
        seed: int = 0,
        precision: Precision = "fp32",
    ) -> None:
        width = encoder.shared.embedding_dim
        reading = Heads(width)
        heads.initialise(reading, torch.Generator().manual_seed(seed + 1))
        self.device = encoder.shared.weight.device
        self.networks: Mapping[str, nn.Module] = {"text": encoder, "heads": reading.to(self.device)}
        self.phases = (Phase(name="text", networks=("text", "heads"), optimiser=training.optimiser),)
        self.training, self.max_length, self.precision = training, max_length, precision
        self._held_out: tuple[TextBatch, TextBatch] | None = None

    def prepare(self, batch: TextBatch, share: float) -> Prepared:
        """The batch in groups of about one length, on the device."""
        order, cuts = self._groups(batch)
        rows = torch.tensor(order)
        groups = [batch.ids[rows[first:last], :length] for first, last, length in cuts]
        own = [self._own(part[rows], groups) for part in (batch.roles, batch.words)]
        said = (each.to(self.device) for each in (batch.classes[rows], batch.strings[rows], *own))
        return Prepared(tuple(ids.to(self.device) for ids in groups), *said)

    def loss(self, phase: str, prepared: Prepared, share: float) -> Loss:
        groups, classes, strings, roles, words = prepared
        with self._autocast():
            reads = [self._read(ids) for ids in groups]
        read = heads.Read(*(torch.cat(parts) for parts in zip(*reads, strict=True)))
        parts = heads.losses(read, classes, strings, roles, words, self.training.weights)
        return Loss(torch.stack(list(parts.values())).sum(), {name: value.detach() for name, value in parts.items()})

    def flops(self, batch: TextBatch) -> float:
        """Two for each weight and token, and those of attention, forward; twice as many backward."""
        encoder, reading = (dict(self.networks[name].named_parameters()) for name in ("text", "heads"))
        matrices = [each for name, each in encoder.items() if name.startswith("encoder.block") and each.ndim == 2]
        read_whole = ("key", "value", "string_key", "string_value", "role", "word")
        matrices += [each for name, each in reading.items() if name.split(".")[0] in read_whole]
        per_token = sum(each.numel() for each in matrices)
        inner = sum(each.shape[1] for name, each in encoder.items() if name.endswith("SelfAttention.o.weight"))
        forward = sum(
            (last - first) * (2 * per_token * length + 4 * inner * length * length)
            for first, last, length in self._groups(batch)[1]
        )
        return 3.0 * forward

    def count(self, batch: TextBatch) -> int:
        return batch.of

    def validate(self) -> Mapping[str, float]:
        """Shares of what is read right in texts of the held-out split, padded as the model will pad them.

        pooled/ and queried/: of the attributes that the text states, by group, and all together. "every attribute":
        texts of which each attribute is right, also those it does not state. title: whole strings, of texts that have
        one. slips/: the same of the same texts with a slip of the fingers in each.
        """
        if self._held_out is None:
            self._held_out = self._write_held_out()
        clean, slips = (self._score(batch) for batch in self._held_out)
        chosen = ("queried/stated", "queried/every attribute", "title/new", "title/old")
        return clean | {f"slips/{name}": slips[name] for name in chosen if name in slips}

    def samples(self) -> Mapping[str, np.ndarray]:
        """None: there is nothing to look at."""
        return {}

    def _write_held_out(self) -> tuple[TextBatch, TextBatch]:
        units = range(self.training.validate // UNIT)
        said = [each for n in units for each in write(self.training.validate_seed, n, split="held out")]
        dice = Dice(self.training.validate_seed, "slips")
        slips = [labels.slipped(each, dice.stream(n)) for n, each in enumerate(said)]
        slips = [s if len(s.text.encode()) < self.max_length else each for s, each in zip(slips, said, strict=True)]
        numbers = range(len(said))
        first, second = (encode(each, self.max_length, numbers, len(said)) for each in (said, slips))
        return first, second

    @torch.no_grad()
    def _score(self, batch: TextBatch) -> dict[str, float]:
        right: dict[str, list[Tensor]] = {}
        for ids, classes, strings in zip(
            *(each.split(64) for each in (batch.ids, batch.classes, batch.strings)), strict=True
        ):
            with self._autocast():
                read = self._read(ids.to(self.device))
            for name, value in heads.correct(read, classes.to(self.device), strings.to(self.device)).items():
                right.setdefault(name, []).append(value.cpu())
        whole = {name: torch.cat(values) for name, values in right.items()}
        said = batch.classes > 0
        scores: dict[str, Tensor] = {}
        for name in ("pooled", "queried"):
            groups: dict[str, list[int]] = {}
            for index, attribute in enumerate(labels.ATTRIBUTES):
                groups.setdefault(labels.group(attribute), []).append(index)
            for group, indices in groups.items():
                scores[f"{name}/{group}"] = whole[name][:, indices][said[:, indices]]
            scores[f"{name}/stated"] = whole[name][said]
            scores[f"{name}/every attribute"] = whole[name].all(1)
        for i, name in enumerate(("new", "old")):
            scores[f"title/{name}"] = whole["strings"][:, i][batch.strings[:, i, 0] != labels.END]
        return {name: float(each.float().mean()) for name, each in scores.items() if len(each)}

    def _read(self, ids: Tensor) -> heads.Read:
        return self.networks["heads"](self.networks["text"](ids), ids)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _own(self, part: Tensor, groups: Sequence[Tensor]) -> Tensor:
        """What a part (b, m) says of the tokens that are not padding, group after group."""
        rows = part.split([len(ids) for ids in groups])
        return torch.cat([row[:, : ids.shape[1]][ids != PAD] for row, ids in zip(rows, groups, strict=True)])

    def _groups(self, batch: TextBatch) -> tuple[list[int], list[tuple[int, int, int]]]:
        """The rows by length, and the groups they fall into: first row, row after the last, tokens padded to."""
        order = sorted(range(len(batch.lengths)), key=batch.lengths.__getitem__)
        size = math.ceil(len(order) / self.training.groups)
        cuts = []
        for first in range(0, len(order), size):
            last = min(first + size, len(order))
            longest = batch.lengths[order[last - 1]]
            length = min(math.ceil(longest / STRIDE) * STRIDE, self.max_length)
            if Dice(batch.numbers[0], "padded", first).chance(self.training.padded):
                length = self.max_length
            cuts.append((first, last, length))
        return order, cuts
