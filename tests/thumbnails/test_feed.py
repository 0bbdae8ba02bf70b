"""The pages that show a set: one file that loads nothing, every size, nothing that a title could break."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails import contact, feed
from recast.thumbnails.findings import Finding

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8))
EVIL = 'A </script><script>alert("1")</script> & <b>title</b> {{js}}'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    warn = Finding(check="T2", verdict="warn", says=EVIL, advice="set it larger")
    shown = [
        feed.Shown(name="night", picture=PICTURE, findings=[warn], says="Place 1"),
        feed.Shown(name="day", picture=PICTURE),
    ]
    path = feed.write(
        tmp_path_factory.mktemp("feed") / "feed.html", shown, video=EVIL, channel="Bench", subtitle="a <i>test</i>"
    )
    return path.read_text()


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_page_loads_nothing(page: str):
    assert not re.search(r'(src|href)\s*=\s*["\'](?!data:)', page)
    assert "http" not in re.sub(r"data:image/jpeg;base64,[^\"]+", "", page).replace("http://www.w3.org", "")
    assert data_of(page)["variants"][0]["picture"].startswith("data:image/jpeg;base64,")


def test_no_title_breaks_out_of_it(page: str):
    assert page.count("<script") == 2
    assert data_of(page)["video"] == EVIL
    assert "<b>title</b>" not in page.replace(json.dumps(EVIL)[1:-1].replace("</", "<\\/"), "")


def test_findings_and_their_worst_are_told(page: str):
    night, day = data_of(page)["variants"]
    assert night["verdict"] == "warn"
    assert night["findings"][0]["advice"] == "set it larger"
    assert day["verdict"] == "pass"


def test_the_contact_sheet_has_every_size_on_light_and_dark():
    made = contact.sheet([("night", PICTURE), ("day", PICTURE)])
    assert made.width == 2 * (sum(contact.WIDTHS_PX) + contact.GAP_PX * 5)
    half = made.width // 2
    assert tuple(made.rgb[0, 0]) == (255, 255, 255)
    assert tuple(made.rgb[0, half]) == (15, 15, 15)
    left = contact.GAP_PX
    for width in contact.WIDTHS_PX:
        top, height = contact.GAP_PX + contact.LABEL_PX, round(width * 90 / 160)
        inside = made.rgb[top + 10 : top + height - 10, left + 10 : left + width - 10]
        expected = PICTURE.to_pil().resize((width, height), 4)
        assert np.array_equal(inside, np.asarray(expected)[10:-10, 10:-10])
        left += width + contact.GAP_PX


def test_nothing_to_show_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="none came"):
        feed.write(tmp_path / "a.html", [], video="x", channel="y")
    with pytest.raises(InputError, match="none came"):
        contact.write(tmp_path / "a.png", [])
    assert list(tmp_path.iterdir()) == []


def test_neighbours_can_be_the_channels_own(tmp_path: Path):
    shown = [feed.Shown(name="a", picture=PICTURE)]
    path = feed.write(tmp_path / "a.html", shown, video="x", channel="y", neighbours=[PICTURE])
    assert all("picture" in each for each in data_of(path.read_text())["neighbours"])
    assert image.read(PICTURE).width == 160
