"""Low-rank adapters: attach them to a flow transformer, train them, take them off, save them.

W x becomes W x + (alpha / r) B A x, with W frozen, A random and B zero, so that at first nothing changes. Where a
matrix of ours is several of diffusers' (q, k, v, and the MLP of a single block), each of these has a pair of its own:
that is what diffusers, PEFT and ai-toolkit train and name, so their ranks mean the same here, and every file format
holds the result without loss (`recast.weights.save_adapter`).
Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1; the start of A as in PEFT.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.train.sharded import reshard
from recast.weights import AdapterFormat, Change, names, save_adapter
from recast.weights.adapter_keys import Target
from recast.weights.names import Span

if TYPE_CHECKING:
    from recast.train.parallel import Ranks

TARGETS: Mapping[str, tuple[str, ...]] = {
    "attention": ("double_blocks.*_attn.*", "single_transformer_blocks.*.attn.*"),
    "attention+mlp": (
        "double_blocks.*_attn.*", "double_blocks.*_mlp.*", "single_blocks.*.linear1", "single_blocks.*.linear2",
    ),
    "all linears": ("*",),
}  # fmt: skip
"""Which modules a set of targets means. `linear2` of a single block is the output of attention and MLP in one."""


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """What is attached, and where.

    targets: a name of TARGETS, or patterns (`*` for anything) of module names, ours or those of diffusers:
    ["double_blocks.0.img_attn.qkv", "single_transformer_blocks.*.attn.to_v"]; of a list, a tuple is kept.
    """

    rank: int = 16
    alpha: float = 16.0  # the change is scaled by alpha / rank
    targets: str | tuple[str, ...] = "attention+mlp"

    def __post_init__(self) -> None:
        if not (isinstance(self.rank, int) and self.rank >= 1):
            raise ConfigError(f"rank={self.rank!r}: a whole number from 1 accepted; 16 is usual")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"alpha={self.alpha}: a number above 0 accepted; the rank is usual")
        if isinstance(self.targets, str) and self.targets not in TARGETS:
            raise ConfigError(
                f"targets={self.targets!r}: {', '.join(map(repr, TARGETS))} accepted, or a list of patterns such as "
                '["double_blocks.*.img_attn.qkv"]; choose one'
            )
        if not isinstance(self.targets, str):
            object.__setattr__(self, "targets", tuple(self.targets))
        if not self.targets:
            raise ConfigError("targets=[]: at least one pattern accepted; 'attention+mlp' is usual")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def patterns(self) -> tuple[str, ...]:
        return TARGETS[self.targets] if isinstance(self.targets, str) else self.targets


class LowRank(nn.Module):
    """The change of one linear layer: for each span of its rows a pair, stored as one A and one B.

    down (spans * r, in_features): A of each span. up (rows of all spans, r): B of each span.
    """

    def __init__(self, module: str, linear: nn.Linear, spans: tuple[Span, ...], lora: LoRA, seed: int) -> None:
        super().__init__()
        self.module, self.spans, self.rank, self.scale = module, spans, lora.rank, lora.scale
        self.out_features, self.is_on = linear.out_features, True
        device, bound = linear.weight.device, linear.in_features**-0.5
        pairs = []
        for span in spans:
            number = int.from_bytes(hashlib.sha256(f"{seed}:{span.name}".encode()).digest()[:8], "big") >> 1
            generator = torch.Generator().manual_seed(number)  # on the CPU: the same A on every device
            pairs.append((2 * torch.rand(lora.rank, linear.in_features, generator=generator) - 1) * bound)
        self.down = nn.Parameter(torch.cat(pairs).to(device))
        self.up = nn.Parameter(torch.zeros(sum(span.rows for span in spans), lora.rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """The change (..., out_features) for x (..., in_features), in the dtype of x (of autocast, if that is on)."""
        hidden = F.linear(x, self.down.to(x.dtype)) * self.scale
        return F.linear(hidden, self._wide().to(x.dtype))

    def _wide(self) -> Tensor:
        """B of all spans, block by block along the diagonal (out_features, spans * r): one product for all."""
        if len(self.spans) == 1 and self.spans[0].rows == self.out_features:
            return self.up
        blocks, end = [], 0
        for span, up in zip(self.spans, self.up.split([span.rows for span in self.spans]), strict=True):
            blocks += [self.up.new_zeros(span.first - end, 0), up]
            end = span.first + span.rows
        return torch.block_diag(*blocks, self.up.new_zeros(self.out_features - end, 0))

    def changes(self, up: Tensor, down: Tensor) -> Iterator[Change]:
        """What whole `up` and `down` do to the weight, span by span."""
        ups, downs = up.split([span.rows for span in self.spans]), down.split(self.rank)
        for span, b, a in zip(self.spans, ups, downs, strict=True):
            target = Target(self.module, span.first, span.rows, False, "bfl")
            yield Change(f"{self.module}.weight", target, "low_rank", (b, a), self.scale)


class AdaptedLinear(nn.Linear):
    """A linear layer with its change beside it. Its weight and bias are those of the layer it stands for."""

    def __init__(self, linear: nn.Linear, change: LowRank) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + self.change(x) if self.change.is_on else y


class Adapters(nn.Module):
    """The adapters of a flow transformer and nothing of the transformer: what is trained, averaged and saved.

    It holds the very modules that work inside the transformer, under the names of the layers they belong to, so it
    stays right when the transformer is sharded, checkpointed or compiled after `attach`. A stage shows it among its
    networks in the place of the transformer; the base, which no checkpoint then holds, is told by `fingerprint`.
    """

    def __init__(
        self, flow: FlowTransformer, changes: list[LowRank], lora: LoRA, shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        super().__init__()
        self.lora, self.shapes = lora, dict(shapes)
        self._flow = (flow,)  # in a tuple, so that it does not become a part of this module
        for change in changes:
            place: nn.Module = self
            *path, last = change.module.split(".")
            for name in path:
                if not hasattr(place, name):
                    place.add_module(name, nn.Module())
                place = place.get_submodule(name)
            place.add_module(last, change)

    def low_ranks(self) -> list[LowRank]:
        return [module for module in self.modules() if isinstance(module, LowRank)]

    def changes(self, tensors: Mapping[str, Tensor] | None = None) -> list[Change]:
        """What they do to the transformer's weights, on the CPU.

        tensors: whole ones by the names of this module's state, such as those of a checkpoint, in the place of its own
        parameters; without them all ranks call it where parameters are sharded.
        """
        if tensors is None:
            self.reshard()
            tensors = {name: whole(parameter) for name, parameter in self.named_parameters()}
        pairs = ((each, tensors[f"{each.module}.up"], tensors[f"{each.module}.down"]) for each in self.low_ranks())
        return [change for each, up, down in pairs for change in each.changes(up, down)]

    def reshard(self) -> None:
        """Free what a forward pass without a backward one left gathered: it may be older than the shards."""
        reshard(self._flow[0])

    @contextmanager
    def off(self) -> Iterator[None]:
        """The base alone, as long as the context lasts."""
        before = [low_rank.is_on for low_rank in self.low_ranks()]
        for low_rank in self.low_ranks():
            low_rank.is_on = False
        try:
            yield
        finally:
            for low_rank, was_on in zip(self.low_ranks(), before, strict=True):
                low_rank.is_on = was_on


def attach(flow: FlowTransformer, lora: LoRA, *, seed: int = 0) -> Adapters:
    """Put adapters on the wanted layers of `flow` and freeze everything else; before it is wrapped or compiled.

    Parameters of adapters are fp32 whatever the base is in. A depends on the seed and on the layer's name alone.
    Raises ConfigError for a pattern that fits no layer, if adapters are on already, and for a flow without weights.
    """
    if any(isinstance(module, AdaptedLinear) for module in flow.modules()):
        raise ConfigError("flow: has adapters on; one set at a time accepted; call detach first")
    if any(parameter.is_meta for parameter in flow.parameters()):
        raise ConfigError("flow: its weights are on the meta device and have no values; load them first")
    shapes = {name: tuple(parameter.shape) for name, parameter in flow.named_parameters()}
    wanted = _wanted(flow, lora.patterns, shapes)
    flow.requires_grad_(False)
    changes = []
    for name, spans in wanted.items():
        linear = flow.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        changes.append(LowRank(name, linear, spans, lora, seed))
        _replace(flow, name, AdaptedLinear(linear, changes[-1]))
    return Adapters(flow, changes, lora, shapes)


def detach(flow: FlowTransformer) -> None:
    """Take the adapters off: the layers are the base's again, their weights the same objects, frozen as they were."""
    for name, module in list(flow.named_modules()):
        if isinstance(module, AdaptedLinear):
            linear = nn.Linear(module.in_features, module.out_features, module.bias is not None, device="meta")
            linear.weight, linear.bias = module.weight, module.bias
            _replace(flow, name, linear)


def save(
    path: str | Path,
    adapters: Adapters,
    *,
    format: AdapterFormat = "diffusers",
    dtype: torch.dtype | None = None,
    about: Mapping[str, Any] | None = None,
    ranks: Ranks | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the adapters as one file that other programs read (`save_adapter`); all ranks call it, the first writes.

    about: what else the header shall say as JSON data: base, base_sha256, steps, samples. Rank, alpha, targets and
    code version are always in it. Inside `Average.all_in` it is the averages that are written. tensors: what is written
    in the place of the adapters' own numbers, see `Adapters.changes`; then one process can do it alone.
    Raises WeightsError if something is at `path` or a number is not finite.
    """
    changes = adapters.changes(tensors)
    if ranks is None or ranks.rank == 0:
        said = {**asdict(adapters.lora), **(about or {})}
        save_adapter(path, changes, adapters.shapes, format=format, dtype=dtype, about=said)
    if ranks is not None:
        ranks.barrier()
    return Path(path)


def fingerprint(base: nn.Module, read: Callable[[str], Tensor] | None = None) -> str:
    """SHA-256, in hex, of a network: names, shapes, dtypes and values of every parameter that is no adapter's.

    Adapters are good for the base they were trained on: a run keeps this in its settings, so that it does not go on
    with another. Taken before the transformer is sharded. read: the value of a parameter by its name, for a network on
    the meta device; each is let go before the next is read.
    """
    digest = hashlib.sha256()
    inside = {id(p) for m in base.modules() if isinstance(m, LowRank) for p in m.parameters()}
    for name, parameter in sorted(base.named_parameters()):
        if id(parameter) not in inside:
            value = parameter.detach() if read is None else read(name)
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
            del value
    return digest.hexdigest()


def whole(tensor: Tensor) -> Tensor:
    """All of a parameter that may be sharded, on the CPU, as a copy of its own."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).to("cpu", copy=True)


def _wanted(
    flow: FlowTransformer, patterns: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[Span, ...]]:
    """For each wanted linear layer of ours, the spans that shall change."""
    table = names.modules_of("flow", shapes)
    found: dict[str, tuple[Span, ...]] = {}
    known: set[str] = set()
    used: set[str] = set()
    for name, module in flow.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        spans = []
        for span in names.spans(table[name], module.out_features, flow.config.hidden_size):
            fitting = {pattern for pattern in patterns if fnmatchcase(name, pattern) or fnmatchcase(span.name, pattern)}
            used |= fitting
            known |= {name, span.name}
            if fitting:
                spans.append(span)
        if spans:
            found[name] = tuple(spans)
    for pattern in patterns:
        if pattern not in used:
            near = get_close_matches(pattern, sorted(known), 5, 0.3)
            raise ConfigError(
                f"targets: {pattern!r} fits no linear layer; names near it: {', '.join(near) or 'none'}; "
                f"patterns with * and the sets {', '.join(TARGETS)} accepted; mend the name"
            )
    return found


def _replace(flow: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(flow.get_submodule(parent), leaf, module)
