"""Help texts are an interface: each is a page of docs/cli, and a stale page fails. scripts/docs writes them anew."""

import os
from dataclasses import fields
from pathlib import Path

import pytest

from recast.cli.main import VERBS, parser_of
from recast.options import ALIASES, Options
from tests.cli.conftest import Recast

PAGES = Path(__file__).parents[2] / "docs" / "cli"


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_reads_as_it_did(
    verb: str, recast: Recast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("NO_COLOR", "1")
    assert recast(*filter(None, [verb]), "--help") == 0
    text, file = capsys.readouterr().out, PAGES / f"{verb or 'recast'}.txt"
    if os.environ.get("RECAST_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("verb", ["generate", "edit"])
def test_every_option_has_its_flag_and_every_alias_too(verb: str) -> None:
    flags = {flag: action.dest for action in parser_of(verb)._actions for flag in action.option_strings}
    for name in [*(field.name for field in fields(Options)), *ALIASES]:
        assert flags["--" + name.replace("_", "-")] == ALIASES.get(name, name)
