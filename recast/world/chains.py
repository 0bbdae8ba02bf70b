"""Chains: many edits in a row, each of the outcome of the one before, with the same people from first to last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recast.errors import InputError
from recast.world import sample
from recast.world.dice import Dice
from recast.world.edits import KINDS, NANO_BYTES, Edit, edit, reverse
from recast.world.sample import check_split
from recast.world.scene import Scene

LONGEST = 30
"""Turns of a chain, at most."""
WEIGHTS: Mapping[str, float] = {"local": 50, "text": 22, "global": 14, "two pictures": 8, "nothing": 6}
"""The categories of a chain's turns, and how often each is drawn."""
LEFT_OUT = (
    # Who someone is must hold all along.
    "hair colour", "hair style", "add beard", "shave beard", "remove person", "person into place",
    "two people together",
    # What takes away the colours or the drawing leaves later turns nothing to be told by: only at the end.
    "look", "blur", "style for content",
)  # fmt: skip
LAST = ("look", "blur", "style")
"""What may come as the last turn of a chain."""
TRIES = 200


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A start, and edits whose first context is the start, then the target of the edit before."""

    start: Scene
    edits: tuple[Edit, ...]


def chain(seed: int, turns: int, *, split: str = "train", limit_bytes: int | None = NANO_BYTES) -> Chain:
    """A chain of 1 to LONGEST edits of many kinds; later turns may come back to what an earlier one changed.

    split: as of `edits.edit`; "held out" starts from a held-out scene. Raises InputError for another split or length.
    """
    _check(turns, split)
    dice = Dice(seed, "chain")
    scene = start = _start(seed, dice.stream("start"), split)
    edits: list[Edit] = []
    for turn in range(turns):
        last = turn == turns - 1 and turns > 1
        made = _turn(seed, scene, dice.stream("turn", turn), edits, last, split, limit_bytes)
        edits.append(made)
        scene = made.target
    return Chain(start=start, edits=tuple(edits))


def there_and_back(seed: int, turns: int, *, split: str = "train", limit_bytes: int | None = NANO_BYTES) -> Chain:
    """A chain that ends where it began: the first half of the turns, then each undone, the last one first.

    Raises InputError unless the turns are even.
    """
    _check(turns, split)
    if turns % 2:
        raise InputError(f"turns={turns}: an even number accepted, as many back as there; take {turns + 1}")
    dice = Dice(seed, "there and back")
    for attempt in range(TRIES):
        scene = start = _start(seed, dice.stream("start", attempt), split)
        edits: list[Edit] = []
        for turn in range(8 * turns):
            stream = dice.stream(attempt, "turn", turn)
            made = _turn(
                seed, scene, stream, edits, False, split, limit_bytes, categories={"local": 3, "text": 1, "global": 1}
            )
            if made.inverse is not None:
                edits.append(made)
                scene = made.target
            if len(edits) == turns // 2:
                return Chain(start=start, edits=(*edits, *(reverse(each) for each in reversed(edits))))
    raise AssertionError(f"no way there and back for seed={seed}, turns={turns}")


def nothing_chain(seed: int, turns: int, *, split: str = "train", limit_bytes: int | None = NANO_BYTES) -> Chain:
    """A chain of edits that must change nothing, each asked for in other words."""
    _check(turns, split)
    dice = Dice(seed, "nothing chain")
    scene = _start(seed, dice.stream("start"), split)
    edits = tuple(
        edit(
            sample.source_seed(seed, dice.stream(turn)),
            category="nothing",
            split=_of_turns(split),
            source=scene,
            limit_bytes=limit_bytes,
        )
        for turn in range(turns)
    )
    return Chain(start=scene, edits=edits)


def _turn(
    seed: int,
    scene: Scene,
    dice: Dice,
    before: list[Edit],
    last: bool,
    split: str,
    limit_bytes: int | None,
    categories: Mapping[str, float] = WEIGHTS,
) -> Edit:
    for attempt in range(TRIES):
        stream = dice.stream(attempt)
        category = stream.weighted(dict(categories))
        kinds = stream.shuffled([each for each in KINDS[category] if each not in LEFT_OUT])
        if last and attempt == 0 and stream.chance(0.3):
            kinds = [stream.choice(LAST)]
            category = "style reference" if kinds == ["style"] else "global"
        for kind in kinds:  # the first that the scene has something for, so that categories keep their shares
            if before and before[-1].kind == kind:  # the same thing twice in a row is one edit said badly
                continue
            try:
                made = edit(
                    sample.source_seed(seed, stream.stream(kind)), category=category, kind=kind,
                    split=_of_turns(split), source=scene, limit_bytes=limit_bytes, tries=10,
                )  # fmt: skip
            except InputError:
                continue
            if made.base == 0 and _keeps_people(made):
                return made
    raise AssertionError(f"no turn found after {len(before)}")


def _keeps_people(edit: Edit) -> bool:
    """Whether everyone in the target was there, and nobody's identity is asked to change."""
    touched = [path.split(".")[2] for path in edit.asked if path.count(".") == 2 and path.startswith("characters")]
    changed = {"hair", "hair_colour", "beard"} & set(touched)
    return edit.category == "nothing" or edit.kind == "add person" or not changed


def _start(seed: int, dice: Dice, split: str) -> Scene:
    """A drawn scene of one person, flat and in colour, on a background that has times."""
    for attempt in range(TRIES):
        made = sample.scene(sample.source_seed(seed, dice.stream(attempt)), split=split, kind="cartoon")
        if len(made.characters) == 1 and made.style == "flat" and made.look == "none" and not made.blur:
            return made
    raise AssertionError("no start found")


def _of_turns(split: str) -> str:
    # A held-out start stays held out in part at best: its turns are free.
    return "train" if split == "train" else "any"


def _check(turns: int, split: str) -> None:
    check_split(split)
    if not 1 <= turns <= LONGEST:
        raise InputError(f"turns={turns}: 1 to {LONGEST} accepted")
