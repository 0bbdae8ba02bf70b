"""Caps are read, held where a device can, refused before the work, and lowered once."""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from recast.config import kontext_dev
from recast.cost import Request
from recast.errors import ConfigError, OutOfMemory
from recast.speed.cap import admit, enforce, lowered, parse_cap, retrying
from recast.speed.memory import Memory, Numbers, fit, peak_bytes, smallest_bytes

EDIT = Request(width=1024, height=1024, contexts=((1024, 1024),), evaluations=28)
ALL = Memory(resident_blocks=57)
MODEL, NUMBERS = kontext_dev(), Numbers()


@pytest.mark.parametrize(
    ("text", "size"), [("24gb", 24 * 10**9), ("8 GB", 8 * 10**9), ("23.5gib", 25_232_932_864), ("512mb", 512 * 10**6)]
)
def test_a_cap_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_cap(text) == size


@pytest.mark.parametrize("text", ["24", "gb", "-8gb", "0gb", "8 tb", "1e3gb", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"vram='{text}': a number above 0 and a unit, gb, gib, mb, mib, accepted"):
        parse_cap(text)


def test_what_fits_is_admitted_and_what_does_not_says_which_recipe_would() -> None:
    admit(MODEL, EDIT, NUMBERS, ALL, peak_bytes(MODEL, EDIT, NUMBERS, ALL).total)
    with pytest.raises(OutOfMemory, match=r"needs 37\.10 GB \(decode\), and 24\.00 GB are there; this recipe") as error:
        admit(MODEL, EDIT, NUMBERS, ALL, 24e9)
    assert str(fit(MODEL, EDIT, NUMBERS, 24e9)) in str(error.value)


def test_where_no_recipe_fits_a_smaller_size_is_named_or_the_memory_it_takes() -> None:
    large = replace(EDIT, width=2048, height=2048)
    with pytest.raises(OutOfMemory, match=r"; (\d+)x\1 accepted, everything streamed; use a smaller size") as error:
        admit(MODEL, large, NUMBERS, ALL, 4.5e9)
    side = int(str(error.value).split("; ")[1].split("x")[0])
    assert 512 < side < 2048
    assert side % 16 == 0
    context = (1024 * side // 2048 // 16 * 16,) * 2
    assert smallest_bytes(MODEL, replace(EDIT, width=side, height=side, contexts=(context,)), NUMBERS) <= 4.5e9
    with pytest.raises(OutOfMemory, match=r"4\.11 GB accepted, everything streamed; use a device of more memory"):
        admit(MODEL, EDIT, NUMBERS, ALL, 0.5e9)


def test_lower_recipes_need_less_each_time_until_there_is_none() -> None:
    recipe, last = ALL, float("inf")
    for _ in range(40):
        peak = peak_bytes(MODEL, EDIT, NUMBERS, recipe).total
        assert peak < last
        found = lowered(MODEL, EDIT, NUMBERS, recipe)
        if found is None:
            break
        recipe, last = found, peak
    assert recipe.resident_blocks == 0


class Work:
    """Runs out of memory a number of times, holding a tensor while it does."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.runs = failures, error, 0
        self.held: weakref.ref | None = None

    def __call__(self) -> str:
        self.runs += 1
        if self.held is not None:
            assert self.held() is None, "what the failed run held is free before the next"
        held = torch.zeros(3)
        if self.runs <= self.failures:
            self.held = weakref.ref(held)
            raise self.error
        return "done"


@pytest.mark.parametrize(
    "error", [OutOfMemory("memory: ran out"), torch.OutOfMemoryError("CUDA out of memory"), MemoryError()]
)
def test_out_of_memory_is_tried_again_once_lower_and_reported(error: Exception) -> None:
    work, lowers = Work(1, error), []
    found, note = retrying(work, lambda: lowers.append(1) or "resident_blocks=10")
    assert (found, work.runs, lowers) == ("done", 2, [1])
    assert note is not None
    assert note.endswith("tried again with resident_blocks=10")
    assert (str(error) or "MemoryError") in note


def test_a_run_that_fits_is_not_lowered() -> None:
    assert retrying(lambda: 3, lambda: pytest.fail("lowered")) == (3, None)


def test_a_second_failure_or_no_lower_recipe_or_another_error_is_raised() -> None:
    work = Work(2, OutOfMemory("ran out"))
    with pytest.raises(OutOfMemory, match="ran out"):
        retrying(work, lambda: "less")
    assert work.runs == 2
    work = Work(1, OutOfMemory("ran out"))
    with pytest.raises(OutOfMemory, match="ran out"):
        retrying(work, lambda: None)
    assert work.runs == 1
    with pytest.raises(RuntimeError, match="shape"):
        retrying(Work(1, RuntimeError("shape")), lambda: pytest.fail("lowered"))


def test_a_cpu_says_that_nothing_enforces_the_cap() -> None:
    assert enforce(8e9, torch.device("cpu")) == "cap of 8.00 GB: not enforced, since cpu has no limit a process can set"


def test_on_cuda_the_allocator_gets_the_cap_less_the_driver_s(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    card = SimpleNamespace(total_memory=25_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: given.append(share))
    assert "enforced by the allocator" in enforce(8e9, torch.device("cuda", 0))
    assert given == [7.5e9 / 25e9]
    for cap in (0.4e9, 26e9):
        with pytest.raises(ConfigError, match=r"cuda:0 has 25\.00 GB"):
            enforce(cap, torch.device("cuda", 0))
