"""`recast distill` from outside: every way to a student, in two steps; what it resolves, plans, continues, refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import recast
from recast import config, weights
from recast.cli.main import main
from recast.flow.transformer import FlowTransformer
from recast.train.distill.presets import PRESETS
from recast.train.distill.start import read
from recast.weights.files import read_header
from tests.tiny import randomise, tiny_autoencoder, tiny_text

SMALL = ["--preset", "tiny", "--batch-size", "2", "--set", "data.held_out=2", "--set", "data.shown=1"]
Distil = Callable[..., Path]
"""Of `distil`: (what, further words, name=, status=) to a run's folder."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `tiny` model guided by two evaluations, random weights."""
    base = config.tiny()
    flow = replace(base.flow, guidance_embed=False, depth=1, depth_single_blocks=2)
    defaults = replace(base.defaults, guidance=None, generate_true_guidance=3.0)
    model = replace(base, flow=flow, defaults=defaults, text=replace(base.text, max_length=96))
    network = FlowTransformer(flow)
    randomise(network, 0)
    text = tiny_text().network
    sizes = {
        "vocab_size": 384, "d_model": flow.context_in_dim, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 3,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
    }  # fmt: skip
    parts = {"flow": network, "autoencoder": tiny_autoencoder(), "text_encoder": text}
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    return weights.save(folder, parts, model, text_encoder_config=sizes)


@pytest.fixture(scope="module")
def distil(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Distil:
    """Runs a way to a student, once for each name, and returns its folder."""
    place = tmp_path_factory.mktemp("runs")

    def run(what: str, *more: str | Path, name: str | None = None, status: int = 0) -> Path:
        out = place / (name or what)
        own = [*SMALL, "--set", "settings.count=4"] if what == "pairs" else [*SMALL, "--steps", "2"]
        if name is not None or not out.exists():
            argv = ["distill", what, *own, "--model", teacher, "--out", out, "--quiet", "--device", "cpu", *more]
            assert main([str(word) for word in argv]) == status
        return out

    return run


@pytest.fixture(scope="module")
def pairs(distil: Distil) -> Path:
    return distil("pairs")


@pytest.fixture(scope="module")
def dev(distil: Distil) -> Path:
    return distil("guidance", "--set", "data.shown=0", "--set", "data.held_out=0")


@pytest.fixture(scope="module")
def direct(distil: Distil, pairs: Path, dev: Path) -> Path:
    return distil("direct", "--pairs", pairs, "--init", dev)


def picture_of(run: Path, teacher: Path, out: Path) -> recast.Pipeline:
    """The model of a run, which makes a picture of the teacher's size in four evaluations by itself."""
    assert main(["distill", "export", "--run", str(run), "--base", str(teacher), "--out", str(out)]) == 0
    pipeline, asked = recast.load(out, device="cpu", dtype="fp32"), []
    pipeline.flow.register_forward_hook(lambda *_: asked.append(1))
    made = pipeline.generate("a red star", width=64, height=64, seed=0).pictures[0]
    assert (made.width, made.height, len(asked)) == (64, 64, 4)
    return pipeline


def test_pairs_are_written_and_a_larger_count_goes_on_after_them(distil: Distil, capsys: pytest.CaptureFixture[str]):
    place = distil("pairs", name="more")
    told = json.loads((place / "train" / "manifest.json").read_text())
    assert (told["settings"]["guidance"], sum(pairs for *_, pairs in told["shards"])) == (2.5, 4)
    held = json.loads((place / "held-out" / "manifest.json").read_text())
    assert sum(pairs for *_, pairs in held["shards"]) == 2
    first = (place / "train" / told["shards"][0][0]).read_bytes()
    capsys.readouterr()
    distil("pairs", "--set", "settings.count=6", name="more")
    assert "8 pairs (6 asked for; shards are written whole)" in capsys.readouterr().out
    told = json.loads((place / "train" / "manifest.json").read_text())
    assert sum(pairs for *_, pairs in told["shards"]) == 8
    assert (place / "train" / told["shards"][0][0]).read_bytes() == first
    written = [line for line in (place / "journal.jsonl").read_text().splitlines() if "perf/images_s" in line]
    distil("pairs", "--minutes", "0.0001", "--set", "settings.count=99", name="more")
    assert [line for line in (place / "journal.jsonl").read_text().splitlines() if "perf/" in line] == written


def test_a_guided_student_is_told_its_scale_and_asked_once_a_step(
    dev: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model = picture_of(dev, teacher, tmp_path / "model").config
    assert (model.name, model.guidance_mode, model.defaults.guidance) == ("tiny-dev", "embedded", 3.0)
    file = tmp_path / "dev.safetensors"
    argv = ["distill", "export", "--run", str(dev), "--base", str(teacher), "--out", str(file), "--delta"]
    assert main([*argv, "--rank", "0"]) == 2
    assert "rank=0: a whole number from 1" in capsys.readouterr().err
    assert main(argv) == 0
    assert f"leave {100 * weights.read_delta(file).error:.2f}% of the change" in capsys.readouterr().out
    other = tmp_path / "whole.safetensors"
    assert main([*argv, "--rank", "400", "--out", str(other)]) == 0
    assert "whole changes (no pair of that rank is smaller) leave 0." in capsys.readouterr().out
    assert "whole changes (no pair of that rank is smaller), which leave 0." in other.with_suffix(".md").read_text()
    whole, delta = weights.read_config(tmp_path / "model"), weights.read_delta(file)
    assert (delta.config, delta.error < 0.01) == (whole, True)


def test_a_student_from_state_to_state_needs_pairs_that_hold_its_states(
    distil: Distil, pairs: Path, dev: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = ["--set", "settings.states=4", "--set", "settings.sampler=ab2", "--set", "settings.edit_guidance=1"]
    walks = distil("pairs", *told, name="walks")
    ask = ["--set", "settings.towards=states", "--lora", "2"]
    made = distil("direct", "--pairs", walks, *ask, name="stepwise")
    assert weights.read_config(made / "weights").defaults.sampler == "euler"
    capsys.readouterr()
    distil("direct", "--pairs", pairs, *ask, name="ends-alone", status=2)
    assert "settings.states=4" in capsys.readouterr().err
    distil("direct", "--pairs", walks, *ask, "--init", dev, name="two-scales", status=2)
    assert "pairs of guidance=2.5, edit_guidance=1 came" in capsys.readouterr().err


@pytest.mark.parametrize(("part", "file"), [("autoencoder", "ae"), ("text encoder", "text_encoder/model")])
@pytest.mark.parametrize("form", [[], ["--delta"]])
def test_a_base_whose_encoders_the_student_has_not_seen_is_refused(
    part: str, file: str, form: list[str], dev: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(teacher, tmp_path / "other")
    place = tmp_path / "other" / f"{file}.safetensors"
    tensors = load_file(place)
    name = "encoder.conv_in.bias" if part == "autoencoder" else "encoder.final_layer_norm.weight"
    save_file(tensors | {name: tensors[name] + 1}, place)
    out = tmp_path / "out.safetensors"
    argv = ["distill", "export", "--run", str(dev), "--base", str(tmp_path / "other"), "--out", str(out), *form]
    assert main(argv) != 0
    assert f"its {part} is " in capsys.readouterr().err
    assert not out.exists()


def test_a_student_of_few_steps_goes_on_and_keeps_no_embedding(
    direct: Path, distil: Distil, pairs: Path, dev: Path, teacher: Path, tmp_path: Path
):
    model = picture_of(direct, teacher, tmp_path / "model").config
    assert (model.name, model.guidance_mode, model.flow.guidance_embed) == ("tiny-turbo", "few-step", False)
    distil("direct", "--pairs", pairs, "--init", dev, "--steps", "3", name="direct")
    events = [json.loads(line) for line in (direct / "journal.jsonl").read_text().splitlines()]
    assert [each["step"] for each in events if each.get("event") == "resumed"] == [2]
    assert {"val_ema/endpoint", "val/clean3"} <= set(events[-1])


def test_a_student_goes_on_from_a_delta_over_its_teacher(
    direct: Path, distil: Distil, pairs: Path, teacher: Path, tmp_path: Path
):
    """As `--init nano-turbo` does, whose weights are one file beside those of `nano`."""
    home = shutil.copytree(teacher, tmp_path / "home")
    file = home / "turbo.safetensors"
    told = ["--run", str(direct), "--base", str(home), "--out", str(file), "--delta", "--rank", "48"]
    assert main(["distill", "export", *told]) == 0
    still = ["--steps", "1", "--set", "optimiser.lr=1e-12", "--set", "data.held_out=0", "--set", "data.shown=0"]
    again = distil("direct", "--pairs", pairs, "--init", file, *still, name="from-delta")
    before, after = read(direct / "weights").state_dict(), read(again / "weights").state_dict()
    base = read(teacher / "flow.safetensors").state_dict()
    apart = [sum(float((x[name] - before[name]).square().sum()) for name in before) for x in (after, base)]
    assert apart[0] < 1e-3 * apart[1]


@pytest.mark.parametrize("what", ["ladd", "add", "consistency"])
def test_every_way_to_few_steps_makes_a_model(
    what: str, distil: Distil, pairs: Path, direct: Path, teacher: Path, tmp_path: Path
):
    run = distil(what, "--pairs", pairs, "--init", direct, "--set", "data.held_out=0", "--set", "data.shown=0")
    made = picture_of(run, teacher, tmp_path / "model")
    assert (made.config.name, made.config.defaults.sampler) == ("tiny-turbo", "euler")
    assert "teacher" in (tmp_path / "model" / "README.md").read_text()


def test_one_word_makes_a_student_that_renoises_and_its_model_says_so(
    distil: Distil, pairs: Path, direct: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = ["--set", "settings.sampler=renoise", "--set", "settings.regression=0.1"]
    distil("ladd", "--pairs", pairs, *told, name="drawn-to-a-picture", status=2)
    assert "regression=0.1: for paired_noise=true alone" in capsys.readouterr().err
    assert main(["distill", "ladd", "--dry-run", "--json", *told[:2]]) == 0  # of nano, which keeps some regression
    said = capsys.readouterr()
    settings = json.loads(said.out)["settings"]["settings"]
    assert (settings["sampler"], settings["paired_noise"], settings["regression"]) == ("renoise", False, 0.0)
    assert "with settings.paired_noise=false and settings.regression=0.0, which belong to it" in said.err
    still = ["--set", "data.held_out=0", "--set", "data.shown=0"]
    run = distil("ladd", "--pairs", pairs, "--init", direct, *told[:2], *still, name="renoised")
    made = picture_of(run, teacher, tmp_path / "model")
    assert made.config.defaults.sampler == "renoise"
    assert weights.read_config(tmp_path / "model").defaults.sampler == "renoise"
    assert made.start_generate("a red star", width=64, height=64).request.sampler == "renoise"


def test_adapters_are_folded_and_written_beside_and_a_delta_holds_them_by_their_rank(
    distil: Distil, pairs: Path, teacher: Path, tmp_path: Path
):
    run = distil("direct", "--pairs", pairs, "--lora", "2", name="adapted")
    base, student = (read(place / "flow.safetensors") for place in (teacher, run / "weights"))
    adapter = weights.read_adapter(run / "weights" / "adapter.safetensors", base)
    before, after = (flow.single_blocks[0].linear1.weight for flow in (base, student))
    assert not torch.equal(before, after)
    weights.fold(base, adapter, 1.0)
    for name, tensor in base.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], tensor, msg=name)
    file = tmp_path / "delta.safetensors"
    assert main(["distill", "export", "--run", str(run), "--base", str(teacher), "--out", str(file), "--delta"]) == 0
    held = weights.read_delta(file)
    assert held.rank == 2
    assert held.error < 0.01  # of bf16


def test_a_delta_has_the_rank_of_the_adapters_or_the_usual_and_an_error_says_which(
    distil: Distil, pairs: Path, direct: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def said(run: Path) -> str:
        place = ["--run", str(run), "--base", str(teacher), "--out", str(tmp_path / "delta.safetensors")]
        assert main(["distill", "export", *place, "--delta"]) != 0
        return capsys.readouterr().err

    assert "rank=16 (the usual): leaves 0." in said(direct)
    adapted = distil("direct", "--pairs", pairs, "--lora", "2", name="adapted")
    begun = distil("direct", "--pairs", pairs, "--init", direct, "--lora", "2", name="begun")
    shutil.rmtree(begun / "checkpoints")  # the file of the adapters says their rank as well
    headers = [read_header(run / "weights" / "adapter.safetensors").metadata for run in (adapted, begun)]
    over, other = (json.loads(metadata["recast"]) for metadata in headers)
    assert (over["base"], other["base"]) == ("tiny", "direct")
    told = json.loads((pairs / "train" / "manifest.json").read_text())
    assert over["base_sha256"] == told["made_by"]["teacher"] != other["base_sha256"]
    assert "rank=2 (of the run's adapters alone): leaves 0." in said(begun)


def test_a_blind_discriminator_ends_the_run_and_leaves_the_student(
    distil: Distil, direct: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
):
    told = [
        "--set",
        "settings.accuracy_needed=1",
        "--set",
        "settings.generator_from=0.2",
        "--set",
        "settings.blind=skip",
    ]
    rest = ["--steps", "9", "--json", "--set", "data.held_out=0", "--set", "data.shown=0"]
    run = distil("ladd", "--pairs", pairs, "--init", direct, *told, *rest, name="blind")
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["is_over"]
    assert said["step"] < 9
    assert "1 needed: the student stays as it began" in said["verdict"].replace(";", ":")
    before, after = (read(place / "weights" / "flow.safetensors").state_dict() for place in (direct, run))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_plans_without_weights(name: str, capsys: pytest.CaptureFixture[str]):
    model, _, what = name.rpartition("-")
    assert main(["distill", what, "--preset", model, "--dry-run", "--json", "--seed", "5"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["settings"]["what"], said["settings"]["run"]["seed"]) == (what, 5)
    plan = said["plan"]
    assert plan["teacher"] == model
    assert all(each["hours"] > 0 and each["peak_gib"] > 0 for each in plan["forecasts"])
    assert any(each["fits"] for each in plan["forecasts"])


def test_a_plan_says_what_a_step_evaluates(capsys: pytest.CaptureFixture[str]):
    assert main(["distill", "guidance", "--dry-run", "--set", "settings.walk_share=0"]) == 0
    said = capsys.readouterr().out
    assert "an example takes 2 of teacher, 1 of student, forward and back\n" in said
    assert "| H200 | 1 |" in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["paint"], "'paint': pairs, guidance, direct"),
        (["ladd", "--preset", "nanoo", "--dry-run"], "did you mean nano"),
        (["ladd", "--preset", "elephant", "--dry-run"], "nano-pairs, nano-guidance"),
        (["guidance", "--preset", "kontext_dev", "--dry-run"], "none for `distill guidance`"),
        (["ladd", "--preset", "nano-direct", "--dry-run"], "it stands for nano-direct"),
        (["direct", "--out", "x"], "--pairs: missing"),
        (["direct", "--out", "x", "--pairs", "nowhere"], "nowhere: not there"),
        (["direct", "--out", "x", "--pairs", "."], "no train/manifest.json"),
        (["ladd", "--preset", "kontext_dev", "--out", "x"], "--model: missing; the preset is for kontext_dev"),
        (["pairs", "--preset", "tiny", "--out", "x"], "--model: missing"),
        (["ladd"], "--out: missing"),
        (["direct", "--pairs", "nowhere", "--dry-run"], "nowhere: not there"),
        (["direct", "--pairs", ".", "--dry-run"], "no train/manifest.json"),
        (["ladd", "--init", "nowhere", "--dry-run"], "nowhere: not there"),
        (["ladd", "--init", "", "--dry-run"], "'': not there"),
        (["ladd", "--preset", "", "--dry-run"], "preset=''"),
        (["ladd", "--model", "", "--dry-run"], "'': not there"),
        (["add", "--features", ".", "--dry-run"], "the autoencoder's own features"),
        (["guidance", "--model", "kontext_dev", "--dry-run"], "is told its guidance already"),
        (["ladd", "--context", "2", "--dry-run"], "a plan counts with shard and replicate"),
        (["ladd", "--shard", "3", "--dry-run"], "a multiple of shard x replicate = 3"),
        (["pairs", "--lora", "0", "--dry-run"], "--lora: not for `distill pairs`"),
        (["guidance", "--rank", "0", "--dry-run"], "--rank: not for `distill guidance`"),
        (["guidance", "--pairs", ".", "--out", "x"], "--pairs: not for `distill guidance`"),
        (["pairs", "--steps", "4", "--out", "x"], "--steps: not for `distill pairs`"),
        (["ladd", "--features", ".", "--out", "x"], "--features: not for `distill ladd`"),
        (["direct", "--set", "settings.walk_steps=3", "--dry-run"], "settings.walk_steps: no such setting"),
        (["direct", "--set", "training.text_dropout=0.1", "--dry-run"], "text_dropout=0.1: 0 accepted"),
        (["export", "--out", "x"], "--run: missing"),
        (["export", "--run", ".", "--base", "nano", "--out", "x"], "a distillation that is over"),
        (["export", "--run", ".", "--base", "nano", "--out", "x", "--rank", "4"], "add --delta"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["distill", *argv, "--quiet"]) in (1, 2, 6)
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
