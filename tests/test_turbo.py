"""The four-step model in the package: what it is asked by itself, and that it ends where its teacher does."""

from pathlib import Path

import numpy as np
import pytest

import recast

SOURCE = Path(__file__).parent.parent / "examples" / "cat.png"


@pytest.mark.slow
def test_nano_turbo_ends_nearer_to_many_steps_of_nano_than_four_of_nano():
    nano, turbo = (recast.load(name, device="cpu", dtype="fp32") for name in ("nano", "nano-turbo"))

    def edit(model, **how):
        result = model.edit(SOURCE, "make it night", seed=1, **how)
        return result.recipe, result.pictures[0].rgb.astype(np.float64)

    _, many = edit(nano, steps=10, sampler="ab2")
    _, few = edit(nano, steps=4)
    recipe, student = edit(turbo)
    assert recipe.steps == 4
    apart = {name: float(np.square(each - many).mean()) for name, each in (("few", few), ("student", student))}
    print(apart)
    assert apart["student"] < 0.5 * apart["few"]
