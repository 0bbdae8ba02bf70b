"""Logos: what of a file is refused, and where and in which colours a logo stands."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast.errors import InputError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import BADGE, SOFT, Box
from recast.thumbnails.kit import LogoStyle
from recast.thumbnails.logos import CONTRAST_LEAST, place, read

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 20 10">'
GREEN_PATH = '<path fill="{}" d="M0 0H20V10H0Z"/>'


def base(*colour):
    return Picture(np.full((90, 160, 3), colour, np.uint8))


def svg(folder: Path, inside: str, name: str = "logo.svg") -> Path:
    path = folder / name
    path.write_text(f"{HEAD}{inside}</svg>")
    return path


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ("<script>1</script>", "a script"),
        ('<path onload="go()" d="M0 0"/>', "the script onload"),
        ('<image href="http://example.com/a.png"/>', "http://example.com"),
        ('<image xlink:href="file:///etc/passwd"/>', "file:///etc/passwd"),
        ('<image href="beside.png"/>', "beside.png"),
        ('<use href="other.svg#a"/>', "other.svg"),
        ('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>', "data:image/svg"),
        ('<path fill="url(http://example.com/x#a)" d="M0 0"/>', "http://example.com"),
        ("<style>path{fill:url('x.svg#a')}</style>", "x.svg"),
        ('<style>@import "x.css";</style>', "x.css"),
        ("<style>@import url(y.css);</style>", "y.css"),
        ("<style>path{fill:u\\72l(z.svg)}</style>", "reference"),
        ("<text>A</text>", "text"),
        ("<foreignObject/>", "a foreign object"),
        ("<path", "no whole SVG"),
    ],
)
def test_what_points_outside_or_runs_is_refused_by_name(tmp_path, inside, why):
    with pytest.raises(InputError, match=r"logo\.svg") as error:
        read(svg(tmp_path, inside))
    assert why in str(error.value)


def test_entities_are_refused_and_the_plain_document_type_is_not(tmp_path):
    path = tmp_path / "logo.svg"
    path.write_text(f'<!DOCTYPE svg [<!ENTITY a "b">]>{HEAD}</svg>')
    with pytest.raises(InputError, match="entities"):
        read(path)
    public = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    path.write_text(f"<!-- made by hand -->{public}{HEAD}</svg>")
    assert read(path).ratio == 2


def test_what_lies_inside_the_file_is_accepted(tmp_path):
    inside = '<defs><path id="a" d="M0 0H20V10Z"/></defs><use xlink:href="#a" fill="url(#g)"/>'
    inside += '<image href="data:image/png;base64,AAAA"/><style>path{fill:url(#g);mask:url("#m")}</style>'
    assert read(svg(tmp_path, inside)).svg is not None


def test_the_size_comes_from_the_view_box_else_from_width_and_height(tmp_path):
    path = tmp_path / "logo.svg"
    for head, ratio in (
        ('viewBox="5 5 30 10" width="100%"', 3),
        ('width="40px" height="10"', 4),
        ('viewBox="0,0,9,18"', 0.5),
    ):
        path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {head}/>')
        assert read(path).ratio == ratio
    for head in ("", 'width="100%" height="100%"', 'viewBox="0 0 0 5"', 'viewBox="a"'):
        path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {head}/>')
        with pytest.raises(InputError, match="no viewBox"):
            read(path)


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    for name in ("logo.svg", "logo.png"):
        with pytest.raises(InputError, match=name):
            read(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"broken\.png"):
        read(tmp_path / "broken.png")
    (tmp_path / "other.svg").write_text("<html/>")
    with pytest.raises(InputError, match=r"other\.svg.*<html>"):
        read(tmp_path / "other.svg")


def test_a_picture_with_alpha_is_a_logo_too(tmp_path):
    Image.new("RGBA", (30, 10), (255, 0, 0, 128)).save(tmp_path / "logo.png")
    mark = read(tmp_path / "logo.png")
    assert mark.ratio == 3
    assert mark.raster.alpha is not None


@pytest.mark.parametrize("corner", ["top-left", "top-right", "bottom-left", "bottom-right", "center"])
def test_a_logo_stands_in_its_corner_within_the_margin_and_off_the_badge(tmp_path, corner):
    style = LogoStyle(file=svg(tmp_path, GREEN_PATH.format("#FFFFFF")), anchor=corner, width_pct=(8, 14))
    logo, notes = place(style, base=base(0, 0, 60))
    assert notes == ()
    assert logo.box.width == pytest.approx(0.14)
    assert logo.box.width * 16 / 9 / logo.box.height == pytest.approx(2)
    assert logo.box.is_within(SOFT)
    assert not logo.box.meets(BADGE)
    assert ("left" in corner) == (logo.box.left == pytest.approx(SOFT.left))
    assert ("top" in corner) == (logo.box.top == pytest.approx(SOFT.top))


def test_a_layouts_corner_and_a_frame_without_a_badge_count(tmp_path):
    style = LogoStyle(file=svg(tmp_path, GREEN_PATH.format("#FFFFFF")))
    logo, _ = place(style, base=base(0, 0, 60), corner="bottom-right", badge=False)
    assert (logo.box.right, logo.box.bottom) == pytest.approx((SOFT.right, SOFT.bottom))


def test_a_logo_shrinks_beside_a_face_and_says_where_it_cannot(tmp_path):
    style = LogoStyle(file=svg(tmp_path, GREEN_PATH.format("#FFFFFF")), clear_space_pct=2)
    face = Box(0.22, 0.05, 0.6, 0.9)
    logo, notes = place(style, base=base(0, 0, 60), avoid=[face])
    assert notes == ()
    assert 0.08 <= logo.box.width < 0.14
    assert logo.box.right <= face.left - 0.02 + 1e-9
    _, notes = place(style, base=base(0, 0, 60), avoid=[Box(0.1, 0.05, 0.6, 0.9)])
    assert "clear space" in notes[0]


def test_the_mono_logo_is_taken_where_the_coloured_one_does_not_stand_out(tmp_path):
    coloured = svg(tmp_path, GREEN_PATH.format("#E0242B"))
    mono = svg(tmp_path, GREEN_PATH.format("#FFFFFF"), "mono.svg")
    style = LogoStyle(file=coloured, mono=mono)
    logo, notes = place(style, base=base(180, 40, 40))
    assert logo.file == "mono.svg"
    assert "mono.svg is taken" in notes[0]
    logo, notes = place(style, base=base(255, 255, 255))
    assert (logo.file, notes) == ("logo.svg", ())
    logo, notes = place(LogoStyle(file=coloured), base=base(180, 40, 40))
    assert logo.file == "logo.svg"
    assert "no mono logo" in notes[0]
    assert CONTRAST_LEAST == 3


def test_a_logo_of_hairlines_is_not_measured_and_says_so(tmp_path):
    path = svg(tmp_path, '<path stroke="#FFFFFF" stroke-width="0.02" fill="none" d="M0 1H20M0 5H20"/>')
    _, notes = place(LogoStyle(file=path), base=base(0, 0, 60))
    assert "too thin" in notes[0] or "stands out" in notes[0]


def test_a_glassy_logo_is_measured(tmp_path):
    data = io.BytesIO()
    Image.new("RGBA", (64, 32), (255, 255, 255, 100)).save(data, "PNG")
    (tmp_path / "glass.png").write_bytes(data.getvalue())
    _, notes = place(LogoStyle(file=tmp_path / "glass.png"), base=base(250, 250, 250))
    assert "stands out by 1.0 : 1" in notes[0]
