"""Work on several things side by side, in their order."""

import threading

import pytest

from recast.retouch import several
from recast.retouch.several import MOST_PIXELS, in_turn


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "_cores", lambda: 2)


def test_two_are_worked_on_at_once_and_come_in_their_order():
    both = threading.Barrier(2, timeout=5)

    def work(number: int) -> int:
        both.wait()  # breaks unless another is under way
        return number * number

    assert in_turn(work, [1, 2, 3, 4], pixels=100) == [1, 4, 9, 16]


@pytest.mark.parametrize(
    ("given", "options"),
    [([1], {"pixels": 1}), ([1, 2], {"pixels": MOST_PIXELS + 1}), ([1, 2], {"pixels": 1, "is_alone": True})],
)
def test_one_alone_a_large_one_and_what_bears_one_thread_stay_on_the_caller_s(given, options):
    assert in_turn(lambda _: threading.get_ident(), given, **options) == [threading.get_ident()] * len(given)


def test_an_error_leaves_out_what_has_not_begun():
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise KeyboardInterrupt
        threading.Event().wait(0.05)

    with pytest.raises(KeyboardInterrupt):
        in_turn(work, list(range(20)), pixels=1)
    assert len(begun) < 6
