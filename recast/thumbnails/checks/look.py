"""Does one subject stand out, in tones that carry, for eyes of every kind?"""

from __future__ import annotations

import cv2
import numpy as np

from recast.errors import InputError
from recast.pixels.lab import ciede2000, lab
from recast.thumbnails import colour_blind, saliency
from recast.thumbnails.boxes import Box
from recast.thumbnails.checks.evidence import Evidence, Unseen
from recast.thumbnails.checks.text import around, no_title
from recast.thumbnails.findings import Finding
from recast.thumbnails.subject import people

BLACK, WHITE = 2, 253
"""Grey levels up to which, and from which, a pixel is clipped."""
CUT_ROUNDS = 4
STEP_PX = 2  # from a subject's outline to where its colour, and the ground's, is taken


def c1(seen: Evidence) -> Finding:
    """The subject stands apart from what is behind it."""
    limit = seen.limits.separation
    mask, what = _subject(seen)
    if mask is None:
        says = f"{what} cannot be told from what is behind"
        advice = "Put the subject on a lighter, darker or calmer background"
        return Finding(check="C1", verdict="warn", says=says, advice=advice, numbers={"separation": 0, "limit": limit})
    found = across_outline(seen.small_below, mask)
    numbers = {"separation": None if found is None else round(found, 1), "limit": limit, "subject": what}
    if found is None:
        raise Unseen("no subject with an outline was found; pass a face recogniser, or look at the picture")
    says = f"{what} stands {found:.0f} dE00 from what is behind"
    if found >= limit:
        return Finding(check="C1", verdict="pass", says=says, numbers=numbers)
    advice = "Put the subject on a lighter, darker or calmer background"
    says += f", {limit:g} shows at a glance"
    return Finding(check="C1", verdict="warn", says=says, advice=advice, numbers=numbers)


def c2(seen: Evidence) -> Finding:
    """The eye has one place to go to first."""
    found = saliency.spots(saliency.spectral_residual(seen.below, seen.covered))
    share = found[0].share if found else 0.0
    numbers = {"share": round(share, 3), "limit": seen.limits.focus, "spots": len(found)}
    says = f"The strongest spot draws {share:.0%} of the eye"
    if share >= seen.limits.focus:
        return Finding(check="C2", verdict="pass", says=says, numbers=numbers, boxes=_boxes(found[:1]))
    says += f", less than {seen.limits.focus:.0%}: it has nowhere to go first"
    advice = "One subject, larger; blur or calm the rest"
    return Finding(check="C2", verdict="warn", says=says, advice=advice, numbers=numbers, boxes=_boxes(found[:3]))


def c3(seen: Evidence) -> Finding:
    """Neither washed out nor harsh, and little of it burnt out or lost in black."""
    limits = seen.limits
    grey = cv2.cvtColor(seen.below, cv2.COLOR_RGB2GRAY)[~seen.covered]
    if grey.size == 0:
        raise Unseen("letters cover the whole picture")
    spread = float(grey.std(dtype=np.float64))
    dark, light = float((grey <= BLACK).mean()), float((grey >= WHITE).mean())
    numbers = {
        "spread": round(spread, 1),
        "least": limits.least_spread,
        "largest": limits.largest_spread,
        "black": round(dark, 4),
        "white": round(light, 4),
        "clipped_limit": limits.clipped,
    }
    wrong, advice = [], []
    if spread < limits.least_spread:
        wrong.append(f"its grey levels spread by {spread:.0f}, below {limits.least_spread:g} it looks washed out")
        advice.append("More contrast between light and dark")
    if spread > limits.largest_spread:
        wrong.append(f"its grey levels spread by {spread:.0f}, above {limits.largest_spread:g} it looks harsh")
        advice.append("Softer light")
    if dark >= limits.clipped:
        wrong.append(f"{dark:.0%} of it is black")
        advice.append("Lift the shadows")
    if light >= limits.clipped:
        wrong.append(f"{light:.0%} of it is white")
        advice.append("Take back the lights")
    if wrong:
        says = f"The tones of the picture do not carry: {'; '.join(wrong)}"
        return Finding(check="C3", verdict="warn", says=says, advice="; ".join(advice), numbers=numbers)
    return Finding(check="C3", verdict="pass", says=f"Grey levels spread by {spread:.0f}", numbers=numbers)


def x1(seen: Evidence) -> Finding:
    """The title keeps its contrast for those who see fewer colours."""
    title = seen.title
    if title is None:
        return no_title("X1", seen)
    part = around(seen, title)
    found = {kind: part.contrast(colour_blind.simulate(part.rgb, kind)) or 1.0 for kind in colour_blind.KINDS}
    limit = seen.limits.least_contrast
    numbers = {kind: round(value, 2) for kind, value in found.items()} | {
        "limit": limit,
        "is_estimated": title.is_estimated,
    }
    lost = [kind for kind, value in found.items() if value < limit]
    if lost and (part.contrast(part.rgb) or 1.0) < limit:
        says = f"Contrast of the letters is below {limit:g} for everyone, see T3"
        return Finding(check="X1", verdict="pass", says=says, numbers=numbers)
    if lost:
        says = f"Contrast of the letters falls to {min(found.values()):.1f} for {', '.join(lost)} colour blindness"
        advice = "Letters lighter or darker than the ground, not only of another hue"
        boxes = tuple(each.box for each in title.lines)
        return Finding(check="X1", verdict="warn", says=says, advice=advice, numbers=numbers, boxes=boxes)
    says = f"Contrast of the letters is {min(found.values()):.1f} at least for any colour blindness"
    return Finding(check="X1", verdict="pass", says=says, numbers=numbers)


def across_outline(rgb: np.ndarray, mask: np.ndarray) -> float | None:
    """The median CIEDE2000 across a subject's outline; None where there is no outline.

    rgb: (H, W, 3) uint8. mask: (H, W) bool. The pixels right at the outline, where colours mix, are left out.
    """
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    outer = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) == 0
    colours = lab(rgb)
    (ink, has_ink), (ground, has_ground) = (_local_mean(colours, where) for where in (inner, outer))
    at = mask & ~inner & has_ink & has_ground
    if not at.any():
        return None
    return float(np.median(ciede2000(ink[at][None], ground[at][None])))


def _local_mean(colours: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour (H, W, 3) of the chosen pixels within STEP_PX of each, and where there are any."""
    side = (2 * STEP_PX + 1, 2 * STEP_PX + 1)
    chosen = where.astype(np.float32)
    count = cv2.boxFilter(chosen, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    total = cv2.boxFilter(
        colours * chosen[..., None], cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return (total / np.maximum(count, 1)[..., None]).astype(np.float32), count > 0.5


def _subject(seen: Evidence) -> tuple[np.ndarray | None, str]:
    """The mask of the subject in the small picture, bool, None where it cannot be cut out, and what it is taken for."""
    faces = seen.faces if seen.sight.faces is not None else []
    if faces:
        try:
            return people(seen.small_below, [faces[0].box]), "The person"
        except InputError:
            return None, "The person"
    found = saliency.spots(saliency.spectral_residual(seen.below, seen.covered))
    if not found:
        return None, "The subject"
    return _cut_out(seen.small_below, _boxes(found[:1])[0]), "What stands out most"


def _cut_out(rgb: np.ndarray, box: Box) -> np.ndarray | None:
    """The thing within a box, (h, w) bool, by graph cuts; None where nothing of it is left, or nothing else."""
    height, width = rgb.shape[:2]
    left, top, right, bottom = box.grown(0.25 * box.width, 0.25 * box.height).pixels(width=width, height=height)
    left, top, right, bottom = max(left, 1), max(top, 1), min(right, width - 1), min(bottom, height - 1)
    labels = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(
            rgb,
            labels,
            (left, top, right - left, bottom - top),
            np.zeros((1, 65)),
            np.zeros((1, 65)),
            CUT_ROUNDS,
            cv2.GC_INIT_WITH_RECT,
        )
    except cv2.error:  # one colour only: there is no border to find
        return None
    cut = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return cut if 0 < cut.sum() < cut.size else None


def _boxes(found: list[saliency.Spot]) -> tuple[Box, ...]:
    boxes = []
    for spot in found:
        rows, columns = np.nonzero(spot.mask)
        height, width = spot.mask.shape
        boxes.append(
            Box.of_pixels(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, width=width, height=height)
        )
    return tuple(boxes)
