"""Every way a picture can be stored: its own samples come back, in its own space, and go out again unchanged."""

import io
import struct
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from recast.errors import InputError, ShapeError
from recast.pixels import image, srgb
from recast.retouch import png, space
from recast.retouch.original import Original, check_format, encode_original, loss_of, read_original, write_original
from tests.pixels.test_image import P3, RECIPE, icc, matrix_profile, pack, raw_png

RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (13, 21, 3), dtype=np.uint8)
SIXTEEN = RNG.integers(0, 65536, (13, 21, 3), dtype=np.uint16)
ALPHA8 = RNG.integers(0, 256, (13, 21), dtype=np.uint8)
ALPHA16 = RNG.integers(0, 65536, (13, 21), dtype=np.uint16)
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
PROPHOTO = np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0, 0, 0.82491]])
PROFILES = {
    "p3": matrix_profile(P3, 2.2),
    "adobe": matrix_profile(ADOBE, 563 / 256),
    "prophoto": matrix_profile(PROPHOTO, 1.8),
}
GREY_22 = icc(b"GRAY", b"XYZ ", kTRC=b"curv" + struct.pack(">4xIH", 1, 563))
GREY_LINEAR = icc(b"GRAY", b"XYZ ", kTRC=b"curv" + struct.pack(">4xIH", 1, 256))


def rows(samples: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)


def png_16(samples: np.ndarray, colour_type: int, **chunks: bytes) -> bytes:
    samples = samples.reshape(*samples.shape[:2], -1)
    return raw_png(samples.shape[1], samples.shape[0], 16, colour_type, rows(samples), **chunks)


def tiff(samples: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    byteorder = options.pop("byteorder", "<")
    tifffile.TiffWriter(file, byteorder=byteorder).write(samples, photometric="rgb", **options)
    return file.getvalue()


def iccp(profile: bytes) -> bytes:
    return b"x\0\0" + zlib.compress(profile)


def oriented(array: np.ndarray, orientation: int, format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return pack(array, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))


# name: bytes, samples, alpha, is_grey
STORED = {
    "rgb": (pack(EIGHT), EIGHT, None, False),
    "rgba": (pack(np.dstack([EIGHT, ALPHA8])), EIGHT, ALPHA8, False),
    "grey": (pack(EIGHT[..., 0]), np.dstack([EIGHT[..., 0]] * 3), None, True),
    "grey alpha": (
        pack(Image.merge("LA", [Image.fromarray(EIGHT[..., 0]), Image.fromarray(ALPHA8)])),
        np.dstack([EIGHT[..., 0]] * 3), ALPHA8, True,
    ),
    "one bit": (pack(EIGHT[..., 0] > 99), np.dstack([np.uint8(255) * (EIGHT[..., 0] > 99)] * 3), None, True),
    "bmp": (pack(EIGHT, "BMP"), EIGHT, None, False),
    "webp": (pack(EIGHT, "WEBP", lossless=True), EIGHT, None, False),
    "tiff": (pack(EIGHT, "TIFF"), EIGHT, None, False),
    "rgb 16": (png_16(SIXTEEN, 2), SIXTEEN, None, False),
    "rgba 16": (png_16(np.dstack([SIXTEEN, ALPHA16]), 6), SIXTEEN, ALPHA16, False),
    "grey 16": (png_16(SIXTEEN[..., 0], 0), np.dstack([SIXTEEN[..., 0]] * 3), None, True),
    "grey alpha 16": (
        png_16(np.dstack([SIXTEEN[..., 0], ALPHA16]), 4), np.dstack([SIXTEEN[..., 0]] * 3), ALPHA16, True,
    ),
    "tiff 16": (tiff(SIXTEEN), SIXTEEN, None, False),
    "tiff 16 >": (tiff(SIXTEEN, byteorder=">"), SIXTEEN, None, False),
    "tiff 16 packed": (tiff(SIXTEEN, compression="zlib", predictor=True), SIXTEEN, None, False),
    "tiff 16 alpha": (
        tiff(np.dstack([SIXTEEN, ALPHA16]), extrasamples=["unassalpha"]), SIXTEEN, ALPHA16, False,
    ),
}  # fmt: skip


class TestReading:
    @pytest.mark.parametrize("name", STORED)
    def test_samples_come_as_they_are_stored_and_look_as_the_core_reads_them(self, name):
        data, samples, alpha, is_grey = STORED[name]
        original = read_original(data)
        np.testing.assert_array_equal(original.samples, samples)
        assert original.samples.dtype == samples.dtype
        assert (original.alpha is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(original.alpha, alpha)
        assert (original.is_grey, original.warnings, original.icc) == (is_grey, (), None)
        assert (original.depth, original.levels) == ((8, 255) if samples.dtype == np.uint8 else (16, 65535))
        seen = image.read(data)
        np.testing.assert_array_equal(original.srgb8(), seen.rgb)
        assert original.picture().sha256() == seen.sha256()

    @pytest.mark.parametrize("profile", [*PROFILES.values(), GREY_22, GREY_LINEAR, b"rubbish", srgb.profile()])
    @pytest.mark.parametrize("name", ["rgb", "rgba", "grey", "grey alpha", "rgb 16", "rgba 16", "grey 16"])
    def test_with_any_profile_both_readers_agree(self, name, profile):
        data = png.inserted(STORED[name][0], [png.colour(profile)])
        original, seen = read_original(data), image.read(data)
        np.testing.assert_array_equal(original.srgb8(), seen.rgb)
        assert original.picture().sha256() == seen.sha256()
        if profile is not GREY_LINEAR or not original.is_grey:
            assert original.icc == profile
            np.testing.assert_array_equal(original.samples, STORED[name][1])

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
    def test_it_is_upright(self, orientation, format):
        data = oriented(EIGHT, orientation, format)
        np.testing.assert_array_equal(read_original(data).samples, image.read(data).rgb)

    def test_sixteen_bits_are_upright_too(self):
        data = png.inserted(
            STORED["rgba 16"][0], [png.chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0")]
        )
        original = read_original(data)
        np.testing.assert_array_equal(original.samples, np.rot90(SIXTEEN, -1))
        np.testing.assert_array_equal(original.alpha, np.rot90(ALPHA16, -1))
        np.testing.assert_array_equal(original.srgb8(), image.read(data).rgb)

    def test_a_transparent_level_of_16_bit_grey_becomes_alpha(self):
        original = read_original(png_16(np.uint16([[65535, 300]]), 0, tRNS=struct.pack(">H", 300)))
        assert (original.samples[0, :, 1].tolist(), original.alpha.tolist()) == ([65535, 300], [[65535, 0]])

    def test_what_cannot_be_kept_is_said(self):
        ink = Image.frombytes("CMYK", (8, 8), RNG.integers(0, 256, 256, dtype=np.uint8).tobytes())
        original = read_original(pack(ink, "TIFF"))
        assert original.warnings == (
            "CMYK cannot be kept: saved as RGB", "CMYK converted to sRGB without a colour profile",
        )  # fmt: skip
        np.testing.assert_array_equal(original.samples, image.read(pack(ink, "TIFF")).rgb)
        palette = Image.fromarray(EIGHT).quantize(8)
        assert read_original(pack(palette)).warnings == ("palette cannot be kept: saved as RGB",)
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
        animated = pack(frames[0], "PNG", save_all=True, append_images=frames[1:])
        assert read_original(animated).warnings == ("animated: frame 1 of 2 is used",)
        assert (read_original(animated).samples == (255, 0, 0)).all()
        linear = png.inserted(STORED["rgb"][0], [png.chunk(b"gAMA", struct.pack(">I", 100_000))])
        assert read_original(linear).warnings == ("gamma 1.00000 of a gAMA chunk is passed over: taken as sRGB",)
        tagged = png.inserted(linear, [png.colour(None)])  # gAMA is for readers that know no sRGB
        assert read_original(tagged).warnings == ()
        wide = png.inserted(STORED["rgb"][0], [png.chunk(b"cICP", bytes([9, 16, 0, 1]))])
        assert "cICP" in read_original(wide).warnings[0]
        primaries = struct.pack(">8I", 31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)
        srgb_anyway = [png.chunk(b"cICP", bytes([1, 13, 0, 1])), png.chunk(b"cHRM", primaries)]
        assert not read_original(png.inserted(STORED["rgb"][0], srgb_anyway)).warnings
        usual = png.inserted(STORED["rgb"][0], [png.chunk(b"gAMA", struct.pack(">I", 45_455))])
        assert read_original(usual).warnings == ()
        grey = png.inserted(STORED["grey"][0], [png.colour(GREY_LINEAR)])
        assert "converted to sRGB: it has no simple curve" in read_original(grey).warnings[0]

    def test_what_is_said_of_colours_goes_where_it_stays_true(self):
        """Not beside samples that were converted, nor what no reader listens to, or what is cut off."""
        wide = png.chunk(b"cICP", bytes([9, 16, 0, 1]))
        linear = png.chunk(b"gAMA", struct.pack(">I", 100_000))
        assert read_original(png.inserted(STORED["grey"][0], [png.colour(GREY_LINEAR), wide])).colours == ()
        assert read_original(png.inserted(STORED["rgb"][0], [png.colour(PROFILES["p3"]), linear])).colours == ()
        assert read_original(png.inserted(STORED["rgb"][0], [png.chunk(b"cICP", b"123")])).colours == ()
        both = read_original(png.inserted(STORED["rgb"][0], [png.colour(PROFILES["p3"]), wide]))
        again = read_original(encode_original(both, "png"))
        assert (again.colours, again.icc) == (((b"cICP", bytes([9, 16, 0, 1])),), PROFILES["p3"])
        grey = read_original(png.inserted(STORED["grey"][0], [linear]))
        coloured = grey.with_samples(grey.samples + np.uint8([1, 0, 0]))
        assert read_original(encode_original(coloured, "png")).colours == grey.colours != ()

    def test_sixteen_bits_that_two_decoders_read_apart_are_refused(self):
        for data in (
            tiff(SIXTEEN.transpose(2, 0, 1), planarconfig="separate"),
            tiff(np.dstack([SIXTEEN, ALPHA16]), extrasamples=["assocalpha"]),
        ):
            with pytest.raises(InputError, match=r"OpenCV .* Pillow"):
                read_original(data)

    def test_every_kind_of_source_gives_the_same_picture(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(data := STORED["rgba"][0])
        sources = [path, str(path), data, io.BytesIO(data), Image.open(path), np.dstack([EIGHT, ALPHA8])]
        originals = [read_original(source) for source in [*sources, image.read(data)]]
        assert {original.sha256() for original in originals} == {originals[0].sha256()}
        assert (originals[0].source, originals[0].format) == (str(path), "PNG")
        assert read_original(originals[0]) is originals[0]
        assert read_original(SIXTEEN).sha256() == read_original(STORED["rgb 16"][0]).sha256()

    def test_limits_and_refusals_name_the_argument(self):
        with pytest.raises(InputError, match=r"SOURCE=.*21x13 = 273 pixels; 1 to 272 accepted"):
            read_original(STORED["rgb 16"][0], name="SOURCE", limit_pixels=272)
        with pytest.raises(InputError, match=r"a=<array float32 .* uint8 or uint16"):
            read_original(EIGHT.astype(np.float32), name="a")
        for cut in (40, 200, len(STORED["rgb 16"][0]) - 30):
            with pytest.raises(InputError):
                read_original(STORED["rgb 16"][0][:cut])
        with pytest.raises(ShapeError, match="samples: float64"):
            Original(EIGHT.astype(float))
        with pytest.raises(ShapeError, match="alpha: uint16"):
            Original(EIGHT, ALPHA16)
        with pytest.raises(ValueError, match="read-only"):
            read_original(EIGHT).samples[0] = 0

    def test_the_hash_sees_all_that_is_stored(self):
        one = Original(EIGHT, ALPHA8, PROFILES["p3"])
        others = [
            one, Original(EIGHT ^ 1, ALPHA8, PROFILES["p3"]), Original(EIGHT, ALPHA8 ^ 1, PROFILES["p3"]),
            Original(EIGHT, None, PROFILES["p3"]), Original(EIGHT, ALPHA8), Original(EIGHT.reshape(21, 13, 3)),
            Original(EIGHT), Original(EIGHT.astype(np.uint16)), Original(EIGHT, ALPHA8, PROFILES["adobe"]),
        ]  # fmt: skip
        assert len({other.sha256() for other in others}) == len(others)
        assert Original(EIGHT, warnings=("a",), source="b", format="PNG").sha256() == Original(EIGHT).sha256()
        big = Original(SIXTEEN.astype(">u2").view(SIXTEEN.dtype.newbyteorder(">")).astype(np.uint16))
        assert big.sha256() == Original(SIXTEEN).sha256()


class TestSpace:
    def test_srgb_is_not_touched(self):
        rgb = RNG.uniform(0, 255, (4, 5, 3)).astype(np.float32)
        for profile in (None, srgb.profile(), b"rubbish"):
            np.testing.assert_array_equal(Original(EIGHT, icc=profile).from_srgb(rgb), rgb)
            np.testing.assert_array_equal(Original(SIXTEEN, icc=profile).from_srgb(rgb), rgb * np.float32(257))

    @pytest.mark.parametrize("name", PROFILES)
    def test_the_way_back_is_the_way_of_reading_reversed(self, name):
        """Float there and back: below half a level; through 8-bit sRGB: within one, but for the deepest shadows."""
        steps = np.arange(0, 256, 5, dtype=np.uint8)
        levels = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(len(steps), -1, 3)
        there = space.space_of(PROFILES[name])
        assert isinstance(there, space.MatrixSpace)
        seen = there.to_srgb(levels)
        inside = ((seen > 0.01) & (seen < 254.99)).all(-1)
        assert inside.mean() > 0.2
        assert abs(there.of_srgb(seen) - levels)[inside].max() < 0.5
        original = Original(levels, icc=PROFILES[name])
        error = abs(original.from_srgb(original.srgb8().astype(np.float32)) - levels).max(-1)
        lit = levels.min(-1) >= 24
        assert error[inside & lit].max() < 1
        assert error[inside].mean() < 0.5
        assert error[inside].max() < 3  # at level 5 of gamma 2.2, a step of 8-bit sRGB is 4 levels

    def test_a_ramp_stays_smooth(self):
        """An edit in floating point is not cut to 8 bits on its way: 4001 greys stay apart, and in order."""
        ramp = np.repeat(np.linspace(40, 80, 4001, dtype=np.float32)[None, :, None], 3, 2)
        for profile in PROFILES.values():
            own = Original(SIXTEEN, icc=profile).from_srgb(ramp)[0, :, 1]
            assert (np.diff(own) > 0).all()

    def test_a_profile_of_tables_is_asked_between_whole_levels(self, monkeypatch):
        exact = space.space_of(PROFILES["prophoto"])
        rgb = RNG.uniform(0, 255, (50, 60, 3)).astype(np.float32)
        monkeypatch.setattr(space.Shaper, "parse", lambda data: None if data != srgb.profile() else object())
        space._space_of.cache_clear()
        tables = space.space_of(PROFILES["prophoto"])
        space._space_of.cache_clear()
        assert isinstance(tables, space.TableSpace)
        assert abs(tables.of_srgb(rgb) - exact.of_srgb(rgb)).max() < 0.7
        whole = np.rint(rgb)
        assert (tables.of_srgb(whole) == np.rint(tables.of_srgb(whole))).all()

    def test_a_matrix_that_littlecms_does_not_use_is_not_used(self, monkeypatch):
        """As of a profile whose tables win: with other curves than those of reading, LittleCMS is asked."""
        real = space.Shaper.parse.__func__
        wrong = real(space.Shaper, matrix_profile(P3, 1.0))
        right = real(space.Shaper, srgb.profile())
        monkeypatch.setattr(space.Shaper, "parse", lambda data: right if data == srgb.profile() else wrong)
        space._space_of.cache_clear()
        assert isinstance(space.space_of(PROFILES["p3"]), space.TableSpace)
        space._space_of.cache_clear()

    @pytest.mark.parametrize("kind", range(5))
    def test_every_kind_of_curve_is_read_as_littlecms_reads_it(self, kind):
        numbers = [
            (2.4,), (2.4, 1.1, -0.1), (2.4, 1.1, -0.1, 0.0), (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
            (2.4, 0.93, 0.07, 1 / 12.92, 0.04045, -0.001, 0.0),
        ][kind]  # fmt: skip
        tag = b"para" + struct.pack(f">4xH2x{len(numbers)}i", kind, *(round(65536 * n) for n in numbers))
        columns = {f"{c}XYZ": b"XYZ " + struct.pack(">4x3i", *np.rint(P3[:, i] * 65536).astype(int))
                   for i, c in enumerate("rgb")}  # fmt: skip
        profile = icc(b"RGB ", b"XYZ ", **columns, rTRC=tag, gTRC=tag, bTRC=tag)
        assert isinstance(space.space_of(profile), space.MatrixSpace)  # or it would not agree

    def test_the_offsets_of_a_curve_are_added(self):
        """LittleCMS scales lifted blacks, so that such a profile goes the other way; the curve is right still."""
        lifted = struct.pack(">4s4xH2x4i", b"para", 2, *(round(65536 * n) for n in (2.0, 0.5, 0.25, 0.125)))
        np.testing.assert_allclose(space._curve(lifted)[[0, -1]], [0.25**2 + 0.125, 0.75**2 + 0.125])
        both = struct.pack(">4s4xH2x7i", b"para", 4, *(round(65536 * n) for n in (2, 0.5, 0, 0.25, 0.5, 0.125, 0.0625)))
        np.testing.assert_allclose(space._curve(both)[[0, -1]], [0.0625, 0.5**2 + 0.125])

    def test_a_table_of_a_curve_is_read_too(self):
        values = np.rint(np.linspace(0, 1, 100) ** 2.0 * 65535).astype(">u2")
        tag = b"curv" + struct.pack(">4xI", 100) + values.tobytes()
        columns = {f"{c}XYZ": b"XYZ " + struct.pack(">4x3i", *np.rint(P3[:, i] * 65536).astype(int))
                   for i, c in enumerate("rgb")}  # fmt: skip
        profile = icc(b"RGB ", b"XYZ ", **columns, rTRC=tag, gTRC=tag, bTRC=tag)
        there = space.space_of(profile)
        assert isinstance(there, space.MatrixSpace)

    @pytest.mark.parametrize("case", ["sixteen", "wide", "wide sixteen", "tables"])
    def test_an_edit_that_changes_nothing_is_the_source_exactly(self, case, monkeypatch):
        samples = SIXTEEN if "sixteen" in case else EIGHT
        original = Original(samples, icc=None if case == "sixteen" else PROFILES["p3"])
        seen = original.srgb8().astype(np.float32)
        noise = RNG.uniform(-1.5, 1.5, seen[2:9, 3:11].shape).astype(np.float32)
        box = (3, 2, 11, 9)
        own = original.from_srgb(seen[2:9, 3:11], box)
        np.testing.assert_array_equal(np.rint(own), samples[2:9, 3:11])
        near = original.from_srgb(seen[2:9, 3:11] + noise, box)
        far = original.from_srgb(255 - seen[2:9, 3:11], box)
        plain = original.from_srgb(255 - seen[2:9, 3:11])
        apart = abs(255 - 2 * seen[2:9, 3:11]).max(-1) > 12
        np.testing.assert_array_equal(far[apart], plain[apart])
        scale = original.levels / 255
        if original.icc is None:
            np.testing.assert_allclose(near, own + noise * scale, atol=0.1)
        with pytest.raises(ShapeError, match="size of box"):
            original.from_srgb(seen, box)

    def test_a_grey_picture_with_colour_keeps_its_samples_and_their_look(self):
        grey = np.dstack([np.tile(np.arange(256, dtype=np.uint8), (2, 1))] * 3)
        original = Original(grey, icc=GREY_22, is_grey=True)
        edited = grey.copy()
        edited[0, 0] = (255, 0, 0)
        result = original.with_samples(edited)
        assert not result.is_grey
        assert result.warnings == ("grey: saved as RGB, it has colour",)
        assert "RGB" in ImageCms.ImageCmsProfile(io.BytesIO(result.icc)).profile.xcolor_space
        assert abs(result.srgb8()[1].astype(int) - original.srgb8()[1]).max() <= 1
        assert abs(original.srgb8()[1].astype(int) - grey[1]).max() > 1  # the profile does something
        same = original.with_samples(np.ascontiguousarray(grey[:, ::-1]))
        assert (same.is_grey, same.icc, same.warnings) == (True, GREY_22, ())
        back = original.from_srgb(original.srgb8().astype(np.float32))
        assert abs(back - grey)[:, 24:].max() < 1.5
        with pytest.raises(ShapeError, match="samples: uint16"):
            original.with_samples(grey.astype(np.uint16))


class TestWriting:
    @pytest.mark.parametrize("name", STORED)
    @pytest.mark.parametrize("profile", [None, PROFILES["p3"]])
    def test_png_gives_everything_back(self, name, profile):
        _, samples, alpha, is_grey = STORED[name]
        original = Original(samples, alpha, None if is_grey else profile, is_grey)
        data = encode_original(original, "png", certificate='{"é": 1}', recipe=RECIPE)
        assert data == encode_original(original, "png", certificate='{"é": 1}', recipe=RECIPE)
        again = read_original(data)
        assert again.sha256() == original.sha256()
        assert again.is_grey == is_grey or (alpha is not None and original.depth == 16)
        assert image.read_recipe(data) == RECIPE
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert found.dtype == samples.dtype
        if found.ndim == 2:
            np.testing.assert_array_equal(found, samples[..., 0])
        else:
            np.testing.assert_array_equal(found[..., 2::-1], samples)
        with Image.open(io.BytesIO(data)) as opened:
            opened.verify()  # every checksum
            assert opened.info.get("icc_profile") == original.icc
            assert original.icc or opened.info["srgb"] == 0

    @pytest.mark.parametrize("name", ["rgb", "rgba", "grey", "grey alpha"])
    def test_webp_gives_everything_back(self, name):
        _, samples, alpha, _ = STORED[name]
        alpha = None if alpha is None else np.where(ALPHA8 > 99, alpha, 0).astype(np.uint8)  # hidden colours too
        original = Original(samples, alpha, PROFILES["adobe"])
        data = encode_original(original, "webp", certificate='{"a": "<&>"}', recipe=RECIPE)
        assert read_original(data).sha256() == original.sha256()
        assert image.read_recipe(data) == RECIPE
        assert data == encode_original(original, "webp", certificate='{"a": "<&>"}', recipe=RECIPE)

    def test_a_grey_profile_is_widened_where_three_channels_are_stored(self):
        samples = np.dstack([EIGHT[..., 0]] * 3)
        original = Original(samples, icc=GREY_22, is_grey=True)
        again = read_original(encode_original(original, "webp"))
        np.testing.assert_array_equal(again.samples, samples)
        assert again.icc == space.widened(GREY_22)
        sixteen = Original(np.dstack([SIXTEEN[..., 0]] * 3), ALPHA16, GREY_22, True)
        again = read_original(encode_original(sixteen, "png"))
        np.testing.assert_array_equal(again.samples, sixteen.samples)
        assert again.icc == space.widened(GREY_22)
        assert read_original(encode_original(original, "png")).icc == GREY_22

    def test_lossy_formats_are_written_without_a_certificate_and_say_so(self, tmp_path):
        smooth = np.uint8(np.indices((64, 64, 3)).sum(0) * 1.5)
        for format, quality in (("jpg", None), ("jpeg", 90), ("webp", 80)):
            assert "lossy" in loss_of(format, quality)
            assert "PNG or lossless WebP" in loss_of(format, quality)
            with pytest.raises(InputError, match="certificate: lossy"):
                encode_original(Original(smooth), format, certificate="{}", quality=quality)
            data = encode_original(Original(smooth, icc=PROFILES["p3"]), format, quality=quality, recipe=RECIPE)
            again = read_original(data)
            assert again.icc == PROFILES["p3"]
            assert 0 < abs(again.samples.astype(int) - smooth).max() < 12
            assert image.read_recipe(data) == RECIPE
        assert loss_of("png") is None
        assert loss_of("webp") is None
        grey = read_original(encode_original(Original(np.dstack([smooth[..., 0]] * 3), is_grey=True), "jpg"))
        assert grey.is_grey

    def test_what_a_format_cannot_hold_is_refused(self, tmp_path):
        for format in ("jpg", "webp"):
            with pytest.raises(InputError, match=r"16 bits .* choose PNG"):
                encode_original(Original(SIXTEEN), format)
        with pytest.raises(InputError, match="opaque ones accepted by JPEG"):
            encode_original(Original(EIGHT, ALPHA8), "jpg")
        assert read_original(encode_original(Original(EIGHT, ALPHA8 | 255), "jpg")).alpha is None
        for format in ("tiff", "tif", "gif", ""):
            with pytest.raises(InputError, match="cannot be written; png, jpg, jpeg, webp accepted"):
                encode_original(Original(EIGHT), format)
        with pytest.raises(InputError, match="cannot be written"):
            check_format(tmp_path / "a.tiff")
        check_format(tmp_path / "a.PNG")
        with pytest.raises(InputError, match=r"recast.certificate: \d+ bytes came"):
            encode_original(Original(EIGHT), "png", certificate="x" * (2**24 + 1))
        with pytest.raises(InputError, match="quality=90"):
            encode_original(Original(EIGHT), "png", quality=90)

    def test_a_file_is_replaced_whole_or_not_at_all(self, tmp_path):
        path = tmp_path / "a.png"
        assert write_original(Original(SIXTEEN), path) == path
        before = path.read_bytes()
        with pytest.raises(InputError):
            write_original(Original(SIXTEEN), path, certificate="\ud800")
        with pytest.raises(InputError, match="cannot be written"):
            write_original(Original(SIXTEEN), tmp_path / "none" / "a.png")
        assert path.read_bytes() == before
        assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_picture_survives_png(data):
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    samples = data.draw(arrays(dtype, (height, width, 3)))
    alpha = data.draw(st.none() | arrays(dtype, (height, width)))
    is_grey = data.draw(st.booleans())
    samples = np.dstack([samples[..., 0]] * 3) if is_grey else samples
    original = Original(samples, alpha, data.draw(st.sampled_from([None, *PROFILES.values()])) if not is_grey else None,
                        is_grey)  # fmt: skip
    assert read_original(encode_original(original, "png")).sha256() == original.sha256()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["rgb 16", "tiff 16", "grey alpha", "webp"]), st.data())
def test_a_damaged_file_is_whole_or_refused(name, data):
    """Any byte changed, any place cut: a picture of the right size, or one clear error; never a crash."""
    content = bytearray(STORED[name][0])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(1, len(content)))])
    with suppress(InputError):
        original = read_original(content, limit_pixels=10_000)
        assert original.samples.shape[:2] == original.srgb8().shape[:2]


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 700))
def test_a_damaged_profile_is_one_warning(junk, place):
    profile = PROFILES["p3"]
    damaged = profile[:place] + junk + profile[place + len(junk) :]
    original = read_original(png.inserted(STORED["rgb"][0], [png.colour(damaged)]))
    own = original.from_srgb(original.srgb8().astype(np.float32))
    assert np.isfinite(own).all()
    assert 0 <= own.min() <= own.max() <= 255
