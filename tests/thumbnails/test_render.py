"""Rendering: the same bytes each time, layers that add up, sizes that agree."""

import numpy as np
import pytest

from recast.errors import ConfigError, InputError
from recast.pixels.image import Picture
from recast.thumbnails.boxes import Box
from recast.thumbnails.design import Design, Logo
from recast.thumbnails.fitting import fit
from recast.thumbnails.kit import ShadowStyle, StrokeStyle, TextStyle
from recast.thumbnails.render import coverage, glyph_picture, layers, over, rasterize, render, resized
from tests.thumbnails.faces import GEOLOGICA, font

SIZE = {"width": 320, "height": 180}
SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><path fill="#0000FF" d="M0 0H10V10H0Z"/></svg>'


@pytest.fixture(scope="module")
def design():
    ramp = np.linspace(20, 235, 640)[None, :, None] * np.array([1.0, 0.8, 0.6]) * np.ones((360, 1, 1))
    style = TextStyle(fill="#FFFFFF", stroke=StrokeStyle(color="#102030", px=12), shadow=ShadowStyle())
    return Design(
        base=Picture(ramp.astype(np.uint8)),
        lettering=fit("Oh no", font(GEOLOGICA), style, area=Box(0.05, 0.1, 0.7, 0.8)),
        logo=Logo(file="logo.svg", box=Box(0.8, 0.1, 0.9, 0.278), svg=SQUARE),
    )


def test_two_runs_give_the_same_bytes(design):
    first, second = (render(design, **SIZE) for _ in range(2))
    assert first.sha256() == second.sha256()
    assert first.alpha is None
    assert (first.width, first.height) == (320, 180)


def test_layers_laid_over_one_another_are_the_picture(design):
    found = layers(design, **SIZE)
    assert [name for name, _ in found] == ["base", "logo", "shadow", "letters"]
    picture = found[0][1]
    for _, layer in found[1:]:
        assert 0 < (layer.alpha > 0).mean() < 0.6
        picture = over(picture, layer)
    difference = np.abs(picture.rgb.astype(int) - render(design, **SIZE).rgb)
    assert difference.max() <= 2


def test_what_is_not_lettered_is_the_base(design):
    picture, base = render(design, **SIZE), resized(design.base, **SIZE)
    assert (picture.rgb[:, 300:] == base.rgb[:, 300:]).all()
    bare = Design(base=design.base)
    assert render(bare, **SIZE).sha256() == base.sha256()
    assert [name for name, _ in layers(bare, **SIZE)] == ["base"]


def test_the_base_is_averaged_by_area_where_it_shrinks():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (360, 640, 3), dtype=np.uint8)
    means = rgb.reshape(90, 4, 160, 4, 3).mean((1, 3))
    assert np.abs(resized(Picture(rgb), width=160, height=90).rgb - means).max() <= 1
    assert (resized(Picture(rgb), width=640, height=360).rgb == rgb).all()


def test_letters_are_drawn_anew_at_every_size(design):
    """Coverage at twice the size, averaged, is coverage at the size: nothing is scaled up."""
    small = coverage(design.lettering, **SIZE)
    large = coverage(design.lettering, width=640, height=360)
    difference = np.abs(large.reshape(180, 2, 320, 2).mean((1, 3)) - small)
    assert difference.max() < 0.2  # resvg's edges are exact to an eighth or so
    assert difference.mean() < 0.003
    assert 0.03 < small.mean() < 0.5


def test_the_glyph_picture_is_black_letters_on_white(design):
    picture = glyph_picture(design.lettering, **SIZE)
    assert picture.alpha is None
    assert picture.rgb[..., 0] == pytest.approx(255 * (1 - coverage(design.lettering, **SIZE)), abs=1)
    assert (picture.rgb == picture.rgb[..., :1]).all()


def test_nothing_of_the_system_is_drawn():
    text = '<text x="5" y="40" font-size="40">Ay</text>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="80" height="45">{text}</svg>'
    assert rasterize(svg, width=80, height=45).alpha.max() == 0


def test_what_is_no_svg_is_an_error():
    with pytest.raises(InputError, match="svg: cannot be drawn"):
        rasterize("<svg", width=16, height=9)


def test_another_shape_and_transparent_bases_are_refused(design):
    with pytest.raises(ConfigError, match="640x480 came for a base of 640x360"):
        render(Design(base=design.base), width=640, height=480)
    glass = Picture(np.zeros((9, 16, 3), np.uint8), np.full((9, 16), 9, np.uint8))
    with pytest.raises(InputError, match="transparent"):
        render(Design(base=glass), width=16, height=9)
