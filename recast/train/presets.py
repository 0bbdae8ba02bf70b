"""Named runs: functions returning a frozen config. A variant is `dataclasses.replace`, or `recast train --set`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from recast.config import AutoencoderConfig, FlowConfig, ModelConfig, kontext_dev, nano, tiny
from recast.errors import ConfigError
from recast.train.adapters import LoRA
from recast.train.autoencoding import AutoencoderTraining
from recast.train.settings import Optimiser, Parallel, Run
from recast.train.text_stage import TextTraining
from recast.train.times import TimeLaw
from recast.train.uses import FlowTraining
from recast.world.edits import KINDS

What = Literal["ae", "text", "flow", "lora"]
WORLD, SHEETS = "world", "sheets"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where examples come from, and how many go together.

    places: "world", "sheets", or KIND:PATH with folder, shards, or the name of a public set (docs/train.md); each may
    end in "@weight". sizes, categories, kinds, lengths: of the world's examples, as `WorldSource` takes them.
    """

    places: tuple[str, ...] = (WORLD,)
    seed: int = 0
    sizes: tuple[tuple[int, int], ...] = ((256, 256),)
    size_weights: tuple[float, ...] = ()  # one a size; none: all alike
    categories: Mapping[str, float] | None = None
    kinds: Mapping[str, float] | None = None
    scene: Literal["cartoon", "photo", "sheet"] | None = None  # of the world's; none: any
    things: tuple[str, ...] = ()  # with a scene: the kinds of thing it may show; none: any. Of sheets: which they show
    colours: tuple[str, ...] = ()  # of the things on sheets
    lengths: Mapping[str, float] | None = None  # of captions: short, medium, long
    slips: float = 0.1  # of texts (`text`): the share with a slip of the fingers
    buckets: tuple[tuple[int, int], ...] = ()  # that pictures of other sizes are stretched to
    batch_size: int | None = 64  # examples a batch, all processes together; or
    tokens: int | None = None  # visual tokens a batch
    multiple: int = 1  # of what a batch by tokens is a multiple: the processes that will ever share it
    workers: int = 0
    on_bad: Literal["stop", "skip"] = "stop"
    only: str | None = None  # a file of ids, one a line: what `train lint --out` has kept
    held_out: int = 64  # examples that the run is judged by; of files, at most that share of them
    held_out_share: float = 0.1
    held_out_from: str | None = None  # a place to judge by, instead of some of these
    shown: int = 8  # of them, in sample grids, or all there are
    statistics: int = 10_000  # pictures that an autoencoder's latents are measured on, at the end

    def __post_init__(self) -> None:
        if not self.places or not self.sizes:
            raise ConfigError(f"places={self.places}, sizes={self.sizes}: one or more of each accepted")
        for name in ("sizes", "buckets"):
            for each in getattr(self, name):
                is_pair = isinstance(each, tuple) and len(each) == 2
                if not (is_pair and all(type(side) is int and side >= 1 for side in each)):
                    raise ConfigError(f"{name}: {each!r} came; (width, height), each a whole number from 1, accepted")
        if self.size_weights and len(self.size_weights) != len(self.sizes):
            raise ConfigError(f"size_weights={self.size_weights}: one for each of {len(self.sizes)} sizes accepted")
        for name in ("held_out", "shown"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a whole number from 0 accepted")
        if self.statistics < 1:
            raise ConfigError(f"statistics={self.statistics}: a whole number from 1 accepted")

    @property
    def weighted_sizes(self) -> dict[tuple[int, int], float]:
        weights = self.size_weights or (1.0,) * len(self.sizes)
        return dict(zip(self.sizes, weights, strict=True))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A whole run: what is trained, on what, how, and for how long."""

    what: What
    model: ModelConfig
    training: AutoencoderTraining | TextTraining | FlowTraining
    optimiser: Optimiser
    critic: Optimiser | None = None  # of an autoencoder's discriminator
    lora: LoRA | None = None
    asks: tuple[str, ...] = ()  # of adapters: prompts that the panel shows, too
    data: Data = field(default_factory=Data)
    run: Run
    parallel: Parallel = field(default_factory=Parallel)

    def __post_init__(self) -> None:
        if self.asks and self.what != "lora":
            raise ConfigError(f"asks={self.asks}: for adapters alone, which are compared with their base; leave it out")


# nano: 25 M parameters, 48 MB in bf16, at about 256 x 256 pixels.

SQUARE, WIDE = (256, 256), (336, 192)
"""256 and 252 tokens; 336 x 192 is what an edit of a 16:9 picture works at, 1.6 % narrower."""
NANO_SIZES = (WIDE, (304, 208), (288, 224), SQUARE, (224, 288), (208, 304), (192, 336))
"""Buckets for pictures of any shape, 247 to 256 tokens each: as many as an edit works at."""


def next_nano() -> ModelConfig:
    """The model that `recipes/nano.sh` makes: the prototype's widths, with one double block and eight single ones.

    Nine blocks as before, at 2.1 M parameters less: all files together stay under 50 MB.
    """
    flow: FlowConfig = replace(nano().flow, depth=1, depth_single_blocks=8)
    autoencoder = replace(nano().autoencoder, scale_factor=1.0, shift_factor=0.0)
    return replace(nano(), flow=flow, autoencoder=autoencoder)


def nano_ae() -> Preset:
    """The autoencoder of `nano`, from nothing; on an H200 in six minutes or more."""
    return Preset(
        what="ae",
        model=next_nano(),
        training=AutoencoderTraining(crop=128, crops=1, late_crop=None, reads_lettering=True),
        optimiser=Optimiser(lr=1e-3, betas=(0.9, 0.95), schedule="cosine", warmup_steps=100),
        critic=Optimiser(lr=4e-4, betas=(0.5, 0.9), schedule="constant", warmup_steps=0),
        data=Data(sizes=(SQUARE, WIDE), size_weights=(3, 1), batch_size=32),
        run=Run(minutes=8, precision="bf16", save_every_steps=1000, validate_every_steps=1000),
    )


def nano_finish() -> Preset:
    """The decoder alone, on whole pictures, its encoder and so the latents as they are."""
    start = nano_ae()
    return replace(
        start,
        training=AutoencoderTraining(crop=176, crops=1, decoder_only=True, disc_from=0.3, reads_lettering=True),
        optimiser=replace(start.optimiser, lr=3e-4),
        data=replace(start.data, batch_size=16),
        run=replace(start.run, minutes=3),
    )


def nano_text() -> Preset:
    """The text encoder of `nano`, on a CPU: hours, in as many parts as one likes."""
    return Preset(
        what="text",
        model=next_nano(),
        training=TextTraining(),
        optimiser=TextTraining().optimiser,
        data=Data(batch_size=128),
        run=Run(minutes=120, sample_every_steps=0, save_every_steps=200, validate_every_steps=500),
    )


def nano_flow() -> Preset:
    """The flow transformer of `nano`, with its text encoder at a quarter of the rate."""
    return Preset(
        what="flow",
        model=next_nano(),
        training=FlowTraining(train_text=True, mask_weight=3.0, uses=4, times=TimeLaw(mu=0.4, uniform_share=0.1)),
        optimiser=Optimiser(kind="muon", lr=1e-3, matrix_lr=2e-3, warmup_steps=150, decay_from=0.55),
        data=Data(
            sizes=(SQUARE, WIDE),
            size_weights=(3, 1),
            categories={
                "local": 38, "global": 12, "text": 28, "style reference": 7, "character reference": 7,
                "two pictures": 10, "nothing": 3,
            },
            batch_size=104,
            workers=14,
        ),
        run=Run(minutes=20, precision="bf16", compile=True, save_every_steps=500, validate_every_steps=500),
    )  # fmt: skip


def nano_finetune() -> Preset:
    """All of the flow of the `nano` in the package, further trained: `--init nano --ae nano --text nano`.

    Its encoders stay as they are, so `train export` takes them from nano again. Sized for a CPU: a core with AMX does
    one to two uses of an example a second in bf16, so 500 steps of 8 are most of an hour on one core, half of it on
    two; without AMX pass run.precision=fp32. On a GPU, a larger batch and run.compile=true. The rate is a tenth of
    AdamW's in `nano_flow`, for what was learned to stay.
    """
    return Preset(
        what="flow",
        model=nano(),
        training=FlowTraining(mask_weight=3.0, times=TimeLaw(mu=0.4, uniform_share=0.1)),
        optimiser=Optimiser(lr=1e-4, warmup_steps=50),
        data=Data(sizes=(SQUARE, WIDE), size_weights=(3, 1), buckets=NANO_SIZES, batch_size=8, held_out=16, shown=4),
        run=Run(steps=500, precision="bf16", save_every_steps=100, validate_every_steps=100, sample_every_steps=250),
    )


FEW = 1000
"""Encodings that adapters' runs keep: of 200 pairs, the pictures, and the prompts of every use.

A prompt of T5-XXL is 4 MiB of the host's memory, a picture of 1024 x 1024 pixels 1 MiB of the device's.
"""


def nano_lora() -> Preset:
    """Adapters for `nano`, from a few pictures, on a CPU."""
    return Preset(
        what="lora",
        model=nano(),
        training=FlowTraining(kept_encodings=FEW),
        optimiser=Optimiser(lr=1e-3, warmup_steps=20),
        lora=LoRA(),
        data=Data(buckets=NANO_SIZES, batch_size=2, held_out=4, shown=4),
        run=Run(steps=300, save_every_steps=100, validate_every_steps=100),
    )


# kontext_dev: 11.9 B parameters, from local weights.


def kontext_lora() -> Preset:
    """Adapters for FLUX.1 Kontext [dev] on one large GPU."""
    return Preset(
        what="lora",
        model=kontext_dev(),
        training=FlowTraining(text_dropout=0.05, keep=0.15, kept_encodings=FEW),
        optimiser=Optimiser(lr=1e-4, warmup_steps=50),
        lora=LoRA(),
        data=Data(buckets=kontext_dev().trained_sizes, batch_size=1, held_out=8, shown=4),
        run=Run(steps=2000, accumulate=4, precision="bf16", checkpointing="full", save_every_steps=250),
    )


def kontext_flow() -> Preset:
    """Joint training of the whole transformer of Kontext from a text-to-image start, on 64 GPUs."""
    return Preset(
        what="flow",
        model=kontext_dev(),
        training=FlowTraining(edit=0.6, text_to_image=0.4, keep=0.0, times=TimeLaw(mu=1.1)),
        optimiser=Optimiser(lr=3e-5, weight_decay=0.1, warmup_steps=2000),
        data=Data(buckets=kontext_dev().trained_sizes, batch_size=512, workers=8, on_bad="skip"),
        run=Run(steps=100_000, precision="bf16", checkpointing="selective", compile=True, save_every_steps=1000),
        parallel=Parallel(replicate=8, shard=8),
    )


# tiny: every part, in minutes on a CPU.

TINY_DATA = Data(
    sizes=((64, 64),),
    categories={"local": 1},
    kinds={**dict.fromkeys(KINDS["local"], 0.0), "thing colour": 1.0},
    scene="sheet",
    lengths={"short": 1},
    batch_size=16,
    held_out=32,
    statistics=200,
)
"""One thing on a plain ground, and words that give it another colour."""


def tiny_model() -> ModelConfig:
    """`tiny` made for what it can learn in minutes: tokens of 8 pixels, words of up to 95 bytes.

    Halving a picture twice instead of three times makes an autoencoder that learns sooner; and a width of 48 cannot
    carry the noise of 64 channels.
    """
    autoencoder = AutoencoderConfig(
        ch=8, ch_mult=(1, 2, 2), num_res_blocks=1, num_groups=4, z_channels=8, scale_factor=1.0, shift_factor=0.0
    )
    flow = FlowConfig(
        in_channels=32,
        out_channels=32,
        context_in_dim=48,
        vec_in_dim=48,
        hidden_size=96,
        num_heads=3,
        depth=1,
        depth_single_blocks=3,
        axes_dim=(8, 12, 12),
        guidance_embed=False,
    )
    defaults = replace(tiny().defaults, steps=12, guidance=None)
    text = replace(tiny().text, max_length=96)
    return replace(tiny(), flow=flow, autoencoder=autoencoder, defaults=defaults, text=text)


def tiny_ae() -> Preset:
    """The autoencoder of `tiny`, at 64 x 64."""
    return Preset(
        what="ae",
        model=tiny_model(),
        training=AutoencoderTraining(crop=64, crops=1, adversarial=0, feature_matching=0),
        optimiser=Optimiser(lr=3e-3, schedule="cosine", warmup_steps=20),
        critic=Optimiser(lr=4e-4),
        data=TINY_DATA,
        run=Run(steps=400, sample_every_steps=0, validate_every_steps=200, save_every_steps=200),
    )


def tiny_flow() -> Preset:
    """The flow transformer of `tiny` and its text encoder, at 64 x 64."""
    return Preset(
        what="flow",
        model=tiny_model(),
        training=FlowTraining(train_text=True, text_rate=1.0, mask_weight=3.0, text_to_image=0.15),
        optimiser=Optimiser(lr=3e-3, warmup_steps=20),
        data=TINY_DATA,
        run=Run(steps=400, sample_every_steps=0, validate_every_steps=200, save_every_steps=200),
    )


EDIT_DATA = Data(
    places=(SHEETS,),
    sizes=((64, 64),),
    things=("apple", "mushroom"),
    colours=("red", "yellow", "green", "blue"),
    batch_size=32,
    held_out=32,
    shown=8,
)
"""Two things in four colours on twelve grounds; held out are four grounds more (`data.sheets`)."""


def tiny_edit() -> Preset:
    """A flow that learns to recolour within half a minute of one core, at 64 x 64, between the trained ends of `nano`.

    Its autoencoder and text encoder are those of `nano`, as they are: `--ae nano --text nano`. A picture is 4 x 4
    tokens, and every rotary pair turns by 1 radian from one token to the next (theta 1): longer waves hardly tell
    neighbours apart, and the flow first has to find the same place in the source. 96 pictures and 32 prompts are all
    there are to train on, so each is encoded once. On grounds it has never seen it gives the asked colour to what was
    there; the ground keeps its lightness, not quite its hue.
    """
    flow = FlowConfig(
        context_in_dim=192,
        vec_in_dim=192,
        hidden_size=96,
        num_heads=3,
        depth=1,
        depth_single_blocks=1,
        axes_dim=(4, 14, 14),
        theta=1,
        guidance_embed=False,
    )
    defaults = replace(tiny().defaults, steps=8, guidance=None)
    return Preset(
        what="flow",
        model=replace(
            tiny(),
            flow=flow,
            autoencoder=nano().autoencoder,
            defaults=defaults,
            text=replace(tiny().text, max_length=32),
        ),
        training=FlowTraining(
            edit=1, text_to_image=0, keep=0, reverse=0, text_dropout=0, times=TimeLaw(mu=0.5), kept_encodings=160
        ),
        optimiser=Optimiser(kind="muon", lr=6e-3, matrix_lr=3e-2, warmup_steps=10, decay_from=0.5),
        data=EDIT_DATA,
        run=Run(steps=120, sample_every_steps=0, validate_every_steps=1000, save_every_steps=1000),
    )


PRESETS: Mapping[str, Callable[[], Preset]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        nano_text, nano_ae, nano_finish, nano_flow, nano_finetune, nano_lora, kontext_lora, kontext_flow,
        tiny_ae, tiny_flow, tiny_edit,
    )
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError for a name that is not one."""
    if name not in PRESETS:
        raise ConfigError(f"preset={name!r}: {', '.join(PRESETS)} accepted; choose one")
    return PRESETS[name]()
