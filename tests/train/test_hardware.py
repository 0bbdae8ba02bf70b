"""The table of devices, and which of them a driver's name means."""

from __future__ import annotations

import os

import pytest
import torch

from recast.errors import ConfigError
from recast.train.hardware import DEVICES, Device, device, here, named


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("AMD Instinct MI300X", "MI300X"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GeForce RTX 3060", None),
    ],
)
def test_a_drivers_name_means_one_device_or_none(full: str, name: str | None):
    found = named(full)
    assert (found and found.name) == name


def test_a_device_is_found_by_its_name_in_any_case():
    assert device("h200").memory_gib == 139
    with pytest.raises(ConfigError, match=r"hardware='H300': B200, H200, .* accepted"):
        device("H300")
    assert len({each.name for each in DEVICES}) == len(DEVICES)


def test_peaks_are_those_of_dense_products():
    """An H100 and an H200 have the same arithmetic; sheets that print 1979 count zeros that are left out."""
    assert device("H100").peak_tflops == device("H200").peak_tflops == pytest.approx(1979 / 2, rel=0.001)


def test_the_cpu_at_hand_is_measured():
    found = here(torch.device("cpu"))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert found.memory_gib == pytest.approx(pages / 2**30)
    assert 0.001 < found.peak_tflops < 100
    with pytest.raises(ConfigError, match="cpu or cuda accepted"):
        here(torch.device("meta"))


def test_the_gpu_at_hand_has_its_own_memory_and_the_tables_peak(monkeypatch: pytest.MonkeyPatch):
    class Properties:
        total_memory = 70 << 30

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    found = here(torch.device("cuda"))
    assert (found.name, found.memory_gib, found.peak_tflops) == ("H100", 70, 989)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA GeForce RTX 3060")
    monkeypatch.setattr("recast.train.parallel.Ranks.measure_peak", lambda _: 12.5)
    assert here(torch.device("cuda")).peak_tflops == 12.5


def test_a_device_without_memory_is_refused():
    with pytest.raises(ConfigError, match="memory_gib=0"):
        Device(name="none", memory_gib=0, peak_tflops=1, bandwidth_gb_s=None, source="")
