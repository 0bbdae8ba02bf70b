"""Systems whose right score is known: they stand in every table, so that a reader can see what its numbers mean.

no-op      gives back what it was given          success 0, preservation 1
oracle     gives the right answer                everything 1; only where an answer is known
floor      the right answer, or else the source, through the model's autoencoder and back
           the most that a latent system with this autoencoder can reach
stranger   gives a picture of another base       identity at the level of strangers, preservation about 0
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.quality.suites import Item, Suite, pixels
from recast.quality.systems.contract import Failed, Made, Request

if TYPE_CHECKING:
    from recast.pipeline import Pipeline

RoundTrip = Callable[[np.ndarray], np.ndarray]
"""A picture (H, W, 3) uint8 through an autoencoder and back, same size."""


class Control:
    """A system that knows the suite. answer: the picture for an item's turn, given what the request shows."""

    is_control = True
    concurrency = 1

    def __init__(self, name: str, suite: Suite, answer: Callable[[Item, Request], np.ndarray], **about: Any) -> None:
        self.name = name
        self._suite = suite
        self._answer = answer
        self._about = about

    def describe(self) -> dict[str, Any]:
        return {"control": self.name, **self._about}

    def price_usd(self, request: Request) -> float:
        return 0.0

    def make(self, request: Request) -> Made:
        started = time.perf_counter()
        made = self._answer(self._suite.by_key[request.item], request)
        return Made(pixels=made, seconds=time.perf_counter() - started, cost_usd=0.0)


def controls(suite: Suite, round_trip: RoundTrip | None = None, autoencoder: str | None = None) -> list[Control]:
    """The controls that a suite allows: oracle only if every turn has an answer, floor only with an autoencoder.

    suite: the whole of it, also where only a part is asked: a stranger must not depend on the part. autoencoder: the
    name of the model whose autoencoder `round_trip` is.
    """

    def no_op(item: Item, request: Request) -> np.ndarray:
        return request.contexts[_base(item, request)] if request.contexts else _blank(request)

    def oracle(item: Item, request: Request) -> np.ndarray:
        answer = item.turns[request.turn].answer
        if answer is None:
            raise Failed("error", "no answer is known")
        return pixels(answer)

    def floor(item: Item, request: Request) -> np.ndarray:
        assert round_trip is not None
        answer = item.turns[request.turn].answer
        return round_trip(pixels(answer) if answer else request.contexts[_base(item, request)])

    strangers = _strangers(suite)

    def stranger(item: Item, request: Request) -> np.ndarray:
        other = strangers[item.key]
        path = other.turns[0].answer if item.turns[0].answer or not other.contexts else other.contexts[0]
        return pixels(path or other.contexts[0])

    has_answers = all(turn.answer for item in suite.items for turn in item.turns)
    made = [Control("no-op", suite, no_op)]
    if has_answers:
        made.append(Control("oracle", suite, oracle))
    if round_trip is not None:
        made.append(Control(f"floor of {autoencoder}", suite, floor, autoencoder=autoencoder))
    if strangers:
        made.append(Control("stranger", suite, stranger))
    return made


def round_trip(model: Pipeline) -> RoundTrip:
    """A picture of any size through a model's autoencoder and back, padded to whole tokens and cut again."""
    import torch

    from recast.pixels import geometry, image

    def there_and_back(picture: np.ndarray) -> np.ndarray:
        fit = geometry.own_size(picture.shape[1], picture.shape[0], model.config.pixels_per_token)
        pixels = image.to_pixels(geometry.apply(fit, picture)).to(model.device, model.dtype)
        with torch.inference_mode():
            made = model.autoencoder.decode(model.autoencoder.encode(pixels))
        return geometry.undo(fit, image.from_pixels(made)[0])

    return there_and_back


def _strangers(suite: Suite) -> dict[str, Item]:
    """For every item one of another base, of the same size where there is one: the next in order, round and round.

    None at all where all items have one base: nobody is a stranger there.
    """
    items = suite.items
    found = {}
    for place, item in enumerate(items):
        others = [other for other in (*items[place + 1 :], *items[:place]) if other.base != item.base]
        same = [other for other in others if (other.width, other.height) == (item.width, item.height)]
        if not others:
            return {}
        found[item.key] = (same or others)[0]
    return found


def _base(item: Item, request: Request) -> int:
    """Which of the pictures is to be changed: the first, unless the truth says that it is another."""
    return int((item.turns[request.turn].truth or {}).get("base", 0))


def _blank(request: Request) -> np.ndarray:
    return np.full((request.height, request.width, 3), 128, np.uint8)
