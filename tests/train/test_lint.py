from dataclasses import replace

import cv2
import numpy as np
import pytest

from recast.errors import ConfigError
from recast.train.data.world import WorldSource
from recast.train.lint import Thresholds, examine, kept, lint
from tests.train.data.sets import Memory, memory

COUNT = 6


@pytest.fixture(scope="module")
def examples():
    """Local edits of scenes that have something to be placed by."""
    source = WorldSource(seed=8, categories={"text": 1})
    found, index = [], 0
    while len(found) < COUNT:
        example = source.example(index)
        if examine(example, index, Thresholds()).error_px is not None:
            found.append(example)
        index += 1
    return found


def findings(examples, change=lambda pixels: pixels, *, has_mask=True):
    changed = [replace(e, target=change(e.target), mask=e.mask if has_mask else None) for e in examples]
    return list(lint(Memory(changed), range(len(changed))))


def shifted(pixels):
    return np.roll(pixels, 1, axis=1)


def zoomed(pixels):
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), 0, 1.01)
    return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def tinted(pixels):
    return np.clip(pixels.astype(int) + np.array([6, -4, 0]), 0, 255).astype(np.uint8)


def test_pairs_of_the_world_are_clean(examples):
    for finding in findings(examples):
        assert finding.verdict == "keep"
        assert finding.error_px < 0.1
        assert finding.outside_levels == 0


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_shift_by_one_pixel_is_found(examples, has_mask):
    for finding in findings(examples, shifted, has_mask=has_mask):
        assert finding.verdict == "drop"
        assert finding.shift_px == pytest.approx((1, 0), abs=0.02)
        assert finding.scale == pytest.approx(1, abs=0.001)
        assert "misplaced by" in finding.reasons[0]


@pytest.mark.parametrize("has_mask", [True, False])
def test_a_zoom_by_one_percent_is_found(examples, has_mask):
    for finding in findings(examples, zoomed, has_mask=has_mask):
        assert finding.scale == pytest.approx(1.01, abs=0.0002)
        assert finding.error_px == pytest.approx(0.01 * 256 / 6**0.5, abs=0.02)
        assert finding.verdict == "drop"


def test_a_tint_is_a_change_and_no_shift(examples):
    for finding in findings(examples, tinted):
        assert finding.verdict == "report"
        assert finding.error_px < 0.1
        assert finding.outside_levels == pytest.approx(6, abs=1)


def test_a_change_where_nothing_should_be_is_dropped(examples):
    def spoiled(pixels):
        return np.where(np.indices(pixels.shape[:2])[1][..., None] > 200, 255 - pixels, pixels)

    for finding in findings(examples, spoiled):
        assert finding.verdict == "drop"
        assert "where nothing should be" in " ".join(finding.reasons)


def test_pairs_that_are_no_edits_and_files_that_cannot_be_read_are_findings():
    source = memory(4, bad=(3,))
    source.examples[0] = replace(source.examples[0], target=source.examples[0].contexts[0])
    source.examples[1] = replace(source.examples[1], target=source.examples[1].contexts[0], kind="keep")
    source.examples[2] = replace(
        source.examples[2], contexts=source.examples[2].contexts[:1], captions=(None, None), instruction="  "
    )
    made = list(lint(source, range(4)))
    assert "nothing changes" in made[0].reasons
    assert made[1].verdict == "keep"
    assert "empty instruction" in made[2].reasons
    assert made[3].verdict == "drop"
    assert "memory.tar:3.png" in made[3].reasons[0]
    assert kept(made) == ["memory-1"]


def test_sizes_that_differ_are_reported_and_shapes_that_differ_dropped(examples):
    finer = replace(examples[0], contexts=(cv2.resize(examples[0].contexts[0], (512, 512)),))
    finding = examine(finer, 0, Thresholds())
    assert "sizes differ: 512x512 and 256x256" in finding.reasons
    oblong = replace(examples[0], contexts=(np.zeros((256, 300, 3), np.uint8),))
    assert examine(oblong, 0, Thresholds()).verdict == "drop"


def test_thresholds_that_cross_are_refused():
    with pytest.raises(ConfigError, match="report_px=2"):
        Thresholds(report_px=2)
    assert Thresholds(report_px=0.5).drop_px == 0.75
