"""Attention in eight bits: near-lossless, and apart from the linear layers because its error is another one.

    scores = (q8 k8^T) a_q a_k / sqrt(e)      p = exp(scores - max)      out = a_v (p8 v8) / (256 sum p)

q, k, v and p are float8_e4m3fn; sums are fp32. Three scales for the whole tensors are what the kernel takes, and
enough: the format is a floating one, 17 binades wide, and q and k are normed by head. Before q and k are rounded:

- `smooth`: the mean of k over its tokens is taken off, which moves all scores of a query by one number, and softmax
  does not see that. Exact; it helps where keys share an offset, whose size would decide how finely they are rounded;
- `rotate`: q and k are turned by one orthonormal Hadamard matrix, which leaves every q k^T as it is. Exact; it helps
  where q and k are large in the same channels, whose few products would carry the whole error.

v8 is at most 224, so that the result, a mean of its rows, still fits the format: on Hopper the kernel hands it out
in eight bits too. Source of the steps: Zhang et al. 2024 (arXiv 2410.02367) for the mean; Ashkboos et al. 2024
(arXiv 2404.00456) for the rotation; Shah et al. 2024 (arXiv 2407.08608), section 3.3.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recast.errors import ConfigError
from recast.flow.guidance import MayChange, Velocity
from recast.flow.transformer import Condition
from recast.speed.engine import Engine, Walk
from recast.speed.ops import LARGEST
from recast.speed.recent import Recent

LARGEST_VALUE = LARGEST / 2  # of v8: a mean of rounded numbers may be a sixteenth above the largest
PROBABILITY_SCALE = 256.0  # p is at most 1


MOST_SHAPES = 8  # built graphs kept at once
FIRST_CAPABILITY = (9, 0)  # Hopper
FIRST_FRONTEND = (1, 13)  # its `generate_stats`


class Factors(NamedTuple):
    """What the two products eat: eight-bit numbers, and one scale each."""

    q: Tensor  # (b, s, k, e) float8_e4m3fn
    k: Tensor  # (b, s', k, e)
    v: Tensor  # (b, s', k, e)
    q_scale: Tensor  # (1,) fp32
    k_scale: Tensor
    v_scale: Tensor


@dataclass(frozen=True, kw_only=True)
class Written:
    """The arithmetic of the kernel written out, an `Attend` for any device: what its error is measured with.

    The kernel rounds p against the largest score so far, here against the largest of all: the same significant bits.
    narrow: whether the result is rounded to eight bits as well, as the kernel of Hopper does.
    Raises ConfigError, when called, where heads are to be turned whose width is no power of two.
    """

    smooth: bool = True
    rotate: bool = True
    narrow: bool = True

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        factors = rounded(q, k, v, smooth=self.smooth, rotate=self.rotate)
        temperature = factors.q_scale * factors.k_scale / math.sqrt(q.shape[-1])
        b, s, heads, width = q.shape
        out = q.new_empty(b, s, heads, width)
        for sample in range(b):
            q8, k8, v8 = (part[sample].float().transpose(0, 1) for part in factors[:3])
            scores = (q8 @ k8.transpose(1, 2)).mul_(temperature)
            p = scores.sub_(scores.amax(dim=-1, keepdim=True)).exp_()
            total = p.sum(dim=-1, keepdim=True) * PROBABILITY_SCALE
            made = (eight_bits(p * PROBABILITY_SCALE).float() @ v8) / total
            if self.narrow:
                made = eight_bits(made).float()
            out[sample] = (made * factors.v_scale).transpose(0, 1)
        return out.flatten(-2)


class Cudnn:
    """The kernel of cuDNN by its graph interface, an `Attend` for Hopper and later; one built graph for each shape.

    q, k and v are rounded by our Triton kernels. On Hopper the result leaves in eight bits, on Blackwell in bf16.
    """

    def __init__(self, device: torch.device, *, smooth: bool = True, rotate: bool = True) -> None:
        """Raises ConfigError where `missing` gives a reason."""
        reason = missing(device)
        if reason is not None:
            raise ConfigError(f"attention: eight bits asked for, and {reason}; choose a plan without it")
        from recast.speed.kernels import round_heads

        self.smooth, self.rotate = smooth, rotate
        self.narrow = torch.cuda.get_device_capability(device) < (10, 0)
        self._rounded = round_heads.rounded
        self._cudnn = importlib.import_module("cudnn")
        with torch.cuda.device(device):
            self._handle = self._cudnn.create_handle()
        self._graphs: Recent[_Graph] = Recent(MOST_SHAPES)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        factors = self._rounded(q, k, v, smooth=self.smooth, rotate=self.rotate)
        graph = self._graphs.get((q.shape, k.shape), lambda: self._build(factors))
        out = torch.empty(q.shape, dtype=torch.float8_e4m3fn if self.narrow else torch.bfloat16, device=q.device)
        numbers = {"q_descale": factors.q_scale, "k_descale": factors.k_scale, **graph.constants}
        held = {"q": factors.q, "k": factors.k, "v": factors.v, "out": out, **numbers}
        # only addresses are read, by DLPack, which some releases of PyTorch refuse for eight-bit floats
        held = {name: part.view(torch.uint8) if part.itemsize == 1 else part for name, part in held.items()}
        stream = torch.cuda.current_stream(q.device).cuda_stream
        self._cudnn.set_stream(handle=self._handle, stream=stream)
        graph.graph.execute(
            {graph.tensors[name]: tensor for name, tensor in held.items()}, graph.workspace, handle=self._handle
        )
        return out.to(q.dtype).mul_(factors.v_scale.reshape(())).flatten(-2)

    def held(self) -> tuple[object, ...]:
        """The graphs built for the last `MOST_SHAPES` shapes, with the addresses that a recorded call has of them."""
        return self._graphs.values()

    def _build(self, factors: Factors) -> _Graph:
        """The graph of these shapes: v counts in units of its scale, and so does the result."""
        types, e4m3 = self._cudnn.data_type, self._cudnn.data_type.FP8_E4M3
        b, s, heads, width = factors.q.shape
        graph = self._cudnn.pygraph(
            io_data_type=e4m3,
            intermediate_data_type=types.FLOAT,
            compute_data_type=types.FLOAT,
            handle=self._handle,
        )

        def layout(length: int) -> dict[str, list[int]]:  # heads before tokens in name, tokens before heads in memory
            return {
                "dim": [b, heads, length, width],
                "stride": [length * heads * width, width, heads * width, 1],
            }

        number = {"dim": [1, 1, 1, 1], "stride": [1, 1, 1, 1]}
        lengths = {"q": s, "k": factors.k.shape[1], "v": factors.v.shape[1]}
        tensors = {name: graph.tensor(name=name, data_type=e4m3, **layout(length)) for name, length in lengths.items()}
        for name in ("q_descale", "k_descale", "v_descale", "p_scale", "p_descale", "out_scale"):
            tensors[name] = graph.tensor(name=name, data_type=types.FLOAT, **number)
        out, _, p_amax, out_amax = graph.sdpa_fp8(
            q=tensors["q"],
            k=tensors["k"],
            v=tensors["v"],
            descale_q=tensors["q_descale"],
            descale_k=tensors["k_descale"],
            descale_v=tensors["v_descale"],
            descale_s=tensors["p_descale"],
            scale_s=tensors["p_scale"],
            scale_o=tensors["out_scale"],
            attn_scale=1 / math.sqrt(width),
            generate_stats=False,
            use_causal_mask=False,
            name="attention",
        )
        of_out = layout(s)
        out.set_output(True).set_dim(of_out["dim"]).set_stride(of_out["stride"])
        out.set_data_type(e4m3 if self.narrow else types.BFLOAT16)
        for amax in (p_amax, out_amax):  # the interface makes them; nothing here reads them
            amax.set_output(True).set_dim(number["dim"]).set_stride(number["stride"]).set_data_type(types.FLOAT)
        graph.build([self._cudnn.heur_mode.A])
        values = {
            "v_descale": 1.0,
            "p_scale": PROBABILITY_SCALE,
            "p_descale": 1 / PROBABILITY_SCALE,
            "out_scale": 1.0,
            "p_amax": 0.0,
            "out_amax": 0.0,
        }
        device = factors.q.device
        return _Graph(
            graph=graph,
            tensors={**tensors, "out": out, "p_amax": p_amax, "out_amax": out_amax},
            constants={name: torch.full((1,), value, device=device) for name, value in values.items()},
            workspace=torch.empty(max(1, graph.get_workspace_size()), dtype=torch.uint8, device=device),
        )


class _Graph(NamedTuple):
    graph: Any
    tensors: dict[str, Any]  # the graph's own, by name
    constants: dict[str, Tensor]  # numbers that are the same in every call, and two that it writes
    workspace: Tensor


def missing(device: torch.device, *, head_dim: int | None = None) -> str | None:
    """Why there is no eight-bit attention on this device, None where there is. head_dim: of the model, if known."""
    if device.type != "cuda":
        return f"the device is {device.type}; eight-bit attention runs on CUDA"
    if not torch.cuda.is_available():
        return "this PyTorch finds no CUDA device"
    has = torch.cuda.get_device_capability(device)
    if has < FIRST_CAPABILITY:
        return f"eight-bit attention needs compute capability 9.0; this device has {has[0]}.{has[1]}"
    if head_dim is not None and head_dim % 16:
        return f"eight-bit attention needs heads of a multiple of 16; these are {head_dim} wide"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    try:
        version = str(importlib.import_module("cudnn").__version__)
    except (ImportError, OSError, RuntimeError) as error:
        return f"the frontend of cuDNN (package nvidia-cudnn-frontend) cannot be imported: {error}"
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < FIRST_FRONTEND:
        return f"the frontend of cuDNN is {version}; 1.13 or later needed"
    return None


@dataclass(frozen=True, kw_only=True)
class ExactEnds:
    """A `Walk` whose first and last evaluations another engine of the same weights makes, with exact attention.

    inside: the walk of those between. Picture and layout are decided early, and the last steps are not corrected.
    """

    exact: Engine
    inside: Walk
    first: int = 1
    last: int = 1

    def __post_init__(self) -> None:
        if min(self.first, self.last) < 0:
            raise ConfigError(f"first={self.first}, last={self.last}: numbers of evaluations from 0 accepted")

    def __call__(
        self, engine: Engine, condition: Condition, times: Sequence[float], may_change: MayChange | None
    ) -> Velocity:
        asked = [t for t in dict.fromkeys(times) if t > 0]  # at 0 a walk is done
        ends = {*asked[: self.first], *asked[len(asked) - min(self.last, len(asked)) :]}
        exact = self.exact.walk(self.exact, condition, times, may_change)
        usual = self.inside(engine, condition, times, may_change)
        return lambda x, t: (exact if t in ends else usual)(x, t)


def rounded(q: Tensor, k: Tensor, v: Tensor, *, smooth: bool, rotate: bool) -> Factors:
    """q (b, s, k, e), k and v (b, s', k, e) in eight bits. Raises ConfigError where e is no power of two to rotate.

    The scales of q and k come from the longest of their rows, which no coordinate exceeds, turned or not; that is a
    few binades more than the largest coordinate, of 17, and needs no look at the turned numbers before rounding.
    """
    exact = [part.float() for part in (q, k, v)]
    longest = [part.norm(dim=-1).amax() for part in exact[:2]]
    if smooth:
        mean = exact[1].mean(dim=1, keepdim=True)
        exact[1] = exact[1] - mean
        longest[1] = longest[1] + mean.norm(dim=-1).amax()
    if rotate:
        turn = hadamard(q.shape[-1], q.device)
        exact[:2] = [part @ turn for part in exact[:2]]
    bounds = [*(one / LARGEST for one in longest), exact[2].abs().amax() / LARGEST_VALUE]
    scales = [bound.clamp_min(1e-12).reshape(1) for bound in bounds]
    return Factors(*(eight_bits(part / scale) for part, scale in zip(exact, scales, strict=True)), *scales)


def eight_bits(x: Tensor) -> Tensor:
    """Rounded to the nearest: |x| <= 448."""
    return x.to(torch.float8_e4m3fn)


@lru_cache
def hadamard(width: int, device: torch.device) -> Tensor:
    """Sylvester's matrix (e, e), orthonormal and symmetric. Raises ConfigError for a width that is no power of two."""
    if width < 1 or width & (width - 1):
        raise ConfigError(f"rotate: heads of a power of two needed; these are {width} wide; leave rotate out")
    made = torch.ones(1, 1, device=device)
    while made.shape[0] < width:
        made = torch.cat([torch.cat([made, made], dim=1), torch.cat([made, -made], dim=1)])
    return made / math.sqrt(width)
