"""`recast models`: the models that have a name, what each is made for, and where its weights are. Without torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.models import Known

HELP = """List the models that have a name: their size, steps, sampler, guidance, licence, and where their weights are.

  recast models
  recast models --json

Guidance is two-pass (two evaluations a step), embedded (one, which is told the scale), few-step (one, guidance in the
weights) or none."""

COLUMNS = ("model", "parameters", "of flow", "steps", "sampler", "guidance", "takes", "licence", "weights")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast models [options]"
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    from recast import models

    known = models.known()
    if args.json:
        from recast.cli.output import print_json

        print_json({"default": models.default(), "models": [_data(model) for model in known]})
        return 0
    print("\n".join(_table([COLUMNS, *(_row(model) for model in known)])))
    print(f"\nWithout --model: {models.default()}. Any other model is given by its path.")
    return 0


def _data(model: Known) -> dict[str, Any]:
    config, usual = model.config, model.config.defaults
    return {
        "name": model.name,
        "variant": model.variant,
        "base": model.base,
        "parameters": model.parameters,
        "flow_parameters": model.flow_parameters,
        "steps": usual.steps,
        "sampler": usual.sampler,
        "guidance_mode": model.guidance_mode,
        "guidance": usual.guidance,
        "edit_guidance": usual.edit_guidance,
        "generate_true_guidance": usual.generate_true_guidance,
        "edit_true_guidance": usual.edit_true_guidance,
        "takes": list(model.takes),
        "passed": list(config.passed),
        "licence": config.licence,
        "where": model.where,
        "path": None if model.place is None else str(model.place.resolve()),
        "note": model.note,
    }


def _row(model: Known) -> tuple[str, ...]:
    sizes, usual = (_size(model.parameters), _size(model.flow_parameters)), model.config.defaults
    asked = str(usual.steps), usual.sampler, model.guidance_mode, ", ".join(model.takes)
    return model.name, *sizes, *asked, model.config.licence, model.note


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
