"""The networks that know the people of the world, trained: a map of face centres, and vectors that say who it is.

Identity is learned from pairs: two pictures of one person are drawn together, those of all others in the batch pushed
apart (Khosla et al. 2020, arXiv 2004.11362, equation 2). Others whose difference neither picture shows, such as hair
under a hat, are left out: nothing could tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recast.errors import ConfigError
from recast.train.identity_batches import FAMILY, HIDDEN, NAMES, SHAPE, VIEWS, IdentityBatch, IdentityBatches
from recast.train.settings import Optimiser
from recast.train.stage import Loss, Phase
from recast.world.identity_network import STRIDE, USUAL_PX, Found, IdentityNetwork
from recast.world.scene import CHOICES, Character

COUNTS = tuple(len(CHOICES[Character][name]) for name in NAMES)


@dataclass(frozen=True, kw_only=True)
class IdentityTraining:
    """How it learns. temperature: of the contrast. read, shape, place: weights of the other losses beside it.

    told: the least difference of a size of the face by which two people count as told apart.
    """

    optimiser: Optimiser = field(
        default_factory=lambda: Optimiser(lr=4e-3, weight_decay=0.02, warmup_steps=100, decay_from=0.5)
    )
    temperature: float = 0.07
    read: float = 1.0
    shape: float = 2.0
    place: float = 0.5
    told: float = 0.12
    validate: int = 128  # crops, of held-out people

    def __post_init__(self) -> None:
        for name in ("temperature", "read", "shape", "place", "told"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a number above 0 accepted")


class Reading(nn.Module):
    """What the namer's features are asked in training alone: each attribute of NAMES, and the sizes of the face."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out = nn.Linear(features, sum(COUNTS) + len(SHAPE))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Logits of each attribute (n, choices), and last the sizes (n, len(SHAPE)), 0 the usual, 1 a tenth more."""
        return self.out(features).split([*COUNTS, len(SHAPE)], -1)


class IdentityStage:
    """Finder, namer and what is read beside them (`stage.Stage`)."""

    name = "identity"
    averaged = ()  # an average of weights does not suit the statistics of batch normalisation; the rate falls instead

    def __init__(self, training: IdentityTraining, *, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = IdentityNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            reading = Reading(network.namer.features)
        self.training = training
        self.networks: Mapping[str, nn.Module] = {"identity": network, "reading": reading}
        self.phases = (Phase(name="identity", networks=("identity", "reading"), optimiser=training.optimiser),)
        self._work = _work(network.namer, 64, 64), _work(network.finder, 64, 64) / 64**2
        self._held_out: IdentityBatch | None = None

    def prepare(self, batch: IdentityBatch, share: float) -> IdentityBatch:
        return batch

    def loss(self, phase: str, prepared: IdentityBatch, share: float) -> Loss:
        network, training = self.networks["identity"], self.training
        assert isinstance(network, IdentityNetwork)
        features = network.namer.read(to_unit(prepared.crops))
        told = told_apart(prepared, training.told)
        parts = {"contrast": contrast(network.namer.name(features), prepared.who, told, training.temperature)}
        *logits, shape = self.networks["reading"](features)
        parts["read"] = (
            training.read
            * torch.stack(
                [
                    F.cross_entropy(each, prepared.classes[:, i], ignore_index=HIDDEN, reduction="sum") / len(each)
                    for i, each in enumerate(logits)
                ]
            ).sum()
        )
        parts["shape"] = training.shape * F.smooth_l1_loss(shape, 10 * (prepared.shape - 1))
        found = network.finder(to_unit(prepared.pictures))
        heat, place = finding(found, prepared.faces)
        parts |= {"heat": heat, "place": training.place * place}
        return Loss(torch.stack(list(parts.values())).sum(), {name: value.detach() for name, value in parts.items()})

    def flops(self, batch: IdentityBatch) -> float:
        """Of the convolutions and the last matrix; twice as many backward."""
        per_crop, per_pixel = self._work
        _, _, height, width = batch.pictures.shape
        return 3 * (len(batch.crops) * per_crop + len(batch.pictures) * height * width * per_pixel)

    def count(self, batch: IdentityBatch) -> int:
        return len(batch.crops)

    @torch.no_grad()
    def validate(self) -> Mapping[str, float]:
        """On people never trained on: mean cosines of the same person, of look-alikes, of others; the finder's losses.

        accepted: the share of pairs of one person that are more alike than all but one in a hundred of other people's.
        """
        if self._held_out is None:
            families = max(2, self.training.validate // (FAMILY * VIEWS))
            self._held_out = IdentityBatches(families=families, searched=families, seed=1).batch(0, held_out=True)
        batch, network = self._held_out, self.networks["identity"]
        assert isinstance(network, IdentityNetwork)
        network.eval()
        vectors = network.namer(to_unit(batch.crops))
        cosines = vectors @ vectors.T
        same = batch.who[:, None] == batch.who
        kin = batch.who[:, None] // FAMILY == batch.who // FAMILY
        of_one = cosines[same & ~torch.eye(len(same), dtype=torch.bool)]
        found = network.finder(to_unit(batch.pictures))
        network.train()
        heat, place = finding(found, batch.faces)
        return {
            "same": float(of_one.mean()),
            "alike": float(cosines[kin & ~same].mean()),
            "others": float(cosines[~kin].mean()),
            "accepted": float((of_one > torch.quantile(cosines[~kin], 0.99)).float().mean()),
            "heat": float(heat),
            "place": float(place),
        }

    def samples(self) -> Mapping[str, np.ndarray]:
        """None: there is nothing to look at."""
        return {}


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 (b, 3, H, W) to [-1, 1], channels last in memory."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def told_apart(batch: IdentityBatch, least: float) -> Tensor:
    """(n, n) bool: whether two crops show a difference in who it is: an attribute that both show, or a size."""
    seen = batch.classes != HIDDEN
    differ = (batch.classes[:, None] != batch.classes) & seen[:, None] & seen
    sizes = (batch.shape[:, None] - batch.shape).abs().amax(-1) >= least
    return differ.any(-1) | sizes


def contrast(vectors: Tensor, who: Tensor, told: Tensor, temperature: float) -> Tensor:
    """The supervised contrastive loss of unit vectors (n, d) of people `who` (n,); `told` (n, n): pairs that count.

    Source: Khosla et al. 2020, equation 2.
    """
    itself = torch.eye(len(who), dtype=torch.bool)
    same = (who[:, None] == who) & ~itself
    cosines = (vectors @ vectors.T / temperature).masked_fill(itself | ~(same | told), float("-inf"))
    likelihood = cosines - cosines.logsumexp(1, keepdim=True)
    return -(likelihood.masked_fill(~same, 0).sum(1) / same.sum(1)).mean()


def finding(found: Found, faces: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Losses of the map of centres and of what is said at them; faces as in `IdentityBatch`.

    Source: Zhou et al. 2019, equations 1 to 4; sizes are learned in the eight cells around a centre as well.
    """
    wanted, spots = torch.zeros_like(found.heat), []
    rows, columns = (torch.arange(side, dtype=torch.float32) + 0.5 for side in found.heat.shape[1:])
    for n, boxes in enumerate(faces):
        for x, y, wide, high, gap, seen in boxes.tolist():
            x, y = x / STRIDE, y / STRIDE
            spread = max(0.7, (wide * high) ** 0.5 / STRIDE / 7)
            near = ((columns - x) ** 2 + ((rows - y) ** 2)[:, None]) / (2 * spread**2)
            wanted[n] = torch.maximum(wanted[n], torch.exp(-near))
            for row in range(int(y) - 1, int(y) + 2):
                for column in range(int(x) - 1, int(x) + 2):
                    if 0 <= row < len(rows) and 0 <= column < len(columns):
                        size = np.log(wide / USUAL_PX), np.log(high / USUAL_PX)
                        spots.append((n, row, column, x - column - 0.5, y - row - 0.5, *size, gap, seen))
            if 0 <= int(y) < len(rows) and 0 <= int(x) < len(columns):
                wanted[n, int(y), int(x)] = 1.0
    said = torch.sigmoid(found.heat).clamp(1e-4, 1 - 1e-4)
    is_centre = wanted == 1
    right = (1 - said) ** 2 * said.log() * is_centre
    wrong = (1 - wanted) ** 4 * said**2 * (1 - said).log() * ~is_centre
    heat = -(right + wrong).sum() / is_centre.sum().clamp(min=1)
    if not spots:
        return heat, heat * 0
    at = torch.tensor(spots)
    where = tuple(at[:, :3].long().T)
    place = F.l1_loss(found.offset[where], at[:, 3:5]) + F.l1_loss(found.size[where], at[:, 5:7])
    place = place + 10 * F.l1_loss(found.gap[where], at[:, 7])
    return heat, place + 0.2 * F.binary_cross_entropy_with_logits(found.seen[where], at[:, 8])


def _work(network: nn.Module, width: int, height: int) -> float:
    """Floating point operations of a network on one picture: two for each product."""
    counted: list[int] = []

    def count(layer: Any, _: Any, made: Tensor) -> None:
        counted.append(2 * layer.weight[0].numel() * made[0].numel())

    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    hooks = [each.register_forward_hook(count) for each in layers]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, height, width))
    network.train()
    for hook in hooks:
        hook.remove()
    return float(sum(counted))
