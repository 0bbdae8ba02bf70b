"""The arena: a fair plan, votes that are never lost, ratings that follow from them, a page that gives nothing away."""

from __future__ import annotations

import http.client
import io
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from recast.cli import arena as command
from recast.cli.main import parser_of
from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.quality import arena, table
from recast.quality.arena_page import Poll, Server
from tests.quality import browser, example_results
from tests.quality.small import small_suite

SLUGS = list(example_results.SYSTEMS)
CONTENDERS = SLUGS[4:]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Path]]:
    folder = tmp_path_factory.mktemp("run")
    results = example_results.make(folder, items=24, side=40)
    for path in (folder / "img/nano").glob("0*.png"):  # a system that answers in another size
        image.write(image.read(image.read(path).to_pil().resize((20, 20))), path)
    return results, {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.png")}


def vote(ballot: arena.Ballot, answer: str, criterion: str = "instruction", rater: str = "anna") -> arena.Vote:
    return arena.Vote(
        suite="3f" * 32, rater=rater, ballot=ballot, criterion=criterion, answer=answer, ms=900, seed=0
    )  # fmt: skip


def cast(results: dict[str, Any], judge: Callable[[arena.Ballot], str], *, raters: int = 3) -> list[arena.Vote]:
    """The votes of raters who all judge alike."""
    return [
        vote(ballot, judge(ballot), criterion, f"rater {i}")
        for i in range(raters)
        for ballot in arena.plan(results, rater=f"rater {i}", seed=1)
        for criterion in arena.CRITERIA
    ]


def by_rank(ballot: arena.Ballot) -> str:
    """Prefers what comes later in the list, and the oracle to the no-op."""
    return "left" if SLUGS.index(ballot.left) > SLUGS.index(ballot.right) else "right"


def test_a_plan_is_fair_and_watches_the_rater(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    found = arena.plan(run[0], rater="anna", seed=1)
    pairs = [ballot for ballot in found if ballot.kind == "pair"]
    assert len(pairs) == 24 * 3 - 3 * 2  # three outcomes are failures, each part of two pairs
    assert all({ballot.left, ballot.right} <= set(CONTENDERS) for ballot in pairs)
    kinds = Counter(ballot.kind for ballot in found)
    assert min(kinds["repeat"], kinds["control"]) / len(found) >= 0.05
    assert all({b.left, b.right} == {"oracle", "no-op"} for b in found if b.kind == "control")
    first_round = [ballot.item for ballot in pairs[:24]]
    assert len(set(first_round)) == 24
    assert len({(b.item, frozenset((b.left, b.right))) for b in pairs}) == len(pairs)
    lefts = Counter(ballot.left for ballot in pairs)
    assert all(0.3 < lefts[slug] / sum(slug in (b.left, b.right) for b in pairs) < 0.7 for slug in CONTENDERS)


def test_a_repeat_is_an_earlier_pair_with_its_sides_exchanged(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    for count in (1, 7, 40):
        found = arena.plan(run[0], rater="anna", seed=1, count=count)
        assert sum(ballot.kind == "pair" for ballot in found) == count
        for place, ballot in enumerate(found):
            if ballot.kind == "repeat":
                assert ballot.exchanged("pair") in found[:place]


def test_a_seed_and_a_rater_make_a_plan(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    plans = [arena.plan(run[0], rater=rater, seed=seed) for rater, seed in (("a", 1), ("a", 1), ("a", 2), ("b", 1))]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert plans[0] != plans[3]


def test_of_a_chain_only_the_first_turn_is_voted_on(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    later = [{**item, "turn": turn} for item in run[0]["items"] for turn in (1, 2)]
    chains = {**run[0], "items": [*run[0]["items"], *later]}
    assert arena.plan(chains, rater="anna", seed=1) == arena.plan(run[0], rater="anna", seed=1)
    with pytest.raises(InputError, match="no item with the pictures of two systems"):
        arena.plan({**run[0], "items": later}, rater="anna", seed=1)


def test_one_system_alone_cannot_be_voted_on(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    alone = {**run[0], "systems": run[0]["systems"][:5]}
    with pytest.raises(InputError, match="runs of two systems"):
        arena.plan(alone, rater="anna", seed=0)


def test_votes_come_back_as_they_went_even_from_many_at_once(
    run: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path
) -> None:
    path = tmp_path / "votes.jsonl"
    assert arena.read(path) == []
    path.touch()
    assert arena.read(path) == []
    ballots = arena.plan(run[0], rater="anna", seed=1, count=10)
    lists = [[vote(ballot, "tie", rater=f"Ann\u2028a {i}") for ballot in ballots] for i in range(4)]
    threads = [threading.Thread(target=lambda own=own: [arena.append(path, one) for one in own]) for own in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes = arena.read(path)
    for own in lists:
        assert [one for one in votes if one.rater == own[0].rater] == own


@pytest.mark.parametrize("line", ["{", '{"schema": 2}', "[]", '{"schema": 1, "answer": "left", "criterion": "kept"}'])
def test_a_line_that_is_no_vote_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    arena.append(path, vote(arena.Ballot(item="a", turn=0, base="b", left="x", right="y", kind="pair"), "left"))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match="line 2 is no vote"):
        arena.read(path)


def test_ratings_follow_the_votes(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    found = arena.summary(cast(run[0], by_rank), resamples=100)
    assert [one["criterion"] for one in found["criteria"]] == list(arena.CRITERIA)
    for one in found["criteria"]:
        assert [row["system"] for row in one["ratings"]] == CONTENDERS[::-1]
        assert [row["elo"] for row in one["ratings"]] == sorted((row["elo"] for row in one["ratings"]), reverse=True)
        assert all(row["low"] <= row["rating"] <= row["high"] for row in one["ratings"])
        assert (one["tied"], one["ties"], one["note"]) == ([], 0, None)
        assert one["votes"] == 3 * 66  # repeats and controls are not rated
    text = "\n".join(arena.lines(found))
    assert "the same answer to" in text
    assert "Elo (depends on the order)" in text


def test_votes_of_chance_tell_no_system_apart(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    rng = random.Random(3)
    found = arena.summary(cast(run[0], lambda ballot: rng.choice(arena.ANSWERS)), resamples=200)
    assert len(found["criteria"][0]["tied"]) == 3


def test_systems_that_never_met_get_no_rating() -> None:
    apart = [arena.Ballot(item="a", turn=0, base="b", left=x, right=y, kind="pair") for x, y in ("pq", "rs")]
    one = arena.summary([vote(ballot, "left") for ballot in apart])["criteria"][0]
    assert {row["rating"] for row in one["ratings"]} == {None}
    assert "never met" in one["note"]


def test_raters_are_weighed_by_repeats_controls_and_sides(run: tuple[dict[str, Any], dict[str, Path]]) -> None:
    careful = arena.summary(cast(run[0], by_rank, raters=1), resamples=20)["raters"][0]
    assert careful["same"] == careful["repeats"] > 0
    assert careful["right"] == careful["controls"] > 0
    lazy = arena.summary(cast(run[0], lambda ballot: "left", raters=1), resamples=20)["raters"][0]
    assert lazy["same"] == 0  # always left is another answer once the sides are exchanged
    assert lazy["left_share"] == 1
    assert 0 < lazy["controls"] < 10  # one question of three


def test_votes_on_two_suites_are_not_mixed() -> None:
    one = vote(arena.Ballot(item="a", turn=0, base="b", left="x", right="y", kind="pair"), "left")
    with pytest.raises(InputError, match="of 2 suites"):
        arena.summary([one, replace(one, suite="00")])
    with pytest.raises(InputError, match="none came"):
        arena.summary([])


# The page.


@contextmanager
def serving(poll: Poll) -> Iterator[Server]:
    with Server(poll) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, bytes]:
    """Status and body. Headers: as the page sends them, unless others are given; None leaves one out."""
    usual = {"Host": f"127.0.0.1:{server.port}", "X-Arena": server.poll.token, "Content-Type": "application/json"}
    sent = {
        name: value
        for name, value in {**usual, **{k.replace("_", "-"): v for k, v in headers.items()}}.items()
        if value
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    data = b"" if body is None else json.dumps(body).encode()
    for name, value in {**sent, "Content-Length": str(len(data))}.items():
        connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, read


@pytest.fixture
def poll(run: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path) -> Poll:
    return Poll(*run, tmp_path / "votes.jsonl", rater="anna", seed=1, count=3)


def test_no_system_is_named_before_the_last_answer(poll: Poll, tmp_path: Path) -> None:
    seen = b""
    with serving(poll) as server:
        status, page = ask(server, "GET", "/", X_Arena=None)
        assert status == 200
        seen += page
        number_of = 0
        while True:
            status, body = ask(server, "GET", "/next")
            question = json.loads(body)
            if question["done"]:
                break
            seen += body
            sizes = set()
            for path in (question["left"], question["right"]):
                status, picture = ask(server, "GET", path, X_Arena=None)
                seen += picture
                sizes.add(Image.open(io.BytesIO(picture)).size)
                assert Image.open(io.BytesIO(picture)).info.keys() <= {"srgb", "gamma"}
            assert sizes == {(40, 40)}
            said = {"question": question["question"], "answer": "left", "ms": 1200}
            status, body = ask(server, "POST", "/vote", said)
            assert status == 200
            number_of += 1
    for slug in SLUGS:
        assert slug.encode() not in seen
    assert "rating" in "".join(question["lines"])
    assert "kontext-dev" in "".join(question["lines"])
    votes = arena.read(tmp_path / "votes.jsonl")
    assert len(votes) == number_of == (3 + 1 + 1) * len(arena.CRITERIA)
    assert {one.ms for one in votes} == {1200}


def test_a_poll_goes_on_where_it_stopped(
    run: tuple[dict[str, Any], dict[str, Path]], poll: Poll, tmp_path: Path
) -> None:
    first = poll.question()
    poll.answer({"question": first["question"], "answer": "tie", "ms": 1})
    again = Poll(*run, tmp_path / "votes.jsonl", rater="anna", seed=1, count=3)
    assert again.question()["answered"] == 1
    assert again.question()["asked"] == list(arena.CRITERIA.values())[1]
    other = Poll(*run, tmp_path / "votes.jsonl", rater="ben", seed=1, count=3)
    assert other.question()["answered"] == 0


def test_an_answer_counts_once_and_only_as_an_answer(poll: Poll, tmp_path: Path) -> None:
    first = poll.question()["question"]
    for bad in (
        {"question": first, "answer": "both", "ms": 1},
        {"question": first, "answer": "left", "ms": -1},
        {"question": first, "answer": "left", "ms": True},
        {"question": "other", "answer": "left", "ms": 1},
        [],
    ):
        with pytest.raises(InputError):
            poll.answer(bad)
    poll.answer({"question": first, "answer": "left", "ms": 1})
    with pytest.raises(InputError, match="not the one that is open"):
        poll.answer({"question": first, "answer": "left", "ms": 1})
    assert len(arena.read(tmp_path / "votes.jsonl")) == 1


def test_nobody_else_gets_an_answer(poll: Poll, tmp_path: Path) -> None:
    with serving(poll) as server:
        good = {"question": poll.question()["question"], "answer": "left", "ms": 1}
        port = server.port
        for headers in (
            {"Host": f"evil.example:{port}"}, {"Host": "127.0.0.1"}, {"Host": None}, {"Host": f"127.0.0.1:{port + 1}"},
            {"Origin": "http://evil.example"}, {"Origin": "null"}, {"X_Arena": None}, {"X_Arena": "guess"},
        ):  # fmt: skip
            assert ask(server, "POST", "/vote", good, **headers)[0] == 403, headers
            assert ask(server, "GET", "/next", **headers)[0] == 403, headers
        assert ask(server, "GET", "/", Host="evil.example")[0] == 403
        assert ask(server, "POST", "/vote", good, Content_Type="text/plain")[0] == 404
        assert ask(server, "POST", "/vote", {"answer": "x" * 5000})[0] == 413
        assert ask(server, "POST", "/vote", {"answer": "left"})[0] == 409
        assert ask(server, "GET", "/picture/../../etc/passwd")[0] == 404
        assert ask(server, "GET", "/arena.py")[0] == 404
        assert not (tmp_path / "votes.jsonl").exists()
        assert ask(server, "POST", "/vote", good, Host=f"localhost:{port}", Origin=f"http://localhost:{port}")[0] == 200
        assert server.server_address[0] == "127.0.0.1"


def test_votes_of_another_suite_are_not_added_to(
    run: tuple[dict[str, Any], dict[str, Path]], poll: Poll, tmp_path: Path
) -> None:
    poll.answer({"question": poll.question()["question"], "answer": "left", "ms": 1})
    other = {**run[0], "suite": {**run[0]["suite"], "sha256": "00" * 32}}
    with pytest.raises(InputError, match="holds votes on suite 3f3f3f3f"):
        Poll(other, run[1], tmp_path / "votes.jsonl", rater="anna")


# The command.


def test_the_command_prints_ratings(
    run: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "votes.jsonl"
    for one in cast(run[0], by_rank, raters=2)[:60]:
        arena.append(path, one)
    assert command.run(parser_of("arena").parse_args(["--votes", str(path), "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["votes"] == 60
    assert command.run(parser_of("arena").parse_args(["--votes", str(path)])) == 0
    assert "rater 0: 60 votes" in capsys.readouterr().out


def test_the_command_finds_a_suite_that_was_moved(
    run: tuple[dict[str, Any], dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(table, "results", lambda runs, suite: asked.append((runs, suite)) or run)
    monkeypatch.setattr(Server, "serve_forever", lambda server: None)
    suite = small_suite(tmp_path / "moved")
    for options in ([], ["--suite", str(suite.root)]):
        argv = ["runs/nano", "--out", str(tmp_path / "votes.jsonl"), *options]
        assert command.run(parser_of("arena").parse_args(argv)) == 0
    assert asked == [([Path("runs/nano")], None), ([Path("runs/nano")], suite)]


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ([], ConfigError), (["runs/nano"], ConfigError), (["runs/nano", "--votes", "v"], ConfigError),
        (["runs/nano", "--out", "v", "--count", "0"], ConfigError), (["--votes", "gone.jsonl"], InputError),
    ],
)  # fmt: skip
def test_the_command_says_what_it_needs(argv: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        command.run(parser_of("arena").parse_args(argv))


# What follows needs a browser.


LOOKED_AWAY = """
const decode = HTMLImageElement.prototype.decode;
HTMLImageElement.prototype.decode = function () {
  const decoded = decode.call(this);
  window.dispatchEvent(new Event("blur"));
  return decoded;
};
"""


def test_a_rater_votes_by_keys_to_the_end(poll: Poll, tmp_path: Path) -> None:
    with browser.chromium(tmp_path / "profile") as driver, serving(poll) as server:
        from selenium.webdriver import ActionChains, Keys
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(driver, 10, poll_frequency=0.02)
        driver.get(server.address)
        total = (3 + 1 + 1) * len(arena.CRITERIA)
        for i in range(total):
            wait.until(lambda d, i=i: d.find_element("id", "count").text == f"{i} of {total}")
            wait.until(lambda d: d.find_element("css selector", "#answers button").is_enabled())
            if i == 0:
                browser.resize(driver, 375, 812)
                assert driver.execute_script("return document.documentElement.scrollWidth") == 375
                browser.resize(driver, 1280, 900)
                assert driver.execute_script("return document.documentElement.scrollHeight") <= 900
                assert driver.execute_script("return left.naturalWidth") == 40
                named = "return [...document.querySelectorAll('#sources figcaption')].map(one => one.textContent)"
                assert driver.execute_script(named) in (["Source"], ["Image 1", "Image 2"])
                shown = "return left.src === document.querySelector('#sources img').src"
                ActionChains(driver).key_down(Keys.SHIFT).key_down("s").perform()  # or with Caps Lock
                assert driver.execute_script(shown)
                driver.execute_script("window.dispatchEvent(new Event('blur'))")  # the key is let go of elsewhere
                assert not driver.execute_script(shown)
                ActionChains(driver).key_up("s").key_up(Keys.SHIFT).perform()
                driver.execute_script("window.fetch = () => Promise.reject(new Error('It is gone.'))")
                ActionChains(driver).send_keys(Keys.ARROW_LEFT).perform()
                wait.until(lambda d: d.find_element("id", "error").text.startswith("It is gone. Is the command"))
                driver.refresh()
                wait.until(lambda d: d.find_element("css selector", "#answers button").is_enabled())
                driver.execute_script(LOOKED_AWAY)  # from here on, while each pair of pictures is read
            key = [Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_RIGHT][i % 3]
            ActionChains(driver).send_keys(key).perform()
        wait.until(lambda d: "rating" in d.find_element("id", "summary").text)
        assert browser.complaints(driver) == []
        assert all(url.startswith(server.address) for url in browser.requests(driver))
    assert Counter(one.answer for one in arena.read(tmp_path / "votes.jsonl")) == Counter(
        dict.fromkeys(arena.ANSWERS, 5)
    )
