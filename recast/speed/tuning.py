"""Which way of computing a matrix product is the fastest here: timed when a shape is first met, and kept in a table.

The table is a file of the user, by device, version of PyTorch, number format and shape, so that every later process
takes the same ways, and makes the same bits, without timing anything. The usual way stays unless another is clearly
faster. Small products, and devices with one way, are left alone.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recast.speed.arms import USUAL, Arm, arms_on
from recast.speed.blocks import Block
from recast.speed.clock import undisturbed
from recast.speed.linear import Linear, Plain, Rows
from recast.speed.quantize import replaced
from recast.user_cache import user_cache

log = logging.getLogger(__name__)

Use = Literal["new", "write", "add"]
Seconds = Callable[[Callable[[], object], torch.device], float]  # how long one call takes on a device

GAIN = 0.03  # another way is taken from so much less time on, by the median and by the best: less is noise
REPEATS = 7
LEAST_FLOPS = {"cpu": 1e8, "cuda": 5e9}  # smaller products take a millisecond of a core, or are over in a launch
# Rows of a CPU's products are taken in these numbers, the next one up: words of another length make no new shape, and
# beyond the last, more rows are more of the same. On a GPU each shape fills it in its own way.
ROWS_ON_CPU = (128, 256, 512, 1024)
AGREES = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
AGREES_IN_TF32 = 5e-3  # of fp32 where PyTorch may round it to TF32, on a GPU
COMPARED = 128  # rows of two products
VERSION = 1


class Product(NamedTuple):
    """m rows of k numbers times a weight (n, k): into a new tensor, written to a place, or added to what is there."""

    m: int
    n: int
    k: int
    use: Use = "new"

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k


@dataclass
class Table:
    """The way of each product that was timed: {device: {"m n k use": {"arm": name, "seconds": {name: median}}}}.

    device: its name, the version of PyTorch and the number format, see `where`. path: of the file; None for one that
    lives in memory alone. trouble: why the file could not be used, if so.
    """

    path: Path | None = None
    devices: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    trouble: str = ""

    @classmethod
    def read(cls, path: Path | None) -> Table:
        """The table in a file; an empty one where there is none, or, with a warning, where it is damaged."""
        if path is None:
            return cls()
        try:
            return cls(path, _checked(json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, RecursionError) as error:
            log.warning("tuning: %s cannot be used (%s); products are timed anew, and it is replaced", path, error)
            return cls(path, trouble=str(error))

    def arm(self, device: str, product: Product) -> str | None:
        """The name of the way that was found fastest; None for a product not timed yet."""
        entry = self.devices.get(device, {}).get(_key(product))
        return None if entry is None else str(entry["arm"])

    def add(self, device: str, product: Product, arm: str, seconds: Mapping[str, float]) -> None:
        self.devices.setdefault(device, {})[_key(product)] = {"arm": arm, "seconds": dict(seconds)}

    def gains(self, device: str) -> dict[str, float]:
        """Of each product timed on a device, how much less time its way takes than the usual one, as a share."""
        found = {}
        for product, entry in self.devices.get(device, {}).items():
            seconds = entry["seconds"]
            assert isinstance(seconds, dict)
            found[product] = 1 - seconds[entry["arm"]] / seconds[USUAL.name]
        return found

    def save(self) -> None:
        """Write the file, whole or not at all, with what other processes have added. Where it cannot be, say so.

        One process at a time does so (flock on a file beside it). What another has found of a product that both timed
        stands, so that all take the same way from then on.
        """
        if self.path is None:
            return
        temporary = self.path.with_name(f".{self.path.name}-{secrets.token_hex(4)}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path.with_name(f"{self.path.name}.lock"), "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    self._take(Table.read(self.path).devices)
                    text = json.dumps({"version": VERSION, "devices": self.devices}, indent=1)
                    temporary.write_text(text, encoding="utf-8")
                    os.replace(temporary, self.path)
                finally:
                    fcntl.flock(lock, fcntl.LOCK_UN)  # a child forked meanwhile has the file open still
        except OSError as error:
            log.warning("tuning: %s cannot be written (%s); the next process times again", self.path, error)
            with suppress(OSError):
                temporary.unlink()

    def _take(self, others: Mapping[str, Mapping[str, dict[str, object]]]) -> None:
        """Put another table's entries in the place of our own, but for ways that were not to be had here."""
        for device, products in others.items():
            own = self.devices.setdefault(device, {})
            for product, entry in products.items():
                timed = own.get(product, entry)["seconds"]
                assert isinstance(timed, dict)
                if entry["arm"] in timed:
                    own[product] = entry


def place() -> Path | None:
    """The user's table; None, with a warning, for a user without a home."""
    try:
        return user_cache() / "products.json"
    except RuntimeError as error:
        log.warning("tuning: no folder for the table (%s); set XDG_CACHE_HOME; each process times anew", error)
        return None


def where(device: torch.device, dtype: torch.dtype) -> str:
    """What a measurement holds for: the device by name, its threads if it is a CPU, PyTorch's version, the format.

    On CUDA also whether products may be rounded on the way: fp32 to TF32, partial sums to two bytes.
    """
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}{', rounds on the way' * _rounds_on_the_way(device, dtype)}"
    else:
        name = f"{_cpu()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return f"{name}; torch {torch.__version__}; {str(dtype).removeprefix('torch.')}"


def tune(
    products: Iterable[Product],
    arms: Sequence[Arm],
    *,
    device: torch.device,
    dtype: torch.dtype,
    table: Table | None = None,
    seconds: Seconds | None = None,
) -> Table:
    """The table with the fastest arm of each product; those in it already are not timed again.

    arms: the usual one first. Each is called once, then `REPEATS` times in turn with the others, on random numbers of
    the shape. seconds: of a call; by the clock if None.
    """
    table, name = Table() if table is None else table, where(device, dtype)
    for product in products:
        if table.arm(name, product) in {arm.name for arm in arms}:
            continue
        times = _times(product, arms, device, dtype, seconds or undisturbed)
        usual, medians = arms[0].name, {arm: median(times[arm]) for arm in times}
        faster = [
            arm
            for arm in times
            if arm == usual or all(middle(times[arm]) <= (1 - GAIN) * middle(times[usual]) for middle in (median, min))
        ]
        table.add(name, product, min(faster, key=medians.__getitem__), medians)
    return table


class Tuner:
    """Finds the arm of a product, in the table or by timing it; shared by all layers of an engine."""

    def __init__(self, table: Table, device: torch.device, dtype: torch.dtype, *, seconds: Seconds | None = None):
        self.table, self.device, self.dtype, self.seconds = table, device, dtype, seconds
        self.arms = {arm.name: arm for arm in arms_on(device)}
        self.num_timed = 0
        self._found: dict[Product, Arm] = {}

    def arm(self, product: Product) -> Arm:
        if product.flops < LEAST_FLOPS.get(self.device.type, float("inf")) or len(self.arms) == 1:
            return USUAL
        if self.device.type == "cpu":
            product = product._replace(m=next((m for m in ROWS_ON_CPU if product.m <= m), ROWS_ON_CPU[-1]))
        if product not in self._found:
            name = self.table.arm(where(self.device, self.dtype), product)
            if name not in self.arms:
                if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
                    return USUAL  # a recording cannot wait for the device: another call times it
                name = self._time(product)
            self._found[product] = self.arms[name]
        return self._found[product]

    def _time(self, product: Product) -> str:
        """The name of the fastest arm, which the table keeps; the usual one's where timing takes too much memory."""
        try:
            arms = list(self.arms.values())
            given = {"device": self.device, "dtype": self.dtype, "table": self.table, "seconds": self.seconds}
            tune([product], arms, **given)  # type: ignore[arg-type]
        except (torch.OutOfMemoryError, MemoryError) as error:
            log.warning("tuning: no memory to time %s (%s); computed in the usual way", _key(product), error)
            return USUAL.name
        self.num_timed += 1
        self.table.save()
        name = self.table.arm(where(self.device, self.dtype), product)
        assert name is not None
        return name


@dataclass(frozen=True)
class Tuned(Plain):
    """A plain layer that asks a tuner how to compute each of its products."""

    tuner: Tuner | None = None

    def __call__(self, x: Tensor | Rows, out: Tensor | None = None) -> Tensor:
        assert isinstance(x, Tensor)
        flat = x.flatten(0, 1)
        if out is None or x.shape[0] > 1:
            made = self._arm(flat, "new").product(flat, self.weight, self.bias).unflatten(0, x.shape[:2])
            return made if out is None else out.copy_(made)
        self._arm(flat, "write").write(flat, self.weight, self.bias, out[0])
        return out

    def add_to(self, total: Tensor, x: Tensor | Rows) -> Tensor:
        assert isinstance(x, Tensor)
        assert self.bias is None, "the bias belongs to the product that comes first"
        rows, flat = x.flatten(0, 1), total.flatten(0, 1)
        self._arm(rows, "add").add(rows, self.weight, flat)
        return flat.view_as(total)

    def outputs(self, first: int, last: int) -> Tuned:
        return Tuned(self.weight[first:last], None if self.bias is None else self.bias[first:last], self.tuner)

    def _arm(self, x: Tensor, use: Use) -> Arm:
        assert self.tuner is not None
        n, k = self.weight.shape
        return self.tuner.arm(Product(x.shape[0], n, k, use))


def tuned(blocks: list[Block], tuner: Tuner) -> list[Block]:
    """The blocks with every plain layer asking a tuner."""
    return replaced(blocks, lambda _, layer: Tuned(layer.weight, layer.bias, tuner) if type(layer) is Plain else layer)


def untuned(blocks: Iterable[Block]) -> list[Block]:
    """The blocks with every layer that asks a tuner plain again."""
    found = list(blocks)
    return replaced(found, lambda _, layer: Plain(layer.weight, layer.bias) if isinstance(layer, Tuned) else layer)


def layers(blocks: Iterable[Block]) -> list[Tuned]:
    """The layers of blocks that ask a tuner."""
    found: list[Tuned] = []

    def note(_: str, layer: Linear) -> Linear:
        if isinstance(layer, Tuned):
            found.append(layer)
        return layer

    replaced(list(blocks), note)
    return found


# Inside.


def _times(
    product: Product, arms: Sequence[Arm], device: torch.device, dtype: torch.dtype, seconds: Seconds
) -> dict[str, list[float]]:
    """Seconds of each arm's calls, in turns; of an arm whose product is not the usual one's, none."""
    generator = torch.Generator(device).manual_seed(0)
    x, weight, out = (
        torch.randn(*shape, generator=generator, device=device, dtype=torch.float32).to(dtype)
        for shape in ((product.m, product.k), (product.n, product.k), (product.m, product.n))
    )
    bias = weight[:, 0].contiguous()

    def call(arm: Arm) -> Callable[[], object]:
        if product.use == "new":
            return lambda: arm.product(x, weight, bias)
        return lambda: arm.write(x, weight, bias, out) if product.use == "write" else arm.add(x, weight, out)

    suited = [arm for arm in arms if not (product.use == "add" and arm.adds_apart)]
    calls = {arm.name: call(arm) for arm in suited if _agrees(arm, arms[0], x, weight, bias)}
    for once in calls.values():
        once()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, once in calls.items():
            times[name].append(seconds(once, device))
    return times


def _agrees(arm: Arm, usual: Arm, x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether an arm gives what the usual one does, but for the order of sums."""
    if arm is usual:
        return True
    every = -(-x.shape[0] // COMPARED)  # rows from first to last; all of them in fp32 would be memory for nothing
    try:
        made, expected = (each.product(x, weight, bias)[::every].to(torch.float32, copy=True) for each in (arm, usual))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # a library may lack a kernel for the shape
        log.info("tuning: arm=%s shape=%s cannot be had (%s)", arm.name, tuple(weight.shape), error)
        return False
    limit = AGREES_IN_TF32 if x.dtype == torch.float32 and _rounds_on_the_way(x.device, x.dtype) else AGREES[x.dtype]
    far = float((made - expected).norm() / expected.norm())
    if not far <= limit:
        log.warning(
            "tuning: arm=%s shape=%s is %.2g away from the usual one; left out", arm.name, tuple(weight.shape), far
        )
    return far <= limit


def _rounds_on_the_way(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether PyTorch is allowed to round more often than once: fp32 to TF32, or sums of parts to two bytes."""
    products = torch.backends.cuda.matmul
    if device.type != "cuda":
        return False
    if dtype == torch.float32:
        return products.fp32_precision == "tf32"
    if dtype == torch.bfloat16:
        return products.allow_bf16_reduced_precision_reduction
    return products.allow_fp16_reduced_precision_reduction


def _key(product: Product) -> str:
    return " ".join(map(str, product))


def _checked(data: object) -> dict[str, dict[str, dict[str, object]]]:
    """The devices of a table's file. Raises ValueError for another file."""
    if not isinstance(data, dict) or data.get("version") != VERSION or not isinstance(data.get("devices"), dict):
        raise ValueError(f"no table of version {VERSION}")
    for products in data["devices"].values():
        for entry in products.values() if isinstance(products, dict) else [None]:
            arm, seconds = (entry.get("arm"), entry.get("seconds")) if isinstance(entry, dict) else (None, None)
            if not isinstance(arm, str) or not isinstance(seconds, dict) or not {USUAL.name, arm} <= set(seconds):
                raise ValueError("an entry without its arm, or its seconds")
            if not all(isinstance(value, int | float) and value > 0 for value in seconds.values()):
                raise ValueError("seconds that are no numbers above 0")
    devices: dict[str, dict[str, dict[str, object]]] = data["devices"]
    return devices


def _cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
