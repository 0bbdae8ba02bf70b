"""Freed memory is kept by trainings on a CPU, where the C library can."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from recast.train import parallel
from recast.train.allocator import M_MMAP_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory
from recast.train.settings import Parallel

FAULTS = """
import resource, numpy
from recast.train.allocator import keep_freed_memory
{call}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones(8 << 20)  # 64 MiB
before = faults()
numpy.ones(8 << 20)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_memory_that_was_freed_is_taken_again_without_a_page_fault():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for code in (FAULTS.format(call="assert keep_freed_memory()"), FAULTS.format(call=""))
    )
    assert kept < 100
    assert given_back > 10 * max(kept, 1)  # huge pages are few, too


def test_a_c_library_without_it_is_left_alone():
    assert not keep_freed_memory(SimpleNamespace())  # type: ignore[arg-type]
    assert not keep_freed_memory(SimpleNamespace(mallopt=pytest.fail))  # type: ignore[arg-type]


def test_where_the_threshold_is_refused_nothing_is_mapped():
    asked: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        asked.append((name, value))
        return int(name != M_MMAP_THRESHOLD)

    assert keep_freed_memory(SimpleNamespace(mallopt=mallopt, gnu_get_libc_version=str))  # type: ignore[arg-type]
    assert [name for name, _ in asked] == [M_MMAP_THRESHOLD, M_MMAP_MAX, M_TRIM_THRESHOLD]
    assert asked[1:] == [(M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)]


def test_a_training_on_a_cpu_keeps_what_it_frees(monkeypatch: pytest.MonkeyPatch):
    calls: list[bool] = []
    monkeypatch.setattr(parallel, "keep_freed_memory", lambda: calls.append(True))
    monkeypatch.setattr(parallel.torch.cuda, "set_device", lambda device: None)
    parallel.start(Parallel(), device="cuda")
    assert not calls
    parallel.start(Parallel(), device="cpu")
    assert calls == [True]
