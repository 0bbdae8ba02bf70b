"""A brief to words: concepts to choose from, and the levels and instructions of a factor.

The concepts are templates filled with the brief's own words; a language model can take their place, since all that the
stages after them read is plain data.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recast.errors import ConfigError
from recast.thumbnails.brief import Brief, Factor, Level
from recast.thumbnails.kit import Kit

EMOTIONS = ("surprised", "happy", "calm", "angry", "sad")
PLACES = (
    "a beach", "a forest", "a city at night", "mountains", "a desert", "space", "a room", "a studio", "snow",
    "a sunset",
)  # fmt: skip
BACKGROUNDS = {
    "night": "Make it night",
    "winter": "Make it winter",
    "sunset": "Change the time to sunset",
    **{
        place: f"Change the background to {phrase}"
        for place, phrase in {
            "beach": "a beach",
            "forest": "a forest",
            "mountains": "mountains",
            "city": "a city",
            "desert": "a desert",
            "space": "space",
            "room": "a room",
        }.items()
    },
}
"""Backgrounds that any model of this kind knows: name and instruction."""
STYLES = {
    "sketch": "Turn this into a pencil sketch",
    "watercolour": "Turn this into a watercolor",
    "mono": "Make it black and white",
    "warm": "Make the colors warmer",
    "cool": "Make the colors cooler",
}
EXPRESSIONS = {word: f"Make the person look {word}" for word in EMOTIONS}
EDITED: dict[Factor, dict[str, str]] = {"background": BACKGROUNDS, "style": STYLES, "expression": EXPRESSIONS}
"""The factors whose levels are instructions, and instructions that can be proposed for them."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One idea for a thumbnail. prompt: to generate its base; edit: to make it of a given frame."""

    subject: str
    emotion: str
    background: str
    text: str
    colour: str
    prompt: str
    edit: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def concepts(brief: Brief, kit: Kit, *, count: int = 6) -> list[Concept]:
    """Ideas for one brief, no two of which share background and text; the same brief gives the same ones.

    count: 4 to 8 are usual; at most as many as there are places. Raises ConfigError for others.
    """
    if not 1 <= count <= len(PLACES):
        raise ConfigError(f"count={count}: 1 to {len(PLACES)} accepted")
    dice = random.Random(f"{brief.title}\n{brief.topic}\n{brief.seed}")
    subject = " and ".join(f"@{name}" for name in brief.characters) or brief.topic or brief.title
    texts = short_texts(brief, kit)
    colours = [each.hex for each in kit.palette] or ["#FFFFFF"]
    emotions = dice.sample(EMOTIONS, k=len(EMOTIONS))
    made = []
    for i, place in enumerate(dice.sample(PLACES, k=count)):
        emotion, text = emotions[i % len(emotions)], texts[i % len(texts)]
        looks = "" if not brief.characters else f", looking {emotion}"
        about = f", {brief.topic}" if brief.topic and brief.topic != subject else ""
        made.append(
            Concept(
                subject=subject,
                emotion=emotion,
                background=place,
                text=text,
                colour=colours[i % len(colours)],
                prompt=f"A thumbnail of {subject}{looks}{about}, in front of {place}, with room for a title",
                edit=f"Change the background to {place}",
            )
        )
    return made


def short_texts(brief: Brief, kit: Kit) -> list[str]:
    """Titles short enough for the kit's rules: the brief's text, its hooks, and what the title shortens to."""
    rules = kit.rules
    words = re.findall(r"[^\W_][\w'’$%.-]*[!?]?", brief.title)
    # the last words of a title say more than its first: "How I built THIS ROBOT"
    tails = [" ".join(words[-n:]) for n in range(min(rules.max_words, len(words)), 0, -1)]
    texts = [brief.text, *brief.hooks, *tails]
    short = [
        text.strip()
        for text in texts
        if text.strip() and len(text.split()) <= rules.max_words and len(text.strip()) <= rules.max_characters
    ]
    return list(dict.fromkeys(short)) or [brief.text]


def levels(brief: Brief, kit: Kit) -> tuple[Level, ...]:
    """Levels to propose for the brief's factor, the base as it is first; none for a factor of things nobody knows."""
    factor = brief.variants.factor
    made: Sequence[Level]
    if factor in EDITED:
        made = [Level(name="as-is"), *(Level(name=name, edit=edit) for name, edit in EDITED[factor].items())]
    elif factor == "text":
        made = [Level(name=f"text-{i}", text=text) for i, text in enumerate(short_texts(brief, kit), start=1)]
    elif factor == "layout":
        made = [Level(name=each.id, layout=each.id) for each in kit.layouts]
    elif factor == "colour":
        made = [Level(name=each.role, colour=each.hex) for each in kit.palette]
    else:
        made = []
    return tuple(made)


def named_images(instructions: Sequence[str], known: Sequence[str]) -> list[str]:
    """The context images that instructions call by name ("@host"), in the order of `known`."""
    called = {name for text in instructions for name in re.findall(r"(?<!\w)@(\w[\w-]*)", text)}
    return [name for name in known if name in called]
