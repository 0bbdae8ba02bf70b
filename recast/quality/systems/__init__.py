"""Systems under test, all of one shape: local models, diffusers pipelines, hosted services.

    system = systems.named("nano", steps=8)
    system = systems.named("bfl:flux-kontext-pro")          # its key comes from BFL_API_KEY
    systems.estimate(system, requests)                      # what a run will cost, before it starts
    made = system.make(request)

`contract` says what a system is; `hosted` what the services share, `http` how they are talked to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from recast import models
from recast.errors import ConfigError
from recast.quality.systems.contract import Failed, Made, Request, Status, System

__all__ = ["Failed", "Made", "Request", "Status", "System", "estimate", "named"]

_SERVICES = {
    "bfl": "Bfl",
    "openai": "OpenAI",
    "google": "Google",
    "recraft": "Recraft",
    "stability": "Stability",
    "replicate": "Replicate",
    "fal": "Fal",
}
"""A service's name, which is its module's, and its class there."""

_EXAMPLES = (
    "nano, PATH or recast:PATH (a local model), diffusers:PATH (a pipeline's folder), bfl:flux-kontext-pro, "
    "openai:gpt-image-1, google:gemini-2.5-flash-image, recraft:recraftv3, stability:sd3.5-large, "
    "replicate:black-forest-labs/flux-kontext-pro, fal:fal-ai/flux-pro/kontext"
)


def named(spec: str, *, environ: Mapping[str, str] | None = None, **options: Any) -> System:
    """The system that `spec` names: a local model, "diffusers:FOLDER", or "SERVICE:MODEL".

    options: of `recast.quality.systems.local`, `.diffusers` or `.hosted.Options`. environ: where keys are looked for;
    None is the process's own. Raises ConfigError for a name that is none, an option that is none, and a missing key.
    """
    kind, colon, rest = spec.partition(":")
    if colon and kind in _SERVICES and rest:
        return _hosted(kind, rest, os.environ if environ is None else environ, options)
    try:
        if colon and kind == "diffusers" and rest:
            from recast.quality.systems.diffusers import Diffusers

            return Diffusers(rest, **options)
        is_said = bool(colon and kind == "recast" and rest)
        if is_said or models.find(spec) is not None or (spec and Path(spec).exists()):
            from recast.quality.systems.local import Local

            return Local(rest if is_said else spec, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ConfigError(f"{spec}: {str(error).partition(' ')[2]}; leave it out") from error
    raise ConfigError(f"system={spec!r}: names none, and is no file here; accepted: {_EXAMPLES}")


def _hosted(service: str, model: str, environ: Mapping[str, str], options: Mapping[str, Any]) -> System:
    from recast.quality.systems.hosted import Options
    from recast.quality.systems.secret import from_environment

    adapter = getattr(import_module(f"recast.quality.systems.{service}"), _SERVICES[service])
    known = Options.__dataclass_fields__
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: no option of a hosted system; accepted: {', '.join(known)}; fields of the request "
            "go into extra"
        )
    return adapter(model, Options(**options), from_environment(environ, adapter.variables))


def estimate(system: System, requests: Iterable[Request]) -> dict[str, Any]:
    """What a run will take: `requests`, `usd` (None if any price is unknown), `seconds_at_least` and their parts.

    usd_known is the sum of the known prices. seconds_at_least follows from the rate limit alone; the pictures
    themselves take longer, and requests that are repeated may be charged again.
    """
    prices = [system.price_usd(request) for request in requests]
    known = [price for price in prices if price is not None]
    per_minute = getattr(system, "requests_per_minute", None)
    return {
        "system": system.name,
        "requests": len(prices),
        "usd": round(sum(known), 6) if len(known) == len(prices) else None,
        "usd_known": round(sum(known), 6),
        "unpriced": len(prices) - len(known),
        "requests_per_minute": per_minute,
        "seconds_at_least": max(0, len(prices) - 1) * 60 / per_minute if per_minute else 0.0,
    }
