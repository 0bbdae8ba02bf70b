"""What is never drawn for training, listed: a model that gets these right has understood, not remembered.

Every part of a held-out combination is common in training, only never together: purple shirts and crowns are, a
purple shirt under a crown is not. Strings and faces are held out by a hash, so that the rule needs no list.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from recast.world.scene import Face, Scene

Pair = tuple[tuple[str, Any], tuple[str, Any]]

CHARACTER_PAIRS: tuple[Pair, ...] = (
    (("shirt", "purple"), ("hat", "crown")),
    (("hair", "curly"), ("hair_colour", "green")),
    (("glasses", "sunglasses"), ("expression", "angry")),
    (("outfit", "hoodie"), ("shirt", "teal")),
    (("pose", "cheering"), ("holding", "cake")),
    (("hat", "party hat"), ("beard", True)),
    (("logo", "moon"), ("shirt", "orange")),
)
SCENE_PAIRS: tuple[Pair, ...] = (
    (("background", "beach"), ("time", "winter")),
    (("background", "desert"), ("time", "night")),
    (("background", "hills"), ("time", "sunset")),
    (("background", "city"), ("style", "watercolor")),
    (("background", "forest"), ("look", "warm")),
)
TITLE_PAIRS: tuple[Pair, ...] = ((("colour", "pink"), ("outline", "blue")), (("colour", "orange"), ("size", "huge")))
THINGS = (
    ("car", "yellow"),
    ("cat", "green"),
    ("rocket", "pink"),
    ("gift", "blue"),
    ("balloon", "white"),
    ("cup", "purple"),
)
"""Kind and colour, whether on the ground, in a hand or on a sheet."""
LOGOS = (("star", "green"), ("heart", "blue"), ("triangle", "pink"))
"""Shape and colour, whether on a shirt, in a corner, as a sticker or on a sheet."""
FONTS = ("marker", "slab")
WORDS = ("legend", "future", "banned", "coffee", "shark", "secret", "guitar", "truth", "island", "finally")
"""A title that has one of these among its words, in any case, is held out, and so is one string in STRINGS_ONE_IN."""
STRINGS_ONE_IN = 16
FACES_ONE_IN = 10
FACE_CELLS = (0.97, 1.08)
"""Where each face parameter is cut: three cells each, 729 in all, of which one in FACES_ONE_IN is held out."""


def reasons(scene: Scene) -> tuple[str, ...]:
    """Why the scene is not for training, one string each; empty if it is."""
    found = [f"pair: {_said(pair)}" for pair in SCENE_PAIRS if _has(scene, pair)]
    for character in scene.characters:
        found += [f"pair: {_said(pair)}" for pair in CHARACTER_PAIRS if _has(character, pair)]
        if (character.holding, character.holding_colour) in THINGS:
            found.append(f"thing: {character.holding_colour} {character.holding}")
        if (character.logo, character.logo_colour) in LOGOS:
            found.append(f"logo: {character.logo_colour} {character.logo}")
        if is_held_out_face(character.face):
            found.append(f"face: cell {cell(character.face)}")
    found += [f"thing: {each.colour} {each.kind}" for each in scene.things if (each.kind, each.colour) in THINGS]
    for mark in scene.marks:
        if mark.kind in ("sticker", "logo") and (mark.shape, mark.colour) in LOGOS:
            found.append(f"logo: {mark.colour} {mark.shape}")
    if scene.title is not None:
        found += [f"pair: {_said(pair)}" for pair in TITLE_PAIRS if _has(scene.title, pair)]
        if scene.title.font in FONTS:
            found.append(f"font: {scene.title.font}")
        if is_held_out_string(scene.title.text):
            found.append(f"string: {scene.title.text!r}")
    return tuple(found)


@lru_cache(maxsize=4096)
def is_held_out_string(text: str) -> bool:
    """Whether a title of this text is held out. Case does not matter: "Wow" is no new word after "WOW"."""
    folded = text.casefold()
    words = "".join(each if each.isalnum() else " " for each in folded).split()
    return _hash("string", folded) % STRINGS_ONE_IN == 0 or any(word in WORDS for word in words)


def cell(face: Face) -> tuple[int, ...]:
    """Where the face lies on the grid of cells: 0, 1 or 2 for each parameter, in the order of `Face`."""
    values = (face.width, face.height, face.eye_size, face.eye_gap, face.nose, face.mouth)
    return tuple(sum(value >= cut for cut in FACE_CELLS) for value in values)


@lru_cache(maxsize=4096)
def is_held_out_face(face: Face) -> bool:
    return _hash("face", str(cell(face))) % FACES_ONE_IN == 0


def listing() -> dict[str, list[str]]:
    """Everything that is held out, in words, for a page or a file."""
    return {
        "attribute pairs": [_said(pair) for pair in (*SCENE_PAIRS, *CHARACTER_PAIRS, *TITLE_PAIRS)],
        "things": [f"{colour} {kind}" for kind, colour in THINGS],
        "logos": [f"{colour} {shape}" for shape, colour in LOGOS],
        "fonts": list(FONTS),
        "words in titles": list(WORDS),
        "rules": [
            f"one title in {STRINGS_ONE_IN}: SHA-256 of 'string:' and the case-folded text, first 8 bytes, modulo",
            "every seed from 2^40 on, and every scene drawn from one",
            f"one face in {FACES_ONE_IN}: SHA-256 of 'face:' and its cell, each parameter cut at {FACE_CELLS}",
        ],
    }


def _has(part: Any, pair: Pair) -> bool:
    return all(getattr(part, name) == value for name, value in pair)


def _said(pair: Pair) -> str:
    return " + ".join(f"{name.replace('_', ' ')} {'yes' if value is True else value}" for name, value in pair)


def _hash(kind: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{kind}:{text}".encode()).digest()[:8], "big")
