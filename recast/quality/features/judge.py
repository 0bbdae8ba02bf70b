"""Pictures and closed questions → yes, no or unclear, by a vision-language model behind a chat endpoint.

Optional by design: no headline number needs it. What it answers is never guessed from prose; an answer outside the
schema is asked for again twice and then recorded as an error, which is counted and is no number.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from recast.errors import ConfigError, InputError
from recast.quality.features.regions import picture

LONGEST_PX = 1024
ATTEMPTS = 3
LONGEST_WAIT_S = 60.0
KEY = "RECAST_JUDGE_KEY"
ANSWERS = ("yes", "no", "unclear")
CHOICES = ("first", "second", "equal")
FATAL = (401, 403, 404)  # the run is set up wrongly: every further item would fail alike

SYSTEM = (
    "You check pictures. Answer every question from what is visible, with yes, no or unclear. "
    "Choose unclear when the pictures do not show it. Answer with the JSON object that is asked for and nothing else."
)
COMPARE = (
    "The first picture was to be changed as follows: {instruction}\n"
    "The second and the third picture are two attempts, called first and second. Which one follows the instruction "
    "better and keeps the rest as it was? Choose equal if neither is better."
)

Answer = Literal["yes", "no", "unclear"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A closed question on one property. right: the answer that speaks for the picture.

    is_control: asks for something that surely is not there, right answer "no"; it tests the judge, not the picture.
    """

    text: str
    right: Literal["yes", "no"] = "yes"
    is_control: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answers to one item's questions, in their order; empty with status "judge_error".

    share: right answers among the questions that are no controls, "unclear" being none of them; None on an error.
    controls_right: whether every control was answered "no"; None on an error. A judge that says yes to everything
    has a share of 1 and wrong controls: read both.
    """

    status: Literal["ok", "judge_error"]
    answers: tuple[Answer, ...] = ()
    share: float | None = None
    controls_right: bool | None = None
    reason: str | None = None
    attempts: int = 1


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Which of two attempts is better: "a", "b" or "tie"; None on an error.

    Both orders are asked. If they contradict each other it is a tie, and `flipped` says that the place decided.
    """

    status: Literal["ok", "judge_error"]
    better: Literal["a", "b", "tie"] | None = None
    flipped: bool | None = None
    reason: str | None = None
    attempts: int = 2


class _Bearer:
    """Puts the key into a request's header, and shows it nowhere else."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: Any) -> Any:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def redact(self, text: str) -> str:
        """The text without the key: a server may repeat what it was sent."""
        return text.replace(self._key, "***") if self._key else text

    def __repr__(self) -> str:
        return "***"


class Judge:
    """A model behind any endpoint that speaks OpenAI's chat completions with JSON schemas."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        timeout_s: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """url: up to and without /chat/completions. model: a dated name, since an undated one changes its meaning.

        key: None for RECAST_JUDGE_KEY from the environment, or no key at all. Raises ConfigError for an address that
        is none, or that carries a password or a query: it would be recorded.
        """
        parts = urlsplit(url)
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
            shown = f"{parts.scheme}://{parts.hostname}{parts.path}"
            raise ConfigError(
                f"judge_url: {shown!r} came; http(s)://host/path without password or query accepted; keys go to {KEY}"
            )
        if not model:
            raise ConfigError("judge_model: empty; the name of the endpoint's model accepted, with its date")
        self.url, self.model, self.timeout_s = url.rstrip("/"), model, timeout_s
        self._bearer, self._sleep = _Bearer(os.environ.get(KEY) if key is None else key), sleep

    def __repr__(self) -> str:
        return f"Judge(url={self.url!r}, model={self.model!r})"

    def ask(self, pictures: Sequence[np.ndarray], questions: Sequence[Question]) -> Verdict:
        """The verdict on pictures (uint8 (H, W, 3), any sizes, in order) by closed questions.

        Raises InputError without pictures, without a question that is no control, or without a control whose right
        answer is "no"; ConfigError if the endpoint refuses the key or knows no such model.
        """
        controls = [question for question in questions if question.is_control]
        if not pictures or len(controls) == len(questions):
            came = f"{len(pictures)} pictures and {len(questions) - len(controls)} questions on them"
            raise InputError(f"questions: {came} came; at least one of each accepted")
        if not controls or any(control.right != "no" for control in controls):
            raise InputError(
                'questions: no control, or one with another right answer than "no"; add one of what is absent'
            )
        names = [f"q{index + 1}" for index in range(len(questions))]
        prompt = "\n".join(f"{name}: {question.text}" for name, question in zip(names, questions, strict=True))
        found, reason, attempts = self._answers(pictures, prompt, dict.fromkeys(names, ANSWERS))
        if found is None:
            return Verdict(status="judge_error", reason=reason, attempts=attempts)
        pairs = [(question, found[name]) for name, question in zip(names, questions, strict=True)]
        asked = [answer == question.right for question, answer in pairs if not question.is_control]
        return Verdict(
            status="ok",
            answers=tuple(found[name] for name in names),  # type: ignore[misc]
            share=sum(asked) / len(asked),
            controls_right=all(answer == "no" for question, answer in pairs if question.is_control),
            attempts=attempts,
        )

    def prefer(self, source: np.ndarray, a: np.ndarray, b: np.ndarray, instruction: str) -> Preference:
        """Which of two edits of a source follows the instruction better, asked in both orders. Errors as for `ask`."""
        prompt = COMPARE.format(instruction=instruction)
        choices, total = [], 0
        for pair, names in (((a, b), ("a", "b")), ((b, a), ("b", "a"))):
            found, reason, attempts = self._answers((source, *pair), prompt, {"better": CHOICES})
            total += attempts
            if found is None:
                return Preference(status="judge_error", reason=reason, attempts=total)
            choices.append({"first": names[0], "second": names[1], "equal": "tie"}[found["better"]])
        agrees = choices[0] == choices[1]
        better: Any = choices[0] if agrees else "tie"
        return Preference(status="ok", better=better, flipped=set(choices) == {"a", "b"}, attempts=total)

    def describe(self) -> dict[str, Any]:
        """What decides the answers, for the record: address, model, prompt by hash, image encoding. No key."""
        fixed = json.dumps([SYSTEM, COMPARE, ANSWERS, CHOICES, _schema({"q1": ANSWERS})], sort_keys=True)
        return {
            "url": self.url,
            "model": self.model,
            "temperature": 0,
            "attempts": ATTEMPTS,
            "prompt_sha256": hashlib.sha256(fixed.encode()).hexdigest(),
            "pictures": f"PNG, longest side {LONGEST_PX}",
        }

    def _answers(
        self, pictures: Sequence[np.ndarray], prompt: str, fields: dict[str, tuple[str, ...]]
    ) -> tuple[dict[str, str] | None, str | None, int]:
        """The answer to each field, or None with the reason; and how many attempts it took."""
        images = [{"type": "image_url", "image_url": {"url": data_url(pixels)}} for pixels in pictures]
        body = {
            "model": self.model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": [*images, {"type": "text", "text": prompt}]},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answers", "strict": True, "schema": _schema(fields)},
            },
        }
        reason = ""
        for attempt in range(1, ATTEMPTS + 1):
            found, reason, wait_s = self._attempt(body, fields)
            if found is not None:
                return found, None, attempt
            log.warning("judge attempt=%d model=%s reason=%s", attempt, self.model, reason)
            if wait_s and attempt < ATTEMPTS:
                self._sleep(wait_s)
        return None, reason, ATTEMPTS

    def _attempt(
        self, body: dict[str, Any], fields: dict[str, tuple[str, ...]]
    ) -> tuple[dict[str, str] | None, str, float]:
        """One request: the answers, or None, why, and seconds to wait. Raises ConfigError where retrying is useless."""
        import requests

        try:
            reply = requests.post(
                f"{self.url}/chat/completions",
                json=body,
                auth=self._bearer,
                timeout=self.timeout_s,
                allow_redirects=False,  # the key is for this host
            )
        except requests.RequestException as error:  # from None: its text may quote the request
            return None, f"no answer ({type(error).__name__})", 1.0
        if reply.status_code in FATAL:
            why = self._bearer.redact(reply.text)[:200]
            raise ConfigError(
                f"judge: {self.url} answered {reply.status_code} ({why}); a key that may use {self.model!r} needed; "
                f"set {KEY}, and check the address and the model"
            )
        if reply.status_code != 200:
            return None, f"status {reply.status_code} ({self._bearer.redact(reply.text)[:200]})", _wait_s(reply.headers)
        try:
            found = json.loads(reply.json()["choices"][0]["message"]["content"])
        except (ValueError, LookupError, TypeError):
            return None, "the answer is not the JSON object asked for", 0.0
        if not isinstance(found, dict) or found.keys() != fields.keys():
            return None, "the answer has other fields than those asked for", 0.0
        if any(found[name] not in allowed for name, allowed in fields.items()):
            return None, "a field has another value than those allowed", 0.0
        return found, "", 0.0


def data_url(pixels: np.ndarray) -> str:
    """A picture as a PNG data URL, shrunk to a longest side of 1024 if it is longer; never enlarged."""
    image = Image.fromarray(picture(pixels))
    longest = max(image.size)
    if longest > LONGEST_PX:
        size = [max(1, round(side * LONGEST_PX / longest)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _schema(fields: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The JSON schema of an object with exactly these fields, each one of its words."""
    properties = {name: {"type": "string", "enum": list(words)} for name, words in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def _wait_s(headers: Any) -> float:
    """How long the server asks to wait, in seconds, within reason; a second if it says nothing of use."""
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(headers.get("Retry-After", 1))))
    except ValueError:  # a date: rare, and a wait of a second is then as good a guess
        return 1.0
