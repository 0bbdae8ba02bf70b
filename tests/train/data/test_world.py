import numpy as np
import pytest

from recast.errors import ConfigError
from recast.train.data.pictures import shape_of
from recast.train.data.world import TWO_CONTEXTS, WorldSource
from recast.world import edits, heldout
from recast.world.draw import changed
from recast.world.scene import from_json
from recast.world.suite import SEEDS

SIZES = {(64, 64): 1.0, (112, 64): 1.0}


def test_a_number_always_gives_the_same_example_of_the_shape_that_was_told():
    source = WorldSource(seed=5, sizes=SIZES)
    for index in (0, 3, 10**9):
        one, again = source.example(index), WorldSource(seed=5, sizes=SIZES).example(index)
        assert shape_of(one) == source.shape(index)
        assert (one.id, one.instruction, one.captions) == (again.id, again.instruction, again.captions)
        assert one.id == source.id(index)
        np.testing.assert_array_equal(one.target, again.target)
        np.testing.assert_array_equal(one.mask, changed(one.contexts[one.base], one.target))


def test_the_number_of_contexts_is_told_by_the_kind():
    for category, kinds in edits.KINDS.items():
        for kind in kinds:
            made = edits.edit(11, category=category, kind=kind)
            assert len(made.contexts) == (2 if kind in TWO_CONTEXTS else 1), kind


def test_nothing_held_out_and_no_seed_of_a_benchmark_is_seen():
    source = WorldSource(seed=1, sizes=((64, 64),))
    for index in range(12):
        truth = source.example(index).truth
        assert truth["seed"] < SEEDS
        assert not any(heldout.reasons(from_json(scene)) for scene in truth["scenes"])


def test_words_fit_the_text_encoder():
    source = WorldSource(seed=2, sizes=((64, 64),), limit_bytes=90)
    for index in range(15):
        example = source.example(index)
        words = (example.instruction, *example.captions, *([example.inverse] if example.inverse else []))
        assert all(0 < len(each.encode()) <= 90 for each in words)


def test_weights_choose_categories_and_kinds():
    source = WorldSource(categories={"text": 3, "global": 1}, kinds={"time": 0}, sizes=((64, 64),))
    kinds = [source._kind(source._seeds[n]) for n in range(2000)]
    assert {category for category, _ in kinds} == {"text", "global"}
    assert sum(category == "text" for category, _ in kinds) / 2000 == pytest.approx(0.75, abs=0.04)
    assert all(kind != "time" for _, kind in kinds)


def test_sizes_are_mixed_by_weight():
    source = WorldSource(sizes={(256, 256): 3, (448, 256): 1})
    wide = sum(source.shape(n).target == (448, 256) for n in range(2000)) / 2000
    assert wide == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(
    "wrong",
    [
        {"categories": {"sky": 1}},
        {"kinds": {"no such": 1}},
        {"lengths": {"endless": 1}},
        {"categories": {"text": -1}},
        {"categories": {"text": 0}},
    ],
)
def test_names_that_do_not_exist_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        WorldSource(**wrong)


def test_kinds_of_which_none_is_left_are_refused():
    nothing = dict.fromkeys(edits.KINDS["local"], 0.0)
    with pytest.raises(ConfigError, match="every kind of local weighs 0"):
        WorldSource(categories={"local": 1}, kinds=nothing)


def test_a_scene_of_some_things_shows_one_of_them_and_no_other():
    only = {"categories": {"local": 1}, "kinds": {kind: float(kind == "thing colour") for kind in edits.KINDS["local"]}}
    for split in ("train", "held out"):
        source = WorldSource(**only, sizes=((64, 64),), scene="sheet", things=("cup", "gift"), split=split)
        scenes = [from_json(scene) for n in range(12) for scene in source.example(n).truth["scenes"]]
        assert {tuple(thing.kind for thing in scene.things) for scene in scenes} == {("cup",), ("gift",)}


@pytest.mark.parametrize("wrong", [{"things": ("cup",)}, {"things": ("spoon",), "scene": "sheet"}])
def test_things_are_known_and_of_a_scene(wrong: dict):
    with pytest.raises(ConfigError, match="things="):
        WorldSource(**wrong)
