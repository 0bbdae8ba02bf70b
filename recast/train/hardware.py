"""What machines have: memory, arithmetic, and how they are joined.

Peaks are those of data sheets for dense bf16 products with sums in fp32, half of the "with sparsity" figures that
some sheets print. No real step reaches them: a long row of large products on an H200 was measured at 788 TFLOP/s of
its 989, for it is power that ends there. MFU is counted against the peak all the same, as everybody does.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recast.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from recast.train.settings import Precision


@dataclass(frozen=True, kw_only=True)
class Device:
    """One accelerator, or a CPU.

    memory_gib: what torch reports, rounded down; the driver takes its part of it. link: between the devices of one
    machine, link_gb_s of one device in both directions together.
    """

    name: str
    memory_gib: float
    peak_tflops: float  # bf16, dense; of a CPU measured, in fp32 unless `source` says otherwise
    bandwidth_gb_s: float | None  # of its memory; None where nobody measured it
    link: str | None = None
    link_gb_s: float | None = None
    is_cpu: bool = False
    source: str

    def __post_init__(self) -> None:
        for name in ("memory_gib", "peak_tflops"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)} of device {self.name!r}: a number above 0 accepted")


_SHEET = "the maker's data sheet"

DEVICES: tuple[Device, ...] = (
    Device(
        name="B200", memory_gib=178, peak_tflops=2250, bandwidth_gb_s=8000, link="NVLink 5", link_gb_s=1800,
        source=_SHEET,
    ),
    Device(
        name="H200", memory_gib=139, peak_tflops=989, bandwidth_gb_s=4800, link="NVLink 4", link_gb_s=900,
        source=f"{_SHEET}, SXM form; memory as seen there",
    ),
    Device(
        name="H100", memory_gib=79, peak_tflops=989, bandwidth_gb_s=3350, link="NVLink 4", link_gb_s=900,
        source=f"{_SHEET}, SXM form of 80 GB",
    ),
    Device(
        name="H100 PCIe", memory_gib=79, peak_tflops=756, bandwidth_gb_s=2000, link="PCIe 5", link_gb_s=128,
        source=f"{_SHEET}, PCIe form of 80 GB",
    ),
    Device(
        name="A100", memory_gib=79, peak_tflops=312, bandwidth_gb_s=2039, link="NVLink 3", link_gb_s=600,
        source=f"{_SHEET}, SXM form of 80 GB",
    ),
    Device(
        name="MI300X", memory_gib=191, peak_tflops=1307, bandwidth_gb_s=5300, link="Infinity Fabric", link_gb_s=896,
        source=_SHEET,
    ),
    Device(
        name="L40S", memory_gib=44, peak_tflops=362, bandwidth_gb_s=864, link="PCIe 4", link_gb_s=64, source=_SHEET
    ),
    Device(
        name="RTX 5090", memory_gib=31, peak_tflops=209.5, bandwidth_gb_s=1792, link="PCIe 5", link_gb_s=128,
        source="the maker's paper on the architecture, sums in fp32",
    ),
    Device(
        name="RTX 4090", memory_gib=23, peak_tflops=165.2, bandwidth_gb_s=1008, link="PCIe 4", link_gb_s=64,
        source="the maker's paper on the architecture, sums in fp32",
    ),
)  # fmt: skip
"""Devices that models are trained on."""


def device(name: str) -> Device:
    """The device of that name in the table. Raises ConfigError for a name that is not in it."""
    for each in DEVICES:
        if each.name.lower() == name.lower():
            return each
    raise ConfigError(f"hardware={name!r}: {', '.join(each.name for each in DEVICES)} accepted; choose one")


def named(full: str) -> Device | None:
    """The device of the table that a driver means by a full name such as "NVIDIA H100 80GB HBM3"; None for others.

    A longer name of ours wins: "NVIDIA H100 PCIe" is not the SXM form. A name that only begins like ours
    ("RTX 4090 Laptop GPU") is another device.
    """
    words = full.lower().replace("-", " ").split()
    if {"laptop", "mobile", "max", "nvl", "mig"} & set(words):
        return None
    fitting = [each for each in DEVICES if all(word in words for word in each.name.lower().split())]
    return max(fitting, key=lambda each: len(each.name), default=None)


def name(kind: torch.device) -> str:
    """What a device calls itself, such as "NVIDIA H200"; of a CPU, its architecture and the threads that are used."""
    import torch

    if kind.type == "cuda":
        return torch.cuda.get_device_name(kind)
    return f"{kind.type.upper()} ({platform.machine()}, {torch.get_num_threads()} threads)"


def here(kind: torch.device, on_cpu: Precision = "fp32") -> Device:
    """The device at hand. Its memory is what it has; its peak is the table's, or measured in a product (a second).

    on_cpu: the precision of that product, if the device is a CPU.
    """
    import torch

    from recast.train.parallel import Ranks

    if kind.type == "cuda":
        full = name(kind)
        gib = torch.cuda.get_device_properties(kind).total_memory / 2**30
        known = named(full)
        if known is not None:
            return replace(known, memory_gib=gib)
        peak = Ranks(device=kind).measure_peak()
        return Device(name=full, memory_gib=gib, peak_tflops=peak, bandwidth_gb_s=None, source="measured in a product")
    if kind.type != "cpu":
        raise ConfigError(f"device={str(kind)!r}: cpu or cuda accepted; choose one")
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Device(
        name=f"this {name(kind)}",
        memory_gib=gib,
        peak_tflops=Ranks(device=kind).measure_peak(on_cpu),
        bandwidth_gb_s=None,
        is_cpu=True,
        source=f"{on_cpu}, measured in a product",
    )
