"""Google's image models: `generateContent`, words and pictures as parts, the picture among the parts that come back.

Protocol: ai.google.dev, `googleapis/python-genai`. There is no guarantee about seeds, so none is sent. No prices are
kept here, since they are counted in tokens: pass price_usd for an estimate.
"""

from __future__ import annotations

from typing import Any

from recast.quality.systems.contract import Request
from recast.quality.systems.hosted import Delivery, Hosted, base64_of, png, take
from recast.quality.systems.http import Exchange
from recast.quality.systems.sizes import nearest_ratio

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
BLOCKED = {
    "SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "RECITATION", "IMAGE_RECITATION",
    "BLOCKLIST", "SPII",
}  # fmt: skip


class Google(Hosted):
    """Gemini models that draw; a refusal is HTTP 200 without a picture."""

    service = "google"
    variables = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    base_url = "https://generativelanguage.googleapis.com/v1beta"
    header, prefix = "x-goog-api-key", ""
    reserved = "contents"

    def max_contexts(self) -> None:
        """Differs by model and changes; the service says so itself."""

    def defaults(self) -> dict[str, Any]:
        """A picture, and no essay about it."""
        return {"generationConfig": {"responseModalities": ["IMAGE"]}}

    def ask(self, exchange: Exchange, request: Request) -> Delivery:
        """One request; the last picture that is not a thought is the answer."""
        ratio = nearest_ratio(request.width, request.height, RATIOS)
        parts: list[dict[str, Any]] = [{"text": request.instruction}]
        for pixels in request.contexts:
            parts.append({"inlineData": {"mimeType": "image/png", "data": base64_of(png(pixels))}})
        fields = self.fields(contents=[{"parts": parts}], generationConfig={"imageConfig": {"aspectRatio": ratio}})
        answer = exchange.submit(f"models/{self.model}:generateContent", json=fields)
        body = self.accepted(exchange, answer)
        found = [
            part.get("inlineData") or part.get("inline_data")
            for candidate in take(body, "candidates", kind=list) or []
            for part in take(candidate, "content", "parts", kind=list) or []
            if isinstance(part, dict) and not part.get("thought") and ("inlineData" in part or "inline_data" in part)
        ]
        if not found:
            raise self._refusal(exchange, body)
        return Delivery(
            picture=self.unpacked(exchange, take(found[-1], "data", kind=str)),
            sent={"aspectRatio": take(fields, "generationConfig", "imageConfig", "aspectRatio", kind=str)},
            said={
                "remote_id": take(body, "responseId", kind=str),
                "model_version": take(body, "modelVersion", kind=str),
                "usage": take(body, "usageMetadata", kind=dict),
                "pictures": len(found),
            },
        )

    def _refusal(self, exchange: Exchange, body: dict[str, Any]) -> Exception:
        """Why there is no picture, as the service says it."""
        refused = take(body, "promptFeedback", "blockReason", kind=str)
        finished = take(body, "candidates", 0, "finishReason", kind=str)
        words = [
            part["text"]
            for part in take(body, "candidates", 0, "content", "parts", kind=list) or []
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        ]
        said = take(body, "candidates", 0, "finishMessage", kind=str) or " ".join(words)
        if refused:
            return exchange.fail("blocked", f"prompt refused: {refused} {said}")
        status = "blocked" if finished in BLOCKED else "error"
        return exchange.fail(status, f"no picture came: {finished or 'no finishReason'} {said}")  # type: ignore[arg-type]
