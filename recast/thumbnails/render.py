"""A design to pixels, at any size: resvg draws what is vector, with alpha, and it is laid over the base.

Everything here is a function of its arguments: the same design gives the same bytes, with no font of the system read.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from recast.errors import ConfigError, InputError
from recast.pixels.image import Picture
from recast.thumbnails.design import Design, Lettering
from recast.thumbnails.vector import PARTS, UNITS, check_shape, document, to_svg

SHAPE_SLACK = 0.01
"""How far a base's shape may be from the frame's, as a share: sizes such as 168x94 are 16:9 to half a percent."""


def render(design: Design, *, width: int, height: int) -> Picture:
    """The finished picture of width x height pixels, opaque.

    Raises ConfigError for a shape that is not the design's own, InputError for a base with transparent pixels.
    """
    base = resized(design.base, width=width, height=height)
    if design.lettering is None and design.logo is None:
        return base
    return over(base, rasterize(to_svg(design, width=width, height=height), width=width, height=height))


def layers(design: Design, *, width: int, height: int) -> list[tuple[str, Picture]]:
    """Name and picture of each layer from the bottom up; all but "base" have alpha. What is not there is left out.

    Laid over one another they are what `render` gives, up to the rounding of each to 8 bits. Raises as `render`.
    """
    found = [("base", resized(design.base, width=width, height=height))]
    lettering = design.lettering
    has = {
        "logo": design.logo,
        "plate": lettering and lettering.plate,
        "shadow": lettering and lettering.shadow,
        "letters": lettering,
    }
    for part in PARTS:
        if has[part]:
            svg = to_svg(design, width=width, height=height, parts=(part,))
            found.append((part, rasterize(svg, width=width, height=height)))
    return found


def coverage(lettering: Lettering, *, width: int, height: int) -> np.ndarray:
    """The share of each pixel (height, width) float32 that glyphs cover, without stroke, shadow and plate."""
    drawn = rasterize(_bare(lettering, "", "#000000", width=width, height=height), width=width, height=height)
    assert drawn.alpha is not None
    return drawn.alpha.astype(np.float32) / 255


def glyph_picture(lettering: Lettering, *, width: int, height: int) -> Picture:
    """Black letters on white, as a context picture for a model that is to set them into the scene."""
    white = f'<rect width="{UNITS * lettering.aspect:.4f}" height="{UNITS}" fill="#FFFFFF"/>'
    drawn = rasterize(_bare(lettering, white, "#000000", width=width, height=height), width=width, height=height)
    return Picture(drawn.rgb)


def rasterize(svg: str, *, width: int, height: int) -> Picture:
    """An SVG document as pixels of width x height with alpha; text and files it refers to are not drawn.

    Raises InputError for what resvg cannot read.
    """
    import resvg_py

    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True)
    except ValueError as error:
        raise InputError(f"svg: cannot be drawn ({error}); a whole SVG document accepted; save it again") from error
    with Image.open(io.BytesIO(png)) as drawn:
        if drawn.size != (width, height):
            raise ConfigError(
                f"width, height: {width}x{height} came, and resvg drew {drawn.width}x{drawn.height}; the shape of the "
                "document accepted; give it preserveAspectRatio none, or its own shape"
            )
        pixels = np.array(drawn if drawn.mode == "RGBA" else drawn.convert("RGBA"))
    return Picture(np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3]))


def over(base: Picture, layer: Picture) -> Picture:
    """A layer with alpha laid over an opaque picture of its size; in sRGB, as browsers and editors do."""
    assert layer.alpha is not None
    rows, columns = np.flatnonzero(layer.alpha.any(1)), np.flatnonzero(layer.alpha.any(0))
    pixels = base.rgb.copy()
    if rows.size:
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        weight = layer.alpha[part][..., None].astype(np.float32) / 255
        pixels[part] = np.rint(pixels[part] * (1 - weight) + layer.rgb[part] * weight).astype(np.uint8)
    return Picture(pixels)


def resized(base: Picture, *, width: int, height: int) -> Picture:
    """An opaque picture at another size of its shape: averaged by area where it shrinks, by Lanczos where it grows."""
    if base.alpha is not None and base.alpha.min(initial=255) < 255:
        raise InputError("base: a picture with transparent pixels came; an opaque one accepted; flatten it first")
    aspect = width / height
    if abs(base.width / base.height / aspect - 1) > SHAPE_SLACK:
        raise ConfigError(
            f"width, height: {width}x{height} came for a base of {base.width}x{base.height}; its shape accepted; "
            "crop or extend the base first"
        )
    if (base.width, base.height) == (width, height):
        return Picture(base.rgb)
    how = Image.Resampling.BOX if width <= base.width else Image.Resampling.LANCZOS
    return Picture(np.array(Image.fromarray(base.rgb).resize((width, height), how)))


def _bare(lettering: Lettering, under: str, fill: str, *, width: int, height: int) -> str:
    """The fills alone as a document, over `under`."""
    check_shape(width, height, lettering.aspect)
    paths = "".join(f'<path d="{line.path}"/>' for line in lettering.lines)
    body = f'{under}<g fill="{fill}">{paths}</g>'
    return document(body, aspect=lettering.aspect, width=width, height=height)
