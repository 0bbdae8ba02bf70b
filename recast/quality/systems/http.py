"""One client for every hosted service: turns, retries, a deadline, and a key that goes to one host only.

An `Exchange` is all the HTTP of one picture: the submission, the polls, the download. Its `attempts` counts
submissions; a service may have charged for each of them.
"""

from __future__ import annotations

import email.utils
import logging
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3
from requests.structures import CaseInsensitiveDict

from recast.errors import ConfigError, InputError
from recast.quality.systems.contract import Failed, Status
from recast.quality.systems.rate import SHARED, Clock, Limits
from recast.quality.systems.secret import Secret, redact

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRIED = {408, 409, 429}  # and everything from 500 on
ATTEMPTS = 5
DOWNLOADS = 3
BACKOFF_S, BACKOFF_CAP_S = 0.5, 30.0  # the longest draw before the first retry, doubled for each further one
LONGEST_ASKED_S = 120.0  # a service that asks for a longer pause is not waited for
CONNECT_S, POLL_READ_S = 10.0, 30.0
LIMIT_BYTES = 64 << 20  # of one answer
REASON_LENGTH = 500

Part = tuple[None, str] | tuple[str, bytes, str]
Parts = list[tuple[str, Part]]
"""Multipart fields: (name, (None, text)), and files: (name, (file name, content, type))."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that came whole."""

    status: int
    headers: Mapping[str, str]  # case does not matter
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class _Trouble:
    """Why no answer came."""

    kind: Literal["connection", "timeout", "final"]
    text: str


class _Signature(requests.auth.AuthBase):
    """Puts the key into one header, at the last moment: it stands in no variable and no other library's error."""

    def __init__(self, header: str, prefix: str, key: Secret) -> None:
        self.header, self.prefix, self.key = header, prefix, key

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers[self.header] = self.prefix + self.key.reveal()
        return prepared


def _unsigned(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials at all: without it, `requests` would look for some in the user's .netrc."""
    return prepared


class Client:
    """A service as HTTP sees it. Safe to use from several threads.

    header, prefix: how its key is sent. hosts: a pattern of further https hosts that belong to the service and may
    see the key (the one of base_url always may). requests_per_minute: submissions, shared with every other client of
    that host; None is no limit.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        key: Secret,
        *,
        header: str = "Authorization",
        prefix: str = "Bearer ",
        hosts: str | None = None,
        requests_per_minute: float | None = None,
        clock: Clock | None = None,
        limits: Limits = SHARED,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        parts = _split(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in base_url or parts.query:
            raise ConfigError(
                f"base_url of {service}: {redact(base_url, [key])!r} came; http(s)://host/path accepted, without "
                "a user or a query; keys come from the environment"
            )
        self.service, self.base_url = service, base_url.rstrip("/")
        self.clock = clock or Clock()
        self.uniform = uniform
        self._key = key
        self._sign = _Signature(header, prefix, key)
        self._origin = _origin(base_url)
        self._hosts = re.compile(hosts) if hosts else None
        self.bucket = limits.bucket(parts.netloc, requests_per_minute)
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"Client({self.service}, {self.base_url})"

    def redact(self, value: Any) -> Any:
        """The value without the key: see `recast.quality.systems.secret.redact`."""
        return redact(value, [self._key])

    def may_see_key(self, url: str) -> bool:
        """Whether a URL lies on a host of the service itself."""
        if _origin(url) == self._origin:
            return True
        parts = _split(url)
        return bool(
            self._hosts and parts.scheme == "https" and not parts.username and self._hosts.fullmatch(parts.netloc)
        )

    def begin(self, timeout_s: float) -> Exchange:
        """A new exchange, whose clock starts when its first turn has come."""
        return Exchange(self, timeout_s)

    @property
    def session(self) -> requests.Session:
        """The connections of the thread that asks."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        return self._local.session


class Exchange:
    """All the HTTP of one picture, within one deadline. What fails raises Failed, without the key."""

    def __init__(self, client: Client, timeout_s: float) -> None:
        self.client = client
        self.timeout_s = timeout_s
        self.attempts = 0
        self._turn_taken = True
        client.clock.sleep(client.bucket.reserve(client.clock.now()))
        self._started = client.clock.now()

    @property
    def seconds(self) -> float:
        """Since the first byte could be sent."""
        return self.client.clock.now() - self._started

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.timeout_s - self.seconds

    def fail(self, status: Status, reason: str) -> Failed:
        """The failure to raise. The reason may be long: cut before the key is taken out, half a key could stay."""
        text = " ".join(str(self.client.redact(reason)).split())
        return Failed(status, text[:REASON_LENGTH], max(self.attempts, 1))

    def wait(self, seconds: float, unless: str) -> None:
        """Sleep; if that would pass the deadline, sleep up to it and fail as a timeout, because of `unless`."""
        if seconds < self.left:
            self.client.clock.sleep(seconds)
            return
        self.client.clock.sleep(max(0.0, self.left))
        raise self.fail("timeout", f"{unless}; the limit is {self.timeout_s:g} s")

    def submit(
        self, path: str, *, json: Any = None, parts: Parts | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to a POST on the service, of whatever status: retried ones come back when patience ends.

        A read that outlasts the deadline is a timeout at once: repeating it would order the picture twice.
        """

        def turn() -> None:
            if not self._turn_taken:
                self.wait(self.client.bucket.reserve(self.client.clock.now()), "the host's limit left no turn")
            self._turn_taken = False
            self.attempts += 1

        return self._persist(
            "POST", self._absolute(path), ATTEMPTS, before=turn, json=json, files=parts, headers=headers
        )

    def get(self, url: str) -> Answer:
        """The answer to a GET on the service: a path, or a URL that the service gave and that lies on its hosts."""
        return self._persist("GET", self._absolute(url), ATTEMPTS)

    def download(self, url: str, check: Callable[[bytes], T]) -> T:
        """What `check` makes of the bytes behind a link, which is fetched without the key.

        check raises InputError for what is no whole picture; that, and a download that breaks off, is tried again.
        """
        if _split(url).scheme not in ("http", "https"):
            raise self.fail("error", f"link to the picture: {url!r} came; http(s) accepted")
        trouble = ""
        for attempt in range(1, DOWNLOADS + 1):
            answer = self._persist("GET", url, DOWNLOADS, signed=False)
            if not answer.ok:
                expired = "; the link has expired, or was never good" if answer.status in (401, 403, 404, 410) else ""
                raise self.fail("error", f"download: {_place(url)} answered {answer.status}{expired}")
            try:
                return check(answer.body)
            except InputError as error:
                trouble = str(error)
            if attempt < DOWNLOADS:
                log.warning("download again service=%s attempt=%d reason=undecodable", self.client.service, attempt)
                self.wait(self._backoff(attempt), "the download could not be decoded")
        raise self.fail("error", f"download: {trouble}, {DOWNLOADS} times")

    def _absolute(self, url: str) -> str:
        if "://" not in url:
            return f"{self.client.base_url}/{url.lstrip('/')}"
        if not self.client.may_see_key(url):
            raise self.fail("error", f"{_place(url)} is no host of {self.client.service}; the key is not sent there")
        return url

    def _persist(
        self,
        method: str,
        url: str,
        attempts: int,
        *,
        before: Callable[[], None] = lambda: None,
        signed: bool = True,
        **content: Any,
    ) -> Answer:
        """One request until it is answered for good; every wait is within the deadline."""
        for attempt in range(1, attempts + 1):
            before()
            if self.left <= 0:
                raise self.fail("timeout", f"no time is left to ask {_place(url)}; the limit is {self.timeout_s:g} s")
            begun = self.client.clock.now()
            outcome = self._once(method, url, signed=signed, **content)
            said = outcome.status if isinstance(outcome, Answer) else outcome.kind
            log.info(
                "asked service=%s method=%s at=%s outcome=%s seconds=%.2f attempt=%d",
                self.client.service, method, self.client.redact(_place(url)), said,
                self.client.clock.now() - begun, attempt,
            )  # fmt: skip
            if isinstance(outcome, _Trouble):
                if self.left <= 0 or (outcome.kind == "timeout" and method == "POST"):
                    raise self.fail("timeout", f"no answer within {self.timeout_s:g} s: {outcome.text}")
                if outcome.kind == "final" or attempt == attempts:
                    raise self.fail("error", f"{outcome.text} (attempt {attempt})")
                pause, why = self._backoff(attempt), outcome.text
            else:
                asked = _asked_pause(outcome.headers, self.client.clock.today())
                if not _is_retried(outcome) or attempt == attempts or (asked or 0) > LONGEST_ASKED_S:
                    return outcome
                pause, why = asked or self._backoff(attempt), f"{_place(url)} answered {outcome.status}"
                if asked and signed:  # the host of a link is another one
                    self.client.bucket.hold(self.client.clock.now() + asked)
            log.warning("again service=%s outcome=%s in_s=%.2f", self.client.service, said, pause)
            self.wait(pause, why)
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self,
        method: str,
        url: str,
        *,
        signed: bool,
        json: Any = None,
        files: Parts | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | _Trouble:
        """One try. No exception leaves with the request, and so the key, attached to it.

        Redirects are followed only where no key travels.
        """
        read_s = self.left if method == "POST" else min(POLL_READ_S, self.left)
        try:
            with self.client.session.request(
                method,
                url,
                json=json,
                files=files,
                headers={"User-Agent": "recast", **(headers or {})},
                auth=self.client._sign if signed else _unsigned,
                timeout=(max(0.001, min(CONNECT_S, self.left)), max(0.001, read_s)),
                allow_redirects=not signed,
                stream=True,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(1 << 16):
                    body += chunk
                    if len(body) > LIMIT_BYTES:
                        return _Trouble("final", f"{_place(url)} sent more than {LIMIT_BYTES} bytes")
                    if self.left <= 0:
                        return _Trouble("timeout", f"{_place(url)} was still sending")
                return Answer(response.status_code, CaseInsensitiveDict(response.headers), bytes(body))
        except requests.exceptions.ReadTimeout:
            return _Trouble("timeout", f"{_place(url)} did not answer")
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            text = f"{_place(url)}: {type(error).__name__}: {error}"
            if isinstance(error, ValueError):  # an address that is none; it will be none the next time
                return _Trouble("final", text)
            return _Trouble("timeout" if "Read timed out" in str(error) else "connection", text)

    def _backoff(self, attempt: int) -> float:
        """Full jitter: anything from nothing to the doubled bound, so that a crowd does not come back as one."""
        return self.client.uniform(0.0, min(BACKOFF_CAP_S, BACKOFF_S * 2 ** (attempt - 1)))


def _is_retried(answer: Answer) -> bool:
    """Whether it may go better the next time; a service that says it will not is believed."""
    if answer.headers.get("x-should-retry", "").lower() == "false":
        return False
    return answer.status in RETRIED or answer.status >= 500


def _asked_pause(headers: Mapping[str, str], today: float) -> float | None:
    """The seconds a service asks for: `retry-after-ms`, or `Retry-After` as seconds or a date; None if it does not."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(text).timestamp() - today
            except ValueError:
                continue
        if 0 < seconds < float("inf"):
            return seconds
    return None


def _split(url: str) -> SplitResult:
    """The parts of a URL, all empty if it is none: a service may send anything."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _origin(url: str) -> tuple[str, str]:
    parts = _split(url)
    return parts.scheme, parts.netloc


def _place(url: str) -> str:
    """Host and path: a query may be signed, and is nobody's business."""
    parts = _split(url)
    return f"{parts.hostname or '?'}{parts.path}"
