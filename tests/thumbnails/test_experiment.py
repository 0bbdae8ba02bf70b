"""Entering what a test of a set said, beside the set and in the channel's file."""

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recast.errors import ConfigError, InputError
from recast.thumbnails import experiment, manifest
from recast.thumbnails.brief import Base, Brief, Level, Variants
from recast.thumbnails.channel_model import USUAL_IMPRESSIONS
from recast.thumbnails.experiment import enter, parse, read_channel, read_experiment
from recast.thumbnails.export import Exported
from recast.thumbnails.findings import Finding
from recast.thumbnails.kit import Kit
from recast.thumbnails.manifest import Entry
from recast.thumbnails.variants import Made

SHARES = {"night": 38.2, "beach": 33.1, "forest": 28.7}
LEVELS = ("night", "beach", "forest", "space")


def finished(folder: Path, *, shipped=("night", "beach", "forest"), pictures="a", profiles=1, v1="pass") -> Path:
    """A finished set as `make` leaves it, as far as its manifest goes, of a kit two folders above."""
    (folder.parent / "brand.yaml").write_text("schema: 1\nname: Robot Bench\n")
    folder.mkdir(exist_ok=True)
    brief = Brief(
        title="I built a robot",
        text="IT DREW ME",
        kit=folder.parent / "brand.yaml",
        folder=folder.parent,
        base=Base(prompt="a robot"),
        variants=Variants(factor="background", levels=tuple(Level(name=name, edit=name) for name in LEVELS)),
        hypothesis="Night is watched longer",
    )
    file = Exported(
        profile="p", file="f.jpg", width=1280, height=720, bytes=9, limit_bytes=99, format="JPEG", sha256=""
    )
    entries = [
        Entry(
            made=Made(name=name, level=name, seed=i, is_kept=True),
            text="IT DREW ME",
            layout=None,
            is_shipped=name in shipped,
            files=tuple(replace(file, sha256=f"{pictures}-{name}-{n}") for n in range(profiles)),
        )
        for i, name in enumerate(LEVELS)
    ]
    found = [Finding(check="V1", verdict=v1, says="", numbers={"pairs": {"night / beach": {"bits": 20}}})]
    kit = Kit(name="Robot Bench", folder=folder.parent)
    data = manifest.manifest(brief, kit, entries, found, model={}, seen_by={}, licences={})
    manifest.write(folder / manifest.NAME, data)
    return folder


@pytest.fixture
def made(tmp_path):
    return finished(tmp_path / "set")


def test_a_finished_set_is_an_experiment(made):
    found = read_experiment(made)
    assert (found.kit, found.factor, found.levels) == ("Robot Bench", "background", LEVELS)
    assert found.variants == {"night": "night", "beach": "beach", "forest": "forest"}
    assert found.distances == {"night / beach": {"bits": 20}}
    assert found.hypothesis == "Night is watched longer"


def test_shares_are_kept_beside_the_set_and_in_the_channel_beside_the_kit(made):
    entered = enter(made, SHARES, on="2026-01-31", impressions=51_000)
    assert entered.files == (made / "results.json", made.parent / "channel.json")
    assert entered.notes == ()
    beside = json.loads(entered.files[0].read_text())["test"]
    channel = read_channel(made.parent)
    assert beside == channel.results[0].to_dict() == entered.result.to_dict()
    assert beside["shares"] == {"beach": 0.331, "forest": 0.287, "night": 0.382}
    assert (beside["impressions"], beside["on"]) == (51_000, "2026-01-31")
    (outcome,) = channel.outcomes
    assert (outcome.factor, outcome.levels, outcome.shares, outcome.impressions) == (
        "background", ("beach", "forest", "night"), (0.331, 0.287, 0.382), 51_000,
    )  # fmt: skip
    assert channel.factors == {"background": LEVELS}


def test_percent_and_parts_of_one_are_the_same(made):
    parts = enter(made, {name: share / 100 for name, share in SHARES.items()}, on="x").result
    assert parts.shares == enter(made, SHARES, on="x").result.shares


@pytest.mark.parametrize("total", [99.0, 101.0])
def test_shares_may_be_rounded(made, total):
    assert enter(made, {"night": total - 60, "beach": 60}, on="x").result.shares["beach"] == 0.6


def test_entered_twice_is_replaced_and_kept_as_history(made):
    enter(made, SHARES, on="2026-01-31", impressions=51_000)
    again = enter(made, {"night": 50, "beach": 50}, on="2026-02-01", impressions=60_000)
    assert "night 38.2 %" in again.notes[0]
    assert "forest" in again.notes[1]  # shipped, and not in this test
    channel = read_channel(made.parent / "channel.json")
    assert len(channel.results) == 1
    assert channel.results[0].shares == {"beach": 0.5, "night": 0.5}
    (earlier,) = channel.results[0].earlier
    assert earlier["impressions"] == 51_000
    assert earlier["on"] == "2026-01-31"
    assert earlier["shares"]["night"] == 0.382
    third = enter(made, {"night": 50, "beach": 50}, on="2026-02-02", impressions=60_000)
    assert len(third.result.earlier) == 1
    assert "same numbers" in third.notes[0]


def test_history_survives_a_lost_file_of_either_kind(made):
    entered = enter(made, SHARES, on="1")
    entered.files[0].unlink()
    assert len(enter(made, {"night": 50, "beach": 50}, on="2").result.earlier) == 1
    entered.files[1].unlink()
    assert len(enter(made, SHARES, on="3").channel.results[0].earlier) == 2


def test_a_further_profile_leaves_the_test_the_same(made):
    enter(made, SHARES, on="1")
    finished(made, profiles=2)
    assert len(enter(made, SHARES, on="2").channel.results) == 1


def test_other_pictures_are_another_test(made):
    first = enter(made, SHARES, on="1").result
    finished(made, pictures="b")
    again = enter(made, SHARES, on="2")
    assert len(again.channel.results) == 2
    assert again.result.earlier == ()
    kept = json.loads(again.files[0].read_text())["other_pictures"]
    assert [each["id"] for each in kept] == [first.experiment.id]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"night": 38.2, "beach": 33.1}, "sum of 71.3"),
        ({"night": 60, "beach": 42}, "sum of 102"),
        ({"night": 0.5, "beach": 0.48}, "sum of 0.98"),
        ({"nigth": 50, "beach": 50}, "did you mean night"),
        ({"space": 50, "beach": 50}, "night, beach, forest"),
        ({"night": 100}, "1 variants"),
        ({"night": 100, "beach": 0}, "above 0"),
        ({"night": 120, "beach": -20}, "above 0"),
        ({"night": float("nan"), "beach": 50}, "above 0"),
    ],
)
def test_wrong_sums_and_names_are_refused_and_nothing_is_written(made, shares, words):
    with pytest.raises(ConfigError, match=words):
        enter(made, shares, on="x")
    assert not (made / "results.json").exists()
    assert not (made.parent / "channel.json").exists()


def test_more_than_three_variants_are_no_test_of_the_platform(tmp_path):
    made = finished(tmp_path / "set", shipped=LEVELS)
    with pytest.raises(ConfigError, match="2 to 3"):
        enter(made, dict.fromkeys(LEVELS, 25), on="x")


def test_words_become_shares():
    assert parse(["night=38.2", "beach = 33,1".replace(",", "."), "a=b=28.7%"]) == {
        "night": 38.2, "beach": 33.1, "a=b": 28.7,
    }  # fmt: skip


@pytest.mark.parametrize("words", [["night"], ["=3"], ["night=much"], ["night=inf"], ["night=3", "night=4"]])
def test_words_that_are_no_shares_are_refused(words):
    with pytest.raises(ConfigError, match="accepted"):
        parse(words)


def test_a_write_that_fails_leaves_the_channel_whole_and_the_same_call_repairs_it(made, monkeypatch):
    enter(made, SHARES, on="1")
    before = (made.parent / "channel.json").read_bytes()
    replace_file = os.replace

    def fail(source, target):
        if Path(target).name == "channel.json":
            raise OSError(28, "no space")
        replace_file(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(InputError, match="no space"):
            enter(made, {"night": 50, "beach": 50}, on="2")
    assert (made.parent / "channel.json").read_bytes() == before
    assert sorted(path.name for path in made.parent.iterdir()) == [
        ".channel.json.lock", "brand.yaml", "channel.json", "set",
    ]  # fmt: skip
    enter(made, {"night": 50, "beach": 50}, on="2")
    (result,) = read_channel(made.parent).results
    assert result.shares == {"night": 0.5, "beach": 0.5}
    assert len(result.earlier) == 1


def test_two_sets_of_a_channel_entered_at_once_are_both_kept(tmp_path, monkeypatch):
    sets = [finished(tmp_path / name, pictures=name) for name in ("one", "two", "three")]
    enter(sets.pop(), SHARES, on="0")
    read = experiment.read_channel
    monkeypatch.setattr(experiment, "read_channel", lambda path: (read(path), time.sleep(0.05))[0])
    threads = [threading.Thread(target=enter, args=(each, SHARES), kwargs={"on": "1"}) for each in sets]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = {each.experiment.id for each in read(tmp_path).results}
    assert len(found) == 3
    assert found > {read_experiment(each).id for each in sets}


def test_two_calls_for_one_set_keep_what_each_entered(made, monkeypatch):
    read = experiment._read_results
    monkeypatch.setattr(experiment, "_read_results", lambda path: (read(path), time.sleep(0.05))[0])
    own = [(share, made.parent / f"channel-{share}.json") for share in (40, 60)]
    threads = [
        threading.Thread(
            target=enter, args=(made, {"night": share, "beach": 100 - share}), kwargs={"on": "1", "channel": file}
        )
        for share, file in own
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    kept = json.loads((made / "results.json").read_text())["test"]
    assert {kept["shares"]["night"], *(each["shares"]["night"] for each in kept["earlier"])} == {0.4, 0.6}


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 2}', '{"schema": 1, "kit": "Robot Bench", "tests": [{}]}'])
def test_a_broken_channel_is_refused_before_anything_is_written(made, text):
    file = made.parent / "channel.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"channel\.json"):
        enter(made, SHARES, on="x")
    assert file.read_text() == text
    assert not (made / "results.json").exists()


def test_a_channel_holds_one_kit(made, tmp_path):
    file = experiment.write_channel(tmp_path / "other.json", experiment.Channel(kit="Other"))
    with pytest.raises(InputError, match="'Other'"):
        enter(made, SHARES, on="x", channel=file)


def test_a_channel_is_no_file_of_the_set(made, tmp_path):
    (tmp_path / "link").symlink_to(made / "results.json")
    for file in (made / "results.json", made / ".." / "set" / "results.json", tmp_path / "link"):
        with pytest.raises(InputError, match=r"--channel .*: the results of the set itself, .* such as channel\.json"):
            enter(made, SHARES, on="x", channel=file)
    assert not (made / "results.json").exists()


def test_a_set_without_its_kit_above_needs_the_channels_file(made, tmp_path):
    (tmp_path / "brand.yaml").write_text("name: Other")
    with pytest.raises(InputError, match="--channel"):
        enter(made, SHARES, on="x")
    assert enter(made, SHARES, on="x", channel=tmp_path / "own.json").files[1].is_file()


def test_a_set_with_one_shipped_variant_tests_nothing(tmp_path):
    with pytest.raises(InputError, match="1 shipped"):
        read_experiment(finished(tmp_path / "set", shipped=("night",)))


def test_lookalikes_and_missing_impressions_are_said(tmp_path):
    notes = enter(finished(tmp_path / "set", v1="fail"), SHARES, on="x").notes
    assert f"{USUAL_IMPRESSIONS:,}" in notes[0]
    assert "look alike" in notes[1]


def test_impressions_below_one_are_refused(made):
    with pytest.raises(ConfigError, match="impressions"):
        enter(made, SHARES, on="x", impressions=0)
