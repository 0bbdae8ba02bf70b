"""Claims of recast.thumbnails.improve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recast.errors import ConfigError
from recast.thumbnails.boxes import Box
from recast.thumbnails.design import Design
from recast.thumbnails.improve import improve
from recast.thumbnails.kit import Layout
from recast.thumbnails.lettering import lettered as set_by_kit
from recast.thumbnails.seeing import Sight
from tests.thumbnails.checks.good import SCENE, KnowsFaces, ReadsKnown, base, channel, good_design, lettered

NARROW = Layout(id="narrow", text=Box(0.08, 0.3, 0.27, 0.8))


def test_a_title_that_is_too_small_is_set_in_another_layout(tmp_path: Path):
    kit = channel(tmp_path)
    kit = replace(
        kit, layouts=(NARROW, *kit.layouts), logo=None, palette=(), text_style=replace(kit.text_style, stroke=None)
    )
    start = set_by_kit(base(), "WHY IT FAILED", kit, layout="narrow", faces=[])
    assert start.lettering is not None
    assert start.lettering.lines[0].cap_height < 0.12
    better = improve(start, kit, sight=Sight(KnowsFaces(SCENE)), faces=[])
    wrong = [each.check for each in better.before if each.verdict in ("warn", "fail")]
    assert wrong == ["T2"]
    assert better.changes[0] == "layout face-right"
    assert better.design.lettering is not None
    assert better.design.lettering.lines[0].cap_height > start.lettering.lines[0].cap_height
    assert not any(each.verdict in ("warn", "fail") for each in better.after)


def test_a_title_that_holds_stays_as_it_is(tmp_path: Path):
    sight = Sight(KnowsFaces(SCENE), ReadsKnown((lettered(),)))
    same = improve(good_design(), channel(tmp_path), sight=sight)
    assert (same.design, same.changes, same.tries, same.holds) == (good_design(), (), 0, True)


def test_a_design_without_a_title_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no lettering"):
        improve(Design(base=base()), channel(tmp_path), sight=Sight())
