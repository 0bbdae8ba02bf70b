"""The chapters in order: words and pictures in, a picture out, and what made it.

`Pipeline.generate` makes a picture from words, `Pipeline.edit` changes one by words. Both also come as a `Run`, an
iterator of steps: the bar, the preview and the stop button belong to whoever holds it. What is asked is checked in
`request`, what made a picture is said in `provenance`; here is what lies between, in its order.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from recast.config import ModelConfig
from recast.context.encodings import Encodings, seen
from recast.context.fitting import Size
from recast.context.images import ContextTokens, in_order
from recast.context.keeping import Carried, Hold
from recast.context.references import References
from recast.context.text import TextEncoder
from recast.errors import OutOfMemory, RecastError
from recast.flow import sampler as samplers
from recast.flow.guidance import guided
from recast.flow.transformer import Condition, FlowTransformer, Network
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import pack, positions, unpack
from recast.pixels import geometry, image
from recast.pixels.image import Picture
from recast.provenance import arithmetic_of, recipe_of
from recast.recipe import Adapter
from recast.request import Prompt, Request, of_edit, of_generate
from recast.run import Result, Run, Step

if TYPE_CHECKING:
    from recast.pixels.image import Source

log = logging.getLogger(__name__)

BAND_ABOVE_PX = 2 << 20  # larger pictures go through the autoencoder in bands of rows
BAND_ROWS = 64


class Generates(Protocol):
    """Whatever makes and edits pictures: the pipeline here, or one behind a network."""

    def generate(self, prompt: str, **options: Any) -> Result: ...
    def edit(self, image: Source, prompt: str, **options: Any) -> Result: ...


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
        self._recalled = recalled

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def recalled(self) -> Mapping[str, str]:
        """The checksums to look things up by, which may be remembered from before (`recast.weights.hashes`)."""
        return self.checksums() if self._recalled is None else self._recalled()

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
        return self._run(of_generate(self.config, prompt, width=width, height=height, options=options))

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
        return self._run(
            of_edit(
                self.config,
                image,
                prompt,
                references=references,
                size=size,
                mask=mask,
                mask_mode=mask_mode,
                carried=carried,
                encodings=encodings,
                options=options,
            )
        )

    def _run(self, request: Request) -> Run:
        return Run(self._steps(request), self._count(request), request)

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
                    recipe_of(
                        request,
                        seed,
                        picture,
                        config=self.config,
                        adapters=self.adapters,
                        arithmetic=self._arithmetic(),
                        warnings=warnings,
                        timings=timings,
                    )
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

    def _arithmetic(self) -> dict[str, Any]:
        """What beside weights and request decides the last bits, under the names that a recipe has for it."""
        return arithmetic_of(self.plan, self.device, self.dtype)


def _band(width: int, height: int) -> int | None:
    return BAND_ROWS if width * height > BAND_ABOVE_PX else None


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
