"""What a file says of its picture's look where other readers do not look for it."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from recast.retouch.certificate import certify, verify
from recast.retouch.original import Original, encode_original, read_original

SAMPLES = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
SIDEWAYS = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
ORIENTATION, XMP = 274, 700


def stored(kind: str, xmp: str, *, orientation: int | None = None) -> bytes:
    """A file whose samples lie sideways."""
    options: dict[str, object] = {"xmp": xmp.encode()}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        options = {"pnginfo": info}
    if kind == "TIFF":
        tags = {XMP: xmp.encode()} | ({} if orientation is None else {ORIENTATION: orientation})
        options = {"tiffinfo": tags}
    elif orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif
    options |= {"lossless": True} if kind == "WEBP" else {}
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(SAMPLES))).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "TIFF"])
def test_a_turn_that_xmp_alone_asks_for_is_no_look_that_can_be_kept(kind):
    """Read upright, it has the source's bytes; most viewers show it sideways."""
    support = np.zeros(SAMPLES.shape[:2], bool)
    source, result = Original(SAMPLES), read_original(stored(kind, SIDEWAYS))
    np.testing.assert_array_equal(result.samples, SAMPLES)
    verdict = verify(source, result, certify(source, source.with_samples(SAMPLES), support))
    assert not verdict.is_kept
    assert "orientation 6" in verdict.reasons[0]
    again = result.with_samples(SAMPLES)
    kept = verify(result, read_original(encode_original(again, "png")), certify(result, again, support))
    assert kept.is_kept  # of a source it is a warning
    assert result.warnings == result.disputed


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "TIFF"])
@pytest.mark.parametrize(
    ("xmp", "orientation"), [(SIDEWAYS, 6), (SIDEWAYS, 1), (SIDEWAYS.replace("6", "1"), None), ("<a/>", 6)]
)
def test_a_turn_that_exif_asks_for_is_not_disputed(kind, xmp, orientation):
    assert read_original(stored(kind, xmp, orientation=orientation)).disputed == ()


def a_file(kind: str = "JPEG", picture: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (picture or Image.fromarray(SAMPLES)).save(file, kind, **options)
    return file.getvalue()


def adobe(**tags: str) -> bytes:
    exif = Image.Exif()
    exif.update({ExifTags.Base[name]: text for name, text in tags.items()})
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ColorSpace: 0xFFFF, ExifTags.IFD.Interop: {1: "R03"}}
    return exif.tobytes()


@pytest.mark.parametrize("cut", [2, 10, 20, 30])
def test_exif_that_is_cut_off_is_no_look_that_can_be_kept(cut):
    """What was in the part that is not there, nobody knows."""
    whole = adobe()
    said = read_original(a_file(exif=whole[:-cut])).disputed
    assert any("EXIF is damaged" in each or "Adobe RGB" in each for each in said)
    assert "Adobe RGB" in read_original(a_file(exif=whole)).disputed[0]


@pytest.mark.parametrize("kind", [b"\2", b"\1", b"\7"])
def test_adobe_rgb_may_be_said_in_text_or_bytes(kind):
    exif = adobe().replace(b"\0\1\0\2\0\0\0\4R03", b"\0\1\0" + kind + b"\0\0\0\4R03")
    assert b"\0" + kind + b"\0\0\0\4R03" in exif
    (said,) = read_original(a_file(exif=exif)).disputed
    assert "Adobe RGB" in said


def test_a_density_in_words_leaves_the_rest_of_exif_heeded():
    """Nikon's and Photoshop's files have had one."""
    said = adobe(Software="300 to the inch").replace(b"\1\x31\0\2", b"\1\x1a\0\2")  # XResolution
    assert Image.open(io.BytesIO(a_file(exif=said))).getexif()[ExifTags.Base.XResolution] == "300 to the inch"
    disputed = read_original(a_file(exif=said)).disputed
    assert len(disputed) == 1
    assert "Adobe RGB" in disputed[0]


def test_exif_that_is_none_is_said_and_the_picture_read():
    said = read_original(a_file(exif=b"Exif\0\0" + b"\xff" * 20)).disputed
    assert len(said) == 1
    assert "EXIF cannot be read" in said[0]


def test_a_jfif_aspect_without_a_unit_is_heeded():
    data = bytearray(a_file(dpi=(2, 1)))
    data[data.index(b"JFIF\0") + 7] = 0  # the unit, behind the version
    assert "not square (2 to 1, as stored)" in read_original(bytes(data)).disputed[0]


def test_a_cmyk_picture_is_no_adobe_rgb():
    assert read_original(a_file(picture=Image.new("CMYK", (8, 8)), exif=adobe())).disputed == ()


@pytest.mark.parametrize("dpi", [72, "72", (72,), None, ("a", "b")])
def test_a_density_that_is_none_is_passed_over(dpi):
    picture = Image.fromarray(SAMPLES)
    picture.info["dpi"] = dpi
    assert read_original(picture).disputed == ()
