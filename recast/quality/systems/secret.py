"""Keys that cannot be printed by accident, and texts with every key taken out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote

from recast.errors import ConfigError

HIDDEN = "***"
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>)]*")  # what signs a link comes after its question mark


class Secret:
    """A key. Every way to show it shows `***`; only `reveal` gives it, to the line that signs a request.

    Raises ConfigError, without the value, for what no header can carry: a client library would name it in its error.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str, name: str = "key") -> None:
        value = value.strip()
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ConfigError(f"{name}: empty, or with characters no key has; one line of ASCII accepted; set it anew")
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is neither copied nor pickled")


def from_environment(environ: Mapping[str, str], names: Iterable[str]) -> Secret:
    """The key in the first of these variables that is set. Raises ConfigError, naming them all, if none is."""
    names = list(names)
    for name in names:
        if environ.get(name, "").strip():
            return Secret(environ[name], name)
    raise ConfigError(f"{' or '.join(names)}: not set; the service's key accepted; put it into the environment")


def redact(value: Any, secrets: Iterable[Secret]) -> Any:
    """The value with every key in it replaced by `***`, and links cut before their query, which may be signed.

    Goes through strings, mappings (keys too), lists and tuples; everything else comes back as it is.
    """
    secrets = list(secrets)
    if isinstance(value, str):
        for secret in secrets:
            for form in {secret.reveal(), quote(secret.reveal(), safe="")}:
                value = value.replace(form, HIDDEN)
        return _QUERY.sub(r"\1", value)
    if isinstance(value, Mapping):
        return {redact(key, secrets): redact(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact(inner, secrets) for inner in value)
    return value
