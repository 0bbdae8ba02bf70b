"""What all hosted services have in common: options, pictures out and in, prices, and the record of what was asked."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
from PIL import Image

from recast.errors import ConfigError
from recast.pixels import image
from recast.quality.systems.contract import Failed, Made, Request, Status
from recast.quality.systems.http import Answer, Client, Exchange
from recast.quality.systems.rate import SHARED, Clock, Limits
from recast.quality.systems.secret import Secret

T = TypeVar("T")

SEED_LIMIT = 2**31  # every service that takes a seed takes one below this
WHITE = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a hosted service is asked.

    base_url: None is the service's own. extra: fields of the request, over ours; objects merge, None takes a field
    out. price_usd: of one picture, where the service reports none. timeout_s: of one picture, with everything.
    requests_per_minute: submissions to this host; "auto" is the adapter's choice, None no limit. max_contexts: how
    many pictures the model takes, where the adapter does not know. poll_s: between two looks at a task.
    picture_fields: what a model calls its pictures (Replicate, fal), in order; "name[]" is a list of them.
    """

    name: str | None = None
    base_url: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    price_usd: float | None = None
    timeout_s: float = 300.0
    concurrency: int = 4
    requests_per_minute: float | str | None = "auto"
    max_contexts: int | None = None
    poll_s: float = 0.7
    picture_fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_s", "poll_s", "price_usd", "requests_per_minute"):
            value = getattr(self, name)
            free = (None, "auto") if name == "requests_per_minute" else (None,) if name == "price_usd" else ()
            least = 0 if name == "price_usd" else 1e-9
            if value not in free and not (isinstance(value, int | float) and least <= value < math.inf):
                raise ConfigError(f"{name}={value!r}: a positive number accepted; pass one or leave it out")
        for name, low in (("concurrency", 1), ("max_contexts", 0)):
            value = getattr(self, name)
            if not (name == "max_contexts" and value is None) and not (isinstance(value, int) and value >= low):
                raise ConfigError(f"{name}={value!r}: a whole number from {low} on accepted; pass one or leave it out")
        if not isinstance(self.extra, Mapping):
            raise ConfigError(f"extra={self.extra!r}: an object of request fields accepted; pass a mapping")


@dataclass(frozen=True)
class Picture:
    """A delivered picture: pixels uint8 (H, W, 3), transparency laid on white; what its file was."""

    pixels: np.ndarray
    format: str
    file_bytes: int
    had_alpha: bool


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a service gave: the picture, and what it said about it. sent: the fields that stand for size and seed."""

    picture: Picture
    sent: Mapping[str, Any] = field(default_factory=dict)
    cost_usd: float | None = None
    server_seconds: float | None = None
    queue_seconds: float | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


class Hosted(ABC):
    """A model behind a service's protocol; its subclasses say what is sent and how the answer reads."""

    service: ClassVar[str]
    variables: ClassVar[tuple[str, ...]]
    """Where its key may stand in the environment; the first that is set is used."""
    base_url: ClassVar[str]
    header: ClassVar[str] = "Authorization"
    prefix: ClassVar[str] = "Bearer "
    hosts: ClassVar[str | None] = None
    requests_per_minute: ClassVar[float | None] = 60.0
    """Our choice where the service documents no limit of its own, or one that depends on the account."""
    reserved: ClassVar[str] = "prompt"
    """A pattern of fields that `extra` may not touch: they are the request itself, or change how it is answered."""
    prices: ClassVar[Mapping[str, float]] = {}

    def __init__(
        self,
        model: str,
        options: Options,
        key: Secret,
        *,
        clock: Clock | None = None,
        limits: Limits = SHARED,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        for name in options.extra:
            if re.fullmatch(self.reserved, name):
                raise ConfigError(
                    f"extra={name!r}: is the request itself, or changes how it is answered; other fields accepted; "
                    "take it out"
                )
        self.model, self.options = model, options
        self.name = options.name or f"{self.service}-{model}".replace("/", "-").replace(":", "-")
        self.concurrency = options.concurrency
        if options.requests_per_minute != "auto":
            self.requests_per_minute = options.requests_per_minute  # type: ignore[misc, assignment]
        self.client = Client(
            self.service,
            options.base_url or self.base_url,
            key,
            header=self.header,
            prefix=self.prefix,
            hosts=self.hosts,
            requests_per_minute=self.requests_per_minute,
            clock=clock,
            limits=limits,
            uniform=uniform,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    def describe(self) -> dict[str, Any]:
        """What decides the picture: service, model, address and every field set by hand."""
        told = {
            "adapter": self.service,
            "model": self.model,
            "base_url": self.client.base_url,
            "fields": self.defaults(),
            "extra": dict(self.options.extra),
            "picture_fields": list(self.options.picture_fields or ()),
        }
        return self.client.redact(told)

    def price_usd(self, request: Request) -> float | None:
        """The price that was given, or the table's; None where nobody knows."""
        return self.prices.get(self.model) if self.options.price_usd is None else self.options.price_usd

    def make(self, request: Request) -> Made:
        """The picture; see the contract."""
        limit = self.max_contexts() if self.options.max_contexts is None else self.options.max_contexts
        if limit is not None and len(request.contexts) > limit:
            raise Failed("error", f"{self.service}:{self.model} takes {limit} pictures; {len(request.contexts)} came")
        self.check(request)
        exchange = self.client.begin(self.options.timeout_s)
        delivery = self.ask(exchange, request)
        picture = delivery.picture
        height, width = picture.pixels.shape[:2]
        detail = {
            "asked_size": [request.width, request.height],
            "got_size": [width, height],
            "sent": dict(delivery.sent),
            "format": picture.format,
            "file_bytes": picture.file_bytes,
            "had_alpha": picture.had_alpha,
            **{name: value for name, value in delivery.said.items() if value is not None},
        }
        return Made(
            pixels=picture.pixels,
            seconds=exchange.seconds,
            server_seconds=delivery.server_seconds,
            queue_seconds=delivery.queue_seconds,
            attempts=exchange.attempts,
            cost_usd=self.price_usd(request) if delivery.cost_usd is None else delivery.cost_usd,
            detail=self.client.redact(detail),
        )

    @abstractmethod
    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """The whole conversation about one picture."""

    @abstractmethod
    def max_contexts(self) -> int | None:
        """How many pictures the model takes; None where only the service knows."""

    def defaults(self) -> dict[str, Any]:
        """Fields that are the same in every request."""
        return {}

    def check(self, request: Request) -> None:  # noqa: B027 - most can express everything
        """Raise Failed for what the service cannot express, before anything is sent or paid."""

    def is_blocked(self, answer: Answer) -> bool:
        """Whether an HTTP error is a refusal of the content."""
        return False

    def fields(self, **given: Any) -> dict[str, Any]:
        """The fields of a request: the fixed ones, those given, and `extra` over both."""
        return merged(merged(self.defaults(), given), self.options.extra)

    def seed(self, request: Request) -> int:
        """The seed as services take it."""
        return request.seed % SEED_LIMIT

    def accepted(self, exchange: Exchange, answer: Answer) -> dict[str, Any]:
        """The JSON object of a good answer. Raises Failed for an HTTP error, and for what is no JSON object."""
        self.check_status(exchange, answer)
        body = parsed(answer)
        if not isinstance(body, dict):
            raise exchange.fail("error", f"malformed answer: no JSON object, it begins {answer.body[:2000]!r}")
        return body

    def check_status(self, exchange: Exchange, answer: Answer) -> None:
        """Raise Failed unless the answer is good, with what the service said."""
        if not answer.ok:
            status: Status = "blocked" if self.is_blocked(answer) else "error"
            raise exchange.fail(status, f"{self.service} answered {answer.status}: {reason_in(answer)}")

    def poll(self, exchange: Exchange, url: str, look: Callable[[Answer], T | None]) -> T:
        """What `look` makes of the task at last. It returns None for whatever is not an end it knows."""
        while True:
            answer = exchange.get(url)
            found = look(answer)
            if found is not None:
                return found
            body = parsed(answer)
            status = take(body, "status", kind=str) or "unknown"
            exchange.wait(self.options.poll_s, f"the task is not finished, its status is {status!r}")

    def fetched(self, exchange: Exchange, link: Any) -> Picture:
        """The picture behind an http(s) link or in a data URI."""
        if not isinstance(link, str) or not link:
            raise exchange.fail("error", f"malformed answer: no link to a picture, {str(link)[:2000]!r} in its place")
        if link.startswith("data:"):
            return self.unpacked(exchange, link.partition(",")[2])
        return exchange.download(link, picture_of)

    def unpacked(self, exchange: Exchange, text: Any) -> Picture:
        """The picture in base64. Not asked for again if it is broken: that would be another picture, and paid."""
        try:
            return picture_of(base64.b64decode(text))
        except (binascii.Error, TypeError, ValueError) as error:  # InputError is a ValueError
            raise exchange.fail("error", f"malformed answer: its picture cannot be decoded: {error}") from None


def picture_of(data: bytes) -> Picture:
    """The picture in a file's bytes. Raises InputError unless it is whole."""
    read = image.read(data, name="picture")
    with Image.open(io.BytesIO(data), formats=image.READ) as opened:
        kind = str(opened.format)
    had_alpha = read.alpha is not None and bool((read.alpha < 255).any())
    if had_alpha:
        read = image.read(image.encode(read, "png", flatten=WHITE))
    return Picture(read.rgb, kind, len(data), had_alpha)


def png(pixels: np.ndarray) -> bytes:
    """A context picture as a PNG file."""
    return image.encode(pixels, "png")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_uri(pixels: np.ndarray) -> str:
    """A context picture as a data URI."""
    return f"data:image/png;base64,{base64_of(png(pixels))}"


def placed(fields: tuple[str, ...], pictures: tuple[np.ndarray, ...]) -> dict[str, Any]:
    """Pictures under the names a model has for them: one each, or all in a list where a name ends in "[]".

    Raises Failed where there are more pictures than names: none is dropped.
    """
    if not pictures:
        return {}
    if len(fields) == 1 and fields[0].endswith("[]"):
        return {fields[0].removesuffix("[]"): [data_uri(picture) for picture in pictures]}
    if len(pictures) > len(fields):
        known = ", ".join(fields) or "none known"
        raise Failed(
            "error", f"{len(pictures)} pictures came, the fields for them are: {known}; picture_fields=... names others"
        )
    return {name: data_uri(picture) for name, picture in zip(fields, pictures, strict=False)}


def merged(fields: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with others over them: objects merge, None takes a field out."""
    result = dict(fields)
    for name, value in over.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def parsed(answer: Answer) -> Any:
    """The JSON of an answer, or None if it is none."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def take(body: Any, *path: str | int, kind: type[T]) -> T | None:
    """What stands at a path of names and indices in parsed JSON; None if nothing, or something of another kind."""
    for step in path:
        if isinstance(body, dict) and isinstance(step, str):
            body = body.get(step)
        elif isinstance(body, list) and isinstance(step, int) and -len(body) <= step < len(body):
            body = body[step]
        else:
            return None
    return body if isinstance(body, kind) and not (isinstance(body, bool) and kind is not bool) else None


def number(body: Any, *path: str | int) -> float | None:
    """A number at a path of names and indices, if there is one."""
    for kind in (int, float):
        found: Any = take(body, *path, kind=kind)
        if found is not None and math.isfinite(found):
            return float(found)
    return None


def reason_in(answer: Answer) -> str:
    """What an error answer says, in whichever of the usual places it says it."""
    body = parsed(answer)
    if isinstance(body, dict):
        error = body.get("error")
        detail, errors = body.get("detail"), body.get("errors")
        if isinstance(error, dict):
            parts = [error.get("code"), error.get("status"), error.get("message")]
        elif isinstance(detail, list):
            parts = [f"{one.get('msg')} ({one.get('type')})" for one in detail if isinstance(one, dict)]
        elif isinstance(errors, list):
            parts = [body.get("name"), *errors]
        else:
            parts = [body.get("code"), error, body.get("title"), body.get("message"), detail, body.get("details")]
        text = ": ".join(str(part) for part in parts if part not in (None, ""))
        if text:
            return text
    return answer.body[:2000].decode(errors="replace") or "nothing"
