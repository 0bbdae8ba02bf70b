"""`recast VERB ...`: finds the verb, runs it, and turns whatever goes wrong into one line and an exit code.

Only the chosen verb is imported, and no verb imports torch before it is run: `recast edit --help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from enum import IntEnum
from importlib import import_module
from typing import Any, NoReturn

from recast.config import VERSION
from recast.errors import Cancelled, ConfigError, GateFailed, MissingWeights, RecastError

VERBS: Mapping[str, str] = {
    "generate": "make a picture from words",
    "edit": "change a picture, or a folder of them, by words",
    "merge": "lay any edit over its source, and keep the rest",
    "verify": "check that the rest was kept, byte for byte",
    "regions": "take single changes of a merge back, or in again",
    "thread": "keep a tree of edits: branch, replay, rebake",
    "thumbnails": "make a checked set of thumbnails from a brief",
    "train": "make the weights, or adapt them",
    "distill": "make a model that needs fewer evaluations",
    "evaluate": "ask a suite of a model and score the answers",
    "report": "show runs side by side on one page",
    "arena": "compare two answers blindly, again and again",
    "world": "draw the world that training and benchmarks come from",
    "models": "list the models that have a name",
    "info": "say what is in a picture, a recipe or a checkpoint",
    "convert": "write a checkpoint in another layout",
    "estimate": "say what fits on this machine",
    "doctor": "check this installation",
}
EXTRAS: Mapping[str, str] = {
    "pyarrow": "train",
    "tensorboard": "train",
    "scipy": "quality",
    "skimage": "quality",
    "requests": "quality",
    "onnxruntime": "quality",
    "transformers": "text",
    "uharfbuzz": "thumbnails",
    "fontTools": "thumbnails",
    "resvg_py": "thumbnails",
    "bidi": "thumbnails",
    "yaml": "thumbnails",
    "rapidocr": "reading",
    "av": "video",
}
"""Libraries that a plain installation leaves out, and the extra that brings each."""
HELP = """Make and edit pictures with one in-context flow model.

  recast edit photo.png "make it night" --out night.png
  recast generate "a red circle on a blue square" --out circle.png --seed 7"""


class Exit(IntEnum):
    """How a command ended, for the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2  # options that cannot work; nothing was tried
    REFUSED = 3  # by a policy
    MEMORY = 4
    GATE = 5  # made, and not as good or not the same as was asked for
    WEIGHTS = 6  # not there, or not to be had without a licence
    CANCELLED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command line `argv`, which is that of the process if None."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(argv)
        sys.stdout.flush()
        return status
    except SystemExit as done:  # argparse, after --help
        return int(done.code or 0)
    except BrokenPipeError:
        discard_output()
        return Exit.FAILED
    except (KeyboardInterrupt, Cancelled):
        print("recast: cancelled", file=sys.stderr)
        return Exit.CANCELLED
    except Exception as error:
        if "--traceback" in argv:
            traceback.print_exc()
        print(f"recast: error: {one_line(error)}", file=sys.stderr)
        return exit_code(error)


def discard_output() -> None:
    """Have stdout go nowhere: whoever read it has stopped, as `head` does, and Python must not fail to flush it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: Exception) -> Exit:
    """What the shell is told about an error."""
    if isinstance(error, ConfigError):
        return Exit.USAGE
    if isinstance(error, MissingWeights):
        return Exit.WEIGHTS
    if isinstance(error, GateFailed):
        return Exit.GATE
    if isinstance(error, MemoryError):
        return Exit.MEMORY
    return Exit.FAILED


def one_line(error: Exception) -> str:
    """An error's message on one line; one that is not ours says so."""
    text = " ".join(str(error).split())
    if isinstance(error, RecastError):
        return text
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in EXTRAS:
        return (
            f"{missing}: not installed, and this command needs it; `pip install 'recast[{EXTRAS[missing]}]'` brings it"
        )
    if isinstance(error, MemoryError):
        return f"memory: ran out {text}; use a smaller size; `recast estimate` says what fits"
    return f"unexpected {type(error).__name__}: {text}; --traceback shows where; please report it"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ConfigError, and whose help looks the same under every Python."""

    def __init__(self, **options: Any) -> None:
        # No abbreviations: a new flag must not change what an old script means.
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, add_help=False, **options)
        self.add_argument("-h", "--help", action="help", help="show this help")

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        near = difflib.get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        hint = f"; did you mean {near[0]}" if near else ""
        raise ConfigError(f"{message}{hint}; see `{self.prog} --help`")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with each flag's value named once, after its last name."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(action.metavar or action.dest)
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        return ", ".join(action.option_strings) + value


def parser_of(verb: str) -> Parser:
    """The parser of one verb; imports its module."""
    module = import_module(f"recast.cli.{verb}")
    parser = Parser(prog=f"recast {verb}", description=module.HELP)
    module.configure(parser)
    parser.add_argument("--traceback", action="store_true", help="on an error, show where it came from")
    return parser


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        parser = _top_parser()
        parser.parse_args(argv)
        parser.print_help(sys.stderr)
        return Exit.USAGE
    verb, *rest = argv
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"did you mean {near[0]}" if near else f"accepted: {', '.join(VERBS)}"
        raise ConfigError(f"{verb!r}: no such command; {hint}; see `recast --help`")
    args = parser_of(verb).parse_intermixed_args(rest)  # the instruction may stand after the flags
    status: int = import_module(f"recast.cli.{verb}").run(args)
    return status


def _top_parser() -> Parser:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {verb:{width}}{summary}" for verb, summary in VERBS.items())
    parser = Parser(
        prog="recast",
        usage="recast COMMAND ...",
        description=f"{HELP}\n\ncommands:\n{verbs}",
        epilog="`recast COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"recast {VERSION}", help="show the version")
    return parser
