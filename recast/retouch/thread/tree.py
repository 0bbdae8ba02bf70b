"""A thread: a tree of edits in one folder. Every node stays; an edit may start from any of them.

    thread = Thread.create("holiday.thread", "photo.png")
    night = thread.edit(editor, "make it night")
    thread.edit(editor, "make the jacket red", at="root", branch="red")

The editor is whatever has the `edit` of `recast.pipeline.Generates`.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recast.config import VERSION
from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.retouch.thread import again, archive, pruning, variant
from recast.retouch.thread.anchors import KEPT, TOKENS, Anchors, tokens_of
from recast.retouch.thread.branches import add_branch, check_new, find, find_branch, follow, way
from recast.retouch.thread.comparison import Comparison, compare
from recast.retouch.thread.drift import Identity, drift, union
from recast.retouch.thread.encoded import Encoded
from recast.retouch.thread.kept_options import give, keep
from recast.retouch.thread.node import (
    Branch,
    Draft,
    Kind,
    Node,
    add_node,
    branches_in,
    check_branch_name,
    check_text,
    fact,
    node_in,
    nodes_in,
    now,
    set_fact,
)
from recast.retouch.thread.objects import write_whole
from recast.retouch.thread.outcome import bytes_of, format_of, of_picture, of_result
from recast.retouch.thread.pruning import Pruned
from recast.retouch.thread.store import ENCODED, Store, new_store, reason

if TYPE_CHECKING:
    from recast.pixels.image import Source
    from recast.retouch.thread.again import Places
    from recast.run import Result

MAIN = "main"


class Edits(Protocol):
    """Whatever changes a picture by words: the half of `recast.pipeline.Generates` that a thread needs."""

    def edit(self, image: Source, prompt: str, **options: Any) -> Result: ...


class Thread:
    """A tree of edits in a folder. Safe in several processes at once; nothing is held open between calls.

    Where a node is asked for, its id, the first four letters of it or more, a branch (its last node) or "root" will do.
    """

    def __init__(self, store: Store, identity: Identity | None = None, anchors: Anchors | None = None) -> None:
        self.store = store
        self.identity = identity
        self.anchors = Anchors() if anchors is None else anchors

    @classmethod
    def create(
        cls, folder: str | os.PathLike[str], root: Source, *, identity: Identity | None = None,
        anchors: Anchors | None = None,
    ) -> Thread:  # fmt: skip
        """A new thread that begins with a picture, kept as it came. identity: a face model, for the drift.

        anchors: what keeps its turns near the root beside the editor's merge; None for the usual ones, and in a
        replay or rebake for those that each edit had.

        Raises InputError for what is no picture, and where something lies already.
        """
        draft = of_picture(*bytes_of(root, "root"), kind="root")
        with new_store(folder) as writing:
            for name, value in (("id", uuid.uuid4().hex), ("created", now()), ("version", VERSION)):
                set_fact(writing.db, name, value)
            add_branch(MAIN, add_node(writing, draft, None), writing.db)
        return cls.open(folder, identity=identity, anchors=anchors)

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], *, identity: Identity | None = None, anchors: Anchors | None = None
    ) -> Thread:
        """The thread in a folder. Raises InputError if there is none, or one of a newer recast."""
        store = Store(folder)
        with store.reading():
            return cls(store, identity, anchors)

    @property
    def folder(self) -> Path:
        return self.store.folder

    @property
    def root(self) -> Node:
        """The node the thread began with."""
        return self.node("root")

    def nodes(self) -> dict[str, Node]:
        """Every node by its id, in the order in which they were added."""
        with self.store.reading() as db:
            return nodes_in(db)

    def branches(self) -> dict[str, Branch]:
        """Every branch by its name; one of them is the current one, where edits go that do not say."""
        with self.store.reading() as db:
            return branches_in(db)

    def node(self, ref: str | None = None) -> Node:
        """The node that is meant; None is the last of the current branch. Raises InputError if there is none."""
        with self.store.reading() as db:
            return find(ref, nodes_in(db), branches_in(db))

    def path(self, ref: str | None = None) -> list[Node]:
        """The way to a node from the first above it, both included."""
        with self.store.reading() as db:
            nodes = nodes_in(db)
            return way(find(ref, nodes, branches_in(db)), nodes)

    def read(self, ref: str | Node | None = None, role: str = "picture") -> bytes:
        """A file of a node: its "picture", the "raw" edit before its merge, its "support".

        Raises InputError if the node has none, or if the disk has spoilt it.
        """
        node = ref if isinstance(ref, Node) else self.node(ref)
        if role not in node.files:
            raise InputError(f"role={role!r}: not kept by node {node.id}; {', '.join(node.files)} accepted; choose one")
        return self.store.objects.read(node.files[role])

    def picture(self, ref: str | Node | None = None) -> Picture:
        """The picture of a node, 8-bit sRGB."""
        return image.read(self.read(ref), name="node")

    def edit(
        self, editor: Edits, prompt: str, *, at: str | None = None, branch: str | None = None, **options: Any
    ) -> Node:
        """The node of a new edit. When this returns it lies safely on the disk.

        at: the node to start from, usual the last of the current branch. If a branch ends there it moves on to the new
        node; otherwise, or if `branch` names a new one, or if another process was faster, a branch is made for it.
        Either becomes the current one. options: of the editor's `edit`; kept with the node, all but callables.
        Raises what the editor raises, InputError for a node or branch that cannot be, ConfigError for options that
        cannot be kept and for several pictures at once.
        """
        check_text(prompt, "prompt")
        start, onto = self._start(at, branch)
        return self.extend(start, editor, prompt, options, kind="edit", onto=onto, base=branch)

    def branch(self, name: str, *, at: str | None = None) -> Branch:
        """Make a branch that ends at a node, usual the last of the current one, and make it the current one.

        A branch that is there becomes the current one, and stays where it is. Raises InputError if it should be made
        elsewhere than it is.
        """
        with self.store.writing() as writing:
            branches = branches_in(writing.db)
            node = find(at, nodes_in(writing.db), branches)
            if name not in branches:
                check_new(name, writing.db)
                add_branch(name, node.id, writing.db)
            elif at is not None and branches[name].head != node.id:
                raise InputError(
                    f"branch={name!r}: is there already, and ends at {branches[name].head}; a new name accepted, or "
                    "leave `at` out to go to it"
                )
            set_fact(writing.db, "current", name)
            return branches_in(writing.db)[name]

    def rename(self, name: str, new: str) -> Branch:
        """The branch under its new name. Raises InputError if there is none, or if the new name is taken."""
        with self.store.writing() as writing:
            find_branch(name, writing.db)
            check_new(new, writing.db)
            writing.db.execute("UPDATE branches SET name = ? WHERE name = ?", (new, name))
            if fact(writing.db, "current") == name:
                set_fact(writing.db, "current", new)
            return branches_in(writing.db)[new]

    def note(self, ref: str | None, text: str) -> Node:
        """The node with a note; earlier notes stay in the database, the last one is shown."""
        check_text(text, "text")
        with self.store.writing() as writing:
            node = find(ref, nodes_in(writing.db), branches_in(writing.db))
            row = (node.id, now(), text)
            writing.db.execute("INSERT INTO notes (node, created, text) VALUES (?, ?, ?)", row)
            return node_in(writing.db, node.id)

    def diff(self, a: str, b: str) -> Comparison:
        """What differs between the pictures of two nodes. Raises InputError if they have two sizes."""
        return compare(self.picture(a), self.picture(b))

    def variant(
        self, ref: str | None, *, accept: Collection[int] = (), reject: Collection[int] = (), name: str | None = None
    ) -> Node:
        """An edit with other regions taken, as a node beside it, on a new branch. See `variant.variant`."""
        return variant.variant(self, ref, accept, reject, name)

    def replay(
        self, editor: Edits, branch: str, on: Source, *, name: str | None = None, places: Places = "keep",
        on_node: Callable[[Node], None] | None = None, **options: Any,
    ) -> Node:  # fmt: skip
        """The last node of a branch's instructions given again, one by one, on another picture. See `again.replay`."""
        return again.replay(self, editor, branch, on, name, places, on_node, options)

    def rebake(
        self, editor: Edits, ref: str | None, passes: int, *, name: str | None = None, places: Places = "keep",
        on_node: Callable[[Node], None] | None = None, **options: Any,
    ) -> Node:  # fmt: skip
        """The last node of a node's instructions given to the root in as few passes as asked. See `again.rebake`."""
        return again.rebake(self, editor, ref, passes, name, places, on_node, options)

    def prune(self, *names: str, is_dry: bool = False) -> Pruned:
        """Remove branches with the nodes that only they lead to, and files nobody needs. See `pruning.prune`."""
        return pruning.prune(self.store, names, is_dry)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the whole thread as one zip file. See `archive.export`."""
        return archive.export(self.store, path)

    def save(self, ref: str | None, path: str | os.PathLike[str], role: str = "picture") -> Path:
        """Write a file of a node as it is kept, certificate and recipe inside, or as another kind of picture.

        Raises InputError for a suffix that is no format, and where it cannot be written.
        """
        data = self.read(ref, role)
        suffix = Path(path).suffix.lower().removeprefix(".")
        if image.WRITE.get(suffix) != format_of(data):
            return image.write(image.read(data, name="node"), path, recipe=image.read_recipe(data))
        try:
            write_whole(Path(os.path.realpath(path)), data)
        except OSError as error:
            raise InputError(
                f"path={os.fspath(path)!r}: cannot be written ({reason(error)}); a file in an existing folder "
                "accepted; choose another place"
            ) from error
        return Path(path)

    def check(self) -> list[str]:
        """What is wrong with the folder, a phrase each: every row, and every file against its hash."""
        return self.store.check()

    def extend(
        self, start: Node, editor: Edits, prompt: str, options: Mapping[str, Any], *, kind: Kind, onto: str | None,
        base: str | None = None, origin: str | None = None,
    ) -> Node:  # fmt: skip
        """Run the editor on a node's picture and add what comes below it. onto, base: as of `branches.follow`."""
        anchors = self.anchors.over(options.get(KEPT, {}))
        options = {name: value for name, value in options.items() if name != KEPT}
        kept, blobs = keep(options)
        if kept.get("num_images", kept.get("num_images_per_prompt", 1)) != 1:
            raise ConfigError("num_images: one a node accepted; edit again from the same node, with another seed")
        given = {**options, **give(kept, blobs.__getitem__)}
        source = self.read(start)
        tokens = self.read(start, TOKENS) if TOKENS in start.files else None
        root = self.path(start.id)[0]
        encoded = Encoded(self.store.folder / ENCODED, looks=tokens is not None)
        given |= anchors.given(editor, given, tokens, None if root.id == start.id else self.picture(root), encoded)
        result = editor.edit(source, prompt, **given)
        encoded.write()
        kept[KEPT] = asdict(anchors)
        if result.recipes:
            kept.setdefault("seed", result.recipe.seed)  # so that a replay draws the same noise
        known = tokens_of(result)
        blobs |= {} if known is None else {TOKENS: known}
        draft = of_result(result, source, kind, prompt, options=kept, blobs=blobs, origin=origin)
        draft = replace(draft, warnings=(*draft.warnings, *encoded.warnings))
        return self.add(draft, start, onto, base)

    def add(self, draft: Draft, start: Node | None, onto: str | None, base: str | None = None) -> Node:
        """Add a draft below a node, with its drift, or as a picture of its own; and put a branch on it."""
        if start is not None:
            draft = replace(draft, drift=self._drift(draft, start))
        with self.store.writing() as writing:
            if start is not None:
                _check_there(start, writing.db)
            parent = None if start is None else start.id
            id = add_node(writing, draft, parent)
            follow(id, parent, onto, base or onto or "branch", writing.db)
            return node_in(writing.db, id)

    def _start(self, at: str | None, branch: str | None) -> tuple[Node, str | None]:
        """Where an edit starts, and the branch that moves on, if one does."""
        with self.store.reading() as db:
            branches = branches_in(db)
            node = find(at, nodes_in(db), branches)
            if branch is not None:
                if branch not in branches:
                    check_new(branch, db)
                elif branches[branch].head != node.id:
                    raise InputError(
                        f"branch={branch!r}: ends at {branches[branch].head}, not at {node.id}; a new name accepted, "
                        "or start from its last node"
                    )
                return node, check_branch_name(branch)
            if at in branches:
                return node, at
            ending = [name for name, one in branches.items() if one.head == node.id]
            current = [name for name in ending if branches[name].is_current]
            return node, next(iter([*current, *ending]), None)

    def _drift(self, draft: Draft, start: Node) -> dict[str, Any]:
        with self.store.reading() as db:
            _check_there(start, db)
            path = way(start, nodes_in(db))
        supports = [self.read(node, "support") if "support" in node.files else None for node in path[1:]]
        root, picture = self.picture(path[0]), image.read(draft.blobs["picture"])
        support = union([*supports, draft.blobs.get("support")], root.rgb.shape[:2])
        return {"against": path[0].id} | drift(root.rgb, picture.rgb, support, self.identity)


def _check_there(node: Node, db: sqlite3.Connection) -> None:
    """Raise InputError if another process has pruned the node."""
    if not db.execute("SELECT 1 FROM nodes WHERE id = ?", (node.id,)).fetchone():
        raise InputError(f"node={node.id!r}: was pruned while the edit ran; a kept node accepted; do it again")
