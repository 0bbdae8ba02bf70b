"""What a run is trained on and what it is judged by, of files, of what is drawn, and of both."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from recast.config import tiny
from recast.errors import ConfigError, InputError
from recast.train.data.example import Batch, Example
from recast.train.data.folder import FolderSource
from recast.train.examples import Examples
from recast.train.presets import PRESETS, Data
from tests.train.data.sets import picture, png


def folder(place: Path, count: int, first: int = 0) -> str:
    """Pairs, two of every source picture."""
    place.mkdir()
    rows = []
    for n in range(first, first + count):
        for name, seed in ((f"{n}a.png", n // 2), (f"{n}b.png", 500 + n)):
            (place / name).write_bytes(png(picture(seed)))
        rows.append({"source": f"{n}a.png", "target": f"{n}b.png", "instruction": "go", "id": str(n)})
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return f"folder:{place}"


def data(*places: str, **more: Any) -> Data:
    return Data(**{"places": places, "batch_size": 2, "held_out": 4, "shown": 0, "held_out_share": 0.25} | more)


def batches(made: Examples, count: int) -> list[Batch]:
    stream = made.loader()
    try:
        return list(islice(stream, count))
    finally:
        stream.close()


def test_what_is_held_out_of_a_folder_is_never_trained_on_and_told(tmp_path: Path):
    told: list[dict[str, Any]] = []
    made = Examples(data(folder(tmp_path / "a", 20)), tiny(), event=lambda kind, **values: told.append(values))
    judged = [example.id for example in made.held_out()]
    trained = {name for batch in batches(made, 16) for name in batch.ids}  # two epochs
    assert len(judged) == 4
    assert trained == {str(n) for n in range(20)} - set(judged)
    assert not {int(each) // 2 for each in judged} & {int(each) // 2 for each in trained}
    assert told == [{"place": f"folder:{tmp_path / 'a'}", "examples": judged, "trained_on": 16}]
    (batch,) = made.batches(made.held_out(2))
    assert (batch.ids, batch.of) == (tuple(judged[:2]), 2)
    whole = made.batches(made.held_out())
    assert [batch.numbers for batch in whole] == [(0, 1), (2, 3)], "no more at once than is trained on at once"
    assert [name for batch in whole for name in batch.ids] == judged


def test_a_resumed_run_goes_on_with_its_split_and_not_with_another(tmp_path: Path):
    place = folder(tmp_path / "a", 20)
    first = Examples(data(place), tiny()).loader()
    expected = [batch.ids for batch in islice(first, 9)][6:]
    first = Examples(data(place), tiny()).loader()
    list(islice(first, 6))
    again = Examples(data(place), tiny()).loader()
    again.load_state(first.state())
    assert [batch.ids for batch in islice(again, 3)] == expected
    for other in (data(place, held_out=2), data(place, held_out=0)):
        with pytest.raises(ConfigError, match="continue with the settings of the checkpoint"):
            Examples(other, tiny()).loader().load_state(first.state())
    for each in (first, again):
        each.close()


def test_a_place_of_its_own_judges_and_may_show_nothing_that_is_trained_on(tmp_path: Path):
    mine, apart = folder(tmp_path / "mine", 6), folder(tmp_path / "apart", 4, first=6)
    made = Examples(data(mine, held_out_from=apart), tiny())
    assert {each.id for each in made.held_out()} == {"6", "7", "8", "9"}
    assert made.train.length == 6
    shared = folder(tmp_path / "shared", 2, first=4)
    with pytest.raises(ConfigError, match=r"held_out_from=.*: 4 shows a picture that is trained on"):
        Examples(data(mine, held_out_from=shared), tiny())
    drawn = Examples(data(mine, sizes=((64, 64),), held_out_from="world"), tiny())
    assert drawn.held_out(1)[0].id.startswith("world-")


def test_several_places_are_judged_by_their_weights(tmp_path: Path):
    made = Examples(data(f"{folder(tmp_path / 'a', 20)}@3", "world", sizes=((64, 64),)), tiny())
    names = [each.id for each in made.held_out()]
    assert sum(name.startswith("world-") for name in names) == 1
    assert len(names) == 4
    with pytest.raises(ConfigError, match="a number above 0"):
        Examples(data("world@0"), tiny())


def test_a_held_out_picture_that_cannot_be_read_stops_or_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place, read = folder(tmp_path / "a", 20), FolderSource.example
    broken = Examples(data(place), tiny()).held_out(1)[0].id

    def example(self: FolderSource, index: int) -> Example:
        if self.id(index) == broken:
            raise InputError(f"{broken}: broken")
        return read(self, index)

    monkeypatch.setattr(FolderSource, "example", example)
    with pytest.raises(InputError, match="broken"):
        Examples(data(place), tiny()).held_out()
    told: list[str] = []
    skip = Examples(data(place, on_bad="skip"), tiny(), event=lambda kind, **values: told.append(kind))
    assert broken not in {each.id for each in skip.held_out()}
    assert told == ["bad example", "held out"]


def test_an_autoencoder_must_be_judged(tmp_path: Path):
    with pytest.raises(ConfigError, match="0 of 1 needed to judge by"):
        Examples(data(folder(tmp_path / "a", 4), held_out_share=0.1), tiny(), least=1).held_out()


@pytest.mark.parametrize("name", [name for name, made in PRESETS.items() if made().what == "lora"])
def test_adapters_are_judged_and_compared_with_their_base(name: str):
    made = PRESETS[name]()
    assert made.data.held_out >= made.data.shown > 0
    assert made.run.sample_every_steps > 0
