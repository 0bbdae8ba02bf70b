"""How a run is done, as data: frozen, checked when made, written beside every checkpoint.

What is trained (which networks, which losses) belongs to a stage and has a dataclass beside it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from recast.errors import ConfigError

Precision = Literal["fp32", "bf16"]
Checkpointing = Literal["none", "full", "selective"]
Schedule = Literal["constant", "cosine", "wsd"]


ASKED = "asked"
"""Where data say by which settings they came about: not compared, and named where the data are others."""


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """An optimiser and the course of its rate over the run."""

    kind: Literal["adamw", "muon"] = "adamw"  # muon: of hidden matrices, with AdamW for all else
    lr: float = 1e-4  # of AdamW
    matrix_lr: float = 2e-3  # of Muon, where kind is muon
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.01  # of matrices alone
    warmup_steps: int = 200  # of the phase itself, from when it begins
    schedule: Schedule = "wsd"  # warm up, stay, decay linearly from `decay_from` on
    decay_from: float = 0.8  # share of the run
    floor: float = 0.02  # share of the rate that is left at the end
    clip: float = 1.0  # of the gradient's norm; inf for none

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon"):
            raise ConfigError(f"kind={self.kind!r}: adamw or muon accepted; choose one")
        if self.schedule not in ("constant", "cosine", "wsd"):
            raise ConfigError(f"schedule={self.schedule!r}: constant, cosine or wsd accepted; choose one")
        for name in ("lr", "matrix_lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a number above 0 accepted")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas={self.betas}: two numbers from 0 to below 1 accepted, such as [0.9, 0.95]")
        for name in ("decay_from", "floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 to 1 accepted")
        if self.warmup_steps < 0 or self.weight_decay < 0:
            raise ConfigError(
                f"warmup_steps={self.warmup_steps}, weight_decay={self.weight_decay}: numbers from 0 accepted"
            )

    @property
    def full_until(self) -> float:
        """The share of the run from which the rate falls: 1 if it never does, 0 if it does from the first step on."""
        return {"constant": 1.0, "cosine": 0.0, "wsd": self.decay_from}[self.schedule]


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long, how often, in what precision: the same for every stage."""

    steps: int | None = None  # optimiser steps in all
    minutes: float | None = None  # wall clock in all, of every call that continued the run
    flat_over: int = 0  # validations: once so many in a row gain too little, the end begins (`loop`); 0: never
    flat_gain: float = 0.005  # of the held-out loss, what they must gain together
    seed: int = 0  # of noise, times and dropout; that of the data is the data's
    accumulate: int = 1  # batches a step
    average_half_life: float = 0.05  # of the EMA: a share of the run, or a number of steps if above 1
    precision: Precision = "fp32"  # of the forward and backward pass; weights and sums stay in fp32
    checkpointing: Checkpointing = "none"  # of activations, block by block
    compile: bool = False  # block by block
    log_every_steps: int = 10
    validate_every_steps: int = 250
    sample_every_steps: int = 1000  # 0: never
    save_every_steps: int = 500
    keep: int = 2  # checkpoints, the newest
    peak_tflops: float | None = None  # of the device, for MFU; None measures it
    skips_allowed: int = 3  # steps in a row whose gradients are not finite, or far too large, before the run stops

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ConfigError("steps=None, minutes=None: one of them needed; pass a number of steps or of minutes")
        for name in ("steps", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value}: a number above 0 accepted")
        counts = ("accumulate", "log_every_steps", "validate_every_steps", "save_every_steps", "keep", "skips_allowed")
        for name in counts:
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ConfigError(f"{name}={getattr(self, name)!r}: a whole number from 1 accepted")
        for name in ("sample_every_steps", "flat_over"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 0):
                raise ConfigError(f"{name}={getattr(self, name)!r}: a whole number from 1 accepted, or 0 for never")
        for name in ("average_half_life", "peak_tflops", "flat_gain"):
            value = getattr(self, name)
            if not (value is None and name == "peak_tflops") and not (value is not None and value > 0):
                raise ConfigError(f"{name}={value}: a number above 0 accepted")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision={self.precision!r}: fp32 or bf16 accepted; choose one")
        if self.checkpointing not in ("none", "full", "selective"):
            raise ConfigError(f"checkpointing={self.checkpointing!r}: none, full or selective accepted; choose one")

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is done after `step` steps and `seconds`: 1 or more when it is over."""
        parts = [0.0 if self.steps is None else step / self.steps]
        parts.append(0.0 if self.minutes is None else seconds / (60 * self.minutes))
        return max(parts)


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """How many processes share the work, by what they share. Their product is the number of processes."""

    shard: int = 1  # FSDP2: parameters, gradients and optimiser state
    replicate: int = 1  # copies of such groups (HSDP)
    tensor: int = 1  # tensor parallel: heads and hidden widths
    context: int = 1  # context parallel: the joint sequence

    def __post_init__(self) -> None:
        for each in fields(self):
            if not (isinstance(getattr(self, each.name), int) and getattr(self, each.name) >= 1):
                raise ConfigError(f"{each.name}={getattr(self, each.name)!r}: a whole number from 1 accepted")

    @property
    def processes(self) -> int:
        return self.shard * self.replicate * self.tensor * self.context

    @property
    def data(self) -> int:
        """Into how many parts a batch is cut."""
        return self.shard * self.replicate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A whole run: what every checkpoint says about how it was made."""

    run: Run
    parallel: Parallel = field(default_factory=Parallel)
    stage: Mapping[str, Any] = field(default_factory=dict)  # the stage's own dataclasses, or plain data
    data: Mapping[str, Any] = field(default_factory=dict)  # where the examples come from, as plain data

    def as_data(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def completed(stored: Any, made: Any) -> Any:
    """Stored JSON data with what an earlier version did not know: the defaults of the dataclasses in `made`.

    made: what is stored in its place today, dataclasses in mappings or in each other.
    """
    if not isinstance(stored, dict):
        return stored
    if isinstance(made, Mapping):
        return {name: completed(value, made.get(name)) for name, value in stored.items()}
    found = {name: completed(value, getattr(made, name, None)) for name, value in stored.items()}
    for each in fields(made) if is_dataclass(made) else ():
        usual = each.default if each.default_factory is MISSING else each.default_factory()
        if usual is not MISSING:
            found.setdefault(each.name, as_json(usual))
    return found


def differences(name: str, old: Any, new: Any, unless: Collection[str] = ()) -> list[str]:
    """Where two pieces of plain data differ, by path, but for the paths in `unless`.

    A name that one lacks is off there: 0, False, None.
    """
    if name in unless:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *(key for key, value in new.items() if value)})
        return [line for key in keys for line in differences(f"{name}.{key}", old.get(key), new.get(key), unless)]
    return [] if old == new else [f"{name} was {old!r} and is {new!r}"]


def as_json(value: Any) -> Any:
    """The same as JSON brings it back, dataclasses as objects."""
    return json.loads(json.dumps(value, default=asdict))
