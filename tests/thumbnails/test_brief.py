"""A brief from its file: contradictions, and names that its kit has not, are refused with their line."""

import hashlib

import numpy as np
import pytest

from recast.errors import InputError
from recast.pixels.image import write
from recast.thumbnails.brief import read_brief, read_brief_and_kit
from recast.thumbnails.templates import BRAND, BRIEF
from tests.thumbnails import channel

LEVELS = BRIEF[BRIEF.index("    - name: as it is") : BRIEF.index("  seeds_per_level")]


def written(folder, changes, brand=()):
    texts = []
    for text, pairs in ((BRIEF, changes), (BRAND, brand)):
        for old, new in pairs:
            assert text.count(old) >= 1, old
            text = text.replace(old, new, 1)
        texts.append(text)
    channel.files(folder)
    (folder / "brief.yaml").write_text(texts[0])
    (folder / "brand.yaml").write_text(texts[1])
    return folder / "brief.yaml"


def line_of(text: str) -> int:
    return BRIEF[: BRIEF.index(text)].count("\n") + 1


def test_a_text_factor_has_its_own_text_as_one_level(tmp_path):
    """A level without a text is the brief's own title; with the same text it would be made twice."""
    levels = (LEVELS, "    - name: own\n    - {name: new, text: I QUIT}\n")
    changes = [("factor: expression", "factor: text"), levels, ("ship: 3", "ship: 2")]
    brief = read_brief(written(tmp_path, changes))
    assert [each.text for each in brief.levels] == [None, "I QUIT"]
    again = [changes[0], (LEVELS, levels[1].replace("I QUIT", "40 DAYS")), changes[2]]
    with pytest.raises(InputError, match=r"levels\[1\]\.text: text '40 DAYS' came, which is what levels\[0\] has"):
        read_brief(written(tmp_path, again))


LONG = " ".join(["word"] * 40)
WRONG = {
    "40 words": ([('"40 DAYS"', f'"{LONG}"')], 6, "text: 40 words, 199 characters came; at most 12 words"),
    "40 words of a level": (
        [
            ("factor: expression", "factor: text"),
            (LEVELS, f"    - {{name: a, text: {LONG}}}\n"),
            ("ship: 3", "ship: 1"),
        ],
        line_of(LEVELS),
        "variants.levels[0].text: 40 words",
    ),
    "frame and prompt": (
        [("# prompt: a beach", "prompt: a beach")],
        line_of("# prompt: a"),
        "base.prompt: comes beside",
    ),
    "neither": (
        [("  frame: frame.jpg", "  # frame: frame.jpg")],
        line_of("base:"),
        "base: neither frame nor prompt came",
    ),
    "an edit of no frame": (
        [("  frame: frame.jpg", "  edit: a"), ("# prompt: a beach", "prompt: a beach")],
        line_of("  frame: frame.jpg"),
        "base.edit: comes without base.frame",
    ),
    "text without texts": (
        [("factor: expression", "factor: text")],
        line_of(LEVELS) + 1,
        "levels[1].edit: comes beside factor: text",
    ),
    "background without edits": (
        [
            ("factor: expression", "factor: background"),
            (LEVELS, "    - name: a\n    - name: b\n"),
            ("ship: 3", "ship: 2"),
        ],
        line_of(LEVELS) + 1,
        "levels[1]: no edit came, which is what levels[0] has",
    ),
    "two factors": (
        [("{name: afraid, edit", "{name: afraid, text: Help, edit")],
        line_of("{name: afraid"),
        "levels[1].text: comes beside factor: expression",
    ),
    "a name twice": (
        [("name: proud", "name: Afraid")],
        line_of("{name: proud"),
        "levels[2].name: 'Afraid' came, as in levels[1]",
    ),
    "an edit twice": (
        [("make @host look proud", "make @host look afraid")],
        line_of("{name: proud"),
        "levels[2].edit: edit 'make @host look afraid' came",
    ),
    "more to ship than levels": ([("ship: 3", "ship: 4")], line_of("  ship: 3"), "variants.ship: 4 came, of 3 levels"),
    "scene text that varies": (
        [
            ("# text_in_scene: true", "text_in_scene: true"),
            ("factor: expression", "factor: text"),
            (LEVELS, "    - {name: a, text: Go}\n"),
            ("ship: 3", "ship: 1"),
        ],
        line_of("# text_in_scene"),
        "text_in_scene: true came beside variants.factor: text",
    ),
    "scene text of nothing": (
        [("# text_in_scene: true", "text_in_scene: true"), ('"40 DAYS"', '""')],
        line_of("# text_in_scene"),
        "beside an empty text",
    ),
    "a character twice": (
        [("characters: [host]", "characters: [host, host]")],
        line_of("characters: [host]"),
        "characters[1]: 'host' came twice",
    ),
    "boxes inside out": (
        [("# keep_boxes: [[60, 10, 95, 60]]", "keep_boxes: [[60, 70, 95, 60]]")],
        line_of("# keep_boxes"),
        "base.keep_boxes[0]: [60, 70, 95, 60] came",
    ),
    "four hooks": (
        [("[the last match, the storm]", "[a, b, c, d]")],
        line_of("hooks:"),
        "hooks: 4 came; 0 to 3 accepted",
    ),
    "an unknown character": (
        [("characters: [host]", "characters: [hots]")],
        line_of("characters: [host]"),
        "characters[0]: 'hots' came; characters there are: host; did you mean host?",
    ),
    "an unknown layout": (
        [("layout: face-right", "layout: right")],
        line_of("layout: face-right"),
        "layout: 'right' came; layouts there are: face-right, face-left",
    ),
    "an unknown layout of a level": (
        [
            ("factor: expression", "factor: layout"),
            (LEVELS, "    - {name: a, layout: face-lef}\n"),
            ("ship: 3", "ship: 1"),
        ],
        line_of(LEVELS),
        "variants.levels[0].layout: 'face-lef' came; layouts there are: face-right, face-left; did you",
    ),
    "an unknown colour of a level": (
        [("factor: expression", "factor: colour"), (LEVELS, "    - {name: a, colour: gold}\n"), ("ship: 3", "ship: 1")],
        line_of(LEVELS),
        "variants.levels[0].colour: 'gold' came; roles of the palette there are: primary",
    ),
    "an unknown picture": (
        [("make @host look proud", "make @hots look proud")],
        line_of("{name: proud"),
        "levels[2].edit: '@hots' came; pictures there are: @host, @logo; did you mean @host?",
    ),
    "an unknown profile": (
        [("# profiles: [youtube-portable]", "profiles: [tv]")],
        line_of("# profiles"),
        "profiles[0]: 'tv' came; youtube-portable, ",
    ),
    "a picture called logo": (
        [("# images: ", "images: {logo: frame.jpg} # ")],
        line_of("# images:"),
        "images.logo: 'logo' came",
    ),
    "a picture called as a person": (
        [("# images: ", "images: {host: frame.jpg} # ")],
        line_of("# images:"),
        "images.host: a character of brand.yaml is called so",
    ),
    "an absent kit": ([("kit: brand.yaml", "kit: other.yaml")], line_of("kit:"), "kit: 'other.yaml' does not exist"),
    "a name that a second seed of another has": (
        [("name: proud", "name: Afraid-2"), ("seeds_per_level: 1", "seeds_per_level: 2")],
        line_of("{name: proud"),
        "levels[2].name: 'Afraid-2' came beside 'afraid' of levels[1]; with 2 seeds each, two variants are called",
    ),
    "a name whose third seed another has": (
        [("name: afraid", "name: proud-3"), ("seeds_per_level: 1", "seeds_per_level: 3")],
        line_of("{name: proud"),
        "levels[2].name: 'proud' came beside 'proud-3' of levels[1]; with 3 seeds each, two variants are",
    ),
    "seeds of what is set over one picture": (
        [
            ("factor: expression", "factor: colour"),
            (LEVELS, "    - {name: a, colour: ink}\n"),
            ("ship: 3", "ship: 1"),
            ("seeds_per_level: 1", "seeds_per_level: 2"),
        ],
        line_of("  seeds_per_level") - 2,
        "variants.seeds_per_level: 2 came beside factor: colour, and no level has an edit",
    ),
    "seeds of the base alone": (
        [(LEVELS, "    - name: a\n"), ("ship: 3", "ship: 1"), ("seeds_per_level: 1", "seeds_per_level: 2")],
        line_of("  seeds_per_level") - 2,
        "variants.seeds_per_level: 2 came beside factor: expression, and no level has an edit",
    ),
    "more variants than anybody looks at": (
        [("seeds_per_level: 1", "seeds_per_level: 67")],
        line_of("  seeds_per_level"),
        "67 came, which with 3 levels are 201 variants; at most 200 accepted; write at most 66",
    ),
    "a title of blanks": ([('"40 DAYS"', '"   "')], 6, "text: '   ' came, in which nothing shows"),
    "a level's title of blanks": (
        [("factor: expression", "factor: text"), (LEVELS, '    - {name: a, text: " "}\n'), ("ship: 3", "ship: 1")],
        line_of(LEVELS),
        "variants.levels[0].text: ' ' came, in which nothing shows",
    ),
    "a licence of no picture": (
        [("# licenses: {frame: own work, product", "licenses: {frame: own work, product")],
        line_of("# licenses"),
        "licenses.product: no picture of this brief; frame accepted",
    ),
    "a name that is no file's": (
        [("name: afraid", "name: a/b")],
        line_of("{name: afraid"),
        "levels[1].name: 'a/b' came",
    ),
}


@pytest.mark.parametrize(("changes", "line", "words"), WRONG.values(), ids=WRONG)
def test_a_brief_that_cannot_be_is_refused_with_its_line(changes, line, words, tmp_path):
    with pytest.raises(InputError) as caught:
        read_brief_and_kit(written(tmp_path, changes))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"brief.yaml line {line}: ")


def test_as_many_variants_as_a_set_may_have_and_a_title_of_nothing(tmp_path):
    brief = read_brief(written(tmp_path, [("seeds_per_level: 1", "seeds_per_level: 66"), ('"40 DAYS"', '""')]))
    assert (brief.variants.seeds_per_level, brief.text) == (66, "")


MASKS = {
    "of another size": (np.eye(72, 127), "cut.png: 127x72 came; 128x72 accepted, the size of the base"),
    "all black": (np.zeros((72, 128)), "cut.png: black everywhere: nothing is kept"),
    "all white": (np.ones((72, 128)), "cut.png: white everywhere: nothing may change"),
}


@pytest.mark.parametrize(("white", "words"), MASKS.values(), ids=MASKS)
def test_a_cut_out_that_cannot_be_is_refused_with_its_line(white, words, tmp_path):
    write(np.dstack([white * 255] * 3).astype(np.uint8), tmp_path / "cut.png")
    with pytest.raises(InputError) as caught:
        read_brief(written(tmp_path, [("# keep_mask: cutout.png", "keep_mask: cut.png")]))
    assert str(caught.value).startswith(f"brief.yaml line {line_of('# keep_mask')}: base.keep_mask: {words}")


PROMPTED = [("  frame: frame.jpg", "  # frame: frame.jpg"), ("# prompt: a beach", "prompt: a beach")]
MASKED = ("# keep_mask: cutout.png", "keep_mask: cut.png")


@pytest.mark.parametrize(("changes", "size"), [([], (72, 128)), (PROMPTED, (720, 1280))], ids=["frame", "prompt"])
def test_a_cut_out_as_large_as_the_base_is_taken(changes, size, tmp_path):
    write(np.dstack([np.eye(*size, dtype=np.uint8) * 255] * 3), tmp_path / "cut.png")
    assert read_brief(written(tmp_path, [MASKED, *changes])).base.keep_mask == tmp_path / "cut.png"


BESIDE_WORDS = {
    "of another size": (np.eye(72, 128), "cut.png: 128x72 came; 1280x720 accepted, the size of the base"),
    "all black": (np.zeros((720, 1280)), "cut.png: black everywhere: nothing is kept"),
    "no picture": (None, "'cut.png'"),
}


@pytest.mark.parametrize(("white", "words"), BESIDE_WORDS.values(), ids=BESIDE_WORDS)
def test_a_cut_out_beside_a_prompt_is_looked_at_when_the_brief_is_read(white, words, tmp_path):
    """Before a model is loaded, and long before the base that it belongs to is there."""
    if white is None:
        (tmp_path / "cut.png").write_text("no picture")
    else:
        write(np.dstack([white * 255] * 3).astype(np.uint8), tmp_path / "cut.png")
    with pytest.raises(InputError) as caught:
        read_brief(written(tmp_path, [MASKED, *PROMPTED]))
    assert str(caught.value).startswith(f"brief.yaml line {line_of('# keep_mask')}: base.keep_mask: {words}")


def test_a_drawing_is_no_frame_and_no_cut_out(tmp_path):
    """Outlines have no pixels: only logos and pictures that instructions call may be SVG."""
    for old, key in (("frame: frame.jpg", "frame"), ("# keep_mask: cutout.png", "keep_mask")):
        with pytest.raises(InputError, match=rf"base\.{key}: 'logo\.svg': no picture"):
            read_brief(written(tmp_path, [(old, f"{key}: logo.svg")]))
    named = [("# images:", "images:"), ("#   product: knife.png", "  product: logo.svg")]
    assert read_brief(written(tmp_path, named)).images["product"].suffix == ".svg"


def test_a_logo_that_the_kit_has_not_is_refused(tmp_path):
    brand = [("logo: {file", "# logo: {file")]
    path = written(tmp_path, [("make @host look proud", "put @logo on the shirt")], brand)
    with pytest.raises(InputError, match=r"levels\[2\]\.edit: '@logo' came; pictures there are: @host; "):
        read_brief_and_kit(path)
    assert read_brief(path).levels[2].edit == "put @logo on the shirt"  # alone it is a brief


def test_a_brief_knows_its_file_and_what_its_pictures_may_be_used_for(tmp_path):
    path = written(tmp_path, [("# licenses: {frame: own work, product: CC-BY-4.0}", "licenses: {frame: own work}")])
    brief, kit = read_brief_and_kit(path)
    assert dict(brief.licenses) == {"frame": "own work"}
    hashes = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (path, brief.kit)]
    assert (brief.file, [brief.sha256, kit.sha256]) == (path, hashes)


def test_an_address_is_no_mention(tmp_path):
    path = written(tmp_path, [("make @host look proud", "write me@home.org on the wall")])
    assert "@home" in read_brief_and_kit(path)[0].levels[2].edit
