"""What a run is trained on and what it is judged by, of files, of what is drawn, and of both."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.config import tiny
from recast.errors import ConfigError, InputError
from recast.train.data.example import Batch, Example
from recast.train.data.folder import FolderSource
from recast.train.data.split import Part
from recast.train.examples import Examples
from recast.train.overrides import override
from recast.train.presets import PRESETS, Data
from tests.train.data.sets import picture, png
from tests.train.data.test_public import TABLES


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
    for held_out in (2, 0):
        other = Examples(data(place, held_out=held_out, workers=0), tiny()).loader()
        said = rf"data.held_out was 4 and is {held_out}; the state .* continue with the settings of the checkpoint"
        with pytest.raises(ConfigError, match=said):
            other.load_state(first.state())
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


def table(place: Path, name: str, first: int, count: int) -> str:
    """Rows of MagicBrush in a file of that name, two of every picture."""
    place.mkdir(exist_ok=True)
    rows = [TABLES["magicbrush"](n) for n in range(first, first + count)]
    pq.write_table(pa.Table.from_pylist(rows), place / f"{name}-00000.parquet")
    return f"magicbrush:{place / name}-00000.parquet"


def test_a_published_split_is_compared_with_what_is_trained_on(tmp_path: Path):
    trained, apart = table(tmp_path / "set", "train", 0, 4), table(tmp_path / "set", "dev", 4, 4)
    whole = f"magicbrush:{tmp_path / 'set'}"
    with pytest.raises(ConfigError, match="shows a picture that is trained on"):
        Examples(data(whole, held_out_from=trained), tiny())
    made = Examples(data(whole, held_out_from=apart), tiny())
    assert made.train.length == len(made.held_out()) == 4
    published = Examples(data(whole, held_out=0), tiny())
    assert (published.train.length, published.held_out()) == (4, []), "its own split is never trained on"


def test_a_picture_in_a_table_and_in_a_folder_is_one(tmp_path: Path):
    pq.write_table(pa.Table.from_pylist([TABLES["ultraedit"](n) for n in range(4)]), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="6 shows a picture that is trained on"):
        Examples(
            data(f"ultraedit:{tmp_path / 'a.parquet'}", held_out_from=folder(tmp_path / "mine", 2, first=6)), tiny()
        )
    Examples(data(f"ultraedit:{tmp_path / 'a.parquet'}", held_out_from=folder(tmp_path / "other", 2, first=8)), tiny())


def test_nothing_held_out_is_nothing_shown(tmp_path: Path):
    made = Examples(
        override(PRESETS["nano-lora"]().data, [f'places=["{folder(tmp_path / "a", 12)}"]', "held_out=0"]), tiny()
    )
    assert made.held_out() == made.held_out(4) == []
    assert made.train.length == 12
    with pytest.raises(ConfigError, match="shown=-1"):
        Data(shown=-1)


@pytest.mark.parametrize("kept", ["0\n3\n6\n", "0\n3\n6"])
def test_only_what_a_lint_kept_is_used(tmp_path: Path, kept: str):
    (tmp_path / "kept.txt").write_text(kept)
    made = Examples(data(folder(tmp_path / "a", 9), held_out=0, only=str(tmp_path / "kept.txt")), tiny())
    assert {name for batch in batches(made, 6) for name in batch.ids} == {"0", "3", "6"}


def test_the_last_at_of_a_place_begins_its_weight(tmp_path: Path):
    place = folder(tmp_path / "me@home", 2)
    assert Examples(data(f"{place}@1", held_out=0), tiny()).train.length == 2
    with pytest.raises(ConfigError, match="end a path that has one of its own with @1"):
        Examples(data(place, held_out=0), tiny())


def test_any_beginning_of_what_judges_is_of_all_places(tmp_path: Path):
    places = [f"{folder(tmp_path / 'a', 20)}@3", folder(tmp_path / "b", 20, first=20)]
    made = Examples(data(*places, held_out=8, held_out_share=0.5), tiny())
    names = [int(each.id) for each in made.held_out()]
    assert [sum(n < 20 for n in names[:count]) for count in (4, 8)] == [3, 6]
    assert [int(each.id) for each in made.held_out(4)] == names[:4]


def test_why_fewer_judge_than_were_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    mine, apart = folder(tmp_path / "mine", 6), folder(tmp_path / "apart", 2, first=6)
    assert len(Examples(data(mine, held_out_from=apart), tiny()).held_out()) == 2
    assert len(Examples(data(mine, held_out_share=0.4), tiny()).held_out()) == 2
    assert [each.rpartition(": ")[2].partition(";")[0] for each in caplog.messages] == [
        "there are no more that can be read",
        "at most a share of 0.4 is, in whole source pictures",
    ]


def test_what_another_judges_by_may_not_be_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = folder(tmp_path / "a", 20)
    judged = [each.id for each in Examples(data(place), tiny()).held_out()]
    with monkeypatch.context() as patched:
        patched.setattr(Part, "id", lambda *asked: pytest.fail("a set may be large: it is not searched for nothing"))
        Examples(data(place), tiny()).require_apart(judged, "pairs")
    Examples(data("world", sizes=((64, 64),)), tiny()).require_apart(judged, "pairs")
    with pytest.raises(ConfigError, match=r"held_out=2: .* is trained on, and pairs judges by it"):
        Examples(data(place, held_out=2), tiny()).require_apart(judged, "pairs")


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


def test_a_held_out_picture_without_a_bucket_is_passed_over_too(tmp_path: Path):
    place = tmp_path / "a"
    place.mkdir()
    for n in range(12):
        (place / f"{n}.png").write_bytes(png(picture(n)[: 26 if n % 2 else None]))
        (place / f"{n}.txt").write_text("a picture")
    told: list[str] = []
    made = Examples(
        data(f"folder:{place}", held_out=5, held_out_share=0.5, on_bad="skip"),
        tiny(),
        event=lambda kind, **values: told.append(kind),
    )
    judged = made.held_out()
    assert made.batches(judged)
    assert all(each.target.shape == (32, 32, 3) for each in judged)
    assert "bad example" in told
    with pytest.raises(InputError, match="32x26: not whole tokens"):
        Examples(data(f"folder:{place}", held_out=5, held_out_share=0.5), tiny()).held_out()


def test_an_autoencoder_must_be_judged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(ConfigError, match="0 of 1 needed to judge by"):
        Examples(data(folder(tmp_path / "a", 4), held_out_share=0.1), tiny(), least=1).held_out()
    assert caplog.messages == [], "that it is trained on all is not so"


@pytest.mark.parametrize("name", [name for name, made in PRESETS.items() if made().what == "lora"])
def test_adapters_are_judged_and_compared_with_their_base(name: str):
    made = PRESETS[name]()
    assert made.data.held_out >= made.data.shown > 0
    assert made.run.sample_every_steps > 0
