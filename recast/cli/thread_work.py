"""What each of the commands of `recast thread` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli.job import Model
from recast.cli.main import Exit
from recast.cli.options import sampling
from recast.cli.output import Report, check_places, print_json, say
from recast.cli.progress import Progress
from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.retouch.thread import Anchors, Node, Thread, import_thread

if TYPE_CHECKING:
    from recast.pixels.image import Source
    from recast.retouch.thread.tree import Edits
    from recast.run import Result


class Loading:
    """An editor whose model is read when it is first needed: after every check that needs none."""

    def __init__(self, args: argparse.Namespace, progress: Progress) -> None:
        self.args, self.progress = args, progress
        self._editor: Edits | None = None

    def edit(self, image: Source, prompt: str, **options: Any) -> Result:
        editor = self._loaded()
        self.progress.note("encoding")
        return editor.edit(image, prompt, **options)

    def __getattr__(self, name: str) -> Any:
        """What else an editor has: its config and generator, by which tokens are carried."""
        return getattr(self._loaded(), name)

    def _loaded(self) -> Edits:
        if self._editor is None:
            self.progress.note("loading the model")
            self._editor = load_editor(self.args, self.progress)
        return self._editor


def load_editor(args: argparse.Namespace, progress: Progress) -> Edits:
    """The model of the flags by its plan, with an editor round it that keeps the rest of a picture."""
    from recast.cli import planned
    from recast.cli.lowering import Lowering

    ready = planned.load(Model.of(args), say=lambda line: progress.say(f"recast: {line}"))
    return Lowering(ready, Report(args.json, aside=progress.aside).warn)


def new(args: argparse.Namespace) -> Exit:
    folder, picture = args.words
    thread = Thread.create(folder, picture)
    return _tell(args, thread, thread.root)


def edit(args: argparse.Namespace) -> Exit:
    folder, prompt = args.words
    thread = _opened(args, folder)
    if args.mask_mode and not args.mask:
        raise ConfigError("--mask-mode: says how to read a mask, and --mask is missing; leave it out, or give a mask")
    with Progress(quiet=args.quiet) as progress:
        options = _options(args, progress)
        node = thread.edit(Loading(args, progress), prompt, at=args.at, branch=args.branch, **options)
    return _tell(args, thread, node)


def branch(args: argparse.Namespace) -> Exit:
    folder, name = args.words
    thread = Thread.open(folder)
    return _tell(args, thread, thread.node(thread.branch(name, at=args.at).head))


def show_list(args: argparse.Namespace) -> Exit:
    thread = Thread.open(args.words[0])
    nodes, branches = thread.nodes(), thread.branches()
    if args.json:
        slim = ("id", "parent", "kind", "created", "instruction", "origin", "file", "width", "height", "drift", "note",
                "branches")  # fmt: skip
        print_json(
            {
                "branches": [{"name": one.name, "head": one.head, "is_current": one.is_current}
                             for one in branches.values()],
                "nodes": [{name: getattr(node, name) for name in slim} | {"regions": len(node.regions)}
                          for node in nodes.values()],
            }
        )  # fmt: skip
        return Exit.DONE
    current = next(name for name, one in branches.items() if one.is_current)
    for line in drawn(nodes, current):
        print(line)
    return Exit.DONE


def show(args: argparse.Namespace) -> Exit:
    folder, *ref = args.words
    if args.raw and not args.out:
        raise ConfigError("--raw: says what --out writes, and --out is missing; leave it out, or give a path")
    thread = _opened(args, folder)
    node = thread.node(*ref)
    role = "raw" if args.raw else "picture"
    if args.json:
        return _tell(args, thread, node, role)
    _save(args, thread, node, role)
    for name, value in about(node).items():
        print(f"{name:12} {value}")
    return Exit.DONE


def diff(args: argparse.Namespace) -> Exit:
    folder, a, b = args.words
    thread = _opened(args, folder)
    found = thread.diff(a, b)
    if args.out:
        image.write(found.picture(), args.out)
    data = {"a": thread.node(a).id, "b": thread.node(b).id, **found.to_dict(), "out": args.out}
    if args.json:
        print_json(data)
    else:
        box = "nowhere" if found.box is None else "in {},{} to {},{}".format(*found.box)
        print(
            f"{found.changed} of {found.width * found.height} pixels differ ({found.share:.2%}), {box}; "
            f"dE00 mean {found.delta_e_mean:.2f}, max {found.delta_e_max:.2f}"
        )
    return Exit.DONE


def regions(args: argparse.Namespace) -> Exit:
    folder, ref = args.words
    if args.accept is None and args.reject is None:
        raise ConfigError("--accept, --reject: missing; one of them, as --reject 2,3; `recast thread show` lists them")
    thread = _opened(args, folder)
    given = {"accept": args.accept or (), "reject": args.reject or (), "name": args.branch}
    return _tell(args, thread, thread.variant(ref, **given))


def replay(args: argparse.Namespace) -> Exit:
    if args.on is None:
        raise ConfigError("--on: missing; the other picture, as --on other.png")
    return _again(args, lambda thread, ref, **given: thread.replay(branch=ref, on=args.on, **given))


def rebake(args: argparse.Namespace) -> Exit:
    if args.passes is None:
        raise ConfigError("--passes: missing; how many edits the instructions become, as --passes 2")
    return _again(args, lambda thread, ref, **given: thread.rebake(ref=ref, passes=args.passes, **given))


def rename(args: argparse.Namespace) -> Exit:
    folder, name, other = args.words
    thread = Thread.open(folder)
    return _tell(args, thread, thread.node(thread.rename(name, other).head))


def note(args: argparse.Namespace) -> Exit:
    folder, ref, text = args.words
    thread = Thread.open(folder)
    return _tell(args, thread, thread.note(ref, text))


def prune(args: argparse.Namespace) -> Exit:
    folder, *names = args.words
    thread = Thread.open(folder)
    if args.dry_run or names:
        planned = thread.prune(*names, is_dry=True)
        if args.dry_run:
            return _pruned(args, planned.to_dict(), "would go")
        if not args.yes:
            _ask(f"remove {_listed('branch', 'branches', planned.branches)} and {len(planned.nodes)} nodes for good?")
    return _pruned(args, thread.prune(*names).to_dict(), "gone")


def export(args: argparse.Namespace) -> Exit:
    if args.out is None:
        raise ConfigError("--out: missing; a new file, as --out thread.zip")
    path = Thread.open(args.words[0]).export(args.out)
    size = path.stat().st_size
    if args.json:
        print_json({"path": str(path), "bytes": size})
    else:
        print(path)
    return Exit.DONE


def import_(args: argparse.Namespace) -> Exit:
    thread = import_thread(*args.words)
    return _tell(args, thread, thread.node())


def check(args: argparse.Namespace) -> Exit:
    wrong = Thread.open(args.words[0]).check()
    if args.json:
        print_json({"wrong": wrong})
    else:
        for text in wrong or ["all well"]:
            print(text)
    return Exit.GATE if wrong else Exit.DONE


DO: Mapping[str, Callable[[argparse.Namespace], Exit]] = {
    "new": new, "edit": edit, "branch": branch, "list": show_list, "show": show, "diff": diff, "regions": regions,
    "replay": replay, "rebake": rebake, "rename": rename, "note": note, "prune": prune, "export": export,
    "import": import_, "check": check,
}  # fmt: skip


def drawn(nodes: Mapping[str, Node], current: str) -> list[str]:
    """The tree, a line a node: a line of edits goes straight down, what branches off is indented above its going on."""
    below: dict[str | None, list[Node]] = {}
    for node in nodes.values():
        below.setdefault(node.parent, []).append(node)
    lines: list[str] = []
    todo = [(node, 0) for node in reversed(below[None])]
    while todo:
        node, depth = todo.pop()
        heads = [f"{name}*" if name == current else name for name in node.branches]
        words = [node.id, node.kind, _short(node), f"[{', '.join(heads)}]" if heads else "", _measured(node)]
        words += [f'"{node.note}"'] if node.note else []
        lines.append("  " * depth + "  ".join(word for word in words if word))
        children = below.get(node.id, [])
        todo += [(one, depth) for one in children[-1:]]
        todo += [(one, depth + 1) for one in reversed(children[:-1])]
    return lines


def about(node: Node) -> dict[str, Any]:
    """What a person wants to know of a node, by name."""
    recipe = node.recipe or {}
    kept = recipe.get("preserving", {}).get("gives_back")
    facts: dict[str, Any] = {
        "id": node.id,
        "kind": node.kind,
        "created": node.created,
        "instruction": node.instruction,
        "file": node.file,
        "parent": node.parent,
        "origin": node.origin,
        "branches": ", ".join(node.branches),
        "size": f"{node.width}x{node.height}",
        "edited at": recipe.get("size"),
        "gives back": None if kept is None else "yes" if kept else "no",
        "drift": _measured(node),
        "certificate": "of its parent, see `recast verify`" if node.certificate else None,
        "note": node.note,
        "files": ", ".join(f"{role} {sha256[:12]}" for role, sha256 in node.files.items()),
    }
    for region in node.regions:
        taken = "" if region.get("is_accepted", True) else ", left out"
        size = f"{region.get('area')} px, dE00 {region.get('delta_e')}, box {region.get('box')}"
        facts[f"region {region.get('id')}"] = f"{region.get('kind')}, {size}{taken}"
    facts |= {f"warning {number}": text for number, text in enumerate(node.warnings, 1)}
    return {name: value for name, value in facts.items() if value}


def _short(node: Node) -> str:
    text = node.instruction or node.file or ""
    return text if len(text) <= 60 else f"{text[:59]}…"


def _measured(node: Node) -> str:
    found = node.drift or {}
    if "delta_e_mean" not in found:
        return ""
    where = f"{found['preserved'] / found['of']:.1%} preserved" if found["over"] == "preserved" else "whole frame"
    sharp = "" if found["sharpness"] is None else f", sharpness {found['sharpness']:.3f}"
    return f"dE00 {found['delta_e_mean']:.2f}{sharp}, {where}"


def _opened(args: argparse.Namespace, folder: str) -> Thread:
    if args.out:
        check_places([args.out], [])
        suffix = Path(args.out).suffix.lower().removeprefix(".")
        if suffix not in image.WRITE:
            raise InputError(f"--out={args.out!r}: no format; {', '.join(image.WRITE)} accepted; choose one of them")
    switches = {None: None, "on": True, "off": False}
    return Thread.open(folder, anchors=Anchors(carries=switches[args.carry], rides=switches[args.root]))


def _options(args: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """What the flags ask of an edit, and nothing where they say nothing."""
    options = sampling(args)
    for name in ("preserve", "context", "size", "mask", "mask_mode", "references"):
        if getattr(args, name) is not None:
            options[name] = getattr(args, name)
    if args.give_back:
        options["gives_back"] = args.give_back == "on"
    if args.box:
        options["boxes"] = args.box
    return options | {"on_step": lambda step: progress.step(step.index, step.of)}


def _again(args: argparse.Namespace, do: Callable[..., Node]) -> Exit:
    folder, ref = args.words
    thread = _opened(args, folder)
    made: list[Node] = []

    def tell(node: Node) -> None:
        made.append(node)
        if not args.json:
            progress.clear()
            print(node.id, flush=True)

    with Progress(quiet=args.quiet) as progress:
        given = {"name": args.branch, "places": "drop" if args.drop_places else "keep", **_options(args, progress)}
        node = do(thread, ref, editor=Loading(args, progress), on_node=tell, **given)
    path = _save(args, thread, node)
    if args.json:
        print_json({"nodes": [one.to_dict() for one in made], "out": path})
    return Exit.DONE


def _tell(args: argparse.Namespace, thread: Thread, node: Node, role: str = "picture") -> Exit:
    """Say which node it is about: its id, or all of it as JSON; its warnings on stderr."""
    path = _save(args, thread, node, role)
    if args.json:
        print_json(node.to_dict() | {"out": path})
    else:
        print(node.id)
    if args.what in ("new", "edit", "regions") and not args.quiet:
        for text in node.warnings:
            say(f"warning: {text}")
    return Exit.DONE


def _save(args: argparse.Namespace, thread: Thread, node: Node, role: str = "picture") -> str | None:
    if not args.out:
        return None
    thread.save(node.id, args.out, role)
    return str(args.out)


def _pruned(args: argparse.Namespace, data: dict[str, Any], what: str) -> Exit:
    if args.json:
        print_json(data)
        return Exit.DONE
    for name in data["branches"]:
        print(f"branch {name} {what}")
    for id in data["nodes"]:
        print(f"node {id} {what}")
    if data["files"] is not None:
        print(f"{data['files']} files {what}, {data['bytes']} bytes")
    return Exit.DONE


def _ask(question: str) -> None:
    """Raise ConfigError unless the user says yes; nobody is asked where nobody answers."""
    if not sys.stdin.isatty():
        raise ConfigError("--yes: missing, and stdin is no terminal to ask at; look with --dry-run, then give --yes")
    print(f"recast: {question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("prune: not confirmed, nothing was removed; answer y, or give --yes")


def _listed(one: str, several: str, names: Sequence[str]) -> str:
    return f"{one if len(names) == 1 else several} {', '.join(names)}"
