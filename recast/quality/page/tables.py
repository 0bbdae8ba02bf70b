"""The tables of the report: real ones, that can be read without scripts, sorted with them, and read aloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recast.quality.page import escape
from recast.quality.page.words import UNKNOWN, arrow, number, probability, signed, span

WORDS = dict.fromkeys(("Category", "Column", "Item", "Turn", "Status", "Reason", "Note"), "words")


def main(results: Mapping[str, Any]) -> str:
    """Systems by columns over all categories; controls in grey on top, the best in bold where it is surely the best."""
    columns = results["columns"]
    heads = [head(f"{column['title']}, {column['unit']}", arrow(column)) for column in columns]
    heads += [head("n"), head("Failures", "↓")]
    cells = {(cell["system"], cell["column"]): cell for cell in results["cells"] if cell["category"] == "all"}
    leaders = {column["id"]: best(results, column) for column in columns}
    bodies = []
    for is_control in (True, False):
        rows = []
        for system in results["systems"]:
            if system["control"] != is_control:
                continue
            own = [cells.get((system["id"], column["id"])) for column in columns]
            counts = [cell["n"] for cell in own if cell]
            failures = [cell["failures"] for cell in own if cell]
            shown = [
                _value(cell, column, max(counts, default=0), is_best=leaders[column["id"]] == system["id"])
                for cell, column in zip(own, columns, strict=True)
            ]
            shown += [plain(max(counts, default=None)), plain(max(failures, default=None))]
            rows.append(_row(_name(system), shown))
        kind = ' class="controls"' if is_control else ""
        bodies.append(f"<tbody{kind}>{''.join(rows)}</tbody>" if rows else "")
    caption = "All categories. Small: 95 % interval. Grey: controls. Bold: best, and surely better than the next."
    return table("main", caption, [head("System"), *heads], bodies)


def by_category(results: Mapping[str, Any], column: Mapping[str, Any], categories: Sequence[str]) -> str:
    """Systems by these categories for one column, with the macro mean."""
    own = {(cell["system"], cell["category"]): cell for cell in results["cells"] if cell["column"] == column["id"]}
    counts = {name: {found["n"] for (_, category), found in own.items() if category == name} for name in categories}
    usual = {name: min(numbers) if len(numbers) == 1 else None for name, numbers in counts.items()}
    bodies = []
    for is_control in (True, False):
        rows = []
        for system in results["systems"]:
            if system["control"] == is_control:
                cells = [_value(own.get((system["id"], name)), column, usual[name]) for name in categories]
                mean = _value(own.get((system["id"], "all")), column, None, with_remarks=False)
                rows.append(_row(_name(system), [*cells, mean]))
        kind = ' class="controls"' if is_control else ""
        bodies.append(f"<tbody{kind}>{''.join(rows)}</tbody>" if rows else "")
    heads = [head("System")]
    heads += [head(name, note="" if usual[name] is None else f"n {usual[name]}") for name in categories]
    heads.append(head("mean of categories" if column["unit"] == "%" else "all categories"))
    return table(f"by-{column['id']}", f"{column['title']}, {column['unit']}, by category", heads, bodies)


def differences(results: Mapping[str, Any]) -> str:
    """Every pair of systems with the difference of each column; "" where there is none."""
    columns = {column["id"]: column for column in results["columns"]}
    names = {system["id"]: system["name"] for system in results["systems"]}
    rows = []
    for one in results["differences"]:
        column = columns[one["column"]]
        unit = column["unit"]
        low, high = one["low"], one["high"]
        is_open = low is None or high is None  # a category of one base has no interval, so their mean has none either
        interval = UNKNOWN if is_open else f"[{signed(low, unit)}, {signed(high, unit)}]"
        rows.append(
            _row(
                f"{escape(names[one['a']])} − {escape(names[one['b']])}",
                [
                    f'<td class="words">{escape(column["title"])}</td>',
                    cell(
                        one["difference"], f"{signed(one['difference'], unit)} {'pp' if unit == '%' else escape(unit)}"
                    ),
                    cell(low, interval),
                    cell(one["p"], probability(one["p"])),
                    cell(one["p_holm"], probability(one["p_holm"])),
                ],
            )
        )
    heads = ["Pair", "Column", "Difference", "95 % interval", "p", "p (Holm)"]
    caption = "Paired differences on the same items. p: sign flips of clusters; Holm: corrected for all pairs."
    return _plain_table("differences", caption, heads, rows)


def half_lives(results: Mapping[str, Any]) -> str:
    """Where each chain's quality began, where it ended, and after how many turns half of it was gone."""
    names = {system["id"]: system["name"] for system in results["systems"]}
    rows = []
    for chain in results["chains"]:
        quality = chain["curves"].get("quality") or [None]
        first, last = quality[0], quality[-1]
        kept = last / first if first and last is not None else None
        life, length = chain["half_life"], chain["length"]
        if life is not None:
            lasted = cell(life, str(life))
        else:
            lasted = cell(None, UNKNOWN) if first is None else cell(length + 1, f"&gt; {length}")
        rows.append(
            _row(
                escape(names[chain["system"]]),
                [
                    f'<td class="words">{escape(chain["category"])}</td>',
                    *(plain(chain[name]) for name in ("length", "chains")),
                    *(cell(value, number(value, "%")) for value in (first, last, kept)),
                    lasted,
                ],
            )
        )
    heads = [
        "System",
        "Category",
        "Turns",
        "Chains",
        "Quality, first turn, %",
        "Quality, last turn, %",
        "Kept of it, %",
    ]
    caption = "Half-life: the first turn whose quality is at most half of the first turn's."
    return _plain_table("half-lives", caption, [*heads, "Half-life, turns"], rows)


def turns(chain: Mapping[str, Any], titles: Mapping[str, str], name: str, caption: str) -> str:
    """The curves of a chain as numbers, a row per turn: what the drawings show, for those who cannot see them."""
    curves = {key: values for key, values in chain["curves"].items() if key in titles and values}
    rows = []
    for t in range(chain["length"]):
        shown = []
        for key, values in curves.items():
            low, high = ((chain.get(end) or {}).get(key) for end in ("low", "high"))
            interval = span(low[t], high[t], _unit(key)) if low and high else ""
            shown.append(cell(values[t], number(values[t], _unit(key)), interval))
        rows.append(_row(str(t + 1), shown))
    heads = [head("Turn"), *(head(titles[key]) for key in curves)]
    return table(name, caption, heads, [f"<tbody>{''.join(rows)}</tbody>"])


def latency(results: Mapping[str, Any]) -> str:
    names = {system["id"]: system["name"] for system in results["systems"]}
    rows = []
    for one in results["latency"]:
        size = f"{one['width']}×{one['height']}" if one.get("width") else UNKNOWN
        rows.append(
            _row(
                escape(names[one["system"]]),
                [
                    plain(one["n"]),
                    *(cell(one[key], number(one[key], "s")) for key in ("p50", "p90", "p95", "server_p50")),
                    f"<td>{size}</td>",
                    f'<td class="words">{escape(one.get("note") or "")}</td>',
                ],
            )
        )
    heads = ["System", "n", "p50, s", "p90, s", "p95, s", "p50 at the server, s", "Size, px", "Note"]
    caption = "From the request to the decoded picture. A dash: too few requests to say."
    return _plain_table("latency", caption, heads, rows)


def failures(results: Mapping[str, Any]) -> tuple[str, str]:
    """The failures counted by system and status, and each with its reason; "" and "" where nothing failed."""
    names = {system["id"]: system["name"] for system in results["systems"]}
    counts: Counter[tuple[str, str]] = Counter()
    rows = []
    for item in results["items"]:
        for slug in names:
            one = item["systems"].get(slug)
            if one is None or one["status"] in ("ok", "missing"):  # never asked is no failure: it counts in no mean
                continue
            counts[slug, one["status"]] += 1
            said = [item["key"], item["turn"], item["category"], one["status"], one["reason"] or "no reason given"]
            rows.append(_row(escape(names[slug]), [f'<td class="words">{escape(text)}</td>' for text in said]))
    if not rows:
        return "", ""
    kinds = sorted({status for _, status in counts})
    summary = [
        _row(
            escape(names[slug]),
            [*(plain(counts[slug, kind]) for kind in kinds), plain(sum(counts[slug, k] for k in kinds))],
        )
        for slug in names
        if any(counts[slug, kind] for kind in kinds)
    ]
    heads = [head("System"), *(head(kind.replace("_", " ")) for kind in kinds), head("All")]
    counted = table("failure-counts", "Failures by status", heads, [f"<tbody>{''.join(summary)}</tbody>"])
    heads = [head(one, kind=WORDS.get(one, "")) for one in ("System", "Item", "Turn", "Category", "Status", "Reason")]
    return counted, table("failure-list", "Every failure with its reason", heads, [f"<tbody>{''.join(rows)}</tbody>"])


def controls(results: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """What the controls scored in a column, in words: the scale on which the rest is to be read."""
    own = {
        cell["system"]: cell
        for cell in results["cells"]
        if cell["category"] == "all" and cell["column"] == column["id"]
    }
    said = [
        f"{system['name']} {number(own[system['id']]['value'], column['unit'])}"
        for system in results["systems"]
        if system["control"] and system["id"] in own
    ]
    return ", ".join(said)


def best(results: Mapping[str, Any], column: Mapping[str, Any]) -> str | None:
    """The system that leads a column, if it is surely ahead of the next one; controls aside."""
    return ranking(results, column)[0][0] if is_ahead(results, column) else None


def is_ahead(results: Mapping[str, Any], column: Mapping[str, Any]) -> bool | None:
    """Whether the interval of the difference of the first two systems excludes 0; None if nobody compared them.

    Without an interval nothing is sure: False.
    """
    order = ranking(results, column)
    if len(order) < 2:
        return None
    first_two = {order[0][0], order[1][0]}
    for one in results["differences"]:
        if one["column"] == column["id"] and {one["a"], one["b"]} == first_two:
            low, high = one["low"], one["high"]
            return low is not None and high is not None and bool(low > 0 or high < 0)
    return None


def ranking(results: Mapping[str, Any], column: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Systems that are no controls with their values in a column, best first."""
    contenders = {system["id"] for system in results["systems"] if not system["control"]}
    known = [
        (cell["system"], cell["value"])
        for cell in results["cells"]
        if cell["category"] == "all" and cell["column"] == column["id"] and cell["system"] in contenders
        if cell["value"] is not None
    ]
    return sorted(known, key=lambda one: one[1], reverse=column["better"] == "higher")


def table(name: str, caption: str, heads: Iterable[str], bodies: Iterable[str]) -> str:
    """A table in a box of its own, that scrolls where the page must not."""
    inside = (
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{''.join(heads)}</tr></thead>{''.join(bodies)}"
    )
    box = f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
    return f'{box}<table id="{escape(name)}" class="sortable">{inside}</table></div>'


def head(text: str, sign: str = "", note: str = "", kind: str = "") -> str:
    name, _, unit = text.rpartition(", ")
    shown = f'{escape(name)} <span class="unit">{escape(unit)}</span>' if name and len(unit) < 3 else escape(text)
    meaning = {"↑": "higher is better", "↓": "lower is better"}.get(sign, "")
    shown += f' <abbr title="{meaning}">{sign}</abbr>' if sign else ""
    shown += f" <small>{escape(note)}</small>" if note else ""
    return f'<th scope="col" aria-sort="none"{f" class={kind}" if kind else ""}>{shown}</th>'


def cell(value: float | None, text: str, small: str = "", kind: str = "") -> str:
    """A cell that shows text and is sorted by its value."""
    attributes = f' class="{kind}"' if kind else ""
    attributes += "" if value is None else f' data-value="{value!r}"'
    return f"<td{attributes}>{text}{f'<small>{escape(small)}</small>' if small else ''}</td>"


def plain(value: int | None) -> str:
    return cell(value, UNKNOWN if value is None else str(value))


def _value(
    found: Mapping[str, Any] | None,
    column: Mapping[str, Any],
    usual_n: int | None,
    *,
    is_best: bool = False,
    with_remarks: bool = True,
) -> str:
    """A value with its interval, its place between 0 and 100 %, and what else must be said of it.

    usual_n: the number of items that is said elsewhere, and need not be said again.
    """
    if found is None or found["value"] is None:
        note = (found or {}).get("note")
        return cell(None, UNKNOWN, note or "", "none")
    unit, value, low, high = column["unit"], found["value"], found["low"], found["high"]
    text, interval = number(value, unit), span(low, high, unit)
    shown = f"<strong>{text}</strong>" if is_best else f'<span class="v">{text}</span>'
    shown += f'<small class="interval">{interval}</small>' if interval else ""
    if unit == "%":
        ends = (value if low is None else low, value if high is None else high)
        places = "".join(f"--{name}:{100 * x:.2f}%;" for name, x in zip("avb", (ends[0], value, ends[1]), strict=True))
        shown += f'<i class="whisker" style="{places}"></i>'
    remarks = []
    if with_remarks and found["n"] != usual_n:
        remarks.append(f"n {found['n']}")
    if with_remarks and found["category"] != "all" and found["failures"]:
        remarks.append(f"{found['failures']} failed")
    if with_remarks and found["coverage"] is not None and found["coverage"] < 1:
        remarks.append(f"measured {100 * found['coverage']:.0f}\u00a0%")
    if found["note"]:
        remarks.append(found["note"])
    shown += "".join(f"<small>{escape(remark)}</small>" for remark in remarks)
    return cell(value, shown)


def _name(system: Mapping[str, Any]) -> str:
    tag = ' <small class="tag">control</small>' if system["control"] else ""
    return escape(system["name"]) + tag


def _plain_table(name: str, caption: str, heads: Iterable[str], rows: Sequence[str]) -> str:
    """A table of one body, "" where it has no row."""
    shown = [head(one, kind=WORDS.get(one, "")) for one in heads]
    return table(name, caption, shown, [f"<tbody>{''.join(rows)}</tbody>"]) if rows else ""


def _row(name: str, shown: Iterable[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(shown)}</tr>'


def _unit(curve: str) -> str:
    return "" if curve in ("colour_shift", "sharpness") else "%"
