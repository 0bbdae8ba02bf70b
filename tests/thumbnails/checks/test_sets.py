"""Claims of recast.thumbnails.checks.sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture, encode, read
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks import Evidence, Limits, check_set
from recast.thumbnails.design import Design
from recast.thumbnails.findings import Finding
from recast.thumbnails.hashing import perceptual_hash
from recast.thumbnails.seeing import Sight
from recast.thumbnails.style import Style
from tests.thumbnails.checks.good import HOST, SCENE, KnowsFaces, base, good_design, lettered, world

OTHER_GROUND = replace(SCENE, background="beach")
OTHER_PERSON = replace(SCENE, characters=(replace(HOST, skin="dark", hair="curly"),))
OTHER_SIDE = replace(SCENE, characters=(replace(HOST, place="left", dx=0.125),))


class Flips:
    """An embedding that tells pictures apart by one number."""

    name = "flips"

    def embed(self, rgb: np.ndarray) -> np.ndarray:
        return np.array([1.0, 0.0]) if rgb.mean() > 100 else np.array([0.0, 1.0])


def of(design: Design | None = None, scene: world.Scene = SCENE, **known: Any) -> Evidence:
    """A variant that is not written: its picture is its base."""
    design = design or replace(good_design(), base=base(scene))
    return Evidence(source=design.base, design=design, **({"sight": Sight(KnowsFaces(scene))} | known))


def found(first: Evidence, second: Evidence, factor: Any, **limits: Any) -> list[Finding]:
    return check_set({"a": first, "b": second}, factor=factor, limits=Limits(**limits))


def test_v1_counts_bits_between_every_two():
    """A picture and its mirror image, whose prints are known: the border is at their distance."""
    rgb = base().rgb
    mirrored = np.ascontiguousarray(rgb[:, ::-1])
    bits = (perceptual_hash(rgb) ^ perceptual_hash(mirrored)).bit_count()
    a, b = (Evidence(source=Picture(each)) for each in (rgb, mirrored))
    whole = {"differs_least": 1.0}  # the part in which they differ is not asked
    assert found(a, b, "prop", hash_bits=bits, **whole)[0].verdict == "pass"
    assert found(a, b, "prop", hash_bits=bits + 1, **whole)[0].verdict == "fail"
    three = check_set({"a": a, "b": b, "c": a}, factor="prop")[0]
    assert three.verdict == "fail"
    assert "a and c" in three.says
    assert "a and b" not in three.says


def test_v1_takes_the_embedding_as_well_as_the_hash():
    """Two flat greys have the same hash, and no part of them has another."""
    dark, light = (Picture(np.full((36, 64, 3), level, np.uint8)) for level in (60, 160))
    a, b = (Evidence(source=each, sight=Sight(style=Flips())) for each in (dark, light))
    assert found(a, b, "style")[0].verdict == "pass"
    assert found(a, b, "style", embedding=1.01)[0].verdict == "fail"
    assert found(a, a, "style")[0].verdict == "fail"
    assert found(replace(a, sight=Sight()), replace(b, sight=Sight()), "style")[0].verdict == "fail"


def test_v1_looks_where_two_pictures_differ():
    """Another face takes a hundredth of the frame: the hash of the whole misses it, that of the part does not."""
    other = of(scene=replace(SCENE, characters=(replace(HOST, expression="sad"),)))
    finding = found(of(), other, "expression", hash_bits=9)[0]
    (pair,) = finding.numbers["pairs"].values()
    assert pair["bits"] < 9 <= pair["bits_where_different"]
    assert finding.verdict == "pass"
    assert found(of(), other, "expression", hash_bits=9, differs_least=0.5)[0].verdict == "fail"


ALIKE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "saved again": lambda rgb: read(encode(Picture(rgb), "jpeg", quality=60)).rgb,
    "brighter": lambda rgb: np.clip(rgb * 1.12 + 4, 0, 255).astype(np.uint8),
    "shifted": lambda rgb: np.roll(rgb, (7, 13), (0, 1)),
    "a speck": lambda rgb: np.where(
        np.logical_and.outer(np.arange(720) < 20, np.arange(1280) < 20)[..., None], 255, rgb
    ).astype(np.uint8),
}


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE)
def test_v1_fails_look_alikes(change):
    a, b = (Evidence(source=Picture(each), sight=Sight(style=Style())) for each in (base().rgb, change(base().rgb)))
    assert found(a, b, "expression")[0].verdict == "fail"


@pytest.mark.parametrize(("factor", "verdict"), [("background", "fail"), ("style", "fail"), ("expression", "pass")])
def test_v1_wants_a_tenth_of_the_frame_of_another_background_or_style(factor, verdict):
    """A patch of 60 px of noise has another hash than what it covers, and is no other background."""
    patched = base().rgb.copy()
    patched[300:360, 100:160] = np.random.default_rng(1).integers(0, 2, (6, 6, 1)).repeat(10, 0).repeat(10, 1) * 255
    a, b = Evidence(source=base()), Evidence(source=Picture(patched))
    assert found(a, b, factor)[0].verdict == verdict


TITLE = replace(good_design(), lettering=lettered("SO IT WORKED"))
PLACE = replace(good_design(), lettering=lettered(area=Box(0.08, 0.12, 0.4, 0.5)), layout="other")
COLOUR = replace(good_design(), lettering=replace(lettered(), fill="#FFD21F"))


@pytest.mark.parametrize(
    ("other", "factor", "passes"),
    [
        (of(TITLE), "text", True),
        (of(replace(good_design(), lettering=lettered("WHY, IT FAILED!"))), "text", False),
        (of(replace(good_design(), lettering=lettered("WHY IT SAILED"))), "text", False),
        (of(PLACE), "layout", True),
        (of(replace(good_design(), lettering=lettered(area=Box(0.08, 0.33, 0.5, 0.83)))), "layout", False),
        (of(COLOUR), "colour", True),
        (of(replace(good_design(), lettering=replace(lettered(), fill="#F4F4FF"))), "colour", False),
    ],
)
def test_v1_judges_letters_by_what_is_declared(other, factor, passes):
    """The pictures of all of these are the same but for letters of ours, and are meant to be."""
    finding = found(of(), other, factor)[0]
    assert finding.verdict == ("pass" if passes else "fail"), finding.says
    assert "bits" not in next(iter(finding.numbers["pairs"].values()))


def test_v1_falls_back_on_pictures_where_no_letters_are_known():
    blind = Evidence(source=base())
    for factor in ("text", "layout", "colour"):
        (pair,) = found(blind, blind, factor)[0].numbers["pairs"].values()
        assert pair["bits"] == 0


@pytest.mark.parametrize(
    ("other", "factor", "part"),
    [
        (of(TITLE), "text", None),
        (of(TITLE), "expression", "text"),
        (of(PLACE), "layout", None),
        (of(PLACE), "text", "layout"),
        (of(COLOUR), "colour", None),
        (of(COLOUR), "text", "lettering"),
        (of(scene=OTHER_GROUND), "background", None),
        (of(scene=OTHER_GROUND), "prop", "palette"),
        (of(scene=OTHER_PERSON), "expression", "people"),
        (of(scene=OTHER_SIDE), "expression", "place of the faces"),
        (of(), "prop", None),
    ],
)
def test_v2_holds_all_but_the_factor_equal(other, factor, part):
    finding = found(of(), other, factor)[1]
    assert finding.verdict == ("pass" if part is None else "warn"), finding.says
    assert part is None or part in finding.numbers["differs"]


def test_v2_says_what_it_could_not_look_at():
    blind = of(sight=Sight())
    finding = found(blind, blind, "prop")[1]
    assert (finding.verdict, sorted(finding.numbers["not_looked_at"])) == ("absent", ["people", "place of the faces"])


def test_one_picture_is_no_set():
    with pytest.raises(ConfigError, match="two or more"):
        check_set({"a": of()}, factor="text")
    with pytest.raises(ConfigError, match="no such factor"):
        check_set({"a": of(), "b": of()}, factor="hats")  # type: ignore[arg-type]
