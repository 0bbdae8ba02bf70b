"""A brief becomes a set; what is finished is not done again; who is lost is rejected."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recast.alone import alone
from recast.errors import ConfigError, GateFailed, InputError
from recast.pixels import image
from recast.thumbnails.boxes import Box
from recast.thumbnails.brief import Base, Brief, Level, Variants
from recast.thumbnails.findings import Finding
from recast.thumbnails.kit import Character, Colour, ExportStyle, Kit, Layout, LogoStyle, TextStyle
from recast.thumbnails.seeing import FoundFace, Sight
from recast.thumbnails.stages import sha256
from recast.thumbnails.workflow import LOCK, Set, Tools
from tests.thumbnails.standins import FACE, SKIN, Died, Eyes, Painter

LEVELS = ("stripes", "waves", "bars", "rain")


def channel(folder: Path) -> tuple[Brief, Kit]:
    """A frame with a face of SKIN, its cut-out, one character."""
    frame = np.full((180, 320, 3), 120, np.uint8)
    left, top, right, bottom = FACE.pixels(width=320, height=180)
    frame[top:bottom, left:right] = SKIN
    image.write(frame, folder / "frame.png")
    cut = np.zeros_like(frame)
    cut[top:bottom, left:right] = 255
    image.write(cut, folder / "cut.png")
    kit = Kit(
        name="Bench",
        folder=folder,
        palette=(Colour(role="accent", hex="#FFD21F"), Colour(role="ink", hex="#0B0B0F")),
        text_style=TextStyle(fill="accent"),
        characters=(Character(id="host", references=(folder / "frame.png",)),),
        layouts=(Layout(id="left", text=Box(0.05, 0.2, 0.55, 0.9)),),
        export=ExportStyle(profiles=("youtube-portable", "square")),
    )
    brief = Brief(
        title="A robot",
        text="IT DREW ME",
        kit=folder / "brand.yaml",
        folder=folder,
        base=Base(frame=folder / "frame.png", keep_mask=folder / "cut.png"),
        variants=Variants(factor="background", levels=tuple(Level(name=each, edit=f"make {each}") for each in LEVELS)),
        characters=("host",),
        seed=5,
        licenses={"frame": "own work"},
    )
    return brief, kit


def tools(painter: Painter, **options: Any) -> Tools:
    usual = {"model": {"name": "painter"}, "size": (320, 180), "steps": 9, "sight": Sight(faces=Eyes())}
    return Tools(generator=lambda: painter, **(usual | options))


def made(brief: Brief, kit: Kit, folder: Path, painter: Painter, *, until: str = "export", **options: Any) -> Any:
    work = Set(brief, kit, folder, tools(painter, **options)).make(until=until)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Painter]:
    folder = tmp_path_factory.mktemp("channel")
    painter = Painter(spoils={"make waves": [6]})
    return made(*channel(folder), folder / "set", painter), folder, painter


def test_every_stage_leaves_its_files(finished):
    done, folder, _ = finished
    out = folder / "set"
    named = "base.png free.png variants candidates export contact.png feed.html manifest.json stages"
    assert {each.name for each in out.iterdir()} >= set(named.split())
    data = json.loads((out / "manifest.json").read_text())
    assert [each["name"] for each in data["variants"] if each["is_shipped"]] == list(done.shipped)
    for each in data["variants"]:
        for file in each["files"]:
            with Image.open(out / "export" / file["file"]) as picture:
                assert picture.size == (file["width"], file["height"])
    assert len(done.shipped) == len([each for each in data["variants"] if each["files"]])


def test_the_variants_of_a_group_are_one_request_of_consecutive_seeds(finished):
    _, _, painter = finished
    assert painter.asked[0] == (tuple(f"make {each}" for each in LEVELS), 5)


def test_a_lost_face_is_tried_again_with_another_seed(finished):
    done, _, painter = finished
    waves = next(each.made for each in done.entries if each.made.name == "waves")
    assert painter.asked[1] == (("make waves",), 1006)
    assert waves.is_kept
    assert waves.seed == 1006
    assert waves.tried[0][1].startswith("host: similarity 0.")
    assert waves.tried[1] == (1006, "kept")


def test_nothing_outside_the_free_area_changes(finished):
    _, folder, _ = finished
    free = image.read(folder / "set" / "free.png").rgb[..., 0] > 0
    base = image.read(folder / "set" / "base.png").rgb
    for name in LEVELS:
        variant = image.read(folder / "set" / "variants" / f"{name}.png").rgb
        assert np.array_equal(variant[~free], base[~free])
        assert not np.array_equal(variant[free], base[free])


def test_a_second_run_does_nothing_again(finished):
    _, folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "set" / "variants").iterdir()}
    painter = Painter()
    again = made(*channel(folder), folder / "set", painter)
    assert painter.asked == []
    assert again.done_again == ()
    assert {path: path.stat().st_mtime_ns for path in (folder / "set" / "variants").iterdir()} == before


def test_a_changed_level_makes_that_variant_alone(finished, tmp_path: Path):
    _, folder, _ = finished
    brief, kit = channel(folder)
    levels = (*brief.variants.levels[:-1], Level(name="rain", edit="make hail"))
    painter = Painter()
    made(
        replace(brief, variants=replace(brief.variants, levels=levels)), kit, folder / "set", painter, until="variants"
    )
    assert painter.asked == [(("make hail",), 8)]
    made(brief, kit, folder / "set", Painter(), until="rank")  # back, for the tests that follow


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path):
    brief, kit = channel(tmp_path)
    painter = Painter(dies_at=2)
    with pytest.raises(Died):
        made(brief, kit, tmp_path / "set", painter, together=2)
    assert not (tmp_path / "set" / "manifest.json").exists()
    fresh = Painter()
    made(brief, kit, tmp_path / "set", fresh, together=2, until="variants")
    assert fresh.asked == [(("make bars", "make rain"), 7)]


def test_a_face_that_is_never_there_is_rejected_with_the_reason(tmp_path: Path):
    brief, kit = channel(tmp_path)
    brief = replace(brief, variants=replace(brief.variants, retries=1))
    painter = Painter(spoils={"make waves": [6, 1006]})
    done = made(brief, kit, tmp_path / "set", painter, until="export")
    waves = next(each for each in done.entries if each.made.name == "waves")
    assert waves.place is None
    assert not waves.is_shipped
    assert "limit" in waves.made.reason
    assert len(waves.made.tried) == 2


def test_a_set_in_which_nobody_passes_says_why(tmp_path: Path):
    brief, kit = channel(tmp_path)
    brief = replace(brief, variants=replace(brief.variants, retries=0))
    spoils = {f"make {name}": [5 + i] for i, name in enumerate(LEVELS)}
    with pytest.raises(GateFailed, match=r"none of 4 variants passes: host: similarity"):
        made(brief, kit, tmp_path / "set", Painter(spoils=spoils))
    assert list((tmp_path / "set" / "export").iterdir()) == []
    data = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert [each["is_kept"] for each in data["variants"]] == [False] * 4


def test_a_set_that_fails_takes_an_earlier_ones_files_away(tmp_path: Path):
    brief, kit = channel(tmp_path)
    made(brief, kit, tmp_path / "set", Painter())
    (tmp_path / "set" / "export" / "notes.txt").write_text("mine")
    other = replace(brief, seed=50, variants=replace(brief.variants, retries=0))
    spoils = {f"make {name}": [50 + i] for i, name in enumerate(LEVELS)}
    with pytest.raises(GateFailed):
        made(other, kit, tmp_path / "set", Painter(spoils=spoils))
    assert [each.name for each in (tmp_path / "set" / "export").iterdir()] == ["notes.txt"]
    assert not (tmp_path / "set" / "feed.html").exists()


def test_every_file_is_checked_and_says_how_it_was_cut(finished):
    _, folder, _ = finished
    data = json.loads((folder / "set" / "manifest.json").read_text())
    shipped = [each for each in data["variants"] if each["is_shipped"]]
    squares = [file for each in shipped for file in each["files"] if file["profile"] == "square"]
    assert squares
    for file in squares:
        assert file["notes"][-2].startswith("square: cut to columns ")
        assert file["notes"][-1] == "enlarged from 180x180"


def test_a_file_that_fails_is_not_shipped_and_a_dropped_profile_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    brief, kit = channel(tmp_path)
    made(brief, kit, tmp_path / "set", Painter())
    assert list((tmp_path / "set" / "export").glob("*.square.*"))
    made(brief, replace(kit, export=ExportStyle(profiles=("youtube-portable",))), tmp_path / "set", Painter())
    assert not list((tmp_path / "set" / "export").glob("*.square.*"))
    bad = Finding(check="T2", verdict="fail", says="Too small")
    monkeypatch.setattr("recast.thumbnails.delivery.check", lambda seen: [bad])
    done = made(brief, kit, tmp_path / "set", Painter())
    assert not list((tmp_path / "set" / "export").glob("*.square.*"))
    assert all("square: not shipped: T2: Too small" in each.notes for each in done.entries if each.is_shipped)
    assert list((tmp_path / "set" / "export").glob("*.youtube-portable.*"))


def test_a_base_edit_sees_the_pictures_it_calls(tmp_path: Path):
    brief, kit = channel(tmp_path)
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 2"><path d="{}"/></svg>'
    (tmp_path / "logo.svg").write_text(svg.format("M0 0h4v2z"))
    kit = replace(kit, logo=LogoStyle(file=tmp_path / "logo.svg"))
    brief = replace(brief, base=replace(brief.base, edit="put @host and @logo on a beach"))
    painter = Painter()
    made(brief, kit, tmp_path / "set", painter, until="base")
    seen = painter.options[0]["references"]
    assert seen["host"] == [tmp_path / "frame.png"]
    (logo,) = seen["logo"]
    assert logo.rgb.shape == (256, 512, 3)
    assert tuple(logo.rgb[-1, 0]) == (255, 255, 255)
    again = Painter()
    made(brief, kit, tmp_path / "set", again, until="base")
    assert again.asked == []
    (tmp_path / "logo.svg").write_text(svg.format("M0 0v2h4z"))
    made(brief, kit, tmp_path / "set", again, until="base")
    assert len(again.asked) == 1


def test_a_design_is_made_anew_when_the_faces_seen_change(tmp_path: Path):
    brief, kit = channel(tmp_path)
    brief = replace(brief, characters=())
    blind = Tools(generator=Painter, model={"name": "painter"}, size=(320, 180))
    list(Set(brief, kit, tmp_path / "set", blind).make(until="designs"))
    before = {path: path.read_bytes() for path in (tmp_path / "set" / "candidates").iterdir()}

    class Left(Eyes):
        def faces(self, rgb: np.ndarray) -> list[FoundFace]:
            return [FoundFace(Box(0.3, 0.1, 0.7, 0.9), 0.9, np.ones(3) / 3**0.5)]

    seeing = replace(blind, sight=Sight(faces=Left()))
    list(Set(brief, kit, tmp_path / "set", seeing).make(until="designs"))
    assert {path: path.read_bytes() for path in (tmp_path / "set" / "candidates").iterdir()} != before


def test_a_base_from_words_is_cut_to_16_9_and_noted(tmp_path: Path):
    brief, kit = channel(tmp_path)
    brief = replace(
        brief, base=Base(prompt="a bench", keep="nothing"), variants=replace(brief.variants, levels=brief.levels[:1])
    )
    work = Set(brief, kit, tmp_path / "set", replace(tools(Painter()), size=(336, 192)))
    list(work.make(until="base"))
    assert image.read(tmp_path / "set" / "base.png").rgb.shape == (720, 1280, 3)
    notes = work.stages.last("base").result["notes"]
    assert notes == ["made at 336x192", "cut to 336x189, which is 16:9", "enlarged to 1280x720"]


def test_bad_input_is_found_before_anything_is_written(tmp_path: Path):
    brief, kit = channel(tmp_path)
    image.write(np.full((100, 200, 3), 90, np.uint8), tmp_path / "wide.png")
    image.write(np.zeros((64, 64, 3), np.uint8), tmp_path / "nobody.png")
    faceless = replace(kit, characters=(Character(id="host", references=(tmp_path / "nobody.png",)),))
    for wrong, other, kind, words in (
        (replace(brief, base=Base(frame=tmp_path / "wide.png")), kit, InputError, "200x100 came; 16:9 accepted"),
        (brief, faceless, InputError, r"nobody\.png: no face found for host"),
        (replace(brief, text="WORDS " * 40), kit, ConfigError, "stripes, youtube-portable: "),
    ):
        with pytest.raises(kind, match=words):
            made(wrong, other, tmp_path / "set", Painter())
        assert not (tmp_path / "set").exists()


def test_nothing_is_made_while_another_process_works_on_the_set(tmp_path: Path):
    brief, kit = channel(tmp_path)
    with (
        alone(tmp_path / "set", "set", file=LOCK),
        pytest.raises(InputError, match="works on this set; one at a time accepted"),
    ):
        made(brief, kit, tmp_path / "set", Painter())
    assert [each.name for each in (tmp_path / "set").iterdir()] == ["stages"]


def test_the_manifest_says_what_the_set_was_made_of(finished):
    _, folder, _ = finished
    data = json.loads((folder / "set" / "manifest.json").read_text())
    assert data["asked"] == {"ship": 3, "seeds_per_level": 1, "retries": 2, "seed": 5}
    assert (data["steps"], data["model"]) == (9, {"name": "painter"})
    base, frame = (sha256(path) for path in (folder / "set" / "base.png", folder / "frame.png"))
    assert data["made_from"]["base"] == {"file": "base.png", "sha256": base}
    used = {each["used_as"]: each for each in data["made_from"]["files"]}
    assert used["base.frame"] == {"used_as": "base.frame", "file": "frame.png", "sha256": frame, "licence": "own work"}
    assert (used["characters.host"]["sha256"], used["characters.host"]["licence"]) == (frame, None)
    assert (used["fonts.headline"]["file"], used["fonts.headline"]["licence"]) == ("anton.ttf", "OFL-1.1")


def test_without_eyes_a_required_character_is_an_error(tmp_path: Path):
    brief, kit = channel(tmp_path)
    blind = Tools(generator=Painter, model={}, size=(320, 180), sight=Sight(why={"faces": "pass --faces"}))
    with pytest.raises(ConfigError, match="nothing can tell who is in a picture; pass --faces"):
        list(Set(brief, kit, tmp_path / "set", blind).make())


def test_until_names_a_stage(tmp_path: Path):
    brief, kit = channel(tmp_path)
    with pytest.raises(ConfigError, match="until='base picture'"):
        list(Set(brief, kit, tmp_path / "set", tools(Painter())).make(until="base picture"))
