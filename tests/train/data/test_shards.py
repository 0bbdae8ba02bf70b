import os

import numpy as np
import pytest

from recast.errors import InputError
from recast.train.data.pictures import shape_of
from recast.train.data.shards import INDEX, ShardSource
from recast.world.shards import write_pairs
from tests.train.data.sets import pair, picture, png, tar


def test_the_shards_that_the_world_writes_are_read_as_they_were_drawn(tmp_path):
    for _ in write_pairs(tmp_path, 2, width=64, height=64, kind="logo onto shirt"):
        pass
    source = ShardSource(tmp_path)
    assert source.length == 2
    example = source.example(1)
    assert len(example.contexts) == 2
    assert example.mask is not None
    differs = (example.contexts[example.base] != example.target).any(-1)
    np.testing.assert_array_equal(example.mask, differs)
    assert example.kind == "logo onto shirt"
    assert len(example.captions) == 3
    assert len(example.truth["scenes"]) == 3
    assert shape_of(example) == source.shape(1)


def test_the_general_layout_in_any_order_of_access(tmp_path):
    members = {}
    for n in range(3):
        members |= pair(n, inverse=f"back {n}")
    tar(tmp_path / "a.tar", members)
    words = {"x/1.src.jpg": png(picture(1), "JPEG"), "x/1.tgt.jpg": png(picture(2), "JPEG"), "x/1.txt": b"be red\n"}
    made = {"y.png": png(picture(3)), "y.txt": b"a red block"}
    tar(tmp_path / "b.tar", words | made)
    source = ShardSource(tmp_path, licence="mine")
    assert [source.id(n) for n in range(source.length)] == ["a/000", "a/001", "a/002", "b/x/1", "b/y"]
    for n in (2, 0, 1):
        example = source.example(n)
        assert (example.instruction, example.inverse) == (f"change {n}", f"back {n}")
        np.testing.assert_array_equal(example.target, picture(2 * n + 1))
    assert source.example(3).instruction == "be red"
    drawn = source.example(4)
    assert (drawn.contexts, drawn.instruction, drawn.captions) == ((), None, ("a red block",))
    assert drawn.licence == "mine"


def test_the_index_is_kept_beside_and_made_again_when_the_shard_changes(tmp_path):
    path = tar(tmp_path / "a.tar", pair(0))
    one = ShardSource(path).about()
    beside = tmp_path / ("a.tar" + INDEX)
    written = beside.read_bytes()
    ShardSource(path)
    assert beside.read_bytes() == written
    tar(path, pair(0) | pair(1))
    again = ShardSource(path)
    assert again.length == 2
    assert again.about() != one
    assert beside.read_bytes() != written


def test_a_folder_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tar", pair(0))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert ShardSource(path).example(0).instruction == "change 0"
    assert not (tmp_path / ("a.tar" + INDEX)).exists()


def test_a_cut_shard_and_a_broken_picture_are_named(tmp_path):
    path = tar(tmp_path / "a.tar", pair(0) | pair(1))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a\.tar: broken"):
        ShardSource(path)
    whole = tar(tmp_path / "b.tar", pair(0) | {"000.target.png": png(picture(1))[:60]})
    with pytest.raises(InputError, match=r"b\.tar:000\.target\.png"):
        ShardSource(whole).example(0)
    kept = ShardSource(tar(tmp_path / "c.tar", pair(0)))
    (tmp_path / "c.tar").write_bytes(b"short")
    with pytest.raises(InputError, match=r"c\.tar: ends at byte"):
        kept.example(0)


def test_records_that_lack_something_are_refused(tmp_path):
    one = {name: data for name, data in pair(0).items() if "target" not in name}
    with pytest.raises(InputError, match=r"record '000' has"):
        ShardSource(tar(tmp_path / "a.tar", one)).example(0)
    two = {name: data for name, data in pair(0).items() if "json" not in name}
    with pytest.raises(InputError, match="no words"):
        ShardSource(tar(tmp_path / "b.tar", two)).example(0)
    three = pair(0, instruction=" ")
    with pytest.raises(InputError, match="instruction is empty"):
        ShardSource(tar(tmp_path / "c.tar", three)).example(0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \*\.tar"):
        ShardSource(tmp_path / "empty")


def test_two_pictures_for_one_place_are_refused(tmp_path):
    members = {"a.source.png": png(picture(0)), "a.target.png": png(picture(1)), "a.json": b'{"instruction": "go"}'}
    tar(tmp_path / "one.tar", members)
    assert len(ShardSource(tmp_path / "one.tar").shape(0).contexts) == 1
    for n, more in enumerate(("a.src.png", "a.output.png", "a.source1.png")):
        tar(tmp_path / f"two-{n}.tar", members | {more: png(picture(2))})
        with pytest.raises(InputError, match="two pictures for one place"):
            ShardSource(tmp_path / f"two-{n}.tar").shape(0)
