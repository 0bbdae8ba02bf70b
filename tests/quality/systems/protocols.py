"""The services, as their documentation describes them."""

from __future__ import annotations

import base64
from typing import Any

from tests.quality.systems.standin import (
    Call,
    Reply,
    StandIn,
    expect,
    fields_are,
    from_base64,
    from_data_uri,
    picture,
    ratio_is,
)

RATIOS = {"21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21", "4:5", "5:4", "2:1", "1:2"}


class Bfl(StandIn):
    spec, variable = "bfl:flux-kontext-pro", "BFL_API_KEY"
    allowed: dict[str, Any] = {  # noqa: RUF012
        "prompt": str, "seed": int, "aspect_ratio": str, "output_format": str, "prompt_upsampling": bool,
        "safety_tolerance": int, "input_image": str, "input_image_2": str, "input_image_3": str, "input_image_4": str,
    }  # fmt: skip

    def presented(self, call: Call) -> str | None:
        return call.headers.get("x-key")

    def submitted(self, call: Call) -> Reply:
        expect(call.path == "/v1/flux-kontext-pro", f"no such route: {call.path}")
        body = call.json()
        fields_are(body, self.allowed, {"prompt"})
        ratio_is(body["aspect_ratio"])
        expect(body["output_format"] in ("jpeg", "png"), "output_format")
        expect(body["prompt_upsampling"] is False, "the prompt would be rewritten")
        self.pictures = [from_base64(body[name]) for name in sorted(body) if name.startswith("input_image")]
        return Reply(200, {"id": "task-1", "polling_url": f"{self.api.url}/v1/get_result?id=task-1", "cost": 4.5})

    def polled(self, call: Call) -> Reply:
        expect((call.path, call.query) == ("/v1/get_result", {"id": ["task-1"]}), f"no such task: {call.query}")
        if self.unfinished():
            return Reply(200, {"id": "task-1", "status": "Reasoning", "result": None, "progress": None})
        if self.is_blocked:
            return self.refusal()
        result = {"sample": self.link, "prompt": "p", "seed": 42, "start_time": 1.0, "end_time": 4.5, "duration": 3.5}
        return Reply(200, {"id": "task-1", "status": "Ready", "result": result, "details": None})

    def refusal(self) -> Reply:
        details = {"Moderation Reasons": ["Derivative Works Filter"]}
        return Reply(200, {"id": "task-1", "status": "Request Moderated", "result": None, "details": details})

    def error(self, status: int, text: str) -> Reply:
        if status == 422:
            return Reply(422, {"detail": [{"loc": ["body"], "msg": text, "type": "value_error"}]})
        return Reply(status, {"detail": text})


class OpenAI(StandIn):
    spec, variable, path = "openai:gpt-image-1", "OPENAI_API_KEY", "/v1"
    has_task = has_link = False

    def submitted(self, call: Call) -> Reply:
        if call.path == "/v1/images/generations":
            body, files = call.json(), []
            expect(body.get("n") == 1, "n")
        else:
            expect(call.path == "/v1/images/edits", f"no such route: {call.path}")
            form, files = call.form()
            body = dict(form)
            expect(form.get("n") == "1", "n")
            expect(len(files) >= 1, "an edit without a picture")
            names = {name for name, _ in files}
            expect(names == ({"image"} if len(files) == 1 else {"image[]"}), f"files named {names}")
        known = {"prompt": str, "model": str, "n": (int, str), "size": str, "output_format": str, "quality": str}
        fields_are(body, known, {"prompt", "model"})
        expect(body["model"] == "gpt-image-1", "model")
        expect(body["size"] in ("1024x1024", "1536x1024", "1024x1536", "auto"), f"size {body['size']}")
        self.pictures = [picture(data) for _, data in files]
        if self.is_blocked:
            return self.refusal()
        made = {"b64_json": base64.b64encode(self.file).decode(), "revised_prompt": "better"}
        return Reply(200, {"created": 1, "data": [made], "usage": {"total_tokens": 7}}, {"x-request-id": "req-1"})

    def refusal(self) -> Reply:
        error = {"message": "Your request was rejected by the safety system", "type": "x", "param": None}
        return Reply(400, {"error": {**error, "code": "moderation_blocked"}})

    def error(self, status: int, text: str) -> Reply:
        code = "invalid_api_key" if status == 401 else "invalid_value"
        error = {"message": text, "type": "invalid_request_error", "param": None, "code": code}
        return Reply(status, {"error": error})


class Google(StandIn):
    spec, variable, path = "google:gemini-2.5-flash-image", "GEMINI_API_KEY", "/v1beta"
    has_task = has_link = False

    def presented(self, call: Call) -> str | None:
        return call.headers.get("x-goog-api-key")

    def submitted(self, call: Call) -> Reply:
        expect(call.path == "/v1beta/models/gemini-2.5-flash-image:generateContent", f"no such route: {call.path}")
        expect(call.query == {}, "the key belongs into the header")
        body = call.json()
        fields_are(body, {"contents": list, "generationConfig": dict}, {"contents", "generationConfig"})
        config = body["generationConfig"]
        fields_are(config, {"responseModalities": list, "imageConfig": dict}, {"responseModalities"})
        expect(config["responseModalities"] == ["IMAGE"], "responseModalities")
        ratio_is(config["imageConfig"]["aspectRatio"], RATIOS - {"9:21", "2:1", "1:2"})
        first, *others = body["contents"][0]["parts"]
        fields_are(first, {"text": str}, {"text"})
        for part in others:
            inline = part["inlineData"]  # JSON of protocol buffers is read in both spellings
            expect("image/png" in (inline.get("mimeType"), inline.get("mime_type")), "mimeType")
        self.pictures = [from_base64(part["inlineData"]["data"]) for part in others]
        if self.is_blocked:
            return self.refusal()
        data = base64.b64encode(self.file).decode()
        parts = [
            {"thought": True, "inlineData": {"mimeType": "image/png", "data": "bm90IHRoaXM="}},
            {"text": "Here it is"},
            {"inlineData": {"mimeType": "image/png", "data": data}},
        ]
        return Reply(200, {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "r-1"})

    def refusal(self) -> Reply:
        candidate = {"finishReason": "IMAGE_SAFETY", "finishMessage": "Unable to show the generated image."}
        return Reply(200, {"candidates": [{"content": {"parts": [{"text": "No."}]}, **candidate}]})

    def error(self, status: int, text: str) -> Reply:
        return Reply(status, {"error": {"code": status, "message": text, "status": "INVALID_ARGUMENT"}})


class Recraft(StandIn):
    spec, variable, path = "recraft:recraftv3", "RECRAFT_API_TOKEN", "/v1"
    has_task = False

    def submitted(self, call: Call) -> Reply:
        known = {"prompt": str, "model": str, "n": (int, str), "response_format": str, "random_seed": (int, str)}
        if call.path == "/v1/images/generations":
            body = call.json()
            fields_are(body, {**known, "size": str}, {"prompt", "size"})
            expect(body["size"] in ("1024x1024", "1536x1024", "1820x1024"), f"size {body['size']}")
        else:
            expect(call.path == "/v1/images/imageToImage", f"no such route: {call.path}")
            body, files = call.form()
            fields_are(body, {**known, "strength": str}, {"prompt", "strength"})
            expect(0 <= float(body["strength"]) <= 1, "strength")
            expect([name for name, _ in files] == ["image"], "one file named image")
            self.pictures = [picture(data) for _, data in files]
        expect(body["model"] == "recraftv3", "model")
        if self.is_blocked:
            return self.refusal()
        return Reply(200, {"created": 1, "credits": 40, "data": [{"image_id": "i-1", "url": self.link}]})

    def refusal(self) -> Reply:
        return Reply(400, {"code": "invalid_request_parameter", "message": "prompt did not pass content moderation"})

    def error(self, status: int, text: str) -> Reply:
        return Reply(status, {"code": "invalid_request", "message": text})


class Stability(StandIn):
    spec, variable = "stability:sd3.5-large", "STABILITY_API_KEY"
    has_task = has_link = False

    def submitted(self, call: Call) -> Reply:
        expect(call.path == "/v2beta/stable-image/generate/sd3", f"no such route: {call.path}")
        expect(call.headers.get("Accept") == "image/*", "Accept")
        body, files = call.form()
        known = dict.fromkeys(("prompt", "mode", "model", "seed", "output_format", "strength", "aspect_ratio"), str)
        fields_are(body, known, {"prompt", "mode", "model"})
        expect(0 <= int(body["seed"]) <= 4294967294, "seed")
        if body["mode"] == "image-to-image":
            expect("aspect_ratio" not in body, "aspect_ratio is for text-to-image")
            expect(0 <= float(body["strength"]) <= 1, "strength")
            expect([name for name, _ in files] == ["image"], "one file named image")
        else:
            expect(body["mode"] == "text-to-image" and not files and "strength" not in body, "mode")
            ratio_is(body["aspect_ratio"], RATIOS - {"4:3", "3:4", "2:1", "1:2"})
        self.pictures = [picture(data) for _, data in files]
        if self.is_blocked:
            return self.refusal()
        return Reply(200, self.file, {"Content-Type": "image/png", "finish-reason": "SUCCESS", "seed": "7"})

    def refusal(self) -> Reply:
        return Reply(200, self.file, {"Content-Type": "image/png", "finish-reason": "CONTENT_FILTERED"})

    def error(self, status: int, text: str) -> Reply:
        return Reply(status, {"id": "e-1", "name": "bad_request", "errors": [text]})


class Replicate(StandIn):
    spec, variable, path = "replicate:black-forest-labs/flux-kontext-pro", "REPLICATE_API_TOKEN", "/v1"

    def submitted(self, call: Call) -> Reply:
        route = "/v1/models/black-forest-labs/flux-kontext-pro/predictions"
        expect(call.path == route, f"no such route: {call.path}")
        scheme, _, seconds = call.headers.get("Prefer", "").partition("=")
        expect(scheme == "wait" and 1 <= int(seconds or 60) <= 60, "Prefer")
        body = call.json()
        fields_are(body, {"input": dict}, {"input"})
        known = {
            "prompt": str, "input_image": str, "aspect_ratio": str, "prompt_upsampling": bool, "seed": int,
            "output_format": str, "safety_tolerance": int,
        }  # fmt: skip
        fields_are(body["input"], known, {"prompt"})
        ratio_is(body["input"]["aspect_ratio"], RATIOS)
        self.pictures = [from_data_uri(body["input"]["input_image"])] if "input_image" in body["input"] else []
        return self._prediction(201)

    def polled(self, call: Call) -> Reply:
        expect(call.path == "/v1/predictions/p-1", f"no such prediction: {call.path}")
        return self._prediction(200)

    def _prediction(self, status: int) -> Reply:
        if self.unfinished():
            return Reply(status, self._body("starting"))
        if self.is_blocked:
            return self.refusal()
        done = {
            "output": [self.link], "metrics": {"predict_time": 5.25},
            "started_at": "2026-01-01T00:00:02.5Z", "completed_at": "2026-01-01T00:00:07.75Z",
        }  # fmt: skip
        return Reply(status, self._body("succeeded", **done))

    def _body(self, status: str, **more: Any) -> dict[str, Any]:
        urls = {"get": f"{self.base_url}/predictions/p-1", "cancel": f"{self.base_url}/predictions/p-1/cancel"}
        empty = {"output": None, "error": None, "logs": "", "version": "v9", "created_at": "2026-01-01T00:00:00Z"}
        model = "black-forest-labs/flux-kontext-pro"
        return {"id": "p-1", "model": model, "input": {}, "status": status, "urls": urls, **empty, **more}

    def refusal(self) -> Reply:
        said = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
        return Reply(200, self._body("failed", error=said))

    def error(self, status: int, text: str) -> Reply:
        return Reply(status, {"title": "Error", "detail": text, "status": status})


class Fal(StandIn):
    spec, variable = "fal:fal-ai/flux-pro/kontext", "FAL_KEY"
    requests_path = "/fal-ai/flux-pro/requests/q-1"  # of a nested app, only the first two parts stay

    def presented(self, call: Call) -> str | None:
        scheme, _, key = call.headers.get("Authorization", "").partition(" ")
        return key if scheme == "Key" else None

    def submitted(self, call: Call) -> Reply:
        expect(call.path == "/fal-ai/flux-pro/kontext", f"no such app: {call.path}")
        body = call.json()
        known = {
            "prompt": str, "image_url": str, "seed": int, "guidance_scale": float, "num_images": int,
            "aspect_ratio": str, "output_format": str, "safety_tolerance": str, "enhance_prompt": bool,
        }  # fmt: skip
        fields_are(body, known, {"prompt"})
        ratio_is(body["aspect_ratio"], RATIOS - {"4:5", "5:4", "2:1", "1:2"})
        expect(body["num_images"] == 1 and body["enhance_prompt"] is False, "num_images, enhance_prompt")
        self.pictures = [from_data_uri(body["image_url"])] if "image_url" in body else []
        at = self.api.url + self.requests_path
        urls = {"response_url": at, "status_url": f"{at}/status", "cancel_url": f"{at}/cancel"}
        return Reply(200, {"request_id": "q-1", **urls})

    def polled(self, call: Call) -> Reply:
        if call.path == f"{self.requests_path}/status":
            if self.unfinished():
                return Reply(202, {"status": "IN_QUEUE", "queue_position": 1})
            return Reply(200, {"status": "COMPLETED", "metrics": {"inference_time": 2.75}})
        expect(call.path == self.requests_path, f"no such request: {call.path}")
        if self.is_blocked:
            return self.refusal()
        made = [{"url": self.link, "width": 24, "height": 16, "content_type": "image/png"}]
        return Reply(200, {"images": made, "seed": 7, "prompt": "p", "has_nsfw_concepts": [False], "timings": {}})

    def refusal(self) -> Reply:
        detail = [
            {"loc": ["body", "prompt"], "msg": "flagged by a content checker", "type": "content_policy_violation"}
        ]
        return Reply(422, {"detail": detail}, {"x-fal-error-type": "content_policy_violation"})

    def error(self, status: int, text: str) -> Reply:
        return Reply(status, {"detail": text})


ALL = (Bfl, OpenAI, Google, Recraft, Stability, Replicate, Fal)
