"""A key is shown by nothing but `reveal`."""

import copy
import json
import logging
import pickle

import pytest

from recast.errors import ConfigError
from recast.quality.systems.secret import Secret, from_environment, redact

VALUE = "sk-abc/def+1="


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{:>20}".format, "%s".__mod__, lambda s: repr({"k": [s]})])
def test_no_way_to_print_a_secret_prints_it(shown):
    assert VALUE not in shown(Secret(VALUE))
    assert "***" in shown(Secret(VALUE))


@pytest.mark.parametrize("taken", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied(taken):
    with pytest.raises(TypeError, match="pickled"):
        taken(Secret(VALUE))


def test_a_secret_has_no_dictionary_and_no_json():
    with pytest.raises(TypeError):
        vars(Secret(VALUE))
    with pytest.raises(TypeError):
        json.dumps(Secret(VALUE))


@pytest.mark.parametrize("bad", ["", "  ", "two words", "line\nbreak", "schlüssel", "nul\0"])
def test_a_value_no_header_can_carry_is_refused_without_being_shown(bad):
    with pytest.raises(ConfigError) as caught:
        Secret(bad, "BFL_API_KEY")
    assert str(caught.value).startswith("BFL_API_KEY: ")
    assert not bad.strip() or bad not in str(caught.value)


def test_the_line_end_of_a_key_file_is_no_part_of_the_key():
    assert Secret(VALUE + "\n").reveal() == VALUE


def test_the_first_variable_that_is_set_wins():
    names = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    assert from_environment({"GEMINI_API_KEY": "two", "GOOGLE_API_KEY": "one"}, names).reveal() == "one"
    assert from_environment({"GEMINI_API_KEY": "two", "GOOGLE_API_KEY": " "}, names).reveal() == "two"
    with pytest.raises(ConfigError, match="GOOGLE_API_KEY or GEMINI_API_KEY: not set"):
        from_environment({}, names)


def test_redaction_reaches_every_place():
    value = {"a": [f"x {VALUE} y", ("https://h/p?sig=1&x=2 end", 3)], VALUE: "sk-abc%2Fdef%2B1%3D", "n": None}
    assert redact(value, [Secret(VALUE)]) == {"a": ["x *** y", ("https://h/p end", 3)], "***": "***", "n": None}


def test_a_secret_in_a_log_line_is_hidden(caplog):
    caplog.set_level(logging.INFO)
    logging.getLogger("x").info("key=%s", Secret(VALUE))
    assert caplog.messages == ["key=***"]
