"""A small suite of pictures with known answers, and systems that answer it well, badly or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recast.quality import suites
from recast.quality.suites import Suite, pixels
from recast.quality.systems.contract import Failed, Made, Request
from recast.world.folder import Writer


def square(colour: tuple[int, int, int], place: int = 20, side: int = 96) -> np.ndarray:
    """A coloured square on grey."""
    picture = np.full((side, side, 3), 120, np.uint8)
    picture[place : place + 24, place : place + 24] = colour
    return picture


def small_suite(folder: Path, items: int = 4, chain: int = 3) -> Suite:
    """Edits of single squares, and one chain."""
    writer = Writer(folder)
    rows: list[dict[str, Any]] = []
    for number in range(items):
        source = writer.picture(square((200, 30, 30 + number)))
        answer = writer.picture(square((30, 30, 200 + number)))
        turn = {"instruction": f"make it blue {number}", "answer": answer}
        rows.append(
            {
                "key": f"edit-{number}",
                "category": "local" if number % 2 else "global",
                "kind": "colour",
                "base": f"base-{number // 2}",
                "width": 96,
                "height": 96,
                "seed": number,
                "contexts": [source],
                "turns": [turn],
            }
        )
    if chain:
        turns = [
            {"instruction": f"step {n}", "answer": writer.picture(square((10 * n, 200, 10)))}
            for n in range(1, chain + 1)
        ]
        first = writer.picture(square((0, 200, 10)))
        rows.append({**rows[0], "key": "chain-0", "category": "chain", "contexts": [first], "turns": turns})
    writer.finish(rows, name="small", version="1", licence="CC0")
    return suites.load(folder)


class Answers:
    """A system that gives the answers of a suite, but fails where it is told to. Counts what it was asked."""

    concurrency = 1

    def __init__(self, suite: Suite, fail: dict[tuple[str, int], Failed] | None = None, name: str = "answers") -> None:
        self.suite, self.fail, self.name = suite, fail or {}, name
        self.asked: list[Request] = []

    def describe(self) -> dict[str, Any]:
        return {"adapter": "test", "name": self.name}

    def price_usd(self, request: Request) -> float | None:
        return 0.0

    def make(self, request: Request) -> Made:
        self.asked.append(request)
        if (request.item, request.turn) in self.fail:
            raise self.fail[request.item, request.turn]
        answer = self.suite.by_key[request.item].turns[request.turn].answer
        assert answer is not None
        return Made(pixels=pixels(answer), seconds=0.5)
