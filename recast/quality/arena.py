"""Blind side-by-side votes: which pairs a rater is shown, the file of votes, and what the votes say.

`plan` chooses the pairs and the sides by a seed, `append` and `read` keep the votes, `summary` rates the systems.
The page that asks is in `arena_page`.
"""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from recast.errors import InputError
from recast.quality import preference

SCHEMA = 1
CRITERIA = {
    "instruction": "Which one follows the instruction better?",
    "kept": "Which one keeps the rest better as it was?",
    "overall": "Which one looks better overall?",
}
ANSWERS = ("left", "right", "tie")
BLOCK = 10  # after so many pairs come one repeat and one control: 8.3 % of all each
OBVIOUS = ("oracle", "no-op")  # the better one first; a rater who prefers the other one is not reading


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One pair to look at. kind: pair, repeat (an earlier pair with its sides exchanged), or control."""

    item: str
    turn: int
    base: str
    left: str
    right: str
    kind: str

    def exchanged(self, kind: str) -> Ballot:
        return Ballot(item=self.item, turn=self.turn, base=self.base, left=self.right, right=self.left, kind=kind)


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer to one criterion of a ballot, by one rater. ms: from both pictures being there to the answer."""

    suite: str
    rater: str
    ballot: Ballot
    criterion: str
    answer: str
    ms: int
    seed: int

    def score(self) -> float:
        """1 if the left one won, 0 if the right one did, 0.5 for a tie."""
        return {"left": 1.0, "right": 0.0, "tie": 0.5}[self.answer]

    def winner(self) -> str | None:
        return {"left": self.ballot.left, "right": self.ballot.right, "tie": None}[self.answer]


def plan(results: Mapping[str, Any], *, rater: str, seed: int, count: int | None = None) -> list[Ballot]:
    """The ballots of a rater, `count` pairs (None: all there are) with their repeats and controls among them.

    results: as `recast.quality.table.results` gives them. Each item comes once before any comes twice, each time with
    another pair. Of a chain only the first turn comes: at every later one each system edited its own last picture, so
    the two sides answer different questions. Raises InputError where no item has the pictures of two systems.
    """
    rng = random.Random(f"{seed} {rater}")
    contenders = [system["id"] for system in results["systems"] if not system["control"]]
    rounds: dict[int, list[Ballot]] = defaultdict(list)
    controls = []
    for item in results["items"]:
        if item["turn"] > 0:
            continue
        ready = {slug for slug, one in item["systems"].items() if one["status"] == "ok" and one["picture"]}
        pairs = list(combinations([slug for slug in contenders if slug in ready], 2))
        rng.shuffle(pairs)
        for number_of, pair in enumerate(pairs):
            rounds[number_of].append(_ballot(item, pair, "pair", rng))
        if ready.issuperset(OBVIOUS):
            controls.append(_ballot(item, OBVIOUS, "control", rng))
    if not rounds:
        raise InputError(
            "runs: no item with the pictures of two systems came; runs of two systems over one suite accepted"
        )
    for ballots in rounds.values():
        rng.shuffle(ballots)
    rng.shuffle(controls)
    shown = [ballot for number_of in sorted(rounds) for ballot in rounds[number_of]][:count]
    found: list[Ballot] = []
    for start in range(0, len(shown), BLOCK):
        block = shown[start : start + BLOCK]
        if controls:
            block.insert(rng.randrange(len(block) + 1), controls.pop())
        # Of the pairs before these, or, where there are none, of the first half of these: it must not come at once.
        earlier = shown[max(0, start - BLOCK) : start] or shown[: (len(shown[:BLOCK]) + 1) // 2]
        found += [*block, rng.choice(earlier).exchanged("repeat")]
    return found


def append(path: Path, vote: Vote) -> None:
    """Add one vote to the file, in one write: several raters may share it, and a crash leaves whole lines."""
    data = asdict(vote)
    line = json.dumps({"schema": SCHEMA, **data.pop("ballot"), **data}, ensure_ascii=False) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
        os.fsync(file)
    finally:
        os.close(file)


def read(path: Path) -> list[Vote]:
    """The votes in a file, in their order; none where there is no file, or an empty one.

    Raises InputError for a line that is none.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    votes = []
    for number_of, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            data = json.loads(line)
            if data.pop("schema") != SCHEMA or data["answer"] not in ANSWERS or data["criterion"] not in CRITERIA:
                raise ValueError("another form")
            ballot = Ballot(**{field.name: data.pop(field.name) for field in fields(Ballot)})
            votes.append(Vote(ballot=ballot, **data))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"votes={str(path)!r}: line {number_of} is no vote ({error}); "
                "lines written by `recast arena` accepted; delete the line"
            ) from None
    return votes


def open_questions(ballots: Sequence[Ballot], votes: Iterable[Vote], rater: str) -> list[tuple[Ballot, str]]:
    """What a rater has yet to answer: ballot and criterion, in the order of the plan."""
    answered = {(vote.ballot, vote.criterion) for vote in votes if vote.rater == rater}
    return [(ballot, name) for ballot in ballots for name in CRITERIA if (ballot, name) not in answered]


def summary(votes: Sequence[Vote], *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Ratings by criterion with 95 % intervals, systems that are not told apart, and how far raters are to be trusted.

    Only pairs are rated: repeats and controls are for the raters. elo depends on the order of the votes. A rating
    that the votes do not determine is None, with a note that says why.
    Raises InputError where no votes came, and for votes of several suites.
    """
    if not votes:
        raise InputError("votes: none came; a file with at least one line accepted; vote first")
    suites = sorted({vote.suite for vote in votes})
    if len(suites) > 1:
        raise InputError(
            f"votes: of {len(suites)} suites ({', '.join(one[:8] for one in suites)}); of one accepted; split the file"
        )
    pairs = [vote for vote in votes if vote.ballot.kind == "pair"]
    return {
        "schema": SCHEMA,
        "suite": suites[0],
        "votes": len(votes),
        "criteria": [
            _rated(name, [vote for vote in pairs if vote.criterion == name], resamples, seed)
            for name in CRITERIA
            if any(vote.criterion == name for vote in pairs)
        ],
        "raters": [_trusted(name, votes) for name in sorted({vote.rater for vote in votes})],
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """A summary as text."""
    said = [f"{found['votes']} votes on suite {found['suite'][:8]}"]
    for one in found["criteria"]:
        said += ["", f"{one['criterion']}: {CRITERIA[one['criterion']]} ({one['votes']} votes, {one['ties']} ties)"]
        width = max(len(row["system"]) for row in one["ratings"])
        said.append(f"  {'':{width}}  rating  95 % interval  Elo (depends on the order)")
        for row in one["ratings"]:
            rating = "–" if row["rating"] is None else f"{row['rating']:.0f}"
            span = "–" if row["low"] is None else f"[{row['low']:.0f}, {row['high']:.0f}]"
            said.append(f"  {row['system']:{width}}  {rating:>6}  {span:>13}  {row['elo']:.0f}")
        said += [f"  not told apart: {a} and {b}" for a, b in one["tied"]]
        said += [f"  {one['note']}"] if one["note"] else []
    said.append("")
    for one in found["raters"]:
        said.append(
            f"{one['rater']}: {one['votes']} votes; the same answer to {one['same']} of {one['repeats']} repeats; "
            f"right on {one['right']} of {one['controls']} controls; left chosen {_percent(one['left_share'])}"
        )
    return said


def _ballot(item: Mapping[str, Any], pair: Sequence[str], kind: str, rng: random.Random) -> Ballot:
    left, right = rng.sample(list(pair), 2)
    return Ballot(item=item["key"], turn=item["turn"], base=item["base"], left=left, right=right, kind=kind)


def _rated(criterion: str, votes: Sequence[Vote], resamples: int, seed: int) -> dict[str, Any]:
    counted = [
        preference.Vote(vote.ballot.left, vote.ballot.right, vote.score(), vote.rater, vote.ballot.base)
        for vote in votes
    ]
    elo = preference.online_elo(counted)
    rows: list[dict[str, Any]] = []
    tied: list[list[str]] = []
    note = None
    try:
        ratings = preference.bradley_terry_interval(counted, resamples=resamples, seed=seed)
    except InputError:  # the only thing left to refuse: groups of systems that never met
        note = "no rating: some systems never met, not even through others; more votes needed"
        rows = [{"system": name, "rating": None, "low": None, "high": None, "elo": elo[name]} for name in sorted(elo)]
    else:
        for i, name in enumerate(ratings.models):
            low, high = ((None if ends is None else float(ends[i])) for ends in (ratings.low, ratings.high))
            rows.append(
                {"system": name, "rating": float(ratings.values[i]), "low": low, "high": high, "elo": elo[name]}
            )
        rows.sort(key=lambda row: (-row["rating"], row["system"]))
        tied = [[a["system"], b["system"]] for a, b in combinations(rows, 2) if ratings.tied(a["system"], b["system"])]
    ties = sum(vote.answer == "tie" for vote in votes)
    return {"criterion": criterion, "votes": len(votes), "ties": ties, "ratings": rows, "tied": tied, "note": note}


def _trusted(rater: str, votes: Sequence[Vote]) -> dict[str, Any]:
    """How often a rater answered a repeat as before, and an obvious control rightly; and a leaning to one side.

    Of a control only the question about the instruction is obvious: doing nothing keeps everything.
    """
    own = [vote for vote in votes if vote.rater == rater]
    first = {(vote.ballot, vote.criterion): vote for vote in own}
    again = [
        (first[vote.ballot.exchanged("pair"), vote.criterion], vote)
        for vote in own
        if vote.ballot.kind == "repeat" and (vote.ballot.exchanged("pair"), vote.criterion) in first
    ]
    controls = [vote for vote in own if vote.ballot.kind == "control" and vote.criterion == "instruction"]
    decided = [vote for vote in own if vote.answer != "tie"]
    return {
        "rater": rater,
        "votes": len(own),
        "repeats": len(again),
        "same": sum(before.winner() == after.winner() for before, after in again),
        "controls": len(controls),
        "right": sum(vote.winner() == OBVIOUS[0] for vote in controls),
        "left_share": sum(vote.answer == "left" for vote in decided) / len(decided) if decided else None,
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
