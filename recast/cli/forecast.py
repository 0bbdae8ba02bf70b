"""`--forecast`: say, a third of the way, where a picture is going to change, and stop what goes astray."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recast.cli.output import expand, say
from recast.errors import ConfigError, GateFailed
from recast.pixels import image

if TYPE_CHECKING:
    from recast.cli.job import Job
    from recast.retouch.forecast import Forecast

    Box = tuple[int, int, int, int]


def on_forecast(args: argparse.Namespace, job: Job, boxes: Sequence[Box]) -> Callable[[Forecast], None] | None:
    """What to do with a forecast as the flags say; None where none is asked for. Raises ConfigError for odd flags."""
    if args.forecast == "stop" and not boxes:
        raise ConfigError("--forecast=stop: stops what leaves the boxes, and there are none; give --box, or use show")
    if args.forecast_out and not args.forecast_out.endswith(".png"):
        raise ConfigError(f"--forecast-out={args.forecast_out!r}: a name that ends in .png accepted; add it")
    if not (args.forecast or args.forecast_out):
        return None
    paths = dict(zip(job.seeds, forecast_paths(args, job.name, job.seeds), strict=False))

    def tell(forecast: Forecast) -> None:
        if args.forecast_out:
            mask = forecast.mask.astype(np.uint8) * 255
            image.write(np.repeat(mask[..., None], 3, axis=2), paths[forecast.seed])
        if args.forecast and not args.quiet:
            listed = " ".join(",".join(map(str, box)) for box in forecast.boxes) or "nowhere"
            say(f"forecast of seed {forecast.seed}: {forecast.share:.1%} of the picture will change, at {listed}")
        if args.forecast == "stop" and forecast.is_leaving(boxes):
            raise GateFailed(
                f"--forecast=stop: seed {forecast.seed} leaves the boxes, {forecast.outside(boxes):.0%} of its region "
                f"(step {forecast.step} of {forecast.of}); give other boxes, or use another seed"
            )

    return tell


def forecast_paths(args: argparse.Namespace, name: str, seeds: Sequence[int]) -> list[str]:
    """Where the forecast of each seed is written; none where that is not asked for."""
    return expand(args.forecast_out, name, seeds) if getattr(args, "forecast_out", None) else []
