"""Parts of the brand score that come from the pixels: colours, who it is, how it looks; and how new it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recast.pixels import image
from recast.thumbnails.habits import Habits, Rating, centroid, percentile, rated
from recast.thumbnails.identity import Sheet, cast
from recast.thumbnails.kit import Kit
from recast.thumbnails.palette import covered, distances, moved, to_lab
from recast.thumbnails.seen import Seen, see

GOOD = 75.0
"""From here on nothing is advised."""
FULL_COVER = 0.6
"""Without learned pictures: the share of the salient area in the palette that has full marks."""
FREE_MOVE, LAST_MOVE = 4.0, 40.0
"""Without learned pictures: the CIEDE2000 to the palette that has full marks, and that has none."""
LEAST_COVER, LEAST_MOVE, LEAST_AWAY = 0.08, 2.5, 0.05
"""The least spreads of the three distances that a channel's own pictures are taken to have."""
USUAL_AWAY = (0.25, 0.45)
"""Without learned pictures: median and 95th percentile of the style distance to the centroid within a channel."""
SPREADS = {"saturation": 0.06, "light": 0.06, "spread": 8.0}
"""The least standard deviations of the tones that a channel's own pictures are taken to have."""
RANGES = {"low": (0.0, 0.40), "mid": (0.40, 0.60), "high": (0.60, 1.0)}
STYLE_SHARE = 0.7
GENUINE_SPREAD = 0.08
"""The least spread of the cosines of one person's pictures."""


def palette(seen: Seen, kit: Kit, habits: Habits | None) -> Rating:
    """Half for the salient area within tolerance of the palette, half for how far the colours would have to move."""
    if not kit.palette:
        return Rating(None, "the kit has no palette", "add colours to palette, or let `learn` find them")
    labs = np.stack([to_lab(each.hex) for each in kit.palette])
    tolerances = np.array([each.tol for each in kit.palette])
    known = [each.share for each in kit.palette if each.share is not None]
    shares = np.array(known) if len(known) == len(labs) and sum(known) > 0 else None
    within = covered(seen.colours, labs, tolerances)
    distance = moved(seen.colours, labs, shares)
    own = habits is not None and habits.palette == kit.palette
    if own:
        assert habits is not None
        inside = rated(1 - within, [1 - each for each in habits.covered], floor=LEAST_COVER)
        near = rated(distance, habits.moved, floor=LEAST_MOVE)
    else:
        inside = 100 * min(within / FULL_COVER, 1.0)
        near = 100 * float(np.clip((LAST_MOVE - distance) / (LAST_MOVE - FREE_MOVE), 0, 1))
    value = (inside + near) / 2
    scale = "as the channel's own pictures stray" if own else "on a fixed scale"
    reason = f"{within:.0%} of what stands out is in the palette; {distance:.1f} CIEDE2000 from it on average, {scale}"
    away = distances(np.stack([each.lab for each in seen.swatches]), labs)
    strange = max(
        range(len(seen.swatches)),
        key=lambda i: seen.swatches[i].share * max(away[i].min() - tolerances[away[i].argmin()], 0),
    )
    nearest = kit.palette[int(away[strange].argmin())]
    swatch = seen.swatches[strange]
    fix = f"{swatch.hex} covers {swatch.share:.0%}; bring it to {nearest.role} {nearest.hex}"
    numbers = {"covered": round(within, 4), "moved": round(distance, 2), "against_own": own, "colours": [
        {"hex": each.hex, "share": round(each.share, 3)} for each in seen.swatches
    ]}  # fmt: skip
    return Rating(value, reason, fix if value < GOOD else "", numbers)


def identity(seen: Seen, kit: Kit, sheets: Sequence[Sheet]) -> Rating:
    """The least over the required characters of how sure it is them."""
    if not kit.characters:
        return Rating(None, "the kit has no characters", "add characters with reference pictures")
    if seen.faces is None:
        return Rating(None, seen.sight.why.get("faces", "nothing is there to find faces with"), "pass a recogniser")
    if not sheets:
        return Rating(None, "no character is asked for")
    assert seen.sight.faces is not None
    matches = cast(seen.rgb, sheets, seen.sight.faces, found=seen.faces).matches
    values = []
    for match, each in zip(matches, sheets, strict=True):
        values.append(0.0 if match.similarity is None else _sure(match.similarity, each))
    worst = int(np.argmin(values))
    match = matches[worst]
    if match.similarity is None:
        reason = f"{match.character}: no face found"
    else:
        reason = f"{match.character}: similarity {match.similarity:.2f}, limit {match.limit:.2f}"
    fix = f"make it again with another seed, or with more reference pictures of {match.character}"
    numbers = {
        "similarity": {each.character: each.similarity for each in matches},
        "limit": {each.character: each.limit for each in matches},
        "genuine_percentile": {
            each.character: _rank(m.similarity, each) for m, each in zip(matches, sheets, strict=True)
        },
    }
    return Rating(values[worst], reason, fix if values[worst] < GOOD else "", numbers)


def _sure(similarity: float, sheet: Sheet) -> float:
    """100 from the median of genuine pairs on, AT_FAR at their fifth percentile, 50 at the limit, 0 as far below it.

    Genuine pairs: the references of the character with one another; of fewer than three references, half-way from the
    limit to 1, which is where recognisers have them.
    """
    genuine = _genuine(sheet)
    usual = float(np.median(genuine)) if len(genuine) >= 3 else (1 + sheet.limit) / 2
    usual = max(usual, sheet.limit + GENUINE_SPREAD)
    return float(np.interp(similarity, (2 * sheet.limit - usual, sheet.limit, usual), (0, 50, 100)))


def _genuine(sheet: Sheet) -> np.ndarray:
    cosines = sheet.identities @ sheet.identities.T
    return np.asarray(cosines[np.triu_indices(len(cosines), 1)])


def _rank(similarity: float | None, sheet: Sheet) -> float | None:
    """The percentile of a similarity among genuine pairs; None of fewer than three."""
    genuine = _genuine(sheet)
    return None if similarity is None or len(genuine) < 3 else float(100 * np.mean(genuine <= similarity))


def look(seen: Seen, kit: Kit, habits: Habits | None) -> Rating:
    """Style (STYLE_SHARE) as a distance to the centroid of the channel's pictures, and tone."""
    numbers: dict[str, object] = {"tone": {name: round(x, 4) for name, x in vars(seen.tone).items()}}
    reasons, parts, fixes = [], [], []
    known = _own(seen, kit, habits)
    if known is None:
        reasons.append("style: no picture of the channel to compare with")
    else:
        own, middle = known
        away = float(1 - seen.embedding @ middle)
        style = rated(away, own, floor=LEAST_AWAY)
        parts.append((style, STYLE_SHARE))
        numbers |= {"away": round(away, 4), "percentile": percentile(away, own), "embedder": seen.style.name}
        reasons.append(f"style: {away:.2f} from the channel's centre, where {np.median(own):.2f} is usual")
        if style < GOOD:
            fixes.append("take a picture of the channel as a style reference")
    tone, words, fix = _tone(seen, kit, habits)
    if tone is not None:
        parts.append((tone, 1 - STYLE_SHARE))
        reasons.append(words)
        fixes += [fix] if fix else []
    if not parts:
        return Rating(None, "the kit's look says nothing", "let `learn` fill in look", dict(numbers))
    value = sum(value * weight for value, weight in parts) / sum(weight for _, weight in parts)
    return Rating(value, "; ".join(reasons), "; ".join(fixes) if value < GOOD else "", dict(numbers))


def _own(seen: Seen, kit: Kit, habits: Habits | None) -> tuple[Sequence[float], np.ndarray] | None:
    """The channel's own distances and its centroid: learned by the same embedder, or from its reference images."""
    if habits is not None and habits.embedder == seen.style.name:
        return habits.away, habits.centroid
    if not kit.look.reference_images:
        return None
    vectors = [see(image.read(path).rgb, seen.sight).embedding for path in kit.look.reference_images]
    return USUAL_AWAY, centroid(np.stack(vectors))


def _tone(seen: Seen, kit: Kit, habits: Habits | None) -> tuple[float | None, str, str]:
    """A value for the tone, or None where the kit says nothing of it; a phrase, and a fix."""
    values, words, fixes = [], [], []
    if habits is not None:
        for name, least in SPREADS.items():
            own = [getattr(each, name) for each in habits.tones]
            middle = float(np.median(own))
            strays = [abs(each - middle) for each in own]
            came = getattr(seen.tone, name)
            values.append(rated(abs(came - middle), strays, floor=least))
            if values[-1] < GOOD:
                words.append(f"{name} {came:.2f}, where {middle:.2f} is usual")
                fixes.append(f"{'lower' if came > middle else 'raise'} {_SAID[name]}")
    ranges = {"saturation": kit.look.saturation, "light": RANGES.get(kit.look.key or "")}
    for name, accepted in ranges.items():
        if accepted is not None:
            came = getattr(seen.tone, name)
            beyond = max(accepted[0] - came, came - accepted[1], 0.0)
            values.append(100 * float(np.exp(-beyond / SPREADS[name])))
            if beyond > 0:
                words.append(f"{name} {came:.2f} outside {accepted[0]:g} to {accepted[1]:g}")
                fixes.append(f"{'lower' if came > accepted[1] else 'raise'} {_SAID[name]}")
    if not values:
        return None, "", ""
    return float(np.mean(values)), f"tone: {', '.join(words) or 'as usual'}", "; ".join(dict.fromkeys(fixes))


_SAID = {"saturation": "the saturation", "light": "the exposure", "spread": "the contrast"}


def novelty(seen: Seen, habits: Habits | None) -> float | None:
    """0..100: the distance to the nearest of the channel's own pictures, of what is usual among them; None of none."""
    if habits is None or habits.embedder != seen.style.name:
        return None
    nearest = float(1 - (habits.embeddings @ seen.embedding).max())
    return float(100 * np.clip(nearest / max(float(np.median(habits.nearest)), 1e-6), 0, 1))
