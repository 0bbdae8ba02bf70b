"""Accepted instructions once more: on another picture, or on the root in fewer passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from recast.errors import ConfigError, InputError
from recast.retouch.thread.branches import check_new
from recast.retouch.thread.kept_options import PLACES, give
from recast.retouch.thread.node import Node
from recast.retouch.thread.outcome import bytes_of, of_picture

if TYPE_CHECKING:
    from recast.pixels.image import Source
    from recast.retouch.thread.tree import Edits, Thread

Places = Literal["keep", "drop"]
OnNode = Callable[[Node], None]
END = (".", "!", "?", "。", "！", "？")


def replay(
    thread: Thread, editor: Edits, ref: str, on: Source, name: str | None, places: Places, on_node: OnNode | None,
    options: Mapping[str, Any],
) -> Node:  # fmt: skip
    """The last node of the instructions on the way to `ref`, given again one by one on the picture `on`.

    The picture becomes a node without parent, of kind "import", and each instruction one of kind "replay" below it, on
    a new branch; each is kept once it is made. Every edit has the options and seed it had, but for `options`. places:
    "keep" masks and boxes, or "drop" them. Regions that a variant left out are not known on another picture, so that
    the edit is made whole. on_node: called with every node as it is added.
    Raises InputError where there is no instruction, and where masks or boxes should be kept on another size.
    """
    steps = _steps(thread, ref, places)
    _check_name(thread, name)
    draft = of_picture(*bytes_of(on, "on"), kind="import")
    for step in steps:
        bound = _bound(step)
        size = thread.node(step.parent)
        if places == "keep" and bound and (size.width, size.height) != (draft.width, draft.height):
            raise InputError(
                f"on: {draft.width}x{draft.height} came, and node {step.id} has {', '.join(bound)} in a picture of "
                f"{size.width}x{size.height}; the same size accepted; bring the picture to it, or drop the places"
            )
    node = thread.add(draft, None, None, name or "replay")
    branch = node.branches[0]
    _tell(on_node, node)
    for step in steps:
        assert step.instruction is not None  # by _steps
        given = {**_options(thread, step, places), **options}
        node = thread.extend(node, editor, step.instruction, given, kind="replay", onto=branch, origin=step.id)
        _tell(on_node, node)
    return node


def rebake(
    thread: Thread, editor: Edits, ref: str | None, passes: int, name: str | None, places: Places,
    on_node: OnNode | None, options: Mapping[str, Any],
) -> Node:  # fmt: skip
    """The last node of the instructions on the way to `ref`, given to the first node above it in `passes` passes.

    The instructions are split into groups of nearly equal size, in their order, and those of a group become one. What a
    later one undoes is still asked for: that is for the user to see to. A pass has the options of the last edit of its
    group, but for `options`, and the references of the one edit that has any. Each pass is a node of kind "rebake" on a
    new branch. places: "keep" masks and boxes, which a group must then share, or "drop" them.
    Raises ConfigError for a number of passes that cannot be, and for a group whose places or references differ.
    """
    steps = _steps(thread, ref, places)
    if not isinstance(passes, int) or isinstance(passes, bool) or not 1 <= passes <= len(steps):
        raise ConfigError(f"passes={passes!r}: 1 to {len(steps)} accepted, the number of its instructions; pass one")
    _check_name(thread, name)
    groups = split(steps, passes)
    asked = [{**_shared(thread, group, places), **options} for group in groups]
    path = thread.path(ref)
    node, branch = path[0], None
    for group, given in zip(groups, asked, strict=True):
        prompt = joined([step.instruction for step in group if step.instruction is not None])
        node = thread.extend(
            node, editor, prompt, given, kind="rebake", onto=branch, base=name or "rebake", origin=path[-1].id
        )
        branch = node.branches[0]
        _tell(on_node, node)
    return node


def joined(instructions: Sequence[str]) -> str:
    """One instruction for several: their sentences one after the other, each with its end."""
    texts = [text.strip() for text in instructions]
    ended = [text if text.endswith(END) else f"{text}." for text in texts[:-1]]
    return " ".join([*ended, texts[-1]])


def split(steps: Sequence[Node], passes: int) -> list[Sequence[Node]]:
    """The steps in `passes` groups in their order, the sizes of which differ by one at most, larger ones first."""
    size, more = divmod(len(steps), passes)
    ends = [size * i + min(i, more) for i in range(passes + 1)]
    return [steps[ends[i] : ends[i + 1]] for i in range(passes)]


def _steps(thread: Thread, ref: str | None, places: Places) -> list[Node]:
    if places not in ("keep", "drop"):
        raise ConfigError(f"places={places!r}: keep or drop accepted; pass one")
    path = thread.path(ref)
    steps = [node for node in path if node.instruction is not None]
    if not steps:
        raise InputError(f"node={path[-1].id!r}: no instruction on the way to it; an edit accepted; choose another")
    return steps


def _bound(step: Node) -> list[str]:
    """The options of an edit that speak of a place; the context is one where it is a box."""
    names = [*PLACES] if isinstance(step.options.get("context", "auto"), str) else [*PLACES, "context"]
    return [name for name in names if name in step.options]


def _options(thread: Thread, step: Node, places: Places) -> dict[str, Any]:
    dropped = [*PLACES, "context"] if places == "drop" else []
    if step.options.get("context") in ("auto", "whole"):  # anything else is a box, or needs one
        dropped = [name for name in dropped if name != "context"]
    kept = {name: value for name, value in step.options.items() if name not in dropped}
    given: dict[str, Any] = give(kept, lambda role: thread.read(step, role))
    return given


def _shared(thread: Thread, group: Sequence[Node], places: Places) -> dict[str, Any]:
    """The options of a group of edits that become one."""
    last = group[-1]
    given = _options(thread, last, places)
    if places == "keep":
        for step in group:
            if _trace(step, _bound(step)) != _trace(last, _bound(last)):
                raise ConfigError(
                    f"passes: {step.id!r} and {last.id!r} would become one edit, and their masks or boxes differ; "
                    "groups with the same ones accepted; ask for more passes, or drop the places"
                )
    having = [step for step in group if step.options.get("references")]
    if any(_trace(step, ("references",)) != _trace(having[0], ("references",)) for step in having):
        raise ConfigError(
            f"passes: {having[0].id!r} and {having[-1].id!r} would become one edit, and their references differ; "
            "groups with the same ones accepted; ask for more passes"
        )
    if having:
        given["references"] = _options(thread, having[0], places)["references"]
    return given


def _trace(step: Node, names: Sequence[str]) -> object:
    """Options to compare: pictures by their hash instead of their role, which differs from node to node."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: step.files.get(one, one) if key[:1] == "$" and isinstance(one, str) else plain(one)
                    for key, one in value.items()}  # fmt: skip
        return [plain(one) for one in value] if isinstance(value, list) else value

    return {name: plain(step.options[name]) for name in names if name in step.options}


def _check_name(thread: Thread, name: str | None) -> None:
    if name is not None:
        with thread.store.reading() as db:
            check_new(name, db)


def _tell(on_node: OnNode | None, node: Node) -> None:
    if on_node is not None:
        on_node(node)
