"""The first two files of a channel: what `new` writes is read back as it is, once the files that it names are there."""

import re
from pathlib import Path

import pytest

from recast import thumbnails
from recast.errors import InputError
from recast.thumbnails.brief import Base, Brief, Variants, read_brief_and_kit
from recast.thumbnails.kit import Character, Kit, Look, LoRA, Rules
from recast.thumbnails.templates import BRAND, BRIEF, new
from tests.thumbnails import channel

ROOM = Path(str(thumbnails.__file__)).parent


def test_what_new_writes_is_read_back(tmp_path):
    paths = new(channel.files(tmp_path / "a" / "channel"))
    brief, kit = read_brief_and_kit(paths[0])
    assert brief.kit == paths[1]
    assert [each.name for each in brief.levels] == ["as it is", "afraid", "proud"]
    assert kit.characters[0].references == (paths[1].parent / "faces" / "host.jpg",)


GIVEN = {"folder", "file", "sha256"}
"""Fields that are no keys: where a document lies, and what it was."""


def test_every_key_is_explained():
    """Each field of a brief and a kit stands in the template, be it in a comment."""
    for kind, text in ((Brief, BRIEF), (Kit, BRAND)):
        names = set(kind.__dataclass_fields__) - GIVEN
        assert [name for name in names if f"{name}:" not in text] == []


def test_keys_that_nothing_reads_are_marked_as_notes():
    """A field that no line of recast takes from a brief or a kit is a note for people, and no other is."""
    files = [*ROOM.rglob("*.py"), *(ROOM.parent / "cli").glob("thumbnails*.py")]
    taken = set(re.findall(r"\.([a-z_]+)\b", "\n".join(each.read_text() for each in files)))
    for text, kinds in ((BRIEF, (Brief, Base, Variants)), (BRAND, (Kit, Character, Look, Rules, LoRA))):
        for name in {name for kind in kinds for name in kind.__dataclass_fields__} - GIVEN:
            lines = [line for line in text.splitlines() if re.match(rf"[ #-]*{name}:", line)]
            assert any("a note for people" in line for line in lines) == (name not in taken), name


@pytest.mark.parametrize("name", ["brief.yaml", "brand.yaml"])
def test_new_overwrites_nothing_and_leaves_nothing_behind(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds a {name}"):
        new(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_new_writes_both_files_or_neither(tmp_path, monkeypatch):
    from recast.thumbnails import templates

    whole = templates.write_bytes

    def failing(data: bytes, path):
        if path.name == "brief.yaml":
            raise InputError("the disk is full")
        return whole(data, path)

    monkeypatch.setattr(templates, "write_bytes", failing)
    with pytest.raises(InputError, match="the disk is full"):
        new(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"folder=.*file.*cannot be made"):
        new(tmp_path / "file" / "in")
