"""The network of `recast.flow.transformer` computed for speed: the same weights, the same formulas, less work.

What is different from the core, and exact up to the order of sums:

- modulations depend on time, guidance and pooled text alone: those of all steps are one product before the first;
- tensors stay token by token, (b, s, k, e), and q, k, v of both streams are written into one joint tensor;
- gate, residual, norm and modulation are one pass (`Ops.leave_enter`), since each block leaves where the next enters;
- the single block's two matrices are four (`recast.speed.blocks`), so that nothing is cut apart or put together;
- in the last block, queries and MLP are the target's alone.

A plan replaces parts of it: `ops` (what runs between products), `attend`, the layers (number formats), `blocks`
(where weights live) and `walk` (which evaluations are made at all). The core stays the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from recast.config import FlowConfig
from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.layers import KeysValues, rotary_table, sinusoid
from recast.flow.transformer import Condition, FlowTransformer
from recast.speed import attention
from recast.speed.attention import Attend
from recast.speed.blocks import Block, Double, Modulator, Stream, blocks_of, modulators_of
from recast.speed.linear import Linear, Rows
from recast.speed.ops import Ops
from recast.speed.ops import Plain as PlainOps
from recast.speed.side_stream import Aside

Modulations = list[Tensor]  # of one time, in the order of `modulators_of`, each (1, 1, i d) or (b, 1, i d)
Walk = Callable[["Engine", Condition, Sequence[float], MayChange | None], Velocity]


class Prepared(dict[float, Modulations]):
    """The modulations of the times that a walk was prepared for."""

    def __missing__(self, t: float) -> Modulations:
        raise ConfigError(f"t={t}: this walk was prepared for the times {sorted(self)}; ask for one of these")


class Blocks(Protocol):
    """Where the weights of the blocks are."""

    def __len__(self) -> int: ...

    def walk(self, first: int, last: int) -> Iterator[Block]:
        """Blocks first to last in order, each ready on the device until the next is asked for."""
        ...


@dataclass(frozen=True)
class Resident:
    """All of them on the device, all the time."""

    blocks: list[Block]

    def __len__(self) -> int:
        return len(self.blocks)

    def walk(self, first: int, last: int) -> Iterator[Block]:
        return iter(self.blocks[first:last])


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which tokens an evaluation computes. Those left out take part as keys and values kept from an earlier one.

    target: indices (n',) of target tokens, None for all. context: whether the context's tokens are computed (those
    of full mode; in cached mode they never are). others: of each block, keys and values (b, k, s', e) of tokens
    that are left out. keep: indices into the image tokens computed (target, then context) whose keys and values are
    handed back; None for none.
    """

    target: Tensor | None = None
    context: bool = True
    others: Sequence[KeysValues] | None = None
    keep: Tensor | None = None


WHOLE = Part()


@dataclass
class Residual:
    """A stream on its way: what the last layers add to it waits, to be added in one pass with the next norm."""

    x: Tensor  # (b, s, d)
    update: Tensor | None = None
    gate: Tensor | None = None

    def add(self, update: Tensor, gate: Tensor) -> None:
        assert self.update is None, "one update waits at a time"
        self.update, self.gate = update, gate


@dataclass
class Joint:
    """An evaluation on its way through the blocks."""

    text: Residual
    image: Residual  # in single blocks, text and image together
    modulations: Modulations
    rotary: Tensor  # (b, 1, s, p)
    num_text: int
    num_target: int
    part: Part
    num_done: int = 0  # blocks
    kept: list[KeysValues] = field(default_factory=list)


class Engine:
    """A velocity field from the weights of a `FlowTransformer`, with the same methods as a pipeline asks of one."""

    def __init__(
        self,
        flow: FlowTransformer,
        *,
        blocks: Blocks | None = None,
        modulators: Iterable[Modulator] | None = None,
        ops: Ops | None = None,
        attend: Attend = attention.plain,
        mlp_rows: int | None = None,
        aside: Aside | None = None,
    ) -> None:
        """flow: its stem and head are used as they are; its blocks too, unless `blocks` hold others.

        modulators: gone through once a request, and once for a cache of the context; they may pass through the device.
        mlp_rows: tokens whose MLP is computed at once; None for all. Fewer need less memory, and give the same.
        aside: where the text's share of a double block may run, beside the image's.
        """
        self.flow = flow
        self.config: FlowConfig = flow.config
        self.num_heads = self.config.num_heads  # that this process computes: fewer where several share them
        self.blocks: Blocks = Resident(blocks_of(flow)) if blocks is None else blocks
        self.modulators = modulators_of(flow) if modulators is None else modulators
        self.ops: Ops = PlainOps() if ops is None else ops
        self.attend = attend
        self.mlp_rows = mlp_rows
        self.aside = aside
        self.walk: Walk = exactly

    @property
    def device(self) -> torch.device:
        return self.flow.device

    @property
    def dtype(self) -> torch.dtype:
        return self.flow.dtype

    # What a pipeline asks.

    def along(self, condition: Condition, times: Sequence[float], may_change: MayChange | None = None) -> Velocity:
        """As `FlowTransformer.along`; what the plan reuses from step to step lives as long as this function."""
        with torch.inference_mode():
            velocity = self.walk(self, condition, times, may_change)
        return torch.inference_mode()(velocity)

    def condition(self, **inputs: Any) -> Condition:
        """As `FlowTransformer.condition`. In cached mode, the context's keys and values are made by this engine."""
        if self.config.context_attention != "cached" or inputs.get("context") is None:
            return self.flow.condition(**inputs)
        context, where = inputs.pop("context"), inputs.pop("context_positions")
        return replace(self.flow.condition(**inputs), context=self.cache_context(context, where))

    def with_text(self, condition: Condition, text: Tensor, pooled: Tensor | None) -> Condition:
        """As `FlowTransformer.with_text`."""
        return self.flow.with_text(condition, text, pooled)

    def cache_context(self, context: Tensor, positions: Tensor) -> list[KeysValues]:
        """As `FlowTransformer.cache_context`: keys and values (b, k, r, e) of every block."""
        x = self.flow.embed(context, None)
        at = self._modulations(self.flow.time_in(sinusoid(x.new_zeros(1))))
        joint = Joint(
            text=Residual(x[:, :0]),
            image=Residual(x),
            modulations=at,
            rotary=rotary_table(positions, self.config.axes_dim, self.config.theta),
            num_text=0,
            num_target=x.shape[1],
            part=Part(keep=torch.arange(x.shape[1], device=x.device)),
        )
        self.run(joint, len(self.blocks))
        return joint.kept

    # One evaluation.

    def modulations(self, condition: Condition, times: Sequence[float]) -> Prepared:
        """The modulations of every time, by one product a layer."""
        wanted = list(dict.fromkeys(times))
        vectors = torch.stack([self._vector(condition, t) for t in wanted])  # (times, b, d)
        every = self._modulations(vectors.flatten(0, 1))
        by_time = [rows.unflatten(0, vectors.shape[:2]) for rows in every]
        return Prepared({t: [rows[i] for rows in by_time] for i, t in enumerate(wanted)})

    def evaluate(
        self, x: Tensor, modulations: Modulations, condition: Condition, part: Part = WHOLE
    ) -> tuple[Tensor, list[KeysValues]]:
        """The velocity (b, n', out_channels) of target tokens x (b, n, out_channels), and what the part keeps."""
        joint = self.start(x, modulations, condition, part)
        self.run(joint, len(self.blocks))
        return self.finish(joint), joint.kept

    def start(self, x: Tensor, modulations: Modulations, condition: Condition, part: Part = WHOLE) -> Joint:
        """The joint sequence before the first block: what the part leaves out is not in it."""
        m, n = condition.text.shape[1], x.shape[1]
        image = self.flow.embed(x.to(self.dtype), condition.extra)
        rotary = condition.rotary.expand(x.shape[0], -1, -1, -1) if part.target is not None else condition.rotary
        where = [rotary[:, :, :m], rotary[:, :, m : m + n]]
        if part.target is not None:
            image, where[1] = image[:, part.target], where[1][:, :, part.target]
        others: Sequence[KeysValues] | None = part.others
        num_target = image.shape[1]
        if isinstance(condition.context, list):
            if others is not None:
                others = [_together(*pair) for pair in zip(condition.context, others, strict=True)]
            else:
                others = condition.context
        elif condition.context is not None and part.context:
            image = torch.cat([image, condition.context.expand(x.shape[0], -1, -1)], dim=1)
            where.append(rotary[:, :, m + n :])
        return Joint(
            text=Residual(condition.text.expand(x.shape[0], -1, -1)),
            image=Residual(image),
            modulations=modulations,
            rotary=torch.cat(where, dim=2),
            num_text=m,
            num_target=num_target,
            part=replace(part, others=others),
        )

    def run(self, joint: Joint, last: int) -> None:
        """Through the blocks, from where it stands to before `last`."""
        for block in self.blocks.walk(joint.num_done, last):
            if isinstance(block, Double):
                self._double(block, joint)
            else:
                self._single(block.stream, block.joined, joint)
            joint.num_done += 1

    def finish(self, joint: Joint) -> Tensor:
        """The velocity of the target tokens of a sequence that is through."""
        head, left = self.flow.final_layer.linear, joint.image
        shift, scale = joint.modulations[-1].chunk(2, dim=-1)
        return self.ops.head(left.x, left.update, left.gate, shift, scale, head.weight, head.bias)

    def settled(self, joint: Joint) -> Tensor:
        """The image tokens (b, s, d) as they stand, with what waited added: for who compares them between steps."""
        for residual in (joint.text, joint.image):
            self._settle(residual)
        return joint.image.x

    # Inside.

    def _vector(self, condition: Condition, t: float) -> Tensor:
        """The conditioning vector (1 or b, d) at a time."""
        like = condition.text
        vector: Tensor = self.flow.time_in(sinusoid(torch.full((1,), t, device=like.device).to(self.dtype)))
        for part in (condition.guidance, condition.pooled):  # in the order of the core
            vector = vector if part is None else vector + part
        return vector

    def _modulations(self, vectors: Tensor) -> Modulations:
        active = torch.nn.functional.silu(vectors)
        return [
            torch.nn.functional.linear(active, one.layer.weight, one.layer.bias)[:, None] for one in self.modulators
        ]

    def _double(self, block: Double, joint: Joint) -> None:
        at = [joint.modulations[2 * joint.num_done + i].chunk(6, dim=-1) for i in (0, 1)]
        m, s = joint.num_text, joint.image.x.shape[1]
        rows = (slice(0, m), slice(m, m + s))
        streams = list(zip((block.text, block.image), (joint.text, joint.image), at, rows, strict=True))
        attended = self._met(streams, joint)

        def leave(stream: Stream, residual: Residual, modulation: Sequence[Tensor], run: slice) -> None:
            residual.add(stream.proj(self._as_eaten(attended[:, run], stream.proj)), modulation[2])
            entered = self._enter(residual, *modulation[3:5], rows=stream.mlp_in.eats_rows)
            residual.add(self._mlp(stream, entered, None), modulation[5])

        self._each(streams, leave)

    def _met(self, streams: Sequence[tuple[Stream, Residual, Sequence[Tensor], slice]], joint: Joint) -> Tensor:
        """Both streams attended together; q, k, v are freed before the MLP, where most memory is needed."""
        b, s, _ = joint.image.x.shape
        qkv = joint.image.x.new_empty(b, joint.num_text + s, 3 * self.num_heads * self.config.head_dim)

        def enter(stream: Stream, residual: Residual, modulation: Sequence[Tensor], run: slice) -> None:
            entered = self._enter(residual, *modulation[:2], rows=stream.qkv.eats_rows)
            self._project(stream, entered, qkv[:, run], joint.rotary[:, :, run])

        self._each(streams, enter)
        return self._attended(qkv, joint)

    def _each(
        self, streams: Iterable[tuple[Stream, Residual, Sequence[Tensor], slice]], do: Callable[..., None]
    ) -> None:
        """The same for text and image, the text's aside where there is a place for it."""
        text, image = streams
        if text[-1].start < text[-1].stop:  # a context alone has no text
            with nullcontext() if self.aside is None else self.aside.begin():
                do(*text)
        do(*image)
        if self.aside is not None:
            self.aside.join()

    def _single(self, stream: Stream, joined: Linear | None, joint: Joint) -> None:
        num_double = self.config.depth
        if joint.num_done == num_double:
            self._become_one(joint)
        is_last = joint.num_done == len(self.blocks) - 1
        read = slice(joint.num_text, joint.num_text + joint.num_target) if is_last else slice(None)
        shift, scale, gate = joint.modulations[num_double + joint.num_done].chunk(3, dim=-1)
        b, s, _ = joint.image.x.shape
        entered = self._enter(joint.image, shift, scale, rows=stream.qkv.eats_rows)
        qkv = joint.image.x.new_empty(b, s, 3 * self.num_heads * self.config.head_dim)
        self._project(stream, entered, qkv, joint.rotary)
        attended = self._attended(qkv, joint, read)
        del qkv
        if is_last:
            joint.image.x, entered = joint.image.x[:, read], _rows(entered, read)
        if joined is not None:
            assert isinstance(entered, Tensor)
            hidden = self.ops.gelu_of(stream.mlp_in, entered)
            assert isinstance(hidden, Tensor)
            update = joined(torch.cat([attended, hidden], dim=-1))
        else:
            update = stream.proj(self._as_eaten(attended, stream.proj))
            del attended
            update = self._mlp(stream, entered, update)
        joint.image.add(update, gate)

    def _become_one(self, joint: Joint) -> None:
        """Both streams in one sequence."""
        for residual in (joint.text, joint.image):
            self._settle(residual)
        joint.image = Residual(torch.cat([joint.text.x, joint.image.x], dim=1))
        joint.text = Residual(joint.text.x[:, :0].clone())  # none of its memory is kept

    def _project(self, stream: Stream, entered: Tensor | Rows, qkv: Tensor, rotary: Tensor) -> None:
        """q, k, v (b, s, 3 d) of a stream, written into `qkv`, normed and turned."""
        stream.qkv(entered, out=qkv)
        by_head = qkv.unflatten(-1, (3, self.num_heads, self.config.head_dim))
        self.ops.norm_rotate(by_head, stream.query_scale, stream.key_scale, rotary)

    def _attended(self, qkv: Tensor, joint: Joint, read: slice | Tensor = slice(None)) -> Tensor:
        """Attention of the joint sequence (b, s, 3 d), the kept tokens among its keys; queries of `read` alone."""
        q, k, v = qkv.unflatten(-1, (3, -1, self.config.head_dim)).unbind(2)
        if joint.part.keep is not None:
            of_image = joint.num_text + joint.part.keep
            joint.kept.append(KeysValues(*(part[:, of_image].transpose(1, 2) for part in (k, v))))
        if joint.part.others is not None:
            others = joint.part.others[joint.num_done]
            k, v = (
                torch.cat([own, other.transpose(1, 2).expand(own.shape[0], -1, -1, -1)], dim=1)
                for own, other in zip((k, v), others, strict=True)
            )
        return self.attend(q[:, read], k, v)

    def _mlp(self, stream: Stream, entered: Tensor | Rows, total: Tensor | None) -> Tensor:
        """The MLP of entered (b, s, d), added to `total` where there is one; in runs of `mlp_rows` tokens."""
        s = (entered if isinstance(entered, Tensor) else entered.values).shape[1]
        size = self.mlp_rows or s
        if size >= s:
            return self._mlp_of(stream, entered, total)
        out = total
        for first in range(0, s, size):
            run = slice(first, first + size)
            part = self._mlp_of(stream, _rows(entered, run), None if total is None else total[:, run])
            out = part.new_empty(part.shape[0], s, part.shape[2]) if out is None else out
            if part.data_ptr() != out[:, run].data_ptr():  # else it accumulated where it belongs
                out[:, run] = part
        assert out is not None
        return out

    def _mlp_of(self, stream: Stream, entered: Tensor | Rows, total: Tensor | None) -> Tensor:
        hidden = self.ops.gelu_of(stream.mlp_in, entered, rows=stream.mlp_out.eats_rows)
        return stream.mlp_out(hidden) if total is None else stream.mlp_out.add_to(total, hidden)

    def _enter(self, residual: Residual, shift: Tensor, scale: Tensor, *, rows: bool = False) -> Tensor | Rows:
        if residual.update is None or residual.gate is None:
            return self.ops.enter(residual.x, shift, scale, rows=rows)
        residual.x, entered = self.ops.leave_enter(residual.x, residual.update, residual.gate, shift, scale, rows=rows)
        residual.update = residual.gate = None
        return entered

    def _settle(self, residual: Residual) -> None:
        if residual.update is not None and residual.gate is not None:
            residual.x = self.ops.leave(residual.x, residual.update, residual.gate)
            residual.update = residual.gate = None

    def _as_eaten(self, x: Tensor, layer: Linear) -> Tensor | Rows:
        return self.ops.to_rows(x) if layer.eats_rows else x


def exactly(engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None) -> Velocity:
    """Every evaluation that is asked for, whole."""
    known = engine.modulations(condition, times)

    def velocity(x: Tensor, t: float) -> Tensor:
        return engine.evaluate(x, known[t], condition)[0].float()

    return velocity


def _rows(x: Tensor | Rows, run: slice) -> Tensor | Rows:
    return x[:, run] if isinstance(x, Tensor) else Rows(x.values[:, run], x.scale[:, run])


def _together(one: KeysValues, other: KeysValues) -> KeysValues:
    size = max(one.keys.shape[0], other.keys.shape[0])
    return KeysValues(
        *(torch.cat([each.expand(size, -1, -1, -1) for each in pair], dim=2) for pair in zip(one, other, strict=True))
    )
