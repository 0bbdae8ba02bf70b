"""What a run is made of: settings that its places read; weights, published whole, the earlier ones there until then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from recast.errors import ConfigError, TrainingError
from recast.train.examples import source
from recast.train.presets import EDIT_DATA, TINY_DATA, Data
from recast.train.runs import Ready, published


@pytest.mark.parametrize(
    ("data", "unread"),
    [
        (replace(EDIT_DATA, scene="sheet"), "scene='sheet'"),
        (replace(EDIT_DATA, kinds={"thing colour": 1.0}), "kinds="),
        (replace(EDIT_DATA, categories={"local": 1}), "categories="),
        (replace(EDIT_DATA, lengths={"short": 1}), "lengths="),
        (replace(EDIT_DATA, size_weights=(2,)), "size_weights="),
        (replace(EDIT_DATA, places=("world@2",)), "colours="),
    ],
)
def test_settings_that_no_place_reads_are_refused_by_name(data: Data, unread: str):
    with pytest.raises(ConfigError, match=f"^{unread}.*not read by .*; set data.{unread.partition('=')[0]}="):
        source(data, 95)


@pytest.mark.parametrize("data", [EDIT_DATA, TINY_DATA, replace(EDIT_DATA, places=("sheets", "world"), scene="sheet")])
def test_settings_that_one_of_several_places_reads_are_taken(data: Data):
    assert source(data, 95).about()


def run(text: str | None) -> Ready:
    """A run that writes one file, or whose disk is full half-way."""

    def write(place: Path, folder: Path) -> list[Path]:
        (folder / "flow.txt").write_text("half")
        if text is None:
            raise TrainingError("full")
        (folder / "flow.txt").write_text(text)
        return [folder / "flow.txt"]

    return Ready(cast(Any, None), cast(Any, None), cast(Any, None), write)


def test_weights_are_replaced_whole_and_stay_if_the_new_ones_fail(tmp_path: Path):
    assert published(run("one"), tmp_path) == [tmp_path / "weights" / "flow.txt"]
    with pytest.raises(TrainingError):
        published(run(None), tmp_path)
    assert (tmp_path / "weights" / "flow.txt").read_text() == "one"
    published(run("two"), tmp_path)
    assert (tmp_path / "weights" / "flow.txt").read_text() == "two"
    assert [each.name for each in tmp_path.iterdir()] == ["weights"]
