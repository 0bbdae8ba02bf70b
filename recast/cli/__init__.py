"""The doorway: `recast VERB ...`, one file per verb. Read `main`, then `edit`, which uses everything here."""

from recast.cli.main import main

__all__ = ["main"]
