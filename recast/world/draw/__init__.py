"""Scene to pixels: the same bytes on any machine, real anti-aliasing at any size, and what each pixel belongs to."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import cv2
import numpy as np

from recast.errors import InputError
from recast.world.draw import backgrounds, exact, marks, photo, styles
from recast.world.draw.canvas import OVER, Canvas
from recast.world.draw.people import person, silhouette
from recast.world.draw.things import stand, thing
from recast.world.lettering import paint
from recast.world.scene import COLOURS, PHOTOGRAPHS, Scene, Thing, check

SMALLEST_PX = 64
SPILL = 3  # points of the canvas by which a smooth edge reaches beyond its label
WIDEST = 3.0  # times as wide as high, or as high as wide
SHADOW = 56  # of 128: how much light a shadow takes at its darkest
SHADOW_GRID = 64  # rows: shadows are blurred small, then enlarged
BLUR = 5  # side of the box, in pixels of that grid, which blurs them twice
_LIGHT = (128 - (np.arange(256) * SHADOW + 128) // 255).astype(np.uint8)


@dataclass(frozen=True)
class Drawn:
    """A picture and what its pixels belong to.

    pixels: (H, W, 3) uint8. fine: (OVER H, OVER W) uint8, of each point that was averaged into a pixel the index into
    `names` of the part seen there; names are paths such as "characters.0.hat". shadows: of each part that casts one,
    where it does, (H, W) bool.
    """

    pixels: np.ndarray
    fine: np.ndarray
    names: tuple[str, ...]
    shadows: tuple[tuple[str, np.ndarray], ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """Of each pixel the index into `names` of the part at its upper left corner, (H, W) uint8."""
        return self.fine[::OVER, ::OVER]

    def mask(self, path: str) -> np.ndarray:
        """Every pixel, (H, W) bool, on which the part at a path has any share: "characters.0", "things.1", "title".

        Includes the pixels at its edge, where its colour is mixed with its neighbour's, and its shadow. What may be
        missing: a trace, a few levels in a pixel or two, in a gap finer than a point between two things before it, or
        of an edge that lies just outside the picture. For the exact difference of two pictures there is `changed`.
        """
        mask = self._touched(path)
        for name, shadow in self.shadows:
            if _within(name, path):
                mask = mask | (shadow & self._touched("background"))
        return mask

    def _touched(self, path: str) -> np.ndarray:
        own = np.array([_within(name, path) for name in self.names], np.uint8)
        spread = cv2.dilate(own[self.fine], np.ones((2 * SPILL + 1, 2 * SPILL + 1), np.uint8))
        height, width = self.pixels.shape[:2]
        return np.logical_or.reduce(spread.reshape(height, OVER, width, OVER), axis=(1, 3))


def draw(scene: Scene, width: int = 256, height: int = 256, *, photograph: np.ndarray | None = None) -> np.ndarray:
    """The picture of a scene, (height, width, 3) uint8; the same bytes for the same scene and size.

    photograph: (height, width, 3) uint8, the background of a scene whose background is "photograph", and only of such.
    Raises InputError for what the world does not know, a side under 64 px, and a picture over three times as long as
    broad.
    """
    return _drawn(scene, width, height, photograph, labelled=False).pixels


def draw_parts(scene: Scene, width: int = 256, height: int = 256, *, photograph: np.ndarray | None = None) -> Drawn:
    """The picture of a scene as `draw` makes it, and of each pixel the part it shows."""
    return _drawn(scene, width, height, photograph, labelled=True)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where two pictures (H, W, 3) uint8 differ at all, (H, W) bool. Raises InputError unless they are of one size."""
    if before.shape != after.shape or before.dtype != np.uint8 or after.dtype != np.uint8:
        raise InputError(
            f"before, after: {before.dtype} {before.shape} and {after.dtype} {after.shape} came; two uint8 pictures "
            "of one size accepted; draw both at the same width and height"
        )
    differs: np.ndarray = (before != after).any(-1)
    return differs


def _drawn(scene: Scene, width: int, height: int, photograph: np.ndarray | None, labelled: bool) -> Drawn:
    check(scene)
    _check_size(width, height)
    ground = _background(scene, width, height, photograph)
    ground, shadows = _shadows(ground, scene, labelled)
    if scene.characters or scene.things:
        canvas = Canvas(width, height, ground, labelled)
        _things(canvas, scene, "big")
        for i, character in enumerate(scene.characters):
            person(canvas, character, f"characters.{i}")
        _things(canvas, scene, "small")
        pixels = canvas.finished()
        labels: np.ndarray | None = canvas.labels
        names = list(canvas.names)
    else:
        pixels, names = ground, ["background"]
        labels = np.zeros((height * OVER, width * OVER), np.uint8) if labelled else None
    pixels = styles.style(styles.look(pixels, scene.look), scene.style)
    for i, mark in enumerate(scene.marks):
        before = pixels
        canvas = Canvas(width, height, pixels)
        marks.draw(canvas, mark, scene)
        pixels = canvas.finished()
        _label(labels, names, f"marks.{i}", before, pixels)
    if scene.title is not None:
        before, pixels = pixels, pixels.copy()
        paint(pixels, scene.title)
        _label(labels, names, "title", before, pixels)
    if not pixels.flags.writeable:  # nothing was put on a background that is kept
        pixels = pixels.copy()
    return Drawn(pixels, labels if labels is not None else np.zeros((0, 0), np.uint8), tuple(names), shadows)


def _background(scene: Scene, width: int, height: int, photograph: np.ndarray | None) -> np.ndarray:
    if (scene.background == "photograph") != (photograph is not None):
        raise InputError(
            f"photograph: {'none' if photograph is None else 'one'} came with background={scene.background!r}; pixels "
            "accepted with background='photograph' and needed there; give both or neither"
        )
    if photograph is None:
        return _ground(scene.background, scene.time, scene.variant, scene.blur, width, height)
    if photograph.shape != (height, width, 3) or photograph.dtype != np.uint8:
        raise InputError(
            f"photograph: {photograph.dtype} {photograph.shape} came; uint8 {(height, width, 3)} accepted, as "
            "width and height say; crop or scale it first"
        )
    pixels = photo.time_of_day(photograph, scene.time)
    return photo.blur_background(pixels) if scene.blur else pixels


def _ground(background: str, time: str, variant: int, blur: bool, width: int, height: int) -> np.ndarray:
    """A background of ours by itself, read-only; kept for the next scene that has it: half a picture's work."""
    key = (background, time, variant, blur, width, height)
    kept = _PHOTOGRAPH_LIKE if background in PHOTOGRAPHS else _CARTOON
    pixels = kept.get(key)
    if pixels is None:
        if background in PHOTOGRAPHS:
            pixels = photo.base(background, variant, time, width, height)
        else:
            canvas = Canvas(width, height)
            backgrounds.draw(canvas, Scene(background=background, time=time, variant=variant))
            pixels = canvas.finished()
        if blur:  # a photograph stays sharp in its middle, where its subject is; a drawn ground has none
            pixels = (photo.blur_background if background in PHOTOGRAPHS else photo.blur)(pixels)
        pixels.flags.writeable = False
        kept.put(key, pixels)
    return pixels


class _Kept:
    """The pictures used last, as many as fit into so many bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self._bytes = limit_bytes, 0
        self._pictures: OrderedDict[tuple[object, ...], np.ndarray] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[object, ...]) -> np.ndarray | None:
        with self._lock:
            picture = self._pictures.get(key)
            if picture is not None:
                self._pictures.move_to_end(key)
            return picture

    def put(self, key: tuple[object, ...], picture: np.ndarray) -> None:
        with self._lock:
            if key not in self._pictures and picture.nbytes <= self.limit_bytes:
                self._pictures[key] = picture
                self._bytes += picture.nbytes
            while self._bytes > self.limit_bytes:
                self._bytes -= self._pictures.popitem(last=False)[1].nbytes


_CARTOON = _Kept(120_000_000)
"""All drawn backgrounds, times and variants at 256x256 take 85 MB."""
_PHOTOGRAPH_LIKE = _Kept(16_000_000)
"""Few: they have no end, and are seen again only where one picture is measured or edited many times."""


def _things(canvas: Canvas, scene: Scene, size: str) -> None:
    for i, each in enumerate(scene.things):
        if each.size == size:
            canvas.part(f"things.{i}")
            x, y, high = stand(each, canvas.aspect, scene.background)
            thing(canvas, each.kind, (x, y), high, COLOURS[each.colour])


def _shadows(ground: np.ndarray, scene: Scene, labelled: bool) -> tuple[np.ndarray, tuple[tuple[str, np.ndarray], ...]]:
    """The background in the soft shadow of who stands before it, and whose shadow lies where."""
    casts = [(f"things.{i}", each) for i, each in enumerate(scene.things)]
    parts = [*casts, *((f"characters.{i}", each) for i, each in enumerate(scene.characters))]
    if not parts or scene.background == "plain":
        return ground, ()
    height, width = ground.shape[:2]
    rows = SHADOW_GRID
    columns = max(1, round(rows * width / height))
    whole, areas = np.zeros((rows, columns), np.uint8), []
    for name, part in parts:
        one = np.zeros((rows, columns), np.uint8) if labelled else whole
        _cast(one, part, width / height, scene.background)
        if labelled:
            whole = np.maximum(whole, one)
            reach = cv2.dilate(one, np.ones((2 * BLUR + 1, 2 * BLUR + 1), np.uint8))
            areas.append((name, _enlarged(reach, width, height) > 0))
    light = cv2.LUT(_enlarged(cv2.blur(cv2.blur(whole, (BLUR, BLUR)), (BLUR, BLUR)), width, height), _LIGHT)
    return exact.scaled(ground, light), tuple(areas)


def _cast(grid: np.ndarray, part: object, aspect: float, background: str) -> None:
    scale = grid.shape[0] * 32
    if isinstance(part, Thing):
        x, y, size = stand(part, aspect, background)
        axes = (round(0.48 * size * scale), round(0.07 * size * scale))
        cv2.ellipse(grid, (round(x * scale), round((y + 0.01) * scale)), axes, 0, 0, 360, 255, -1, cv2.LINE_8, 5)
        return
    (x, y, rx, ry), body = silhouette(part, aspect)  # type: ignore[arg-type]
    aside = 0.03
    axes = (round(rx * scale), round(ry * scale))
    cv2.ellipse(grid, (round((x + aside) * scale), round((y + aside) * scale)), axes, 0, 0, 360, 255, -1, cv2.LINE_8, 5)
    corners = np.rint(np.add(body, aside) * scale).astype(np.int32)
    cv2.fillPoly(grid, [corners], 255, cv2.LINE_8, 5)


def _enlarged(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    enlarged: np.ndarray = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return enlarged


def _label(labels: np.ndarray | None, names: list[str], name: str, before: np.ndarray, after: np.ndarray) -> None:
    if labels is not None:
        names.append(name)
        height, width = before.shape[:2]
        labels.reshape(height, OVER, width, OVER)[:] = np.where(
            changed(before, after)[:, None, :, None], len(names) - 1, labels.reshape(height, OVER, width, OVER)
        )


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(path + ".")


def _check_size(width: int, height: int) -> None:
    for name, side, other in (("width", width, height), ("height", height, width)):
        if side < SMALLEST_PX:
            raise InputError(f"{name}={side}: at least {SMALLEST_PX} pixels accepted; choose a larger one")
        if side > WIDEST * other:
            raise InputError(f"{name}={side}: up to {int(WIDEST * other)} accepted beside {other}; make it less oblong")
