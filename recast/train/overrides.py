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
    """The dataclass with some fields set anew: "lr=1e-4", or "optimiser.lr=1e-4" in a dataclass inside it.

    Values: numbers, true or false, none, one of a field's words, JSON for tuples and mappings.
    Raises ConfigError for a word that is no assignment, for a name that is no field and for a value of another type.
    """
    for word in assignments:
        path, equals, value = word.partition("=")
        if not equals or not path:
            raise ConfigError(f"set={word!r}: name=value accepted, such as lr=1e-4")
        config = _set(config, path.split("."), value, path)
    return config


def names(config: Any, prefix: str = "") -> list[str]:
    """Every name that `override` accepts for this dataclass."""
    found: list[str] = []
    for each in fields(config):
        value = getattr(config, each.name)
        found += names(value, f"{prefix}{each.name}.") if is_dataclass(value) else [prefix + each.name]
    return found


def _set(config: Any, path: list[str], value: str, whole: str) -> Any:
    name, *rest = path
    known = {each.name for each in fields(config)}
    if name not in known:
        near = get_close_matches(whole, names(config), 1) or get_close_matches(name, names(config), 1)
        hint = f"did you mean {near[0]}" if near else f"accepted: {', '.join(sorted(known))}"
        raise ConfigError(f"{whole}: no such setting; {hint}")
    inner = getattr(config, name)
    if rest:
        if not is_dataclass(inner):
            raise ConfigError(f"{whole}: {name} has nothing inside it; set {name} itself")
        return replace(config, **{name: _set(inner, rest, value, whole)})
    if is_dataclass(inner):
        raise ConfigError(f"{whole}: holds several settings; set one of {', '.join(names(inner, f'{name}.'))}")
    return replace(config, **{name: _read(get_type_hints(type(config))[name], value, whole)})


def _read(wanted: Any, value: str, whole: str) -> Any:
    """The value as the annotation `wanted` says."""
    origin, options = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if value.lower() == "none" and type(None) in options:
            return None
        [wanted] = [option for option in options if option is not type(None)] or [str]
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
