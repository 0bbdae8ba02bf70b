"""Spelling: which glyphs stand on a line of pixels, found from left to right with the real glyphs of `lettering`.

A `View` is a picture, what lies behind the lettering, and the inks; `Strokes` are the glyphs put on it so far. Every
candidate is drawn and compared; columns that no later glyph can reach are settled. Distances are squared, in a
colour space where chroma counts for little: a JPEG blurs chroma over twice as many pixels as luma.

Where nothing is known of what lies behind, the picture itself stands in for it, so that only solid ink is compared,
and each pixel that the ink explains earns REWARD: without it, writing nothing would explain everything.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from recast.world import lettering
from recast.world.lettering import CHARACTERS

LUMA = (0.299, 0.587, 0.114)
CHROMA = 0.35
TO_METRIC = np.array(
    [
        LUMA,
        [CHROMA * c for c in (-0.1687, -0.3313, 0.5)],
        [CHROMA * c for c in (0.5, -0.4187, -0.0813)],
    ],
    np.float32,
).T
REWARD = 900.0
NOISE = 60.0  # squared distance per pixel that noise and compression may leave
UNEXPLAINED = 0.2  # of the distance without lettering that settled columns may still have
LEAST = 4  # pixels that a glyph has to explain
SAMPLES = 500  # pixels of a window that are looked at for a first choice of candidates
SHORTLIST = 8
ALIKE_EM = 96
ALIKE_PX = 2
MAX_STATES = 96
GREED = 0.03  # what a state gains, of the distance that its columns would have without lettering
FEW_STATES = 16
HOPELESS = 0.04
MORE_STATES = 6  # after a line that leaves next to nothing unexplained
GLYPHS = CHARACTERS.replace(" ", "")
SHADOW = lettering.SHADOW_STRENGTH / 255


def to_metric(colours: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of 0..255 where their squared distance is what this module calls distance. Black is 0."""
    return np.asarray(colours, np.float32) @ TO_METRIC


@dataclass(frozen=True)
class View:
    """A picture to read. pixels, behind: (H, W, 3) in the metric; is_known: whether `behind` is what lies behind.

    mask: (H, W) bool of the pixels to look at, such as those of one line; None: all. noise: the mean squared
    distance per pixel that the picture has from anything. slack: see UNEXPLAINED; more where other lines reach in.
    """

    pixels: np.ndarray
    behind: np.ndarray
    is_known: bool
    fill: np.ndarray
    outline: np.ndarray | None
    mask: np.ndarray | None = None
    noise: float = 0.0
    slack: float = UNEXPLAINED


@dataclass(frozen=True)
class Hand:
    """How a line is written: everything about its glyphs but which they are."""

    font: str
    em: int
    tilt: int

    @property
    def cap(self) -> int:
        return lettering.cap_px(self.font, self.em)


@dataclass(frozen=True)
class Bank:
    """All glyphs of a hand, one of each group of lookalikes, in one window: rows of a matrix.

    Times one vector made of the pixels in a window, it gives the distances of all glyphs at once.

    chars (C,); window: left, top, right, bottom from the pen; at: the (row, column) samples of the window (2, n);
    matrix (C, 10 n); cells (C,): samples in each glyph's own cell; advance, ink_left (C,): whole pixels.
    near (C, C): glyphs by how alike they are.
    """

    chars: str
    window: tuple[int, int, int, int]
    at: np.ndarray
    matrix: np.ndarray
    cells: np.ndarray
    advance: np.ndarray
    ink_left: np.ndarray
    near: np.ndarray


@lru_cache(maxsize=96)
def bank(hand: Hand, has_outline: bool) -> Bank:
    """The bank of a hand."""
    chars = "".join(c for c in GLYPHS if folded(c, hand.font) == c)
    glyphs = [lettering.glyph(hand.font, hand.em, hand.tilt, c) for c in chars]
    advance = lettering.advances(hand.font, hand.em)
    reach = lettering.shadow_px(hand.cap)
    left = min(0, *(g.left for g in glyphs))
    top = min(g.top for g in glyphs)
    right = max(g.left + g.fill.shape[1] for g in glyphs) + reach
    bottom = max(g.top + g.fill.shape[0] for g in glyphs) + reach
    shape = (bottom - top, right - left)
    step = max(1.0, (shape[0] * shape[1] / SAMPLES) ** 0.5)
    ys, xs = (np.arange(step / 2, side, step).astype(int) for side in shape)
    at = np.stack(np.meshgrid(ys, xs, indexing="ij")).reshape(2, -1)
    spill = int(lettering.outline_px(hand.cap)) + 1 if has_outline else 0  # of the next glyph's outline into this cell
    ink = np.zeros((len(chars), *shape), np.uint8)
    ring = np.zeros_like(ink)
    for index, g in enumerate(glyphs):
        lettering.stamp(ink[index], g.fill, g.left - left, g.top - top)
        lettering.stamp(ring[index], g.outline, g.left - left, g.top - top)
    f = ink[:, at[0], at[1]] / np.float32(255)
    o = ring[:, at[0], at[1]] / np.float32(255) if has_outline else np.zeros_like(f)
    cast = (ring if has_outline else ink)[:, at[0] - reach, at[1] - reach] / np.float32(255 / SHADOW)
    cast[:, (at < reach).any(0)] = 0
    o = (1 - f) * o
    s = (1 - f - o) * cast
    # Neighbours' fills lie over this glyph's outline beyond its cell, their outlines over what is behind inside it.
    spill = int(lettering.outline_px(hand.cap)) + 1 if has_outline else 0
    column = at[1] + left
    pens = np.array([advance[c] for c in chars])
    ends = column < pens[:, None]
    f, o, s = f * ends, o * (ends & (column >= 0)), s * (ends & (column >= 0))
    own = (column >= 0) & (column < pens[:, None] - spill) | (f + o > 0)
    inks = np.concatenate([f, o], 1)
    square = (inks * inks).sum(1)
    apart = square[:, None] + square[None] - 2 * inks @ inks.T
    edges = [g.left + int(np.argmax((g.fill > 127).any(0))) for g in glyphs]
    return Bank(
        chars,
        (left, top, right, bottom),
        at,
        np.concatenate([own, f, o, s, f * f, o * o, s * s, f * o, f * s, o * s], 1).astype(np.float32),
        np.maximum(own.sum(1), 1),
        pens,
        np.array(edges),
        np.argsort(apart, axis=1, kind="stable")[:, 1:],
    )


def weights(ink: np.ndarray, ring: np.ndarray | None, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of each pixel shows fill, outline and shadow (h, w) in 0..1, from masks uint8; the rest is behind."""
    f = ink * np.float32(1 / 255)
    if ring is None:
        return f, np.zeros_like(f), (1 - f) * lettering.shifted(f, reach) * np.float32(SHADOW)
    o = ring * np.float32(1 / 255)
    return f, (1 - f) * o, (1 - f) * (1 - o) * lettering.shifted(o, reach) * np.float32(SHADOW)


class Strokes:
    """Glyphs put on a part (rows, columns) of a view, and how far the picture is from them."""

    def __init__(self, view: View, hand: Hand, box: tuple[int, int, int, int]) -> None:
        """box: left, top, right, bottom of the part, cut to the picture."""
        height, width = view.pixels.shape[:2]
        self.left, self.top = max(0, box[0]), max(0, box[1])
        self.right, self.bottom = max(self.left, min(width, box[2])), max(self.top, min(height, box[3]))
        self.view, self.hand = view, hand
        self.reach = lettering.shadow_px(hand.cap)
        shape = (self.bottom - self.top, self.right - self.left)
        self.ink = np.zeros(shape, np.uint8)
        self.ring = None if view.outline is None else np.zeros(shape, np.uint8)

    def copy(self) -> Strokes:
        other = object.__new__(Strokes)
        other.__dict__.update(self.__dict__)
        other.ink = self.ink.copy()
        other.ring = None if self.ring is None else self.ring.copy()
        return other

    def put(self, char: str, x: int, y: int) -> None:
        """Add the glyph of a character, pen at (x, y)."""
        g = lettering.glyph(self.hand.font, self.hand.em, self.hand.tilt, char)
        lettering.stamp(self.ink, g.fill, x + g.left - self.left, y + g.top - self.top)
        if self.ring is not None:
            lettering.stamp(self.ring, g.outline, x + g.left - self.left, y + g.top - self.top)

    def drawn(self, x0: int, x1: int) -> tuple[np.ndarray, np.ndarray]:
        """What columns x0 to x1 of the part should show (h, w, 3), and how much of it is ink (h, w)."""
        a, b = x0 - self.left, x1 - self.left
        from_ = max(0, a - self.reach)
        ring = None if self.ring is None else self.ring[:, from_:b]
        f, o, s = (w[:, a - from_ :] for w in weights(self.ink[:, from_:b], ring, self.reach))
        view = self.view
        behind = view.behind[self.top : self.bottom, x0:x1]
        covered = f + o
        out = behind * (1 - covered - (s if view.is_known else 0))[..., None] + f[..., None] * view.fill
        if view.outline is not None:
            out += o[..., None] * view.outline
        return out, covered

    def distance(self, x0: int, x1: int) -> np.ndarray:
        """Per column of x0 to x1: the squared distance to the picture, less the reward where behind is unknown."""
        x0, x1 = max(self.left, x0), min(self.right, x1)
        if x1 <= x0:
            return np.zeros(0, np.float32)
        out, covered = self.drawn(x0, x1)
        off = self.view.pixels[self.top : self.bottom, x0:x1] - out
        if self.view.mask is not None:
            mask = self.view.mask[self.top : self.bottom, x0:x1]
            off, covered = off * mask[..., None], covered * mask
        apart = np.einsum("ijk,ijk->j", off, off)
        return apart if self.view.is_known else apart - REWARD * covered.sum(0)


@dataclass
class State:
    """A beginning of a line: its text, where its pen stands, and the distance of columns settled and not."""

    text: str
    start: int
    pen: int
    settled_to: int
    settled: float
    score: float
    strokes: Strokes


@dataclass
class Effort:
    """How many beginnings of lines may still be drawn: counted, not timed, so that every machine gives up at one place.

    closest: of the lines found, the least distance that is left, as a share of that without lettering.
    """

    left: int
    closest: float = float("inf")


def spell(
    view: View, hand: Hand, baseline: int, starts: Collection[int], effort: Effort | None = None
) -> list[tuple[float, str, int]]:
    """Lines that explain the picture, best first: (distance, text, pen of the first glyph).

    baseline: at the middle column of the picture. starts: columns where the fill of the first glyph may begin.
    effort: what may be spent, and is noted as spent; None: what one line may take at most.
    """
    letters = bank(hand, view.outline is not None)
    width = view.pixels.shape[1]
    sway = lettering.rise(width // 2, abs(lettering.SLOPES[hand.tilt]))
    left, top, _, bottom = letters.window
    blank = Strokes(view, hand, (0, baseline + top - sway, width, baseline + bottom + sway))
    cumulated = np.concatenate([[0.0], np.cumsum(blank.distance(0, width))])
    area = blank.bottom - blank.top
    # Best first. What is explained counts for a state, so that a right beginning is taken up again and again; what
    # it leaves unexplained counts more.
    usual = view.noise * area * width
    queue: list[tuple[float, int, State]] = []
    ends: list[tuple[float, str, int]] = []
    count = pushed = spent = 0
    limit = MAX_STATES if effort is None else min(MAX_STATES, effort.left)

    def push(states: list[State]) -> None:
        nonlocal pushed
        for state in states:
            pushed += 1
            explained = float(cumulated[max(0, min(width, state.pen))])
            heapq.heappush(queue, (state.score - GREED * explained, pushed, state))

    for pen in sorted({x - int(edge) for x in starts for edge in letters.ink_left}):
        fits = [c for c, edge in zip(letters.chars, letters.ink_left, strict=True) if pen + edge in starts]
        if -2 * hand.em < pen < width:
            frontier = max(0, min(width, pen + left))
            first = State("", pen, pen, frontier, float(cumulated[frontier]), 0.0, blank)
            spent += 1
            push(_extended(first, letters, baseline, cumulated, area, "".join(fits)))
    while queue and count < limit:
        priority, _, state = heapq.heappop(queue)
        if view.is_known and count > FEW_STATES and priority > usual + HOPELESS * float(cumulated[width]):
            break  # even the best leaves much unexplained
        if view.is_known and ends and state.settled > min(ends)[0]:
            continue  # what is settled only grows
        count += 1
        if not state.text.endswith(" "):
            rest = float(state.strokes.distance(state.settled_to, width).sum())
            ends.append((state.settled + rest, state.text, state.start))
            if view.is_known and ends[-1][0] < 2 * usual + UNEXPLAINED * 0.05 * float(cumulated[width]):
                limit = min(limit, count + MORE_STATES)
        push(_extended(state, letters, baseline, cumulated, area, None))
    if effort is not None:
        effort.left -= spent + count
        if ends:
            effort.closest = min(effort.closest, (min(ends)[0] - usual) / max(float(cumulated[width]), 1.0))
    return sorted(ends, key=lambda end: (round(end[0]), len(end[1]), end))[:4]


def _extended(
    state: State, letters: Bank, baseline: int, cumulated: np.ndarray, area: int, allowed: str | None
) -> list[State]:
    """The state with one more glyph: those of a shortlist that, drawn, explain the picture."""
    hand, view = state.strokes.hand, state.strokes.view
    width = view.pixels.shape[1]
    if state.pen >= width:
        return []
    y = baseline - lettering.rise(state.pen - width // 2, lettering.SLOPES[hand.tilt])
    means = _distances(state, letters, y)
    order = np.argsort(means, kind="stable")
    if allowed is not None:
        order = np.array([i for i in order if letters.chars[i] in allowed], int)
    chosen = [letters.chars[i] for i in order[:SHORTLIST]]
    if allowed is None and not state.text.endswith(" "):
        chosen.append(" ")
    advance = lettering.advances(hand.font, hand.em)
    without = np.cumsum(state.strokes.distance(state.settled_to, state.pen + int(letters.advance.max())))
    longer = []
    for char in chosen:
        pen = state.pen + advance[char]
        strokes = state.strokes
        if char != " ":
            strokes = strokes.copy()
            strokes.put(char, state.pen, y)
        frontier = max(state.settled_to, min(width, pen + letters.window[0]))
        columns = strokes.distance(state.settled_to, min(width, pen))
        seen, settling = len(columns), frontier - state.settled_to
        new = float(columns.sum())
        newly = float(columns[:settling].sum())
        if char != " " and (not seen or new > without[seen - 1] - LEAST * REWARD):
            continue  # it explains nothing that was not explained without it
        if view.is_known and newly > view.slack * float(cumulated[frontier] - cumulated[state.settled_to]) + (
            NOISE * area * settling
        ):
            continue
        longer.append(
            State(
                state.text + char,
                state.start,
                pen,
                frontier,
                state.settled + newly,
                state.settled + new,
                strokes,
            )
        )
    return longer


def _distances(state: State, letters: Bank, y: int) -> np.ndarray:
    """The mean squared distance of each glyph's own cell, its pen at the state's, all glyphs at once (C,)."""
    view, strokes = state.strokes.view, state.strokes
    width = view.pixels.shape[1]
    left, top, _, _ = letters.window
    rows, columns = letters.at[0] + y + top, letters.at[1] + state.pen + left
    inside = (rows >= strokes.top) & (rows < strokes.bottom) & (columns >= 0) & (columns < width)
    if view.mask is not None:
        inside &= view.mask[rows.clip(0, view.mask.shape[0] - 1), columns.clip(0, width - 1)]
    rows, columns = rows.clip(strokes.top, strokes.bottom - 1), columns.clip(0, width - 1)
    pixels, behind = view.pixels[rows, columns], view.behind[rows, columns]
    if state.text.strip():
        x0, x1 = int(columns.min()), int(columns.max()) + 1
        behind = strokes.drawn(x0, x1)[0][rows - strokes.top, columns - x0]
    off = np.where(inside[:, None], pixels - behind, 0)
    to_fill = np.where(inside[:, None], view.fill - behind, 0)
    to_outline = np.where(inside[:, None], (0 if view.outline is None else view.outline) - behind, 0)
    to_shadow = np.where(inside[:, None], -behind, 0) * (1.0 if view.is_known else 0.0)

    def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product: np.ndarray = np.einsum("ij,ij->i", a, b)
        return product

    earned = 0.0 if view.is_known else REWARD
    vector = np.concatenate(
        [
            dot(off, off),
            -2 * dot(off, to_fill) - earned * inside,
            -2 * dot(off, to_outline) - earned * inside,
            -2 * dot(off, to_shadow),
            dot(to_fill, to_fill),
            dot(to_outline, to_outline),
            dot(to_shadow, to_shadow),
            2 * dot(to_fill, to_outline),
            2 * dot(to_fill, to_shadow),
            2 * dot(to_outline, to_shadow),
        ]
    ).astype(np.float32)
    means: np.ndarray = (letters.matrix @ vector) / letters.cells
    return means


@cache
def lookalikes(font: str) -> tuple[str, ...]:
    """Groups of characters that a font draws alike, so that no picture can tell them apart: ("Aa", ...) perhaps.

    Alike: the same advance, and less than ALIKE_PX pixels of ink between them at ALIKE_EM pixels per em.
    """
    advance = lettering.advances(font, ALIKE_EM)
    groups: list[tuple[np.ndarray, str]] = []
    for c in GLYPHS:
        g = lettering.glyph(font, ALIKE_EM, 0, c)
        ink = np.zeros((3 * ALIKE_EM, 3 * ALIKE_EM), np.uint8)
        lettering.stamp(ink, g.fill, g.left + ALIKE_EM, g.top + 2 * ALIKE_EM)
        for index, (other, members) in enumerate(groups):
            apart = np.abs(ink.astype(np.int32) - other).sum() if advance[c] == advance[members[0]] else ALIKE_PX * 255
            if apart < ALIKE_PX * 255:
                groups[index] = (other, members + c)
                break
        else:
            groups.append((ink, c))
    return tuple(members for _, members in groups if len(members) > 1)


def folded(text: str, font: str) -> str:
    """The text with every character replaced by the first of its lookalikes."""
    return text.translate(_first_of(font))


@cache
def _first_of(font: str) -> dict[int, str]:
    return {ord(c): group[0] for group in lookalikes(font) for c in group}
