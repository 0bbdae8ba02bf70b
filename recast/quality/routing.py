"""An instruction and its category → what to look for, and by which checks, in order. Pure functions, no network.

    parse('Replace the word "SALE" with "OPEN"', "Text Editing")  →  text, SALE → OPEN       → ocr, then judge
    parse("Add three balloons to the sky")                        →  add, balloons, 3        → boxes, then judge
    parse("Paint the car dark blue")                              →  recolour, car, blue     → colour, then judge
    parse("Make it a watercolor painting")                        →  look                    → clip, then judge
    parse("The man is now reading in a café", "Character Reference")  →  scene               → clip, then judge
    parse("Make her smile")                                       →  other                   → judge

The rules look at the words alone, never at a picture, so every system is asked the same. What they do not understand
is "other": a wrong route would be a wrong number, no route is a missing one, which the coverage shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from recast.quality import quotations
from recast.quality.colours import NAMES

Kind = Literal["text", "add", "remove", "replace", "count", "recolour", "look", "scene", "other"]
Family = Literal["local", "global", "text", "style", "character", "any"]

CHECKS: dict[Kind, tuple[str, ...]] = {
    "text": ("ocr", "judge"),
    "add": ("boxes", "judge"),
    "remove": ("boxes", "judge"),
    "replace": ("boxes", "judge"),
    "count": ("boxes", "judge"),
    "recolour": ("colour", "judge"),
    "look": ("clip", "judge"),
    "scene": ("clip", "judge"),
    "other": ("judge",),
}
"""The checks of each kind, in the order in which they are tried. The judge is always the last."""

NUMBERS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10},
    **{str(n): n for n in range(1, 21)},
    "a couple of": 2,
    "a pair of": 1,
}
WHOLE = (
    "image", "photo", "photograph", "picture", "scene", "it", "this", "everything", "painting", "illustration", "video",
    "frame", "shot", "one",
)  # fmt: skip
AROUND = (
    "background", "backdrop", "weather", "season", "time", "lighting", "light", "sky", "atmosphere", "setting",
    "environment", "mood", "style",
)  # fmt: skip
ABSTRACT = (
    "expression", "pose", "posture", "hair", "hairstyle", "haircut", "colour", "color", "angle", "view", "perspective",
    "position", "size", "shape", "material", "texture", "shadow", "reflection", "focus", "blur", "noise", "font",
    "text", "wording", "letters", "lettering", "face", "gender", "age", "camera", "zoom", "gaze", "contrast",
    "brightness", "saturation", "hand", "hands", "mouth", "eyes", "direction", "number",
)  # fmt: skip
"""What no detector of things can count, though it may be asked for."""

_NUMBER = "|".join(sorted(NUMBERS, key=len, reverse=True))
_HUES = "|".join(sorted(NAMES, key=len, reverse=True))
_TONES = r"(?:(?:a|an|the|all|very|more|light|dark|bright|deep|pale|neon|hot|vivid|soft|pastel|shade of)\s+)*"
_ARTICLES = r"(?:an?|the|some|all(?: of)?(?: the)?|both|every|any|this|that|these|those|his|her|its|their|another|more)"
_VERBS = (
    "add|insert|include|remove|delete|erase|replace|change|make|turn|put|place|paint|swap|give|convert|transform|move|"
    "rotate|zoom|let|have|set|fix|open|close|write"
)
_LOOKS = re.compile(
    r"\b(in the style of|style|stylized|painting|watercolou?r|sketch|drawing|cartoon|anime|manga|comic|pixel art|"
    r"3d render|claymation|lego|origami|mosaic|stained glass|low[- ]poly|pop art|cyberpunk|steampunk|vaporwave|ghibli|"
    r"pixar|ukiyo-e|impressionis\w+|black and white|black-and-white|monochrome|gr[ae]yscale|sepia|vintage|film noir|"
    r"night|nighttime|daytime|dusk|dawn|sunset|sunrise|golden hour|winter|summer|autumn|spring|snowy|snowing|rainy|"
    r"raining|foggy|misty|stormy)\b"
)
_KEEP = re.compile(
    r"[\s,;.]*\b(?:(?:while|but|and|please)\s+)*(?:keep|keeping|maintain|maintaining|preserve|preserving|retain|"
    r"retaining|without (?:changing|altering)|leave (?:everything|the rest)|do not (?:change|alter)|"
    r"don't (?:change|alter))\b.*$"
)
_FACES = re.compile(
    r"\b(sunglasses|goggles|(?:face )?mask|masked|helmet|veil|balaclava|blindfold|cover\w*|hide|hiding|hidden|"
    r"from behind|back (?:view|of (?:the|his|her))|facing away|turn(?:ed)? (?:around|away)|different person|"
    r"someone else|"
    r"(?:swap|replace|change|remove|erase|delete) (?:the |his |her |this |all )?(?:\w+ )?(?:face|head|man|woman|person|"
    r"people|boy|girl|identity|gender|lady|guy|figure)s?|into an? (?:\w+ )?(?:man|woman|boy|girl|robot|zombie|cat|dog|"
    r"skeleton|statue|alien|baby)|gender|older|younger|elderly|years old|age(?:d)?|as a (?:child|baby))\b"
)
_END = re.compile(
    r"\s*(?:[.,;!]|\b(?:from|to|on|in|into|onto|with|without|next|near|behind|at|that|which|who|so|beside|besides|above|"
    r"below|under|over|around|for|while|using|wearing|holding|sitting|standing|flying|between|across|along|by|there|"
    r"here|please|instead|completely|entirely)\b).*$"
)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What an instruction asks for, as far as its words say.

    things: noun phrases, what is to appear, to go, to be counted or to take a colour. instead_of: of a replacement,
    what goes. count: how many, None for "some" (added) or "any" (removed). takes_all: all of them are to go.
    texts: of each string (old, new), None where there is none or it is not said. phrase: what the picture is to be.
    keeps_faces: nothing asks for another face, or for one that is covered or turned away.
    """

    kind: Kind
    things: tuple[str, ...] = ()
    instead_of: str | None = None
    count: int | None = None
    takes_all: bool = False
    colour: str | None = None
    texts: tuple[tuple[str | None, str | None], ...] = ()
    is_new_text: bool = False
    phrase: str | None = None
    keeps_faces: bool = True

    @property
    def checks(self) -> tuple[str, ...]:
        """By what to check it, the first usable one of these."""
        return CHECKS[self.kind]


def family(category: str) -> Family:
    """Which of KontextBench's five a category is by its name; "any" for none of them."""
    name = category.lower()
    words: tuple[Family, ...] = ("text", "local", "global", "style", "character")
    return next((word for word in words if word in name), "any")


def parse(instruction: str, category: str = "") -> Ask:
    """What the instruction asks for. Never fails: what is not understood is of kind "other"."""
    belongs = family(category)
    keeps_faces = belongs != "style" and not _FACES.search(instruction.lower())
    found = _reference(instruction) if belongs in ("style", "character") else _edit(instruction, belongs)
    return Ask(**{**found.__dict__, "keeps_faces": keeps_faces})


def _edit(instruction: str, belongs: Family) -> Ask:
    texts = quotations.changes(instruction, is_about_text=belongs == "text")
    if texts is not None:
        return Ask(kind="text", texts=texts.pairs, is_new_text=texts.is_new) if texts.pairs else Ask(kind="other")
    words = _KEEP.sub("", instruction.strip().lower().replace("’", "'")).strip(" .!")
    words = re.sub(r"^(?:please|can you|could you|i want you to|now|then)[\s,]+", "", words)
    if re.search(rf"(?:\band(?: then)?|[,;.]| then)\s+(?:{_VERBS})\b", words):
        return Ask(kind="other")  # two requests: a check of one of them would pass half an answer
    if belongs == "global":
        is_removal = re.match(r"(?:remove|delete|erase|get rid of|clear)\b", words)
        return (_remove(words) or Ask(kind="other")) if is_removal else _look(words)
    for rule in (_count, _recolour, _replace, _look_by_words, _add, _remove):
        found = rule(words)
        if found is not None:
            return found
    return Ask(kind="other")


def _reference(instruction: str) -> Ask:
    """A new picture after a reference: what it shows can be checked by the words that say so."""
    words = re.sub(
        r"^\W*(?:using|in|with|following|based on|given|keep(?:ing)?|draw in|create in)\s+(?:this|the|that|same|exact|"
        r"an?|\s)*(?:\w+\s+)?(?:style|reference|character|person)(?: of this \w+| of the \w+)?[\s,:]*",
        "",
        instruction.strip().lower(),
    )
    words = re.sub(r"^(?:please|generate|create|draw|make|show|paint|render|depict|put|place)\s+(?:me\s+)?", "", words)
    words = words.strip(" .!,")
    return Ask(kind="scene", phrase=words) if words else Ask(kind="other")


def _count(words: str) -> Ask | None:
    for pattern in (
        rf"\b(?:change|reduce|increase|set|raise|lower) the number of (?P<thing>.+?) to (?P<n>{_NUMBER})$",
        rf"\b(?:there should be|there are|make there be|make it|leave|show|have|keep) (?:only |exactly |just )?"
        rf"(?P<n>{_NUMBER}) (?P<thing>(?!o'clock)[a-z].+)$",
    ):
        match = re.search(pattern, words)
        thing = match and _thing(match["thing"])
        if match and thing:
            return Ask(kind="count", things=(thing,), count=NUMBERS[match["n"]])
    return None


def _recolour(words: str) -> Ask | None:
    hue = rf"{_TONES}(?P<hue>{_HUES})(?: colou?r| colou?red)?$"
    for pattern in (
        rf"^(?:change|turn|set|make) the colou?r of (?P<thing>.+?) (?:from {_TONES}(?:{_HUES}) )?(?:to|into)?\s*{hue}",
        rf"^(?:change|turn|make|paint|dye|colou?r|recolou?r|tint) (?P<thing>.+?)(?:'s colou?r| colou?r)? "
        rf"(?:from {_TONES}(?:{_HUES}) )?(?:to |into |in )?(?:be )?{hue}",
        rf"^(?:i want )?(?P<thing>(?:{_ARTICLES}|my) .+?) (?:should|must|to) be {hue}",
    ):
        match = re.search(pattern, words)
        if match and not re.search(r"\bblack and white$|\ban? (?:orange|lime|olive|violet)$", words):
            thing = _thing(match["thing"].replace("'s", ""), finds_hair=True)
            return Ask(kind="recolour", things=(thing,), colour=NAMES[match["hue"]]) if thing else Ask(kind="other")
    return None


def _replace(words: str) -> Ask | None:
    match = re.match(
        r"(?:replace|swap|exchange|substitute|switch)(?: out)? (?P<old>.+?) (?:with|for|by) (?P<new>.+)$", words
    ) or re.match(r"(?:change|turn|transform|convert|make) (?P<old>.+?)(?: from .+?)? (?:in)?to (?P<new>.+)$", words)
    if not match:
        return None
    head = re.sub(rf"^{_ARTICLES}\s+", "", match["old"]).split()
    last = head[-1] if head else ""
    if head and (last in WHOLE or last in AROUND or head[0] in ("time", "weather", "season")):
        return _look(words)
    old, new = _thing(match["old"]), _thing(match["new"])
    is_thing = re.match(rf"(?:{_ARTICLES}|{_NUMBER})\s", match["new"]) or (new and words.startswith("replace"))
    return Ask(kind="replace", things=(new,), instead_of=old) if old and new and is_thing else Ask(kind="other")


def _look_by_words(words: str) -> Ask | None:
    """A look of the whole picture, if one is named; a thing that is named after one ("a snowy owl") is none."""
    if not _LOOKS.search(words) or re.match(r"(?:add|remove|delete|erase|put|insert|place|give)\b", words):
        return None
    return _look(words)


def _look(words: str) -> Ask:
    around = re.match(
        r"(?:replace|change|swap|turn|make|set) (?:the |this )?(?:\w+ )?(?:background|backdrop)"
        r"(?: from .+?)? (?:with|to|into|by|for|be)\s+(?P<look>.+)$",
        words,
    )
    if around:
        return Ask(kind="look", phrase=f"with {around['look']} in the background")
    whole = rf"(?:the |this )?(?:entire |whole )?(?:{'|'.join((*WHOLE, *AROUND))})(?: of day)?"
    match = re.match(
        rf"(?:make|turn|convert|transform|change|render|redraw|recreate|reimagine|repaint|restyle|show|set|switch|depict)"
        rf"(?: {whole})*(?: from .+?)?(?: (?:look|appear|be|seem))?"
        rf"(?P<look> (?:to|into|as if it (?:was|were|is)|as though it were|as|like|in|at)\b.+| .+)$",
        words,
    )
    look = (match["look"] if match else words).strip()
    look = re.sub(r"^(?:add|put|include|insert)\s+", "with ", look)
    look = re.sub(r"^(?:in)?to\s+|^(?:look )?like\s+|^as (?:if|though) (?:it )?(?:was|were|is)\s+", "", look)
    return Ask(kind="look", phrase=look) if look else Ask(kind="other")


def _add(words: str) -> Ask | None:
    counted = rf"(?:{_ARTICLES}|{_NUMBER})"
    for pattern in (
        r"^(?:add|insert|include)(?: in)? (?P<thing>.+)$",
        rf"^(?:put|place|draw|set) (?P<thing>{counted} .+?) (?:on|in|at|next|near|behind|above|under|over|"
        r"beside|to|into)\b",
        rf"^give (?:him|her|it|them|(?:the|this|that|each|every) \w+(?: \w+)?) (?P<thing>{counted} .+)$",
        r"\b(?:wear|wearing|hold|holding|wears|holds) (?P<thing>.+)$",
    ):
        match = re.search(pattern, words)
        if match:
            things = _things(match["thing"])
            return Ask(kind="add", things=things, count=_number(match["thing"])) if things else Ask(kind="other")
    return None


def _remove(words: str) -> Ask | None:
    match = re.match(
        r"(?:remove|delete|erase|eliminate|clear|clean up|get rid of|take away|take off|take out) (?P<thing>.+)$",
        words,
    )
    if not match:
        return None
    things = _things(match["thing"])
    takes_all = bool(re.match(r"(?:all|every|any|both)\b", match["thing"]))
    return Ask(kind="remove", things=things, count=_number(match["thing"]), takes_all=takes_all) if things else None


def _things(phrase: str) -> tuple[str, ...]:
    """The noun phrases of "the red car and the two people"; none if one of them is nothing that can be counted."""
    parts = re.split(rf"(?:,| and|, and) (?={_ARTICLES}\b|(?:{_NUMBER})\b)", phrase)
    found = [_thing(part) for part in parts]
    return tuple(thing for thing in found if thing) if all(found) else ()


def _thing(phrase: str, *, finds_hair: bool = False) -> str | None:
    """A noun phrase without article, number and what follows it; None for what no detector of things finds."""
    noun = _END.sub("", phrase.strip())
    noun = re.sub(rf"^(?:(?:{_ARTICLES}|{_NUMBER})(?: of)?\s+)+", "", noun).strip(" '\"")
    last = noun.split()[-1] if noun else ""
    hopeless = {*WHOLE, *AROUND, *ABSTRACT} - ({"hair", "shirt"} if finds_hair else set())
    return noun if noun and last not in hopeless and len(noun.split()) <= 6 else None


def _number(phrase: str) -> int | None:
    match = re.match(rf"({_NUMBER})\s", phrase)
    return NUMBERS[match[1]] if match else None
