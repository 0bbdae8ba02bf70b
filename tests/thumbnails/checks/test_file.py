"""Claims of recast.thumbnails.checks.file: borders of G1 to G4."""

import io
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from recast.errors import InputError
from recast.pixels.image import Picture
from recast.thumbnails.checks import check, check_picture
from recast.thumbnails.checks.evidence import Evidence
from recast.thumbnails.checks.limits import Limits
from recast.thumbnails.profiles import USUAL, profile


def saved(folder: Path, kind: str = "PNG", *, mode: str = "RGB", size: tuple[int, int] = (64, 36), **options) -> Path:
    path = folder / f"picture.{kind.lower()}"
    Image.linear_gradient("L").resize(size).convert(mode).save(path, kind, **options)
    return path


def verdict(name: str, path: Path | Picture, **known) -> str:
    return check(Evidence(source=path, **known), [name])[0].verdict


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1280, 720, "pass"), (3840, 2160, "pass"), (1264, 711, "warn"), (640, 360, "warn"), (624, 351, "fail"),
        (1280, 721, "fail"), (720, 1280, "fail"),
    ],
)  # fmt: skip
def test_g1_takes_one_ratio_and_enough_pixels(width, height, expected):
    assert verdict("G1", Picture(np.zeros((height, width, 3), np.uint8))) == expected


def test_g1_asks_the_profile():
    tall = Picture(np.zeros((1920, 1080, 3), np.uint8))
    assert verdict("G1", tall, profile=profile("shorts")) == "pass"
    assert verdict("G1", tall, profile=profile("square")) == "fail"


def test_g2_counts_every_byte(tmp_path):
    path = saved(tmp_path)
    size = path.stat().st_size
    assert verdict("G2", path, profile=replace(USUAL, limit_bytes=size)) == "pass"
    assert verdict("G2", path, profile=replace(USUAL, limit_bytes=size - 1)) == "fail"


def test_g2_takes_no_format_that_the_platform_refuses(tmp_path):
    assert verdict("G2", saved(tmp_path, "WEBP")) == "fail"


def adobe_like() -> bytes:
    """A profile that is not sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("PNG", {}, None),
        ("JPEG", {}, None),
        ("JPEG", {"mode": "CMYK"}, "CMYK"),
        ("PNG", {"mode": "RGBA"}, "transparency"),
        ("PNG", {"mode": "P", "transparency": 3}, "transparency"),
        ("PNG", {"mode": "I;16"}, "16 bits"),
        ("JPEG", {"icc_profile": adobe_like()}, "not sRGB"),
        ("WEBP", {"save_all": True, "append_images": [Image.new("RGB", (64, 36))]}, "animated"),
    ],
)
def test_g3_names_what_is_not_plain(tmp_path, kind, options, says):
    found = check(Evidence(source=saved(tmp_path, kind, **options)), ["G3"])[0]
    assert found.verdict == ("pass" if says is None else "fail"), found.says
    assert says is None or says in found.says


def test_g3_holds_credentials_as_it_is_told(tmp_path):
    path = saved(tmp_path, "JPEG")
    with_claim = tmp_path / "claim.jpg"
    part = b"\0\0jumb c2pa"
    data = path.read_bytes()
    with_claim.write_bytes(data[:2] + b"\xff\xeb" + (len(part) + 2).to_bytes(2, "big") + part + data[2:])
    for file, kept, dropped in ((path, "fail", "pass"), (with_claim, "pass", "fail")):
        assert verdict("G3", file) == "pass"
        assert verdict("G3", file, limits=Limits(credentials="kept")) == kept
        assert verdict("G3", file, limits=Limits(credentials="dropped")) == dropped


def wrong_checksum(data: bytes) -> bytes:
    return data[:-16] + b"\0\0\0\0" + data[-12:]


def without_end(data: bytes) -> bytes:
    return data[:-12]


def with_chunk(data: bytes) -> bytes:
    """A chunk that nobody knows, with a wrong checksum: decoders pass over it."""
    chunk = b"prVt" + b"x"
    return data[:33] + (1).to_bytes(4, "big") + chunk + (zlib.crc32(chunk) ^ 1).to_bytes(4, "big") + data[33:]


def continued(data: bytes) -> bytes:
    return data + b"x"


def cut(data: bytes) -> bytes:
    return data[: len(data) - 60]


@pytest.mark.parametrize("damage", [wrong_checksum, without_end, with_chunk, continued, cut])
def test_g4_finds_what_is_damaged(tmp_path, damage):
    path = saved(tmp_path)
    assert verdict("G4", path) == "pass"
    path.write_bytes(damage(path.read_bytes()))
    assert verdict("G4", path) == "fail"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_g4_finds_other_formats_cut_or_continued(tmp_path, kind):
    path = saved(tmp_path, kind)
    data = path.read_bytes()
    assert verdict("G4", path) == "pass"
    path.write_bytes(data + b"more")
    assert verdict("G4", path) == "fail"
    path.write_bytes(data[: len(data) - 40])
    assert verdict("G4", path) == "fail"


def test_a_cut_picture_is_told_of_once_and_the_rest_not_looked_at(tmp_path):
    file = io.BytesIO()
    Image.effect_noise((1280, 720), 90).convert("RGB").save(file, "JPEG", quality=40)
    path = tmp_path / "cut.jpg"
    path.write_bytes(file.getvalue()[:90_000])
    found = {each.check: each for each in check_picture(path)}
    assert [name for name, each in found.items() if each.verdict == "fail"] == ["G4"]
    assert {found[name].verdict for name in ("C1", "C2", "C3", "S1")} == {"absent"}
    assert "see G4" in found["C3"].says


def test_what_is_no_picture_is_one_error(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(InputError, match=r"notes\.png.*no picture"):
        check_picture(path)
    with pytest.raises(InputError, match=r"absent\.png.*cannot be read"):
        check_picture(tmp_path / "absent.png")


def test_a_picture_that_is_no_file_says_what_cannot_be_checked():
    found = {each.check: each for each in check_picture(Picture(np.zeros((36, 64, 3), np.uint8)))}
    assert {found[name].verdict for name in ("G2", "G3", "G4", "P1")} == {"absent"}
    assert "export it" in found["G2"].says
