"""A model stored as what it changes of another: one safetensors file over a named base. No torch, only headers.

The tensors are those of an adapter (`adapters`): pairs B A for matrices, the whole change of what is small, and the
whole of a guidance embedding that the base lacks. What makes it a model and no adapter stands in the header: the base
by its name and by a hash of its weights, and the config of the model that both make, with steps, sampler and guidance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recast.config import ModelConfig, from_dict, to_dict
from recast.errors import RecastError, WeightsError
from recast.weights.files import count, read_header

KEY = "recast_delta"
"""The entry of the header that holds all but the tensors, as JSON."""
FORMAT = "recast-delta-1"


@dataclass(frozen=True, kw_only=True)
class Base:
    """The model that a delta is over. sha256: of its flow transformer's weights (`weights.digest`)."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What the header of a delta says."""

    path: Path
    base: Base
    config: ModelConfig  # of the model that base and delta make
    rank: int = 0  # the largest of its pairs
    error: float = 0.0  # length of the change that it does not hold over that of the whole change; 0: it holds all
    about: Mapping[str, Any] = field(default_factory=dict)  # how it was made
    parameters: int = 0
    size_bytes: int = 0


def is_delta(path: str | Path) -> bool:
    """Whether a delta is at `path`. Raises WeightsError for a file that says it is safetensors and is not."""
    path = Path(path)
    return path.suffix == ".safetensors" and path.is_file() and KEY in read_header(path).metadata


def read_delta(path: str | Path) -> Delta:
    """What the delta at `path` says of itself. Raises WeightsError for any other file, MissingWeights for none."""
    header = read_header(Path(path))
    try:
        said = json.loads(header.metadata[KEY])
        form = said["format"]
    except (KeyError, ValueError, TypeError):
        raise WeightsError(
            f"delta={header.path.name!r}: says no base in its header; a delta written by recast accepted; a plain "
            "adapter is given beside a model"
        ) from None
    if form != FORMAT:
        raise WeightsError(f"delta={header.path.name!r}: of format {form!r}; {FORMAT!r} accepted; update recast")
    try:
        return Delta(
            path=header.path,
            base=Base(name=str(said["base"]["name"]), sha256=str(said["base"]["sha256"])),
            config=from_dict(said["config"]),
            rank=int(said["rank"]),
            error=float(said["error"]),
            about=dict(said["about"]),
            parameters=sum(count(stored.shape) for stored in header.tensors.values()),
            size_bytes=sum(stored.size_bytes for stored in header.tensors.values()),
        )
    except (KeyError, ValueError, TypeError, RecastError) as error:
        raise WeightsError(
            f"delta={header.path.name!r}: its header is unreadable ({error}); that of a file written by recast is "
            "expected; get it again"
        ) from None


def header_of(delta: Delta) -> dict[str, str]:
    """The header that `read_delta` reads back; path and sizes are the file's own."""
    said = {
        "format": FORMAT,
        "base": {"name": delta.base.name, "sha256": delta.base.sha256},
        "config": to_dict(delta.config),
        "rank": delta.rank,
        "error": delta.error,
        "about": dict(delta.about),
    }
    return {KEY: json.dumps(said, ensure_ascii=False)}
