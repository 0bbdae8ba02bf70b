"""A channel's own numbers: kept in a file and back, and distances held against their spread."""

import json
from itertools import pairwise

import numpy as np
import pytest

from recast.errors import InputError
from recast.thumbnails.habits import AT_FAR, Habits, percentile, rated, read_habits
from recast.thumbnails.kit import Colour
from recast.thumbnails.tone import Tone

TONE = Tone(saturation=0.5, light=0.4, spread=60.0, black=0.0, white=0.1)
HABITS = Habits(
    pictures=("a.png", "b.png", "c.png"),
    embedder="hand-made-1",
    embeddings=np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]),
    away=(0.1, 0.2, 0.3),
    tones=(TONE,) * 3,
    palette=(Colour(role="ink", hex="#000000", share=0.5),),
    covered=(0.5, 0.6, 0.7),
    moved=(3.0, 4.0, 5.0),
    texts=("I QUIT", "", "NO\nWAY"),
)


def test_habits_come_back_from_their_file(tmp_path):
    path = tmp_path / "brand.style.json"
    path.write_bytes(HABITS.to_json())
    made = read_habits(path)
    np.testing.assert_array_equal(made.embeddings, HABITS.embeddings)
    for name in ("pictures", "embedder", "away", "tones", "palette", "covered", "moved", "texts"):
        assert getattr(made, name) == getattr(HABITS, name)


def test_the_nearest_other_is_not_the_picture_itself():
    assert HABITS.nearest == pytest.approx((0.2, 0.2, 0.4))


@pytest.mark.parametrize("change", [
    {"schema": 2}, {"away": [0.1]}, {"tones": [{}] * 3}, {"embeddings": [[1], [1, 2], [3]]}, {"other": 1},
])  # fmt: skip
def test_a_file_of_another_form_is_named(change, tmp_path):
    path = tmp_path / "brand.style.json"
    path.write_text(json.dumps(json.loads(HABITS.to_json()) | change))
    with pytest.raises(InputError, match=r"brand\.style\.json: cannot be used"):
        read_habits(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"brand\.style\.json: cannot be used"):
        read_habits(path)


def test_a_distance_is_rated_by_the_channels_own():
    own = list(np.linspace(0, 1, 21))  # median 0.5, 95th percentile 0.95
    assert rated(0.5, own, floor=0) == rated(0.1, own, floor=0) == 100
    assert rated(0.95, own, floor=0) == pytest.approx(AT_FAR)
    assert rated(1.4, own, floor=0) == pytest.approx(AT_FAR**2 / 100)
    steps = [rated(x, own, floor=0) for x in np.linspace(0.5, 5, 20)]
    assert all(a > b for a, b in pairwise(steps))


def test_three_look_alikes_do_not_condemn_all_others():
    assert rated(0.2, [0.1, 0.1, 0.1], floor=0.1) == pytest.approx(AT_FAR)


def test_a_percentile_counts_those_as_far_or_farther():
    assert percentile(0.2, (0.1, 0.2, 0.3, 0.4)) == 75
