"""Few pictures that differ in little: one thing on a plain ground, which gets another colour.

For runs that must end within a minute on a CPU: everything there is to learn is to read a colour, to find the thing and
to leave the ground as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import permutations, product
from typing import Any

import numpy as np

from recast.config import VERSION
from recast.errors import ConfigError
from recast.pixels.lab import lab
from recast.train.data.example import Example, Shape
from recast.train.data.order import Permutation
from recast.world.draw import changed, draw
from recast.world.sample import check_split
from recast.world.scene import BRIGHT, THINGS, VARIANTS, Scene, Thing, to_json
from recast.world.vocabulary import article

PHRASES = (
    "make the {thing} {colour}",
    "paint the {thing} {colour}",
    "turn the {thing} {colour}",
    "change the {thing} to {colour}",
)
GROUNDS = (
    "white", "pale blue", "cream", "pale mint", "pale pink", "pale gray", "lemon", "sky blue",
    "mint", "peach", "lilac", "gray", "slate", "navy", "dark teal", "plum",
)  # fmt: skip
"""What captions call the plain ground of each variant; short, so that a caption fits into the 31 bytes `tiny` reads."""
HELD_OUT_ONE_IN = 4
"""Of the grounds: nothing that stands on one of them is ever trained on."""


class SheetSource:
    """Every thing on every ground of a split, recoloured from every colour to every other one, in every phrase.

    split: "train", or "held out": the grounds that training never shows. things, colours: some of `scene.THINGS`, two
    or more of `scene.BRIGHT`. size: (width, height). seed: of the order, so that a few examples are of all sorts.
    Raises ConfigError for what is not there.
    """

    def __init__(
        self,
        *,
        things: Sequence[str],
        colours: Sequence[str],
        size: tuple[int, int],
        split: str = "train",
        seed: int = 0,
    ) -> None:
        check_split(split)
        for name, given, known, least in (("things", things, THINGS, 1), ("colours", colours, BRIGHT, 2)):
            if len(set(given)) < max(least, len(given)) or not set(given) <= set(known):
                raise ConfigError(
                    f"{name}={tuple(given)}: of sheets, {least} or more of {', '.join(known)} accepted, each once; "
                    f"set data.{name}"
                )
        self.things, self.colours, self.size, self.split, self.seed = tuple(things), tuple(colours), size, split, seed
        grounds = [at for at in range(VARIANTS) if split == "any" or _is_held_out(at) == (split == "held out")]
        self._all = list(product(grounds, self.things, permutations(self.colours, 2), PHRASES))
        self._order = Permutation(len(self._all), seed)

    @property
    def length(self) -> int:
        return len(self._all)

    def shape(self, index: int) -> Shape:
        return Shape(self.size, (self.size,))

    def id(self, index: int) -> str:
        ground, thing, (old, new), phrase = self._all[self._order[index]]
        return f"sheet-{ground}-{thing}-{old}-{new}-{PHRASES.index(phrase)}"

    def example(self, index: int) -> Example:
        """Example `index`. Its truth: both scenes, and what was asked."""
        ground, thing, colours, phrase = self._all[self._order[index]]
        scenes = [scene(ground, thing, colour) for colour in colours]
        before, after = (_drawn(each, *self.size) for each in scenes)
        asked, back = (phrase.format(thing=thing, colour=colour) for colour in reversed(colours))
        return Example(
            id=self.id(index),
            contexts=(before,),
            target=after,
            instruction=asked,
            inverse=back,
            captions=(caption(scenes[0]), caption(scenes[1])),
            mask=changed(before, after),
            kind="thing colour",
            licence="recast",
            truth={"scenes": [to_json(each) for each in scenes], "asked": ["things.0.colour"]},
        )

    def about(self) -> Mapping[str, Any]:
        return {
            "kind": "sheets",
            "seed": self.seed,
            "split": self.split,
            "things": list(self.things),
            "colours": list(self.colours),
            "size": list(self.size),
            "version": VERSION,
            "licence": "recast",
        }


def scene(ground: int, thing: str, colour: str) -> Scene:
    """The sheet of a ground that shows this thing in this colour."""
    shown = Thing(kind=thing, colour=colour, size="big", place="center")
    return Scene(background="plain", variant=ground, things=(shown,))


def caption(shown: Scene) -> str:
    """What a sheet shows, such as "a red apple on pale gray"."""
    (thing,) = shown.things
    return f"{article(thing.colour)} {thing.kind} on {GROUNDS[shown.variant]}"


def in_colours(shown: Scene, colours: Sequence[str], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The sheet with its thing in each of these colours: pictures (H, W, 3) uint8 of `size` (width, height)."""
    (thing,) = shown.things
    return {colour: _drawn(scene(shown.variant, thing.kind, colour), *size) for colour in colours}


def recoloured(truths: Mapping[str, np.ndarray]) -> np.ndarray:
    """The pixels (H, W), bool, that any change of colour changes. truths: of one sheet, as `in_colours` gives them."""
    first, *others = truths.values()
    found: np.ndarray = np.any([changed(first, other) for other in others], axis=0)
    return found


def colour_shown(picture: np.ndarray, truths: Mapping[str, np.ndarray]) -> str:
    """The colour whose true picture the recoloured part of `picture` is nearest to, by its mean in CIELAB.

    picture (H, W, 3) uint8. truths: two or more colours of one sheet, of the same size, as `in_colours` gives them.
    """
    part = recoloured(truths)
    own = lab(picture)[part].mean(0)
    return min(truths, key=lambda colour: float(np.linalg.norm(own - lab(truths[colour])[part].mean(0))))


def _is_held_out(ground: int) -> bool:
    return ground % HELD_OUT_ONE_IN == HELD_OUT_ONE_IN - 1


@lru_cache(maxsize=512)
def _drawn(shown: Scene, width: int, height: int) -> np.ndarray:
    picture = draw(shown, width, height)
    picture.setflags(write=False)
    return picture
