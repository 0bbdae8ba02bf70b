"""Instructions to pictures: every variant of one base, through any generator, each written as soon as it is there.

Variants go through the network in groups that share one look at the base and one cache of its context. A face that is
lost is tried again with other seeds, a bounded number of times; then the variant is rejected and says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import GateFailed
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.brief import Level

TOGETHER = 10
"""Variants in one request, which encodes the base once; a run that is killed loses at most so many."""
SEED_STRIDE = 1_000
"""Between the first try of a variant and the next: more than a set has variants."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One variant to make. name: of its files. tries: seeds in the order in which they are tried."""

    name: str
    level: Level
    prompt: str
    tries: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Made:
    """One variant as it came out. file: none where it was rejected before there was a picture. tried: seed and fate."""

    name: str
    level: str
    seed: int
    is_kept: bool
    reason: str = ""
    file: str | None = None
    similarity: Mapping[str, float | None] = field(default_factory=dict)
    tried: tuple[tuple[int, str], ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """How far a stage is: done of all, in steps of the network where it runs; say: what is worked at."""

    stage: str
    done: int
    all: int
    say: str = ""


Judge = Callable[[np.ndarray], tuple[Mapping[str, float | None], str]]
"""A picture (H, W, 3) uint8 to each character's similarity, and why it is rejected, "" where it is not."""


def make(
    asked: Sequence[Asked],
    *,
    generator: Any,
    base: Path,
    folder: Path,
    judge: Judge,
    options: Mapping[str, Any],
    references: Mapping[str, Any] | None = None,
    together: int = TOGETHER,
) -> Generator[Step | Made, None, None]:
    """Make the variants in their order; yields steps of the work, and each variant once it is decided.

    generator: `start_edit(image, prompts, **options) -> Run` (recast.pipeline, or recast.retouch around it, whose
    mask, boxes and preserve belong to `options`); one that can `look_at` a picture does so once for all. references:
    context images by name. together: in one request; a run that is killed loses at most so many. Pictures are written
    to folder/NAME.png, with their recipes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    look_at = getattr(generator, "look_at", None)
    source = base if look_at is None else look_at(base)
    waiting = list(asked)
    decided = 0
    while waiting:
        group = _consecutive(waiting[:together])
        waiting = waiting[len(group) :]
        again: list[tuple[Asked, tuple[tuple[int, str], ...]]] = []
        for each, outcome in (yield from _group(group, generator, source, options, references, decided, len(asked))):
            made = _decide(each, 0, outcome, folder, judge, (), is_last=len(each.tries) == 1)
            if isinstance(made, Made):
                decided += 1
                yield made
            else:
                again.append((each, made))
        for each, tried in again:
            made = yield from _retry(
                each, tried, generator, source, folder, judge, options, references, decided, len(asked)
            )
            decided += 1
            yield made


@dataclass(frozen=True)
class _Outcome:
    result: Any  # of the generator; None where it refused
    index: int
    refused: str = ""
    seconds: float = 0.0


def _consecutive(asked: Sequence[Asked]) -> list[Asked]:
    """The first of them whose first seeds count up by one: a request for several pictures counts its seeds so."""
    group = list(asked[:1])
    for each in asked[1:]:
        if each.tries[0] != group[-1].tries[0] + 1:
            break
        group.append(each)
    return group


def _group(
    group: Sequence[Asked],
    generator: Any,
    source: Any,
    options: Mapping[str, Any],
    references: Mapping[str, Any] | None,
    decided: int,
    count: int,
) -> Generator[Step, None, list[tuple[Asked, _Outcome]]]:
    """One request for the first try of a group."""
    started = time.perf_counter()
    prompts = [each.prompt for each in group]
    named = {"references": references} if references else {}
    try:
        run = generator.start_edit(
            source, prompts if len(prompts) > 1 else prompts[0], seed=group[0].tries[0], **named, **options
        )
        for step, _ in enumerate(run, start=1):
            yield Step("variants", decided * run.of // len(group) + step, count * run.of // len(group), group[0].name)
        result = run.result
    except GateFailed as error:
        return [(each, _Outcome(None, 0, str(error))) for each in group]
    seconds = (time.perf_counter() - started) / len(group)
    failures = dict(getattr(result, "failures", {}))
    outcomes, index = [], 0
    for i, each in enumerate(group):
        if i in failures:
            outcomes.append((each, _Outcome(None, 0, failures[i], seconds)))
        else:
            outcomes.append((each, _Outcome(result, index, "", seconds)))
            index += 1
    return outcomes


def _retry(
    each: Asked,
    tried: tuple[tuple[int, str], ...],
    generator: Any,
    source: Any,
    folder: Path,
    judge: Judge,
    options: Mapping[str, Any],
    references: Mapping[str, Any] | None,
    decided: int,
    count: int,
) -> Generator[Step, None, Made]:
    """The further tries of one variant."""
    for attempt in range(1, len(each.tries)):
        seeded = Asked(name=each.name, level=each.level, prompt=each.prompt, tries=each.tries[attempt:])
        ((_, outcome),) = yield from _group([seeded], generator, source, options, references, decided, count)
        made = _decide(each, attempt, outcome, folder, judge, tried, is_last=attempt == len(each.tries) - 1)
        if isinstance(made, Made):
            return made
        tried = made
    raise AssertionError("the last try decides")


def _decide(
    each: Asked,
    attempt: int,
    outcome: _Outcome,
    folder: Path,
    judge: Judge,
    tried: tuple[tuple[int, str], ...],
    *,
    is_last: bool,
) -> Made | tuple[tuple[int, str], ...]:
    """The variant, kept or rejected; or, where another try is left, all tries so far."""
    seed = each.tries[attempt]
    similarity: Mapping[str, float | None] = {}
    reason, file = outcome.refused, None
    if outcome.result is not None:
        picture: Picture = outcome.result.pictures[outcome.index]
        similarity, reason = judge(picture.rgb)
    tried = (*tried, (seed, reason or "kept"))
    if reason and not is_last:
        return tried
    if outcome.result is not None:
        path = folder / f"{each.name}.png"
        outcome.result.save(path, index=outcome.index)
        file = path.name
    return Made(
        name=each.name,
        level=each.level.name,
        seed=seed,
        is_kept=not reason,
        reason=reason,
        file=file,
        similarity=similarity,
        tried=tried,
        seconds=round(outcome.seconds, 3),
    )


def unedited(asked: Asked, base: Path, folder: Path, judge: Judge) -> Made:
    """The variant that is the base itself."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = image.read(base, name="base")
    similarity, reason = judge(picture.rgb)
    path = folder / f"{asked.name}.png"
    image.write_bytes(base.read_bytes(), path)
    return Made(
        name=asked.name,
        level=asked.level.name,
        seed=asked.tries[0],
        is_kept=not reason,
        reason=reason,
        file=path.name,
        similarity=similarity,
        tried=((asked.tries[0], reason or "kept"),),
    )
