"""Reading titles back: exact on what was drawn, under noise and JPEG; and unknown, never a guess, elsewhere."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from recast.errors import InputError
from recast.world import lettering, sample, spelling
from recast.world import reading as reading_file
from recast.world.draw import draw
from recast.world.lettering import FONTS
from recast.world.reading import canonical, lookalikes, read_title, same_text
from recast.world.scene import Title

WIDTH = HEIGHT = 256


def background(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(40, 160, (5, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def painted(title: Title, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a title, and the same without."""
    behind = background(seed)
    pixels = behind.copy()
    lettering.paint(pixels, title)
    return pixels, behind


def noisy(pixels: np.ndarray) -> np.ndarray:
    """White noise at 31 dB."""
    noise = np.random.default_rng(1).normal(0, 255 * 10 ** (-31 / 20), pixels.shape)
    return (pixels + noise).round().clip(0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    """JPEG at quality 90 with chroma at half the resolution."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=90, subsampling=2)
    return np.asarray(Image.open(data).convert("RGB"))


TITLES = (
    Title(text="FREIBERG", font="anton"),
    Title(text="Wow! 50% off", font="slab", colour="yellow", size="medium", place="bottom", tilt=6),
    Title(text="q7;Zk", font="rounded", colour="red", outline="white", plate="black", align="left"),
    Title(text="no way", font="script", outline="none", plate="blue", size="huge", place="middle", tilt=-6),
)


@pytest.mark.parametrize("title", TITLES, ids=lambda title: title.text)
@pytest.mark.parametrize("spoilt", [np.copy, noisy, jpeg], ids=["clean", "noise", "jpeg"])
def test_a_title_is_read_without_guesses(title: Title, spoilt: object) -> None:
    pixels, behind = painted(title)
    reading = read_title(spoilt(pixels), background=behind, fonts=(title.font, "chunky"))  # type: ignore[operator]
    assert reading.text is not None, reading.reason
    assert same_text(reading.text, title.text, title.font)
    assert reading.title is not None
    assert replace(reading.title, text="") == replace(canonical(title, WIDTH, HEIGHT), text="")


def test_a_title_is_read_where_its_background_is_not_known() -> None:
    title = TITLES[0]
    assert read_title(painted(title)[0], fonts=("anton", "slab")).text == title.text


def test_a_right_guess_is_accepted_without_a_search() -> None:
    """No font is searched, so that only the guess can be the answer."""
    for title in TITLES:
        for spoilt in (np.copy, noisy, jpeg):
            pixels, behind = painted(title)
            reading = read_title(spoilt(pixels), guesses=(title,), background=behind, fonts=())
            assert reading.text is not None, (title.text, reading.reason)


@pytest.mark.parametrize("font", FONTS)
def test_no_guess_with_one_wrong_letter_is_accepted(font: str) -> None:
    """For an E, the letters most like it and three more, other ones for each font; background known or not."""
    title = Title(text="FREIBERG", font=font, size="medium", align="left")
    pixels, behind = painted(title)
    for letter in (*"FBe", *random.Random(font).sample("ACDGHIJKLMNOPQRSTUVWXYZ0123456789ilco.", 3)):
        wrong = replace(title, text=f"FREIB{letter}RG")
        if same_text(wrong.text, title.text, font):
            continue
        for known in (behind, None):
            reading = read_title(pixels, guesses=(wrong,), background=known, fonts=())
            assert reading.text is None, (wrong.text, known is None)


def test_a_guess_that_is_off_by_less_than_a_patch_is_refused_for_the_letter_it_resembles() -> None:
    """Small Z and capital Z of this font differ by a few pixels' worth of ink: only comparing the two shows it."""
    title = Title(text="PIZZA", font="bangers", size="medium")
    pixels, behind = painted(title)
    wrong = read_title(pixels, guesses=(replace(title, text="PIzZA"),), background=behind, fonts=())
    assert wrong.text is None
    assert "may be 'Z'" in wrong.reason


@pytest.mark.parametrize("text", ["FREIBER", "FREIBERGS", "FREIBERG.", "FREI BERG"])
def test_no_guess_with_a_letter_too_many_or_too_few_is_accepted(text: str) -> None:
    title = Title(text="FREIBERG", font="archivo", size="medium", align="left")
    pixels, behind = painted(title)
    assert read_title(pixels, guesses=(replace(title, text=text),), background=behind, fonts=()).text is None


def test_a_wrong_guess_gives_way_to_what_the_picture_says() -> None:
    title = TITLES[0]
    pixels, behind = painted(title)
    reading = read_title(pixels, guesses=(replace(title, text="FREIBURG"),), background=behind)
    assert reading.text == "FREIBERG"


def test_half_a_letter_rubbed_out_is_unknown() -> None:
    title = Title(text="HALF", font="archivo", size="huge")
    pixels, behind = painted(title)
    place = lettering.layout("HALF", "archivo", WIDTH, HEIGHT, "top", "huge", 0).glyphs[1]
    part = (slice(place.y - 18, place.y + 8), slice(place.x + 2, place.x + 24))
    pixels[part] = behind[part]
    for guesses in ((title,), ()):
        assert read_title(pixels, guesses=guesses, background=behind, fonts=("archivo",)).text is None


def test_a_picture_without_lettering_is_unknown() -> None:
    behind = background(3)
    assert read_title(behind, background=behind).text is None
    assert read_title(behind, fonts=("anton",)).text is None


def test_lookalikes_are_drawn_alike_and_others_are_not() -> None:
    assert "Aa" in lookalikes("bangers")
    assert same_text("cAt", "CAt", "bangers")
    assert not same_text("cAt", "CAt", "slab")
    assert same_text("one two", "one\ntwo", "slab")


def test_titles_that_draw_the_same_picture_have_one_canonical_form() -> None:
    long = Title(text="UNBELIEVABLY", font="slab", size="huge")
    short = replace(long, size="large")
    assert np.array_equal(painted(long)[0], painted(short)[0])
    assert canonical(long, WIDTH, HEIGHT) == canonical(short, WIDTH, HEIGHT)


def test_pictures_of_another_form_are_refused() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match="pixels: float"):
        read_title(pixels.astype(np.float32))
    with pytest.raises(InputError, match="background: "):
        read_title(pixels, background=np.zeros((64, 32, 3), np.uint8))


def test_a_picture_that_cannot_be_read_is_given_up_after_a_counted_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the search might go on, no more beginnings of lines are drawn than that."""
    pixels, behind = painted(Title(text="FREIBERG", font="anton", place="middle"))
    smeared = cv2.GaussianBlur(pixels, (0, 0), 2.0)
    drawn = []
    extended = spelling._extended
    monkeypatch.setattr(spelling, "_extended", lambda *given: drawn.append(1) or extended(*given))
    monkeypatch.setattr(reading_file, "EFFORT", 60)
    monkeypatch.setattr(reading_file, "BLIND_EFFORT", 20)
    assert read_title(smeared, background=behind).text is None
    one_line = 60  # what the line in hand may still take for its first glyphs
    assert 0 < len(drawn) <= 60 + 20 + 2 * one_line


def test_a_plate_that_is_none_does_not_hide_a_title(monkeypatch: pytest.MonkeyPatch) -> None:
    """A title that fills a box looks, changed pixel by changed pixel, as if it had a plate."""
    monkeypatch.setattr(reading_file, "BLIND_EFFORT", 0)  # read on the background as it is known
    scene = replace(sample.scene(61051), title=None)
    title = sample.scene(61051).title
    assert title is not None
    assert title.plate == "none"
    behind = draw(scene)
    pixels = behind.copy()
    lettering.paint(pixels, title)
    found = read_title(noisy(pixels), background=behind, fonts=(title.font,))
    assert found.text is not None
    assert same_text(found.text, title.text, title.font)
