"""Black Forest Labs: submit, poll the address that came back, fetch the picture while its link lives.

Protocol: docs.bfl.ai and api.bfl.ai/openapi.json. Prices: 1 credit is 0.01 USD, 4 credits for kontext-pro and 8 for
kontext-max, as published in 2026; what an answer reports goes before the table.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from recast.quality.systems.contract import Failed, Request
from recast.quality.systems.hosted import Delivery, Hosted, base64_of, number, parsed, png, reason_in, take
from recast.quality.systems.http import Answer, Exchange
from recast.quality.systems.sizes import free_ratio, snapped

USD_PER_CREDIT = 0.01
NARROWEST, WIDEST = Fraction(9, 21), Fraction(21, 9)
PICTURE_LIMIT_BYTES, PICTURE_LIMIT_PIXELS = 20_000_000, 20_000_000
LOST_LIMIT = 3  # polls that may not find a fresh task: another region may lag
MODERATED = {"Request Moderated": "the request", "Content Moderated": "the picture"}


class Bfl(Hosted):
    """FLUX models at api.bfl.ai; rewriting of prompts is off wherever it can be."""

    service = "bfl"
    variables = ("BFL_API_KEY",)
    base_url = "https://api.bfl.ai"
    header, prefix = "x-key", ""
    hosts = r"api(\.[a-z0-9-]+)?\.bfl\.ai"
    reserved = r"prompt|input_image.*|webhook_.*"
    prices = {"flux-kontext-pro": 0.04, "flux-kontext-max": 0.08}  # noqa: RUF012

    def max_contexts(self) -> int:
        """Up to 8 by the family of models; none for those that make pictures from text alone."""
        families = (("flux-kontext", 4), ("flux-2-klein", 4), ("flux-2", 8))
        return next((count for family, count in families if self.model.startswith(family)), 0)

    def defaults(self) -> dict[str, Any]:
        """PNG, and the prompt as it was written."""
        if self.model.startswith("flux-2"):
            flex = self.model.startswith("flux-2-flex")
            return {"output_format": "png"} | ({"prompt_upsampling": False} if flex else {"disable_pup": True})
        return {"output_format": "png", "prompt_upsampling": False}

    def check(self, request: Request) -> None:
        """Pictures within the service's limits; it would refuse them after they were sent."""
        for pixels in request.contexts:
            if pixels.shape[0] * pixels.shape[1] > PICTURE_LIMIT_PIXELS:
                raise Failed("error", f"a context picture of {pixels.shape[1]}x{pixels.shape[0]} came; up to 20 MP")

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """Submit, poll, download."""
        size = self._size(request)
        fields = self.fields(prompt=request.instruction, seed=self.seed(request), **size)
        for index, pixels in enumerate(request.contexts, 1):
            data = png(pixels)
            if len(data) > PICTURE_LIMIT_BYTES:
                raise exchange.fail("error", f"a context picture of {len(data)} bytes came; up to 20 MB accepted")
            fields["input_image" if index == 1 else f"input_image_{index}"] = base64_of(data)
        task = self.accepted(exchange, exchange.submit(f"v1/{self.model}", json=fields))
        url, credits = take(task, "polling_url", kind=str), number(task, "cost")
        if not url:
            raise exchange.fail("error", f"malformed answer: no polling_url among {sorted(task)}")
        done = self.poll(exchange, url, self._look(exchange))
        return Delivery(
            picture=self.fetched(exchange, take(done, "result", "sample", kind=str)),
            sent={name: fields.get(name) for name in (*size, "seed")},
            cost_usd=None if credits is None else credits * USD_PER_CREDIT,
            server_seconds=number(done, "result", "duration") or None,
            said={"remote_id": take(task, "id", kind=str), "remote_seed": number(done, "result", "seed")},
        )

    def _size(self, request: Request) -> dict[str, Any]:
        width, height = request.width, request.height
        if self.model.startswith("flux-kontext") or self.model.endswith("ultra"):
            return {"aspect_ratio": free_ratio(width, height, NARROWEST, WIDEST)}
        if self.model.startswith("flux-2"):
            w, h = snapped(width, height, multiple=16, low=64, high=4096, limit_pixels=4_000_000)
        else:
            w, h = snapped(width, height, multiple=32, low=256, high=1440, limit_pixels=1440 * 1440)
        return {"width": w, "height": h}

    def _look(self, exchange: Exchange) -> Callable[[Answer], dict[str, Any] | None]:
        """A look at the task: its body when it is ready, None while it is not."""
        lost = 0

        def look(answer: Answer) -> dict[str, Any] | None:
            nonlocal lost
            body = parsed(answer)
            status = take(body, "status", kind=str)
            if status == "Task not found":
                lost += 1
                if lost > LOST_LIMIT:
                    raise exchange.fail("error", f"the task was not found, {lost} times")
                return None
            body = self.accepted(exchange, answer)
            if status == "Ready":
                return body
            if status in MODERATED:
                raise exchange.fail("blocked", f"{status}: {_details(body) or MODERATED[status] + ' was refused'}")
            if status == "Error":
                raise exchange.fail("error", f"{status}: {_details(body) or reason_in(answer)}")
            return None

        return look


def _details(body: dict[str, Any]) -> str:
    """What stands under `details`, as one line."""
    details = body.get("details")
    if isinstance(details, dict):
        return "; ".join(f"{name}: {value}" for name, value in details.items())
    return str(details or "")
