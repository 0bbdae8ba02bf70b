"""`recast distill` of a teacher as published: told its guidance by an embedding, its text read by CLIP and T5."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import recast
from recast import config, loading, weights
from recast.cli.main import main
from recast.context import text_files
from recast.errors import WeightsError
from recast.flow.transformer import FlowTransformer
from recast.nano import NANO
from recast.train.distill import pair_writing, result
from tests.published_text import CLIP_SIZES, T5_SIZES, write_diffusers_text
from tests.tiny import randomise, tiny_autoencoder

SMALL = [
    "--preset", "tiny", "--batch-size", "2", "--device", "cpu", "--quiet", "--json", "--set", "data.held_out=2",
    "--set", "data.shown=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder with random weights that is asked as FLUX.1 Kontext [dev] is."""
    small = config.tiny()
    flow = replace(
        small.flow,
        guidance_embed=True,
        depth=1,
        depth_single_blocks=2,
        context_in_dim=T5_SIZES["d_model"],
        vec_in_dim=CLIP_SIZES["hidden_size"],
    )
    text = replace(small.text, kind="clip_t5", max_length=96)
    model = replace(config.kontext_dev(), name="small", flow=flow, autoencoder=small.autoencoder, text=text)
    parts = {"flow": randomise(FlowTransformer(flow), 0), "autoencoder": tiny_autoencoder()}
    home = weights.save(tmp_path_factory.mktemp("teachers") / "teacher", parts, model)
    return write_diffusers_text(home)


def test_a_student_of_published_weights_is_made_exported_and_asked(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def distil(what: str, *more: str | Path, init: str | None = None) -> Path:
        start = ["--init", tmp_path / init] if init else []
        argv = ["distill", what, *SMALL, "--model", teacher, "--out", tmp_path / what, *start, *more]
        assert main([str(word) for word in argv]) == 0
        return tmp_path / what

    pairs = distil("pairs", "--set", "settings.count=4")
    distil("direct", "--steps", "2", "--pairs", pairs)
    run = distil("ladd", "--steps", "2", "--pairs", pairs, "--set", "data.shown=0", init="direct")
    out = tmp_path / "model"
    capsys.readouterr()
    assert main(["distill", "export", "--run", str(run), "--base", str(teacher), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(out)
    told = weights.read_config(out)
    assert (told.name, told.guidance_mode, told.flow.guidance_embed) == ("small-turbo", "few-step", True)
    assert (told.defaults.steps, told.defaults.guidance) == (4, 2.5)
    given = sorted(file.relative_to(teacher) for file in teacher.glob("t*/*"))
    assert sorted(file.relative_to(out) for file in out.glob("t*/*")) == given
    assert all((out / file).samefile(teacher / file) for file in given)
    assert "| teacher |" in (out / "README.md").read_text()

    pipeline, asked = recast.load(out, device="cpu", dtype="fp32"), []
    pipeline.flow.register_forward_hook(lambda *_: asked.append(1))
    said: list[Tensor] = []
    pipeline.flow.guidance_in.register_forward_hook(lambda _, given, __: said.append(given[0]))
    pipeline.generate("a red star", width=64, height=64, seed=0)
    assert len(asked) == 4  # once a step
    again: list[Tensor] = []
    pipeline.flow.guidance_in.register_forward_hook(lambda _, given, __: again.append(given[0]))
    pipeline.generate("a red star", width=64, height=64, seed=0, guidance=2.5)
    assert torch.equal(said[0], again[0])  # by default, the scale it was trained at
    student, before = (weights.open_checkpoint(place) for place in (out, teacher))
    assert student.tensors.keys() == before.tensors.keys()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_encoders_are_told_apart_by_their_files_as_by_the_networks(teacher: Path, dtype: torch.dtype):
    for place in (teacher, NANO):
        loaded = recast.load(place, device="cpu", dtype=dtype)
        made = pair_writing.made_by(loaded.flow, loaded.autoencoder, loaded.text)
        made.pop("teacher")
        assert pair_writing.encoders_of(loading.open_files(place), dtype) == made


def test_an_export_loads_no_text_encoder_and_keeps_no_tensor_of_it_beside_the_next(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """T5-XXL has 9.5 GB, all of which are linked: to compare them is no reason to copy them.

    Tensors alone are seen here. Pages of a file that holds the dtype asked for stay mapped to the end, and the system
    drops them when memory is short; of one that is cast, none stays (tests/context/test_text.py).
    """
    files = loading.open_files(teacher)
    few = {"steps": 4, "sampler": "euler", "guidance": 2.5, "shifts_schedule": True}
    told = result.few_step(files.config, files.config.flow, **few)
    (tmp_path / "run" / "weights").mkdir(parents=True)
    result.write(tmp_path / "run" / "weights", randomise(FlowTransformer(files.config.flow), 1), told)
    makers = {"teacher": "0" * 64} | pair_writing.encoders_of(files, torch.float32)
    said = {"stage": {"what": "direct", "lora": None}, "data": {"makers": makers}, "run": {"precision": "fp32"}}
    progress = {"step": 1, "samples": 1, "seconds": 1.0}
    monkeypatch.setattr(result, "_said", lambda run: {"settings": said, "progress": progress})

    def refuse(*given: object, **more: object) -> None:
        raise AssertionError("a network of the base is loaded")

    reading, held = text_files._Weights.reading, list[weakref.ref[Tensor]]()

    @contextmanager
    def watched(self: text_files._Weights, device: str, dtype: torch.dtype):
        def one(name: str, read: Callable[[str], Tensor]) -> Tensor:
            assert all(each() is None for each in held), "the tensor before is still held"
            tensor = read(name)
            held.append(weakref.ref(tensor))
            return tensor

        with reading(self, device, dtype) as read:
            yield lambda name: one(name, read)

    monkeypatch.setattr(text_files._Weights, "reading", watched)
    monkeypatch.setattr(text_files.Unread, "fill", refuse)
    monkeypatch.setattr(loading, "load", refuse)
    out = result.model(tmp_path / "run", str(teacher), tmp_path / "model")
    assert weights.read_config(out).name == "small-turbo"
    assert len(held) > 20
    makers["text encoder"] = "0" * 64
    with pytest.raises(WeightsError, match=r"its text encoder is .*the student was trained with 000000000000"):
        result.model(tmp_path / "run", str(teacher), tmp_path / "other")
