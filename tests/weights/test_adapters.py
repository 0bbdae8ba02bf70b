"""Adapters of every family change the weights by what their trainer meant, and leave without a trace."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn

from recast.config import kontext_dev, tiny
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.weights import AdapterReport, configs, fold, load_into, open_checkpoint, read_adapter, save, unfold
from recast.weights.adapter_keys import find_target, split_key, targets
from tests.weights.models import randomised, same, velocity_of_ours, velocity_of_theirs

Write = Callable[..., Path]
Tensors = dict[str, Tensor]
D, MLP = 48, 192  # widths of `tiny`: hidden, and inside the MLP


def pair(out: int, into: int, rank: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A (rank, into) and B (out, rank)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rank, into, generator=generator), torch.randn(out, rank, generator=generator)


def spelled(
    name: str, ab: tuple[Tensor, Tensor], spelling: str = "lora_A lora_B", alpha: float | None = None
) -> Tensors:
    down, up = spelling.split()
    found = {f"{name}.{down}.weight": ab[0], f"{name}.{up}.weight": ab[1]}
    return found | ({} if alpha is None else {f"{name}.alpha": torch.tensor(alpha)})


def check(module: nn.Module, path: Path, expected: Tensors, strength: float = 1.0) -> AdapterReport:
    """Folding changes the parameters of `expected` by exactly that, others not at all; unfolding restores all."""
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    objects = dict(module.named_parameters())
    adapter = read_adapter(path, module)
    folded = fold(module, adapter, strength)
    assert set(folded.parameters) == set(expected)
    for name, value in module.named_parameters():
        if name in expected:
            torch.testing.assert_close(value, before[name] + strength * expected[name], atol=2e-5, rtol=1e-5)
            assert not torch.equal(value, before[name]), name
        else:
            assert value is objects[name], name
    unfold(module, folded)
    for name, value in module.named_parameters():
        assert value is objects[name]
        assert torch.equal(value, before[name]), name
    return adapter.report


def rows(total: int, first: int, change: Tensor) -> Tensor:
    whole = torch.zeros(total, *change.shape[1:])
    whole[first : first + len(change)] = change
    return whole


def swapped(change: Tensor) -> Tensor:
    return torch.cat([change[len(change) // 2 :], change[: len(change) // 2]])


def test_kohya(flow: FlowTransformer, write: Write) -> None:
    qkv, lin, last, linear1 = (
        pair(3 * D, D, 4, 1),
        pair(3 * D, D, 2, 2),
        pair(2 * D, D, 4, 3),
        pair(3 * D + MLP, D, 8, 4),
    )
    kohya = "lora_down lora_up"
    path = write(
        spelled("lora_unet_double_blocks_1_img_attn_qkv", qkv, kohya, alpha=1.0)
        | spelled("lora_unet_single_blocks_2_modulation_lin", lin, kohya, alpha=0.0)  # as if absent: alpha = r
        | spelled("lora_unet_final_layer_adaLN_modulation_1", last, kohya, alpha=2.0)
        | spelled("lora_unet_single_blocks_0_linear1", linear1, kohya)
        | spelled("lora_te1_text_model_encoder_layers_0_mlp_fc1", pair(4, 4), kohya, alpha=1.0)
        | spelled("lora_te3_encoder_block_0_layer_0_SelfAttention_q", pair(4, 4), kohya)
    )
    report = check(
        flow,
        path,
        {
            "double_blocks.1.img_attn.qkv.weight": qkv[1] @ qkv[0] / 4,
            "single_blocks.2.modulation.lin.weight": lin[1] @ lin[0],
            "final_layer.adaLN_modulation.1.weight": last[1] @ last[0] / 2,
            "single_blocks.0.linear1.weight": linear1[1] @ linear1[0],
        },
        strength=0.7,
    )
    assert report.family == "kohya"
    assert (len(report.matched), len(report.text_encoder), report.unmatched) == (11, 5, ())
    assert report.ranks == (2, 4, 8)


def diffusers_case(
    prefix: str, spelling: str, flat: bool = False, alpha: float | None = None
) -> tuple[Tensors, Tensors]:
    """Split modules of unlike ranks, the swapped modulation, and what the change of our fused tensors must be."""
    k, v, mlp = pair(D, D, 4, 1), pair(D, D, 2, 2), pair(MLP, D, 4, 3)
    last, out = pair(2 * D, D, 4, 4), pair(D, D + MLP, 4, 5)
    names = {
        "transformer_blocks.0.attn.to_k": k,
        "transformer_blocks.1.attn.add_v_proj": v,
        "single_transformer_blocks.1.proj_mlp": mlp,
        "single_transformer_blocks.2.proj_out": out,
        "norm_out.linear": last,
    }
    tensors: Tensors = {}
    for name, ab in names.items():
        tensors |= spelled(prefix + (name.replace(".", "_") if flat else name), ab, spelling, alpha)

    def delta(ab: tuple[Tensor, Tensor]) -> Tensor:
        return ab[1] @ ab[0] * (1.0 if alpha is None else alpha / len(ab[0]))

    return tensors, {
        "double_blocks.0.img_attn.qkv.weight": rows(3 * D, D, delta(k)),
        "double_blocks.1.txt_attn.qkv.weight": rows(3 * D, 2 * D, delta(v)),
        "single_blocks.1.linear1.weight": rows(3 * D + MLP, 3 * D, delta(mlp)),
        "single_blocks.2.linear2.weight": delta(out),
        "final_layer.adaLN_modulation.1.weight": swapped(delta(last)),
    }


@pytest.mark.parametrize(
    ("family", "prefix", "spelling", "flat", "alpha"),
    [
        ("diffusers", "transformer.", "lora_A lora_B", False, None),
        ("diffusers", "transformer.", "lora_A lora_B", False, 2.0),
        ("peft", "base_model.model.", "lora_A lora_B", False, None),
        ("peft", "base_model.model.", "lora_A.default lora_B.default", False, None),
        ("simpletuner", "diffusion_model.", "lora_A lora_B", False, 3.0),
        ("onetrainer", "lora_transformer_", "lora_down lora_up", True, 1.0),
        ("kohya", "lora_unet_", "lora_down lora_up", True, 8.0),
    ],
)
def test_split_modules_of_diffusers_change_their_rows_of_the_fused_ones(
    flow: FlowTransformer, write: Write, family: str, prefix: str, spelling: str, flat: bool, alpha: float | None
) -> None:
    tensors, expected = diffusers_case(prefix, spelling, flat, alpha)
    report = check(flow, write(tensors), expected, strength=-0.5)
    assert report.family == family
    assert len(report.matched) == len(tensors)


def bfl_case(prefix: str, spelling: str, alpha: float | None) -> tuple[Tensors, Tensors]:
    mlp, last = pair(D, MLP, 4, 1), pair(2 * D, D, 2, 2)
    tensors = spelled(f"{prefix}double_blocks.0.txt_mlp.2", mlp, spelling, alpha)
    tensors |= spelled(f"{prefix}final_layer.adaLN_modulation.1", last, spelling, alpha)
    scales = [1.0 if alpha is None else alpha / rank for rank in (4, 2)]
    return tensors, {
        "double_blocks.0.txt_mlp.2.weight": mlp[1] @ mlp[0] * scales[0],
        "final_layer.adaLN_modulation.1.weight": last[1] @ last[0] * scales[1],
    }


@pytest.mark.parametrize(
    ("family", "prefix", "spelling", "alpha"),
    [
        ("fal", "base_model.model.", "lora_A lora_B", None),
        ("comfyui", "diffusion_model.", "lora_A lora_B", None),
        ("comfyui", "diffusion_model.", "lora_down lora_up", 1.0),
        ("bfl", "", "lora_A lora_B", None),
    ],
)
def test_fused_modules_change_as_they_are(
    flow: FlowTransformer, write: Write, family: str, prefix: str, spelling: str, alpha: float | None
) -> None:
    tensors, expected = bfl_case(prefix, spelling, alpha)
    assert check(flow, write(tensors), expected).family == family


@pytest.mark.parametrize("rslora", [False, True])
def test_alpha_in_the_header_of_diffusers_is_used_with_its_patterns(
    flow: FlowTransformer, write: Write, rslora: bool
) -> None:
    tensors, expected = diffusers_case("transformer.", "lora_A lora_B")
    settings = {
        "r": 4,
        "lora_alpha": 6,
        "alpha_pattern": {"attn.add_v_proj": 5},
        "rank_pattern": {"attn.add_v_proj": 2},
    }
    written = json.dumps({f"transformer.{key}": value for key, value in (settings | {"use_rslora": rslora}).items()})
    four, two = (2.0, 2**0.5) if rslora else (4, 2)
    expected = {name: change * 6 / four for name, change in expected.items()}
    expected["double_blocks.1.txt_attn.qkv.weight"] *= 5 / two * four / 6
    check(flow, write(tensors, lora_adapter_metadata=written), expected)


def test_the_folder_of_a_run_is_refused_by_the_name_of_its_file(flow: FlowTransformer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    with pytest.raises(MissingWeights, match=r"run': no adapter_model.*; a run has weights/adapter.safetensors when"):
        read_adapter(run, flow)
    file = run / "weights" / "adapter.safetensors"
    file.parent.mkdir()
    file.touch()
    for folder in (run, run / "weights"):
        with pytest.raises(MissingWeights, match=re.escape(f"pass the path of the file, such as {file}")):
            read_adapter(folder, flow)


def test_alpha_beside_a_peft_folder_is_used(flow: FlowTransformer, write: Write) -> None:
    tensors, expected = diffusers_case("base_model.model.", "lora_A lora_B")
    path = write(tensors, "peft/adapter_model.safetensors")
    (path.parent / "adapter_config.json").write_text(json.dumps({"lora_alpha": 2, "r": 4}))
    expected = {name: change / 2 for name, change in expected.items()}
    expected["double_blocks.1.txt_attn.qkv.weight"] *= 2  # its rank is 2
    check(flow, path.parent, expected)


def test_xlabs_processors(flow: FlowTransformer, write: Write) -> None:
    image, text, joint = pair(3 * D, D, 4, 1), pair(D, D, 4, 2), pair(3 * D, D, 4, 3)
    spelling = "down up"
    path = write(
        spelled("double_blocks.0.processor.qkv_lora1", image, spelling)
        | spelled("double_blocks.1.processor.proj_lora2", text, spelling)
        | spelled("single_blocks.1.processor.qkv_lora", joint, spelling)
    )
    expected = {
        "double_blocks.0.img_attn.qkv.weight": image[1] @ image[0],
        "double_blocks.1.txt_attn.proj.weight": text[1] @ text[0],
        "single_blocks.1.linear1.weight": rows(3 * D + MLP, 0, joint[1] @ joint[0]),
    }
    assert check(flow, path, expected).family == "xlabs"


def control_file(flow: FlowTransformer, write: Write) -> tuple[Path, Tensors]:
    """Every linear layer with a bias, rank at most the layer's sides, norms replaced, 64 more input channels."""
    tensors: Tensors = {}
    for i, (name, layer) in enumerate(flow.named_modules()):
        if isinstance(layer, nn.Linear):
            into = 128 if name == "img_in" else layer.in_features
            rank = min(16, into, layer.out_features)
            tensors |= spelled(name, pair(layer.out_features, into, rank, i))
            tensors[f"{name}.lora_B.bias"] = pair(1, layer.out_features, 1, i + 1000)[0][0]
        elif name.endswith("_norm"):
            tensors[f"{name}.scale"] = pair(1, 16, 1, i)[0][0]
    return write(tensors), tensors


def test_a_control_adapter_widens_the_input_and_replaces_the_norms(flow: FlowTransformer, write: Write) -> None:
    path, tensors = control_file(flow, write)
    before = {name: value.detach().clone() for name, value in flow.named_parameters()}
    adapter = read_adapter(path, flow)
    assert adapter.report.in_channels == 128
    assert set(adapter.report.matched) == set(tensors)
    folded = fold(flow, adapter, 0.85)
    assert set(folded.parameters) == set(before)
    for name, value in flow.named_parameters():
        module, _, leaf = name.rpartition(".")
        if leaf == "scale":
            assert torch.equal(value, tensors[name])
            continue
        base = before[name]
        if name == "img_in.weight":
            base = torch.cat([base, torch.zeros(D, 64)], dim=1)
        change = tensors[f"{module}.lora_B.bias"]
        if leaf == "weight":
            change = tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]
        torch.testing.assert_close(value, base + 0.85 * change, atol=1e-4, rtol=1e-4)
    again = read_adapter(write(spelled("img_in", pair(D, 64, 4, 9)), "narrow.safetensors"), flow)
    wide = flow.img_in.weight.detach().clone()
    narrow = fold(flow, again)
    assert torch.equal(flow.img_in.weight[:, 64:], wide[:, 64:])
    assert not torch.equal(flow.img_in.weight[:, :64], wide[:, :64])
    unfold(flow, folded)
    unfold(flow, narrow)
    assert all(torch.equal(value, before[name]) for name, value in flow.named_parameters())


@pytest.mark.parametrize("prefix", ["lycoris_", "diffusion_model."])
def test_lokr_and_loha(flow: FlowTransformer, write: Write, prefix: str) -> None:
    g = torch.Generator().manual_seed(0)
    w1, w2, w1_a, w1_b = (torch.randn(*shape, generator=g) for shape in ((6, 4), (8, 12), (6, 2), (2, 4)))
    hada = [torch.randn(*shape, generator=g) for shape in ((D, 3), (3, D), (D, 3), (3, D))]
    dot = "_" if prefix.endswith("_") else "."
    names = [
        prefix + name.replace(".", dot)
        for name in (
            "transformer_blocks.0.attn.to_q",
            "transformer_blocks.0.attn.to_v",
            "transformer_blocks.0.attn.to_add_out",
        )
    ]
    path = write(
        {f"{names[0]}.lokr_w1": w1, f"{names[0]}.lokr_w2": w2, f"{names[0]}.alpha": torch.tensor(5.0)}
        | {f"{names[1]}.lokr_w1_a": w1_a, f"{names[1]}.lokr_w1_b": w1_b, f"{names[1]}.lokr_w2": w2}
        | {f"{names[1]}.alpha": torch.tensor(1.0)}
        | {f"{names[2]}.hada_{part}": hada[i] for i, part in enumerate(("w1_a", "w1_b", "w2_a", "w2_b"))}
        | {f"{names[2]}.alpha": torch.tensor(1.5)}
    )
    whole, factored = torch.kron(w1, w2), torch.kron(w1_a @ w1_b, w2) / 2  # alpha counts only for a factored one
    expected = {
        "double_blocks.0.img_attn.qkv.weight": rows(3 * D, 0, whole) + rows(3 * D, 2 * D, factored),
        "double_blocks.0.txt_attn.proj.weight": (hada[0] @ hada[1]) * (hada[2] @ hada[3]) / 2,
    }
    check(flow, path, expected)


def test_whole_differences_and_replacements(flow: FlowTransformer, write: Write) -> None:
    bias, weight, whole = torch.randn(2 * D), torch.randn(D, 64), torch.randn(D)
    path = write(
        {
            "transformer.norm_out.linear.diff_b": bias,
            "diffusion_model.img_in.diff": weight,
            "diffusion_model.txt_in.set_weight": pair(1, D * 24, 1)[0].view(D, 24),
            "diffusion_model.single_blocks.0.norm.key_norm.diff": whole[:16],
        }
    )
    new = pair(1, D * 24, 1)[0].view(D, 24)
    check(
        flow,
        path,
        {
            "final_layer.adaLN_modulation.1.bias": swapped(bias),
            "img_in.weight": weight,
            "txt_in.weight": new - flow.txt_in.weight,
            "single_blocks.0.norm.key_norm.scale": whole[:16],
        },
    )


def test_the_full_set_of_each_trainer_has_a_place_in_the_published_model() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in FlowTransformer(kontext_dev().flow).state_dict().items()}
    table = targets(shapes)
    double = [f"{s}_{m}" for s in ("img", "txt") for m in ("attn_qkv", "attn_proj", "mlp_0", "mlp_2", "mod_lin")]
    kohya = [f"lora_unet_double_blocks_{i}_{name}" for i in range(19) for name in double]
    kohya += [f"lora_unet_single_blocks_{i}_{n}" for i in range(38) for n in ("linear1", "linear2", "modulation_lin")]
    found = [find_target(name, table)[0] for name in kohya]
    assert len(kohya) * 3 == 912
    assert len({target.module for target in found if target}) == len(kohya)

    attn = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    mlps = (
        "ff.net.0.proj",
        "ff.net.2",
        "ff_context.net.0.proj",
        "ff_context.net.2",
        "norm1.linear",
        "norm1_context.linear",
    )
    names = [f"transformer_blocks.{i}.{n}" for i in range(19) for n in (*(f"attn.{a}" for a in attn), *mlps)]
    single = ("attn.to_q", "attn.to_k", "attn.to_v", "norm.linear", "proj_mlp", "proj_out")
    names += [f"single_transformer_blocks.{i}.{n}" for i in range(38) for n in single]
    assert len(names) * 2 == 988
    places = [find_target(f"transformer.{name}", table)[0] for name in names]
    spans = {(target.module, target.first, target.rows) for target in places if target}
    assert len(spans) == len(names)
    flat = [find_target(f"lora_transformer_{name.replace('.', '_')}", table)[0] for name in names]
    assert flat == places

    linears = {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 2}
    control = [f"{name}.{leaf}" for name in linears for leaf in ("lora_A.weight", "lora_B.weight", "lora_B.bias")]
    control += [name for name in shapes if name.endswith("_norm.scale")]
    assert len(control) == 1094
    split = [split_key(key) for key in control]
    assert all(parts and parts[0] in table for parts in split)


def test_adapters_leave_in_any_order_and_what_stays_is_as_if_they_had_never_been(
    empty_flow: FlowTransformer, flow: FlowTransformer, write: Write
) -> None:
    flow.bfloat16()
    load_into(empty_flow, open_checkpoint(write(flow.state_dict(), "model.safetensors")))
    mapped = {name: value.data_ptr() for name, value in empty_flow.named_parameters()}
    kohya = write(diffusers_case("transformer.", "lora_A lora_B", alpha=0.37)[0], "a.safetensors")
    comfy = write(bfl_case("diffusion_model.", "lora_A lora_B", None)[0], "b.safetensors")
    control, _ = control_file(flow, write)
    adapters = [read_adapter(path, empty_flow) for path in (kohya, comfy, control)]

    def alone(*strengths: tuple[int, float]) -> FlowTransformer:
        other: FlowTransformer = randomised(FlowTransformer(tiny().flow)).bfloat16()
        for index, strength in strengths:
            fold(other, adapters[index], strength)
        return other

    one, two, three = (fold(empty_flow, adapters[i], s) for i, s in ((0, 0.3), (1, -1.1), (2, 0.85)))
    unfold(empty_flow, two)
    assert same(empty_flow, alone((0, 0.3), (2, 0.85)))
    four = fold(empty_flow, adapters[0], 0.9)  # the same adapter a second time
    unfold(empty_flow, three)
    assert same(empty_flow, alone((0, 0.3), (0, 0.9)))
    unfold(empty_flow, one)
    assert same(empty_flow, alone((0, 0.9)))
    unfold(empty_flow, four)
    assert same(empty_flow, flow)
    assert mapped == {name: value.data_ptr() for name, value in empty_flow.named_parameters()}
    with pytest.raises(WeightsError, match="not folded into this module"):
        unfold(empty_flow, four)


def test_folding_adds_in_fp32_and_rounds_once(flow: FlowTransformer, write: Write) -> None:
    flow.bfloat16()
    ab = pair(D, 64, 4, 1)
    halves = [read_adapter(write(spelled("img_in", ab), f"{i}.safetensors"), flow) for i in range(2)]
    exact = flow.img_in.weight.float() + 0.001 * (ab[1] @ ab[0]) + 0.001 * (ab[1] @ ab[0])
    for adapter in halves:
        fold(flow, adapter, 0.001)
    assert torch.equal(flow.img_in.weight, exact.bfloat16())


def test_strength_zero_changes_nothing_not_even_what_is_replaced(flow: FlowTransformer, write: Write) -> None:
    before = {name: value.detach().clone() for name, value in flow.named_parameters()}
    fold(flow, read_adapter(control_file(flow, write)[0], flow), 0.0)
    for name, value in flow.named_parameters():
        assert torch.equal(value[..., : before[name].shape[-1]], before[name]), name


def test_a_module_cast_while_folded_unfolds_to_its_cast_originals(flow: FlowTransformer, write: Write) -> None:
    tensors, _ = bfl_case("", "lora_A lora_B", None)
    folded = fold(flow, read_adapter(write(tensors), flow))
    flow.bfloat16()
    unfold(flow, folded)
    assert same(flow, randomised(FlowTransformer(tiny().flow)).bfloat16())


def test_weights_loaded_under_a_folded_adapter_are_noticed(flow: FlowTransformer, write: Write) -> None:
    folded = fold(flow, read_adapter(write(bfl_case("", "lora_A lora_B", None)[0]), flow))
    load_into(flow, open_checkpoint(write(flow.state_dict(), "model.safetensors")))
    with pytest.raises(WeightsError, match="unfold adapters before loading"):
        unfold(flow, folded)


def test_keys_that_fit_nothing_are_reported_and_none_that_fits_is_an_error(flow: FlowTransformer, write: Write) -> None:
    good, expected = bfl_case("diffusion_model.", "lora_A lora_B", None)
    other = spelled("diffusion_model.double_blocks.7.img_mlp.0", pair(4, 4)) | {"mystery": torch.ones(1)}
    text = spelled("text_encoder.text_model.encoder.layers.0.mlp.fc1", pair(4, 4))
    report = check(flow, write(good | other | text), expected)
    assert set(report.matched) == set(good)
    assert set(report.unmatched) == set(other)
    assert set(report.text_encoder) == set(text)
    assert report.modules == ("double_blocks.0.txt_mlp.2", "final_layer.adaLN_modulation.1")
    with pytest.raises(
        WeightsError, match=r"none of its 5 keys.*text encoder 2 .*unknown 3 .*double_blocks.7.*accepted"
    ):
        read_adapter(write(other | text), flow)


def test_the_same_rows_twice_in_one_file_are_applied_once(flow: FlowTransformer, write: Write) -> None:
    """Some files carry a diffusers and a kohya copy of the same adapter."""
    split, qkv = pair(D, D, 4, 1), pair(3 * D, D, 4, 2)
    twice = spelled("lora_unet_double_blocks_0_img_attn_qkv", qkv, "lora_down lora_up")
    first = spelled("transformer.transformer_blocks.0.attn.to_k", split)
    report = check(
        flow, write(twice | first), {"double_blocks.0.img_attn.qkv.weight": rows(3 * D, D, split[1] @ split[0])}
    )
    assert set(report.unmatched) == set(twice)


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        (spelled("img_in", pair(D, 65 - 2)), "img_in.weight"),
        (spelled("txt_in", pair(D, 64)), r"\(48, 64\); \(48, 24\) is needed"),
        (spelled("txt_in", (pair(D, 24)[1], pair(D, 24)[0])), "txt_in"),
        ({"txt_in.lora_A.weight": pair(D, 24)[0]}, "txt_in: without its up"),
        ({"txt_in.lokr_w1": torch.ones(2, 2)}, "without its lokr_w2_a"),
        (spelled("txt_in", (pair(D, 24)[0] * float("nan"), pair(D, 24)[1])), "not finite"),
        (spelled("txt_in", pair(D, 24)) | {"txt_in.dora_scale": torch.ones(1, 24)}, "DoRA"),
        (spelled("txt_in", pair(D, 24)) | {"txt_in.lora_mid.weight": torch.ones(4, 4)}, "Tucker"),
        ({"single_blocks.0.norm.key_norm.diff_b": torch.ones(16)}, "the model lacks"),
    ],
)
def test_what_cannot_be_applied_as_meant_is_refused(
    flow: FlowTransformer, write: Write, tensors: Tensors, why: str
) -> None:
    with pytest.raises(WeightsError, match=why):
        read_adapter(write(tensors), flow)


def test_a_strength_that_is_no_number_is_refused(flow: FlowTransformer, write: Write) -> None:
    adapter = read_adapter(write(bfl_case("", "lora_A lora_B", None)[0]), flow)
    with pytest.raises(ConfigError, match="strength=nan"):
        fold(flow, adapter, float("nan"))


@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_that_diffusers_trained_gives_the_velocity_that_diffusers_has_with_it(
    flow: FlowTransformer, tmp_path: Path, rslora: bool
) -> None:
    settings = {k: v for k, v in configs.flow_to_diffusers(tiny().flow).items() if not k.startswith("_")}
    save(tmp_path / "model", {"flow": flow}, tiny(), layout="diffusers")
    theirs = FluxTransformer2DModel(**settings)
    theirs.load_state_dict(FluxTransformer2DModel.from_pretrained(tmp_path / "model" / "transformer").state_dict())
    modules = ["to_k", "add_q_proj", "proj_mlp", "proj_out", "norm_out.linear", "ff.net.2", "to_out.0", "x_embedder"]
    lora = LoraConfig(
        r=4,
        lora_alpha=3,
        rank_pattern={"attn.to_k": 2},
        alpha_pattern={"attn.to_k": 5},
        target_modules=modules,
        use_rslora=rslora,
    )
    theirs.add_adapter(lora)
    generator = torch.Generator().manual_seed(3)
    for name, value in theirs.named_parameters():
        if ".lora_" in name:
            value.data = torch.randn(value.shape, generator=generator) * 0.2
    without = velocity_of_ours(flow)
    FluxPipeline.save_lora_weights(
        tmp_path / "lora",
        transformer_lora_layers=get_peft_model_state_dict(theirs),
        transformer_lora_adapter_metadata=lora.to_dict() | {"target_modules": modules},
    )
    adapter = read_adapter(tmp_path / "lora", flow)
    fold(flow, adapter)
    assert adapter.report.unmatched == ()
    assert (velocity_of_ours(flow) - without).abs().max() > 0.1
    torch.testing.assert_close(velocity_of_ours(flow), velocity_of_theirs(theirs), atol=1e-4, rtol=1e-3)
