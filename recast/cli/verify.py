"""`recast verify`: is a result the source wherever it says so? Two pictures are compared; no model is loaded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from recast.cli.main import Exit

if TYPE_CHECKING:
    import numpy as np

    from recast.retouch.certificate import Certificate, Verdict
    from recast.retouch.original import Original

HELP = """Check that a merged picture is its source, byte for byte, outside the area that its certificate names.

  recast verify photo.png merged.png
  recast verify photo.jpg merged.webp --json

The certificate is read from RESULT, or from a file. Exit code 0: kept. 5: not kept, or RESULT carries no certificate;
what differs is said all the same. 1: a file cannot be read, or the certificate is none. What SOURCE says of its own
look and recast does not listen to is said on stderr, or as `source_warnings` of --json: kept or not, some viewers may
show SOURCE otherwise."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast verify SOURCE RESULT [options]"
    parser.add_argument("original", metavar="SOURCE", help="the picture that was edited, as it was then")
    parser.add_argument("result", metavar="RESULT", help="the merged picture: PNG or lossless WebP")
    parser.add_argument(
        "--certificate", metavar="FILE", help="JSON, or a picture that carries one; usual: RESULT's own"
    )
    parser.add_argument(
        "--mask-out", metavar="FILE", help="write a picture: black is kept, white may differ, red is broken"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from recast.cli.output import check_places, print_json, say
    from recast.retouch.certificate import read_certificate, verify
    from recast.retouch.original import check_format, read_original

    if args.mask_out:
        check_format(args.mask_out)
        check_places([args.mask_out], [args.original, args.result, *([args.certificate] if args.certificate else [])])
    source, result = read_original(args.original, name="SOURCE"), read_original(args.result, name="RESULT")
    if args.certificate:
        certificate = read_certificate(args.certificate, name="--certificate")
    else:
        certificate = read_certificate(args.result, name="RESULT")
    verdict = verify(source, result, certificate)
    if args.mask_out:
        from recast.pixels import image

        image.write(_drawn(source, result, certificate), args.mask_out)
    if args.json:
        fields = None if certificate is None else {"note": certificate.note, "version": certificate.version}
        files = {"source": args.original, "result": args.result}
        print_json({**files, "certificate": fields, **verdict.to_dict(), "source_warnings": source.unheeded})
    else:
        print("\n".join(_lines(verdict)))
        for note in source.unheeded:  # of the result, whatever matters is a reason
            say(f"warning: SOURCE: {note}")
    return Exit.DONE if verdict.is_kept else Exit.GATE


def _lines(verdict: Verdict) -> list[str]:
    """The verdict for people: what it is, then why."""
    share = f"{verdict.preserved:,} of {verdict.of:,} pixels ({verdict.preserved / verdict.of:.1%})"
    if verdict.is_kept:
        tail = "changed only inside the support" if verdict.differing else "nothing differs"
        return [f"kept: {share}, byte for byte; {tail}"]
    box = f", inside {','.join(map(str, verdict.box))}" if verdict.box else ""
    return ["not kept", *(f"  {reason}" for reason in verdict.reasons), f"  {verdict.differing:,} pixels differ{box}"]


def _drawn(source: Original, result: Original, certificate: Certificate | None) -> np.ndarray:
    """Where the two may differ (white) and where they do against the certificate (red): (H, W, 3) uint8.

    Without a certificate nothing may differ. Raises InputError if the two are not of one size and depth.
    """
    import numpy as np

    from recast.errors import InputError
    from recast.retouch.certificate import differences, mismatches

    shape = source.samples.shape[:2]
    if source.samples.dtype != result.samples.dtype or shape != result.samples.shape[:2]:
        wrong = ", ".join(mismatches(source, result))
        raise InputError(f"--mask-out: {wrong}; pictures of one size and depth accepted; leave it out")
    drawn = np.zeros((*shape, 3), np.uint8)
    may = np.zeros(shape, bool)
    if certificate is not None and certificate.mask.shape == shape:
        may = certificate.mask
    drawn[may] = 255
    drawn[differences(source, result) & ~may] = (255, 0, 0)
    return drawn
