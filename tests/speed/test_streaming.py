"""Blocks that pass through the device give what resident ones give, and no slot is written while it is read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.speed import streaming
from recast.speed.blocks import Double, Single, blocks_of, modulators_of
from recast.speed.engine import Engine, Resident
from recast.speed.lanes import AtOnce
from recast.speed.linear import tensors
from recast.speed.packing import layout_of
from recast.speed.streaming import Group, Ring, Streamed, stem_on
from tests.flow.test_transformer import inputs
from tests.tiny import tiny_flow

CPU = torch.device("cpu")
CHOICES = [
    {},
    {"resident": 1},
    {"resident": 4},
    {"resident": 9},
    {"slots": 2},
    {"slots": 7},
    {"host": "mapped"},
    {"host": "mapped", "resident": 2, "slots": 2},
    {"lasting": False},
]


def velocities(engine: Engine, *times: float) -> list[Tensor]:
    x, _, given = inputs()
    velocity = engine.along(engine.condition(**given), list(times))
    return [velocity(x, t) for t in times]


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_velocities_are_those_of_resident_blocks_to_the_bit(choice: dict, joined: bool) -> None:
    flow = tiny_flow()
    blocks = blocks_of(flow, joined=joined)
    wanted = velocities(Engine(flow, blocks=Resident(blocks)), 1.0, 0.6, 0.2)
    found = velocities(Engine(flow, blocks=Streamed(iter(blocks), CPU, **choice)), 1.0, 0.6, 0.2)
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


def test_weights_left_on_the_device_are_the_very_ones() -> None:
    blocks = blocks_of(tiny_flow())
    streamed = Streamed(blocks, CPU, resident=2)
    for one, other in zip(streamed.walk(0, 2), blocks, strict=False):
        assert [t.data_ptr() for t in tensors(one)] == [t.data_ptr() for t in tensors(other)]


def test_a_network_of_stem_and_head_alone_serves_an_engine_whose_weights_all_pass() -> None:
    flow = tiny_flow()
    wanted = velocities(Engine(flow), 0.6)
    blocks = Streamed(blocks_of(flow), CPU)
    modulators = Streamed(modulators_of(flow), CPU, lasting=False)
    stem_on(flow, CPU)
    assert {parameter.device.type for parameter in flow.double_blocks.parameters()} == {"meta"}
    found = velocities(Engine(flow, blocks=blocks, modulators=modulators), 0.6)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert modulators._ring is not None
    assert modulators._ring._slots == []  # of weights that are needed once a request, nothing stays


def test_an_eight_bit_layer_passes_with_its_scales() -> None:
    @dataclass(frozen=True)
    class Layer:
        weight: Tensor
        scale: Tensor
        name: str = "kept"

    layers = [Layer(torch.randn(4, 6).to(torch.float8_e4m3fn).t(), torch.rand(6, 1)) for _ in range(5)]
    for one, other in zip(layers, Streamed(layers, CPU), strict=True):
        assert torch.equal(one.weight.float(), other.weight.float())
        assert torch.equal(one.scale, other.scale)
        assert other.weight.stride() == one.weight.stride()
        assert other.name == "kept"


# Partial walks, and walks that end early.


def numbered(count: int = 5) -> Streamed:
    @dataclass(frozen=True)
    class One:
        value: Tensor

    return Streamed([One(torch.full((3,), float(i))) for i in range(count)], CPU, resident=1)


def seen(streamed: Streamed, first: int, last: int) -> list[float]:
    return [one.value[0].item() for one in streamed.walk(first, last)]


def test_any_walk_gives_its_blocks_whatever_was_walked_before() -> None:
    streamed, chance = numbered(), random.Random(0)
    for _ in range(60):
        first, last = sorted(chance.choices(range(6), k=2))
        assert seen(streamed, first, last) == list(range(first, last)), (first, last)


def test_a_walk_that_is_left_half_way_leaves_a_good_ring() -> None:
    streamed = numbered()
    closed = streamed.walk(0, 5)
    for _ in range(3):
        next(closed)
    closed.close()
    assert seen(streamed, 0, 5) == [0, 1, 2, 3, 4]
    with pytest.raises(StopIteration) as kept:  # its frame holds a walk that nobody closes
        stopped(streamed.walk(0, 5))
    assert seen(streamed, 2, 4) == [2, 3]
    assert kept.traceback


def stopped(walk: Iterator) -> None:
    for one in walk:
        if one.value[0] == 3:
            raise StopIteration


def test_a_walk_that_another_has_replaced_cannot_go_on() -> None:
    """Its weights may be gone: better an error than the wrong block."""
    streamed = numbered()
    old = streamed.walk(1, 5)
    next(old)
    assert seen(streamed, 1, 3) == [1, 2]
    with pytest.raises(RuntimeError, match="another one has begun"):
        next(old)


def test_changed_host_weights_are_used_once_they_are_announced() -> None:
    streamed = numbered(4)
    assert seen(streamed, 0, 4) == [0, 1, 2, 3]
    for one in streamed.on_host():
        one.value.add_(10)
    streamed.forget()
    assert seen(streamed, 0, 4) == [0, 11, 12, 13]


def test_a_ring_that_holds_everything_copies_it_once() -> None:
    lane = Counting(CPU)
    ring = Ring(groups_of(3, lane), lane, slots=5)
    for _ in range(4):
        assert [found[0][0].item() for found in ring.walk(0, 3)] == [0, 1, 2]
    assert lane.copies == 3


def test_a_walk_copies_each_block_once_and_the_next_begins_with_what_it_brought() -> None:
    lane = Counting(CPU)
    ring = Ring(groups_of(7, lane), lane, slots=3)
    list(ring.walk(0, 7))
    assert lane.copies == 7 + 2  # the first two of the next walk
    list(ring.walk(0, 7))
    assert lane.copies == 2 * 7 + 2


class Counting(AtOnce):
    copies = 0

    def copy(self, into: Tensor, run: Tensor, after: object) -> None:
        self.copies += 1
        super().copy(into, run, after)


def groups_of(count: int, lane: AtOnce) -> list[Group]:
    groups = []
    for index in range(count):
        found = [torch.full((2,), float(index))]
        layout = layout_of(found)
        run = lane.hold(layout.size)
        streaming.fill(run, found, layout)
        groups.append(Group(layout, found, run))
    return groups


# Order of events, on a device that does what it is told as late and in as odd an order as it may.


@dataclass
class Event:
    done: bool = False


@dataclass
class Late(AtOnce):
    """Two queues, each in its own order, that meet at events alone; `chance` says which moves."""

    chance: random.Random
    device: torch.device = CPU
    computing: list[Callable[[], bool]] = field(default_factory=list)
    copying: list[Callable[[], bool]] = field(default_factory=list)

    def copy(self, into: Tensor, run: Tensor, after: Event) -> Event:
        event = Event()
        self.copying += [lambda: after.done, self._does(lambda: into.copy_(run)), self._happens(event)]
        self.move()
        return event

    def mark(self) -> Event:
        event = Event()
        self.computing.append(self._happens(event))
        return event

    def wait(self, event: Event) -> None:
        self.computing.append(lambda: event.done)

    def finish(self, event: Event) -> None:
        while not event.done:
            self.move()

    def compute(self, work: Callable[[], object]) -> None:
        self.computing.append(self._does(work))
        self.move()

    def move(self) -> None:
        """A few things happen, or none."""
        for _ in range(self.chance.randrange(4)):
            queue = self.chance.choice([self.computing, self.copying])
            if queue and queue[0]():
                queue.pop(0)

    def drain(self) -> None:
        for _ in range(100_000):
            if not self.computing and not self.copying:
                return
            self.move()
        raise AssertionError("the queues wait for each other")

    @staticmethod
    def _does(work: Callable[[], object]) -> Callable[[], bool]:
        def now() -> bool:
            work()
            return True

        return now

    def _happens(self, event: Event) -> Callable[[], bool]:
        return self._does(lambda: setattr(event, "done", True))


@pytest.mark.parametrize("seed", range(12))
def test_no_slot_is_written_while_it_is_read_nor_read_before_it_is_written(seed: int) -> None:
    chance = random.Random(seed)
    lane = Late(chance)
    ring = Ring(groups_of(6, lane), lane, slots=chance.choice([2, 3, 4]), lasting=chance.random() < 0.8)
    told: list[int] = []
    read: list[float] = []
    for _ in range(12):
        first, last = (0, 6) if chance.random() < 0.5 else sorted(chance.choices(range(7), k=2))
        stop = last if chance.random() < 0.7 else chance.randrange(first, last + 1)
        walk = ring.walk(first, last) if first < last else iter(())
        for index, found in enumerate(walk, start=first):
            if index == stop:
                break
            told.append(index)
            lane.compute(lambda found=found: read.append(found[0][1].item()))
    lane.drain()
    assert read == told


def test_a_new_walk_waits_for_what_one_left_behind_still_reads() -> None:
    lane = Late(random.Random(0))
    ring = Ring(groups_of(6, lane), lane, slots=2)
    left = ring.walk(0, 6)
    first = next(left)[0]
    lane.drain()
    read: list[float] = []
    lane.computing.append(lane._does(lambda: read.append(first[0].item())))  # told, and not done
    again = ring.walk(3, 6)
    while lane.copying and lane.copying[0]():  # copies hurry ahead
        lane.copying.pop(0)
    lane.drain()
    assert read == [0]
    assert left is not again


def test_an_error_while_reading_reaches_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = Streamed(blocks_of(tiny_flow()), CPU, host="mapped")

    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(streaming, "fill", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        list(streamed.walk(0, 5))


def test_sizes_are_those_of_the_blocks() -> None:
    blocks = blocks_of(tiny_flow())
    size = {
        kind: layout_of(list(tensors(next(b for b in blocks if isinstance(b, kind))))).size for kind in (Double, Single)
    }
    assert size[Double] > 1.9 * size[Single]
    assert Streamed(blocks, CPU, slots=2).slot_bytes == 2 * size[Double]
    assert Streamed(blocks, CPU, resident=2).slot_bytes == 3 * size[Single]  # no slot is larger than what passes
    assert Streamed(blocks, CPU, resident=3).passing_bytes == 2 * size[Single]
    assert Streamed(blocks, CPU, resident=5).slot_bytes == 0


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"resident": -1}, "resident=-1"),
        ({"slots": 1}, "slots=1"),
        ({"slots": 2.5}, "slots=2.5"),
        ({"host": "disk"}, "host="),
    ],
)
def test_a_count_that_cannot_work_is_named(choice: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Streamed(blocks_of(tiny_flow()), CPU, **choice)
