"""Adapters change nothing at first, train alone, and come back from every file as they were."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from recast.config import kontext_dev
from recast.errors import ConfigError, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.tokens import positions
from recast.train.adapters import AdaptedLinear, Adapters, LoRA, _wanted, attach, detach, fingerprint, save
from recast.train.ema import Average
from recast.train.overrides import override
from recast.weights import fold, read_adapter, save_adapter, unfold
from tests.tiny import randomise, tiny_flow

FORMATS = ("diffusers", "bfl", "kohya")
SETS = ("attention", "attention+mlp", "all linears")


def velocity(flow: FlowTransformer, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """What the network answers to a fixed request with one context."""
    g = torch.Generator().manual_seed(5)
    x, context = (torch.randn(batch, n, 64, generator=g).to(dtype) for n in (6, 8))
    text, pooled = torch.randn(batch, 5, 24, generator=g).to(dtype), torch.randn(batch, 24, generator=g).to(dtype)
    condition = flow.condition(
        positions=positions((2, 3)), text=text, pooled=pooled, guidance=torch.ones(batch),
        context=context, context_positions=positions((2, 4), index=1),
    )  # fmt: skip
    return flow(x, torch.linspace(0.3, 0.8, batch), condition)


def filled(adapters: Adapters, seed: int = 1) -> Adapters:
    """The adapters with a random B, as if they were trained."""
    randomise(adapters, seed, std=0.2)
    return adapters


@pytest.mark.parametrize("targets", [*SETS, ("double_blocks.0.img_attn.qkv",)])
def test_fresh_adapters_change_no_bit_of_the_output_and_random_ones_do(targets: Any) -> None:
    flow = tiny_flow()
    before = velocity(flow)
    adapters = attach(flow, LoRA(rank=4, alpha=8, targets=targets))
    assert (velocity(flow) - before).abs().max() == 0
    filled(adapters)
    assert (velocity(flow) - before).abs().max() > 1e-3
    with adapters.off():
        assert torch.equal(velocity(flow), before)
    assert not torch.equal(velocity(flow), before), "on again after `off`"
    detach(flow)
    assert torch.equal(velocity(flow), before)
    assert not any(isinstance(module, AdaptedLinear) for module in flow.modules())


@pytest.mark.parametrize("targets", SETS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_saved_adapter_folds_into_what_the_attached_one_computes(tmp_path: Path, format: Any, targets: str) -> None:
    flow = tiny_flow()
    without = velocity(flow)
    adapters = filled(attach(flow, LoRA(rank=3, alpha=5, targets=targets)))
    wanted = velocity(flow)
    path = save(tmp_path / "a.safetensors", adapters, format=format)
    detach(flow)
    adapter = read_adapter(path, flow)
    assert adapter.report.unmatched == ()
    assert adapter.report.text_encoder == ()
    assert set(adapter.report.modules) == {low_rank.module for low_rank in adapters.low_ranks()}
    folded = fold(flow, adapter)
    assert (wanted - without).abs().max() > 0.01
    torch.testing.assert_close(velocity(flow), wanted, atol=2e-5, rtol=1e-5)
    unfold(flow, folded)
    assert torch.equal(velocity(flow), without)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_a_file_of_one_format_is_rewritten_in_another_without_loss(tmp_path: Path, source: Any, target: Any) -> None:
    flow = tiny_flow()
    shapes = {name: tuple(value.shape) for name, value in flow.named_parameters()}
    save(tmp_path / "a.safetensors", filled(attach(flow, LoRA(rank=3, alpha=5, targets="all linears"))), format=source)
    detach(flow)
    first = read_adapter(tmp_path / "a.safetensors", flow)
    save_adapter(tmp_path / "b.safetensors", first.changes, shapes, format=target)
    second = read_adapter(tmp_path / "b.safetensors", flow)
    states = []
    for adapter in (first, second):
        folded = fold(flow, adapter)
        states.append({name: value.clone() for name, value in flow.named_parameters()})
        unfold(flow, folded)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("format", "alphas"), [("diffusers", 0), ("bfl", 2), ("kohya", 2)])
def test_every_file_says_its_alpha_where_its_readers_look(tmp_path: Path, format: Any, alphas: int) -> None:
    adapters = filled(attach(tiny_flow(), LoRA(rank=4, alpha=6, targets=("double_blocks.0.img_attn.*",))))
    path = save(tmp_path / "a.safetensors", adapters, format=format, about={"base": "tiny", "steps": 7})
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        header = file.metadata()
    said = json.loads(header["recast"])
    assert (said["rank"], said["alpha"], said["base"], said["steps"]) == (4, 6, "tiny", 7)
    assert said["version"]
    found = {name: tensors[name].item() for name in tensors if name.endswith(".alpha")}
    assert len(found) == alphas
    for name, alpha in found.items():
        down = next(t for key, t in tensors.items() if key.startswith(name.removesuffix("alpha")) and len(t.shape) > 1
                    and t.shape[1] == 48 and ("down" in key or "lora_A" in key))  # fmt: skip
        assert alpha / down.shape[0] == 1.5, "alpha over the rank of the tensors beside it is the scale"
    if format == "diffusers":  # the scale is in B, so a reader that knows no alpha and one that does agree
        settings = json.loads(header["lora_adapter_metadata"])
        assert settings["transformer.lora_alpha"] == settings["transformer.r"] == 4
        b = tensors["transformer.transformer_blocks.0.attn.to_k.lora_B.weight"]
        torch.testing.assert_close(b, 1.5 * adapters.low_ranks()[0].up[48:96].detach())


def test_the_adapters_alone_get_gradients_and_a_step_on_them_lowers_a_loss() -> None:
    flow = tiny_flow().requires_grad_(True)
    adapters = attach(flow, LoRA(rank=4, alpha=4))
    own = {id(parameter) for parameter in adapters.parameters()}
    assert {id(p) for p in flow.parameters() if p.requires_grad} == own
    names = [name for name, _ in adapters.named_parameters()]
    assert "double_blocks.1.txt_attn.qkv.up" in names
    assert not any("weight" in name or "bias" in name for name in names)
    with torch.no_grad():
        filled(adapters, seed=2)
        goal = velocity(flow)  # what some adapters of this rank can reach
        for low_rank in adapters.low_ranks():
            low_rank.up.zero_()
    optimiser = torch.optim.AdamW(adapters.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (velocity(flow) - goal).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad is None for parameter in flow.parameters() if id(parameter) not in own)


def test_the_start_depends_on_seed_and_layer_alone() -> None:
    def start(lora: LoRA, seed: int) -> Tensor:
        return attach(tiny_flow(), lora, seed=seed).get_parameter("double_blocks.1.img_attn.proj.down").detach()

    few, many = LoRA(rank=4, targets="attention"), LoRA(rank=4, targets="all linears")
    assert torch.equal(start(few, 0), start(many, 0))
    assert not torch.equal(start(few, 0), start(few, 1))
    assert 0.9 < start(few, 0).abs().max() * 48**0.5 <= 1


@pytest.mark.parametrize("autocast", [False, True])
def test_a_bf16_base_keeps_fp32_adapters_and_gives_them_gradients(autocast: bool) -> None:
    flow = tiny_flow().bfloat16()
    before = velocity(flow, dtype=torch.bfloat16)
    adapters = attach(flow, LoRA(rank=4, targets="all linears"))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        after = velocity(flow, dtype=torch.bfloat16)
    assert after.dtype == torch.bfloat16
    if not autocast:
        assert torch.equal(after, before)
    after.float().square().mean().backward()
    for name, parameter in adapters.named_parameters():
        assert parameter.dtype == torch.float32
        if name.endswith(".up"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_the_sets_of_targets_on_the_published_model() -> None:
    """19 double and 38 single blocks; as diffusers counts them, with q, k, v and the MLP of single blocks apart."""
    with torch.device("meta"):
        flow = FlowTransformer(kontext_dev().flow)
    shapes = {name: tuple(value.shape) for name, value in flow.named_parameters()}
    count = {name: sum(len(spans) for spans in _wanted(flow, LoRA(targets=name).patterns, shapes).values())
             for name in SETS}  # fmt: skip
    assert count == {
        "attention": 19 * 8 + 38 * 3,
        "attention+mlp": 19 * 12 + 38 * 5,
        "all linears": 19 * 14 + 38 * 6 + 3 * 2 + 2 + 2,
    }
    with pytest.raises(ConfigError, match="meta device"):
        attach(flow, LoRA())


def test_part_of_a_fused_matrix_changes_its_rows_alone(tmp_path: Path) -> None:
    flow = tiny_flow()
    lora = LoRA(rank=4, targets=("single_transformer_blocks.1.attn.to_k", "transformer_blocks.0.attn.to_[qv]"))
    adapters = filled(attach(flow, lora))
    wanted = velocity(flow)
    layer = flow.single_blocks[1].linear1
    assert isinstance(layer, AdaptedLinear)
    change = layer.change(torch.eye(48)).T  # (out, in)
    is_changed = change.abs().amax(dim=1) > 0
    assert is_changed.nonzero().flatten().tolist() == list(range(48, 96))
    for format in FORMATS:
        path = save(tmp_path / f"{format}.safetensors", adapters, format=format)  # type: ignore[arg-type]
        other = tiny_flow()
        fold(other, read_adapter(path, other))
        torch.testing.assert_close(velocity(other), wanted, atol=2e-5, rtol=1e-5)


def test_several_pictures_in_a_batch_get_what_each_gets_alone() -> None:
    flow = tiny_flow()
    filled(attach(flow, LoRA(rank=4, targets="all linears")))
    g = torch.Generator().manual_seed(5)
    x = torch.randn(3, 6, 64, generator=g)
    text, pooled = torch.randn(3, 5, 24, generator=g), torch.randn(3, 24, generator=g)
    t, guidance = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([1.0, 2.5, 4.0])
    place = positions((2, 3))
    together = flow(x, t, flow.condition(positions=place, text=text, pooled=pooled, guidance=guidance))
    for i in range(3):
        one = slice(i, i + 1)
        condition = flow.condition(positions=place, text=text[one], pooled=pooled[one], guidance=guidance[one])
        torch.testing.assert_close(flow(x[one], t[one], condition), together[one], atol=2e-4, rtol=1e-4)


def test_a_pattern_that_fits_nothing_is_an_error_with_names_near_it() -> None:
    with pytest.raises(
        ConfigError, match=r"'double_blocks.0.img_atn.qkv' fits no linear layer.*double_blocks.0.img_attn"
    ):
        attach(tiny_flow(), LoRA(targets=("double_blocks.1.*", "double_blocks.0.img_atn.qkv")))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 2.5}, "rank=2.5"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"targets": "attn"}, "targets='attn'.*'attention'"),
        ({"targets": ()}, "at least one"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        LoRA(**changes)


@pytest.mark.parametrize("wrong", ["*_blocks.*", "attn"])
def test_what_is_accepted_is_said_in_words_that_work_here_and_on_the_command_line(wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        override(LoRA(), [f"targets={wrong}"])
    (offered,) = re.findall(r"such as (\[.*\]);", str(refused.value))
    assert override(LoRA(), [f"targets={offered}"]) == LoRA(targets=ast.literal_eval(offered))
    attach(tiny_flow(), LoRA(targets=ast.literal_eval(offered)))


def test_a_second_set_of_adapters_is_refused() -> None:
    flow = tiny_flow()
    attach(flow, LoRA(rank=2))
    with pytest.raises(ConfigError, match="detach"):
        attach(flow, LoRA(rank=2))


def test_a_file_in_use_is_not_overwritten_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    adapters = filled(attach(tiny_flow(), LoRA(rank=2, targets="attention")))
    path = save(tmp_path / "a.safetensors", adapters)
    content = path.read_bytes()
    with pytest.raises(WeightsError, match="exists and is not empty"):
        save(path, adapters)
    assert path.read_bytes() == content
    with pytest.raises(WeightsError, match=r"ends in \.safetensors"):
        save(tmp_path / "a.pt", adapters)
    with torch.no_grad():
        adapters.low_ranks()[0].up[0, 0] = 1e5
    with pytest.raises(WeightsError, match=r"not finite as torch\.float16"):
        save(tmp_path / "b.safetensors", adapters, dtype=torch.float16)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_adapter_of_another_model_fits_nothing_and_says_so(tmp_path: Path) -> None:
    flow = tiny_flow()
    shapes = {name: tuple(value.shape) for name, value in flow.named_parameters()}
    adapters = filled(attach(flow, LoRA(rank=2, targets=("double_blocks.1.*",))))
    changes = adapters.changes()
    path = save(tmp_path / "a.safetensors", adapters)
    shallow = tiny_flow(depth=1)
    with pytest.raises(WeightsError, match=r"none of its .* keys fits"):
        read_adapter(path, shallow)
    with pytest.raises(WeightsError, match="the model lacks it"):
        save_adapter(tmp_path / "b.safetensors", changes,
                     {name: shape for name, shape in shapes.items() if "blocks.1" not in name})  # fmt: skip
    with pytest.raises(WeightsError, match="none came"):
        save_adapter(tmp_path / "b.safetensors", [], shapes)


def test_the_fingerprint_is_of_the_base_and_not_of_its_adapters() -> None:
    flow, other = tiny_flow(), tiny_flow(seed=1)
    base = fingerprint(flow)
    adapters = attach(flow, LoRA(rank=2))
    assert fingerprint(flow) == base
    filled(adapters)
    assert fingerprint(flow) == base
    assert fingerprint(other) != base
    with torch.no_grad():
        flow.img_in.bias[0] += 1e-4
    assert fingerprint(flow) != base


def test_adapters_stay_right_when_the_transformer_is_wrapped_after_them() -> None:
    """What wraps a block replaces parameters inside its modules; the adapters see the new ones."""
    flow = tiny_flow()
    adapters = attach(flow, LoRA(rank=2))
    layer = flow.double_blocks[0].img_attn.qkv
    assert isinstance(layer, AdaptedLinear)
    layer.change.register_parameter("up", nn.Parameter(torch.ones_like(layer.change.up)))
    assert adapters.get_parameter("double_blocks.0.img_attn.qkv.up") is layer.change.up
    assert adapters.changes()[0].tensors[0].min() == 1


@pytest.fixture
def group() -> Any:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")  # blocks return their values, a view nobody writes to
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sharded_adapters_train_as_whole_ones_and_are_saved_whole(
    tmp_path: Path, group: Any, dtype: torch.dtype
) -> None:
    """`fully_shard` block by block after `attach`, the base in fp32 or bf16, the adapters in fp32."""

    def trained(shard: bool) -> tuple[Adapters, list[Tensor]]:
        flow = tiny_flow().to(dtype)
        adapters = attach(flow, LoRA(rank=2, targets="all linears"))
        if shard:
            policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
            for module in (*flow.double_blocks, *flow.single_blocks, flow.txt_in, flow):
                fully_shard(module, mesh=group, mp_policy=policy)
            register_fsdp_forward_method(flow, "condition")
        own = list(adapters.parameters())
        optimiser = torch.optim.SGD(own, lr=0.1)
        for _ in range(2):
            velocity(flow, dtype=dtype).float().square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        with torch.no_grad():
            velocity(flow, dtype=dtype)  # leaves the root's parameters gathered, older than the shards after this:
            for parameter in own:
                parameter.mul_(2)
        return adapters, [change.tensors[0] for change in adapters.changes()]

    sharded, got = trained(shard=True)
    assert all(isinstance(parameter, DTensor) for parameter in sharded.parameters()), "as `changes` leaves them"
    assert not any(name.startswith("_flow") for name, _ in sharded.named_modules())
    _, expected = trained(shard=False)
    assert max(up.abs().max() for up in expected) > 1e-4
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 if dtype == torch.float32 else 2e-3, rtol=1e-2)
    path = save(tmp_path / "a.safetensors", sharded)
    assert read_adapter(path, tiny_flow()).report.unmatched == ()


def test_averages_of_adapters_go_into_the_transformer_and_out_again() -> None:
    flow = tiny_flow()
    adapters = filled(attach(flow, LoRA(rank=2)))
    average = Average(adapters)
    trained = velocity(flow)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.zero_()
    base = velocity(flow)
    with Average.all_in([average]):
        assert torch.equal(velocity(flow), trained)
    assert torch.equal(velocity(flow), base)
    assert (trained - base).abs().max() > 0.01


def test_tensors_of_a_checkpoint_are_written_in_the_place_of_the_adapters_own(tmp_path: Path) -> None:
    flow = tiny_flow()
    adapters = attach(flow, LoRA(rank=2, targets=("double_blocks.0.img_attn.*",)))
    tensors = {name: torch.randn_like(value) for name, value in adapters.named_parameters()}
    own = {name: value.detach().clone() for name, value in adapters.named_parameters()}
    save(tmp_path / "a.safetensors", adapters, format="bfl", tensors=tensors)
    written = load_file(tmp_path / "a.safetensors")
    name = "double_blocks.0.img_attn.proj"
    torch.testing.assert_close(written[f"diffusion_model.{name}.lora_A.weight"], tensors[f"{name}.down"])
    torch.testing.assert_close(written[f"diffusion_model.{name}.lora_B.weight"], tensors[f"{name}.up"])
    assert all(torch.equal(value, own[key]) for key, value in adapters.named_parameters())
