"""A brand kit from its file: what contradicts itself in it is refused with its line."""

import pytest

from recast.errors import InputError
from recast.thumbnails.boxes import Box
from recast.thumbnails.kit import OUR_FONTS, read_kit
from recast.thumbnails.templates import BRAND
from tests.thumbnails import channel


def kit_of(folder, *changes: tuple[str, str]):
    text = BRAND
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = channel.files(folder) / "brand.yaml"
    (folder / "half.ttf").write_bytes((OUR_FONTS.folder / "anton.ttf").read_bytes()[:9000])
    (folder / "brand.style.json").write_text("{")
    path.write_text(text)
    return read_kit(path)


def line_of(text: str) -> int:
    return BRAND[: BRAND.index(text)].count("\n") + 1


def test_a_kit_is_read_as_it_is_written(tmp_path):
    kit = kit_of(tmp_path)
    assert kit.folder == tmp_path
    assert kit.colour("primary") == "#E0242B"
    assert kit.fonts[0].file == OUR_FONTS.folder / "anton.ttf"
    assert kit.logo.width_pct == (8, 14)
    assert kit.layouts[0].text == Box(0.05, 0.1, 0.52, 0.6)
    assert kit.layouts[1].logo == "top-right"


def test_an_optional_adapter_may_be_absent(tmp_path):
    kit = kit_of(tmp_path, ("# lora: {file: host", "lora: {file: host"))
    lora = kit.characters[0].lora
    assert (lora.file, lora.weight, lora.optional) == (tmp_path / "host.safetensors", 0.8, True)
    assert not lora.file.exists()


WRONG = {
    "a role twice": (("role: accent", "role: primary"), "palette[1].role: 'primary' came twice"),
    "a layout twice": (("id: face-left", "id: face-right"), "layouts[1].id: 'face-right' came twice"),
    "a fill of no palette": (("fill: accent", "fill: acent"), "text_style.fill: 'acent' came; roles of the palette"),
    "a stroke of no palette": (
        ("{color: ink, px: 10}", "{color: blue, px: 10}"),
        "text_style.stroke.color: 'blue' came",
    ),
    "widths swapped": (("width_pct: [8, 14]", "width_pct: [14, 8]"), "logo.width_pct: [14, 8] came; [least, most]"),
    "a width of nothing": (("width_pct: [8, 14]", "width_pct: [0, 8]"), "logo.width_pct: [0, 8] came"),
    "saturation swapped": (("# saturation: [0.35, 0.65]", "saturation: [0.65, 0.35]"), "look.saturation: [0.65, 0.35]"),
    "no sub-score": (("brand_min: {}", "brand_min: {colour: 60}"), "rules.brand_min.colour: no sub-score; palette, "),
    "a character called logo": (("id: host ", "id: logo "), "characters[0].id: 'logo' came"),
    "an unknown profile": (
        ("{profiles: [youtube-portable]}", "{profiles: [youtube]}"),
        "export.profiles[0]: 'youtube'",
    ),
    "a profile twice": (("{profiles: [youtube-portable]}", "{profiles: [x, x]}"), "export.profiles[1]: 'x' came twice"),
    "no references": (("[faces/host.jpg]", "[]"), "characters[0].references: 0 came; 1 to 8 accepted"),
    "an absent logo": (("file: logo.svg", "file: other.svg"), "logo.file: 'other.svg' does not exist"),
    "a font that we do not bring": (("file: anton", "file: helvetica"), "or write anton or "),
    "a date that is none": (
        ("# consent: {by: name, date: 2026-01-10}", "consent: {by: me, date: 2026-13-10}"),
        "consent.date",
    ),
    "a day that no calendar has": (
        ("# consent: {by: name, date: 2026-01-10}", "consent: {by: me, date: 2026-02-31}"),
        "characters[0].consent.date: '2026-02-31' came, which no calendar has",
    ),
    "a font cut off": (("file: anton", "file: half.ttf"), "fonts[0].file: half.ttf: no whole font (cut off in "),
    "an instance of a static font": (
        ("file: anton,", "file: anton, instance: Black,"),
        "fonts[0].instance: anton.ttf is not variable",
    ),
    "a style that is none": (
        ("# style: brand.style.json", "style: brand.style.json"),
        "look.style: brand.style.json: cannot be used",
    ),
    "an absent adapter": (
        ("# lora: {file: host.safetensors, weight: 0.8, optional: true}", "lora: {file: host.safetensors}"),
        "characters[0].lora.file: ",
    ),
    "a folder for an optional adapter": (
        ("# lora: {file: host.safetensors,", "lora: {file: faces,"),
        "characters[0].lora.file: 'faces' is not a file",
    ),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_a_kit_that_contradicts_itself_is_refused_with_its_line(change, words, tmp_path):
    with pytest.raises(InputError) as caught:
        kit_of(tmp_path, change)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"brand.yaml line {line_of(change[0])}: ")
