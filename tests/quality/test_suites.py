"""Suites: read whole and checked, or refused with what is wrong; KontextBench's layout and its self-check."""

import json
from itertools import cycle

import numpy as np
import pytest
from PIL import Image

from recast.errors import InputError
from recast.quality import suites
from recast.quality.suites import KONTEXT_BASES, KONTEXT_BENCH, Item, Turn, kontext_faults
from tests.quality.small import small_suite, square


def test_a_suite_reads_back_as_it_was_written(tmp_path):
    suite = small_suite(tmp_path / "suite")
    assert suite.categories == ("global", "local", "chain")
    item = suite.by_key["edit-1"]
    assert np.array_equal(item.sources()[0], square((200, 30, 31)))
    assert np.array_equal(suites.pixels(item.turns[0].answer), square((30, 30, 201)))
    assert len(suite.by_key["chain-0"].turns) == 3


def test_a_changed_word_and_a_changed_pixel_are_noticed(tmp_path):
    suite = small_suite(tmp_path / "suite")
    picture = suite.by_key["edit-0"].contexts[0]
    whole = picture.read_bytes()
    Image.fromarray(square((200, 30, 99))).save(picture)
    with pytest.raises(InputError, match="its pixels are not those"):
        suites.load(suite.root)
    picture.unlink()
    with pytest.raises(InputError, match="missing"):
        suites.load(suite.root)
    picture.write_bytes(whole)
    suites.load(suite.root)
    lines = suite.root / "items.jsonl"
    lines.write_text(lines.read_text().replace("make it blue 0", "make it green"))
    with pytest.raises(InputError, match="changed since"):
        suites.load(suite.root)


def test_a_part_of_a_suite_is_taken_evenly_and_in_order(tmp_path):
    suite = small_suite(tmp_path / "suite", items=8)
    part = suite.only(limit=4)
    assert sorted(item.category for item in part.items) == ["chain", "global", "global", "local"]
    assert [item.key for item in part.items] == [item.key for item in suite.items if item in part.items]
    assert {item.category for item in suite.only(categories=["local"]).items} == {"local"}
    with pytest.raises(InputError, match="accepted: global, local, chain"):
        suite.only(categories=["lokal"])


def kontext_folder(folder, rows):
    """A folder laid out as the published set: test/metadata.jsonl and test/images/."""
    images = folder / "test" / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for number, (category, base) in enumerate(rows):
        picture = np.kron(
            np.random.default_rng(base).integers(0, 255, (9, 12, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
        )
        Image.fromarray(picture).save(images / f"{number:04d}.jpg", quality=int(rng.integers(90, 96)))
        row = {
            "file_name": f"images/{number:04d}.jpg",
            "instruction": f"do {number}",
            "category": category,
            "key": f"k{number}",
        }
        lines.append(json.dumps(row))
    (folder / "test" / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_kontext_bench_is_read_and_its_copies_of_one_base_are_found(tmp_path):
    names = list(KONTEXT_BENCH)
    folder = kontext_folder(tmp_path, [(names[n % 5], n // 3) for n in range(15)])
    suite = suites.load(folder)  # the folder above test/ will do as well
    assert suite.name == "kontext-bench"
    assert set(suite.categories) == set(names)
    assert len({item.base for item in suite.items}) == 5  # though each was compressed anew
    assert suite.items[0].turns[0].instruction == "do 0"
    assert (suite.items[0].width, suite.items[0].height) == (96, 72)
    assert any("15 pairs; the published set has 1026" in fault for fault in suite.warnings)
    assert suites.load(folder / "test").sha256 == suite.sha256


def published_items():
    """Items with exactly the published counts."""
    bases = cycle(range(KONTEXT_BASES))
    return [
        Item(
            key=f"{category}-{n}",
            category=category,
            kind=category,
            base=f"base-{next(bases)}",
            width=64,
            height=64,
            seed=0,
            contexts=(),
            turns=(Turn(instruction="do"),),
        )
        for category, count in KONTEXT_BENCH.items()
        for n in range(count)
    ]


def test_the_self_check_passes_the_published_counts_and_nothing_else():
    items = published_items()
    assert kontext_faults(items) == []
    assert any("1025 pairs" in fault for fault in kontext_faults(items[1:]))
    from dataclasses import replace

    odd = [replace(items[0], category="Text Editing"), *items[1:]]
    assert sum("Text Editing: 93" in fault or "Local: 415" in fault for fault in kontext_faults(odd)) == 2
    joined = [replace(item, base="base-0" if item.base == "base-1" else item.base) for item in items]
    assert any("107 different base pictures" in fault and "recompression" in fault for fault in kontext_faults(joined))


def test_a_folder_of_the_same_layout_needs_no_categories(tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((80, 64, 4), 90, np.uint8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "images/a.png", "instruction": "night"}\n')
    suite = suites.load(tmp_path)
    assert (suite.name, suite.warnings) == (tmp_path.name, ())
    shown = suite.items[0].sources()[0]
    assert shown.shape == (80, 64, 3)
    assert set(np.unique(shown)) == {round((90 * 90 + 255 * 165) / 255)}  # alpha of 90 over white


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"file_name": "images/none.png", "instruction": "x"}', "not there"),
        ('{"file_name": "../../etc/passwd", "instruction": "x"}', "not there"),
        ('{"instruction": "x"}', "no file_name"),
        ("[1]", "an object accepted"),
        ("{", "not JSON"),
    ],
)
def test_a_line_that_will_not_do_is_named(tmp_path, line, said):
    (tmp_path / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=said):
        suites.load(tmp_path)


def test_a_folder_that_is_no_suite_says_what_is(tmp_path):
    with pytest.raises(InputError, match=r"metadata\.jsonl"):
        suites.load(tmp_path)
