"""Every way a picture file can be odd or broken: the exact colours, or one clear error."""

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin

from recast.errors import InputError, ShapeError
from recast.pixels import srgb
from recast.pixels.image import Picture, encode, from_pixels, read, read_recipe, to_pixels, write

COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
RECIPE = '{"prompt": "a café\\n", "wish": "雪 🎨 \N{LATIN SMALL LETTER E}\u0301", "seed": 7}'


def pack(image: Image.Image | np.ndarray, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def raw_png(width: int, height: int, depth: int, colour_type: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG written chunk by chunk, for what Pillow reads and does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    body = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def icc(space: bytes, connection: bytes, **tags: bytes) -> bytes:
    """A colour profile called "Test", version 2, with the given tags."""
    tags = {"desc": b"desc" + struct.pack(">4xI", 5) + b"Test\0" + bytes(78)} | tags
    tags["wtpt"] = b"XYZ " + struct.pack(">4x3i", 63190, 65536, 54061)
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name.encode() + struct.pack(">II", start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(data), 0x02400000, kind, space, connection, b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + table + data


def matrix_profile(primaries: np.ndarray, gamma: float) -> bytes:
    columns = {f"{c}XYZ": b"XYZ " + struct.pack(">4x3i", *np.rint(primaries[:, i] * 65536).astype(int))
               for i, c in enumerate("rgb")}  # fmt: skip
    curve = b"curv" + struct.pack(">4xIH", 1, round(gamma * 256))
    return icc(b"RGB ", b"XYZ ", **columns, rTRC=curve, gTRC=curve, bTRC=curve)


# The primaries of sRGB and of Display P3, seen under D50 as profiles have it; columns red, green, blue.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])


def encoded(linear: np.ndarray) -> np.ndarray:
    """The sRGB curve, IEC 61966-2-1."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(1e-9) ** (1 / 2.4) - 0.055)


def refusal(source, *said: str, name: str = "image", **options) -> str:
    """The message of the one InputError, with its four parts: argument, what came, what is accepted, what to do."""
    with pytest.raises(InputError) as caught:
        read(source, name=name, **options)
    message = str(caught.value)
    assert message.startswith(f"{name}=")
    parts = message.split("; ")
    assert len(parts) >= 3
    assert all(len(part) > 5 for part in parts)
    assert "accepted" in message
    for words in said:
        assert words in message
    return message


class TestRead:
    @pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF"])
    def test_lossless_formats_give_exact_colours_and_no_warning(self, format):
        picture = read(pack(COLOURS, format))
        np.testing.assert_array_equal(picture.rgb, COLOURS)
        assert (picture.alpha, picture.warnings, picture.source) == (None, (), None)
        assert (picture.width, picture.height) == (20, 12)

    def test_every_kind_of_source_gives_the_same_picture(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(data := pack(COLOURS))
        sources = [path, str(path), data, bytearray(data), io.BytesIO(data), Image.fromarray(COLOURS), COLOURS]
        pictures = [read(source) for source in sources]
        assert {picture.sha256() for picture in pictures} == {pictures[0].sha256()}
        assert pictures[0].source == str(path)
        assert read(pictures[0]) is pictures[0]
        with path.open("rb") as file:
            np.testing.assert_array_equal(read(file).rgb, COLOURS)

    def test_a_picture_does_not_change_with_the_array_it_was_read_from(self):
        array = COLOURS.copy()
        picture = read(array)
        array[:] = 0
        np.testing.assert_array_equal(picture.rgb, COLOURS)
        with pytest.raises(ValueError, match="read-only"):
            picture.rgb[0, 0] = 0

    def test_the_hash_sees_colours_alpha_and_shape(self):
        alpha = np.full((12, 20), 255, np.uint8)
        pictures = [
            Picture(COLOURS),
            Picture(COLOURS ^ 1),
            Picture(COLOURS, alpha),
            Picture(COLOURS, alpha ^ 1),
            Picture(COLOURS.reshape(20, 12, 3)),
        ]
        assert len({picture.sha256() for picture in pictures}) == 5
        assert Picture(COLOURS, source="a").sha256() == Picture(COLOURS, warnings=("b",)).sha256()

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
    def test_exif_orientation_is_applied(self, orientation, format):
        as_shot = {
            1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
            5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1),
            7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1),
        }  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = orientation
        lossless = {"lossless": True} if format == "WEBP" else {}
        stored = np.ascontiguousarray(as_shot[orientation](COLOURS))
        np.testing.assert_array_equal(read(pack(stored, format, exif=exif, **lossless)).rgb, COLOURS)

    def test_broken_exif_is_a_warning_and_not_an_error(self):
        picture = read(pack(COLOURS, exif=b"Exif\0\0nonsense"))
        np.testing.assert_array_equal(picture.rgb, COLOURS)
        (warning,) = picture.warnings
        assert warning.startswith("EXIF cannot be read, orientation ignored")
        (warning,) = read(pack(COLOURS, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")).warnings
        assert warning.startswith("decoder: Corrupt EXIF data")

    def test_alpha_is_split_off(self):
        alpha = np.random.default_rng(1).integers(0, 256, (12, 20), dtype=np.uint8)
        grey = COLOURS[..., 0]
        picture = read(pack(np.dstack([COLOURS, alpha])))
        np.testing.assert_array_equal(picture.rgb, COLOURS)
        np.testing.assert_array_equal(picture.alpha, alpha)
        picture = read(pack(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])))
        np.testing.assert_array_equal(picture.rgb, np.dstack([grey] * 3))
        np.testing.assert_array_equal(picture.alpha, alpha)
        palette = Image.fromarray(np.uint8([[0, 1, 1]]))
        palette.putpalette([255, 0, 0, 0, 0, 255])
        picture = read(Image.merge("PA", [palette, Image.fromarray(np.uint8([[9, 8, 7]]))]))
        assert picture.alpha.tolist() == [[9, 8, 7]]

    def test_palettes_one_bit_and_grey_give_their_colours(self):
        palette = Image.fromarray(np.uint8([[0, 1, 2]]), "L").convert("P")
        palette.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
        assert read(pack(palette)).rgb.tolist() == [[[255, 0, 0], [0, 255, 0], [1, 2, 3]]]
        assert read(pack(palette, "GIF")).rgb.tolist() == [[[255, 0, 0], [0, 255, 0], [1, 2, 3]]]
        picture = read(pack(palette, transparency=bytes([128, 255, 0])))
        assert picture.rgb.tolist() == [[[255, 0, 0], [0, 255, 0], [1, 2, 3]]]
        assert picture.alpha.tolist() == [[128, 255, 0]]
        assert picture.warnings == ()
        assert read(pack(np.array([[True, False]]))).rgb.tolist() == [[[255] * 3, [0] * 3]]
        assert read(pack(np.uint8([[7, 200]]))).rgb.tolist() == [[[7] * 3, [200] * 3]]

    def test_a_transparent_colour_becomes_alpha(self):
        rows = b"\0" + bytes([10, 20, 30, 40, 50, 60])
        picture = read(raw_png(2, 1, 8, 2, rows, tRNS=struct.pack(">3H", 40, 50, 60)))
        assert picture.rgb.tolist() == [[[10, 20, 30], [40, 50, 60]]]
        assert picture.alpha.tolist() == [[255, 0]]
        assert read(raw_png(2, 1, 8, 0, b"\0\7\x08", tRNS=struct.pack(">H", 7))).alpha.tolist() == [[0, 255]]

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    def test_sixteen_bit_grey_is_rounded_and_reported(self, order):
        levels = np.array([[0, 257 * 100, 257 * 100 + 128, 257 * 100 + 129, 65535]], order)
        picture = read(pack(Image.frombytes("I;16B" if order == ">u2" else "I;16", (5, 1), levels.tobytes()), "TIFF"))
        assert picture.rgb[0, :, 1].tolist() == [0, 100, 100, 101, 255]
        assert picture.warnings == ("16 bits per channel reduced to 8",)

    def test_sixteen_bit_png_is_reported(self):
        rgb = raw_png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 0, 257, 257 * 9, 0, 0))
        assert read(rgb).rgb.tolist() == [[[255, 0, 1], [9, 0, 0]]]
        assert read(rgb).warnings == ("16 bits per channel reduced to 8",)
        keyed = read(raw_png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 65535, 300), tRNS=struct.pack(">H", 300)))
        assert (keyed.rgb[0, :, 0].tolist(), keyed.alpha.tolist()) == ([255, 1], [[255, 0]])
        both = read(raw_png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 257, 514, 771, 1028)))
        assert (both.rgb.tolist(), both.alpha.tolist()) == ([[[1, 2, 3]]], [[4]])

    def test_integer_and_floating_point_grey_have_one_white_or_are_refused(self):
        picture = read(pack(np.int32([[0, 65535, 257 * 5]]), "TIFF"))
        assert picture.rgb[0, :, 0].tolist() == [0, 255, 5]
        assert "65535 taken as white" in picture.warnings[0]
        picture = read(pack(np.float32([[0, 1, 0.5]]), "TIFF"))
        assert picture.rgb[0, :, 0].tolist() == [0, 255, 128]
        assert "1 taken as white" in picture.warnings[0]
        refusal(pack(np.float32([[0, 200]]), "TIFF"), "200")
        refusal(pack(np.float32([[0, np.nan]]), "TIFF"), "nan")
        refusal(pack(np.int32([[-1, 5]]), "TIFF"), "-1")

    def test_display_p3_is_converted_as_the_matrices_say(self):
        rgb = np.uint8([[[100, 150, 120], [200, 180, 170], [128, 128, 128], [255, 255, 255]]])
        picture = read(pack(rgb, icc_profile=matrix_profile(P3, 2.2)))
        expected = encoded((rgb / 255) ** 2.2 @ P3.T @ np.linalg.inv(SRGB).T)
        assert abs(picture.rgb - expected).max() < 1.5
        assert abs(picture.rgb.astype(int) - rgb).max() > 8
        assert picture.warnings == ("colour profile 'Test' converted to sRGB",)

    def test_a_profile_with_alpha_leaves_alpha_alone(self):
        rgba = np.uint8([[[100, 150, 120, 77]]])
        picture = read(pack(rgba, icc_profile=matrix_profile(P3, 2.2)))
        assert picture.alpha.tolist() == [[77]]
        assert picture.rgb.tolist() != [[[100, 150, 120]]]

    def test_a_grey_profile_is_applied_to_grey_pictures(self):
        curve = b"curv" + struct.pack(">4xIH", 1, 256)  # linear
        picture = read(pack(np.uint8([[55, 255]]), icc_profile=icc(b"GRAY", b"XYZ ", kTRC=curve)))
        assert picture.rgb.tolist() == [[[128] * 3, [255] * 3]]

    def test_an_srgb_profile_moves_no_byte(self):
        every = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3), -1).reshape(52, -1, 3)
        srgb_profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        picture = read(pack(every, icc_profile=srgb_profile))
        np.testing.assert_array_equal(picture.rgb, every)
        assert picture.warnings == ()

    @pytest.mark.parametrize("profile", [b"rubbish", icc(b"CMYK", b"Lab "), matrix_profile(P3, 2.2)[:200]])
    def test_a_broken_profile_is_one_warning(self, profile):
        picture = read(pack(COLOURS, icc_profile=profile))
        np.testing.assert_array_equal(picture.rgb, COLOURS)
        assert picture.warnings == ("colour profile is damaged or not one for RGB: taken as sRGB",)

    def test_cmyk_is_converted_also_from_an_inverted_jpeg(self):
        ink = np.zeros((8, 8, 4), np.uint8)
        ink[:, :, 0] = 255  # cyan; Pillow writes JPEG as Adobe does, inverted
        for format in ("JPEG", "TIFF"):
            image = Image.frombytes("CMYK", (8, 8), ink.tobytes())
            picture = read(pack(image, format, **({"quality": 100} if format == "JPEG" else {})))
            assert abs(picture.rgb.astype(int) - (0, 255, 255)).max() <= 2
            assert picture.warnings == ("CMYK converted to sRGB without a colour profile",)

    def test_a_cmyk_profile_is_used(self):
        """A profile whose every ink is a lie: with cyan on the paper, it says, one sees Lab (60, 40, 20)."""
        corners = np.array([(60, 40, 20) if i & 8 else (100, 0, 0) for i in range(16)]) * (2.55, 1, 1) + (0, 128, 128)
        ramp = bytes(range(256))
        table = b"mft1" + struct.pack(">4xBBBx9i", 4, 3, 2, *[65536, 0, 0, 0, 65536, 0, 0, 0, 65536])
        table += ramp * 4 + bytes(np.rint(corners).astype(np.uint8).tobytes()) + ramp * 3
        ink = Image.frombytes("CMYK", (2, 1), bytes([255, 0, 0, 0, 0, 0, 0, 0]))
        picture = read(pack(ink, "TIFF", icc_profile=icc(b"CMYK", b"Lab ", A2B0=table, A2B1=table)))
        red, paper = picture.rgb[0].astype(int)
        assert abs(red - (215, 117, 112)).max() <= 6
        assert abs(paper - 255).max() <= 2
        assert picture.warnings == ("colour profile 'Test' converted to sRGB",)

    @pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
    def test_the_first_frame_of_an_animation_is_used_and_reported(self, format):
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
        exact = {"lossless": True} if format == "WEBP" else {}
        picture = read(pack(frames[0], format, save_all=True, append_images=frames[1:], **exact))
        assert (picture.rgb == (255, 0, 0)).all()
        assert picture.warnings == ("animated: frame 1 of 3 is used",)

    def test_more_pages_are_reported_and_a_cameras_preview_is_not(self):
        second = [Image.new("RGB", (4, 4), "lime")]
        picture = read(pack(COLOURS, "TIFF", save_all=True, append_images=second))
        np.testing.assert_array_equal(picture.rgb, COLOURS)
        assert picture.warnings == ("pages: frame 1 of 2 is used",)
        picture = read(pack(COLOURS, "MPO", save_all=True, append_images=second))
        assert ((picture.width, picture.height), picture.warnings) == ((20, 12), ())

    def test_a_png_named_jpg_is_read_by_its_content(self, tmp_path):
        path = tmp_path / "photo.jpg"
        path.write_bytes(pack(COLOURS))
        np.testing.assert_array_equal(read(path).rgb, COLOURS)

    @pytest.mark.parametrize(
        ("format", "options"),
        [
            ("PNG", {}),
            ("JPEG", {}),
            ("JPEG", {"progressive": True}),
            ("WEBP", {"lossless": True}),
            ("GIF", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("BMP", {}),
            ("PPM", {}),
        ],
    )
    def test_a_cut_file_is_refused_or_whole_and_never_half(self, format, options, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as other libraries leave it behind
        whole = pack(COLOURS, format, **options)
        expected = read(whole).sha256()
        refused = 0
        for cut in range(1, len(whole), max(1, len(whole) // 40)):
            try:
                assert read(whole[:cut]).sha256() == expected
            except InputError:
                refused += 1
        assert refused > 30
        refusal(whole[: len(whole) // 2], f"<bytes of {len(whole) // 2} bytes>")
        assert ImageFile.LOAD_TRUNCATED_IMAGES is True

    def test_what_is_no_picture_is_refused_with_its_name(self, tmp_path):
        text, empty = tmp_path / "a.png", tmp_path / "b.png"
        text.write_text("I am not a picture")
        empty.touch()
        refusal(text, str(text), "I am not", name="mask")
        refusal(empty, "0 bytes")
        refusal(b"", "0 bytes")
        refusal(tmp_path / "none.png", "none.png", "No such file")
        refusal(tmp_path, str(tmp_path), "directory")
        refusal("a\0b.png", "null")
        refusal(io.StringIO("text"), "StringIO", "'rb'")
        refusal(42, "<int>", "path, bytes")
        refusal(None, "<NoneType>")
        refusal(COLOURS.astype(np.float32), "float32", "(12, 20, 3)")
        refusal(COLOURS[..., :2], "(12, 20, 2)")
        refusal(COLOURS[:0], "20x0")
        refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "%!PS")
        refusal(pack(COLOURS)[:40] + b"\xff" * 200)

    def test_a_bomb_is_refused_by_its_header(self):
        bomb = raw_png(60_000, 50_000, 8, 2, b"")  # decoding would fail with another message
        refusal(bomb, "60000x50000", "3000000000", "100000000")
        refusal(COLOURS, "20x12", "239", limit_pixels=239)
        refusal(pack(COLOURS), "20x12", limit_pixels=239)
        assert read(pack(COLOURS), limit_pixels=240).width == 20

    def test_pillows_own_limit_neither_warns_nor_changes(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
        assert read(pack(COLOURS)).warnings == ()  # Pillow would warn
        refusal(b"nothing")
        assert Image.MAX_IMAGE_PIXELS == 150
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
        assert read(pack(COLOURS)).warnings == ()  # Pillow would refuse

    def test_readers_in_many_threads_leave_pillow_as_it_was(self):
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        data, hashes = pack(COLOURS), []
        threads = [
            threading.Thread(target=lambda: hashes.extend(read(data).sha256() for _ in range(20))) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hashes == [read(data).sha256()] * 120
        assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)

    def test_reading_a_file_does_not_import_torch(self):
        code = (
            "import sys, numpy; from recast.pixels import geometry, image, mask; "
            "image.read(image.encode(numpy.zeros((2, 2, 3), 'u1'), 'png')); sys.exit('torch' in sys.modules)"
        )
        root = Path(__file__).parents[2]
        assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


class TestWrite:
    @pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
    def test_colours_and_alpha_survive_exactly(self, tmp_path, suffix):
        alpha = np.random.default_rng(2).integers(0, 256, (12, 20), dtype=np.uint8)
        alpha[0] = 0  # colours under full transparency are kept too
        path = write(Picture(COLOURS, alpha), tmp_path / f"a{suffix}")
        again = read(path)
        np.testing.assert_array_equal(again.rgb, COLOURS)
        np.testing.assert_array_equal(again.alpha, alpha)
        assert again.warnings == ()
        assert read(encode(COLOURS, "png", alpha=alpha)).sha256() == again.sha256()

    def test_jpeg_keeps_full_colour_resolution_and_high_quality(self, tmp_path):
        smooth = np.uint8(np.indices((64, 64, 3)).sum(0) * 1.5)
        path = write(smooth, tmp_path / "a.jpg")
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
        assert abs(read(path).rgb.astype(int) - smooth).max() <= 4
        assert len(encode(smooth, "jpeg", quality=30)) < len(encode(smooth, "jpeg")) < 20_000

    def test_quality_makes_webp_lossy(self):
        noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        assert len(encode(noise, "webp", quality=20)) < len(encode(noise, "webp", quality=90)) < 12_000
        assert len(encode(noise, "webp")) > 12_000

    @pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
    def test_files_are_tagged_srgb_and_the_same_each_time(self, format):
        data = encode(COLOURS, format, recipe=RECIPE)
        with Image.open(io.BytesIO(data)) as image:
            profile = image.info.get("icc_profile")
            assert image.info.get("srgb") == 0 or "sRGB" in ImageCms.getProfileName(io.BytesIO(profile))
        assert read(data).warnings == ()
        assert data == encode(COLOURS, format, recipe=RECIPE)
        assert srgb.profile()[24:36] == bytes(12)  # its date

    @pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
    @pytest.mark.parametrize("recipe", [RECIPE, '{"seed": 7}', "", "é" * 10_000])
    def test_a_recipe_comes_back_letter_by_letter(self, format, recipe, tmp_path):
        path = write(COLOURS, tmp_path / f"a.{format}", recipe=recipe)
        assert read_recipe(path) == recipe
        assert read_recipe(encode(COLOURS, format)) is None
        with Image.open(path) as image:
            assert image.getexif()[0x0131] == "recast"

    def test_long_recipes_fit_into_png_and_webp_and_are_refused_by_jpeg(self):
        recipe = '{"prompt": "' + "ä" * 2_000_000 + '"}'
        assert read_recipe(encode(COLOURS, "png", recipe=recipe)) == recipe
        assert read(encode(COLOURS, "png", recipe=recipe)).warnings == ()
        assert read_recipe(encode(COLOURS, "webp", recipe=recipe)) == recipe
        with pytest.raises(InputError, match=r"recipe: .* at most 65533 accepted by JPEG; choose PNG or WebP"):
            encode(COLOURS, "jpeg", recipe="x" * 65_500)
        longest = "x" * 65_400
        assert read_recipe(encode(COLOURS, "jpeg", recipe=longest)) == longest
        with pytest.raises(InputError, match=r"recipe: .*surrogates.* accepted"):
            encode(COLOURS, "png", recipe="\ud800")

    def test_a_recipe_is_read_from_the_header_alone(self):
        noise = np.random.default_rng(4).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        for format in ("png", "jpeg"):
            data = encode(noise, format, recipe=RECIPE)
            assert read_recipe(data[: len(data) // 2]) == RECIPE

    def test_someone_elses_comment_is_no_recipe(self):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0holiday"
        assert read_recipe(pack(COLOURS, "JPEG", exif=exif)) is None
        with pytest.raises(InputError, match=r"^image=.*accepted"):
            read_recipe(b"no picture")

    def test_transparency_and_jpeg_meet_only_on_a_background(self, tmp_path):
        rgba = np.uint8([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 0, 0, 51]]])
        with pytest.raises(InputError, match=r"alpha: .* accepted by JPEG; choose PNG or WebP, or, .*flatten"):
            write(rgba, tmp_path / "a.jpg")
        assert os.listdir(tmp_path) == []
        flat = read(encode(rgba, "png", flatten=(255, 200, 0)))
        assert flat.alpha is None
        assert flat.rgb.tolist() == [[[10, 20, 30], [255, 200, 0], [224, 160, 0]]]
        assert read(encode(rgba, "jpg", flatten=(0, 0, 0))).alpha is None
        assert read(encode(rgba[:, :1], "jpg")).alpha is None  # opaque: nothing is lost

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"format": "bmp"}, r"format='bmp': .*png, jpg, jpeg, webp accepted; "),
            ({"format": "jpeg", "quality": 0}, r"quality=0: .*1 to 100 accepted"),
            ({"format": "png", "quality": 90}, r"quality=90: .*accepted.*; leave it out for PNG"),
        ],
    )
    def test_options_that_cannot_be_met_are_refused(self, options, said):
        with pytest.raises(InputError, match=said):
            encode(COLOURS, **options)

    def test_a_side_too_long_for_the_format_is_refused(self):
        with pytest.raises(InputError, match=r"picture: 16384x1 came; .*16383 .*accepted by WEBP; choose PNG"):
            encode(np.zeros((1, 16_384, 3), np.uint8), "webp")
        with pytest.raises(InputError, match=r"picture: 1x65501 came; .*65500 .*accepted by JPEG; choose PNG"):
            encode(np.zeros((65_501, 1, 3), np.uint8), "jpeg")

    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch):
        path = tmp_path / "a.png"
        path.write_bytes(b"old")

        def full(*_):
            raise OSError(28, "No space left on device")

        for step in ("fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(os, step, full)
                with pytest.raises(InputError, match=r"path='.*a.png': .*No space left.* accepted; "):
                    write(COLOURS, path)
            assert (os.listdir(tmp_path), path.read_bytes()) == (["a.png"], b"old")

    def test_an_interrupted_write_leaves_nothing_either(self, tmp_path, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(COLOURS, tmp_path / "a.png")
        assert os.listdir(tmp_path) == []

    def test_places_that_cannot_hold_a_file_are_refused(self, tmp_path):
        for path in (tmp_path / "none" / "a.png", tmp_path / "dir.png", tmp_path / "file" / "a.png"):
            (tmp_path / "dir.png").mkdir(exist_ok=True)
            (tmp_path / "file").touch()
            with pytest.raises(InputError, match=r"path='.*' *: cannot be written \(.+\); .* accepted; "):
                write(COLOURS, path)
        with pytest.raises(InputError, match="format='': cannot be written"):
            write(COLOURS, tmp_path / "nosuffix")
        assert sorted(os.listdir(tmp_path)) == ["dir.png", "file"]

    def test_links_and_permissions_are_respected(self, tmp_path):
        (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
        write(COLOURS, tmp_path / "link.png")
        assert (tmp_path / "link.png").is_symlink()
        umask = os.umask(0o022)
        os.umask(umask)
        assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o666 & ~umask

    def test_the_format_may_differ_from_the_suffix_if_asked(self, tmp_path):
        data = write(COLOURS, tmp_path / "a.tmp", format="WebP").read_bytes()
        assert data[8:12] == b"WEBP"


class TestPixels:
    def test_all_bytes_come_back(self):
        every = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
        pixels = to_pixels(every)
        assert (pixels.shape, pixels.dtype) == ((1, 3, 16, 16), torch.float32)
        assert (pixels.min(), pixels.max()) == (-1, 1)
        np.testing.assert_array_equal(from_pixels(pixels)[0], every)

    def test_channels_and_axes_stay_where_they_are(self):
        pixels = to_pixels(COLOURS)
        assert pixels[0, 2, 5, 7].item() == pytest.approx(COLOURS[5, 7, 2] / 127.5 - 1, abs=1e-6)
        np.testing.assert_array_equal(from_pixels(torch.cat([pixels, -pixels]))[1], 255 - COLOURS)

    def test_values_are_clamped_and_rounded(self):
        levels = torch.tensor([100.4, 100.6, -50.0, 300.0]) / 127.5 - 1
        assert from_pixels(levels.view(1, 1, 1, 4).expand(1, 3, 1, 4))[0, 0, :, 0].tolist() == [100, 101, 0, 255]

    def test_what_is_no_picture_is_refused(self):
        with pytest.raises(InputError, match="NaN"):
            from_pixels(torch.full((1, 3, 2, 2), torch.nan))
        for shape in ((3, 4, 4), (1, 4, 4, 3)):
            with pytest.raises(ShapeError, match=r"pixels: .*accepted"):
                from_pixels(torch.zeros(shape))
        with pytest.raises(ShapeError, match="rgb: float64"):
            to_pixels(COLOURS / 255)
        with pytest.raises(ShapeError, match=r"alpha: uint8 .*accepted"):
            Picture(COLOURS, COLOURS[..., 0].T)
