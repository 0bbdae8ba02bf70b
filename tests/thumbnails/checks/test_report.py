"""Claims of recast.thumbnails.checks.report, and of the list of checks."""

import pytest

from recast.errors import ConfigError
from recast.thumbnails.checks import CHECKS, Evidence, advise, check, table
from recast.thumbnails.checks.report import WORTH
from recast.thumbnails.findings import Finding
from tests.thumbnails.checks.good import base

FOUND = [
    Finding(check="C3", verdict="warn", says="Flat", advice="Add light"),
    Finding(check="G2", verdict="fail", says="Too large", advice="Compress it"),
    Finding(check="T4", verdict="fail", says="Nothing is read", advice="Write larger"),
    Finding(check="T1", verdict="pass", says="2 words"),
    Finding(check="F1", verdict="warn", says="Small", advice="Come closer"),
    Finding(check="T5", verdict="absent", says="No reader"),
]


def test_what_fails_comes_before_what_warns_and_three_things_are_enough():
    assert advise(FOUND) == ("Write larger", "Compress it", "Come closer")
    assert advise(FOUND[3:4] + FOUND[5:]) == ()


def test_every_check_has_its_worth():
    assert sorted(WORTH.split()) == sorted([*CHECKS, "V1", "V2"])


def test_a_table_has_a_line_for_each_and_none_too_wide():
    text = table(FOUND, width=24)
    assert [line[:4].strip() for line in text.splitlines() if line[0] != " "] == [each.check for each in FOUND]
    assert max(map(len, text.splitlines())) <= 24
    assert "FAIL" in text
    assert "→ Write larger" in text


def test_checks_are_chosen_by_name():
    assert [each.check for each in check(Evidence(source=base()), ["C3", "G1"])] == ["C3", "G1"]
    with pytest.raises(ConfigError, match="Z9"):
        check(Evidence(source=base()), ["Z9"])
