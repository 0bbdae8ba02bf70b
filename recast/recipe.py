"""What made this picture: every choice that decides its pixels, in a form that can be kept, read and replayed.

A recipe is JSON. It travels in the picture's metadata, or in a file beside it. It names the pictures that went in
by file name and hash, never by path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from recast.errors import InputError

FORMAT = "recast-recipe-1"


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """A picture that went in: the source of an edit first, then its references."""

    sha256: str  # of the decoded pixels, so that it survives a copy or a lossless re-encoding
    width: int
    height: int
    fit: Mapping[str, Any]  # the exact map from its pixels to the model's
    file: str | None = None  # its name, without the folder
    name: str | None = None  # of a reference, as the prompt calls it: @name


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A low-rank adapter folded into the weights."""

    file: str
    sha256: str
    strength: float
    matched: int  # tensors of it that were applied
    unmatched: int  # and that were not: the model has no such module, or they belong to a text encoder


@dataclass(frozen=True, kw_only=True)
class Preserving:
    """What of an edit's source may change, and how the rest is kept. Pictures made without it read as "off"."""

    mode: str = "off"  # "auto" and "strict" merge the edit into its source; "off" leaves it as the model made it
    mask: str | None = None  # sha256 of the mask (`recast.pixels.mask.digest`)
    boxes: tuple[tuple[int, int, int, int], ...] = ()  # x0, y0, x1, y1, pixels of the source
    crop: tuple[int, int, int, int] | None = None  # what of the source was edited, if not the whole
    gives_back: bool = False  # what the autoencoder loses of the source is added back where it was left alone
    detectors: tuple[str, ...] = ()  # whose finds are changed whole or not at all
    carried: str | None = None  # sha256 of tokens carried over from the turn before
    narrowed: str | None = None  # sha256 of the mask to which the caller narrowed the edit on the way
    rejected: tuple[int, ...] | None = None  # ids of all regions that were left out by choice; None: as the merge did

    def __post_init__(self) -> None:
        if self.mode not in ("off", "auto", "strict"):
            raise InputError(f"recipe: preserving: mode {self.mode!r} came; off, auto or strict accepted; mend it")
        for box in (*self.boxes, *([self.crop] if self.crop else [])):
            if len(box) != 4 or not all(isinstance(side, int) for side in box):
                raise InputError(f"recipe: preserving: box {box!r} came; four whole numbers accepted; mend the file")
        for id in self.rejected or ():
            if not isinstance(id, int) or isinstance(id, bool) or id < 1:
                raise InputError(f"recipe: preserving: rejected {id!r} came; whole numbers from 1 accepted; mend it")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that made one picture. `width` and `height` are the picture's own; times run from 1 to 0."""

    task: str  # "generate" or "edit"
    prompt: str | None  # None where it was left out on purpose
    negative_prompt: str | None = None
    seed: int
    times: tuple[float, ...]
    sampler: str
    guidance: float | None
    true_guidance: float
    width: int
    height: int
    size: str = "auto"  # of an edit: what its model size was asked to be
    images: tuple[Ingredient, ...] = ()
    preserving: Preserving = Preserving()
    model: str
    weights: Mapping[str, str]  # "part/file" of the model to sha256
    adapters: tuple[Adapter, ...] = ()
    context_attention: str = "full"
    plan: str = "reference"  # how it was computed, as `recast.speed.plan.Plan.recorded` says it
    device: str
    dtype: str
    threads: int  # of a CPU: sums are split by them, so the last bit may depend on it
    batch_size: int = 1  # pictures that went through the network together; above 1, alone may differ in the last bit
    versions: Mapping[str, str] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    output_sha256: str  # of the decoded pixels
    warnings: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return len(self.times) - 1

    def to_json(self) -> str:
        """One JSON object, `format` first."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    def without_prompts(self) -> Recipe:
        """The recipe with its words taken out, for `--metadata minimal`: it can be checked, not replayed."""
        return replace(
            self,
            prompt=None,
            negative_prompt=None,
            images=tuple(replace(image, file=None, name=None) for image in self.images),
            adapters=tuple(replace(adapter, file="") for adapter in self.adapters),
            warnings=(),
        )

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe in `text`. Raises InputError if it is not one, names what is missing or unknown."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"recipe: not JSON ({error}); a file or picture written by recast accepted") from None
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise InputError(f'recipe: a JSON object with "format": "{FORMAT}" accepted; write one with recast')
        for name in ("images", "adapters", "times", "warnings"):
            if not isinstance(data.setdefault(name, []), list):
                raise InputError(
                    f"recipe: {name}: {data[name]!r} came; a list accepted; use the file as recast wrote it"
                )
        data["images"] = tuple(_build(Ingredient, image) for image in data["images"])
        data["adapters"] = tuple(_build(Adapter, adapter) for adapter in data["adapters"])
        data["preserving"] = _preserving(data.get("preserving", {}))
        data["times"], data["warnings"] = tuple(data["times"]), tuple(data["warnings"])
        return _build(cls, data)

    def __post_init__(self) -> None:
        for names, accepted in _KINDS.items():
            for name in names:
                if not isinstance(getattr(self, name), accepted) or isinstance(getattr(self, name), bool):
                    kinds = " or ".join(kind.__name__ for kind in accepted)
                    raise InputError(f"recipe: {name}: {getattr(self, name)!r} came; {kinds} accepted; mend the file")
        if not all(isinstance(t, int | float) for t in self.times) or len(self.times) < 2:
            raise InputError(f"recipe: times: {list(self.times)} came; two numbers or more accepted; mend the file")

    def differences(self, other: Recipe) -> list[str]:
        """What differs in how the two were made, a phrase each: why their pixels may differ."""
        silent = {"timings_s", "output_sha256", "warnings"}
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{name}: {mine[name]!r}, now {theirs[name]!r}"
            for name in mine
            if name not in silent and mine[name] != theirs[name]
        ]


_KINDS: dict[tuple[str, ...], tuple[type, ...]] = {
    ("prompt",): (str, type(None)),
    ("task", "sampler", "size", "model", "plan", "device", "dtype", "output_sha256"): (str,),
    ("seed", "width", "height", "threads", "batch_size"): (int,),
    ("true_guidance",): (int, float),
    ("weights", "versions", "timings_s"): (dict,),
}


def _preserving(data: Any) -> Preserving:
    if isinstance(data, dict):
        try:
            boxes, crop = data.get("boxes", ()), data.get("crop")
            data = data | {"boxes": tuple(tuple(box) for box in boxes), "crop": crop and tuple(crop)}
            data["detectors"] = tuple(data.get("detectors", ()))
            data["rejected"] = None if data.get("rejected") is None else tuple(data["rejected"])
        except TypeError:
            raise InputError(f"recipe: preserving: {data!r} came; boxes of four numbers accepted; mend it") from None
    built: Preserving = _build(Preserving, data)
    return built


def _build(cls: Any, data: Any) -> Any:
    if not isinstance(data, dict):
        raise InputError(f"recipe: an object needed for {cls.__name__.lower()}; got {data!r}")
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise InputError(f"recipe: unknown name {', '.join(unknown)}; written by a newer version? accepted: {FORMAT}")
    try:
        return cls(**data)
    except TypeError as error:
        raise InputError(f"recipe: incomplete: {error}; use the file as recast wrote it") from None
