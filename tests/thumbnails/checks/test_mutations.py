"""One thing broken at a time: exactly the check that is there for it changes its verdict."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks import CHECKS, Evidence, Expected, Limits, check, check_set
from recast.thumbnails.design import Design, Lettering, Plate
from recast.thumbnails.fitting import fit
from recast.thumbnails.render import coverage
from recast.thumbnails.seeing import Sight
from recast.thumbnails.shaping import bundled
from recast.thumbnails.subject import people
from tests.thumbnails.checks.good import (
    FONT,
    HEIGHT,
    HOST,
    LOGO_BOX,
    SCENE,
    STYLE,
    WIDTH,
    KnowsFaces,
    ReadsKnown,
    base,
    channel,
    evidence,
    good_design,
    lettered,
    logo,
    rendered,
    world,
)

BIG = 2_100_000
ROOM = Box(0.08, 0.1, 0.92, 0.9)


@dataclass(frozen=True)
class Broken:
    """What became of the good thumbnail: its design, its file, and what else the checks are told."""

    design: Design
    file: Callable[[Picture], bytes] = lambda picture: jpeg(picture)
    scene: world.Scene = SCENE
    known: dict[str, Any] = field(default_factory=dict)


def jpeg(picture: Picture, *, quality: int = 92, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.to_pil().convert("RGB").save(file, "JPEG", quality=quality, subsampling=0, **options)
    return file.getvalue()


def coarse(picture: Picture) -> bytes:
    return jpeg(Picture(cv2.resize(picture.rgb, (960, 540), interpolation=cv2.INTER_AREA)))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def with_comment(picture: Picture) -> bytes:
    """The same picture under so much text that it is no thumbnail any more."""
    data, part = jpeg(picture), b"\xff\xfe" + (65_000).to_bytes(2, "big") + b"x" * 64_998
    return data[:2] + part * (BIG // len(part)) + data[2:]


def turned(picture: Picture) -> bytes:
    """Upside down, with a note to turn it: every reader that follows it shows the same."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    file = io.BytesIO()
    picture.to_pil().rotate(180).save(file, "JPEG", quality=92, subsampling=0, exif=exif)
    return file.getvalue()


def with_place(picture: Picture) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return jpeg(picture, exif=exif)


def other_base(change: Callable[[np.ndarray], np.ndarray]) -> Design:
    return replace(good_design(), base=Picture(change(base().rgb.copy())))


def letters(**style: Any) -> Design:
    """The good design in letters of another style."""
    return replace(good_design(), lettering=replace(lettered(), **style))


@cache
def smaller(share: float) -> Design:
    """The title set in so little room that its capitals have a share of the height."""
    text = lettered().text
    rooms = (Box(0.08, 0.3, 0.08 + width, 0.8) for width in np.arange(0.2, 0.42, 0.005))
    made = min((fit(text, FONT, STYLE, area=room) for room in rooms), key=lambda each: abs(cap(each) - share))
    assert cap(made) == pytest.approx(share, abs=0.008)
    return replace(good_design(), lettering=made)


def cap(lettering: Lettering) -> float:
    return lettering.lines[0].cap_height


def other_hues(rgb: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 40) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def blurred_face(rgb: np.ndarray) -> np.ndarray:
    box = KnowsFaces(SCENE).faces(rgb)[0].box
    left, top, right, bottom = box.pixels(width=WIDTH, height=HEIGHT)
    rgb[top:bottom, left:right] = cv2.GaussianBlur(rgb[top:bottom, left:right], (0, 0), 14)
    return rgb


def melting(rgb: np.ndarray) -> np.ndarray:
    """The colours of the person run out over the ground, and fade far from her."""
    who = people(rgb, [KnowsFaces(SCENE).faces(rgb)[0].box])
    inner = cv2.erode(who.astype(np.uint8), np.ones((29, 29), np.uint8)) > 0  # within the line around her
    _, nearest = cv2.distanceTransformWithLabels(
        (~inner).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour = np.zeros((nearest.max() + 1, 3), np.uint8)
    colour[nearest[inner]] = rgb[inner]
    away = cv2.distanceTransform((~who).astype(np.uint8), cv2.DIST_L2, 5)
    share = np.where(who, 0, np.exp(-((away / 200) ** 2)))[..., None]
    return (rgb * (1 - share) + cv2.GaussianBlur(colour[nearest], (0, 0), 10) * share).astype(np.uint8)


def spots(rgb: np.ndarray) -> np.ndarray:
    """More to look at than one person."""
    for x, y in ((0.12, 0.9), (0.45, 0.12), (0.6, 0.9)):
        at = int(x * WIDTH), int(y * HEIGHT)
        cv2.circle(rgb, at, 26, (11, 11, 15), -1, cv2.LINE_AA)
        cv2.circle(rgb, at, 14, (255, 255, 255), -1, cv2.LINE_AA)
    return rgb


def hollow(picture: Picture) -> bytes:
    """Letters that are bright along their outline alone: at 168 pixels nothing of them is left."""
    covered = (coverage(lettered(), width=WIDTH, height=HEIGHT) > 0.99).astype(np.uint8)
    rgb = picture.rgb.copy()
    rgb[cv2.erode(covered, np.ones((17, 17), np.uint8)) > 0] = (11, 11, 15)
    return jpeg(Picture(rgb))


def hazy(rgb: np.ndarray) -> np.ndarray:
    return (rgb * 0.55 + 50).astype(np.uint8)


PAINTED = lettered("SALE", replace(STYLE, stroke=None), Box(0.1, 0.84, 0.3, 0.98))
OTHER = replace(HOST, hair_colour="black", skin="tan")
PASSER_BY = replace(SCENE, characters=(HOST, replace(OTHER, place="center", dx=0.0, dy=0.0, scale=0.5)))
LONG = fit("NO WAY IT DID SO TO US", FONT, STYLE, area=Box(0.08, 0.3, 0.55, 0.8))
WIDE = fit("WHY IT FAILED", replace(FONT, file=bundled("geologica")), STYLE, area=Box(0.08, 0.3, 0.55, 0.8))
PLATE = Plate(colour="#000000", box=Box(0.06, 0.28, 0.44, 0.82))  # a kit's own rule: red on black has no more
TITLE = Expected(text="WHY IT FAILED", characters=("host",), is_edit=False)

MUTATIONS: dict[str, tuple[str, str, Callable[[], Broken]]] = {
    "palette": ("B1", "warn", lambda: Broken(other_base(other_hues))),
    "font": (
        "B1",
        "warn",
        lambda: Broken(
            replace(good_design(), lettering=WIDE),
            known={"sight": Sight(KnowsFaces(SCENE), ReadsKnown((WIDE,)))},
        ),
    ),
    "logo": ("B1", "warn", lambda: Broken(replace(good_design(), logo=None))),
    "face": ("F2", "fail", lambda: Broken(replace(good_design(), base=base(OTHERS)), scene=OTHERS)),
    "second face": ("F2", "fail", lambda: Broken(replace(good_design(), base=base(PASSER_BY)), scene=PASSER_BY)),
    "face blurred": ("F1", "warn", lambda: Broken(other_base(blurred_face))),
    "contrast": ("T3", "warn", lambda: Broken(letters(fill="#A8A8A8"))),
    "contrast lost": ("T3", "fail", lambda: Broken(letters(fill="#7A7A7A"))),
    "size": (
        "T2",
        "warn",
        lambda: Broken(
            smaller(0.115),
            known={"sight": Sight(KnowsFaces(SCENE), ReadsKnown((smaller(0.115).lettering or lettered(),)))},
        ),
    ),
    "zone of the margin": (
        "S1",
        "fail",
        lambda: Broken(
            replace(good_design(), logo=logo(Box(LOGO_BOX.left, 0.03, LOGO_BOX.right, 0.03 + LOGO_BOX.height)))
        ),
    ),
    "text length": (
        "T1",
        "warn",
        lambda: Broken(
            replace(good_design(), lettering=LONG),
            known={"expected": replace(TITLE, text=LONG.text), "sight": Sight(KnowsFaces(SCENE), ReadsKnown((LONG,)))},
        ),
    ),
    "painted text": (
        "T5",
        "warn",
        lambda: Broken(
            replace(good_design(), base=rendered(Design(base=base(), lettering=PAINTED))),
            known={"sight": Sight(KnowsFaces(SCENE), ReadsKnown((lettered(), PAINTED)))},
        ),
    ),
    "letters lost where small": ("T4", "fail", lambda: Broken(good_design(), hollow)),
    "subject lost in its ground": ("C1", "warn", lambda: Broken(other_base(melting))),
    "more than one spot": ("C2", "warn", lambda: Broken(other_base(spots))),
    "tones": ("C3", "warn", lambda: Broken(other_base(hazy))),
    "colour blindness": (
        "X1",
        "warn",
        lambda: Broken(letters(fill="#E00000", stroke=None, plate=PLATE), known={"limits": Limits(good_contrast=3.5)}),
    ),
    "no certificate": ("P1", "warn", lambda: Broken(good_design(), known={"expected": replace(TITLE, is_edit=True)})),
    "coarse": ("G1", "warn", lambda: Broken(good_design(), coarse)),
    "bytes": ("G2", "fail", lambda: Broken(good_design(), with_comment)),
    "alpha": ("G3", "fail", lambda: Broken(good_design(), lambda picture: png(picture.to_pil().convert("RGBA")))),
    "place": ("G3", "fail", lambda: Broken(good_design(), with_place)),
    "orientation": ("G3", "fail", lambda: Broken(good_design(), turned)),
    "bytes behind the end": ("G4", "fail", lambda: Broken(good_design(), lambda picture: jpeg(picture) + b"more")),
}
OTHERS = replace(SCENE, characters=(OTHER,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def verdicts(broken: Broken, folder: Path) -> dict[str, str]:
    path = folder / "thumbnail.jpg"
    path.write_bytes(broken.file(rendered(broken.design)))
    found = check(
        evidence(path, broken.design, broken.scene, kit=channel(folder), certificate=lambda _: None, **broken.known)
    )
    return {each.check: each.verdict for each in found}


@pytest.fixture(scope="module")
def usual(folder: Path) -> dict[str, str]:
    return verdicts(Broken(good_design()), folder)


def test_nothing_is_wrong_with_the_good_thumbnail(usual):
    assert usual == dict.fromkeys(CHECKS, "pass")


@pytest.mark.parametrize("name", MUTATIONS)
def test_exactly_the_right_check_fires(name, usual, folder):
    fires, verdict, broken = MUTATIONS[name]
    assert verdicts(broken(), folder) == usual | {fires: verdict}


def variant(scene: world.Scene = SCENE, **known: Any) -> Evidence:
    """One of a set that differs in its ground, as it is before it is written."""
    design = replace(good_design(), base=base(scene), **known)
    return evidence(rendered(design), design, scene)


BEACH = replace(SCENE, background="beach")
SET_MUTATIONS: dict[str, tuple[str, str, Callable[[], Evidence]]] = {
    "the same ground again": ("V1", "fail", lambda: variant()),
    "another title beside another ground": ("V2", "warn", lambda: variant(BEACH, lettering=lettered("SO IT WORKED"))),
}


def set_verdicts(second: Evidence) -> dict[str, str]:
    return {each.check: each.verdict for each in check_set({"a": variant(), "b": second}, factor="background")}


def test_nothing_is_wrong_with_the_good_set():
    assert set_verdicts(variant(BEACH)) == {"V1": "pass", "V2": "pass"}


@pytest.mark.parametrize("name", SET_MUTATIONS)
def test_exactly_the_right_check_of_a_set_fires(name):
    fires, verdict, second = SET_MUTATIONS[name]
    assert set_verdicts(second()) == {"V1": "pass", "V2": "pass"} | {fires: verdict}


def test_every_check_has_a_mutation():
    """All twenty of the issue: those of one picture and those of a set."""
    broken = {fires for fires, _, _ in (*MUTATIONS.values(), *SET_MUTATIONS.values())}
    assert len(CHECKS) == 18
    assert broken == {*CHECKS, "V1", "V2"}
