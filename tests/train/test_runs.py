"""A run's weights, published whole, with the earlier ones there until then."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from recast.errors import TrainingError
from recast.train.runs import Ready, published


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
