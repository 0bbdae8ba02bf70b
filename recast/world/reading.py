"""Reading a title back: pixels → exact string, by drawing what they might say and comparing; or unknown.

A guess is checked first. Otherwise blobs of a palette colour vote for a font, a size and a baseline (every blob of
a glyph has a known box), `spelling` finds the glyphs from left to right, and the title so found is drawn whole and
checked like a guess. The check compares every glyph with those most like it at its place: a picture that says
FREIBERG is never taken for FREIBURG, however small the share of pixels that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import chain, product

import cv2
import numpy as np

from recast.errors import InputError
from recast.world import lettering
from recast.world.lettering import CAPS, FONTS, SIZES, SLOPES
from recast.world.scene import COLOURS, LETTERS, PLACES, TILTS, TITLE_PLACES, Title
from recast.world.spelling import (
    GLYPHS,
    NOISE,
    REWARD,
    UNEXPLAINED,
    Effort,
    Hand,
    Strokes,
    View,
    bank,
    folded,
    lookalikes,
    spell,
    to_metric,
)  # fmt: skip

__all__ = ["ALL", "Reading", "canonical", "lookalikes", "read_title", "same_text"]

ALL = tuple(FONTS)
NEAR = 30.0**2  # squared distance within which a pixel may show a palette colour
CHANGED = 20.0**2  # squared distance from the background beyond which a pixel is lettering
SURE = 0.4  # of the way from an alternative glyph to the one read that the picture must be past the middle, at most 1
ALIKE = 10  # glyphs most like the one read that are tried in its place
STRANGE = 0.3  # of the lettering's contrast, squared, that a patch of pixels may be off
FAINT = 60.0**2  # contrast that lettering on a background that is not known is taken to have
ATTEMPTS = 8
BLIND_ATTEMPTS = 3
STEP_BACK = 2  # sketches that go before one with its next outline, or without its plate
EFFORT = 480  # beginnings of lines drawn before a title counts as unreadable; a readable one takes 20 to 450
BLIND_EFFORT = 160  # the same for a second try that takes a known background as unknown
LONG_EFFORT = 4000  # the same where no background is known: every line takes the most it may
EXPLAINED = 0.1  # share of the distance that a line may leave and be right, though what is beside it is not
EDGE = 0.6  # pixels that a blob of pure colour is smaller than its glyph
SLACK = 1.6  # pixels by which a blob's sides may still differ from its glyph's
TOUCHING = 0.4  # what a blob of several glyphs counts for
BOX_EM = 128  # font size at which the boxes of blobs are measured


@dataclass(frozen=True)
class Reading:
    """What a picture says. title, text: None where it is unknown, for the reason given.

    residual: root of the mean squared distance from the picture to the title as drawn, over the title's glyphs,
    in levels of luma; of the best title tried if none was accepted, infinite if none was.
    """

    title: Title | None
    text: str | None
    residual: float
    reason: str


def read_title(
    pixels: np.ndarray,
    *,
    fonts: Sequence[str] = ALL,
    guesses: Sequence[Title] = (),
    background: np.ndarray | None = None,
) -> Reading:
    """The title on pixels (H, W, 3) uint8, or unknown with a reason.

    guesses: titles to check first, in this order; one that fits is returned without a search.
    background: (H, W, 3) uint8, the picture as it would be without a title, where that is known.
    The text is exact up to `lookalikes`; its title is `canonical`. Raises InputError for arrays of another form.
    """
    _check_picture("pixels", pixels)
    if background is not None:
        _check_picture("background", background)
        if background.shape != pixels.shape:
            raise InputError(f"background: {background.shape} came; {pixels.shape}, as the pixels, accepted")
    closest, why = float("inf"), "no lettering found"
    for index, title in enumerate(chain(guesses, _found(pixels, background, tuple(fonts)))):
        residual, fault = _check(pixels, background, title)
        if not fault:
            if index >= len(guesses):
                title = _outlined(pixels, background, title)
            height, width = pixels.shape[:2]
            title = canonical(title, width, height)
            return Reading(title, title.text, residual, "as drawn")
        if residual < closest:
            closest, why = residual, fault
    return Reading(None, None, closest, why)


def canonical(title: Title, width: int, height: int) -> Title:
    """The first of the titles that draw the same picture: spaces before line breaks, small before huge.

    A huge title that was shrunk to fit may be, to the pixel, a medium one; no reading can tell them apart.
    """
    plan = _plan(title, width, height)
    texts = dict.fromkeys((title.text.replace("\n", " "), title.text))
    for text, size, place, align in product(texts, SIZES, TITLE_PLACES, PLACES):
        other = replace(title, text=text, size=size, place=place, align=align)
        try:
            if _plan(other, width, height) == plan:
                return other
        except InputError:
            continue
    return title


def same_text(a: str, b: str, font: str) -> bool:
    """Whether two texts are the same to anyone who sees them: up to lookalikes of the font, and where lines break."""
    return folded(a.replace("\n", " "), font) == folded(b.replace("\n", " "), font)


def _outlined(pixels: np.ndarray, background: np.ndarray | None, title: Title) -> Title:
    """The title with the outline that fits best: one of the plate's colour shows by where the shadow falls alone."""
    if background is None and title.plate == "none":
        return title
    best, least = title, float("inf")
    for outline in dict.fromkeys((title.outline, "none", title.plate)):
        if outline not in ("none", *LETTERS):  # a plate may have colours that lettering never has
            continue
        other = replace(title, outline=outline)
        drawn = (pixels if background is None else background).copy()
        lettering.paint(drawn, other)
        distance = float(((to_metric(pixels) - to_metric(drawn)) ** 2).sum())
        if distance < least:
            best, least = other, distance
    return best


def _check(pixels: np.ndarray, background: np.ndarray | None, title: Title) -> tuple[float, str]:
    """The residual of a title, and what speaks against it ("" if nothing does)."""
    height, width = pixels.shape[:2]
    try:
        plan = _plan(title, width, height)
    except InputError as error:
        return float("inf"), str(error)
    seen = to_metric(pixels)
    behind = pixels if background is None else background
    if title.plate != "none":
        behind = behind.copy()
        lettering.paint_plate(behind, plan, COLOURS[title.plate])
    outline = None if title.outline == "none" else to_metric(np.array(COLOURS[title.outline]))
    known = background is not None
    view = View(
        seen, to_metric(behind), known or title.plate != "none", to_metric(np.array(COLOURS[title.colour])), outline
    )
    hand = Hand(plan.font, plan.em, plan.tilt)
    whole = Strokes(view, hand, (0, 0, width, height))
    for placed in plan.glyphs:
        whole.put(placed.char, placed.x, placed.y)
    drawn, covered = whole.drawn(0, width)
    off = seen - drawn
    apart = np.einsum("ijk,ijk->ij", off, off)
    letters = covered > 0.02
    residual = float(np.sqrt(apart[letters].mean())) if letters.any() else float("inf")
    fault = _strange(view, whole, title, plan, apart) or _beside(view, whole, title, plan, background, apart)
    if fault:
        return residual, fault
    for index in range(len(plan.glyphs)):
        fault = _rival(view, hand, plan, index)
        if fault:
            return residual, fault
    return residual, ""


def _strange(view: View, whole: Strokes, title: Title, plan: lettering.Layout, apart: np.ndarray) -> str:
    """What is wrong with some patch of the picture around a title, or ""."""
    height, width = apart.shape
    if view.outline is not None:
        contrast = float(((view.outline - view.fill) ** 2).sum())
    elif view.is_known:
        contrast = float(np.median(((view.behind[whole.ink > 127] - view.fill) ** 2).sum(-1)))
    else:
        contrast = FAINT
    cap = lettering.cap_px(plan.font, plan.em)
    side = max(3, cap // 6)
    patches = cv2.blur(apart, (side, side), borderType=cv2.BORDER_REPLICATE)
    limit = max(STRANGE * contrast, 4 * NOISE)
    sway = lettering.rise(width // 2, abs(SLOPES[plan.tilt]))
    rows = slice(max(0, plan.box[1] - sway), max(0, min(height, plan.box[3] + sway)))
    if title.plate == "none" or view.is_known is False:
        worst = float(patches[rows].max(initial=0.0))
    else:
        worst = float(patches[rows, max(0, plan.box[0] + 2) : max(0, plan.box[2] - 2)].max(initial=0.0))
    if worst > limit:
        return f"title {title.text!r}: a patch of {side} x {side} pixels is off by {worst**0.5:.0f} levels of luma"
    return ""


def _beside(
    view: View,
    whole: Strokes,
    title: Title,
    plan: lettering.Layout,
    background: np.ndarray | None,
    apart: np.ndarray,
) -> str:
    """What looks like a letter of the title's colour beside its lines, in words, or ""."""
    height, width = whole.ink.shape
    cap = lettering.cap_px(plan.font, plan.em)
    ink = whole.ink if whole.ring is None else whole.ring
    cast = np.maximum(ink, lettering.shifted(ink, whole.reach))  # a shadow may be as dark as black letters
    written = cv2.dilate(cast, np.ones((3, 3), np.uint8)) > 0
    coloured = (
        (((view.pixels - view.fill) ** 2).sum(-1) < NEAR)
        & ~written
        & (apart > CHANGED if background is not None else True)
    )
    if title.plate != "none":
        return _plate_goes_on(view, plan, title, background)
    first = plan.box[1] + round(lettering.PAD * cap) + cap
    pad = round(lettering.PAD * cap)
    left, right = plan.box[0] + pad - 2 * cap, plan.box[2] - pad + 2 * cap
    upright = _upright(coloured.astype(np.int64), plan.tilt, 0) > 0
    ringed = None
    if view.outline is not None:
        ringed = _upright(((view.pixels - view.outline) ** 2).sum(-1) < 2 * NEAR, plan.tilt, 0)
    blobs = _blobs(upright, height, width)
    for row in range(-1, len(plan.lines) + 1):  # a line above or below is more of the title, too
        baseline = first + row * lettering.leading_px(cap)
        for x0, y0, x1, y1 in blobs:
            is_letter = 0.1 * cap < y1 - y0 < 1.7 * cap and x1 - x0 < 2 * cap
            if not (is_letter and left < x1 and x0 < right and y0 < baseline and y1 > baseline - cap):
                continue
            if ringed is not None:
                part = (slice(max(0, y0 - 3), y1 + 3), slice(max(0, x0 - 3), x1 + 3))
                blob = upright[part].astype(np.uint8)
                around = (cv2.dilate(blob, np.ones((5, 5), np.uint8)) > 0) & (blob == 0)
                if ringed[part][around].mean() < 0.4:
                    continue  # the background's
            return f"title {title.text!r}: there is more of its colour beside it, at column {x0}"
    return ""


def _plate_goes_on(view: View, plan: lettering.Layout, title: Title, background: np.ndarray | None) -> str:
    """Whether a plate is larger than that of a layout, so that there may be more on it: in words, or ""."""
    colour = to_metric(np.array(COLOURS[title.plate]))
    near = ((view.pixels - colour) ** 2).sum(-1) < NEAR
    if background is not None:
        near &= ((to_metric(background) - colour) ** 2).sum(-1) >= NEAR  # elsewhere it is the background's own
    upright = _upright(near.astype(np.int64), plan.tilt, 0) > 0
    left, top, right, bottom = (max(0, edge) for edge in plan.box)
    for name, strip in (
        ("left", upright[top:bottom, max(0, left - 4) : max(0, left - 1)]),
        ("right", upright[top:bottom, right + 1 : right + 4]),
        ("top", upright[max(0, top - 4) : max(0, top - 1), left:right]),
        ("bottom", upright[bottom + 1 : bottom + 4, left:right]),
    ):
        if strip.size and strip.mean() > 0.85:
            return f"title {title.text!r}: its plate goes on to the {name}"
    return ""


def _rival(view: View, hand: Hand, plan: lettering.Layout, index: int) -> str:
    """The glyph that the picture shows rather than that of a layout at `index`, in words, or "".

    Each rival is drawn in its place. The picture must lie on our side: its distance from the rival less its distance
    from ours, as a share of the distance between the two, is 1 for our drawing and -1 for the rival's.
    """
    placed = plan.glyphs[index]
    if placed.char == " ":
        return ""
    letters = bank(hand, view.outline is not None)
    left, top, right, bottom = letters.window
    box = (placed.x + left, placed.y + top, placed.x + right, placed.y + bottom)
    others = Strokes(view, hand, box)
    x0, x1 = others.left, others.right
    if x1 <= x0 or others.bottom <= others.top:
        return f"{placed.char!r} lies outside the picture"
    for other in plan.glyphs:
        if (
            other is not placed
            and abs(other.x - placed.x) < 2 * (right - left)
            and abs(other.y - placed.y) < 3 * hand.em
        ):
            others.put(other.char, other.x, other.y)
    ours = others.copy()
    ours.put(placed.char, placed.x, placed.y)
    image, covered = ours.drawn(x0, x1)
    at = (slice(others.top, others.bottom), slice(x0, x1))
    seen = view.pixels[at]
    distance = ((seen - image) ** 2).sum()
    alike = folded(placed.char, hand.font)
    rivals = [letters.chars[i] for i in letters.near[letters.chars.index(alike)][:ALIKE]]
    for rival in (*rivals, ""):
        if rival and folded(rival, hand.font) == alike:
            continue
        theirs = others.copy()
        if rival:
            theirs.put(rival, placed.x, placed.y)
        their_image, their_covered = theirs.drawn(x0, x1)
        gain = ((seen - their_image) ** 2).sum() - distance
        between = ((image - their_image) ** 2).sum()
        if not view.is_known:
            more = REWARD * float((covered - their_covered).sum())
            gain, between = gain + more, between + abs(more)
        if gain < SURE * between or between < NOISE:
            return f"{placed.char!r} at place {index + 1} of {''.join(g.char for g in plan.glyphs)!r} may be {rival!r}"
    return ""


def _found(pixels: np.ndarray, background: np.ndarray | None, fonts: tuple[str, ...]) -> Iterator[Title]:
    """Titles that the picture may show, the likeliest first."""
    seen = to_metric(pixels)
    palette = np.stack([to_metric(np.array(rgb)) for rgb in COLOURS.values()])
    distances = np.stack([((seen - colour) ** 2).sum(-1) for colour in palette])
    near = np.where(distances.min(0) < NEAR, distances.argmin(0), -1)
    changed = None
    if background is not None:
        changed = ((seen - to_metric(background)) ** 2).sum(-1) > CHANGED
        if not changed.any():
            return
        changed = _filled(changed)
    tries = sorted(_sketches(near, changed, fonts), key=lambda sketch: -sketch.score)
    tries = [sketch for sketch in tries if sketch.score > 0.6 * tries[0].score]
    done: set[tuple[object, ...]] = set()
    effort, blind = Effort(LONG_EFFORT if background is None else EFFORT), Effort(BLIND_EFFORT)
    for sketch, outline in _in_order(tries[:ATTEMPTS]):
        effort.closest = float("inf")
        yield from _spelled(pixels, seen, background, sketch, outline, palette, near, done, effort)
        if background is not None and effort.closest < EXPLAINED:  # something else is wrong there
            yield from _spelled(pixels, seen, None, sketch, outline, palette, near, done, blind)
    if background is not None:  # a plate that hardly differs from the background is not noticed: take it as unknown
        for sketch in tries[:BLIND_ATTEMPTS]:
            for outline in sketch.outlines[:2]:
                yield from _spelled(pixels, seen, None, sketch, outline, palette, near, done, blind)


@dataclass(frozen=True)
class Sketch:
    """A way the title may be written: a hand, its colour, the baseline of each line, and where each line may begin.

    plate: (colour, left, top, right, bottom) before the tilt, if the picture seems to have one.
    """

    score: float
    hand: Hand
    colour: int
    outlines: tuple[int | None, ...]
    place: str
    baselines: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    plate: tuple[int, int, int, int, int] | None


def _sketches(near: np.ndarray, changed: np.ndarray | None, fonts: tuple[str, ...]) -> list[Sketch]:
    """All ways that blobs of some colour vote for."""
    height, width = near.shape
    area = near if changed is None else np.where(changed, near, -1)
    counts = [(int((area == index).sum()), index) for index, name in enumerate(COLOURS) if name in LETTERS]
    colours = [index for count, index in sorted(counts, reverse=True) if count >= 6][: 5 if changed is not None else 8]
    sketches: list[Sketch] = []
    for tilt in TILTS:
        upright = _upright(near, tilt, -1)
        plate = None if changed is None else _plate(upright, _upright(changed.astype(np.int64), tilt, 0) > 0)
        for colour in colours:
            mask = _upright(area, tilt, -1) == colour
            if plate is not None and plate[0] == colour:
                continue
            blobs = _blobs(mask, height, width)
            if len(blobs):
                outlines = _outlines(upright, mask, colour)
                sketches += _votes(blobs, fonts, tilt, colour, outlines, width, height, plate)
    return sketches


def _in_order(sketches: Sequence[Sketch]) -> list[tuple[Sketch, int | None]]:
    """Every sketch with every outline, with its plate and without: the likely ones first, far ones of each last."""
    ways = []
    for index, sketch in enumerate(sketches):
        for without, each in enumerate(dict.fromkeys((sketch, replace(sketch, plate=None)))):
            for rank, outline in enumerate(sketch.outlines):
                ways.append((index + STEP_BACK * (without + rank), each, outline))
    return [(sketch, outline) for _, sketch, outline in sorted(ways, key=lambda way: way[0])]


def _votes(
    blobs: np.ndarray,
    fonts: tuple[str, ...],
    tilt: int,
    colour: int,
    outlines: tuple[int | None, ...],
    width: int,
    height: int,
    plate: tuple[int, int, int, int, int] | None,
) -> list[Sketch]:
    """The hands and baselines that blobs (n, 4) of left, top, right, bottom vote for."""
    size = (blobs[:, 2:] - blobs[:, :2]).astype(np.float32)
    share = size[:, 1] / size[:, 1].sum()
    weight_of_all = float(size[:, 1].sum()) ** 0.5  # a colour of few small blobs is hardly that of the letters
    sketches = []
    for font in fonts:
        ways = _ways(font, width, height, tilt)
        ems = np.array([lettering.em_px(font, cap, width, height) for cap in CAPS])
        boxes = _boxes(font)[None] * (ems[:, None, None] / BOX_EM)  # (cap, box, 4)
        apart = np.abs((boxes[..., 2:] - boxes[..., :2])[:, None] - size[:, None] - EDGE).max(-1)  # (cap, blob, box)
        slack = SLACK + (0.04 * ems if tilt else 0 * ems)[:, None, None]
        cap, blob, box = np.nonzero(apart < slack)
        fit = 1 - 0.5 * apart[cap, blob, box] / slack[cap, 0, 0]
        line = np.rint(blobs[blob, 3] + EDGE / 2 - boxes[cap, box, 3]).astype(int)
        inside = np.flatnonzero((line > 0) & (line < height - 1))
        order = inside[np.argsort(fit[inside], kind="stable")]  # of equals, the best is put last and stays
        cap, blob, line, fit = cap[order], blob[order], line[order], fit[order]
        votes = np.zeros((len(CAPS), height + 1, len(blobs)), np.float32)
        for shift, weight in ((-1, 0.7), (1, 0.7), (0, 1.0)):
            target = votes[cap, line + shift, blob]
            votes[cap, line + shift, blob] = np.maximum(target, fit * np.float32(weight))
        wide = np.flatnonzero((size[:, 0] > 0.75 * size[:, 1]) & (size[:, 1] > 5))
        for index in wide:  # letters that touch: their top and bottom may be those of two glyphs
            for step in range(len(CAPS)):
                if size[index, 0] < 0.8 * ems[step] or votes[step, :, index].any():
                    continue
                tops = np.rint(blobs[index, 1] - boxes[step, :, 1]).astype(int)
                bottoms = np.rint(blobs[index, 3] - boxes[step, :, 3]).astype(int)
                both = np.intersect1d(tops, bottoms)
                votes[step, both[(both > 0) & (both < height)], index] = TOUCHING
        each = votes[ways.cap[:, None], ways.lines]  # (way, line, blob); unused lines are row `height`, empty
        full = (each.max(2) > 0).sum(1) == ways.count
        scores = (each.max(1) * share).sum(1) - 0.01 * ways.count
        for way in np.argsort(-np.where(full, scores, -1), kind="stable")[:6]:
            if not full[way]:
                break
            lines = tuple(int(y) for y in ways.lines[way, : int(ways.count[way])])
            cap_height = lettering.cap_px(font, int(ems[ways.cap[way]]))
            starts = tuple(
                tuple({*sorted({int(x) for x in blobs[each[way, k] > 0, 0]})[:2], *_leftmost(blobs, line, cap_height)})
                for k, line in enumerate(lines)
            )
            hand = Hand(font, int(ems[ways.cap[way]]), tilt)
            sketches.append(
                Sketch(
                    float(scores[way]) * weight_of_all, hand, colour, outlines, ways.places[way], lines, starts, plate
                )
            )
    return sorted(sketches, key=lambda s: -s.score)[:ATTEMPTS]


def _leftmost(blobs: np.ndarray, baseline: int, cap: int) -> list[int]:
    """Left edges of the first three blobs of a line, whether or not they look like glyphs."""
    on_line = (blobs[:, 1] < baseline) & (blobs[:, 3] > baseline - cap)
    return sorted({int(x) for x in blobs[on_line, 0]})[:3]


@dataclass(frozen=True)
class _Ways:
    """Where the lines of titles in a font may lie: step of CAPS, place, number of lines, baselines (w, MAX_LINES)."""

    cap: np.ndarray
    places: tuple[str, ...]
    count: np.ndarray
    lines: np.ndarray


@lru_cache(maxsize=64)
def _ways(font: str, width: int, height: int, tilt: int) -> _Ways:
    found = []
    for index, place, count in product(range(len(CAPS)), TITLE_PLACES, range(1, lettering.MAX_LINES + 1)):
        px = lettering.cap_px(font, lettering.em_px(font, CAPS[index], width, height))
        leading = lettering.leading_px(px)
        if px + (count - 1) * leading + 2 * lettering.room_px(px, width, height, tilt) > height:
            continue
        first = lettering.first_baseline(place, px, count, width, height, tilt)
        lines = [first + k * leading for k in range(count)] + [height] * (lettering.MAX_LINES - count)
        found.append((index, place, count, lines))
    return _Ways(
        np.array([each[0] for each in found]),
        tuple(each[1] for each in found),
        np.array([each[2] for each in found]),
        np.array([each[3] for each in found]),
    )


def _spelled(
    pixels: np.ndarray,
    seen: np.ndarray,
    background: np.ndarray | None,
    sketch: Sketch,
    outline: int | None,
    palette: np.ndarray,
    near: np.ndarray,
    done: set[tuple[object, ...]],
    effort: Effort,
) -> Iterator[Title]:
    """Titles that spell what a sketch shows, as far as the effort goes."""
    box = None if background is None else sketch.plate  # what is not known to lie behind needs no plate
    key = (sketch.hand, sketch.colour, outline, sketch.baselines, background is None, box)
    if key in done or effort.left <= 0:
        return
    done.add(key)
    height, width = pixels.shape[:2]
    behind = seen
    if background is not None:
        behind = to_metric(background)
        if sketch.plate is not None:
            behind = np.where(_slanted(sketch, width, height)[..., None], palette[sketch.plate[0]], behind)
    ring = None if outline is None else palette[outline]
    known = background is not None
    noise = float(np.median(((seen - to_metric(background)) ** 2).sum(-1))) if background is not None else 0.0
    found: list[list[tuple[str, int]]] = []
    for row, (baseline, starts) in enumerate(zip(sketch.baselines, sketch.starts, strict=True)):
        mask = _line(sketch, row, width, height)
        if known and sketch.plate is not None:  # its edges are only known to a pixel
            inner = _slanted(sketch, width, height, 2)
            mask = inner if mask is None else mask & inner
        slack = UNEXPLAINED if row + 1 == len(sketch.baselines) else 2 * UNEXPLAINED  # the next line's accents
        columns = sorted({x + d for x in starts for d in (-1, 0, 1)})
        view = View(seen, behind, known, palette[sketch.colour], ring, mask, noise, slack)
        ends = spell(view, sketch.hand, baseline, columns, effort)
        if not ends:
            return
        if known and row + 1 < len(sketch.baselines):  # the next line is written over this one
            behind = _written(view, sketch.hand, baseline, ends[0][1], ends[0][2])
        found.append([(text, pen) for _, text, pen in ends[:2]])
    names = list(COLOURS)
    texts = [tuple(lines[0] for lines in found)]
    texts += [(*texts[0][:k], lines[1], *texts[0][k + 1 :]) for k, lines in enumerate(found) if len(lines) > 1]
    drawn: set[lettering.Layout] = set()
    for line_pens in texts:
        lines = tuple(text for text, _ in line_pens)
        for joined, size, align in product((" ".join(lines), "\n".join(lines)), SIZES, PLACES):
            title = Title(
                text=joined,
                font=sketch.hand.font,
                colour=names[sketch.colour],
                outline="none" if outline is None else names[outline],
                size=size,
                place=sketch.place,
                align=align,
                tilt=sketch.hand.tilt,
            )
            try:
                plan = _plan(title, width, height)
            except InputError:
                continue
            firsts = [plan.glyphs[k].x for k in np.cumsum([0, *map(len, plan.lines)])[:-1]]
            if plan.em != sketch.hand.em or plan.lines != lines or firsts != [pen for _, pen in line_pens]:
                continue
            if plan not in drawn:
                drawn.add(plan)
                for plate in _plates(near, plan, title):
                    yield replace(title, plate=plate)


def _line(sketch: Sketch, row: int, width: int, height: int) -> np.ndarray | None:
    """Mask (H, W) of the pixels that one of several lines may cover and the next does not; None if there is one."""
    if len(sketch.baselines) == 1:
        return None
    cap, baseline = sketch.hand.cap, sketch.baselines[row]
    is_last = row + 1 == len(sketch.baselines)
    below = cap if is_last else lettering.leading_px(cap) - cap - int(lettering.outline_px(cap)) - 1
    lift = np.array([lettering.rise(x - width // 2, SLOPES[sketch.hand.tilt]) for x in range(width)])
    rows = np.arange(height)[:, None] + lift - baseline
    inside: np.ndarray = (rows > -1.45 * cap) & (rows < below)
    return inside


def _written(view: View, hand: Hand, baseline: int, text: str, pen: int) -> np.ndarray:
    """What lies behind (H, W, 3) with a line of text put on it."""
    height, width = view.pixels.shape[:2]
    strokes = Strokes(view, hand, (0, 0, width, height))
    for char in text:
        if char != " ":
            strokes.put(char, pen, baseline - lettering.rise(pen - width // 2, SLOPES[hand.tilt]))
        pen += lettering.advances(hand.font, hand.em)[char]
    return strokes.drawn(0, width)[0]


def _plates(near: np.ndarray, plan: lettering.Layout, title: Title) -> list[str]:
    """Colours of the plate that a layout may have, the likeliest first."""
    height, width = near.shape
    top, mask = lettering.plate_mask(plan, (height, width))
    left = max(0, plan.box[0])
    inside = np.zeros((height, width), bool)
    inside[top : top + mask.shape[0], left : left + mask.shape[1]] = mask == 255
    fill, ring, _ = lettering.coverage(plan, (height, width))
    ink = fill if title.outline == "none" else ring
    reach = lettering.shadow_px(lettering.cap_px(plan.font, plan.em))
    inside &= cv2.dilate(np.maximum(ink, lettering.shifted(ink, reach)), np.ones((3, 3))) == 0
    names = list(COLOURS)
    shown = near[inside]
    if not shown.size:
        return ["none"]
    counts = np.bincount(shown + 1, minlength=len(names) + 1)[1:]
    likeliest = int(counts.argmax())
    if counts[likeliest] > 0.9 * shown.size:
        return [names[likeliest], "none"]
    return ["none"]


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask (H, W) with its small holes filled: letters on a background of their own colour change nothing."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    height, width = mask.shape
    left, top, w, h = stats[:, 0], stats[:, 1], stats[:, 2], stats[:, 3]
    inner = (left > 0) & (top > 0) & (left + w < width) & (top + h < height) & (stats[:, 4] < 0.05 * mask.size)
    inner[0] = False
    filled: np.ndarray = mask | inner[labels]
    return filled


def _outlines(near: np.ndarray, mask: np.ndarray, colour: int) -> tuple[int | None, ...]:
    """Colours the outline may have, the likeliest first: those around the blobs, and none."""
    one = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3)))
    two = cv2.dilate(one, np.ones((3, 3)))
    around = near[(two > 0) & ~mask]
    counts = np.bincount(around + 1, minlength=len(COLOURS) + 1)[1:]
    counts[colour] = 0
    best = [int(i) for i in np.argsort(-counts, kind="stable")[:2] if counts[i] > 0.12 * around.size]
    return (*best[:1], None, *best[1:])


def _plate(near: np.ndarray, changed: np.ndarray) -> tuple[int, int, int, int, int] | None:
    """The colour and box (left, top, right, bottom) of an upright rectangle that fills what changed, if one does."""
    by_row, by_column = changed.sum(1), changed.sum(0)
    rows = np.flatnonzero(by_row > 0.8 * np.percentile(by_row[by_row > 0], 75)) if by_row.any() else by_row[:0]
    if not rows.size:
        return None
    columns = np.flatnonzero(by_column > 0.7 * rows.size)
    if not columns.size:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    part = near[top:bottom, left:right]
    if changed[top:bottom, left:right].mean() < 0.9 or min(part.shape) < 8:
        return None
    edge = np.concatenate([part[1:3].ravel(), part[-3:-1].ravel()])
    counts = np.bincount(edge + 1, minlength=len(COLOURS) + 1)[1:]
    colour = int(counts.argmax())
    if counts[colour] <= 0.7 * edge.size:
        return None
    # Where the background has the plate's colour nothing changed, yet the plate goes on.
    solid = (changed | (near == colour))[top:bottom].mean(0) > 0.95
    while left > 0 and solid[left - 1]:
        left -= 1
    while right < near.shape[1] and solid[right]:
        right += 1
    return colour, int(left), int(top), int(right), int(bottom)


def _slanted(sketch: Sketch, width: int, height: int, inset: int = 0) -> np.ndarray:
    """Mask (H, W) of the box of a sketch's plate, tilted; `inset` pixels less on every side."""
    assert sketch.plate is not None
    _, left, top, right, bottom = sketch.plate
    lift = np.array([lettering.rise(x - width // 2, SLOPES[sketch.hand.tilt]) for x in range(width)])
    rows = np.arange(height)[:, None] + lift
    inside: np.ndarray = (rows >= top + inset) & (rows < bottom - inset)
    inside[:, : left + inset] = inside[:, max(0, right - inset) :] = False
    return inside


def _upright(picture: np.ndarray, tilt: int, empty: int) -> np.ndarray:
    """A picture (H, W) with the tilt taken back, `empty` where nothing was."""
    if not tilt:
        return picture
    height, width = picture.shape
    lift = np.array([lettering.rise(x - width // 2, SLOPES[tilt]) for x in range(width)])
    rows = np.arange(height)[:, None] - lift
    moved = picture[rows.clip(0, height - 1), np.arange(width)]
    return np.where((rows >= 0) & (rows < height), moved, empty)


def _blobs(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes (n, 4) of left, top, right, bottom of connected pixels that may be parts of glyphs."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    stats = stats[1:]
    parts = stats[(stats[:, 4] >= 4) & (stats[:, 2] < width) & (stats[:, 3] < 0.5 * height)]
    parts = parts[np.argsort(-parts[:, 4], kind="stable")[:48]]
    return np.stack([parts[:, 0], parts[:, 1], parts[:, 0] + parts[:, 2], parts[:, 1] + parts[:, 3]], 1)


@cache
def _boxes(font: str) -> np.ndarray:
    """Boxes (n, 4) of left, top, right, bottom from the pen of every connected part of every glyph, at BOX_EM."""
    boxes = []
    for c in GLYPHS:
        g = lettering.glyph(font, BOX_EM, 0, c)
        _, _, stats, _ = cv2.connectedComponentsWithStats((g.fill > 127).astype(np.uint8), connectivity=8)
        for left, top, w, h, area in stats[1:]:
            if area > 4:
                boxes.append((left + g.left, top + g.top, left + w + g.left, top + h + g.top))
    return np.unique(np.array(boxes, np.float64), axis=0)


def _plan(title: Title, width: int, height: int) -> lettering.Layout:
    return lettering.layout(title.text, title.font, width, height, title.place, title.size, title.tilt, title.align)


def _check_picture(name: str, picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < 32:
        raise InputError(
            f"{name}: {picture.dtype} {picture.shape} came; uint8 (H, W, 3) of at least 32 x 32 pixels accepted"
        )
