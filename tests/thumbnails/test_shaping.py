"""Shaping: kerning, joining, order, heights of capitals, and fonts that cannot be used."""

import re

import pytest
from fontTools.ttLib import TTFont

from recast.errors import InputError
from recast.thumbnails.shaping import BUNDLED, FONTS, bundled, cased, is_rtl, runs, shape, typeface
from tests.thumbnails.faces import ANTON, ARABIC, CJK, DEVANAGARI, GEOLOGICA, HEBREW, squares


def advance(face, text, **options):
    """Where the last glyph of a line stands, in ems."""
    return shape(face, text, **options).glyphs[-1].x


def nominal(face, char):
    return face.font.get_nominal_glyph(ord(char))


def test_pairs_are_kerned_by_the_fonts_own_table():
    face = typeface(ANTON)
    table = TTFont(ANTON)["GPOS"].table
    kerned, plain = advance(face, "AV"), advance(face, "AV", features={"kern": False})
    assert kerned - plain == pytest.approx(pair_value(table, "A", "V") / face.units)
    assert kerned < plain


def pair_value(table, first, second):
    """The adjustment of a pair in the first GPOS lookup that has it."""
    for lookup in table.LookupList.Lookup:
        for sub in lookup.SubTable:
            sub = getattr(sub, "ExtSubTable", sub)
            if sub.LookupType != 2 or first not in sub.Coverage.glyphs:
                continue
            if sub.Format == 1:
                for record in sub.PairSet[sub.Coverage.glyphs.index(first)].PairValueRecord:
                    if record.SecondGlyph == second:
                        return record.Value1.XAdvance
            else:
                one, two = sub.ClassDef1.classDefs.get(first, 0), sub.ClassDef2.classDefs.get(second, 0)
                value = sub.Class1Record[one].Class2Record[two].Value1
                if value and getattr(value, "XAdvance", 0):
                    return value.XAdvance
    raise AssertionError("no such pair")


def test_greek_and_cyrillic_are_kerned_too():
    face = typeface(GEOLOGICA)
    for pair in ("ΑΥ", "ТА"):
        assert advance(face, pair) < advance(face, pair, features={"kern": False})


def test_tracking_adds_one_gap_between_letters_after_kerning():
    face = typeface(GEOLOGICA)
    plain, wide = shape(face, "AVA"), shape(face, "AVA", tracking=0.1)
    assert wide.width - plain.width == pytest.approx(0.2)
    assert [b.x - a.x for a, b in zip(plain.glyphs, wide.glyphs, strict=True)] == pytest.approx([0, 0.1, 0.2])


def test_tracking_does_not_tear_joined_scripts():
    face = typeface(ARABIC)
    assert shape(face, "سلم", tracking=0.1).width == shape(face, "سلم").width


def test_arabic_letters_join_and_run_from_the_right():
    face = typeface(ARABIC)
    line = [each.index for each in shape(face, "سلم").glyphs]
    alone = [shape(face, char).glyphs[0].index for char in "سلم"]
    assert len(line) == 3
    assert set(alone).isdisjoint(line)
    assert shape(face, "سل").glyphs[-1].index == line[-1]  # the first letter stands last, and joins as it does here


def test_hebrew_runs_from_the_right_and_its_digits_from_the_left():
    face = typeface(HEBREW)
    order = [each.index for each in shape(face, "של 33").glyphs]
    assert order == [nominal(face, c) for c in "33לש"]


def test_brackets_are_mirrored_in_a_line_from_the_right():
    face = typeface(HEBREW)
    line = shape(face, "(ש)")
    assert [each.index for each in line.glyphs] == [nominal(face, c) for c in "(ש)"]  # as they are seen, left to right


def test_runs_of_mixed_text_stand_in_visual_order():
    text = "abc שלום 12 def"
    for rtl, expected in ((False, ["abc", "12", "שלום", "def"]), (True, ["def", "12", "שלום", "abc"])):
        seen = [text[run.start : run.stop].strip() for run in runs(text, rtl)]
        assert [each for each in seen if each] == expected


def test_scripts_are_told_apart():
    assert [run.script for run in runs("aжα漢あ", rtl=False)] == ["Latn", "Cyrl", "Grek", "Hani", "Hira"]


def test_a_devanagari_vowel_sign_is_set_before_its_consonant():
    face = typeface(DEVANAGARI)
    line = shape(face, "नि")
    assert [each.index for each in line.glyphs].index(nominal(face, "न")) == 1


def test_direction_is_that_of_the_first_letter():
    assert not is_rtl("12 abc שלום")
    assert is_rtl("12 שלום abc")


def test_upper_case_follows_unicode():
    assert cased("Straße", "upper") == "STRASSE"
    assert cased("Straße", "as-is") == "Straße"


def test_capitals_are_measured_on_the_outline():
    face = typeface(ANTON)
    glyphs = TTFont(ANTON)
    height = glyphs["glyf"]["H"].yMax / glyphs["head"].unitsPerEm
    for text in ("HOUSE", "house", "100%"):
        assert shape(face, text).cap == pytest.approx(height)


def test_scripts_without_capitals_have_the_height_of_their_tallest_letters():
    lam = shape(typeface(ARABIC), "ل")
    assert shape(typeface(ARABIC), "سل").cap == pytest.approx(lam.ink[3], abs=0.02)
    world = shape(typeface(CJK), "世")
    assert world.cap == pytest.approx(world.ink[3] - world.ink[1])
    assert world.ink[1] < 0


def test_missing_characters_are_named_with_the_file():
    with pytest.raises(InputError, match=re.escape("'日' (U+65E5), '本' (U+672C)") + ".*anton.ttf"):
        shape(typeface(ANTON), "A日本B")


def test_a_glyph_that_draws_nothing_is_refused(tmp_path):
    face = typeface(squares(tmp_path / "squares.ttf"))
    assert shape(face, "H H").width == pytest.approx(1.5)
    with pytest.raises(InputError, match=r"'A' \(U\+0041\).*squares.ttf has no outline"):
        shape(face, "HA")


def test_control_characters_and_blank_titles_are_refused():
    with pytest.raises(InputError, match=r"U\+0007"):
        shape(typeface(ANTON), "A\aB")
    with pytest.raises(InputError, match="nothing in it shows"):
        shape(typeface(ANTON), "  ")


def test_a_variable_font_needs_a_named_instance(tmp_path):
    path = squares(tmp_path / "variable.ttf", variable=True)
    with pytest.raises(InputError, match=r"no named instance came.*variable.ttf.*Thin, Wide"):
        typeface(path)
    with pytest.raises(InputError, match="'Black' came"):
        typeface(path, instance="Black")
    widths = [shape(typeface(path, instance=name), "H").width for name in ("Thin", "Wide")]
    assert widths == pytest.approx([0.5, 0.7])


def test_a_static_font_has_no_instances():
    with pytest.raises(InputError, match=r"anton\.ttf is not variable"):
        typeface(ANTON, instance="Black")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: b"not a font at all", "no whole font"),
        (lambda data: b"", "no whole font"),
        (lambda data: b"wOF2" + data[4:], "WOFF2"),
        (lambda data: b"ttcf" + data[4:], "collection"),
        (lambda data: data.replace(b"glyf", b"zzzz"), "no outlines"),
        (lambda data: data.replace(b"cmap", b"zzzz"), "cmap"),
    ],
)
def test_a_broken_font_is_one_error_that_names_the_file(tmp_path, change, why):
    path = tmp_path / "broken.ttf"
    path.write_bytes(change(ANTON.read_bytes()))
    with pytest.raises(InputError, match=f"broken.ttf.*{why}"):
        typeface(path)


def test_a_font_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.ttf: cannot be read"):
        typeface(tmp_path / "nowhere.ttf")


def test_a_font_that_changes_on_disk_is_read_again(tmp_path):
    path = tmp_path / "face.ttf"
    path.write_bytes(ANTON.read_bytes())
    before = shape(typeface(path), "H").width
    path.write_bytes(GEOLOGICA.read_bytes())
    assert shape(typeface(path), "H").width != before


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_faces_write_what_they_promise(name):
    face = TTFont(bundled(name))
    needed = "AZaz09äßéñÇœŁőŽžșț€–—’“„…!?&%" + ("АЯаяЁёЇїҐґΑΩαωάΏ" if name == "geologica" else "")
    assert [c for c in needed if ord(c) not in face.getBestCmap()] == []
    assert "OPEN FONT LICENSE" in (FONTS / f"{name}.LICENSE.txt").read_text()


def test_bundled_faces_are_small():
    assert {path.stem for path in FONTS.glob("*.ttf")} == set(BUNDLED)
    assert sum(path.stat().st_size for path in FONTS.iterdir()) <= 160_000
    with pytest.raises(InputError, match="anton, geologica accepted"):
        bundled("comic")
