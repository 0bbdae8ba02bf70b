"""The sections of the report, each from the results to HTML; "" where a run has nothing for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recast.quality.page import charts, escape, tables
from recast.quality.page.pictures import Album, data_uri
from recast.quality.page.words import definition_list, number, span

CURVES = {
    "quality": "Quality: instructed × kept",
    "instructed": "Requests that hold so far",
    "held": "Chains where all requests hold",
    "kept": "Untouched pixels kept",
    "identity": "Identity to the first picture",
    "colour_shift": "Colour shift, ΔE",
    "sharpness": "Sharpness, log ratio",
}
UNBOUNDED = ("colour_shift", "sharpness")


def section(name: str, title: str, body: str, intro: str = "") -> str:
    said = f'<p class="intro">{intro}</p>' if intro else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(title)}</h2>{said}{body}</section>'
    )


def header(results: Mapping[str, Any]) -> str:
    suite, machine = results["suite"], results["machine"]
    systems = [system for system in results["systems"] if not system["control"]]
    controls = len(results["systems"]) - len(systems)
    line = (
        f"{_count(len(systems), 'system')} and {_count(controls, 'control')} "
        f"on {_count(suite.get('asked', suite['items']), 'item')} "
        f"in {_count(len(suite['categories']), 'category', 'categories')}"
    )
    facts = {
        "suite": f"{suite['name']}, version {suite['version']}",
        "sha256": suite["sha256"],
        "licence": suite["licence"],
        "measured": results["created"],
        "machine": ", ".join(_machine(machine)),
        "notes": suite.get("notes"),
        "versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    }
    command = f'<details class="command"><summary>Command</summary><pre>{escape(results["command"])}</pre></details>'
    return f'<h1>{escape(suite["title"])}</h1><p class="lead">{line}</p>{definition_list(facts)}{command}'


def leaders(results: Mapping[str, Any]) -> str:
    """A card for each column: who leads, by how much, and whether that is more than chance."""
    names = {system["id"]: (i, system["name"]) for i, system in enumerate(_contenders(results))}
    cells = {(cell["system"], cell["column"]): cell for cell in results["cells"] if cell["category"] == "all"}
    cards = []
    for column in results["columns"]:
        order = tables.ranking(results, column)
        if not order:
            continue
        slug, value = order[0]
        found, (place, name) = cells[slug, column["id"]], names[slug]
        if len(order) == 1:
            said = "the only system measured"
        else:
            words = {True: "ahead of", False: "not surely ahead of", None: "followed by"}
            following = f"{names[order[1][0]][1]} ({number(order[1][1], column['unit'])})"
            said = f"{words[tables.is_ahead(results, column)]} {following}"
        cards.append(
            f'<li><span class="what">{escape(column["title"])}</span>'
            f'<span class="value">{number(value, column["unit"])}'
            f'<span class="unit">{escape(column["unit"])}</span></span>'
            f'<small class="interval">{span(found["low"], found["high"], column["unit"])}</small>'
            f'<span class="who">{charts.swatch(place)}{escape(name)}</span><small>{escape(said)}</small></li>'
        )
    return f'<ul class="leaders" aria-label="Who leads each column">{"".join(cards)}</ul>' if cards else ""


def warnings(results: Mapping[str, Any], more: Sequence[str]) -> str:
    every = [*results["warnings"], *more]
    if not every:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in every)
    return (
        f'<aside id="warnings" aria-label="Warnings"><h2>{_count(len(every), "warning")}</h2><ul>{items}</ul></aside>'
    )


def scores(results: Mapping[str, Any]) -> str:
    paired = tables.differences(results)
    more = f"<details><summary>Paired differences between systems</summary>{paired}</details>" if paired else ""
    return section("scores", "Scores", tables.main(results) + more)


def categories(results: Mapping[str, Any]) -> str:
    """A radar and a table for each column that was measured by category."""
    figures, blocks = [], []
    for column in results["columns"]:
        own = {(cell["system"], cell["category"]): cell for cell in results["cells"] if cell["column"] == column["id"]}
        known = [
            label
            for label in results["suite"]["categories"]
            if any(category == label and cell["value"] is not None for (_, category), cell in own.items())
        ]
        if not known:
            continue
        blocks.append(tables.by_category(results, column, known))
        if len(known) >= 3 and column["unit"] == "%":
            series = []
            for i, system in enumerate(_contenders(results)):
                found = [own.get((system["id"], label)) for label in known]
                series.append(charts.Series(i, system["name"], [cell["value"] if cell else None for cell in found]))
            title = f"{column['title']} by category, 0 to 100 %"
            figures.append(_figure(column["title"], charts.radar(f"radar-{column['id']}", title, known, series)))
    if not blocks:
        return ""
    drawn = f'<div class="figures">{"".join(figures)}</div>' if figures else ""
    return section(
        "categories", "By category", (legend(_contenders(results)) if drawn else "") + drawn + "".join(blocks)
    )


def chains(results: Mapping[str, Any], album: Album) -> str:
    """Curves over turns for each kind of chain, what is left of the quality, and a chain of each system in pictures."""
    if not results["chains"]:
        return ""
    systems = {system["id"]: (i, system) for i, system in enumerate(_ordered(results))}
    body = [tables.half_lives(results)]
    groups = dict.fromkeys((chain["category"], chain["length"]) for chain in results["chains"])
    for number_of, (category, length) in enumerate(groups, start=1):
        own = [chain for chain in results["chains"] if (chain["category"], chain["length"]) == (category, length)]
        body.append(f"<h3>{escape(category)}: chains of {length} turns</h3>")
        body.append(legend([systems[chain["system"]][1] for chain in own], systems))
        figures = []
        for key, title in CURVES.items():
            series = [
                charts.Series(
                    systems[chain["system"]][0],
                    systems[chain["system"]][1]["name"],
                    chain["curves"][key],
                    (chain.get("low") or {}).get(key) or (),
                    (chain.get("high") or {}).get(key) or (),
                    is_control=systems[chain["system"]][1]["control"],
                )
                for chain in own
                if any(value is not None for value in chain["curves"].get(key) or ())
            ]
            if series:
                figures.append(_curve(f"chain-{number_of}-{key}", key, title, length, series))
        body.append(f'<div class="figures">{"".join(figures)}</div>')
        numbers = [
            tables.turns(
                chain,
                CURVES,
                f"turns-{number_of}-{i}",
                f"{systems[chain['system']][1]['name']}, {category}, {length} turns",
            )
            for i, chain in enumerate(own)
        ]
        body.append(f"<details><summary>The curves as numbers</summary>{''.join(numbers)}</details>")
        body += [_strip(chain, systems[chain["system"]][1]["name"], album) for chain in own]
    intro = "Each turn edits the picture that the turn before it made. Bands: 95 % intervals over chains."
    return section("chains", "Over many turns", "".join(body), intro)


def speed(results: Mapping[str, Any]) -> str:
    if not results["latency"]:
        return ""
    systems = {system["id"]: (i, system) for i, system in enumerate(_ordered(results))}
    timed = [one for one in results["latency"] if one["seconds"]]
    series = [
        charts.Series(systems[one["system"]][0], systems[one["system"]][1]["name"], (), xs=sorted(one["seconds"]))
        for one in timed
    ]
    figures = []
    if series:
        x = charts.around("seconds from the request to the picture", [s for one in series for s in one.xs], is_log=True)
        chart = charts.steps("ecdf", "Requests answered by time", x, series)
        figures.append(_figure("Answered within so many seconds", chart))
    cells = {(cell["system"], cell["column"]): cell for cell in results["cells"] if cell["category"] == "all"}
    for column in results["columns"]:
        points = []
        for slug, (place, system) in systems.items():
            found, time = cells.get((slug, column["id"])), cells.get((slug, "seconds"))
            if column["unit"] != "%" or not found or not time or found["value"] is None or time["value"] is None:
                continue
            points.append(
                charts.Series(
                    place, system["name"], [found["value"]], [found["low"]], [found["high"]],
                    [time["value"]], [time["low"]], [time["high"]],
                )
            )  # fmt: skip
        if points:
            ends = [x for one in points for x in (*one.xs, *one.xs_low, *one.xs_high) if x is not None]
            x = charts.around("median seconds", ends, is_log=True)
            name, title = f"time-{column['id']}", f"{column['title']} and time"
            chart = charts.scatter(name, title, x, charts.share(f"{column['title']}, %"), points)
            figures.append(_figure(title, chart))
    times = {slug: cell for (slug, column), cell in cells.items() if column == "seconds"}
    used = {one.place for one in series} | {
        systems[slug][0] for slug, time in times.items() if time["value"] is not None
    }
    shown = legend([system for i, system in systems.values() if i in used], systems)
    return section("speed", "Speed", f'{tables.latency(results)}{shown}<div class="figures">{"".join(figures)}</div>')


def failures(results: Mapping[str, Any]) -> str:
    counted, listed = tables.failures(results)
    if not counted:
        return section("failures", "Failures", "<p>Nothing failed.</p>")
    more = f"<details><summary>Every failure with its reason</summary>{listed}</details>"
    return section(
        "failures", "Failures", counted + more, "A failure counts as 0 in every column; nothing is left out."
    )


def cards(results: Mapping[str, Any]) -> str:
    """What each column means, what it can reach, and where it misleads."""
    made = []
    for column in results["columns"]:
        facts = {
            "formula": column["formula"],
            "range": column["range"],
            "better": column["better"],
            "controls": tables.controls(results, column),
            "weakness": column["weakness"],
            "model": column.get("model_hash"),
            "version": column["version"],
        }
        made.append(f'<article class="card"><h3>{escape(column["title"])}</h3>{definition_list(facts)}</article>')
    return section("measures", "What the columns mean", f'<div class="cards">{"".join(made)}</div>')


def methods(results: Mapping[str, Any], twins: Iterable[str], storage: str) -> str:
    """What each system was, down to its settings; the controls folded away; where pictures and numbers are."""
    made: dict[bool, list[str]] = {False: [], True: []}
    for system in results["systems"]:
        facts = {
            "name in files": system["id"],
            "config hash": system["config_hash"],
            "licence": system.get("licence"),
            "measured": system.get("created"),
            "command": system.get("command"),
            "versions": ", ".join(f"{name} {version}" for name, version in system.get("versions", {}).items()),
            "notes": system["notes"],
            **system["describe"],
        }
        card = f'<article class="card"><h3>{escape(system["name"])}</h3>{definition_list(facts)}</article>'
        made[system["control"]].append(card)
    shown = {is_control: f'<div class="cards">{"".join(cards)}</div>' for is_control, cards in made.items()}
    folded = f"<details><summary>Controls</summary>{shown[True]}</details>" if made[True] else ""
    names = " and ".join(f"<code>{escape(name)}</code>" for name in twins)
    reading = f"<p>{storage} The same numbers for machines: {names}, beside this page.</p>"
    return section("methods", "Systems and methods", shown[False] + folded + reading)


def legend(systems: Sequence[Mapping[str, Any]], places: Mapping[str, tuple[int, Any]] | None = None) -> str:
    order = [(i if places is None else places[system["id"]][0], system) for i, system in enumerate(systems)]
    items = "".join(
        f"<li>{charts.swatch(place, is_control=system['control'])}{escape(system['name'])}</li>"
        for place, system in order
    )
    return f'<ul class="legend" aria-label="Systems in the drawings">{items}</ul>'


def _curve(name: str, key: str, title: str, length: int, series: Sequence[charts.Series]) -> str:
    x = charts.turns(length)
    if key in UNBOUNDED:
        ends = [v for one in series for values in (one.values, one.low, one.high) for v in values if v is not None]
        y = charts.around("", ends)
    else:
        y = charts.share("")
    return _figure(title, charts.lines(name, title, x, y, series))


def _figure(title: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def _strip(chain: Mapping[str, Any], name: str, album: Album) -> str:
    """One chain as a row of pictures, the first one first."""
    example = chain.get("example")
    if not example:
        return ""
    frames: list[str] = []
    said = ["start", *example["instructions"]]
    if len(said) == len(example["pictures"]) + 1:  # the start is not among the pictures
        said = said[1:]
    for path, words in zip(example["pictures"], said, strict=False):
        shot = album.add(path)
        turn = len(frames) + len(example["instructions"]) - len(said) + 1
        number_shown = f"<b>{turn}</b> " if turn else ""
        picture = (
            '<span class="gone">no picture</span>'
            if shot is None
            else f'<img src="{data_uri(album.shots[shot].small, album.shots[shot].small_kind)}" loading="lazy" '
            f'width="{album.shots[shot].width}" height="{album.shots[shot].height}" alt="{escape(f"{name}, {words}")}">'
        )
        frames.append(f"<li>{picture}<span>{number_shown}{escape(words)}</span></li>")
    title = f"{name}: {example['item']}"
    strip = f'<ol class="strip" tabindex="0" aria-label="{escape(title)}">{"".join(frames)}</ol>'
    return f"<h4>{escape(title)}</h4>{strip}"


def _contenders(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [system for system in results["systems"] if not system["control"]]


def _ordered(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Systems as they are coloured everywhere: the controls after the others."""
    return [*_contenders(results), *(system for system in results["systems"] if system["control"])]


def _machine(machine: Mapping[str, Any]) -> list[str]:
    said = [str(machine["cpu"])] if machine.get("cpu") else []
    said += [_count(machine["cores"], "core")] if machine.get("cores") else []
    return [*said, str(machine["gpu"]) if machine.get("gpu") else "no GPU"]


def _count(number_of: int, name: str, plural: str | None = None) -> str:
    return f"{number_of:,} {name if number_of == 1 else plural or name + 's'}"
