"""The checks of text with a real reader, on a picture whose title is known, and on one that is any file."""

from pathlib import Path

import numpy as np
import pytest

from recast.pixels import image
from recast.thumbnails.checks import Expected, check
from recast.thumbnails.checks.evidence import Evidence
from recast.thumbnails.seeing import Sight
from tests.thumbnails.checks.good import good_design, rendered


@pytest.fixture(scope="module")
def reader():
    from recast.cli.sight import RapidReader

    return RapidReader()


def test_a_title_is_read_at_168_pixels(reader):
    seen = Evidence(source=rendered(good_design()), design=good_design(), sight=Sight(text=reader))
    finding = check(seen, ["T4"])[0]
    assert (finding.verdict, finding.numbers["misread"]) == ("pass", 0), finding.says


def test_a_title_of_any_file_is_read_and_measured(reader, tmp_path: Path):
    path = image.write(rendered(good_design()), tmp_path / "any.jpg")
    seen = Evidence(source=path, sight=Sight(text=reader), expected=Expected(text="WHY IT FAILED"))
    t1, t2, t3, t5 = check(seen, ["T1", "T2", "T3", "T5"])
    assert (t1.numbers["words"], t1.numbers["lines"]) == (3, 2)
    assert t2.numbers["is_estimated"]
    assert t2.numbers["cap_height"] == pytest.approx(0.2, abs=0.02)
    assert 3 < t3.numbers["contrast"] < 10  # exactly 9.3; what is light in the ground counts as letters, and takes off
    assert "estimated" in t3.says
    assert t5.verdict == "pass"
    assert seen.title is not None
    assert np.isin(seen.title.ink, (0, 1)).all()
