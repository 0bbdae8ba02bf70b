"""A teacher's pictures together with the noise that each came from, kept in a folder: what students learn from.

A pair is an example's noise and the clean tokens that the teacher's walk from it ends at, with what was asked; and,
where they are wanted, the states that the walk went through. Kept are tokens of target and contexts in 16 bits, and the
words; the noise and the encoding of the words are made again. With n target tokens of d channels, s states, the end
among them, and r context tokens a pair takes 2 (s n + r) d bytes, 16 more to know the noise by, and its words: of
`nano` at 256 x 256, n = 256, d = 64 and s = 1, 64 KiB for an edit and 32 KiB for text to image, where the encoded text
would take 54 KiB more and the noise 32. An edit whose mask is known takes n bytes more, which say what tokens must
change, and with it every pair of its shape in its file: a mask that is not known is stored as an empty one.

    manifest.json             whose endpoints, how they were made, the shards, and where the examples stand
    pairs-00000-00.safetensors  one part of the first shard: of each shape its rows, the words in the header

Every file comes whole or not at all, shards before the manifest that names them.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recast.errors import ConfigError, InputError
from recast.train.data.order import Permutation
from recast.train.distill.pair_manifest import Manifest, require_same_makers
from recast.train.objective import generator
from recast.train.parallel import ALONE, Ranks
from recast.train.uses import TARGET, Kind, Pass, Use
from recast.weights.files import Header, read_header
from recast.weights.reading import TORCH_DTYPES

PROBE = 4
"""Numbers of its noise that are kept with a pair, in fp32, to know it again by."""
PROBE_ERROR = 1e-4
"""Two machines may round a normal number differently; they do not draw another one."""
AHEAD = 2
"""Batches that are read before they are asked for."""


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Pairs of one shape: the part of a batch that is this process's.

    each: what was asked; its `clean` (k, n, d) is the teacher's endpoint, its numbers are places in the stream of
    pairs. noise: (k, n, d), what the teacher's walk began with. guidance, steps: of that walk.
    states: (k, s - 1, n, d), where it stood after each of s equal parts but the last; None where only its end is known.
    The mask of `each` is None where none of the pairs has one.
    """

    each: Pass
    noise: Tensor
    of: int  # pairs in the whole batch, all processes together
    ids: tuple[str, ...]
    guidance: float
    steps: int
    states: Tensor | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.each.numbers

    def to(self, device: torch.device) -> PairBatch:
        """The same on a device, numbers in fp32."""

        def there(tensor: Tensor) -> Tensor:
            moved = tensor.to(device, non_blocking=True)
            return moved if moved.dtype == torch.bool else moved.float()

        return self._moved(there)

    def pin_memory(self) -> PairBatch:
        """The same in memory that a GPU copies from by itself."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> PairBatch:
        may = (self.each.context, self.each.mask, self.states)
        context, mask, states = (None if each is None else move(each) for each in may)
        each = replace(self.each, clean=move(self.each.clean), context=context, mask=mask)
        return replace(self, each=each, noise=move(self.noise), states=states)


class Key(NamedTuple):
    """What is equal in a batch: the grid of the target, and of every context."""

    grid: tuple[int, int]
    contexts: tuple[tuple[int, int], ...]


def noise_of(numbers: Sequence[int], seed: int, shape: Sequence[int]) -> Tensor:
    """The noise (b, *shape) of pairs by the number of their example, fp32 on the CPU whatever the device."""
    return torch.stack([torch.randn(tuple(shape), generator=generator(seed, number, "pair")) for number in numbers])


@dataclass(frozen=True)
class _Part:
    """The rows of one shape in one file."""

    path: Path
    name: str  # of its tensors
    header: Header
    words: Mapping[str, Any]  # numbers, ids, kinds, prompts, copies, categories, bases, masked, a list each


@dataclass
class _Shape:
    """All pairs of one shape, in the order in which they were written."""

    parts: list[_Part] = field(default_factory=list)
    ends: list[int] = field(default_factory=lambda: [0])  # pairs before each part

    @property
    def count(self) -> int:
        return self.ends[-1]


class Pairs:
    """The pairs of a folder as an endless stream of batches. Implements `stage.Batches`; a batch is a `PairBatch`.

    batch: pairs a step, all processes together, all of one shape; a shape comes as often as it has pairs, and its pairs
    in a new order every epoch, by the seed. made_by: networks that must be those the pairs were made by (`made_by` of
    `pair_writing`), by name; of no name nothing is asked. What follows is told by `state` alone, for any number of
    processes. Raises InputError for a damaged folder or one without pairs, WeightsError for one of other networks,
    ConfigError for a batch that cannot be cut into equal parts.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        batch: int,
        seed: int = 0,
        ranks: Ranks = ALONE,
        made_by: Mapping[str, str] | None = None,
    ) -> None:
        if batch < 1 or batch % ranks.data_size:
            raise ConfigError(
                f"batch={batch}: cannot be cut into {ranks.data_size} equal parts; a multiple of {ranks.data_size} "
                "from 1 accepted"
            )
        self.place, self.batch, self.seed, self.ranks = Path(place), batch, seed, ranks
        self.manifest = Manifest.read(self.place)
        require_same_makers(self.place, self.manifest.made_by, made_by or {})
        if not self.manifest.pairs:
            raise InputError(f"pairs={str(place)!r}: no pair in it; at least one needed; write some first")
        said = self.manifest.settings
        self.guidance, self.steps, self.states = float(said["guidance"]), int(said["steps"]), int(said.get("states", 1))
        edits = said.get("edit_guidance")
        self.edit_guidance = self.guidance if edits is None else float(edits)
        self._shapes = _index(self.place, self.manifest)
        self._keys = sorted(self._shapes)
        self._maps: dict[Path, Tensor] = {}
        self._at = _At(0, (0,) * len(self._keys))
        self._running: Generator[PairBatch] | None = None

    def __len__(self) -> int:
        return self.manifest.pairs

    @property
    def masked(self) -> int:
        """Of how many pairs the mask is known: none in shards of earlier versions."""
        return sum(sum(part.words.get("masked", ())) for shape in self._shapes.values() for part in shape.parts)

    def about(self) -> dict[str, Any]:
        """What it reads and how, as JSON data."""
        return {"kind": "pairs", "digest": self.manifest.digest, "batch": self.batch, "seed": self.seed}

    def __iter__(self) -> Iterator[PairBatch]:
        self.close()
        self._running = self._batches()
        return self._running

    def once(self) -> list[PairBatch]:
        """Every pair of the folder once, in the order in which they were written, in batches of one shape.

        They are whole in every process, and the stream stays where it is: what a run is judged by.
        """
        found: list[PairBatch] = []
        first = 0
        for key in self._keys:
            shape = self._shapes[key]
            for start in range(0, shape.count, self.batch):
                indices = range(start, min(start + self.batch, shape.count))
                found.append(self._rows(key, indices, first, len(indices)))
                first += len(indices)
        return found

    def state(self) -> dict[str, Any]:
        return {**self.about(), "step": self._at.step, "taken": list(self._at.taken)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        about = self.about()
        apart = [
            f"{name} {state.get(name)!r} there, {about[name]!r} here"
            for name in about
            if state.get(name) != about[name]
        ]
        if apart or len(state["taken"]) != len(self._keys):
            raise ConfigError(
                f"state: of another stream of pairs: {'; '.join(apart) or state['taken']}; continue with the folder, "
                "batch and seed of the checkpoint, or begin anew"
            )
        self.close()
        self._at = _At(int(state["step"]), tuple(map(int, state["taken"])))

    def close(self) -> None:
        """Stop reading ahead."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _batches(self) -> Generator[PairBatch]:
        at = self._at
        ahead: deque[tuple[_At, Future[PairBatch]]] = deque()
        with ThreadPoolExecutor(1) as reader:
            while True:
                while len(ahead) < AHEAD:
                    key, after = self._next(at)
                    ahead.append((after, reader.submit(self._made, key, at)))
                    at = after
                after, made = ahead.popleft()
                batch = made.result()
                self._at = after
                yield batch

    def _next(self, at: _At) -> tuple[int, _At]:
        """Of which shape the batch at a step is, and where the stream stands after it."""
        drawn = torch.rand((), generator=generator(self.seed, at.step, "shape"), dtype=torch.float64)
        ends = list(accumulate(self._shapes[key].count for key in self._keys))
        chosen = min(bisect_right(ends, float(drawn) * ends[-1]), len(ends) - 1)
        taken = tuple(done + self.batch * (i == chosen) for i, done in enumerate(at.taken))
        return chosen, _At(at.step + 1, taken)

    def _made(self, chosen: int, at: _At) -> PairBatch:
        """The part of the batch at a step that is this process's."""
        own = self.batch // self.ranks.data_size
        start = own * self.ranks.data_rank
        key = self._keys[chosen]
        shape = self._shapes[key]
        indices = []
        for place in range(at.taken[chosen] + start, at.taken[chosen] + start + own):
            epoch, inside = divmod(place, shape.count)
            indices.append(Permutation(shape.count, self.seed, epoch, chosen)[inside])
        made = self._rows(key, indices, at.step * self.batch + start, self.batch)
        return made.pin_memory() if self.ranks.device.type == "cuda" else made

    def _rows(self, key: Key, indices: Sequence[int], first: int, of: int) -> PairBatch:
        """Pairs of a shape by their places in it; first: the number of the first, of: pairs in the whole batch."""
        shape = self._shapes[key]
        rows = []
        for index in indices:
            part = bisect_right(shape.ends, index) - 1
            rows.append((shape.parts[part], index - shape.ends[part]))
        uses = tuple(_use(part, row, i, first + i, len(key.contexts)) for i, (part, row) in enumerate(rows))
        clean = torch.stack([self._row(part, "endpoint", row) for part, row in rows])
        numbers = [int(part.words["numbers"][row]) for part, row in rows]
        noise = noise_of(numbers, int(self.manifest.settings["seed"]), clean.shape[1:])
        _require_probe(noise, torch.stack([self._row(part, "probe", row) for part, row in rows]), self.place)
        context = torch.stack([self._row(part, "context", row) for part, row in rows]) if key.contexts else None
        states = torch.stack([self._row(part, "states", row) for part, row in rows]) if self.states > 1 else None
        mask = None
        if any(use.has_mask for use in uses):
            empty = torch.zeros(clean.shape[1], dtype=torch.bool)
            known = zip(uses, rows, strict=True)
            mask = torch.stack([self._row(part, "mask", row) if use.has_mask else empty for use, (part, row) in known])
        return PairBatch(
            each=Pass(uses=uses, clean=clean, grid=key.grid, context=context, context_grids=key.contexts, mask=mask),
            noise=noise,
            of=of,
            ids=tuple(str(part.words["ids"][row]) for part, row in rows),
            guidance=self.edit_guidance if key.contexts else self.guidance,
            steps=self.steps,
            states=states,
        )

    def _row(self, part: _Part, what: str, row: int) -> Tensor:
        """One row of a stored tensor; its memory is the file's."""
        stored = part.header.tensors[f"{part.name}/{what}"]
        if part.path not in self._maps:
            size = part.path.stat().st_size
            self._maps[part.path] = torch.from_file(str(part.path), shared=False, size=size, dtype=torch.uint8)
        each = stored.size_bytes // stored.shape[0]
        data = self._maps[part.path][stored.start + row * each : stored.start + (row + 1) * each]
        return data.view(TORCH_DTYPES[stored.dtype]).view(stored.shape[1:])


class _At(NamedTuple):
    """Where a stream of pairs stands."""

    step: int
    taken: tuple[int, ...]  # pairs of each shape, all epochs


def _use(part: _Part, row: int, example: int, number: int, contexts: int) -> Use:
    """What was asked of a pair. Shards of earlier versions lack copies, categories, bases or masks: none is known."""
    words = part.words
    kind: Kind = words["kinds"][row]
    return Use(
        example=example,
        number=number,
        kind=kind,
        target=TARGET,
        contexts=tuple(range(contexts)),
        prompt=str(words["prompts"][row]),
        is_copy=bool(words["copies"][row]) if "copies" in words else False,
        category=str(words["categories"][row]) if "categories" in words else "",
        base=int(words["bases"][row]) if "bases" in words else 0,
        has_mask=bool(words["masked"][row]) if "masked" in words else False,
    )


def _require_probe(noise: Tensor, probe: Tensor, place: Path) -> None:
    """The noise made again must be the noise that was walked from."""
    apart = float((noise.flatten(1)[:, :PROBE] - probe).abs().max())
    if not apart < PROBE_ERROR:
        raise InputError(
            f"pairs={str(place)!r}: its noise comes out differently here, by up to {apart:.2g}; another version of "
            "torch draws other numbers from the same seed; read it with the version that wrote it, or write it again"
        )


def _index(place: Path, manifest: Manifest) -> dict[Key, _Shape]:
    """The pairs of all shards, by shape. Raises InputError if they are not as many as the manifest says."""
    shapes: dict[Key, _Shape] = {}
    for name, _, pairs in manifest.shards:
        header = read_header(place / name)
        groups = json.loads(header.metadata["groups"])
        for number, words in enumerate(groups):
            grids = tuple((int(rows), int(columns)) for rows, columns in words["contexts"])
            key = Key((int(words["grid"][0]), int(words["grid"][1])), grids)
            shape = shapes.setdefault(key, _Shape())
            shape.parts.append(_Part(place / name, str(number), header, words))
            shape.ends.append(shape.count + len(words["numbers"]))
        if sum(len(words["numbers"]) for words in groups) != pairs:
            raise InputError(f"pairs={str(place)!r}: {name} does not hold {pairs} pairs; write them again")
    return shapes
