"""YAML documents into frozen dataclasses: what a file may hold is what its dataclass says, and every error has a line.

The annotations of the dataclass are the schema: str, int, float, bool, Literal, Path (of a file that exists), Box (four
numbers in percent), tuples, mappings from names, other dataclasses, and each of them `| None`; `Annotated` with a mark
of `marks` narrows them. Values are read as they are written, so a title `NO` or `007` is that text, not a boolean
or a number.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from recast.errors import InputError
from recast.pixels import image
from recast.thumbnails.boxes import Box
from recast.thumbnails.marks import HEX, PAINT, Between, Bundled, Like, MayBeAbsent, OneOf, PictureFile

if TYPE_CHECKING:
    from yaml import MappingNode, Node

T = TypeVar("T")
LIMIT_BYTES = 1_000_000
"""No brief is longer; a file that is was named by mistake."""
DEEPEST = 20
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map")}
_TAGS |= {"tag:yaml.org,2002:value", "tag:yaml.org,2002:merge"}  # plain "=" and "<<", which are read as text


@dataclass(frozen=True, eq=False)
class Place:
    """A value in a document: its node, and its name such as "variants.levels[2].edit"."""

    file: Path
    node: Node
    name: str = ""
    lines: dict[str, int] = field(default_factory=dict)  # by name, of every value that is read; shared by all places

    @property
    def line(self) -> int:
        number: int = self.node.start_mark.line + 1
        return number

    def error(self, words: str) -> InputError:
        """An error that says where: "brief.yaml line 12: variants.levels[2].edit: " and the words."""
        return error(self.file, self.line, self.name, words)

    def came(self) -> str:
        """What the value is, for a person."""
        from yaml import MappingNode, SequenceNode

        if isinstance(self.node, MappingNode):
            return "a mapping"
        if isinstance(self.node, SequenceNode):
            return f"a list of {len(self.node.value)}"
        return "nothing" if self.is_empty else repr(shortened(self.node.value))

    @property
    def is_empty(self) -> bool:
        return bool(self.node.tag == "tag:yaml.org,2002:null")

    def inside(self, node: Node, name: str) -> Place:
        return Place(self.file, node, name, self.lines)


def error(file: Path, line: int | None, name: str, words: str) -> InputError:
    """An error that says where in a document. line, name: None and "" where there is none to name."""
    where = file.name if line is None else f"{file.name} line {line}"
    return InputError(f"{where}: {name}: {words}" if name else f"{where}: {words}")


def line_of(lines: Mapping[str, int], name: str) -> int:
    """The line of a value, or of the nearest that holds it and was written."""
    while name and name not in lines:
        name = re.sub(r"(\.[^.\[]*|\[\d+\]|^[^.\[]*)$", "", name)
    return lines.get(name, 1)


def shortened(text: str, most: int = 60) -> str:
    """The text, or its beginning: errors are one line."""
    return text if len(text) <= most else f"{text[:most]}…"


def read_document(path: Path, kind: type[T], *, schema: int, **given: Any) -> tuple[T, dict[str, int]]:
    """A document as the dataclass `kind`, and the line of every value in it by name: {"base.frame": 7, …}.

    given: fields that are no keys of the document. Relative paths in it start at its folder. Raises InputError for a
    file that cannot be read or is no YAML, for a schema other than `schema`, and for the first value that does not fit.
    """
    root = _composed(path)
    entries = _entries(root)
    if "schema" not in entries:
        raise error(path, 1, "schema", f"missing; {schema} accepted; begin the file with schema: {schema}")
    place = entries["schema"]
    if (came := getattr(place.node, "value", "")) != str(schema):
        newer = isinstance(came, str) and came.isdecimal() and int(came) > schema
        todo = "take a newer recast" if newer else f"write schema: {schema}"
        raise place.error(f"{place.came()} came; {schema} accepted; {todo}")
    return _dataclass(root, kind, skip=("schema",), **given), root.lines


def _composed(path: Path) -> Place:
    """The root of a document: one mapping, without aliases and tags. Raises InputError."""
    import yaml

    try:
        data = path.read_bytes()
    except OSError as failure:
        words = f"cannot be read ({failure.strerror}); a YAML file accepted; name one, or write one by `new`"
        raise InputError(f"path={str(path)!r}: {words}") from failure
    if len(data) > LIMIT_BYTES:
        raise InputError(
            f"path={str(path)!r}: {len(data)} bytes came; at most {LIMIT_BYTES} accepted; name a YAML file"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data[: failure.start].count(b"\n") + 1
        raise error(path, line, "", "bytes that are no UTF-8 came; save the file as UTF-8") from failure
    try:
        _check_tokens(path, yaml.scan(text, yaml.SafeLoader))
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.reader.ReaderError as failure:
        line = text[: failure.position].count("\n") + 1
        raise error(path, line, "", f"character U+{ord(text[failure.position]):04X} came; remove it") from failure
    except yaml.MarkedYAMLError as failure:
        raise _no_yaml(path, text, failure) from failure
    if not isinstance(root, yaml.MappingNode):
        raise error(path, 1, "", "keys with values came nowhere; lines such as `schema: 1` accepted")
    return Place(path, root)


def _check_tokens(path: Path, tokens: Iterable[Any]) -> None:
    """Raise InputError at the first alias, anchor, or bracket that is nested beyond DEEPEST."""
    import yaml

    opens: tuple[type, ...] = (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)
    opens += (yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken)
    closes = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
    depth = 0
    for token in tokens:
        line = token.start_mark.line + 1
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
            mark = "*" if isinstance(token, yaml.AliasToken) else "&"
            raise error(path, line, "", f"{mark}{token.value} came; values written out accepted, or text in quotes")
        depth += isinstance(token, opens) - isinstance(token, closes)
        if depth > DEEPEST:
            raise error(path, line, "", f"nested too deeply; {DEEPEST} levels accepted; remove brackets")


def _no_yaml(path: Path, text: str, failure: Any) -> InputError:
    mark = failure.problem_mark or failure.context_mark
    number = 0 if mark is None else mark.line
    lines = text.splitlines()
    line = lines[number] if number < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(failure.problem):
        return error(path, number + 1, "", "a tab came; spaces accepted before a key; replace it by spaces")
    advice = 'indent with spaces, and put text that has : # [ { in it between "quotes"'
    return error(path, number + 1, "", f"no YAML: {failure.problem}; {advice}")


def _entries(place: Place) -> dict[str, Place]:
    """The values of a mapping by key. Raises InputError for no mapping, a key twice or a key that is no name."""
    from yaml import MappingNode, ScalarNode

    if not isinstance(place.node, MappingNode):
        raise place.error(f"{place.came()} came; keys with values accepted, such as {{key: value}}")
    _check_tag(place)
    found: dict[str, Place] = {}
    node: MappingNode = place.node
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise error(place.file, line, place.name, "a key that is a list or mapping came; a name accepted")
        name = f"{place.name}.{key.value}" if place.name else key.value
        if key.value in found:
            first = place.lines[name]
            raise error(place.file, line, name, f"came twice, first in line {first}; once accepted; remove one")
        place.lines[name] = line
        found[key.value] = place.inside(value, name)
    return found


def _check_tag(place: Place) -> None:
    if place.node.tag not in _TAGS:
        tag = place.node.tag.replace("tag:yaml.org,2002:", "!!")
        raise place.error(f"the tag {tag} came; plain values accepted; remove the tag")


def _dataclass(place: Place, kind: type[T], *, skip: tuple[str, ...] = (), **given: Any) -> T:
    """A mapping as a dataclass: each key a field. `skip`: keys that are none; `given`: fields that are no keys."""
    entries = {name: value for name, value in _entries(place).items() if name not in skip}
    hints = get_type_hints(kind, include_extras=True)
    known = [each for each in fields(kind) if each.name not in given]  # type: ignore[arg-type]
    names = [*skip, *(each.name for each in known)]
    for name, value in entries.items():
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(names)}"
            raise error(place.file, place.lines[value.name], value.name, f"unknown key; {hint}")
    values = {}
    for each in known:
        if each.name in entries:
            values[each.name] = _value(entries[each.name], hints[each.name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise place.error(f"{each.name} is missing; add {each.name}: …")
    return kind(**values, **given)


def _value(place: Place, kind: Any, marks: tuple[Any, ...] = ()) -> Any:
    """A value as its annotation says. Raises InputError with its line."""
    _check_tag(place)
    origin = get_origin(kind)
    if origin is Annotated:
        return _value(place, get_args(kind)[0], kind.__metadata__)
    if origin in (Union, types.UnionType):
        if place.is_empty:
            return None
        return _value(place, next(each for each in get_args(kind) if each is not type(None)), marks)
    if origin is Literal:
        return _choice(place, get_args(kind))
    if origin is tuple:
        return _tuple(place, get_args(kind), marks)
    if origin is not None and issubclass(origin, Mapping):
        entries = _entries(place)
        _check_count(place, len(entries), marks)
        return {name: _value(value, get_args(kind)[1]) for name, value in entries.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _box(place) if kind is Box else _dataclass(place, kind)
    return _SCALARS[kind](place, marks)


def _choice(place: Place, accepted: tuple[str, ...]) -> str:
    came = _plain(place, "one of " + ", ".join(accepted))
    if came not in accepted:
        near = get_close_matches(came, accepted, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise place.error(f"{place.came()} came; {', '.join(accepted)} accepted{hint}")
    return came


def _tuple(place: Place, kinds: tuple[Any, ...], marks: tuple[Any, ...]) -> tuple[Any, ...]:
    from yaml import SequenceNode

    is_open = kinds[-1] is Ellipsis
    if not isinstance(place.node, SequenceNode):
        raise place.error(f"{place.came()} came; a list accepted, such as [a, b]; write [ ] around it")
    if not is_open and len(place.node.value) != len(kinds):
        raise place.error(f"{place.came()} came; a list of {len(kinds)} accepted")
    _check_count(place, len(place.node.value), marks)
    made = []
    for i, node in enumerate(place.node.value):
        each = place.inside(node, f"{place.name}[{i}]")
        place.lines[each.name] = each.line
        made.append(_value(each, kinds[0] if is_open else kinds[i]))
    return tuple(made)


def _check_count(place: Place, count: int, marks: tuple[Any, ...]) -> None:
    for mark in marks:
        if isinstance(mark, Between) and not mark.least <= count <= mark.most:
            raise place.error(f"{count} came; {mark.least:g} to {mark.most:g} accepted")


def _box(place: Place) -> Box:
    sides = _tuple(place, (Annotated[float, Between(0, 100)],) * 4, ())
    check_sides(place.file, place.line, place.name, sides)
    return Box(*(side / 100 for side in sides))


def check_sides(file: Path, line: int | None, name: str, sides: tuple[float, ...]) -> None:
    """Raise InputError unless left, top, right, bottom in percent span an area inside the frame."""
    left, top, right, bottom = sides
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        came = ", ".join(f"{side:g}" for side in sides)
        raise error(file, line, name, f"[{came}] came; [left, top, right, bottom] in percent, left < right and top < "
                    "bottom, accepted")  # fmt: skip


def _plain(place: Place, accepted: str) -> str:
    """The text of a scalar, as it is written."""
    from yaml import ScalarNode

    if not isinstance(place.node, ScalarNode) or place.is_empty:
        raise place.error(f"{place.came()} came; {accepted} accepted")
    came: str = place.node.value
    return came


def _text(place: Place, marks: tuple[Any, ...]) -> str:
    for mark in marks:
        if isinstance(mark, OneOf):
            return _choice(place, mark.words)
    like = next((mark for mark in marks if isinstance(mark, Like)), None)
    came = _plain(place, like.words if like else "text")
    if like and not re.fullmatch(like.pattern, came):
        raise place.error(f"{place.came()} came; {like.words} accepted")
    return came.upper() if like in (HEX, PAINT) and came.startswith("#") else came


def _float(place: Place, marks: tuple[Any, ...]) -> float:
    between = next((mark for mark in marks if isinstance(mark, Between)), Between(-math.inf, math.inf))
    bounds = "" if math.isinf(between.most) else f" from {between.least:g} to {between.most:g}"
    came = _plain(place, f"a number{bounds}")
    if place.node.style is not None or not NUMBER.fullmatch(came) or not between.least <= float(came) <= between.most:
        raise place.error(f"{place.came()} came; a number{bounds} accepted")
    return float(came)


def _int(place: Place, marks: tuple[Any, ...]) -> int:
    made = _float(place, marks)
    if not made.is_integer():
        raise place.error(f"{place.came()} came; a whole number accepted")
    return int(made)


def _bool(place: Place, marks: tuple[Any, ...]) -> bool:
    came = _plain(place, "true or false").lower()
    if came not in FLAGS:
        raise place.error(f"{place.came()} came; true or false accepted")
    return FLAGS[came]


def _path(place: Place, marks: tuple[Any, ...]) -> Path:
    """A file that exists, or that may be absent, as a path from where the document lies."""
    came = _plain(place, "a file's name")
    path = place.file.parent / came
    bundled = next((mark for mark in marks if isinstance(mark, Bundled)), None)
    if bundled and came in bundled.names():
        return bundled.folder / f"{came}{bundled.suffix}"
    try:
        is_file, is_there = path.is_file(), path.exists()
    except (OSError, ValueError):  # too long, or a NUL
        is_file = is_there = False
    else:
        if not is_there and any(isinstance(mark, MayBeAbsent) for mark in marks):
            return path
    if not is_file:
        what = "is not a file" if is_there else "does not exist"
        others = f", or write {' or '.join(bundled.names())}, which we bring" if bundled else ""
        raise place.error(f"{place.came()} {what} in {place.file.parent}; put it there or write its path{others}")
    picture = next((mark for mark in marks if isinstance(mark, PictureFile)), None)
    if picture and not (picture.takes_svg and path.suffix.lower() == ".svg"):
        _check_picture(place, path, picture.least_px)
    return path


def _check_picture(place: Place, path: Path, least_px: int) -> None:
    try:
        made = image.read(path)
    except InputError as failure:
        why = str(failure).partition(": ")[2] or str(failure)
        raise place.error(f"{place.came()}: {why}") from failure
    if min(made.width, made.height) < least_px:
        came = f"{place.came()} is {made.width}x{made.height}"
        raise place.error(f"{came}; sides of at least {least_px} pixels accepted; take a larger picture")


_SCALARS = {str: _text, float: _float, int: _int, bool: _bool, Path: _path}
