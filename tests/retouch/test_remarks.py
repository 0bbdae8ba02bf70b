"""What a file says of its picture's look where other readers do not look for it."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

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
