"""Weights that stay on the host and pass through the device: a network larger than the memory it runs in.

Every block is one run of bytes on the host and is brought over by one copy, into one of a few slots on the device,
while the blocks before it are computed. Copies have a stream of their own; two events a slot keep the order: `ready`
(its copy is done, so it may be read) and `free` (what read it is done, so it may be written). The blocks come in the
same order at every step, so the end of one step brings the beginning of the next.

A step costs max(computing, copying) and a little: with b bytes a weight, P weights and a bus of B bytes/s, copying
takes b P / B seconds, and is hidden where the computing takes longer. Exact: the same bytes are multiplied.
`resident` blocks stay on the device, so that memory buys time in steps of one block.

Streams are not captured by a CUDA graph: a plan that streams runs without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.speed.lanes import Lane, lane_of
from recast.speed.linear import mapped, tensors
from recast.speed.packing import Layout, fill, layout_of, views

Part = TypeVar("Part")
Host = Literal["held", "mapped"]


class Streamed(Generic[Part]):
    """Blocks (`recast.speed.engine.Blocks`), or any dataclasses of tensors, that pass through the device.

    Iterating gives all of them once: modulations are streamed so. A walk that is begun ends the one before it.
    """

    def __init__(
        self,
        blocks: Iterable[Part],
        device: torch.device | str,
        *,
        resident: int = 0,
        slots: int = 3,
        host: Host = "held",
        lasting: bool = True,
        lane: Lane | None = None,
    ) -> None:
        """blocks: read one after another, and not kept; each may be freed once the next is asked for.

        resident: how many of the first stay on the device. slots: room for how many of the others, each as large as
        the largest. host: "held", all others copied to memory of their own, page-locked for CUDA; "mapped", left
        where they are, as tensors that are a file's pages, and staged through a few page-locked buffers by a thread.
        lasting: False frees the slots after every walk. lane: how copies are made; that of the device if None.
        Raises ConfigError for a count that cannot work, OutOfMemory if the host cannot lock that much.
        """
        for name, value, least in (("resident", resident, 0), ("slots", slots, 2)):
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name}={value!r}: a whole number from {least} accepted; pass one")
        if host not in ("held", "mapped"):
            raise ConfigError(f'host={host!r}: "held" or "mapped" accepted; pass one')
        self.lane = lane_of(torch.device(device)) if lane is None else lane
        self._resident: list[Part] = []
        self._waiting: list[Part] = []  # on the host; also what a block is made of when it comes to the device
        groups: list[Group] = []
        for block in blocks:
            found = list(tensors(block))
            layout = layout_of(found)
            if len(self._resident) < resident:
                self._resident.append(_filled(block, self._moved(found, layout)))
                continue
            if host == "held":
                run = self.lane.hold(layout.size)
                fill(run, found, layout)
                found = views(run, layout)
                groups.append(Group(layout, found, run))
            else:
                groups.append(Group(layout, found))
            self._waiting.append(_filled(block, found))
        self._ring = Ring(groups, self.lane, slots=slots, lasting=lasting) if groups else None

    def __len__(self) -> int:
        return len(self._resident) + len(self._waiting)

    def __iter__(self) -> Iterator[Part]:
        return self.walk(0, len(self))

    def walk(self, first: int, last: int) -> Iterator[Part]:
        """Blocks first to last in order; each is good until the next is asked for."""
        stay = len(self._resident)
        coming = None
        if self._ring is not None and last > max(first, stay):
            coming = self._ring.walk(max(first - stay, 0), last - stay)  # its first copies begin here
        yield from self._resident[first:last]
        if coming is not None:
            for index, found in enumerate(coming, start=max(first - stay, 0)):
                yield _filled(self._waiting[index], found)

    def on_host(self) -> list[Part]:
        """The blocks that pass, as they lie on the host. Whoever changes them calls `forget`."""
        return list(self._waiting)

    def forget(self) -> None:
        """Bring every block anew: what lies on the host has changed."""
        if self._ring is not None:
            self._ring.forget()

    @property
    def slot_bytes(self) -> int:
        """What the slots fill on the device."""
        return 0 if self._ring is None else self._ring.slot_bytes

    @property
    def passing_bytes(self) -> int:
        """What a whole walk copies, where no slot holds anything already."""
        return 0 if self._ring is None else sum(group.layout.size for group in self._ring.groups)

    def _moved(self, found: list[Tensor], layout: Layout) -> list[Tensor]:
        if all(one.device == self.lane.device for one in found):
            return found
        run = self.lane.empty(layout.size)
        fill(run, found, layout)
        return views(run, layout)


@dataclass(frozen=True)
class Group:
    """The tensors that are copied together. run: their bytes in one, where the host holds them so."""

    layout: Layout
    tensors: Sequence[Tensor]
    run: Tensor | None = None


class Slot:
    """Room on the device for one group."""

    def __init__(self, run: Tensor, free: Any) -> None:
        self.run, self.free = run, free
        self.index: int | None = None  # the group in it, or on its way
        self.ready: Callable[[], Any] | None = None  # the event of its copy, once that has been issued
        self._views: dict[Layout, list[Tensor]] = {}

    def views(self, layout: Layout) -> list[Tensor]:
        if layout not in self._views:
            with torch.inference_mode(False):
                self._views[layout] = views(self.run, layout)
        return self._views[layout]


class Ring:
    """Groups of tensors that come to a few slots in turn, ahead of being asked for."""

    def __init__(self, groups: Sequence[Group], lane: Lane, *, slots: int = 3, lasting: bool = True) -> None:
        self.groups, self.lane, self.lasting = groups, lane, lasting
        self.num_slots = min(slots, len(groups))
        self.slot_bytes = self.num_slots * max(group.layout.size for group in groups)
        self._slots: list[Slot] = []  # the one freed longest ago first
        self._used: Slot | None = None
        self._turn = 0
        self._host: Sender = Held(lane) if all(group.run is not None for group in groups) else Staged(groups, lane)

    def walk(self, first: int, last: int) -> Iterator[list[Tensor]]:
        """The tensors of groups first to last, on the device; the first copies begin at once."""
        self._turn += 1
        self._release()  # what a walk that was left behind still uses
        self._bring(first)
        return self._steps(self._turn, first, last)

    def forget(self) -> None:
        """Empty every slot; a walk under way cannot go on."""
        self._turn += 1
        self._release()
        for slot in self._slots:
            self._settle(slot)
            slot.index = slot.ready = None

    def _steps(self, turn: int, first: int, last: int) -> Iterator[list[Tensor]]:
        try:
            for index in range(first, last):
                self._check(turn)
                self._release()
                self._bring(index)
                slot = next(slot for slot in self._slots if slot.index == index)
                self._settle(slot)
                self._used = slot
                yield slot.views(self.groups[index].layout)
            self._check(turn)
        finally:
            if turn == self._turn:
                self._release()
                if not self.lasting:
                    self._drop()

    def _check(self, turn: int) -> None:
        if turn != self._turn:
            raise RuntimeError("walk: another one has begun since, and these weights are gone; one at a time")

    def _bring(self, index: int) -> None:
        """Begin the copies of `index` and of those after it that are not in a slot, nor on their way."""
        if not self._slots:
            self._slots = [self._made() for _ in range(self.num_slots)]
        wanted: Sequence[int] = range(index, min(index + self.num_slots, len(self.groups)))
        if self.lasting:  # the first follow the last, at the next step
            wanted = [(index + ahead) % len(self.groups) for ahead in range(self.num_slots)]
        present = {slot.index for slot in self._slots}
        for one in wanted:
            if one not in present:
                slot = next(slot for slot in self._slots if slot.index not in wanted)
                slot.index = one
                slot.ready = self._host.send(one, self.groups[one], slot)

    def _release(self) -> None:
        """The slot in use may be written once what computation has been told so far is done."""
        if self._used is not None:
            self._used.free = self.lane.mark()
            self._slots.remove(self._used)
            self._slots.append(self._used)
            self._used = None

    def _settle(self, slot: Slot) -> None:
        if slot.ready is not None:
            self.lane.wait(slot.ready())
            slot.ready = None

    def _made(self) -> Slot:
        return Slot(self.lane.empty(self.slot_bytes // self.num_slots), self.lane.mark())

    def _drop(self) -> None:
        for slot in self._slots:  # memory goes back to the stream of the computation, which waits for every copy
            self._settle(slot)
        self._slots = []


class Sender(Protocol):
    """How the bytes of a group leave the host."""

    def send(self, index: int, group: Group, slot: Slot) -> Callable[[], Any]:
        """Begin; what comes back gives the event after which the slot may be read, and waits for it to exist."""
        ...


class Held:
    """From a run of their own, by one copy."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def send(self, index: int, group: Group, slot: Slot) -> Callable[[], Any]:
        assert group.run is not None
        event = self.lane.copy(slot.run[: group.layout.size], group.run, slot.free)
        return lambda: event


class Staged:
    """From wherever they lie, by a thread that reads them into one of `count` buffers, and one copy from there."""

    def __init__(self, groups: Sequence[Group], lane: Lane, count: int = 2) -> None:
        size = max(group.layout.size for group in groups)
        self.lane, self._buffers = lane, [lane.hold(size) for _ in range(count)]
        self._sent: list[Any] = [None] * count  # the copy out of each buffer
        self._next = 0
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recast-weights")

    def send(self, index: int, group: Group, slot: Slot) -> Callable[[], Any]:
        return self._reader.submit(self._stage, group, slot.run[: group.layout.size], slot.free).result

    def _stage(self, group: Group, into: Tensor, free: Any) -> Any:
        turn, self._next = self._next, (self._next + 1) % len(self._buffers)
        if self._sent[turn] is not None:
            self.lane.finish(self._sent[turn])
        run = self._buffers[turn][: group.layout.size]
        fill(run, group.tensors, group.layout)
        self._sent[turn] = self.lane.copy(into, run, free)
        return self._sent[turn]


def stem_on(flow: FlowTransformer, device: torch.device | str) -> None:
    """Leave a network its stem and head alone, on `device`: its blocks and modulations have moved elsewhere.

    What an `Engine` with blocks and modulators of its own needs of the network. The network cannot be evaluated any
    more: its blocks are on the meta device, and their memory is free unless others hold it.
    """
    for name, module in flow.named_modules():
        if name.startswith(("double_blocks.", "single_blocks.", "final_layer.adaLN_modulation.")):
            for leaf, parameter in list(module.named_parameters(recurse=False)):
                nothing = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
                setattr(module, leaf, nn.Parameter(nothing, requires_grad=False))
    for name, module in flow.named_children():
        if name not in ("double_blocks", "single_blocks", "final_layer"):
            module.to(device)
    flow.final_layer.linear.to(device)


def _filled(part: Part, found: Sequence[Tensor]) -> Part:
    """The same dataclass with other tensors, in the order of `tensors`."""
    coming = iter(found)
    return mapped(part, lambda _: next(coming))
