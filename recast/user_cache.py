"""Where this user's machine keeps what recast can make again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """$XDG_CACHE_HOME/recast, else ~/.cache/recast; it may not be there yet. Raises RuntimeError for want of a home.

    Source: XDG Base Directory Specification, version 0.8.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recast"
