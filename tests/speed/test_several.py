"""Two processes compute what one does: every way of sharing, every mode, odd numbers of tokens, and each failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recast.config import kontext_dev, tiny
from recast.errors import ConfigError, RecastError
from recast.speed.blocks import Block, blocks_of
from recast.speed.engine import Engine, Part, Resident
from recast.speed.linear import mapped
from recast.speed.processes import Process, leave, meet
from recast.speed.several import Cut, Several, shared
from recast.speed.shares import shares
from tests.tiny import tiny_pipeline
from tests.train.processes import Meeting, small_flow, together, values

WAYS = {"sequence": Several(sequence=2), "tensor": Several(tensor=2)}
TIMES = [1.0, 0.4]
LOST_S = 4


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places(count: int, index: int) -> Tensor:
    each = torch.arange(count)
    return torch.stack([torch.full((count,), index), each // 4, each % 4], -1)[None].float()


def inputs(text: int = 7, context: int | None = 5) -> dict[str, Any]:
    found = {"positions": places(15, 0), "text": numbers(1, text, 24, seed=1), "pooled": numbers(1, 24, seed=2)}
    if context is not None:
        found |= {"context": numbers(1, context, 64, seed=3), "context_positions": places(context, 1)}
    return found


class Elsewhere:
    """Blocks that come one at a time, copied, as streamed ones do."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def walk(self, first: int, last: int) -> Iterator[Block]:
        return (mapped(block, torch.clone) for block in self.blocks[first:last])


Made = Callable[[Any], Engine]


def engines(several: Several, here: Process) -> dict[str, tuple[Made, Made]]:
    """By name: how an engine is made alone, and with the others."""

    def streamed(flow: Any) -> Engine:
        if several.tensor == 1:
            return shared(Engine(flow, blocks=Elsewhere(blocks_of(flow))), several, here)
        return shared(Engine(flow), several, here, blocks=Elsewhere(shares(blocks_of(flow), here.rank, here.size)))

    return {
        "plain": (Engine, lambda flow: shared(Engine(flow), several, here)),
        "streamed": (Engine, streamed),
        "few rows": (Engine, lambda flow: shared(Engine(flow, mlp_rows=3), several, here)),
        "joined": (
            Engine,
            lambda flow: shared(Engine(flow, blocks=Resident(blocks_of(flow, joined=True))), several, here),
        ),
    }


@torch.inference_mode()
def walked(network: Any, batch: int, **given: Any) -> Tensor:
    """The velocities of a request and its unwanted twin, at two times."""
    wanted = network.condition(**given)
    unwanted = network.with_text(wanted, numbers(*given["text"].shape, seed=5), numbers(1, 24, seed=6))
    x, found = numbers(batch, 15, 64, seed=7), []
    for condition in (wanted, unwanted):
        velocity = network.along(condition, TIMES)
        found += [velocity(x + t, t) for t in TIMES]
    return torch.stack(found)


def velocities(here: Process) -> dict[str, tuple[float, Tensor]]:
    """By case: the largest difference to the core's network, and what came."""
    cases = [
        (mode, how, batch, text, context)
        for mode in ("full", "cached")
        for how in ("plain", "streamed", "few rows", "joined")
        for batch, text, context in ([(1, 7, 5), (2, 1, None)] if how == "plain" else [(2, 7, 5)])
    ]
    found = {}
    for name, several in WAYS.items():
        for mode, how, batch, text, context in cases:
            flow, given = small_flow(context_attention=mode), inputs(text, context)
            came = walked(engines(several, here)[how][1](flow), batch, **given)
            difference = float((came - walked(flow, batch, **given)).abs().max())
            found[f"{name} {mode} {how} {batch} {text} {context}"] = difference, came
    return found


def parts(here: Process) -> dict[str, float]:
    """By way: the difference where some tokens alone are computed, with keys and values kept from before."""
    found = {}
    for mode in ("full", "cached"):
        flow, x = small_flow(context_attention=mode), numbers(2, 15, 64, seed=7)
        asked, left = torch.arange(0, 15, 2), torch.arange(1, 15, 2)
        rest = torch.cat([left, torch.arange(15, 20)]) if mode == "full" else left

        alone = in_parts(Engine(flow), x, asked, rest)
        for name, several in WAYS.items():
            ours = in_parts(shared(Engine(flow), several, here), x, asked, rest)
            found[f"{name} {mode}"] = float((ours - alone).abs().max())
    return found


@torch.inference_mode()
def in_parts(engine: Engine, x: Tensor, asked: Tensor, rest: Tensor) -> Tensor:
    """Velocities: of all tokens, `rest` kept; of those asked for, at another time; of all, block after block."""
    condition = engine.condition(**inputs())
    known = engine.modulations(condition, TIMES)
    whole, kept = engine.evaluate(x, known[1.0], condition, Part(keep=rest))
    some, _ = engine.evaluate(x, known[0.4], condition, Part(target=asked, context=False, others=kept))
    joint = engine.start(x, known[1.0], condition)
    for last in (1, 2, len(engine.blocks)):
        engine.run(joint, last)
        engine.settled(joint)
    return torch.cat([whole, some, engine.finish(joint)], dim=1)


def pictures(here: Process) -> dict[str, Any]:
    """A whole request; and what is said where one process has another request."""
    small = replace(tiny().flow, hidden_size=64, num_heads=4, depth=1, depth_single_blocks=2)
    pipeline = tiny_pipeline(flow=small)
    seed = here.agree(11 + here.rank)
    alone = pipeline.generate("a dog", seed=seed, width=48, height=80).pictures[0].rgb
    pipeline.network = shared(Engine(pipeline.flow), Several(sequence=2), here)
    ours = pipeline.generate("a dog", seed=seed, width=48, height=80).pictures[0].rgb
    said = []
    right: dict[str, Any] = {"prompt": "a dog", "seed": seed, "width": 48, "height": 80}
    more = here.rank
    wrongs = ({"seed": seed + more}, {"prompt": "a dog" + more * "!"}, {"steps": 3 + more}, {"width": 48 + 16 * more})
    for wrong in wrongs:
        try:
            pipeline.generate(**right | wrong)
        except ConfigError as error:
            said.append(str(error))
    difference = (torch.from_numpy(alone.copy()).int() - torch.from_numpy(ours.copy()).int()).abs().max()
    return {"seed": seed, "difference": int(difference), "said": said, "is_first": here.is_first}


def lost(meeting: Meeting, *, is_silent: bool) -> str:
    """What the first process says where the second does not answer, or is gone."""
    both_are_here(meeting, f"lost-{is_silent}")
    here = meet(rank=meeting.rank, size=2, meeting=f"file://{meeting.place}/lost-{is_silent}", timeout_s=LOST_S)
    both_are_here(meeting, f"met-{is_silent}")
    said = "nothing"
    if here.rank == 1:
        time.sleep(LOST_S + 1 if is_silent else 0)
    else:
        try:
            walked(shared(Engine(small_flow()), Several(sequence=2), here), 1, **inputs())
        except RecastError as error:
            said = str(error)
    leave(here)
    return said


def both_are_here(meeting: Meeting, name: str) -> None:
    """So that a short timeout is not spent on a process that is still busy, and none leaves before the other came."""
    (meeting.place / f"at-{name}-{meeting.rank}").touch()
    while not (meeting.place / f"at-{name}-{1 - meeting.rank}").exists():
        time.sleep(0.01)


def task(meeting: Meeting) -> dict[str, Any]:
    here = meet(rank=meeting.rank, size=meeting.size, meeting=f"file://{meeting.place}/meeting", timeout_s=60)
    found: dict[str, Any] = {"velocities": velocities(here), "parts": parts(here), "pictures": pictures(here)}
    leave(here)
    return found | {"lost": [lost(meeting, is_silent=is_silent) for is_silent in (False, True)]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    return values(together(2, tmp_path_factory.mktemp("two"), task))


def test_two_processes_compute_the_velocity_of_one(two):
    for name, (difference, _) in two[0]["velocities"].items():
        assert difference <= 1e-5, name


def test_both_have_the_same_bits(two):
    for name, (_, came) in two[0]["velocities"].items():
        assert torch.equal(came, two[1]["velocities"][name][1]), name


def test_parts_of_an_evaluation_and_kept_keys_are_shared_too(two):
    for name, difference in two[0]["parts"].items():
        assert difference <= 1e-5, name


def test_a_picture_by_two_is_that_of_one(two):
    for rank in (0, 1):
        found = two[rank]["pictures"]
        assert found["seed"] == 11, "the first process's"
        assert found["difference"] <= 1, "levels of 255"
        assert found["is_first"] == (rank == 0)


def test_processes_with_different_requests_are_told_so(two):
    for each in two:
        noise, prompt, steps, size = each["pictures"]["said"]
        assert noise.startswith("noise: that of process 1 is 1.")
        assert prompt.startswith("text: that of process 1 is ")
        assert steps.startswith("times: process 0 has [1.0, ")
        assert size.startswith("positions: process 0 has ((1, 15, 3), ")


def test_a_process_that_is_silent_or_gone_is_an_error_in_the_other(two):
    gone, silent = two[0]["lost"]
    assert "process 0 of 2: another process is gone, or was silent for 4 s" in silent
    assert "process 0 of 2: another process is gone" in gone


def test_layouts_that_cannot_be():
    with pytest.raises(ConfigError, match=r"sequence=2: must divide num_heads=3; 1, 3 accepted"):
        Several(sequence=2).check(tiny().flow)
    with pytest.raises(ConfigError, match=r"num_heads=24 and mlp_hidden=12288; 1, 2, 3, 4, 6, 8, 12, 24 accepted"):
        Several(tensor=5).check(kontext_dev().flow)
    with pytest.raises(ConfigError, match="one of them accepted"):
        Several(sequence=2, tensor=2)
    with pytest.raises(ConfigError, match="sequence=0: a number of processes"):
        Several(sequence=0)
    with pytest.raises(ConfigError, match="2 processes needed, and 1 met"):
        shared(Engine(small_flow()), Several(sequence=2), Process())
    elsewhere = Elsewhere(blocks_of(small_flow()))
    with pytest.raises(ConfigError, match="resident blocks can be cut, not Elsewhere"):
        shared(Engine(small_flow(), blocks=elsewhere), Several(tensor=2), Process(size=2))
    with pytest.raises(ConfigError, match="for tensor parallel alone"):
        shared(Engine(small_flow()), Several(sequence=2), Process(size=2), blocks=elsewhere)
    with pytest.raises(ConfigError, match=r"rank=2, size=2.*torchrun"):
        meet(rank=2, size=2)


def test_alone_nothing_is_shared():
    engine = Engine(small_flow())
    assert shared(engine, Several(), meet()) is engine


def test_shares_put_together_are_the_weights():
    """Of the rows of each stream's q, k and v, the first half of the heads is the first process's."""
    whole = blocks_of(small_flow())
    first, second = (shares(whole, rank, 2) for rank in (0, 1))
    for block, one, other in zip(whole[1:], first[1:], second[1:], strict=True):
        qkv, mlp_in = block.stream.qkv, block.stream.mlp_in
        halves = [each.stream.qkv.weight.chunk(3) for each in (one, other)]
        assert torch.equal(torch.cat([part for pair in zip(*halves, strict=True) for part in pair]), qkv.weight)
        assert torch.equal(torch.cat([one.stream.mlp_in.bias, other.stream.mlp_in.bias]), mlp_in.bias)
        assert one.stream.proj.bias is not None
        assert other.stream.proj.bias is None, "a sum has its bias once"
        assert one.stream.qkv.weight.untyped_storage().nbytes() == qkv.weight.nbytes // 2, "storage of its own"


def test_tokens_are_cut_as_evenly_as_they_can_be():
    cut = Cut.of(text=4, target=7, context=2, size=3)
    assert (cut.text, cut.target, cut.context) == ([2, 1, 1], [3, 2, 2], [1, 1, 0])
    #      process 0: t t x x x c | process 1: t x x c | process 2: t x x
    assert cut.places(image=False, device=torch.device("cpu")).tolist() == [2, 3, 4, 7, 8, 11, 12]
    assert cut.places(image=True, device=torch.device("cpu")).tolist()[7:] == [5, 9]


def test_a_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="local_rank=1: this machine has 1 GPUs"):
        meet(rank=1, size=2, local_rank=1, device="cuda", meeting=f"file://{Path('unused')}")
