"""Where results go: paths from a template, checked before any work; pictures whole or not at all; the report."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.recipe import Recipe

if TYPE_CHECKING:
    from recast.pipeline import Result
    from recast.retouch.merge import Merge

FIELDS = ("seed", "index", "name")


@dataclass(frozen=True)
class Output:
    """Where to write, and in which form."""

    template: str  # "-" is stdout
    format: str
    quality: int | None = None
    metadata: str = "full"
    recipe_template: str | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, *, is_folder: bool = False) -> Output:
        """As the flags say; with is_folder, a plain --out is a folder. Raises ConfigError for what cannot work."""
        template: str = args.out
        if is_folder and "{" not in Path(template).name:
            template = str(Path(template) / f"{{name}}.{args.format or 'png'}")
        suffix = "" if template == "-" else Path(template).suffix.removeprefix(".")
        chosen = args.format or suffix or ("png" if template == "-" else "")
        if args.format and suffix in image.WRITE and image.WRITE[suffix] != image.WRITE.get(args.format):
            raise ConfigError(f"--format={args.format}: --out={template!r} says {suffix}; leave one of the two out")
        if template == "-" and args.json:
            raise ConfigError("--json, --out=-: both want stdout; write the picture to a file, or leave --json out")
        if template == "-" and sys.stdout.isatty():
            raise ConfigError("--out=-: stdout is a terminal; a file or a pipe accepted, as in `... --out - > out.png`")
        if args.recipe_out and not args.recipe_out.endswith(".json"):
            raise ConfigError(f"--recipe-out={args.recipe_out!r}: a name that ends in .json accepted; add it")
        if not chosen:
            raise ConfigError(f"--out={template!r}: no suffix; .png, .jpg or .webp accepted; add one, or --format")
        output = cls(template, chosen, args.quality, args.metadata or "full", args.recipe_out)
        try:
            output.encode(Picture(np.zeros((1, 1, 3), np.uint8)), None)
        except InputError as error:
            raise ConfigError(f"--out={template!r}: {error}") from None
        return output

    def paths(self, name: str, seeds: Sequence[int]) -> list[str]:
        """Where the picture of each seed goes. Raises ConfigError for a field that is none."""
        if self.template == "-" and len(seeds) > 1:
            raise ConfigError(f"--out=-, --num-images={len(seeds)}: one picture accepted on stdout; name a file")
        return [self.template] if self.template == "-" else expand(self.template, name, seeds)

    def recipe_paths(self, name: str, seeds: Sequence[int]) -> list[str]:
        return expand(self.recipe_template, name, seeds) if self.recipe_template else []

    def check_fits(self, width: int, height: int, alpha: np.ndarray | None) -> None:
        """Raise InputError if the format cannot hold a picture of this size, or with this alpha."""
        longest = max(width, height)
        row = np.full((1, longest), 255 if alpha is None else alpha.min(), np.uint8)
        self.encode(Picture(np.zeros((1, longest, 3), np.uint8), None if alpha is None else row), None)

    def encode(self, picture: Picture, recipe: str | None) -> bytes:
        return image.encode(picture, self.format, quality=self.quality, recipe=recipe)

    def parts_paths(self, args: argparse.Namespace, name: str, seeds: Sequence[int]) -> list[str]:
        """The folder beside each picture that keeps its unmerged edit; none with --parts none, or on stdout."""
        if args.parts == "none" or (args.parts is None and self.template == "-"):
            return []
        if args.parts:
            return expand(args.parts, name, seeds)
        return [str(Path(path).with_suffix(".parts")) for path in self.paths(name, seeds)]

    def write(
        self, picture: Picture, path: str, recipe: str, recipe_path: str | None, merged: Merged | None = None
    ) -> None:
        """Write one picture with its recipe (JSON), as --metadata says, and the recipe by itself where asked for.

        merged: what a merge has of it: its own depth and profile, and a certificate.
        """
        embedded = {
            "full": recipe,
            "minimal": Recipe.from_json(recipe).without_prompts().to_json(),
            "none": None,
        }[self.metadata]
        if recipe_path is not None:
            write_text(Path(recipe_path), recipe + "\n", "--recipe-out")
        data = self.encode(picture, embedded) if merged is None else merged.encode(self, embedded)
        if path == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            image.write_bytes(data, path)


@dataclass(frozen=True)
class Merged:
    """An edit merged into its source, on its way to a file. parts: the folder for its unmerged edit, if any."""

    merge: Merge
    raw: Picture  # as the model made it
    certificate: str | None
    parts: str | None

    def encode(self, output: Output, recipe: str | None) -> bytes:
        from recast.retouch.original import encode_original

        proof = None if self.loss(output) else self.certificate
        return encode_original(
            self.merge.result, output.format, quality=output.quality, certificate=proof, recipe=recipe
        )

    def loss(self, output: Output) -> str | None:
        """What to tell of a certificate that the output format cannot keep."""
        from recast.retouch.original import loss_of

        return loss_of(output.format, output.quality, original=self.merge.result) if self.certificate else None

    def keep_parts(self) -> None:
        """The unmerged edit and its regions in their folder. Before the picture, so that none is without."""
        if self.parts is not None and self.certificate is not None:
            self.merge.write_parts(self.parts, self.raw)


@dataclass
class Report:
    """What was made: paths on stdout as they come, or one JSON object at the end; warnings on stderr.

    aside: entered while a line is written, so that progress drawn by another thread does not run into it.
    """

    is_json: bool
    pictures: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    aside: Callable[[], AbstractContextManager[None]] = nullcontext

    def add(self, path: str, picture: Picture, recipe: str, merged: Merged | None = None) -> None:
        """A picture that lies at `path` now. Its sha256 is that of the file."""
        if self.is_json:
            entry = json.loads(recipe)
            size = {"width": picture.width, "height": picture.height}
            sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found = {"path": path, "seed": entry["seed"], **size, "sha256": sha256, "recipe": entry}
            found |= {} if merged is None else {"merge": merged.merge.report}
            self.pictures.append(found)
        elif path != "-":
            with self.aside():
                print(path, flush=True)

    def warn(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.warnings.append(text)
            with self.aside():
                say(f"warning: {text}")

    def finish(self) -> None:
        if self.is_json:
            timings = {name: round(seconds, 4) for name, seconds in self.timings_s.items()}
            print_json({"pictures": self.pictures, "warnings": self.warnings, "timings_s": timings, **self.more})


def expand(template: str, name: str, seeds: Sequence[int]) -> list[str]:
    """The template with {seed}, {index} (from 1) and {name} filled in for each seed.

    Several that would share a path get -{seed} before the suffix. Raises ConfigError for another field.
    """
    unknown = sorted(set(re.findall(r"\{(\w*)\}", template)) - set(FIELDS))
    if unknown:
        accepted = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise ConfigError(f"--out={template!r}: {{{unknown[0]}}} stands for nothing; {accepted} accepted")
    if len(seeds) > 1 and "{seed}" not in template and "{index}" not in template:
        path = Path(template)
        template = str(path.with_name(f"{path.stem}-{{seed}}{path.suffix}"))
    return [
        template.replace("{seed}", str(seed)).replace("{index}", str(index)).replace("{name}", name)
        for index, seed in enumerate(seeds, start=1)
    ]


def check_places(paths: Iterable[str], sources: Iterable[str], *, is_folder: bool = False) -> None:
    """Raise InputError unless each path can be written: in a folder that is there, and over no source.

    is_folder: each is to be a folder itself.

    Raises ConfigError if two results would share a path.
    """
    sources = [source for source in sources if os.path.exists(source)]
    seen = set()
    for path in paths:
        folder = Path(path).parent
        if path == "-":
            continue
        if not folder.is_dir():
            raise InputError(f"output={path!r}: no folder {str(folder)!r}; an existing one accepted; mkdir -p {folder}")
        if not os.access(folder, os.W_OK):
            raise InputError(f"output={path!r}: {str(folder)!r} cannot be written to; choose another folder")
        if os.path.isdir(path) and not is_folder:
            raise InputError(f"output={path!r}: is a folder; a file name accepted, as {str(Path(path) / 'out.png')!r}")
        if os.path.exists(path) and any(os.path.samefile(path, source) for source in sources):
            raise InputError(f"output={path!r}: is a picture or recipe that goes in, and would be lost; choose another")
        if os.path.realpath(path) in seen:
            raise ConfigError(f"output={path!r}: two results would go there; use {{name}}, {{seed}} or {{index}}")
        seen.add(os.path.realpath(path))


def deliver(
    output: Output,
    report: Report,
    result: Result,
    paths: Sequence[str],
    recipe_paths: Sequence[str],
    original: str | None = None,
    parts: Sequence[str] = (),
) -> None:
    """Write every picture of a result, and report it. original: the recipe of a replay that came out the same.

    paths, recipe_paths, parts: of every picture asked for; those of pictures that failed a gate stay unwritten.
    """
    failures = getattr(result, "failures", {})
    paths, recipe_paths, parts = (
        [place for index, place in enumerate(places) if index not in failures]
        for places in (paths, recipe_paths, parts)
    )
    losses = {}
    for index, (picture, recipe, path) in enumerate(zip(result.pictures, result.recipes, paths, strict=True)):
        text = original or recipe.to_json()
        merged = merged_of(result, index, parts)
        if merged is not None:
            merged.keep_parts()
            losses[merged.loss(output)] = True
        output.write(picture, path, text, recipe_paths[index] if recipe_paths else None, merged)
        report.add(path, picture, text, merged)
    report.warn([*result.warnings, *filter(None, losses)])


def merged_of(result: Result, index: int, parts: Sequence[str]) -> Merged | None:
    """What a merge has of one picture; None for what was not merged."""
    edits = getattr(result, "edits", ())
    if not edits:
        return None
    from recast.retouch.editor import Edited

    assert isinstance(result, Edited)
    return Merged(edits[index], result.raws[index], result.certificate(index), parts[index] if parts else None)


def say(text: str) -> None:
    """One line on stderr."""
    print(f"recast: {' '.join(text.split())}", file=sys.stderr)


def print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=2))


def write_text(path: Path, text: str, name: str) -> None:
    """Write a text, whole or not at all. Raises InputError, naming the argument as `name`."""
    temporary = path.with_name(f".recast-{secrets.token_hex(8)}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{name}={str(path)!r}: cannot be written ({error.strerror}); choose another") from error
    finally:
        temporary.unlink(missing_ok=True)
