"""The command line as a user has it: the embedded model, a process of its own."""

from pathlib import Path

import pytest

from recast.pixels import image
from tests.cli.test_main import shell
from tests.cli.test_making import recipe_of

UNMERGED = ("recast: warning: nothing changed: ", "recast: warning: not merged, ")


@pytest.fixture(autouse=True)
def nano(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECAST_MODEL")


def test_generate_edit_and_replay(here: Path) -> None:
    """With nothing but defaults, and a replay in another process."""
    made = shell("generate", "a red circle", "--out", "circle.png", "--steps", "1", "--size", "64x64")
    assert (made.returncode, made.stdout, made.stderr) == (0, "circle.png\n", "")
    edited = shell("edit", "circle.png", "make it blue", "--out", "blue.webp", "--steps", "1", "--size", "source")
    assert (edited.returncode, edited.stdout) == (0, "blue.webp\n")
    # what one step of a small model comes to depends on the processor's last bits; a merge needs no word, else one line
    assert edited.stderr == "" or (edited.stderr.startswith(UNMERGED) and edited.stderr.count("\n") == 1)
    recipe = recipe_of("blue.webp")
    assert (recipe.model, recipe.width, recipe.height) == ("nano", 64, 64)
    assert recipe.images[0].sha256 == image.read("circle.png").sha256()
    again = shell("edit", "--recipe", "blue.webp", "--out", "again.webp", "--exact")
    assert (again.returncode, again.stderr) == (0, edited.stderr)
    assert Path("again.webp").read_bytes() == Path("blue.webp").read_bytes()
