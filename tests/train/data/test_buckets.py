import json

import pytest

from recast.errors import ConfigError, InputError
from recast.train.data.buckets import Batching, Planner
from recast.train.data.example import Shape
from recast.train.data.order import Shuffled
from tests.train.data.sets import memory

SIZES = ((32, 32), (64, 32), (32, 64))


def planned(planner, count):
    return [next(planner) for _ in range(count)]


def test_a_batch_has_one_shape_and_every_number_stands_in_one_batch():
    stream = Shuffled(memory(60, SIZES), seed=1)
    batches = planned(Planner(stream, Batching(batch_size=4)), 40)
    for key, numbers in batches:
        assert len(numbers) == 4
        assert {stream.shape(n) for n in numbers} == {key}
    every = [n for _, numbers in batches for n in numbers]
    assert len(set(every)) == len(every)


def test_what_comes_next_is_told_by_the_state_alone():
    stream = Shuffled(memory(60, SIZES), seed=1)
    planner = Planner(stream, Batching(batch_size=4))
    planned(planner, 7)
    state = json.loads(json.dumps(planner.state()))
    other = Planner(stream, Batching(batch_size=4))
    other.load_state(state)
    assert planned(other, 10) == planned(planner, 10)
    with pytest.raises(ConfigError, match="state"):
        other.load_state({"next": 3})


def test_token_budgets_give_small_pictures_larger_batches():
    batching = Batching(tokens=48, multiple=2)
    one, two = Shape((32, 32), ((32, 32),)), Shape((64, 32), ((64, 32), (64, 32)))
    assert (batching.visual_tokens(one), batching.capacity(one)) == (8, 6)
    assert (batching.visual_tokens(two), batching.capacity(two)) == (24, 2)
    with pytest.raises(ConfigError, match="do not fit"):
        Batching(tokens=23).capacity(two)


def test_pictures_go_to_the_nearest_aspect_and_a_pair_to_one_bucket():
    batching = Batching(batch_size=1, sizes=((256, 256), (512, 512), (448, 256)))
    assert batching.bucket((1920, 1080)) == (448, 256)
    assert batching.bucket((300, 300)) == (256, 256)
    assert batching.bucket((600, 600)) == (512, 512)
    key = batching.key(Shape((300, 300), ((301, 300), (1280, 720))))
    assert key == Shape((256, 256), ((256, 256), (448, 256)))
    # 1353:1000 and 1350:1000 lie on two sides of the middle between two buckets, but are one shape
    middle = (1 * 1.75) ** 0.5
    width = round(1000 * middle)
    for source in (width - 3, width + 3):
        made = batching.key(Shape((width, 1000), ((source, 1000),)))
        assert made.target == made.contexts[0]


def test_without_buckets_only_whole_tokens_are_accepted():
    with pytest.raises(InputError, match=r"whole tokens of .*data\.buckets="):
        Batching(batch_size=1).key(Shape((40, 32)))


@pytest.mark.parametrize(
    "wrong", [{}, {"batch_size": 2, "tokens": 9}, {"batch_size": 0}, {"batch_size": 1, "sizes": ((40, 32),)}]
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError):
        Batching(**wrong)
