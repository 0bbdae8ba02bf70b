"""What a terminal shows of a run: golden frames, scales, widths, colours, and new frames as a journal grows."""

from __future__ import annotations

import json
import math
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from recast.errors import ConfigError, InputError
from recast.train import watch
from recast.train.journal import Journal
from recast.train.parallel import ALONE
from recast.train.watch import Scale, Watched, draw, frames


def line(step: int, **numbers: float) -> dict[str, Any]:
    return {"step": step, "samples": 64 * step, "seconds": 0.5 * step} | {
        name.replace("__", "/"): value for name, value in numbers.items()
    }


def halving(count: int = 8, scale: float = 1.0) -> list[dict[str, Any]]:
    """A loss that halves every ten steps: a straight line on a logarithmic scale."""
    speed = {"perf__images_s": 128.0, "perf__mfu": 0.25, "perf__data_wait": 0.02, "perf__memory_gib": 3.5}
    return [line(10 * i, flow__loss=scale * 0.5**i, **speed) for i in range(1, count + 1)]


GOLDEN = """\
runs/a
step 80  5,120 examples  0:40  1:00 left
128 images/s  3.5 GiB  25 % MFU
2 % waiting for data
skipped 1
flow/loss  0.003906  (log)
     0.5 ┤⠉⠒⠤⣀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀
         ┤⠀⠀⠀⠈⠑⠢⢄⡀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀
         ┤⠀⠀⠀⠀⠀⠀⠀⠈⠑⠢⢄⡀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀
         ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠉⠒⠤⣀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀
  0.0442 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠉⠒⠤⣀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀
         ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠈⠑⠢⢄⡀⠀⠀⠀⠀⠀⠀⠀
         ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠈⠑⠢⢄⡀⠀⠀⠀
 0.00391 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠉⠒⠤⣀
          10                     step 80"""


def test_a_frame_is_drawn_as_it_always_was():
    records = [*halving(), {"event": "skipped", "step": 3}]
    assert draw([Watched("runs/a", records, steps=200)], 40) == GOLDEN


def test_bins_of_time_are_small_curves_on_one_scale():
    falling = [0.0141 * 2.0 ** (8 - i) for i in range(1, 9)]  # in the middle of each of eight octaves
    records = [line(i, val_ema__t0=y, val_ema__t1=2.56 if i % 2 else 0.01) for i, y in enumerate(falling, start=1)]
    shown = draw([Watched("a", records)], 60).splitlines()
    assert shown[-3:] == [
        "val_ema by time, 1 is noise  (log)",
        "0/2-1/2 █▇▆▅▄▃▂▁                         1.8 to 0.0141",
        "1/2-2/2 █▁█▁█▁█▁                         2.56 to 0.01",
    ]


def test_runs_stand_side_by_side_on_the_same_scales():
    one, two = Watched("one", halving(8)), Watched("two", halving(4, scale=2.0))
    shown = draw([one, two], 80)
    assert max(map(len, shown.splitlines())) <= 80
    title = next(row for row in shown.splitlines() if "flow/loss" in row)
    assert re.fullmatch(r"flow/loss  0\.003906  \(log\) +flow/loss  0\.125  \(log\)", title)
    assert shown.count("       1 ┤") == 2  # the highest of both, at both
    assert shown.count("step 80") == 3  # where the first run stands, and the end of both axes
    below = draw([one, two], 60)
    assert below.count("       1 ┤") == 2
    assert below.index("two") > below.index(" 0.00391 ┤")


def test_what_does_not_fit_is_counted():
    records = [line(i, flow__loss=1.0, val__loss=1.0, val__psnr=30.0 + i) for i in (1, 2)]
    shown = draw([Watched("a", records)], 60, height=14)
    assert "val/loss" in shown.splitlines()[-1]
    assert shown.splitlines()[-1] == "2 more in a higher window: val/loss, val/psnr"
    assert "in a higher window" not in draw([Watched("a", records)], 60, height=60)


def test_numbers_that_are_not_finite_leave_a_gap_and_no_scale():
    records = [line(1, flow__loss=1.0), line(2, flow__loss=math.nan), line(3, flow__loss=math.inf)]
    assert "flow/loss  1  (log)" in draw([Watched("a", records)], 60)
    assert "flow/loss: no numbers" in draw([Watched("a", records[1:])], 60)
    assert draw([Watched("a", [])], 60) == "a\nno numbers yet"


def test_lost_work_is_not_drawn():
    records = [*halving(8), {"event": "resumed", "step": 40}, line(50, flow__loss=0.04)]
    shown = draw([Watched("a", records)], 60)
    assert "step 50" in shown
    assert "flow/loss  0.04  (log)" in shown


def test_colour_is_there_only_where_it_is_asked_for():
    run = Watched("a", halving())
    plain, painted = draw([run], 60), draw([run], 60, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[36m" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain


@pytest.mark.parametrize(
    ("steps", "minutes", "said"), [(160, None, "0:40 left"), (None, 1.0, "0:20 left"), (160, 1.0, "0:20 left")]
)
def test_the_time_left_is_that_of_the_end_that_comes_first(steps: int | None, minutes: float | None, said: str):
    assert said in draw([Watched("a", halving(), steps=steps, minutes=minutes)], 60)
    assert "end unknown" in draw([Watched("a", halving())], 60)


def test_a_scale_is_logarithmic_where_it_can_be():
    assert Scale(0.01, 1.0, True).place(0.1) == pytest.approx(0.5)
    assert Scale(0.0, 1.0, False).at(0.25) == 0.25
    negative = [line(i, generator__loss=-1.0 * i) for i in (1, 2)]
    assert "(log)" not in draw([Watched("a", negative)], 60)


def test_too_narrow_a_window_is_refused():
    with pytest.raises(ConfigError, match="width=20"):
        draw([Watched("a", halving())], 20)
    with pytest.raises(ConfigError, match="0 runs"):
        draw([], 80)


def test_a_followed_run_is_drawn_again_when_its_journal_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = Journal(tmp_path, ALONE)
    made.log(10, 640, 5.0, {"flow/loss": 1.0})
    stored = tmp_path / "checkpoints" / "step-00000010" / "run.json"
    stored.parent.mkdir(parents=True)
    stored.write_text(json.dumps({"settings": {"run": {"steps": 40, "minutes": None}}}))
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            made.log(20, 1280, 10.0, {"flow/loss": 0.5})

    monkeypatch.setattr(watch.time, "sleep", sleep)
    first, second = islice(frames([tmp_path], width=60, colour=False, follow=True), 2)
    assert "0:15 left" in first
    assert "flow/loss  1 " in first
    assert "flow/loss  0.5 " in second
    assert len(waits) == 3
    assert len(list(frames([tmp_path], width=60, colour=False, follow=False))) == 1
    with pytest.raises(InputError, match="no journal"):
        next(frames([tmp_path / "elsewhere"], width=60, colour=False, follow=False))
