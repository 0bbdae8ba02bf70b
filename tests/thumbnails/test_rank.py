"""The order of candidates, and who is shipped."""

import numpy as np

from recast.thumbnails.findings import Finding
from recast.thumbnails.rank import WARNING, Candidate, rank, shipped, small, stands_out


def candidate(name: str, value: int, *verdicts: str, level: str | None = None, brand: float | None = None) -> Candidate:
    findings = [Finding(check=f"X{i}", verdict=verdict, says="") for i, verdict in enumerate(verdicts)]  # type: ignore[arg-type]
    rgb = np.full((90, 160, 3), value, np.uint8)
    return Candidate(name=name, level=level or name, rgb=rgb, findings=findings, brand=brand)


def measure(rgb: np.ndarray) -> float:
    assert rgb.shape[1] == 168
    return float(rgb.mean())


def test_the_measure_orders_and_warnings_cost():
    ranked = rank([candidate("a", 50), candidate("b", 60), candidate("c", 61, "warn")], measure)
    assert [(each.name, each.place) for each in ranked] == [("b", 1), ("c", 2), ("a", 3)]
    assert ranked[1].points == 61 - WARNING


def test_a_failed_check_costs_the_place():
    ranked = rank([candidate("a", 90, "fail"), candidate("b", 10)], measure)
    assert [(each.name, each.place) for each in ranked] == [("b", 1), ("a", None)]


def test_the_brand_counts_half():
    ranked = rank([candidate("a", 60, brand=20), candidate("b", 50, brand=50)], measure)
    assert [each.name for each in ranked] == ["b", "a"]


def test_one_a_level_and_no_lookalikes_are_shipped():
    candidates = [candidate("a", 90, level="x"), candidate("b", 80, level="x"), candidate("c", 70), candidate("d", 60)]
    ranked = rank(candidates, measure)
    assert shipped(ranked, candidates, 3, lambda one, other: True) == ["a", "c", "d"]
    assert shipped(ranked, candidates, 2, lambda one, other: True) == ["a", "c"]
    assert shipped(ranked, candidates, 3, lambda one, other: {one, other} != {"a", "c"}) == ["a", "d"]


def test_what_stands_out_has_contrast_of_light_and_colour():
    grey = np.full((94, 168, 3), 128, np.uint8)
    split, bright = grey.copy(), grey.copy()
    split[:, 84:], split[:, :84] = 255, 0
    bright[:, 84:], bright[:, :84] = (255, 0, 0), (0, 0, 255)
    assert stands_out(grey) < 1
    assert 45 < stands_out(split) < 55
    assert stands_out(bright) > 60


def test_small_is_as_wide_as_a_list():
    assert small(np.zeros((720, 1280, 3), np.uint8)).shape == (94, 168, 3)
