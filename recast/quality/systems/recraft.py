"""Recraft: close to OpenAI's generations; an edit is its image-to-image call.

Protocol: recraft.ai/docs. That call blends a picture with a description by a `strength` from 0 (the same) to 1; it
follows no instructions, and this is written where its numbers are shown. Its default here is 0.5.
No prices are kept here: pass price_usd for an estimate; the credits of an answer are in its record.
"""

from __future__ import annotations

import re
from typing import Any

from recast.quality.systems.contract import Failed, Request
from recast.quality.systems.hosted import Delivery, Hosted, number, png, reason_in, take
from recast.quality.systems.http import Answer, Exchange, Parts
from recast.quality.systems.sizes import nearest_size

SIZES_V3 = (
    (1024, 1024), (2048, 1024), (1024, 2048), (1536, 1024), (1024, 1536), (1365, 1024), (1024, 1365), (1280, 1024),
    (1024, 1280), (1024, 1707), (1434, 1024), (1024, 1434), (1820, 1024), (1024, 1820),
)  # fmt: skip
SIZES_V4 = (
    (1024, 1024), (1536, 768), (768, 1536), (1280, 832), (832, 1280), (1216, 896), (896, 1216), (1152, 896),
    (896, 1152), (832, 1344), (1280, 896), (896, 1280), (1344, 768), (768, 1344),
)  # fmt: skip
STRENGTH = 0.5
_MODERATED = re.compile(r"moderat|content[ _]policy|nsfw|safety|prohibited", re.IGNORECASE)


class Recraft(Hosted):
    """Recraft's raster models."""

    service = "recraft"
    variables = ("RECRAFT_API_TOKEN", "RECRAFT_API_KEY")
    base_url = "https://external.api.recraft.ai/v1"
    reserved = "prompt|model|image|n"

    def max_contexts(self) -> int:
        """One: the picture to change."""
        return 1

    def defaults(self) -> dict[str, Any]:
        """One picture, by link."""
        return {"model": self.model, "n": 1, "response_format": "url"}

    def check(self, request: Request) -> None:
        """A prompt that the model reads whole; the service would refuse a longer one."""
        limit = 10_000 if "v4" in self.model else 1_000
        if len(request.instruction) > limit:
            raise Failed("error", f"a prompt of {len(request.instruction)} characters came; {self.model} reads {limit}")

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """A generation as JSON, or image-to-image as multipart."""
        fields = self.fields(prompt=request.instruction, random_seed=self.seed(request))
        sent: dict[str, Any] = {"random_seed": fields.get("random_seed")}
        if request.contexts:
            fields = {"strength": STRENGTH, **fields}
            sent["strength"] = fields["strength"]
            parts: Parts = [(name, (None, str(value))) for name, value in fields.items()]
            parts.append(("image", ("image.png", png(request.contexts[0]), "image/png")))
            answer = exchange.submit("images/imageToImage", parts=parts)
        else:
            w, h = nearest_size(request.width, request.height, SIZES_V4 if "v4" in self.model else SIZES_V3)
            fields = {"size": f"{w}x{h}", **fields}
            sent["size"] = fields["size"]
            answer = exchange.submit("images/generations", json=fields)
        body = self.accepted(exchange, answer)
        encoded = take(body, "data", 0, "b64_json", kind=str)
        link = take(body, "data", 0, "url", kind=str)
        return Delivery(
            picture=self.unpacked(exchange, encoded) if encoded else self.fetched(exchange, link),
            sent=sent,
            said={
                "remote_id": take(body, "data", 0, "image_id", kind=str),
                "revised_prompt": take(body, "data", 0, "revised_prompt", kind=str),
                "credits": number(body, "credits"),
            },
        )

    def is_blocked(self, answer: Answer) -> bool:
        """A client error whose text speaks of moderation: no code for it is documented."""
        return answer.status in (400, 403, 422, 451) and bool(_MODERATED.search(reason_in(answer)))
