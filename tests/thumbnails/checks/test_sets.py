"""Claims of recast.thumbnails.checks.sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks import Evidence, Limits, check_set
from recast.thumbnails.design import Design
from recast.thumbnails.findings import Finding
from recast.thumbnails.hashing import perceptual_hash
from recast.thumbnails.seeing import Sight
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
    """Squares of light whose prints are known: the border is at 12 bits."""
    rgb = base().rgb
    mirrored = np.ascontiguousarray(rgb[:, ::-1])
    bits = (perceptual_hash(rgb) ^ perceptual_hash(mirrored)).bit_count()
    a, b = (Evidence(source=Picture(each)) for each in (rgb, mirrored))
    assert found(a, b, "layout", hash_bits=bits)[0].verdict == "pass"
    assert found(a, b, "layout", hash_bits=bits + 1)[0].verdict == "fail"
    three = check_set({"a": a, "b": b, "c": a}, factor="layout")[0]
    assert three.verdict == "fail"
    assert "a and c" in three.says
    assert "a and b" not in three.says


def test_v1_takes_an_embedding_where_a_limit_is_known():
    dark, light = (Picture(np.full((36, 64, 3), level, np.uint8)) for level in (60, 160))
    a, b = (Evidence(source=each, sight=Sight(style=Flips())) for each in (dark, light))
    assert found(a, b, "colour")[0].verdict == "fail"
    assert found(a, b, "colour", embedding=0.5)[0].verdict == "pass"
    assert found(a, a, "colour", embedding=0.5)[0].verdict == "fail"


TITLE = replace(good_design(), lettering=lettered("SO IT WORKED"))
PLACE = replace(good_design(), lettering=lettered(area=Box(0.08, 0.12, 0.4, 0.5)), layout="other")
COLOUR = replace(good_design(), lettering=replace(lettered(), fill="#FFD21F"))


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
