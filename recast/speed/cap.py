"""A cap on the device's memory: read, held, refused before the work, and lowered once when it was not enough."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from recast.config import ModelConfig
from recast.cost import Request
from recast.errors import ConfigError, OutOfMemory
from recast.speed.memory import CONTEXT_BYTES, SPARE, Memory, Numbers, amount, fit, peak_bytes, smallest_bytes

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

UNITS = {"gb": 1e9, "gib": 2**30, "mb": 1e6, "mib": 2**20}
LOWER = 0.85  # of the peak that did not fit: what the next recipe is made for
Found = TypeVar("Found")
Given = TypeVar("Given")
Yielded = TypeVar("Yielded")
Failed = TypeVar("Failed", bound=Exception)


def parse_cap(text: str | float) -> int:
    """Bytes of a cap such as "24gb" (10^9 bytes) or "23.5gib" (2^30), or of a number. Raises ConfigError for others."""
    if not isinstance(text, str):
        if isinstance(text, bool) or not isinstance(text, int | float) or not 0 < text < float("inf"):
            raise ConfigError(f"vram={text!r}: bytes above 0, or a text such as 24gb, accepted; pass one")
        return int(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    unit = UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) == 0:
        raise ConfigError(f"vram={text!r}: a number above 0 and a unit, {', '.join(UNITS)}, accepted; try 24gb")
    return int(float(match[1]) * unit)


def admit(config: ModelConfig, request: Request, numbers: Numbers, memory: Memory, cap_bytes: float) -> None:
    """Raises OutOfMemory, before any work, for a request that does not fit under a cap; says what would."""
    peak = peak_bytes(config, request, numbers, memory)
    if peak.total <= cap_bytes:
        return
    would = _would(config, request, numbers, cap_bytes)
    raise OutOfMemory(
        f"memory: {request.width}x{request.height} with {len(request.contexts)} context picture(s) needs "
        f"{amount(peak.total)} ({peak.stage}), and {amount(cap_bytes)} are there; {would}"
    )


def lowered(
    config: ModelConfig, request: Request, numbers: Numbers, memory: Memory, room_bytes: float | None = None
) -> Memory | None:
    """The recipe to try when one has run out of memory after all, see `passing`; None if there is none lower.

    room_bytes: what the process can have of the device, see `free_bytes`, where that is known.
    """
    peak, numbers_then = peak_bytes(config, request, numbers, memory).total, passing(numbers)
    cap = min(LOWER * peak / (1 - SPARE), float("inf") if room_bytes is None else room_bytes)
    found = fit(config, request, numbers_then, max(cap, smallest_bytes(config, request, numbers_then)))
    return found if peak_bytes(config, request, numbers_then, found).total < peak else None


def passing(numbers: Numbers) -> Numbers:
    """What a plan computes in once its weights pass through the device: no graph, and nothing kept beside them."""
    return replace(numbers, graph=False, masters="host")


def retrying(run: Callable[[], Found], lower: Callable[[], str | None]) -> tuple[Found, str | None]:
    """What `run` gives; if memory runs out in it, `lower` is called and `run` again, once.

    lower: puts a recipe of less memory in place and says which, or None if there is none. Returns what was found and,
    for the caller's warnings, a sentence on what was lowered; None where nothing was. A second failure is raised.
    """
    try:
        return run(), None
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        first = _without_frames(error)
    note = _taken_lower(first, lower)
    return run(), note


def retrying_steps(
    run: Callable[[], Generator[Yielded, None, Found]], lower: Callable[[], str | None]
) -> Generator[Yielded, None, tuple[Found, str | None]]:
    """As `retrying`, of work that yields its steps: those of a second one follow, from its beginning.

    Not for a MemoryError of the host's, as `but_for_the_host` has it.
    """
    try:
        return (yield from run()), None
    except (OutOfMemory, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        first = _without_frames(error)
    note = _taken_lower(first, lower)
    return (yield from run()), note


def but_for_the_host(
    run: Callable[[Callable[[Given], Found | MemoryError]], tuple[Found | MemoryError, str | None]],
    ask: Callable[[Given], Found],
) -> tuple[Found, str | None]:
    """What `run`, as of `Accelerated`, makes of `ask`, but that it is not tried again for the host's memory.

    A pipeline whose memory runs out raises OutOfMemory, or what its device says. Any other MemoryError is of the work
    round it, a merge for one, which a lower recipe does not help: it is raised at once.
    """

    def asked(given: Given) -> Found | MemoryError:
        try:
            return ask(given)
        except OutOfMemory:
            raise
        except MemoryError as error:
            return error

    found, note = run(asked)
    if isinstance(found, MemoryError):
        raise found
    return found, note


def enforce(cap_bytes: float, device: torch.device) -> str:
    """Hold this process to a cap; what comes back says how.

    On CUDA the allocator refuses what would pass it, `CONTEXT_BYTES` of the driver counted; capacity is emulated so,
    not the speed of a smaller card. A CPU has no such limit. Raises what `check_cap` raises.
    """
    import torch

    if device.type != "cuda":
        return f"cap of {amount(cap_bytes)}: not enforced, since {device.type} has no limit a process can set"
    check_cap(cap_bytes, device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((cap_bytes - CONTEXT_BYTES) / total, device)
    return f"cap of {amount(cap_bytes)}: enforced by the allocator, {CONTEXT_BYTES / 1e9:.1f} GB of it the driver's"


def free_bytes(device: torch.device) -> float | None:
    """What this process can have of a CUDA device in all: what is free, and what it holds; None for other devices.

    `CONTEXT_BYTES` are in it, as in every peak, since the driver has taken its own by the time it answers.
    Raises ConfigError where there is no such device.
    """
    if device.type != "cuda":
        return None
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"device={str(device)!r}: this PyTorch finds no CUDA device; use cpu")
    free, total = torch.cuda.mem_get_info(device)
    return float(min(total, free + torch.cuda.memory_reserved(device) + CONTEXT_BYTES))


def check_cap(cap_bytes: float, device: torch.device) -> None:
    """Raises ConfigError for a cap that is larger than the card, or smaller than what the driver takes of it."""
    if device.type != "cuda":
        return
    import torch

    total = torch.cuda.get_device_properties(device).total_memory
    if not CONTEXT_BYTES < cap_bytes <= total:
        raise ConfigError(
            f"vram={amount(cap_bytes)}: {device} has {amount(total)}, and {CONTEXT_BYTES / 1e9:.1f} are the "
            "driver's; a cap between accepted; choose one, or none"
        )


def _would(config: ModelConfig, request: Request, numbers: Numbers, cap_bytes: float) -> str:
    """What of this request would fit under a cap, in words."""
    try:
        recipe = fit(config, request, numbers, cap_bytes)
        return f"this recipe accepted: {recipe}; pass it, or use --plan auto"
    except OutOfMemory:
        pass
    for percent in range(95, 5, -5):
        smaller = _scaled(request, percent / 100, config.pixels_per_token)
        if smallest_bytes(config, smaller, numbers) <= cap_bytes:
            return f"{smaller.width}x{smaller.height} accepted, everything streamed; use a smaller size"
    least = smallest_bytes(config, request, numbers)
    return f"{amount(least)} accepted, everything streamed; use a device of more memory"


def _scaled(request: Request, share: float, side: int) -> Request:
    """The request with every edge of every picture at a share of it, in whole tokens."""

    def edge(pixels: int) -> int:
        return max(side, int(pixels * share) // side * side)

    contexts = tuple((edge(width), edge(height)) for width, height in request.contexts)
    return replace(request, width=edge(request.width), height=edge(request.height), contexts=contexts)


def _without_frames(error: Failed) -> Failed:
    """The error alone: frames hold what filled the memory."""
    bare = error.with_traceback(None)
    bare.__context__ = bare.__cause__ = None
    return bare


def _taken_lower(error: Exception, lower: Callable[[], str | None]) -> str:
    """A sentence on the recipe that was taken because of an error; the error is raised where there is none."""
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    give_back()
    recipe = lower()
    if recipe is None:
        raise error
    log.warning("memory=ran_out lowered=%s", recipe)
    return f"memory: ran out ({said}); tried again with {recipe}"


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True  # ours and Python's
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)


def give_back() -> None:
    """Return what the allocator keeps, so that the next recipe finds it in one piece."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
