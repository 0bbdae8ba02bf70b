"""An edit thought through before any work: what may change, whether a crop is edited, and how the rest is kept."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recast.errors import ConfigError
from recast.pixels import geometry
from recast.pixels.image import Picture, read
from recast.pixels.mask import digest, read_mask
from recast.recipe import Preserving
from recast.retouch import crop
from recast.retouch.asked import Asked, Box
from recast.retouch.crop import Framing
from recast.retouch.original import Original, read_original
from recast.retouch.source_half import SourceHalf

if TYPE_CHECKING:
    from recast.pipeline import Carried, Size
    from recast.pixels.image import Source
    from recast.retouch.detectors import Detector
    from recast.retouch.forecast import Forecast

Preserve = Literal["auto", "strict", "off"]
OnForecast = Callable[["Forecast"], "np.ndarray | bool | None"]


@dataclass(frozen=True, eq=False)
class Plan:
    """An edit thought through: what may change, what is edited, and how it is kept."""

    source: Original | None  # None where preserve is "off"
    picture: Picture  # the source as the model sees it, 8-bit sRGB
    mode: Preserve
    mask: np.ndarray | None  # (H, W) float32 in 0..1, as asked
    boxes: tuple[Box, ...]
    where: np.ndarray | None  # (H, W) bool, mask and boxes together
    box: Box | None  # of the crop that is edited
    on_forecast: OnForecast | None
    gives_back: bool = True  # what the autoencoder loses is added to what was left alone
    rejected: tuple[int, ...] | None = None  # ids of the regions to leave out; None for what the merge leaves out
    notes: tuple[str, ...] = ()
    half: SourceHalf | None = field(default=None, repr=False)  # of the source, shared by all that is merged into it

    @property
    def held(self) -> np.ndarray | None:
        """The mask for the sampler. Boxes alone bind it in strict mode only: else the forecast may show it leaving."""
        is_bound = self.mask is not None or (self.where is not None and self.mode != "auto")
        return self.part(self.where.astype(np.float32)) if is_bound and self.where is not None else None

    def preserving(self, inner: Preserving, detectors: Sequence[Detector], narrowed: str | None = None) -> Preserving:
        """What a recipe says of it. inner: what the generator says of the edit by itself."""
        return Preserving(
            mode=self.mode,
            mask=None if self.mask is None else digest(self.mask),
            boxes=self.boxes,
            crop=self.box,
            gives_back=self.mode != "off" and self.gives_back,
            detectors=() if self.mode == "off" else tuple(detector.name for detector in detectors),
            carried=inner.carried,
            narrowed=narrowed,
            rejected=self.rejected,
        )

    def part(self, mask: np.ndarray) -> np.ndarray:
        """What of a mask (H, W) of the source lies in what is edited."""
        if self.box is None:
            return mask
        left, top, right, bottom = self.box
        return mask[top:bottom, left:right]

    def whole(self, mask: np.ndarray) -> np.ndarray:
        """A mask of what is edited as one (H, W) of the source."""
        if self.box is None:
            return mask
        left, top, right, bottom = self.box
        frame = np.zeros((self.picture.height, self.picture.width), mask.dtype)
        frame[top:bottom, left:right] = mask
        return frame

    def framed(self, part: Picture) -> Picture:
        """A picture of what is edited, laid in the source."""
        if self.box is None:
            return part
        left, top, right, bottom = self.box
        rgb = self.picture.rgb.copy()
        rgb[top:bottom, left:right] = part.rgb
        return replace(self.picture, rgb=rgb)


def think(
    generator: Any,
    image: Source | Original | SourceHalf,
    mode: Preserve,
    *,
    mask: Source | None,
    mask_mode: str,
    boxes: Sequence[Box],
    context: Framing | Box,
    size: Size,
    carried: Carried | None,
    on_forecast: OnForecast | None,
    gives_back: bool,
    rejected: Sequence[int] | None,
) -> Plan:
    """The plan of an edit by this generator. Raises ConfigError or InputError for what cannot be done."""
    if isinstance(context, str):
        one_of("context", context, ("auto", "whole", "crop"))
    half = image if isinstance(image, SourceHalf) else None
    image = image.original if isinstance(image, SourceHalf) else image
    if mode == "off" and not isinstance(image, Original):
        source, picture = None, read(image)
    else:
        source = read_original(image)
        picture = source.picture()
        if mode == "off" and source.depth == 16:  # as `read` says of the same file; a merge keeps them
            picture = replace(picture, warnings=("16 bits per channel reduced to 8", *picture.warnings))
    values = None
    if mask is not None:
        values = read_mask(mask, width=picture.width, height=picture.height, mode=mask_mode)
    where = Asked.of(picture.width, picture.height, values, boxes, None, False).where
    if where is not None and mode == "off" and not accepts(generator, "start_edit", "mask"):
        raise ConfigError("mask, boxes: this generator takes none, and preserve='off' merges nothing; use 'auto'")
    if carried is not None and not accepts(generator, "start_edit", "carried"):
        raise ConfigError("carried: this generator takes none; leave it out")
    if rejected is not None:
        rejected = _checked_ids(rejected, mode)
    known = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in boxes)
    kept = None if mode == "off" else source
    half = None if kept is None else half or SourceHalf(kept)
    plan = Plan(kept, picture, mode, values, known, where, None, on_forecast, gives_back, rejected, half=half)
    return _framed(plan, getattr(generator, "config", None), context, size, carried)


def _framed(plan: Plan, config: Any, context: Framing | Box, size: Size, carried: Carried | None) -> Plan:
    """The plan with its crop, if there is to be one."""
    can_crop = plan.mode != "off" and carried is None and config is not None
    if context not in ("auto", "whole") and not can_crop:
        raise ConfigError(
            f"context={context!r}: a crop is pasted back by a merge, starts from no carried tokens, and needs a "
            "generator that says which sizes it takes; use 'whole', or preserve='auto' without carried"
        )
    if not can_crop or context == "whole" or (context == "auto" and size != "auto"):
        return plan
    usual = config.defaults
    whole = geometry.fit(
        plan.picture.width,
        plan.picture.height,
        min_tokens=usual.min_tokens,
        max_tokens=usual.max_tokens,
        multiple=config.pixels_per_token,
    )
    side = math.isqrt(usual.width * usual.height)
    box, why = crop.choose(context, plan.where, whole, side_px=side, max_tokens=usual.max_tokens)
    if box is None:
        return plan
    return replace(plan, box=box, notes=(f"context: the crop {box} was edited at its own size: {why}",))


def _checked_ids(rejected: Sequence[int], mode: Preserve) -> tuple[int, ...]:
    if mode == "off":
        raise ConfigError("rejected: preserve='off' merges nothing, so that there are no regions; leave it out")
    for id in rejected:
        if not isinstance(id, int | np.integer) or isinstance(id, bool) or id < 1:
            raise ConfigError(f"rejected: {id!r} came; whole numbers from 1 accepted, the ids of regions; pass those")
    return tuple(sorted({int(id) for id in rejected}))


def accepts(generator: Any, method: str, option: str) -> bool:
    """Whether a method of a generator that may lack it takes an option."""
    start = getattr(generator, method, None)
    return start is not None and option in inspect.signature(start).parameters


def one_of(name: str, value: Any, accepted: tuple[str, ...]) -> Any:
    """The value, if it is one of those accepted. Raises ConfigError."""
    if value not in accepted:
        raise ConfigError(f"{name}={value!r}: {', '.join(accepted)} accepted; pass one")
    return value
