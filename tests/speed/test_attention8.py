"""Attention in eight bits: its arithmetic, what is exact in it, and what each exact step saves."""

import gc
import math
import sys
import weakref
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from recast.errors import ConfigError
from recast.speed import accelerate, attention, attention8
from recast.speed.attention8 import ExactEnds, Written
from recast.speed.engine import Engine, exactly
from recast.speed.graphs import Graphs
from tests.flow.test_transformer import inputs
from tests.speed import eight
from tests.speed.test_graphs import Eager
from tests.tiny import tiny_flow, tiny_pipeline

WAYS = [(False, False), (True, False), (False, True), (True, True)]


def drawn(batch: int = 2, s: int = 9, others: int = 14, heads: int = 3, width: int = 16, seed: int = 0):
    """q (b, s, k, e), and k, v (b, s', k, e)."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, size, heads, width, generator=generator) for size in (s, others, others))


def far(made: torch.Tensor, true: torch.Tensor) -> float:
    return float((made.double() - true.double()).norm() / true.double().norm())


@pytest.mark.parametrize(("smooth", "rotate"), WAYS)
def test_without_rounding_it_is_attention(smooth: bool, rotate: bool, monkeypatch):
    """The mean and the rotation change nothing, the scales cancel, and the result stays within the format."""
    largest = []
    monkeypatch.setattr(attention8, "eight_bits", lambda x: largest.append(float(x.abs().max())) or x)
    q, k, v = drawn()
    k = k + 5
    torch.testing.assert_close(
        Written(smooth=smooth, rotate=rotate)(q, k, v), attention.plain(q, k, v), rtol=0, atol=2e-5
    )
    assert max(largest) <= 448


def test_the_arithmetic_is_that_of_the_rounded_numbers():
    """Beside fp64 with a rounding written from the definition of the format; a tie that falls otherwise is allowed."""
    q, k, v = (part.double() for part in drawn())
    longest = [part.norm(dim=-1).amax() for part in (q, k)]
    mean = k.mean(dim=1, keepdim=True)
    scales = [longest[0] / 448, (longest[1] + mean.norm(dim=-1).amax()) / 448, v.abs().amax() / 224]
    exact = (q, k - mean, v)
    q8, k8, v8 = (eight.rounded(part / scale).transpose(1, 2) for part, scale in zip(exact, scales, strict=True))
    scores = (q8 @ k8.mT) * scales[0] * scales[1] / math.sqrt(16)
    p = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    wide = eight.rounded(p * 256) @ v8 / (256 * p.sum(dim=-1, keepdim=True))
    for narrow, made in ((False, wide), (True, eight.rounded(wide))):
        wanted = (made * scales[2]).transpose(1, 2).flatten(-2)
        assert far(Written(rotate=False, narrow=narrow)(*drawn()), wanted) < 2e-3
    assert far(Written(narrow=True)(*drawn()), Written(narrow=False)(*drawn())) > 0.01


def test_the_mean_helps_where_keys_share_an_offset():
    q, k, v = drawn(others=40, width=64)
    k = k + 20 * torch.randn(1, 1, 3, 64, generator=torch.Generator().manual_seed(1))
    true = attention.plain(q, k, v)
    assert far(Written(rotate=False)(q, k, v), true) < 0.5 * far(Written(smooth=False, rotate=False)(q, k, v), true)


def test_the_rotation_helps_where_queries_and_keys_are_large_in_the_same_channel():
    """That one product then carries the error: 2.6 % of itself, which the rotation divides by about sqrt(e)."""
    q, k, v = drawn(others=40, width=64)
    for part in (q, k):
        part[..., 5] *= 8
    true = attention.plain(q, k, v)
    assert far(Written(rotate=True)(q, k, v), true) < 0.6 * far(Written(rotate=False)(q, k, v), true)


def test_no_mean_of_values_leaves_the_format():
    """All queries on one key that holds the largest values: rounded up, they still fit."""
    q, k, v = torch.ones(1, 2, 1, 16), torch.zeros(1, 3, 1, 16), torch.full((1, 3, 1, 16), 1.9)
    torch.testing.assert_close(Written()(q, k, v), torch.full((1, 2, 16), 1.9), rtol=1 / 16, atol=0)


def test_the_matrix_is_its_own_inverse():
    matrix = attention8.hadamard(64, torch.device("cpu"))
    torch.testing.assert_close(matrix @ matrix, torch.eye(64), rtol=0, atol=1e-6)
    assert torch.equal(matrix, matrix.t())
    with pytest.raises(ConfigError, match="heads of a power of two needed; these are 24 wide"):
        Written(rotate=True)(*drawn(width=24))


def test_an_engine_with_it_is_near():
    flow = tiny_flow()
    x, _, given = inputs()
    true = flow.along(flow.condition(**given), [0.6])(x, 0.6)
    engine = Engine(flow, attend=Written())
    assert 1e-3 < far(engine.along(engine.condition(**given), [0.6])(x, 0.6), true) < 0.05


@pytest.mark.parametrize(
    ("first", "last", "exact"), [(1, 1, [1.0, 0.2]), (0, 2, [0.4, 0.2]), (0, 0, []), (9, 9, [1.0, 0.7, 0.4, 0.2])]
)
def test_the_ends_of_a_walk_are_exact(first: int, last: int, exact: list[float]):
    flow, times = tiny_flow(), [1.0, 0.7, 0.4, 0.2, 0.0]
    x, _, given = inputs()
    plain, engine = Engine(flow), Engine(flow, attend=Written())
    condition = plain.condition(**given)
    true, rough = plain.along(condition, times), engine.along(condition, times)
    engine.walk = ExactEnds(exact=plain, inside=exactly, first=first, last=last)
    made = engine.along(condition, times)
    assert [t for t in times[:-1] if torch.equal(made(x, t), true(x, t))] == exact
    assert all(torch.equal(made(x, t), rough(x, t)) for t in times[:-1] if t not in exact)
    with pytest.raises(ConfigError, match="first=-1"):
        ExactEnds(exact=plain, inside=exactly, first=-1)


def test_where_there_is_none_and_why(monkeypatch):
    assert attention8.missing(torch.device("cpu")) == "the device is cpu; eight-bit attention runs on CUDA"
    with pytest.raises(ConfigError, match="eight bits asked for, and the device is cpu"):
        attention8.Cudnn(torch.device("cpu"))
    capability = [(8, 9)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[0])
    hopper = torch.device("cuda", 0)
    assert "needs compute capability 9.0; this device has 8.9" in attention8.missing(hopper)
    capability[0] = (9, 0)
    assert "multiple of 16; these are 24 wide" in attention8.missing(hopper, head_dim=24)
    monkeypatch.setitem(sys.modules, "cudnn", None)
    assert "nvidia-cudnn-frontend" in attention8.missing(hopper, head_dim=128)
    monkeypatch.setitem(sys.modules, "cudnn", Frontend("1.9.0"))
    assert attention8.missing(hopper) == "the frontend of cuDNN is 1.9.0; 1.13 or later needed"
    monkeypatch.setitem(sys.modules, "cudnn", Frontend("1.24.1"))
    assert attention8.missing(hopper) is None


def acted(monkeypatch: pytest.MonkeyPatch, *, narrow: bool = True) -> tuple[attention8.Cudnn, "Frontend"]:
    """The attention by cuDNN, and a frontend that computes what it is told to from names, layouts and scales."""
    frontend = Frontend("1.24.1")
    monkeypatch.setitem(sys.modules, "cudnn", frontend)
    monkeypatch.setattr(attention8, "missing", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0) if narrow else (10, 0))
    monkeypatch.setattr(torch.cuda, "device", lambda device: torch.inference_mode())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=7))
    attend = attention8.Cudnn(torch.device("cpu"), smooth=True, rotate=True)
    attend._rounded = attention8.rounded
    return attend, frontend


@pytest.mark.parametrize("narrow", [True, False])
def test_what_the_graph_of_cudnn_is_given(narrow: bool, monkeypatch):
    attend, frontend = acted(monkeypatch, narrow=narrow)
    q, k, v = drawn()
    made = attend(q, k, v)
    wanted = Written(smooth=True, rotate=True, narrow=narrow)(q, k, v)
    torch.testing.assert_close(made, wanted, rtol=0 if narrow else 2**-7, atol=1e-5)
    attend(q + 1, k, v)
    attend(q[:, :4], k, v)
    assert frontend.built == 2


def test_a_recording_keeps_what_it_plays_when_the_attention_has_forgotten_it(monkeypatch):
    """A replay asks the attention for nothing: to it, the shape of the recording was used once, long ago."""
    attend, _ = acted(monkeypatch)
    engine = Engine(tiny_flow(), attend=attend)
    engine.walk = graphs = Graphs(Eager())
    x, _, given = inputs()
    condition = engine.condition(**given)
    engine.along(condition, [0.6])(x, 0.6)
    places = [weakref.ref(part) for graph in attend.held() for part in (graph.workspace, *graph.constants.values())]
    for s in range(1, attention8.MOST_SHAPES + 1):
        attend(*drawn(s=s))
    assert all(place() is not None for place in places)
    graphs.recent.clear()
    gc.collect()
    assert all(place() is None for place in places)


def test_the_ends_leave_the_middle_as_many_recordings_as_it_had():
    work = accelerate(tiny_pipeline(), "fp8-attention").work
    engine, recorder = Engine(tiny_flow()), Eager()
    engine.walk = Graphs(recorder, most=2)
    work._eight_bit_attention(engine)
    for contexts in (((2, 5),), ((4, 2),), ((2, 5),), ((4, 2),)):
        x, _, given = inputs(contexts=contexts)
        velocity = engine.along(engine.condition(**given), [1.0, 0.6, 0.2])
        for t in (1.0, 0.6, 0.2):
            velocity(x, t)
    assert recorder.recorded == 4  # two shapes, and for each the ends and the middle
    assert engine.walk.exact.walk.record is engine.walk.inside.record  # in one pool of memory


@dataclass
class Named:
    """A tensor of the graph."""

    dim: list
    stride: list
    data_type: str
    is_output: bool = False

    def set_output(self, value: bool):
        self.is_output = value
        return self

    def set_dim(self, value: list):
        self.dim = value
        return self

    def set_stride(self, value: list):
        self.stride = value
        return self

    def set_data_type(self, value: str):
        self.data_type = value
        return self

    def __hash__(self) -> int:
        return id(self)


class Frontend:
    """`cudnn` as far as it is called."""

    class data_type:  # noqa: N801
        FP8_E4M3, BFLOAT16, FLOAT = torch.float8_e4m3fn, torch.bfloat16, torch.float32

    class heur_mode:  # noqa: N801
        A = "A"

    def __init__(self, version: str) -> None:
        self.__version__, self.built = version, 0

    def create_handle(self) -> str:
        return "handle"

    def set_stream(self, *, handle: str, stream: int) -> None:
        assert (handle, stream) == ("handle", 7)

    def pygraph(self, *, io_data_type, intermediate_data_type, compute_data_type, handle):
        assert (io_data_type, intermediate_data_type, compute_data_type) == (torch.float8_e4m3fn, *[torch.float32] * 2)
        self.built += 1
        return Graph()


class Graph:
    """One graph, computed in fp32 from what `execute` is given."""

    def tensor(self, *, name: str, dim: list, stride: list, data_type: torch.dtype) -> Named:
        return Named(dim, stride, data_type)

    def sdpa_fp8(self, *, attn_scale: float, generate_stats: bool, use_causal_mask: bool, name: str, **given: Named):
        assert not generate_stats
        assert not use_causal_mask
        self.given, self.attn_scale = given, attn_scale
        self.outputs = [Named([], [], torch.float32) for _ in range(3)]
        return self.outputs[0], None, *self.outputs[1:]

    def build(self, modes: list[str]) -> None:
        assert modes == ["A"]
        assert all(output.is_output for output in self.outputs)

    def get_workspace_size(self) -> int:
        return 0

    def execute(self, tensors: dict[Named, torch.Tensor], workspace: torch.Tensor, *, handle: str) -> None:
        assert tensors.keys() == {*self.given.values(), *self.outputs}
        assert all(named.data_type.itemsize == tensor.itemsize for named, tensor in tensors.items())
        assert torch.float8_e4m3fn not in {tensor.dtype for tensor in tensors.values()}  # DLPack may refuse it

        def seen(named: Named) -> torch.Tensor:
            return tensors[named].view(named.data_type).as_strided(named.dim, named.stride)

        of = {name: seen(named).float() for name, named in self.given.items()}
        scores = (of["q"] @ of["k"].mT) * of["descale_q"] * of["descale_k"] * self.attn_scale
        p = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        p8 = (p * of["scale_s"]).to(torch.float8_e4m3fn).float() * of["descale_s"]
        made = p8 @ (of["v"] * of["descale_v"]) / p.sum(dim=-1, keepdim=True) * of["scale_o"]
        seen(self.outputs[0]).copy_(made)
