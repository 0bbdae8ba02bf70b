"""Edits change what they ask for and nothing else; chains of them hold together."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from recast.errors import InputError
from recast.world import heldout
from recast.world.chains import LONGEST, chain, nothing_chain, there_and_back
from recast.world.draw import draw
from recast.world.edits import (
    CATEGORIES,
    EVERYDAY,
    KINDS,
    NANO_BYTES,
    attributes,
    differences,
    edit,
    is_attribute,
    reverse,
)
from recast.world.rules import problems, shows
from recast.world.sample import FIRST_UNTRAINED, scene
from recast.world.scene import IDENTITY, STEP, Character, Scene, Thing, Title, check, get, put

ALL = [(category, kind) for category, kinds in KINDS.items() for kind in kinds]
EACH = 12
PHOTOGRAPH = Scene(background="photograph")


def covered(path: str, names: tuple[str, ...]) -> bool:
    return any(path == name or path.startswith(f"{name}.") or name.startswith(f"{path}.") for name in names)


@pytest.fixture(scope="module")
def edits():
    return [edit(seed, category=category, kind=kind) for category, kind in ALL for seed in range(EACH)]


def test_every_kind_of_every_category_can_be_had(edits):
    assert {(each.category, each.kind) for each in edits} == set(ALL)
    assert set(KINDS) == set(CATEGORIES)
    assert set(EVERYDAY) <= {kind for _, kind in ALL}


def test_nothing_changes_but_what_is_asked_or_free(edits):
    for each in edits:
        for path in differences(each.source, each.target):
            assert covered(path, (*each.asked, *each.free)), (each.kind, path, each.instruction)


def test_whatever_is_asked_has_changed_unless_nothing_must(edits):
    references = ("character reference", "two pictures")  # where the second person, or the same side, may be asked for
    for each in edits:
        changed = differences(each.source, each.target)
        if each.category == "nothing":
            assert changed == ()
        else:
            assert changed != ()
        if each.category not in references and each.category != "nothing":
            assert all(covered(path, changed) or path == "time" for path in each.asked if path.count(".") != 2), each
            # Of something new or exchanged a value may come out as it was, but never all of them.
            assert any(covered(path, changed) for path in each.asked)


def test_what_is_asked_for_shows_in_the_target(edits):
    for each in edits:
        for path in each.asked:
            if is_attribute(each.target, path):
                assert shows(each.target, path), (each.kind, path)


def test_removed_parts_are_gone(edits):
    gone = {"remove title": "title", "remove thing": "things", "remove mark": "marks", "remove person": "characters"}
    for each in edits:
        if each.kind in gone:
            assert each.asked[0].startswith(gone[each.kind])
            assert get(each.source, each.asked[0]) is not None
            assert get(each.target, each.asked[0]) is None


def test_every_scene_of_an_edit_is_known_and_without_problems(edits):
    for each in edits:
        for made in (*each.contexts, each.target):
            assert problems(check(made)) == ()


def test_training_edits_show_nothing_held_out(edits):
    for each in [*edits, *(edit(seed) for seed in range(600))]:
        for made in (*each.contexts, each.target):
            assert heldout.reasons(made) == ()


def test_held_out_edits_lead_to_something_held_out():
    for seed in range(250):
        assert heldout.reasons(edit(seed, split="held out").target)


def test_the_same_people_stay_the_same_but_for_what_is_asked(edits):
    for each in edits:
        for i, context, k in each.identity:
            for name in IDENTITY:
                if f"characters.{i}.{name}" not in each.asked:
                    was = getattr(each.contexts[context].characters[k], name)
                    assert getattr(each.target.characters[i], name) == was, each.kind


def test_every_person_of_a_reference_edit_comes_from_a_context(edits):
    for each in edits:
        if each.category == "character reference" or each.kind in ("person into place", "two people together"):
            assert {i for i, _, _ in each.identity} == set(range(len(each.target.characters)))


def test_an_inverse_leads_back_and_names_what_was_there(edits):
    undone = [each for each in edits if each.inverse is not None]
    assert len({each.kind for each in undone}) > 35
    for each in undone:
        back = reverse(each)
        assert back.contexts == (each.target,)
        assert back.target == each.source
        assert back.instruction == each.inverse
        assert back.asked
        for path in back.asked:
            part = path.rpartition(".")[0]
            assert not part or get(back.target, part) is not None, (each.kind, path)
            assert not is_attribute(back.target, path) or shows(back.target, path), (each.kind, path)
        for path in differences(back.source, back.target):
            assert covered(path, (*each.asked, *each.free))


def test_what_only_the_target_shows_is_free(edits):
    hidden = 0
    for each in edits:
        for path in attributes(each.target):
            if not is_attribute(each.source, path) or shows(each.source, path) or not shows(each.target, path):
                continue
            hidden += 1
            assert covered(path, (*each.asked, *each.free)), (each.kind, path)
    assert hidden > 40


def test_hair_that_a_hat_hid_may_come_out_in_any_way():
    under = Scene(background="city", characters=(Character(hat="cap", hair="short"),))
    made = edit(0, kind="remove hat", source=under)
    assert {"characters.0.hair", "characters.0.hair_colour"} <= set(made.free)
    long = put(under, "characters.0.hair", "long")
    assert "characters.0.hair" not in edit(0, kind="remove hat", source=long).free
    assert "characters.0.hair_colour" not in edit(0, kind="remove hat", source=long).free


def test_the_way_back_asks_for_what_its_words_name(monkeypatch):
    monkeypatch.setattr("recast.world.instructions.TYPO_RATE", 0)
    for kind, name in (("remove hat", "hat"), ("remove logo", "logo"), ("let go", "holding")):
        seen = 0
        for seed in range(12):
            back = reverse(made) if (made := edit(seed, kind=kind)).inverse else None
            if back is not None:
                colour = next(path for path in back.asked if path.endswith(f".{name}_colour"))
                assert get(back.target, colour) in back.instruction.lower()
                seen += 1
        assert seen > 5


def test_a_colour_that_is_not_said_is_free():
    for kind in ("other hat", "other logo", "hold other", "replace thing", "outfit"):
        for seed in range(12):
            made = edit(seed, kind=kind)
            part, _, name = made.asked[0].rpartition(".")
            colour = {"kind": "colour", "outfit": "shirt"}.get(name, f"{name}_colour")
            assert f"{part}.{colour}" in (*made.asked, *made.free)
            assert not set(made.asked) & set(made.free)


def test_any_of_several_parts_may_be_removed():
    for kind, name, value in (("remove thing", "things", "place"), ("remove mark", "marks", "kind")):
        made = [edit(seed, kind=kind) for seed in range(150)]
        gone = [getattr(getattr(each.source, name)[-1], value) for each in made if len(getattr(each.source, name)) == 2]
        assert len(set(gone)) > 1
    gone = Counter(edit(seed, kind="remove person").source.characters[-1].place for seed in range(30))
    assert min(gone["left"], gone["right"]) > 3


def test_scenes_that_a_benchmark_edits_are_not_those_of_training(monkeypatch):
    seeds = []
    drawn = scene
    monkeypatch.setattr("recast.world.sample.scene", lambda seed, **how: seeds.append(seed) or drawn(seed, **how))
    for seed in range(20):
        edit(FIRST_UNTRAINED + seed)
        chain(FIRST_UNTRAINED + seed, 2)
    assert min(seeds) >= FIRST_UNTRAINED
    seeds.clear()
    edit(5)
    chain(5, 2)
    assert max(seeds) < FIRST_UNTRAINED


def test_two_people_together_are_told_where_to_stand(monkeypatch):
    monkeypatch.setattr("recast.world.instructions.TYPO_RATE", 0)
    for seed in range(20):
        made = edit(seed, kind="two people together")
        assert {"characters.0.place", "characters.1.place"} <= set(made.asked)
        second = any(word in made.instruction.rpartition("the one from")[2] for word in ("second", "2"))
        assert f"on the {made.target.characters[second].place}" in made.instruction


def test_an_outfit_that_is_said_is_asked_for():
    for seed in range(60):
        made = edit(seed, kind="add person")
        new = made.target.characters[-1]
        said = any(word in made.instruction for word in ("striped", "hoodie", "jacket"))
        if said:
            assert f"{made.asked[0]}.outfit" in made.asked, (made.instruction, new.outfit)


def test_a_colour_is_led_to_and_back_by_its_own_name(monkeypatch):
    monkeypatch.setattr("recast.world.instructions.TYPO_RATE", 0)
    for kind in ("shirt colour", "hat colour", "thing colour", "title colour", "logo colour"):
        made = [edit(seed, kind=kind) for seed in range(20)]
        assert any(each.inverse for each in made)
        for each in made:
            assert str(get(each.target, each.asked[0])) in each.instruction.lower()
            assert each.inverse is None or str(get(each.source, each.asked[0])) in each.inverse.lower()


def test_what_cannot_be_undone_in_words_has_no_inverse():
    for kind in ("background", "style", "look", "remove title", "keep"):
        one = edit(3, kind=kind)
        assert one.inverse is None
        with pytest.raises(InputError, match="cannot be undone"):
            reverse(one)


@pytest.mark.parametrize("kind", [kind for kind in EVERYDAY if kind not in ("mark colour", "remove mark")])
def test_everyday_edits_work_on_any_photograph(kind):
    source = PHOTOGRAPH
    if kind in ("change title", "remove title"):
        source = replace(source, title=Title(text="WOW"))
    for seed in range(5):
        made = edit(seed, kind=kind, source=source)
        assert made.everyday
        assert made.source == source
        assert made.target.background == "photograph"
        assert made.target != source


def test_marks_on_a_photograph_can_be_changed_and_removed():
    source = edit(1, kind="add arrow", source=PHOTOGRAPH).target
    assert edit(1, kind="remove mark", source=source).target == PHOTOGRAPH
    assert edit(1, kind="mark colour", source=source).asked == ("marks.0.colour",)


def test_a_photograph_is_never_asked_for_what_only_drawings_have():
    for seed in range(150):
        made = edit(seed, source=PHOTOGRAPH)
        assert made.kind not in ("background", "photo background", "shirt colour", "day")
        assert made.contexts[made.base] == PHOTOGRAPH


def test_instructions_fit_nano(edits):
    assert max(len(each.instruction.encode()) for each in edits) <= NANO_BYTES
    assert max(len(each.inverse.encode()) for each in edits if each.inverse) <= NANO_BYTES


def test_all_categories_and_most_kinds_come_without_being_asked_for():
    found = Counter(edit(seed).category for seed in range(500))
    for category, weight in CATEGORIES.items():
        assert found[category] / 500 == pytest.approx(weight / sum(CATEGORIES.values()), abs=0.07)
    assert len({edit(seed).kind for seed in range(500)}) > 60


def test_an_edit_is_the_same_in_every_process():
    code = "import json, dataclasses; from recast.world.edits import edit;"
    code += "print(json.dumps([dataclasses.asdict(edit(seed)) for seed in range(25)]))"
    here = json.loads(json.dumps([asdict(edit(seed)) for seed in range(25)]))
    for hashing in ("0", "77"):
        out = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hashing}, capture_output=True, check=True
        )
        assert json.loads(out.stdout) == here


def test_differences_names_attributes_and_whole_parts():
    before = Scene(characters=(Character(),), things=(Thing(),))
    assert differences(before, before) == ()
    assert differences(before, put(before, "characters.0.shirt", "red")) == ("characters.0.shirt",)
    assert differences(before, put(before, "characters.0.face.nose", 1 + STEP)) == ("characters.0.face",)
    assert differences(before, replace(before, things=(), time="night")) == ("time", "things.0")
    assert differences(before, replace(before, title=Title(text="A"))) == ("title",)


def test_chains_of_thirty_hold_together():
    for seed in range(6):
        made = chain(seed, LONGEST)
        assert len(made.edits) == LONGEST
        scene, person = made.start, made.start.characters[0]
        for each in made.edits:
            assert each.contexts[0] == each.source == scene
            assert problems(each.target) == ()
            assert heldout.reasons(each.target) == ()
            for name in IDENTITY:
                assert getattr(each.target.characters[0], name) == getattr(person, name)
            for path in differences(scene, each.target):
                assert covered(path, (*each.asked, *each.free))
            scene = each.target


def test_chains_mix_categories_and_come_back_to_attributes():
    chains = [chain(seed, LONGEST) for seed in range(4)]
    for made in chains:
        assert len({each.category for each in made.edits}) >= 4
        asked = Counter(path for each in made.edits if each.category != "nothing" for path in each.asked)
        assert max(asked.values()) > 1
        assert all(a.kind != b.kind for a, b in zip(made.edits, made.edits[1:], strict=False))


def test_the_way_there_and_back_ends_where_it_began():
    for seed in range(5):
        made = there_and_back(seed, 10)
        assert len(made.edits) == 10
        scene = made.start
        for each in made.edits:
            assert each.contexts == (scene,)
            assert each.target != scene
            scene = each.target
        assert scene == made.start


def test_a_chain_of_nothing_changes_nothing():
    made = nothing_chain(2, 12)
    assert len(made.edits) == 12
    assert {each.target for each in made.edits} == {made.start}
    assert len({each.instruction for each in made.edits}) > 6


def test_what_already_holds_is_asked_for_as_it_is():
    for seed in range(60):
        each = edit(seed, kind="already so")
        assert each.target == each.source
        assert len(each.asked) == 1
        assert is_attribute(each.target, each.asked[0])


def test_bad_names_and_impossible_sources_are_errors():
    with pytest.raises(InputError, match=r"category='colour'.*local, global"):
        edit(0, category="colour")
    with pytest.raises(InputError, match="kind='fly'"):
        edit(0, kind="fly")
    with pytest.raises(InputError, match="not one such edit of this source"):
        edit(0, kind="remove hat", source=PHOTOGRAPH)
    with pytest.raises(InputError, match="turns=31: 1 to 30"):
        chain(0, 31)
    with pytest.raises(InputError, match="turns=3: an even number"):
        there_and_back(0, 3)


def test_a_source_from_outside_is_edited_as_it_is():
    source = scene(11, kind="cartoon")
    for seed in range(40):
        made = edit(seed, source=source)
        assert source in made.contexts


def test_every_edit_can_be_seen_in_the_pictures(edits):
    """Drawn at 256 x 256: at least 20 pixels change by more than noise would, and none for edits of nothing."""
    for each in edits[:: EACH // 2]:
        source, target = (draw(made, 256, 256).astype(int) for made in (each.source, each.target))
        changed = int((np.abs(source - target).max(-1) > 12).sum())
        assert changed == 0 if each.category == "nothing" else changed >= 20, (each.kind, each.instruction, changed)
