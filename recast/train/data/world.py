"""Edits of the procedural world, drawn when they are asked for: no files, no end, every pixel's truth known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from recast.config import VERSION
from recast.errors import ConfigError, InputError
from recast.train.data.example import Example, Shape
from recast.train.data.order import Permutation, mixed
from recast.world import edits, sample, words
from recast.world.dice import Dice
from recast.world.draw import changed, draw
from recast.world.scene import THINGS, to_json
from recast.world.suite import SEEDS

TRIES = 400
"""Scenes looked through for one that an edit can be done to."""
LENGTHS = {"short": 1.0, "medium": 2.0, "long": 1.0}
TWO_CONTEXTS = (*edits.KINDS["two pictures"], "style of picture 2")
"""The kinds of edit that speak of two pictures; all others of one."""


class WorldSource:
    """Random edits of a split. Number n is the edit of a seed below 2^40 that depends on n and on `seed`.

    split: "train"; "held out", to judge by, never to train on: something in each answer is never drawn for training.

    sizes: (width, height) of all pictures of an example, and how often each is drawn. categories: how often each of
    `edits.KINDS` is drawn, those not named never; None for `edits.CATEGORIES`. kinds: how often a kind is drawn within
    its category, 1 where it is not named. lengths: of captions, short, medium or long. limit_bytes: of every
    instruction and caption, in UTF-8: what the text encoder reads. scene: cartoon, photo or sheet, of what is edited;
    None for whatever suits the kind of edit. things: with `scene`, the kinds of thing of which what is edited shows one
    or more, and no other; () for any or none. Raises ConfigError for a name that does not exist, for weights of which
    none is above 0, and for things without a scene.
    """

    length = None

    def __init__(
        self,
        *,
        seed: int = 0,
        sizes: Mapping[tuple[int, int], float] | Sequence[tuple[int, int]] = ((256, 256),),
        categories: Mapping[str, float] | None = None,
        kinds: Mapping[str, float] | None = None,
        lengths: Mapping[str, float] = LENGTHS,
        limit_bytes: int = edits.NANO_BYTES,
        split: str = "train",
        scene: str | None = None,
        things: Sequence[str] = (),
    ) -> None:
        sample.check_split(split)
        unknown = [thing for thing in things if thing not in THINGS]
        if unknown or (things and scene is None):
            raise ConfigError(
                f"things={tuple(things)}, scene={scene!r}: some of {', '.join(THINGS)} accepted, and only of a scene; "
                "mend the names, and say which scene"
            )
        every = [kind for named in edits.KINDS.values() for kind in named]
        self.seed, self.limit_bytes, self.split = seed, limit_bytes, split
        self.scene, self.things = scene, tuple(things)
        self.sizes = {tuple(size): 1.0 for size in sizes} if not isinstance(sizes, Mapping) else dict(sizes)
        self.categories = _known("categories", categories or edits.CATEGORIES, edits.KINDS)
        self.kinds = _known("kinds", kinds or {}, every, some=False)
        self.lengths = _known("lengths", lengths, words.LENGTHS)
        _known("sizes", self.sizes, self.sizes)
        if not any(
            weight and any(self.kinds.get(kind, 1.0) for kind in edits.KINDS[category])
            for category, weight in self.categories.items()
        ):
            raise ConfigError(f"kinds: every kind of {', '.join(self.categories)} weighs 0; one above 0 needed")
        self._seeds = Permutation(SEEDS, seed)
        self._sizes = _Lot(self.sizes)
        self._lengths = _Lot(self.lengths)
        self._kinds = _Lot(
            {
                (category, kind): weight * self.kinds.get(kind, 1.0) / total
                for category, weight in self.categories.items()
                if (total := sum(self.kinds.get(kind, 1.0) for kind in edits.KINDS[category]))
                for kind in edits.KINDS[category]
            }
        )

    def shape(self, index: int) -> Shape:
        seed = self._seeds[index]
        size, (_, kind) = self._size(seed), self._kind(seed)
        return Shape(size, (size,) * (2 if kind in TWO_CONTEXTS else 1))

    def id(self, index: int) -> str:
        seed = self._seeds[index]
        (width, height), (_, kind) = self._size(seed), self._kind(seed)
        return f"world-{seed}-{kind.replace(' ', '-')}-{width}x{height}"

    def example(self, index: int) -> Example:
        """Example `index`. Its truth: scenes, what was asked, what is free, who is who; the words of `world.shards`."""
        seed = self._seeds[index]
        (width, height), (category, kind) = self._size(seed), self._kind(seed)
        made = self._edit(seed, category, kind)
        scenes = (*made.contexts, made.target)
        *contexts, target = (draw(scene, width, height) for scene in scenes)
        dice = Dice(seed, "captions")
        captions = tuple(
            words.describe(
                scene,
                dice.stream(str(n)),
                length=self._lengths.draw(_share(self.seed, seed, 2 + n)),
                limit_bytes=self.limit_bytes,
            )
            for n, scene in enumerate(scenes)
        )
        return Example(
            id=self.id(index),
            contexts=tuple(contexts),
            target=target,
            instruction=made.instruction,
            inverse=made.inverse,
            captions=captions,
            mask=changed(contexts[made.base], target),
            base=made.base,
            kind=made.kind,
            licence="recast",
            truth={
                "seed": seed,
                "category": made.category,
                "kind": made.kind,
                "scenes": [to_json(scene) for scene in scenes],
                "asked": list(made.asked),
                "free": list(made.free),
                "base": made.base,
                "identity": [list(each) for each in made.identity],
            },
        )

    def about(self) -> Mapping[str, Any]:
        return {
            "kind": "world",
            "seed": self.seed,
            "split": self.split,
            "sizes": [[*size, weight] for size, weight in sorted(self.sizes.items())],
            "categories": dict(sorted(self.categories.items())),
            "kinds": dict(sorted(self.kinds.items())),
            "lengths": dict(sorted(self.lengths.items())),
            "limit_bytes": self.limit_bytes,
            "scene": self.scene,
            **({"things": list(self.things)} if self.things else {}),
            "version": VERSION,
            "licence": "recast",
        }

    def _edit(self, seed: int, category: str, kind: str) -> edits.Edit:
        if self.scene is None:
            return edits.edit(seed, category=category, kind=kind, split=self.split, limit_bytes=self.limit_bytes)
        of = "train" if self.split == "train" else "any"  # what is held out comes with the edit
        for attempt in range(TRIES):
            base = sample.scene(sample.source_seed(seed, Dice(seed, "scene", attempt)), split=of, kind=self.scene)
            if self.things and not (base.things and {thing.kind for thing in base.things} <= set(self.things)):
                continue
            try:
                return edits.edit(
                    seed, category=category, kind=kind, split=self.split, source=base, limit_bytes=self.limit_bytes,
                    tries=64 if self.things else 8,  # a scene of the right thing is worth more than the next one
                )  # fmt: skip
            except InputError:  # nothing in this scene to do that to
                continue
        raise InputError(
            f"scene={self.scene!r}, things={self.things}, kind={kind!r}: no such edit of {TRIES} scenes; another kind, "
            "scene or more things accepted"
        )

    def _size(self, seed: int) -> tuple[int, int]:
        size: tuple[int, int] = self._sizes.draw(_share(self.seed, seed, 0))
        return size

    def _kind(self, seed: int) -> tuple[str, str]:
        kind: tuple[str, str] = self._kinds.draw(_share(self.seed, seed, 1))
        return kind


class _Lot:
    """Something out of many, each as often as its weight says."""

    def __init__(self, weights: Mapping[Any, float]) -> None:
        self.items = [item for item, weight in weights.items() if weight > 0]
        self.ends = list(accumulate(weights[item] for item in self.items))

    def draw(self, share: float) -> Any:
        """The item at `share` of all weights, from 0 to 1."""
        return self.items[min(bisect_right(self.ends, share * self.ends[-1]), len(self.items) - 1)]


def _share(*key: int) -> float:
    return mixed(*key) / 2**64


def _known(name: str, weights: Mapping[Any, float], names: Any, *, some: bool = True) -> dict[Any, float]:
    """The weights, if every name is known, none is negative and, where there must be some, one is above 0."""
    unknown = [each for each in weights if each not in names]
    if unknown:
        raise ConfigError(f"{name}: {unknown[0]!r} came; {', '.join(map(str, names))} accepted")
    if any(not 0 <= weight < float("inf") for weight in weights.values()) or (some and not any(weights.values())):
        raise ConfigError(f"{name}: weights {dict(weights)} came; numbers from 0, one of them above 0, accepted")
    return dict(weights)
