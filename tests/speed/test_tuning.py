"""The way of each product follows the clock, is timed once, and gives the usual product."""

import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recast.speed import accelerate, tuning
from recast.speed.arms import USUAL, Arm, arms_on
from recast.speed.linear import Plain
from recast.speed.plan import PLANS
from recast.speed.tuning import Product, Table, Tuned, Tuner, tune, where
from tests.tiny import tiny_pipeline

CPU, FP32 = torch.device("cpu"), torch.float32
PRODUCT = Product(6, 8, 4)
ARMS = arms_on(CPU)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's table; nothing is too small to be timed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "LEAST_FLOPS", {"cpu": 0})


class Clock:
    """Calls take as long as their arm is told to; an arm is known by its place among them."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.calls = seconds, 0

    def __call__(self, call: object, device: torch.device) -> float:
        self.calls += 1
        return self.seconds[(self.calls - 1) % len(self.seconds)]


def found(clock: Clock, table: Table | None = None) -> str | None:
    made = tune([PRODUCT], ARMS, device=CPU, dtype=FP32, table=table, seconds=clock)
    return made.arm(where(CPU, FP32), PRODUCT)


@pytest.mark.parametrize("fastest", range(len(ARMS)))
def test_the_choice_follows_the_clock(fastest: int) -> None:
    assert found(Clock(*(1.0 if i == fastest else 2.0 for i in range(len(ARMS))))) == ARMS[fastest].name


def test_the_usual_way_stays_unless_another_is_clearly_faster() -> None:
    """Three per cent by the median and by the best: less is noise."""
    others = [9.0] * (len(ARMS) - 2)
    assert found(Clock(1.0, 0.98, *others)) == USUAL.name
    assert found(Clock(1.0, 0.96, *others)) == ARMS[1].name
    rounds = [value for i in range(tuning.REPEATS) for value in ((0.5 if i == 0 else 1.0), 0.6, *others)]
    assert found(Clock(*rounds)) == USUAL.name, "its best call was the fastest of all"


def test_what_is_in_the_table_is_not_timed_again(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "products.json"
    table = tune([PRODUCT], ARMS, device=CPU, dtype=FP32, table=Table(path), seconds=Clock(2.0, 1.0, 3.0))
    table.save()
    clock = Clock(1.0, 2.0, 3.0)
    assert found(clock, Table.read(path)) == ARMS[1].name
    assert clock.calls == 0
    assert sorted(file.name for file in path.parent.iterdir()) == ["products.json", "products.json.lock"]


def test_another_shape_use_format_or_version_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tune([PRODUCT], ARMS, device=CPU, dtype=FP32, seconds=Clock(1.0))
    for product in (*(PRODUCT._replace(**{name: 12}) for name in "mnk"), PRODUCT._replace(use="add")):
        assert table.arm(where(CPU, FP32), product) is None
    assert table.arm(where(CPU, torch.bfloat16), PRODUCT) is None
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert table.arm(where(CPU, FP32), PRODUCT) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"version": 0, "devices": {}}',
        '{"version": 1, "devices": {"x": {"1 1 1 new": {}}}}',
        '{"version": 1, "devices": {"x": {"1 1 1 new": {"arm": "x", "seconds": {"x": 1}}}}}',
        '{"version": 1, "devices": {"x": {"1 1 1 new": {"arm": [], "seconds": {"as it lies": 1}}}}}',
        "\udcff",
    ],
)
def test_a_damaged_table_is_measured_anew_with_a_warning(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "products.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with caplog.at_level(logging.WARNING):
        table = Table.read(path)
    assert "timed anew" in caplog.text
    assert found(Clock(2.0, 1.0, 3.0), table) == ARMS[1].name
    table.save()
    assert Table.read(path).arm(where(CPU, FP32), PRODUCT) == ARMS[1].name


def test_two_processes_keep_what_either_found(tmp_path: Path) -> None:
    path, other = tmp_path / "products.json", PRODUCT._replace(m=7)
    one, two = Table.read(path), Table.read(path)
    for table, product in ((one, PRODUCT), (two, other)):
        tune([product], ARMS, device=CPU, dtype=FP32, table=table, seconds=Clock(1.0)).save()
    assert set(Table.read(path).devices[where(CPU, FP32)]) == {"6 8 4 new", "7 8 4 new"}


def test_of_a_product_that_two_timed_the_first_in_the_file_stands(tmp_path: Path) -> None:
    """Both go on with it; an entry whose way is not to be had here is replaced."""
    path, here = tmp_path / "products.json", where(CPU, FP32)
    one, two = Table.read(path), Table.read(path)
    for table, clock in ((one, Clock(2.0, 1.0, 3.0)), (two, Clock(1.0, 2.0, 3.0))):
        tune([PRODUCT], ARMS, device=CPU, dtype=FP32, table=table, seconds=clock).save()
    assert [table.arm(here, PRODUCT) for table in (one, two, Table.read(path))] == [ARMS[1].name] * 3
    gone = Table(tmp_path / "gone.json")
    gone.add(here, PRODUCT, "gone", {USUAL.name: 2.0, "gone": 1.0})
    gone.save()
    tune([PRODUCT], ARMS, device=CPU, dtype=FP32, table=gone, seconds=Clock(1.0)).save()
    assert Table.read(tmp_path / "gone.json").arm(here, PRODUCT) == USUAL.name


def test_processes_that_save_at_once_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the second writes while the first is between reading and writing is not lost."""
    path, other = tmp_path / "products.json", PRODUCT._replace(m=7)
    one, two = (
        tune([product], ARMS, device=CPU, dtype=FP32, table=Table(path), seconds=Clock(1.0))
        for product in (PRODUCT, other)
    )
    second = threading.Thread(target=two.save)
    dumps, is_first = json.dumps, [True]

    def slowly(*given: Any, **more: Any) -> str:
        if is_first and is_first.pop():
            second.start()
            second.join(0.1)
        return dumps(*given, **more)

    monkeypatch.setattr(tuning.json, "dumps", slowly)
    one.save()
    second.join()
    assert set(Table.read(path).devices[where(CPU, FP32)]) == {"6 8 4 new", "7 8 4 new"}


@pytest.mark.parametrize("cache", ["file", "nowhere", "homeless"])
def test_a_table_that_cannot_be_written_ends_no_picture(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder's path under a file; in a file system without writing; a user without a home."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(
        "XDG_CACHE_HOME", {"file": str(tmp_path / "file"), "nowhere": "/proc/none", "homeless": ""}[cache]
    )
    monkeypatch.setattr(Path, "home", no_home)
    with caplog.at_level(logging.WARNING):
        tuner = Tuner(Table.read(tuning.place()), CPU, FP32, seconds=Clock(1.0))
        assert tuner.arm(PRODUCT) is USUAL
    assert ("no folder" if cache == "homeless" else "cannot be written") in caplog.text


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_without_memory_to_time_the_usual_way_is_taken_and_not_recorded() -> None:
    def full(call: object, device: torch.device) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    tuner = Tuner(Table(), CPU, FP32, seconds=full)
    assert tuner.arm(PRODUCT) is USUAL
    assert not tuner.table.devices


def test_an_arm_without_memory_is_no_arm_that_cannot_be_had() -> None:
    def full(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        tune([PRODUCT], [USUAL, replace(USUAL, name="full", product=full)], device=CPU, dtype=FP32, seconds=Clock(1.0))


def test_what_is_met_while_a_graph_is_recorded_is_timed_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(products: list[Product], arms: list[Arm], *, table: Table, **_: object) -> None:
        table.add("a GPU", products[0], arms[-1].name, {USUAL.name: 2.0, arms[-1].name: 1.0})

    monkeypatch.setattr(tuning, "LEAST_FLOPS", {"cuda": 0})
    monkeypatch.setattr(tuning, "where", lambda device, dtype: "a GPU")
    monkeypatch.setattr(tuning, "tune", timed)
    tuner = Tuner(Table(), torch.device("cuda"), torch.bfloat16)
    for is_recording, name in ((True, USUAL.name), (False, "in two halves"), (True, "in two halves")):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda is_recording=is_recording: is_recording)
        assert tuner.arm(PRODUCT).name == name


@pytest.mark.parametrize("kind", ["one per cent", "bf16"])
def test_an_arm_that_gives_another_product_is_left_out(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def wrong(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        made = USUAL.product(x, weight, bias)
        return made.bfloat16().float() if kind == "bf16" else made * 1.01

    arms = [USUAL, replace(USUAL, name="wrong", product=wrong)]
    table = tune([PRODUCT], arms, device=CPU, dtype=FP32, seconds=Clock(1.0))
    assert set(table.devices[where(CPU, FP32)]["6 8 4 new"]["seconds"]) == {USUAL.name}
    assert "left out" in caplog.text


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
@pytest.mark.parametrize("has_bias", [True, False])
def test_every_arm_gives_the_usual_product(arm: Arm, has_bias: bool) -> None:
    """New, written to a run of rows, and added; odd numbers of rows, outputs and samples."""
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(37, 24, generator=random), torch.randn(37, generator=random) if has_bias else None
    x, total = torch.randn(2, 5, 24, generator=random), torch.randn(2, 5, 37, generator=random)
    tuner = Tuner(Table(), CPU, FP32)
    for n in (37, 27):
        for use in ("new", "write", "add"):
            tuner.table.add(where(CPU, FP32), Product(128, n, 24, use), arm.name, {arm.name: 1.0})
    layer, plain = Tuned(weight, bias, tuner), Plain(weight, bias)
    place, expected = torch.zeros(1, 9, 37), torch.zeros(1, 9, 37)
    torch.testing.assert_close(layer(x), plain(x))
    layer(x[:1], out=place[:, 2:7])
    plain(x[:1], out=expected[:, 2:7])
    torch.testing.assert_close(place, expected)
    torch.testing.assert_close(layer.outputs(3, 30)(x), plain.outputs(3, 30)(x))
    if not has_bias:
        torch.testing.assert_close(layer.add_to(total.clone(), x), plain.add_to(total.clone(), x))
    assert tuner.num_timed == 0


def test_where_a_product_is_added_no_way_is_taken_that_rounds_before_it_adds() -> None:
    product = PRODUCT._replace(use="add")
    table = tune([product], ARMS, device=CPU, dtype=FP32, seconds=Clock(1.0))
    timed = table.devices[where(CPU, FP32)]["6 8 4 add"]["seconds"]
    assert set(timed) == {arm.name for arm in ARMS if not arm.adds_apart} != {arm.name for arm in ARMS}


def test_a_plan_times_each_shape_once_and_makes_the_core_s_picture(tmp_path: Path) -> None:
    """A second pipeline finds all in the file."""
    path = tmp_path / "recast" / "products.json"
    pipeline = tiny_pipeline()
    expected = pipeline.generate("a red circle", steps=2, seed=3, width=64, height=64).pictures[0].rgb
    for _ in range(2):
        fast = accelerate(pipeline, replace(PLANS["lossless"], tuned=True))
        assert fast.work is not None
        made = fast.pipeline.generate("a red circle", steps=2, seed=3, width=64, height=64).pictures[0].rgb
        assert abs(made.astype(int) - expected.astype(int)).max() <= 1
        timed = {layer.tuner.num_timed for layer in fast.work.layers if layer.tuner is not None}
        known = path.read_bytes()
    assert timed == {0}
    assert known == path.read_bytes()
    assert len(next(iter(json.loads(known)["devices"].values()))) > 4


def test_on_a_cpu_the_plans_leave_tuning_off_and_say_so(tmp_path: Path) -> None:
    """So that a replay there needs no table."""
    fast = accelerate(tiny_pipeline(), "lossless")
    assert fast.work is not None
    assert not fast.work.layers
    assert [line.is_applied for line in fast.report if line.technique == "tuned products"] == [False]
    assert "on CUDA alone" in str(fast)
    fast.pipeline.generate("a red circle", steps=1, seed=3, width=64, height=64)
    assert not (tmp_path / "recast").exists()


def test_what_the_doctor_says_of_the_table(tmp_path: Path) -> None:
    from recast.cli.plan_checks import _of_products

    path = tuning.place()
    assert "none timed here yet" in _of_products(CPU, FP32).found
    tune([PRODUCT], ARMS, device=CPU, dtype=FP32, table=Table(path), seconds=Clock(2.0, 1.0, 3.0)).save()
    assert "1 shapes timed here, 1 faster" in _of_products(CPU, FP32).found
    assert "the most by 50%" in _of_products(CPU, FP32).found
    assert "none timed here yet" in _of_products(CPU, torch.bfloat16).found
    path.write_text("{")
    assert (_of_products(CPU, FP32).mark, "cannot be used" in _of_products(CPU, FP32).found) == ("warn", True)


def test_only_plans_of_the_same_precision_tune() -> None:
    assert {name for name, plan in PLANS.items() if plan.tuned == "cuda"} == {"lossless", "fp8", "fp8-attention"}


def test_small_products_and_devices_of_one_way_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1.0)
    monkeypatch.setattr(tuning, "LEAST_FLOPS", {"cpu": PRODUCT.flops + 1})
    assert Tuner(Table(), CPU, FP32, seconds=clock).arm(PRODUCT) is USUAL
    monkeypatch.setattr(tuning, "LEAST_FLOPS", {"mps": 0})
    assert Tuner(Table(), torch.device("mps"), FP32, seconds=clock).arm(PRODUCT) is USUAL
    assert clock.calls == 0
