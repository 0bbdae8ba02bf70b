"""A stand-in for the two servers that an upload talks to: the Data API's thumbnails.set, and the one of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ya29.a-token_of-mine"
VIDEO = "dQw4w9WgXcQ"
ANSWER = {
    "kind": "youtube#thumbnailSetResponse",
    "etag": "an-etag",
    "items": [{"default": {"url": f"https://i.ytimg.com/vi/{VIDEO}/default.jpg", "width": 120, "height": 90}}],
}


def refusal(code: int, reason: str, words: str = "no") -> tuple[int, dict[str, Any]]:
    """An error as the API words it."""
    return code, {"error": {"code": code, "message": words, "errors": [{"reason": reason, "message": words}]}}


@dataclass
class YouTube:
    """What the servers have and were asked. first: answers given before anything else, each once."""

    url: str = ""
    first: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)  # method, path with query, body
    pictures: dict[str, bytes] = field(default_factory=dict)

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.asked.append((method, path, body))
        place, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if place == "/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            wanted = {
                "client_id": "me",
                "client_secret": "hush",
                "refresh_token": "1//r",
                "grant_type": "refresh_token",
            }
            if form == wanted:
                return 200, {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}, {}
            return 400, {"error": "invalid_grant", "error_description": "Bad Request"}, {}
        if self.first:
            return self.first.pop(0)
        if method != "POST" or place != "/upload/youtube/v3/thumbnails/set":
            return 404, {"error": {"code": 404, "message": "Not Found"}}, {}
        if headers["Authorization"] != f"Bearer {TOKEN}":
            return *refusal(401, "authError", f"Invalid Credentials {headers['Authorization']}"), {}
        if query.get("uploadType") != ["media"] or not body:
            return *refusal(400, "mediaBodyRequired"), {}
        starts = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG"}
        if not body.startswith(starts.get(headers["Content-Type"], b"nothing")):
            return *refusal(400, "invalidImage"), {}
        if query.get("videoId") != [VIDEO]:
            return *refusal(404, "videoNotFound"), {}
        self.pictures[VIDEO] = body
        return 200, ANSWER, {}


@contextmanager
def serving() -> Iterator[YouTube]:
    """The servers, at one address of this machine."""
    there = YouTube()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said, headers = there.answer(self.command, self.path, self.headers, body)
            data = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
