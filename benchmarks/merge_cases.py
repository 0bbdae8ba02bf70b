"""Sources, what was to be changed in them, and what an editor did besides: triples of which the truth is known.

A case is drawn from its seed alone: a picture (a photograph that scikit-image packages, a photograph-like or a cartoon
scene of the world, flat graphics), a change (object, thin lettering, hue, removal, arrow; or nothing, or a look),
and a distortion (shift 0-12 px, zoom 0.96-1.04, a colour field, JPEG, blur and noise, nano's own autoencoder).
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter

from recast.world import sample
from recast.world.draw import draw

PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle", "photo-like", "cartoon", "flat")
LETTERS = "ABCDEFGHKLMNPRSTUVXYZ"
CHANGES = ("object", "text", "hue", "removal", "arrow")
DISTORTIONS = ("none", "jpeg", "colour", "moved", "vae", "autoencoder", "all")
"""none: byte-equal outside the change. vae: blur, noise and JPEG. autoencoder: nano's round trip. all: moved, colour
field, blur and noise, JPEG."""


@dataclass(frozen=True, eq=False)
class Case:
    """All pictures (H, W, 3) uint8. truth: (H, W) bool, where `target` differs from `source`.

    matrix: (2, 3), where a source pixel lies in `edited`. edited: what a merge is given.
    """

    name: str
    source: np.ndarray
    target: np.ndarray
    edited: np.ndarray
    truth: np.ndarray
    matrix: np.ndarray
    box: tuple[int, int, int, int] | None = field(default=None)


def cases(
    seeds: range,
    *,
    pictures: tuple[str, ...] = PICTURES,
    changes: tuple[str, ...] = CHANGES,
    distortions: tuple[str, ...] = DISTORTIONS,
) -> Iterator[Case]:
    """Every picture with every change and distortion, in turn, one a seed."""
    ways = [(p, c, d) for d in distortions for c in changes for p in pictures]
    for seed in seeds:
        picture, change, distortion = ways[seed % len(ways)]
        yield case(picture, change, distortion, seed)


def case(picture: str, change: str, distortion: str, seed: int) -> Case:
    """One case. change may also be "none" (nothing) or "night" (a global look)."""
    rng = random.Random(f"{picture}/{change}/{distortion}/{seed}")
    source = photograph(picture, rng)
    target, box = CHANGE[change](source, rng)
    edited, matrix = distorted(target, distortion, rng)
    truth = (source != target).any(-1)
    return Case(f"{picture}/{change}/{distortion}/{seed}", source, target, edited, truth, matrix, box)


def photograph(name: str, rng: random.Random) -> np.ndarray:
    """A source picture (H, W, 3) uint8."""
    if name == "photo-like":
        return draw(sample.scene(rng.randrange(1 << 30), kind="photo"), 1280, 720)
    if name == "cartoon":
        return draw(sample.scene(rng.randrange(1 << 30), kind="cartoon"), 1280, 720)
    if name == "flat":
        return _flat(rng)
    return _packaged(name)


@cache
def _packaged(name: str) -> np.ndarray:
    if name == "motorcycle":
        return np.ascontiguousarray(skimage.data.stereo_motorcycle()[0][..., :3])
    return np.ascontiguousarray(getattr(skimage.data, name)()[..., :3])


def _flat(rng: random.Random) -> np.ndarray:
    """A poster: a few flat fields and discs, with soft edges and no texture at all."""
    image = Image.new("RGB", (1200, 800), _colour(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, r = rng.randrange(1200), rng.randrange(800), rng.randrange(60, 260)
        shape = rng.choice((pen.rectangle, pen.ellipse))
        shape((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=_colour(rng))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)))


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(30, 226), rng.randrange(30, 226), rng.randrange(30, 226)


def _box(source: np.ndarray, rng: random.Random, low: float, high: float) -> tuple[int, int, int, int]:
    """A box with sides of low to high of the picture's, well inside it."""
    height, width = source.shape[:2]
    w, h = round(width * rng.uniform(low, high)), round(height * rng.uniform(low, high))
    left, top = rng.randrange(12, width - w - 12), rng.randrange(12, height - h - 12)
    return left, top, left + w, top + h


def _pasted(source: np.ndarray, paint: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.rint(source + (paint - source.astype(np.float32)) * alpha[..., None]).astype(np.uint8)


def _stencil(source: np.ndarray, shape: Callable[[ImageDraw.ImageDraw, int], None]) -> np.ndarray:
    """Coverage (H, W) of a shape drawn at four times the size, box filtered."""
    height, width = source.shape[:2]
    image = Image.new("L", (width * 4, height * 4))
    shape(ImageDraw.Draw(image), 4)
    return np.asarray(image.reduce(4), np.float32) / 255


def with_object(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """A textured disc or box, of a colour far from what it covers."""
    box = _box(source, rng, 0.12, 0.3)
    left, top, right, bottom = box
    alpha = _stencil(source, lambda pen, k: pen.ellipse([k * side for side in box], fill=255))
    mean = source[top:bottom, left:right].reshape(-1, 3).mean(0)
    colour = np.array([230 if level < 128 else 25 for level in mean], np.float32)
    waves = 12 * np.sin(np.add.outer(np.arange(source.shape[0]), 1.7 * np.arange(source.shape[1])) / 5)
    return _pasted(source, (colour + waves[..., None]).clip(0, 255), alpha), box


def with_text(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """A line of capitals 18 to 40 px high in strokes of 2 px, white or black."""
    height, width = source.shape[:2]
    face, cap, text = (
        cv2.FONT_HERSHEY_SIMPLEX,
        rng.randrange(18, 41),
        "".join(rng.choices(LETTERS, k=rng.randrange(5, 9))),
    )
    scale = cv2.getFontScaleFromHeight(face, cap, 2)
    long, high = cv2.getTextSize(text, face, scale, 2)[0]
    left, bottom = rng.randrange(4, max(5, width - long - 4)), rng.randrange(high + 6, height - 6)
    ink = cv2.putText(np.zeros((height, width), np.uint8), text, (left, bottom), face, scale, 255, 2, cv2.LINE_AA)
    alpha = ink.astype(np.float32) / 255
    level = 245 if source[alpha > 0.5].mean() < 128 else 12
    box = (left, bottom - high, min(width, left + long), bottom)
    return _pasted(source, np.full(source.shape, level, np.float32), alpha), box


def with_hue(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """A region whose a and b are shifted so that its mean CIEDE2000 is 6 to 10: no edge, no change of lightness."""
    from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

    box = _box(source, rng, 0.18, 0.35)
    alpha = _stencil(source, lambda pen, k: pen.rounded_rectangle([k * side for side in box], 24 * k, fill=255))
    left, top, right, bottom = box
    there = np.s_[top : bottom + 1, left : right + 1]  # the pen's last row and column count
    part, cover = source[there], alpha[there]
    lab = rgb2lab(part)
    angle = rng.uniform(0, 2 * np.pi)
    wanted, shift = rng.uniform(6, 10), 4.0
    for _ in range(40):
        moved = lab + shift * np.array([0, np.cos(angle), np.sin(angle)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # colours outside sRGB are clipped, as an editor would
            changed = _pasted(part, (lab2rgb(moved) * 255).astype(np.float32), cover)
        inside = cover > 0.5
        if deltaE_ciede2000(lab[inside], rgb2lab(changed)[inside]).mean() >= wanted:
            break
        shift *= 1.08
    target = source.copy()
    target[there] = changed
    return target, box


def with_removal(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """A part of the picture filled in from around it."""
    box = _box(source, rng, 0.1, 0.22)
    alpha = _stencil(source, lambda pen, k: pen.ellipse([k * side for side in box], fill=255))
    hole = (alpha > 0).astype(np.uint8) * 255
    filled = cv2.inpaint(source, hole, 5, cv2.INPAINT_TELEA)
    return _pasted(source, filled.astype(np.float32), alpha), box


def with_arrow(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """An arrow of one bright colour."""
    box = _box(source, rng, 0.2, 0.4)
    left, top, right, bottom = box
    middle, bar, head = (top + bottom) / 2, (bottom - top) / 8, (right - left) * 0.6 + left
    points = [(left, middle - bar), (head, middle - bar), (head, top), (right, middle), (head, bottom),
              (head, middle + bar), (left, middle + bar)]  # fmt: skip
    alpha = _stencil(source, lambda pen, k: pen.polygon([(k * x, k * y) for x, y in points], fill=255))
    colour = np.array(rng.choice([(235, 30, 40), (250, 220, 20), (30, 200, 60)]), np.float32)
    return _pasted(source, np.broadcast_to(colour, source.shape), alpha), box


def with_nothing(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """The source itself."""
    return source.copy(), None


def at_night(source: np.ndarray, rng: random.Random) -> tuple[np.ndarray, tuple[int, int, int, int] | None]:
    """A global look: dark and blue."""
    return np.rint(source * np.array([0.35, 0.42, 0.62])).astype(np.uint8), None


CHANGE = {
    "object": with_object,
    "text": with_text,
    "hue": with_hue,
    "removal": with_removal,
    "arrow": with_arrow,
    "none": with_nothing,
    "night": at_night,
}


def distorted(target: np.ndarray, how: str, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """What an editor hands out instead of `target`, and where a source pixel lies in it."""
    pixels, matrix = target.astype(np.float32), np.array([[1.0, 0, 0], [0, 1, 0]])
    if how in ("moved", "all"):
        zoom, angle = rng.uniform(0.96, 1.04), 2 * np.pi * rng.random()
        shift = rng.uniform(0, 12) * np.array([np.cos(angle), np.sin(angle)])
        matrix = moving(target.shape[1], target.shape[0], zoom, shift)
        size = target.shape[1], target.shape[0]
        pixels = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if how in ("colour", "all"):
        pixels = pixels + colour_field(target.shape[1], target.shape[0], 6.0, rng)
    if how in ("vae", "all"):
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.6)
        pixels = pixels + np.random.default_rng(rng.randrange(1 << 32)).normal(0, 1.5, pixels.shape)
    levels = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    if how == "autoencoder":
        levels = _round_trip(levels)
    if how in ("jpeg", "vae", "all"):
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=90)
        levels = np.asarray(Image.open(file).convert("RGB"))
    return levels, matrix


def moving(width: int, height: int, zoom: float, shift: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that zooms about the middle and then shifts, in pixels with centres at whole numbers."""
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([zoom * np.eye(2), middle - zoom * middle + shift])


def colour_field(width: int, height: int, levels: float, rng: random.Random) -> np.ndarray:
    """A smooth drift of colour (H, W, 3) of at most so many levels: other in every corner and every channel."""
    corners = np.array([[[rng.uniform(-1, 1) for _ in range(3)] for _ in range(3)] for _ in range(3)], np.float32)
    field = cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC)
    return field * (levels / np.abs(field).max())


@cache
def _pipeline():
    import recast

    return recast.load("nano")


def _round_trip(levels: np.ndarray) -> np.ndarray:
    """Nano's autoencoder, there and back; sides that are no whole tokens are filled up and cut again."""
    import torch

    from recast.pixels import image

    height, width = levels.shape[:2]
    padded = np.pad(levels, ((0, -height % 16), (0, -width % 16), (0, 0)), "edge")
    autoencoder = _pipeline().autoencoder
    with torch.inference_mode():
        pixels = autoencoder.decode(autoencoder.encode(image.to_pixels(padded)))
    return image.from_pixels(pixels)[0][:height, :width]
