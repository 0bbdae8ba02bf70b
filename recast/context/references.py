"""Further pictures of an edit, in order, and what the prompt calls them: "image 2", or "@name"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recast.errors import InputError

if TYPE_CHECKING:
    from recast.pixels.image import Source

References = Mapping[str, "Source"] | Sequence["Source | tuple[str | None, Source]"]


def label(name: str | None, index: int) -> str:
    """What errors and warnings call the index-th picture: 0 is the source, references count as the prompt does."""
    return "image" if index == 0 else f"references[{name}]" if name else f"image {index + 1}"


def named(references: References) -> list[tuple[str | None, Any]]:
    """References as (name, picture); a name may hold several pictures."""
    if isinstance(references, str | bytes) or not isinstance(references, Mapping | Sequence):
        raise InputError(
            f"references={references!r}: a list of pictures, or names with pictures, accepted; put one in a list"
        )
    if isinstance(references, Mapping):
        return [
            (name, one)
            for name, held in references.items()
            for one in (held if isinstance(held, list | tuple) else [held])
        ]
    return [one if isinstance(one, tuple) else (None, one) for one in references]


def called_by_number(prompt: str, names: Sequence[str | None]) -> str:
    """The prompt with each @name as "image k", which is how a model was taught to call its k-th picture."""
    for name in dict.fromkeys(names):
        if name is not None:
            if not name.isidentifier():
                raise InputError(f"references: {name!r} is no name; letters, digits and _ accepted, e.g. logo")
            numbers = [f"image {number}" for number, other in enumerate(names, start=1) if other == name]
            prompt = re.sub(rf"(?<!\w)@{name}\b", " and ".join(numbers), prompt)
    known = [f"@{name}" for name in dict.fromkeys(names) if name is not None]
    unknown = re.findall(r"(?<!\w)@\w+", prompt)
    if known and unknown:
        raise InputError(f"prompt: {unknown[0]} names no reference; {', '.join(known)} accepted; mend the name")
    return prompt


def uncalled(prompt: str, names: Sequence[str | None]) -> list[str]:
    """A warning for each named reference that the prompt does not call; the model sees it all the same."""
    return [
        f"references[{name}]: the prompt does not call @{name}"
        for name in dict.fromkeys(names)
        if name is not None and not re.search(rf"(?<!\w)@{name}\b", prompt)
    ]
