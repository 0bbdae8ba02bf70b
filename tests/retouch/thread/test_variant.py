"""Real merges in a thread: certificates that hold, regions that can be left out later, thirty turns without drift."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.recipe import Recipe
from recast.retouch.certificate import read_certificate, verify
from recast.retouch.editor import Editor
from recast.retouch.original import read_original
from recast.retouch.thread import Thread, import_thread
from tests.retouch.thread.fake import Painter, noise

SIZE = {"width": 160, "height": 120}


class Repainting(Painter):
    """What a model does: two patches that were asked for, and a little of everything else."""

    def paint(self, picture: Picture, prompt: str, seed: int) -> Picture:
        dice = np.random.default_rng(seed)
        rgb = np.clip(picture.rgb + dice.integers(-1, 2, picture.rgb.shape), 0, 255).astype(np.uint8)
        for left, top in ((16, 16), (110, 70)):
            rgb[top : top + 24, left : left + 24] = dice.integers(0, 256, 3)
        return Picture(rgb, picture.alpha)


def scene() -> np.ndarray:
    """Smooth enough to be a photograph, textured enough to be registered."""
    small = noise(3, width=40, height=30).astype(np.float32)
    return np.kron(small, np.ones((4, 4, 1), np.float32)).astype(np.uint8)


@pytest.fixture
def thread(tmp_path: Path) -> Thread:
    return Thread.create(tmp_path / "thread", scene())


def is_kept(thread: Thread, id: str) -> bool:
    """Whether the certificate in a node's picture holds against its parent's."""
    node, data = thread.node(id), thread.read(id)
    return verify(read_original(thread.read(node.parent)), read_original(data), read_certificate(data)).is_kept


def test_a_merged_edit_carries_its_proof_and_its_parts(thread: Thread) -> None:
    node = thread.edit(Editor(Repainting()), "two patches", seed=1)
    assert node.certificate is not None
    assert node.report is not None
    assert {"picture", "raw", "support", "parts/parts.json", "parts/layers.npz"} <= set(node.files)
    assert len(node.regions) == 2
    assert is_kept(thread, node.id)
    assert thread.diff("root", node.id).share < 0.2
    raw = read_original(thread.read(node.id, "raw"))
    assert (raw.samples != read_original(thread.read("root")).samples).any(-1).mean() > 0.5
    assert node.drift is not None
    assert (node.drift["over"], node.drift["changed"], node.drift["sharpness"]) == ("preserved", 0, 1.0)


def test_regions_are_left_out_and_taken_back_as_nodes_of_their_own(thread: Thread, tmp_path: Path) -> None:
    node = thread.edit(Editor(Repainting()), "two patches", seed=1)
    copy = import_thread(thread.export(tmp_path / "thread.zip"), tmp_path / "copy")
    left = copy.variant(node.id, reject=[1])
    assert (left.kind, left.parent, left.origin, left.branches) == ("variant", node.parent, node.id, ("variant",))
    assert [region["is_accepted"] for region in left.regions] == [False, True]
    assert copy.node("main") == copy.node(node.id), "the edit stays"
    first = copy.diff("root", left.id)
    assert first.box is not None
    assert first.box[0] > 80, "the region on the left has the bytes it had before"
    assert is_kept(copy, left.id)
    recipe = Recipe.from_json(image.read_recipe(copy.read(left.id)) or "")
    assert (recipe.output_sha256, recipe.preserving.rejected) == (left.pixels_sha256, (1,))
    assert left.recipe == json.loads(recipe.to_json())
    back = copy.variant(left.id, accept=[1], name="back")
    assert back.pixels_sha256 == node.pixels_sha256
    nothing = copy.variant(node.id, reject=[1, 2])
    assert nothing.pixels_sha256 == copy.root.pixels_sha256
    assert copy.check() == []
    with pytest.raises(InputError, match="no region 3"):
        copy.variant(node.id, reject=[3])
    with pytest.raises(InputError, match="nothing would change"):
        copy.variant(node.id, accept=[1])
    with pytest.raises(InputError, match="accepted and rejected"):
        copy.variant(node.id, accept=[1], reject=[1])
    with pytest.raises(InputError, match="keeps no regions"):
        copy.variant("root", reject=[1])
    with pytest.raises(InputError, match="is taken"):
        copy.variant(node.id, reject=[2], name="back")
    replayed = copy.replay(Editor(Repainting()), "variant", scene())
    assert replayed.instruction == "two patches", "a variant is replayed as the edit it was"


@pytest.mark.slow
def test_thirty_turns_do_not_drift_and_without_a_merge_they_do(thread: Thread) -> None:
    kept, plain = Editor(Repainting()), Repainting()
    support = np.zeros((SIZE["height"], SIZE["width"]), bool)
    for turn in range(30):
        node = thread.edit(kept, f"turn {turn}", at="main", seed=turn)
        support |= read_certificate(thread.read(node.id)).mask  # type: ignore[union-attr]
        assert node.drift is not None
        assert (node.drift["over"], node.drift["changed"]) == ("preserved", 0), f"turn {turn}"
    assert support.mean() < 0.3
    assert np.array_equal(thread.picture("main").rgb[~support], scene()[~support]), "byte for byte the first picture"
    thread.branch("plain", at="root")
    for turn in range(10):
        drifted = thread.edit(plain, f"turn {turn}", seed=turn)
    assert drifted.drift is not None
    assert drifted.drift["delta_e_mean"] > 1, "or the test above proves nothing"
    assert not np.array_equal(thread.picture("plain").rgb[~support], scene()[~support])
    assert len(thread.path("main")) == 31
    assert thread.check() == []
