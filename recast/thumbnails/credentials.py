"""The user's own OAuth token for a channel, from a JSON file, and kept out of everything that is shown or written."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from recast.errors import InputError, RecastError
from recast.thumbnails.web import Unreachable, check_url, post

HIDDEN = "***"
TOKEN_URI = "https://oauth2.googleapis.com/token"
ACCEPTED = (
    'a JSON file with {"access_token": …}, or the authorized user file of a Google library (refresh_token, client_id, '
    "client_secret) accepted"
)
NEEDED = ("client_id", "client_secret")


class Token:
    """An access token. Every way to show it shows `***`; only `reveal` gives it, to the line that makes the header.

    Raises InputError, without the value, for what no header can carry.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value or not value.isascii() or not value.isprintable() or " " in value:
            raise InputError("credentials: the token is empty or has characters no token has; make a new one")
        self._value = value

    def reveal(self) -> str:
        """The token itself."""
        return self._value

    def hide(self, words: str) -> str:
        """The words without the token, should a server have said it back."""
        return words.replace(self._value, HIDDEN).replace(quote(self._value, safe=""), HIDDEN)

    def __repr__(self) -> str:
        return f"Token({HIDDEN})"

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Token is neither copied nor pickled")


def warn(path: Path) -> str:
    """A warning where others on this machine may read the file; "" where not, or where files have no such modes."""
    if os.name != "posix":
        return ""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"credentials={str(path)!r}: cannot be read ({error.strerror}); {ACCEPTED}") from None
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return ""
    return f"{path}: others on this machine can read your token; chmod 600 {path.name}"


def read_token(path: Path, *, timeout_s: float = 60) -> Token:
    """The token in a file; one that can be refreshed is, at its token_uri, and the file stays as it is.

    Raises InputError for another file, ConfigError for a token_uri in the clear, RecastError where no token is given.
    """
    said = _read(path)
    if said.get("refresh_token"):
        return _refreshed(path, said, timeout_s)
    token = said.get("access_token") or said.get("token")
    if isinstance(token, str):
        return Token(token)
    name = f"credentials={str(path)!r}"
    if "installed" in said or "web" in said:
        raise InputError(f"{name}: names an application, not you; {ACCEPTED}; let a Google library sign you in first")
    if said.get("type") == "service_account":
        raise InputError(f"{name}: a service account, which owns no channel; {ACCEPTED}")
    raise InputError(f"{name}: holds no token; {ACCEPTED}")


def _read(path: Path) -> dict[str, Any]:
    name = f"credentials={str(path)!r}"
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); {ACCEPTED}") from None
    except ValueError:
        raise InputError(f"{name}: no JSON; {ACCEPTED}") from None  # its words would quote the file
    if not isinstance(said, dict):
        raise InputError(f"{name}: JSON without names; {ACCEPTED}")
    return said


def _refreshed(path: Path, said: dict[str, Any], timeout_s: float) -> Token:
    """Source: RFC 6749, section 6."""
    name = f"credentials={str(path)!r}"
    missing = [each for each in NEEDED if not isinstance(said.get(each), str)]
    if missing:
        raise InputError(f"{name}: a refresh_token without {' and '.join(missing)}; {ACCEPTED}")
    uri = said.get("token_uri") or TOKEN_URI
    check_url(str(uri), "token_uri")
    form = {each: said[each] for each in (*NEEDED, "refresh_token")} | {"grant_type": "refresh_token"}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        answer = post(uri, urlencode(form).encode(), headers, timeout_s=timeout_s)
    except Unreachable as error:
        raise RecastError(f"{name}: the token cannot be refreshed: {error}; check the network, try again") from None
    given = answer.json()
    if answer.status == 200 and isinstance(given.get("access_token"), str):
        return Token(given["access_token"])
    known = ("invalid_grant", "invalid_client", "unauthorized_client")  # other words might hold anything
    reason = given["error"] if given.get("error") in known else "no access_token"
    raise RecastError(f"{name}: the token cannot be refreshed: {answer.status} {reason}; sign in anew")
