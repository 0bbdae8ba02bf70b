"""What an edit changed: where it lies on its source, how its colours drifted, and what then still differs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from recast.retouch import colour, difference, doubt, register
from recast.retouch.colour import NO_FIT, ColourFit
from recast.retouch.difference import Difference
from recast.retouch.frame import Frame
from recast.retouch.register import Registration
from recast.retouch.source_half import OnGrid
from recast.retouch.thresholds import Thresholds

Look = Literal["auto", "local", "global"]


class Changes(NamedTuple):
    """frame: with the edit laid as it fits best. labels: (gh, gw) int32, the regions of change, numbered; 0 is none."""

    frame: Frame
    registration: Registration
    colour: ColourFit
    difference: Difference
    labels: np.ndarray


class Clock:
    """Seconds spent, by what on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 4)


def find_changes(
    frame: Frame, seen: OnGrid, *, held: np.ndarray | None, look: Look, thresholds: Thresholds, clock: Clock
) -> Changes:
    """The edit of a frame laid on its source, its colours brought back, and the regions in which it still differs.

    seen: the source on the grid of the frame. held, look: as of `merge`. Where a part was held, the rest shows other
    things, and most of the frame is far from the source, all that differs is change: no colour is brought back, and
    nothing of it doubted.
    """
    with clock("register"):
        frame, registration = frame.placed(thresholds.registering, seen.side, held=held)
        if look == "local":
            registration = register.accepted(registration)
        view, valid = frame.on_grid(registration)
    with clock("difference"):
        found = difference.difference(frame.source, view, valid, thresholds.differing, seen.looked)
        labels = difference.groups(found, thresholds.differing)
    if registration.is_new and look == "auto" and found.is_far(thresholds.judging):  # nothing that could have drifted
        return Changes(frame, replace(registration, pair=None), NO_FIT, found, labels)
    with clock("doubt"):  # a drift of colour looks like change until it is undone
        labels = doubt.founded(labels, frame.source, view, thresholds.doubting)
    first = view, found, labels
    kept = difference.away_from(labels > 0, found, thresholds.differing)
    with clock("register"):
        refined = frame.refined(kept, registration, thresholds.registering, seen.side)
        if not (refined is registration or (refined.is_identity and registration.is_identity)):
            view, valid = frame.on_grid(refined)
        registration = replace(refined, pair=None)  # what was found in both pictures is large, and has served
    for is_last in (False, True):  # what is unchanged shows better once the drift is undone
        with clock("colour"):
            fitted = (
                ColourFit(None, reason="a global look was asked for")
                if look == "global"
                else colour.fit(frame.source, view, kept, thresholds.colouring)
            )
            if not fitted.is_corrected and view is first[0]:  # what was found there stands
                _, found, labels = first
                break
            height, width = valid.shape
            corrected = fitted.apply(view, width=width, height=height)
            if fitted.is_corrected:
                corrected = colour.unclipped(corrected, view, frame.source, thresholds.colouring)
        with clock("difference"):
            found = difference.difference(frame.source, corrected, valid, thresholds.differing, seen.looked)
            labels = difference.groups(found, thresholds.differing)
        with clock("doubt"):
            labels = doubt.founded(labels, frame.source, corrected, thresholds.doubting)
        if is_last or not fitted.is_corrected:
            break
        kept = difference.away_from(labels > 0, found, thresholds.differing)
    return Changes(frame, registration, fitted, found, labels)
