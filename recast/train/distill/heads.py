"""The discriminator of a latent adversarial distillation: small heads on the frozen teacher's blocks.

Each head looks at the tokens of one block as a grid, and gives a logit for every place, high for what looks real. It
is told the noise level and the text. Heads are judged one by one and place by place: in a sum of heads a sure one
would silence those that still err.
Letters: `w` channels of a head, `h` x `v` places, fewer than tokens on large grids.
Sources: Sauer et al. 2024 (arXiv 2403.12015), section 3; Miyato & Koyama 2018 (arXiv 1802.05637) for the projection;
Lim & Ye 2017 (arXiv 1705.02894) for the hinge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from recast.config import FlowConfig
from recast.context.text import Text
from recast.errors import ConfigError, ShapeError
from recast.flow.layers import layer_norm, sinusoid
from recast.train.parallel import Ranks, wrap
from recast.train.settings import Parallel, Run

H = TypeVar("H", bound=nn.Module)
TIME_WIDTH = 256
HALVED_FROM = 32
"""Grids with this many tokens along both sides are halved inside a head."""
LAST = 0.02
"""Standard deviation of the last layer's weights: a new head says next to nothing."""


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """Where heads sit, and how large they are."""

    taps: tuple[float, ...] | None = (1 / 3, 2 / 3, 8 / 9)  # after which part of the blocks; None for every block
    width: int = 256
    groups: int = 16  # of channels that share their statistics

    def __post_init__(self) -> None:
        taps = self.taps
        if taps is not None and not (taps and all(0 < tap <= 1 for tap in taps)):
            raise ConfigError(f"taps={taps}: one or more parts of the depth, above 0 and up to 1, accepted; or none")
        if self.width < 1 or self.groups < 1 or self.width % self.groups:
            raise ConfigError(
                f"width={self.width}, groups={self.groups}: a width that is a multiple of the groups accepted"
            )

    def blocks(self, config: FlowConfig) -> tuple[int, ...]:
        """The blocks of a transformer that heads sit on, counted from 0, double ones first.

        Raises ConfigError where two taps come to the same block.
        """
        return self.of(config.depth + config.depth_single_blocks)

    def of(self, count: int) -> tuple[int, ...]:
        """The blocks that heads sit on, of a network of `count`, counted from 0.

        Raises ConfigError where two taps come to the same block.
        """
        if self.taps is None:
            return tuple(range(count))
        found = tuple(max(round(tap * count), 1) - 1 for tap in self.taps)
        if len(set(found)) < len(found):
            raise ConfigError(
                f"taps={self.taps}: blocks {found} of {count}, one of them twice; a block for each tap needed; "
                "leave one out"
            )
        return found


def text_vector(text: Text) -> Tensor:
    """What heads are told of the text: the pooled vector (b, c), or the mean of its tokens where there is none."""
    return text.tokens.mean(dim=1) if text.pooled is None else text.pooled


def text_width(config: FlowConfig) -> int:
    """The width of `text_vector` for a network of this config."""
    return config.context_in_dim if config.vec_in_dim is None else config.vec_in_dim


def shared(heads: H, run: Run, parallel: Parallel, ranks: Ranks) -> H:
    """Heads, ready to be trained: on the device, whole in every process, their gradients averaged.

    Theirs are a few layers without blocks: nothing of them is computed again, whatever the run says of its
    transformers. To be called once, before their optimiser is built.
    """
    whole = wrap(heads, replace(run, checkpointing="none"), parallel, ranks)
    assert whole is heads
    return heads


def initialise(heads: nn.Module, seed: int) -> None:
    """Weights drawn by the seed, each scaled by its inputs, biases 0, norms as they are made."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in heads.named_parameters():
            if parameter.ndim > 1:
                std = LAST if name.endswith("out.weight") else parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            elif name.endswith("bias"):
                parameter.zero_()


def inputs(features: Sequence[Tensor]) -> list[Tensor]:
    """What heads are given: features (b, ..., d) of blocks, each token of zero mean and unit variance, in fp32.

    Blocks differ in scale by orders of magnitude, and penalties on gradients with respect to heads' inputs with them.
    """
    return [layer_norm(each.float()) for each in features]


class Heads(nn.Module):
    """A head for each of some blocks. Its parameters are made by `initialise`, and saved as any network's.

    taps: the blocks, as `HeadSettings.blocks` counts them.
    """

    def __init__(self, config: FlowConfig, settings: HeadSettings) -> None:
        """config: the teacher's."""
        super().__init__()
        self.taps = settings.blocks(config)
        told = TIME_WIDTH + text_width(config)
        self.heads = nn.ModuleList(Head(config.hidden_size, settings.width, settings.groups, told) for _ in self.taps)

    def initialise(self, seed: int) -> Heads:
        """As the function of that name says; returns itself."""
        initialise(self, seed)
        return self

    def forward(self, given: Sequence[Tensor], grid: tuple[int, int], t: Tensor, text: Tensor) -> list[Tensor]:
        """The logits (b, h, v) fp32 of every head, from its `inputs` (b, n, d).

        grid: rows and columns of the n tokens. t (b,): their noise level. text (b, c), of `text_vector`.
        Raises ShapeError for inputs that are not one for each head, or not of the grid.
        """
        if len(given) != len(self.heads) or any(each.shape[1] != grid[0] * grid[1] for each in given):
            raise ShapeError(
                f"given: {len(self.heads)} inputs of {grid[0]} x {grid[1]} tokens needed; got "
                f"{[tuple(each.shape) for each in given]}"
            )
        told = torch.cat([sinusoid(t.float(), TIME_WIDTH), layer_norm(text.float())], dim=-1)
        return [head(each, grid, told) for head, each in zip(self.heads, given, strict=True)]

    def flops(self, grid: tuple[int, int]) -> int:
        """Of one forward pass of all heads on one sample: two for each multiplication of matrices and kernels."""
        return sum(head.flops(grid) for head in self.heads if isinstance(head, Head))


class Head(nn.Module):
    """One block's head: two convolutions over the grid, then a logit a place, and the projection on what it is told."""

    def __init__(self, width_in: int, width: int, groups: int, width_told: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width_in, width)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(2))
        self.tell = nn.Sequential(nn.Linear(width_told, width), nn.SiLU(), nn.Linear(width, width))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, given: Tensor, grid: tuple[int, int], told: Tensor) -> Tensor:
        """Logits (b, h, v) of inputs (b, n, d); told (b, width_told)."""
        rows, columns = grid
        x = rearrange(self.enter(given), "b (h v) w -> b w h v", h=rows, v=columns)
        strides = (1, 2 if _is_halved(grid) else 1)
        for conv, norm, stride in zip(self.convs, self.norms, strides, strict=True):
            assert isinstance(conv, nn.Conv2d)
            x = F.leaky_relu(norm(F.conv2d(x, conv.weight, conv.bias, stride, 1)), 0.2)
        direction = self.tell(told)
        with torch.autocast(x.device.type, enabled=False):
            x, direction = x.float(), direction.float()
            projected = torch.einsum("bwhv,bw->bhv", x, direction) / math.sqrt(x.shape[1])
            return self.out(x)[:, 0] + projected

    def flops(self, grid: tuple[int, int]) -> int:
        """Of one forward pass on one sample: two for each multiplication of matrices and kernels."""
        tokens, places = grid[0] * grid[1], _places(grid)
        per = {"enter": tokens, "convs.0": tokens, "convs.1": places, "out": places}
        weights = [(name.rpartition("."), p.numel()) for name, p in self.named_parameters()]
        return sum(2 * count * per.get(layer, 0) for (layer, _, kind), count in weights if kind == "weight")


def real_hinge(logits: Sequence[Tensor]) -> Tensor:
    """The discriminator's loss (b,) on what is real: relu(1 - logit), the mean over places, then over heads."""
    return _mean([F.relu(1 - each) for each in logits])


def fake_hinge(logits: Sequence[Tensor]) -> Tensor:
    """The discriminator's loss (b,) on what is not: relu(1 + logit), the mean over places, then over heads."""
    return _mean([F.relu(1 + each) for each in logits])


def adversarial(logits: Sequence[Tensor]) -> Tensor:
    """The student's loss (b,): minus the logit, the mean over places, then over heads."""
    return _mean([-each for each in logits])


def share_above(logits: Sequence[Tensor]) -> Tensor:
    """The share (b,) of places that are taken for real, the mean over heads."""
    return _mean([(each > 0).float() for each in logits])


def difference(logits: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The approximate penalty R1 (b,): how much logits move if what heads see is disturbed a little.

    The square, the mean over places, then over heads. Source: Lin et al. 2025 (arXiv 2501.08316), section 3.
    """
    return _mean([(one - other).square() for one, other in zip(logits, others, strict=True)])


def gradient_penalty(logits: Sequence[Tensor], given: Sequence[Tensor]) -> Tensor:
    """The penalty R1 (b,), with its graph: half the squared norm of the gradient of a head's summed logits with respect
    to its inputs `given` (b, ..., d), which ask for one; the mean over heads.

    It goes through the heads twice, never through the teacher. Source: Mescheder et al. 2018 (arXiv 1801.04406),
    equation 9; Sauer et al. 2023 (arXiv 2311.17042), section 3.2, on the inputs of heads.
    """
    gradients = torch.autograd.grad([each.sum() for each in logits], list(given), create_graph=True)
    return torch.stack([each.float().square().flatten(1).sum(dim=1) / 2 for each in gradients]).mean(dim=0)


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Means (b,) over places (b, h, v), then over heads, which all count the same."""
    return torch.stack([each.float().mean(dim=(1, 2)) for each in values]).mean(dim=0)


def _is_halved(grid: tuple[int, int]) -> bool:
    return min(grid) >= HALVED_FROM


def _places(grid: tuple[int, int]) -> int:
    rows, columns = ((side + 1) // 2 if _is_halved(grid) else side for side in grid)
    return rows * columns


def check_heads(taps: Sequence[int], wanted: Sequence[int]) -> None:
    """Raises ConfigError for heads on other blocks than the settings say."""
    if tuple(taps) != tuple(wanted):
        raise ConfigError(
            f"heads: made for blocks {tuple(taps)}, settings.heads says {tuple(wanted)}; make them by the same"
        )
