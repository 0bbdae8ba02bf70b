"""One picture, and how like it the drawings of scenes are.

Pictures are compared in CIE Lab after a small box filter, so that noise, compression and an autoencoder's softness do
little and a wrong colour or shape does much. The cost of a pixel is d^2 / (1 + d^2 / c^2) of its distance d (Geman and
McClure 1985): like the squared distance where it is small, which makes the comparison of two drawings the best there
is under white noise; never more than c^2, so that one wrong part does not outweigh the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from recast.errors import ShapeError
from recast.world.draw import draw
from recast.world.scene import Scene

CUT = 20.0
"""The c of the cost: a distance in Lab beyond which more hardly counts."""
VISIBLE = 2.0
"""A distance in Lab, after the filter, from which on two drawings count as different in a pixel."""
SHOWN_PX = 10
"""At least so many pixels, of 256 x 256, must differ between two values for either to show."""
OFF = 5.0
"""A mean distance in Lab at which something must be wrong: more than noise at 31 dB or JPEG make."""
SQUARES = 12
"""In a column of those that `is_like` looks at."""
WORKING_HEIGHT_PX = 256
KEPT_BYTES = 96 << 20
"""Of the latest drawings."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the picture."""


@dataclass(frozen=True)
class Comparison:
    """How like a picture each of several drawings is.

    box: where any of them differs from another, or None if none does. best: index of the drawing most like it.
    margins: of each drawing how clearly the picture shows the best one rather than it, 0 (as near to either) to 1 (as
    far from it as the two are from each other); None where the two look the same. near: the mean distance of the
    picture from the best one, where that differs from the other; gaps: that of the two from each other.
    """

    box: Box | None
    best: int
    costs: tuple[float, ...]
    margins: tuple[float | None, ...]
    near: tuple[float, ...]
    gaps: tuple[float, ...]


class Eye:
    """One picture (H, W, 3) uint8, and what drawings of scenes look like at its size; keeps the latest drawings.

    photograph: the pixels of a scene whose background is "photograph", at the picture's size.
    Raises ShapeError for another array.
    """

    def __init__(self, pixels: np.ndarray, photograph: np.ndarray | None = None) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ShapeError(f"pixels: {pixels.dtype} {pixels.shape} came; uint8 (H, W, 3) accepted")
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.photograph = photograph
        self._shrink = max(1, round(self.height / WORKING_HEIGHT_PX))
        self._size = max(3, round(self.height / 85) | 1)  # of the box filter
        rows, columns = self.height // self._shrink, self.width // self._shrink
        self.enough = SHOWN_PX * rows * columns / 256**2
        self.whole: Box = (0, 0, columns * self._shrink, rows * self._shrink)
        self.seen = self._look(pixels, self.whole)
        self._drawn: OrderedDict[Scene, np.ndarray] = OrderedDict()
        self._grounds: OrderedDict[Scene, np.ndarray] = OrderedDict()
        self._keep = max(8, KEPT_BYTES // pixels.nbytes)

    def smaller(self, by: int) -> Eye:
        """The same picture at a fraction of its size: coarser to see with, and quicker."""
        size = (self.width // by, self.height // by)
        pixels, photograph = (
            None if each is None else cv2.resize(each, size, interpolation=cv2.INTER_AREA)
            for each in (self.pixels, self.photograph)
        )
        assert pixels is not None
        return Eye(pixels, photograph)

    def drawn(self, scene: Scene) -> np.ndarray:
        """The scene as `draw` draws it at the picture's size, (H, W, 3) uint8; not to be written to."""
        if scene in self._drawn:
            self._drawn.move_to_end(scene)
            return self._drawn[scene]
        picture = self._draw(scene)
        self._drawn[scene] = picture
        if len(self._drawn) > self._keep:
            self._drawn.popitem(last=False)
        return picture

    def cost(self, scene: Scene, box: Box | None = None) -> float:
        """The mean cost of a pixel, 0 to CUT^2, of the scene drawn."""
        return self.cost_of(self.drawn(scene), box)

    def cost_of(self, drawing: np.ndarray, box: Box | None = None) -> float:
        """The mean cost of a pixel, 0 to CUT^2, of a drawing (H, W, 3) uint8 of the picture's size."""
        box = box or self.whole
        return float(_cost(self._apart(self._at(self.seen, box), self._look(drawing, box))).mean())

    def on_grounds(self, scene: Scene) -> Callable[[Scene], np.ndarray]:
        """A function from scenes that differ in their ground alone to their drawings, within a level or two.

        Whoever stands there is drawn twice in all, on black and on white: what shows of any ground is between the two.
        Look and style, marks and title are those of the scene on black and white: for a flat scene without a look.
        """
        black, white = (self._over(scene, np.full_like(self.pixels, level)) for level in (0, 255))
        share = cv2.subtract(white, black).astype(np.float32) * np.float32(1 / 255)
        least = black.astype(np.float32)

        def drawing(other: Scene) -> np.ndarray:
            ground = self._ground(other).astype(np.float32)
            return cv2.add(cv2.multiply(ground, share), least).round().astype(np.uint8)

        return drawing

    def finished(self, drawing: np.ndarray, look: str, style: str) -> np.ndarray:
        """A drawing (H, W, 3) uint8 in a look and a style."""
        if (look, style) == ("none", "flat"):
            return drawing
        over = Scene(background="photograph", look=look, style=style)
        return draw(over, self.width, self.height, photograph=drawing)

    def residual(self, scene: Scene, box: Box | None = None) -> np.ndarray:
        """The distance in Lab, pixel by pixel of the box, between the picture and the scene drawn, float32."""
        box = box or self.whole
        return np.sqrt(self._apart(self._at(self.seen, box), self._look(self.drawn(scene), box)))

    def shows(self, scene: Scene) -> bool:
        """Whether the picture is the scene's drawing: whatever would be seen to differ from that is not in it."""
        residual = self.residual(scene)
        return int(np.count_nonzero(residual > VISIBLE / 2)) < self.enough

    def is_like(self, scene: Scene) -> bool:
        """Whether the picture is near the scene's drawing everywhere: no square of it is far off on the average."""
        residual = self.residual(scene)
        columns = max(1, SQUARES * residual.shape[1] // residual.shape[0])
        squares = cv2.resize(residual, (columns, SQUARES), interpolation=cv2.INTER_AREA)
        return bool(squares.max() <= OFF)

    def nearest(self, options: Sequence[Scene]) -> Scene:
        """The one of several scenes that the picture is most like: the best one of `compare`."""
        pictures = [self.drawn(option) for option in options]
        box = self._differing(pictures)
        if box is None:
            return options[0]
        seen = self._at(self.seen, box)
        costs = [_total(self._apart(seen, self._look(picture, box))) for picture in pictures]
        return options[int(np.argmin(costs))]

    def compare(self, options: Sequence[Scene]) -> Comparison:
        """How like the picture each of several scenes is."""
        pictures = [self.drawn(option) for option in options]
        box = self._differing(pictures)
        count = len(options)
        if box is None:
            return Comparison(None, 0, (0.0,) * count, (None,) * count, (0.0,) * count, (0.0,) * count)
        seen = self._at(self.seen, box)
        looks = [self._look(picture, box) for picture in pictures]
        errors = [self._apart(seen, look) for look in looks]
        costs = [_total(error) for error in errors]
        best = int(np.argmin(costs))
        mine = np.sqrt(errors[best])
        margins: list[float | None] = []
        near, gaps = [], []
        for index, look in enumerate(looks):
            apart = self._apart(looks[best], look)
            where = apart > VISIBLE**2
            if index == best or np.count_nonzero(where) < self.enough:
                margins.append(None)
                near.append(0.0)
                gaps.append(0.0)
                continue
            margins.append((costs[index] - costs[best]) / _total(apart))
            near.append(float(mine[where].mean()))
            gaps.append(float(np.sqrt(apart[where]).mean()))
        return Comparison(box, best, tuple(costs), tuple(margins), tuple(near), tuple(gaps))

    def _draw(self, scene: Scene) -> np.ndarray:
        """As `draw`, from what is kept: the ground by itself, and all but the title, or but that, look and style."""
        under = replace(scene, title=None)
        if not scene.marks:  # they point at people, and lie over look and style
            under = replace(under, look="none", style="flat")
        if under != scene:
            look, style = ("none", "flat") if scene.marks else (scene.look, scene.style)
            over = Scene(background="photograph", look=look, style=style, title=scene.title)
            return draw(over, self.width, self.height, photograph=self.drawn(under))
        if scene.background in ("plain", "photograph"):
            return draw(scene, self.width, self.height, photograph=self.photograph)
        return self._over(scene, self._ground(scene))

    def _over(self, scene: Scene, ground: np.ndarray) -> np.ndarray:
        """The scene on a ground (H, W, 3) uint8 other than its own."""
        over = replace(scene, background="photograph", time="day", variant=0, blur=False)
        return draw(over, self.width, self.height, photograph=ground)

    def _ground(self, scene: Scene) -> np.ndarray:
        """The scene's drawn background by itself: half the time of a picture."""
        ground = Scene(background=scene.background, time=scene.time, variant=scene.variant, blur=scene.blur)
        if ground not in self._grounds:
            self._grounds[ground] = draw(ground, self.width, self.height)
            if len(self._grounds) > 32:
                self._grounds.popitem(last=False)
        return self._grounds[ground]

    def _differing(self, pictures: Sequence[np.ndarray]) -> Box | None:
        """The box, with room for the filter, in which any of the pictures differs from the first."""
        differs = np.zeros(pictures[0].shape[:2], np.uint8)
        for other in pictures[1:]:
            if other is not pictures[0]:
                cv2.bitwise_or(differs, cv2.transform(cv2.absdiff(pictures[0], other), _SUM), dst=differs)
        if not differs.any():
            return None
        x, y, w, h = cv2.boundingRect(differs)
        room, step = self._size // 2, self._shrink
        left, top = (max(0, each - room) // step * step for each in (x, y))
        right, bottom = (-(-(each + room) // step) * step for each in (x + w, y + h))
        return left, top, min(right, self.whole[2]), min(bottom, self.whole[3])

    def _at(self, looked: np.ndarray, box: Box) -> np.ndarray:
        left, top, right, bottom = (each // self._shrink for each in box)
        return looked[top:bottom, left:right]

    def _look(self, pixels: np.ndarray, box: Box) -> np.ndarray:
        """Lab, filtered, float32, of the pixels in a box; the same as that part of the whole picture's."""
        left, top, right, bottom = box
        room = self._size // 2
        x0, y0 = max(0, left - room), max(0, top - room)
        part = pixels[y0 : bottom + room, x0 : right + room]
        soft = cv2.blur(part, (self._size, self._size), borderType=cv2.BORDER_REPLICATE)
        soft = soft[top - y0 : bottom - y0, left - x0 : right - x0]
        if self._shrink > 1:
            shape = ((right - left) // self._shrink, (bottom - top) // self._shrink)
            soft = cv2.resize(soft, shape, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(soft.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2LAB)

    @staticmethod
    def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Squared Euclidean distance per pixel of two Lab pictures, (h, w) float32."""
        difference = cv2.subtract(a, b)
        return cv2.transform(cv2.multiply(difference, difference), _SUM).reshape(a.shape[:2])


_SUM = np.ones((1, 3), np.float32)


def _cost(squared: np.ndarray) -> np.ndarray:
    return squared / (1 + squared * np.float32(1 / CUT**2))


def _total(squared: np.ndarray) -> float:
    return float(_cost(squared).sum(dtype=np.float64))


def looks_same(a: Scene, b: Scene, width: int = 256, height: int = 256, photograph: np.ndarray | None = None) -> bool:
    """Whether two scenes are one as far as pictures go: drawn, no more differs than may go unseen.

    Things given in another order, what stands behind another, a title that was shrunk to the size below: equal.
    """
    if a == b:
        return True
    eye = Eye(np.zeros((height, width, 3), np.uint8), photograph)
    return all(margin is None for margin in eye.compare((a, b)).margins)


def hill(score: Callable[[int], float], start: int, count: int, steps: Sequence[int]) -> int:
    """Where in range(count) a score is lowest, walking from `start` in ever smaller steps while it falls."""
    known: dict[int, float] = {}

    def at(place: int) -> float:
        if place not in known:
            known[place] = score(place)
        return known[place]

    best = start
    for step in steps:
        while True:
            around = [place for place in (best - step, best + step) if 0 <= place < count]
            nearest = min(around, key=at, default=best)
            if at(nearest) >= at(best):
                break
            best = nearest
    return best
