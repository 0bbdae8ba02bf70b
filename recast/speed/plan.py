"""How a request is to be computed, as data: what may be exchanged for speed, and what each exchange costs in exactness.

    reference       the core, as it is
    exact           the engine, rounding where the core rounds
    compile         the core's blocks through torch.compile
    lossless        the same precision, other orders of sums: fused kernels, views for joined matrices, graphs; beside
                    bf16 weights the autoencoder too is in bf16, where there are units for it: the core's is in fp32
    fp8             near-lossless: products in eight bits, the most sensitive layers kept in bf16
    fp8-attention   near-lossless: attention in eight bits as well

Options that skip work (`recast.speed.approximate`) are in none of them; who wants one adds it by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from recast.errors import ConfigError
from recast.speed.approximate import Approximate

CUSTOM = " (custom: "
"""In a recipe, between the name of a plan that is none of `PLANS` and what makes it another."""
SAID_ELSEWHERE = ("name", "exactness", "approximate")
SAME_BITS = ("vram_bytes", "graph")  # where weights lie, and whether a step is recorded, changes no sum

Exactness = Literal["reference", "exact", "lossless", "near-lossless", "approximate"]


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
    tuned: bool | Literal["cuda"] = False  # each product in the way that is the fastest here; "cuda": there alone
    autoencoder: Literal["reference", "fast"] = "reference"
    shares: bool = True  # latents of pictures, keys and values of contexts are found again
    vram_bytes: int | None = None  # a cap on the device's memory; None for what it has
    approximate: Approximate | None = None

    def __post_init__(self) -> None:
        if self.approximate is not None and not self.engine:
            raise ConfigError(f"plan={self.name}: approximate options need the engine; choose exact, lossless or fp8")
        if self.vram_bytes is not None and not self.engine:
            raise ConfigError(f"plan={self.name}: a cap on memory needs the engine; choose exact, lossless or fp8")

    def __str__(self) -> str:
        """As a recipe keeps it: what decides the picture."""
        return self.recorded()

    def recorded(self, *, keep: Sequence[str] = (), shared: str = "") -> str:
        """What decides the picture: the name, what differs from the plan of that name, and the approximate option.

        keep: the layers that stay as they are in eight bits. shared: how processes share the work, as "sequence=2".
        """
        usual = PLANS.get(self.name, Plan(name=self.name, exactness=self.exactness))
        deciding = [each.name for each in fields(self) if each.name not in (*SAID_ELSEWHERE, *SAME_BITS)]
        changed = [f"{name}={getattr(self, name)}" for name in deciding if getattr(self, name) != getattr(usual, name)]
        changed += [f"keep={'/'.join(keep)}"] if keep else []
        is_named = self.name in PLANS and not changed
        text = self.name if is_named else f"{self.name}{CUSTOM}{', '.join(changed) or 'as Plan() is'})"
        text += f", {shared}" if shared else ""
        return text if self.approximate is None else f"{text} + {self.approximate}"

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
    tuned="cuda",  # on a CPU it gains nothing, and a replay there needs no table
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
    if not isinstance(name, str) or name not in PLANS:
        raise ConfigError(f"plan={name!r}: auto, {', '.join(PLANS)} accepted; choose one")
    return PLANS[name]
