"""Turns come no faster than the limit, whoever asks."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from recast.quality.systems.rate import Bucket, Limits


@given(
    per_minute=st.floats(1, 1000),
    burst=st.integers(1, 5),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=40),
)
def test_no_window_holds_more_turns_than_its_length_and_the_burst_allow(per_minute, burst, pauses):
    bucket, now, turns = Bucket(per_minute, burst), 0.0, []
    for pause in pauses:
        now += pause
        turns.append(now + bucket.reserve(now))
    for i, first in enumerate(turns):
        for j in range(i, len(turns)):
            assert j - i + 1 <= burst + (turns[j] - first) * per_minute / 60 + 1e-6


def test_a_limit_is_used_to_the_full():
    """60 a minute, asked for at once: one a second, from now."""
    bucket = Bucket(60)
    assert [bucket.reserve(10.0) for _ in range(4)] == [0, 1, 2, 3]


def test_a_burst_is_at_once_and_comes_back_with_time():
    bucket = Bucket(60, burst=3)
    assert [bucket.reserve(0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert [bucket.reserve(100.0) for _ in range(4)] == [0, 0, 0, 1]


def test_without_a_limit_only_a_pause_holds():
    bucket = Bucket(None)
    assert bucket.reserve(0.0) == 0
    bucket.hold(5.0)
    assert [bucket.reserve(1.0), bucket.reserve(6.0)] == [4, 0]


def test_a_pause_delays_turns_that_a_limit_would_give():
    bucket = Bucket(60)
    bucket.hold(30.0)
    assert [bucket.reserve(0.0), bucket.reserve(0.0)] == [30, 31]


def test_of_two_systems_on_one_host_the_stricter_limit_holds_for_both():
    limits = Limits()
    loose, strict, other = limits.bucket("a", None), limits.bucket("a", 30), limits.bucket("b", 600)
    assert loose is strict
    assert [loose.reserve(0.0), strict.reserve(0.0)] == [0, 2]
    assert limits.bucket("a", 600).per_minute == 30
    assert other.per_minute == 600


def test_threads_get_different_turns():
    bucket, turns = Bucket(60), []
    threads = [threading.Thread(target=lambda: turns.append(bucket.reserve(0.0))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turns) == list(range(20))
