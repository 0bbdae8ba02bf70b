"""The side-by-side part of the report as data: which pictures, words and scores its script lays out, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recast.quality.page import json_block
from recast.quality.page.pictures import Album


def items(results: Mapping[str, Any], album: Album) -> str:
    """A data block: the systems, the scores that items have, and the items; pictures by their names in the album."""
    score_names: dict[str, str] = {}
    titles = {column["id"]: column["title"] for column in results["columns"]}
    units = {column["id"]: column["unit"] for column in results["columns"]}
    made = []
    for item in sorted(results["items"], key=lambda one: (one["key"], one["turn"])):
        outcomes = {}
        for slug, one in item["systems"].items():
            for name in one["scores"]:
                score_names.setdefault(name, titles.get(name, name.replace("_", " ")))
            overlay, words = _overlay(item, one, album)
            outcomes[slug] = {
                "picture": album.add(one["picture"]),
                "overlay": overlay,
                "overlay_words": words,
                "status": one["status"],
                "reason": one["reason"],
                "seconds": one["seconds"],
                "scores": one["scores"],
                "flags": [*one["flags"], *_checks(one["checks"])],
            }
        made.append(
            {
                **{name: item[name] for name in ("key", "turn", "category", "kind", "base", "instruction", "split")},
                "sources": [album.add(path) for path in item["contexts"]],
                "answer": album.add(item["answer"]),
                "systems": outcomes,
            }
        )
        album.forget()
    order = [name for name in titles if name in score_names]
    order += [name for name in score_names if name not in titles]
    data = {
        "systems": [{name: system[name] for name in ("id", "name", "control")} for system in results["systems"]],
        "scores": [{"id": name, "title": score_names[name], "unit": units.get(name, "")} for name in order],
        "items": made,
    }
    return json_block("items", data)


def _checks(checks: Mapping[str, str | None]) -> list[str]:
    """What made the scores, as "instruction by ocr"; several by the same in one phrase."""
    makers = dict.fromkeys(by for by in checks.values() if by)
    return [f"{', '.join(name for name, by in checks.items() if by == one)} by {one}" for one in makers]


def _overlay(item: Mapping[str, Any], one: Mapping[str, Any], album: Album) -> tuple[str | None, str]:
    """The overlay that the run brought, or the one computed from source, answer and output."""
    if one["overlay"] is not None:
        return album.add(one["overlay"]), "changed regions as the run marked them"
    if one["picture"] is None or not item["contexts"]:
        return None, ""
    return album.overlay(item["contexts"][0], item["answer"], one["picture"])
