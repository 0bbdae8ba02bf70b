"""On a CPU with bf16 units a step has fewer walks over memory, and is no farther from exact numbers than the core's."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from recast import loading
from recast.flow.layers import gelu, rotate
from recast.speed import accelerate, attention, autoencoder, few_passes
from recast.speed.engine import Engine
from recast.speed.few_passes import FewPasses
from recast.speed.linear import Plain as Weights
from recast.speed.ops import Plain
from recast.speed.plan import PLANS
from tests.flow.test_transformer import inputs
from tests.tiny import tiny_flow, tiny_pipeline

CPU, BF16 = torch.device("cpu"), torch.bfloat16
needs_units = pytest.mark.skipif(not loading.has_fast_bf16(), reason="needs a CPU that multiplies bf16 natively")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("batch", [1, 2])
def test_queries_and_keys_are_normed_and_turned_and_rounded_once(batch: int):
    qkv, scales = drawn(batch, 7, 3, 2, 8).to(BF16), [1 + drawn(8).mul(0.3).to(BF16), 1 + drawn(1, 8)[0].to(BF16)]
    rotary = torch.polar(torch.ones(batch, 1, 7, 4), drawn(batch, 1, 7, 4))
    exact = [
        rotate(F.rms_norm(part, (8,), eps=1e-6) * scale, rotary.to(torch.complex128).transpose(1, 2))
        for part, scale in zip(qkv.double().unbind(2), (s.double() for s in scales), strict=False)
    ]
    errors = []
    for ops in (FewPasses(), Plain()):
        made = qkv.clone()
        ops.norm_rotate(made, *scales, rotary)
        assert torch.equal(made[:, :, 2], qkv[:, :, 2])
        errors.append(sum(float((made[:, :, i] - exact[i]).norm()) for i in (0, 1)))
    assert 0 < errors[0] < errors[1]
    assert errors[0] < 0.003 * sum(float(each.norm()) for each in exact)


def test_gelu_of_a_product_is_the_core_s():
    x, weight, bias = drawn(1, 9, 16), drawn(24, 16), drawn(24)
    wanted = gelu(F.linear(x, weight, bias))
    torch.testing.assert_close(FewPasses().gelu_of(Weights(weight, bias), x), wanted, rtol=0, atol=2e-5)


@needs_units
def test_gelu_of_a_product_is_rounded_once():
    x, weight, bias = drawn(2, 9, 16).to(BF16), drawn(24, 16).to(BF16), drawn(24).to(BF16)
    exact = F.gelu(F.linear(x.double(), weight.double(), bias.double()), approximate="tanh")
    errors = [float((ops.gelu_of(Weights(weight, bias), x) - exact).norm()) for ops in (FewPasses(), Plain())]
    assert 0 < errors[0] < errors[1] < 0.01 * float(exact.norm())


def test_what_is_no_plain_product_goes_the_usual_way():
    class Doubled(Weights):
        def __call__(self, x, out=None):
            return 2 * super().__call__(x, out)

    x, weight = drawn(1, 3, 16).to(BF16), drawn(16, 16).to(BF16)
    for layer, rows in ((Doubled(weight), False), (Weights(weight), True)):
        made, wanted = (ops.gelu_of(layer, x, rows=rows) for ops in (FewPasses(), Plain()))
        for one, other in zip(made if rows else [made], wanted if rows else [wanted], strict=True):
            assert torch.equal(one.float(), other.float())


@needs_units
@pytest.mark.parametrize(("batch", "contexts"), [(1, ((2, 5),)), (2, ())])
def test_velocities_are_no_farther_from_fp32_than_the_core_s(batch: int, contexts: tuple[tuple[int, int], ...]):
    x, _, given = inputs(batch=batch, contexts=contexts)
    exact = tiny_flow().along(tiny_flow().condition(**given), [0.6])(x, 0.6)
    flow = tiny_flow().to(BF16)
    half = {
        name: value.to(BF16) if value is not None and "positions" not in name else value
        for name, value in given.items()
    }
    networks = flow, Engine(flow, ops=FewPasses(), attend=attention.fastest(CPU, BF16)[0])
    errors = [float((network.along(network.condition(**half), [0.6])(x, 0.6) - exact).norm()) for network in networks]
    assert 0 < errors[1] < 1.2 * errors[0]


def test_it_is_where_bf16_is_native_and_nowhere_else(monkeypatch):
    for native in (True, False):
        monkeypatch.setattr(few_passes, "has_fast_bf16", lambda native=native: native)
        monkeypatch.setattr(autoencoder, "has_fast_bf16", lambda native=native: native)
        reason = few_passes.missing(CPU, BF16)
        assert reason is None if native else "no bf16 units" in (reason or "")
        assert autoencoder.dtype_on("cpu", BF16) == (BF16 if native else torch.float32)
        assert "float32" in (few_passes.missing(CPU, torch.float32) or "")
        assert autoencoder.dtype_on("cpu", torch.float32) == torch.float32
        assert "cuda" in (few_passes.missing(torch.device("cuda"), BF16) or "")
        assert autoencoder.dtype_on("cuda", torch.float32) == BF16


def test_a_plan_takes_it_unless_it_promises_the_core_s_rounding(monkeypatch):
    """Asked of a CPU with units for bf16, whatever this one has: nothing is computed."""
    for module in (few_passes, autoencoder, attention):
        monkeypatch.setattr(module, "has_fast_bf16", lambda: True)
    pipeline = tiny_pipeline()
    pipeline.network = pipeline.network.to(BF16)
    fast = accelerate(pipeline, "lossless")
    assert isinstance(fast.pipeline.network.ops, FewPasses)
    assert {"kernels", "autoencoder"} <= {line.technique for line in fast.report if line.is_applied}
    assert "bfloat16, by_library_narrow" in fast.pipeline.autoencoder.computes
    for plan in (PLANS["exact"], replace(PLANS["lossless"], kernels=False)):
        assert type(accelerate(pipeline, plan).pipeline.network.ops) is Plain


def test_the_units_of_a_cpu_choose_the_attention_of_bf16_and_no_other(monkeypatch):
    monkeypatch.setattr(attention, "has_fast_bf16", lambda: True)
    for units, wanted in ((("AVX512", "bf16"), attention.by_length), (("AVX512", "bf16", "AMX"), attention.plain)):
        monkeypatch.setattr(attention, "cpu_units", lambda units=units: units)
        assert attention.fastest(CPU, BF16)[0] is wanted
        assert attention.fastest(CPU, torch.float32)[0] is attention.plain
    monkeypatch.setattr(attention, "has_fast_bf16", lambda: False)
    monkeypatch.setattr(attention, "cpu_units", lambda: ("AVX512", "bf16"))
    assert attention.fastest(CPU, BF16)[0] is attention.plain


def test_attention_is_written_out_below_a_thousand_tokens(monkeypatch):
    for name in ("written", "plain"):
        monkeypatch.setattr(attention, name, lambda q, k, v, name=name: name)
    q = torch.zeros(1, 2, 1, 4)
    assert attention.by_length(q, torch.zeros(1, attention.WRITTEN_BELOW - 1, 1, 4), q) == "written"
    assert attention.by_length(q, torch.zeros(1, attention.WRITTEN_BELOW, 1, 4), q) == "plain"


@pytest.mark.parametrize("bands", [1, 2])
def test_a_narrow_norm_is_the_norm(bands: int):
    rows = [drawn(1, 8, 4 + i, 5).to(BF16) for i in range(bands)]
    weight, bias = 1 + drawn(8).mul(0.1), drawn(8)
    narrow = autoencoder.by_library_narrow(rows, weight, bias, 4, 1e-6)
    wide = autoencoder.by_library([each.float() for each in rows], weight, bias, 4, 1e-6)
    for each in rows:
        made, wanted = narrow(each.clone()), wide(each.float())
        assert made.dtype == BF16
        torch.testing.assert_close(made.float(), wanted, rtol=0.01, atol=0.01)
