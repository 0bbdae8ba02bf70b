"""Pictures beside a teacher's pairs: how many, in which order, and what they are to a discriminator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import pytest
import torch

from recast.errors import ConfigError
from recast.train.distill.beside import Beside, Mixed, counts
from recast.train.distill.ladd_parts import Part
from tests.train.distill.adversaries import made, made_add, of_parts, pair_batch
from tests.train.pairs import pairs


class Counting:
    """0, 1, 2, ..."""

    def __init__(self) -> None:
        self.next, self.is_closed = 0, False

    def __iter__(self) -> Iterator[int]:
        while True:
            self.next += 1
            yield self.next - 1

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("batch", "share", "parts", "expected"),
    [(8, 0.25, 1, (6, 2)), (8, 0.25, 4, (4, 4)), (16, 0.25, 4, (12, 4)), (8, 0.01, 1, (7, 1)), (8, 0.99, 2, (2, 6))],
)
def test_pictures_have_their_share_in_whole_parts_for_every_process(
    batch: int, share: float, parts: int, expected: tuple[int, int]
):
    assert counts(batch, share, parts) == expected


def test_a_batch_that_cannot_be_shared_out_is_refused():
    for batch, parts in ((1, 1), (6, 4), (4, 4)):
        with pytest.raises(ConfigError, match=f"batch={batch}"):
            counts(batch, 0.5, parts)
    for share in (0.0, 1.0):
        with pytest.raises(ConfigError, match="pictures="):
            counts(8, share)


def test_both_streams_go_on_where_they_stood():
    stream = Beside(Counting(), Counting())
    stream.pictures.next = 5  # type: ignore[attr-defined]
    assert list(islice(stream, 2)) == [Mixed(0, 5), Mixed(1, 6)]  # type: ignore[arg-type]
    again = Beside(Counting(), Counting())
    again.load_state(stream.state())
    assert next(iter(again)) == Mixed(2, 7)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one stream"):
        again.load_state({"next": 3})
    again.close()
    assert again.pairs.is_closed  # type: ignore[attr-defined]
    assert again.pictures.is_closed  # type: ignore[attr-defined]


@pytest.mark.parametrize("making", [made, made_add])
def test_endpoints_and_pictures_are_real_in_one_step(making: Any):
    of = making(pictures=0.25, regression=0.1)
    both = Mixed(pair_batch(of, 3), pairs(2, contexts=2))
    prepared = of.prepare(both, 0.5)
    ends, pictures = prepared.parts
    assert (prepared.count, of.count(both)) == (5, 5)
    assert torch.equal(ends.real, both.pairs.each.clean)
    assert ends.is_end.all()
    assert torch.equal(pictures.real, pictures.each.clean.float())
    assert not pictures.is_end.any()
    # the numbers of both begin at 0, and what is drawn for them is not the same
    assert ends.each.numbers[:2] == pictures.each.numbers
    assert abs(float((ends.draws.over[:2] * pictures.draws.over).mean())) < 0.1
    if making is made_add:
        assert not torch.isclose(ends.window[:2], pictures.window).any()
        assert not torch.isclose(ends.changes[:2], pictures.changes).any()

    def loss(*parts: Part) -> float:
        found = of.loss("discriminator", of_parts(*parts), 0.5)
        assert found is not None
        return float(found.value.detach())

    assert loss(ends, pictures) == pytest.approx((3 * loss(ends) + 2 * loss(pictures)) / 5, rel=1e-4)


def test_the_streams_are_those_that_the_settings_speak_of():
    of = made(pictures=0.5)
    with pytest.raises(ConfigError, match=r"pictures=0\.5: pairs alone came"):
        of.prepare(pair_batch(of), 0.5)
    for share in (0.0, 1.0):
        of = made(pictures=share)
        with pytest.raises(ConfigError, match=f"pictures={share}: pictures came beside pairs"):
            of.prepare(Mixed(pair_batch(of), pairs(1)), 0.5)
