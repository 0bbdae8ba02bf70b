"""Adapters folded where an engine's weights lie: what the core folds, at the same addresses, and gone to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recast.errors import ConfigError, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.speed.adapters import Folding
from recast.speed.blocks import Block, blocks_of
from recast.speed.engine import Engine, Resident
from recast.speed.linear import Linear, Plain, mapped, tensors
from recast.speed.quantize import EightBit, quantised
from recast.speed.streaming import Streamed
from recast.weights import fold, read_adapter
from tests.tiny import tiny_flow

D, MLP = 48, 192  # of `tiny`


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(name: str, out: int, into: int, seed: int, rank: int = 3) -> dict[str, Tensor]:
    return {
        f"{name}.lora_down.weight": 0.2 * numbers(rank, into, seed=seed),
        f"{name}.lora_up.weight": 0.2 * numbers(out, rank, seed=seed + 100),
        f"{name}.alpha": torch.tensor(2.0),
    }


FIRST = {
    **pair("lora_unet_double_blocks_0_img_attn_qkv", 3 * D, D, 1),
    **pair("lora_unet_double_blocks_1_txt_mlp_2", D, MLP, 2),
    **pair("lora_unet_double_blocks_1_txt_mod_lin", 6 * D, D, 3),
    **pair("lora_unet_single_blocks_0_linear1", 3 * D + MLP, D, 4),
    **pair("lora_unet_single_blocks_2_linear2", D, D + MLP, 5),
    **pair("lora_unet_txt_in", D, 24, 6),
    **pair("lora_unet_final_layer_adaLN_modulation_1", 2 * D, D, 7),
}
SECOND = {
    **{
        f"transformer.{name}.lora_{half}.weight": 0.2 * numbers(*shape, seed=seed)
        for seed, (name, half, shape) in enumerate(
            [
                ("transformer_blocks.0.attn.to_k", "A", (2, D)),
                ("transformer_blocks.0.attn.to_k", "B", (D, 2)),
                ("transformer_blocks.1.attn.to_add_out", "A", (2, D)),
                ("transformer_blocks.1.attn.to_add_out", "B", (D, 2)),
                ("norm_out.linear", "A", (2, D)),
                ("norm_out.linear", "B", (2 * D, 2)),
            ]
        )
    },
    "single_blocks.0.linear1.lora_B.bias": numbers(3 * D + MLP, seed=30),
    "single_blocks.0.linear1.lora_A.weight": numbers(1, D, seed=31),
    "single_blocks.0.linear1.lora_B.weight": 0.1 * numbers(3 * D + MLP, 1, seed=32),
    "single_blocks.1.linear2.diff_b": numbers(D, seed=33),
    "double_blocks.1.img_attn.norm.key_norm.scale": 1 + 0.2 * numbers(16, seed=34),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("adapters")
    paths = place / "first.safetensors", place / "second.safetensors"
    for path, found in zip(paths, (FIRST, SECOND), strict=True):
        save_file({name: tensor.contiguous() for name, tensor in found.items()}, path)
    return paths


def resident(flow: FlowTransformer) -> Engine:
    return Engine(flow)


def joined(flow: FlowTransformer) -> Engine:
    return Engine(flow, blocks=Resident(blocks_of(flow, joined=True)))


def copied(flow: FlowTransformer) -> Engine:
    return Engine(flow, blocks=Resident([mapped(block, torch.clone) for block in blocks_of(flow)]))


def streamed(flow: FlowTransformer) -> Engine:
    return Engine(flow, blocks=Streamed(blocks_of(flow), "cpu", resident=1))


def mapped_from_host(flow: FlowTransformer) -> Engine:
    return Engine(flow, blocks=Streamed(blocks_of(flow), "cpu", host="mapped"))


def eight_bit(flow: FlowTransformer) -> Engine:
    return Engine(flow, blocks=Resident(quantised(blocks_of(flow), keep=["single.1.proj"])))


MADE: dict[str, Callable[[FlowTransformer], Engine]] = {
    each.__name__: each for each in (resident, joined, copied, streamed, mapped_from_host, eight_bit)
}


def requantise(layer: Linear, weight: Tensor) -> None:
    assert isinstance(layer, EightBit)
    layer.fill(Plain(weight, layer.bias))


def lasting(engine: Engine) -> Iterator[Tensor]:
    """Every tensor that an engine works with, where it stays."""
    yield from engine.flow.parameters()
    blocks: Any = engine.blocks
    for block in blocks.on_host() if isinstance(blocks, Streamed) else blocks.blocks:
        yield from tensors(block)


def bits(engine: Engine) -> list[Tensor]:
    return [tensor.detach().clone().view(torch.uint8) for tensor in lasting(engine)]


@torch.inference_mode()
def velocity(network: Any) -> Tensor:
    places = torch.stack([torch.zeros(6), torch.arange(6.0), torch.ones(6)], -1)[None]
    condition = network.condition(
        positions=places,
        text=numbers(1, 5, 24, seed=1),
        pooled=numbers(1, 24, seed=2),
        guidance=torch.tensor([2.5]),
        context=numbers(1, 6, 64, seed=3),
        context_positions=places + 1,
    )
    found: Tensor = network.along(condition, [0.7])(numbers(1, 6, 64, seed=4), 0.7)
    return found


@pytest.mark.parametrize("how", MADE)
def test_what_is_folded_is_what_the_core_folds(files, how):
    """One adapter, both, other strengths, one again, none: each time the core's, and at the end the first bits."""
    engine = MADE[how](tiny_flow())
    folding = Folding(engine, requantise=requantise)
    first, second = (folding.read(path) for path in files)
    before, addresses, started = bits(engine), [each.data_ptr() for each in lasting(engine)], velocity(engine)
    asked = ([(first, 1.0)], [(first, 0.5), (second, 1.5)], [(second, -1.0), (first, 0.5)], [(second, 1.0)])
    for adapters in asked:
        folding.set(*adapters)
        assert list(folding.active) == adapters
        core = tiny_flow()
        for adapter, strength in adapters:
            fold(core, adapter, strength)
        ours, wanted = velocity(engine), velocity(MADE[how](core) if how == "eight_bit" else core)
        torch.testing.assert_close(ours, wanted, atol=2e-5, rtol=1e-4)
        assert (ours - started).abs().max() > 1e-2, "it does change the velocity"
    written = folding.set()
    assert set(written.parameters) == {change.parameter for change in second.changes}
    assert [each.data_ptr() for each in lasting(engine)] == addresses
    for now, then in zip(bits(engine), before, strict=True):
        assert torch.equal(now, then)
    assert torch.equal(velocity(engine), started)


def test_only_what_changes_is_written(files):
    engine = resident(tiny_flow())
    folding = Folding(engine)
    first, second = (folding.read(path) for path in files)
    of_first, of_second = ({change.parameter for change in each.changes} for each in (first, second))
    assert set(folding.set((first, 1.0)).parameters) == of_first
    assert folding.set((first, 1.0)).parameters == (), "the same again"
    assert set(folding.set((first, 1.0), (second, 1.0)).parameters) == of_second
    assert set(folding.set((second, 1.0)).parameters) == of_first
    size = sum(engine.flow.get_parameter(name).nbytes for name in of_second)
    assert folding.set((second, 2.0)).weights_bytes == size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_is_rounded_once(files, dtype):
    """In bf16: within the half step of the true sum that rounding once allows, whether one adapter is in or two."""
    flow = tiny_flow().to(dtype)
    exact = tiny_flow().to(dtype).double()
    folding = Folding(resident(flow))
    adapters = [
        (_in_dtype(folding.read(path), dtype), strength) for path, strength in zip(files, (0.7, 1.3), strict=True)
    ]
    for number, (adapter, strength) in enumerate(adapters, start=1):
        folding.set(*adapters[:number])
        fold(exact, adapter, strength)
        for name, wanted in exact.named_parameters():
            half_step = wanted.abs() * torch.finfo(dtype).eps / 2
            error = (flow.get_parameter(name).double() - wanted).abs()
            assert (error <= 1.01 * half_step + 1e-6 * wanted.abs().max()).all(), name


def _in_dtype(adapter: Any, dtype: torch.dtype) -> Any:
    changes = (replace(each, tensors=tuple(part.to(dtype) for part in each.tensors)) for each in adapter.changes)
    return replace(adapter, changes=tuple(changes))


def test_masters_may_stay_on_a_host_and_are_given_up_afterwards(files):
    folding = Folding(resident(tiny_flow()), keep_on="cpu")
    first = folding.read(files[0])
    folding.set((first, 1.0))
    assert set(folding._masters) == {change.parameter for change in first.changes}
    folding.set()
    assert not folding._masters


def test_a_write_that_fails_is_made_good_by_the_next(files):
    calls = []

    def broken(layer: Linear, weight: Tensor) -> None:
        calls.append(layer)
        if len(calls) == 3:
            raise MemoryError("no room")
        requantise(layer, weight)

    engine = eight_bit(tiny_flow())
    before, folding = bits(engine), Folding(engine, requantise=broken)
    with pytest.raises(MemoryError):
        folding.set((folding.read(files[0]), 1.0))
    assert folding.active == ()
    folding.set()
    for now, then in zip(bits(engine), before, strict=True):
        assert torch.equal(now, then)


def test_what_cannot_be_folded_is_an_error_and_writes_nothing(files, tmp_path):
    engine = eight_bit(tiny_flow())
    folding, before = Folding(engine), bits(engine)
    first = folding.read(files[0])
    with pytest.raises(ConfigError, match=r"requantise: missing, and the engine has .* as EightBit"):
        folding.set((first, 1.0))
    with pytest.raises(ConfigError, match="strength=nan: a finite number"):
        folding.set((first, float("nan")))
    smaller = Folding(resident(tiny_flow(hidden_size=32, num_heads=2)))
    with pytest.raises(WeightsError, match=r"changes double_blocks.0.img_attn.qkv.weight, here \(96, 32\)"):
        smaller.set((first, 1.0))
    strange = tmp_path / "strange.safetensors"
    save_file({"lora_unet_conv_1.lora_down.weight": torch.ones(2, 2)}, strange)
    with pytest.raises(WeightsError, match="none of its 1 keys fits"):
        folding.read(strange)
    save_file(pair("lora_unet_img_in", D, 128, 1), tmp_path / "control.safetensors")
    with pytest.raises(ConfigError, match="widens img_in to 128 channels"):
        folding.set((folding.read(tmp_path / "control.safetensors"), 1.0))
    for now, then in zip(bits(engine), before, strict=True):
        assert torch.equal(now, then)


def test_keys_that_fit_nothing_are_in_the_report(files, tmp_path):
    path = tmp_path / "mixed.safetensors"
    save_file({**FIRST, "lora_unet_conv_1.lora_down.weight": torch.ones(2, 2)}, path)
    report = Folding(resident(tiny_flow())).read(path).report
    assert report == read_adapter(path, tiny_flow()).report
    assert report.unmatched == ("lora_unet_conv_1.lora_down.weight",)


def test_an_engine_that_is_shared_out_or_strange_is_refused():
    engine = resident(tiny_flow())
    engine.num_heads = 1
    with pytest.raises(ConfigError, match="shared out among processes"):
        Folding(engine)

    class Elsewhere:
        def __len__(self) -> int:
            return 0

        def walk(self, first: int, last: int) -> Iterator[Block]:
            return iter(())

    with pytest.raises(ConfigError, match="its weights are in Elsewhere"):
        Folding(Engine(tiny_flow(), blocks=Elsewhere()))
