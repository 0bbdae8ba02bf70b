"""One POST and its answer: no redirect is followed, nothing goes in the clear to another machine."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from recast.errors import ConfigError

LOCAL = ("localhost", "127.0.0.1", "::1")
LONGEST_ANSWER_BYTES = 1_000_000


class Unreachable(Exception):
    """No answer came: no connection, none in time, or one that broke."""


@dataclass(frozen=True)
class Answer:
    """status: of HTTP. text: the body. retry_after_s: what the server asks to wait, 0 where it does not say."""

    status: int
    text: str
    retry_after_s: float = 0.0

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} where it is none."""
        try:
            said = json.loads(self.text)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}


def check_url(url: str, name: str) -> None:
    """Raise ConfigError, naming the argument, unless it is an address of https, or of http on this machine."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
        is_good = is_good and bool(parts.hostname) and not (parts.query or parts.fragment or parts.username)
        _ = parts.port
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigError(
            f"{name}={url!r}: https://HOST accepted, or http on this machine: a token must not travel in the clear"
        )


def post(url: str, data: bytes, headers: Mapping[str, str], *, timeout_s: float = 60) -> Answer:
    """The answer to a POST, whatever its status; the environment's proxy is used but for this machine.

    Raises Unreachable where none came.
    """
    is_local = urlsplit(url).hostname in LOCAL
    opener = build_opener(_Stays, *([ProxyHandler({})] if is_local else []))
    request = Request(url, data=data, headers=dict(headers), method="POST")
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return Answer(answer.status, _text(answer))
    except HTTPError as error:
        with error:
            return Answer(error.code, _text(error), _seconds(error.headers.get("Retry-After")))
    except (URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(f"no answer from {urlsplit(url).netloc} ({reason or type(error).__name__})") from None


class _Stays(HTTPRedirectHandler):
    """A redirect is an answer like others: followed, it would take the token along to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _text(answer: Any) -> str:
    data: bytes = answer.read(LONGEST_ANSWER_BYTES)
    return data.decode("utf-8", errors="replace")


def _seconds(said: str | None) -> float:
    """Retry-After in seconds; its other form, a date, counts as nothing said."""
    return float(said) if said is not None and said.strip().isdigit() else 0.0
