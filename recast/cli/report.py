"""`recast report`: runs of one suite as one page that people like to open, with the same numbers as JSON and CSV."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Write the report of one or several runs of a suite: one HTML file, and its numbers as JSON and CSV beside it.

  recast report runs/nano --out report.html
  recast report runs/nano runs/dev --out report.html

The page needs no network. Its pictures are in it up to 25 MB, and beyond that in a folder beside it."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast report RUN [RUN ...] --out REPORT.html [options]"
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a folder written by `recast evaluate`")
    parser.add_argument("--out", metavar="PATH", required=True, help="the page, a name that ends in .html")
    parser.add_argument("--suite", metavar="FOLDER", help="where the suite is, if it was moved since the run")
    parser.add_argument("--limit-mb", type=float, metavar="MB", help="largest page that holds its pictures (usual: 25)")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the files and the warnings")


def run(args: argparse.Namespace) -> int:
    from recast.cli.output import print_json, say
    from recast.quality import report, suites, table

    suite = None if args.suite is None else suites.load(Path(args.suite))
    results, pictures = table.results([Path(run) for run in args.runs], suite=suite)
    limit_bytes = report.LIMIT_BYTES if args.limit_mb is None else round(args.limit_mb * 1e6)
    files = report.write(results, args.out, pictures=pictures, limit_bytes=limit_bytes)
    if args.json:
        print_json({"files": [str(path) for path in files], "warnings": results["warnings"]})
        return 0
    for text in results["warnings"]:
        say(f"warning: {text}")
    print("\n".join(str(path) for path in files[:3]))
    return 0
