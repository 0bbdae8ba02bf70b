"""The options of an edit as they can be kept and given again: plain data, and pictures as files of the node."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.pixels.image import Picture

PICTURES = ("references", "mask", "take")
"""Options whose texts are paths of pictures."""
PLACES = ("mask", "mask_mode", "boxes", "box", "take")
"""Options that speak of a place in the picture: of no use on another one of another size."""

Kept = tuple[dict[str, Any], dict[str, bytes]]


def keep(options: Mapping[str, Any]) -> Kept:
    """The options as JSON data, and the pictures in them as files by role; callables are left out.

    Raises ConfigError for a value that is neither, InputError for a picture that cannot be read.
    """
    blobs: dict[str, bytes] = {}

    def picture(kind: str, data: bytes) -> dict[str, str]:
        role = f"option/{len(blobs)}"
        blobs[role] = data
        return {kind: role}

    def plain(value: Any, name: str) -> Any:
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, str):
            return picture("$file", _read(value, name)) if name in PICTURES else value
        if isinstance(value, np.generic):
            return plain(value.item(), name)
        if isinstance(value, np.ndarray):
            return picture("$array", _array(value))
        if isinstance(value, Picture | PIL.Image.Image):
            return picture("$file", image.encode(image.read(value, name=name), "png"))
        if isinstance(value, bytes | os.PathLike) or hasattr(value, "read"):
            return picture("$file", _read(value, name))
        if isinstance(value, Mapping):
            return {str(key): plain(one, name) for key, one in value.items()}
        if isinstance(value, tuple) and name == "references" and len(value) == 2:
            return {"$pair": [value[0], plain(value[1], name)]}
        if isinstance(value, list | tuple):
            return [plain(one, name) for one in value]
        raise ConfigError(
            f"{name}={value!r}: cannot be kept in a thread; numbers, texts, pictures, arrays and lists of them "
            "accepted; set it where the editor is made"
        )

    return {name: plain(value, name) for name, value in options.items() if not callable(value)}, blobs


def give(kept: Any, read: Callable[[str], bytes]) -> Any:
    """The options again, as arguments. read: a role to the bytes of its file."""
    if isinstance(kept, list):
        return [give(one, read) for one in kept]
    if not isinstance(kept, dict):
        return kept
    if "$file" in kept:
        return read(kept["$file"])
    if "$array" in kept:
        return np.load(io.BytesIO(read(kept["$array"])), allow_pickle=False)
    if "$pair" in kept:
        name, value = kept["$pair"]
        return name, give(value, read)
    return {name: give(value, read) for name, value in kept.items()}


def _array(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _read(value: Any, name: str) -> bytes:
    """The bytes of a picture in a path, bytes or file. Raises InputError unless there is one."""
    try:
        data = Path(value).read_bytes() if isinstance(value, str | os.PathLike) else value
        data = data.read() if hasattr(data, "read") else data
    except OSError as error:
        raise InputError(f"{name}={value!r}: cannot be read ({error.strerror}); a picture accepted; check it") from None
    image.read(data, name=name)
    return bytes(data)
