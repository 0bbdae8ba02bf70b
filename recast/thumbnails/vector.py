"""A design as SVG: logo, plate and lettering as shapes, nothing of it pixels but a logo that came as pixels.

The frame is 1000 units high. Strokes lie under all fills and join round, so that they eat nothing of a glyph; shadows
lie under all strokes. A logo is a picture of its own inside, so that its styles and names reach nothing else.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from PIL import Image

from recast.errors import ConfigError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box, union
from recast.thumbnails.design import Design, Lettering, Logo, Plate

Part = Literal["logo", "plate", "shadow", "letters"]
PARTS: tuple[Part, ...] = get_args(Part)
"""From the bottom up, as they are painted over the base. letters: fills with their strokes."""
UNITS = 1000


def to_svg(design: Design, *, width: int, height: int, parts: Sequence[Part] = PARTS) -> str:
    """The parts of a design that lie over its base, as one SVG document of width x height pixels.

    Raises ConfigError for a size whose shape is not that of the lettering's frame.
    """
    aspect = design.lettering.aspect if design.lettering else width / height
    check_shape(width, height, aspect)
    body = []
    if design.logo and "logo" in parts:
        body.append(_logo(design.logo, aspect, width=width, height=height))
    if design.lettering:
        body += _lettering(design.lettering, parts)
    return document("".join(body), aspect=aspect, width=width, height=height)


def document(body: str, *, aspect: float, width: int, height: int) -> str:
    """A whole SVG document around shapes in a frame UNITS high."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {_n(UNITS * aspect)} {UNITS}" preserveAspectRatio="none">{body}</svg>'
    )


def check_shape(width: int, height: int, aspect: float) -> None:
    """Raises ConfigError unless width x height is the frame's shape, up to a pixel."""
    if min(width, height) < 1 or abs(width - height * aspect) > 1:
        near = f"{max(1, round(height * aspect))}x{height}"
        raise ConfigError(
            f"width, height: {width}x{height} came; the shape of the title's frame ({aspect:.4g} : 1) accepted; "
            f"take {near}, or set the title anew for that shape"
        )


def _lettering(lettering: Lettering, parts: Sequence[Part]) -> list[str]:
    lines = "".join(f'<path id="line{at}" d="{line.path}"/>' for at, line in enumerate(lettering.lines))
    uses = "".join(f'<use href="#line{at}"/>' for at in range(len(lettering.lines)))
    body = [f"<defs>{lines}</defs>"]
    if lettering.plate and "plate" in parts:
        body.append(_plate(lettering.plate, lettering.aspect))
    if lettering.shadow and "shadow" in parts:
        body.append(_shadow(lettering, uses))
    if "letters" in parts:
        if lettering.stroke:
            stroke = f'stroke="{lettering.stroke.colour}" stroke-width="{_n(UNITS * lettering.stroke.width)}"'
            body.append(f'<g fill="none" {stroke} stroke-linejoin="round">{uses}</g>')
        body.append(f'<g fill="{lettering.fill}">{uses}</g>')
    return body


def _shadow(lettering: Lettering, uses: str) -> str:
    """Fill and stroke in the shadow's colour, moved and blurred. The filter is no larger than need be: it is slow."""
    shadow = lettering.shadow
    assert shadow is not None
    shape = f'fill="{shadow.colour}"'
    if lettering.stroke:
        width = _n(UNITS * lettering.stroke.width)
        shape += f' stroke="{shadow.colour}" stroke-width="{width}" stroke-linejoin="round"'
    moved = f'<g transform="translate({_n(UNITS * shadow.dx)} {_n(UNITS * shadow.dy)})" {shape}>{uses}</g>'
    if not shadow.blur:
        return f'<g opacity="{_n(shadow.opacity)}">{moved}</g>'
    ink = union(line.box for line in lettering.lines)
    assert ink is not None
    reach = 3 * shadow.blur + (lettering.stroke.width if lettering.stroke else 0)
    around = ink.grown((reach + abs(shadow.dx)) / lettering.aspect, reach + abs(shadow.dy))
    blur = (
        f'<filter id="blur" filterUnits="userSpaceOnUse" {_place(around, lettering.aspect)} '
        f'color-interpolation-filters="sRGB"><feGaussianBlur stdDeviation="{_n(UNITS * shadow.blur)}"/></filter>'
    )
    return f'{blur}<g opacity="{_n(shadow.opacity)}"><g filter="url(#blur)">{moved}</g></g>'


def _plate(plate: Plate, aspect: float) -> str:
    return f'<rect {_place(plate.box, aspect)} rx="{_n(UNITS * plate.radius)}" fill="{plate.colour}"/>'


def _logo(logo: Logo, aspect: float, *, width: int, height: int) -> str:
    if logo.svg is not None:
        kind, data = "svg+xml", logo.svg.encode()
    else:
        assert logo.raster is not None
        fitting = (math.ceil(logo.box.width * width), math.ceil(logo.box.height * height))
        kind, data = "png", image.encode(_shrunk(logo.raster, fitting), "png")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<image {_place(logo.box, aspect)} preserveAspectRatio="xMidYMid meet" href="{source}"/>'


def _shrunk(raster: Picture, size: tuple[int, int]) -> Picture:
    """A logo of pixels no larger than it is shown: resvg samples a large one at points, and fine lines break up."""
    if raster.width <= size[0] and raster.height <= size[1]:
        return raster
    pixels = np.array(raster.to_pil().resize(size, Image.Resampling.BOX))
    return image.read(pixels)


def _place(box: Box, aspect: float) -> str:
    """A box as the place and size of a shape."""
    place = f'x="{_n(UNITS * box.left * aspect)}" y="{_n(UNITS * box.top)}"'
    return f'{place} width="{_n(UNITS * box.width * aspect)}" height="{_n(UNITS * box.height)}"'


def _n(value: float) -> str:
    """A number of SVG, to ten-thousandths."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
