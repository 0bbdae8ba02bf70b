"""What is said of a finished set: nobody is left out in silence."""

import json
from pathlib import Path

import pytest

from recast.cli.thumbnails_said import not_looked_at, say_listed, say_made, say_so_far, why_left_out
from recast.thumbnails.brief import Base, Brief, Level, Variants
from recast.thumbnails.delivery import Finished
from recast.thumbnails.findings import Finding
from recast.thumbnails.manifest import Entry
from recast.thumbnails.variants import Made

UNREAD = Finding(check="T4", verdict="absent", says="No reader of text is there")
SMALL = Finding(check="T2", verdict="fail", says="Capitals are 3% of the height")


def entry(name: str, place: int | None, *findings: Finding, level: str = "", shipped: bool = False, reason: str = ""):
    made = Made(name=name, level=level or name, seed=1, is_kept=not reason, reason=reason)
    return Entry(made=made, text="", layout=None, findings=findings, place=place, is_shipped=shipped)


@pytest.fixture
def finished(tmp_path) -> Finished:
    entries = (
        entry("night", 1, UNREAD, shipped=True),
        entry("night-2", 2, UNREAD, level="night"),
        entry("dusk", 3, UNREAD),
        entry("rain", None, SMALL, UNREAD),
        entry("lost", None, reason="host: no face"),
    )
    return Finished(
        folder=tmp_path, entries=entries, findings=(), shipped=("night",), consistency=(), done_again=()
    )  # fmt: skip


@pytest.fixture
def brief(tmp_path: Path) -> Brief:
    levels = tuple(Level(name=name) for name in ("night", "dusk", "rain", "lost"))
    return Brief(
        title="A robot",
        text="WHY",
        kit=tmp_path / "brand.yaml",
        folder=tmp_path,
        base=Base(frame=tmp_path / "a.png"),
        variants=Variants(factor="background", levels=levels, ship=3),
    )


def test_make_says_why_each_variant_is_left_out_and_what_was_not_looked_at(brief, finished, capsys):
    say_made(brief, finished, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A robot: 5 variants, 3 pass, 1 of 3 asked shipped"
    assert "–  night-2: passes, not shipped: night, of the same level, is better" in lines
    assert "–  dusk: passes, not shipped: too like a better one to be tested against it, see V1" in lines
    assert "–  rain: rejected; T2: Capitals are 3% of the height" in lines
    assert "–  lost: rejected; host: no face" in lines
    assert "T4 not looked at: No reader of text is there" in lines


def test_make_says_the_same_as_json(brief, finished, capsys):
    say_made(brief, finished, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["asked"], told["kept"], told["shipped"]) == (3, 3, ["night"])
    assert list(told["left_out"]) == ["night-2", "dusk", "rain", "lost"]
    assert told["not_looked_at"] == {"No reader of text is there": ["T4"]}


def row(name: str, place: int | None, *findings: Finding, level: str = "", shipped: bool = False) -> dict:
    return {
        "name": name, "level": level or name, "place": place, "is_shipped": shipped, "reason": "", "similarity": {},
        "findings": [each.to_dict() for each in findings],
    }  # fmt: skip


def test_list_has_no_good_word_for_what_was_not_looked_at(capsys):
    rows = [row("night", 1, shipped=True), row("dusk", 2, UNREAD), row("rain", None, SMALL)]
    say_listed({"title": "A robot", "factor": "background", "variants": rows})
    _, night, dusk, rain, unseen = capsys.readouterr().out.splitlines()
    assert "not checked" in night
    assert "(T4 not looked at)" in dusk
    assert "no complaint" not in dusk
    assert rain.endswith("rejected; T2: Capitals are 3% of the height")
    assert unseen == "T4 not looked at: No reader of text is there"


def test_who_comes_after_as_many_as_were_asked_is_told_so():
    rows = [row("a", 1, shipped=True), row("b", 2)]
    assert why_left_out(rows[1], rows, 1) == "passes, not shipped: 1 asked, and so many are better"
    assert why_left_out(rows[1], rows) == "passes, not shipped"


def test_a_set_that_was_ended_early_says_who_is_rejected_and_why(brief, finished, tmp_path, capsys):
    say_so_far(brief, tmp_path, "rank", finished.entries, (), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["A robot: 5 variants, 2 rejected, 1 to ship", "1. night"]
    assert "–  rain: rejected; T2: Capitals are 3% of the height" in lines
    assert "–  dusk: passes, not shipped: too like a better one to be tested against it, see V1" in lines
    assert lines[-1] == str(tmp_path)
    unranked = [entry("night", None), entry("rain", None, SMALL), entry("lost", None, reason="host: no face")]
    say_so_far(brief, tmp_path, "checks", unranked, (), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == {
        "rain": "rejected; T2: Capitals are 3% of the height",
        "lost": "rejected; host: no face",
    }
    assert (told["until"], told["to_ship"], told["variants"]) == ("checks", [], 3)
    say_so_far(brief, tmp_path, "base", (), (), as_json=False)
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_list_says_what_a_set_was_made_of_and_which_licences_nobody_stated(capsys):
    files = [
        {"used_as": "base.frame", "file": "frame.png", "sha256": "", "licence": None},
        {"used_as": "base.keep_mask", "file": "cut.png", "sha256": "", "licence": None},
        {"used_as": "fonts.headline", "file": "anton.ttf", "sha256": "", "licence": "OFL-1.1"},
    ]
    made_from = {"brief": {"file": "../brief.yaml"}, "files": files}
    known = {"asked": {"ship": 1}, "steps": 10, "model": {"name": "nano"}, "made_from": made_from}
    rows = [row("night", 1, shipped=True), row("dusk", 2)]
    say_listed({"title": "A robot", "factor": "background", "variants": rows, **known})
    first, _, dusk, *last = capsys.readouterr().out.splitlines()
    assert first == "A robot: background, 2 variants, 1 of 1 asked shipped"
    assert dusk.endswith("passes, not shipped: 1 asked, and so many are better")
    assert last == ["made by nano, 10 steps, from ../brief.yaml", "licence not stated: base.frame (frame.png)"]


def test_checks_with_one_reason_are_said_together():
    unread = Finding(check="T5", verdict="absent", says=UNREAD.says)
    hebrew = Finding(check="T4", verdict="absent", says="The reader does not know ש")
    findings = [each.to_dict() for each in (UNREAD, unread, UNREAD, SMALL, hebrew)]
    assert not_looked_at(findings) == {UNREAD.says: ["T4", "T5"], hebrew.says: ["T4"]}
