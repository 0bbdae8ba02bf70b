"""Which use is made of an example, and what each use shows."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from recast.errors import ConfigError, InputError
from recast.train.uses import KEEP, TARGET, FlowTraining, fixed, plan
from tests.train.pairs import pairs


def many(count: int = 3000, **changes: object):
    """A batch whose pictures are nothing: only texts and shapes are read."""
    batch = pairs(1)
    return replace(
        batch,
        **{
            "numbers": tuple(range(count)),
            "ids": tuple(map(str, range(count))),
            "target": torch.zeros(1, 3, 16, 16, dtype=torch.uint8).expand(count, -1, -1, -1),
            "contexts": (torch.zeros(1, 3, 16, 16, dtype=torch.uint8).expand(count, -1, -1, -1),),
            "instructions": ("change it",) * count,
            "inverses": ("change it back",) * count,
            "captions": (("before", "after"),) * count,
            "bases": (0,) * count,
            "kinds": ("shape",) * count,
        }
        | changes,
    )


def test_the_shares_of_uses_are_those_asked_for():
    training = FlowTraining(edit=0.6, text_to_image=0.3, keep=0.1, reverse=0.25, text_dropout=0.2)
    uses = plan(many(), training, 0)
    kinds = Counter(use.kind for use in uses)
    assert kinds["edit"] / 3000 == pytest.approx(0.6, abs=0.03)
    assert kinds["keep"] / 3000 == pytest.approx(0.1, abs=0.02)
    edits = [use for use in uses if use.kind == "edit"]
    backward = [use for use in edits if use.target == 0]
    assert len(backward) / len(edits) == pytest.approx(0.25, abs=0.03)
    assert {(use.contexts, use.prompt) for use in backward} == {((TARGET,), "change it back"), ((TARGET,), "")}
    assert {(use.contexts, use.target) for use in edits if use.prompt == "change it"} == {((0,), TARGET)}
    spoken = [use for use in uses if use.kind != "keep"]
    assert sum(use.prompt == "" for use in spoken) / len(spoken) == pytest.approx(0.2, abs=0.03)
    assert {use.prompt for use in uses if use.kind == "keep"} == set(KEEP)
    assert {(use.contexts, use.target) for use in uses if use.kind == "keep"} == {((0,), 0)}
    texts = {(use.target, use.prompt) for use in uses if use.kind == "text_to_image" and use.prompt}
    assert texts == {(0, "before"), (TARGET, "after")}  # a caption goes with its own picture
    assert all(use.contexts == () for use in uses if use.kind == "text_to_image")


def test_a_use_knows_the_number_and_the_seed_alone():
    training = FlowTraining()
    whole = plan(pairs(8), training, 5)
    part = plan(pairs(3, first=4), training, 5)
    assert [replace(use, example=0) for use in whole[4:7]] == [replace(use, example=0) for use in part]
    assert [use.time for use in whole] != [use.time for use in plan(pairs(8), training, 6)]


def test_an_example_is_used_for_what_it_has():
    training = FlowTraining(text_dropout=0.0)
    captions_only = many(500, instructions=(None,) * 500)
    assert {use.kind for use in plan(captions_only, training, 0)} == {"text_to_image", "keep"}
    silent = many(500, captions=((None, None),) * 500)
    assert {use.kind for use in plan(silent, training, 0)} == {"edit", "keep"}
    small = torch.zeros(500, 3, 8, 8, dtype=torch.uint8)
    other_size = plan(many(500, contexts=(small,)), training, 0)
    assert {use.kind for use in other_size} == {"edit", "text_to_image"}
    assert {use.target for use in other_size} == {TARGET}  # nothing of another size is made
    alone = plan(pairs(4, contexts=0), replace(training, text_to_image=0.0), 0)
    assert {use.kind for use in alone} == {"text_to_image"}


def test_dropping_the_context_keeps_the_instruction():
    uses = plan(
        many(), FlowTraining(edit=1, text_to_image=0, keep=0, context_dropout=0.3, text_dropout=0, reverse=0), 0
    )
    blind = [use for use in uses if not use.contexts]
    assert len(blind) / 3000 == pytest.approx(0.3, abs=0.03)
    assert {use.prompt for use in uses} == {"change it"}


def test_an_example_with_nothing_to_train_is_named():
    batch = many(2, instructions=(None, None), captions=((None, None),) * 2)
    with pytest.raises(InputError, match=r"example 0: .*leave it out"):
        plan(batch, FlowTraining(keep=0.0), 0)
    with pytest.raises(InputError, match="example pair-0"):
        plan(pairs(1, contexts=0, captions=((None,),)), FlowTraining(), 0)


def test_fixed_uses_judge_each_example_as_edit_and_from_its_caption():
    uses = fixed(pairs(2), FlowTraining())
    assert [(use.example, use.kind, use.prompt) for use in uses] == [
        (0, "edit", "make it red"),
        (0, "text_to_image", "a red square"),
        (1, "edit", "make it green"),
        (1, "text_to_image", "a green square"),
    ]


def test_a_run_is_judged_by_what_it_trains():
    """Captions that it never reads would be half of its held-out loss, and never learned."""
    kinds = {
        name: {use.kind for use in fixed(pairs(2), FlowTraining(**{name: 0}))} for name in ("edit", "text_to_image")
    }
    assert kinds == {"edit": {"text_to_image"}, "text_to_image": {"edit"}}
    alone = fixed(pairs(2, contexts=0), FlowTraining(text_to_image=0))
    assert {use.kind for use in alone} == {"text_to_image"}  # as which it is trained, see `plan`
    assert fixed(pairs(2), FlowTraining(edit=0, text_to_image=0, keep=1)) == []


def test_an_edit_that_ends_where_it_begins_is_known_by_its_pictures():
    batch = pairs(3, contexts=2)
    target = batch.target.clone()
    target[1] = batch.contexts[1][1]
    batch = replace(batch, target=target, bases=(1,) * 3)
    edits = [use for use in fixed(batch, FlowTraining()) if use.kind == "edit"]
    assert [use.is_copy for use in edits] == [False, True, False]
    kept = plan(batch, FlowTraining(edit=0, text_to_image=0, keep=1), 0)
    assert [(use.target, use.base) for use in kept] == [(1, 1)] * 3
    back = plan(batch, FlowTraining(edit=1, text_to_image=0, keep=0, reverse=1, text_dropout=0), 0)
    assert [(use.target, use.is_copy) for use in back] == [(1, False), (1, True), (1, False)]


@pytest.mark.parametrize(
    "change",
    [
        {"edit": -0.1},
        {"edit": 0, "text_to_image": 0, "keep": 0},
        {"keep_instructions": ()},
        {"conditioning": "zeros"},
        {"mask_weight": 0},
        {"guidance_loss": 0.5},
    ],
)
def test_what_cannot_be_trained_is_refused(change: dict[str, object]):
    with pytest.raises(ConfigError, match=next(iter(change))):
        FlowTraining(**change)  # type: ignore[arg-type]


def test_several_uses_of_an_example_have_numbers_and_times_of_their_own():
    batch = many(50)
    once = plan(batch, FlowTraining(), 0)
    four = plan(batch, FlowTraining(uses=4), 0)
    assert [use.number for use in once] == list(batch.numbers)
    assert [use.example for use in four] == [place for place in range(50) for _ in range(4)]
    assert len({use.number for use in four}) == len({use.time for use in four}) == 200
    assert len({use.kind for use in four if use.example == 7}) > 1


def test_no_use_at_all_is_refused():
    with pytest.raises(ConfigError, match="uses=0: a whole number from 1"):
        FlowTraining(uses=0)
