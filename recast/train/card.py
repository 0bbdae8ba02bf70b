"""The page of a model that was made: what it is, how it is asked, how it was trained, what its files are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recast.config import ModelConfig
from recast.train import journal, state
from recast.weights.files import checksum

SHOWN = 8
"""Held-out losses on a page, at most, evenly over the run."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model's page says beside what its files say."""

    summary: str = ""  # a paragraph or two
    base: str = ""  # the model it was distilled or trained from, by name
    made: Mapping[str, str] = field(default_factory=dict)  # how it was trained, in rows: part or phase → what was done
    measured: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # tables: title → rows
    limits: Sequence[str] = ()  # what it does not do, a line each


def history(run: Path) -> dict[str, str]:
    """How a run went, in rows for `Card.made`, from its newest checkpoint and its journal; none without a checkpoint.

    samples: uses of examples by this run alone, not by one that it began from. The held-out loss, of the averaged
    weights where there are some, is told with the samples seen by then.
    """
    newest = state.latest(run)
    if newest is None:
        return {}
    progress = state.progress(newest)
    rows = {
        "steps": f"{progress.step:,}",
        "samples": f"{progress.samples:,}",
        "minutes": f"{progress.seconds / 60:.1f}",
        "hardware": ", ".join(f"{name}: {seconds / 60:.1f} min" for name, seconds in progress.hardware.items()),
    }
    records = journal.current(journal.read(run)) if (run / journal.FILE).is_file() else []
    told = list({each["step"]: each for each in records if "val_ema/loss" in each or "val/loss" in each}.values())
    chosen = [told[round(n * (len(told) - 1) / (SHOWN - 1))] for n in range(SHOWN)] if len(told) > SHOWN else told
    rows["held-out loss"] = "; ".join(
        f"{each.get('val_ema/loss', each.get('val/loss')):.4f} at {each['samples']:,} samples" for each in chosen
    )
    flat = next((each for each in reversed(records) if each.get("event") == "flat"), None)
    if flat is not None:
        rows["flat"] = f"from {flat['samples']:,} samples on; the rates began to decay there"
    return {name: value for name, value in rows.items() if value}


def page(config: ModelConfig, card: Card, files: Mapping[Path, int], notes: Sequence[str] = ()) -> str:
    """The page in Markdown. files: each file of weights, with how many numbers it holds; notes: a line each on them."""
    lines = [f"# {config.name}", ""]
    if card.summary:
        lines += [card.summary, ""]
    lines += _table("What it is", {**({"base": card.base} if card.base else {}), **facts(config)})
    lines += ["## Files", "", "| file | parameters | bytes | SHA-256 |", "|---|---|---|---|"]
    for file, count in files.items():
        name = file.name if file.parent.name != "text_encoder" else f"text_encoder/{file.name}"
        lines.append(f"| `{name}` | {count:,} | {file.stat().st_size:,} | `{checksum(file)}` |")
    lines += ["", *notes, ""]
    for title, rows in {"How it was made": card.made, **card.measured}.items():
        if rows:
            lines += _table(title, rows)
    if card.limits:
        lines += ["## What it does not do", "", *(f"- {each}" for each in card.limits), ""]
    return "\n".join([*lines, "## Licence", "", f"{config.licence}.", ""])


def facts(config: ModelConfig) -> dict[str, str]:
    """How a model is asked, in rows."""
    usual = config.defaults
    return {
        "steps": f"{usual.steps}" + (", and no other number of them" if config.is_few_step else ""),
        "sampler": usual.sampler,
        "guidance": guidance(config),
        "takes": "text and pictures" if config.takes_context else "text",
        "usual size": f"{usual.width} x {usual.height}",
        "context attention": f"`{config.flow.context_attention}`",
        "bar passed": ", ".join(config.passed) or "none yet",
    }


def guidance(config: ModelConfig) -> str:
    """How a model follows the words, and what a step costs."""
    usual, mode = config.defaults, config.guidance_mode
    edits = usual.guidance if usual.edit_guidance is None else usual.edit_guidance
    told = f"scale {usual.guidance:g}, of edits {edits:g}" if usual.guidance is not None and edits is not None else ""
    if mode == "two-pass":
        scales = f"scale {usual.generate_true_guidance:g}, of edits {usual.edit_true_guidance:g}; 1 is one evaluation"
        return f"two-pass, two evaluations a step ({scales})"
    if mode == "embedded":
        return f"embedded, one evaluation a step ({told})" if told else "embedded, one evaluation a step"
    if mode == "few-step":
        return "in the weights, one evaluation a step" + (f" ({told})" if told else "")
    return "none, one evaluation a step"


def _table(title: str, rows: Mapping[str, str]) -> list[str]:
    shown = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return [f"## {title}", "", "| | |", "|---|---|", *shown, ""]


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
