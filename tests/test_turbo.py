"""The four-step model in the package: what it is asked by itself, and where it ends beside its teacher."""

from pathlib import Path

import numpy as np
import pytest

import recast
from recast import weights
from recast.nano import NANO
from recast.pipeline import Pipeline
from recast.pixels import image

SOURCE = Path(__file__).parent.parent / "examples" / "cat.png"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models() -> dict[str, Pipeline]:
    return {name: recast.load(name, device="cpu", dtype="fp32") for name in ("nano", "nano-turbo")}


def edit(model: Pipeline, prompt: str, *, seed: int, **how):
    result = model.edit(SOURCE, prompt, seed=seed, **how)
    return result.recipe, result.pictures[0].rgb.astype(np.float64)


def test_nano_turbo_ends_nearer_to_many_steps_of_nano_than_four_of_nano(models: dict[str, Pipeline]):
    _, many = edit(models["nano"], "make it night", seed=1, steps=10, sampler="ab2")
    _, few = edit(models["nano"], "make it night", seed=1, steps=4)
    recipe, student = edit(models["nano-turbo"], "make it night", seed=1)
    assert recipe.steps == 4
    apart = {name: float(np.square(each - many).mean()) for name, each in (("few", few), ("student", student))}
    assert apart["student"] < 0.5 * apart["few"]


def test_nano_turbo_keeps_more_of_a_photograph_than_nano(models: dict[str, Pipeline]):
    """It was held to the source outside edits: at 0.38 of its teacher's distance; a student that was not, at 1.09."""
    source = image.read(SOURCE).rgb
    asked = "add a red star in the top left corner"
    _, many = edit(models["nano"], asked, seed=2, steps=10, sampler="ab2")
    _, student = edit(models["nano-turbo"], asked, seed=2)
    assert np.square(student - source).mean() < 0.6 * np.square(many - source).mean()


def test_the_page_of_nano_turbo_is_that_of_its_weights():
    file = NANO / "turbo.safetensors"
    page, held = (NANO / "turbo.md").read_text(encoding="utf-8"), weights.read_delta(file)
    assert (
        f"| `turbo.safetensors` | {held.parameters:,} | {file.stat().st_size:,} | `{weights.checksum(file)}` |" in page
    )
    assert f"pairs of rank {held.rank} and less, which leave {held.error:.2%} of the change's length" in page
