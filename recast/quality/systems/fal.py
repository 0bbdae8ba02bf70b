"""fal's queue: submit, follow the addresses that come back, fetch result and picture.

Protocol: fal.ai/docs. Every app names its own inputs: those of the Kontext apps are known here, others through
picture_fields. No prices are kept here: pass price_usd for an estimate.
"""

from __future__ import annotations

from typing import Any

from recast.quality.systems.contract import Request
from recast.quality.systems.hosted import Delivery, Hosted, number, parsed, placed, reason_in, take
from recast.quality.systems.http import Answer, Exchange
from recast.quality.systems.sizes import nearest_ratio

RATIOS = ("21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")
REFUSED = "content_policy_violation"


class Fal(Hosted):
    """An app such as "fal-ai/flux-pro/kontext"; its "/multi" form takes several pictures."""

    service = "fal"
    variables = ("FAL_KEY",)
    base_url = "https://queue.fal.run"
    prefix = "Key "
    reserved = "prompt|image_urls?|num_images"

    def max_contexts(self) -> None:
        """As many as there are fields for; `picture_fields` says."""

    def picture_fields(self) -> tuple[str, ...]:
        """What the app calls its pictures."""
        if self.options.picture_fields is not None:
            return self.options.picture_fields
        if self.model.endswith("text-to-image"):
            return ()
        return ("image_urls[]",) if self.model.endswith("/multi") else ("image_url",)

    def defaults(self) -> dict[str, Any]:
        """One PNG, and the prompt as it was written."""
        return {"num_images": 1, "output_format": "png", "enhance_prompt": False}

    def check(self, request: Request) -> None:
        """A field for every picture."""
        placed(self.picture_fields(), request.contexts)

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """Submit, poll the status, fetch the result, download."""
        fields = self.fields(
            prompt=request.instruction,
            seed=self.seed(request),
            aspect_ratio=nearest_ratio(request.width, request.height, RATIOS),
        )
        answer = exchange.submit(self.model, json=fields | placed(self.picture_fields(), request.contexts))
        task = self.accepted(exchange, answer)
        status_url, response_url = (take(task, name, kind=str) for name in ("status_url", "response_url"))
        if not status_url or not response_url:
            raise exchange.fail("error", f"malformed answer: no status_url and response_url among {sorted(task)}")
        done = self.poll(exchange, status_url, lambda answer: self._look(exchange, answer))
        body = self.accepted(exchange, exchange.get(response_url))
        if take(body, "has_nsfw_concepts", 0, kind=bool):
            raise exchange.fail("blocked", "has_nsfw_concepts: the picture was refused")
        return Delivery(
            picture=self.fetched(exchange, take(body, "images", 0, "url", kind=str)),
            sent={name: fields.get(name) for name in ("aspect_ratio", "seed")},
            server_seconds=number(done, "metrics", "inference_time") or number(body, "timings", "inference"),
            said={"remote_id": take(task, "request_id", kind=str), "remote_seed": number(body, "seed")},
        )

    def is_blocked(self, answer: Answer) -> bool:
        """A refusal names its type in the body, or in a header of its own."""
        types = [take(one, "type", kind=str) for one in take(parsed(answer), "detail", kind=list) or []]
        return REFUSED in types or answer.headers.get("x-fal-error-type") == REFUSED

    def _look(self, exchange: Exchange, answer: Answer) -> dict[str, Any] | None:
        """The status when the task is completed, None while it is not."""
        body = self.accepted(exchange, answer)
        if take(body, "status", kind=str) != "COMPLETED":
            return None
        if body.get("error"):
            refused = body.get("error_type") == REFUSED or REFUSED in str(body["error"])
            raise exchange.fail("blocked" if refused else "error", f"COMPLETED with an error: {reason_in(answer)}")
        return body
