"""Suite × system → records: everything asked once, nothing dropped, and any interruption picked up where it stood."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import numpy as np

from recast.config import VERSION
from recast.quality.store import SCHEMA, Mode, Result, Store
from recast.quality.suites import Item, Suite, pixels
from recast.quality.systems.contract import Failed, Made, Request, System


@dataclass(frozen=True)
class Progress:
    """One unit done: the result, how many are done, and of how many."""

    result: Result
    done: int
    of: int


def about(suite: Suite, command: str) -> dict[str, Any]:
    """What run.json says of a run of this suite on this machine."""
    return {
        "schema": SCHEMA,
        "suite": {
            "name": suite.name,
            "version": suite.version,
            "title": suite.title,
            "sha256": suite.sha256,
            "licence": suite.licence,
            "folder": str(suite.root.resolve()),  # for this machine; a suite inside the run is found there first
            "notes": list(suite.notes),
            "warnings": list(suite.warnings),
        },
        "created": _now(),
        "command": command,
        "versions": versions(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Of recast and of every library that decides a picture or a number."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"recast": VERSION, "python": platform.python_version()}
    for name in ("torch", "numpy", "pillow", "opencv-python-headless", "transformers", "diffusers", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine in words, without its name."""
    import torch

    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "cores": os.cpu_count(), "gpu": gpu}


def slug(name: str) -> str:
    """A system's name as a folder's name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "system"


def describe(system: System, command: str = "") -> dict[str, Any]:
    """What system.json says: the name, everything that decides the picture and the hash of that; how it was asked."""
    described = system.describe()
    text = json.dumps(described, sort_keys=True, ensure_ascii=False, default=str)
    return {
        "schema": SCHEMA,
        "name": system.name,
        "control": bool(getattr(system, "is_control", False)),
        "describe": json.loads(text),
        "config_hash": hashlib.sha256(text.encode()).hexdigest()[:16],
        "concurrency": system.concurrency,
        "command": command,
        "created": _now(),
        "versions": versions(),
        "machine": machine(),
    }


def make(
    suite: Suite, system: System, store: Store, *, modes: Sequence[Mode] = ("free",), command: str = ""
) -> Iterator[Progress]:
    """Ask a system for everything in a suite that the store does not hold yet; one Progress a unit, as it is done.

    Units of an item go one after another; items go `system.concurrency` at a time. Stopping the iterator stops the run
    after the units in flight, and leaves the store whole. Whatever an adapter raises but Failed stops the run.
    """
    name = slug(system.name)
    store.enter(name, describe(system, command))
    store.repair(name)
    known = store.results(name)
    units = [(item, mode) for item in suite.items for mode in modes if mode == "free" or len(item.turns) > 1]
    total, done = sum(len(item.turns) for item, _ in units), 0
    news: SimpleQueue[Result | BaseException | None] = SimpleQueue()
    stopped: list[bool] = []

    def work(item: Item, mode: Mode) -> None:
        try:
            for result in _turns(item, mode, system, store, known):
                if known.get(result.unit) is not result:
                    store.add(name, result)
                news.put(result)
                if stopped:
                    return
        except BaseException as error:
            news.put(error)
        finally:
            news.put(None)

    with ThreadPoolExecutor(max_workers=max(1, system.concurrency)) as pool:
        futures = [pool.submit(work, item, mode) for item, mode in units]
        try:
            left = len(futures)
            while left:
                came = news.get()
                if came is None:
                    left -= 1
                    continue
                if isinstance(came, BaseException):
                    raise came
                done += 1
                yield Progress(came, done, total)
        finally:
            stopped.append(True)
            for future in futures:
                future.cancel()
            wait_for(futures)


def _turns(item: Item, mode: Mode, system: System, store: Store, known: Mapping[Any, Result]) -> Iterator[Result]:
    """The results of an item's turns in order; what is known and sound is handed on as it is."""
    sources = item.sources()
    last: np.ndarray | None = sources[0] if sources else None
    broken: str | None = None
    made_anew = False
    for number, turn in enumerate(item.turns):
        old = known.get((item.key, number, mode))
        if broken is not None:
            result = _failed(item, number, mode, "upstream", f"turn {number - 1} ended as {broken}", 0)
            yield old if old and old.status == "upstream" and old.reason == result.reason else result
            continue
        picture = store.picture(old) if old and not made_anew else None
        if old and (picture is not None or (old.status == "blocked" and not made_anew)):
            result = old
        else:
            made_anew = True  # whatever this one gives, the turns after it must see it
            contexts = () if last is None else (last, *sources[1:])
            result, picture = _unit(item, number, mode, contexts, system, store)
        if result.status != "ok":
            broken = result.status if mode == "free" else None
        answer = turn.answer
        last = pixels(answer) if mode == "forced" and answer is not None else picture
        yield result


def _unit(
    item: Item, number: int, mode: Mode, contexts: tuple[np.ndarray, ...], system: System, store: Store
) -> tuple[Result, np.ndarray | None]:
    request = Request(
        item=item.key,
        turn=number,
        instruction=item.turns[number].instruction,
        contexts=contexts,
        width=item.width,
        height=item.height,
        seed=item.seed + number,
    )
    try:
        made = system.make(request)
    except Failed as error:
        return _failed(item, number, mode, error.status, error.reason, error.attempts), None
    fault = _fault(made)
    if fault:
        return _failed(item, number, mode, "bad_image", fault, made.attempts), None
    path, digest = store.keep(made.pixels)
    result = Result(
        item=item.key,
        turn=number,
        mode=mode,
        seed=request.seed,
        status="ok",
        picture=path,
        sha256=digest,
        width=made.pixels.shape[1],
        height=made.pixels.shape[0],
        seconds=made.seconds,
        server_seconds=made.server_seconds,
        queue_seconds=made.queue_seconds,
        attempts=made.attempts,
        cost_usd=made.cost_usd,
        instruction=request.instruction,
        detail=made.detail,
        created=_now(),
    )
    return result, made.pixels


def _fault(made: Made) -> str | None:
    """Why what came is no picture; None if it is one."""
    came = made.pixels
    if not isinstance(came, np.ndarray) or came.dtype != np.uint8 or came.ndim != 3 or came.shape[2] != 3:
        return (
            f"{getattr(came, 'dtype', type(came).__name__)} {getattr(came, 'shape', '')} came; uint8 (H, W, 3) accepted"
        )
    return None if min(came.shape[:2]) else "an empty picture came"


def _failed(item: Item, number: int, mode: Mode, status: str, reason: str, attempts: int) -> Result:
    return Result(
        item=item.key,
        turn=number,
        mode=mode,
        seed=item.seed + number,
        status=status,
        reason=reason,
        attempts=attempts,
        instruction=item.turns[number].instruction,
        created=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
