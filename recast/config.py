"""Every number a model has. Frozen dataclasses, one per component, and the presets built from them.

Field names are those of the published `config.json` files, so that a file reads straight into a config.
A variant is `dataclasses.replace(kontext_dev(), ...)`; a preset is never edited in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from recast.errors import ConfigError

VERSION = "0.1.0"

ContextAttention = Literal["full", "cached"]
# One evaluation a step: euler (first order), ab2 and dpmpp_2m (second). Two: heun. For distilled weights: renoise.
SAMPLERS = ("euler", "heun", "ab2", "dpmpp_2m", "renoise")
GuidanceMode = Literal["none", "two-pass", "embedded", "few-step"]


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """The flow transformer. Source: FLUX.1 (black-forest-labs/flux); Kontext, arXiv 2506.15742, section 3."""

    in_channels: int = 64  # of one token: 16 latent channels x 2 x 2; Control 128, Fill 384
    out_channels: int = 64
    context_in_dim: int = 4096  # width of the text tokens
    vec_in_dim: int | None = 768  # width of the pooled text vector; None for encoders that have none
    hidden_size: int = 3072
    num_heads: int = 24
    mlp_ratio: float = 4.0
    depth: int = 19  # double-stream blocks
    depth_single_blocks: int = 38
    axes_dim: tuple[int, ...] = (16, 56, 56)  # rotary channels per position axis: image index, row, column
    theta: int = 10_000
    qkv_bias: bool = True
    guidance_embed: bool = True
    context_attention: ContextAttention = "full"

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_heads", "depth", "depth_single_blocks", "in_channels", "out_channels"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r}: a whole number from 1 accepted; mend the config")
        if self.in_channels < self.out_channels:
            raise ConfigError(f"in_channels={self.in_channels}: at least out_channels={self.out_channels} needed")
        if self.hidden_size % self.num_heads:
            raise ConfigError(
                f"hidden_size={self.hidden_size}: must be a multiple of num_heads={self.num_heads}; "
                f"try {self.hidden_size // self.num_heads * self.num_heads}"
            )
        if sum(self.axes_dim) != self.head_dim or any(d % 2 for d in self.axes_dim):
            raise ConfigError(
                f"axes_dim={self.axes_dim}: even numbers that add up to the head width needed "
                f"({self.hidden_size} / {self.num_heads} = {self.head_dim}); they add up to {sum(self.axes_dim)}"
            )
        if self.context_attention not in ("full", "cached"):
            raise ConfigError(f'context_attention={self.context_attention!r}: "full" or "cached" accepted; pass one')

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        return round(self.hidden_size * self.mlp_ratio)

    @property
    def extra_channels(self) -> int:
        """Channels of the network's input beside the noisy target: 0, or a control or fill condition."""
        return self.in_channels - self.out_channels


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The autoencoder: pixels to latents of an eighth of the size, and back."""

    in_channels: int = 3
    out_ch: int = 3
    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 16
    num_groups: int = 32  # of every GroupNorm; published files fix 32, `nano` has 8
    scale_factor: float = 0.3611
    shift_factor: float = 0.1159

    def __post_init__(self) -> None:
        for multiple in self.ch_mult:
            if (self.ch * multiple) % self.num_groups:
                raise ConfigError(
                    f"num_groups={self.num_groups}: must divide every width ch * ch_mult; "
                    f"{self.ch} * {multiple} is not a multiple"
                )

    @property
    def downscale(self) -> int:
        """Pixels per latent, along one side."""
        return 2 ** (len(self.ch_mult) - 1)

    @property
    def pixels_per_token(self) -> int:
        """Pixels along one side of a token, which is two by two latents."""
        return 2 * self.downscale


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How a prompt becomes tokens.

    `clip_t5`: T5 tokens and the CLIP pooled vector, both padded to a fixed length and read without a mask.
    `byte_t5`: a small T5 encoder over the prompt's UTF-8 bytes; the pooled vector is the mean over its own tokens.
    """

    kind: Literal["clip_t5", "byte_t5"] = "clip_t5"
    max_length: int = 512  # T5 tokens, padding included: part of the model, not a limit on memory
    clip_length: int = 77

    def __post_init__(self) -> None:
        if self.kind not in ("clip_t5", "byte_t5"):
            raise ConfigError(f"text.kind={self.kind!r}: clip_t5 or byte_t5 accepted; mend the config")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a call uses when the caller says nothing."""

    steps: int = 28
    sampler: str = "euler"  # one of `SAMPLERS`
    guidance: float | None = 2.5  # fed to the guidance embedding; None for models that have none
    edit_guidance: float | None = None  # the same for edits, where they want another scale
    edit_true_guidance: float = 1.0  # two-pass guidance of edits; 1.0 is off
    generate_true_guidance: float = 1.0  # two-pass guidance of text-to-image
    width: int = 1024  # of a generated picture
    height: int = 1024
    min_tokens: int = 2304  # an edit works at the source's own size if its grid lies between these,
    max_tokens: int = 4150  # and is scaled into them otherwise; 4150 is the largest grid Kontext was trained on

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise ConfigError(f"defaults.steps={self.steps!r}: a whole number from 1 accepted; mend the config")
        check_sampler("defaults.sampler", self.sampler)


def check_sampler(name: str, value: Any) -> None:
    """Raises ConfigError, calling the argument `name`, unless a walk of this name is known."""
    if value not in SAMPLERS:
        *names, last = SAMPLERS
        raise ConfigError(f"{name}={value!r}: {', '.join(names)} or {last} accepted; pass one")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole model: its three networks, its schedule and what it does by default."""

    name: str
    flow: FlowConfig = field(default_factory=FlowConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    text: TextConfig = field(default_factory=TextConfig)
    defaults: Defaults = field(default_factory=Defaults)
    takes_context: bool = True  # False: trained on text alone, so it makes pictures and does not edit them
    shifts_schedule: bool = True  # by resolution; schnell walks its four steps unshifted
    trained_sizes: tuple[tuple[int, int], ...] = ()  # (width, height); the choices of `size="trained"`
    is_few_step: bool = False  # distilled for exactly its default steps and sampler, guidance in its weights
    passed: tuple[str, ...] = ()  # benchmarks whose bar it was seen to pass, by name
    licence: str = "unknown"

    def __post_init__(self) -> None:
        channels = 4 * self.autoencoder.z_channels
        if self.flow.out_channels != channels:
            raise ConfigError(
                f"flow.out_channels={self.flow.out_channels}: must be 4 * autoencoder.z_channels = {channels}, "
                "the channels of a 2 x 2 patch of latents"
            )

    @property
    def guidance_mode(self) -> GuidanceMode:
        """How it follows the words at its defaults, and so what a step costs: two evaluations if two-pass, else one."""
        if self.is_few_step:
            return "few-step"
        if self.flow.guidance_embed:
            return "embedded"
        usual = self.defaults.edit_true_guidance, self.defaults.generate_true_guidance
        return "none" if usual == (1.0, 1.0) else "two-pass"

    @property
    def pixels_per_token(self) -> int:
        """Pixels along one side of a token: the multiple every width and height must have."""
        return self.autoencoder.pixels_per_token


KONTEXT_SIZES = (
    (672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104),
    (1024, 1024), (1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752), (1456, 720), (1504, 688),
    (1568, 672),
)  # fmt: skip


def kontext_dev() -> ModelConfig:
    """FLUX.1 Kontext [dev]: text and context images, guidance-distilled, 11.9 B parameters."""
    return ModelConfig(name="kontext_dev", trained_sizes=KONTEXT_SIZES, licence="FLUX.1 [dev] Non-Commercial License")


def dev() -> ModelConfig:
    """FLUX.1 [dev]: text to image, guidance-distilled. The tensors of Kontext, other values."""
    return ModelConfig(
        name="dev", takes_context=False, defaults=Defaults(guidance=3.5), licence="FLUX.1 [dev] Non-Commercial License"
    )


def krea_dev() -> ModelConfig:
    """FLUX.1 Krea [dev]: text to image. The tensors of dev, other values."""
    return replace(dev(), name="krea_dev", defaults=replace(dev().defaults, guidance=2.5))


def fill_dev() -> ModelConfig:
    """FLUX.1 Fill [dev]: a masked picture and its mask beside the target."""
    base = dev()
    flow, defaults = replace(base.flow, in_channels=384), replace(base.defaults, guidance=30.0)
    return replace(base, name="fill_dev", flow=flow, defaults=defaults)


def control_dev() -> ModelConfig:
    """FLUX.1 Canny [dev] and Depth [dev]: a picture of edges, or of depth, beside the target."""
    base = dev()
    flow, defaults = replace(base.flow, in_channels=128), replace(base.defaults, guidance=30.0)
    return replace(base, name="control_dev", flow=flow, defaults=defaults)


def schnell() -> ModelConfig:
    """FLUX.1 [schnell]: text to image in four steps, no guidance embedding, no shift."""
    return ModelConfig(
        name="schnell",
        takes_context=False,
        flow=FlowConfig(guidance_embed=False),
        text=TextConfig(max_length=256),
        defaults=Defaults(steps=4, guidance=None),
        shifts_schedule=False,
        is_few_step=True,
        licence="Apache-2.0",
    )


def nano() -> ModelConfig:
    """The model inside the package: 26 M parameters, 256 x 256, trained on a procedural world."""
    return ModelConfig(
        name="nano",
        flow=FlowConfig(
            context_in_dim=192,
            vec_in_dim=192,
            hidden_size=320,
            num_heads=5,
            depth=2,
            depth_single_blocks=7,
            axes_dim=(8, 28, 28),
            guidance_embed=False,
        ),
        autoencoder=AutoencoderConfig(
            ch=32, num_groups=8, scale_factor=0.6771266596795618, shift_factor=0.031186934560537338
        ),
        text=TextConfig(kind="byte_t5", max_length=144),
        defaults=Defaults(
            guidance=None, generate_true_guidance=3.0, width=256, height=256, min_tokens=225, max_tokens=256
        ),
        licence="Apache-2.0",
    )


def guided(base: ModelConfig, flow: FlowConfig) -> ModelConfig:
    """The model of a student that does in one evaluation what `base` does in two, at the scales `base` usually has."""
    usual = base.defaults
    defaults = replace(
        usual,
        guidance=usual.generate_true_guidance,
        edit_guidance=usual.edit_true_guidance,
        generate_true_guidance=1.0,
        edit_true_guidance=1.0,
    )
    return replace(base, name=f"{base.name}-dev", flow=flow, defaults=defaults, passed=())


def nano_dev() -> ModelConfig:
    """`nano` whose guidance is embedded: in one evaluation what it does in two, at the scales usual there."""
    return guided(nano(), replace(nano().flow, guidance_embed=True))


def nano_turbo() -> ModelConfig:
    """`nano` distilled to four evaluations, guidance in its weights."""
    defaults = replace(nano().defaults, steps=4, generate_true_guidance=1.0)
    return replace(nano(), name="nano-turbo", defaults=defaults, is_few_step=True)


def tiny() -> ModelConfig:
    """The smallest model with every part: for tests, and for reading shapes in a debugger."""
    return ModelConfig(
        name="tiny",
        flow=FlowConfig(
            context_in_dim=24,
            vec_in_dim=24,
            hidden_size=48,
            num_heads=3,
            depth=2,
            depth_single_blocks=3,
            axes_dim=(4, 6, 6),
        ),
        autoencoder=AutoencoderConfig(ch=8, num_groups=4, num_res_blocks=1),
        text=TextConfig(kind="byte_t5", max_length=32),
        defaults=Defaults(steps=4, width=64, height=64, min_tokens=4, max_tokens=64),
        licence="Apache-2.0",
    )


PRESETS: Mapping[str, Callable[[], ModelConfig]] = {
    make().name: make
    for make in (nano, nano_dev, nano_turbo, tiny, kontext_dev, dev, krea_dev, schnell, fill_dev, control_dev)
}


def preset(name: str) -> ModelConfig:
    """The preset called `name`. Raises ConfigError for a name that is not one."""
    if name not in PRESETS:
        raise ConfigError(f"model={name!r}: no preset of that name; accepted: {', '.join(PRESETS)}, or a path")
    return PRESETS[name]()


def to_dict(config: ModelConfig) -> dict[str, Any]:
    """A config as plain data, ready for JSON."""
    return asdict(config)


def from_dict(data: Mapping[str, Any]) -> ModelConfig:
    """A config from plain data. Raises ConfigError on a name that is no field: nothing is ignored."""
    parts = {"flow": FlowConfig, "autoencoder": AutoencoderConfig, "text": TextConfig, "defaults": Defaults}
    values = {key: _build(parts[key], value, key) if key in parts else value for key, value in data.items()}
    return _build(ModelConfig, values, "config")


def _build(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: {data!r} came; an object of names and values accepted; mend the file")
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ConfigError(
            f"{where}: unknown name {', '.join(unknown)}; accepted: {', '.join(sorted(known))}; leave it out"
        )
    try:
        return cls(**{key: _freeze(value) for key, value in data.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: incomplete or misshapen: {error}; mend the file") from None


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value
