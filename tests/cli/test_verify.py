"""`recast verify`: what a third party sees, and the exit code that a script goes by."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recast.pixels import image
from recast.retouch import png
from recast.retouch.certificate import certify
from recast.retouch.original import Original, encode_original, read_original
from tests.cli.conftest import Recast

SUPPORT = np.zeros((30, 40), bool)
SUPPORT[5:15, 10:30] = True


@pytest.fixture(autouse=True)
def files() -> None:
    """before.png, merged.png and merged.webp with a certificate; bare.png without; broken.png with two pixels wrong."""
    source = Original(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    samples = source.samples.copy()
    samples[SUPPORT] ^= 255
    certificate = certify(source, Original(samples), SUPPORT).to_json()
    Path("before.png").write_bytes(encode_original(source, "png"))
    Path("proof.json").write_text(certificate)
    Path("bare.png").write_bytes(encode_original(Original(samples), "png"))
    for format in ("png", "webp"):
        Path(f"merged.{format}").write_bytes(encode_original(Original(samples), format, certificate=certificate))
    samples = samples.copy()
    samples[20, 33, 2] ^= 1
    samples[25, 3] ^= 7
    Path("broken.png").write_bytes(encode_original(Original(samples), "png", certificate=certificate))


def verdict(recast: Recast, capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = recast("verify", *argv, "--json")
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("result", ["merged.png", "merged.webp"])
def test_what_is_kept_is_said_and_is_exit_0(result: str, recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("verify", "before.png", result) == 0
    said = "kept: 1,000 of 1,200 pixels (83.3%), byte for byte; changed only inside the support\n"
    assert capsys.readouterr().out == said


def test_a_broken_pixel_is_named_and_is_exit_5(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("verify", "before.png", "broken.png") == 5
    before, after = (tuple(map(int, image.read(f"{name}.png").rgb[20, 33])) for name in ("before", "broken"))
    assert capsys.readouterr().out.splitlines() == [
        "not kept",
        f"  2 pixels outside the support differ, first (x=33, y=20): expected {before}, found {after}",
        "  202 pixels differ, inside 3,5,34,26",
    ]
    code, data = verdict(recast, capsys, "before.png", "broken.png")
    assert code == 5
    assert (data["is_kept"], data["broken"], data["preserved"], data["of"]) == (False, 2, 998, 1200)
    assert data["first"] == {"x": 33, "y": 20, "expected": list(before), "found": list(after)}
    assert data["box"] == [3, 5, 34, 26]


def test_without_a_certificate_it_says_so_and_what_differs(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    assert recast("verify", "before.png", "bare.png") == 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["  result: carries no certificate", "  200 pixels differ, inside 10,5,30,15"]
    assert verdict(recast, capsys, "before.png", "bare.png")[1]["certificate"] is None


@pytest.mark.parametrize("file", ["proof.json", "merged.webp"])
def test_the_certificate_may_lie_elsewhere(file: str, recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    code, data = verdict(recast, capsys, "before.png", "bare.png", "--certificate", file)
    assert (code, data["is_kept"]) == (0, True)


def test_what_a_source_says_and_nobody_heeds_is_a_warning(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    Image.open("before.png").save("oblong.png", dpi=(72, 144))
    warning = "pixels that are not square (72 to 144, as stored) are passed over: taken as square"
    assert recast("verify", "oblong.png", "merged.png") == 0
    said = capsys.readouterr()
    assert said.out.startswith("kept: ")
    assert said.err == f"recast: warning: SOURCE: {warning}\n"
    assert verdict(recast, capsys, "oblong.png", "merged.png")[1]["source_warnings"] == [warning]
    assert verdict(recast, capsys, "before.png", "merged.png")[1]["source_warnings"] == []
    Image.open("before.png").save("plain.png")  # without an sRGB chunk
    plain = Path("plain.png").read_bytes()
    Path("linear.png").write_bytes(png.inserted(plain, [png.chunk(b"gAMA", struct.pack(">I", 100_000))]))
    assert recast("verify", "linear.png", "merged.png") == 5
    assert "warning: SOURCE: gamma 1.00000 of a gAMA chunk is passed over" in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "file"), [("P", "source.png"), ("P", "source.gif"), ("CMYK", "source.jpg")])
def test_nothing_is_said_of_how_a_source_would_be_saved(
    mode: str, file: str, recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open("before.png").convert(mode).save(file)
    source = read_original(file)
    assert "saved as RGB" in source.warnings[0]
    image.write_bytes(encode_original(source, "png"), "same.png")
    certificate = certify(source, source, np.zeros(SUPPORT.shape, bool))
    Path("same.json").write_text(certificate.to_json())
    assert recast("verify", file, "same.png", "--certificate", "same.json") == 0
    assert capsys.readouterr().err == ""


def test_another_source_is_not_kept(recast: Recast, capsys: pytest.CaptureFixture[str]) -> None:
    code, data = verdict(recast, capsys, "bare.png", "merged.png")
    assert code == 5
    assert data["reasons"] == ["source: is not the picture that was certified"]
    image.write(np.zeros((30, 41, 3), np.uint8), "other.png")
    code, data = verdict(recast, capsys, "other.png", "merged.png")
    assert code == 5
    assert "size: 40x30 in the result, 41x30 in the source" in data["reasons"]


def test_a_lossy_copy_is_not_kept(recast: Recast) -> None:
    Path("lossy.jpg").write_bytes(encode_original(read_original("merged.png"), "jpg"))
    assert recast("verify", "before.png", "lossy.jpg", "--certificate", "proof.json") == 5


@pytest.mark.parametrize(
    "argv", [("none.png", "merged.png"), ("before.png", "none.png"), ("before.png", "proof.json"),
             ("before.png", "merged.png", "--certificate", "half.json"),
             ("before.png", "merged.png", "--certificate", "none.json")],
)  # fmt: skip
def test_what_cannot_be_read_is_exit_1(
    argv: tuple[str, ...], recast: Recast, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("half.json").write_text(Path("proof.json").read_text()[:200])
    assert recast("verify", *argv) == 1
    assert capsys.readouterr().err.startswith("recast: error: ")


def test_a_mask_shows_where(recast: Recast) -> None:
    assert recast("verify", "before.png", "broken.png", "--mask-out", "mask.png") == 5
    mask = np.asarray(Image.open("mask.png"))
    expected = np.dstack([SUPPORT.astype(np.uint8) * 255] * 3)
    expected[20, 33] = expected[25, 3] = (255, 0, 0)
    np.testing.assert_array_equal(mask, expected)
    assert recast("verify", "before.png", "bare.png", "--mask-out", "mask.png") == 5
    red = (np.asarray(Image.open("mask.png")) == (255, 0, 0)).all(-1)
    np.testing.assert_array_equal(red, SUPPORT)  # without a certificate nothing may differ
    assert recast("verify", "before.png", "merged.png", "--mask-out", "before.png") == 1
    assert recast("verify", "before.png", "merged.png", "--mask-out", "mask.tiff") == 1
