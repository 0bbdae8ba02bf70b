"""A tree of edits: where each starts, which branch moves, and that nothing is overwritten."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.retouch.thread import Thread
from recast.run import Result
from tests.retouch.thread.fake import Painter, noise


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    return Thread.create(tmp_path / "thread", noise())


def test_the_root_is_kept_as_it_came(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    image.write(noise(), file)
    thread = Thread.create(tmp_path / "thread", file)
    assert thread.read("root") == file.read_bytes()
    root = thread.root
    assert (root.kind, root.parent, root.file, root.width, root.height) == ("root", None, "photo.jpg", 24, 16)
    assert root.pixels_sha256 == image.read(file).sha256()
    assert root.branches == ("main",)


def test_an_edit_starts_where_the_last_ended_and_says_all_about_itself(thread: Thread) -> None:
    painter = Painter()
    first = thread.edit(painter, "a hat", seed=3, steps=4)
    second = thread.edit(painter, "a coat")
    assert [node.id for node in thread.path()] == [thread.root.id, first.id, second.id]
    assert first.instruction == "a hat"
    usual = {"anchors": {"carries": True, "rides": False}}
    assert first.options == {"seed": 3, "steps": 4, **usual}
    assert first.warnings == ("painted",)
    assert first.recipe is not None
    assert first.recipe["output_sha256"] == first.pixels_sha256 == thread.picture(first.id).sha256()
    assert image.read_recipe(thread.read(first.id)) is not None
    assert second.options == {"seed": 7, **usual}, "the seed that was drawn is kept"
    assert painter.asked[0] == ("a hat", {"seed": 3, "steps": 4})
    assert np.array_equal(thread.picture(second.id).rgb, Painter().paint(thread.picture(first.id), "a coat", 7).rgb)
    assert first.drift is not None
    assert (first.drift["against"], first.drift["over"]) == (thread.root.id, "frame")
    assert first.certificate is None
    assert first.created < second.created


def test_an_edit_goes_off_from_any_node(thread: Thread) -> None:
    painter = Painter()
    first = thread.edit(painter, "one")
    second = thread.edit(painter, "two")
    red = thread.edit(painter, "red", at="root", branch="red")
    assert red.parent == thread.root.id
    assert red.branches == ("red",)
    aside = thread.edit(painter, "aside", at=first.id)
    assert (aside.parent, aside.branches) == (first.id, ("branch",))
    again = thread.edit(painter, "again", at=first.id)
    assert again.branches == ("branch-2",)
    on = thread.edit(painter, "on", at="main")
    assert (on.parent, on.branches) == (second.id, ("main",))
    assert thread.edit(painter, "more").parent == on.id, "the branch of the last edit is the current one"
    with pytest.raises(InputError, match="ends at"):
        thread.edit(painter, "no", at="root", branch="main")


def test_branches_are_made_gone_to_and_renamed(thread: Thread) -> None:
    painter = Painter()
    first = thread.edit(painter, "one")
    thread.edit(painter, "two")
    calm = thread.branch("calm", at=first.id[:4])
    assert (calm.head, calm.is_current) == (first.id, True)
    assert thread.edit(painter, "three").parent == first.id
    assert thread.branch("main").is_current
    assert thread.rename("main", "wild").is_current
    assert set(thread.branches()) == {"wild", "calm"}
    with pytest.raises(InputError, match="is there already"):
        thread.branch("wild", at="root")
    for name in ("calm", "root", "", "../up", "-x", first.id, "a b", "x" * 65):
        with pytest.raises(InputError, match="branch="):
            thread.rename("wild", name)


def test_a_node_is_found_by_what_is_unmistakable(thread: Thread) -> None:
    node = thread.edit(Painter(), "one")
    assert thread.node(node.id[:4]).id == thread.node("main").id == thread.node(None).id == node.id
    for ref in (node.id[:3], "nosuch", "", node.id + "x", "/etc"):
        with pytest.raises(InputError, match="no node and no branch"):
            thread.node(ref)


def test_nothing_is_ever_overwritten(thread: Thread) -> None:
    thread.edit(Painter(), "one")
    with sqlite3.connect(thread.folder / "thread.db") as db:
        for table, column in (("nodes", "instruction"), ("files", "sha256"), ("objects", "bytes")):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                db.execute(f"UPDATE {table} SET {column} = 'x'")
    db.close()


def test_a_faster_writer_costs_nobody_a_node(thread: Thread) -> None:
    """While one edit runs another moves the branch: both stay, each on a branch."""

    class Slow(Painter):
        def edit(self, image_: Any, prompt: str, **options: Any) -> Result:
            self.other = Thread.open(thread.folder).edit(Painter(), "fast")
            return super().edit(image_, prompt, **options)

    painter = Slow()
    slow = thread.edit(painter, "slow")
    assert slow.parent == painter.other.parent == thread.root.id
    assert thread.branches()["main"].head == painter.other.id
    assert slow.branches == ("main-2",)


def test_a_node_pruned_under_an_edit_is_told(thread: Thread) -> None:
    thread.edit(Painter(), "doomed", at="root", branch="doomed")

    class Slow(Painter):
        def edit(self, image_: Any, prompt: str, **options: Any) -> Result:
            Thread.open(thread.folder).prune("doomed")
            return super().edit(image_, prompt, **options)

    with pytest.raises(InputError, match="was pruned while the edit ran"):
        thread.edit(Slow(), "late")
    assert list(thread.nodes()) == [thread.root.id]
    assert thread.check() == []


def test_pictures_among_the_options_are_kept_and_given_as_they_were(thread: Thread, tmp_path: Path) -> None:
    image.write(noise(1), tmp_path / "logo.png")
    data = (tmp_path / "logo.png").read_bytes()
    mask = np.zeros((16, 24), np.float32)
    mask[4:8] = 0.5
    references = [("logo", tmp_path / "logo.png"), PIL.Image.fromarray(noise(2))]
    painter = Painter()
    heard: list[int] = []
    node = thread.edit(
        painter, "hang it", references=references, mask=mask, size=(24, 16), boxes=[(1, 2, 3, 4)], on_step=heard.append
    )
    given = painter.asked[0][1]
    assert given["references"][0] == ("logo", data)
    assert np.array_equal(image.read(given["references"][1]).rgb, noise(2))
    assert np.array_equal(given["mask"], mask)
    assert given["on_step"] == heard.append
    assert "on_step" not in node.options
    assert node.options["size"] == [24, 16]
    assert thread.read(node.id, "option/0") == data
    assert str(tmp_path).encode() not in (thread.folder / "thread.db").read_bytes(), "no path is kept"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"detectors": [object()]}, ConfigError, "cannot be kept"),
        ({"mask": "nowhere.png"}, InputError, "cannot be read"),
        ({"mask": b"no picture"}, InputError, "no picture"),
        ({"num_images": 2}, ConfigError, "one a node"),
        ({"guidance": float("nan")}, ConfigError, "cannot be kept"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_any_work(
    thread: Thread, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    painter = Painter()
    with pytest.raises(error, match=words):
        thread.edit(painter, "x", **options)
    assert painter.asked == []
    for prompt in ("a\0b", "\ud800", 3):
        with pytest.raises(InputError, match="prompt"):
            thread.edit(painter, prompt)  # type: ignore[arg-type]
    assert len(thread.nodes()) == 1


def test_words_come_back_letter_by_letter(thread: Thread) -> None:
    text = 'é e\u0301 "quote" \'; DROP TABLE nodes; -- 字 🎩\n\t'
    node = thread.edit(Painter(), text)
    assert thread.node(node.id).instruction == text
    assert thread.note(node.id, "first").note == "first"
    assert thread.note(node.id, text).note == text


def test_a_picture_is_saved_as_it_is_kept_or_in_another_format(thread: Thread, tmp_path: Path) -> None:
    node = thread.edit(Painter(), "one")
    assert thread.save(node.id, tmp_path / "a.png").read_bytes() == thread.read(node.id)
    saved = thread.save(node.id, tmp_path / "a.webp")
    assert PIL.Image.open(io.BytesIO(saved.read_bytes())).format == "WEBP"
    assert image.read(saved).sha256() == node.pixels_sha256
    with pytest.raises(InputError, match="not kept by node"):
        thread.save(node.id, tmp_path / "b.png", "raw")
    with pytest.raises(InputError, match="cannot be written"):
        thread.save(node.id, tmp_path / "no" / "a.png")


def test_two_threads_do_not_fit_into_one_folder(thread: Thread, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="something is there"):
        Thread.create(thread.folder, noise())
    with pytest.raises(InputError, match="no folder"):
        Thread.create(tmp_path / "a" / "b", noise())
    with pytest.raises(InputError, match="no picture"):
        Thread.create(tmp_path / "new", b"no picture")
    (tmp_path / "empty").mkdir()
    assert Thread.create(tmp_path / "empty", noise()).check() == []
    assert sorted(place.name for place in tmp_path.iterdir()) == ["empty", "thread"], "nothing half made is left"
