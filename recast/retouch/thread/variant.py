"""An edit with some of its regions left out, made of what its merge kept: no model is needed, and the edit stays."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.errors import InputError
from recast.pixels import image
from recast.recipe import Recipe
from recast.retouch.certificate import certify
from recast.retouch.original import encode_original
from recast.retouch.regions import INDEX, Parts, read_parts, set_accepted, write_parts
from recast.retouch.thread.anchors import TOKENS, tokens_without
from recast.retouch.thread.branches import check_new
from recast.retouch.thread.drift import support_png
from recast.retouch.thread.node import Draft, Node
from recast.retouch.written import with_regions

if TYPE_CHECKING:
    from recast.retouch.thread.tree import Thread

PREFIX = "parts/"
"""Of the roles of the files that `recast.retouch.regions` keeps beside a merge."""
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def parts_of(merge: Any, source: bytes, edit: bytes) -> dict[str, bytes]:
    """The parts of a `recast.retouch.merge.Merge`, by role; nothing of one without regions.

    source, edit: the files it was made from.
    """
    if not merge.regions:
        return {}
    certificate = None if merge.certificate is None else merge.certificate.to_json()
    with tempfile.TemporaryDirectory() as place:
        folder = write_parts(
            Path(place) / "parts",
            source=source,
            edit=edit,
            aligned=merge.aligned.srgb8(),
            layers=merge.layers,
            regions=merge.regions,
            levels=merge.source.levels,
            certificate=certificate,
        )
        return _blobs(folder)


def variant(
    thread: Thread, ref: str | None, accept: Collection[int], reject: Collection[int], name: str | None
) -> Node:
    """A node beside an edit, with other regions taken: those of `accept` too, and those of `reject` not.

    A rejected region has the bytes that the picture had before the edit. The variant has a certificate and a branch of
    its own; its recipe is that of the edit with these regions. Raises InputError for an edit without regions, for ids
    that are no region's, and where nothing would change.
    """
    node = thread.node(ref)
    if node.parent is None or f"{PREFIX}{INDEX}" not in node.files:
        raise InputError(
            f"node={node.id!r}: keeps no regions ({node.kind}); an edit that was merged accepted; choose another, "
            "or edit with an editor that preserves"
        )
    if name is not None:
        with thread.store.reading() as db:
            check_new(name, db)
    with _folder(thread, node) as folder:
        parts = read_parts(folder)
        accepted = _accepted(parts, accept, reject)
        result, support = parts.merged(accepted), parts.support(accepted)
        proof = certify(parts.source, result, support)
        set_accepted(folder, accepted, proof.to_json())
        blobs = {role: thread.read(node, role) for role in node.files if not role.startswith(PREFIX)} | _blobs(folder)
    chosen = tuple(replace(region, is_accepted=region.id in accepted) for region in parts.regions)
    recipe = None if node.recipe is None else with_regions(Recipe.from_json(json.dumps(node.recipe)), result, chosen)
    text = None if recipe is None else recipe.to_json()
    blobs["picture"] = encode_original(result, "png", certificate=proof.to_json(), recipe=text)
    if TOKENS in blobs and node.recipe is not None:
        changed = (image.read(blobs["picture"]).rgb != thread.picture(node).rgb).any(-1)
        blobs[TOKENS] = tokens_without(blobs[TOKENS], node.recipe, changed)
    blobs["support"] = support_png(support)
    regions = [region.to_dict() for region in chosen]
    rejected = [region["id"] for region in regions if not region["is_accepted"]]
    draft = Draft(
        kind="variant",
        instruction=node.instruction,
        origin=node.id,
        blobs=blobs,
        width=node.width,
        height=node.height,
        pixels_sha256=image.read(blobs["picture"]).sha256(),
        options=node.options,
        recipe=None if text is None else json.loads(text),
        regions=regions,
        certificate=json.loads(proof.to_json()),
        report={
            **(node.report or {}),
            "regions": regions,
            "rejected": rejected,
            "changed_share": round(float(support.mean()), 6),
            "preserved": proof.preserved,
            "preserved_sha256": proof.preserved_sha256,
        },
        warnings=node.warnings,
    )
    return thread.add(draft, thread.node(node.parent), None, name or "variant")


def _accepted(parts: Parts, accept: Collection[int], reject: Collection[int]) -> set[int]:
    before = set(parts.accepted)
    known = {region.id for region in parts.regions}
    strange = sorted((set(accept) | set(reject)) - known)
    if strange:
        listed = ", ".join(map(str, sorted(known)))
        raise InputError(f"regions: no region {strange[0]}; {listed} accepted; see `recast thread show`")
    both = sorted(set(accept) & set(reject))
    if both:
        raise InputError(f"regions: {both[0]} is to be accepted and rejected; one of both accepted; leave one out")
    accepted = (before | set(accept)) - set(reject)
    if accepted == before:
        raise InputError(f"regions: nothing would change, {sorted(before)} are accepted already; name others")
    return accepted


def _blobs(folder: Path) -> dict[str, bytes]:
    return {f"{PREFIX}{file.name}": file.read_bytes() for file in sorted(folder.iterdir())}


@contextmanager
def _folder(thread: Thread, node: Node) -> Iterator[Path]:
    """The parts of a node as a folder, for as long as it is looked at."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for role in node.files:
            name = role.removeprefix(PREFIX)
            if role.startswith(PREFIX) and PLAIN.fullmatch(name):  # no name from a database leads elsewhere
                (folder / name).write_bytes(thread.read(node, role))
        yield folder
