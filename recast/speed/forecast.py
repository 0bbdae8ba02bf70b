"""What a plan makes of a request's cost, by formula: what an option skips, what passes through the device, and time.

A forecast, and no more: FLOPs are counted by `recast.cost`, and rates come from whoever asks. Letters as there.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace

from recast import cost
from recast.config import ModelConfig
from recast.cost import Estimate, Request, Work
from recast.errors import ConfigError, OutOfMemory
from recast.speed.approximate import KINDS, Approximate
from recast.speed.memory import Memory, Numbers, block_bytes, fit, modulator_bytes
from recast.speed.plan import Plan
from recast.speed.refresh import Refresh

NONE = Work()


@dataclass(frozen=True, kw_only=True)
class Walked:
    """The evaluations of a walk, of one batch and one guidance: how many of which kind."""

    whole: int
    smaller: int = 0  # with fewer rows
    skipped: int = 0
    step: Work  # of a whole one
    smaller_step: Work = NONE
    note: str = ""

    @property
    def work(self) -> Work:
        return self.step.times(self.whole).plus(self.smaller_step.times(self.smaller))


@dataclass(frozen=True, kw_only=True)
class Rates:
    """FLOP/s of the text encoder, the network's products and its attention, and the autoencoder; bytes/s to a GPU."""

    text: float
    linear: float
    attention: float
    autoencoder: float
    bus: float

    def seconds(self, work: Work) -> float:
        """Of an evaluation of the network."""
        return work.linear / self.linear + work.attention / self.attention


def asked_at(sampler: str, steps: int) -> list[int]:
    """The step, counted from 0, of every evaluation that a sampler makes: heun asks twice at all but the first."""
    return sorted([*range(steps), *(range(1, steps) if sampler == "heun" else ())])


def walked(
    config: ModelConfig,
    request: Request,
    plan: Plan,
    *,
    steps: Sequence[int],
    changed: float | None = None,
) -> Walked:
    """What a plan's option makes of the evaluations that a sampler asks for.

    steps: of each evaluation, the step it is asked at, see `asked_at`. changed: the share of the picture's tokens
    that a mask lets change, which region needs.
    Raises ConfigError for an option that does not suit the request.
    """
    n, r = _tokens(config, request)
    text, batch = config.text.max_length, min(request.batch_size, request.num_images)
    step = cost.step_work(config.flow, target=n, text=text, context=r, batch=batch)
    option = plan.approximate
    if option is None:
        return Walked(whole=len(steps), step=step)
    _suits(option, config, request, steps, changed)
    given = _settings(option)
    if option.kind == "first-block":
        note = "first-block: how much it skips depends on the picture; counted as skipping nothing"
        return Walked(whole=len(steps), step=step, note=note)
    refresh = Refresh(first=int(given["first"]), every=int(given["every"]), last=bool(given["last"]))
    whole = sum(refresh.at(at, max(steps) + 1) for at in steps)
    others = len(steps) - whole
    if option.kind == "extrapolate":
        note = f"extrapolate: {whole} of {len(steps)} evaluations are made"
        return Walked(whole=whole, skipped=others, step=step, note=note)
    region = n if changed is None else min(n, max(1, round(changed * n)))
    if option.kind == "region" and region == n:
        return Walked(whole=len(steps), step=step, note="region: everything may change, so that nothing is left out")
    # Rows and keys of an evaluation that leaves tokens out are those of cached mode, with these as the context.
    cached = replace(config.flow, context_attention="cached")
    smaller = cost.step_work(cached, target=region, text=text, context=r + n - region, batch=batch)
    what = f"with {region} of {n} tokens; its ring is not counted" if region < n else "without the context's rows"
    note = f"{option.kind}: {others} of {len(steps)} evaluations {what}"
    return Walked(whole=whole, smaller=others, step=step, smaller_step=smaller, note=note)


def kept_bytes(config: ModelConfig, request: Request, option: Approximate | None, *, item: int) -> int:
    """The most that an option keeps on the device from step to step, with what a refresh makes beside it.

    item: bytes a number. Of region, that of a mask which lets nearly nothing change.
    """
    if option is None:
        return 0
    n, r = _tokens(config, request)
    flow, given = config.flow, _settings(option)
    samples = min(request.batch_size, request.num_images) * (1 if request.true_guidance == 1.0 else 2)
    if option.kind == "first-block":
        return 2 * n * flow.hidden_size * item * samples
    if option.kind == "extrapolate":
        return 4 * n * flow.out_channels * (int(given["order"]) + 1) * samples
    computed = r if flow.context_attention == "full" else 0
    lives, tokens = (2, n + computed) if option.kind == "region" else (3 if given["extrapolates"] else 2, computed)
    return lives * tokens * 2 * flow.hidden_size * (flow.depth + flow.depth_single_blocks) * item * samples


def fit_beside(
    config: ModelConfig, request: Request, numbers: Numbers, cap_bytes: float, option: Approximate | None
) -> Memory:
    """As `recast.speed.memory.fit`, with what an option keeps put aside; OutOfMemory says how much that is."""
    kept = kept_bytes(config, request, option, item=numbers.item)
    try:
        return fit(config, request, numbers, max(0, cap_bytes - kept))
    except OutOfMemory as error:
        if not kept:
            raise
        raise OutOfMemory(f"{error}; {kept / 1e9:.2f} GB of {cap_bytes / 1e9:.2f} go to what {option} keeps") from None


def seconds(
    config: ModelConfig,
    request: Request,
    estimated: Estimate,
    walk: Walked,
    numbers: Numbers,
    memory: Memory | None,
    rates: Rates,
) -> dict[str, float]:
    """The time of each stage. Weights that pass a GPU's bus take as long as it does, where that is longer."""
    passes = 1 if request.true_guidance == 1.0 else 2
    batches = -(-request.num_images // min(request.batch_size, request.num_images))
    passing, text, modulators = (
        (0, 0, 0) if memory is None or not numbers.on_cuda else _passing(config, numbers, memory)
    )
    per_evaluation = passing / rates.bus
    sampling = walk.whole * max(rates.seconds(walk.step), per_evaluation)
    sampling += walk.smaller * max(rates.seconds(walk.smaller_step), per_evaluation)
    sampling *= passes * batches
    return {
        "text": estimated.text.total / rates.text + text / rates.bus,
        "encode": estimated.encode.total / rates.autoencoder,
        "sample": rates.seconds(estimated.condition) + passes * batches * modulators / rates.bus + sampling,
        "decode": estimated.decode.total / rates.autoencoder,
    }


def _passing(config: ModelConfig, numbers: Numbers, memory: Memory) -> tuple[int, int, int]:
    """(blocks, text, modulators): bytes that pass at each evaluation, once a request, and once a walk."""
    text = sum(int(numbers.text * sizes.parameters) for sizes, _ in cost.text_encoders(config).values())
    return (
        sum(block_bytes(config.flow, numbers)[memory.resident_blocks :]),
        0 if memory.text == "resident" else text,
        0 if memory.modulators == "resident" else sum(modulator_bytes(config.flow, numbers)),
    )


def _tokens(config: ModelConfig, request: Request) -> tuple[int, int]:
    side = config.pixels_per_token
    context = sum(width // side * (height // side) for width, height in request.contexts)
    return request.width // side * (request.height // side), context


def _settings(option: Approximate) -> dict[str, float]:
    """The settings of an option, the usual ones where it has none of its own."""
    usual = {name: setting.default for name, setting in inspect.signature(KINDS[option.kind]).parameters.items()}
    return usual | dict(option.settings)


def _suits(
    option: Approximate, config: ModelConfig, request: Request, steps: Sequence[int], changed: float | None
) -> None:
    """Raises ConfigError where the option itself would, once it met the request."""
    came = f"approximate={str(option)!r}"
    is_cached = config.flow.context_attention == "cached"
    # of the mask only its share is known here, and of the sampler its steps: both are looked at below
    option.check(has_context=bool(request.contexts), has_mask=True, sampler="euler", is_cached=is_cached)
    if option.kind == "extrapolate" and len(set(steps)) < len(steps):
        raise ConfigError(f"{came}: a sampler of two evaluations a step; use euler, ab2 or dpmpp_2m with it")
    if (option.kind == "region") != (changed is not None):
        raise ConfigError(
            f"{came}, changed={changed}: the share of the picture that the mask lets change belongs to region, and "
            "region needs it; a number above 0, up to 1"
        )
    if changed is not None and not 0 < changed <= 1:
        raise ConfigError(f"changed={changed}: a number above 0, up to 1, accepted: a share of the picture")
