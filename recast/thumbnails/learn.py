"""A brand kit from a channel's past thumbnails: palette, layouts, tone, habits of titles, and how they look."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.thumbnails.boxes import FRAME, Box
from recast.thumbnails.habits import Habits, centroid
from recast.thumbnails.kit import Colour, Kit, Layout, Look, Rules
from recast.thumbnails.palette import Swatch, covered, moved, palette
from recast.thumbnails.seeing import Sight
from recast.thumbnails.seen import Seen, see

LEAST_PICTURES = 3
LEAST_PX = 64
TOLERANCES = 4.0, 12.0
"""The least and the most CIEDE2000 of a learned colour, around the spread that it has."""
COLOURS = 8
INK, PAPER, GREY = 25.0, 85.0, 12.0
"""CIELAB lightness below and above which a colour is called ink and paper; chroma below which it is grey."""
SIDES = {"left": 0.42, "center": 0.58, "right": 1.0}
"""Where the middle of the largest face ends, from the left, that is said to be on a side."""
LEAST_SHARE = 0.2
"""Of the pictures that have a layout, for it to be a habit."""


@dataclass(frozen=True, eq=False)
class Draft:
    """A kit to be edited, the numbers that go into its side file, and what could not be learned: a sentence each."""

    kit: Kit
    habits: Habits
    notes: tuple[str, ...]


def learn(pictures: Sequence[Path], *, name: str, sight: Sight | None = None) -> Draft:
    """The kit that a channel's past thumbnails follow.

    sight: faces and text are only looked for with what it has; the notes say what is absent. Raises InputError for
    fewer than three different pictures, and names every one that cannot be read.
    """
    sight = sight or Sight()
    paths, rgbs, notes = _read(pictures)
    seen = [see(rgb, sight) for rgb in rgbs]
    swatches = palette([each.colours for each in seen], most=COLOURS)
    kit_palette = _named(swatches)
    layouts = _layouts(seen, notes)
    rules = _rules(seen, notes)
    habits = _habits(paths, seen, kit_palette)
    saturations = [each.tone.saturation for each in seen]
    keys = [each.tone.key for each in seen]
    look = Look(
        reference_images=tuple(paths[i] for i in np.argsort(habits.away, kind="stable")[:6]),
        saturation=(max(round(min(saturations) - 0.03, 2), 0.0), min(round(max(saturations) + 0.03, 2), 1.0)),
        key=Counter(keys).most_common(1)[0][0],
    )
    notes.append("fonts, logo and characters: not learned from pictures; add them as `recast thumbnails new` shows")
    kit = Kit(name=name, folder=Path(), palette=kit_palette, layouts=layouts, look=look, rules=rules)
    return Draft(kit, habits, tuple(notes))


def write(draft: Draft, folder: Path) -> tuple[Path, Path]:
    """Write brand.yaml and brand.style.json into a folder, which is made if it is not there; their paths.

    Both or neither. Raises InputError if one of them is there already, and for a place that cannot be written.
    """
    brand, style = folder / "brand.yaml", folder / "brand.style.json"
    for path in (brand, style):
        if path.exists():
            raise InputError(f"out={str(folder)!r}: holds a {path.name}; a folder without one accepted; name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        words = f"cannot be made ({failure.strerror}); a folder in a writable place accepted; name another"
        raise InputError(f"out={str(folder)!r}: {words}") from failure
    image.write_bytes(draft.habits.to_json(), style)
    try:
        image.write_bytes(_yaml(draft, folder, style.name).encode(), brand)
    except BaseException:
        with suppress(OSError):
            style.unlink()
        raise
    return brand, style


def _read(pictures: Sequence[Path]) -> tuple[list[Path], list[np.ndarray], list[str]]:
    """The different pictures of some paths, and notes on those that came again."""
    paths: list[Path] = []
    rgbs: list[np.ndarray] = []
    notes: list[str] = []
    broken: list[str] = []
    first: dict[str, Path] = {}
    for path in pictures:
        try:
            picture = image.read(path)
        except InputError as failure:
            broken.append(f"{path}: {str(failure).partition(': ')[2]}")
            continue
        if min(picture.width, picture.height) < LEAST_PX:
            broken.append(f"{path}: {picture.width}x{picture.height} pixels; sides of at least {LEAST_PX} accepted")
        elif (digest := picture.sha256()) in first:
            notes.append(f"{path.name}: the same picture as {first[digest].name}; counted once")
        else:
            first[digest] = path
            paths.append(path)
            rgbs.append(picture.rgb)
    if broken:
        raise InputError(f"pictures: cannot be learned from; leave them out: {'; '.join(broken)}")
    if len(paths) < LEAST_PICTURES:
        came = f"{len(paths)} came{' that differ' if notes else ''}"
        words = f"at least {LEAST_PICTURES} accepted, ten or more are better; name more of the channel's thumbnails"
        raise InputError(f"pictures: {came}; {words}")
    return paths, rgbs, notes


def _named(swatches: Sequence[Swatch]) -> tuple[Colour, ...]:
    """The colours with roles: ink and paper at the ends, the strongest as primary, the next as accent."""
    chroma = [float(np.hypot(*each.lab[1:])) for each in swatches]
    roles = [""] * len(swatches)
    for role, fits in (
        ("ink", [each.lab[0] < INK for each in swatches]),
        ("paper", [each.lab[0] > PAPER and c < GREY for each, c in zip(swatches, chroma, strict=True)]),
    ):
        for i, is_it in enumerate(fits):
            if is_it and not roles[i] and role not in roles:
                roles[i] = role
    left = [i for i, role in enumerate(roles) if not role]
    strong = sorted((i for i in left if chroma[i] >= GREY), key=lambda i: -chroma[i] * swatches[i].share)
    for role, i in zip(("primary", "accent"), strong, strict=False):
        roles[i] = role
    for number, i in enumerate((i for i in left if not roles[i]), start=1):
        roles[i] = f"{'grey' if chroma[i] < GREY else 'colour'}-{number}"
    return tuple(
        Colour(
            role=role, hex=each.hex, tol=round(float(np.clip(each.spread, *TOLERANCES)), 1), share=_three(each.share)
        )
        for role, each in zip(roles, swatches, strict=True)
    )


def _three(share: float) -> float:
    return round(share, 3)


def _habits(paths: Sequence[Path], seen: Sequence[Seen], kit_palette: tuple[Colour, ...]) -> Habits:
    """Each picture measured against all others, so that it does not vouch for itself."""
    embeddings = np.stack([each.embedding for each in seen])
    away, within, distances = [], [], []
    for i, each in enumerate(seen):
        others = [j for j in range(len(seen)) if j != i]
        away.append(float(1 - embeddings[i] @ centroid(embeddings[others])))
        swatches = palette([seen[j].colours for j in others], most=COLOURS)
        labs, shares = np.stack([swatch.lab for swatch in swatches]), np.array([swatch.share for swatch in swatches])
        tolerances = np.clip([swatch.spread for swatch in swatches], *TOLERANCES)
        within.append(covered(each.colours, labs, tolerances))
        distances.append(moved(each.colours, labs, shares))
    return Habits(
        pictures=tuple(path.name for path in paths),
        embedder=seen[0].style.name,
        embeddings=embeddings,
        away=tuple(away),
        tones=tuple(each.tone for each in seen),
        palette=kit_palette,
        covered=tuple(within),
        moved=tuple(distances),
        texts=None if seen[0].lines is None else tuple("\n".join(x.text for x in each.lines or ()) for each in seen),
    )


def _layouts(seen: Sequence[Seen], notes: list[str]) -> tuple[Layout, ...]:
    """Where text lies when the largest face is on the left, in the middle, on the right; each a habit of several."""
    if seen[0].lines is None:
        notes.append("layouts: absent; without a reader of text nobody knows where titles lie; install recast[reading]")
        return ()
    if seen[0].faces is None:
        notes.append("layouts: without faces, by the place of the text alone; no detector of faces was given")
    groups: dict[str, list[Seen]] = {}
    for each in seen:
        box, what = (each.face, "face") if each.face else (each.text, "text")
        if each.text and box:
            side = next(side for side, end in SIDES.items() if box.center[0] <= end or side == "right")
            groups.setdefault(f"{what}-{side}", []).append(each)
    least = max(2, LEAST_SHARE * len(seen))
    habits = {name: group for name, group in groups.items() if len(group) >= least}
    if not habits:
        notes.append("layouts: no place of face and text came twice; add the channel's own")
    made = []
    for name, group in sorted(habits.items(), key=lambda each: (-len(each[1]), each[0])):
        text = _around([each.text for each in group if each.text])
        faces = [each.face for each in group if each.face]
        made.append(Layout(id=name, text=text, face=_around(faces) if faces else None))
    return tuple(made)


def _around(boxes: Sequence[Box]) -> Box:
    """The box that holds most of some boxes: its sides are their 10th and 90th percentiles, within the frame."""
    left, top = (float(np.quantile([getattr(box, side) for box in boxes], 0.1)) for side in ("left", "top"))
    right, bottom = (float(np.quantile([getattr(box, side) for box in boxes], 0.9)) for side in ("right", "bottom"))
    sides = [min(max(round(side, 3), FRAME.left), FRAME.right) for side in (left, top, right, bottom)]
    return Box(*sides)


def _rules(seen: Sequence[Seen], notes: list[str]) -> Rules:
    """The longest titles of nine in ten pictures."""
    if seen[0].lines is None:
        return Rules()
    titles = [[line.text for line in each.lines] for each in seen if each.lines]
    if not titles:
        notes.append("titles: none was read on any picture")
        return Rules()
    texts = [" ".join(lines) for lines in titles]
    upper = sum(text == text.upper() for text in texts)
    notes.append(f"titles: {upper} of {len(texts)} in capitals; set case: upper in fonts if that is a habit")
    usual = Rules()

    def most(values: list[int], limit: int) -> int:
        return min(max(int(np.ceil(np.quantile(values, 0.9))), 1), limit)

    return Rules(
        max_words=max(most([len(text.split()) for text in texts], 12), 1),
        max_characters=max(most([len(text) for text in texts], 60), usual.max_characters // 2),
        max_lines=most([len(lines) for lines in titles], 4),
    )


def _yaml(draft: Draft, folder: Path, style: str) -> str:
    """The kit as a file to be edited."""
    kit = draft.kit
    rows = [f"# Learned from {len(draft.habits.pictures)} thumbnails; edit what is not meant.", "schema: 1"]
    rows += [f"# {note}" for note in draft.notes]
    rows += [f"name: {_quoted(kit.name)}", "", "palette:   # share: of the salient area of the pictures", *(
        f"  - {{role: {each.role}, hex: {_quoted(each.hex)}, tol: {each.tol:g}, share: {each.share:g}}}"
        for each in kit.palette
    )]  # fmt: skip
    rows += ["", "layouts:   # [left, top, right, bottom] in percent of the frame" if kit.layouts else "layouts: []"]
    for layout in kit.layouts:
        face = f", face: {_percent(layout.face)}" if layout.face else ""
        rows.append(f"  - {{id: {layout.id}, text: {_percent(layout.text)}{face}}}")
    low, high = kit.look.saturation or (0.0, 1.0)
    references = ", ".join(_quoted(_relative(path, folder)) for path in kit.look.reference_images)
    rows += ["", "look:", f"  reference_images: [{references}]", f"  saturation: [{low:g}, {high:g}]"]
    rows += [f"  key: {kit.look.key}", f"  style: {style}   # how the pictures look, and how far they stray", ""]
    rules = kit.rules
    titles = f"max_words: {rules.max_words}, max_characters: {rules.max_characters}, max_lines: {rules.max_lines}"
    return "\n".join([*rows, f"rules: {{{titles}}}", "export: {profiles: [youtube-portable]}", ""])


def _percent(box: Box) -> str:
    sides = (box.left, box.top, box.right, box.bottom)
    return f"[{', '.join(f'{100 * side:.4g}' for side in sides)}]"


def _relative(path: Path, folder: Path) -> str:
    """A path as a file in `folder` writes it."""
    return os.path.relpath(path.absolute(), folder.absolute())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
