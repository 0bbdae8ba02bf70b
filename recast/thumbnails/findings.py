"""What a check says of a picture: a verdict, a sentence, what to do, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recast.thumbnails.boxes import Box

Verdict = Literal["pass", "warn", "fail", "absent"]
"""absent: not looked at, because a library, a model or a fact is missing; the sentence says which."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of one picture, or of one set.

    check: its id, such as "T2". says: a sentence for a person. advice: what to do about it, "" where nothing is to be
    done. numbers: what was measured and the limits it was held to, plain data. boxes: where, for an overlay.
    """

    check: str
    verdict: Verdict
    says: str
    advice: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data, ready for JSON."""
        return {
            "check": self.check,
            "verdict": self.verdict,
            "says": self.says,
            "advice": self.advice,
            "numbers": dict(self.numbers),
            "boxes": [[each.left, each.top, each.right, each.bottom] for each in self.boxes],
        }


def from_dict(data: Mapping[str, Any]) -> Finding:
    """The finding that `to_dict` made plain."""
    boxes = tuple(Box(*sides) for sides in data["boxes"])
    return Finding(**{**data, "boxes": boxes})


def is_failed(findings: tuple[Finding, ...] | list[Finding]) -> bool:
    """Whether any finding fails: such a picture is not shipped."""
    return any(each.verdict == "fail" for each in findings)
