import json
import os
import signal
from dataclasses import dataclass, replace

import pytest
import torch

from recast.errors import ConfigError, InputError, TrainingError
from recast.train.data.buckets import Batching
from recast.train.data.loader import Loader, collated
from recast.train.data.mixture import Mixture
from recast.train.data.world import WorldSource
from recast.train.parallel import ALONE, Ranks
from recast.train.uses import FlowTraining, fixed
from tests.train.data.sets import Memory, memory, picture

SIZES = ((32, 32), (64, 32))


def two() -> Mixture:
    return Mixture([(memory(30, SIZES, name="a"), 2), (memory(20, SIZES, name="b"), 1)], seed=3)


def loader(**more) -> Loader:
    return Loader(
        **{"source": two(), "batching": Batching(batch_size=4), "ranks": ALONE, "seed": 1, "workers": 0} | more
    )


def taken(batches: Loader, count: int) -> list:
    stream = iter(batches)
    return [next(stream) for _ in range(count)]


def plain(batch) -> tuple:
    """A batch as values that can be compared."""
    pictures = [each.numpy().tobytes() for each in (batch.target, *batch.contexts)]
    return batch.numbers, batch.ids, batch.instructions, batch.captions, batch.bases, batch.of, pictures


def test_a_batch_is_one_shape_of_bytes_and_says_what_it_holds():
    for batch in taken(loader(), 12):
        assert batch.target.dtype == torch.uint8
        assert batch.target.shape[:2] == (4, 3)
        assert all(each.shape == batch.target.shape for each in batch.contexts)
        assert len(batch.ids) == len(batch.instructions) == batch.of == 4
        source = two()
        for n, number in enumerate(batch.numbers):
            example = source.example(number)
            assert example.id == batch.ids[n]
            assert example.instruction == batch.instructions[n]
            assert (batch.target[n].permute(1, 2, 0).numpy() == example.target).all()


def test_masks_stay_where_other_examples_of_the_batch_have_none():
    examples = [memory(4).examples[n] for n in (0, 1, 3)]  # without masks, of one context
    mask = picture(1)[..., 0] > 99
    batch = collated([examples[0], replace(examples[1], mask=mask), examples[2]], (0, 1, 2), 3)
    assert batch.masks is not None
    assert (batch.masks[1, 0].numpy() == mask).all()
    assert [use.has_mask for use in fixed(batch, FlowTraining()) if use.kind == "edit"] == [False, True, False]
    assert collated(examples, (0, 1, 2), 3).masks is None


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_is_the_same_to_the_byte(workers):
    whole = [plain(each) for each in taken(loader(), 14)]
    first = loader(workers=workers)
    assert [plain(each) for each in taken(first, 5)] == whole[:5]
    state = json.loads(json.dumps(first.state()))
    first.close()
    again = loader(workers=workers)
    again.load_state(state)
    assert [plain(each) for each in taken(again, 9)] == whole[5:]
    assert again.state() != state
    again.close()


def test_any_number_of_processes_makes_the_same_batches():
    whole = taken(loader(), 8)
    parts = [taken(loader(ranks=Ranks(rank=r, size=2, data_rank=r, data_size=2)), 8) for r in range(2)]
    for n, batch in enumerate(whole):
        one, other = parts[0][n], parts[1][n]
        assert one.numbers + other.numbers == batch.numbers
        assert one.ids + other.ids == batch.ids
        assert one.of == other.of == 4
        assert torch.equal(torch.cat([one.target, other.target]), batch.target)
        for k, context in enumerate(batch.contexts):
            assert torch.equal(torch.cat([one.contexts[k], other.contexts[k]]), context)
    resumed = loader(ranks=Ranks(rank=1, size=2, data_rank=1, data_size=2))
    begun = loader()
    taken(begun, 3)
    resumed.load_state(begun.state())
    assert [each.numbers for each in taken(resumed, 5)] == [each.numbers for each in parts[1][3:]]


def test_the_state_of_another_stream_is_refused():
    state = loader().state()
    for other in ({"seed": 2, "source": memory(9)}, {"batching": Batching(batch_size=8)}, {"on_bad": "skip"}):
        with pytest.raises(ConfigError, match="stream"):
            loader(**other).load_state(state)
    with pytest.raises(ConfigError, match="multiple of 3"):
        loader(ranks=Ranks(rank=0, size=3, data_rank=0, data_size=3))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_stops_with_its_name_and_the_state_stays_good(workers):
    batches = loader(source=memory(8, bad=(5,)), batching=Batching(batch_size=1), workers=workers)
    seen: list[str] = []
    with pytest.raises(InputError, match=r"^memory\.tar:5\.png: broken") as caught:
        seen.extend(batch.ids[0] for batch in batches)
    assert type(caught.value) is InputError
    batches.close()
    mended = loader(source=memory(8), batching=Batching(batch_size=1))
    mended.load_state(batches.state())
    assert taken(mended, 1)[0].ids[0] == "memory-5"
    assert len(seen) < 8


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_is_skipped_counted_and_told(workers):
    told = []
    batches = loader(
        source=memory(12, bad=(5,)),
        on_bad="skip",
        workers=workers,
        event=lambda kind, **values: told.append((kind, values)),
    )
    made = taken(batches, 6)
    batches.close()
    assert all("memory-5" not in batch.ids for batch in made)
    assert all(len(batch.ids) == 4 for batch in made)
    assert batches.skipped == len(told) >= 1
    kind, values = told[0]
    assert kind == "bad example"
    assert "memory.tar:5.png" in values["reason"]
    assert values["instead"] > values["number"]
    number = next(n for batch in made for n in batch.numbers if n == values["number"])
    assert batches.stream.index(number) == 5  # its number, and so its noise, stays its own


def test_what_stands_in_for_a_broken_example_is_the_same_on_any_number_of_processes():
    def broken() -> Memory:
        return memory(24, SIZES, bad=(3, 4, 9))

    whole = taken(loader(source=broken(), on_bad="skip"), 8)
    parts = [
        taken(loader(source=broken(), on_bad="skip", ranks=Ranks(rank=r, size=2, data_rank=r, data_size=2)), 8)
        for r in range(2)
    ]
    assert [one.ids + other.ids for one, other in zip(*parts, strict=True)] == [batch.ids for batch in whole]


def test_pictures_are_stretched_to_their_bucket_and_counted():
    told = []
    batches = loader(
        source=memory(6, ((64, 48),)),
        batching=Batching(batch_size=2, sizes=((32, 32),)),
        event=lambda kind, **values: told.append((kind, values)),
    )
    batch = taken(batches, 1)[0]
    assert batch.target.shape == (2, 3, 32, 32)
    assert batches.resized == 2 * (1 + len(batch.contexts))
    batches.close()
    batches.close()
    assert told == [("resized", {"pictures": batches.resized})]
    assert "stretched" in json.dumps(batches.about())


@dataclass
class Deadly:
    """A source that ends the process that asks it."""

    parent: int
    length: int | None = 8

    def shape(self, index):
        return memory(1).shape(0)

    def example(self, index):
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return memory(1).example(0)

    def about(self):
        return {"kind": "deadly"}


def test_a_lost_worker_is_told_by_next_and_nowhere_else(monkeypatch):
    monkeypatch.setattr("torch.utils.data._utils.signal_handling._SIGCHLD_handler_set", False)
    handler = signal.getsignal(signal.SIGCHLD)
    batches = loader(source=Deadly(os.getpid()), workers=1)
    stream = iter(batches)
    with pytest.raises(TrainingError, match=r"process that makes examples was lost.*saved stays good"):
        next(stream)
    batches.close()
    assert signal.getsignal(signal.SIGCHLD) is handler  # torch's own raises wherever the process happens to be


def test_the_world_is_the_same_from_workers_and_from_here():
    def batches(workers):
        return Loader(
            WorldSource(seed=4, sizes={(64, 64): 1, (112, 64): 1}),
            batching=Batching(batch_size=2),
            ranks=ALONE,
            workers=workers,
        )

    with_workers = batches(2)
    assert [plain(each) for each in taken(with_workers, 3)] == [plain(each) for each in taken(batches(0), 3)]
    with_workers.close()
