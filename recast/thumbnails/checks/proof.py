"""Is it proved that an edited frame kept what it was to keep?"""

from __future__ import annotations

from recast.thumbnails.checks.evidence import Evidence, Unseen
from recast.thumbnails.findings import Finding


def p1(seen: Evidence) -> Finding:
    """The certificate of preserved pixels, where the picture is an edit of a frame."""
    is_edit = seen.expected.is_edit
    if is_edit is False:
        return Finding(check="P1", verdict="pass", says="No frame was edited: there is nothing to prove")
    if seen.certificate is None:
        raise Unseen("nothing reads certificates; pass a reader of them")
    text = seen.certificate(seen.path)
    numbers = {"certificate": text is not None, "is_edit": is_edit}
    if text is not None:
        says = "It carries a certificate of the pixels that were kept"
        return Finding(check="P1", verdict="pass", says=says, numbers=numbers)
    if is_edit is None:
        raise Unseen(
            "it carries no certificate, and whether a frame was edited is not known; if one was, check the PNG or WebP "
            "that `recast edit` wrote: it certifies what was kept"
        )
    says = "A frame was edited, and nothing proves what was kept of it"
    advice = "Make the edit with `recast edit`, which certifies what it keeps, and export a PNG or WebP of it"
    return Finding(check="P1", verdict="warn", says=says, advice=advice, numbers=numbers)
