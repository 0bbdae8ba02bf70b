"""Each hosted service, through a stand-in that speaks its protocol: the picture, and every way not to get it."""

from __future__ import annotations

import json
import pickle
import traceback

import numpy as np
import pytest

from recast.quality.systems.contract import Failed
from tests.quality.systems.conftest import context, words
from tests.quality.systems.protocols import ALL, Bfl, Fal, Google, OpenAI, Recraft, Replicate, Stability
from tests.quality.systems.standin import KEY, Reply

every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
with_link = pytest.mark.parametrize("kind", [k for k in ALL if k.has_link], ids=lambda kind: kind.__name__)
HALVES = {"promised": True, "consistent": False}


def failure(system, request=None) -> Failed:
    with pytest.raises(Failed) as caught:
        system.make(request or words(contexts=(context(1),)))
    return caught.value


@every
def test_words_become_the_picture(kind, running, system):
    standin = running(kind)
    made = system(standin).make(words())
    np.testing.assert_array_equal(made.pixels, standin.result)
    assert made.attempts == 1
    assert standin.pictures == []


@every
def test_an_edit_sends_the_picture_to_the_last_pixel(kind, running, system):
    standin = running(kind)
    made = system(standin).make(words(contexts=(context(1),)))
    np.testing.assert_array_equal(made.pixels, standin.result)
    assert len(standin.pictures) == 1
    np.testing.assert_array_equal(standin.pictures[0], context(1))


@every
def test_the_instruction_arrives_as_it_was_written(kind, running, system):
    standin = running(kind)
    system(standin).make(words())
    body = standin.posts[0].body.decode()
    assert words().instruction in body or json.dumps(words().instruction)[1:-1] in body


@every
def test_the_record_holds_both_sizes_and_the_file(kind, running, system):
    standin = running(kind)
    detail = system(standin).make(words()).detail
    assert detail["asked_size"] == [1536, 1024]
    assert detail["got_size"] == [24, 16]
    assert (detail["format"], detail["file_bytes"], detail["had_alpha"]) == ("PNG", len(standin.file), False)
    json.dumps(detail)


@every
def test_a_rate_limit_is_waited_for_as_long_as_it_says(kind, running, system, clock):
    standin = running(kind)
    standin.submissions.append(Reply(429, {"error": "slow down"}, {"Retry-After": "7"}))
    made = system(standin, poll_s=0.5).make(words())
    assert made.attempts == 2
    assert clock.slept[0] == 7.0
    assert made.seconds >= 7.0


@every
def test_one_server_error_costs_one_more_attempt(kind, running, system):
    standin = running(kind)
    standin.submissions.append(Reply(500, b"oops"))
    assert system(standin).make(words()).attempts == 2


@every
def test_server_errors_without_end_are_an_error_after_five_attempts(kind, running, system):
    standin = running(kind)
    standin.submissions.extend([Reply(503, {"error": "still down"})] * 9)
    failed = failure(system(standin))
    assert (failed.status, failed.attempts, len(standin.posts)) == ("error", 5, 5)
    assert "503: still down" in failed.reason


@every
def test_an_answer_that_cannot_be_read_is_an_error_and_not_asked_for_again(kind, running, system):
    standin = running(kind)
    standin.submissions.append(Reply(200, b"<html>hello"))
    failed = failure(system(standin))
    assert (failed.status, len(standin.posts)) == ("error", 1)
    assert failed.reason.startswith("malformed answer")


@every
def test_json_without_what_it_should_hold_is_an_error(kind, running, system):
    standin = running(kind)
    standin.submissions.append(Reply(200, {"status": None, "data": [], "candidates": [3]}))
    failed = failure(system(standin))
    assert (failed.status, len(standin.posts)) == ("error", 1)


@pytest.mark.parametrize("body", [b"[1, 2]", b"null", b'"x"'])
@pytest.mark.parametrize("kind", [k for k in ALL if k.has_task], ids=lambda kind: kind.__name__)
def test_a_poll_that_cannot_be_read_is_an_error(kind, body, running, system):
    standin = running(kind)
    standin.polls.append(Reply(200, body))
    failed = failure(system(standin))
    assert failed.status == "error"
    assert "malformed answer" in failed.reason


@pytest.mark.parametrize("kind", [k for k in ALL if k.has_task], ids=lambda kind: kind.__name__)
def test_a_poll_that_fails_once_does_not_order_the_picture_twice(kind, running, system):
    standin = running(kind)
    standin.polls.append(Reply(502, b"bad gateway"))
    made = system(standin).make(words())
    assert (made.attempts, len(standin.posts)) == (1, 1)


REFUSALS = {
    Bfl: "Request Moderated: Moderation Reasons: ['Derivative Works Filter']",
    OpenAI: "moderation_blocked",
    Google: "IMAGE_SAFETY Unable to show",
    Recraft: "did not pass content moderation",
    Stability: "finish-reason: CONTENT_FILTERED",
    Replicate: "flagged as sensitive",
    Fal: "flagged by a content checker (content_policy_violation)",
}


@every
def test_refused_content_is_blocked_with_the_reason_of_the_service(kind, running, system):
    standin = running(kind)
    standin.is_blocked = True
    failed = failure(system(standin))
    assert failed.status == "blocked"
    assert REFUSALS[kind] in failed.reason
    assert len(standin.posts) == 1


@with_link
@pytest.mark.parametrize("status", [403, 404])
def test_an_expired_link_is_an_error_that_says_so(kind, status, running, system):
    standin = running(kind)
    standin.downloads.append(Reply(status, b"gone"))
    failed = failure(system(standin))
    assert failed.status == "error"
    assert f"answered {status}; the link has expired" in failed.reason
    assert "signature" not in failed.reason


@with_link
@pytest.mark.parametrize("cut", HALVES.values(), ids=HALVES.keys())
def test_half_a_download_is_fetched_again(kind, cut, running, system):
    standin = running(kind)
    standin.downloads.append(Reply(200, standin.file if cut else standin.file[: len(standin.file) // 2], cut=cut))
    made = system(standin).make(words())
    np.testing.assert_array_equal(made.pixels, standin.result)
    assert (made.attempts, len(standin.fetches)) == (1, 2)


@with_link
@pytest.mark.parametrize("cut", HALVES.values(), ids=HALVES.keys())
def test_half_a_download_without_end_is_an_error(kind, cut, running, system):
    standin = running(kind)
    standin.downloads.extend([Reply(200, standin.file if cut else standin.file[:90], cut=cut)] * 9)
    failed = failure(system(standin))
    assert (failed.status, len(standin.fetches), len(standin.posts)) == ("error", 3, 1)


@pytest.mark.parametrize("kind", [k for k in ALL if not k.has_link], ids=lambda kind: kind.__name__)
def test_an_answer_that_breaks_off_is_asked_for_again(kind, running, system):
    standin = running(kind)
    standin.submissions.append(Reply(200, {"data": "x" * 1000}, cut=True))
    assert system(standin).make(words()).attempts == 2


@pytest.mark.parametrize("kind", [OpenAI, Google, Stability], ids=lambda kind: kind.__name__)
def test_half_a_picture_inside_an_answer_is_an_error(kind, running, system, monkeypatch):
    standin = running(kind)
    monkeypatch.setattr(kind, "file", standin.file[:200])
    failed = failure(system(standin))
    assert failed.status == "error"
    assert "malformed answer" in failed.reason


@every
def test_a_task_without_end_is_a_timeout(kind, running, system, clock):
    """A service with tasks is polled until the time is up, one without is listened to."""
    standin = running(kind)
    standin.pending, standin.hang = 10**9, not kind.has_task
    failed = failure(system(standin, timeout_s=5.0 if kind.has_task else 0.2, poll_s=0.5))
    assert (failed.status, len(standin.posts)) == ("timeout", 1)
    if kind.has_task:
        assert clock.time == 1005.0
        assert "status is" in failed.reason


@every
def test_a_wrong_key_is_an_error_and_stands_nowhere(kind, running, system, caplog):
    """The stand-ins say which key they did not like; some services do."""
    standin = running(kind)
    wrong = "sk-wrong/99+9="
    tried = system(standin, key=wrong)
    failed = failure(tried)
    assert failed.status == "error"
    assert "401" in failed.reason
    assert "***" in failed.reason
    told = "".join(traceback.format_exception(failed)) + repr(failed) + repr(vars(failed)) + caplog.text
    told += repr(tried) + repr(tried.client) + json.dumps(tried.describe())
    assert wrong not in told
    chain = failed
    while chain is not None:  # no request, and so no header, hangs on the error
        assert not hasattr(chain, "request")
        chain = chain.__context__


@every
def test_nothing_that_is_kept_holds_the_key(kind, running, system, caplog):
    standin = running(kind)
    tested = system(standin)
    made = tested.make(words(contexts=(context(1),)))
    kept = json.dumps([tested.describe(), made.detail]) + repr(tested) + repr(tested.client) + caplog.text
    assert KEY not in kept
    assert any(KEY in str(call.headers.items()) for call in standin.calls)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(tested.client._key)


@every
def test_pictures_that_a_service_has_no_place_for_are_refused_unsent(kind, running, system):
    standin = running(kind)
    limit = {Bfl: 4, OpenAI: 16, Google: 2}.get(kind, 1)
    options = {"max_contexts": 2} if kind is Google else {}
    many = words(contexts=tuple(context(i) for i in range(limit + 1)))
    failed = failure(system(standin, **options), many)
    assert failed.status == "error"
    assert f"{limit + 1} " in failed.reason
    assert standin.calls == []


@pytest.mark.parametrize(("kind", "count"), [(Bfl, 4), (OpenAI, 3), (Google, 3)])
def test_several_pictures_arrive_in_their_order(kind, count, running, system):
    standin = running(kind)
    system(standin).make(words(contexts=tuple(context(i) for i in range(count))))
    assert len(standin.pictures) == count
    for i, sent in enumerate(standin.pictures):
        np.testing.assert_array_equal(sent, context(i))


@every
def test_a_price_that_is_given_is_the_price(kind, running, system):
    tested = system(running(kind), price_usd=0.125)
    assert tested.price_usd(words()) == 0.125


SEEDED = {Bfl: "seed", Recraft: "random_seed", Stability: "seed", Replicate: "seed", Fal: "seed"}


@pytest.mark.parametrize("kind", SEEDED, ids=lambda kind: kind.__name__)
def test_a_seed_is_sent_as_the_service_takes_it_and_recorded(kind, running, system):
    made = system(running(kind)).make(words())
    assert made.detail["sent"][SEEDED[kind]] == 7


SHAPES = {
    Bfl: {"aspect_ratio": "3:2"},
    OpenAI: {"size": "1536x1024"},
    Google: {"aspectRatio": "3:2"},
    Recraft: {"size": "1536x1024"},
    Stability: {"aspect_ratio": "3:2"},
    Replicate: {"aspect_ratio": "3:2"},
    Fal: {"aspect_ratio": "3:2"},
}


@every
def test_the_nearest_size_on_offer_is_asked_for(kind, running, system):
    made = system(running(kind)).make(words())
    assert SHAPES[kind].items() <= made.detail["sent"].items()
