"""OpenAI Images: one request, the picture in its answer as base64.

Protocol: the Images section of github.com/openai/openai-openapi. No prices are kept here, since they are counted in
tokens: pass price_usd for an estimate; the tokens of an answer are in its record.
"""

from __future__ import annotations

from typing import Any

from recast.quality.systems.contract import Failed, Request
from recast.quality.systems.hosted import Delivery, Hosted, parsed, png, take
from recast.quality.systems.http import Answer, Exchange, Parts
from recast.quality.systems.sizes import nearest_size, snapped

SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
DALLE_SIZES = {
    "dall-e-2": ((256, 256), (512, 512), (1024, 1024)),
    "dall-e-3": ((1024, 1024), (1792, 1024), (1024, 1792)),
}
BLOCKED = {"moderation_blocked", "content_policy_violation"}


class OpenAI(Hosted):
    """GPT image models and DALL·E; no seed is taken, and rewriting of prompts cannot be turned off."""

    service = "openai"
    variables = ("OPENAI_API_KEY",)
    base_url = "https://api.openai.com/v1"
    reserved = "prompt|model|image|mask|stream|n"

    def max_contexts(self) -> int:
        """16 for GPT image models, one for DALL·E 2, none for DALL·E 3."""
        return {"dall-e-2": 1, "dall-e-3": 0}.get(self.model, 16)

    def defaults(self) -> dict[str, Any]:
        """One picture, as PNG; DALL·E must be told to answer in base64, the others do and refuse the field."""
        chosen = {"response_format": "b64_json"} if self.model in DALLE_SIZES else {"output_format": "png"}
        return {"model": self.model, "n": 1, **chosen}

    def check(self, request: Request) -> None:
        """Pictures below the service's 50 MB a file."""
        if any(pixels.nbytes > 150_000_000 for pixels in request.contexts):
            raise Failed("error", "a context picture of more than 50 megapixels came; the service takes 50 MB a file")

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """A generation as JSON, or an edit as multipart."""
        width, height = self._size(request)
        fields = self.fields(prompt=request.instruction, size=f"{width}x{height}")
        if request.contexts:
            parts: Parts = [(name, (None, _text(value))) for name, value in fields.items()]
            one = "image" if len(request.contexts) == 1 else "image[]"
            parts += [(one, (f"{i}.png", png(pixels), "image/png")) for i, pixels in enumerate(request.contexts, 1)]
            answer = exchange.submit("images/edits", parts=parts)
        else:
            answer = exchange.submit("images/generations", json=fields)
        body = self.accepted(exchange, answer)
        encoded, link = take(body, "data", 0, "b64_json", kind=str), take(body, "data", 0, "url", kind=str)
        return Delivery(
            picture=self.unpacked(exchange, encoded) if encoded else self.fetched(exchange, link),
            sent={"size": fields.get("size")},
            said={
                "remote_id": answer.headers.get("x-request-id"),
                "revised_prompt": take(body, "data", 0, "revised_prompt", kind=str),
                "quality": take(body, "quality", kind=str),
                "usage": take(body, "usage", kind=dict),
            },
        )

    def is_blocked(self, answer: Answer) -> bool:
        """Refused content is a 400 with a code of its own."""
        return take(parsed(answer), "error", "code", kind=str) in BLOCKED

    def _size(self, request: Request) -> tuple[int, int]:
        if self.model.startswith("gpt-image-2"):  # any size in multiples of 16, up to 3840x2160, 1:3 to 3:1
            return snapped(request.width, request.height, multiple=16, low=256, high=3840, limit_pixels=3840 * 2160)
        return nearest_size(request.width, request.height, DALLE_SIZES.get(self.model, SIZES))


def _text(value: Any) -> str:
    """A form field as the official client writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
