"""A local service that speaks somebody's protocol: strict about what it is sent, and able to fail in every way."""

from __future__ import annotations

import base64
import binascii
import io
import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

KEY = "sk-standin/0123+4567=abcdef"  # with characters that look different inside a URL


@dataclass
class Reply:
    """What is sent back. cut: the length is promised in full, half of it is sent."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Call:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Any
    body: bytes

    def json(self) -> dict[str, Any]:
        expect(self.headers.get("Content-Type") == "application/json", "Content-Type is not application/json")
        body = json.loads(self.body)
        expect(isinstance(body, dict), "the body is no JSON object")
        return body

    def form(self) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
        """Fields and files of a multipart body."""
        kind = self.headers.get("Content-Type", "")
        expect(kind.startswith("multipart/form-data; boundary="), f"Content-Type {kind!r} is not multipart")
        message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + self.body)
        fields, files = {}, []
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if part.get_filename() is None:
                expect(name not in fields, f"field {name} came twice")
                fields[name] = content.decode()
            else:
                files.append((name, content))
        return fields, files


class Wrong(Exception):
    """The request is not what the documentation asks for."""


def expect(claim: bool, otherwise: str) -> None:
    if not claim:
        raise Wrong(otherwise)


def picture(data: bytes) -> np.ndarray:
    """The pixels of a picture file that was sent."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return np.asarray(opened.convert("RGB"))
    except Exception as error:
        raise Wrong(f"a picture does not decode: {error}") from error


def from_base64(text: Any) -> np.ndarray:
    try:
        return picture(base64.b64decode(text, validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        raise Wrong(f"a picture is not base64: {error}") from error


def from_data_uri(text: Any) -> np.ndarray:
    expect(isinstance(text, str) and text.startswith("data:image/png;base64,"), "a picture is no data URI of a PNG")
    return from_base64(text.partition(",")[2])


def ratio_is(text: Any, offered: set[str] | None = None) -> None:
    expect(isinstance(text, str), f"aspect_ratio {text!r} is no string")
    w, _, h = text.partition(":")
    expect(w.isdigit() and h.isdigit(), f"aspect_ratio {text!r} is not W:H")
    expect(9 / 21 - 1e-9 <= int(w) / int(h) <= 21 / 9 + 1e-9, f"aspect_ratio {text!r} is out of range")
    expect(offered is None or text in offered, f"aspect_ratio {text!r} is not offered")


def fields_are(body: dict[str, Any], allowed: dict[str, type | tuple[type, ...]], required: set[str]) -> None:
    """Every field known and of its type, and none missing: real services often ignore a misspelt one in silence."""
    expect(required <= set(body), f"missing: {required - set(body)}")
    for name, value in body.items():
        expect(name in allowed, f"unknown field {name}")
        expect(isinstance(value, allowed[name]), f"{name}={value!r} has the wrong type")


class Server:
    """An HTTP server on a free port of this machine, whose answers a function gives."""

    def __init__(self, answer: Callable[[Call], Reply]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                reply = answer(Call(self.command, parts.path, parse_qs(parts.query), self.headers, body))
                data = reply.data
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if reply.cut else data)

            do_GET = do_POST = handle_any  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that no longer listens is part of the tests."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class StandIn:
    """A service and the host its links point to.

    submissions, polls, downloads: replies to give, in this order, instead of the right ones. pending: how many polls
    find the task unfinished. is_blocked: refuse the content. hang: keep submissions waiting. wrongs: what was not as
    documented. pictures: the context pictures that came, decoded.
    """

    spec: str
    variable: str
    path = ""  # of the base address
    has_task = True  # a task that is polled, rather than one long request
    has_link = True  # a link to the picture, rather than the picture itself

    def __init__(self) -> None:
        self.api, self.delivery = Server(self._api), Server(self._deliver)
        self.submissions: deque[Reply] = deque()
        self.polls: deque[Reply] = deque()
        self.downloads: deque[Reply] = deque()
        self.calls: list[Call] = []
        self.fetches: list[Call] = []
        self.wrongs: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.pending = 1
        self.is_blocked = False
        self.hang = False
        self.closing = threading.Event()
        self.result = np.random.default_rng(5).integers(0, 256, (16, 24, 3), dtype=np.uint8)

    @property
    def base_url(self) -> str:
        return self.api.url + self.path

    @property
    def file(self) -> bytes:
        """The picture it makes, as a PNG."""
        buffer = io.BytesIO()
        Image.fromarray(self.result).save(buffer, "PNG")
        return buffer.getvalue()

    @property
    def link(self) -> str:
        return f"{self.delivery.url}/made/picture.png?signature=abc"

    @property
    def posts(self) -> list[Call]:
        return [call for call in self.calls if call.method == "POST"]

    def close(self) -> None:
        self.closing.set()
        self.api.close()
        self.delivery.close()

    def presented(self, call: Call) -> str | None:
        """The key as this service wants it."""
        scheme, _, key = call.headers.get("Authorization", "").partition(" ")
        return key if scheme == "Bearer" else None

    def submitted(self, call: Call) -> Reply:
        raise NotImplementedError

    def polled(self, call: Call) -> Reply:
        raise NotImplementedError

    def refusal(self) -> Reply:
        """How this service refuses content, at the place where it does."""
        raise NotImplementedError

    def error(self, status: int, text: str) -> Reply:
        return Reply(status, {"detail": text})

    def unfinished(self) -> bool:
        self.pending -= 1
        return self.pending >= 0

    def _api(self, call: Call) -> Reply:
        self.calls.append(call)
        presented = self.presented(call)
        if presented != KEY:  # as some do, it says which key it did not like
            return self.error(401, f"the key {presented or dict(call.headers)} is not known")
        script = self.submissions if call.method == "POST" else self.polls
        if script:
            return script.popleft()
        if self.hang:
            self.closing.wait(30)
            return Reply(503, b"closing")
        try:
            return self.submitted(call) if call.method == "POST" else self.polled(call)
        except Exception as wrong:  # a field that is missing is as wrong as one that is not expected
            self.wrongs.append(f"{type(wrong).__name__}: {wrong}")
            return self.error(422, str(wrong))

    def _deliver(self, call: Call) -> Reply:
        self.fetches.append(call)
        if self.downloads:
            return self.downloads.popleft()
        if (call.method, call.path, call.query) != ("GET", "/made/picture.png", {"signature": ["abc"]}):
            return Reply(404, b"no such picture")
        return Reply(200, self.file, {"Content-Type": "image/png"})
