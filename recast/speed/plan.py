"""How a request is to be computed, as data: what may be exchanged for speed, and what each exchange costs in exactness.

    reference       the core, as it is
    exact           the engine, rounding where the core rounds
    compile         the core's blocks through torch.compile
    lossless        the same precision, other orders of sums: fused kernels, views for joined matrices, graphs
    fp8             near-lossless: products in eight bits, the most sensitive layers kept in bf16
    fp8-attention   near-lossless: attention in eight bits as well

Approximate options (`Approximate`) skip work. They are in no plan; who wants one adds it by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from recast.errors import ConfigError

Exactness = Literal["reference", "exact", "lossless", "near-lossless", "approximate"]


@dataclass(frozen=True, kw_only=True)
class Approximate:
    """An option that skips work. kind: one of `recast.speed.apply.APPROXIMATE`; settings: as that names them."""

    kind: str
    settings: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        given = ",".join(f"{name}={value:g}" for name, value in self.settings.items())
        return f"{self.kind}:{given}" if given else self.kind


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is exchanged. Each field is a technique; `recast.speed.apply` says which of them this device can do."""

    name: str
    exactness: Exactness
    engine: bool = True  # or the core's own network
    joined: bool = False  # a single block's matrices as published, so that sums round where the core's do
    kernels: bool = False  # fused Triton kernels between the products
    attention: Literal["plain", "auto", "eight-bit"] = "plain"
    eight_bit: bool = False
    graph: bool = False
    compile: bool = False
    side_stream: bool = False  # the text's products beside the image's
    autoencoder: Literal["reference", "fast"] = "reference"
    shares: bool = True  # latents of pictures, keys and values of contexts are found again
    vram_gib: float | None = None  # a cap on the device's memory; None for what it has
    approximate: Approximate | None = None

    def __post_init__(self) -> None:
        if self.approximate is not None and not self.engine:
            raise ConfigError(f"plan={self.name}: approximate options need the engine; choose exact, lossless or fp8")
        if self.vram_gib is not None and not self.engine:
            raise ConfigError(f"plan={self.name}: a cap on memory needs the engine; choose exact, lossless or fp8")

    @property
    def class_(self) -> Exactness:
        """How exact it is, the approximate option counted."""
        return "approximate" if self.approximate is not None else self.exactness


_LOSSLESS = Plan(
    name="lossless",
    exactness="lossless",
    kernels=True,
    attention="auto",
    graph=True,
    side_stream=True,
    autoencoder="fast",
)

PLANS: dict[str, Plan] = {
    "reference": Plan(name="reference", exactness="reference", engine=False, shares=False),
    "exact": Plan(name="exact", exactness="exact", joined=True),
    "compile": Plan(name="compile", exactness="lossless", engine=False, compile=True),
    "lossless": _LOSSLESS,
    "fp8": replace(_LOSSLESS, name="fp8", exactness="near-lossless", eight_bit=True),
    "fp8-attention": replace(
        _LOSSLESS, name="fp8-attention", exactness="near-lossless", eight_bit=True, attention="eight-bit"
    ),
}


def plan_of(name: str | Plan) -> Plan:
    """The plan of a name. Raises ConfigError for an unknown one."""
    if isinstance(name, Plan):
        return name
    if name not in PLANS:
        raise ConfigError(f"plan={name!r}: auto, {', '.join(PLANS)} accepted; choose one")
    return PLANS[name]


def read_approximate(text: str, known: Mapping[str, Callable[..., Any]]) -> Approximate:
    """An option from its text, as "context-reuse:first=2,every=6". known: by kind, what its settings are given to.

    Raises ConfigError for an unknown kind or setting, and for a value that is no number.
    """
    kind, _, given = text.partition(":")
    if kind not in known:
        raise ConfigError(f"approximate={text!r}: {', '.join(known)} accepted; choose one")
    names = {one.name for one in fields(known[kind])}  # type: ignore[arg-type]
    settings = {}
    for part in filter(None, given.split(",")):
        name, _, value = part.partition("=")
        if name not in names or not re.fullmatch(r"-?\d+(\.\d*)?", value):
            raise ConfigError(
                f"approximate={text!r}: {part!r} came; a number for {', '.join(sorted(names))} accepted, as "
                f"{kind}:{min(names)}=1"
            )
        settings[name] = float(value) if "." in value else int(value)
    return Approximate(kind=kind, settings=settings)
