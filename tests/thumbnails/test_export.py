"""Files that platforms take: size, bytes, nothing beside the pixels; layered masters."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from recast.errors import GateFailed, InputError
from recast.pixels import srgb
from recast.pixels.image import Picture
from recast.thumbnails import openraster
from recast.thumbnails.export import export, frame
from recast.thumbnails.profiles import Profile

SMALL = Profile(name="small", width=160, height=90, good_width=160, least_width=80, limit_bytes=20_000)


def noisy(seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (90, 160, 3)).astype(np.uint8))


def test_the_best_quality_that_fits_is_taken(tmp_path: Path):
    best = export(noisy(), replace(SMALL, limit_bytes=10**6), tmp_path, "a")
    assert (best.format, best.quality) == ("JPEG", 95)
    less = export(noisy(), replace(SMALL, limit_bytes=best.bytes - 1), tmp_path, "b")
    assert less.format == "JPEG"
    assert less.quality == 94
    assert (tmp_path / less.file).stat().st_size == less.bytes < best.bytes


def test_a_palette_is_tried_after_jpeg_and_then_it_is_said(tmp_path: Path):
    flat = np.repeat(np.arange(16, dtype=np.uint8)[:, None] * 16, 3, 1)[
        np.random.default_rng(0).integers(0, 16, (90, 160))
    ]
    made = export(Picture(flat), replace(SMALL, limit_bytes=9_000), tmp_path, "flat")
    assert made.format == "PNG"
    assert np.array_equal(np.asarray(Image.open(tmp_path / made.file).convert("RGB")), flat)
    with pytest.raises(GateFailed, match="smallest of 18 tries; 2,000 accepted by small"):
        export(noisy(), replace(SMALL, limit_bytes=2_000), tmp_path, "noise")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["flat.png"]


def test_a_jpeg_is_444_in_srgb_and_says_nothing_else(tmp_path: Path):
    export(noisy(), replace(SMALL, limit_bytes=10**6), tmp_path, "a")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)
        assert not image.getexif()
        assert image.info["icc_profile"] == srgb.profile()


def test_another_size_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="160x90 came; 320x180 accepted by small"):
        export(noisy(), replace(SMALL, width=320, height=180), tmp_path, "a")


@pytest.mark.parametrize(
    ("aspect", "centre", "box"),
    [(1.0, (0.5, 0.5), (35, 0, 125, 90)), (1.0, (0.95, 0.5), (70, 0, 160, 90)), (4.0, (0.5, 0.0), (0, 0, 160, 40))],
)
def test_a_frame_is_the_largest_box_nearest_to_its_centre(aspect: float, centre: tuple, box: tuple):
    assert frame(noisy(), aspect, centre=centre) == box


def test_a_layered_file_holds_its_layers_from_the_top(tmp_path: Path):
    low, high = noisy(1), Picture(noisy(2).rgb, np.full((90, 160), 128, np.uint8))
    path = openraster.write(tmp_path / "a.ora", [("base", low), ("letters", high)], noisy(3), svg="<svg/>")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert names[0] == "mimetype"
        assert archive.getinfo("mimetype").compress_type == zipfile.ZIP_STORED
        assert archive.read("mimetype") == b"image/openraster"
        stack = ElementTree.fromstring(archive.read("stack.xml"))
        assert (stack.get("w"), stack.get("h")) == ("160", "90")
        layers = stack.findall("stack/layer")
        assert [each.get("name") for each in layers] == ["letters", "base"]
        pixels = np.asarray(Image.open(io.BytesIO(archive.read(layers[0].get("src") or ""))))
        assert np.array_equal(pixels, np.dstack([high.rgb, high.alpha]))
        assert archive.read("data/lettering.svg") == b"<svg/>"


def test_layers_of_another_size_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="'base' is 80x90; 160x90 accepted"):
        openraster.write(tmp_path / "a.ora", [("base", Picture(noisy().rgb[:, :80]))], noisy())
    assert list(tmp_path.iterdir()) == []


def test_the_layers_above_the_lowest_are_read_back_as_one(tmp_path: Path):
    low, high = noisy(1), noisy(2)
    clear = np.zeros(low.rgb.shape[:2], np.uint8)
    left, right = clear.copy(), clear.copy()
    left[:, :20], right[:, 10:30] = 255, 255
    layers = [("base", low), ("logo", Picture(high.rgb, left)), ("letters", Picture(low.rgb, right))]
    above = openraster.read_above(openraster.write(tmp_path / "a.ora", layers, low))
    assert np.array_equal(above.rgb[:, :10], high.rgb[:, :10])
    assert np.array_equal(above.rgb[:, 10:30], low.rgb[:, 10:30])
    assert above.alpha[:, :30].min() == 255
    assert above.alpha[:, 30:].max() == 0
    with pytest.raises(InputError, match="two or more"):
        openraster.read_above(openraster.write(tmp_path / "b.ora", layers[:1], low))
    (tmp_path / "c.ora").write_bytes(b"PK")
    with pytest.raises(InputError, match="no layered file"):
        openraster.read_above(tmp_path / "c.ora")
