"""The chapters in order: words and pictures in, a picture out, and what made it.

`Pipeline.generate` makes a picture from words, `Pipeline.edit` changes one by words. Both
also come as a `Run`, an iterator of steps: the bar, the preview and the stop button belong to whoever holds it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import PIL
import PIL.Image
import torch
from torch import Tensor

from recast.config import VERSION, ModelConfig
from recast.context.encodings import Encodings, seen
from recast.context.fitting import Size, fit_pictures
from recast.context.images import ContextTokens, in_order
from recast.context.keeping import Carried, Hold, may_change
from recast.context.references import References, called_by_number, label, named, uncalled
from recast.context.text import TextEncoder
from recast.cpu_units import cpu_units
from recast.errors import ConfigError, InputError, OutOfMemory, RecastError
from recast.flow import sampler as samplers
from recast.flow import schedule
from recast.flow.guidance import guided
from recast.flow.transformer import Condition, FlowTransformer, Network
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import pack, positions, unpack
from recast.options import Options
from recast.pixels import geometry, image
from recast.pixels.geometry import Fit
from recast.pixels.image import Picture, read
from recast.pixels.mask import digest, read_mask
from recast.recipe import Adapter, Ingredient, Preserving, Recipe
from recast.run import Result, Run, Step

if TYPE_CHECKING:
    from recast.pixels.image import Source

log = logging.getLogger(__name__)

BAND_ABOVE_PX = 2 << 20  # larger pictures go through the autoencoder in bands of rows
BAND_ROWS = 64
Prompt = str | Sequence[str]


class Generates(Protocol):
    """Whatever makes and edits pictures: the pipeline here, or one behind a network."""

    def generate(self, prompt: str, **options: Any) -> Result: ...
    def edit(self, image: Source, prompt: str, **options: Any) -> Result: ...


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


class Pipeline:
    """A model ready to work. Built by `recast.load`; holds no state between calls but the cache of encoded prompts."""

    def __init__(
        self,
        config: ModelConfig,
        flow: FlowTransformer,
        autoencoder: Autoencoder,
        text: TextEncoder,
        *,
        checksums: Callable[[], Mapping[str, str]] = dict,
        recalled: Callable[[], Mapping[str, str]] | None = None,
        adapters: Sequence[Adapter] = (),
    ) -> None:
        self.config = config
        self.flow = flow.eval().requires_grad_(False)
        self.network: Network = self.flow  # what is evaluated: the same weights, perhaps made faster (`recast.speed`)
        self.plan = "reference"  # what was exchanged for it, for the recipe
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        if not autoencoder.encoder.conv_in.weight.is_meta:  # what convolutions like best
            self.autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.text = text
        self.adapters = tuple(adapters)
        self.checksums = checksums  # of the weight files; reads them when first asked
        self.recalled = recalled or (lambda: self.checksums())  # to look things up by: `recast.weights.hashes`

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def generate(self, prompt: Prompt, *, on_step: Callable[[Step], None] | None = None, **options: Any) -> Result:
        """Pictures from words. width, height: of the picture, in pixels; further options: `Options`.

        prompt: words for all pictures, or a list with words for each: so many pictures are made.
        """
        return self.start_generate(prompt, **options).finish(on_step)

    def edit(
        self, image: Source, prompt: Prompt, *, on_step: Callable[[Step], None] | None = None, **options: Any
    ) -> Result:
        """The picture changed as the prompt says, at exactly its own width and height.

        prompt: words, or a list of them for as many variants of one picture, which is looked at once for all.

        references: further pictures, as a list or by name; the prompt calls them "image 2", or "@name". A name may
        hold a list of pictures; a list may hold pairs (name, picture), the name None where there is none.
        size: what the model works at. "auto", the source's own size or, where that is outside what the model was
        trained for, scaled into it; "source", its own in any case; "trained", stretched to the nearest trained
        size; (width, height). mask: (H, W) of the source's size, or a picture of one, above 0 where it may change
        (`recast.pixels.mask`; mask_mode: how a file shows it); the model's tokens that no such pixel touches, nor a
        neighbour, stay the source's own. The decoder still blends across their border: only `recast.retouch` keeps
        pixels. carried: tokens of the source that are known (`Carried`). encodings: where tokens of pictures are kept
        from request to request. Further options: `Options`.
        """
        return self.start_edit(image, prompt, **options).finish(on_step)

    def start_generate(
        self, prompt: Prompt, *, width: int | None = None, height: int | None = None, **options: Any
    ) -> Run:
        """As `generate`, as a run. The request is checked before this returns."""
        prompts = _prompts(prompt)
        defaults, multiple = self.config.defaults, self.config.pixels_per_token
        width = defaults.width if width is None else width
        height = defaults.height if height is None else height
        for name, side in (("width", width), ("height", height)):
            if not isinstance(side, int):
                raise ConfigError(f"{name}={side!r}: a whole number of pixels accepted; pass one")
        geometry.check_size(width, height, multiple)
        grid = height // multiple, width // multiple
        request = self._request("generate", prompts, _of_all(prompts, options), grid, lambda rgb: Picture(rgb))
        return Run(self._steps(request), self._count(request), request)

    def start_edit(
        self,
        image: Source,
        prompt: Prompt,
        *,
        references: References = (),
        size: Size = "auto",
        mask: Source | None = None,
        mask_mode: str = "auto",
        carried: Carried | None = None,
        encodings: Encodings | None = None,
        **options: Any,
    ) -> Run:
        """As `edit`, as a run. The request is checked, and its pictures read, before this returns."""
        prompts = _prompts(prompt)
        if not self.config.takes_context:
            raise ConfigError(
                f"edit: {self.config.name} was trained to make pictures from text alone; "
                "use nano or kontext_dev to edit, or `generate` with this model"
            )
        sources = [(None, image), *named(references)]
        pictures = [read(source, name=label(name, i)) for i, (name, source) in enumerate(sources)]
        source, names = pictures[0], [name for name, _ in sources]
        fits = fit_pictures(self.config, [(picture.width, picture.height) for picture in pictures], size)
        free, preserving = None, Preserving()
        if mask is not None:
            values = read_mask(mask, width=source.width, height=source.height, mode=mask_mode)
            free, preserving = may_change(fits[0], values), replace(preserving, mask=digest(values))
        if carried is not None:
            carried.check(fits[0].grid, self.config.flow.in_channels)
            preserving = replace(preserving, carried=carried.sha256())
        request = self._request(
            "edit",
            [called_by_number(each, names) for each in prompts],
            _of_all(prompts, options),
            fits[0].grid,
            lambda rgb: Picture(geometry.undo(fits[0], rgb), source.alpha),
        )
        request = replace(
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
        return Run(self._steps(request), self._count(request), request)

    def _request(
        self,
        task: str,
        prompts: list[str],
        options: Options,
        grid: tuple[int, int],
        finish: Callable[[np.ndarray], Picture],
    ) -> Request:
        defaults, flow = self.config.defaults, self.config.flow
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
                f"guidance={guidance}: {self.config.name} has no guidance embedding; "
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
            mu = schedule.resolution_shift(grid[0] * grid[1]) if self.config.shifts_schedule else 0.0
            times = schedule.times(options.steps or defaults.steps, mu=mu)
        first = secrets.randbits(32) if options.seed is None else options.seed
        seeds = [first + i for i in range(options.num_images)]
        sampler = options.sampler or defaults.sampler
        request = Request(task, prompts, prompts, options, times, sampler, guidance, true_guidance, seeds, grid, finish)
        return replace(request, warnings=_untrained(request, self.config, usual_guidance))

    def _count(self, request: Request) -> int:
        batches = -(-len(request.seeds) // request.options.batch_size)
        return batches * (len(request.times) - 1)

    def _steps(self, request: Request) -> Generator[Step, None, Result]:
        """The work itself, from the first encoding to the last picture."""
        started = time.perf_counter()
        reader = ThreadPoolExecutor(max_workers=1)  # hashing 24 GB takes a while, and the sampler does not need it
        hashes = reader.submit(self.checksums)
        reader.shutdown(wait=False)
        try:
            encoded, unwanted, warnings, source = self._encode(request)
            self._wait()
            encoded_s = time.perf_counter() - started
            pictures, recipes, tokens = [], [], list[Tensor]()
            size, count = request.options.batch_size, self._count(request)
            for index, first in enumerate(range(0, len(request.seeds), size)):
                seeds = request.seeds[first : first + size]
                begun, decode = time.perf_counter(), self._decoder(request)
                hold = None if source is None else Hold(request.fits[0], request.may_change, len(seeds), self.device)
                wanted = encoded if len(request.prompts) == 1 else self._for_each(request, seeds, encoded)
                for state in self._sample(request, seeds, wanted, unwanted, source, hold):
                    self._wait()
                    done = index * (len(request.times) - 1) + request.times.index(state.t)
                    narrow = None if hold is None else hold.narrow
                    yield Step(done, count, state.t, tuple(seeds), state.x, state.clean, decode, source, narrow)
                sampled = time.perf_counter()
                batch = decode(state.x)
                timings = {
                    "encode": encoded_s,
                    "sample": sampled - begun,
                    "decode": time.perf_counter() - sampled,
                }
                pictures += batch
                tokens += state.x.split(1)
                recipes += [
                    self._recipe(request, seed, picture, warnings, timings)
                    for seed, picture in zip(seeds, batch, strict=True)
                ]
            known, trouble = _hashes(hashes)
            warnings += trouble
            recipes = [replace(recipe, weights=known, warnings=warnings) for recipe in recipes]
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            rows, columns = request.grid
            said = (str(error) or type(error).__name__).splitlines()[0]  # a bare MemoryError says nothing
            raise OutOfMemory(
                f"memory: ran out at a grid of {rows} x {columns} tokens ({said}); a smaller "
                "request is accepted: use a smaller size, batch_size=1 or bf16; `recast estimate` says what fits"
            ) from error
        log.info("done task=%s pictures=%d seconds=%.2f", request.task, len(pictures), time.perf_counter() - started)
        return Result(tuple(pictures), tuple(recipes), warnings, tuple(tokens), source)

    @torch.inference_mode()
    def _encode(self, request: Request) -> tuple[Condition, Condition | None, tuple[str, ...], Tensor | None]:
        """The request as the network sees it, its unwanted twin where guidance needs one, warnings.

        And an edit's source as tokens (1, n, d) in fp32.
        """
        context = self._context(request)
        source = None if context is None else context.tokens[:, : request.fits[0].tokens].float()
        text = self.text.encode(request.prompts)
        guidance = None if request.guidance is None else torch.tensor([request.guidance], device=self.device)
        wanted = self.network.condition(
            positions=positions(request.grid).to(self.device),
            text=text.tokens[:1].to(self.device, self.dtype),
            pooled=None if text.pooled is None else text.pooled[:1].to(self.device, self.dtype),
            guidance=guidance,
            context=None if context is None else context.tokens.to(self.dtype),
            context_positions=None if context is None else context.positions,
        )
        unused = [
            f"{a.file}: {a.unmatched} of {a.matched + a.unmatched} tensors fit nothing in this model; not applied"
            for a in self.adapters
            if a.unmatched
        ]
        warnings = (*request.warnings, *unused, *text.warnings)
        if request.true_guidance == 1.0:
            return wanted, None, warnings, source
        negative = self.text.encode([request.options.negative_prompt or ""])
        unwanted = self.network.with_text(
            wanted,
            negative.tokens.to(self.device, self.dtype),
            None if negative.pooled is None else negative.pooled.to(self.device, self.dtype),
        )
        warnings += tuple(f"negative prompt: {note}" for note in negative.warnings)
        return wanted, unwanted, warnings, source

    def _context(self, request: Request) -> ContextTokens | None:
        """The request's pictures as tokens in fp32; what is carried of the source is not encoded again."""
        if not request.pictures:
            return None
        tokens = partial(self._tokens, request)
        source = tokens() if request.carried is None else request.carried.over(tokens).to(self.device, torch.float32)
        others = [tokens(index) for index in range(1, len(request.pictures))]
        return in_order([source, *others], [fit.grid for fit in request.fits])

    def _tokens(self, request: Request, index: int = 0) -> Tensor:
        """The tokens (1, n, d) of one picture of a request: encoded, or found where the caller keeps them."""
        picture, fit = request.pictures[index], request.fits[index]
        band = _band(request.fits[0].width, request.fits[0].height)

        def encode() -> Tensor:
            pixels = image.to_pixels(geometry.apply(fit, picture.rgb)).to(self.device)
            return pack(self.autoencoder.encode(pixels, band=band))

        if request.encodings is None:
            return encode()
        return request.encodings.get(seen(picture, fit, band), self._encoded_by, encode).to(self.device)

    def _encoded_by(self) -> str | None:
        """The hash of what decides the bits of an encoding beside the picture; None where the weights are not known."""
        try:
            weights = dict(self.recalled())
        except (OSError, RecastError):  # the recipe says so
            return None
        rows = getattr(self.autoencoder, "rows", None)  # of one that works in smaller bands under a cap
        about = {"weights": weights, "rows": rows, "autoencoder": self.autoencoder.computes, **self._arithmetic()}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest() if weights else None

    @torch.inference_mode()
    def _for_each(self, request: Request, seeds: list[int], encoded: Condition) -> Condition:
        """The condition of a batch in which every picture has words of its own; context and positions are shared."""
        first = request.seeds.index(seeds[0])
        text = self.text.encode(request.prompts[first : first + len(seeds)])
        pooled = None if text.pooled is None else text.pooled.to(self.device, self.dtype)
        return self.network.with_text(encoded, text.tokens.to(self.device, self.dtype), pooled)

    def _sample(
        self,
        request: Request,
        seeds: list[int],
        wanted: Condition,
        unwanted: Condition | None,
        source: Tensor | None,
        hold: Hold | None,
    ) -> Iterator[samplers.State]:
        may_change = None if source is None else hold
        velocity = self.network.along(wanted, request.times, may_change)
        if unwanted is not None:
            velocity = guided(velocity, self.network.along(unwanted, request.times, may_change), request.true_guidance)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def noise() -> Tensor:
            return torch.cat([self._noise(generator, request.grid) for generator in generators])

        walks: dict[str, samplers.Sampler] = {
            "euler": samplers.euler,
            "heun": samplers.heun,
            "ab2": samplers.adams_bashforth_2,
            "dpmpp_2m": samplers.dpm_solver_2m,
            "renoise": samplers.renoise(noise),
        }
        walk = walks[request.sampler]
        if source is not None and hold is not None:
            walk = samplers.held(walk, source, hold)
        return walk(velocity, noise(), request.times)

    def _noise(self, generator: torch.Generator, grid: tuple[int, int]) -> Tensor:
        """Noise tokens (1, n, d) of one picture, in fp32.

        Drawn on the CPU, in bf16 and as latents, which is how the published tools draw it: a seed means the same
        noise there, here, on every device, and alone or in a batch.
        """
        shape = (1, self.config.autoencoder.z_channels, 2 * grid[0], 2 * grid[1])
        return pack(torch.randn(shape, generator=generator, dtype=torch.bfloat16)).float().to(self.device)

    def _decoder(self, request: Request) -> Callable[[Tensor], list[Picture]]:
        multiple = self.config.pixels_per_token
        band = _band(request.grid[0] * multiple, request.grid[1] * multiple)

        @torch.inference_mode()
        def decode(tokens: Tensor) -> list[Picture]:
            latents = unpack(tokens, request.grid)
            # one at a time: the decoder needs far more memory a picture than the transformer
            pixels = [self.autoencoder.decode(one[None], band=band) for one in latents]
            return [request.finish(image.from_pixels(one)[0]) for one in pixels]

        return decode

    def _wait(self) -> None:
        """Until the device has done what it was told: a step that is yielded has happened, a timing is of its own."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _recipe(
        self, request: Request, seed: int, picture: Picture, warnings: tuple[str, ...], timings: dict[str, float]
    ) -> Recipe:
        return Recipe(
            task=request.task,
            prompt=request.asked_of(seed),
            negative_prompt=request.options.negative_prompt,
            seed=seed,
            times=tuple(request.times),
            sampler=request.sampler,
            guidance=request.guidance,
            true_guidance=request.true_guidance,
            width=picture.width,
            height=picture.height,
            size=request.size,
            images=tuple(
                Ingredient(
                    sha256=p.sha256(),
                    width=p.width,
                    height=p.height,
                    fit=fit.to_dict(),
                    file=None if p.source is None else Path(p.source).name,
                    name=name,
                )
                for p, fit, name in zip(request.pictures, request.fits, request.names, strict=True)
            ),
            preserving=request.preserving,
            model=self.config.name,
            weights={},
            adapters=self.adapters,
            context_attention=self.config.flow.context_attention,
            batch_size=request.together(seed),
            **self._arithmetic(),
            timings_s={name: round(seconds, 4) for name, seconds in timings.items()},
            output_sha256=picture.sha256(),
            warnings=warnings,
        )

    def _arithmetic(self) -> dict[str, Any]:
        """What beside weights and request decides the last bits, under the names that a recipe has for it."""
        return {
            "plan": self.plan,
            "device": _device_name(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads() if self.device.type == "cpu" else 0,
            "versions": {
                "recast": VERSION,
                "torch": torch.__version__,
                "pillow": PIL.__version__,
                "python": platform.python_version(),
            },
        }


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


def _band(width: int, height: int) -> int | None:
    return BAND_ROWS if width * height > BAND_ABOVE_PX else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return " ".join((device.type, platform.machine(), *(cpu_units() if device.type == "cpu" else ())))


def _hashes(pending: Future[Mapping[str, str]]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The hashes of the weights, and a warning if they could not be had: the picture is not lost for them."""
    try:
        return pending.result(), ()
    except (OSError, RecastError) as error:
        return {}, (f"weights: not hashed, so the recipe does not pin them ({error})",)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of the many ways in which memory is said to have run out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(phrase in str(error) for phrase in ("can't allocate memory", "out of memory"))
