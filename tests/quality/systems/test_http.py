"""Retries, waits, deadlines, and where the key goes."""

from __future__ import annotations

import email.utils
import logging
import threading

import numpy as np
import pytest

from recast.errors import ConfigError
from recast.quality.systems import http
from recast.quality.systems.contract import Failed
from recast.quality.systems.http import Client
from recast.quality.systems.rate import Limits
from recast.quality.systems.secret import Secret
from tests.quality.systems.conftest import words
from tests.quality.systems.protocols import Bfl, OpenAI, Recraft
from tests.quality.systems.standin import KEY, Reply


@pytest.fixture
def client(clock):
    def build(standin, **options):
        options = {"header": "x-key", "prefix": "", "limits": Limits(), "uniform": lambda low, high: high, **options}
        return Client("test", standin.base_url, Secret(KEY), clock=clock, **options)

    return build


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status, running, client):
    standin = running(Bfl)
    standin.submissions.extend([Reply(status), Reply(200, b"fine")])
    exchange = client(standin).begin(60)
    assert (exchange.submit("x").body, exchange.attempts) == (b"fine", 2)


@pytest.mark.parametrize("status", [200, 201, 301, 400, 401, 402, 403, 404, 413, 422])
def test_what_will_not_pass_is_not_tried_again(status, running, client):
    standin = running(Bfl)
    standin.submissions.append(Reply(status))
    exchange = client(standin).begin(60)
    assert (exchange.submit("x").status, exchange.attempts) == (status, 1)


def test_a_service_that_says_it_will_not_pass_is_believed(running, client):
    standin = running(Bfl)
    standin.submissions.append(Reply(429, b"", {"x-should-retry": "false"}))
    assert client(standin).begin(60).submit("x").status == 429


PAUSES = {
    "seconds": ({"Retry-After": "7"}, 7.0),
    "milliseconds": ({"retry-after-ms": "250"}, 0.25),
    "milliseconds go first": ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
    "a date": ({"Retry-After": email.utils.formatdate(1_700_000_011, usegmt=True)}, 11.0),
    "the longest": ({"Retry-After": "120"}, 120.0),
    "nothing": ({}, 0.5),
    "zero": ({"Retry-After": "0"}, 0.5),
    "a date that has passed": ({"Retry-After": email.utils.formatdate(1_600_000_000, usegmt=True)}, 0.5),
    "nonsense": ({"Retry-After": "soon"}, 0.5),
    "not a number": ({"Retry-After": "nan"}, 0.5),
}


@pytest.mark.parametrize(("headers", "pause"), PAUSES.values(), ids=PAUSES.keys())
def test_the_pause_is_the_one_asked_for_or_the_backoff(headers, pause, running, client, clock):
    standin = running(Bfl)
    standin.submissions.extend([Reply(503, b"", headers), Reply(200)])
    client(standin).begin(300).submit("x")
    assert clock.slept == [pause]


def test_a_pause_longer_than_two_minutes_is_not_waited_for(running, client, clock):
    standin = running(Bfl)
    standin.submissions.append(Reply(429, b"", {"Retry-After": "121"}))
    assert client(standin).begin(300).submit("x").status == 429
    assert clock.slept == []


def test_the_backoff_doubles_and_is_drawn_from_nothing_to_its_bound(running, client, clock):
    standin = running(Bfl)
    standin.submissions.extend([Reply(500)] * 5)
    drawn = []
    tested = client(standin, uniform=lambda low, high: drawn.append((low, high)) or high / 2)
    assert tested.begin(300).submit("x").status == 500
    assert drawn == [(0, 0.5), (0, 1), (0, 2), (0, 4)]
    assert clock.slept == [0.25, 0.5, 1, 2]


def test_a_pause_holds_back_every_request_to_that_host(running, client, clock):
    standin, limits = running(Bfl), Limits()
    standin.submissions.extend([Reply(429, b"", {"Retry-After": "50"})])
    one, other = client(standin, limits=limits), client(standin, limits=limits)
    with pytest.raises(Failed, match="timeout"):
        one.begin(10).submit("x")  # gives up after ten of the fifty seconds
    other.begin(10)
    assert clock.slept == [10, 40]


def test_a_pause_beyond_the_deadline_ends_at_the_deadline(running, client, clock):
    standin = running(Bfl)
    standin.submissions.append(Reply(503, b"", {"Retry-After": "100"}))
    with pytest.raises(Failed) as caught:
        client(standin).begin(30).submit("x")
    assert (caught.value.status, clock.time) == ("timeout", 1030.0)
    assert "answered 503; the limit is 30 s" in caught.value.reason


def test_turns_are_spread_by_the_limit_and_do_not_count_as_the_services_time(running, client, clock):
    standin = running(Bfl)
    standin.submissions.extend([Reply(200)] * 3)
    tested = client(standin, requests_per_minute=30)
    exchanges = []
    for _ in range(3):
        exchange = tested.begin(60)
        exchange.submit("x")
        exchanges.append(exchange.seconds)
    assert clock.slept == [2, 2]
    assert exchanges == [0, 0, 0]


def test_a_repeated_submission_waits_for_a_turn_of_its_own(running, client, clock):
    standin = running(Bfl)
    standin.submissions.extend([Reply(500), Reply(200)])
    client(standin, requests_per_minute=6).begin(60).submit("x")
    assert clock.slept == [0.5, 9.5]


def test_a_host_that_is_not_there_is_an_error_after_its_retries(running, client, clock):
    standin = running(Bfl)
    tested = client(standin)
    standin.api.close()
    with pytest.raises(Failed) as caught:
        tested.begin(60).submit("x")
    assert (caught.value.status, caught.value.attempts) == ("error", 5)
    assert "ConnectionError" in caught.value.reason
    assert len(clock.slept) == 4
    standin.api.close = lambda: None


def test_the_key_goes_to_the_services_own_host_alone(running, client):
    standin = running(Bfl)
    exchange = client(standin, hosts=r"api(\.eu)?\.bfl\.ai").begin(60)
    for foreign in (
        standin.delivery.url + "/x",
        "https://evil.example/v1/get_result",
        "http://api.eu.bfl.ai/x",  # not encrypted
        "https://api.eu.bfl.ai.evil.example/x",
        "https://user@api.eu.bfl.ai/x",
        standin.api.url.replace("127.0.0.1", "localhost") + "/x",
    ):
        with pytest.raises(Failed, match="the key is not sent there"):
            exchange.get(foreign)
    assert standin.fetches == []
    assert exchange.client.may_see_key("https://api.eu.bfl.ai/v1/get_result?id=1")
    assert exchange.client.may_see_key(standin.api.url + "/anything")


def test_a_service_that_names_a_foreign_polling_host_gets_no_key_there(running, system):
    standin = running(Bfl)
    standin.submissions.append(Reply(200, {"id": "1", "polling_url": standin.delivery.url + "/made/picture.png"}))
    with pytest.raises(Failed, match="the key is not sent there"):
        system(standin).make(words())
    assert standin.fetches == []


def test_a_redirect_is_not_followed_with_the_key(running, system):
    standin = running(Bfl)
    standin.submissions.append(Reply(307, b"", {"Location": standin.delivery.url + "/made/picture.png"}))
    with pytest.raises(Failed, match="answered 307"):
        system(standin).make(words())
    assert standin.fetches == []


def test_a_link_may_redirect(running, system):
    standin = running(Bfl)
    standin.downloads.append(Reply(302, b"", {"Location": standin.link}))
    np.testing.assert_array_equal(system(standin).make(words()).pixels, standin.result)


def test_a_netrc_of_the_user_is_not_read(running, system, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    standin = running(Bfl)
    system(standin).make(words())
    assert standin.fetches
    assert all("Authorization" not in call.headers for call in [*standin.calls, *standin.fetches])


@pytest.mark.parametrize(
    "link", ["file:///etc/passwd", "ftp://x/y", "javascript:alert(1)", "/relative.png", "http://[", "x"]
)
def test_only_links_of_the_web_are_followed(link, running, system):
    standin = running(Recraft)
    standin.submissions.append(Reply(200, {"data": [{"url": link}]}))
    with pytest.raises(Failed, match=r"http\(s\) accepted"):
        system(standin).make(words())


def test_an_endless_download_is_cut_at_the_limit(running, system, monkeypatch):
    standin = running(Recraft)
    monkeypatch.setattr(http, "LIMIT_BYTES", 100_000)
    standin.downloads.append(Reply(200, bytes(200_000)))
    with pytest.raises(Failed, match="more than 100000 bytes"):
        system(standin).make(words())
    assert len(standin.fetches) == 1


def test_a_deadline_that_passes_while_bytes_come_is_a_timeout(running, client, clock):
    standin = running(Bfl)
    standin.submissions.append(Reply(200, bytes(1 << 20)))
    exchange = client(standin).begin(60)
    beats = iter([0.0] * 6)
    object.__setattr__(clock, "now", lambda: 1000.0 + next(beats, 61.0))
    with pytest.raises(Failed) as caught:
        exchange.submit("x")
    assert caught.value.status == "timeout"
    assert "was still sending" in caught.value.reason


@pytest.mark.parametrize(
    "url", ["api.bfl.ai", "ftp://api.bfl.ai", f"https://me:{KEY}@api.bfl.ai", "https://x/?a=b", ""]
)
def test_an_address_that_cannot_work_or_holds_a_password_is_refused(url):
    with pytest.raises(ConfigError, match="base_url") as caught:
        Client("bfl", url, Secret(KEY), limits=Limits())
    assert KEY not in str(caught.value)


def test_what_is_logged_has_no_query_and_no_body(running, system, caplog):
    standin = running(Bfl)
    system(standin).make(words())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("recast.")]
    assert len(ours) == 4  # submission, two polls, download
    assert all("?" not in line and "signature" not in line and "title" not in line for line in ours)
    assert {record.levelno for record in caplog.records if record.name.startswith("recast.")} == {logging.INFO}


def test_several_threads_share_one_system(running, system):
    standin = running(OpenAI)
    tested, made = system(standin, requests_per_minute=None), []
    threads = [threading.Thread(target=lambda: made.append(tested.make(words()))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert all(np.array_equal(one.pixels, standin.result) for one in made)


@pytest.mark.parametrize("url", ["http://[", "https://", "http://\0", "//host/x", "http://127.0.0.1:99999/x", "x"])
def test_whatever_a_service_names_as_its_polling_address_is_a_failure_and_no_fault(url, running, system):
    standin = running(Bfl)
    standin.submissions.append(Reply(200, {"id": "1", "polling_url": url}))
    standin.polls.append(Reply(404, b"no"))
    with pytest.raises(Failed) as caught:
        system(standin).make(words())
    assert caught.value.status == "error"
    assert all(call.headers["Host"] == standin.api.host for call in standin.calls)
    assert standin.fetches == []


@pytest.mark.parametrize("link", ["http://", "http://\x00/x", "http://127.0.0.1:1/x", "http://" + "a" * 300 + "/x"])
def test_whatever_a_service_names_as_its_link_is_a_failure_and_no_fault(link, running, system):
    standin = running(Recraft)
    standin.submissions.append(Reply(200, {"data": [{"url": link}]}))
    with pytest.raises(Failed) as caught:
        system(standin).make(words())
    assert caught.value.status == "error"


def test_a_pause_that_the_host_of_a_link_asks_for_does_not_hold_the_service(running, system, clock):
    standin = running(Bfl)
    standin.downloads.append(Reply(503, b"", {"Retry-After": "50"}))
    tested = system(standin)
    tested.make(words())
    assert tested.client.bucket.reserve(clock.time - 49) < 1


@pytest.mark.parametrize("before", [0, 5, 30, 190, 480, 495])
@pytest.mark.parametrize("status", [200, 400])
def test_half_a_key_does_not_stay_where_a_reason_is_cut(status, before, running, system):
    standin = running(Bfl)
    standin.submissions.append(Reply(status, b"x" * before + KEY.encode() + b"y" * 600))
    with pytest.raises(Failed) as caught:
        system(standin).make(words())
    assert KEY[:8] not in caught.value.reason
    assert len(caught.value.reason) <= 500


def test_a_submission_that_is_not_answered_in_time_is_not_sent_again(running, client):
    """Even if there were time for it by the clock: the service may be at work on the first."""
    standin = running(Bfl)
    standin.hang = True
    with pytest.raises(Failed) as caught:
        client(standin, uniform=lambda low, high: 0.0).begin(0.1).submit("x")
    assert (caught.value.status, len(standin.posts)) == ("timeout", 1)
