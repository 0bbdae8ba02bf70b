"""`recast estimate`: says what a picture costs, loads nothing, and does not guess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from recast import cost, weights
from recast.cli import doctor, estimate
from recast.config import kontext_dev, nano
from recast.flow import layers
from tests.cli.conftest import Recast, picture

GIB = 2**30


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("recast.weights.reading.load_into", refuse)
    monkeypatch.setattr("recast.weights.reading.read_tensor", refuse)


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


def test_a_rate_is_measured_on_a_device_that_is_here(asked: Any) -> None:
    data = asked("--model", "nano", "--steps", 2, measured=True)
    assert 1e8 < data["flops_per_s"]["flow"] < 1e14
    assert data["seconds"]["sample"] == pytest.approx(data["flops"]["sample"] / data["flops_per_s"]["flow"])
    assert data["seconds"]["decode"] == pytest.approx(data["flops"]["decode"] / data["flops_per_s"]["autoencoder"])


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


def test_what_is_said_to_fit_does(asked: Any) -> None:
    data = asked("--model", "kontext_dev", "--references", 1, "--dtype", "bf16", "--memory", 34)
    advised = data["warnings"][0].split("; ")[1].removesuffix(" fits")
    width, height = advised.split("x")
    words = ("--model", "kontext_dev", "--references", 1, "--dtype", "bf16", "--memory", 34)
    assert asked(*words, "--size", f"{width}x{height}")["fits"] is True


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
    rates = estimate.measure_rates(kontext_dev(), torch.device("cpu"), "fp32", 8704)
    assert made == [768]  # of 3072
    assert rates.flow > 0


@pytest.mark.parametrize(
    "words",
    [
        ("--width", 100),
        ("--references", -1),
        ("photo.png", "--references", 0),
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
    monkeypatch.setattr(doctor, "device_bytes", lambda device: (3 * GIB, GIB))
    assert asked("--model", "nano")["device_bytes"] == 3 * GIB
