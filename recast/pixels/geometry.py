"""The grid contract: the model works on whole tokens, and an edit returns exactly the width and height of its source.

A Fit says where the source lies on the model's grid: at the top left, scaled, with its last row and column repeated
to the right and below. Coordinates are continuous, pixel i covers [i, i + 1), so a scale needs no half pixels and
the map between source and model pixels is exact, for drawing a difference back onto the source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from recast.errors import ConfigError, ShapeError

SUPPORT = 3  # source pixels a Lanczos kernel reaches to each side when it does not shrink


LONGEST_SIDE_PX = 65_536  # of a picture that is asked for: beyond it no model has been trained, nor memory built


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Where a source (source_width, source_height) lies on model pixels (width, height), multiples of `multiple`.

    scale_x, scale_y: model pixels per source pixel, equal unless the picture is stretched.
    """

    source_width: int
    source_height: int
    width: int
    height: int
    scale_x: float
    scale_y: float
    multiple: int = 16

    def __post_init__(self) -> None:
        _check_source(self.source_width, self.source_height)
        check_size(self.width, self.height, self.multiple)
        for name, scale, source, side in (
            ("scale_x", self.scale_x, self.source_width, self.width),
            ("scale_y", self.scale_y, self.source_height, self.height),
        ):
            if not 0 < source * scale <= side + 1e-6:  # so written, it catches NaN as well
                raise ConfigError(
                    f"{name}={scale}: would put {source} source pixels on {source * scale} of {side} model pixels; "
                    f"above 0, up to {side / source} accepted; let `fit` choose it"
                )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.height // self.multiple, self.width // self.multiple

    @property
    def tokens(self) -> int:
        return math.prod(self.grid)

    @property
    def content_width(self) -> float:
        """Model pixels, from the left, that show the source; the rest is padding."""
        return min(self.source_width * self.scale_x, float(self.width))

    @property
    def content_height(self) -> float:
        return min(self.source_height * self.scale_y, float(self.height))

    @property
    def is_identity(self) -> bool:
        return (self.width, self.height) == (self.source_width, self.source_height)

    @property
    def matrix(self) -> np.ndarray:
        """The affine map (2, 3) float64 from source to model pixels: `matrix @ (x, y, 1)`."""
        return np.array([[self.scale_x, 0, 0], [0, self.scale_y, 0]], dtype=np.float64)

    @property
    def inverse(self) -> np.ndarray:
        """The affine map (2, 3) float64 from model to source pixels."""
        return np.array([[1 / self.scale_x, 0, 0], [0, 1 / self.scale_y, 0]], dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain data, for a recipe."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fit:
        """The fit that a recipe holds. Raises ConfigError for a missing, unknown or unusable value."""
        try:
            return cls(**data)
        except TypeError as error:
            names = ", ".join(f.name for f in fields(cls))
            raise ConfigError(f"fit: {error}; numbers called {names} accepted; edit the picture anew") from error


def fit(width: int, height: int, *, min_tokens: int, max_tokens: int, multiple: int = 16) -> Fit:
    """The source at its own size if its grid has min_tokens to max_tokens, else scaled by as little as gets it there.

    One side fills whole tokens, the other is padded by less than one token. Where no grid of its shape lies
    between the two, the largest up to max_tokens is taken. Raises ConfigError for bounds that no grid can meet.
    """
    if not 1 <= min_tokens <= max_tokens:
        raise ConfigError(
            f"min_tokens={min_tokens}, max_tokens={max_tokens}: 1 <= min_tokens <= max_tokens accepted; swap them?"
        )
    own = own_size(width, height, multiple)
    if min_tokens <= own.tokens <= max_tokens:
        return own
    # Tokens grow with the scale and jump where a side passes a multiple, so the best scale has a side on one:
    # `whole` tokens along `side`, and as many along the other as its share needs.
    candidates = []
    for side, other in ((width, height), (height, width)):
        whole = 1
        while (tokens := whole * -(-whole * other // side)) <= max_tokens:
            candidates.append((multiple * whole / side, tokens))
            whole += 1
    enough = [scale for scale, tokens in candidates if tokens >= min_tokens]
    if own.tokens > max_tokens or not enough:
        scale = max(scale for scale, _ in candidates)
    else:
        scale = min(enough)
    return _scaled(width, height, scale, multiple)


def own_size(width: int, height: int, multiple: int = 16) -> Fit:
    """The source pixel by pixel, padded to whole tokens."""
    return _scaled(width, height, 1.0, multiple)


def exactly(width: int, height: int, target_width: int, target_height: int, multiple: int = 16) -> Fit:
    """The source as large as it goes into target_width x target_height, padded to fill them."""
    _check_source(width, height)
    scale = min(target_width / width, target_height / height)
    return _fit(width, height, target_width, target_height, scale, scale, multiple)


def nearest_trained(width: int, height: int, sizes: Sequence[tuple[int, int]], multiple: int = 16) -> Fit:
    """The source stretched to that (width, height) of `sizes` whose aspect ratio is nearest, the first of equals.

    Raises ConfigError if there are no sizes.
    """
    _check_source(width, height)
    if not sizes:
        raise ConfigError("sizes: none came; trained sizes (width, height) accepted; use `fit`, which needs none")
    _, w, h = min((abs(width / height - w / h), w, h) for w, h in sizes)
    return _fit(width, height, w, h, w / width, h / height, multiple)


def apply(fit: Fit, picture: np.ndarray) -> np.ndarray:
    """The picture on the model's grid: rgb (H, W, 3) uint8, or a mask (H, W) uint8 or float32 in 0..1, alike.

    An identity fit returns the picture itself. Raises ShapeError unless it has the size of the fit's source.
    """
    _check_shape(picture, fit.source_height, fit.source_width)
    if fit.scale_x == fit.scale_y == 1:
        return _pad(picture, fit.height, fit.width)
    # Past the reach of the kernel, padding is one colour per row: it is repeated, not resampled.
    columns = min(fit.width, math.ceil(fit.content_width + SUPPORT * max(1, fit.scale_x)))
    rows = min(fit.height, math.ceil(fit.content_height + SUPPORT * max(1, fit.scale_y)))
    box = (columns / fit.scale_x, rows / fit.scale_y)
    picture = _pad(picture, math.ceil(box[1] - 1e-6), math.ceil(box[0] - 1e-6))
    return _pad(_resize(picture, columns, rows, box), fit.height, fit.width)


def undo(fit: Fit, picture: np.ndarray) -> np.ndarray:
    """The picture at its source's size again, padding gone: rgb (height, width, 3) or a mask, as in `apply`.

    An identity fit returns the picture itself. Raises ShapeError unless it has the size of the fit's grid.
    """
    _check_shape(picture, fit.height, fit.width)
    if fit.scale_x == fit.scale_y == 1:
        return picture[: fit.source_height, : fit.source_width]
    return _resize(picture, fit.source_width, fit.source_height, (fit.content_width, fit.content_height))


def tokens_touched(fit: Fit, mask: np.ndarray) -> np.ndarray:
    """Which tokens (rows, columns) bool have a pixel of the mask (H, W) of the source, which counts above 0, in them.

    Padding counts as the row or column that it repeats. Raises ShapeError unless the mask has the source's size.
    """
    _check_mask(mask, (fit.source_height, fit.source_width))
    touched = mask > 0
    for axis, scale in enumerate((fit.scale_y, fit.scale_x)):
        spans = _spans(fit.grid[axis], fit.multiple / scale, touched.shape[axis])
        touched = np.stack([touched.take(range(*span), axis).any(axis) for span in spans], axis)
    return touched


def pixels_covered(fit: Fit, tokens: np.ndarray) -> np.ndarray:
    """The pixels (H, W) bool of the source whose centre lies in a token of the mask (rows, columns).

    Raises ShapeError unless the mask has the grid's size.
    """
    _check_mask(tokens, fit.grid)
    covered = tokens > 0
    for axis, (side, scale) in enumerate(((fit.source_height, fit.scale_y), (fit.source_width, fit.scale_x))):
        places = ((np.arange(side) + 0.5) * scale / fit.multiple).astype(int)
        covered = covered.take(places.clip(0, fit.grid[axis] - 1), axis)
    return covered


def check_size(width: int, height: int, multiple: int = 16) -> None:
    """Raise ConfigError, naming the two nearest that will do, unless both sides are whole tokens."""
    for name, side in (("width", width), ("height", height)):
        if side > LONGEST_SIDE_PX:
            raise ConfigError(f"{name}={side}: up to {LONGEST_SIDE_PX} accepted; choose a smaller one")
        if side < multiple or side % multiple:
            low = max(side // multiple, 1) * multiple
            raise ConfigError(
                f"{name}={side}: cannot be cut into tokens of {multiple}x{multiple} pixels; multiples of {multiple} "
                f"accepted; try {low} or {low + multiple}"
            )


def _scaled(width: int, height: int, scale: float, multiple: int) -> Fit:
    """The source at a uniform scale, on the fewest tokens that hold it."""
    columns, rows = (max(1, math.ceil(side * scale / multiple - 1e-9)) for side in (width, height))
    return _fit(width, height, columns * multiple, rows * multiple, scale, scale, multiple)


def _fit(w: int, h: int, width: int, height: int, scale_x: float, scale_y: float, multiple: int) -> Fit:
    return Fit(
        source_width=w,
        source_height=h,
        width=width,
        height=height,
        scale_x=scale_x,
        scale_y=scale_y,
        multiple=multiple,
    )


def _pad(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture at the top left of (height, width), its last row and column repeated."""
    missing = [(0, height - picture.shape[0]), (0, width - picture.shape[1])] + [(0, 0)] * (picture.ndim - 2)
    return np.pad(picture, missing, mode="edge") if height * width > picture[..., :1].size else picture


def _resize(picture: np.ndarray, width: int, height: int, box: tuple[float, float]) -> np.ndarray:
    """The top left `box` (width, height) of the picture at another size; Pillow takes fractions of a pixel."""
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box=(0, 0, *box))
    return np.asarray(image) if picture.dtype == np.uint8 else np.asarray(image).clip(0, 1)


def _spans(tokens: int, step: float, side: int) -> list[tuple[int, int]]:
    """First and last + 1 pixel of each token along a side; at least one pixel each, the last for those beyond it."""
    starts = [min(math.floor(index * step + 1e-6), side - 1) for index in range(tokens)]
    return [
        (start, min(max(math.ceil((index + 1) * step - 1e-6), start + 1), side)) for index, start in enumerate(starts)
    ]


def _check_mask(mask: np.ndarray, shape: tuple[int, int]) -> None:
    if mask.shape != shape:
        raise ShapeError(f"mask: {mask.shape} came; {shape} accepted; make the fit for this picture")


def _check_shape(picture: np.ndarray, height: int, width: int) -> None:
    kinds = {(np.dtype(np.uint8), (height, width, 3)), *((np.dtype(t), (height, width)) for t in ("u1", "f4"))}
    if (picture.dtype, picture.shape) not in kinds:
        raise ShapeError(
            f"picture: {picture.dtype} {picture.shape} came; uint8 {(height, width, 3)}, or a mask {(height, width)} "
            "uint8 or float32, accepted; make the fit for this picture"
        )


def _check_source(width: int, height: int) -> None:
    if min(width, height) < 1:
        raise ConfigError(f"source: {width}x{height} pixels came; at least 1x1 accepted; measure the source again")
