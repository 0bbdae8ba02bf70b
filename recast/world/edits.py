"""Edits: what a model sees, what it is asked, and the one scene that is the answer.

An edit changes what its instruction names, and nothing else: every attribute outside `asked` and `free` is the same in
the target as in the context it is kept from, so what must change and what must not is known to the pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from recast.errors import InputError
from recast.world import asks, everyday, heldout, objects, references, sample
from recast.world.asks import Ask, Maker
from recast.world.dice import Dice
from recast.world.instructions import Phrase, instruct
from recast.world.rules import problems, shows
from recast.world.sample import check_split
from recast.world.scene import GLASSES, HATS, HELD, LETTERS, LOGOS, Scene, get, put

NANO_BYTES = 143
"""The longest instruction nano reads whole: 144 tokens of one byte, of which the last is the end."""
TRIES = 400


@dataclass(frozen=True, kw_only=True)
class Edit:
    """An instruction, the scenes it speaks of, and the scene it leads to.

    contexts: what the model sees; image 1 first. target: the answer. base: the context that everything not asked for is
    kept from. asked: paths in the target that the instruction names; a path to a part ("title", "things.1") means that
    the part is there or, where the target has none, that it must be gone. free: paths that may come out in any way,
    because the words leave them open or the base does not show them (the hair under a hat that is taken off).
    identity: (i, j, k): person i of the target is person k of context j, but for what is asked. inverse: the
    instruction that leads back from the target to the base, where words can do that; back_asked: the paths it names.
    everyday: of the kind that photographs are edited with, needing nothing to be known of the picture.
    """

    category: str
    kind: str
    contexts: tuple[Scene, ...]
    target: Scene
    instruction: str
    inverse: str | None = None
    asked: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    back_asked: tuple[str, ...] = ()
    identity: tuple[tuple[int, int, int], ...] = ()
    base: int = 0
    everyday: bool = False

    @property
    def source(self) -> Scene:
        """The context that everything not asked for is kept from."""
        return self.contexts[self.base]


MAKERS: Mapping[str, Mapping[str, Maker]] = {
    "local": {**asks.PEOPLE, **objects.OBJECTS, **everyday.MARKS},
    "global": {**objects.GROUNDS, **everyday.FINISH},
    "text": everyday.TEXT,
    "style reference": {**everyday.STYLE, **references.STYLE},
    "character reference": references.CHARACTER,
    "two pictures": references.TWO,
}
COMBINED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "two changes": ("local", ("local", "local")),
    "three changes": ("local", ("local", "local", "local")),
    "background and more": ("global", ("global", "local")),
    "title and more": ("text", ("text", "local")),
}
"""Kinds that ask for several things at once: their category, and those of the single changes."""
SINGLE: Mapping[str, Mapping[str, Maker]] = {
    "local": {
        kind: maker
        for kind, maker in MAKERS["local"].items()
        if kind not in ("move person", "add person", "remove person", "move thing", "remove mark")
    },
    "global": {**objects.GROUNDS, "time": everyday.time},
    "text": MAKERS["text"],
}
"""What is combined: nothing that moves people or things, by whose places the next words would name them."""
NOTHING = ("keep", "already so")
KINDS: Mapping[str, tuple[str, ...]] = {
    **{
        category: (*makers, *(kind for kind, (of, _) in COMBINED.items() if of == category))
        for category, makers in MAKERS.items()
    },
    "nothing": NOTHING,
}
"""Every kind of edit, by category."""
EVERYDAY = (
    *everyday.MARKS, *everyday.FINISH, *everyday.STYLE, "logo into corner",
    "add title", "change title", "remove title",
)  # fmt: skip
CATEGORIES: Mapping[str, float] = {
    "local": 38,
    "global": 14,
    "text": 20,
    "style reference": 8,
    "character reference": 8,
    "two pictures": 9,
    "nothing": 3,
}
"""The categories, and how often each is drawn."""
REVERSED = {
    "shave beard": "add beard", "remove glasses": "add glasses", "remove hat": "add hat", "remove logo": "add logo",
    "let go": "hold", "remove plate": "add plate",
}  # fmt: skip
REVERSED |= {there: back for back, there in REVERSED.items()} | {
    "add person": "remove person", "add thing": "remove thing", "add title": "remove title",
    **{f"add {mark}": "remove mark" for mark in ("arrow", "circle", "border", "sticker", "corner logo")},
}  # fmt: skip


def edit(
    seed: int,
    *,
    category: str | None = None,
    kind: str | None = None,
    split: str = "train",
    source: Scene | None = None,
    limit_bytes: int | None = NANO_BYTES,
    tries: int = TRIES,
) -> Edit:
    """The random edit of a seed.

    category, kind: one of KINDS, or None for any. source: the scene to edit, or None for a random one that suits.
    split: "train": nothing in any scene is held out, or nothing more than was in `source`; "held out": something in
    the target is; "any". limit_bytes: of the instruction and its inverse, in UTF-8. tries: scenes and values to try.
    Raises InputError for an unknown name, and where the source has nothing to which such an edit could be done.
    """
    check_split(split)
    chosen = _choice(Dice(seed, "edit kind"), category, kind)
    for attempt in range(tries):
        dice = Dice(seed, "edit", attempt)
        if source is not None and attempt % 8 == 7:  # this source may have nothing for that kind: try another
            chosen = _choice(dice.stream("kind"), category, kind)
        of, name = chosen
        base = source or _suited(name, sample.source_seed(seed, dice.stream("source")), split)
        asked = _asks(name, base, dice.stream("ask"))
        if not asked or not _is_fair(asked, base, source, split):
            continue
        made = _edit(of, name, base, asked, dice.stream("words"), limit_bytes)
        if made is not None:
            return made
    what = f"category={category!r}, kind={kind!r}, split={split!r}"
    raise InputError(
        f"{what}: not one such edit of this source in {tries} tries; another kind, split or source accepted"
    )


def reverse(edit: Edit) -> Edit:
    """The way back: from the target to the source, by the inverse instruction. Raises InputError if there is none."""
    if edit.inverse is None:
        raise InputError(f"edit: {edit.kind!r} cannot be undone by words; edits that have an inverse accepted")
    people = range(min(len(edit.source.characters), len(edit.target.characters)))
    asked = tuple(path for path in dict.fromkeys(edit.back_asked) if _is_there(edit.source, path))
    free = tuple(path for path in edit.free if path not in asked and _is_there(edit.source, path))
    return replace(
        edit,
        kind=REVERSED.get(edit.kind, edit.kind),
        contexts=(edit.target,),
        target=edit.source,
        instruction=edit.inverse,
        inverse=None,
        asked=asked,
        free=(*free, *revealed(edit.target, edit.source, (*asked, *free))),
        back_asked=(),
        identity=tuple((i, 0, i) for i in people),
        base=0,
    )


def differences(before: Scene, after: Scene) -> tuple[str, ...]:
    """The paths at which two scenes differ: attributes, or whole parts that only one of them has."""
    return tuple(_differences(before, after, ""))


def revealed(before: Scene, after: Scene, named: Collection[str] = ()) -> tuple[str, ...]:
    """The attributes that `after` shows and `before` hides, of parts that both have: nobody can know what they are.

    named: paths to leave out, with what is under them.
    """
    known = set(named)
    return tuple(
        path
        for path in attributes(after)
        if shows(after, path)
        and is_attribute(before, path)
        and not shows(before, path)
        and path not in known
        and path.rpartition(".")[0] not in known
    )


def attributes(scene: Scene) -> tuple[str, ...]:
    """The paths of all attributes of the scene and its parts."""
    parts: list[tuple[str, Any]] = [("", scene)]
    for name in ("characters", "things", "marks"):
        parts += [(f"{name}.{i}.", part) for i, part in enumerate(getattr(scene, name))]
    if scene.title is not None:
        parts.append(("title.", scene.title))
    whole = ("characters", "things", "marks", "title")
    return tuple(
        f"{prefix}{each.name}" for prefix, part in parts for each in fields(part) if prefix or each.name not in whole
    )


def is_attribute(scene: Scene, path: str) -> bool:
    """Whether the path leads to one attribute of the scene, not to a whole part, nor to one that is not there."""
    value = get(scene, path)
    return value is not None and not is_dataclass(value)


def _is_there(scene: Scene, path: str) -> bool:
    """Whether the path can be looked at: of what is gone only that it is gone, not which colour it had."""
    parent = path.rpartition(".")[0]
    if parent and get(scene, parent) is None:
        return False
    return not is_attribute(scene, path) or shows(scene, path)


def _differences(before: Any, after: Any, path: str) -> list[str]:
    if before == after:
        return []
    if isinstance(before, tuple) and isinstance(after, tuple):
        pairs = [
            (before[i] if i < len(before) else None, after[i] if i < len(after) else None)
            for i in range(max(len(before), len(after)))
        ]
        return [each for i, (a, b) in enumerate(pairs) for each in _differences(a, b, f"{path}.{i}")]
    if is_dataclass(before) and is_dataclass(after) and not path.endswith(".face"):
        return [
            each
            for field in fields(before)
            for each in _differences(
                getattr(before, field.name), getattr(after, field.name), f"{path}.{field.name}" if path else field.name
            )
        ]
    return [path]


def _choice(dice: Dice, category: str | None, kind: str | None) -> tuple[str, str]:
    if category is not None and category not in KINDS:
        raise InputError(f"category={category!r}: {', '.join(KINDS)} accepted")
    homes = [each for each, kinds in KINDS.items() if kind in kinds and category in (None, each)]
    if kind is not None:
        if not homes:
            raise InputError(f"kind={kind!r}, category={category!r}: kinds and categories of `edits.KINDS` accepted")
        return homes[0], kind
    chosen = category or dice.weighted(dict(CATEGORIES))
    return chosen, dice.choice(KINDS[chosen])


def _asks(kind: str, scene: Scene, dice: Dice) -> list[Ask]:
    """What an edit of that kind asks of the scene, each ask of the outcome of the one before; empty if it cannot."""
    if kind in COMBINED:
        return _several(COMBINED[kind][1], scene, dice)
    if kind == "keep":
        return [Ask(phrase=("keep", {}), target=scene, asked=())]
    if kind == "already so":
        already = (*asks.ALREADY, objects.thing_colour, everyday.title_already, everyday.style_already)
        made = dice.choice(already)(scene, dice.stream("already"), same=True)
    else:
        made = next(makers[kind] for makers in MAKERS.values() if kind in makers)(scene, dice)
    return [made] if made is not None else []


def _several(categories: tuple[str, ...], scene: Scene, dice: Dice) -> list[Ask]:
    made: list[Ask] = []
    for i, category in enumerate(categories):
        makers = SINGLE[category]
        for attempt in range(12):
            stream = dice.stream(i, attempt)
            ask = makers[stream.choice(tuple(makers))](scene, stream)
            if ask is not None and not _subjects(ask) & {each for other in made for each in _subjects(other)}:
                made.append(ask)
                scene = ask.target
                break
        else:
            return []
    return made


def _subjects(ask: Ask) -> set[str]:
    """What an ask is about: no two in one instruction are about the same, nor about two things or two marks."""
    subjects = set()
    for path in (*ask.asked, *ask.free):
        part = path.split(".")
        if part[0] == "characters":
            subjects.add(".".join((part[0], part[1], *part[2:])).removesuffix("_colour"))
        else:
            subjects.add(part[0])
    return subjects


def _edit(of: str, kind: str, base: Scene, asked: list[Ask], dice: Dice, limit_bytes: int | None) -> Edit | None:
    first, last = asked[0], asked[-1]
    contexts = first.contexts or (base,)
    kept = contexts[first.base]
    people = range(min(len(kept.characters), len(last.target.characters)))
    identity = first.identity if first.identity is not None else tuple((i, first.base, i) for i in people)
    back: list[Phrase] = [ask.back for ask in reversed(asked) if ask.back is not None]
    named = tuple(path for ask in asked for path in ask.asked)
    free = tuple(path for ask in asked for path in ask.free)
    keeps_rest = of in ("local", "global", "text")
    try:
        there = [ask.phrase for ask in asked]
        instruction = instruct(there, dice.stream("there"), limit_bytes=limit_bytes, keeps_rest=keeps_rest)
        inverse = None
        if len(back) == len(asked) and kept.look != "black and white":
            inverse = instruct(back, dice.stream("back"), limit_bytes=limit_bytes, keeps_rest=keeps_rest)
    except InputError:  # no phrasing is short enough: other dice make another edit
        return None
    return Edit(
        category=of,
        kind=kind,
        contexts=contexts,
        target=last.target,
        instruction=instruction,
        inverse=inverse,
        asked=named,
        free=(*free, *revealed(kept, last.target, (*named, *free))),
        back_asked=tuple(path for ask in reversed(asked) for path in (*ask.asked, *ask.back_asked)),
        identity=identity,
        base=first.base,
        everyday=kind in EVERYDAY,
    )


def _is_fair(asked: list[Ask], base: Scene, source: Scene | None, split: str) -> bool:
    """Whether the answer can be seen in its picture and belongs to the split, given what came with the source."""
    target = asked[-1].target
    scenes = (target, *(asked[0].contexts or (base,)))
    allowed = set(problems(source)) if source is not None else set()
    if any(not set(problems(each)) <= allowed for each in scenes):
        return False
    if any(is_attribute(target, path) and not shows(target, path) for ask in asked for path in ask.asked):
        return False
    if split == "train":
        given = set(heldout.reasons(source)) if source is not None else set()
        return all(set(heldout.reasons(each)) <= given for each in scenes)
    return split == "any" or bool(heldout.reasons(target))


# Sources: a random scene that has what the edit is about.

Giver = Callable[[Scene, Dice], Scene]


def _suited(kind: str, seed: int, split: str) -> Scene:
    """The scene of a seed and split, made fit for the kind where a random one seldom is."""
    dice = Dice(seed, "suited")
    sort = SORTS.get(kind)
    if sort == "sheet" or (kind in references.CHARACTER and dice.stream("sheet").chance(0.4)):
        sort = "sheet"
    scene = sample.scene(seed, split=split, kind=sort)
    for name, give in GIVERS.items():
        if kind in NEEDS.get(name, ()):
            scene = give(scene, dice.stream(name))
    return scene


def _give_person(scene: Scene, dice: Dice) -> Scene:
    if scene.characters:
        return scene
    bare = replace(scene, things=(), marks=(), title=None)
    return sample.fitting(bare, lambda s, d: replace(s, characters=(sample.person(d, "center"),)), dice)


def _give_worn(name: str, values: tuple[str, ...]) -> Giver:
    def give(scene: Scene, dice: Dice) -> Scene:
        if not scene.characters or any(getattr(each, name) != "none" for each in scene.characters):
            return scene
        first = put(scene, f"characters.0.{name}", dice.choice(values[1:])).characters[0]
        return replace(scene, characters=(first, *scene.characters[1:]))

    return give


def _give_beard(scene: Scene, dice: Dice) -> Scene:
    return replace(scene, characters=tuple(replace(each, beard=True) for each in scene.characters))


def _give_title(scene: Scene, dice: Dice) -> Scene:
    if scene.title is not None:
        return scene
    return sample.fitting(scene, lambda s, d: replace(s, title=sample.title(d, s)), dice)


def _give_plate(scene: Scene, dice: Dice) -> Scene:
    if scene.title is None or scene.title.plate != "none":
        return scene
    title = scene.title
    return sample.fitting(scene, lambda s, d: replace(s, title=replace(title, plate=d.choice(LETTERS))), dice)


def _give_thing(scene: Scene, dice: Dice) -> Scene:
    if scene.things:
        return scene
    return sample.fitting(scene, lambda s, d: replace(s, things=(sample.thing(d, d.choice(("left", "right"))),)), dice)


def _give_mark(scene: Scene, dice: Dice) -> Scene:
    if scene.marks:
        return scene
    kinds = ("arrow", "circle", "border", "sticker", "logo")
    return sample.fitting(scene, lambda s, d: replace(s, marks=(sample.mark(d, d.choice(kinds), s),)), dice)


def _give_day(scene: Scene, dice: Dice) -> Scene:
    return scene if scene.is_drawn or scene.background == "plain" else replace(scene, time="day")


def _take_title(scene: Scene, dice: Dice) -> Scene:
    return replace(scene, title=None)


def _take_people(scene: Scene, dice: Dice) -> Scene:
    return replace(scene, characters=(), marks=())


def _take_finish(scene: Scene, dice: Dice) -> Scene:
    return replace(scene, style="flat", look="none", blur=False)


def _plain_person(scene: Scene, dice: Dice) -> Scene:
    return references.plain(replace(scene, characters=scene.characters[:1]), dice)


GIVERS: Mapping[str, Giver] = {
    "person": _give_person,
    "bare person": _plain_person,
    "hat": _give_worn("hat", HATS),
    "glasses": _give_worn("glasses", GLASSES),
    "logo": _give_worn("logo", ("none", *LOGOS)),
    "held": _give_worn("holding", HELD),
    "beard": _give_beard,
    "thing": _give_thing,
    "no title": _take_title,
    "title": _give_title,
    "plate": _give_plate,
    "mark": _give_mark,
    "day": _give_day,
    "no people": _take_people,
    "no finish": _take_finish,
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "person": (*asks.PEOPLE, *COMBINED, *references.CHARACTER, "logo onto shirt", "two people together"),
    "bare person": (*references.CHARACTER, "two people together", "add person"),
    "hat": ("other hat", "hat colour", "remove hat"),
    "glasses": ("other glasses", "remove glasses"),
    "logo": ("other logo", "logo colour", "remove logo"),
    "held": ("hold other", "held colour", "let go"),
    "beard": ("shave beard",),
    "thing": tuple(each for each in objects.OBJECTS if each != "add thing"),
    "no title": ("add title",),
    "title": tuple(each for each in everyday.TEXT if each != "add title"),
    "plate": ("plate colour", "remove plate"),
    "mark": ("mark colour", "remove mark"),
    "day": ("time",),
    "no people": ("person into place",),
    "no finish": ("look", "blur", *everyday.STYLE, *references.STYLE, "style for content"),
}
SORTS: Mapping[str, str] = {"sheet into scene": "sheet"}
