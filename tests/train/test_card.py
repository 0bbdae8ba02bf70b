"""What a model's page says of the run that made its flow."""

from __future__ import annotations

from pathlib import Path

from recast.config import tiny
from recast.train.card import Card, history, page
from recast.train.loop import run
from tests.train.test_flat import Judged, falls_until_4
from tests.train.test_loop import Numbers, short


def test_a_page_says_how_much_the_run_saw_on_what_and_how_its_loss_fell(tmp_path: Path):
    made = Judged(falls_until_4)
    settings = short(steps=40, validate_every_steps=1, flat_over=3)
    for event in run(made, Numbers(), settings, tmp_path):
        made.step = event.progress.step + 1
    rows = history(tmp_path)
    assert (rows["steps"], rows["samples"]) == ("14", "56")  # not 40
    assert rows["hardware"].startswith("1 x CPU (")
    losses = [tuple(each.split(" at ")) for each in rows["held-out loss"].split("; ")]
    assert len(losses) == 8
    assert (losses[0], losses[-1]) == (("4.0000", "4 samples"), ("1.0000", "56 samples"))
    assert rows["flat"].startswith("from 28 samples on")
    assert "| samples | 56 |" in page(tiny(), Card(made=rows), {}).partition("## How it was made")[2]


def test_a_page_of_files_without_a_run_says_nothing_of_one(tmp_path: Path):
    (tmp_path / "flow.safetensors").touch()
    assert history(tmp_path) == history(tmp_path / "flow.safetensors") == {}
