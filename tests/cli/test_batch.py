"""`recast edit --batch`: a folder of pictures, stopped and resumed, with bad ones among them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from recast.cli import batch
from recast.cli.batch import UNASKED, asked, size_of
from recast.cli.job import Job, Model
from recast.cli.main import Exit
from recast.cli.writing import Writer
from recast.errors import InputError, MissingWeights
from recast.pixels import image
from recast.recipe import Recipe
from tests.cli.conftest import Recast, picture, runs_out
from tests.cli.test_main import ROOT
from tests.cli.test_making import SMALL, recipe_of
from tests.tiny import tiny_pipeline

NIGHT = ("edit", "photos", "make it night", "--batch", "--out", "results", "--steps", "1", "--preserve", "off")


@pytest.fixture
def photos(here: Path) -> Path:
    """Three pictures, and what else lies in folders."""
    folder = here / "photos"
    (folder / "deeper").mkdir(parents=True)
    (here / "results").mkdir()
    for index, name in enumerate(("a.png", "b.jpg", "c.webp", ".hidden.png", "deeper/d.png")):
        picture(folder / name, index)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def times() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path("results").iterdir()}


def test_every_picture_in_the_folder_is_edited(
    recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast(*NIGHT) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["results/a.png", "results/b.png", "results/c.png"]
    assert err == "recast: 3 done, 0 skipped as finished before, 0 failed\n"
    assert sorted(times()) == ["a.png", "b.png", "c.png"]
    expected = tiny_pipeline().edit(photos / "b.jpg", "make it night", steps=1, seed=0)
    assert image.read("results/b.png").sha256() == expected.pictures[0].sha256()


def test_a_second_run_reads_no_weights_and_touches_nothing(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast(*NIGHT) == 0
    before = times()
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    capsys.readouterr()
    assert recast(*NIGHT, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["skipped"] == ["photos/a.png", "photos/b.jpg", "photos/c.webp"]
    assert err == "recast: 0 done, 3 skipped as finished before, 0 failed\n"
    assert times() == before


def test_only_what_is_not_finished_is_made_again(
    recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new source, a cut result and a picture that is none of ours: those three, and no other."""
    picture(photos / "d.png", 4)
    assert recast(*NIGHT) == 0
    picture(photos / "a.png", 9)
    result = Path("results/b.png")
    result.write_bytes(result.read_bytes()[:-40])
    picture(Path("results/c.png"), 5)
    capsys.readouterr()
    assert recast(*NIGHT) == 0
    assert capsys.readouterr().out.split() == ["results/a.png", "results/b.png", "results/c.png"]


@pytest.mark.parametrize(
    "change",
    [["--steps", "2"], ["--seed", "1"], ["--guidance", "3"], ["--size", "64x64"], ["--sampler", "heun"],
     ["--true-guidance", "2"], ["--dtype", "bf16"], ["--image", "photos/a.png"],
     ["--true-guidance", "2", "--negative-prompt", "x"]],
    ids=" ".join,
)  # fmt: skip
def test_another_request_makes_every_picture_anew(
    change: list[str], recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.jpg", "c.webp"):
        (photos / name).unlink()
    before = ["--true-guidance", "2"] if "--negative-prompt" in change else []
    assert recast(*NIGHT, *before) == 0
    capsys.readouterr()
    assert recast(*NIGHT, *change) == 0
    assert capsys.readouterr().out.split() == ["results/a.png"]


def test_other_weights_make_every_picture_anew(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast(*NIGHT) == 0
    monkeypatch.setattr("recast.loading._checksums", lambda *_: {"flow.safetensors": "0" * 64})
    capsys.readouterr()
    assert recast(*NIGHT) == 0
    assert len(capsys.readouterr().out.split()) == 3


def test_what_is_compared_and_what_is_not_make_up_the_recipe(photo: Path) -> None:
    """So that a new field of the recipe cannot be forgotten here."""
    pipeline = tiny_pipeline()
    job = Job(task="edit", prompt="x", options={"seed": 0}, pictures=[(None, image.read(photo))])
    compared = set(asked(job.start(pipeline).request, 0, pipeline, Model()))
    assert not compared & UNASKED
    assert compared | UNASKED | {"weights"} == set(Recipe.__dataclass_fields__)


STOPS = """
import sys, time
from recast.cli import main
from recast.flow.transformer import FlowTransformer
forward, made = FlowTransformer.forward, []
def slow(*given, **more):
    made.append(None)
    if len(made) > 1:
        time.sleep(300)
    return forward(*given, **more)
FlowTransformer.forward = slow
sys.exit(main(sys.argv[1:]))
"""
"""The program, but for a second picture that takes as long as it needs for the signal to come while it is made."""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    how: signal.Signals, recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS, *NIGHT],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "results/a.png\n"
    process.send_signal(how)
    _, err = process.communicate(timeout=90)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert err == "recast: 1 done, 0 skipped as finished before, 0 failed, 2 left\nrecast: cancelled\n"
    before = times()
    assert list(before) == ["a.png"]
    assert recast(*NIGHT) == 0
    assert capsys.readouterr().out.split() == ["results/b.png", "results/c.png"]
    assert times()["a.png"] == before["a.png"]


def test_a_bad_picture_is_reported_and_does_not_stop_the_rest(
    recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "b.jpg").write_bytes((photos / "b.jpg").read_bytes()[:300])
    assert recast(*NIGHT, "--json", "--quiet") == 1
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert [one["path"] for one in data["pictures"]] == ["results/a.png", "results/c.png"]
    assert [one["image"] for one in data["failed"]] == ["photos/b.jpg"]
    lines = err.splitlines()
    assert lines[0].startswith("recast: error: IMAGE='photos/b.jpg': ")
    assert lines[1:] == ["recast: 2 done, 0 skipped as finished before, 1 failed"]


def test_a_template_names_the_results(recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--batch", "--out", "results/{name}_{index}.jpg", "-n", "2", "--recipe-out", "results/{name}.json"]
    assert recast("edit", "photos", "x", *flags, *SMALL) == 0
    assert capsys.readouterr().out.split() == [f"results/{name}_{index}.jpg" for name in "abc" for index in (1, 2)]
    assert recipe_of("results/b_2.jpg").seed == 8
    assert Recipe.from_json(Path("results/b-8.json").read_text()) == recipe_of("results/b_2.jpg")


def test_references_are_the_same_for_every_picture(recast: Recast, photos: Path) -> None:
    logo = picture(Path("logo.png"), 8)
    assert recast(*NIGHT, "--ref", f"logo={logo}") == 0
    assert {recipe_of(path).images[1].name for path in Path("results").iterdir()} == {"logo"}


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["edit", "photos", "x", "--batch"], 2, "a folder needed with --batch"),
        (["edit", "photos", "x", "--batch", "--out", "-"], 2, "a folder needed with --batch"),
        (["edit", "photos", "x", "--batch", "--out", "gone"], 1, "mkdir -p gone"),
        (["edit", "photos", "x", "--batch", "--out", "photos"], 1, "photos"),
        (["edit", "photos", "x", "--batch", "--out", "photos/{name}-new.png"], 1, "folder of the sources"),
        (["edit", "photos/a.png", "x", "--batch", "--out", "results"], 1, "leave --batch out"),
        (["edit", "results", "x", "--batch", "--out", "results"], 1, "a folder without pictures"),
        (["edit", "photos", "x", "--batch", "--out", "results/{seed}.png"], 2, "two results would go there"),
        (["edit", "photos", "x", "--batch", "--out", "results", "--ref", "logo=gone.png"], 1, "gone.png"),
        (["edit", "photos", "x", "--batch", "--out", "results", "--negative-prompt", "y"], 2, "set it above 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_concerns_all_pictures_is_said_once_and_before_any_work(
    argv: list[str],
    code: int,
    said: str,
    recast: Recast,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("recast.loading.load", lambda *_, **__: pytest.fail("the weights were read"))
    assert recast(*argv) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not times()


def test_a_dry_run_says_what_is_left_to_do(recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast(*NIGHT) == 0
    picture(photos / "d.png", 4)
    capsys.readouterr()
    assert recast(*NIGHT, "--dry-run") == 0
    edits = json.loads(capsys.readouterr().out)["edits"]
    assert [(one["out"], one["is_done"]) for one in edits] == [
        (["results/a.png"], True), (["results/b.png"], True), (["results/c.png"], True), (["results/d.png"], False),
    ]  # fmt: skip
    assert "d.png" not in times()


def test_two_sources_of_one_name_keep_their_suffix(recast: Recast, photos: Path) -> None:
    picture(photos / "a.jpg", 7)
    assert recast(*NIGHT) == 0
    assert sorted(times()) == ["a-jpg.png", "a-png.png", "b.png", "c.png"]


def test_a_result_with_words_is_not_finished_where_none_are_wanted(recast: Recast, photos: Path) -> None:
    assert recast(*NIGHT) == 0
    assert recast(*NIGHT, "--metadata", "none") == 0
    assert image.read_recipe("results/a.png") is None


def test_a_missing_recipe_file_is_written(recast: Recast, photos: Path) -> None:
    assert recast(*NIGHT) == 0
    assert recast(*NIGHT, "--recipe-out", "results/{name}.json") == 0
    assert sorted(path.name for path in Path("results").glob("*.json")) == ["a.json", "b.json", "c.json"]


def test_a_recipe_is_not_written_over_something_else(
    recast: Recast, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast(*NIGHT, "--recipe-out", "model.safetensors") == 2
    assert "ends in .json" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_named_and_does_not_stop_the_rest(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = image.write_bytes

    def full(data: bytes, path: str) -> Path:
        if path.endswith("b.png"):
            raise InputError(f"path={path!r}: cannot be written (No space left on device)")
        return write(data, path)

    monkeypatch.setattr(image, "write_bytes", full)
    assert recast(*NIGHT) == 1
    out, err = capsys.readouterr()
    assert out.split() == ["results/a.png", "results/c.png"]
    assert err.splitlines() == [
        "recast: error: photos/b.jpg: path='results/b.png': cannot be written (No space left on device)",
        "recast: 2 done, 0 skipped as finished before, 1 failed",
    ]


def test_an_unexpected_error_of_writing_is_said_once_and_what_came_of_each_picture_is_still_listed(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writing the second fails while the third is made, and the fourth never is."""
    picture(photos / "d.png", 4)
    write, make, written, made = image.write_bytes, batch.make, Writer._write, []
    has_failed = threading.Event()

    def broken(data: bytes, path: str) -> Path:
        if path.endswith("b.png"):
            while len(made) < 3:
                time.sleep(0.01)
            raise RuntimeError("no such luck")
        return write(data, path)

    def counted(*given: Any, **more: Any) -> Any:
        made.append(None)
        result = make(*given, **more)
        assert len(made) != 3 or has_failed.wait(60)
        return result

    def told(writer: Writer, task: Any) -> None:
        written(writer, task)
        if writer._error is not None:
            has_failed.set()

    monkeypatch.setattr(image, "write_bytes", broken)
    monkeypatch.setattr(batch, "make", counted)
    monkeypatch.setattr(Writer, "_write", told)
    assert recast(*NIGHT, "--json") == Exit.FAILED
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert [one["path"] for one in data["pictures"]] == ["results/a.png"]
    assert [one["image"] for one in data["failed"]] == ["photos/b.jpg"]
    assert (data["unwritten"], data["left"]) == (["photos/c.webp"], ["photos/d.png"])
    first, *rest = err.splitlines()
    assert first.startswith("recast: error: photos/b.jpg: unexpected RuntimeError: no such luck")
    assert rest == ["recast: 1 done, 0 skipped as finished before, 1 failed, 1 made and not written, 1 left"]
    assert recast(*NIGHT, "--traceback") == Exit.FAILED
    assert "in broken" in capsys.readouterr().err


def test_a_picture_is_written_while_the_next_is_made_and_ctrl_c_waits_for_it_and_reports_it(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writing the first takes long; the second is stopped while it is made. The first lies there whole, alone."""
    write, make, made = image.write_bytes, batch.make, []

    def slowly(data: bytes, path: str) -> Path:
        while len(made) < 2:
            time.sleep(0.01)
        return write(data, path)

    def stopped(*given: Any, **more: Any) -> Any:
        made.append(None)
        if len(made) == 2:
            assert times() == {}
            raise KeyboardInterrupt
        return make(*given, **more)

    monkeypatch.setattr(image, "write_bytes", slowly)
    monkeypatch.setattr(batch, "make", stopped)
    assert recast(*NIGHT, "--json") == Exit.CANCELLED
    data = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in data["pictures"]] == ["results/a.png"]
    assert (data["failed"], data["unwritten"], data["left"]) == ([], [], ["photos/b.jpg", "photos/c.webp"])
    assert list(times()) == ["a.png"]
    assert recipe_of("results/a.png").seed == 0


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), Exit.CANCELLED), (MissingWeights("gone"), Exit.WEIGHTS)]
)
def test_a_reader_that_has_gone_changes_no_exit_code(
    error: BaseException, status: Exit, recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first picture skipped as unreadable, so that there is something to tell; then it ends."""

    def ended(*_: Any, **__: Any) -> Any:
        raise error

    read, write = os.pipe()
    os.close(read)
    (photos / "a.png").write_bytes(b"no picture")
    monkeypatch.setattr(batch.planned, "load", ended)
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert recast(*NIGHT, "--json") == status
        stdout.flush()  # as Python does at its end


def test_an_error_that_ends_the_batch_leaves_the_report_of_what_came_before(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = batch.make

    def broken(job: Job, *given: Any, title: str, **more: Any) -> Any:
        if title.startswith("2/"):
            raise RuntimeError("no such luck")
        return make(job, *given, title=title, **more)

    monkeypatch.setattr(batch, "make", broken)
    assert recast(*NIGHT, "--json") == Exit.FAILED
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert [one["path"] for one in data["pictures"]] == ["results/a.png"]
    assert data["left"] == ["photos/b.jpg", "photos/c.webp"]
    said, error = err.splitlines()
    assert said == "recast: 1 done, 0 skipped as finished before, 0 failed, 2 left"
    assert error.startswith("recast: error: unexpected RuntimeError: no such luck")


def test_where_memory_runs_out_under_a_cap_a_picture_is_tried_once_more_with_less(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second picture fails once. There is no recipe below the one it takes, so that the third is lost, alone."""
    picture(photos / "d.png", 4)
    assert recast(*NIGHT, "--plan", "exact") == 0
    plain = {name: image.read(f"results/{name}").sha256() for name in times()}
    for name in times():
        Path("results", name).unlink()
    capsys.readouterr()
    runs_out(monkeypatch, 1, 3)
    assert recast(*NIGHT, "--plan", "exact", "--vram", "9mb") == 1
    out, err = capsys.readouterr()
    assert out.split() == ["results/a.png", "results/b.png", "results/d.png"]
    warned = [line for line in err.splitlines() if "warning" in line]
    assert warned[0].startswith("recast: warning: photos/b.jpg: memory: ran out (")
    assert "tried again with resident_blocks=" in warned[0]
    assert [line for line in err.splitlines() if line.startswith("recast: error: photos/c.webp: memory: ran out")]
    assert {name: image.read(f"results/{name}").sha256() for name in times()} == {
        name: sha256 for name, sha256 in plain.items() if name != "c.png"
    }


def test_the_recipe_under_a_cap_is_for_the_largest_and_what_cannot_fit_is_refused_alone(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_for: list[Any] = []
    load = batch.planned.load
    monkeypatch.setattr(
        batch.planned, "load", lambda model, request, say: asked_for.append(request) or load(model, request, say)
    )
    picture(photos / "d.png", 4, width=64, height=64)
    picture(photos / "e.png", 4, width=640, height=640)
    assert recast(*NIGHT, "--size", "source", "--plan", "exact", "--vram", "8mb") == 1
    assert asked_for[0].grid == (4, 4)
    out, err = capsys.readouterr()
    assert [Path(path).stem for path in out.split()] == ["a", "b", "c", "d"]
    refused = [line for line in err.splitlines() if "error" in line]
    assert [line.partition(" of ")[0] for line in refused] == ["recast: error: photos/e.png: cap"], refused


def test_the_largest_is_found_in_headers_and_what_is_done_is_left_out(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four: one to begin with, one that is done and larger than all, one cut short, and the largest that is left."""
    picture(photos / "b.png", 2, width=96, height=96)
    (photos / "b.jpg").unlink()
    under = ("--size", "source", "--plan", "exact", "--vram", "12mb")
    assert recast(*NIGHT, *under) == 0
    for name in "ac":
        Path("results", f"{name}.png").unlink()
    picture(photos / "d.png", 4, width=64, height=64)
    (photos / "e.jpg").write_bytes((photos / "d.png").read_bytes()[:20])
    read: list[str] = []
    asked_for: list[Any] = []
    job_of, load = batch.job_of, batch.planned.load

    def noted(model: Any, request: Any, say: Any) -> Any:
        assert sorted(read) == ["photos/a.png", "photos/b.png"], "the others are looked at by their headers alone"
        asked_for.append(request)
        return load(model, request, say)

    monkeypatch.setattr(batch, "job_of", lambda args, source, *more: read.append(source) or job_of(args, source, *more))
    monkeypatch.setattr(batch.planned, "load", noted)
    assert recast(*NIGHT, *under) == 1, "the one cut short"
    assert [one.grid for one in asked_for] == [(4, 4)]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_the_size_in_a_header_is_that_of_the_upright_picture(kind: str, here: Path) -> None:
    exif = Image.Exif()
    for orientation, size in ((1, (48, 32)), (3, (48, 32)), (6, (32, 48))):
        exif[ExifTags.Base.Orientation] = orientation
        Image.new("RGB", (48, 32)).save("turned", kind, exif=exif)
        read = image.read("turned")
        assert size_of("turned") == (read.width, read.height) == size


def test_where_the_host_s_memory_runs_out_no_recipe_is_lowered(
    recast: Recast, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a merge, say. What the device's memory does is told above."""
    made = []

    def merging(*_: Any, **__: Any) -> Any:
        made.append(None)
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(batch, "make", merging)
    assert recast(*NIGHT, "--plan", "exact", "--vram", "9mb") == Exit.MEMORY
    assert len(made) == 1
    assert "tried again" not in capsys.readouterr().err
