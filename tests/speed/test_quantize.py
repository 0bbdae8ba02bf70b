"""Products in eight bits: the arithmetic, its error, and which layers have it."""

import math

import pytest
import torch

from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.speed import quantize
from recast.speed.blocks import Double, Single, blocks_of
from recast.speed.engine import Engine, Resident
from recast.speed.linear import Plain, Rows
from recast.speed.ops import Plain as PlainOps
from recast.speed.quantize import EightBit, layer_names, layers_of, quantised, stays
from tests.flow.test_transformer import inputs
from tests.speed import eight
from tests.tiny import tiny_flow


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(outputs: int = 48, width: int = 64, *, bias: bool = True) -> Plain:
    return Plain(drawn(outputs, width, seed=1) / 8, drawn(outputs, seed=2) if bias else None)


def far(made: torch.Tensor, true: torch.Tensor) -> float:
    return float((made.double() - true.double()).norm() / true.double().norm())


def test_it_is_torch_s_format():
    x = torch.cat([torch.linspace(-448, 448, 10_001), torch.linspace(-0.05, 0.05, 10_001)])
    assert torch.equal(eight.rounded(x.double()).float(), x.to(torch.float8_e4m3fn).float())


def test_the_product_is_that_of_the_rounded_numbers():
    plain, x = layer(), drawn(2, 5, 64)
    weight, rows = plain.weight.double(), x.double()
    by_output, by_row = weight.abs().amax(1, keepdim=True) / 448, rows.abs().amax(-1, keepdim=True) / 448
    wanted = (eight.rounded(rows / by_row) * by_row) @ (eight.rounded(weight / by_output) * by_output).t()
    torch.testing.assert_close(EightBit.of(plain)(x).double(), wanted + plain.bias.double(), rtol=0, atol=2e-5)


def test_its_error_is_what_four_significant_bits_make():
    """A step is 2^-3 of the power of two below, so the error of a number has variance 2^-6 / 12 of that power squared;
    mantissas spread evenly over the octave in the logarithm have a mean square of 1.5 / ln 2. Two factors are rounded.
    """
    plain = layer(256, 512, bias=False)
    x = drawn(1, 128, 512)
    theory = math.sqrt(2 * (2**-6 / 12) / (1.5 / math.log(2)))
    assert theory == pytest.approx(0.0347, abs=1e-4)
    assert far(EightBit.of(plain)(x), plain(x)) == pytest.approx(theory, rel=0.1)


def test_one_large_row_and_one_large_output_spoil_no_other():
    plain, x = layer(bias=False), drawn(1, 6, 64)
    before = EightBit.of(plain)(x)
    x[0, 2] *= 1000
    plain.weight[7] *= 1000
    after = EightBit.of(plain)(x)
    rows, outputs = [0, 1, 3, 4, 5], [i for i in range(48) if i != 7]
    assert torch.equal(after[0, rows][:, outputs], before[0, rows][:, outputs])
    torch.testing.assert_close(after[0, 2, outputs], 1000 * before[0, 2, outputs], rtol=1e-5, atol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_the_library_s_call_gives_the_same(bias: bool):
    """The one that a GPU makes: the order of its arguments, the scales' shapes, the bias, and where it writes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = layer(bias=bias)
    half = Plain(plain.weight.bfloat16().to(device), plain.bias.bfloat16().to(device) if bias else None)
    made = EightBit.of(half)
    rows = PlainOps().to_rows(drawn(1, 5, 64).bfloat16().to(device))
    values, scale = rows.values[0], rows.scale[0]
    wanted = (values.float() @ made.weight.float().t()) * scale * made.scale
    wanted = wanted + half.bias.float() if bias else wanted
    larger = torch.zeros(9, 48, dtype=torch.bfloat16, device=device)
    call = (values, scale, made.weight, made.scale, made.bias)
    quantize.scaled_product(*call, larger[2:7])
    torch.testing.assert_close(larger[2:7].float(), wanted, rtol=2**-7, atol=2e-2)
    assert torch.equal(quantize.scaled_product(*call), larger[2:7])
    assert not larger[:2].any()
    assert not larger[7:].any()


@pytest.mark.parametrize("batch", [1, 2])
def test_what_it_writes_where(batch: int):
    plain, x = layer(), drawn(batch, 5, 64)
    made = EightBit.of(plain)
    wanted = made(x)
    whole = torch.zeros(batch, 9, 48)
    made(x, out=whole[:, 2:7])
    assert torch.equal(whole[:, 2:7], wanted)
    assert not whole[:, :2].any()
    assert torch.equal(made(PlainOps().to_rows(x)), wanted)
    assert torch.equal(made.outputs(16, 32)(x), wanted[..., 16:32])
    bare = EightBit.of(layer(bias=False))
    total = torch.ones(batch, 5, 48)
    torch.testing.assert_close(bare.add_to(total, x), 1 + bare(x))


def test_other_weights_fill_the_same_storage():
    made, other = EightBit.of(layer()), Plain(drawn(48, 64, seed=5), drawn(48, seed=6))
    places = [tensor.data_ptr() for tensor in (made.weight, made.scale, made.bias)]
    made.fill(other)
    x = drawn(1, 3, 64)
    assert torch.equal(made(x), EightBit.of(other)(x))
    assert [tensor.data_ptr() for tensor in (made.weight, made.scale, made.bias)] == places
    with pytest.raises(ConfigError, match="accepted; got"):
        made.fill(layer(32))


def error(flow: FlowTransformer, **changes) -> float:
    """Of the velocity, with these layers left out of eight bits."""
    x, _, given = inputs()
    true = flow.along(flow.condition(**given), [0.6])(x, 0.6)
    engine = Engine(flow, blocks=Resident(quantised(blocks_of(flow), **changes)))
    return far(engine.along(engine.condition(**given), [0.6])(x, 0.6), true)


def test_an_engine_in_eight_bits_is_near():
    assert 0.005 < error(tiny_flow()) < 0.08


@pytest.mark.parametrize("kept", ["single.1.mlp_in", "single.1.qkv", "double.0.image.mlp_out", "double.1.text.proj"])
def test_what_is_kept_is_as_it_was_and_the_rest_is_not(kept: str):
    """In a single block qkv and mlp_in share a norm: either may be kept alone."""
    flow = tiny_flow()
    names = layer_names(blocks_of(flow))
    made = layers_of(quantised(blocks_of(flow), keep=[kept]))
    assert {name for name, one in made.items() if isinstance(one, Plain)} == {kept}
    assert made[kept].weight.data_ptr() == layers_of(blocks_of(flow))[kept].weight.data_ptr()
    alone = error(flow, keep=[name for name in names if name != kept])
    assert 1e-4 < alone < error(flow)
    assert error(flow, keep=[kept]) > 0.005


def test_all_kept_is_the_engine_as_it_was():
    flow = tiny_flow()
    assert error(flow, keep=layer_names(blocks_of(flow))) < 1e-5


def test_rows_come_out_of_a_shared_norm_only_if_both_eat_them():
    blocks = quantised(blocks_of(tiny_flow()), keep=["single.0.mlp_in", "single.1.qkv"])
    single = [block.stream for block in blocks if isinstance(block, Single)]
    assert [stream.qkv.eats_rows for stream in single] == [False, False, True]


def test_the_text_streams_may_stay():
    blocks = quantised(blocks_of(tiny_flow()), text=False)
    double = blocks[0]
    assert isinstance(double, Double)
    assert isinstance(double.text.qkv, Plain)
    assert isinstance(double.image.qkv, EightBit)
    assert set(stays(blocks_of(tiny_flow()), text=False).values()) == {"of a text stream"}


def test_widths_that_no_kernel_takes_stay_and_are_named():
    odd = tiny_flow(hidden_size=40, num_heads=5, axes_dim=(2, 2, 4))
    reasons = stays(blocks_of(odd), keep=["single.0.proj"])
    assert reasons.keys() == set(layer_names(blocks_of(odd)))
    assert reasons["single.0.proj"] == "asked for"
    assert reasons["double.0.image.qkv"] == "40 to 120: both must be multiples of 16"
    assert error(odd) < 1e-5


def test_names_and_blocks_that_cannot_be_meant():
    flow = tiny_flow()
    assert layer_names(blocks_of(flow))[:2] == ["double.0.text.qkv", "double.0.text.proj"]
    assert len(layer_names(blocks_of(flow))) == 2 * 8 + 3 * 4
    with pytest.raises(ConfigError, match=r"keep=\['single.9.proj'\].*double.0.text.qkv.*single.2.mlp_out"):
        quantised(blocks_of(flow), keep=["single.9.proj"])
    with pytest.raises(ConfigError, match="block 2 holds both outputs"):
        quantised(blocks_of(flow, joined=True))


def test_a_cpu_has_no_such_product():
    assert quantize.missing(torch.device("cpu")) == "the device is cpu; eight-bit products run on CUDA"


def test_an_empty_row_stays_empty():
    made = EightBit.of(layer(bias=False))(Rows(*PlainOps().to_rows(torch.zeros(1, 2, 64))))
    assert not made.any()
