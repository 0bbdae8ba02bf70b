"""A certificate holds for the result it was made of, and for nothing else that anyone may put in its place."""

import base64
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ExifTags, Image, TiffImagePlugin

from recast.errors import InputError
from recast.pixels import srgb
from recast.retouch import embedded, png
from recast.retouch.certificate import Broken, Certificate, certify, read_certificate, verify
from recast.retouch.original import Original, encode_original, loss_of, read_original
from tests.pixels.test_image import P3, icc, matrix_profile, raw_png

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 24, 40
ICC = matrix_profile(P3, 2.2)
GREY = icc(b"GRAY", b"XYZ ", kTRC=b"curv" + struct.pack(">4xIH", 1, 563))
SUPPORT = np.zeros((HEIGHT, WIDTH), bool)
SUPPORT[5:15, 10:30] = True
SRGB_CICP = (b"cICP", bytes([1, 13, 0, 1]))
COLOUR_SPACE, INTEROPERABILITY, GAMMA = ExifTags.Base.ColorSpace, ExifTags.IFD.Interop, 0xA500
SIZE = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
INNER = (COLOUR_SPACE, INTEROPERABILITY, GAMMA, *SIZE)
EMPTY = (TiffImagePlugin.IFDRational(0, 0),)
ADOBE = {COLOUR_SPACE: 0xFFFF, INTEROPERABILITY: {1: "R03"}}
TURNED = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\3\0\0"  # EXIF: upside down
SQUARE = struct.pack(">2IB", 2835, 2835, 1)  # pHYs
RED_WHITE = TURNED.replace(b"\1\x12\0\3\0\0\0\1\0\3\0\0", b"\1\x3e\0\2\0\0\0\4red\0" + bytes(4))  # in words


def a_source(depth: int = 8, *, has_alpha: bool = True, profile: bytes | None = ICC) -> Original:
    dtype, most = (np.uint8, 256) if depth == 8 else (np.uint16, 65536)
    samples = RNG.integers(0, most, (HEIGHT, WIDTH, 3), dtype=dtype)
    alpha = RNG.integers(0, most, (HEIGHT, WIDTH), dtype=dtype) if has_alpha else None
    return Original(samples, alpha, profile)


def a_result(source: Original) -> Original:
    """The source with every sample inside the support inverted."""
    samples = source.samples.copy()
    samples[SUPPORT] ^= source.samples.dtype.type(source.levels)
    return replace(source, samples=samples)


def with_pixel(picture: Original, x: int, y: int, **changed: int) -> Original:
    samples = picture.samples.copy()
    alpha = None if picture.alpha is None else picture.alpha.copy()
    for name, value in changed.items():
        if name == "alpha":
            alpha[y, x] = value
        else:
            samples[y, x, "rgb".index(name)] = value
    return replace(picture, samples=samples, alpha=alpha)


def written(picture: Original, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of the samples, and the chunks before them."""
    file = io.BytesIO()
    Image.fromarray(picture.samples).save(file, "PNG")
    return png.inserted(file.getvalue(), [png.chunk(*each) for each in chunks])


def sized(width: int, height: int = HEIGHT) -> dict[int, int]:
    return dict(zip(SIZE, (width, height), strict=True))


def exif(tags: Mapping[int, Any]) -> Image.Exif:
    """EXIF with tags, of which those of INNER lie in a folder of their own."""
    made = Image.Exif()
    made.update({tag: value for tag, value in tags.items() if tag not in INNER})
    inner = {tag: value for tag, value in tags.items() if tag in INNER}
    if inner:
        made[ExifTags.IFD.Exif] = inner
    return made


def forged(certificate: Certificate, **fields) -> Certificate:
    """As someone makes it who knows the format: every hash of it fits."""
    return replace(certificate, **fields, sha256="")


def packed(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(params=[8, 16])
def made(request):
    source = a_source(request.param)
    result = a_result(source)
    return source, result, certify(source, result, SUPPORT)


class TestCertify:
    def test_it_counts_and_hashes_what_is_kept(self, made):
        source, result, certificate = made
        assert certificate.preserved == HEIGHT * WIDTH - 200
        assert (certificate.width, certificate.height, certificate.channels) == (WIDTH, HEIGHT, 4)
        assert certificate.depth == source.depth
        assert certificate.source_sha256 == source.sha256()
        np.testing.assert_array_equal(certificate.mask, SUPPORT)
        head = f"recast-preserved-1 {WIDTH}x{HEIGHT}x{source.depth}x4 {certificate.support_sha256} ".encode()
        little = f"<u{source.depth // 8}"
        parts = [picture[~SUPPORT].astype(little).tobytes() for picture in (source.samples, source.alpha)]
        assert certificate.preserved_sha256 == hashlib.sha256(head + b"".join(parts)).hexdigest()
        verdict = verify(source, result, certificate)
        assert verdict.is_kept
        assert (verdict.preserved, verdict.of, verdict.broken) == (certificate.preserved, HEIGHT * WIDTH, 0)
        assert (verdict.differing, verdict.box, verdict.first, verdict.reasons) == (200, (10, 5, 30, 15), None, ())

    @pytest.mark.parametrize("channel", ["r", "g", "b", "alpha"])
    def test_one_sample_outside_and_there_is_no_certificate(self, made, channel):
        source, result, _ = made
        before = source.alpha[20, 33] if channel == "alpha" else source.samples[20, 33, "rgb".index(channel)]
        broken = with_pixel(result, 33, 20, **{channel: before ^ 1})
        with pytest.raises(InputError, match=r"1 pixels outside the support differ, first \(x=33, y=20\)"):
            certify(source, broken, SUPPORT)
        certify(source, with_pixel(result, 12, 6, **{channel: 9}), SUPPORT)  # inside

    def test_what_is_of_another_kind_gets_none(self, made):
        source, result, _ = made
        other = replace(source, samples=source.samples[:-1], alpha=source.alpha[:-1])
        for wrong, said in (
            (other, "size: 40x23"),
            (replace(result, alpha=None), "alpha: none"),
            (replace(result, icc=None), "profile"),
        ):
            with pytest.raises(InputError, match=said):
                certify(source, wrong, SUPPORT)
        with pytest.raises(InputError, match="support: bool"):
            certify(source, result, SUPPORT[:-1])
        with pytest.raises(InputError, match="support: int64"):
            certify(source, result, SUPPORT.astype(int))

    def test_a_support_of_everything_or_nothing(self, made):
        source, result, _ = made
        every = certify(source, result, np.ones_like(SUPPORT))
        assert every.preserved == 0
        assert verify(source, result, every).is_kept
        none = certify(source, source, np.zeros_like(SUPPORT))
        assert none.preserved == HEIGHT * WIDTH
        assert verify(source, source, none).is_kept
        assert not verify(source, result, none).is_kept

    def test_the_decoder_of_a_lossy_source_is_noted(self):
        jpeg = read_original(encode_original(a_source(has_alpha=False), "jpg"))
        assert "libjpeg_turbo" in certify(jpeg, jpeg, SUPPORT).note
        assert certify(read_original(encode_original(jpeg, "png")), jpeg, SUPPORT).note == ""
        other = replace(jpeg, samples=jpeg.samples ^ 1)
        certificate = certify(jpeg, jpeg, SUPPORT)
        assert "decoded by Pillow" in verify(other, jpeg, certificate).reasons[0]


class TestVerify:
    @pytest.mark.parametrize("format", ["png", "webp", "json"])
    def test_it_holds_through_a_file(self, made, format, tmp_path):
        source, result, certificate = made
        if format == "webp" and source.depth == 16:
            pytest.skip("WebP holds 8 bits")
        path = tmp_path / f"a.{format}"
        if format == "json":
            path.write_text(certificate.to_json())
            assert verify(source, result, read_certificate(path)).is_kept
        else:
            path.write_bytes(encode_original(result, format, certificate=certificate.to_json(), recipe="{}"))
            assert read_certificate(path) == read_certificate(path.read_bytes()) == certificate
            assert verify(source, read_original(path), read_certificate(path)).is_kept

    @pytest.mark.parametrize("channel", ["r", "g", "b", "alpha"])
    def test_a_broken_pixel_is_named(self, made, channel):
        source, result, certificate = made
        before = result.alpha[3, 4] if channel == "alpha" else result.samples[3, 4, "rgb".index(channel)]
        broken = with_pixel(with_pixel(result, 4, 3, **{channel: before ^ 1}), 2, 20, b=source.samples[20, 2, 2] ^ 1)
        verdict = verify(source, broken, certificate)
        expected = (*(int(v) for v in source.samples[3, 4]), int(source.alpha[3, 4]))
        found = list(expected)
        found["rgb".find(channel)] ^= 1
        assert not verdict.is_kept
        assert (verdict.broken, verdict.first) == (2, Broken(4, 3, expected, tuple(found)))
        assert verdict.preserved == certificate.preserved - 2
        assert verdict.reasons == (
            f"2 pixels outside the support differ, first (x=4, y=3): expected {expected}, found {tuple(found)}",
        )

    def test_a_source_or_result_swapped_is_found(self, made):
        source, result, certificate = made
        other = a_source(source.depth)
        assert "source: is not the picture that was certified" in verify(other, result, certificate).reasons
        assert not verify(source, other, certificate).is_kept
        inside = with_pixel(source, 12, 6, r=source.samples[6, 12, 0] ^ 1)  # of the source, where all may differ
        assert verify(inside, result, certificate).reasons == ("source: is not the picture that was certified",)
        assert not verify(source, replace(result, icc=None), certificate).is_kept
        assert not verify(source, replace(result, icc=matrix_profile(P3, 1.8)), certificate).is_kept
        assert not verify(source, replace(result, alpha=None), certificate).is_kept
        cut = replace(result, samples=result.samples[:, :-1], alpha=result.alpha[:, :-1])
        assert "size: 39x24 in the result, 40x24 in the source" in verify(source, cut, certificate).reasons

    def test_another_depth_is_another_picture(self):
        source = a_source(8, profile=None)
        certificate = certify(source, source, SUPPORT)
        sixteen = Original(source.samples * np.uint16(257), source.alpha * np.uint16(257))
        verdict = verify(source, sixteen, certificate)
        assert verdict.reasons == ("depth: 16 bits in the result, 8 bits in the source",)
        assert not verdict.is_kept

    @pytest.mark.parametrize(
        "fields",
        [
            {"preserved": 1}, {"preserved": 761}, {"preserved_sha256": "0" * 64}, {"source_sha256": "0" * 64},
            {"support_sha256": "0" * 64}, {"width": 20, "height": 48}, {"depth": 0}, {"channels": 3},
            {"support": packed(np.ones_like(SUPPORT))}, {"support": packed(SUPPORT[::-1].copy())},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("is_careful", [False, True])
    def test_a_field_that_was_changed_is_found_even_with_its_hash(self, made, fields, is_careful):
        source, result, certificate = made
        if "depth" in fields:
            fields = {"depth": 24 - source.depth}
        wrong = forged(certificate, **fields) if is_careful else replace(certificate, **fields)
        if "width" in fields:
            with pytest.raises(InputError, match="PNG 1 20x48 accepted"):
                Certificate.from_json(wrong.to_json())
            return
        verdict = verify(source, result, Certificate.from_json(wrong.to_json()))
        assert not verdict.is_kept
        assert verdict.reasons
        if fields.keys() & {"support", "support_sha256"}:
            assert "support_sha256: is not that of the support" in verdict.reasons
        if not is_careful:
            assert verdict.reasons[0] == "certificate: its fields were changed after it was made (sha256)"

    @pytest.mark.parametrize("fields", [{"note": "x"}, {"version": "9"}])
    def test_a_note_that_was_changed_is_found(self, made, fields):
        source, result, certificate = made
        assert not verify(source, result, replace(certificate, **fields)).is_kept

    def test_a_wider_support_claims_less_and_never_more(self, made):
        """Whoever makes a new certificate over a broken pixel has to say that it may differ."""
        source, result, _ = made
        broken = with_pixel(result, 0, 0, r=source.samples[0, 0, 0] ^ 1)
        wider = SUPPORT.copy()
        wider[0, 0] = True
        honest = certify(source, broken, wider)
        assert verify(source, broken, honest).preserved == HEIGHT * WIDTH - 201
        lie = forged(honest, preserved=HEIGHT * WIDTH - 200)
        assert verify(source, broken, lie).reasons == (f"preserved: {lie.preserved} claimed; the support leaves 759",)

    def test_without_a_certificate_it_says_what_differs(self, made):
        source, result, _ = made
        verdict = verify(source, result, None)
        assert not verdict.is_kept
        assert verdict.reasons == ("result: carries no certificate",)
        assert (verdict.differing, verdict.box, verdict.preserved) == (200, (10, 5, 30, 15), HEIGHT * WIDTH - 200)

    def test_an_opaque_alpha_says_nothing(self, made):
        """Lossless WebP leaves an opaque alpha out; one that hides a pixel is not to be lost."""
        source = replace(a_source(), alpha=np.full((HEIGHT, WIDTH), 255, np.uint8))
        certificate = certify(source, a_result(source), SUPPORT)
        again = read_original(encode_original(a_result(source), "webp", certificate=certificate.to_json()))
        assert again.alpha is None
        assert verify(source, again, certificate).is_kept
        without = replace(source, alpha=None)
        assert verify(without, a_result(source), certify(without, a_result(without), SUPPORT)).is_kept
        source, result, certificate = made
        assert verify(source, replace(result, alpha=None), certificate).broken > 700

    def test_a_file_that_shows_other_pictures_too_is_not_kept(self):
        """A viewer shows the frames of an animated PNG, and not the pixels that are compared."""
        source = a_source(has_alpha=False, profile=None)
        result = a_result(source)
        certificate = certify(source, result, SUPPORT)
        data = encode_original(result, "png", certificate=certificate.to_json())
        hidden = png.inserted(data, [png.chunk(b"acTL", struct.pack(">II", 1, 0))] * 2)  # Pillow gives two of them up
        frames = [Image.fromarray(255 - result.samples)]
        file = io.BytesIO()
        Image.fromarray(result.samples).save(file, "WEBP", lossless=True, save_all=True, append_images=frames)
        for several in (hidden, file.getvalue()):
            verdict = verify(source, read_original(several), certificate)
            assert not verdict.is_kept
            assert verdict.broken == 0
            assert "further pictures" in verdict.reasons[0]
        animated = read_original(file.getvalue())
        first = animated.with_samples(a_result(animated).samples)
        assert verify(animated, first, certify(animated, first, SUPPORT)).is_kept  # one picture, of its first frame

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            (b"gAMA", struct.pack(">I", 100_000)), (b"cICP", bytes([9, 16, 0, 1])),
            (b"cHRM", struct.pack(">8I", 31270, 32900, 30000, 60000, 64000, 33000, 15000, 6000)),
        ],
    )  # fmt: skip
    def test_colours_that_only_other_viewers_show_are_no_longer_the_source(self, name, content):
        source = a_source(has_alpha=False, profile=None)
        certificate = certify(source, a_result(source), SUPPORT)
        file = io.BytesIO()
        Image.fromarray(a_result(source).samples).save(file, "PNG")
        plain, told = file.getvalue(), png.inserted(file.getvalue(), [png.chunk(name, content)])
        assert verify(source, read_original(plain), certificate).is_kept
        verdict = verify(source, read_original(told), certificate)
        assert not verdict.is_kept
        assert name.decode() in verdict.reasons[0]
        behind = plain[:-12] + png.chunk(name, content) + plain[-12:]  # which some readers listen to
        assert "behind the pixels" in verify(source, read_original(behind), certificate).reasons[0]

    @pytest.mark.parametrize(
        "chunks",
        [
            [(b"gAMA", struct.pack(">I", 100_000))],
            [(b"gAMA", struct.pack(">I", 45_455)), (b"cHRM", struct.pack(">8I", 31270, 32900, *[30000] * 6))],
            [(b"cICP", bytes([9, 16, 0, 1])), (b"mDCV", bytes(24)), (b"cLLI", bytes(8))],
        ],
    )
    def test_what_a_png_says_of_its_colours_is_carried_and_missed(self, chunks):
        """A viewer that listens to it shows the rest of the result as it shows the source."""
        file = io.BytesIO()
        Image.fromarray(a_source().samples).save(file, "PNG")
        source = read_original(png.inserted(file.getvalue(), [png.chunk(*each) for each in chunks]))
        assert source.colours == tuple(chunks)
        certificate = certify(source, a_result(source), SUPPORT)
        data = encode_original(a_result(source), "png", certificate=certificate.to_json())
        written = dict(png.chunks(data))
        assert [(name, written[name]) for name, _ in chunks] == chunks
        assert (b"sRGB" in written) == (b"cICP" in written)  # beside gAMA and cHRM it would win
        assert verify(source, read_original(data), certificate).is_kept
        without = replace(a_result(source), colours=())
        assert not verify(source, without, certificate).is_kept
        with pytest.raises(InputError, match=f"colours: nothing in the result, {chunks[0][0].decode()}"):
            certify(source, without, SUPPORT)
        assert f"{chunks[0][0].decode()}" in loss_of("webp", original=source)
        with pytest.raises(InputError, match="WebP has no place for it"):
            encode_original(a_result(source), "webp", certificate=certificate.to_json())

    @pytest.mark.parametrize("said", ["P3, cICP sRGB", "gamma, cICP sRGB", "no profile, gamma", "rubbish, gamma", "9"])
    def test_what_outranks_or_stands_in_for_another_goes_along(self, said):
        """cICP before a profile and gAMA, also where it says sRGB; gAMA where no profile can be read."""
        linear = (b"gAMA", struct.pack(">I", 100_000))
        chunks, carried = {
            "P3, cICP sRGB": ([(b"iCCP", b"x\0\0" + zlib.compress(ICC)), SRGB_CICP], (SRGB_CICP,)),
            "gamma, cICP sRGB": ([linear, SRGB_CICP], (SRGB_CICP, linear)),
            "no profile, gamma": ([(b"iCCP", b"x\0\0cut"), linear], (linear,)),
            "rubbish, gamma": ([(b"iCCP", b"x\0\0" + zlib.compress(b"rubbish")), linear], (linear,)),
            "9": ([(b"sRGB", b"\x09"), linear], (linear,)),  # an intent that there is not
        }[said]
        source = read_original(written(a_source(), *chunks))
        assert source.colours == carried
        assert source.warnings
        certificate = certify(source, a_result(source), SUPPORT)
        data = encode_original(a_result(source), "png", certificate=certificate.to_json())
        assert verify(source, read_original(data), certificate).is_kept
        assert not verify(source, replace(a_result(source), colours=()), certificate).is_kept

    @pytest.mark.parametrize(
        ("chunks", "behind", "found"),
        [
            ([SRGB_CICP], [], "cICP 010d0001 in the result"),
            ([(b"iCCP", b"x\0\0cut"), (b"gAMA", struct.pack(">I", 100_000))], [], "iCCP: a colour profile that can"),
            ([(b"cICP", b"123")], [], "cICP: is damaged"), ([(b"sRGB", b"\x09")], [], "sRGB: is damaged"),
            ([], [(b"gAMA", struct.pack(">I", 100_000))], "gAMA: a second such chunk, or one behind"),
            ([(b"tRNS", bytes(6))], [], None), ([(b"eXIf", TURNED)], [], "differ"), ([], [(b"eXIf", TURNED)], "differ"),
            ([(b"tRNS", bytes(6))], [(b"tRNS", bytes([0, 1] * 3))], "tRNS: a second"),
            ([(b"eXIf", TURNED)], [(b"eXIf", TURNED.replace(b"\1\0\3", b"\1\0\1"))], "eXIf: a second"),
            ([(b"eXIf", b"cut")], [], "EXIF cannot be read"), ([(b"iDOT", bytes(28))], [], "further pictures"),
            ([(b"pHYs", bytes(8) + b"\0")], [(b"pHYs", struct.pack(">2IB", 1, 2, 0))], "pHYs: a second"),
            ([(b"pHYs", SQUARE)], [(b"pHYs", SQUARE)], None), ([], [(b"pHYs", SQUARE)], None),
            ([(b"pHYs", struct.pack(">2IB", 1, 0, 0))], [(b"pHYs", SQUARE)], None),
            ([], [(b"pHYs", struct.pack(">2IB", 1, 2, 0))], "pHYs: a second"),
            ([(b"pHYs", struct.pack(">2IB", 1, 2, 0))], [], "not square (1 to 2, as stored)"),
            ([(b"pHYs", SQUARE + b"\0")], [], "pHYs: is damaged"),
            ([(b"bKGD", bytes(6))], [], None), ([(b"gAMA", struct.pack(">I", 45_455))], [], None),
        ],
    )  # fmt: skip
    def test_a_result_that_some_viewer_may_show_otherwise_is_not_kept(self, chunks, behind, found):
        """Whatever the source has: recast writes none of it."""
        picture = Original(a_source().samples | 2)  # no black, and no (1, 1, 1), that tRNS would hide
        profile = [(b"iCCP", b"x\0\0" + zlib.compress(ICC))] if chunks == [SRGB_CICP] else []
        plain, told = written(picture, *profile), written(picture, *profile, *chunks)
        told = told[:-12] + b"".join(png.chunk(*each) for each in behind) + told[-12:]
        source, result = read_original(plain), read_original(told)
        certificate = certify(source, source.with_samples(source.samples), SUPPORT)
        verdict = verify(source, result, certificate)
        assert verdict.is_kept == (found is None)
        assert found is None or found in " ".join(verdict.reasons)
        if result.disputed:
            again = result.with_samples(result.samples)  # of that file as a source: left out, with a warning, and kept
            assert set(result.disputed) <= set(again.warnings)
            assert again.disputed == again.unheeded == ()
            certificate = certify(result, again, SUPPORT)
            assert verify(result, read_original(encode_original(again, "png")), certificate).is_kept
            assert not verify(result, result, certificate).is_kept

    def test_a_certificate_from_before_colours_were_compared_still_names_its_source(self):
        source = read_original(written(a_source(), (b"gAMA", struct.pack(">I", 100_000))))
        before = replace(source, colours=())
        verdict = verify(source, a_result(before), certify(before, a_result(before), SUPPORT))
        assert len(verdict.reasons) == 1
        assert "colours: nothing in the result, gAMA" in verdict.reasons[0]

    @pytest.mark.parametrize(
        ("kind", "profile", "tags", "options", "found"),
        [
            ("WEBP", None, ADOBE, {}, "Adobe RGB"), ("JPEG", None, ADOBE, {}, "Adobe RGB"),
            ("TIFF", None, ADOBE, {}, "Adobe RGB"), ("PNG", None, {COLOUR_SPACE: 2}, {}, "Adobe RGB"),
            ("WEBP", None, {COLOUR_SPACE: 0xFFFF}, {}, None), ("WEBP", None, {COLOUR_SPACE: 1}, {}, None),
            ("WEBP", None, ADOBE | {COLOUR_SPACE: 1}, {}, None), ("WEBP", ICC, ADOBE, {}, None),
            ("TIFF", None, {301: tuple(range(0, 65536, 257))}, {}, "TransferFunction"),
            ("TIFF", ICC, {301: tuple(range(0, 65536, 257))}, {}, None),
            ("TIFF", None, {301: tuple(round(65535 * (i / 255) ** 2.2) for i in range(256)) * 3}, {}, None),
            ("TIFF", None, {318: (0.3127, 0.329), 319: (0.64, 0.33, 0.3, 0.6, 0.15, 0.06)}, {}, None),
            ("TIFF", None, {319: (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)}, {}, "PrimaryChromaticities"),
            ("WEBP", None, {318: (0.3457, 0.3585)}, {}, "WhitePoint"),
            ("PNG", None, {}, {"dpi": (72, 144)}, "not square (72"), ("PNG", None, {}, {"dpi": (72, 72)}, None),
            ("JPEG", None, {}, {"dpi": (204, 98)}, "not square (204 to 98, as stored)"),
            ("PNG", None, {}, {"dpi": (72, 80)}, "not square"), ("TIFF", ICC, {}, {"dpi": (204, 98)}, "not square"),
            ("TIFF", None, {282: 300, 283: 0}, {}, None),
            ("TIFF", None, {282: 300, 283: 150, 296: 1}, {}, "not square (300"),
            ("JPEG", None, {282: 144, 283: 72, 296: 2} | sized(WIDTH // 2), {}, "not square (144"),
            ("JPEG", None, {282: 144, 283: 72, 296: 2} | sized(WIDTH), {}, None),  # as a telephone may
            ("JPEG", None, {282: 144, 283: 72, 296: 3} | sized(WIDTH // 2), {}, None),
            ("WEBP", None, {282: 144, 283: 144, 296: 2} | sized(WIDTH // 2, HEIGHT // 2), {}, None),
            ("WEBP", None, {282: 72, 283: 36}, {}, None),
            ("WEBP", None, {COLOUR_SPACE: 0xFFFF, INTEROPERABILITY: {1: "R98"}}, {}, None),
            ("WEBP", None, {INTEROPERABILITY: {1: "R03"}}, {}, "Adobe RGB"),
            ("WEBP", None, {COLOUR_SPACE: 0xFFFF, INTEROPERABILITY: {1: b"R03\0"}}, {}, "Adobe RGB"),
            ("WEBP", None, {GAMMA: 1.0}, {}, "gamma 1 of EXIF"), ("WEBP", None, {GAMMA: 2.2}, {}, None),
            ("WEBP", None, {318: EMPTY * 2, 319: EMPTY * 6, GAMMA: 0.0, 301: (0,) * 768}, {}, None),
            ("WEBP", None, {318: (0.0,) * 2}, {}, None), ("WEBP", ICC, {GAMMA: 1.0}, {}, None),
            ("WEBP", None, {}, {"exif": b"Exif\0\0" + RED_WHITE}, "WhitePoint cannot be read"),
        ],
    )  # fmt: skip
    def test_nor_is_one_of_another_look_by_exif_tiff_or_density(self, kind, profile, tags, options, found):
        """Of a source it is left out, with a warning."""
        if kind == "TIFF":
            tiffinfo = TiffImagePlugin.ImageFileDirectory_v2()
            tiffinfo.update(exif(tags))
            options = options | {"tiffinfo": tiffinfo}
        elif tags:
            options = options | {"exif": exif(tags)}
        bare = {"lossless": True} if kind == "WEBP" else {}
        picture, plain, told = Image.fromarray(a_source().samples), io.BytesIO(), io.BytesIO()
        for file, said in ((plain, {}), (told, options)):
            picture.save(file, kind, icc_profile=profile, **bare, **said)
        source, result = (read_original(file.getvalue()) for file in (plain, told))
        certificate = certify(source, source.with_samples(source.samples), SUPPORT)
        verdict = verify(source, result, certificate)
        assert verdict.is_kept == (found is None)
        assert result.disputed == result.warnings
        assert found is None or (found in result.disputed[0] and result.disputed[0] in verdict.reasons[0])
        again = result.with_samples(result.samples)
        certificate = certify(result, again, SUPPORT)
        assert verify(result, read_original(encode_original(again, "png")), certificate).is_kept

    def test_srgb_by_any_name_is_one_profile(self):
        source = a_source(profile=None)
        result = a_result(source)
        certificate = certify(source, result, SUPPORT)
        assert verify(source, replace(result, icc=srgb.profile()), certificate).is_kept
        assert not verify(source, replace(result, icc=ICC), certificate).is_kept
        assert not verify(source, replace(result, icc=b"rubbish"), certificate).is_kept
        again = read_original(encode_original(result, "webp", certificate=certificate.to_json()))
        assert verify(source, again, certificate).is_kept

    @pytest.mark.parametrize("profile", [None, GREY])
    def test_grey_that_became_rgb_is_kept(self, profile):
        levels = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
        source = Original(np.dstack([levels] * 3), icc=profile, is_grey=True)
        samples = source.samples.copy()
        samples[SUPPORT] = (200, 10, 10)
        result = source.with_samples(samples)
        certificate = certify(source, result, SUPPORT)
        for format in ("png", "webp"):
            data = encode_original(result, format, certificate=certificate.to_json())
            assert verify(source, read_original(data), certificate).is_kept


class TestReading:
    def test_a_picture_without_one_has_none(self):
        assert read_certificate(encode_original(a_source(), "png")) is None
        assert read_certificate(encode_original(a_source(), "webp")) is None
        assert read_certificate(encode_original(a_source(has_alpha=False), "jpg")) is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "not JSON"), ("[]", "recast-certificate-1"), ('{"format": "recast-certificate-1"}', "missing"),
            ("[" * 100_000, "not JSON"), ('{"format": "recast-recipe-1"}', "recast-certificate-1"),
            ("9" * 5000, "not JSON"), ('{"format": "recast-certificate-1", "width": NaN}', "missing"),
        ],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, text, said, tmp_path):
        with pytest.raises(InputError, match=said):
            Certificate.from_json(text)
        path = tmp_path / "a.json"
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_certificate(path)

    @pytest.mark.parametrize(
        "fields",
        [
            {"width": "40"}, {"width": 40.0}, {"width": True}, {"width": -40, "height": -24}, {"width": 0},
            {"depth": 12}, {"channels": 1}, {"width": 2**40}, {"note": None}, {"support": "?"}, {"support": ""},
            {"sha256": ""}, {"support": "AAAA"}, {"extra": 1}, {"preserved": [1]},
            {"support": packed(np.zeros((2, 2), bool))},
        ],
    )  # fmt: skip
    def test_a_field_that_cannot_be_is_refused(self, made, fields):
        data = json.loads(made[2].to_json()) | fields
        with pytest.raises(InputError, match="certificate"):
            Certificate.from_json(json.dumps(data))

    def test_every_cut_is_refused(self, made):
        text = made[2].to_json()
        for cut in range(0, len(text), 7):
            with pytest.raises(InputError):
                Certificate.from_json(text[:cut])

    def test_a_mask_that_is_a_bomb_is_refused_by_its_header(self, made):
        data = json.loads(made[2].to_json())
        bomb = raw_png(60_000, 60_000, 1, 0, b"")
        grey = raw_png(WIDTH, HEIGHT, 8, 0, (b"\0" + bytes(WIDTH)) * HEIGHT)
        rows = (b"\0" + bytes(WIDTH // 8)) * HEIGHT
        text = raw_png(WIDTH, HEIGHT, 1, 0, rows, zTXt=b"a\0\0" + zlib.compress(bytes(2**22)))
        for mask, said in ((bomb, "3600000000 pixels"), (grey, "PNG L 40x24 came"), (text, "too large")):
            data["support"] = base64.b64encode(mask).decode()
            with pytest.raises(InputError, match=said):
                Certificate.from_json(json.dumps(data))

    def test_a_longer_one_is_not_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr("recast.retouch.certificate.LIMIT_CHARACTERS", 100)
        path = tmp_path / "a.json"
        path.write_text(" " * 101)
        with pytest.raises(InputError, match="at most 100 accepted"):
            read_certificate(path)

    def test_what_cannot_be_read_is_named(self, tmp_path):
        with pytest.raises(InputError, match=r"--certificate=.*No such file"):
            read_certificate(tmp_path / "none.json", name="--certificate")
        with pytest.raises(InputError, match=r"--certificate=.*No such file"):
            read_certificate(tmp_path / "none.png", name="--certificate")
        Path(tmp_path / "a.json").write_bytes(b"\xff\xfe\xff")
        with pytest.raises(InputError, match="cannot be read"):
            read_certificate(tmp_path / "a.json")

    def test_xml_is_not_expanded(self):
        entity = b'<!DOCTYPE x [<!ENTITY a "{}">]><recast:certificate>&a;</recast:certificate>'
        file = io.BytesIO()
        Image.new("RGB", (2, 2)).save(file, "WEBP", lossless=True, xmp=entity)
        assert embedded.read_text(file.getvalue()) == "&a;"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_kept_is_kept_and_broken_is_broken(data):
    """Any picture, any support, any change: the verdict is that of comparing every sample."""
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    height, width = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    source = Original(data.draw(arrays(dtype, (height, width, 3))))
    support = data.draw(arrays(bool, (height, width)))
    samples = np.where(support[..., None], data.draw(arrays(dtype, (height, width, 3))), source.samples)
    certificate = Certificate.from_json(certify(source, Original(samples), support).to_json())
    kept = verify(source, Original(samples), certificate)
    assert kept.is_kept
    assert kept.preserved == int((~support).sum())
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    samples = samples.copy()
    samples[y, x, 1] ^= 1
    assert verify(source, Original(samples), certificate).is_kept == bool(support[y, x])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_text_makes_it_crash(data):
    source = Original(np.zeros((3, 5, 3), np.uint8))
    whole = json.loads(certify(source, source, np.eye(3, 5, dtype=bool)).to_json())
    content = dict(whole)
    name = data.draw(st.sampled_from(sorted(content)))
    content[name] = data.draw(st.none() | st.integers() | st.text() | st.floats() | st.lists(st.integers()))
    text = json.dumps(content)
    try:
        certificate = Certificate.from_json(text)
    except InputError:
        return
    assert verify(source, source, certificate).is_kept == (content == whole)
