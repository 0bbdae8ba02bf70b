"""What a merge costs: seconds to take other regions, memory of a large picture."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recast.retouch.merge import merge
from recast.retouch.regions import read_parts

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LARGE = """
import json, sys
import numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from merge_speed import CASES, memory_mib, pair
from recast.retouch.merge import merge
source, edited = pair(CASES[int(sys.argv[2])])
Path("/proc/self/clear_refs").write_text("5")
before = memory_mib("VmRSS")
made = merge(source, edited)
print(json.dumps([made.verdict, before, memory_mib("VmHWM")]))
"""


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, which finds its neighbours as a script does."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("merge_speed")


def test_other_regions_of_a_megapixel_are_taken_in_a_fifth_of_a_second(speed: Any, tmp_path: Path) -> None:
    made = merge(*speed.pair(speed.CASES[0]))
    assert made.verdict == "local"
    assert made.registration.kind == "similarity"
    assert made.registration.pair is None  # large, and only registration needs it
    parts = read_parts(made.write_parts(tmp_path / "parts"))
    for taken in (made.accepting, parts.accepting):
        spent = []
        for ids in ([], [1], [1]):
            started = time.process_time()  # of one thread's work; the clock on a busy machine says little
            taken(ids)
            spent.append(time.process_time() - started)
        assert min(spent) <= 0.2, spent  # 0.013 s here


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from /proc")
def test_a_4k_picture_of_16_bits_with_alpha_and_profile_stays_below_one_and_a_half_gigabytes(speed: Any) -> None:
    row = next(number for number, case in enumerate(speed.CASES) if case.size == "4K" and case.has_alpha and case.is_p3)
    command = [sys.executable, "-c", LARGE, str(BENCHMARKS), str(row)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    verdict, before, peak = json.loads(answer.stdout)
    assert verdict == "local"
    assert before < peak <= 1500, (before, peak)  # MiB of the whole process
