"""A request under way, step by step, and what came out of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.errors import ConfigError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One step of a run. Asking for the preview costs a decoding; not asking costs nothing."""

    index: int  # from 1
    of: int
    t: float  # where the sampler stands now; 0 at the end of a picture
    seeds: tuple[int, ...]  # of the pictures under way
    tokens: Tensor  # (b, n, d) at time t
    clean: Tensor  # (b, n, d): the clean picture as the network predicts it now
    decode: Callable[[Tensor], list[Picture]] = field(repr=False)
    source: Tensor | None = field(default=None, repr=False)  # (1, n, d): of an edit, its source as tokens
    narrow: Callable[[int, np.ndarray], None] | None = field(default=None, repr=False)
    """Of an edit: `narrow(k, mask)` lets the k-th of these pictures change from here on only where the mask (H, W),
    of the source's size, is above 0; it adds to what was asked before."""

    def preview(self) -> list[Picture]:
        """The pictures as predicted after this step."""
        return self.decode(self.clean)


@dataclass(frozen=True)
class Result:
    """The pictures, in the order of their seeds, with the recipe of each."""

    pictures: tuple[Picture, ...]
    recipes: tuple[Recipe, ...]
    warnings: tuple[str, ...] = ()
    tokens: tuple[Tensor, ...] = field(default=(), repr=False, compare=False)  # (1, n, d) each, as decoded
    source_tokens: Tensor | None = field(default=None, repr=False, compare=False)  # (1, n, d): an edit's source

    @property
    def images(self) -> list[PIL.Image.Image]:
        """The pictures as Pillow images."""
        return [picture.to_pil() for picture in self.pictures]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the first picture."""
        return self.recipes[0]

    def save(self, path: str | Path, *, index: int = 0, with_recipe: bool = True, **options: Any) -> Path:
        """Write one picture, PNG, JPEG or WebP by the suffix; options as of `recast.pixels.image.write`."""
        recipe = self.recipes[index].to_json() if with_recipe else None
        return image.write(self.pictures[index], path, recipe=recipe, **options)


class Run:
    """A request under way. Iterate for its steps; stop iterating to stop the work; `result` is there at the end."""

    def __init__(self, steps: Generator[Step, None, Result], of: int, request: Any) -> None:
        self._steps = steps
        self._result: Result | None = None
        self.of = of  # steps in all
        self.request = request  # as it was resolved

    def __iter__(self) -> Iterator[Step]:
        if self._result is None:
            self._result = yield from self._steps

    @property
    def result(self) -> Result:
        """What came out. Raises ConfigError if the run was not iterated to its end."""
        if self._result is None:
            raise ConfigError("result: the run is not through its steps; iterate to their end, or start another")
        return self._result

    def finish(self, on_step: Callable[[Step], None] | None = None) -> Result:
        """Go through the steps, calling on_step after each, and return the result."""
        for step in self:
            if on_step is not None:
                on_step(step)
        return self.result
