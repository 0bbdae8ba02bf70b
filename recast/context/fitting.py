"""Which size a model works at a picture: the words of `size`, by the grids that the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from recast.config import ModelConfig
from recast.errors import ConfigError
from recast.pixels import geometry
from recast.pixels.geometry import Fit

Size = Literal["auto", "source", "trained"] | tuple[int, int]


def fit_pictures(config: ModelConfig, pictures: Sequence[tuple[int, int]], size: Size) -> list[Fit]:
    """How an edit lays its pictures on the model's grid, in order.

    pictures: (width, height) of each, the edited one first. It is laid as `size` says, every further one by "auto".
    Raises ConfigError like `fit_picture`.
    """
    return [fit_picture(config, *one, "auto" if index else size) for index, one in enumerate(pictures)]


def fit_picture(config: ModelConfig, width: int, height: int, size: Size) -> Fit:
    """How one picture lies on the model's grid.

    size: "auto", its own size or, where that is outside what the model was trained for, scaled into it; "source", its
    own in any case; "trained", stretched to the nearest trained size; (width, height).
    Raises ConfigError for a size that is none of these, or that the model cannot work at.
    """
    defaults, multiple = config.defaults, config.pixels_per_token
    if size == "auto":
        return geometry.fit(
            width, height, min_tokens=defaults.min_tokens, max_tokens=defaults.max_tokens, multiple=multiple
        )
    if size == "source":
        return geometry.own_size(width, height, multiple)
    if size == "trained":
        if not config.trained_sizes:
            raise ConfigError(f"size='trained': {config.name} lists no trained sizes; use auto or source")
        return geometry.nearest_trained(width, height, config.trained_sizes, multiple)
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise ConfigError(f"size={size!r}: auto, source, trained or (width, height) accepted; pass one")
    geometry.check_size(*size, multiple)
    return geometry.exactly(width, height, *size, multiple)
