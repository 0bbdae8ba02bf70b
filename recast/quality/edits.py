"""Did it change what was asked, and keep the rest? Scores of pictures whose truth a world knows.

A turn's truth is the target scene, the attributes that the instruction names (`asked`), those that it leaves to the
model (`free`: which beach, say), and who must be the same person as whom (`identity`). Everything else must stay.

Source of the definitions: the README of this benchmark, docs/evaluation.md; the set scores follow PaintBench.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recast.quality import metrics, turns
from recast.quality.store import Mode, Result, Score
from recast.quality.suites import Item, pixels
from recast.world import checks, measure
from recast.world.draw import draw
from recast.world.scene import Scene, from_json

LOCAL_SHARE = 0.5
"""An edit is local, and has a precision, if its answer differs from the source in at most this share of pixels."""
CHAIN = ("instructed", "held", "kept", "quality")


@dataclass(frozen=True)
class Truth:
    """What the world knows of one turn."""

    target: Scene
    source: Scene | None
    asked: tuple[str, ...]
    free: tuple[str, ...]
    identity: tuple[int, ...]
    base: int = 0
    photograph: np.ndarray | None = None


def truth_of(item: Item, number: int) -> Truth:
    """The truth of a turn; that of a chain's later turn starts from the target before it."""
    raw = item.turns[number].truth
    assert raw is not None, f"{item.key}: no truth"
    contexts: Sequence[Any] = (item.truth or {}).get("contexts", ())
    before = item.turns[number - 1].truth if number else None
    base = raw.get("base", 0)
    source = from_json(before["scene"]) if before else from_json(contexts[base]) if contexts else None
    path = (item.truth or {}).get("photograph")
    return Truth(
        target=from_json(raw["scene"]),
        source=source,
        asked=tuple(raw["asked"]),
        free=tuple(raw.get("free", ())),
        identity=tuple(raw.get("identity", ())),
        base=base,
        photograph=pixels(item.contexts[0].parents[2] / path) if path else None,
    )


def has_truth(item: Item) -> bool:
    return all(turn.truth is not None for turn in item.turns)


def score(item: Item, results: Sequence[Result | None], pictures: Sequence[np.ndarray | None]) -> Iterator[Score]:
    """The scores of all turns of an item, from its results and their pictures (None where there is none)."""
    mode: Mode = next((result.mode for result in results if result is not None), "free")
    sources = item.sources()
    first = last = sources[truth_of(item, 0).base] if sources else None
    requests: list[dict[str, Any]] = []
    states: list[dict[str, Any]] = []
    touched = np.zeros((item.height, item.width), bool)
    for number, (result, picture) in enumerate(zip(results, pictures, strict=True)):
        if result is None:
            return
        truth = truth_of(item, number)
        answer = item.turns[number].answer
        right = pixels(answer) if answer is not None else None
        before = last if mode == "free" or number == 0 else pixels(item.turns[number - 1].answer or answer)  # type: ignore[arg-type]
        unit = _Unit(item.key, number, mode)
        if first is not None and right is not None:
            touched |= (right != first).any(2)
        # All so far, as the target now has it: an earlier turn's title may have changed since, its thing may be gone
        asked = (*_so_far(requests), *truth.asked)
        requests.append({path: checks.wanted(truth.target, path) for path in asked})
        if picture is None:
            names = _columns(item, truth, first, right)
            yield from _lost(unit, names) if result.status == "ok" else _failed(unit, names, result)
            states.append({})
            continue
        shown, flags = metrics.register(picture, item.width, item.height)
        found = checks.read(
            shown, truth.target, truth.source, _so_far(requests), truth.free, photograph=truth.photograph
        )
        states.append({path: found.value(path) for path in _so_far(requests)})
        now = {path: found.holds(path) for path in truth.asked}
        detail = {"flags": list(flags), "found": {path: _plain(found.value(path)) for path in truth.asked}}
        if now:  # asked for nothing, a picture can only keep or lose: that is the precision's to say
            yield unit.score("instruction", float(all(now.values())), detail)
            yield unit.score("instruction_soft", float(np.mean(list(now.values()))))
        consistency = None
        if truth.identity:
            parts = [_identity(shown, found, truth, index) for index in truth.identity]
            same = [value for part in parts for value in part.values()]
            consistency = float(np.mean(same)) if same else 0.0
            yield unit.score("consistency", consistency, {"components": [_plain(part) for part in parts]})
            yield unit.score("consistency_all", float(all(value == 1 for value in same) and bool(same)))
        if before is not None and right is not None and len(item.turns) == 1:
            yield from _precision(unit, before, shown, _granted(truth, found, right))
        if len(item.turns) > 1 and first is not None:
            yield from _chain(unit, requests, states, first, shown, touched, consistency)
        last = picture


def _precision(unit: _Unit, before: np.ndarray, shown: np.ndarray, right: np.ndarray) -> Iterator[Score]:
    """Local edit precision where the edit is local; what was kept where anything was to be kept."""
    changed = (before != right).any(2)
    if changed.mean() <= LOCAL_SHARE:
        found = metrics.local_edit_precision(before, shown, right)
        yield unit.score("precision", found["precision"], {"edited": found["edited"], "kept": found["kept"]})
        yield unit.score("iou", metrics.strict_iou(before, shown, right))
    if not changed.all():
        yield unit.score("psnr_kept", _psnr(before[~changed], shown[~changed]))
    yield unit.score("psnr_answer", metrics.psnr(shown, right))


def _chain(
    unit: _Unit,
    requests: Sequence[Mapping[str, Any]],
    states: Sequence[Mapping[str, Any]],
    first: np.ndarray,
    shown: np.ndarray,
    touched: np.ndarray,
    consistency: float | None,
) -> Iterator[Score]:
    instructed = float(turns.instructed_shares(requests, states, checks.equal)[-1])
    kept = metrics.kept(first, shown, ~touched)
    quality = float(turns.turn_scores([instructed], [kept], None if consistency is None else [consistency])[0])
    yield unit.score("instructed", instructed)
    yield unit.score("held", float(instructed == 1))
    yield unit.score("kept", 1.0 if kept is None else kept)
    yield unit.score("quality", quality)
    if consistency is not None:
        yield unit.score("identity", consistency)
    drifted = turns.drift(first, shown)
    for name in ("colour_shift", "sharpness"):
        if drifted[name] is not None:
            yield unit.score(name, drifted[name])


def _identity(shown: np.ndarray, found: checks.Found, truth: Truth, index: int) -> dict[str, float]:
    """How well each visible component of a character is as it was; those that the words leave open do not count."""
    components = checks.identity(shown, found.scene, truth.target, index)
    return {name: value for name, value in components.items() if f"characters.{index}.{name}" not in truth.free}


def _columns(item: Item, truth: Truth, first: np.ndarray | None, right: np.ndarray | None) -> list[str]:
    """The metrics a turn counts in, whatever comes of it."""
    names = ["instruction", "instruction_soft"] if truth.asked else []
    names += ["consistency", "consistency_all"] if truth.identity else []
    if len(item.turns) > 1:
        names += [*CHAIN, *(["identity"] if truth.identity else [])]
    elif first is not None and right is not None and (first != right).any(2).mean() <= LOCAL_SHARE:
        names += ["precision", "iou"]
    return names


def _failed(unit: _Unit, names: Sequence[str], result: Result) -> Iterator[Score]:
    """What a picture that never came scores: 0 wherever it would have counted."""
    for name in names:
        yield replace(unit.score(name, 0.0), check="none", reason=f"{result.status}: {result.reason}")


def _lost(unit: _Unit, names: Sequence[str]) -> Iterator[Score]:
    """A picture that came and is gone from the run: nothing can be said of it."""
    for name in names:
        yield replace(unit.score(name, None), check="none", reason="the picture is gone or changed; make it anew")


def _granted(truth: Truth, found: checks.Found, right: np.ndarray) -> np.ndarray:
    """The right answer with the model's own choices where it was free to choose, as far as they can be read."""
    scene = truth.target
    for path in truth.free:
        value = found.value(path)
        if value not in (measure.UNKNOWN, None) and checks.wanted(scene, path) is not None:
            scene = checks.with_value(scene, path, value)
    scene = checks.with_value(scene, "background", scene.background)  # and what follows from it
    if scene == truth.target:
        return right
    return draw(scene, right.shape[1], right.shape[0], photograph=truth.photograph)


def _so_far(requests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for request in requests for path in request))


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return metrics.psnr(a[None], b[None])


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@dataclass(frozen=True)
class _Unit:
    item: str
    turn: int
    mode: Mode

    def score(self, metric: str, value: float | None, detail: Mapping[str, Any] | None = None) -> Score:
        return Score(
            item=self.item,
            turn=self.turn,
            mode=self.mode,
            metric=metric,
            value=value,
            check="world",
            detail=detail or {},
        )
