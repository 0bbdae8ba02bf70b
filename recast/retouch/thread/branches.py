"""Which node is meant, and which branch moves on: the rules of a thread, on rows inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from recast.errors import InputError
from recast.retouch.thread.node import Branch, Node, branches_in, check_branch_name, now, set_fact

SHORTEST_PREFIX = 4


def find(ref: str | None, nodes: Mapping[str, Node], branches: Mapping[str, Branch]) -> Node:
    """The node that is meant; None is the last of the current branch. Raises InputError if there is none."""
    if ref is None:
        return nodes[next(one.head for one in branches.values() if one.is_current)]
    if ref in branches:
        return nodes[branches[ref].head]
    if ref == "root":
        return next(iter(nodes.values()))
    found = [id for id in nodes if id == ref or (len(ref) >= SHORTEST_PREFIX and id.startswith(ref))]
    if len(found) == 1:
        return nodes[found[0]]
    why = "no node and no branch" if not found else f"the beginning of {len(found)} ids"
    raise InputError(
        f"node={ref!r}: {why}; an id, {SHORTEST_PREFIX} letters or more of its beginning, 'root' or a branch accepted "
        f"({', '.join(branches)}); `recast thread list` shows them"
    )


def way(node: Node, nodes: Mapping[str, Node]) -> list[Node]:
    """The way to a node from the first above it, both included."""
    path = [node]
    while path[-1].parent is not None:
        path.append(nodes[path[-1].parent])
    return path[::-1]


def find_branch(name: str, db: sqlite3.Connection) -> Branch:
    """The branch of this name. Raises InputError if there is none."""
    branches = branches_in(db)
    if name not in branches:
        raise InputError(f"branch={name!r}: no such branch; {', '.join(branches)} accepted; choose one")
    return branches[name]


def check_new(name: str, db: sqlite3.Connection) -> None:
    """Raise InputError unless a new branch may have this name."""
    check_branch_name(name)
    if name in branches_in(db):
        raise InputError(f"branch={name!r}: is taken; a new name accepted; choose another")
    if db.execute("SELECT 1 FROM nodes WHERE id = ?", (name,)).fetchone():
        raise InputError(f"branch={name!r}: is the id of a node; another name accepted; choose one")


def add_branch(name: str, head: str, db: sqlite3.Connection) -> None:
    """Add a branch, and make it the current one."""
    db.execute("INSERT INTO branches (name, head, created) VALUES (?, ?, ?)", (name, head, now()))
    set_fact(db, "current", name)


def follow(id: str, start: str | None, onto: str | None, base: str, db: sqlite3.Connection) -> None:
    """Put a branch on a new node and make it the current one.

    onto: moves on if it still ends at `start`, where the edit began. Otherwise a branch is made, called `base`, or
    `base-2` and so on where that is taken: a faster process has moved the first.
    """
    branches = branches_in(db)
    if onto in branches and branches[onto].head == start:
        db.execute("UPDATE branches SET head = ? WHERE name = ?", (id, onto))
        set_fact(db, "current", onto)
        return
    name, number = base, 2
    while name in branches:
        name, number = f"{base}-{number}", number + 1
    check_new(name, db)
    add_branch(name, id, db)
