"""The doorway: what it imports, what it says, and what the shell is told."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from recast.cli.main import VERBS, Exit
from recast.config import VERSION
from recast.errors import Cancelled, ConfigError, InputError, MissingWeights, OutOfMemory, ShapeError, WeightsError
from tests.cli.conftest import Recast

ROOT = Path(__file__).parents[2]
OURS = tuple(VERBS)


def shell(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "recast", *map(str, argv)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environ, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("argv", [["--help"], *([verb, "--help"] for verb in OURS)], ids=" ".join)
def test_help_takes_less_than_three_tenths_of_a_second(argv: list[str]) -> None:
    """Of processor time: the wall clock belongs to whoever shares the machine. One of three tries is enough."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert shell(*argv).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 0.3 for _ in range(3))


@pytest.mark.parametrize("argv", [["--help"], ["--version"], *([verb, "--help"] for verb in OURS)], ids=" ".join)
def test_help_imports_neither_torch_nor_numpy_nor_pillow(argv: list[str]) -> None:
    code = f"import sys; from recast.cli import main; main({argv}); print(*sys.modules, file=sys.stderr)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert not {"torch", "numpy", "PIL"} & set(done.stderr.split())


def test_info_needs_no_torch(photo: Path) -> None:
    code = (
        "import sys; from recast.cli import main; [main(['info', path]) for path in sys.argv[1:]]; print(*sys.modules)"
    )
    argv = [sys.executable, "-c", code, "nano", "kontext_dev", str(photo)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, check=True)
    assert "torch" not in done.stdout.splitlines()[-1].split()


def test_version(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("--version") == 0
    assert capsys.readouterr().out == f"recast {VERSION}\n"


def test_help_lists_every_command(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n  {verb} " in text and summary in text for verb, summary in VERBS.items())


def test_no_command_prints_the_help_and_is_wrong_usage(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast() == 2
    out, err = capsys.readouterr()
    assert not out
    assert "commands:" in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["edti"], "did you mean edit;"),
        (["xyzzy"], "accepted: generate, edit"),
        (["generate", "x", "--step", "3"], "did you mean --steps;"),
        (["generate", "x", "--steps", "few"], "--steps"),
        (["generate"], "PROMPT: missing"),
        (["generate", "x"], "--out: missing"),
        (["edit"], "IMAGE, INSTRUCTION: missing"),
        (["edit", "photo.png"], "INSTRUCTION: missing"),
        (["edit", "photo.png", "x", "--size", "big"], "auto, source, trained or WxH accepted"),
        (["edit", "photo.png", "x", "--ref", "logo.png"], "name=path accepted"),
        (["generate", "x", "--aspect-ratio", "0:9", "--out", "a.png"], "16:9"),
        (["generate", "x", "--size", "64x64", "--width", "64", "--out", "a.png"], "one of the three"),
        (["generate", "x", "--times", "1,a", "--out", "a.png"], "1,0.7,0.4,0"),
        (["generate", "x", "--exact", "--out", "a.png"], "--recipe FILE is missing"),
        (["convert", "a", "b"], "--layout: missing"),
        (["convert", "a", "b", "--layout", "odd"], "bfl, diffusers, recast accepted"),
        (["--quiet", "edit"], "unrecognized arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exit_code_two(
    argv: list[str], said: str, recast: Recast, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recast(*argv) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("recast: error: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a picture"), 1),
        (ShapeError("a shape"), 1),
        (WeightsError("a checkpoint"), 1),
        (ZeroDivisionError("a mistake of ours"), 1),
        (OSError(28, "No space left on device"), 1),
        (ConfigError("an option"), 2),
        (OutOfMemory("too large"), 4),
        (MemoryError(), 4),
        (MissingWeights("not there"), 6),
        (KeyboardInterrupt(), 130),
        (Cancelled(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_its_exit_code(
    error: BaseException, code: int, recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("recast.loading.load", load)
    assert recast("generate", "x", "--out", "x.png") == code
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines()[-1].startswith("recast: ")
    assert "Traceback" not in err
    assert not Path("x.png").exists()


def test_the_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: int(code) for code in Exit} == {
        "DONE": 0, "FAILED": 1, "USAGE": 2, "REFUSED": 3, "MEMORY": 4, "GATE": 5, "WEIGHTS": 6, "CANCELLED": 130,
    }  # fmt: skip


def test_traceback_shows_where_an_error_came_from(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("info", "nothing.png", "--traceback") == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "read_bytes" in err
    assert err.splitlines()[-1].startswith("recast: error: PATH='nothing.png'")


def test_a_mistake_of_ours_says_so(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recast.cli.info.run", lambda args: 1 / 0)
    assert recast("info", "nano") == 1
    assert "unexpected ZeroDivisionError" in capsys.readouterr().err


def test_a_reader_that_stops_is_no_error() -> None:
    command = f"{sys.executable} -m recast info nano --json | true; echo ${{PIPESTATUS[0]}}"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environ, check=True)
    assert not done.stderr
    assert done.stdout.strip() in ("0", "1")  # 0 where all was written before the reader left


def test_settings_of_the_machine_come_from_the_environment(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECAST_DTYPE", "bf16")
    assert recast("generate", "x", "--dry-run") == 0
    resolved = json.loads(capsys.readouterr().out)
    assert (resolved["model"], resolved["dtype"]) == ("tiny", "bfloat16")
    assert recast("generate", "x", "--dry-run", "--dtype", "fp32", "--model", "nano") == 0
    resolved = json.loads(capsys.readouterr().out)
    assert (resolved["model"], resolved["dtype"]) == ("nano", "float32")


def test_a_library_that_an_extra_brings_is_named_with_the_extra(
    recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr("recast.loading.load", load)
    assert recast("generate", "x", "--out", "x.png") == 1
    assert "pip install 'recast[quality]'" in capsys.readouterr().err
