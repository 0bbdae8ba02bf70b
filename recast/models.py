"""The models that recast knows by name: what each is, and whether its weights are here. No torch.

What a model is stands in its preset (`recast.config`), or, once its weights lie in the package, in their own config.
Here is only where those weights lie. Any other model is a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from recast import cost, weights
from recast.config import PRESETS, GuidanceMode, ModelConfig, preset
from recast.errors import MissingWeights
from recast.nano import NANO
from recast.weights.configs import FILES

Where = Literal["built in", "local files", "not shipped"]

SHIPPED: Mapping[str, str] = {"nano": ".", "nano-dev": "dev.safetensors", "nano-turbo": "turbo.safetensors"}
"""Where in `recast/nano` the weights of each model of ours lie: a folder's files, or one file over them."""
MADE_BY: Mapping[str, str] = {
    "nano": "recipes/nano.sh",
    "nano-dev": "recipes/nano-turbo.sh",
    "nano-turbo": "recipes/nano-turbo.sh",
}
BAR = "steps_quality"
"""The benchmark whose bar `nano-turbo` has to pass before it is the usual model."""


@dataclass(frozen=True)
class Known:
    """A model with a name. place: where its weights lie in the package; None if they are not there."""

    name: str
    place: Path | None

    @cached_property
    def config(self) -> ModelConfig:
        """Of the weights themselves where they are here, else the preset."""
        return preset(self.name) if self.place is None else weights.read_config(self.place)

    @property
    def base(self) -> str | None:
        """The model that its weights are a delta over."""
        if self.place is None or not weights.is_delta(self.place):
            return None
        return weights.read_delta(self.place).base.name

    @property
    def where(self) -> Where:
        if self.place is not None:
            return "built in"
        return "not shipped" if self.name in SHIPPED else "local files"

    @property
    def note(self) -> str:
        """What there is to know about its weights, in a phrase."""
        if self.place is not None:
            return f"built in, a delta over {self.base}" if self.base else "built in"
        if self.name in SHIPPED:
            return f"not shipped; {MADE_BY[self.name]} makes it"
        return f"needs local files, {FILES[self.name]}"

    @property
    def variant(self) -> str | None:
        """What `--variant` calls it where files do not tell; None for models whose files always do."""
        return self.name if self.name in FILES else None

    @property
    def guidance_mode(self) -> GuidanceMode:
        return self.config.guidance_mode

    @property
    def parameters(self) -> int:
        """Of flow transformer, autoencoder and text encoders together."""
        encoders = sum(sizes.parameters for sizes, _ in cost.text_encoders(self.config).values())
        return self.flow_parameters + cost.autoencoder_parameters(self.config.autoencoder) + encoders

    @property
    def flow_parameters(self) -> int:
        return cost.flow_parameters(self.config.flow)

    @property
    def takes(self) -> tuple[str, ...]:
        """What it reads beside the noise: text, pictures as context, a condition beside the target."""
        condition = ("condition",) if self.config.flow.extra_channels else ()
        return ("text", *(("context",) if self.config.takes_context else ()), *condition)


def known() -> list[Known]:
    """Every model with a name, those of ours first."""
    return [_known(name) for name in sorted(_names(), key=lambda name: name not in SHIPPED)]


def find(name: str) -> Known | None:
    """The model of this name, None if there is none: it may be a path."""
    return _known(name) if name in _names() else None


def place(name_or_path: str | Path) -> Path:
    """Where a model's files are: in the package, by name, or at a path. Raises MissingWeights for a name without any.

    A path that does not exist is returned as it is: whoever reads it says what is accepted there.
    """
    path = Path(name_or_path)
    model = find(str(name_or_path))
    if model is None:
        return path
    if model.place is not None:
        return model.place
    if path.exists():
        return path
    if model.where == "not shipped":
        raise MissingWeights(
            f"model={model.name!r}: its weights are not shipped; {', '.join(_here())} or a path accepted; "
            f"`{MADE_BY[model.name]}` makes it: pass the path of what it wrote, or use nano"
        )
    raise MissingWeights(
        f"model={model.name!r}: its weights are not part of recast, and nothing of that name is here; a path accepted; "
        f"get {FILES[model.name]} or its diffusers folder ({model.config.licence}) and pass where it lies"
    )


def default() -> str:
    """The model of commands that name none: `nano-turbo` where it is shipped and has passed its bar, else `nano`."""
    turbo = _known("nano-turbo")
    return turbo.name if turbo.place is not None and BAR in turbo.config.passed else "nano"


def _names() -> list[str]:
    return [name for name in PRESETS if name in SHIPPED or name in FILES]


def _here() -> list[str]:
    return [model.name for model in known() if model.place is not None]


def _known(name: str) -> Known:
    lies = NANO / SHIPPED[name] if name in SHIPPED else None
    return Known(name, lies if lies is not None and lies.exists() else None)
