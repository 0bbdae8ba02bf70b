"""The parts of the pages: text, tables, drawings and pictures as HTML, and plain files that go in as they are.

Everything that comes from outside (an instruction, a name, a reason) passes `escape` or `json_block` on its way in.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from string import Template
from typing import Any


def escape(text: object) -> str:
    """The text as it may stand in HTML, between tags or within a quoted attribute."""
    return html.escape(str(text), quote=True)


def json_block(name: str, data: Any) -> str:
    """A script element with the id `name` that holds data and runs nothing; no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def part(name: str) -> str:
    """The text of a file of this folder."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def document(name: str, **values: str) -> str:
    """The page `name`.html with its style and script inside and `values` (HTML) in their places.

    The policy in its head lets this one script run, and pictures come from the page or from beside it: whatever
    else a text might smuggle in stays inert, and nothing is fetched from anywhere.
    """
    style, script = part(f"{name}.css"), part(f"{name}.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return Template(part(f"{name}.html")).substitute(policy=policy, style=style, script=script, **values)
