"""`recast arena`: blind side-by-side votes between the systems of some runs, and the ratings that follow from them."""

from __future__ import annotations

import argparse
from pathlib import Path

from recast.errors import ConfigError

HELP = """Vote blindly between the systems of some runs of one suite on a page of this machine; print the ratings.

  recast arena runs/nano runs/dev --out votes.jsonl --rater anna
  recast arena --votes votes.jsonl

Goes on where the rater stopped. The page names no system before the last answer; among the pairs are repeats and
obvious controls, which tell how far a rater is to be trusted."""
COUNT = 40


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "recast arena RUN [RUN ...] --out VOTES.jsonl [options]\n       recast arena --votes VOTES.jsonl [--json]"
    )
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a folder written by `recast evaluate`")
    parser.add_argument("--out", metavar="PATH", help="the file that votes are added to")
    parser.add_argument("--suite", metavar="FOLDER", help="where the suite is, if it was moved since the run")
    parser.add_argument("--rater", metavar="NAME", default="me", help="who votes (usual: me)")
    parser.add_argument("--count", type=int, metavar="N", default=COUNT, help=f"pairs to vote on (usual: {COUNT})")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="chooses pairs, order and sides (usual: 0)")
    parser.add_argument("--port", type=int, metavar="N", default=0, help="of the page (usual: any free one)")
    parser.add_argument("--votes", metavar="PATH", help="print the ratings that follow from these votes")
    parser.add_argument("--json", action="store_true", help="print the ratings as one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.votes is not None:
        if args.runs or args.out:
            raise ConfigError("--votes: prints ratings; runs and --out are for voting; leave one of the two out")
        return _ratings(Path(args.votes), is_json=args.json)
    if not args.runs or not args.out:
        raise ConfigError("RUN, --out: both needed to vote; --votes PATH alone prints the ratings")
    if args.count < 1:
        raise ConfigError(f"--count={args.count}: at least 1 accepted; leave it out")
    return _vote(args)


def _vote(args: argparse.Namespace) -> int:
    from recast.cli.output import say
    from recast.quality import suites, table
    from recast.quality.arena_page import Poll, Server

    suite = None if args.suite is None else suites.load(Path(args.suite))
    results, pictures = table.results([Path(run) for run in args.runs], suite=suite)
    poll = Poll(results, pictures, Path(args.out), rater=args.rater, seed=args.seed, count=args.count)
    with Server(poll, args.port) as server:
        print(server.address, flush=True)
        say("open this address in a browser; Ctrl-C ends, and the same command goes on")
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way to end it: every vote is in the file already
            say(f"votes are in {args.out}; `recast arena --votes {args.out}` prints the ratings")
    return 0


def _ratings(path: Path, *, is_json: bool) -> int:
    from recast.cli.output import print_json
    from recast.errors import InputError
    from recast.quality import arena

    if not path.is_file():
        raise InputError(f"votes={str(path)!r}: no such file; one written by `recast arena` accepted; vote first")
    found = arena.summary(arena.read(path))
    if is_json:
        print_json(found)
    else:
        print("\n".join(arena.lines(found)))
    return 0
