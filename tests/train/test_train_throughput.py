"""The benchmark of training steps does the recipe's step, on shapes as the recipe has them."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recast.train import presets
from recast.train.flow_stage import FlowStage

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def throughput(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, its neighbours found as when it is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("train_throughput")


def test_a_smaller_round_keeps_whole_tokens(throughput: ModuleType):
    assert throughput.shapes(((256, 256), (336, 192)), None, 16) == [(256, 256), (336, 192)]
    assert throughput.shapes(((256, 256), (336, 192)), 64, 16) == [(64, 64), (80, 48)]


def test_a_round_holds_the_shapes_and_the_uses_of_the_recipe(
    throughput: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[Any, ...]] = []
    prepare = FlowStage.prepare

    def spied(stage: FlowStage, batch: Any, share: float) -> Any:
        made = prepare(stage, batch, share)
        shape = tuple(batch.target.shape[-2:]), len(batch.contexts)
        seen.append((stage.training, shape, made.count, [len(each.uses) for each in made.passes]))
        return made

    monkeypatch.setattr(FlowStage, "prepare", spied)
    monkeypatch.setattr(throughput.record, "RESULTS", tmp_path)
    words = "--case pairs --mixed --preset tiny --size 64 --steps 1 --warm-up 0 --batch 3 --device cpu --precision fp32"
    throughput.main(words.split())
    recipe = presets.nano_flow().training
    square, wide = (64, 64), (48, 80)
    assert [shape for training, shape, *_ in seen if training == recipe] == 2 * [
        (square, 1), (wide, 1), (square, 2), (wide, 2),
    ]  # fmt: skip
    assert all(count == 3 * recipe.uses for *_, count, _ in seen)
    assert len({tuple(passes) for training, *_, passes in seen if training == recipe}) > 1  # of other lengths
    assert all(len(passes) == 1 for training, *_, passes in seen if training != recipe)
    (line,) = (tmp_path / "train_throughput.jsonl").read_text().splitlines()
    rows = json.loads(line)["rows"]
    assert [row["arm"] for row in rows] == ["recipe", "edits"]
    assert all(row["batch"] == 12 and row["uses/s"] == pytest.approx(4 * row["examples/s"]) for row in rows)
