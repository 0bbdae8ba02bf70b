"""The source with what was changed on purpose, and nothing else: the steps of a merge, top to bottom.

Two pictures come in, from any editor. The edit is laid on its source (`register`), its drift of colour undone
(`colour`), what is left compared (`difference`), and every region of change blended in behind a border of its own
(`compose`). Everywhere else the bytes are the source's (`certificate`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from recast.errors import ConfigError, GateFailed, InputError
from recast.pixels.image import Picture, encode
from recast.retouch import certificate, compose, difference
from recast.retouch.asked import Asked
from recast.retouch.certificate import Certificate
from recast.retouch.changes import Clock, Look, find_changes
from recast.retouch.colour import NO_FIT, ColourFit
from recast.retouch.compose import Layer
from recast.retouch.detectors import Detector, Touched, Unit, absences, atomic, contents, find_units
from recast.retouch.difference import Difference
from recast.retouch.frame import Frame
from recast.retouch.original import COLOURED, Original, encode_original, loss_of, read_original, write_original
from recast.retouch.regions import Region, write_parts
from recast.retouch.register import STILL, Registration
from recast.retouch.source_half import SourceHalf
from recast.retouch.thresholds import THRESHOLDS, Thresholds

if TYPE_CHECKING:
    from recast.pixels.image import Source

PLAIN = 0.1
"""Mean of 1 - SSIM up to which a region has the structure it had: a hue shift leaves 0.02, an object 0.3 and more."""
Verdict = Literal["no_change", "local", "global", "reframed"]


@dataclass(frozen=True, eq=False)
class Merge:
    """What came of a merge. `result` has the source's size, depth, alpha and profile.

    verdict: "local", merged; "no_change", the result is the source, and what changed, if anything, lies where a strict
    merge allows none; "global" or "reframed", nothing could be kept, and the result is the edit at the source's size.
    regions: every change found, accepted or not; layers: one each.
    support: (H, W) bool, where a byte may differ. certificate: None where nothing was kept.
    """

    source: Original
    edited: Original  # as it came
    result: Original
    verdict: Verdict
    reason: str
    regions: tuple[Region, ...]
    layers: tuple[Layer, ...]
    support: np.ndarray
    certificate: Certificate | None
    registration: Registration
    colour: ColourFit
    frame: Frame = field(repr=False)
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @cached_property
    def aligned(self) -> Original:
        """The whole edit, unmerged, lying on the source, its colour drift undone: at the source's size and depth."""
        return self.frame.aligned(self.registration, self.colour)

    def write(self, path: str | os.PathLike[str], **options: Any) -> list[str]:
        """Write the result, with its certificate where the format keeps it; what a reader should know of it.

        Options and errors as of `recast.retouch.original.write_original`.
        """
        format = options.get("format") or Path(path).suffix.removeprefix(".")
        loss = loss_of(format, options.get("quality"), original=self.result)
        proof = None if loss or self.certificate is None else self.certificate.to_json()
        write_original(self.result, path, certificate=proof, **options)
        return [loss] if loss and self.certificate is not None else []

    def write_parts(self, folder: str | os.PathLike[str], raw: Picture | None = None) -> Path:
        """Keep the source, the unmerged edit and every region beside the result (`recast.retouch.regions`).

        raw: the edit as a model made it, where something was done to it before it was merged.
        """
        return write_parts(
            folder,
            source=_file(self.source),
            edit=_file(self.edited) if raw is None else encode(raw, "png"),
            aligned=self.aligned.srgb8(),
            layers=self.layers,
            regions=self.regions,
            levels=self.source.levels,
            certificate=None if self.certificate is None else self.certificate.to_json(),
        )

    def accepting(self, ids: Sequence[int]) -> Merge:
        """The same merge with these regions taken and all others left as they were in the source.

        Raises InputError for an id that is no region's.
        """
        known = [region.id for region in self.regions]
        strange = sorted(set(ids) - set(known))
        if strange:
            raise InputError(f"regions: no region {strange[0]}; {_listed(known)} accepted; see `regions`")
        if self.certificate is None:  # the edit as it is, in which there are no regions to choose from
            return self
        chosen = tuple(replace(region, is_accepted=region.id in ids) for region in self.regions)
        return _finished(replace(self, regions=chosen))


def merge(
    source: Source | Original | SourceHalf,
    edited: Source | Original,
    *,
    mask: np.ndarray | None = None,
    boxes: Sequence[tuple[int, int, int, int]] = (),
    take: np.ndarray | None = None,
    is_strict: bool = False,
    held: np.ndarray | None = None,
    look: Look = "auto",
    detectors: Sequence[Detector] = (),
    thresholds: Thresholds = THRESHOLDS,
) -> Merge:
    """The changes of `edited` laid into `source`, and a certificate that all else is the source's, byte for byte.

    mask: (H, W) in 0..1 at the source's size, and boxes: (left, top, right, bottom) in its pixels, say where a change
    was asked for: a region that touches neither is found and listed, but not accepted; inside, the faintest change
    counts. is_strict: nothing outside them may change at all, so that regions are cut at their edge, and what lies
    outside is listed, not accepted; cut they are too where the edit changed the whole picture, or framed it anew, which
    a strict merge refuses.
    take: (H, W), an area to take from the edit whatever the difference; of a strict merge too, mask and boxes or not.
    held: (H, W) bool, a part that lies on its source as it came, because its sampler held it there: no motion is sought
    where all else shows other things, which would be one of chance, or where what both show lies in place too. So of
    what a sampler was free to make anew all is taken, and another framing of it is none of the picture.
    look: "global" returns the edit as it is, "auto" decides by the share, "local" merges however much changed, and from
    another framing too where the two pictures agree on a zoom, a turn and a shift.
    detectors: find faces, lines of text or logos, which are taken whole or left whole.
    A `SourceHalf`, made with the same thresholds, saves the merges of several edits of one source what they share.
    Raises InputError for what is no picture or does not fit, ConfigError for is_strict without mask or boxes.
    Source of the method: CIEDE2000 (CIE 142-2001); Lowe 2004 for SIFT; Pérez et al. 2003 for the membrane.
    """
    if look not in ("auto", "local", "global"):
        raise ConfigError(f"look={look!r}: auto, local or global accepted; pass one")
    clock = Clock()
    with clock("read"):
        half = source if isinstance(source, SourceHalf) else SourceHalf(read_original(source), thresholds)
        if half.thresholds != thresholds:
            raise ConfigError("source: a half made with other thresholds than the merge's; make it with the same")
        source, edited = half.original, read_original(edited, name="edited")
        asked = Asked.of(source.width, source.height, mask, boxes, take, is_strict)
        if held is not None and (held.dtype != bool or held.shape != (source.height, source.width)):
            came, accepted = f"{held.dtype} {held.shape}", f"bool {(source.height, source.width)}"
            raise InputError(f"held: {came} came; {accepted} accepted, True where the source was held; make it so")
        frame = Frame.of(source, edited, half)
        seen = half.on(frame.grid)
    if frame.is_identical:
        return _unchanged(frame, "the edit is the source, pixel for pixel", clock)
    frame, registration, fitted, found, labels = find_changes(
        frame, seen, held=held, look=look, thresholds=thresholds, clock=clock
    )
    with clock("detect"):
        units = find_units(detectors, frame.source, frame.shown) if labels.any() and detectors else []
    labels, touched = _constrained(frame, found, labels, asked, units, thresholds)
    notes: list[str] = []
    allowed = asked.allowed_on_grid(frame.grid)
    verdict, reason = _verdict(registration, found, labels if allowed is None else labels * allowed, look, thresholds)
    if verdict == "no_change" and labels.any():  # and strict
        reason = "all that changed lies outside mask and boxes; try another seed, or widen them"
    is_elsewhere, valid = verdict == "reframed" and not is_strict, found.valid
    if (verdict == "global" or is_elsewhere) and look == "auto" and asked.where is not None:
        if is_elsewhere or not _lies_so(frame, registration, asked):  # what was asked for is where it was asked for
            registration, valid = _in_place(frame.grid, reason), np.ones_like(found.valid)
        asked, fitted = replace(asked, is_strict=True), NO_FIT  # a new look is no drift
        labels = asked.areas(frame.grid, valid)
        notes.append(f"{reason}: of the edit only what lies in mask and boxes was taken, and all of it")
        verdict, reason = ("local", "") if labels.any() else ("no_change", "the edit shows nothing in mask and boxes")
    draft = _Draft(frame, registration, fitted, found, labels, asked, units, notes, absences(detectors), clock)
    if verdict in ("global", "reframed"):
        if is_strict:
            raise GateFailed(
                f"edited: {verdict}, {reason}; an edit that leaves the rest in place accepted by a strict merge; "
                "try another seed, or merge without strict"
            )
        return _unmerged(draft, verdict, reason)
    with clock("compose"):
        regions, layers, ids = _layers(draft, thresholds)
    notes += [each.note(labels, ids, allowed) for each in touched]
    return _finished(draft.merge(verdict, reason, source, regions, layers))


@dataclass(frozen=True, eq=False)
class _Draft:
    """What is known once the difference stands."""

    frame: Frame
    registration: Registration
    colour: ColourFit
    difference: Difference | None
    labels: np.ndarray
    asked: Asked
    units: Sequence[Unit]
    notes: list[str]
    absent: list[str]
    clock: Clock

    def merge(
        self, verdict: Verdict, reason: str, result: Original, regions: tuple[Region, ...], layers: tuple[Layer, ...]
    ) -> Merge:
        """A merge whose support and certificate are still to be made."""
        frame = self.frame
        shape = frame.original.samples.shape[:2]
        warnings = (*frame.original.warnings, *(f"edited: {w}" for w in frame.edited.warnings), *self.notes)
        if frame.is_cut_out:
            warnings += ("edited: its transparency is left out, the result has the source's",)
        if frame.has_other_ratio:
            warnings += (f"edited: another ratio of sides than the source's {frame.original.width}x"
                         f"{frame.original.height}; laid on it as {frame.how}",)  # fmt: skip
        noise = () if self.difference is None else self.difference.noise
        report = {
            "format": "recast-merge-1",
            "verdict": verdict,
            "reason": reason,
            "width": frame.original.width,
            "height": frame.original.height,
            "edited": {"width": frame.edited.width, "height": frame.edited.height, "laid": frame.how},
            "grid": list(frame.grid),
            "registration": self.registration.to_dict(),
            "colour": self.colour.to_dict(),
            "noise": [{"median": float(median), "mad": float(mad)} for median, mad in noise],
            "source_sha256": frame.original.sha256(),
            "edited_sha256": frame.edited.sha256(),
            "detectors": [str(unit) for unit in self.units],
            "absent": self.absent,
            "timings_s": self.clock.seconds,
        }
        return Merge(
            frame.original, frame.edited, result, verdict, reason, regions, layers, np.zeros(shape, bool), None,
            self.registration, self.colour, frame, report, tuple(dict.fromkeys(warnings)),
        )  # fmt: skip


def _constrained(
    frame: Frame, found: Difference, labels: np.ndarray, asked: Asked, units: Sequence[Unit], t: Thresholds
) -> tuple[np.ndarray, list[Touched]]:
    """The regions as they may stand: faint ones inside what was asked for too, units whole, holes closed."""
    touched: list[Touched] = []
    where = asked.on_grid(frame.grid)
    if where is not None:
        labels = difference.with_faint(labels, found, where, t.differing)
    labels = difference.fill_holes(labels, found, t.differing)
    if units:
        labels, touched = atomic(labels, units)
    taken = asked.taken_on_grid(frame.grid)
    if taken is not None:
        labels = np.where(taken & found.valid & (labels == 0), labels.max(initial=0) + 1, labels).astype(np.int32)
    allowed = asked.allowed_on_grid(frame.grid)
    if allowed is not None:
        labels = difference.cut_at(labels, allowed, t.differing)
    return difference.in_order(labels), touched


def _kind(found: Difference, here: np.ndarray) -> str:
    """What changed in a region: "colour" where its structure stayed, else "content"."""
    return "content" if float(found.structure[here].mean()) > PLAIN else "colour"


def _verdict(
    registration: Registration, found: Difference, labels: np.ndarray, look: Look, t: Thresholds
) -> tuple[Verdict, str]:
    share = float((labels > 0).mean())
    if registration.is_reframed:
        return "reframed", registration.reason
    if look == "global":
        return "global", "a global look was asked for"
    if look != "local" and found.valid.any():
        if found.is_far(t.judging):
            return "global", f"more than {t.judging.most:.0%} of the frame is far from the source"
        if share > t.judging.most:
            return "global", f"{share:.0%} of the frame changed, more than {t.judging.most:.0%}"
    if share == 0:
        return "no_change", "no region of change was found; try another seed, or say what to change more plainly"
    return "local", ""


def _layers(draft: _Draft, t: Thresholds) -> tuple[tuple[Region, ...], tuple[Layer, ...], dict[int, int]]:
    """Every region with the layer that carries it, at the source's size; and the id that each label has become."""
    frame, found, labels = draft.frame, draft.difference, draft.labels
    assert found is not None
    around = compose.margin(frame.scale, t.composing)
    inside = contents(labels, draft.units)
    reachable = draft.asked.allowed_on_grid(frame.grid)
    regions: list[Region] = []
    layers: list[Layer] = []
    ids: dict[int, int] = {}
    for number in range(1, int(labels.max()) + 1):
        here = labels == number
        if not here.any():
            continue
        box = frame.native_box(here, around)
        core = frame.native_mask(here, box)
        within = draft.asked.allowed(box)
        is_left = reachable is not None and not (here & reachable).any()
        if is_left:  # should it be accepted, no seam is to show the cut
            rim = math.ceil(t.composing.least_width_px * frame.scale) + 1
            core = cv2.dilate((core & ~within).astype(np.uint8), np.ones((2 * rim + 1,) * 2, np.uint8)) > 0
            core &= frame.native_mask(labels > 0, box)
            within = np.ones_like(within)
        core &= within
        if not core.any():
            continue
        pixels, valid = frame.edit_in(box, draft.registration, draft.colour)
        layer = compose.layer(
            frame.source_in(box),
            pixels,
            core,
            frame.native_map(found.delta, box),
            box=box,
            levels=frame.original.levels,
            scale=frame.scale,
            within=valid & within,
            thresholds=t.composing,
        )
        layers.append(layer)
        ids[number] = len(layers)
        regions.append(
            Region(
                id=ids[number],
                box=_tight(core, box),
                area=int(core.sum()),
                delta_e=round(float(found.delta[here].mean()), 2),
                kind=_kind(found, here),
                contains=inside.get(number, ()),
                is_accepted=not is_left and draft.asked.touches(core, box),
            )
        )
    return tuple(regions), tuple(layers), ids


def _tight(core: np.ndarray, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(core.astype(np.uint8))
    return box[0] + left, box[1] + top, box[0] + left + width, box[1] + top + height


def _finished(draft: Merge) -> Merge:
    """The merge with its accepted layers laid in, certified, and reported."""
    source = draft.source
    chosen = [layer for layer, region in zip(draft.layers, draft.regions, strict=True) if region.is_accepted]
    support = compose.support(chosen, source.samples.shape[:2])
    result = source.with_samples(compose.composite(source.samples, chosen))
    proof = certificate.certify(source, result, support)
    unasked = [region.id for region in draft.regions if not region.is_accepted]
    told = (*(each for each in draft.warnings if each != COLOURED), *result.warnings)
    warnings = tuple(dict.fromkeys(told))
    report = draft.report | {
        "changed_share": round(float(support.mean()), 6),
        "preserved": proof.preserved,
        "preserved_sha256": proof.preserved_sha256,
        "regions": [
            region.to_dict() | {"seam": round(layer.seam, 3), "seam_kind": layer.seam_kind}
            for region, layer in zip(draft.regions, draft.layers, strict=True)
        ],
        "rejected": unasked,
        "warnings": list(warnings),
    }
    return replace(draft, result=result, support=support, certificate=proof, report=report, warnings=warnings)


def _unchanged(frame: Frame, reason: str, clock: Clock) -> Merge:
    """A merge that found nothing: the source, certified whole."""
    nothing = np.zeros(frame.grid[::-1], np.int32)
    anywhere = Asked.of(frame.original.width, frame.original.height, None, (), None, False)
    still = _in_place(frame.grid, "identical")
    draft = _Draft(frame, still, NO_FIT, None, nothing, anywhere, [], [], [], clock)
    return _finished(draft.merge("no_change", reason, frame.original, (), ()))


def _unmerged(draft: _Draft, verdict: Verdict, reason: str) -> Merge:
    """The edit at the source's size, with nothing of the source in it."""
    made = draft.merge(verdict, reason, draft.frame.original, (), ())
    result = draft.frame.aligned(_in_place(draft.frame.grid, reason), NO_FIT)
    report = made.report | {"changed_share": 1.0, "preserved": 0, "regions": [], "rejected": [],
                            "warnings": list(made.warnings)}  # fmt: skip
    return replace(made, result=result, support=np.ones(made.support.shape, bool), report=report)


def _lies_so(frame: Frame, registration: Registration, asked: Asked) -> bool:
    """Whether what was to stay speaks for a motion: it lies nearer to the source with it than without.

    Where nearly everything is new, keypoints find likeness by chance.
    """
    where = asked.on_grid(frame.grid)
    if registration.is_identity or where is None:
        return True
    moved, valid = frame.on_grid(registration)
    stays = ~where & valid
    source, still = frame.source.astype(np.int16), frame.shown.astype(np.int16)
    return bool(np.abs(source - moved)[stays].sum() < np.abs(source - still)[stays].sum())


def _in_place(grid: tuple[int, int], reason: str) -> Registration:
    return Registration("identity", STILL, None, 0, 0.0, 0.0, False, reason, grid)


def _file(picture: Original) -> bytes:
    """The file a picture came in, if it is still there as it was; else a PNG of it."""
    if picture.source is not None and Path(picture.source).is_file():
        data = Path(picture.source).read_bytes()
        with suppress(InputError):
            again = read_original(data)
            if (again.sha256(), again.colours) == (picture.sha256(), picture.colours):
                return data
    return encode_original(picture, "png")


def _listed(ids: Sequence[int]) -> str:
    return "none" if not ids else str(ids[0]) if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
