"""The judge against a local stand-in that speaks the chat completions protocol, and checks what it is sent."""

import base64
import io
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from recast.errors import ConfigError, InputError
from recast.quality.features.judge import KEY, Judge, Question, data_url

SECRET = "sk-very-secret-0123456789"
HAT = Question(text="Is the hat red?")
GONE = Question(text="Is the dog still there?", right="no")
CONTROL = Question(text="Is there a submarine?", right="no", is_control=True)


class StandIn:
    """An endpoint that answers from a list: a dict is the JSON object, a str raw content, an int a bare status."""

    def __init__(self):
        self.answers, self.requests, self.headers = [], [], []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.requests.append((self.path, body))
                stand_in.headers.append(dict(self.headers))
                answer = stand_in.answers.pop(0)
                if isinstance(answer, int):
                    said = f"refused {self.headers.get('Authorization', '')}".encode()
                    self.send_response(answer)
                    self.send_header("Retry-After", "7")
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                else:
                    content = answer if isinstance(answer, str) else json.dumps(answer)
                    said = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
                    self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint():
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def judge(endpoint, waits):
    return Judge(endpoint.url + "/", "judge-2025-01-01", key=SECRET, sleep=waits.append)


def photo(height=20, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_a_verdict_counts_right_answers_without_the_controls(judge, endpoint):
    endpoint.answers = [{"q1": "yes", "q2": "no", "q3": "no"}, {"q1": "unclear", "q2": "no", "q3": "yes"}]
    good = judge.ask([photo()], [HAT, GONE, CONTROL])
    assert (good.status, good.answers, good.share, good.controls_right) == ("ok", ("yes", "no", "no"), 1.0, True)
    poor = judge.ask([photo()], [HAT, GONE, CONTROL])
    assert (poor.share, poor.controls_right) == (0.5, False)


def test_the_request_forces_the_schema_and_carries_pictures_as_png(judge, endpoint):
    endpoint.answers = [{"q1": "yes", "q2": "no"}]
    pixels = photo()
    judge.ask([pixels, photo(seed=1)], [HAT, CONTROL])
    ((path, body),) = endpoint.requests
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"]) == ("judge-2025-01-01", 0)
    schema = body["response_format"]["json_schema"]
    assert schema["strict"] is True
    answer = {"type": "string", "enum": ["yes", "no", "unclear"]}
    assert schema["schema"] == {
        "type": "object", "properties": {"q1": answer, "q2": answer}, "required": ["q1", "q2"],
        "additionalProperties": False,
    }  # fmt: skip
    first, _, text = body["messages"][1]["content"]
    assert "q1: Is the hat red?" in text["text"]
    scheme, encoded = first["image_url"]["url"].split(",")
    assert scheme == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))), pixels)
    assert endpoint.headers[0]["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(("height", "width", "expected"), [(2048, 512, (256, 1024)), (1000, 1024, (1024, 1000))])
def test_pictures_are_shrunk_to_the_longest_side_and_never_enlarged(height, width, expected):
    image = Image.open(io.BytesIO(base64.b64decode(data_url(photo(height, width)).split(",")[1])))
    assert (image.format, image.size) == ("PNG", expected)


UNUSABLE = ["I think it is red.", '["yes"]', '{"q1": "yes"}', '{"q1": "maybe", "q2": "no"}', '{"q1": 1, "q2": "no"}']


@pytest.mark.parametrize("content", UNUSABLE)
def test_an_unusable_answer_is_asked_for_again_twice_and_then_is_no_number(judge, endpoint, content):
    endpoint.answers = [content] * 3
    verdict = judge.ask([photo()], [HAT, CONTROL])
    assert (verdict.status, verdict.attempts, len(endpoint.requests)) == ("judge_error", 3, 3)
    assert (verdict.share, verdict.controls_right, verdict.answers) == (None, None, ())
    assert verdict.reason


def test_a_usable_answer_after_two_failures_counts(judge, endpoint, waits):
    endpoint.answers = ["hm", 503, {"q1": "yes", "q2": "no"}]
    verdict = judge.ask([photo()], [HAT, CONTROL])
    assert (verdict.status, verdict.share, verdict.attempts) == ("ok", 1.0, 3)
    assert waits == [7.0]  # as the server asked; an unusable answer waits for nothing


def test_an_endpoint_that_is_not_there_is_an_error_of_the_judge(endpoint, waits):
    endpoint.close()
    verdict = Judge(endpoint.url, "m", key=SECRET, sleep=waits.append, timeout_s=2).ask([photo()], [HAT, CONTROL])
    assert verdict.status == "judge_error"
    assert "ConnectionError" in verdict.reason
    assert waits == [1.0, 1.0]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_stops_the_run(judge, endpoint, status):
    endpoint.answers = [status]
    with pytest.raises(ConfigError, match=f"answered {status}"):
        judge.ask([photo()], [HAT, CONTROL])
    assert len(endpoint.requests) == 1


def test_the_key_shows_nowhere(judge, endpoint, caplog):
    """The stand-in repeats the header it was sent in every refusal, as some servers do."""
    caplog.set_level(logging.DEBUG)
    endpoint.answers = [500, 500, 500, 401]
    verdict = judge.ask([photo()], [HAT, CONTROL])
    with pytest.raises(ConfigError) as caught:
        judge.ask([photo()], [HAT, CONTROL])
    assert "***" in verdict.reason
    shown = [repr(judge), str(vars(judge)), str(judge.describe()), repr(verdict), str(caught.value), caplog.text]
    assert not [text for text in shown if SECRET in text or SECRET[:12] in text]
    assert caplog.text


def test_the_key_is_not_sent_along_a_redirect(judge, endpoint):
    endpoint.answers = [307] * 3
    verdict = judge.ask([photo()], [HAT, CONTROL])
    assert verdict.status == "judge_error"
    assert "307" in verdict.reason


def test_the_key_comes_from_the_environment_and_may_be_absent(endpoint, monkeypatch):
    endpoint.answers = [{"q1": "yes", "q2": "no"}] * 2
    monkeypatch.setenv(KEY, SECRET)
    Judge(endpoint.url, "m").ask([photo()], [HAT, CONTROL])
    monkeypatch.delenv(KEY)
    Judge(endpoint.url, "m").ask([photo()], [HAT, CONTROL])
    assert [headers.get("Authorization") for headers in endpoint.headers] == [f"Bearer {SECRET}", None]


@pytest.mark.parametrize(
    ("questions", "why"),
    [
        ([HAT], "no control"),
        ([CONTROL], "at least one of each"),
        ([HAT, Question(text="Is there sky?", right="yes", is_control=True)], "another right answer"),
    ],
)
def test_questions_without_a_negative_control_or_without_a_subject_are_refused(judge, questions, why):
    with pytest.raises(InputError, match=why):
        judge.ask([photo()], questions)


@pytest.mark.parametrize(
    ("answers", "better", "flipped"),
    [
        (("first", "second"), "a", False),  # the second time, b is shown first
        (("second", "first"), "b", False),
        (("first", "first"), "tie", True),
        (("equal", "equal"), "tie", False),
        (("equal", "first"), "tie", False),
    ],
)
def test_a_preference_holds_in_both_orders_or_is_a_tie(judge, endpoint, answers, better, flipped):
    endpoint.answers = [{"better": answer} for answer in answers]
    source, a, b = photo(seed=1), photo(seed=2), photo(seed=3)
    result = judge.prefer(source, a, b, "make it red")
    assert (result.status, result.better, result.flipped) == ("ok", better, flipped)
    sent = [[part["image_url"]["url"] for part in body["messages"][1]["content"][:-1]] for _, body in endpoint.requests]
    assert sent == [[data_url(source), data_url(a), data_url(b)], [data_url(source), data_url(b), data_url(a)]]


def test_a_preference_that_cannot_be_had_is_an_error(judge, endpoint):
    endpoint.answers = [{"better": "first"}, "x", "x", "x"]
    result = judge.prefer(photo(), photo(), photo(), "make it red")
    assert (result.status, result.better, result.attempts) == ("judge_error", None, 4)


@pytest.mark.parametrize(
    "url", ["localhost/v1", "ftp://host/v1", f"https://user:{SECRET}@host/v1", f"https://h/?k={SECRET}"]
)
def test_an_address_that_is_none_or_carries_a_secret_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError, match="judge_url") as caught:
        Judge(url, "m")
    assert SECRET not in str(caught.value)


def test_the_description_pins_model_prompt_and_encoding(judge):
    description = judge.describe()
    assert (description["model"], description["temperature"]) == ("judge-2025-01-01", 0)
    assert len(description["prompt_sha256"]) == 64
    assert description["pictures"] == "PNG, longest side 1024"
