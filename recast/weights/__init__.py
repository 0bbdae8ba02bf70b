"""Weights: read, write, convert, and fold adapters in; every key accounted for, or an error.

Read `files` (the format), `names` (the two published layouts), `locate` and `checkpoint` (what is where), `reading`,
`writing`, then `adapter_keys`, `adapters`, `adapter_writing` and `folding`; `deltas` and `delta_weights` are models
kept as what they change of another; `hashes` remembers which file is which. Looking at a file needs no torch: names are
resolved when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.weights.adapter_writing import AdapterFormat, save_adapter
    from recast.weights.adapters import Adapter, AdapterReport, Change, read_adapter
    from recast.weights.checkpoint import PARTS, Checkpoint, Summary, open_all, open_checkpoint, read_config, summary
    from recast.weights.delta_weights import apply_delta, check_base, digest, save_delta
    from recast.weights.deltas import Base, Delta, is_delta, read_delta
    from recast.weights.files import checksum
    from recast.weights.folding import Folded, fold, settle, unfold
    from recast.weights.hashes import recalled, remember
    from recast.weights.reading import Loaded, load_into
    from recast.weights.writing import convert, save

_HOMES = {
    "adapter_writing": ("AdapterFormat", "save_adapter"),
    "adapters": ("Adapter", "AdapterReport", "Change", "read_adapter"),
    "checkpoint": ("PARTS", "Checkpoint", "Summary", "open_all", "open_checkpoint", "read_config", "summary"),
    "delta_weights": ("apply_delta", "check_base", "digest", "save_delta"),
    "deltas": ("Base", "Delta", "is_delta", "read_delta"),
    "files": ("checksum",),
    "folding": ("Folded", "fold", "settle", "unfold"),
    "hashes": ("recalled", "remember"),
    "reading": ("Loaded", "load_into"),
    "writing": ("convert", "save"),
}
__all__ = [
    "PARTS", "Adapter", "AdapterFormat", "AdapterReport", "Base", "Change", "Checkpoint", "Delta", "Folded", "Loaded",
    "Summary", "apply_delta", "check_base", "checksum", "convert", "digest", "fold", "is_delta", "load_into",
    "open_all", "open_checkpoint", "read_adapter", "read_config", "read_delta", "recalled", "remember", "save",
    "save_adapter", "save_delta", "settle", "summary", "unfold",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, exported in _HOMES.items():
        if name in exported:
            return getattr(import_module(f"recast.weights.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
