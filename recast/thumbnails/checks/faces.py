"""Are the right people there, and are their faces large, sharp and looking?"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from recast.errors import ShapeError
from recast.thumbnails.checks.evidence import Evidence
from recast.thumbnails.findings import Finding
from recast.thumbnails.seeing import FoundFace

SHARP_AT_PX = 96
"""The height at which a face's sharpness is judged: about a face in the largest list."""
BLUR_TAPS = 9


def f1(seen: Evidence) -> Finding:
    """The largest face: large enough, not all there is, sharp, eyes open."""
    limits = seen.limits
    if not seen.faces:
        return Finding(check="F1", verdict="pass", says="There is no face to judge", numbers={"faces": 0})
    face = seen.faces[0]
    height, blur = face.box.height, face_blur(seen.rgb, face)
    numbers: dict[str, Any] = {
        "height": round(height, 3),
        "least": limits.least_face,
        "largest": limits.largest_face,
        "blur": round(blur, 3),
        "blur_limit": limits.blur,
        "eyes": len(face.eyes),
    }
    wrong, advice = [], []
    if height < limits.least_face:
        wrong.append(f"it is {height:.0%} of the height, {limits.least_face:.0%} is the least that shows who it is")
        advice.append("Come closer: crop, or choose a frame with a larger face")
    if height > limits.largest_face:
        wrong.append(f"it is {height:.0%} of the height, more than {limits.largest_face:.0%} leaves no room")
        advice.append("Step back: a wider crop")
    if blur > limits.blur:
        wrong.append(f"it is blurred ({blur:.2f}, sharp is below {limits.blur:g})")
        advice.append("Choose a sharper frame")
    if not face.eyes:
        wrong.append("its eyes are not found")
        advice.append("Choose a frame with open eyes")
    if wrong:
        says = f"The largest face is not at its best: {'; '.join(wrong)}"
        return Finding(
            check="F1", verdict="warn", says=says, advice="; ".join(advice), numbers=numbers, boxes=(face.box,)
        )
    says = f"The largest face is {height:.0%} of the height, sharp, with eyes"
    return Finding(check="F1", verdict="pass", says=says, numbers=numbers)


def f2(seen: Evidence) -> Finding:
    """Every character that must show does, and is who it should be; nobody else is there."""
    cast, required = seen.cast, seen.expected.characters or ()
    wanted = [each for each in cast.matches if each.character in required]
    lost = [each for each in wanted if not each.holds]
    # A face that only the assignment gave to a character who need not be there is nobody's.
    strangers = [*cast.others, *(each.box for each in cast.matches if each.box and not each.holds)]
    if any(each.box in strangers for each in lost):
        strangers = [box for box in strangers if box not in [each.box for each in lost]]
    strangers = [] if seen.limits.extra_faces else strangers
    numbers = {
        "recogniser": seen.sight.faces.name if seen.sight.faces else None,
        "required": list(required),
        "similarity": {
            each.character: None if each.similarity is None else round(each.similarity, 3) for each in cast.matches
        },
        "limit": {each.character: round(each.limit, 3) for each in cast.matches},
        "extra_faces": len(strangers),
    }
    if lost:
        reasons = [
            f"{each.character} is not found"
            if each.similarity is None
            else f"{each.character} is not like the references (similarity {each.similarity:.2f}, {each.limit:.2f} "
            "is the least)"
            for each in lost
        ]
        advice = "Make it again with another seed, or keep the face of the base picture"
        boxes = tuple(each.box for each in lost if each.box is not None)
        return Finding(check="F2", verdict="fail", says=_sentence(reasons), advice=advice, numbers=numbers, boxes=boxes)
    if strangers:
        says = f"{len(strangers)} {'faces are' if len(strangers) > 1 else 'face is'} nobody's of this kit"
        advice = "Edit them away, or set rules.extra_faces: true"
        return Finding(check="F2", verdict="fail", says=says, advice=advice, numbers=numbers, boxes=tuple(strangers))
    known = ", ".join(f"{each.character} ({each.similarity:.2f})" for each in cast.matches if each.holds)
    says = f"Recognised: {known}" if known else "Nobody is required, and nobody else is there"
    return Finding(check="F2", verdict="pass", says=says, numbers=numbers)


def face_blur(rgb: np.ndarray, face: FoundFace) -> float:
    """How blurred a face of a picture (H, W, 3) uint8 is: 0 sharp to 1, at 96 pixels of height whatever its size.

    What a strong blur takes from the differences between neighbours: much from a sharp picture, little from one that
    is blurred already; the worse of across and down. Source: Crete, Dolmiere, Ladret, Nicolas 2007, The Blur Effect,
    section 3.
    """
    height, width = rgb.shape[:2]
    left, top, right, bottom = face.box.pixels(width=width, height=height)
    if right - left < 3 or bottom - top < 3:
        raise ShapeError(f"face: {face.box} came; a box of at least 3 by 3 pixels of the picture accepted")
    scale = SHARP_AT_PX / (bottom - top)
    size = (max(round((right - left) * scale), BLUR_TAPS), SHARP_AT_PX)
    crop = cv2.resize(
        rgb[top:bottom, left:right], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    found = []
    for axis in (0, 1):
        taps = (1, BLUR_TAPS) if axis == 0 else (BLUR_TAPS, 1)
        sharp = np.abs(np.diff(grey, axis=axis))
        soft = np.abs(np.diff(cv2.blur(grey, taps, borderType=cv2.BORDER_REFLECT), axis=axis))
        before = float(sharp.sum(dtype=np.float64))
        lost = float(np.maximum(sharp - soft, 0).sum(dtype=np.float64))
        found.append(1.0 if before == 0 else (before - lost) / before)
    return max(found)


def _sentence(parts: list[str]) -> str:
    joined = "; ".join(parts)
    return joined[:1].upper() + joined[1:]
