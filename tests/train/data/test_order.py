import pickle
from itertools import pairwise

import pytest

from recast.errors import ConfigError, InputError
from recast.train.data.order import Permutation, Selected, Shuffled
from tests.train.data.sets import memory


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1000])
def test_a_permutation_hits_everything_once(count):
    assert sorted(Permutation(count, 3)[n] for n in range(count)) == list(range(count))


def test_a_permutation_is_mixed_and_its_key_matters():
    one, other = ([Permutation(1000, key)[n] for n in range(1000)] for key in (1, 2))
    assert one != other
    assert sum(abs(a - n) for n, a in enumerate(one)) / 1000 == pytest.approx(1000 / 3, rel=0.1)
    assert 0 <= Permutation(10**12, 5)[123456789] < 10**12


def test_every_epoch_has_every_example_once_in_another_order():
    stream = Shuffled(memory(10), seed=4)
    epochs = [[stream.index(10 * epoch + n) for n in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert pickle.loads(pickle.dumps(stream)).index(17) == stream.index(17)


def test_blocks_are_read_one_after_the_other():
    source = memory(9)
    source.blocks = [4, 3, 2]
    stream = Shuffled(source, seed=1)
    epoch = [stream.index(n) for n in range(9)]
    assert sorted(epoch) == list(range(9))
    blocks = [0 if n < 4 else 1 if n < 7 else 2 for n in epoch]
    assert sum(a != b for a, b in pairwise(blocks)) == 2


def test_only_what_was_kept_is_seen():
    chosen = Selected(memory(6), ["memory-4", "memory-1"])
    assert [chosen.id(n) for n in range(chosen.length)] == ["memory-1", "memory-4"]
    assert chosen.about() != Selected(memory(6), ["memory-4"]).about()
    with pytest.raises(InputError, match="1 of 2 ids"):
        Selected(memory(6), ["memory-1", "nobody"])
    with pytest.raises(ConfigError, match="without end"):
        Selected(Shuffled(memory(6)), ["memory-1"])


def test_an_id_of_two_examples_chooses_neither():
    source = memory(3)
    source.id = lambda index: ("one", "two", "one")[index]
    assert Selected(source, ["two"]).length == 1
    with pytest.raises(InputError, match="'one' is the id of examples 0 and 2"):
        Selected(source, ["one"])
