"""Work that goes by steps is tried once more, from its beginning, where the device's memory runs out under a cap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recast.cli import thumbnails_work
from recast.cli.lowering import Lowering
from recast.cli.main import Exit
from recast.cli.planned import Ready
from recast.errors import OutOfMemory
from recast.retouch.editor import Editor
from recast.speed import accelerate
from recast.speed.autoencoder import FastAutoencoder
from recast.thumbnails.variants import Step
from tests.cli.conftest import Recast, runs_out
from tests.thumbnails import channel
from tests.thumbnails.finished import finished_set
from tests.tiny import tiny_pipeline

SOURCE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
ASKED = {"seed": 3, "steps": 3, "preserve": "off"}


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def editor(warned: list[str]) -> Lowering:
    fast = accelerate(tiny_pipeline(), "exact", vram="9mb")
    return Lowering(Ready(fast.pipeline, fast), warned.extend)


def test_a_run_goes_on_with_the_steps_of_another(
    editor: Lowering, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Editor(accelerate(tiny_pipeline(), "exact").pipeline).edit(SOURCE, "make it red", **ASKED)
    runs_out(monkeypatch, 1)
    run = editor.start_edit(SOURCE, "make it red", **ASKED)
    assert [step.index for step in run] == [1, 1, 2, 3]
    assert np.abs(run.result.pictures[0].rgb.astype(int) - wanted.pictures[0].rgb).max() <= 1
    (note,) = warned
    assert "tried again with resident_blocks=" in note
    assert editor.start_generate("red", width=32, height=32, steps=1, seed=1).finish().pictures


def test_a_second_time_is_an_error_and_so_is_the_memory_of_the_host(
    editor: Lowering, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = editor.ready.fast.memory
    monkeypatch.setattr(Editor, "_steps", of_the_host)
    with pytest.raises(MemoryError, match="merge"):
        editor.edit(SOURCE, "make it red", **ASKED)
    assert editor.ready.fast.memory == memory, "no lower recipe helps there"
    runs_out(monkeypatch, 1, 3)
    with pytest.raises(OutOfMemory):
        editor.start_generate("red", width=32, height=32, steps=3, seed=1).finish()


def of_the_host(*_: Any) -> Any:
    yield from ()
    raise MemoryError("of a merge")


def test_a_set_of_thumbnails_is_made_so(
    here: Path, recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class One:
        """Of a set, the base alone."""

        def __init__(self, brief: Any, kit: Any, folder: Any, tools: Any) -> None:
            self.tools, self.entries, self.findings = tools, [], []

        def make(self, until: str) -> Any:
            run = self.tools.generator().start_generate("red", width=32, height=32, steps=2, seed=1)
            for step in run:
                yield Step("base", step.index, step.of)

    monkeypatch.setattr("recast.thumbnails.workflow.Set", One)
    monkeypatch.setattr(thumbnails_work, "say_so_far", lambda *_, **__: None)
    assert recast("thumbnails", "new", "robot", "-q") == 0
    channel.files(here / "robot")
    runs_out(monkeypatch, 1)
    words = ("--faces", "none", "--read", "none", "--plan", "exact", "--vram", "9mb", "-q")
    assert recast("thumbnails", "make", "robot/brief.yaml", *words) == 0
    assert "recast: warning: memory: ran out (" in capsys.readouterr().err


def test_a_loop_is_made_so(
    here: Path, recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decode, count = FastAutoencoder.decode, iter(range(1000))

    def once_too_large(*given: Any, **more: Any) -> Any:
        if next(count) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return decode(*given, **more)

    finished_set(here / "set")
    monkeypatch.setattr(FastAutoencoder, "decode", once_too_large)
    words = ("--seconds", 3, "--fps", 6, "--width", 48, "--plan", "lossless", "--vram")
    assert recast("thumbnails", "animate", "set", *words, "9mb") == Exit.DONE
    assert "recast: warning: memory: ran out (CUDA out of memory" in capsys.readouterr().err
    assert (here / "set" / "loop.webp").exists()
