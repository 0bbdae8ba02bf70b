"""`recast thumbnails results` and `learned`: enter what a test said; what all tests of a channel say."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.cli.main import Exit
from recast.cli.output import print_json, say

if TYPE_CHECKING:
    from recast.thumbnails.channel_model import Posterior
    from recast.thumbnails.experiment import Channel

POINTS = (2, 3, 5)
"""Differences of a share, in points, that `learned` says the cost of."""


def results(args: argparse.Namespace) -> Exit:
    """Enter the shares of one test, and say what its factor's levels are worth since."""
    from recast.thumbnails import experiment

    entered = experiment.enter(
        Path(args.words[0]),
        experiment.parse(args.words[1:]),
        on=date.today().isoformat(),
        impressions=args.impressions,
        channel=None if args.channel is None else Path(args.channel),
    )
    factor = entered.result.experiment.factor
    row = _row(entered.channel, factor)
    if args.json:
        files = [str(each) for each in entered.files]
        print_json({"files": files, "test": entered.result.to_dict(), "notes": list(entered.notes), "learned": row})
        return Exit.DONE
    for file in entered.files:
        print(file)
    for note in entered.notes:
        say(note)
    print(_table([row]))
    return Exit.DONE


def learned(args: argparse.Namespace) -> Exit:
    """What the tests of a channel say of every level, what to test next, and what a test costs."""
    from recast.thumbnails import experiment
    from recast.thumbnails.channel_model import USUAL_IMPRESSIONS, impressions_needed, videos_needed

    channel = experiment.read_channel(Path(args.words[0]))
    rows = sorted((_row(channel, factor) for factor in channel.factors), key=lambda row: -row["still_to_gain"])
    known = [each.impressions for each in channel.results if each.impressions]
    usual = sorted(known)[len(known) // 2] if known else USUAL_IMPRESSIONS
    cost = [
        {
            "points": points,
            "impressions": impressions_needed(points / 100),
            "videos": videos_needed(points / 100, usual),
            "impressions_a_video": usual,
        }
        for points in POINTS
    ]
    if args.json:
        print_json({"channel": channel.kit, "tests": len(channel.results), "factors": rows, "to_tell": cost})
        return Exit.DONE
    print(f"{channel.kit}: {len(channel.results)} test{'s' * (len(channel.results) != 1)}\n")
    print(_table(rows))
    print("\neffect: watch time against the mean of the levels tested; loss: what always taking a level costs")
    print("To tell two of three variants apart (80 % power, 95 % confidence):")
    for each in cost:
        videos = f"for the channel, {each['videos']} videos of {usual:,}"
        print(f"  {each['points']} points of share: {each['impressions']:,} impressions for one video; {videos}")
    return Exit.DONE


def _row(channel: Channel, factor: str) -> dict[str, Any]:
    """What is known of one factor, as plain data."""
    from recast.thumbnails.channel_model import learn, next_levels

    levels = channel.factors[factor]
    known: Posterior = learn(channel.outcomes, factor, levels)
    return {
        "factor": factor,
        "levels": [
            {
                "level": each.level,
                "tests": each.tests,
                "effect": round(each.mean, 4),
                "sd": round(each.sd, 4),
                "interval": [round(each.low, 4), round(each.high, 4)],
                "best": None if each.best is None else round(each.best, 3),
                "loss": None if each.loss is None else round(each.loss, 4),
            }
            for each in known.effects()
        ],
        "still_to_gain": round(known.still_to_gain(), 4),
        "next": list(next_levels(channel.outcomes, factor, levels)),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """Effects in percent of watch time against the mean of the levels tested, and what to test next."""
    lines = [f"{'factor':<12}{'level':<20}{'effect':>8}  {'90 % interval':<18}{'tests':>5}{'P(best)':>9}{'loss':>8}"]
    for row in rows:
        for each in row["levels"]:
            effect, low, high = (f"{_percent(x):+.1f}" for x in (each["effect"], *each["interval"]))
            best = "–" if each["best"] is None else f"{each['best']:.2f}"
            loss = "–" if each["loss"] is None else f"{-_percent(-each['loss']):.1f} %"
            line = f"{row['factor']:<12}{each['level']:<20}{effect + ' %':>8}  {low + ' to ' + high:<18}"
            lines.append(f"{line}{each['tests']:>5}{best:>9}{loss:>8}")
    for row in rows:
        gain = f"knowing its best level would gain {_percent(row['still_to_gain']):.1f} %"
        lines.append(f"next, {row['factor']}: {', '.join(row['next'])} ({gain})")
    return "\n".join(lines)


def _percent(log: float) -> float:
    """A difference of logarithms, in percent."""
    from math import expm1

    return round(100 * expm1(log), 1) + 0.0  # no minus zero
