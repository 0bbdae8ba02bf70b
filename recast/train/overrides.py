"""`name=value` words into fields of a frozen dataclass, each read as its annotation says."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from recast.errors import ConfigError

T = TypeVar("T")


def override(config: T, assignments: Sequence[str]) -> T:
    """The dataclass with some fields set anew, all at once: "lr=1e-4", or "optimiser.lr=1e-4" in one inside it.

    Values: numbers, true or false, none, one of a field's words, JSON for tuples and mappings.
    Raises ConfigError for a word that is no assignment, for a name that is no field and for a value of another type.
    """
    tree: dict[str, Any] = {}
    for word in assignments:
        path, equals, value = word.partition("=")
        if not equals or not path:
            raise ConfigError(f"set={word!r}: name=value accepted, such as lr=1e-4")
        _plant(tree, config, path, value)
    return _grown(config, tree)


def names(config: Any, prefix: str = "") -> list[str]:
    """Every name that `override` accepts for this dataclass."""
    found: list[str] = []
    for each in fields(config):
        value = getattr(config, each.name)
        found += names(value, f"{prefix}{each.name}.") if is_dataclass(value) else [prefix + each.name]
    return found


def _plant(tree: dict[str, Any], config: Any, path: str, value: str) -> None:
    """Put a value, as its field says, into a tree of the fields that change; a later one replaces an earlier."""
    *outer, last = path.split(".")
    inner = config
    for name in outer:
        inner = _field(config, inner, name, path)
        if not is_dataclass(inner):
            raise ConfigError(f"{path}: {name} has nothing inside it; set {name} itself")
        tree = tree.setdefault(name, {})
    if is_dataclass(_field(config, inner, last, path)):
        held = names(getattr(inner, last), f"{path}.")
        raise ConfigError(f"{path}: holds several settings; set one of {', '.join(held)}")
    tree[last] = _read(get_type_hints(type(inner))[last], value, path)


def _field(config: Any, inner: Any, name: str, path: str) -> Any:
    known = {each.name for each in fields(inner)}
    if name not in known:
        near = get_close_matches(path, names(config), 1)
        hint = f"did you mean {near[0]}" if near else f"accepted: {', '.join(sorted(known))}"
        raise ConfigError(f"{path}: no such setting; {hint}")
    return getattr(inner, name)


def _grown(config: Any, tree: Mapping[str, Any]) -> Any:
    """The dataclass with all changes of the tree made at once: what two fields must agree on is looked at once."""
    changes = {}
    for name, value in tree.items():
        before = getattr(config, name)
        changes[name] = _grown(before, value) if is_dataclass(before) else value
    return replace(config, **changes)


def _read(wanted: Any, value: str, whole: str) -> Any:
    """The value as the annotation `wanted` says."""
    origin, options = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if value.lower() == "none" and type(None) in options:
            return None
        wanted, *others = (option for option in options if option is not type(None))
        if wanted is str and others and value.startswith("["):  # a word, or a list of them
            wanted = others[0]
        return _read(wanted, value, whole)
    if origin is Literal:
        if value not in options:
            raise ConfigError(f"{whole}={value!r}: {', '.join(map(str, options))} accepted; choose one")
        return value
    if wanted is bool:
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"{whole}={value!r}: true or false accepted")
        return value.lower() == "true"
    if wanted in (int, float):
        try:
            return wanted(value)
        except ValueError:
            kind = "a whole number" if wanted is int else "a number"
            raise ConfigError(f"{whole}={value!r}: {kind} accepted") from None
    if wanted is str:
        return value
    return _json(origin or wanted, value, whole)


def _json(wanted: Any, value: str, whole: str) -> Any:
    try:
        data = json.loads(value)
    except ValueError as error:
        raise ConfigError(f"{whole}={value!r}: JSON accepted here; {error}") from None
    if wanted is tuple and isinstance(data, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in data)
    if isinstance(wanted, type) and issubclass(wanted, Mapping) and isinstance(data, dict):
        return data
    kind = "a list, such as [0.9, 0.95]" if wanted is tuple else 'an object, such as {"text": 2}'
    raise ConfigError(f"{whole}={value!r}: {kind} accepted")
