"""The same instructions elsewhere, and in fewer passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.errors import ConfigError, InputError
from recast.retouch.thread import Node, Thread
from recast.retouch.thread.again import joined, split
from tests.retouch.thread.fake import Painter, noise


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    thread = Thread.create(tmp_path / "thread", noise())
    for turn in range(5):
        thread.edit(Painter(), f"turn {turn}", seed=turn, steps=3)
    return thread


def test_a_replay_gives_the_same_words_and_numbers_to_another_picture(thread: Thread) -> None:
    painter, made = Painter(), list[Node]()
    other = noise(9, width=30, height=20)
    before = thread.path("main")
    last = thread.replay(painter, "main", other, on_node=made.append)
    assert painter.asked == [(f"turn {turn}", {"seed": turn, "steps": 3}) for turn in range(5)]
    assert [node.kind for node in made] == ["import"] + ["replay"] * 5
    assert [node.origin for node in made[1:]] == [node.id for node in before[1:]]
    assert last.id == made[-1].id == thread.node("replay").id
    assert np.array_equal(thread.picture(made[0].id).rgb, other)
    assert last.drift is not None
    assert last.drift["against"] == made[0].id
    assert thread.path("main") == [node if node.id != before[-1].id else before[-1] for node in before]
    again = Painter()
    thread.replay(again, "main", other, name="mine", steps=8)
    assert {options["steps"] for _, options in again.asked} == {8}
    assert thread.node("mine").origin == before[-1].id


def test_a_replay_of_the_same_picture_makes_the_same_pixels(thread: Thread) -> None:
    assert thread.replay(Painter(), "main", noise()).pixels_sha256 == thread.node("main").pixels_sha256


def test_masks_and_boxes_are_kept_on_the_same_size_only(thread: Thread) -> None:
    mask = np.ones((16, 24), np.float32)
    thread.edit(Painter(), "there", mask=mask, boxes=[[1, 2, 3, 4]], branch="there")
    painter = Painter()
    with pytest.raises(InputError, match="mask, boxes in a picture of 24x16"):
        thread.replay(painter, "there", noise(1, width=30, height=20))
    assert painter.asked == []
    assert set(thread.branches()) == {"main", "there"}, "nothing was begun"
    thread.replay(painter, "there", noise(1))
    assert np.array_equal(painter.asked[-1][1]["mask"], mask)
    thread.replay(painter, "there", noise(1, width=30, height=20), places="drop")
    assert set(painter.asked[-1][1]) == {"seed"}


def test_what_stopped_a_replay_costs_none_of_what_was_made(thread: Thread) -> None:
    class Failing(Painter):
        def edit(self, image_: Any, prompt: str, **options: Any) -> Any:
            if prompt == "turn 3":
                raise InputError("prompt: no")
            return super().edit(image_, prompt, **options)

    with pytest.raises(InputError, match="prompt: no"):
        thread.replay(Failing(), "main", noise(4))
    assert [node.instruction for node in thread.path("replay")[1:]] == ["turn 0", "turn 1", "turn 2"]
    assert thread.check() == []


def test_a_rebake_asks_the_root_for_everything_in_as_few_passes_as_wished(thread: Thread) -> None:
    for passes, words in {
        1: ["turn 0. turn 1. turn 2. turn 3. turn 4"],
        2: ["turn 0. turn 1. turn 2", "turn 3. turn 4"],
        5: [f"turn {turn}" for turn in range(5)],
    }.items():
        painter = Painter()
        last = thread.rebake(painter, "main", passes)
        assert [prompt for prompt, _ in painter.asked] == words
        path = thread.path(last.id)
        assert [node.kind for node in path] == ["root"] + ["rebake"] * passes
        assert path[0].id == thread.root.id
        assert {node.origin for node in path[1:]} == {thread.node("main").id}
        assert painter.asked[-1][1] == {"seed": 4, "steps": 3}, "as the last of the group"
    assert set(thread.branches()) == {"main", "rebake", "rebake-2", "rebake-3"}
    for wrong in (0, 6, True, "2"):
        with pytest.raises(ConfigError, match="1 to 5 accepted"):
            thread.rebake(Painter(), "main", wrong)  # type: ignore[arg-type]


def test_a_context_that_is_a_box_or_needs_one_is_a_place(thread: Thread) -> None:
    box = {"boxes": [(1, 1, 9, 9)]}
    thread.edit(Painter(), "crop", at="root", branch="crop", context="crop", **box)
    thread.edit(Painter(), "whole", context="whole", **box)
    thread.edit(Painter(), "box", at="root", branch="box", context=(2, 2, 12, 12))
    thread.edit(Painter(), "no box")
    other = noise(1, width=30, height=20)
    for branch in ("crop", "box"):
        with pytest.raises(InputError, match="30x20 came"):
            thread.replay(Painter(), branch, other)
    for branch, left in (("crop", [None, "whole"]), ("box", [None, None])):
        painter = Painter()
        thread.replay(painter, branch, other, places="drop")
        assert [options.get("context") for _, options in painter.asked] == left
    with pytest.raises(ConfigError, match="masks or boxes differ"):
        thread.rebake(Painter(), "box", 1)


def test_references_and_places_that_differ_are_not_mixed(thread: Thread) -> None:
    logo, other = noise(1), noise(2)
    thread.branch("pictures", at="root")
    thread.edit(Painter(), "a", references=[logo])
    thread.edit(Painter(), "b", references=[logo])
    thread.edit(Painter(), "c")
    painter = Painter()
    thread.rebake(painter, "pictures", 1)
    assert len(painter.asked[0][1]["references"]) == 1, "the same ones are given once"
    thread.edit(Painter(), "d", at="pictures", references=[other])
    with pytest.raises(ConfigError, match="references differ"):
        thread.rebake(Painter(), "pictures", 1)
    thread.rebake(Painter(), "pictures", 2)
    thread.edit(Painter(), "e", at="pictures", boxes=[[0, 0, 4, 4]])
    with pytest.raises(ConfigError, match="masks or boxes differ"):
        thread.rebake(Painter(), "pictures", 2)
    thread.rebake(painter := Painter(), "pictures", 2, places="drop")
    assert all("boxes" not in options for _, options in painter.asked)


def test_there_has_to_be_something_to_do_again(thread: Thread) -> None:
    with pytest.raises(InputError, match="no instruction"):
        thread.replay(Painter(), "root", noise(1))
    with pytest.raises(InputError, match="is taken"):
        thread.replay(Painter(), "main", noise(1), name="main")
    with pytest.raises(ConfigError, match="keep or drop"):
        thread.rebake(Painter(), "main", 1, places="some")  # type: ignore[arg-type]


def test_sentences_are_joined_with_their_ends() -> None:
    assert joined(["make it night", " Add a moon! ", "remove the cat"]) == "make it night. Add a moon! remove the cat"
    assert joined(["夜にする。", "月を加える"]) == "夜にする。 月を加える"
    assert joined(["one"]) == "one"


def test_groups_keep_their_order_and_differ_by_one_at_most() -> None:
    for count in range(1, 9):
        for passes in range(1, count + 1):
            groups = split(list(range(count)), passes)  # type: ignore[arg-type]
            assert [one for group in groups for one in group] == list(range(count))
            sizes = [len(group) for group in groups]
            assert len(groups) == passes
            assert max(sizes) - min(sizes) <= 1
            assert sizes == sorted(sizes, reverse=True)
