"""Over a chain of edits each way to decay shows where it should."""

import cv2
import numpy as np
import pytest

from recast.errors import InputError
from recast.quality import metrics, turns
from tests.quality.four_shapes import draw, noisy, replace, scene, tinted
from tests.quality.test_metrics import textured

CHAINS, TURNS = 50, 6


def test_the_latest_value_of_an_attribute_counts():
    requests = [{"hat": "red"}, {"dog": "big"}, {"hat": "blue"}]
    states = [{"hat": "red"}, {"hat": "red", "dog": "small"}, {"hat": "blue", "dog": "big"}]
    np.testing.assert_array_equal(turns.instructed_shares(requests, states), [1, 0.5, 1])


def test_what_could_not_be_measured_does_not_hold():
    np.testing.assert_array_equal(turns.instructed_shares([{"hat": None}], [{}]), [0])


def test_a_tolerance_is_the_callers():
    def near(attribute, wanted, found):
        return abs(wanted - found) <= 3

    np.testing.assert_array_equal(turns.instructed_shares([{"x": 10}, {"x": 20}], [{"x": 12}, {"x": 16}], near), [1, 0])


def test_a_missing_turn_is_refused():
    with pytest.raises(InputError, match="states: 1 came; 2 accepted"):
        turns.instructed_shares([{"a": 1}, {"b": 1}], [{"a": 1}])


def test_turn_scores_are_the_product_and_nothing_untouched_counts_as_kept():
    np.testing.assert_allclose(turns.turn_scores([1, 0.5], [0.8, None]), [0.8, 0.5])
    np.testing.assert_allclose(turns.turn_scores([1, 0.5], [0.8, None], [0.5, 0]), [0.4, 0])


def test_stability_of_a_known_decay():
    result = turns.stability(np.array([[1.0, 0.8, 0.4, 0.2], [0.6, 0.4, 0.2, 0.2]]))
    assert result["curve"] == pytest.approx([0.8, 0.6, 0.3, 0.2])
    assert result["stability"] == pytest.approx(1.9 / 4)
    assert (result["first"], result["last"], result["ratio"]) == pytest.approx((0.8, 0.2, 0.25))
    assert result["slope"] == pytest.approx(-0.21)  # sum of (t - 2.5) Q over sum of (t - 2.5) ** 2
    assert result["half_life"] == 3


def test_what_never_halves_has_no_half_life_nor_has_what_never_began():
    assert turns.stability(np.ones((3, 5)))["half_life"] is None
    nothing = turns.stability(np.zeros((3, 5)))
    assert nothing["half_life"] is nothing["ratio"] is None


@pytest.fixture(scope="module")
def chains() -> dict[str, np.ndarray]:
    """Per editor the means over chains of (I, H, K), each (3, turns), of recolourings one shape at a time."""
    rng = np.random.default_rng(0)
    found: dict[str, list[np.ndarray]] = {}
    for _ in range(CHAINS):
        start = scene(rng)
        first, right, untouched = draw(start), start, np.ones((96, 96), bool)
        requests, answers, masks = [], [], []
        for _ in range(TURNS):
            slot = int(rng.integers(4))
            colour = (right.shapes[slot].colour + int(rng.integers(1, 10))) % 10
            right = right.with_shape(slot, replace(right.shapes[slot], colour=colour))
            untouched = untouched & (draw(right) == first).all(-1)
            requests.append({slot: colour})
            answers.append(right)
            masks.append(untouched)
        for editor in ("oracle", "no-op", "90 %", "90 %, strays", "noise", "tint"):
            state, picture, states, kept = start, first, [], []
            for turn, request in enumerate(requests):
                for slot, colour in request.items():
                    if editor != "no-op" and (not editor.startswith("90 %") or rng.random() < 0.9):
                        state = state.with_shape(slot, replace(state.shapes[slot], colour=colour))
                for slot in range(4):
                    if editor.endswith("strays") and slot not in request and rng.random() < 0.05:
                        state = state.with_shape(slot, replace(state.shapes[slot], colour=int(rng.integers(10))))
                if editor == "noise":  # all noises so far
                    total = picture.astype(float) - draw(answers[turn - 1] if turn else start)
                    picture = noisy(np.clip(draw(state) + total, 0, 255), rng)
                elif editor == "tint":
                    picture = tinted(draw(state), tuple(np.array([2, 2, -2]) * (turn + 1)))
                else:
                    picture = draw(state)
                states.append({slot: shape.colour for slot, shape in enumerate(state.shapes)})
                kept.append(metrics.kept(first, picture, masks[turn]))
            shares = turns.instructed_shares(requests, states)
            row = np.stack([shares, shares == 1, np.array([np.nan if k is None else k for k in kept])])
            found.setdefault(editor, []).append(row)
    return {name: np.nanmean(rows, 0) for name, rows in found.items()}


@pytest.mark.parametrize(
    ("editor", "instructed", "held", "kept"),
    [
        ("oracle", (1, 1, 1), (1, 1, 1), (1, 1, 1)),
        ("no-op", (0, 0.01, 0.06), (0, 0, 0), (1, 1, 1)),
        ("90 %", (0.92, 0.90, 0.91), (0.92, 0.72, 0.60), (1, 1, 1)),
        ("90 %, strays", (0.95, 0.91, 0.88), (0.95, 0.77, 0.50), (0.99, 0.99, 0.99)),
        ("noise", (1, 1, 1), (1, 1, 1), (1, 0.96, 0.89)),
        ("tint", (1, 1, 1), (1, 1, 1), (1, 0.46, 0)),
    ],
)
def test_each_way_to_decay_shows_in_its_own_part(chains, editor, instructed, held, kept):
    """Values at turns 1, 3 and 6 of another toy world; H is a share of 50 chains, so its own error is 0.07."""
    for row, expected, tolerance in zip(chains[editor], (instructed, held, kept), (0.08, 0.18, 0.1), strict=True):
        np.testing.assert_allclose(row[[0, 2, 5]], expected, atol=tolerance)


def test_drift_of_a_picture_from_itself_is_none():
    first = textured()
    assert turns.drift(first, first) == {
        **dict.fromkeys(("colour_shift", "lightness", "green_red", "blue_yellow", "sharpness"), 0),
        "chroma": 1,
    }


def test_each_drift_shows_in_its_own_number():
    first = textured()
    grey = np.repeat(first.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    assert turns.drift(first, cv2.GaussianBlur(first, (0, 0), 1.5))["sharpness"] < -1
    assert turns.drift(first, noisy(first, np.random.default_rng(0)))["sharpness"] > 0.1
    assert turns.drift(first, noisy(first, np.random.default_rng(0)))["colour_shift"] < 1
    warm = turns.drift(first, tinted(first, (8, 0, -8)))
    assert warm["colour_shift"] > 4
    assert warm["blue_yellow"] > 3
    assert abs(warm["sharpness"]) < 0.1
    assert turns.drift(first, grey)["chroma"] < 0.05
    assert turns.drift(grey, first)["chroma"] is None
