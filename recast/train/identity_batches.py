"""Batches of pictures in which somebody of the world is seen: whoever it is, twice, and people who look much like them.

Batch number n is a function of the stream's seed and n alone: the same wherever and whenever it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.world import sample
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.faces import FaceBox, crop, to_grid, true_faces
from recast.world.heldout import is_held_out_face
from recast.world.rules import shows
from recast.world.scene import CHOICES, IDENTITY, Character, Face, Scene

FAMILY = 4
"""Somebody and three who look like them: in one attribute of IDENTITY they are another person."""
VIEWS = 2
"""Pictures of each person in a batch."""
SIZES = ((192, 192), (256, 144))
"""Width and height of the pictures of a batch, batches in turn."""
NAMES = tuple(name for name in IDENTITY if name != "face")
SHAPE = tuple(each.name for each in fields(Face))
STRANGE = 8
"""One in so many searched pictures is any picture of the world: of nobody, mostly."""
HIDDEN = -1
"""Of an attribute that a picture does not show."""
SCENES = 1 << 14
"""How many scenes of each kind people are put into: so few that they are kept, for sampling one is half the work."""
ECHOES = 3
"""Batches in a row of the same drawings, each time cut, lit and blurred anew: drawing is the slow part."""
KINDS = {"cartoon": 0.72, "photo": 0.22, "sheet": 0.06}


@dataclass(frozen=True)
class View:
    """A picture with somebody in it. index: which of the scene's characters it is."""

    rgb: np.ndarray
    scene: Scene
    index: int
    faces: tuple[tuple[FaceBox, float, bool], ...]  # of every character, as `true_faces`


@dataclass(frozen=True)
class IdentityBatch:
    """n crops of p people, VIEWS of each, and the pictures that some of them were cut from."""

    crops: Tensor  # (n, 3, 64, 64) uint8
    who: Tensor  # (n,) int64: the number of the person in this batch
    classes: Tensor  # (n, len(NAMES)) int64: places in CHOICES, or HIDDEN
    shape: Tensor  # (n, len(SHAPE)) float: the face, as multiples of the usual
    pictures: Tensor  # (m, 3, H, W) uint8
    faces: tuple[Tensor, ...]  # of each of those (f, 6): x, y, width, height in pixels, gap, 1 where the eyes are seen


class IdentityBatches:
    """An endless stream of them (`stage.Batches`).

    families: of FAMILY people, in a batch. searched: pictures of a batch that the finder learns from.
    Raises ConfigError for fewer than one family, and for more pictures than there are views.
    """

    def __init__(self, *, families: int = 8, searched: int = 16, seed: int = 0) -> None:
        if families < 1 or not 1 <= searched <= families * FAMILY * VIEWS:
            raise ConfigError(
                f"families={families}, searched={searched}: 1 family or more and 1 to {FAMILY * VIEWS} pictures of "
                "each accepted"
            )
        self.families, self.searched, self.seed = families, searched, seed
        self._next = 0
        self._kept: tuple[tuple[int, bool], list[View]] | None = None

    def __iter__(self) -> Iterator[IdentityBatch]:
        while True:
            made = self.batch(self._next)
            self._next += 1
            yield made

    def batch(self, number: int, *, held_out: bool = False) -> IdentityBatch:
        """Batch `number`. held_out: of people and scenes that no training has."""
        dice = Dice(self.seed, "identities", number)
        drawn = [
            degraded(each, dice.stream("degraded", n)) for n, each in enumerate(self._draw(number // ECHOES, held_out))
        ]
        count = self.families * FAMILY * VIEWS
        views, strange = drawn[:count], drawn[count:]
        boxes = [shaken(each.faces[each.index][0], dice.stream("crop", n)) for n, each in enumerate(views)]
        crops = [crop(each.rgb, box) for each, box in zip(views, boxes, strict=True)]
        every = len(views) // self.searched
        seen = views[number % every :: every][: self.searched]
        seen[::STRANGE] = strange
        looked = [to_targets(each) for each in seen]
        return IdentityBatch(
            crops=channels_first(crops),
            who=torch.arange(self.families * FAMILY).repeat_interleave(VIEWS),
            classes=torch.tensor([classes(each) for each in views]),
            shape=torch.tensor([[getattr(_person(each).face, name) for name in SHAPE] for each in views]),
            pictures=channels_first([pixels for pixels, _ in looked]),
            faces=tuple(faces for _, faces in looked),
        )

    def _draw(self, number: int, held_out: bool) -> list[View]:
        """Drawing `number`: VIEWS of each person, one person after another, and then pictures of anything."""
        if self._kept is not None and self._kept[0] == (number, held_out):
            return self._kept[1]
        dice = Dice(self.seed, "drawn", number)
        width, height = SIZES[number % len(SIZES)]
        first_seed = sample.FIRST_UNTRAINED if held_out else 0
        people = [each for n in range(self.families) for each in family(dice.stream("family", n), held_out)]
        views = [
            view(each, dice.stream("view", i, n), width=width, height=height, first_seed=first_seed)
            for i, each in enumerate(people)
            for n in range(VIEWS)
        ]
        for n in range(0, self.searched, STRANGE):
            views.append(anything(dice.stream("anything", n), width=width, height=height))
        self._kept = (number, held_out), views
        return views

    def state(self) -> dict[str, Any]:
        return {**self._about(), "next": self._next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        about = self._about()
        if any(state.get(name) != value for name, value in about.items()):
            raise ConfigError(f"state: {dict(state)} came, of another stream than {about}; start a new run, or go back")
        self._next = int(state["next"])

    def close(self) -> None:
        """Nothing is held."""

    def _about(self) -> dict[str, Any]:
        return {"kind": "identities", "families": self.families, "searched": self.searched, "seed": self.seed}


def family(dice: Dice, held_out: bool = False) -> list[Character]:
    """Somebody, and FAMILY - 1 others who differ in one attribute of IDENTITY each. held_out: by their faces."""
    first = replace(sample.person(dice.stream("first"), "center"), face=_face(dice.stream("face"), held_out))
    names = dice.stream("names").shuffled((*NAMES, "face", "face"))[: FAMILY - 1]
    return [first, *(look_alike(first, name, dice.stream("other", i), held_out) for i, name in enumerate(names))]


def look_alike(person: Character, name: str, dice: Dice, held_out: bool = False) -> Character:
    """Somebody else who differs from a person in the attribute `name` of IDENTITY alone."""
    if name == "face":
        return replace(person, face=_face(dice, held_out))
    others = [each for each in CHOICES[Character][name] if each != getattr(person, name)]
    return replace(person, **{name: dice.choice(others)})


def view(who: Character, dice: Dice, *, width: int, height: int, first_seed: int = 0) -> View:
    """Somebody in a random scene: with any expression, clothes, pose, place and size, in any light and style.

    first_seed: 0 for scenes of the training's, `sample.FIRST_UNTRAINED` for others.
    """
    kind = dice.stream("kind").weighted(KINDS)
    for attempt in range(sample.TRIES):
        seed = first_seed + dice.stream("seed", attempt).below(SCENES)
        scene = _scene(seed, kind)
        if not scene.characters:
            continue
        index = dice.stream("index").below(len(scene.characters))
        scene = replace(scene, characters=_with(scene.characters, index, who, dice.stream("stands")))
        faces = tuple(true_faces(scene, width / height))
        if faces[index][0].within() > 0.8:
            return View(draw(scene, width, height), scene, index, faces)
    raise AssertionError(f"nobody is seen in {sample.TRIES} scenes of kind {kind}")


@lru_cache(maxsize=len(KINDS) * SCENES)
def _scene(seed: int, kind: str) -> Scene:
    return sample.scene(seed, split="train" if seed < sample.FIRST_UNTRAINED else "any", kind=kind)


def _with(characters: tuple[Character, ...], index: int, who: Character, dice: Dice) -> tuple[Character, ...]:
    there = replace(characters[index], **{name: getattr(who, name) for name in IDENTITY})
    if len(characters) == 1 and dice.chance(0.5):  # as edits make people smaller and larger, and move them
        there = replace(there, scale=dice.on_grid(32, 96))
        there = replace(there, dx=dice.on_grid(-6, 6), dy=dice.on_grid(-4, 6))
    return (*characters[:index], there, *characters[index + 1 :])


def anything(dice: Dice, *, width: int, height: int) -> View:
    """Any scene of the training's, most often with nobody in it; its index means nothing."""
    for attempt in range(9):
        scene = _scene(dice.stream("seed", attempt).below(SCENES), "photo" if dice.chance(0.5) else "cartoon")
        if not scene.characters:
            break
    return View(draw(scene, width, height), scene, 0, tuple(true_faces(scene, width / height)))


def degraded(seen: View, dice: Dice) -> View:
    """A view as pictures travel: scaled down, blurred, noisy, in another light, as JPEG; part of a larger picture."""
    rgb, faces = seen.rgb, seen.faces
    height, width = rgb.shape[:2]
    if dice.stream("part").chance(0.2):
        rgb, faces = _part_of(rgb, faces, dice.stream("part of"))
    if dice.stream("light").chance(0.35):
        rgb = light(rgb, dice.stream("how light"))
    if dice.stream("small").chance(0.3):
        share = 0.3 + 0.6 * dice.stream("how small").random()
        small = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        rgb = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if dice.stream("blur").chance(0.25):
        rgb = cv2.GaussianBlur(rgb, (0, 0), 0.4 + 1.4 * dice.stream("how much").random())
    if dice.stream("noise").chance(0.2):
        rgb = noisy(rgb, 2 + 12 * dice.stream("level").random(), dice.stream("grain").below(1 << 31))
    if dice.stream("jpeg").chance(0.4):
        rgb = jpeg(rgb, 25 + dice.stream("quality").below(70))
    return replace(seen, rgb=rgb, faces=faces)


def light(rgb: np.ndarray, dice: Dice) -> np.ndarray:
    """Another exposure, gamma and white point, as cameras and grading have them."""
    gamma, gain = 0.75 + 0.6 * dice.random(), 0.85 + 0.3 * dice.random()
    tint = np.array([0.94 + 0.12 * dice.random() for _ in range(3)])
    values = np.arange(256)[:, None] / 255
    table = np.clip(255 * gain * tint * values**gamma, 0, 255).astype(np.uint8)
    return cv2.LUT(rgb, table[None])


def noisy(rgb: np.ndarray, level: float, seed: int) -> np.ndarray:
    """With Gaussian noise of `level` grey values."""
    grain = np.random.default_rng(seed).standard_normal(rgb.shape, np.float32) * np.float32(level)
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """Encoded as JPEG and decoded."""
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])


def shaken(box: FaceBox, dice: Dice) -> FaceBox:
    """A box as inexactly as a finder gives it: up to 4 % of its size beside, 8 % too large or too small."""
    x, y = (centre + 0.08 * (dice.random() - 0.5) * box.height for centre in box.center)
    scale = 0.92 + 0.16 * dice.random()
    across, down = scale * box.width / 2, scale * box.height / 2
    return FaceBox(x - across, y - down, x + across, y + down)


def to_targets(seen: View) -> tuple[np.ndarray, Tensor]:
    """A view on the finder's grid, and its faces there as IdentityBatch has them."""
    height, width = seen.rgb.shape[:2]
    pixels, across, down = to_grid(seen.rgb)
    rows = [
        (
            box.center[0] * width * across,
            box.center[1] * height * down,
            box.width * width * across,
            box.height * height * down,
            gap,
            float(open_),
        )
        for box, gap, open_ in seen.faces
        if box.within() > 0.5
    ]
    return pixels, torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


def classes(seen: View) -> list[int]:
    """Which of its CHOICES each attribute of NAMES is, or HIDDEN."""
    person, path = _person(seen), f"characters.{seen.index}."
    return [
        CHOICES[Character][name].index(getattr(person, name)) if shows(seen.scene, path + name) else HIDDEN
        for name in NAMES
    ]


def channels_first(pictures: list[np.ndarray]) -> Tensor:
    """Pictures (H, W, 3) uint8 of one size as (n, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _person(seen: View) -> Character:
    return seen.scene.characters[seen.index]


def _face(dice: Dice, held_out: bool) -> Face:
    for attempt in range(sample.TRIES):
        drawn = sample.face(dice.stream(attempt))
        if is_held_out_face(drawn) == held_out:
            return drawn
    raise AssertionError(f"no face with held_out={held_out}")


def _part_of(rgb: np.ndarray, faces: tuple[Any, ...], dice: Dice) -> tuple[np.ndarray, tuple[Any, ...]]:
    """The picture, smaller, on a larger one of one colour and noise: as in a collage, or with bars."""
    height, width = rgb.shape[:2]
    share = 0.5 + 0.45 * dice.random()
    wide, high = round(width * share), round(height * share)
    left, top = dice.below(width - wide + 1), dice.below(height - high + 1)
    colour = np.array([dice.below(256) for _ in range(3)], np.uint8)
    whole = np.broadcast_to(colour, rgb.shape).copy()
    whole[top : top + high, left : left + wide] = cv2.resize(rgb, (wide, high), interpolation=cv2.INTER_AREA)

    def moved(box: FaceBox) -> FaceBox:
        return FaceBox(
            (left + box.left * wide) / width,
            (top + box.top * high) / height,
            (left + box.right * wide) / width,
            (top + box.bottom * high) / height,
        )

    return whole, tuple((moved(box), gap, is_seen) for box, gap, is_seen in faces)
