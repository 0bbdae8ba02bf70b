"""A request as the pipeline carries it out: checked against the model, its pictures read, every default filled in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.config import ModelConfig
from recast.context.encodings import Encodings
from recast.context.fitting import Size, fit_pictures
from recast.context.keeping import Carried, may_change
from recast.context.references import References, called_by_number, label, named, uncalled
from recast.errors import ConfigError, InputError
from recast.flow import schedule
from recast.options import Options
from recast.pixels import geometry
from recast.pixels.geometry import Fit
from recast.pixels.image import Picture, read
from recast.pixels.mask import digest, read_mask
from recast.recipe import Preserving

if TYPE_CHECKING:
    from recast.pixels.image import Source

Prompt = str | Sequence[str]


@dataclass(frozen=True)
class Request:
    """A request with every default filled in."""

    task: str
    prompts: list[str]  # one for all pictures, or one for each
    asked: list[str]  # the same as the caller wrote them, references by name
    options: Options
    times: list[float]
    sampler: str
    guidance: float | None
    true_guidance: float
    seeds: list[int]
    grid: tuple[int, int]  # rows and columns of target tokens
    finish: Callable[[np.ndarray], Picture]  # decoded rgb at the model's size to the picture handed out
    pictures: list[Picture] = field(default_factory=list)
    fits: list[Fit] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    size: str = "auto"
    warnings: list[str] = field(default_factory=list)
    may_change: np.ndarray | None = None  # (rows, columns) bool: tokens that a mask lets change; None, all
    carried: Carried | None = None
    encodings: Encodings | None = None
    preserving: Preserving = field(default_factory=Preserving)

    def asked_of(self, seed: int) -> str:
        """The words for the picture of this seed."""
        return self.asked[self.seeds.index(seed) % len(self.asked)]

    def together(self, seed: int) -> int:
        """How many pictures go through the network at once when the one of this seed does."""
        size = self.options.batch_size
        first = self.seeds.index(seed) // size * size
        return len(self.seeds[first : first + size])


def of_generate(
    config: ModelConfig, prompt: Prompt, *, width: int | None, height: int | None, options: Mapping[str, Any]
) -> Request:
    """What `Pipeline.generate` is asked for. Raises ConfigError or InputError for what this model cannot do."""
    prompts = _prompts(prompt)
    defaults, multiple = config.defaults, config.pixels_per_token
    width = defaults.width if width is None else width
    height = defaults.height if height is None else height
    for name, side in (("width", width), ("height", height)):
        if not isinstance(side, int):
            raise ConfigError(f"{name}={side!r}: a whole number of pixels accepted; pass one")
    geometry.check_size(width, height, multiple)
    grid = height // multiple, width // multiple
    return _resolved(config, "generate", prompts, _of_all(prompts, options), grid, lambda rgb: Picture(rgb))


def of_edit(
    config: ModelConfig,
    image: Source,
    prompt: Prompt,
    *,
    references: References,
    size: Size,
    mask: Source | None,
    mask_mode: str,
    carried: Carried | None,
    encodings: Encodings | None,
    options: Mapping[str, Any],
) -> Request:
    """What `Pipeline.edit` is asked for, its pictures read. Raises ConfigError, InputError or ShapeError."""
    prompts = _prompts(prompt)
    if not config.takes_context:
        raise ConfigError(
            f"edit: {config.name} was trained to make pictures from text alone; "
            "use nano or kontext_dev to edit, or `generate` with this model"
        )
    sources = [(None, image), *named(references)]
    pictures = [read(source, name=label(name, i)) for i, (name, source) in enumerate(sources)]
    source, names = pictures[0], [name for name, _ in sources]
    fits = fit_pictures(config, [(picture.width, picture.height) for picture in pictures], size)
    free, preserving = None, Preserving()
    if mask is not None:
        values = read_mask(mask, width=source.width, height=source.height, mode=mask_mode)
        free, preserving = may_change(fits[0], values), replace(preserving, mask=digest(values))
    if carried is not None:
        carried.check(fits[0].grid, config.flow.in_channels)
        preserving = replace(preserving, carried=carried.sha256())
    request = _resolved(
        config,
        "edit",
        [called_by_number(each, names) for each in prompts],
        _of_all(prompts, options),
        fits[0].grid,
        lambda rgb: Picture(geometry.undo(fits[0], rgb), source.alpha),
    )
    return replace(
        request,
        asked=prompts,
        pictures=pictures,
        fits=fits,
        names=names,
        size=size if isinstance(size, str) else f"{size[0]}x{size[1]}",
        warnings=request.warnings
        + [f"{label(name, i)}: {note}" for i, name in enumerate(names) for note in pictures[i].warnings]
        + list(dict.fromkeys(note for each in prompts for note in uncalled(each, names))),
        may_change=free,
        carried=carried,
        encodings=encodings,
        preserving=preserving,
    )


def _resolved(
    config: ModelConfig,
    task: str,
    prompts: list[str],
    options: Options,
    grid: tuple[int, int],
    finish: Callable[[np.ndarray], Picture],
) -> Request:
    """A request without pictures, with the defaults of a model. grid, finish: as of `Request`."""
    defaults, flow = config.defaults, config.flow
    if flow.extra_channels:
        raise ConfigError(
            f"{task}: this network reads {flow.extra_channels} more channels beside the target (fill, canny or "
            "depth), for which there is no argument yet; use `flow.condition(extra=...)` or another model"
        )
    usual_guidance = defaults.guidance
    if task == "edit" and defaults.edit_guidance is not None:
        usual_guidance = defaults.edit_guidance
    guidance = usual_guidance if options.guidance is None else options.guidance
    if guidance is not None and not flow.guidance_embed:
        raise ConfigError(
            f"guidance={guidance}: {config.name} has no guidance embedding; "
            "use true_guidance (two evaluations a step), or leave it out"
        )
    usual = defaults.edit_true_guidance if task == "edit" else defaults.generate_true_guidance
    true_guidance = usual if options.true_guidance is None else options.true_guidance
    if options.negative_prompt is not None and true_guidance == 1.0:
        raise ConfigError(
            f"negative_prompt={options.negative_prompt!r}: has no effect at true_guidance=1; set it above 1"
        )
    if options.times is not None:
        times = [float(t) for t in options.times]
    else:
        mu = schedule.resolution_shift(grid[0] * grid[1]) if config.shifts_schedule else 0.0
        times = schedule.times(options.steps or defaults.steps, mu=mu)
    first = secrets.randbits(32) if options.seed is None else options.seed
    seeds = [first + i for i in range(options.num_images)]
    sampler = options.sampler or defaults.sampler
    request = Request(task, prompts, prompts, options, times, sampler, guidance, true_guidance, seeds, grid, finish)
    return replace(request, warnings=_untrained(request, config, usual_guidance))


def _prompts(prompt: Prompt) -> list[str]:
    """The words as a list: one for all pictures, or one for each."""
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list | tuple) or not prompts or not all(isinstance(each, str) for each in prompts):
        raise InputError(f'prompt={prompt!r}: a string, or a list of some, accepted; pass one, "" for none')
    return list(prompts)


def _of_all(prompts: list[str], options: Mapping[str, Any]) -> Options:
    """The options of a request; a list of words says how many pictures there are."""
    made = Options.of(options)
    if len(prompts) == 1:
        return made
    if made.num_images != 1:
        raise ConfigError(
            f"num_images={made.num_images}: a list of {len(prompts)} prompts makes a picture of each; leave it out"
        )
    return replace(made, num_images=len(prompts))


def _untrained(request: Request, config: ModelConfig, guidance: float | None) -> list[str]:
    """A warning for each way in which a model of few steps is asked for what it was not distilled for.

    guidance: the scale of the embedding that it was, None for a model without one.
    """
    if not config.is_few_step:
        return []
    asked: dict[str, tuple[object, object]] = {
        "steps": (len(request.times) - 1, config.defaults.steps),
        "sampler": (request.sampler, config.defaults.sampler),
        "guidance": (request.guidance, guidance),
        "true_guidance": (request.true_guidance, 1.0),
    }
    return [
        f"{name}={given}: {config.name} was distilled for {name}={usual} alone; leave it out"
        for name, (given, usual) in asked.items()
        if given != usual
    ]
