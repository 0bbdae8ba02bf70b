"""Edits of four tokens whose truth is known, and a small flow transformer that learns them: to try distillation on.

A picture is 2 x 2 tokens of eight channels: a shape, a colour and a style. The prompt names the colour, the shape is
that of the picture shown, and the style, one of `STYLES` points on a circle, is free and the same in all four tokens.
So an edit has a right answer in part (is it the colour that was asked for, is the shape kept?) and a distribution in
part (is the style one of those there are, does each come equally often?). The styles lie close together: a walk of few
steps comes to rest between them, as the pictures of few steps are soft.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recast.config import tiny
from recast.context.text import Text
from recast.flow.schedule import resolution_shift
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.quality.distributions import kernel_distance
from recast.train import export, state
from recast.train.distill import student
from recast.train.distill.adversarial_settings import walked_by
from recast.train.distill.consistency import ConsistencySettings, ConsistencyStage
from recast.train.distill.direct import DirectSettings, DirectStage
from recast.train.distill.heads import Heads, HeadSettings
from recast.train.distill.ladd import LaddStage
from recast.train.distill.ladd_settings import LaddSettings
from recast.train.distill.paired import at_one_time
from recast.train.distill.pairs import PairBatch, noise_of
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowStage, FlowTraining, Prepared
from recast.train.initial import initialise
from recast.train.loop import run
from recast.train.objective import draw, even, generator
from recast.train.parallel import ALONE
from recast.train.settings import Optimiser, Run, Settings
from recast.train.stage import Stage
from recast.train.uses import TARGET, Pass, Use

COLOURS = ("red", "green", "blue", "white")
SHAPES, STYLES = 3, 12
RADIUS = 1.0
"""Of the circle of styles: where a walk of four steps looks for the last time, noise is as large as their gaps."""
GRID, TOKENS, CHANNELS = (2, 2), 4, 8
TEACHER_STEPS = 25
TEACHER_UPDATES, DIRECT_UPDATES, PAIRS, JUDGED = 600, 100, 1024, 1024
"""Of training the teacher and the student by regression; what students learn from, and what all are judged on."""
HELD_OUT = 1 << 20
"""Examples from this number on are never trained on."""
BATCH = 48
LADD: Mapping[str, Any] = {
    "guidance": 1.0, "accepts_unguided": True, "on_policy": 1.0, "regression": 0.1, "renoise_mean": -3.0,
    "generator_from": 0.5, "accuracy_needed": 0.53, "blind": "skip",
}  # fmt: skip
"""As `recast distill ladd --preset nano`, but for four tokens and a hundred steps: where there is little to see, heads
look under little noise, learn alone for half of the run, and need not see much. Nothing is guided."""
TEACHERS = Optimiser(kind="muon", lr=3e-3, matrix_lr=1e-2, warmup_steps=20, weight_decay=0.0, decay_from=0.5)


@dataclass(frozen=True)
class Truth:
    """Of some examples (b,), what the prompt asks for and what the picture shown is."""

    colour: Tensor
    shape: Tensor
    style: Tensor
    """That of the example's own target: another one is as right."""
    shown_colour: Tensor
    shown_style: Tensor

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Truth:
        """Drawn by the numbers of the examples alone."""
        rows = [torch.rand(5, generator=generator(0, n, "toy"), dtype=torch.float64) for n in numbers]
        sizes = torch.tensor([len(COLOURS), SHAPES, STYLES, len(COLOURS) - 1, STYLES])
        colour, shape, style, other, shown_style = (torch.stack(rows) * sizes).long().unbind(dim=1)
        return cls(colour, shape, style, (colour + 1 + other) % len(COLOURS), shown_style)


def tokens(shape: Tensor, colour: Tensor, style: Tensor) -> Tensor:
    """Pictures (b, 4, 8) of whole numbers (b,). The last two channels are 0: what is there is noise that was left."""
    made = torch.zeros(len(shape), CHANNELS)
    for first, (turn, radius) in {
        0: (style / STYLES, RADIUS),
        2: (colour / len(COLOURS), 1.0),
        4: (shape / SHAPES, 1.0),
    }.items():
        made[:, first] = radius * torch.cos(2 * math.pi * turn)
        made[:, first + 1] = radius * torch.sin(2 * math.pi * turn)
    return made[:, None].repeat(1, TOKENS, 1)


def edits(numbers: Sequence[int]) -> Pass:
    """The edits of these numbers, their own targets in place."""
    truth, times = Truth.of(numbers), even(numbers, 0, 2).tolist()
    uses = tuple(
        Use(
            example=i,
            number=n,
            kind="edit",
            target=TARGET,
            contexts=(0,),
            prompt=COLOURS[colour],
            time=(time[0], time[1]),
        )
        for i, (n, colour, time) in enumerate(zip(numbers, truth.colour.tolist(), times, strict=True))
    )
    return Pass(
        uses=uses,
        clean=tokens(truth.shape, truth.colour, truth.style),
        grid=GRID,
        context=tokens(truth.shape, truth.shown_colour, truth.shown_style),
        context_grids=(GRID,),
        mask=None,
    )


class Words:
    """Colours as text: two tokens of a fixed random vector for each, zeros for the empty prompt."""

    def __init__(self, width: int) -> None:
        self.width, self.device, self.dtype = width, torch.device("cpu"), torch.float32
        drawn = torch.randn(len(COLOURS), 2, width, generator=torch.Generator().manual_seed(1))
        self._known = {"": torch.zeros(2, width), **dict(zip(COLOURS, drawn, strict=True))}

    def to(self, device: torch.device | str) -> Words:
        return self

    def encode(self, prompts: Sequence[str]) -> Text:
        found = torch.stack([self._known[prompt] for prompt in prompts])
        return Text(found, found.mean(dim=1))


def flow(seed: int = 0) -> FlowTransformer:
    """A transformer of the preset `tiny`, three blocks deep, for tokens of eight channels: weights by the seed."""
    config = replace(
        tiny().flow, in_channels=CHANNELS, out_channels=CHANNELS, guidance_embed=False, depth=1, depth_single_blocks=2
    )
    return initialise(FlowTransformer(config), seed)


class Reading(FlowStage):
    """What reads for every stage here. Alone it is a stage too: flow matching on the edits of numbers."""

    def __init__(self, network: FlowTransformer, *, steps: int, optimiser: Optimiser, seed: int = 0) -> None:
        with torch.device("meta"):
            autoencoder = Autoencoder(tiny().autoencoder)  # nothing here is decoded
        super().__init__(
            flow=network,
            autoencoder=autoencoder,
            text=Words(network.config.context_in_dim),
            training=FlowTraining(edit=1, text_to_image=0, keep=0, reverse=0, text_dropout=0),
            optimiser=optimiser,
            run=Run(
                steps=steps,
                seed=seed,
                average_half_life=0.03,
                save_every_steps=10**9,
                validate_every_steps=10**9,
                sample_every_steps=0,
                peak_tflops=1.0,
            ),
        )

    def prepare(self, batch: Any, share: float) -> Prepared:
        return Prepared((edits(batch),), len(batch))

    def flops(self, batch: Any) -> float:
        return 0.0

    def count(self, batch: Any) -> int:
        return len(batch)


class Numbers:
    """Examples 0, 1, 2, ... in batches, without end. Implements `stage.Batches`."""

    def __init__(self, batch: int) -> None:
        self.batch, self.next = batch, 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            first, self.next = self.next, self.next + self.batch
            yield self.made(range(first, self.next))

    def made(self, numbers: Sequence[int]) -> Any:
        return numbers

    def state(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]

    def close(self) -> None:
        pass


class Bank(Numbers):
    """Some pairs again and again, drawn by their place in the stream, each time under a new number."""

    def __init__(self, pairs: PairBatch, batch: int, seed: int = 0) -> None:
        super().__init__(batch)
        self.pairs, self.seed = pairs, seed

    def made(self, numbers: Sequence[int]) -> PairBatch:
        each = self.pairs.each
        assert each.context is not None
        drawn = [torch.rand((), generator=generator(self.seed, n, "bank"), dtype=torch.float64) for n in numbers]
        rows = [int(one * len(each.uses)) for one in drawn]
        uses = tuple(
            replace(each.uses[row], example=i, number=n) for i, (row, n) in enumerate(zip(rows, numbers, strict=True))
        )
        chosen = replace(each, uses=uses, clean=each.clean[rows], context=each.context[rows])
        ids = tuple(map(str, rows))
        return replace(self.pairs, each=chosen, noise=self.pairs.noise[rows], of=len(rows), ids=ids)


def learn(stage: Stage, settings: Run, batches: Numbers, place: Path) -> dict[str, dict[str, Tensor]]:
    """Train to the end of the run, through the loop; the networks by name, averaged where they have an average."""
    for _ in run(stage, batches, Settings(run=settings), place):
        pass
    newest = state.latest(place, ALONE)
    assert newest is not None
    return export.averaged(newest)


def taught(place: Path, *, steps: int, seed: int = 0) -> FlowTransformer:
    """A network that has learned the edits by flow matching: the teacher."""
    network = flow(seed)
    stage = Reading(network, steps=steps, optimiser=TEACHERS, seed=seed)
    network.load_state_dict(learn(stage, stage.run, Numbers(BATCH), place)["flow"])
    return frozen(network)


def walked(
    network: FlowTransformer, numbers: Sequence[int], steps: int, sampler: student.SamplerName = "euler"
) -> Tensor:
    """Where so many steps from the noise of these edits end, (b, 4, 8); new noise is drawn by their numbers too."""
    asked, reads = edits(numbers), Reading(network, steps=1, optimiser=Optimiser())
    with torch.no_grad():
        condition = reads.condition(asked, asked.prompts, 1.0)
    noise = noise_of(numbers, 0, (TOKENS, CHANNELS))
    if sampler == "euler":
        return Teacher(network).endpoint(noise, condition, steps=steps, guidance=1.0, mu=resolution_shift(TOKENS))
    fresh = iter(draw(numbers, 1, (steps - 1, TOKENS, CHANNELS)).transpose(0, 1))
    walk = student.sampler(sampler, lambda: next(fresh))
    times = student.grid(steps, resolution_shift(TOKENS))
    return student.picture(at_one_time(lambda x, t: network(x, t, condition)), noise, times, walk)


def pairs_of(network: FlowTransformer, numbers: Sequence[int]) -> PairBatch:
    """Noise, and where the network's own walk of `TEACHER_STEPS` steps ends."""
    return PairBatch(
        each=replace(edits(numbers), clean=walked(network, numbers, TEACHER_STEPS)),
        noise=noise_of(numbers, 0, (TOKENS, CHANNELS)),
        of=len(numbers),
        ids=tuple(map(str, numbers)),
        guidance=1.0,
        steps=TEACHER_STEPS,
    )


def regressed(teacher: FlowTransformer, pairs: PairBatch, place: Path, *, steps: int, seed: int = 0) -> FlowTransformer:
    """A student of four steps by direct distillation, from the teacher's weights."""
    network = copy.deepcopy(teacher).requires_grad_(True)
    reading = Reading(network, steps=steps, optimiser=Optimiser(lr=1e-3, warmup_steps=10, weight_decay=0.0), seed=seed)
    stage = DirectStage(reading, DirectSettings())
    network.load_state_dict(learn(stage, reading.run, Bank(pairs, BATCH, seed), place)["flow"])
    return frozen(network)


def consistent(
    teacher: FlowTransformer, pairs: PairBatch, place: Path, *, steps: int, seed: int = 0
) -> FlowTransformer:
    """A student of four steps by consistency in four phases, from the teacher's weights."""
    network = copy.deepcopy(teacher).requires_grad_(True)
    reading = Reading(network, steps=steps, optimiser=Optimiser(lr=1e-3, warmup_steps=10, weight_decay=0.0), seed=seed)
    settings = ConsistencySettings(guidance=1.0, target_decay=0.0)
    stage = ConsistencyStage(reading, Teacher(teacher), settings)
    network.load_state_dict(learn(stage, reading.run, Bank(pairs, BATCH, seed), place)["flow"])
    return frozen(network)


def adversarial(
    teacher: FlowTransformer,
    start: FlowTransformer,
    pairs: PairBatch,
    place: Path,
    *,
    steps: int,
    seed: int = 0,
    lr: float = 2e-4,
    sampler: student.SamplerName = "euler",
    **settings: Any,
) -> tuple[FlowTransformer, LaddStage]:
    """A student of four steps by latent adversarial distillation, and the stage that made it.

    start: its first weights. lr: the student's rate. sampler: its own, with what belongs to it. settings: of
    `LaddSettings`, where they are not `LADD`.
    """
    network = copy.deepcopy(start).requires_grad_(True)
    optimiser = Optimiser(lr=lr, betas=(0.5, 0.95), warmup_steps=10, weight_decay=0.0, schedule="cosine")
    reading = Reading(network, steps=steps, optimiser=optimiser, seed=seed)
    told = walked_by(LaddSettings(**{**LADD, "heads": heads((2 / 3, 1.0)), **settings}), sampler)
    judges = Heads(teacher.config, told.heads).initialise(seed)
    critic = replace(optimiser, lr=5e-3)
    stage = LaddStage(reading, Teacher(teacher), judges, told, discriminator_optimiser=critic)
    network.load_state_dict(learn(stage, reading.run, Bank(pairs, BATCH, seed), place)["flow"])
    return frozen(network), stage


def heads(taps: tuple[float, ...] | None) -> HeadSettings:
    """Heads as wide as this network needs them, after these parts of its blocks."""
    return HeadSettings(taps=taps, width=32, groups=4)


def frozen(network: FlowTransformer) -> FlowTransformer:
    return network.eval().requires_grad_(False)


def figures(made: Tensor, numbers: Sequence[int]) -> dict[str, float]:
    """What the pictures (b, 4, 8) made for these edits are worth.

    right      share with the colour that was asked for and the shape that was shown, the nearest ones of all (%)
    sharp      share that is no farther from a right answer than a quarter of the way between two styles (%)
    error      mean distance to the nearest right answer, a channel (root mean square)
    kid        to right answers for other edits, x 1000
    styles     how many equally frequent styles would be as mixed (of `STYLES`): e to the entropy of the nearest ones
    """
    truth = Truth.of(numbers)
    count = len(made)
    every = torch.stack(
        [
            tokens(torch.full((count,), shape), torch.full((count,), colour), torch.full((count,), style))
            for shape in range(SHAPES)
            for colour in range(len(COLOURS))
            for style in range(STYLES)
        ],
        dim=1,
    )  # (b, all, 4, 8)
    distance = (made[:, None] - every).square().mean(dim=(2, 3)).sqrt()
    nearest = distance.argmin(dim=1)
    wanted = truth.shape * len(COLOURS) + truth.colour
    of_right = distance.reshape(count, -1, STYLES)[torch.arange(count), wanted]
    between = float((every[0, 0] - every[0, 1]).square().mean().sqrt())
    styles = torch.bincount(of_right.argmin(dim=1), minlength=STYLES).double() / count
    others = edits([number + (1 << 21) for number in numbers]).clean
    kid = kernel_distance(
        made.flatten(1).double().numpy(), others.flatten(1).double().numpy(), range(count), range(count), resamples=2
    )
    return {
        "right": 100 * float((nearest // STYLES == wanted).double().mean()),
        "sharp": 100 * float((of_right.min(dim=1).values < between / 4).double().mean()),
        "error": float(of_right.min(dim=1).values.mean()),
        "kid": 1000 * kid.value,
        "styles": float(torch.special.entr(styles).sum().exp()),
    }
