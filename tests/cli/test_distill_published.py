"""`recast distill` of a teacher as published: told its guidance by an embedding, its text read by CLIP and T5."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import recast
from recast import config, weights
from recast.cli.main import main
from recast.flow.transformer import FlowTransformer
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
