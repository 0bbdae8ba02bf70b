"""`recast thumbnails improve`: a title is set again beside what was there, which stays as it is."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recast.alone import alone
from recast.pixels import image
from recast.thumbnails import beside, made_from, manifest
from recast.thumbnails.brief import read_brief_and_kit
from recast.thumbnails.findings import Finding
from recast.thumbnails.improve import Improved
from recast.thumbnails.manifest import Entry
from recast.thumbnails.seeing import Sight
from recast.thumbnails.templates import BRAND, BRIEF
from recast.thumbnails.variants import Made
from tests.thumbnails import channel

LOCK = ".running.lock"
BLIND = ("--faces", "none", "--read", "none")
SMALL = Finding(check="T2", verdict="warn", says="Capitals are 11% of the height")


@pytest.fixture
def done(here: Path) -> Path:
    """A set whose kit has a narrow layout first, and a title that is too small in it: on `afraid` it complains."""
    channel.files(here / "robot")
    kit_text = BRAND.replace("text: [5, 10, 52, 60], face: [55, 8, 97, 95]}", "text: [8, 40, 22, 80]}")
    for line in ("  - {role: primary", "  - {role: ink", "  stroke: ", "  shadow: "):  # fewer ways to try
        start = kit_text.index(line)
        kit_text = kit_text[:start] + kit_text[kit_text.index("\n", start) + 1 :]
    (here / "robot" / "brand.yaml").write_text(kit_text)
    (here / "robot" / "brief.yaml").write_text(BRIEF)
    brief, kit = read_brief_and_kit(here / "robot" / "brief.yaml")
    folder = here / "robot" / "set"
    (folder / "variants").mkdir(parents=True)
    for name in ("afraid", "proud"):
        image.write(np.full((72, 128, 3), 60, np.uint8), folder / "variants" / f"{name}.png")
    rows = [("afraid", "", (SMALL,)), ("proud", "", (Finding(check="T2", verdict="pass", says=""),))]
    rows.append(("as it is", "host: no face", ()))
    entries = [
        Entry(
            made=Made(name=name, level=name, seed=1, is_kept=not reason, reason=reason),
            text=brief.text,
            layout="face-right",
            findings=findings,
        )
        for name, reason, findings in rows
    ]
    said = made_from.said(brief, kit, folder)
    made = manifest.manifest(brief, kit, entries, (), model={}, seen_by={}, licences={}, made_from=said)
    manifest.write(folder / manifest.NAME, made)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_title_that_complains_is_set_again_beside_the_set(done, recast, capsys):
    before = everything(done)
    assert recast("thumbnails", "improve", "robot/set", *BLIND, "-q") == 0
    out = capsys.readouterr().out
    assert "afraid: T2 " in out
    assert " → holds; layout face-left" in out
    assert "proud" not in out
    assert everything(done) == before
    new = done.with_name("set-improved")
    assert {each.name for each in new.iterdir()} == {"afraid.jpg", "afraid.ora", "improved.json", LOCK}
    assert (image.read(new / "afraid.jpg").width, image.read(new / "afraid.jpg").height) == (1280, 720)
    (row,) = json.loads((new / "improved.json").read_text())
    assert row["changes"][0].startswith("layout face-left")
    verdicts = {side: {each["check"]: each["verdict"] for each in row[side]}["T2"] for side in ("before", "after")}
    assert verdicts["before"] in ("warn", "fail")
    assert verdicts["after"] == "pass"

    improved = everything(new)
    assert recast("thumbnails", "improve", "robot/set", *BLIND) == 1
    assert "holds afraid.jpg, afraid.ora, improved.json; a folder without accepted" in capsys.readouterr().err
    assert everything(new) == improved


def test_two_at_once_do_not_write_over_each_other(done, recast, capsys, monkeypatch):
    new = done.with_name("set-improved")

    def improved(start: beside.Start, sight: Sight) -> Improved:
        if new.exists():  # the other has written meanwhile
            (new / "afraid.jpg").write_bytes(b"another's")
        return Improved(design=replace(start.design), before=(SMALL,), after=())

    monkeypatch.setattr(beside.Start, "improved", improved)
    new.mkdir()
    assert recast("thumbnails", "improve", "robot/set", *BLIND) == 1
    assert "holds afraid.jpg; a folder without accepted" in capsys.readouterr().err
    (new / "afraid.jpg").unlink()
    with alone(new, "test"):
        assert recast("thumbnails", "improve", "robot/set", *BLIND) == 1
    said = capsys.readouterr().err
    assert "works on this folder of titles set again; one at a time accepted; wait for it, or name another f" in said
    assert {each.name for each in new.iterdir()} == {LOCK}  # no title was tried


def test_a_file_system_without_locks_is_warned_of(done, recast, monkeypatch, caplog):
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("recast.alone.fcntl.flock", fails)
    monkeypatch.setattr(
        beside.Start, "improved", lambda start, sight: Improved(design=start.design, before=(), after=())
    )
    assert recast("thumbnails", "improve", "robot/set", *BLIND) == 0
    assert "no locks on this file system" in caplog.text


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("robot/set", "fear"), 1, "variant='fear': not in robot/set; afraid, proud, as it is accepted"),
        (("robot/set", "as it is"), 1, "variant='as it is': has no picture (host: no face); choose another"),
        (("robot/set", "--text", "NO"), 2, "--text: not for a set, which has its own"),
        (("robot/frame.jpg",), 2, "--kit and --text: missing; a picture needs --kit brand.yaml and --text WORDS"),
        (("robot/frame.jpg", "b.jpg", "--text", "NO"), 2, "2 words came; a set and its variants, or one picture"),
        (("robot",), 1, "manifest.json: not there; the folder of a finished set accepted"),
    ],
)
def test_what_cannot_be_improved_is_told(done, recast, capsys, words, status, why):
    assert recast("thumbnails", "improve", *words, *BLIND) == status
    assert why in capsys.readouterr().err
    assert not done.with_name("set-improved").exists()


def test_a_set_that_is_the_folder_one_stands_in_is_improved_beside_it(done, recast, capsys, monkeypatch):
    monkeypatch.chdir(done)
    assert recast("thumbnails", "improve", ".", "proud", *BLIND, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in said["designs"]] == ["proud"]


def test_two_references_of_one_name_are_both_held_to_what_they_were(done, recast, capsys, monkeypatch):
    real = made_from.files
    twice = [{"used_as": "characters.host", "file": "face.jpg", "sha256": each, "licence": None} for each in "ab"]
    record = json.loads((done / manifest.NAME).read_text())
    record["made_from"]["files"] += twice
    (done / manifest.NAME).write_text(json.dumps(record))
    other = [{**twice[0], "sha256": "c"}, twice[1]]
    monkeypatch.setattr(made_from, "files", lambda *given: real(*given) + other)
    assert recast("thumbnails", "improve", "robot/set", *BLIND) == 1
    assert "face.jpg: has changed since the set was made" in capsys.readouterr().err


def test_a_set_whose_titles_a_model_painted_is_refused(done, recast, capsys, monkeypatch):
    monkeypatch.setattr(beside, "read_brief_and_kit", lambda path: painted(*read_brief_and_kit(path)))
    assert recast("thumbnails", "improve", "robot/set", *BLIND) == 1
    assert "text_in_scene: the model paints its titles" in capsys.readouterr().err


def test_a_set_is_set_again_for_the_profile_it_was_set_for(done, monkeypatch):
    brief, kit = read_brief_and_kit(done.parent / "brief.yaml")
    monkeypatch.setattr(beside, "read_brief_and_kit", lambda path: (replace(brief, profiles=("x",)), kit))
    (start,) = beside.of_set(done, ["proud"], Sight())
    assert start.profile.name == "x"


def painted(brief, kit):
    return replace(brief, text_in_scene=True), kit


@pytest.mark.parametrize("name", ["brief.yaml", "brand.yaml", "logo.svg"])
def test_a_set_of_another_brief_kit_or_logo_is_made_again_first(done, recast, capsys, name):
    path = done.parent / name
    path.write_text(path.read_text() + "<!-- another -->" if name == "logo.svg" else path.read_text() + "# another\n")
    assert recast("thumbnails", "improve", "robot/set", *BLIND) == 1
    assert f"{name}: has changed since the set was made; make the set again" in capsys.readouterr().err


def test_a_picture_gets_the_title_that_is_asked(done, recast, capsys):
    words = ("--kit", "robot/brand.yaml", "--text", "40 DAYS", "--out", "new")
    assert recast("thumbnails", "improve", "robot/frame.jpg", *words, *BLIND, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == "new"
    assert said["designs"][0]["files"] == ["frame.jpg", "frame.ora"]
    assert sorted(each.name for each in Path("new").iterdir()) == [LOCK, "frame.jpg", "frame.ora", "improved.json"]
