"""What is sent is what was checked, the token shows nowhere, and every refusal is one clear error."""

import json
import logging
import pickle
import threading
import time
from pathlib import Path

import pytest

from recast.errors import ConfigError, InputError, RecastError
from recast.thumbnails import credentials, upload
from recast.thumbnails.credentials import Token, read_token
from recast.thumbnails.upload import ENDPOINT, UploadFailed, last, prepare, record, send
from tests.thumbnails.finished import finished_set
from tests.thumbnails.youtube import ANSWER, TOKEN, VIDEO, refusal, serving


@pytest.fixture
def youtube():
    with serving() as there:
        yield there


@pytest.fixture
def done(tmp_path: Path) -> Path:
    return finished_set(tmp_path / "set")


def authorized(path: Path, **changes: object) -> Path:
    """The file that Google's libraries write for a user."""
    said = {"client_id": "me", "client_secret": "hush", "refresh_token": "1//r", "token": "old", "scopes": []}
    path.write_text(json.dumps(said | changes))
    path.chmod(0o600)
    return path


def test_the_request_is_that_of_the_api(done, youtube):
    ready = prepare(done, "night", VIDEO, endpoint=youtube.url)
    assert send(ready, Token(TOKEN)) == ANSWER
    data = (done / "export" / "night.youtube-portable.jpg").read_bytes()
    asked = ("POST", f"/upload/youtube/v3/thumbnails/set?videoId={VIDEO}&uploadType=media", data)
    assert youtube.asked == [asked]
    assert youtube.pictures[VIDEO] == data


def test_what_would_be_sent_goes_to_the_platform_unless_told_otherwise(done):
    ready = prepare(done, "night", VIDEO)
    assert ready.url == f"{ENDPOINT}/upload/youtube/v3/thumbnails/set?videoId={VIDEO}&uploadType=media"
    assert ready.to_dict()["content_type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("code", "reason", "words", "tries"),
    [
        (400, "invalidImage", "the picture is not accepted", 1),
        (400, "mediaBodyRequired", "no picture arrived", 1),
        (403, "forbidden", "verify the channel's phone number", 1),
        (404, "videoNotFound", "no such video", 1),
        (429, "uploadRateLimitExceeded", "after 4 tries: too many thumbnails", 4),
        (403, "unheardOf", "an unheard-of thing", 1),
    ],
)
def test_each_refusal_is_one_clear_error(done, youtube, code, reason, words, tries):
    youtube.first = [(*refusal(code, reason, "an unheard-of thing"), {})] * 9
    waited = []
    with pytest.raises(UploadFailed, match=f"night to {VIDEO}: {code} {reason}.*{words}") as raised:
        send(prepare(done, "night", VIDEO, endpoint=youtube.url), Token(TOKEN), sleep=waited.append)
    assert raised.value.reason == reason
    assert len(youtube.asked) == tries
    assert waited == list(upload.WAITS_S)[: tries - 1]


def test_a_busy_server_is_asked_again_after_what_it_asks_to_wait(done, youtube):
    busy, broken = refusal(429, "rateLimitExceeded"), (503, {})
    youtube.first = [(*busy, {"Retry-After": "7"}), (*broken, {"Retry-After": "9999"}), (*broken, {})]
    waited = []
    assert send(prepare(done, "night", VIDEO, endpoint=youtube.url), Token(TOKEN), sleep=waited.append) == ANSWER
    assert waited == [7.0, upload.LONGEST_WAIT_S, 4.0]


def test_a_server_that_is_not_there_is_said_after_all_tries(done, youtube):
    ready = prepare(done, "night", VIDEO, endpoint="http://127.0.0.1:1")
    with pytest.raises(UploadFailed, match=r"no answer from 127\.0\.0\.1:1 .*4 times"):
        send(ready, Token(TOKEN), sleep=lambda _: None)


def test_no_redirect_takes_the_token_elsewhere(done, youtube):
    for code in (301, 302, 307):
        youtube.first = [(code, {}, {"Location": f"{youtube.url}/upload/youtube/v3/thumbnails/set?videoId=elsewhere"})]
        with pytest.raises(UploadFailed, match=str(code)):
            send(prepare(done, "night", VIDEO, endpoint=youtube.url), Token(TOKEN))
    assert len(youtube.asked) == 3


def test_an_answer_of_another_kind_is_no_success(done, youtube):
    youtube.first = [(200, {"kind": "youtube#somethingElse"}, {})]
    with pytest.raises(UploadFailed, match="thumbnailSetResponse accepted"):
        send(prepare(done, "night", VIDEO, endpoint=youtube.url), Token(TOKEN))


def test_the_token_shows_nowhere(done, youtube, caplog):
    """The stand-in says a wrong token back, as a careless server might."""
    wrong = Token("ya29.wrong")
    with caplog.at_level(logging.DEBUG), pytest.raises(UploadFailed, match="401 authError") as raised:
        send(prepare(done, "night", VIDEO, endpoint=youtube.url), wrong)
    youtube.first = [(418, {"error": {"message": "I saw ya29.wrong"}}, {})]
    with caplog.at_level(logging.DEBUG), pytest.raises(UploadFailed, match=r"I saw \*\*\*") as echoed:
        send(prepare(done, "night", VIDEO, endpoint=youtube.url), wrong)
    shown = f"{wrong} {wrong!r} {wrong:>9} {raised.value} {echoed.value} {caplog.text}"
    assert "ya29" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(wrong)


def test_the_answer_is_kept_and_the_same_picture_is_known_to_be_there(done, youtube):
    night, beach = (prepare(done, name, VIDEO, endpoint=youtube.url) for name in ("night", "beach"))
    assert last(done, night) is None
    record(done, night, ANSWER)
    (kept,) = json.loads((done / "uploads.json").read_text())
    assert (kept["video"], kept["variant"], kept["sha256"], kept["answer"]) == (VIDEO, "night", night.sha256, ANSWER)
    assert last(done, night) == kept
    assert last(done, prepare(done, "night", "another_one", endpoint=youtube.url)) is None
    record(done, beach, ANSWER)
    assert last(done, night) is None  # beach lies over it
    assert last(done, beach) is not None
    (done / "uploads.json").write_text("{")
    with pytest.raises(InputError, match="no record of uploads"):
        last(done, night)


def test_two_records_at_once_are_both_kept(done, youtube, monkeypatch):
    ready = prepare(done, "night", VIDEO, endpoint=youtube.url)
    read = upload.read_records
    monkeypatch.setattr(upload, "read_records", lambda folder: (read(folder), time.sleep(0.05))[0])
    threads = [threading.Thread(target=record, args=(done, ready, {"id": i})) for i in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(each["answer"]["id"] for each in read(done)) == [0, 1]


def test_only_what_was_checked_is_sent(done, monkeypatch):
    path = done / "export" / "night.youtube-portable.jpg"
    with pytest.raises(InputError, match=r"variant='rain': not shipped .*night, beach accepted"):
        prepare(done, "rain", VIDEO)
    monkeypatch.setattr(upload, "LIMIT_BYTES", 100)
    with pytest.raises(InputError, match="100 accepted"):
        prepare(done, "night", VIDEO)
    monkeypatch.setattr(upload, "LIMIT_BYTES", 10**6)
    monkeypatch.setattr(upload, "EVERYWHERE_BYTES", 100)
    assert "above 100" in prepare(done, "night", VIDEO).notes[0]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="not the file that the manifest tells of"):
        prepare(done, "night", VIDEO)
    path.unlink()
    with pytest.raises(InputError, match="not there"):
        prepare(done, "night", VIDEO)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://example.com",
        "ftp://127.0.0.1",
        "https://",
        "http://127.0.0.1@example.com",
        "https://a.b?x=1",
        "https://a:b",
    ],
)
def test_a_token_never_travels_in_the_clear(done, endpoint):
    with pytest.raises(ConfigError, match="endpoint="):
        prepare(done, "night", VIDEO, endpoint=endpoint)


def test_a_video_is_named_by_its_id(done):
    with pytest.raises(ConfigError, match="no video's id"):
        prepare(done, "night", f"https://youtu.be/{VIDEO}")


def test_tokens_come_from_the_users_own_file(tmp_path: Path, youtube):
    path = tmp_path / "token.json"
    path.write_text(json.dumps({"access_token": TOKEN}))
    assert read_token(path).reveal() == TOKEN
    assert read_token(authorized(path, token_uri=f"{youtube.url}/token")).reveal() == TOKEN
    assert json.loads(path.read_text())["token"] == "old"  # the file stays as it is
    assert read_token(authorized(path, refresh_token=None)).reveal() == "old"
    with pytest.raises(RecastError, match="400 invalid_grant; sign in anew") as raised:
        read_token(authorized(path, refresh_token="1//expired", token_uri=f"{youtube.url}/token"))
    assert "expired" not in str(raised.value)
    with pytest.raises(ConfigError, match="token_uri="):
        read_token(authorized(path, token_uri="http://example.com/token"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("secret-not-json", "no JSON"),
        ("[]", "JSON without names"),
        ("{}", "holds no token"),
        ('{"access_token": "two words"}', "characters no token has"),
        ('{"installed": {"client_id": "x"}}', "names an application, not you"),
        ('{"type": "service_account"}', "a service account"),
        ('{"refresh_token": "secret-r"}', "without client_id and client_secret"),
    ],
)
def test_another_file_is_one_clear_error_without_its_content(tmp_path: Path, text, words):
    path = tmp_path / "token.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        read_token(path)
    assert "secret-" not in str(raised.value)


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path):
    path = authorized(tmp_path / "token.json")
    assert credentials.warn(path) == ""
    path.chmod(0o644)
    assert "chmod 600 token.json" in credentials.warn(path)
    with pytest.raises(InputError, match="cannot be read"):
        credentials.warn(tmp_path / "absent.json")
