"""A process of benchmarks/gpu_edit.py: what it measures is handed on as it comes, and what it says is kept whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

SAMPLE = '{"arm":'  # how a line with a sample begins
CUT_SHORT = "cut short: its time was over"
STDOUT = "stdout: "  # before what else is printed, which may come after the error that ended it


def samples_of(
    command: Sequence[str],
    *,
    log: Path,
    title: str,
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
) -> Iterator[dict[str, Any]]:
    """The samples that a command prints, each as soon as it is there; last, where it failed, {"not_run": why}.

    log: all else that it says, its traceback above all, is added to this file, under a title. until: by
    `time.monotonic`, when it is ended with all that it began; so it is if nobody asks on for samples.
    """
    with open(log, "a", encoding="utf-8") as said:
        said.write(f"\n== {title}\n")
        said.flush()
        begin = said.tell()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment, start_new_session=True
        )
        assert process.stdout is not None
        alarm = threading.Timer(0 if until is None else until - time.monotonic(), _end, [process])
        alarm.daemon = True
        if until is not None:
            alarm.start()
        try:
            for line in process.stdout:
                if line.startswith(SAMPLE):
                    yield json.loads(line)
                else:
                    said.write(STDOUT + line)
                    said.flush()
            process.wait()
        finally:
            alarm.cancel()
            _end(process)
            process.stdout.close()
            process.wait()
    if process.returncode and until is not None and time.monotonic() >= until:
        yield {"not_run": CUT_SHORT}
    elif process.returncode:
        lines = log.read_bytes()[begin:].decode(errors="replace").splitlines()
        errors = [line for line in lines if line.strip() and not line.startswith(STDOUT)]
        yield {"not_run": errors[-1] if errors else f"exit code {process.returncode}"}


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a process that has not ended, and all that it began: it leads a group, which compilers are in."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
