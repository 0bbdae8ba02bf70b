"""What `recast doctor` says of plans: what each can do on this device, and whether its numbers are the core's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recast.cli.doctor import Check

if TYPE_CHECKING:
    import torch

    from recast.speed.selftest import Finding


def checks(device: str, dtype: str, name: str | None) -> Iterator[Check]:
    """What each plan applies on this device, or the one of this name, and how far its numbers are."""
    from recast.loading import pick_device, pick_dtype
    from recast.selftest import one_thread
    from recast.speed.selftest import check

    place = pick_device(device)
    names = () if name is None else (name,)
    with one_thread():
        for found in check(place, pick_dtype(dtype, place), names):
            yield _of_plan(found)
    yield _of_products(place, pick_dtype(dtype, place))


def _of_products(place: torch.device, dtype: torch.dtype) -> Check:
    """What the user's table says of matrix products on this device."""
    from recast.speed import tuning

    table = tuning.Table.read(tuning.place())
    gains = table.gains(tuning.where(place, dtype))
    others = {product: gain for product, gain in gains.items() if gain > 0}
    data = {"path": str(tuning.place()), "timed": len(gains), "gains": others}
    if table.trouble:
        cure = "the next picture by --plan lossless on a GPU times products anew"
        return Check("products", "warn", f"{tuning.place()} cannot be used ({table.trouble})", cure, data)
    if not gains:
        found = "none timed here yet; on a GPU --plan lossless does so with the first picture of a size"
    else:
        best = f", the most by {max(others.values()):.0%}" if others else ""
        found = f"{len(gains)} shapes timed here, {len(others)} faster in another way than the library's usual{best}"
    return Check("products", "ok", found, "", data)


def _of_plan(finding: Finding) -> Check:
    plan, whole = finding.plan, finding.whole
    absent = {line.technique: line.why for line in whole.report if not line.is_applied}
    applied = list(dict.fromkeys(line.technique for line in whole.report if line.is_applied))
    data = {
        "applied": applied,
        "not_here": absent,
        "distances": {name: far for name, far in whole.distances.items() if math.isfinite(far)},
        "limits": whole.limits,
        "suspects": list(finding.suspects),
    }
    far, limit = whole.distances[whole.worst], whole.limits[whole.worst]
    if finding.is_ok:
        found = "; not here: ".join(
            filter(None, [", ".join(applied), ", ".join(f"{name} ({why})" for name, why in absent.items())])
        )
        agrees = "the reference itself" if plan.exactness == "reference" else ""
        agrees = agrees or f"agrees with the core: {whole.worst} {far:.2g} away, {limit:g} accepted"
        return Check(f"plan {plan.name}", "ok", found, agrees, data)
    suspects = " with ".join(finding.suspects)
    found = whole.error or f"{whole.worst} is {far:.2g} away from the core's, at most {limit:g} accepted"
    return Check(f"plan {plan.name}", "fail", f"{found}; suspect: {suspects}", _plan_cure(finding), data)


def _plan_cure(finding: Finding) -> str:
    if finding.suspects == ("engine",) or not finding.plan.engine:
        return "use --plan reference; report it with `recast doctor --json`"
    passing = "memory" in finding.suspects  # `exact` has its weights pass through by the same code
    others = set(finding.suspects) - {"memory"}
    until = " and ".join(["use --plan exact"] * bool(others) + ["leave --vram out"] * passing)
    return f"update torch, triton and the driver; until it passes {until}; report it with `recast doctor --json`"
