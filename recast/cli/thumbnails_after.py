"""What is done with a finished set: a loop of it, and one of its files sent to a video."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recast.cli.job import Model
from recast.cli.main import Exit
from recast.cli.output import print_json, say
from recast.cli.progress import Progress
from recast.errors import ConfigError, RecastError
from recast.thumbnails.profiles import MB

if TYPE_CHECKING:
    from recast.thumbnails.animate import Key, Loop, Timing
    from recast.thumbnails.upload import Upload


def animate(args: argparse.Namespace) -> Exit:
    """A loop through the variants of a set, as WebP or MP4."""
    from recast.thumbnails import loop_files
    from recast.thumbnails.animate import Timing
    from recast.thumbnails.keys import read_keys

    folder, *names = args.words
    out = Path(folder) / "loop.webp" if args.out is None else Path(args.out)
    loop_files.kind_of(out)
    if args.limit is not None and args.limit <= 0:
        raise ConfigError(f"--limit {args.limit:g}: megabytes above 0 accepted")
    usual = Timing()
    timing = Timing(
        seconds=usual.seconds if args.seconds is None else args.seconds,
        fps=usual.fps if args.fps is None else args.fps,
    )
    keys, notes = read_keys(Path(folder), names, width=640 if args.width is None else args.width)
    timing.plan(len(keys))  # a wrong count is told before the model is loaded
    loop = _loop(args, keys, timing)
    written = loop_files.write(loop, out, limit_bytes=None if args.limit is None else int(args.limit * MB))
    if args.json:
        print_json({"path": str(out), "variants": [key.name for key in keys], "notes": notes, **written.to_dict()})
        return Exit.DONE
    for note in [] if args.quiet else notes:
        say(note)
    print(out)
    if not args.quiet:
        size = f"{written.width}x{written.height}, {written.seconds:g} s at {written.fps:g} frames a second"
        say(f"{size}, {written.bytes / 1000:.0f} kB; {loop.static.mean():.0%} of the picture stands still")
    return Exit.DONE


def _loop(args: argparse.Namespace, keys: list[Key], timing: Timing) -> Loop:
    from recast.cli import planned
    from recast.thumbnails.animate import animate as work

    with Progress(quiet=args.quiet) as progress:
        progress.note("loading the model")
        steps = planned.load(Model.of(args)).steps(lambda pipeline: work(keys, pipeline, timing=timing))
        progress.note("looking at the key pictures", "loop ")
        while True:
            try:
                step = next(steps)
            except StopIteration as done:
                made: Loop
                made, lowered = done.value
                if lowered:
                    say(f"warning: {lowered}")
                return made
            progress.step(step.done, step.all)


def upload(args: argparse.Namespace) -> Exit:
    """Send one thumbnail; without --yes print what would be sent."""
    from recast.thumbnails import credentials
    from recast.thumbnails import upload as uploads

    folder, variant = Path(args.words[0]), args.words[1]
    if args.video is None:
        raise ConfigError("--video: missing; the video's id accepted, which stands behind v= in its address")
    if args.yes and args.credentials is None:
        raise ConfigError(
            "--credentials: missing; your own OAuth token in a JSON file accepted; without --yes none is needed"
        )
    ready = uploads.prepare(folder, variant, args.video, endpoint=args.endpoint or uploads.ENDPOINT)
    if args.credentials is not None and (warning := credentials.warn(Path(args.credentials))):
        say(warning)
    before = None if args.again else uploads.last(folder, ready)
    if before is not None or not args.yes:
        return _told(args, ready, None if before is None else str(before["when"]))
    with Progress(quiet=args.quiet) as progress:
        progress.note(f"sending {ready.file.name}")
        answer = uploads.send(ready, credentials.read_token(Path(args.credentials)))
    try:
        path = uploads.record(folder, ready, answer)
    except RecastError as error:
        raise RecastError(f"{variant} was sent and accepted, but not recorded: {error}") from error
    if args.json:
        print_json({**ready.to_dict(), "sent": True, "record": str(path), "answer": answer})
    else:
        print(f"{variant} is the thumbnail of {ready.video}; recorded in {path}")
    return Exit.DONE


def _told(args: argparse.Namespace, ready: Upload, before: str | None) -> Exit:
    """What would be sent, or why it is not."""
    if args.json:
        print_json({**ready.to_dict(), "sent": False, "sent_before": before})
        return Exit.DONE
    if before is not None:
        print(f"{ready.variant} was sent to {ready.video} at {before}, and nothing since; --again sends it once more")
        return Exit.DONE
    print(f"POST {ready.url}")
    print("Authorization: Bearer ***")
    print(f"Content-Type: {ready.content_type}")
    print(f"Content-Length: {ready.bytes}")
    print(f"{ready.file}, SHA-256 {ready.sha256}")
    for note in ready.notes:
        print(f"note: {note}")
    if not args.quiet:
        say("nothing was sent; --yes, with --credentials, sends it")
    return Exit.DONE
