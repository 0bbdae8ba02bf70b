"""A title is scored by what was asked, what had to go and what had to stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.errors import InputError
from recast.quality.text_scores import cer, edit_distance, ned, normalise, text_edit_score, text_edit_terms

LINES = ["FREIBURG", "OPEN NOW"]
TEXTS = st.text("abcde ", max_size=8)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("FREIBURG", "FREIBERG", 0.875), ("FREIBURG", "MONTREAL", 0), ("SALE 50%", "SALE 5O%", 0.875), ("", "", 1)],
)
def test_ned_of_known_pairs(a, b, expected):
    assert ned(a, b) == expected


def test_zero_is_not_the_letter_o():
    assert normalise("SALE 50%") != normalise("SALE 5O%")


@pytest.mark.parametrize(
    ("a", "b"),
    [("Straße", "STRASSE"), ("ＳＡＬＥ", "sale"), ("ﬁne", "FINE"), ("50\u00a0%", "50 %"), ("ACME™", "acmetm")],
)
def test_strings_that_read_alike_are_alike(a, b):
    assert normalise(a) == normalise(b)


@given(TEXTS, TEXTS, TEXTS)
def test_edit_distance_is_a_metric(a, b, c):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


def test_edit_distance_counts_a_known_case():
    assert edit_distance("kitten", "sitting") == 3


def test_cer_is_relative_to_the_reference():
    assert cer("ab", "abcd") == 0.5
    assert cer("abcdefgh", "ab") == 3
    with pytest.raises(InputError, match="reference"):
        cer("a", "")


@pytest.mark.parametrize(
    ("target", "old", "before", "after"),
    [
        ("Berlin", "FREIBURG", LINES, ["BERLIN", "OPEN NOW"]),
        ("FREIBERG", "FREIBURG", LINES, ["FREIBERG", "OPEN NOW"]),  # much of the old lives on in the new
        ("SALE 50%", "SALE", ["SALE"], ["SALE", "50%"]),  # all of it does, over two lines
        ("NEW", None, LINES, [*LINES, "NEW"]),
        (None, "FREIBURG", LINES, ["OPEN NOW"]),
        ("2025", "2024", ["SALE", "IN 2024 ONLY"], ["SALE", "IN 2025 ONLY"]),  # within a line
        ("RIGHT", "FREIBURG", ["FREIBVRG", "OPEN NOW"], ["RIGHT", "OPEN NOW"]),  # misread in the source
    ],
)
def test_the_right_edit_scores_one(target, old, before, after):
    assert text_edit_terms(target, old, before, after) == (1, 1, 1)


@pytest.mark.parametrize(
    ("after", "terms"),
    [
        (LINES, (0, 0, 1)),  # nothing done
        (["MONTREAL", "FREIBURG", "OPEN NOW"], (1, 0, 1)),  # the old is still there
        (["MONTREAL"], (1, 1, 0.125)),  # the other line went too: MONTREAL has one letter of OPEN NOW in place
        (["MONTREAX", "OPEN NOW"], (0.875, 1, 1)),  # one letter wrong
        ([], (0, 1, 0)),
    ],
)
def test_each_fault_costs_its_own_term(after, terms):
    assert text_edit_terms("MONTREAL", "FREIBURG", LINES, after) == pytest.approx(terms, abs=0.13)


def test_the_score_is_the_product():
    assert text_edit_score("MONTREAL", "FREIBURG", LINES, ["MONTREAX", "OPEN NOX"]) == pytest.approx(0.875**2, abs=1e-9)


def test_doing_nothing_scores_nothing():
    assert text_edit_score("MONTREAL", "FREIBURG", LINES, LINES) == 0
    assert text_edit_score("FREIBERG", "FREIBURG", LINES, LINES) == 0
    assert text_edit_score(None, "FREIBURG", LINES, LINES) == 0


def test_an_edit_names_a_string():
    with pytest.raises(InputError, match="target and old: both empty"):
        text_edit_score(None, "", LINES, LINES)
