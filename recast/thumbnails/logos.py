"""A channel's logo: read, checked, and placed in its corner.

An SVG stays vector. It is drawn on its own, so nothing in it may point outside: no other file, no address, no script,
and no text, which would look different wherever other fonts are installed.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails import contrast
from recast.thumbnails.boxes import BADGE, SOFT, Box
from recast.thumbnails.design import Design, Logo
from recast.thumbnails.kit import Corner, LogoStyle
from recast.thumbnails.render import layers, over, rasterize

CONTRAST_LEAST = 3.0
"""Of a logo to what is around it: WCAG 2.2, criterion 1.4.11, graphical objects."""
MEASURED_PX = 720  # height of the frame that contrast is measured in
LIMIT_BYTES = 2_000_000
RING_PX = 2  # around the outline, at that height
STEPS = 8  # widths tried from the widest to the narrowest
_FORBIDDEN = {
    "script": "a script",
    "foreignObject": "a foreign object",
    "text": "text (convert it to paths)",
}
_ADDRESS = re.compile(r"(?:url\(|@import)\s*(?:url\()?\s*['\"]?\s*([^)'\"\s]*)|(\\)", re.IGNORECASE)
"""Whatever a style may load; a backslash could spell it another way."""
_DATA = re.compile(r"data:image/(png|jpeg|webp|gif)[;,]", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Mark:
    """A logo's file as it was read. ratio: width / height. svg or raster, as in `design.Logo`."""

    file: str
    ratio: float
    svg: str | None = None
    raster: Picture | None = None

    def at(self, box: Box) -> Logo:
        return Logo(file=self.file, box=box, svg=self.svg, raster=self.raster)


def place(
    style: LogoStyle,
    *,
    base: Picture,
    aspect: float = 16 / 9,
    corner: Corner | None = None,
    avoid: Sequence[Box] = (),
    badge: bool = True,
) -> tuple[Logo, tuple[str, ...]]:
    """The logo in its corner, as wide as style.width_pct allows beside `avoid`, and notes on what was decided.

    It stands at the recommended margin, above the duration badge where the corner is the badge's and `badge` says that
    there is one. If it stands out too little from the base there, its `mono` file takes its place where that is better.
    Raises InputError, naming the file, like `read`.
    """
    mark = read(style.file)
    notes = []
    kept_free = [each.grown(style.clear_space_pct / 100, style.clear_space_pct / 100 * aspect) for each in avoid]
    box = _box(mark, style, corner or style.anchor, aspect, kept_free, badge)
    if any(box.meets(each) for each in kept_free):
        notes.append(f"logo: {mark.file} comes nearer than its clear space to a face, even at its least width")
    found = stands_out(mark.at(box), base, aspect)
    if found is None:
        notes.append(f"logo: {mark.file} is too thin for its contrast to be measured")
    if found is None or found >= CONTRAST_LEAST:
        return mark.at(box), tuple(notes)
    if style.mono is None:
        notes.append(f"logo: {mark.file} stands out by {found:.1f} : 1 only, and the kit has no mono logo")
        return mark.at(box), tuple(notes)
    other = read(style.mono)
    placed = other.at(_box(other, style, corner or style.anchor, aspect, kept_free, badge))
    other_found = stands_out(placed, base, aspect) or 0.0
    better = other_found > found
    notes.append(
        f"logo: {mark.file} stands out by {found:.1f} : 1, {other.file} by {other_found:.1f} : 1; "
        f"{other.file if better else mark.file} is taken"
    )
    return (placed if better else mark.at(box)), tuple(notes)


def read(path: Path) -> Mark:
    """The logo in an SVG, or in a picture file with or without alpha.

    Raises InputError, naming the file, if it is not there or is no whole picture; of an SVG also if it points outside,
    has scripts or text, or says no size.
    """
    if path.suffix.lower() != ".svg":
        raster = image.read(path, name="logo")
        return Mark(path.name, raster.width / raster.height, raster=raster)
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})", "an SVG or PNG file", "check the path") from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not UTF-8 ({error.reason})", "an SVG in UTF-8", "save it again") from error
    if len(data) > LIMIT_BYTES:
        raise _refused(path, f"{len(data)} bytes came", f"at most {LIMIT_BYTES}", "simplify its paths, or use a PNG")
    root = _parsed(path, text)
    for what in _outside(root):
        raise _refused(path, f"{what} came", "an SVG of shapes and embedded pictures", "take it out")
    return Mark(path.name, _ratio(path, root), svg=text)


def on_white(path: Path, *, width: int = 512) -> Picture:
    """A logo as an opaque picture, for a model to look at. Raises like `read`."""
    mark = read(path)
    if mark.svg is None:
        assert mark.raster is not None
        blank = Picture(np.full((mark.raster.height, mark.raster.width, 3), 255, np.uint8))
        return mark.raster if mark.raster.alpha is None else over(blank, mark.raster)
    height = max(1, round(width / mark.ratio))
    blank = Picture(np.full((height, width, 3), 255, np.uint8))
    return over(blank, rasterize(mark.svg, width=width, height=height))


def stands_out(logo: Logo, base: Picture, aspect: float) -> float | None:
    """The 10th percentile of the WCAG ratio along the logo's outline on the base; None if it is too thin to measure."""
    height, width = MEASURED_PX, round(MEASURED_PX * aspect)
    (_, under), (_, drawn) = layers(Design(base=base, logo=logo), width=width, height=height)
    assert drawn.alpha is not None
    cover = drawn.alpha.astype(np.float32) / max(1, int(drawn.alpha.max()))  # a glassy logo has an outline, too
    found = contrast.Outline(cover, RING_PX).ratios(over(under, drawn).rgb)
    return float(np.percentile(found, contrast.PERCENTILE)) if found.size else None


def _box(mark: Mark, style: LogoStyle, corner: Corner, aspect: float, avoid: Sequence[Box], badge: bool) -> Box:
    """Where a logo stands: the widest of STEPS widths that meets nothing of `avoid`, else the narrowest."""
    least, most = (each / 100 for each in style.width_pct)
    clear = style.clear_space_pct / 100
    box = SOFT
    for width in np.linspace(most, least, STEPS):
        height = float(width) * aspect / mark.ratio
        box = _in_corner(float(width), height, corner)
        if badge and box.meets(BADGE.grown(clear, clear * aspect)):
            up = box.bottom - (BADGE.top - clear * aspect)
            box = Box(box.left, box.top - up, box.right, box.bottom - up)
        if not any(box.meets(each) for each in avoid):
            break
    return box


def _in_corner(width: float, height: float, corner: Corner) -> Box:
    if corner == "center":
        return Box(0.5 - width / 2, 0.5 - height / 2, 0.5 + width / 2, 0.5 + height / 2)
    left = SOFT.left if "left" in corner else SOFT.right - width
    top = SOFT.top if "top" in corner else SOFT.bottom - height
    return Box(left, top, left + width, top + height)


def _parsed(path: Path, text: str) -> ElementTree.Element:
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):  # entities can grow without end, and name files
        text = _without_plain_doctype(path, text)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise _refused(path, f"is no whole SVG ({error})", "a whole SVG document", "save it again") from error
    if _local(root.tag) != "svg":
        raise _refused(path, f"<{_local(root.tag)}> came", "a document that starts with <svg>", "save it as SVG")
    return root


def _without_plain_doctype(path: Path, text: str) -> str:
    """The text without the line that names SVG's own DTD; anything more in it is refused."""
    bare = re.sub(r"<!DOCTYPE\s+svg(\s+PUBLIC\s+\"-//W3C//DTD SVG [^\"]*\"\s+\"[^\"]*\")?\s*>", "", text, count=1)
    if "<!" in bare.replace("<!--", "").replace("<![CDATA[", ""):
        raise _refused(path, "a document type with entities came", "an SVG without one", "save it as plain SVG")
    return bare


def _outside(root: ElementTree.Element) -> Iterator[str]:
    """What in an SVG runs, points out of the file, or depends on installed fonts."""
    for element in root.iter():
        name = _local(element.tag)
        if forbidden := _FORBIDDEN.get(name):
            yield forbidden
        for key, value in element.attrib.items():
            if _local(key).lower().startswith("on"):
                yield f"the script {_local(key)}"
            inside = value.startswith("#") or _DATA.match(value.strip())
            if _local(key) in ("href", "src") and name != "a" and not inside:
                yield f"{name} with the reference {value[:60]!r}"
            yield from _addresses(value)
        if name == "style":
            yield from _addresses(element.text or "")


def _addresses(style: str) -> Iterator[str]:
    for found in _ADDRESS.finditer(style):
        address = next((each for each in found.groups() if each is not None), "")
        if not address.startswith("#") and not _DATA.match(address):
            yield f"the reference {address[:60]!r}"


def _ratio(path: Path, root: ElementTree.Element) -> float:
    """Width / height of an SVG's viewBox, else of its width and height."""
    try:
        box = [float(each) for each in re.split(r"[\s,]+", root.get("viewBox", "").strip()) if each]
        if not box:
            sizes = [re.fullmatch(r"\s*([\d.]+)\s*(px)?\s*", root.get(key, "")) for key in ("width", "height")]
            box = [0, 0, *(float(each[1]) for each in sizes if each)]
        _, _, width, height = box
        if width > 0 and height > 0:
            return width / height
    except ValueError:
        pass
    raise _refused(path, "no viewBox and no width and height in pixels came", "either", "save it with a viewBox")


def _local(name: str) -> str:
    """A name without its namespace; comments and instructions have none."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def _refused(path: Path, came: str, accepted: str, cure: str) -> InputError:
    return InputError(f"logo={path}: {came}; {accepted} accepted; {cure}")
