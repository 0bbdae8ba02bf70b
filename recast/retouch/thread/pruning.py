"""What may go: branches nobody wants, the nodes that only they lead to, and files that nothing points to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recast.errors import InputError
from recast.retouch.thread.branches import find_branch, way
from recast.retouch.thread.node import branches_in, nodes_in, set_fact
from recast.retouch.thread.store import Store


@dataclass(frozen=True)
class Pruned:
    """What went, or would: branches, nodes by id, and, unless it was tried only, files with their bytes."""

    branches: tuple[str, ...]
    nodes: tuple[str, ...]
    files: int | None
    bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        return {"branches": list(self.branches), "nodes": list(self.nodes), "files": self.files, "bytes": self.bytes}


def prune(store: Store, names: Sequence[str], is_dry: bool) -> Pruned:
    """Remove the branches and those of their nodes that lead to no other branch's end; then every unneeded file.

    The root stays, and so does every node with a kept one below it. Without names, files alone go: those of a command
    that was killed. The rows go in one transaction, the files after it. is_dry: only say what would go.
    Raises InputError for a name that is no branch's, and if no branch would be left.
    """
    with store.writing() as writing:
        db = writing.db
        nodes, branches = nodes_in(db), branches_in(db)
        gone = [find_branch(name, db) for name in dict.fromkeys(names)]
        kept = [branch for branch in branches.values() if branch not in gone]
        if not kept:
            raise InputError(f"branch={gone[0].name!r}: no branch would be left; all but one accepted; keep one")
        needed = {node.id for branch in kept for node in way(nodes[branch.head], nodes)} | {next(iter(nodes))}
        doomed = {node.id for branch in gone for node in way(nodes[branch.head], nodes)} - needed
        ids = [id for id in nodes if id in doomed]
        if not is_dry:
            for table, column in (("notes", "node"), ("files", "node"), ("nodes", "id")):
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(id,) for id in ids])
            db.executemany("DELETE FROM branches WHERE name = ?", [(branch.name,) for branch in gone])
            db.execute("DELETE FROM objects WHERE sha256 NOT IN (SELECT sha256 FROM files)")
            if any(branch.is_current for branch in gone):
                set_fact(db, "current", kept[0].name)
    files, size = (None, None) if is_dry else store.sweep()
    return Pruned(tuple(branch.name for branch in gone), tuple(ids), files, size)
