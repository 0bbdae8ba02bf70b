"""What a reader should hear of an edit once it is merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recast.retouch.written import notes_of

if TYPE_CHECKING:
    from recast.retouch.merge import Merge
    from recast.retouch.plan import Plan


def said(made: Merge, plan: Plan) -> list[str]:
    """What of a merge the user should hear."""
    notes = [note for note in made.warnings if plan.source is None or note not in plan.source.warnings]
    if made.verdict == "no_change":
        notes.append(f"nothing changed: {made.reason}")
    elif made.verdict != "local":
        notes.append(f"not merged, so every pixel may differ from the source: {made.verdict}, {made.reason}")
    if plan.where is not None and made.certificate is not None:
        beyond = int(np.count_nonzero(made.support & ~plan.where))
        if beyond:
            notes.append(f"{beyond:,} pixels outside mask and boxes may differ, of regions that reach beyond; "
                         "preserve=strict lets none")  # fmt: skip
    if plan.rejected is not None:
        strange = sorted(set(plan.rejected) - {region.id for region in made.regions})
        why = (
            f"rejected: of {len(made.regions)} regions none is {', '.join(map(str, strange))}; found others than before"
        )
        return [*notes, *notes_of(made.regions), *([why] if strange else [])]
    left = 0 if made.verdict == "no_change" else sum(not region.is_accepted for region in made.regions)
    if left and left == len(made.regions):
        notes.append("nothing changed where it was asked for; what changed elsewhere was left out; try another seed")
    elif left:
        notes.append(f"{left} of {len(made.regions)} changed regions lie outside what was asked for and were left out")
    return notes
