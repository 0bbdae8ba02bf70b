"""Scoring: whatever was cut short is scored again whole, nothing is asked anew for it, and a suite may move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.cli.main import Exit, main
from recast.errors import InputError
from recast.quality import run as running
from recast.quality import scoring, suites, systems, table
from recast.quality.store import DONE, Result, Score, Store
from recast.quality.suites import Item, Suite
from recast.quality.systems.contract import Failed
from recast.world.edits import edit
from recast.world.folder import Writer
from recast.world.suite import SEEDS, drawn, edit_row
from tests.quality.small import Answers, small_suite

FRESH = SEEDS + (1 << 30)
FAST = 50
METRICS = ("instruction", "precision")


@dataclass
class Panel:
    """Judges every picture alike, and remembers which items it was shown."""

    value: float = 0.5
    absent: tuple[str, ...] = ()
    seen: list[str] = field(default_factory=list)

    def score(
        self, item: Item, results: Sequence[Result | None], pictures: Sequence[np.ndarray | None]
    ) -> Iterator[Score]:
        self.seen.append(item.key)
        for result in results:
            if result is not None:
                for metric in METRICS:
                    yield Score(item=item.key, turn=result.turn, metric=metric, value=self.value, check="test")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return small_suite(tmp_path / "suite", items=4, chain=2)


@pytest.fixture
def store(suite: Suite, tmp_path: Path) -> Store:
    """A run whose pictures are made and not yet scored."""
    return made(suite, tmp_path / "run")


@pytest.fixture(scope="session")
def drawn_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two edits of the world, on seeds that no benchmark uses."""
    writer = Writer(tmp_path_factory.mktemp("drawn") / "world")
    kinds = ("shirt colour", "background")
    edits = [edit(FRESH + n, kind=kind, split="any") for n, kind in enumerate(kinds)]
    rows = [drawn(writer, edit_row(one, f"edit-{n}", one.category, n)) for n, one in enumerate(edits)]
    writer.finish(rows, name="two-edits", version="1")
    return writer.folder


@pytest.fixture
def world(drawn_world: Path, tmp_path: Path) -> Suite:
    """A suite with a truth of its own, in a folder that a test may move."""
    return suites.load(Path(shutil.copytree(drawn_world, tmp_path / "world")))


def made(suite: Suite, folder: Path, system: Answers | None = None) -> Store:
    store = Store(folder)
    store.begin(running.about(suite, "recast evaluate"))
    for _ in running.make(suite, system or Answers(suite), store):
        pass
    return store


def judged(suite: Suite, store: Store, panel: Panel) -> list[str]:
    """Score with a panel; the items it was shown."""
    judges = scoring.Judges(panel, panel.absent)  # type: ignore[arg-type]
    for _ in scoring.score(suite, store, "answers", judges):
        pass
    return panel.seen


def scores_of(store: Store) -> dict[tuple[str, int, str], float | None]:
    found = store.scores("answers").values()
    return {(s.item, s.turn, s.metric): s.value for s in found if s.metric != DONE}


def file_of(store: Store) -> Path:
    return store.folder / "systems" / "answers" / "scores.jsonl"


def units(suite: Suite) -> set[tuple[str, int, str]]:
    return {(item.key, turn, name) for item in suite.items for turn in range(len(item.turns)) for name in METRICS}


def lose(store: Store, item: str) -> None:
    picture = store.results("answers")[item, 0, "free"].picture
    assert picture is not None
    (store.folder / picture).unlink()


# What was cut short.


def test_what_is_scored_is_not_scored_again(suite: Suite, store: Store) -> None:
    assert len(judged(suite, store, Panel())) == 5
    assert scores_of(store).keys() == units(suite)
    assert judged(suite, store, Panel()) == []


@pytest.mark.parametrize("item", ["edit-0", "chain-0"])
def test_an_item_of_which_any_line_is_missing_is_scored_again_whole(item: str, suite: Suite, store: Store) -> None:
    judged(suite, store, Panel())
    lines = file_of(store).read_bytes().splitlines(keepends=True)
    own = [line for line in lines if json.loads(line)["item"] == item]
    others = [line for line in lines if line not in own]
    for kept in range(len(own)):
        file_of(store).write_bytes(b"".join(others + own[:kept]))
        assert judged(suite, store, Panel()) == [item], f"{kept} of {len(own)} lines"
        assert scores_of(store).keys() == units(suite)


def test_a_torn_last_line_does_not_reach_the_lines_after_it(suite: Suite, store: Store) -> None:
    judged(suite, store, Panel())
    whole = file_of(store).read_bytes()
    last = json.loads(whole.splitlines()[-1])["item"]
    for cut in (1, 40):
        file_of(store).write_bytes(whole[:-cut])
        assert judged(suite, store, Panel()) == [last]
        assert scores_of(store).keys() == units(suite)
        assert all(json.loads(line) for line in file_of(store).read_text().splitlines())


def test_a_scoring_that_is_stopped_keeps_what_is_done(suite: Suite, store: Store) -> None:
    panel = Panel()
    for _ in scoring.score(suite, store, "answers", scoring.Judges(panel)):  # type: ignore[arg-type]
        break
    assert set(judged(suite, store, Panel())) == {item.key for item in suite.items} - set(panel.seen)


def test_other_judges_score_anew(suite: Suite, store: Store) -> None:
    judged(suite, store, Panel(absent=("clip: not there",)))
    assert len(judged(suite, store, Panel(value=0.75))) == 5
    assert set(scores_of(store).values()) == {0.75}


def test_the_mark_of_a_scored_item_is_no_column(suite: Suite, store: Store, tmp_path: Path) -> None:
    judged(suite, store, Panel())
    found, _ = table.results([store.folder], resamples=FAST)
    for item in found["items"]:
        for name in ("scores", "checks"):
            assert set(item["systems"]["answers"][name]) == set(METRICS)


# Pictures that were lost.


def test_a_lost_picture_is_unknown_with_a_reason_and_scored_when_it_is_made_again(world: Suite, tmp_path: Path) -> None:
    store = made(world, tmp_path / "run")
    lose(store, "edit-0")
    judges = scoring.judges(world, None)
    assert list(scoring.score(world, store, "answers", judges))[-1] == (2, 2)
    lost = [s for s in store.scores("answers").values() if s.item == "edit-0" and s.metric != DONE]
    assert {s.value for s in lost} == {None}
    assert all(s.reason and "gone" in s.reason for s in lost)
    assert scores_of(store)["edit-1", 0, "instruction"] == 1
    made(world, store.folder)
    assert list(scoring.score(world, store, "answers", judges))[-1] == (1, 1)
    assert scores_of(store)["edit-0", 0, "instruction"] == 1
    assert list(scoring.score(world, store, "answers", judges)) == []


def test_a_lost_picture_that_cannot_be_made_again_counts_zero(world: Suite, tmp_path: Path) -> None:
    store = made(world, tmp_path / "run")
    lose(store, "edit-0")
    judges = scoring.judges(world, None)
    list(scoring.score(world, store, "answers", judges))
    made(world, store.folder, Answers(world, {("edit-0", 0): Failed("blocked", "a policy")}))
    list(scoring.score(world, store, "answers", judges))
    assert scores_of(store)["edit-0", 0, "instruction"] == 0


def test_a_picture_lost_after_scoring_is_scored_no_worse_when_it_is_made_again(world: Suite, tmp_path: Path) -> None:
    store = made(world, tmp_path / "run")
    judges = scoring.judges(world, None)
    list(scoring.score(world, store, "answers", judges))
    before = scores_of(store)
    lose(store, "edit-0")
    made(world, store.folder)
    list(scoring.score(world, store, "answers", judges))
    assert scores_of(store) == before


# The command.


@pytest.fixture
def asked(world: Suite, monkeypatch: pytest.MonkeyPatch) -> list[Answers]:
    """The systems that `--model answers` made, one a call."""
    found: list[Answers] = []

    def named(spec: str, **options: Any) -> Answers:
        assert spec == "answers"
        found.append(Answers(world))
        return found[-1]

    monkeypatch.setattr(systems, "named", named)
    return found


def evaluate(world: Suite, run: Path, *options: str) -> int:
    return main(["evaluate", str(world.root), "--out", str(run), "--quiet", "--json", *options])


def test_rescore_scores_everything_anew_and_asks_for_nothing(
    world: Suite, asked: list[Answers], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    ask = ("--model", "answers", "--no-controls")
    assert evaluate(world, run, *ask) == Exit.DONE
    store = Store(run)
    before = scores_of(store)
    assert before["edit-0", 0, "instruction"] == 1
    file_of(store).write_text(file_of(store).read_text().replace('"value": 1.0', '"value": 0.25'))
    spoilt = scores_of(store)
    assert evaluate(world, run, *ask) == Exit.DONE
    assert scores_of(store) == spoilt != before
    assert evaluate(world, run, *ask, "--rescore") == Exit.DONE
    assert scores_of(store) == before
    assert [len(system.asked) for system in asked] == [2, 0, 0]


@pytest.mark.parametrize("options", [(), ("--rescore",)])
def test_without_a_model_what_is_there_is_scored(
    options: tuple[str, ...],
    world: Suite,
    asked: list[Answers],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = made(world, tmp_path / "run")
    assert evaluate(world, store.folder, *options) == Exit.DONE
    assert scores_of(store)["edit-0", 0, "instruction"] == 1
    assert asked == []
    found = json.loads(capsys.readouterr().out)
    rows = {(c["system"], c["column"]): c["value"] for c in found["cells"] if c["category"] == "all"}
    assert rows["answers", "instruction"] == 1


# Suites that moved.


def test_a_run_with_its_suite_inside_may_move(world: Suite, tmp_path: Path) -> None:
    inside = tmp_path / "run" / "suite"
    shutil.copytree(world.root, inside)
    made(suites.load(inside), tmp_path / "run")
    shutil.rmtree(world.root)
    (tmp_path / "run").rename(tmp_path / "moved")
    _, pictures = table.results([tmp_path / "moved"], resamples=FAST)
    assert pictures
    assert all(path.is_file() for path in pictures.values())


def test_a_suite_that_moved_is_refused_until_it_is_named(world: Suite, tmp_path: Path) -> None:
    store = made(world, tmp_path / "run")
    elsewhere = world.root.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="suite"):
        table.results([store.folder], resamples=FAST)
    out = tmp_path / "report.html"
    assert main(["report", str(store.folder), "--out", str(out)]) == Exit.FAILED
    assert main(["report", str(store.folder), "--out", str(out), "--suite", str(elsewhere)]) == Exit.DONE
    assert out.is_file()


def test_a_suite_that_is_another_one_now_is_refused(suite: Suite, store: Store, tmp_path: Path) -> None:
    other = small_suite(tmp_path / "other", items=3)
    with pytest.raises(InputError, match=other.sha256[:8]):
        table.results([store.folder], suite=other, resamples=FAST)
    shutil.rmtree(suite.root)
    other.root.rename(suite.root)
    with pytest.raises(InputError, match=other.sha256[:8]):
        table.results([store.folder], resamples=FAST)
