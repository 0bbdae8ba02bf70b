import json

import numpy as np
import pytest

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.thumbnails.boxes import Box
from recast.thumbnails.calibration import Pairs, calibrate, calibrate_folder, read_limit
from recast.thumbnails.seeing import FoundFace


def pairs(same, different, people=10):
    return Pairs(np.array(same), np.array(different), people)


def test_the_limit_is_the_least_that_no_more_than_the_rate_reach():
    different = np.arange(10_000) / 20_000  # 0 to 0.49995
    measured = calibrate(pairs([0.9, 0.4995, 0.2], different), name="x", false_accept=0.001)
    assert measured.limit == pytest.approx(0.4995)
    assert measured.false_accept == 0.001
    assert measured.true_accept == pytest.approx(2 / 3)
    assert (np.array(different) >= measured.limit - 2e-4).mean() > 0.001


def test_pairs_at_the_very_limit_are_not_accepted_too_often():
    measured = calibrate(pairs([0.9], [0.5] * 999 + [0.1]), name="x", false_accept=0.01)
    assert measured.limit > 0.5
    assert measured.false_accept == 0


def test_few_pairs_put_the_limit_above_all_and_say_how_little_they_show():
    few = calibrate(pairs([0.9], [0.3] * 100), name="x")
    assert 0.3 < few.limit <= 0.3002
    assert not few.is_certain
    assert few.at_most == pytest.approx(1 - 0.05 ** (1 / 100))  # 3 %: the rule of three
    assert calibrate(pairs([0.9], [0.3] * 3000), name="x").is_certain


def test_all_pairs_of_all_people_are_made_once():
    one, two = np.eye(3)[[0, 0, 0]], np.eye(3)[[1, 2]]
    made = Pairs.of([one, two])
    assert sorted(made.same) == [0, 1, 1, 1]  # three of the first, one of the second
    assert list(made.different) == [0] * 6
    assert made.people == 2


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(InputError, match="0 of one person and 1 of different"):
        calibrate(pairs([], [0.1]), name="x")
    with pytest.raises(InputError, match="no cosines"):
        calibrate(pairs([0.5], [7.0]), name="x")
    with pytest.raises(ConfigError, match="false_accept=1"):
        calibrate(pairs([0.5], [0.1]), name="x", false_accept=1)


def test_a_limit_is_read_back_for_its_own_recogniser_alone(tmp_path):
    measured = calibrate(pairs([0.9], [0.3]), name="x", network="a" * 64)
    path = measured.write(tmp_path / "limit.json", note="kept")
    assert read_limit(path, network="a" * 64) == measured.limit
    assert json.loads(path.read_text())["note"] == "kept"
    assert [each.name for each in tmp_path.iterdir()] == ["limit.json"]
    with pytest.raises(InputError, match="calibrate this recogniser"):
        read_limit(path, network="b" * 64)
    path.write_text("{}")
    with pytest.raises(InputError, match="a file that calibration wrote"):
        read_limit(path, network="a" * 64)


class Colours:
    """Faces are red, green or blue: the vector is the colour; black has no face, a picture under 20 px a small one."""

    name, limit, smallest_px = "colours", 0.5, 10

    def faces(self, rgb):
        colour = rgb[0, 0].astype(float)
        if not colour.any():
            return []
        return [FoundFace(Box(0, 0, 1, 0.5), 0.9, colour / np.linalg.norm(colour))]


def test_a_folder_of_known_people_is_calibrated(tmp_path):
    for person, colours in {"ann": [(250, 9, 0), (255, 0, 0)], "bob": [(0, 255, 0), (0, 0, 0)]}.items():
        (tmp_path / person).mkdir()
        for n, colour in enumerate(colours):
            image.write(np.full((20, 20, 3), colour, np.uint8), tmp_path / person / f"{n}.png")
    image.write(np.full((12, 12, 3), 200, np.uint8), tmp_path / "bob" / "small.png")
    (tmp_path / "bob" / "broken.png").write_bytes(b"no picture")
    measured, left_out = calibrate_folder(tmp_path, Colours(), network="n")
    assert (measured.people, measured.same_pairs, measured.different_pairs) == (2, 1, 2)
    assert measured.name == "colours"
    assert [each.split(": ")[0] for each in left_out] == ["bob/1.png", "bob/broken.png", "bob/small.png"]
    assert "no face found" in left_out[0]
    assert "under 10 pixels" in left_out[2]
    (tmp_path / "one").mkdir()
    with pytest.raises(InputError, match="0 people came"):
        calibrate_folder(tmp_path / "one", Colours())
    with pytest.raises(InputError, match="no such folder"):
        calibrate_folder(tmp_path / "absent", Colours())
