"""Every limit that the checks hold a picture to, with a kit's own rules in place of the usual ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from recast.thumbnails.kit import Kit


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shares are of the frame's height or area. Ratios are WCAG's; distances of colours are CIEDE2000."""

    credentials: Literal["any", "kept", "dropped"] = (
        "any"  # G3: whether content credentials must, or must not, be there
    )
    decoders_apart: float = 1.0  # G4: mean levels between two decoders of one file
    forbid_badge_zone: bool = True  # S1
    max_words: int = 5  # T1
    max_characters: int = 24
    max_lines: int = 2
    least_cap_height: float = 0.10  # T2
    good_cap_height: float = 0.12
    least_contrast: float = 3.0  # T3, X1
    good_contrast: float = 4.5
    misread: float = 0.15  # T4, T5: edit distance over the length of what should be read
    sure: float = 0.5  # T5: the least score of a line that counts as read
    counted_face: float = 0.10  # S1, F1, F2: lower faces are part of the background
    least_face: float = 0.25  # F1
    largest_face: float = 0.70
    blur: float = 0.60  # F1: the blur effect, 0 sharp to 1
    extra_faces: bool = False  # F2
    separation: float = 12.0  # C1
    focus: float = 0.40  # C2: share of the saliency in the strongest spot
    least_spread: float = 45.0  # C3: standard deviation of the grey levels
    largest_spread: float = 95.0
    clipped: float = 0.03  # C3: share of the pixels at either end
    brand: float = 60.0  # B1: sub-scores below it warn; the wrong font alone leaves typography 55
    hash_bits: int = 12  # V1: of 64, of the whole or of the part that differs; one picture saved anew had at most 8
    embedding: float = 0.15  # V1: 1 - cosine that will do as well; one picture saved anew had at most 0.09
    differs_by: float = 10.0  # V1: CIEDE2000 at 168 pixels from which on a pixel differs
    differs_least: float = 0.003  # V1: share of the frame that must differ so
    differs_widely: float = 0.10  # V1: the same, of two backgrounds and two styles
    moved_apart: float = 0.15  # V1: how far a side of the title must move, of the frame; capitals are 0.1 to 0.2 high
    palettes: float = 10.0  # V2: how far the colours of one picture must move, on average, to be those of another
    moved: float = 0.05  # V2: how far a box of the layout may shift

    @classmethod
    def of(cls, kit: Kit | None) -> Limits:
        """The usual limits, with a kit's rules in their place."""
        if kit is None:
            return cls()
        rules = kit.rules
        return replace(
            cls(),
            forbid_badge_zone=rules.forbid_badge_zone,
            max_words=rules.max_words,
            max_characters=rules.max_characters,
            max_lines=rules.max_lines,
            good_contrast=rules.min_contrast,
            least_contrast=min(cls.least_contrast, rules.min_contrast),
            extra_faces=rules.extra_faces,
        )
