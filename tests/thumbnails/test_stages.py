"""What is finished stays finished, and only that."""

from pathlib import Path

import pytest

from recast.errors import InputError
from recast.thumbnails.stages import Stages


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    (tmp_path / "a.txt").write_text("a")
    made = Stages(tmp_path)
    made.done("one", {"x": 1}, {"found": 2}, [tmp_path / "a.txt"])
    return made


def test_a_stage_is_found_by_its_inputs(stages: Stages):
    record = stages.find("one", {"x": 1})
    assert record is not None
    assert record.result == {"found": 2}
    assert stages.find("one", {"x": 2}) is None
    assert stages.find("two", {"x": 1}) is None


def test_a_stage_whose_file_changed_is_done_again(stages: Stages):
    (stages.folder / "a.txt").write_text("b")
    assert stages.find("one", {"x": 1}) is None
    (stages.folder / "a.txt").unlink()
    assert stages.find("one", {"x": 1}) is None


def test_a_record_that_was_cut_off_counts_as_none(stages: Stages):
    path = stages.folder / "stages" / "one.json"
    path.write_text(path.read_text()[:20])
    assert stages.find("one", {"x": 1}) is None


def test_a_stage_cannot_be_over_without_its_files(stages: Stages):
    with pytest.raises(InputError, match=r"gone\.txt"):
        stages.done("two", {}, {}, [stages.folder / "gone.txt"])


def test_forgetting_removes_what_it_made_and_nothing_else(stages: Stages):
    for name in ("b", "c", "mine"):
        (stages.folder / name).write_text(name)
    stages.done("export-b", {}, {}, [stages.folder / "b"])
    stages.done("export-c", {}, {}, [stages.folder / "c"])
    stages.forget("export-", keep=["export-c"])
    assert sorted(each.name for each in stages.folder.iterdir() if each.is_file()) == ["a.txt", "c", "mine"]
    assert stages.find("export-c", {}) is not None
    assert stages.find("export-b", {}) is None


def test_a_file_that_somebody_changed_is_not_forgotten(stages: Stages):
    (stages.folder / "b").write_text("b")
    stages.done("export-b", {}, {}, [stages.folder / "b"])
    (stages.folder / "b").write_text("painted over by hand")
    stages.forget("export-", keep=[])
    assert (stages.folder / "b").read_text() == "painted over by hand"
