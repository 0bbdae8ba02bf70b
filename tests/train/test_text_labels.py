"""What texts say: every class is stated by the words, and the slots follow the text."""

import re
from dataclasses import replace

import pytest

from recast.errors import InputError
from recast.train import text_labels as labels
from recast.train.text_labels import Said, of_description, of_edit, says, slipped, spans, spelled
from recast.world import edits, words
from recast.world.dice import Dice
from recast.world.instructions import typo
from recast.world.scene import Character, Mark, Scene, Thing, Title

MANY = 120


def made(kind: str, seed: int = 0, **wanted) -> edits.Edit:
    """An edit of a kind whose instruction says all the words wanted."""
    for n in range(200):
        edit = edits.edit(seed + n, kind=kind)
        if all(word in edit.instruction for word in wanted.get("words", ())):
            return edit
    raise AssertionError(f"none of {kind} says {wanted}")


def test_a_description_gives_the_values_of_what_it_names_and_no_others():
    scene = Scene(
        background="beach",
        time="night",
        characters=(Character(shirt="red", hat="cap", hat_colour="green", place="left"), Character(place="right")),
        things=(Thing(kind="car", colour="yellow"),),
        title=Title(text="GO"),
    )
    named = (
        "background",
        "characters.0",
        "characters.0.place",
        "characters.0.hat",
        "characters.0.hat_colour",
        "things.0",
    )
    said = of_description(scene, words.Description("text", named))
    assert said.values == {
        "edit.contexts": "0",
        "background": "beach",
        "person.0.said": "yes",
        "person.0.place": "left",
        "person.0.hat": "cap",
        "person.0.hat_colour": "green",
        "thing.0.said": "yes",
    }
    assert said.new is None
    classes = dict(zip(labels.ATTRIBUTES, said.classes(), strict=True))
    assert classes["person.0.hat"] == labels.ATTRIBUTES["person.0.hat"].index("cap") + 1
    assert classes["time"] == classes["person.0.shirt"] == classes["thing.0.colour"] == 0


def test_every_text_of_the_world_has_classes_and_quotes_its_strings():
    seen = set()
    for seed in range(MANY):
        edit = edits.edit(seed)
        both = [edit, *([edits.reverse(edit)] if edit.inverse else [])]
        scene = words.description(edit.target, Dice(seed), length="long")
        for said in (*map(of_edit, both), of_description(edit.target, scene)):
            assert len(said.classes()) == len(labels.ATTRIBUTES)
            for name, value in said.values.items():
                assert value in labels.ATTRIBUTES[name]
                seen.add(name)
            for which, places in spans(said).items():
                string = said.new if which == "new" else said.old
                assert "".join(said.text[at] for at, _ in places) == string.replace("\n", "")
                assert all(string[place] == said.text[at] for at, place in places)
            assert len(spelled(said.new)) == len(spelled(said.old)) == 25
    assert len(seen) > 0.75 * len(labels.ATTRIBUTES)


def test_values_that_are_a_word_stand_in_the_text():
    """Colours and kinds of things: the very word, but for a typo."""
    checked = 0
    for seed in range(MANY):
        edit = edits.edit(seed)
        said = of_edit(edit)
        for name, value in said.values.items():
            if name.endswith((".shirt", "_colour", "thing.0.colour", "thing.old.kind", "mark.old.shape")):
                checked += 1
                assert says(said.text, value), (said.text, name, value)
    assert checked > 10


def test_the_way_back_says_the_old_value():
    edit = made("shirt colour")
    there, back = of_edit(edit), of_edit(edits.reverse(edit))
    path = edit.asked[0]
    index = int(path.split(".")[1])
    assert there.values["person.0.shirt"] == edit.target.characters[index].shirt
    assert back.values["person.0.shirt"] == edit.source.characters[index].shirt
    assert there.values["person.0.shirt"] != back.values["person.0.shirt"]


def test_what_a_picture_shows_is_not_said():
    said = of_edit(made("logo into corner"))
    assert said.values["mark.0.kind"] == "logo"
    assert "mark.0.place" in said.values
    assert not {"mark.0.shape", "mark.0.colour"} & said.values.keys()
    assert said.values["edit.contexts"] == "2"
    style = of_edit(made("style for content"))
    assert "style" not in style.values
    assert style.values["edit.kind"] == "style of picture 2"


def test_of_two_people_it_is_said_which_where_the_words_say_it():
    people = Character(place="left"), Character(place="right")
    source = Scene(characters=people)
    target = Scene(characters=(people[0], replace(people[1], expression="sad")))
    edit = edits.Edit(
        category="local",
        kind="expression",
        contexts=(source,),
        target=target,
        instruction="make the host on the right sad",
        asked=("characters.1.expression",),
    )
    said = of_edit(edit)
    assert said.values["person.0.which"] == "right"
    assert said.values["person.0.expression"] == "sad"
    assert "person.0.which" not in of_edit(replace(edit, instruction="sad face")).values
    assert of_edit(replace(edit, instruction="the rihgt person should be sad")).values["person.0.which"] == "right"


def test_what_nobody_can_tell_is_unknown():
    said = of_edit(made("already so"))
    kind = list(labels.ATTRIBUTES).index("edit.kind")
    assert said.classes()[kind] == labels.UNKNOWN


def test_the_way_back_of_a_removed_mark_adds_it():
    edit = next(e for e in (edits.edit(n, kind="remove mark") for n in range(200)) if e.inverse)
    said = of_edit(edits.reverse(edit))
    assert said.values["edit.kind"].startswith("add ")
    assert said.values["mark.0.kind"] == edit.source.marks[-1].kind


def test_an_arrow_shows_what_the_words_call_it():
    scene = Scene(characters=(Character(place="left"),), things=(Thing(kind="boat", place="right"),))
    for place, at in (("left", "person"), ("right", "boat"), ("center", "center")):
        marked = replace(scene, marks=(Mark(kind="arrow", place=place),))
        said = of_description(marked, words.Description("text", ("marks.0", "marks.0.place")))
        assert said.values["mark.0.at"] == at
        assert "mark.0.place" not in said.values


def test_old_and_new_strings_are_told_apart():
    said = of_edit(made("change title", words=("instead of",)))
    assert said.new
    assert said.old
    assert said.new != said.old
    assert said.text.index(said.new.split("\n")[0]) < said.text.rindex(said.old.split("\n")[0])
    moved = next(s for s in (of_edit(edits.edit(n, kind="title colour")) for n in range(100)) if s.old)
    assert moved.new is None


def test_words_are_found_with_one_slip():
    assert says("Show a wihte cup", "white cup")
    assert says("a whte cup", "white cup")
    assert says("WHITE CUP", "white cup")
    assert not says("Show a whiet-ish mug", "white cup")
    text = "make the yellow umbrella bigger"
    assert all(says(typo(text, Dice(n)), text) for n in range(50))


def test_slips_leave_quoted_strings_alone():
    said = Said(text="change “WORLD” to “hello” please, quickly", new="hello", old="WORLD")
    texts = {slipped(said, Dice(n)).text for n in range(60)}
    assert said.text not in texts
    assert len(texts) > 10
    assert all("“WORLD”" in text and "“hello”" in text for text in texts)


def test_lines_of_a_title_are_found_where_the_slip_is_between_them():
    said = Said(text='"SWIM" above "BREAD"', new="SWIM\nBREAD", old=None)
    texts = {slipped(said, Dice(n)).text for n in range(60)}
    between = {text[len('"SWIM"') : -len('"BREAD"')] for text in texts}
    assert between == {" aobve ", " aove ", " abbove "} == set(labels._BETWEEN) - {" above ", " over "}
    for text in texts:
        places = spans(Said(text=text, new=said.new, old=None))["new"]
        assert [text[at] for at, _ in places] == list("SWIMBREAD")
        assert [n for _, n in places] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_strings_are_classes_up_to_their_end():
    assert spelled("A\n") == [labels.CHARACTERS.index("A"), 0] + [labels.END] * 23
    assert spelled(None) == [labels.END] * 25
    with pytest.raises(InputError, match=r"strange: .*é"):
        spelled("é")
    with pytest.raises(InputError, match="up to 24"):
        spelled("A" * 25)
    with pytest.raises(InputError, match="not quoted"):
        spans(Said(text="say hello", new="hello"))


def test_places_of_two_lines_skip_the_line_feed():
    said = Said(text='write "AB" over "C"', new="AB\nC")
    assert spans(said)["new"] == [(7, 0), (8, 1), (17, 3)]


def test_words_are_known_outside_of_quoted_strings():
    said = Said(text='Change "TITLE" to a red title, plaese', old="TITLE")
    found = [(said.text[first:last].lower(), number) for first, last, number in labels.words(said)]
    assert [word for word, _ in found] == ["change", "to", "red", "title"]
    assert all(labels.WORDS[word] == number for word, number in found)
    texts = [of_edit(edits.edit(n)) for n in range(60)]
    known = sum(len(labels.words(each)) for each in texts)
    assert known > 0.9 * sum(len(re.findall("[a-z]{2,}", labels._masked(each).lower())) for each in texts)


def test_people_have_slots_by_their_order_in_the_text():
    both = of_edit(made("two people together"))
    assert {both.values["person.0.place"], both.values["person.1.place"]} == {"left", "right"}
    source = Scene(characters=(Character(place="left"), Character(place="right")))
    target = replace(source, characters=(Character(place="left", hat="cap"), Character(place="right", hat="crown")))
    edit = edits.Edit(
        category="local",
        kind="two changes",
        contexts=(source,),
        target=target,
        instruction="give the right host a crown and the left host a cap",
        asked=("characters.1.hat", "characters.0.hat"),
    )
    said = of_edit(edit).values
    assert (said["person.0.hat"], said["person.0.which"]) == ("crown", "right")
    assert (said["person.1.hat"], said["person.1.which"]) == ("cap", "left")
