"""`recast train` from outside: what it resolves, writes, continues and refuses."""

from __future__ import annotations

import io
import json
import shutil
import signal
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

import recast
from recast.alone import alone
from recast.cli import training
from recast.cli.main import main
from recast.cli.progress import Progress
from recast.errors import InputError
from recast.train import runs, state
from recast.train.autoencoding import AutoencoderStage
from recast.train.examples import Examples
from recast.train.loop import Event
from recast.train.parallel import ALONE
from recast.train.presets import PRESETS, preset

SMALL = ["--set", "data.held_out=2", "--set", "data.shown=2", "--set", "data.statistics=4", "--batch-size", "2"]


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps."""
    place = tmp_path_factory.mktemp("runs") / "ae"
    assert main(["train", "ae", "--preset", "tiny-ae", "--steps", "2", "--out", str(place), *SMALL, "--quiet"]) == 0
    return place


def test_every_preset_resolves_to_the_settings_it_prints(capsys: pytest.CaptureFixture[str]):
    for name, made in PRESETS.items():
        argv = ["train", made().what, "--preset", name, "--dry-run", "--seed", "5", "--set", "run.keep=7"]
        assert main(argv) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["run"]["seed"], said["data"]["seed"], said["run"]["keep"]) == (5, 5, 7)


def test_steps_and_minutes_replace_each_other(capsys: pytest.CaptureFixture[str]):
    main(["train", "flow", "--preset", "tiny-flow", "--minutes", "3", "--dry-run"])
    assert json.loads(capsys.readouterr().out)["run"]["steps"] is None
    main(["train", "flow", "--preset", "nano-flow", "--steps", "9", "--dry-run"])
    said = json.loads(capsys.readouterr().out)["run"]
    assert (said["steps"], said["minutes"]) == (9, None)


def test_a_flow_is_trained_continued_and_exported(
    autoencoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    noted: list[str] = []
    monkeypatch.setattr(Progress, "note", lambda self, text: noted.append(text))
    place, model = tmp_path / "flow", tmp_path / "model"
    ae = str(autoencoder / "weights" / "ae.safetensors")
    argv = ["train", "flow", "--preset", "tiny-flow", "--ae", ae, "--out", str(place), *SMALL, "--json", "--quiet"]
    assert main([*argv, "--steps", "2", "--set", "run.log_every_steps=1"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (first["step"], first["samples"], first["is_over"]) == (2, 4, True)
    assert [text.split()[0] for text in noted] == ["preparing", "judging", "writing"]  # what may take minutes
    assert main([*argv, "--steps", "3", "--set", "run.log_every_steps=1"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == 3
    events = [json.loads(line) for line in (place / "journal.jsonl").read_text().splitlines()]
    assert any(each.get("event") == "resumed" for each in events)
    export = ["train", "export", "--preset", "tiny-flow", "--flow", str(place), "--text", str(place / "weights")]
    assert main([*export, "--ae", ae, "--out", str(model)]) == 0
    assert "| samples | 6 |" in (model / "README.md").read_text()
    picture = recast.load(model).generate("a red star", width=64, height=64, steps=1, seed=0).pictures[0]
    assert (picture.width, picture.height) == (64, 64)


def test_latents_of_a_trained_autoencoder_are_measured_and_normalised(autoencoder: Path):
    from recast.train import normalise

    found = normalise.read(autoencoder / "weights" / "ae.safetensors")
    assert len(found.std) == 8
    assert found.pictures == 4


def test_a_finished_decoder_keeps_the_latents_it_started_from(autoencoder: Path, tmp_path: Path):
    from recast.weights import open_checkpoint

    start, place = autoencoder / "weights" / "ae.safetensors", tmp_path / "finish"
    argv = ["train", "ae", "--preset", "tiny-ae", "--steps", "1", "--set", "training.decoder_only=true"]
    assert main([*argv, "--init", str(start), "--out", str(place), *SMALL, "--quiet"]) == 0
    before, after = (
        open_checkpoint(each, "autoencoder").config for each in (start, place / "weights" / "ae.safetensors")
    )
    assert before.shift_factor != 0
    assert after == before


def test_an_autoencoder_is_taken_by_its_weights_not_by_its_run(
    autoencoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    argv = ["train", "flow", "--preset", "tiny-flow", "--ae", str(autoencoder), "--out", str(tmp_path / "flow")]
    assert main([*argv, *SMALL, "--quiet"]) == 2
    assert "pass --ae RUN/weights" in capsys.readouterr().err
    argv = ["train", "export", "--flow", str(autoencoder), "--text", str(autoencoder), "--ae", str(autoencoder)]
    assert main([*argv, "--out", str(tmp_path / "model")]) == 2
    assert "not of unit scale" in capsys.readouterr().err


def test_a_flow_does_not_go_on_with_other_latents(
    autoencoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other, place = tmp_path / "other", tmp_path / "flow"
    argv = ["train", "ae", "--preset", "tiny-ae", "--steps", "1", "--seed", "9", "--out", str(other)]
    assert main([*argv, *SMALL, "--quiet"]) == 0
    argv = ["train", "flow", "--preset", "tiny-flow", "--out", str(place), *SMALL, "--quiet"]
    assert main([*argv, "--ae", str(autoencoder / "weights" / "ae.safetensors"), "--steps", "1"]) == 0
    assert main([*argv, "--ae", str(other / "weights" / "ae.safetensors"), "--steps", "2"]) != 0
    assert "data.latents.encoder was" in capsys.readouterr().err


def pictures_with_words(place: Path, count: int) -> Path:
    from recast.pixels import image
    from recast.world import draw, sample

    place.mkdir()
    for n in range(count):
        image.write(image.Picture(draw.draw(sample.scene(n, kind="sheet"), 64, 64)), place / f"{n}.png")
        (place / f"{n}.txt").write_text("a zorblax on a plain background")
    return place


def test_an_adapter_is_trained_and_judged_on_a_folder_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    mine, place = pictures_with_words(tmp_path / "mine", 10), tmp_path / "lora"
    argv = ["train", "lora", "--model", "nano", "--data", f"folder:{mine}", "--out", str(place), "--steps", "1"]
    argv += ["--batch-size", "2", "--set", "data.buckets=[[64, 64]]"]
    assert main([*argv, "--quiet", "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    [adapter] = said["weights"]
    pipeline = recast.load("nano", adapters=[adapter], device="cpu", dtype="fp32")
    assert pipeline.adapters[0].matched > 0
    assert pipeline.adapters[0].unmatched == 0
    records = [json.loads(line) for line in (place / "journal.jsonl").read_text().splitlines()]
    [held_out] = [each for each in records if each.get("event") == "held out"]
    assert (len(held_out["examples"]), held_out["trained_on"]) == (1, 9)
    assert records[-2]["val/loss"] > 0
    assert records[-2]["val/text_to_image/loss"] == records[-2]["val/loss"]
    assert records[-1]["picture"] == "samples/step-000001-panel.png"
    assert said["panel"] == str(place / "panel.png")
    assert (place / "panel.png").read_bytes() == (place / records[-1]["picture"]).read_bytes()


def test_a_folder_too_small_to_judge_by_is_trained_on_whole_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    data = replace(preset("nano-lora").data, places=(f"folder:{pictures_with_words(tmp_path / 'mine', 9)}",))
    made = Examples(data, preset("nano-lora").model)
    assert made.held_out() == []
    assert "0 of the 9 examples" in caplog.messages[0]
    assert "trained on all and not judged" in caplog.messages[0]
    assert made.train.length == 9


def test_a_plan_says_how_long_a_run_takes(capsys: pytest.CaptureFixture[str]):
    argv = ["train", "plan", "--preset", "kontext-lora", "--device", "H200", "--json"]
    assert main([*argv, "--steps", "500", "--batch-size", "8"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["chosen"]["samples"] == 4000
    assert told["chosen"]["hours"] == pytest.approx(500 * told["chosen"]["seconds"] / 3600)
    assert main(["train", "plan", "--model", "kontext_dev", "--rank", "0", "--device", "H200", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["chosen"]["method"]["lora_rank"] is None


def test_lint_finds_a_shifted_pair_and_lists_the_good_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import numpy as np

    from recast.pixels import image
    from recast.world import draw, edits

    mine, rows = tmp_path / "mine", []
    mine.mkdir()
    for n in range(3):
        made = edits.edit(40 + n, kind="shirt colour")
        before, after = draw.draw(made.source, 128, 128), draw.draw(made.target, 128, 128)
        if n == 2:
            after = np.roll(after, 3, axis=1)
        for name, pixels in (("a", before), ("b", after)):
            image.write(image.Picture(np.ascontiguousarray(pixels)), mine / f"{n}{name}.png")
        rows.append({"source": f"{n}a.png", "target": f"{n}b.png", "instruction": made.instruction})
    (mine / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kept = tmp_path / "kept.txt"
    assert main(["train", "lint", "--data", f"folder:{mine}", "--out", str(kept)]) == 0
    said = capsys.readouterr().out
    assert "drop  2b: misplaced by 3.00 px" in said
    assert len(kept.read_text().splitlines()) == 2

    made = preset("nano-lora")
    made = replace(made, data=replace(made.data, places=(f"folder:{mine}",), only=str(kept)))
    assert Examples(made.data, made.model).loader().stream.about()["source"]["kind"] == "selected"
    with pytest.raises(InputError, match="a file of ids"):
        Examples(replace(made.data, only=str(mine)), made.model)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ae", "--out", "x", "--preset", "nano"], "preset='nano': nano-text"),
        (["ae", "--out", "x", "--preset", "nano-flow"], "for `train flow`"),
        (["ae", "--preset", "tiny-ae"], "--out: missing"),
        (["flow", "--out", "x", "--set", "run.stepz=3"], "did you mean run.steps"),
        (["flow", "--out", "x", "--data", "photos:y", "--preset", "tiny-flow"], "folder:PATH, shards:PATH"),
        (["ae", "--model", "nano", "--out", "x"], "--model: not for `train ae`"),
        (["flow", "--out", "x", "--ae", "nowhere"], "nowhere: not there"),
        (["text", "--data", "folder:mine", "--dry-run"], "--data: not for `train text`"),
        (["paint"], "'paint': ae, text, flow"),
        (["lint"], "--data: missing"),
        (["lint", "--data", "world", "--count", "1", "--out", "nowhere/kept.txt"], "--out=nowhere/kept.txt: a file in"),
        (["lint", "--data", "world", "--count", "1", "--out", "."], "--out=.: a file in a folder"),
        (["watch"], "RUN: missing"),
        (["watch", ".", "--json"], "--json: watch draws; leave it out"),
        (["watch", ".", "--width", "0"], "width=0, 1 runs: 36 columns or more"),
        (["ae", "--preset", "nano-finish", "--out", "x"], "pass --init"),
        (["flow", "--out", "x", "--preset", "tiny-flow"], "pass --ae RUN/weights"),
        (["lora", "--out", "x", "--preset", "kontext-lora"], "pass its weights by --model"),
        (["lora", "--out", "x", "--init", "."], "leave it out"),
        (["lora", "--out", "x", "--set", "model.flow.context_attention=cached"], "its base's"),
        (["plan", "--set", "run.steps=3"], "--set: not for `train plan`"),
        (["plan", "--model", "giant"], "no preset of that name"),
        (["plan", "--model", "tiny", "--rank", "-1"], "lora_rank=-1"),
        (["plan", "--preset", "nano-lora", "--rank", "8"], "leave out --model and --rank"),
        (["lint", "--data", "world", "--first", "-1"], "a first example from 0"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "journal.jsonl").touch()  # a run that has written nothing yet
    assert main(["train", *argv, "--quiet"]) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_run_that_another_process_is_at_is_refused_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    argv = ["train", "ae", "--preset", "tiny-ae", "--steps", "2", "--out", str(tmp_path), *SMALL, "--quiet"]
    with alone(tmp_path, "run"):
        assert main(argv) != 0
    assert "works on this run; one at a time accepted" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == [".running.lock"]


def test_ctrl_c_saves_and_the_same_command_goes_on(autoencoder: Path, tmp_path: Path):
    import subprocess
    import sys
    import time

    place = tmp_path / "flow"
    argv = ["-m", "recast", "train", "flow", "--preset", "tiny-flow", "--steps", "100000", "--out", str(place), *SMALL]
    argv += ["--ae", str(autoencoder / "weights" / "ae.safetensors"), "--set", "run.log_every_steps=1"]
    running = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = place / "journal.jsonl"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (journal.exists() and '"step"' in journal.read_text()):
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    said, told = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "recast: saves and stops after this step, or the judging that is going on; once more stops at once" in told
    assert "stopped and saved" in said
    assert list((place / "checkpoints").glob("step-*"))


def test_a_run_goes_on_and_is_asked_to_stop_where_nobody_reads_it(monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C ends a `tee` behind the run as well."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    def gone(*_: object) -> int:
        raise BrokenPipeError

    events = [Event(state.Progress(step=n), n / 2, {"flow/loss": 1.0}) for n in (1, 2)]
    monkeypatch.setattr("sys.stderr", Gone())
    args = Namespace(json=False, quiet=False)
    assert list(training._drawn(iter(events), Progress(quiet=True), args, ALONE)) == events
    monkeypatch.setattr("recast.cli.training.os.write", gone)
    with training.interrupted(ALONE) as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()


@pytest.mark.parametrize(("during", "kind"), [("judging", "SIGTERM"), ("writing", "SIGINT")])
def test_what_is_left_when_all_is_saved_stops_at_once_and_is_done_by_the_same_command(
    during: str,
    kind: str,
    autoencoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    place = Path(shutil.copytree(autoencoder, tmp_path / "ae"))
    shutil.rmtree(place / "weights")
    went_on: list[str] = []

    def broken_off(*asked: object) -> dict[str, float]:
        signal.raise_signal(signal.Signals[kind])
        went_on.append(during)
        return {}

    monkeypatch.setattr(AutoencoderStage, "validate", broken_off if during == "judging" else lambda stage: {})
    if during == "writing":
        monkeypatch.setattr(runs, "published", broken_off)
    argv = ["train", "ae", "--preset", "tiny-ae", "--steps", "2", "--out", str(place), *SMALL, "--quiet"]
    assert main(argv) == 130
    assert went_on == []
    said = capsys.readouterr().out
    assert "stopped and saved after step 2; the same command judges what was learned, and writes the weights" in said
    assert not (place / "weights").exists()
    monkeypatch.undo()
    if during == "judging":
        assert main(argv) == 0
        assert (place / "weights" / "ae.safetensors").exists()
