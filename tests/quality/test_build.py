"""Built-in suites: frozen to the pixel, found by name, written whole or not at all."""

import re
from pathlib import Path

import numpy as np
import pytest

from recast.errors import InputError
from recast.quality import build, suites
from recast.world import heldout, suite
from recast.world.scene import from_json

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worldbench-1", "photo-edits-1"])
def test_a_suite_is_drawn_to_its_stated_hash(name, tmp_path):
    found = build.find(name, tmp_path / "suite")
    assert found.sha256 == build.HASHES[name]
    assert found.warnings == ()
    assert [path.name for path in tmp_path.iterdir()] == ["suite"]


def test_every_suite_has_its_hash_stated_on_the_page():
    page = (DOCS / "evaluation.md").read_text()
    for name in (*suite.SUITES, build.PHOTO_EDITS):
        assert build.HASHES[name] in page


def test_no_page_is_unfinished():
    assert [page.name for page in DOCS.glob("*.md") if re.search(r"@@\w+@@", page.read_text())] == []


def test_splits_and_sizes_are_not_in_step_with_kinds():
    """A third of every sort of item is held out, so that held-out items can be compared with like ones."""
    rows = suite.frozen("worldbench-1") + suite.frozen("worldwords-1")
    lengths = {}
    for row in rows:
        lengths.setdefault((row["kind"], row["category"]), []).append(row["split"])
    many = [splits for splits in lengths.values() if len(splits) >= 12]
    assert len(many) >= 3
    assert all(0.1 < splits.count("held out") / len(splits) < 0.7 for splits in many)
    assert 0.15 < sum(row["width"] > row["height"] for row in rows) / len(rows) < 0.4


def test_the_split_of_an_item_is_what_its_scenes_say():
    for row in suite.frozen("worldbench-1"):
        targets = [from_json(turn["truth"]["scene"]) for turn in row["turns"]]
        if len(targets) == 1:
            assert (row["split"] == "held out") == bool(heldout.reasons(targets[0])), row["key"]
        assert row["seed"] < 1 << 40  # the item's; its scenes are of seeds above


def test_a_suite_that_was_stopped_half_way_is_written_anew(tmp_path, monkeypatch):
    def stops(name, out):
        out.mkdir(parents=True)
        (out / "half").write_text("x")
        yield 1
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write", stops)
    with pytest.raises(KeyboardInterrupt):
        build.find("worldwords-1", tmp_path / "run" / "suite")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_name_that_is_none_lists_what_is(tmp_path):
    with pytest.raises(InputError, match="photo-edits-1"):
        build.find("photo-edits-2", tmp_path)


def test_photographs_are_framed_from_the_middle_and_never_enlarged():
    for name in build.PHOTOGRAPHS:
        picture = build.load(name)
        for _, width, height in build.FRAMES:
            shown = build.framed(picture, width, height)
            assert shown.shape == (height, width, 3)
            assert min(picture.shape[0] / height, picture.shape[1] / width) >= 1
    ramp = np.repeat(np.linspace(0, 255, 600).astype(np.uint8)[None, :, None], 300, 0).repeat(3, 2)
    shown = build.framed(ramp, 288, 288)
    assert abs(int(shown[:, 143:145].mean()) - 127) < 3


def test_a_folder_of_ones_own_is_loaded_where_it_is(tmp_path):
    from tests.quality.small import small_suite

    own = small_suite(tmp_path / "own")
    assert build.find(str(own.root), tmp_path / "unused").sha256 == suites.load(own.root).sha256
    assert not (tmp_path / "unused").exists()
