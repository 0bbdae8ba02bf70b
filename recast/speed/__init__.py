"""Is it fast? `accelerate(pipeline, plan)` is the only door; the plain core stays the reference.

Reading order: `plan` (what may be exchanged), `apply` (what is), `engine` (the network), `ops` and `kernels`, then
what one is curious about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.speed.apply import Accelerated, accelerate

__all__ = ["Accelerated", "accelerate"]


def __getattr__(name: str) -> Any:
    """The door, imported when it is first asked for: reading a plan needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'recast.speed' has no attribute {name!r}")
    from recast.speed import apply

    return getattr(apply, name)
