"""Pictures beside a teacher's pairs: two streams as one, so that a discriminator sees both kinds of what is real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recast.errors import ConfigError
from recast.train.data.example import Batch
from recast.train.distill.pairs import PairBatch
from recast.train.stage import Batches


@dataclass(frozen=True)
class Mixed:
    """A batch of each stream: one step's."""

    pairs: PairBatch
    pictures: Batch


def counts(batch: int, share: float, parts: int = 1) -> tuple[int, int]:
    """How many pairs, and how many pictures, of a batch of `batch`, where `share` of it is pictures.

    Both can be cut into `parts` equal parts, one for each process that reads examples of its own, and neither is 0.
    Raises ConfigError where there are no such numbers.
    """
    if not 0 < share < 1:
        raise ConfigError(f"pictures={share}: a share above 0 and below 1 accepted for two streams; or read one alone")
    if batch % parts or batch < 2 * parts:
        raise ConfigError(
            f"batch={batch}: pairs and pictures for {parts} processes needed; a multiple of {parts} from {2 * parts} "
            "accepted"
        )
    pictures = min(max(round(batch * share / parts), 1), batch // parts - 1) * parts
    return batch - pictures, pictures


class Beside:
    """A stream of pairs and one of pictures, a batch of each a step. Implements `stage.Batches`; a batch is `Mixed`.

    What share pictures have follows from the batches of the two: see `counts`.
    """

    def __init__(self, pairs: Batches, pictures: Batches) -> None:
        self.pairs, self.pictures = pairs, pictures

    def __iter__(self) -> Iterator[Mixed]:
        for pairs, pictures in zip(self.pairs, self.pictures, strict=True):
            yield Mixed(pairs, pictures)

    def state(self) -> dict[str, Any]:
        return {"kind": "beside", "pairs": self.pairs.state(), "pictures": self.pictures.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises ConfigError for the state of another kind of stream."""
        if state.get("kind") != "beside":
            raise ConfigError(
                f"batches: the run read {state.get('kind', 'one stream')}, pairs and pictures came; go on as it began, "
                "or begin a run in another folder"
            )
        self.pairs.load_state(state["pairs"])
        self.pictures.load_state(state["pictures"])

    def close(self) -> None:
        try:
            self.pairs.close()
        finally:
            self.pictures.close()
