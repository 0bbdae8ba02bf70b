"""What a GPU does while it is measured: temperature, clock and power, as nvidia-smi reads them. Nothing is set."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from threading import Event, Thread
from typing import Any, Self

FIELDS = {"temperature.gpu": "temperature_c", "clocks.sm": "clock_mhz", "power.draw": "power_w"}
FIXED = {"power.limit": "power_limit_w", "driver_version": "driver"}
EVERY_S = 2.0  # asking takes a core for some 50 ms
NEAR_C = 3.0


class Watch:
    """Samples of a GPU while the block runs; `said` afterwards, empty where there is no nvidia-smi.

    said: least, median and largest of each of `FIELDS`, the temperature at the start, power limit and driver.
    """

    def __enter__(self) -> Self:
        self._samples: list[dict[str, float]] = []
        self._done = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            found = numbers(FIELDS)
            if not found:
                return
            self._samples.append(found)
            if self._done.wait(EVERY_S):
                return

    @property
    def said(self) -> dict[str, Any]:
        if not self._samples:
            return {}
        made: dict[str, Any] = {"start_c": self._samples[0].get("temperature_c"), **read(FIXED)}
        for name in self._samples[0]:
            values = [sample[name] for sample in self._samples if name in sample]
            made[name] = [min(values), statistics.median(values), max(values)]
        return made


def cool(to_c: float | None, limit_s: float) -> float | None:
    """Wait until the GPU is within 3 degrees of `to_c`, at most `limit_s`; its temperature, None if unknown."""
    until = time.monotonic() + limit_s
    while True:
        now = numbers({"temperature.gpu": "now"}).get("now")
        if now is None or to_c is None or now <= to_c + NEAR_C or time.monotonic() > until:
            return now
        time.sleep(1)


def numbers(fields: dict[str, str]) -> dict[str, float]:
    """As `read`, of fields that are numbers; those that this GPU does not tell are left out."""
    found = read(fields)
    return {name: float(value) for name, value in found.items() if value.replace(".", "", 1).isdigit()}


def read(fields: dict[str, str]) -> dict[str, str]:
    """What nvidia-smi says of the first visible GPU, by the names of `fields`; empty if it says nothing."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    command = ["nvidia-smi", "-i", visible, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.splitlines()[0].split(",")] if answer.strip() else []
    return dict(zip(fields.values(), values, strict=True)) if len(values) == len(fields) else {}
