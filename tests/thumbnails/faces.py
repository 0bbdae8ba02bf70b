"""Fonts and styles that several tests set: bundled faces, faces of tests, and small ones built on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recast.thumbnails.kit import Font
from recast.thumbnails.shaping import bundled

FONTS = Path(__file__).parent / "fonts"
ANTON, GEOLOGICA = bundled("anton"), bundled("geologica")
ARABIC, HEBREW, DEVANAGARI, CJK = (FONTS / f"{name}.ttf" for name in ("arabic", "hebrew", "devanagari", "cjk"))


def font(file: Path, **options: Any) -> Font:
    return Font(role="headline", file=file, license="OFL-1.1", **options)


def squares(path: Path, *, variable: bool = False) -> Path:
    """A font of squares: H, two of them that overlap; A, which draws nothing; 500 wide of 1000, 1000 high.

    variable: with the named instances Thin and Wide; Wide's right edges lie 200 units further right.
    """
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from fontTools.ttLib.tables.TupleVariation import TupleVariation

    def drawn(*squares: tuple[int, int, int, int]) -> Any:
        pen = TTGlyphPen(None)
        for left, bottom, right, top in squares:
            pen.moveTo((left, bottom))
            for point in ((left, top), (right, top), (right, bottom)):
                pen.lineTo(point)
            pen.closePath()
        return pen.glyph()

    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "space", "H", "A"])
    builder.setupCharacterMap({32: "space", ord("H"): "H", ord("A"): "A"})
    boxes = ((0, 0, 300, 1000), (200, 0, 500, 1000))
    builder.setupGlyf({".notdef": drawn((0, 0, 500, 700)), "space": drawn(), "A": drawn(), "H": drawn(*boxes)})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "space", "H", "A"), (500, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=-200)
    builder.setupOS2(sTypoAscender=1000, sTypoDescender=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    if variable:
        instances = [
            {"location": {"wght": 100}, "stylename": "Thin"},
            {"location": {"wght": 900}, "stylename": "Wide"},
        ]
        builder.setupFvar([("wght", 100, 100, 900, "Weight")], instances)
        right = [(0, 0)] * 4 + [(0, 0), (0, 0), (200, 0), (200, 0)] + [(0, 0)] * 4
        builder.setupGvar({"H": [TupleVariation({"wght": (0, 1, 1)}, right)]})
    builder.setupPost()
    builder.save(path)
    return path
