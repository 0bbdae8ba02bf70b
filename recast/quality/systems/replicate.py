"""Replicate: a prediction is created, perhaps finished at once, else polled; its output is a link.

Protocol: replicate.com/docs, `replicate/replicate-python`. Every model names its own inputs: those of the Kontext
family are known here, others through picture_fields. No prices are kept here, since models are priced one by one:
pass price_usd for an estimate.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from recast.quality.systems.contract import Request
from recast.quality.systems.hosted import Delivery, Hosted, number, parsed, placed, take
from recast.quality.systems.http import Answer, Exchange
from recast.quality.systems.sizes import nearest_ratio

RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21", "2:1", "1:2")
ENDED = {"failed", "canceled", "aborted"}
HOLD_S = 60  # the longest a creating request is kept open for its result
_REFUSED = re.compile(r"nsfw|flagged|sensitive|moderat|safety|content policy|\(E005\)", re.IGNORECASE)


class Replicate(Hosted):
    """A model "owner/name", or "owner/name:version"."""

    service = "replicate"
    variables = ("REPLICATE_API_TOKEN",)
    base_url = "https://api.replicate.com/v1"
    reserved = "prompt"

    def max_contexts(self) -> None:
        """As many as there are fields for; `picture_fields` says."""

    def picture_fields(self) -> tuple[str, ...]:
        """What the model calls its pictures."""
        if self.options.picture_fields is not None:
            return self.options.picture_fields
        if "multi-image-kontext" in self.model:
            return ("input_image_1", "input_image_2")
        return ("input_image",) if "flux-kontext" in self.model else ()

    def defaults(self) -> dict[str, Any]:
        """For the Kontext family PNG, and the prompt as it was written; nothing for a model that is not known."""
        return {"output_format": "png", "prompt_upsampling": False} if "kontext" in self.model else {}

    def check(self, request: Request) -> None:
        """A field for every picture."""
        placed(self.picture_fields(), request.contexts)

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """Create the prediction, wait for its end, download."""
        fields = self.fields(
            prompt=request.instruction,
            seed=self.seed(request),
            aspect_ratio=nearest_ratio(request.width, request.height, RATIOS),
        )
        named, _, version = self.model.partition(":")
        body = {"input": fields | placed(self.picture_fields(), request.contexts)}
        held = {"Prefer": f"wait={max(1, min(HOLD_S, int(exchange.left)))}"}
        if version:
            answer = exchange.submit("predictions", json={"version": version, **body}, headers=held)
        else:
            answer = exchange.submit(f"models/{named}/predictions", json=body, headers=held)
        self.accepted(exchange, answer)
        done = self._look(exchange, answer)
        if done is None:
            url = take(parsed(answer), "urls", "get", kind=str)
            if not url:
                raise exchange.fail("error", "malformed answer: no urls.get to poll")
            done = self.poll(exchange, url, lambda answer: self._look(exchange, answer))
        output = done.get("output")
        link = output[0] if isinstance(output, list) and output else output
        return Delivery(
            picture=self.fetched(exchange, link),
            sent={name: fields.get(name) for name in ("aspect_ratio", "seed")},
            server_seconds=number(done, "metrics", "predict_time"),
            queue_seconds=_between(done, "created_at", "started_at"),
            said={
                "remote_id": take(done, "id", kind=str),
                "version": take(done, "version", kind=str),
                "pictures": len(output) if isinstance(output, list) else 1,
            },
        )

    def _look(self, exchange: Exchange, answer: Answer) -> dict[str, Any] | None:
        """The prediction when it succeeded, None while it is not at an end."""
        body = self.accepted(exchange, answer)
        status = take(body, "status", kind=str)
        if status == "succeeded":
            return body
        if status in ENDED:
            said = str(body.get("error") or "no error given")
            refused = status == "failed" and _REFUSED.search(said)
            raise exchange.fail("blocked" if refused else "error", f"{status}: {said}")
        return None


def _between(body: dict[str, Any], earlier: str, later: str) -> float | None:
    """The seconds between two dates of a prediction, if both are there."""
    try:
        first, last = (datetime.fromisoformat(str(body.get(name))) for name in (earlier, later))
        return max(0.0, (last - first).total_seconds())
    except (ValueError, TypeError):
        return None
