"""The words of `recast thumbnails`: what they print, write and refuse; what they are made of is tested in its room."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast.pixels import image
from recast.thumbnails.brief import read_brief
from recast.thumbnails.calibration import read_limit
from recast.weights.files import checksum
from recast.world.draw import draw
from recast.world.recogniser import WorldFaces
from recast.world.scene import Character, Scene
from tests.thumbnails import channel
from tests.thumbnails.finished import finished_set
from tests.thumbnails.youtube import ANSWER, TOKEN, VIDEO, refusal, serving


@pytest.fixture
def done(here: Path) -> Path:
    return finished_set(here / "set")


@pytest.fixture
def token(here: Path) -> Path:
    path = here / "token.json"
    path.write_text(json.dumps({"access_token": TOKEN}))
    path.chmod(stat.S_IRUSR)
    return path


def said(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_new_writes_two_files_and_never_over_them(here, recast, capsys):
    assert recast("thumbnails", "new", "robot") == 0
    assert capsys.readouterr().out.split() == ["robot/brief.yaml", "robot/brand.yaml"]
    (here / "robot" / "brief.yaml").write_text("mine")
    assert recast("thumbnails", "new", "robot") == 1
    assert (here / "robot" / "brief.yaml").read_text() == "mine"


def test_concepts_are_as_many_as_asked(here, recast, capsys):
    recast("thumbnails", "new", "robot", "-q")
    channel.files(here / "robot")
    capsys.readouterr()
    assert recast("thumbnails", "concepts", "robot/brief.yaml", "--count", 3, "--json") == 0
    found = said(capsys)
    ideas = found["concepts"]
    assert len(ideas) == 3
    assert all(each["prompt"] and each["edit"] for each in ideas)
    assert {"name": "sad", "edit": "Make the person look sad"} in found["levels"]  # its factor is expression


def test_proposed_levels_can_be_copied_into_a_brief(here, recast, capsys):
    recast("thumbnails", "new", "robot", "-q")
    channel.files(here / "robot")
    capsys.readouterr()
    assert recast("thumbnails", "concepts", "robot/brief.yaml") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  - ")]
    brief = here / "robot" / "brief.yaml"
    text = brief.read_text()
    start, stop = text.index("    - name: as it is"), text.index("  seeds_per_level")
    brief.write_text(text[:start] + "\n".join(lines) + "\n" + text[stop:])
    assert [each.name for each in read_brief(brief).levels] == ["as-is", "surprised", "happy", "calm", "angry", "sad"]


def test_learn_writes_a_kit(here, recast, capsys):
    files = [image.write(channel.picture(seed), here / f"{seed}.png") for seed in range(3)]
    words = ("--out", "mine", "--name", "Mine", "--read", "none", "--faces", "none")
    assert recast("thumbnails", "learn", *files, *words) == 0
    assert "mine/brand.yaml" in capsys.readouterr().out
    assert "Mine" in (here / "mine" / "brand.yaml").read_text()


def test_check_tells_what_fails_and_draws_it(here, recast, capsys):
    image.write(channel.picture(1, width=640, height=400), here / "a.png")  # 16:10
    words = ("--read", "none", "--faces", "none", "--overlay", "seen.png", "--json")
    assert recast("thumbnails", "check", "a.png", *words) == 5
    (row,) = said(capsys)["pictures"]
    verdicts = {each["check"]: each["verdict"] for each in row["findings"]}
    assert verdicts["G1"] == "fail"
    assert verdicts["T4"] == "absent"
    drawn = image.read("seen.png")
    assert drawn.width == 1280
    assert drawn.height > 800  # G1 has no place in the picture: it is said below
    assert recast("thumbnails", "check", "a.png", "a.png", *words) == 2


def test_a_drawing_is_never_laid_over_the_picture_under_check(here, recast, capsys):
    path = image.write(channel.picture(1), here / "a.png")
    before = path.read_bytes()
    (here / "link.png").symlink_to(path)
    for overlay in ("a.png", "./a.png", "link.png"):
        assert recast("thumbnails", "check", "a.png", "--read", "none", "--faces", "none", "--overlay", overlay) == 2
        assert "name another file" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_check_refuses_a_character_that_the_kit_has_not(here, recast, capsys):
    recast("thumbnails", "new", "robot", "-q")
    channel.files(here / "robot")
    image.write(channel.picture(1), here / "a.png")
    capsys.readouterr()
    words = ("a.png", "--kit", "robot/brand.yaml", "--read", "none", "--faces", "none", "--character", "bob")
    assert recast("thumbnails", "check", *words) == 2
    assert "--character bob: the kit has none of this id; host accepted" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["base.png", "contact.png", "export/mine.jpg"])
def test_make_takes_no_folder_with_files_of_ones_own(here, recast, capsys, name):
    recast("thumbnails", "new", "robot", "-q")
    channel.files(here / "robot")
    own = here / "mine" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    capsys.readouterr()
    assert recast("thumbnails", "make", "robot/brief.yaml", "--out", "mine", "--faces", "none", "--read", "none") == 1
    assert f"holds {name.partition('/')[0]}" in capsys.readouterr().err
    assert [each for each in (here / "mine").rglob("*") if each.is_file()] == [own]
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("concepts", "robot/brief.yaml", "--count", 0), "count=0"),
        (("learned", "robot", "--count", 0), "--count: not for"),
        (("list", "set", "--seconds", 0), "--seconds: not for"),
        (("animate", "set", "--seconds", 0), "seconds=0"),
        (("animate", "set", "--fps", 0), "fps=0"),
        (("animate", "set", "--width", 0), "width=0"),
    ],
)
def test_nought_is_a_value_like_any_other(done, recast, capsys, words, why):
    recast("thumbnails", "new", "robot", "-q")
    channel.files(done.parent / "robot")
    capsys.readouterr()
    assert recast("thumbnails", *words) == 2
    assert why in capsys.readouterr().err


def test_list_shows_each_variant(done, recast, capsys):
    assert recast("thumbnails", "list", "set") == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "A robot: background, 4 variants"
    assert [row.split()[1] for row in rows] == ["night", "beach", "rain", "lost"]
    assert "shipped" in rows[0]
    assert rows[3].endswith("host: no face")
    assert recast("thumbnails", "list", "elsewhere") == 1


def test_without_yes_nothing_is_sent_and_the_request_is_printed(done, token, recast, capsys):
    with serving() as youtube:
        words = ("upload", "set", "night", "--video", VIDEO, "--endpoint", youtube.url)
        assert recast("thumbnails", *words) == 0
        first = capsys.readouterr()
        assert recast("thumbnails", *words, "--credentials", token) == 0
        assert capsys.readouterr() == first
        assert youtube.asked == []
    file = done / "export" / "night.youtube-portable.jpg"
    lines = first.out.splitlines()
    assert lines[0] == f"POST {youtube.url}/upload/youtube/v3/thumbnails/set?videoId={VIDEO}&uploadType=media"
    assert "Content-Type: image/jpeg" in lines
    assert f"Content-Length: {file.stat().st_size}" in lines
    assert checksum(file) in first.out
    assert "nothing was sent" in first.err
    assert not (done / "uploads.json").exists()


def test_an_upload_is_recorded_and_not_done_twice_unless_told(done, token, recast, capsys):
    with serving() as youtube:
        words = ("upload", "set", "night", "--video", VIDEO, "--endpoint", youtube.url, "--credentials", token, "--yes")
        assert recast("thumbnails", *words, "--json") == 0
        assert said(capsys)["answer"] == ANSWER
        assert recast("thumbnails", *words) == 0
        assert "--again sends it once more" in capsys.readouterr().out
        assert len(youtube.asked) == 1
        assert recast("thumbnails", *words, "--again") == 0
        assert len(youtube.asked) == 2
        assert len(json.loads((done / "uploads.json").read_text())) == 2
        youtube.first = [(*refusal(403, "forbidden"), {})]
        capsys.readouterr()
        assert recast("thumbnails", *words, "--again") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "403 forbidden" in line
    assert TOKEN not in line
    assert len(json.loads((done / "uploads.json").read_text())) == 2


def test_an_upload_needs_a_video_and_credentials_and_warns_of_open_ones(done, token, recast, capsys):
    assert recast("thumbnails", "upload", "set", "night") == 2
    assert recast("thumbnails", "upload", "set", "night", "--video", VIDEO, "--yes") == 2
    assert "--credentials: missing" in capsys.readouterr().err
    token.chmod(0o644)
    assert recast("thumbnails", "upload", "set", "night", "--video", VIDEO, "--credentials", token) == 0
    assert "chmod 600" in capsys.readouterr().err


def test_animate_makes_a_loop_of_what_was_shipped(done, recast, capsys):
    words = ("--seconds", 3, "--fps", 6, "--width", 48)
    assert recast("thumbnails", "animate", "set", *words, "--json") == 0
    told = said(capsys)
    assert told["variants"] == ["night", "beach"]
    assert (told["format"], told["width"], told["height"], told["seconds"]) == ("webp", 48, 32, 3)
    with Image.open(done / "loop.webp") as file:
        assert file.size == (48, 32)
        assert file.n_frames > 4
    assert recast("thumbnails", "animate", "set", "rain", "night", *words, "--out", "loop.mp4") == 0
    assert "rain not shipped" in capsys.readouterr().err
    assert Path("loop.mp4").stat().st_size < 8_000_000


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--out", "loop.gif"), 2, ".webp or .mp4"),
        (("--seconds", 9), 2, "3 to 6"),
        (("night", "--width", 48), 2, "two or more"),
        (("night", "snow"), 1, "night, beach, rain"),
        (("--limit", 0), 2, "megabytes above 0"),
        (("--width", 5), 2, "an even number"),
        (("--limit", 0.0001, "--seconds", 3, "--fps", 6, "--width", 48), 5, "smallest"),
    ],
)
def test_what_cannot_be_animated_is_one_line(done, recast, capsys, words, code, why):
    assert recast("thumbnails", "animate", "set", *words) == code
    *_, line = capsys.readouterr().err.splitlines()
    assert why in line
    assert not (done / "loop.webp").exists()


def test_calibrate_writes_a_limit_that_the_recogniser_reads(here, recast, capsys):
    for name, person in {"ann": {"skin": "dark"}, "bob": {"hair_colour": "blonde", "beard": True}}.items():
        (here / "people" / name).mkdir(parents=True)
        for i, expression in enumerate(("happy", "sad")):
            scene = Scene(background="studio", characters=(Character(**person, expression=expression),))
            image.write(draw(scene, 256, 256), here / "people" / name / f"{i}.png")
    image.write(np.zeros((64, 64, 3), np.uint8), here / "people" / "bob" / "nobody.png")
    assert recast("thumbnails", "calibrate", "people", "--faces", "world", "--out", "limit.json") == 0
    told = capsys.readouterr()
    assert "of 2 pairs of one person" in told.out
    assert "left out: bob/nobody.png: no face found" in told.err
    assert "too few pairs" in told.err
    assert -1 < read_limit("limit.json", network=checksum(WorldFaces().path)) < 1
    assert recast("thumbnails", "calibrate", "people", "--out", "limit.json") == 2
    assert recast("thumbnails", "calibrate", "people", "--faces", "world") == 2
