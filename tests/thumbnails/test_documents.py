"""YAML into dataclasses: what is read, and that every error names its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest

from recast.errors import InputError
from recast.pixels.image import write
from recast.thumbnails.boxes import Box
from recast.thumbnails.documents import read_document
from recast.thumbnails.marks import HEX, NAME, Between, Bundled, Like, MayBeAbsent, OneOf, PictureFile

OURS = Bundled(Path(__file__).parent / "fonts", ".ttf")


@dataclass(frozen=True, kw_only=True)
class Inner:
    name: Annotated[str, NAME]
    share: Annotated[float, Between(0, 1)] = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    title: str
    folder: Path
    count: Annotated[int, Between(1, 9)] = 1
    is_on: bool = False
    kind: Literal["high", "low"] = "low"
    word: Annotated[str, OneOf(("one", "two"))] = "one"
    date: Annotated[str, Like(r"\d{4}", "a year")] = "2000"
    colour: Annotated[str, HEX] = "#000000"
    box: Box | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    inner: Inner | None = None
    inners: Annotated[tuple[Inner, ...], Between(0, 2)] = ()
    numbers: dict[str, float] = field(default_factory=dict)
    picture: Annotated[Path, PictureFile(16)] | None = None
    font: Annotated[Path, OURS] | None = None
    spare: Annotated[Path, MayBeAbsent()] | None = None


def read(folder: Path, text: str) -> Outer:
    path = folder / "doc.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(path, Outer, schema=1, folder=folder)[0]


def test_everything_that_a_document_may_hold_is_read(tmp_path):
    write(np.zeros((16, 20, 3), np.uint8), tmp_path / "a.png")
    made = read(
        tmp_path,
        'schema: 1\ntitle: NO\ncount: 3\nis_on: yes\nkind: high\nword: two\ncolour: "#ab12cd"\nbox: [0, 10, 50, 100]\n'
        "pair: [1, -2.5e1]\ninner: {name: x}\ninners:\n  - name: y\n    share: .25\nnumbers: {a: 1}\npicture: a.png\n",
    )
    assert made == Outer(
        title="NO",  # a word of YAML 1.1's booleans is the text that it is
        folder=tmp_path,
        count=3,
        is_on=True,
        kind="high",
        word="two",
        colour="#AB12CD",
        box=Box(0, 0.1, 0.5, 1),
        pair=(1, -25),
        inner=Inner(name="x"),
        inners=(Inner(name="y", share=0.25),),
        numbers={"a": 1.0},
        picture=tmp_path / "a.png",
    )


def test_an_empty_value_is_none_where_none_is_accepted(tmp_path):
    assert read(tmp_path, "schema: 1\ntitle: x\nbox:\n").box is None


def test_a_bare_name_is_a_file_that_we_bring(tmp_path):
    name = OURS.names()[0]
    assert read(tmp_path, f"schema: 1\ntitle: x\nfont: {name}\n").font == OURS.folder / f"{name}.ttf"


def test_a_file_that_may_be_absent_is_named_all_the_same(tmp_path):
    assert read(tmp_path, "schema: 1\ntitle: x\nspare: in/none\n").spare == tmp_path / "in" / "none"


WRONG = {
    "an unknown key": ("titel: x\n", 3, "titel: unknown key; did you mean title?"),
    "an unknown key inside": ("inner: {name: x, shar: 1}\n", 3, "inner.shar: unknown key; did you mean share?"),
    "a key twice": ("count: 1\n\ncount: 2\n", 5, "count: came twice, first in line 3"),
    "a key twice inside": ("inner:\n  name: x\n  name: y\n", 5, "inner.name: came twice, first in line 4"),
    "a key that is missing": ("inners:\n  - name: x\n  - share: 1\n", 5, "inners[1]: name is missing"),
    "text for a number": ("count: many\n", 3, "count: 'many' came; a number from 1 to 9 accepted"),
    "a number in quotes": ('count: "3"\n', 3, "count: '3' came; a number"),
    "a number too large": ("count: 10\n", 3, "count: '10' came; a number from 1 to 9"),
    "not a number": ("pair: [.nan, 1]\n", 3, "pair[0]: '.nan' came; a number"),
    "a fraction": ("count: 1.5\n", 3, "count: '1.5' came; a whole number"),
    "a list for text": ("kind: [high]\n", 3, "kind: a list of 1 came; one of high, low accepted"),
    "a mapping for a list": ("inners: {name: x}\n", 3, "inners: a mapping came; a list accepted"),
    "text for a mapping": ("inner: x\n", 3, "inner: 'x' came; keys with values accepted"),
    "nothing for a number": ("count:\n", 3, "count: nothing came; a number"),
    "another word": ("kind: hihg\n", 3, "kind: 'hihg' came; high, low accepted; did you mean high?"),
    "another word of a list": ("word: tow\n", 3, "did you mean two?"),
    "no flag": ("is_on: 1\n", 3, "is_on: '1' came; true or false accepted"),
    "a colour after #": ("colour: #FFFFFF\n", 3, "colour: nothing came; a colour such as"),
    "a short colour": ('colour: "#FFF"\n', 3, "colour: '#FFF' came"),
    "a text of another form": ("date: 20261\n", 3, "date: '20261' came; a year accepted"),
    "too many": ("inners: [{name: a}, {name: b}, {name: c}]\n", 3, "inners: 3 came; 0 to 2 accepted"),
    "too few sides": ("box: [1, 2, 3]\n", 3, "box: a list of 3 came; a list of 4 accepted"),
    "sides swapped": ("box: [50, 0, 10, 100]\n", 3, "box: [50, 0, 10, 100] came"),
    "a side outside": ("box: [0, 0, 10, 101]\n", 3, "box[3]: '101' came; a number from 0 to 100"),
    "an absent file": ("picture: b.png\n", 3, "picture: 'b.png' does not exist in "),
    "a folder where a file may be absent": ("spare: .\n", 3, "spare: '.' is not a file"),
    "a name that no file can have": (f"spare: {'a' * 300}\n", 3, "does not exist"),
    "a folder": ("picture: .\n", 3, "picture: '.' is not a file"),
    "a broken picture": ("picture: broken.png\n", 3, "picture: 'broken.png': "),
    "a picture of one pixel": ("picture: dot.png\n", 3, "picture: 'dot.png' is 1x1; sides of at least 16 pixels"),
    "an absent font": ("font: nothing\n", 3, f"or write {' or '.join(OURS.names())}, which we bring"),
    "a tab": ("inner:\n\tname: x\n", 4, "a tab came; spaces accepted"),
    "no YAML": ("inner: {name: x\ncount: 1\n", 4, "no YAML: "),
    "an unsafe tag": (
        "count: !!python/object/apply:os.getpid []\n",
        3,
        "count: the tag !!python/object/apply:os.getpid",
    ),
    "a tag of one's own": ("kind: !thing high\n", 3, "kind: the tag !thing came"),
    "an anchor": ("inner: &a {name: x}\n", 3, "&a came; values written out accepted"),
    "a key that is a list": ("? [a, b]\n: 1\n", 3, "a key that is a list or mapping came"),
    "two documents": ("---\ntitle: y\n", 3, "no YAML: "),
    "a control character": ("date: \x01\n", 3, "character U+0001 came"),
}


@pytest.mark.parametrize(("text", "line", "words"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_line_and_the_value(text, line, words, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    write(np.zeros((1, 1, 3), np.uint8), tmp_path / "dot.png")
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"schema: 1\ntitle: x\n{text}")
    assert str(caught.value).startswith(f"doc.yaml line {line}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: x\n", "line 1: schema: missing; 1 accepted"),
        ("schema: 2\ntitle: x\n", "line 1: schema: '2' came; 1 accepted; take a newer recast"),
        ("schema: one\n", "line 1: schema: 'one' came; 1 accepted; write schema: 1"),
        ("", "line 1: keys with values came nowhere"),
        ("- schema\n", "line 1: keys with values came nowhere"),
        ("schema: 1\n" + "a: " + "[" * 3000, "nested too deeply"),
    ],
)
def test_a_document_without_its_head_is_refused(text, words, tmp_path):
    with pytest.raises(InputError, match=r"doc\.yaml") as caught:
        read(tmp_path, text)
    assert words in str(caught.value)


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path):
    (tmp_path / "doc.yaml").write_bytes(b"schema: 1\ntitle: \xff\n")
    with pytest.raises(InputError, match=r"doc.yaml line 2: bytes that are no UTF-8"):
        read_document(tmp_path / "doc.yaml", Outer, schema=1, folder=tmp_path)


def test_an_absent_document_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml.*cannot be read"):
        read_document(tmp_path / "nothing.yaml", Outer, schema=1)


def test_relative_paths_start_at_the_document(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    write(np.zeros((16, 16, 3), np.uint8), tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert read(tmp_path / "in", "schema: 1\ntitle: x\npicture: a.png\n").picture == tmp_path / "in" / "a.png"
