"""The networks that know the world's people, measured on people they were never trained on, and their limit.

    PYTHONPATH=. python benchmarks/identity_calibration.py [--weights FILE] [--people 500] [--write]

Prints how many faces are found, and how many pairs of one person and of different people pass at the limit for one
false acceptance in a thousand: all together, by what was done to the pictures, and for look-alikes who differ in one
attribute. --write puts the limit and the figures into a JSON file beside the weights, where `limit` is read from.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks import record
from recast.thumbnails.calibration import Pairs, calibrate
from recast.train.identity_batches import NAMES, View, degraded, family, jpeg, look_alike, view
from recast.weights.files import checksum
from recast.world import sample
from recast.world.dice import Dice
from recast.world.draw import draw
from recast.world.recogniser import OWN, SeenFace, WorldFaces
from recast.world.rules import shows
from recast.world.scene import Character

SIZES = ((1280, 720), (640, 360), (336, 188), (512, 512), (256, 256), (180, 320))
VIEWS = 4
RIGHT = 0.5
"""A face is found where a box shares half of the area of both with the true one (Everingham et al. 2010)."""
SHOWN = (*NAMES, "face")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=OWN)
    parser.add_argument("--people", type=int, default=500, help=f"each in {VIEWS} pictures")
    parser.add_argument("--roundtrip", type=int, default=60, help="pictures through nano's autoencoder")
    parser.add_argument("--write", action="store_true", help="write the JSON file beside the weights")
    args = parser.parse_args()
    torch.set_num_threads(1)
    eye, begun = WorldFaces(args.weights, limit=0.0), time.perf_counter()
    seen = Seen(eye)
    for n in range(args.people):
        seen.person(n)
    pairs = Pairs.of([np.stack(vectors) for vectors in seen.vectors.values() if vectors])
    measured = calibrate(pairs, name=eye.name, network=checksum(args.weights))
    empty = strangers(eye, args.people // 2)
    found = seen.finding(empty, args.people // 2)
    by_case = cases(eye, seen, measured.limit, args.people // 5, args.roundtrip)
    alike = look_alikes(eye, measured.limit, args.people // 2)
    seconds = time.perf_counter() - begun
    rows = [
        {"what": "faces found, %", "value": 100 * found["recall"], "of": found["faces"]},
        {"what": "boxes that are faces, %", "value": 100 * found["precision"], "of": found["boxes"]},
        {"what": "limit", "value": measured.limit, "of": measured.different_pairs},
        {"what": "same person accepted, %", "value": 100 * measured.true_accept, "of": measured.same_pairs},
        {"what": "others accepted, %", "value": 100 * measured.false_accept, "of": measured.different_pairs},
    ]
    rows += [
        {"what": f"same person, {name}, accepted, %", "value": 100 * share, "of": of}
        for name, (share, of) in by_case.items()
    ]
    rows += [
        {"what": f"look-alike, other {name}, accepted, %", "value": 100 * share, "of": of}
        for name, (share, of) in alike.items()
    ]
    print(record.table(rows))
    print(f"{seconds:.0f} s")
    about = {
        "command": f"benchmarks/identity_calibration.py --people {args.people} --roundtrip {args.roundtrip}",
        "finding": found,
        "same_person_accepted": {name: [round(share, 4), of] for name, (share, of) in by_case.items()},
        "look_alikes_accepted": {name: [round(share, 4), of] for name, (share, of) in alike.items()},
    }
    if args.write:
        print(measured.write(args.weights.with_suffix(".json"), **about))
    record.append("identity_calibration", {**{row["what"]: row["value"] for row in rows}, "seconds": seconds})


class Seen:
    """People in pictures of all sizes, half of them degraded as pictures are when they travel, and what was found."""

    def __init__(self, eye: WorldFaces) -> None:
        self.eye = eye
        self.vectors: dict[int, list[np.ndarray]] = defaultdict(list)
        self.kept: list[tuple[View, np.ndarray, int]] = []  # pictures whose person was found, its vector, who it is
        self._faces = self._found = self._boxes = self._wrong = 0
        self.by_height: dict[str, list[bool]] = defaultdict(list)

    def person(self, number: int) -> None:
        dice = Dice(sample.FIRST_UNTRAINED, "calibration", number)
        who = family(dice.stream("who"), held_out=True)[0]
        for n in range(VIEWS):
            one = shown(who, dice.stream("view", n))
            if n % 2:
                one = degraded(one, dice.stream("degraded", n))
            face = self._look(one)
            if face is not None:
                self.vectors[number].append(face.identity)
                self.kept.append((one, face.identity, number))

    def finding(self, empty: int, pictures: int) -> dict[str, Any]:
        """Shares of faces found and of boxes that are faces; `empty` boxes came from `pictures` without people."""
        return {
            "recall": self._found / self._faces,
            "precision": self._found / (self._boxes + empty),
            "faces": self._faces,
            "boxes": self._boxes + empty,
            "pictures_without_people": pictures,
            "recall_by_height_px": {
                name: [round(float(np.mean(hits)), 4), len(hits)] for name, hits in sorted(self.by_height.items())
            },
        }

    def _look(self, one: View) -> SeenFace | None:
        """The person's face, if it was found; counts what was found and what was not."""
        found = self.eye.faces(one.rgb)
        self._boxes += len(found)
        own = None
        for index, (true, _, _) in enumerate(one.faces):
            if true.within() < 0.5:
                continue
            best = max(found, key=lambda face: face.box.overlap(true), default=None)
            is_found = best is not None and best.box.overlap(true) >= RIGHT
            self._faces += 1
            self._found += is_found
            self.by_height[_height(true.height * one.rgb.shape[0])].append(is_found)
            if index == one.index and is_found:
                own = best
        return own


def cases(eye: WorldFaces, seen: Seen, limit: float, people: int, roundtrip: int) -> dict[str, tuple[float, int]]:
    """Shares of same pairs that pass: a plain picture of somebody against one that differs in what the name says."""
    changes: dict[str, Callable[[View], View | None]] = {
        "as drawn": lambda one: one,
        "JPEG 50": lambda one: replace(one, rgb=jpeg(one.rgb, 50)),
        "blur": lambda one: replace(one, rgb=cv2.GaussianBlur(one.rgb, (0, 0), one.rgb.shape[0] / 160)),
        "face 32 px": lambda one: _shrunk(one, 32),
        "face 20 px": lambda one: _shrunk(one, 20),
        "face 16 px": lambda one: _shrunk(one, 16),
    }
    for style in ("watercolor", "pencil", "pixel", "poster"):
        changes[style] = lambda one, style=style: _drawn(one, style=style, look="none")  # type: ignore[misc]
    for look in ("warm", "cool", "contrast", "black and white"):
        changes[look] = lambda one, look=look: _drawn(one, look=look, style="flat")  # type: ignore[misc]
    changes["sunglasses"] = lambda one: _worn(one, glasses="sunglasses")
    changes["a hat"] = lambda one: _worn(one, hat="cap")
    right: dict[str, list[bool]] = defaultdict(list)
    codec = _autoencoder() if roundtrip else None
    for number in range(people):
        dice = Dice(sample.FIRST_UNTRAINED, "cases", number)
        who = family(dice.stream("who"), held_out=True)[0]
        first, second = (_plain(shown(who, dice.stream("view", n), sizes=((512, 288),))) for n in range(2))
        reference = _own(eye, first)
        if reference is None:
            continue
        for name, change in changes.items():
            changed = change(second)
            if changed is not None:
                right[name].append(_passes(eye, changed, reference, limit))
        if codec is not None and number < roundtrip:
            one = _plain(shown(who, dice.stream("view", 2), sizes=((256, 256),)))
            right["through nano's autoencoder"].append(_passes(eye, replace(one, rgb=codec(one.rgb)), reference, limit))
    by_height = defaultdict(list)
    for (one, vector, who_is), (other, second_vector, other_is) in zip(seen.kept, seen.kept[1:], strict=False):
        if who_is == other_is:
            low = min(each.faces[each.index][0].height * each.rgb.shape[0] for each in (one, other))
            by_height[f"smaller face {_height(low)} px"].append(bool(vector @ second_vector >= limit))
    return {
        name: (float(np.mean(hits)), len(hits)) for name, hits in {**right, **dict(sorted(by_height.items()))}.items()
    }


def look_alikes(eye: WorldFaces, limit: float, people: int) -> dict[str, tuple[float, int]]:
    """Shares of pairs of different people that pass, who differ in one attribute that both pictures show."""
    passed: dict[str, list[bool]] = defaultdict(list)
    for number in range(people):
        dice = Dice(sample.FIRST_UNTRAINED, "look-alikes", number)
        who = family(dice.stream("who"), held_out=True)[0]
        one = shown(who, dice.stream("one"), sizes=((512, 288),))
        reference = _own(eye, one)
        if reference is None:
            continue
        for name in SHOWN:
            other = shown(
                look_alike(who, name, dice.stream("like", name), True), dice.stream("other", name), sizes=((512, 288),)
            )
            if name == "face" or all(shows(each.scene, f"characters.{each.index}.{name}") for each in (one, other)):
                vector = _own(eye, other)
                if vector is not None:
                    passed[name].append(bool(vector @ reference >= limit))
    return {name: (float(np.mean(hits)), len(hits)) for name, hits in passed.items()}


def strangers(eye: WorldFaces, count: int) -> int:
    """Boxes found in pictures of the world without people."""
    boxes, seed, looked = 0, sample.FIRST_UNTRAINED, 0
    while looked < count:
        seed += 1
        scene = sample.scene(seed, split="any")
        if not scene.characters:
            width, height = SIZES[looked % len(SIZES)]
            boxes += len(eye.faces(draw(scene, width, height)))
            looked += 1
    return boxes


def shown(who: Character, dice: Dice, sizes: tuple[tuple[int, int], ...] = SIZES) -> View:
    width, height = dice.stream("size").choice(sizes)
    return view(who, dice.stream("scene"), width=width, height=height, first_seed=sample.FIRST_UNTRAINED)


def _plain(one: View) -> View:
    return _drawn(one, style="flat", look="none")


def _drawn(one: View, **changes: Any) -> View:
    """The view drawn anew with attributes of its scene changed."""
    scene = replace(one.scene, **changes)
    height, width = one.rgb.shape[:2]
    return replace(one, scene=scene, rgb=draw(scene, width, height))


def _worn(one: View, **changes: Any) -> View:
    people = list(one.scene.characters)
    people[one.index] = replace(people[one.index], **changes)
    return _drawn(one, characters=tuple(people))


def _shrunk(one: View, face_px: int) -> View | None:
    """The picture so small that its person's face is `face_px` high; None where it is smaller already."""
    share = face_px / (one.faces[one.index][0].height * one.rgb.shape[0])
    if share > 1:
        return None
    return replace(one, rgb=cv2.resize(one.rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))


def _passes(eye: WorldFaces, one: View, reference: np.ndarray, limit: float) -> bool:
    """Whether somebody's face is found and accepted; one that is not found is not."""
    vector = _own(eye, one)
    return vector is not None and bool(vector @ reference >= limit)


def _own(eye: WorldFaces, one: View) -> np.ndarray | None:
    true = one.faces[one.index][0]
    found = [face for face in eye.faces(one.rgb) if face.box.overlap(true) >= RIGHT]
    return found[0].identity if found else None


def _height(px: float) -> str:
    for low, high in ((0, 16), (16, 24), (24, 48), (48, 96), (96, 192)):
        if px < high:
            return f"{low:03d} to {high}"
    return "192 and more"


def _autoencoder() -> Callable[[np.ndarray], np.ndarray]:
    from recast import loading
    from recast.pixels.image import from_pixels, to_pixels

    autoencoder = loading.load("nano", device="cpu").autoencoder

    @torch.inference_mode()
    def through(rgb: np.ndarray) -> np.ndarray:
        return from_pixels(autoencoder.decode(autoencoder.encode(to_pixels(rgb))))[0]

    return through


if __name__ == "__main__":
    main()
