"""One picture by several GPUs: an engine that shares its work with the same engine in other processes.

Two ways, each lossless: the same sums in another order.

- sequence (Ulysses): every process has all weights and its own tokens. Before attention the tokens are exchanged
  for heads, so that each process attends over the whole sequence with some of the heads, and back after it: two
  exchanges a block. The faster one.
- tensor: every process has all tokens and its own heads and hidden width (`recast.speed.shares`). The one for
  models that do not fit: weights of blocks are cut, too.

In both, keys and values that are kept for later (`Part.keep`, cached contexts) are those of the process's own heads.
Outside `Engine.run` all tensors are whole and equal in all processes, so a walk need not know of it.
Source: Jacobs et al. 2023 (arXiv 2309.14509); Shoeybi et al. 2019 (arXiv 1909.08053), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from recast.config import FlowConfig
from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.transformer import Condition
from recast.speed.engine import Blocks, Engine, Joint, Resident, Residual
from recast.speed.processes import Process
from recast.speed.shares import shares, summing

SAME = 0.1  # of a token's length; rounding on another GPU moves it by a hundredth, another seed by more than all of it


@dataclass(frozen=True, kw_only=True)
class Several:
    """How many processes make a picture together, and what they share: the sequence, or the weights of each layer."""

    sequence: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        for name in ("sequence", "tensor"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)!r}: a number of processes from 1 accepted; pass one")
        if self.sequence > 1 and self.tensor > 1:
            raise ConfigError(
                f"sequence={self.sequence}, tensor={self.tensor}: one of them accepted; sequence where the model fits "
                "a device, tensor where it does not"
            )

    @property
    def recorded(self) -> str:
        """As a recipe keeps it."""
        return f"tensor={self.tensor}" if self.tensor > 1 else f"sequence={self.sequence}"

    @property
    def processes(self) -> int:
        return self.sequence * self.tensor

    def check(self, config: FlowConfig) -> None:
        """Raises ConfigError if a network cannot be shared like this; names the counts that can."""
        name: Literal["tensor", "sequence"] = "tensor" if self.tensor > 1 else "sequence"
        fitting = counts(name, config)
        if self.processes not in fitting:
            of_mlp = f" and mlp_hidden={config.mlp_hidden}" if name == "tensor" else ""
            raise ConfigError(
                f"{name}={self.processes}: must divide num_heads={config.num_heads}{of_mlp}; "
                f"{', '.join(map(str, fitting))} accepted; start as many processes"
            )


def counts(how: Literal["sequence", "tensor"], config: FlowConfig) -> list[int]:
    """How many processes can share a network like this, from 1 on: those that divide what is shared out."""
    widths = [config.num_heads] if how == "sequence" else [config.num_heads, config.mlp_hidden]
    return [n for n in range(1, config.num_heads + 1) if not any(width % n for width in widths)]


def shared(engine: Engine, several: Several, here: Process, *, blocks: Blocks | None = None) -> Engine:
    """The engine, working with those of the other processes. Each of them calls this, and from then on the same.

    blocks: of tensor parallel, this process's shares as `shares` made them, in whatever format and place; None to cut
    the engine's own, which must be resident and plain. The engine's `walk` is taken over.
    Raises ConfigError if the network cannot be shared like this, or the processes that met are not as many.
    """
    several.check(engine.config)
    if several.processes != here.size:
        raise ConfigError(
            f"sequence={several.sequence}, tensor={several.tensor}: {several.processes} processes needed, and "
            f"{here.size} met; start that many with torchrun --nproc-per-node {several.processes}"
        )
    if blocks is not None and several.tensor == 1:
        raise ConfigError("blocks: shares of weights, for tensor parallel alone; leave them out, or pass tensor=2")
    if several.tensor > 1:
        if blocks is None:
            if not isinstance(engine.blocks, Resident):
                raise ConfigError(
                    f"tensor={several.tensor}: resident blocks can be cut, not {type(engine.blocks).__name__}; cut "
                    "them with `recast.speed.shares.shares`, stream the shares, and pass these as blocks"
                )
            blocks = Resident(shares(engine.blocks.blocks, here.rank, here.size))
        made = Shared(engine, here, summing(blocks, here))
        made.num_heads = engine.config.num_heads // several.tensor
        return made
    return Ulysses(engine, here) if several.sequence > 1 else engine


class Shared(Engine):
    """An engine whose requests are made of the first process's numbers, so that all compute the same."""

    def __init__(self, engine: Engine, here: Process, blocks: Blocks) -> None:
        super().__init__(
            engine.flow,
            blocks=blocks,
            modulators=engine.modulators,
            ops=engine.ops,
            attend=engine.attend,
            mlp_rows=engine.mlp_rows,
            aside=engine.aside,
        )
        self.walk = engine.walk
        self.here = here

    def condition(self, **inputs: Any) -> Condition:
        """As `Engine.condition`. Raises ConfigError if the processes were asked for different things."""
        return super().condition(**self._of_first(inputs))

    def with_text(self, condition: Condition, text: Tensor, pooled: Tensor | None) -> Condition:
        return super().with_text(condition, **self._of_first({"text": text, "pooled": pooled}))

    def along(self, condition: Condition, times: Sequence[float], may_change: MayChange | None = None) -> Velocity:
        """As `Engine.along`. Raises ConfigError, at the first evaluation, if a process began with other noise."""
        self.here.check_same({"times": list(times)})
        velocity = super().along(condition, times, may_change)
        is_first = True

        def of_first(x: Tensor, t: float) -> Tensor:
            nonlocal is_first
            common = self._of_first({"noise": x})["noise"] if is_first else self.here.from_first(x)
            is_first = False
            return velocity(common, t)

        return of_first

    def _of_first(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs, their tensors those of the first process, once all are found to mean the same."""
        tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
        self.here.check_same({name: (tuple(value.shape), value.dtype) for name, value in tensors.items()})
        common = {name: self.here.from_first(value) for name, value in tensors.items()}
        away = {name: _distance(tensors[name], first) for name, first in common.items()}
        for rank, found in enumerate(self.here.every(away)):
            for name, distance in found.items():
                if not distance <= SAME:
                    raise ConfigError(
                        f"{name}: that of process {rank} is {distance:.2g} away from that of process 0; all make the "
                        "same picture; give every process the same request and seed (`Process.agree`)"
                    )
        return inputs | common


def _distance(own: Tensor, first: Tensor) -> float:
    """How far a row is from the other's, in shares of its length: the farthest row."""
    away, length = ((part.float().norm(dim=-1)) for part in (own - first, first))
    return float((away / length.clamp_min(1e-6)).max())


@dataclass(frozen=True)
class Cut:
    """How the joint sequence lies over the processes: how many tokens of text, target and context each has."""

    text: list[int]
    target: list[int]
    context: list[int]

    @classmethod
    def of(cls, text: int, target: int, context: int, size: int) -> Cut:
        """As even as can be; the first processes have one more where it does not come out."""
        return cls(*([count // size + (i < count % size) for i in range(size)] for count in (text, target, context)))

    @property
    def tokens(self) -> list[int]:
        return [sum(each) for each in zip(self.text, self.target, self.context, strict=True)]

    def places(self, *, image: bool, device: torch.device) -> Tensor:
        """Where tokens lie in the sequence that attention sees, process after process: target's, or all image's."""
        starts = [sum(self.tokens[:i]) for i in range(len(self.tokens))]
        firsts = [start + text for start, text in zip(starts, self.text, strict=True)]
        runs = [(first, count) for first, count in zip(firsts, self.target, strict=True)]
        if image:
            runs += [(a + b, count) for a, b, count in zip(firsts, self.target, self.context, strict=True)]
        return torch.cat([torch.arange(first, first + count, device=device) for first, count in runs])


@dataclass
class Own(Joint):
    """A process's own tokens of an evaluation on its way through the blocks."""

    cut: Cut = field(kw_only=True)


class Ulysses(Shared):
    """An engine with its own tokens between attentions, and its own heads in them."""

    def __init__(self, engine: Engine, here: Process) -> None:
        super().__init__(engine, here, engine.blocks)

    def run(self, joint: Joint, last: int) -> None:
        """As `Engine.run`; the joint sequence is whole before and after."""
        if joint.num_done >= last:
            return
        for residual in (joint.text, joint.image):
            self._settle(residual)
        is_one_stream = joint.num_done > self.config.depth
        m, n = joint.num_text, joint.num_target
        r = joint.image.x.shape[1] - n - (m if is_one_stream else 0)
        cut = Cut.of(m, n, r, self.here.size)
        text, image = [cut.text], [cut.target, cut.context]
        own = Own(
            text=Residual(joint.text.x if is_one_stream else self._own(joint.text.x, text)),
            image=Residual(self._own(joint.image.x, text + image if is_one_stream else image)),
            modulations=joint.modulations,
            rotary=self._own(joint.rotary, text + image, dim=2),
            num_text=cut.text[self.here.rank],
            num_target=cut.target[self.here.rank],
            part=joint.part,
            num_done=joint.num_done,
            kept=joint.kept,
            cut=cut,
        )
        super().run(own, last)
        for residual in (own.text, own.image):
            self._settle(residual)
        joint.num_done = own.num_done
        if own.num_done == len(self.blocks):
            joint.text, image = Residual(joint.text.x[:, :0]), [cut.target]
        elif own.num_done > self.config.depth:
            joint.text, image = Residual(joint.text.x[:, :0]), text + image
        else:
            joint.text = Residual(self._whole(own.text.x, text))
        joint.image = Residual(self._whole(own.image.x, image))

    def _attended(self, qkv: Tensor, joint: Joint, read: slice | Tensor = slice(None)) -> Tensor:
        """Attention of this process's tokens to all, (b, s, 3 d) to (b, s, d); of the target's alone in the last."""
        assert isinstance(joint, Own)
        cut, rank, part = joint.cut, self.here.rank, joint.part
        counts = cut.tokens
        if read != slice(None):
            read, counts = cut.places(image=False, device=qkv.device), cut.target
        if part.keep is not None:
            part = replace(part, keep=cut.places(image=True, device=qkv.device)[part.keep])
        attended = super()._attended(self._to_heads(qkv, cut.tokens), replace(joint, num_text=0, part=part), read)
        return self._to_tokens(attended, counts, counts[rank])

    def _to_heads(self, qkv: Tensor, counts: Sequence[int]) -> Tensor:
        """Own tokens (b, s, 3 k e) with all heads to all tokens (b, sum of counts, 3 k' e) with own heads."""
        size, (b, s, _) = self.here.size, qkv.shape
        by_process = qkv.unflatten(-1, (3, size, -1)).permute(3, 1, 0, 2, 4)  # (process, s, b, 3, k' e)
        own = self.here.exchanged(by_process.reshape(size * s, b, -1), [s] * size, counts)
        return own.transpose(0, 1)

    def _to_tokens(self, attended: Tensor, counts: Sequence[int], s: int) -> Tensor:
        """All tokens (b, sum of counts, k' e) with own heads to the own (b, s, k e) with all heads."""
        size = self.here.size
        whole = self.here.exchanged(attended.transpose(0, 1), counts, [s] * size)  # (process s, b, k' e)
        return whole.unflatten(0, (size, s)).permute(2, 1, 0, 3).flatten(2)

    def _own(self, x: Tensor, parts: Sequence[Sequence[int]], dim: int = 1) -> Tensor:
        """The run, for this process, of each of the parts that x is along `dim`."""
        runs = x.split([count for counts in parts for count in counts], dim=dim)
        return torch.cat(runs[self.here.rank :: self.here.size], dim=dim)

    def _whole(self, own: Tensor, parts: Sequence[Sequence[int]]) -> Tensor:
        """The other way, from all processes: own (b, s, d) to the parts, each put together again."""
        every = self.here.gathered(own, [sum(each) for each in zip(*parts, strict=True)])
        runs = [each.split([counts[i] for counts in parts], dim=1) for i, each in enumerate(every)]
        return torch.cat([run for part in zip(*runs, strict=True) for run in part], dim=1)
