"""Stability: multipart in, the picture's bytes out.

Protocol: platform.stability.ai, v2beta. `sd3.5-…` models share one address; `ultra` and `core` have their own. An edit
is image-to-image by a `strength` from 0 (the same) to 1; it follows no instructions. Its default here is 0.5.
No prices are kept here: pass price_usd for an estimate.
"""

from __future__ import annotations

from typing import Any

from recast.errors import InputError
from recast.quality.systems.contract import Request
from recast.quality.systems.hosted import Delivery, Hosted, parsed, picture_of, png, take
from recast.quality.systems.http import Answer, Exchange, Parts
from recast.quality.systems.sizes import nearest_ratio

RATIOS = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
OWN_ADDRESS = ("ultra", "core")
STRENGTH = 0.5


class Stability(Hosted):
    """Stable Diffusion 3.5, Stable Image Ultra and Core."""

    service = "stability"
    variables = ("STABILITY_API_KEY",)
    base_url = "https://api.stability.ai"
    requests_per_minute = 900.0  # documented: 150 in 10 s
    reserved = "prompt|model|image|mode"

    def max_contexts(self) -> int:
        """One: the picture to change; none for Core."""
        return 0 if self.model == "core" else 1

    def defaults(self) -> dict[str, Any]:
        """PNG, and which model, where several share an address."""
        return {"output_format": "png"} | ({} if self.model in OWN_ADDRESS else {"model": self.model})

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """One request. The shape is that of the context picture, if there is one."""
        shaped: dict[str, Any] = {"aspect_ratio": nearest_ratio(request.width, request.height, RATIOS)}
        if request.contexts:
            shaped = {"strength": STRENGTH}
        own = self.model in OWN_ADDRESS
        if not own:
            shaped["mode"] = "image-to-image" if request.contexts else "text-to-image"
        fields = self.fields(prompt=request.instruction, seed=self.seed(request), **shaped)
        parts: Parts = [(name, (None, str(value))) for name, value in fields.items()]
        parts += [("image", ("image.png", png(pixels), "image/png")) for pixels in request.contexts]
        answer = exchange.submit(
            f"v2beta/stable-image/generate/{self.model if own else 'sd3'}", parts=parts, headers={"Accept": "image/*"}
        )
        self.check_status(exchange, answer)
        finished = answer.headers.get("finish-reason", "SUCCESS")
        if finished == "CONTENT_FILTERED":
            raise exchange.fail("blocked", "finish-reason: CONTENT_FILTERED")
        if finished != "SUCCESS":
            raise exchange.fail("error", f"finish-reason: {finished}")
        try:
            picture = picture_of(answer.body)
        except InputError as error:
            raise exchange.fail("error", f"malformed answer: {error}") from None
        return Delivery(
            picture=picture,
            sent={name: fields.get(name) for name in (*shaped, "seed")},
            said={"remote_id": answer.headers.get("x-request-id"), "remote_seed": answer.headers.get("seed")},
        )

    def is_blocked(self, answer: Answer) -> bool:
        """Refused content is a 403 that names content moderation."""
        return answer.status == 403 and take(parsed(answer), "name", kind=str) == "content_moderation"
