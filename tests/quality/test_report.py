"""The report page: the same numbers in three forms, safe, complete without scripts, and sound in a real browser."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.cli import report as command
from recast.cli.main import parser_of
from recast.errors import InputError
from recast.pixels import image
from recast.quality import report, table
from recast.quality import run as running
from recast.quality.page import charts, part, pictures, sections, tables, words
from recast.quality.store import Score, Store
from tests.quality import browser, example_results
from tests.quality.small import Answers, small_suite


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("run")
    return example_results.make(folder, items=15, side=48), folder


@pytest.fixture(scope="module")
def page(run: tuple[dict[str, Any], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    report.write(run[0], out, pictures=run[1])
    return out


class Tables(HTMLParser):
    """Every table of a page as rows of (value to sort by or None, text), and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[tuple[str | None, str]]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._rows: list[list[tuple[str | None, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "table":
            self._rows = self.tables[found["id"] or ""] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append((found.get("data-value"), ""))
        elif tag == "small" and self._rows and self._rows[-1]:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        if self._rows and self._rows[-1]:
            value, text = self._rows[-1][-1]
            self._rows[-1][-1] = (value, text + data)


def block(text: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_page_json_and_csv_hold_the_same_numbers(run: tuple[dict[str, Any], Path], page: Path) -> None:
    results = run[0]
    assert json.loads(page.with_suffix(".json").read_text()) == results
    rows = list(csv.DictReader(io.StringIO(page.with_suffix(".csv").read_text())))
    assert len(rows) == len(results["cells"])
    values = {(row["system"], row["category"], row["column"]): row["value"] for row in rows}
    assert {float(v) for v in values.values() if v} == {c["value"] for c in results["cells"] if c["value"] is not None}
    shown = Tables(page.read_text()).tables
    columns = [column["id"] for column in results["columns"]]
    for row in shown["main"][1:]:
        slug = row[0][1].split()[0]
        assert [value or "" for value, _ in row[1 : 1 + len(columns)]] == [values[slug, "all", c] for c in columns]
    for row in shown["by-precision"][1:]:
        slug = row[0][1].split()[0]
        assert [value for value, _ in row[1:-1]] == [values[slug, c, "precision"] for c in example_results.CATEGORIES]


def test_a_cell_says_value_interval_and_what_limits_it(page: Path) -> None:
    row = next(row for row in Tables(page.read_text()).tables["main"] if row[0][1].startswith("nano"))
    assert row[1][1].split() == ["48.0", "[44.0,", "52.0]"]
    assert "measured 86\u00a0%" in row[2][1]
    assert [text for _, text in row[-2:]] == ["15", "2"]


def test_the_same_input_gives_the_same_bytes(run: tuple[dict[str, Any], Path], page: Path, tmp_path: Path) -> None:
    written = report.write(copy.deepcopy(run[0]), tmp_path / "report.html", pictures=run[1])
    assert [path.suffix for path in written] == [".json", ".csv", ".html"]
    for path in written:
        assert path.read_bytes() == page.with_suffix(path.suffix).read_bytes()


def test_text_from_outside_stays_text(run: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    results = json.loads(json.dumps(run[0]).replace('"make the hat red"', json.dumps(evil)))
    results["suite"]["title"] = results["systems"][4]["name"] = results["command"] = evil
    results["warnings"] = results["suite"]["categories"] = [evil]
    results["systems"][4]["describe"] = {evil: {evil: [evil]}}
    results["items"][1]["systems"]["nano"]["reason"] = results["items"][0]["category"] = evil
    report.write(results, tmp_path / "report.html", pictures=run[1])
    text = (tmp_path / "report.html").read_text()
    parsed = Tables(text)
    scripts = [attributes for tag, attributes in parsed.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "items"}, {"type": "application/json", "id": "pictures"}, {}]
    assert not [a for _, attributes in parsed.tags for a in attributes if a.startswith("on")]
    assert block(text, "items")["items"][0]["instruction"] == evil
    assert not [attributes for tag, attributes in parsed.tags if tag == "img" and attributes.get("src") == "x"]


def test_the_policy_lets_our_script_run_and_no_other(page: Path) -> None:
    import base64
    import hashlib

    text = page.read_text()
    script = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] or "" for tag, a in Tables(text).tags if a.get("http-equiv"))
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy


def test_nothing_points_away_from_the_page(page: Path) -> None:
    for tag, attributes in Tables(page.read_text()).tags:
        for name in ("src", "href", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), tag
    assert "url(" not in part("report.css")
    assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(", part("report.js"))


def test_tables_and_drawings_speak_to_those_who_cannot_see_them(page: Path) -> None:
    tags = Tables(page.read_text()).tags
    assert {a.get("scope") for tag, a in tags if tag == "th"} == {"col", "row"}
    assert all(a.get("aria-sort") == "none" for tag, a in tags if tag == "th" and a["scope"] == "col")
    assert all(a.get("alt") for tag, a in tags if tag == "img" and "id" not in a)
    drawings = [a for tag, a in tags if tag == "svg" and a.get("role") == "img"]
    assert len(drawings) == 3 + 7 + 5  # radars, curves, and those of speed
    identifiers = [a["id"] for _, a in tags if a.get("id")]
    assert len(identifiers) == len(set(identifiers))
    for drawing in drawings:
        assert set((drawing["aria-labelledby"] or "").split()) <= set(identifiers)


def test_bold_is_who_is_surely_best(run: tuple[dict[str, Any], Path]) -> None:
    results, _ = run
    columns = {column["id"]: column for column in results["columns"]}
    assert tables.best(results, columns["consistency"]) == "kontext-dev"  # 4 points ahead, interval ± 3.5
    assert tables.best(results, columns["instruction"]) is None  # 2 points ahead
    assert tables.is_ahead(results, columns["instruction"]) is False
    assert tables.is_ahead(results, columns["seconds"]) is None  # nobody compared
    assert tables.ranking(results, columns["seconds"])[0][0] == "nano"  # lower is better


def test_a_difference_without_an_interval_is_a_dash_and_not_sure(run: tuple[dict[str, Any], Path]) -> None:
    results = copy.deepcopy(run[0])
    column = next(column for column in results["columns"] if column["id"] == "consistency")
    assert tables.is_ahead(results, column) is True
    for one in results["differences"]:
        one["low"] = one["high"] = None
    assert tables.is_ahead(results, column) is False
    assert tables.best(results, column) is None
    rows = Tables(tables.differences(results)).tables["differences"][1:]
    assert rows
    assert {row[3] for row in rows} == {(None, "–")}
    assert rows[0][2][1] == "−26.0 pp"


def test_two_systems_and_a_category_of_one_base_have_a_page(tmp_path: Path) -> None:
    suite = small_suite(tmp_path / "suite", items=3, chain=0)
    for name, value in (("good", 1.0), ("poor", 0.0)):
        store = Store(tmp_path / name)
        store.begin(running.about(suite, f"recast evaluate small --model {name}"))
        for step in running.make(suite, Answers(suite, name=name), store):
            if step.result.item != "edit-0":  # what is left: one base in each category
                unit = {"item": step.result.item, "turn": 0, "sha256": step.result.sha256}
                store.add(name, Score(metric="instruction", value=value, check="test", **unit))
    results, places = table.results([tmp_path / "good", tmp_path / "poor"], resamples=50)
    assert [one["low"] for one in results["differences"]] == [None]
    report.write(results, tmp_path / "report.html", pictures=places)
    text = (tmp_path / "report.html").read_text()
    assert "+100.0 pp" in text
    assert "not surely ahead of poor (0.0)" in text


def test_a_system_says_by_which_command_and_when_it_was_measured_where_that_is_known(
    run: tuple[dict[str, Any], Path],
) -> None:
    results = copy.deepcopy(run[0])
    own = {"command": "recast evaluate x --model <nano>", "versions": {"torch": "1.2"}, "created": "2026-02-03T04:05Z"}
    results["systems"][4] |= own
    cards = sections.methods(results, [], "").split("<article")
    told = [card for card in cards if "<dt>command</dt>" in card]
    assert len(told) == 1
    assert ">nano</h3>" in told[0]
    for text in ("recast evaluate x --model &lt;nano&gt;", "torch 1.2", "2026-02-03T04:05Z"):
        assert f"<dd>{text}</dd>" in told[0]


def test_failures_are_counted_and_reasoned_and_the_never_asked_are_not(run: tuple[dict[str, Any], Path]) -> None:
    results = copy.deepcopy(run[0])
    results["items"][7]["systems"]["nano"]["status"] = "missing"
    counted, listed = tables.failures(results)
    rows = Tables(counted).tables["failure-counts"]
    assert [text for _, text in rows[1]] == ["nano", "0", "1", "1", "2"]
    assert [text for _, text in rows[2]] == ["kontext-dev", "1", "0", "0", "1"]
    assert "refused by a policy: &lt;script&gt;" in listed
    assert "no answer within 120 s" in listed


def test_a_page_beyond_the_limit_keeps_its_pictures_beside_it(run: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    results = example_results.make(folder, items=6, side=264)
    results |= {"items": results["items"][:1], "chains": []}
    small, whole = 300_000, 60_000_000
    sizes = {}
    for limit in (0, small, whole):
        out = tmp_path / f"{limit}.html"
        files = report.write(results, out, pictures=folder, limit_bytes=limit)[3:]
        stored = block(out.read_text(), "pictures")
        assert {out.parent / uri for one in stored.values() for uri in one[:2] if uri and "data:" not in uri} == set(
            files
        )
        assert all(path.is_file() for path in files)
        sizes[limit] = sum("data:" in one[0] for one in stored.values()), sum(bool(one[1]) for one in stored.values())
        assert all(one[2:] == [264, 264] for name, one in stored.items() if name.startswith("p"))
        said = {0: "All pictures lie", small: "Small pictures are in this page", whole: "All pictures are in this page"}
        assert said[limit] in out.read_text()
    assert sizes[0][0] == 0 < sizes[small][0] == sizes[whole][0]
    assert sizes[0][1] == sizes[small][1] == sizes[whole][1] > 0
    whole_picture = next(path for path in (tmp_path / "0-files").glob("p*.png") if "small" not in path.name)
    assert image.read(whole_picture).width == 264


def test_a_picture_that_is_gone_is_a_warning_on_the_page(run: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    results = copy.deepcopy(run[0])
    results["items"][0]["systems"]["nano"]["picture"] = "img/nano/gone.png"
    (tmp_path / "cut.png").write_bytes((run[1] / "img/nano/0003.png").read_bytes()[:60])
    results["items"][3]["answer"] = "cut.png"
    places = {path.relative_to(run[1]).as_posix(): path for path in run[1].rglob("*.png")}
    report.write(results, tmp_path / "report.html", pictures={**places, "cut.png": tmp_path / "cut.png"})
    text = (tmp_path / "report.html").read_text()
    assert "2 of the pictures that the results name cannot be read" in text
    shown = block(text, "items")["items"]
    assert (shown[0]["systems"]["nano"]["picture"], shown[3]["answer"]) == (None, None)


def test_what_cannot_be_shown_is_refused_before_anything_is_written(
    run: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    results, folder = run
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({**results, "schema": 2}, "r.html", "schema 2 came"),
        ({k: v for k, v in results.items() if k != "items"}, "r.html", "items missing"),
        ({**results, "columns": results["columns"][1:]}, "r.html", "column 'instruction' came"),
        ({**results, "systems": results["systems"][:6]}, "r.html", "system 'a-hosted"),
        (results, "r.txt", "ends in .html"),
        (results, "gone/r.html", "existing folder"),
    ]
    for came, name, message in cases:
        with pytest.raises(InputError, match=message):
            report.write(came, tmp_path / name, pictures=folder)
    way_out = copy.deepcopy(results)
    way_out["items"][0]["answer"] = "../secret.png"
    with pytest.raises(InputError, match="leads out of the run folder"):
        report.write(way_out, tmp_path / "r.html", pictures=folder)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_chains_speed_or_answers_has_a_page_too(run: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    bare = {**run[0], "chains": [], "latency": [], "items": [], "differences": [], "warnings": []}
    report.write(bare, tmp_path / "report.html", pictures=run[1])
    names = {a.get("id") for tag, a in Tables((tmp_path / "report.html").read_text()).tags if tag == "section"}
    assert names == {"scores", "categories", "pictures-side-by-side", "failures", "measures", "methods"}


def test_each_pixel_gets_its_verdict() -> None:
    source = np.full((64, 64, 3), 128, np.uint8)
    answer, output = source.copy(), source.copy()
    answer[8:56, 8:24] = answer[8:56, 40:56] = (200, 40, 40)
    output[8:30, 8:24] = (200, 40, 40)  # done
    output[8:56, 40:56] = (40, 40, 200)  # changed to something else
    output[60:64] = 255  # never asked for
    marks = pictures.verdicts(source, output, answer)
    assert marks[16, 16] == 1
    assert marks[44, 16] == 2
    assert marks[62, 30] == 3
    assert marks[30, 48] == 4
    assert marks[30, 32] == 0
    assert not pictures.verdicts(source, source, source).any()
    assert pictures.heat(source, output)[62, 30] == 4
    assert pictures.heat(source, output)[30, 32] == 0


def test_colours_of_the_overlay_are_those_of_its_key() -> None:
    css = part("report.css")
    for name, colour in zip(("right", "missed", "damaged", "wrong"), pictures.COLOURS, strict=True):
        assert f"--{name}: rgb({' '.join(map(str, colour))});" in css
    for name, colour in zip(("h1", "h4"), (pictures.HEAT_COLOURS[0], pictures.HEAT_COLOURS[-1]), strict=True):
        assert f".{name} {{ --k: rgb({' '.join(map(str, colour))}); }}" in css


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("page_name", ["report", "arena"])
def test_text_and_lines_stand_out_from_what_is_behind_them(page_name: str, scheme: int) -> None:
    """WCAG 2.2: text 4.5 to 1 (1.4.3), marks of drawings 3 to 1 (1.4.11)."""
    pattern = r"--([\w-]+): light-dark\((#\w+), (#\w+)\);"
    colours = {name: pair[scheme] for name, *pair in re.findall(pattern, part(f"{page_name}.css"))}
    for behind in ("paper", "card", "sunk", "warn"):
        if behind in colours:
            for text in ("ink", "soft", "accent"):
                assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    for name in colours:
        if re.fullmatch(r"s\d|grey", name):
            assert contrast(colours[name], colours["paper"]) >= 3, name


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours #rrggbb. Source: WCAG 2.2, relative luminance."""
    light = []
    for colour in (a, b):
        levels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_numbers_read_as_they_should() -> None:
    assert [words.number(x, "%") for x in (0.0, 0.7123, 1.0, None)] == ["0.0", "71.2", "100.0", "–"]
    assert [words.number(x, "s") for x in (0.0421, 4.3, 14.74, 1234.6)] == ["0.0421", "4.30", "14.7", "1235"]
    assert [words.signed(x, "%") for x in (0.02, -0.02, 0.0001)] == ["+2.0", "−2.0", "0.0"]
    assert words.probability(0.0004) == "< 0.001"


def test_a_curve_and_its_band_stop_where_a_value_is_unknown() -> None:
    values = [0.9, 0.8, None, 0.6, 0.5]
    low = [None if v is None else v - 0.1 for v in values]
    series = charts.Series(0, "a", values, low, values)
    drawing = charts.lines("x", "A curve", charts.turns(5), charts.share(""), [series])
    path = re.search(r'class="line" d="([^"]+)"', drawing)
    assert path is not None
    assert path[1].count("M") == 2
    assert drawing.count('class="band"') == 2
    assert "90.0, 80.0, –, 60.0, 50.0" in drawing


def test_ticks_of_an_axis_are_round_and_within_it() -> None:
    assert charts.turns(8).ticks()[0] == 1
    for length in (2, 5, 6, 8, 10, 30):
        ticks = charts.turns(length).ticks()
        assert ticks[-1] == length
        assert ticks == sorted(set(ticks))
    x = charts.around("s", [0.7, 22.0], is_log=True)
    assert (x.low, x.high) == (0.5, 50.0)
    assert x.ticks() == [0.5, 1, 2, 5, 10, 20, 50]
    assert charts.around("e", [-0.3, 0.1]).ticks()[0] <= -0.3


def test_a_half_life_is_a_turn_or_beyond_the_last_or_unknown(run: tuple[dict[str, Any], Path]) -> None:
    chains = copy.deepcopy(run[0]["chains"])
    chains[0]["curves"].pop("quality")
    rows = Tables(tables.half_lives({**run[0], "chains": chains})).tables["half-lives"][1:]
    assert [row[-1][1] for row in rows] == ["–", "> 8", "4", "> 8"]


def test_the_command_writes_the_page_and_names_it(
    run: tuple[dict[str, Any], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results, folder = run
    places = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.png")}
    asked: list[Any] = []
    monkeypatch.setattr(table, "results", lambda runs, suite: asked.append((runs, suite)) or (results, places))
    out = tmp_path / "report.html"
    assert command.run(parser_of("report").parse_args(["a", "b", "--out", str(out)])) == 0
    assert asked == [([Path("a"), Path("b")], None)]
    assert capsys.readouterr().out.split() == [str(out.with_suffix(end)) for end in (".json", ".csv", ".html")]
    assert command.run(parser_of("report").parse_args(["a", "--out", str(out), "--json", "--limit-mb", "0"])) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["warnings"] == results["warnings"]
    assert [path for path in said["files"] if "report-files" in path]
    suite = small_suite(tmp_path / "moved")
    command.run(parser_of("report").parse_args(["a", "--out", str(out), "--suite", str(suite.root)]))
    assert asked[-1] == ([Path("a")], suite)


# What follows needs a browser.


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser.chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def opened(driver: Any, page: Path) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.resize(driver, 1280, 900)
    browser.scheme(driver, is_dark=False)
    browser.requests(driver)
    driver.get(page.as_uri())
    WebDriverWait(driver, 10, poll_frequency=0.02).until(lambda d: all_of(d, ".item"))  # a busy browser takes its time
    return driver


def all_of(driver: Any, selector: str) -> list[Any]:
    found: list[Any] = driver.find_elements("css selector", selector)
    return found


def press(driver: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def test_the_page_opens_without_complaint_and_asks_for_nothing(opened: Any, page: Path) -> None:
    assert len(all_of(opened, ".item")) > 0
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.complaints(opened) == []
    assert browser.requests(opened) == [page.as_uri()]


def test_a_heading_sorts_its_table_and_says_so(opened: Any) -> None:
    head = all_of(opened, "#main thead th")[2]
    rows = """return [...document.querySelectorAll('#main tbody:not(.controls) tr')]
        .map(row => Number(row.cells[2].dataset.value))"""
    for order, turned in (("descending", True), ("ascending", False)):
        head.find_element("css selector", "button").click()
        values = opened.execute_script(rows)
        assert head.get_attribute("aria-sort") == order
        assert values == sorted(values, reverse=turned)
    assert all_of(opened, "#main tbody")[0].get_attribute("class") == "controls"


def test_filters_choose_the_items_they_name(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    def keys() -> list[str]:
        found: list[str] = opened.execute_script("return [...document.querySelectorAll('.item')].map(e => e.ariaLabel)")
        return found

    def choose(name: str, value: str) -> None:
        Select(opened.find_element("id", name)).select_by_value(value)

    assert keys() == [f"{i:04d}" for i in range(0, 15, 2)]  # every second: eight of fifteen
    choose("mode", "all")
    choose("category", "text editing")
    assert keys() == ["0002", "0007", "0012"]
    choose("category", "")
    choose("status", "blocked")
    assert keys() == ["0001"]
    choose("status", "")
    choose("mode", "worst")
    choose("of", "nano")
    assert keys()[:2] == ["0001", "0002"]  # it failed there, which counts 0
    choose("mode", "random")
    first = keys()
    seed = opened.find_element("id", "seed")
    seed.clear()
    seed.send_keys("2")
    assert keys() != first
    seed.clear()
    seed.send_keys("1")
    assert keys() == first
    choose("mode", "all")
    opened.find_element("id", "words").send_keys("WINTER")
    assert keys() == ["0004", "0010"]
    assert opened.find_element("id", "found").text == "2 of 15 items"


def test_a_picture_opens_with_a_slider_and_keys_walk_on(opened: Any) -> None:
    from selenium.webdriver import Keys

    title = "return document.getElementById('viewer-title').textContent"
    opened.execute_script("arguments[0].click()", all_of(opened, ".item .shot")[2])
    assert opened.execute_script(title) == "nano: 0000"
    assert opened.find_element("id", "after").get_attribute("src").startswith("data:image/png")
    opened.find_element("id", "slider").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert opened.execute_script("return document.getElementById('stage').style.getPropertyValue('--at')") == "52%"
    opened.execute_script("document.getElementById('stage').focus()")
    press(opened, Keys.ARROW_RIGHT)
    assert opened.execute_script(title) == "kontext-dev: 0000"
    press(opened, Keys.ARROW_DOWN)
    assert opened.execute_script(title) == "kontext-dev: 0002"
    shown = "return !document.getElementById('over').hidden"
    before = opened.execute_script(shown)
    press(opened, "d")
    assert opened.execute_script(shown) != before
    press(opened, "d", Keys.ESCAPE)
    assert not opened.execute_script("return document.getElementById('viewer').open")
    opened.execute_script("document.activeElement.blur()")
    press(opened, "j", "j", Keys.ENTER)
    assert opened.execute_script(title) == "nano: 0002"
    press(opened, Keys.ESCAPE)


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_reaches_beyond_the_page_and_no_label_is_cut(width: int, opened: Any) -> None:
    browser.resize(opened, width, 812)
    opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert opened.execute_script("return document.documentElement.scrollWidth") == width
    cut = opened.execute_script(
        """
        const cut = [];
        for (const chart of document.querySelectorAll('.chart')) {
          const box = chart.getBoundingClientRect();
          for (const text of chart.querySelectorAll('text')) {
            const own = text.getBoundingClientRect();
            const isBeside = own.left < box.left - 1 || own.right > box.right + 1;
            if (isBeside || own.top < box.top - 1 || own.bottom > box.bottom + 1)
              cut.push(text.textContent);
          }
        }
        for (const element of document.querySelectorAll('h1,h2,h3,h4,dd,li,figcaption,td,th,summary,q'))
          if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== 'visible')
            cut.push(element.textContent);
        return cut;
        """
    )
    assert cut == []


def test_the_line_above_a_row_belongs_to_its_cells(opened: Any) -> None:
    """A first cell stays in place beside the others, and covers lines that belong to the table: some are gone then."""
    style = "return ['borderCollapse', 'borderSpacing'].map(name => getComputedStyle(arguments[0])[name])"
    for each in all_of(opened, "table"):
        assert opened.execute_script(style, each) == ["separate", "0px"]


def test_on_a_phone_both_ways_on_stand_side_by_side(opened: Any) -> None:
    browser.resize(opened, 400, 812)
    opened.execute_script("arguments[0].click()", all_of(opened, ".item .shot")[2])
    tops = "return ['previous', 'next'].map(id => document.getElementById(id).getBoundingClientRect().top)"
    before, after = opened.execute_script(tops)
    assert before == after > 0  # 0 of what is not shown
    press(opened, "\ue00c")


def test_dark_follows_the_system_until_the_switch_says_otherwise(opened: Any) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = opened.execute_script(colour)
    browser.scheme(opened, is_dark=True)
    dark = opened.execute_script(colour)
    assert (light, dark) == ("rgb(251, 250, 247)", "rgb(20, 23, 26)")
    opened.find_element("id", "theme").click()
    assert opened.execute_script(colour) == light
    opened.find_element("id", "theme").click()
    browser.scheme(opened, is_dark=False)
    assert opened.execute_script(colour) == dark
    opened.find_element("id", "theme").click()


def test_tables_are_there_without_scripts(driver: Any, page: Path) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(page.as_uri())
        assert driver.find_element("id", "main").is_displayed()
        assert "48.0" in driver.find_element("id", "main").text
        assert driver.find_element("css selector", "noscript p").is_displayed()
        assert not driver.find_element("id", "filters").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
