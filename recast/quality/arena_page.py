"""The page that asks for votes: a server for this machine alone, which names no system before the last answer.

    GET /            the page
    GET /next        the question that is open: instruction, sources, two pictures under names of chance
    POST /vote       an answer; what comes back is the next question
    GET /picture/…   a picture, encoded anew, so that neither its bytes nor its size tell where it is from

Whoever asks must come from this machine (the Host and Origin headers say so: another site's page cannot) and, for all
but pictures, must know the token that is written into the page.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.quality import arena, metrics
from recast.quality.page import document, json_block

LIMIT_BYTES = 4096
LONGEST_MS = 24 * 3600 * 1000


class Poll:
    """One rater's walk through a plan: what is asked next, and what was answered."""

    def __init__(
        self,
        results: Mapping[str, Any],
        pictures: Mapping[str, Path],
        votes: Path,
        *,
        rater: str,
        seed: int = 0,
        count: int | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.rater, self.seed, self.votes = rater, seed, Path(votes)
        if not self.votes.parent.is_dir():
            raise InputError(f"out={str(votes)!r}: a file in an existing folder accepted; mkdir -p {self.votes.parent}")
        self._suite = results["suite"]["sha256"]
        self._items = {(item["key"], item["turn"]): item for item in results["items"]}
        self._places = pictures
        known = arena.read(self.votes)
        other = next((vote.suite for vote in known if vote.suite != self._suite), None)
        if other is not None:
            raise InputError(
                f"out={str(votes)!r}: holds votes on suite {other[:8]}, not {self._suite[:8]}; name another file"
            )
        ballots = arena.plan(results, rater=rater, seed=seed, count=count)
        self._total = len(ballots) * len(arena.CRITERIA)
        self._open = arena.open_questions(ballots, known, rater)
        self._shown: dict[str, bytes] = {}
        self._question: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._ask()

    @property
    def is_done(self) -> bool:
        return not self._open

    def question(self) -> dict[str, Any]:
        """What the page is to show; after the last answer, what all votes in the file say."""
        with self._lock:
            if self._open:
                return dict(self._question)
        return {"done": True, "lines": arena.lines(arena.summary(arena.read(self.votes)))}

    def picture(self, name: str) -> bytes | None:
        """The PNG of a picture of the question that is open."""
        with self._lock:
            return self._shown.get(name)

    def answer(self, data: Any) -> None:
        """Keep an answer to the open question. Raises InputError for anything else: an answer comes once."""
        with self._lock:
            if not isinstance(data, dict) or data.get("answer") not in arena.ANSWERS:
                raise InputError(f"answer: one of {', '.join(arena.ANSWERS)} accepted; reload the page")
            ms = data.get("ms")
            if not isinstance(ms, int) or isinstance(ms, bool) or not 0 <= ms <= LONGEST_MS:
                raise InputError(f"ms={ms!r}: whole milliseconds up to {LONGEST_MS} accepted; reload the page")
            if not self._open or data.get("question") != self._question["question"]:
                raise InputError("question: not the one that is open; answered already? reload the page")
            ballot, criterion = self._open[0]
            vote = arena.Vote(
                suite=self._suite, rater=self.rater, ballot=ballot, criterion=criterion, answer=data["answer"], ms=ms,
                seed=self.seed,
            )  # fmt: skip
            arena.append(self.votes, vote)
            del self._open[0]
            self._ask()

    def _ask(self) -> None:
        """Make the first open question the one that is shown."""
        if not self._open:
            self._question, self._shown = {}, {}
            return
        ballot, criterion = self._open[0]
        item = self._items[ballot.item, ballot.turn]
        if criterion == next(iter(arena.CRITERIA)) or not self._shown:
            made = self._pictures(item, ballot)
            names = [secrets.token_urlsafe(12) for _ in made]
            self._shown = dict(zip(names, made, strict=True))
        left, right, *sources = self._shown
        self._question = {
            "done": False,
            "question": secrets.token_urlsafe(12),
            "asked": arena.CRITERIA[criterion],
            "instruction": item["instruction"],
            "left": f"/picture/{left}",
            "right": f"/picture/{right}",
            "sources": [f"/picture/{name}" for name in sources],
            "answered": self._total - len(self._open),
            "total": self._total,
        }

    def _pictures(self, item: Mapping[str, Any], ballot: arena.Ballot) -> list[bytes]:
        """Left, right and the sources as PNG; both sides at the size of the first source, as for every measure."""
        sources = [self._rgb(path) for path in item["contexts"]]
        pair = [self._rgb(item["systems"][slug]["picture"]) for slug in (ballot.left, ballot.right)]
        like = sources[0] if sources else min(pair, key=lambda rgb: rgb.shape[0] * rgb.shape[1])
        height, width = like.shape[:2]
        return [_png(metrics.register(rgb, width, height)[0]) for rgb in pair] + [_png(rgb) for rgb in sources]

    def _rgb(self, path: str) -> np.ndarray:
        picture = image.read(self._places.get(path, Path(path)), name="picture")
        return picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])


class Server(ThreadingHTTPServer):
    """Serves one poll to this machine."""

    daemon_threads = True

    def __init__(self, poll: Poll, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port={port}: cannot be had ({error}); a free one accepted; leave it out") from None
        self.poll = poll
        self.port = self.server_address[1]
        self.hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        self.address = f"http://127.0.0.1:{self.port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if not self._comes_from_here():
            return
        if self.path == "/":
            page = document("arena", setup=json_block("setup", {"token": self.server.poll.token}))
            self._send(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")
        elif self.path == "/next":
            if self._knows_the_token():
                self._send_json(HTTPStatus.OK, self.server.poll.question())
        elif self.path.startswith("/picture/"):
            data = self.server.poll.picture(self.path.removeprefix("/picture/"))
            if data is None:
                self._refuse(HTTPStatus.NOT_FOUND, "no such picture now")
            else:
                self._send(HTTPStatus.OK, data, "image/png")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def do_POST(self) -> None:
        self.close_connection = True  # whatever was not read of a refused request must not be taken for the next one
        if not self._comes_from_here() or not self._knows_the_token():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/vote" or self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.NOT_FOUND, "POST /vote with JSON accepted")
        elif not length.isdecimal() or int(length) > LIMIT_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LIMIT_BYTES} bytes accepted")
        else:
            try:
                self.server.poll.answer(json.loads(self.rfile.read(int(length))))
            except (ValueError, RecursionError) as error:
                self._refuse(HTTPStatus.CONFLICT, str(error))
            else:
                self._send_json(HTTPStatus.OK, self.server.poll.question())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the votes are the record."""

    def _comes_from_here(self) -> bool:
        """Whether the browser was told this address: a name of somebody else that leads here is refused."""
        hosts, named = self.server.hosts, set(self.headers.get_all("Host", []))
        origins = {None, *(f"http://{host}" for host in hosts)}
        if named and named <= hosts and self.headers.get("Origin") in origins:
            return True
        self._refuse(HTTPStatus.FORBIDDEN, f"only {' and '.join(sorted(hosts))} answer here")
        return False

    def _knows_the_token(self) -> bool:
        if secrets.compare_digest(self.headers.get("X-Arena", "").encode(), self.server.poll.token.encode()):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "open the page anew")
        return False

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send_json(status, {"error": reason})

    def _send_json(self, status: HTTPStatus, data: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(data, ensure_ascii=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response_only(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _png(rgb: np.ndarray) -> bytes:
    return image.encode(image.Picture(np.ascontiguousarray(rgb[..., :3])), "png")
