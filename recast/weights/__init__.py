"""Weights: read, write, convert, and fold adapters in; every key accounted for, or an error.

Read `files` (the format), `names` (the two published layouts), `locate` and `checkpoint` (what is where), `reading`,
`writing`, then `adapter_keys`, `adapters`, `adapter_writing` and `folding`. Looking at a file needs no torch: names are
resolved when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.weights.adapter_writing import AdapterFormat, save_adapter
    from recast.weights.adapters import Adapter, AdapterReport, Change, read_adapter
    from recast.weights.checkpoint import PARTS, Checkpoint, Summary, open_all, open_checkpoint, read_config, summary
    from recast.weights.files import checksum
    from recast.weights.folding import Folded, fold, unfold
    from recast.weights.reading import Loaded, load_into
    from recast.weights.writing import convert, save

_HOMES = {
    "adapter_writing": ("AdapterFormat", "save_adapter"),
    "adapters": ("Adapter", "AdapterReport", "Change", "read_adapter"),
    "checkpoint": ("PARTS", "Checkpoint", "Summary", "open_all", "open_checkpoint", "read_config", "summary"),
    "files": ("checksum",),
    "folding": ("Folded", "fold", "unfold"),
    "reading": ("Loaded", "load_into"),
    "writing": ("convert", "save"),
}
__all__ = [
    "PARTS", "Adapter", "AdapterFormat", "AdapterReport", "Change", "Checkpoint", "Folded", "Loaded", "Summary",
    "checksum", "convert", "fold", "load_into", "open_all", "open_checkpoint", "read_adapter", "read_config", "save",
    "save_adapter", "summary", "unfold",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, exported in _HOMES.items():
        if name in exported:
            return getattr(import_module(f"recast.weights.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
