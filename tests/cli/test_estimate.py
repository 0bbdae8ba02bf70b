"""`recast estimate`: says what a picture costs, loads nothing, and does not guess."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from recast import cost, loading, weights
from recast.cli import estimate, machine, planned, planned_cost, rates
from recast.cli.job import Job, Model
from recast.cli.main import Exit
from recast.config import kontext_dev, nano
from recast.cost import Work
from recast.flow import layers
from recast.pixels import image
from recast.speed import clock
from recast.speed.cap import parse_cap
from recast.speed.memory import CONTEXT_BYTES, Numbers, fit, peak_bytes
from tests.cli.conftest import Recast, picture

GIB = 2**30


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("recast.weights.reading.load_into", refuse)
    monkeypatch.setattr("recast.weights.reading.read_tensor", refuse)


@pytest.fixture(autouse=True)
def no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TURNS": 2, "LEAST_TURNS": 1, "SPREAD_S": 0.0, "CALLED_S": 1e-9}.items():
        monkeypatch.setattr(rates, name, value)


@pytest.fixture
def asked(recast: Recast, capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON of `recast estimate` with these words; the rate is stated unless they measure."""

    def ask(*words: Any, measured: bool = False) -> Any:
        rate = () if measured else ("--tflops", 1)
        assert recast("estimate", "--json", *rate, *words) == 0
        return json.loads(capsys.readouterr().out)

    return ask


def test_a_stated_rate_is_divided_by(asked: Any) -> None:
    data = asked("--model", "kontext_dev", "--references", 1, "--tflops", 500)
    assert data["seconds"]["sample"] == pytest.approx(data["flops"]["sample"] / 500e12)
    assert data["seconds"]["all"] == pytest.approx(sum(v for k, v in data["seconds"].items() if k != "all"))
    assert data["parameters"]["flow"] == 11_901_408_320


def test_a_rate_is_measured_on_a_device_that_is_here(asked: Any, model: Path) -> None:
    data = asked("--steps", 2, measured=True)
    measured = data["flops_per_s"]
    assert all(1e8 < measured[name] < 1e14 for name in ("linear", "attention", "autoencoder"))
    bounds = [data["flops"]["sample"] / measured[name] for name in ("linear", "attention")]
    assert min(bounds) * 0.999 <= data["seconds"]["sample"] <= max(bounds) * 1.001
    assert data["seconds"]["decode"] == pytest.approx(data["flops"]["decode"] / measured["autoencoder"])


def test_a_neighbour_s_burst_spoils_some_turns_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def passes(seconds: float) -> None:
        now[0] += seconds

    def disturbed_at_first(call: Any, device: torch.device) -> float:
        took: float = call() * (1.5 if now[0] < 0.3 else 1.0)
        passes(took)
        return took

    for name, value in {"TURNS": 5, "LEAST_TURNS": 3, "SPREAD_S": 0.5, "CALLED_S": 0.01}.items():
        monkeypatch.setattr(rates, name, value)
    monkeypatch.setattr(rates.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(rates.time, "sleep", passes)
    monkeypatch.setattr(clock, "undisturbed", disturbed_at_first)
    assert rates.quickest([lambda: 0.02, lambda: 0.001], torch.device("cpu")) == [0.02, 0.001]
    assert now[0] < 0.6
    now[0] = 0.0
    assert rates.quickest([lambda: 0.2], torch.device("cpu")) == [0.2]
    assert now[0] == pytest.approx(0.3 + 0.2 + 0.2)  # a slow device has three turns


def test_attention_has_a_rate_of_its_own_where_fewer_tokens_are_tried_than_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def device(work: Work) -> float:
        return work.linear / 1400e9 + work.attention / 633e9

    def timed(calls: Any, place: torch.device) -> list[float]:
        flow, counts = rates._probe_flow(nano().flow, place, 4400)
        assert max(counts) == 1100
        return [*(device(rates._block_work(flow, count)) for count in counts), 1.0]

    monkeypatch.setattr(rates, "quickest", timed)
    found = estimate.measure_rates(nano(), torch.device("cpu"), "fp32", 4400)
    assert (found.linear, found.attention) == (pytest.approx(1400e9), pytest.approx(633e9))
    size = cost.Request(width=1024, height=512, contexts=((1024, 512),))
    cost_ = cost.estimate(nano(), size)
    assert sum(cost_.tokens.values()) > 4000
    assert estimate.seconds(cost_, found)["sample"] == pytest.approx(device(cost_.condition.plus(cost_.sampling)))


@pytest.mark.parametrize(
    "spent",
    [
        (1.0, 1.0),  # waits for the processor, whatever it is given
        (1.0, 1.9),  # attention would take less than no time
        (1.0, 2.1),  # attention would be faster than products
        (1.0, 5.0),  # products would take less than no time
    ],
)
def test_times_that_cannot_be_split_give_one_rate(spent: tuple[float, float]) -> None:
    works = [Work(linear=100, attention=25), Work(linear=200, attention=100)]
    assert rates.two_rates(works, spent) == (300 / spent[1], 300 / spent[1])


def test_times_that_can_be_split_are() -> None:
    works = [Work(linear=100, attention=25), Work(linear=200, attention=100)]
    assert rates.two_rates(works, (100 / 40 + 25 / 10, 200 / 40 + 100 / 10)) == pytest.approx((40, 10))


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is here")
def test_time_on_a_device_that_is_not_here_is_not_guessed(
    asked: Any, recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    data = asked("--model", "kontext_dev", "--device", "cuda", "--dtype", "auto", measured=True)
    assert (data["seconds"], data["fits"]) == (None, None)
    assert data["request"]["dtype"] == "bf16"
    assert recast("estimate", "--device", "cuda") == 0
    assert "time: not available, there is no cuda here" in capsys.readouterr().out


def test_a_picture_is_taken_at_the_size_that_the_model_would_work_at(asked: Any, here: Path) -> None:
    photo = picture(here / "wide.png", width=1000, height=500)
    data = asked(photo, "--model", "kontext_dev")
    request = data["request"]
    assert request["contexts"] == [[request["width"], request["height"]]]
    assert kontext_dev().defaults.min_tokens <= data["tokens"]["target"] <= kontext_dev().defaults.max_tokens
    source = asked(photo, "--model", "kontext_dev", "--size", "source")["request"]
    assert (source["width"], source["height"]) == (1008, 512)
    fixed = asked(photo, "--model", "kontext_dev", "--size", "640x320")["request"]
    assert (fixed["width"], fixed["height"]) == (640, 320)


def test_references_count_the_edited_picture_too(asked: Any) -> None:
    for count in (0, 1, 2):
        data = asked("--model", "kontext_dev", "--references", count)
        assert data["tokens"] == {"target": 4096, "text": 512, "context": 4096 * count}


@pytest.mark.parametrize("size", ["auto", "source", "64x48"])
def test_a_request_is_the_one_that_an_edit_of_the_same_pictures_makes(
    asked: Any, here: Path, model: Path, size: str
) -> None:
    places = [picture(here / f"{w}x{h}.png", width=w, height=h) for w, h in ((50, 33), (300, 100), (20, 90))]
    source, *beside = places
    data = asked(source, *(word for place in beside for word in ("--image", place)), "--size", size, "--steps", 3)
    outline = Model(place=str(model)).outline()
    edit = Job(
        task="edit",
        prompt="make it red",
        options={"seed": 0, "steps": 3},
        size=estimate._size(size),
        pictures=[(None, image.read(place)) for place in places],
    )
    planned_ = planned.sizes_of(edit.start(outline).request, outline)
    assert data["request"] == json.loads(json.dumps(asdict(planned_)))
    assert len({*map(tuple, data["request"]["contexts"])}) == 3


def test_further_pictures_without_files_are_as_large_as_the_edited_one_and_fitted_by_themselves(asked: Any) -> None:
    data = asked("--width", 64, "--height", 32, "--size", "128x128", "--references", 3)
    assert data["request"]["contexts"] == [[128, 128], [64, 32], [64, 32]]


def test_usual_guidance_and_steps_are_those_of_the_model(asked: Any) -> None:
    assert asked("--model", "nano")["flops"]["evaluations"] == 2 * 28  # guided twice, as its text to picture is
    assert asked("--model", "nano", "--references", 1)["flops"]["evaluations"] == 28
    assert asked("--model", "nano", "--true-cfg-scale", 1, "--steps", 5, "-n", 3)["flops"]["evaluations"] == 15
    assert asked("--model", "schnell")["flops"]["evaluations"] == 4


def test_a_path_is_read_by_its_headers(asked: Any, model: Path) -> None:
    data = asked("--width", 64, "--height", 64)
    assert data["model"] == "tiny"
    parts = weights.open_all(model)
    assert data["parameters"]["flow"] == parts["flow"].parameters
    assert data["parameters"]["autoencoder"] == parts["autoencoder"].parameters


def test_what_does_not_fit_is_warned_of_with_what_would(asked: Any) -> None:
    def warning(*words: Any) -> str:
        data = asked("--model", "kontext_dev", "--references", 1, *words)
        assert data["fits"] is (not data["warnings"])
        return " ".join(data["warnings"])

    assert warning("--dtype", "bf16", "--memory", 40) == ""
    assert warning("--dtype", "fp32", "--memory", 40).endswith("--dtype bf16 fits")
    assert "smaller" not in warning("--dtype", "bf16", "--memory", 34)
    assert warning("--dtype", "bf16", "--memory", 34).endswith(" fits")
    assert "no size fits: the weights alone are 31.6 GiB in bf16" in warning("--dtype", "bf16", "--memory", 24)
    assert warning("--dtype", "bf16", "--memory", 60, "-n", 64, "--batch-size", 64).endswith("--batch-size 1 fits")


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_said_to_fit_does(asked: Any, count: int) -> None:
    words = ("--model", "kontext_dev", "--references", count, "--dtype", "bf16", "--memory", 34)
    whole = asked(*words)
    advised = whole["warnings"][0].split("; ")[1].removesuffix(" fits")
    smaller = asked(*words, "--size", advised)
    assert smaller["fits"] is True
    assert smaller["request"]["contexts"][1:] == whole["request"]["contexts"][1:]


def test_memory_is_the_formula_and_on_a_cpu_what_stages_leave(asked: Any) -> None:
    expected = cost.estimate(nano(), cost.Request(width=256, height=256, true_guidance=3.0))
    data = asked("--model", "nano")
    assert data["bytes"]["peak"] == cost.resident_bytes(expected, "cpu") > expected.peak_bytes
    assert cost.resident_bytes(expected, "cuda") == expected.peak_bytes


def test_large_pictures_are_decoded_in_bands_and_need_less_for_it() -> None:
    config = kontext_dev().autoencoder
    below = cost.decode_bytes(config, width=2048, height=1024)
    above = cost.decode_bytes(config, width=2048, height=4096)
    assert above / 4 < 0.9 * below


def test_a_probe_of_a_large_model_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    block = layers.SingleStreamBlock

    def watched(config: Any) -> Any:
        made.append(config.hidden_size)
        return block(config)

    monkeypatch.setattr(layers, "SingleStreamBlock", watched)
    found = estimate.measure_rates(kontext_dev(), torch.device("cpu"), "fp32", 8704)
    assert made == [768]  # of 3072
    assert found.linear > 0


def test_heun_is_two_evaluations_a_step_but_the_last(asked: Any) -> None:
    words = ("--model", "kontext_dev", "--references", 1, "--steps", 10, "--sampler")
    assert asked(*words, "heun")["flops"]["evaluations"] == 19
    assert asked(*words, "ab2")["flops"]["evaluations"] == 10


ON_CUDA = ("--model", "kontext_dev", "--references", 1, "--device", "cuda", "--dtype", "bf16", "--plan")


def test_a_plan_s_memory_is_that_of_its_engine_and_of_the_recipe_under_a_cap(asked: Any) -> None:
    size = cost.Request(width=1024, height=1024, contexts=((1024, 1024),), dtype="bf16")
    for name, cap, blocks in (("lossless", "24gb", 2.0), ("fp8", "12gb", 1.0)):
        data = asked(*ON_CUDA, name, "--vram", cap)
        numbers = Numbers(blocks=blocks, autoencoder=2, graph=True)
        recipe = fit(kontext_dev(), size, numbers, parse_cap(cap))
        assert data["plan"]["memory"] == asdict(recipe)
        assert data["bytes"]["peak"] == peak_bytes(kontext_dev(), size, numbers, recipe).total <= parse_cap(cap)
        assert (data["fits"], data["warnings"]) == (True, [])
        assert data["plan"]["said"][0] == f"{recipe.resident_blocks} of 57 blocks stay on the device"
    whole = asked(*ON_CUDA, "lossless", "--memory", 24)
    assert whole["plan"]["said"] == ["57 of 57 blocks stay on the device"]
    assert whole["fits"] is False
    assert "--vram" in whole["warnings"][0]


def test_without_a_plan_nothing_is_said_of_one(asked: Any) -> None:
    data = asked("--model", "kontext_dev")
    assert "plan" not in data
    assert {"step", "weights of flow"} < {*data["bytes"]}


def test_eight_bits_count_twice_the_stated_rate_in_products_alone(asked: Any) -> None:
    times = {name: asked(*ON_CUDA, name)["seconds"]["sample"] for name in ("lossless", "fp8", "fp8-attention")}
    flops = asked(*ON_CUDA, "lossless")["flops"]
    attention = 28 * flops["step"]["attention"] / 1e12
    assert times["lossless"] - times["fp8"] == pytest.approx((times["lossless"] - attention) / 2, rel=1e-3)
    assert times["fp8-attention"] == pytest.approx(times["lossless"] / 2, rel=1e-3)


def test_what_passes_the_bus_takes_its_time(asked: Any) -> None:
    slow = asked(*ON_CUDA, "lossless", "--vram", "12gb", "--tflops", 1e6, "--bus", 10)
    fast = asked(*ON_CUDA, "lossless", "--vram", "12gb", "--tflops", 1e6, "--bus", 20)
    assert slow["seconds"]["sample"] == pytest.approx(2 * fast["seconds"]["sample"], rel=0.01)
    assert "bus: 10 GB/s, as stated" in slow["plan"]["notes"]


def test_an_option_s_share_of_work_and_memory_is_counted(asked: Any) -> None:
    plain = asked(*ON_CUDA, "lossless")
    reuse = asked(*ON_CUDA, "lossless", "--approximate", "context-reuse")
    region = asked(*ON_CUDA, "lossless", "--approximate", "region", "--changed", 0.1)
    assert reuse["plan"]["exactness"] == "approximate"
    assert reuse["plan"]["evaluations"] == {"whole": 7, "smaller": 21, "skipped": 0}
    assert region["seconds"]["sample"] < reuse["seconds"]["sample"] < 0.65 * plain["seconds"]["sample"]
    assert reuse["bytes"]["denoise"] - plain["bytes"]["denoise"] == 2 * 2 * 4096 * 3072 * 57 * 2


def test_a_cap_under_which_nothing_fits_is_out_of_memory(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("estimate", *ON_CUDA, "lossless", "--vram", "2gb", "--tflops", 1) == Exit.MEMORY
    assert "at the least, everything streamed" in capsys.readouterr().err


def card(monkeypatch: pytest.MonkeyPatch, free_bytes: float) -> None:
    """A card of 141 GB is here, so much of it free."""
    monkeypatch.setattr(loading, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_bytes), int(141e9)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)


@pytest.mark.parametrize("plan", [(), ("--plan", "reference")])
def test_a_card_has_room_for_the_core_where_its_tensors_fit_into_what_is_free(
    plan: tuple[str, ...],
    recast: Recast,
    asked: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--model", "nano", "--device", "cuda", "--dtype", "fp32", *plan)
    size = cost.Request(width=256, height=256, true_guidance=3.0)
    tensors = cost.estimate(nano(), size).peak_bytes
    for free, fits in ((4.5e6, False), (tensors - 1, False), (tensors, True)):
        card(monkeypatch, free)
        data = asked(*words)
        assert (data["fits"], bool(data["warnings"])) == (fits, not fits)
        assert data["bytes"]["peak"] - tensors == data["device_bytes"] - int(free) == CONTEXT_BYTES
    assert recast("estimate", "--tflops", 1, *words) == 0
    assert "free on cuda\n" in next(line for line in capsys.readouterr().out.splitlines(True) if "fits: " in line)


def test_auto_is_chosen_by_what_is_free_of_a_card_that_is_here(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, 23.5e9)
    monkeypatch.setattr(planned_cost, "_numbers", lambda *_: Numbers())
    monkeypatch.setattr(planned_cost, "measure_bus", lambda _: 25e9)
    data = asked(*ON_CUDA, "auto")
    assert data["device_bytes"] == 24e9
    assert "do not fit into 24.00 GB" in data["plan"]["why"]


def test_auto_is_chosen_by_the_cap(asked: Any) -> None:
    small = asked(*ON_CUDA, "auto", "--vram", "16gb")["plan"]
    assert small["name"] == "lossless"
    assert "do not fit" in small["why"]
    assert "stay on the device" in asked(*ON_CUDA, "auto", "--memory", 140)["plan"]["why"]


def test_a_plan_s_rates_are_measured_on_a_device_that_is_here(asked: Any, model: Path) -> None:
    words = ("--references", 1, "--steps", 2, "--device", "cpu", "--plan", "lossless")
    data = asked(*words, measured=True)
    found = data["flops_per_s"]
    assert all(1e8 < found[name] < 1e14 for name in ("text", "linear", "attention", "autoencoder"))
    bounds = [data["flops"]["sample"] / found[name] for name in ("linear", "attention")]
    assert min(bounds) * 0.999 <= data["seconds"]["sample"] <= max(bounds) * 1.001


def test_a_person_reads_the_plan_and_what_is_assumed(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("estimate", *ON_CUDA, "fp8", "--vram", "12gb", "--tflops", 500) == 0
    text = capsys.readouterr().out
    for words in ("plan fp8 (near-lossless)", "blocks stay on the device", "bus: 25 GB/s, assumed", "a forecast by"):
        assert words in text, words


@pytest.mark.parametrize(
    "words",
    [
        ("--plan", "fastest"),
        ("--plan", "lossless", "--vram", "8 apples"),
        ("--plan", "reference", "--vram", "8gb"),
        ("--plan", "lossless", "--approximate", "context-reuse"),
        ("--plan", "lossless", "--references", 1, "--approximate", "region"),
        ("--plan", "lossless", "--changed", 0.5),
        ("--plan", "lossless", "--bus", 0),
        ("--changed", 0.5),
        ("--sampler", "dice"),
        ("--width", 100),
        ("--references", -1),
        ("photo.png", "--references", 0),
        ("photo.png", "--image", "photo.png", "--references", 2),
        ("photo.png", "--width", 64),
        ("--model", "schnell", "--references", 1),
        ("--model", "nonsense/path"),
        ("--size", "source"),
        ("--steps", 0),
        ("--dtype", "int4"),
        ("--device", "toaster"),
        ("--tflops", 0),
        ("--memory", -1),
    ],
)
def test_what_cannot_work_is_refused(
    words: Any, recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast("estimate", *words) in (2, 6)
    assert capsys.readouterr().err.startswith("recast: error: ")


def test_a_person_reads_sizes_times_and_how_sure_they_are(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "kontext_dev", "--references", 1, "--tflops", 1, "--memory", 24, "--dtype", "bf16")
    assert recast("estimate", *words) == 0
    text = capsys.readouterr().out
    for words_ in ("11,901,408,320 parameters", "22.2 GiB", "76.8 min", "warning: memory: ", "parameters: exact"):
        assert words_ in text, words_


def test_memory_comes_from_the_device(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "device_bytes", lambda device: (3 * GIB, GIB))
    assert asked("--model", "nano")["device_bytes"] == 3 * GIB
