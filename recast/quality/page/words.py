"""Numbers as a reader wants them: percent to one decimal, seconds to three digits, and a dash for what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.quality.page import escape

UNKNOWN = "–"
DIGITS = 3


def number(value: float | None, unit: str) -> str:
    """A value of a column as text without its unit: 0.7123 is "71.2" in %, 4.3 is "4.30" in s."""
    if value is None:
        return UNKNOWN
    if unit == "%":
        return f"{100 * value:.1f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}" if abs(value) >= 0.001 else rounded(value)


def rounded(value: float) -> str:
    """At most three digits, but all of those before the point: 0.0421, 4.2, 42.1, 1234."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.{DIGITS}g}"
    return f"{value:.6f}".rstrip("0") if "e" in text else text


def span(low: float | None, high: float | None, unit: str) -> str:
    """An interval as text, "" where there is none."""
    return "" if low is None or high is None else f"[{number(low, unit)}, {number(high, unit)}]"


def signed(value: float, unit: str) -> str:
    text = number(abs(value), unit)
    return text if not float(text) else ("+" if value > 0 else "−") + text


def probability(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def arrow(column: Mapping[str, Any]) -> str:
    return "↑" if column["better"] == "higher" else "↓"


def definition_list(pairs: Mapping[str, Any], kind: str = "facts") -> str:
    """Names and values, those that are None or empty left out; what is nested is a list within."""
    rows = []
    for name, value in pairs.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, Mapping):
            inside = definition_list(value, "facts inner")
        elif isinstance(value, list | tuple):
            inside = "<br>".join(escape(one) for one in value)
        else:
            inside = escape("yes" if value is True else "no" if value is False else value)
        rows.append(f"<div><dt>{escape(str(name).replace('_', ' '))}</dt><dd>{inside}</dd></div>")
    return f'<dl class="{kind}">{"".join(rows)}</dl>' if rows else ""
