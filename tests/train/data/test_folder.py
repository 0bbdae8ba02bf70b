import json

import numpy as np
import pytest

from recast.errors import InputError
from recast.train.data.folder import FolderSource
from tests.train.data.sets import picture, png


def fill(place, files):
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return place


def test_a_list_says_what_belongs_together(tmp_path):
    rows = [
        {"source": "a.png", "target": "b.png", "instruction": "go", "caption": "done", "mask": "m.png", "kind": "k"},
        {"sources": ["a.png", "b.png"], "target": "c.png", "instruction": "join", "base": 1, "inverse": "part"},
        {"target": "c.png", "caption": "a picture"},
    ]
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[:8] = 255
    files = {f"{name}.png": png(picture(n)) for n, name in enumerate("abc")}
    source = FolderSource(
        fill(tmp_path, files | {"m.png": png(mask), "metadata.jsonl": "\n".join(map(json.dumps, rows))})
    )
    one, two, three = (source.example(n) for n in range(3))
    assert one.captions == (None, "done")
    assert one.mask.sum() == 8 * 32
    assert (two.base, two.inverse, len(two.contexts)) == (1, "part", 2)
    np.testing.assert_array_equal(two.contexts[1], picture(1))
    assert (three.contexts, three.captions) == ((), ("a picture",))
    assert source.shape(1).contexts == ((32, 32), (32, 32))


def test_folders_of_equal_stems(tmp_path):
    files = {}
    for n, stem in enumerate(("one", "two")):
        files |= {
            f"source/{stem}.png": png(picture(n)),
            f"target/{stem}.jpg": png(picture(n + 9), "JPEG"),
            f"instruction/{stem}.txt": f"do {stem}\n",
        }
    source = FolderSource(fill(tmp_path, files | {"caption/two.txt": "after"}))
    assert [source.id(n) for n in range(2)] == ["one", "two"]
    assert source.example(1).instruction == "do two"
    assert source.example(1).captions == (None, "after")
    (tmp_path / "instruction" / "two.txt").unlink()
    with pytest.raises(InputError, match=r"instruction/ differ in 1 names, as two"):
        FolderSource(tmp_path)


def test_pictures_with_their_words_beside_them(tmp_path):
    source = FolderSource(
        fill(tmp_path, {"a.png": png(picture(1)), "a.txt": "sks a bear", "b.png": png(picture(2)), "b.txt": "x"})
    )
    assert source.length == 2
    assert source.example(0).captions == ("sks a bear",)
    (tmp_path / "b.txt").unlink()
    with pytest.raises(InputError, match="as b"):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"source": "a.png", "target": "a.png", "instrction": "typo"}, "'instrction' is no field"),
        ({"source": "a.png", "instruction": "x"}, "no target"),
        ({"target": "a.png", "instruction": ["x"]}, "pair 1: instruction is .'x'.; a text"),
        ({"target": "a.png", "inverse": 5}, "pair 1: inverse is 5; a text"),
        ({"target": "a.png", "caption": False}, "pair 1: caption is False; a text"),
        ({"target": "a.png", "mask": 1}, "pair 1: mask is 1; a text"),
        ({"target": "a.png", "base": "0"}, "pair 1: base is '0'; the number of a source"),
    ],
)
def test_a_list_with_a_mistake_is_refused(tmp_path, row, message):
    fill(tmp_path, {"a.png": png(picture(1)), "metadata.jsonl": json.dumps(row)})
    with pytest.raises(InputError, match=message):
        FolderSource(tmp_path)


@pytest.mark.parametrize("words", ["one\u2028two", "one\x85two"])
@pytest.mark.parametrize(("first", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_a_list_is_read_whatever_its_words_and_its_editor(tmp_path, words, first, end):
    rows = [{"target": f"{name}.png", "caption": words, "kind": None} for name in "ab"]
    listed = first + "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
    (tmp_path / "metadata.jsonl").write_bytes(listed.encode())
    source = FolderSource(tmp_path)
    assert [source.record(n).captions for n in range(2)] == [(words,)] * 2
    assert source.record(0).kind == ""


def test_words_begin_after_the_mark_that_an_editor_has_put_there(tmp_path):
    fill(tmp_path, {"a.png": png(picture(1)), "a.txt": "\ufeffsks a bear"})
    assert FolderSource(tmp_path).record(0).captions == ("sks a bear",)


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path):
    row = {"source": "../secret.png", "target": "a.png", "instruction": "x"}
    fill(tmp_path, {"secret.png": png(picture(2)), "set/a.png": png(picture(1)), "set/metadata.jsonl": json.dumps(row)})
    with pytest.raises(InputError, match="leads out"):
        FolderSource(tmp_path / "set").example(0)


def test_a_changed_file_is_another_set(tmp_path):
    fill(tmp_path, {"a.png": png(picture(1)), "a.txt": "x"})
    before = FolderSource(tmp_path).about()
    assert FolderSource(tmp_path).about() == before
    (tmp_path / "a.txt").write_text("longer")
    assert FolderSource(tmp_path).about() != before


def test_two_ways_to_one_picture_are_two_pairs(tmp_path):
    rows = [{"source": f"{name}.png", "target": "c.png", "instruction": "go"} for name in "ab"]
    fill(tmp_path, {f"{name}.png": png(picture(n)) for n, name in enumerate("abc")})
    fill(tmp_path, {"metadata.jsonl": "\n".join(map(json.dumps, rows))})
    source = FolderSource(tmp_path)
    assert [source.id(n) for n in range(2)] == ["c", "c#2"]
    rows = [{**row, "id": "same"} for row in rows]
    fill(tmp_path, {"metadata.jsonl": "\n".join(map(json.dumps, rows))})
    with pytest.raises(InputError, match="pair 2: its id 'same' is that of pair 1"):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sources": "a.png"}, "a list of paths"),
        ({"source": None}, "a path, or in sources"),
        ({"source": "a.png", "sources": ["a.png"]}, "source and sources"),
    ],
)
def test_sources_of_another_type_are_refused(tmp_path, row, message):
    fill(tmp_path, {"metadata.jsonl": json.dumps({**row, "target": "b.png", "instruction": "go"})})
    with pytest.raises(InputError, match=message):
        FolderSource(tmp_path)
