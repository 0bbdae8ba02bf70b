"""The variants of a finished set as key pictures of a loop: edits of one base, lettered where they are shipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from recast.errors import ConfigError, InputError
from recast.pixels import image
from recast.pixels.image import Picture
from recast.thumbnails import manifest as manifests
from recast.thumbnails import openraster
from recast.thumbnails.animate import Key
from recast.thumbnails.render import SHAPE_SLACK, over, resized


def read_keys(folder: Path, names: Sequence[str] = (), *, width: int = 640) -> tuple[list[Key], list[str]]:
    """The key pictures of a set, `width` pixels wide, and notes on what was chosen; without names, what it shipped.

    With the logo and lettering of their layered masters where all chosen ones have been shipped, else without.
    Raises InputError for an unknown or rejected variant, and for one that is no edit of the set's base, ConfigError for
    a width that does not do.
    """
    by_name = {each["name"]: each for each in manifests.read(folder)["variants"]}
    chosen = list(names) or [name for name, each in by_name.items() if each["is_shipped"]]
    for name in chosen:
        if name not in by_name:
            raise InputError(f"variant={name!r}: not in {folder}; {', '.join(by_name)} accepted")
        if not by_name[name]["is_kept"]:
            raise InputError(f"variant={name!r}: rejected ({by_name[name]['reason'] or 'by a check'}); choose another")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"variants: {', '.join(chosen)} came; each once accepted")
    base, plain = image.read(folder / "base.png", name="base"), {}
    height = _height(base, width)
    for name in chosen:
        plain[name] = _edit_of(base, folder, name)
    bare = [name for name in chosen if not _master(folder, name).is_file()]
    notes = [f"without lettering: {', '.join(bare)} not shipped, so there is no layered master"] if bare else []
    return [_key(folder, name, plain[name], (width, height), is_bare=bool(bare)) for name in chosen], notes


def _key(folder: Path, name: str, plain: Picture, size: tuple[int, int], *, is_bare: bool) -> Key:
    width, height = size
    small = resized(plain, width=width, height=height)
    if is_bare:
        return Key(name, small.rgb, small.rgb, np.zeros((height, width), np.float32))
    above = openraster.read_above(_master(folder, name)).to_pil()
    layer = image.read(above.resize((width, height), Image.Resampling.LANCZOS))  # which weighs colours by alpha
    assert layer.alpha is not None
    return Key(name, over(small, layer).rgb, small.rgb, layer.alpha.astype(np.float32) / 255)


def _edit_of(base: Picture, folder: Path, name: str) -> Picture:
    """The picture of a variant. Raises InputError unless it was made from this base, by its recipe and pixels."""
    path = folder / "variants" / f"{name}.png"
    picture = image.read(path, name=f"variant {name}")
    another = f"{path}: no edit of {folder / 'base.png'}"
    if (picture.width, picture.height) != (base.width, base.height):
        came, accepted = f"{picture.width}x{picture.height}", f"{base.width}x{base.height}"
        raise InputError(f"{another}: {came} came, {accepted} accepted; make the set again")
    recipe = image.read_recipe(path)
    made_from = json.loads(recipe).get("images") if recipe else None
    if made_from and picture.sha256() != base.sha256() and made_from[0]["sha256"] != base.sha256():
        raise InputError(f"{another}, but of another picture, as its recipe says; make the set again")
    if (folder / "free.png").is_file():
        kept = image.read(folder / "free.png", name="free").rgb[..., 0] == 0
        if kept.shape != base.rgb.shape[:2] or (picture.rgb[kept] != base.rgb[kept]).any():
            raise InputError(f"{another}: what was to be kept differs; make the set again")
    return picture


def _height(base: Picture, width: int) -> int:
    """The height that goes with a width. Raises ConfigError unless both are even, as video needs them, and fit."""
    height = round(width * base.height / base.width)
    if width < 16 or width % 2 or height % 2 or abs(base.width / base.height * height / width - 1) > SHAPE_SLACK:
        raise ConfigError(
            f"width={width}: an even number accepted that gives the base's {base.width}x{base.height} an even height; "
            "640 and 320 do for 16:9"
        )
    return height


def _master(folder: Path, name: str) -> Path:
    return folder / "export" / f"{name}.ora"
