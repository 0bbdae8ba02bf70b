"""Is it still her? Each character's reference pictures to identity vectors; the faces of a variant against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.thumbnails.boxes import Box
from recast.thumbnails.kit import Character
from recast.thumbnails.seeing import FoundFace, SeesFaces

MOST_FACES = 6
"""Faces of a picture that are compared with the characters, largest first: who is smaller is a passer-by."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """What one character looks like. identities: (k, d), one a reference picture, of length 1. limit: least cosine."""

    character: str
    identities: np.ndarray
    limit: float
    recogniser: str

    def similarity(self, identity: np.ndarray) -> float:
        """The cosine to the reference that is most alike."""
        return float((self.identities @ identity).max())


@dataclass(frozen=True)
class Match:
    """One character in one picture. similarity: cosine of its face, None where no face is left for it."""

    character: str
    limit: float
    similarity: float | None = None
    box: Box | None = None

    @property
    def holds(self) -> bool:
        return self.similarity is not None and self.similarity >= self.limit


@dataclass(frozen=True)
class Cast:
    """Who is in a picture: a match for each character, in their order, and the boxes of faces that are nobody's."""

    matches: tuple[Match, ...]
    others: tuple[Box, ...] = ()

    @property
    def holds(self) -> bool:
        return all(each.holds for each in self.matches)

    def reason(self) -> str:
        """Why the picture is rejected, in words; "" where everyone is there."""
        return "; ".join(
            f"{each.character}: no face found"
            if each.similarity is None
            else f"{each.character}: similarity {each.similarity:.2f}, limit {each.limit:.2f}"
            for each in self.matches
            if not each.holds
        )


def sheet(character: Character, faces: SeesFaces) -> Sheet:
    """The identities of a character's reference pictures.

    Raises InputError that names the file where a reference cannot be read, shows no face, several, or too small a one,
    and where two references are not of one person by the character's limit.
    """
    if not character.references:
        raise ConfigError(f"characters.{character.id}.references: none came; pictures with one face each accepted")
    vectors = [_only_face(path, character, faces).identity for path in character.references]
    limit = faces.limit if character.identity_min is None else character.identity_min
    identities = np.stack(vectors)
    cosines = identities @ identities.T
    for i, path in enumerate(character.references):
        others = np.delete(cosines[i], i)
        if others.size and others.max() < limit:
            raise InputError(
                f"{path}: not the person of {character.id}'s other references "
                f"(similarity {others.max():.2f}, limit {limit:.2f}); exchange it, or lower identity_min"
            )
    return Sheet(character.id, identities, limit, faces.name)


def cast(
    rgb: np.ndarray, sheets: Sequence[Sheet], faces: SeesFaces, *, found: Sequence[FoundFace] | None = None
) -> Cast:
    """Which face of a picture (H, W, 3) uint8 is whose: the assignment with the largest sum of cosines.

    found: the picture's faces, where they are known already.
    """
    seen = list(faces.faces(rgb) if found is None else found)[:MOST_FACES]
    if not sheets:
        return Cast((), tuple(face.box for face in seen))
    cosines = np.array([[each.similarity(face.identity) for face in seen] for each in sheets]).reshape(len(sheets), -1)
    places = [*range(len(seen)), *[None] * len(sheets)]
    best: tuple[int | None, ...] = max(
        set(permutations(places, len(sheets))),
        key=lambda order: (
            sum(place is not None for place in order),
            sum(float(cosines[i, place]) for i, place in enumerate(order) if place is not None),
            tuple(-1 if place is None else -place for place in order),
        ),
    )
    matches = tuple(
        Match(each.character, each.limit)
        if place is None
        else Match(each.character, each.limit, float(cosines[i, place]), seen[place].box)
        for i, (each, place) in enumerate(zip(sheets, best, strict=True))
    )
    taken = {place for place in best if place is not None}
    return Cast(matches, tuple(face.box for i, face in enumerate(seen) if i not in taken))


def _only_face(path: Path, character: Character, faces: SeesFaces) -> FoundFace:
    picture = image.read(path, name=f"characters.{character.id}.references")
    seen = faces.faces(picture.rgb)
    if not seen:
        raise InputError(f"{path}: no face found for {character.id}; a picture that shows one face accepted")
    largest = seen[0]
    height_px = largest.box.height * picture.height
    if height_px < faces.smallest_px:
        raise InputError(
            f"{path}: the face of {character.id} is {height_px:.0f} pixels high; from {faces.smallest_px} accepted"
        )
    rivals = [face for face in seen[1:] if face.box.area > 0.5 * largest.box.area]
    if rivals:
        raise InputError(f"{path}: {1 + len(rivals)} faces of like size; a picture of {character.id} alone accepted")
    return largest
