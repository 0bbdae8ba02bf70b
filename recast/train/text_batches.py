"""Batches of texts that say what is known: written on the fly from the world's seeds, without drawing a picture.

Text number n is a function of the stream's seed and n alone: the same in every process, at any batch size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from recast.context.text import byte_ids
from recast.errors import ConfigError, TrainingError
from recast.train import text_labels as labels
from recast.train.data.loader import begin_worker, started
from recast.train.parallel import ALONE, Ranks
from recast.world import edits
from recast.world.dice import Dice
from recast.world.sample import FIRST_UNTRAINED, check_split
from recast.world.titles import LONGEST
from recast.world.words import description

UNIT = 4
"""Texts written about one edit: its instruction, the one back where there is one, and descriptions of its scenes."""
LENGTHS = {"short": 50.0, "medium": 35.0, "long": 15.0}
"""How often descriptions of each length are written."""
PLACES = LONGEST + 1
"""Of a title's characters, the end included."""


@dataclass(frozen=True, kw_only=True)
class TextBatch:
    """A process's part of a batch of texts, and what they say. b texts, m tokens, a attributes."""

    numbers: tuple[int, ...]  # where each text stands in the stream
    of: int  # texts in the whole batch, all processes together
    texts: tuple[str, ...]
    ids: Tensor  # (b, m) int64, padded
    lengths: tuple[int, ...]  # tokens of each that are not padding
    classes: Tensor  # (b, a) int64, of ATTRIBUTES
    strings: Tensor  # (b, 2, PLACES) int64: characters of the new title and of the old one
    roles: Tensor  # (b, m) int64: 0, or 1 + place in the new string, or 1 + PLACES + place in the old one
    words: Tensor  # (b, m) int64: the number of the word that a token is part of, or UNKNOWN


def encode(said: Sequence[labels.Said], max_length: int, numbers: Sequence[int], of: int) -> TextBatch:
    """Texts as tensors, padded to max_length tokens. Raises ConfigError for a text that does not fit."""
    rows, lengths = [], []
    roles = torch.zeros(len(said), max_length, dtype=torch.long)
    words = torch.full_like(roles, labels.UNKNOWN)
    for row, each in enumerate(said):
        ids, cut = byte_ids(each.text, max_length)
        if cut:
            raise ConfigError(f"max_length={max_length}: {cut[0]}; texts of the world need {edits.NANO_BYTES + 1}")
        rows.append(ids)
        starts = [0, *accumulate(len(character.encode()) for character in each.text)]  # bytes before each character
        lengths.append(starts[-1] + 1)
        for begin, end, word in labels.words(each):
            words[row, starts[begin] : starts[end]] = word
        for name, first in (("new", 1), ("old", 1 + PLACES)):
            for at, place in labels.spans(each).get(name, ()):
                roles[row, starts[at]] = first + place
    return TextBatch(
        numbers=tuple(numbers),
        of=of,
        texts=tuple(each.text for each in said),
        ids=torch.tensor(rows),
        lengths=tuple(lengths),
        classes=torch.tensor([each.classes() for each in said]),
        strings=torch.tensor([[labels.spelled(each.new), labels.spelled(each.old)] for each in said]),
        roles=roles,
        words=words,
    )


def write(seed: int, unit: int, *, split: str = "train", slips: float = 0.0) -> list[labels.Said]:
    """The UNIT texts of unit number `unit`, and what each says.

    split: as in `world.edits.edit`; texts of another split than "train" come from seeds that no training sees. slips:
    the share of texts with a slip of the fingers, beside those that the world makes itself.
    """
    number = int.from_bytes(hashlib.sha256(f"texts/{seed}/{unit}".encode()).digest()[:8], "big")
    number = number % (FIRST_UNTRAINED >> 1) + (0 if split == "train" else FIRST_UNTRAINED)
    dice = Dice(number, "texts")
    made = edits.edit(number, split=split)
    said = [labels.of_edit(made)]
    if made.inverse is not None:
        said.append(labels.of_edit(edits.reverse(made)))
    scenes = (made.target, *made.contexts)
    for i in range(UNIT - len(said)):
        scene, stream = scenes[i % len(scenes)], dice.stream("description", i)
        length = stream.stream("length").weighted(LENGTHS)
        described = description(scene, stream, length=length, limit_bytes=edits.NANO_BYTES)
        said.append(labels.of_description(scene, described))
    for i, each in enumerate(said):
        stream = dice.stream("slip", i)
        if stream.chance(slips):
            slipped = labels.slipped(each, stream)
            if len(slipped.text.encode()) <= edits.NANO_BYTES:
                said[i] = slipped
    return said


class _Written(Dataset[TextBatch]):
    """Batch number n of a process."""

    def __init__(self, about: TextBatches) -> None:
        self.seed, self.split, self.slips, self.max_length = about.seed, about.split, about.slips, about.max_length
        self.batch, self.data_rank, self.data_size = about.batch, about.data_rank, about.data_size

    def __getitem__(self, first: int) -> TextBatch:
        """The batch that begins with text number `first`: this process's part of it."""
        own = self.batch // self.data_size
        start = first + own * self.data_rank
        said = [
            each
            for unit in range(start // UNIT, (start + own) // UNIT)
            for each in write(self.seed, unit, split=self.split, slips=self.slips)
        ]
        return encode(said, self.max_length, range(start, start + own), self.batch)


class TextBatches:
    """An endless stream of texts (`stage.Batches`).

    batch: texts a step, all processes together. workers: processes that write them beside this one; 0 for none.
    Raises ConfigError unless every process gets a multiple of UNIT texts, InputError for an unknown split.
    """

    def __init__(
        self,
        *,
        batch: int,
        max_length: int,
        seed: int = 0,
        split: str = "train",
        slips: float = 0.1,
        workers: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        check_split(split)
        self.data_rank, self.data_size = ranks.data_rank, ranks.data_size
        if batch < 1 or batch % (UNIT * self.data_size):
            raise ConfigError(
                f"batch={batch}: a multiple of {UNIT * self.data_size} accepted, {UNIT} texts at once for each of "
                f"{self.data_size} processes; choose one"
            )
        if not 0 <= slips <= 1 or workers < 0:
            raise ConfigError(f"slips={slips}, workers={workers}: a share from 0 to 1, a whole number from 0 accepted")
        self.batch, self.max_length, self.seed, self.split = batch, max_length, seed, split
        self.slips, self.workers = slips, workers
        self._next = 0

    def __iter__(self) -> Iterator[TextBatch]:
        written = _Written(self)
        order: Any = count(self._next, self.batch)
        if not self.workers:
            batches: Iterator[TextBatch] = map(written.__getitem__, order)
        else:
            batches = started(
                DataLoader(
                    written, batch_size=None, sampler=order, num_workers=self.workers, worker_init_fn=begin_worker
                )
            )
        while True:
            try:
                made = next(batches)
            except RuntimeError as error:  # what a DataLoader says when a worker is gone
                if not self.workers:
                    raise
                raise TrainingError(
                    f"workers={self.workers}: one of them is gone ({error}); the run can be continued; give the "
                    "machine more memory, or fewer workers"
                ) from error
            self._next += self.batch
            yield made

    def state(self) -> dict[str, Any]:
        return {**self._about(), "next": self._next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        about = self._about()
        differing = [
            f"{name} {state.get(name)!r} there, {about[name]!r} here"
            for name in about
            if state.get(name) != about[name]
        ]
        if differing:
            raise ConfigError(f"state: of another stream of texts: {'; '.join(differing)}; start a new run, or go back")
        if state["next"] % UNIT:
            raise ConfigError(f"state: at text {state['next']}: a multiple of {UNIT} accepted; start a new run")
        self._next = int(state["next"])

    def close(self) -> None:
        """Nothing is held: workers end with their iterator."""

    def _about(self) -> dict[str, Any]:
        return {"kind": "texts", "seed": self.seed, "split": self.split, "slips": self.slips, "labels": labels.HASH}
