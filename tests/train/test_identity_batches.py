from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from recast.errors import ConfigError
from recast.train.identity_batches import (
    ECHOES,
    FAMILY,
    HIDDEN,
    NAMES,
    VIEWS,
    IdentityBatches,
    classes,
    degraded,
    family,
    shaken,
    to_targets,
    view,
)
from recast.world import heldout
from recast.world.dice import Dice
from recast.world.faces import FaceBox
from recast.world.scene import IDENTITY


@pytest.fixture(scope="module")
def batches():
    return IdentityBatches(families=1, searched=2, seed=3)


def test_a_batch_is_a_function_of_its_number_alone(batches):
    first, _, third = (batch for _, batch in zip(range(3), iter(batches), strict=False))
    again = IdentityBatches(families=1, searched=2, seed=3)
    again.load_state({**again.state(), "next": 2})
    torch.testing.assert_close(next(iter(again)).crops, third.crops, rtol=0, atol=0)
    torch.testing.assert_close(IdentityBatches(families=1, searched=2, seed=3).batch(0).crops, first.crops)
    assert not torch.equal(first.crops, third.crops)  # drawn once, lit and cut anew
    assert torch.equal(first.classes, third.classes) == (ECHOES > 2)


def test_each_person_of_a_batch_is_seen_several_times(batches):
    batch = batches.batch(0)
    assert batch.crops.shape == (FAMILY * VIEWS, 3, 64, 64)
    assert batch.who.tolist() == [n for n in range(FAMILY) for _ in range(VIEWS)]
    for first, second in zip(batch.classes[::VIEWS], batch.classes[1::VIEWS], strict=True):
        both = (first != HIDDEN) & (second != HIDDEN)
        assert torch.equal(first[both], second[both])
    assert torch.equal(batch.shape[::VIEWS], batch.shape[1::VIEWS])


def test_a_family_differs_in_one_attribute_of_identity_each():
    for n in range(20):
        first, *others = family(Dice(0, n))
        for other in others:
            differing = [each.name for each in fields(first) if getattr(first, each.name) != getattr(other, each.name)]
            assert len(differing) == 1
            assert differing[0] in IDENTITY


@pytest.mark.parametrize("held_out", [False, True])
def test_people_who_are_judged_by_are_never_trained_on(held_out):
    people = [each for n in range(30) for each in family(Dice(1, n), held_out)]
    assert all(heldout.is_held_out_face(each.face) == held_out for each in people)


def test_a_view_shows_the_person_it_was_asked_for():
    who = family(Dice(2))[0]
    seen = view(who, Dice(5), width=96, height=96)
    there = seen.scene.characters[seen.index]
    assert all(getattr(there, name) == getattr(who, name) for name in IDENTITY)
    assert heldout.reasons(seen.scene) == ()
    hatted = replace(seen.scene, characters=(replace(there, hat="beanie", hair="bun", beard=False),), look="none")
    said = classes(replace(seen, scene=hatted, index=0))
    assert [name for name, each in zip(NAMES, said, strict=True) if each == HIDDEN] == ["hair", "hair_colour"]


def test_degrading_keeps_the_faces_where_they_are_seen():
    """A picture that became part of another one: its face is where the target says, in nearly its own colours."""
    who = family(Dice(4))[0]
    seen = view(who, Dice(5), width=128, height=128)
    moved = next(
        made for n in range(50) if (made := degraded(seen, Dice(6, n))).faces[seen.index] != seen.faces[seen.index]
    )
    before, after = (each.faces[seen.index][0] for each in (seen, moved))
    assert after.height < before.height
    assert after.width / after.height == pytest.approx(before.width / before.height, rel=0.05)
    patches = [_middle(each.rgb, box) for each, box in ((seen, before), (moved, after))]
    assert np.abs(patches[0] - patches[1]).max() < 60


def test_targets_are_the_faces_in_pixels_of_the_grid():
    seen = view(family(Dice(4))[0], Dice(5), width=96, height=96)
    pixels, faces = to_targets(seen)
    box = seen.faces[seen.index][0]
    assert pixels.shape[0] == 192
    torch.testing.assert_close(
        faces[seen.index, :4], torch.tensor([*box.center, box.width, box.height]) * 192, rtol=1e-4, atol=0.01
    )


def test_boxes_are_shaken_as_little_as_said():
    box = FaceBox(0.4, 0.4, 0.6, 0.7)
    shaken_ones = [shaken(box, Dice(n)) for n in range(200)]
    scales = [each.height / box.height for each in shaken_ones]
    aside = [abs(each.center[0] - box.center[0]) / box.height for each in shaken_ones]
    assert 0.92 <= min(scales) < 0.93 < 1.07 < max(scales) <= 1.08
    assert 0.035 < max(aside) <= 0.04


def test_a_stream_of_other_settings_is_not_continued(batches):
    with pytest.raises(ConfigError, match="of another stream"):
        batches.load_state({**batches.state(), "seed": 4})
    with pytest.raises(ConfigError, match="searched=99"):
        IdentityBatches(families=1, searched=99)


def _middle(rgb, box):
    """The mean colour of the middle of a face."""
    height, width = rgb.shape[:2]
    x, y = box.center[0] * width, box.center[1] * height
    across, down = max(2, 0.3 * box.width * width), max(2, 0.3 * box.height * height)
    return rgb[round(y - down) : round(y + down), round(x - across) : round(x + across)].mean((0, 1))
