"""A mock feed: one HTML file that shows the variants of a set where people will see them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from recast.errors import InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails.boxes import BADGE, BAR
from recast.thumbnails.findings import Finding

QUALITY = 82
WIDTH_PX = 960
"""At which the pictures of the page are kept: sharp at every size it shows, and twenty of them a few megabytes."""
NEIGHBOURS = (
    ("I tried the world's smallest kitchen for a week", "Plain Living", "#ffb199", "#ff0844", "14:02"),
    ("What nobody tells you about paint", "Colour Room", "#43e97b", "#38f9d7", "8:17"),
    ("The bridge that should not stand", "Span", "#667eea", "#764ba2", "21:40"),
    ("Ten minutes of rain on a tin roof", "Still Air", "#8e9eab", "#eef2f3", "10:00"),
    ("Beginner to concert in 100 days", "Slow Keys", "#f6d365", "#fda085", "17:29"),
    ("Why this map is upside down", "Sheet 40", "#30cfd0", "#330867", "12:55"),
    ("Repairing a radio found in the sea", "Bench", "#3a6073", "#16222a", "31:08"),
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One variant of the page. findings: its checks. says: a sentence about it, such as its rank."""

    name: str
    picture: Picture
    findings: Sequence[Finding] = ()
    says: str = ""


def write(
    path: Path,
    variants: Sequence[Shown],
    *,
    video: str,
    channel: str,
    subtitle: str = "",
    duration: str = "12:34",
    neighbours: Sequence[Picture] = (),
) -> Path:
    """Write the page: home, search, sidebar, playlist, phone and television; light and dark; badge and bar drawn.

    It loads nothing from anywhere. neighbours: pictures of other videos, such as the channel's own past thumbnails;
    without them flat colours stand beside the variants. Raises InputError without variants.
    """
    if not variants:
        raise InputError("variants: none came; one or more accepted")
    data = {
        "video": video,
        "channel": channel,
        "views": "No views yet",
        "duration": duration,
        "zones": [[each.left, each.top, each.right, each.bottom] for each in (BADGE, BAR)],
        "variants": [_variant(each, video) for each in variants],
        "neighbours": _neighbours(neighbours),
    }
    page = files(__name__).joinpath("feed.html").read_text()
    parts = {
        "title": html.escape(video),
        "subtitle": html.escape(subtitle),
        "css": files(__name__).joinpath("feed.css").read_text(),
        "js": files(__name__).joinpath("feed.js").read_text(),
        # "<" could begin a tag that ends the script which holds the data
        "data": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)  # in one go: a title may say {{js}}
    return image.write_bytes(page.encode(), path)


def worst(findings: Sequence[Finding]) -> str:
    """The gravest verdict; absent ones do not count."""
    verdicts = {each.verdict for each in findings}
    return next((each for each in ("fail", "warn") if each in verdicts), "pass")


def _variant(each: Shown, video: str) -> dict[str, Any]:
    return {
        "name": each.name,
        "alt": f"{each.name}: thumbnail of {video}",
        "picture": _inlined(each.picture),
        "verdict": worst(each.findings),
        "says": each.says,
        "findings": [
            {"check": one.check, "verdict": one.verdict, "says": one.says, "advice": one.advice}
            for one in each.findings
        ],
    }


def _neighbours(pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, (title, channel, start, end, duration) in enumerate(NEIGHBOURS):
        row = {
            "title": title,
            "channel": channel,
            "views": f"{3 + 7 * i}K views · {1 + i} days ago",
            "duration": duration,
        }
        picture = {"picture": _inlined(pictures[i % len(pictures)])} if pictures else {}
        rows.append({**row, "from": start, "to": end, "angle": 30 + 40 * i, **picture})
    return rows


def _inlined(picture: Picture) -> str:
    """A picture as a data URI, no wider than the page shows it."""
    shown = picture.to_pil().convert("RGB")
    shown.thumbnail((WIDTH_PX, WIDTH_PX))
    data = image.encode(np.asarray(shown), "jpeg", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
