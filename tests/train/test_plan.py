"""Plans against what happens: bytes of the tensors alive in a real step, and the published figures of work."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from recast import cost
from recast.config import FlowConfig, kontext_dev, nano, tiny
from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.latents.tokens import positions
from recast.train import adapters, course, plan
from recast.train.activations import checkpoint_blocks
from recast.train.adapters import LoRA
from recast.train.alive import Step, adapter_parameters, block_parameters, moments
from recast.train.course import Course, Place, of_preset, places, report, table
from recast.train.data.example import Shape
from recast.train.hardware import Device, device
from recast.train.plan import Method, advise
from recast.train.presets import PRESETS, nano_finetune, nano_flow
from recast.train.settings import Checkpointing, Parallel
from tests.test_cost import Alive
from tests.tiny import randomise

MEGAPIXEL = (1024, 1024)
EDIT, TEXT_TO_IMAGE = Shape(MEGAPIXEL, (MEGAPIXEL,)), Shape(MEGAPIXEL)
H200 = device("H200")
CPU = Device(name="a CPU", memory_gib=16, peak_tflops=0.1, bandwidth_gb_s=None, is_cpu=True, source="")


def step_of(
    config: FlowConfig, kind: Checkpointing, lora_rank: int | None, contexts: int, batch: int = 4
) -> tuple[int, int, list[float]]:
    """Bytes alive at the end of a real forward pass and at the worst moment of the step, and the same by formula."""
    flow = FlowTransformer(config)
    randomise(flow, 0)
    if lora_rank is not None:
        adapters.attach(flow, LoRA(rank=lora_rank))
    checkpoint_blocks(flow, kind)
    trained = sum(parameter.numel() for parameter in flow.parameters() if parameter.requires_grad)
    grid, text = (8, 8), 36
    x, t = torch.randn(batch, 64, config.out_channels), torch.rand(batch)
    words, pooled = torch.randn(batch, text, config.context_in_dim), torch.randn(batch, config.vec_in_dim or 0)
    context = torch.randn(batch, 64 * contexts, config.out_channels) if contexts else None
    places = [positions(grid, index=k + 1) for k in range(contexts)]
    with Alive(flow) as alive:
        condition = flow.condition(
            positions=positions(grid),
            text=words,
            pooled=pooled,
            guidance=torch.ones(batch) if config.guidance_embed else None,
            context=context,
            context_positions=torch.cat(places, dim=1) if contexts else None,
        )
        loss = (flow(x, t, condition) - x).square().mean()
        del condition
        forward = alive.now
        loss.backward()
    step = Step(
        target=64, text=text, context=64 * contexts, batch=batch, precision="fp32", checkpointing=kind,
        lora_rank=lora_rank,
    )  # fmt: skip
    found = moments(config, step, gradient_bytes=4 * trained, gathered_item=4)
    return forward, alive.peak, [found[0].total, max(moment.total for moment in found)]


@pytest.mark.parametrize("lora_rank", [None, 16])
@pytest.mark.parametrize("kind", ["none", "selective", "full"])
@pytest.mark.parametrize(
    ("model", "changes", "contexts"),
    [(tiny, {}, 0), (tiny, {}, 1), (tiny, {"context_attention": "cached"}, 1), (nano, {}, 1)],
    ids=["tiny, text to image", "tiny, edit", "tiny, edit, cached", "nano, edit"],
)
def test_bytes_of_a_step_are_those_of_the_tensors_alive(
    model: Any, changes: dict[str, Any], contexts: int, kind: Checkpointing, lora_rank: int | None
):
    """If this fails because a block got thriftier, `recast.train.alive` says what to change."""
    config = replace(model().flow, depth=2, depth_single_blocks=3, **changes)
    forward, peak, (forward_by_formula, peak_by_formula) = step_of(config, kind, lora_rank, contexts)
    assert peak_by_formula == pytest.approx(peak, rel=0.15)
    is_plain = kind == "none" and lora_rank is None and not changes
    assert forward_by_formula == pytest.approx(forward, rel=0.03 if is_plain else 0.2)


def test_parameters_of_blocks_and_adapters_are_those_of_the_modules():
    flow = FlowTransformer(tiny().flow)
    double, single = block_parameters(tiny().flow)
    assert double == sum(parameter.numel() for parameter in flow.double_blocks[0].parameters())
    assert single == sum(parameter.numel() for parameter in flow.single_blocks[0].parameters())
    made = adapters.attach(flow, LoRA(rank=5))
    assert adapter_parameters(tiny().flow, 5) == sum(parameter.numel() for parameter in made.parameters())


@pytest.mark.parametrize(("shape", "pflop"), [(TEXT_TO_IMAGE, 0.22), (EDIT, 0.5)])
def test_work_of_a_megapixel_is_the_published_one(shape: Shape, pflop: float):
    """Forward and backward passes of 12 B parameters, a sample: 0.22 PFLOP of text to image, 0.5 of an edit."""
    made = plan.plan(kontext_dev(), shape, Parallel(shard=8), H200)
    assert made.model_flops / 1e15 == pytest.approx(pflop, rel=0.02)
    assert made.executed_flops > made.model_flops  # the encoders
    again = plan.plan(kontext_dev(), shape, Parallel(shard=8), H200, Method(checkpointing="full"))
    assert again.executed_flops - made.executed_flops == pytest.approx(made.model_flops / 3, rel=0.001)
    half = plan.plan(kontext_dev(), shape, Parallel(shard=8), H200, Method(checkpointing="selective"))
    assert made.executed_flops < half.executed_flops < again.executed_flops


def test_frozen_matrices_have_no_gradients_to_compute():
    everything = plan.plan(kontext_dev(), EDIT, Parallel(), H200)
    lora = plan.plan(kontext_dev(), EDIT, Parallel(), H200, Method(lora_rank=16))
    step = cost.step_work(kontext_dev().flow, target=4096, text=512, context=4096)
    assert everything.model_flops - lora.model_flops == pytest.approx(step.linear, rel=0.03)  # less what adapters do


def test_weights_and_what_follows_them_are_16_bytes_a_parameter_and_4_of_average():
    """Four of each: weights, gradients, two moments, average. All shared out by shards, but the frozen encoders."""
    count = cost.flow_parameters(kontext_dev().flow)
    method = Method(checkpointing="full", accumulate=2)  # so that gradients are there in the worst moment
    alone, shared = (plan.plan(kontext_dev(), EDIT, Parallel(shard=n), H200, method) for n in (1, 8))
    states = ("weights", "gradients", "optimiser", "average")
    assert [alone.memory_gib[name] * 2**30 / count for name in states] == pytest.approx([4, 4, 8, 4])
    for name in states:
        assert shared.memory_gib[name] == pytest.approx(alone.memory_gib[name] / 8)
    assert shared.memory_gib["encoders"] == alone.memory_gib["encoders"]
    encoders = cost.T5_XXL.parameters * 2 + cost.CLIP_L.parameters * 2
    encoders += 4 * cost.autoencoder_parameters(kontext_dev().autoencoder)
    assert alone.memory_gib["encoders"] * 2**30 == pytest.approx(encoders)


def test_adapters_keep_the_base_in_half_precision_and_nothing_beside_it():
    made = plan.plan(kontext_dev(), EDIT, Parallel(), H200, Method(lora_rank=16, checkpointing="full"))
    base, pairs = cost.flow_parameters(kontext_dev().flow), adapter_parameters(kontext_dev().flow, 16)
    assert made.memory_gib["weights"] * 2**30 == pytest.approx(2 * base + 4 * pairs)
    assert made.memory_gib["optimiser"] * 2**30 == pytest.approx(8 * pairs)


def test_checkpointing_shards_and_context_parallel_each_need_less():
    def activations(kind: Checkpointing = "none", **parallel: int) -> float:
        method = Method(checkpointing=kind, batch=4)  # so that activations make the worst moment
        return plan.plan(kontext_dev(), EDIT, Parallel(**parallel), H200, method).memory_gib["activations"]

    assert activations("full", shard=8) < activations("selective", shard=8) < activations(shard=8)
    assert activations(shard=4, context=2) == pytest.approx(activations(shard=8) / 2, rel=0.01)
    assert activations(shard=4) / 2 < activations(shard=4, tensor=2) < activations(shard=4)


def test_muon_keeps_one_moment_of_matrices():
    adamw, muon = (
        plan.plan(nano(), Shape((256, 256)), Parallel(), H200, Method(optimiser=kind)) for kind in ("adamw", "muon")
    )
    assert 0.5 < muon.memory_gib["optimiser"] / adamw.memory_gib["optimiser"] < 0.75


def test_time_is_work_over_the_stated_share_of_the_peak():
    made = plan.plan(kontext_dev(), EDIT, Parallel(shard=2), H200, Method(batch=3, utilisation=0.5))
    assert made.seconds == pytest.approx(made.executed_flops / (989e12 * 0.5))
    assert made.examples_s == pytest.approx(2 * 3 / made.seconds)
    assert made.mfu == pytest.approx(made.model_flops / made.seconds / 989e12)


def test_the_least_layout_that_fits_is_advised_and_smaller_ones_are_refused_with_their_need():
    advice = advise(kontext_dev(), EDIT, H200)
    chosen = advice.chosen
    assert chosen is not None
    assert chosen.fits
    smaller = [each for each in advice.refused if each.parallel.shard < chosen.parallel.shard]
    assert {each.method.checkpointing for each in smaller} == {"none", "selective", "full"}
    assert not any(each.fits for each in advice.refused)
    larger = replace(chosen.method, batch=2 * chosen.method.batch)
    assert not plan.plan(kontext_dev(), EDIT, chosen.parallel, H200, larger).fits
    shown = table([advice], Course(model=kontext_dev()))
    assert f"| {chosen.parallel.shard} | {chosen.method.checkpointing} | {chosen.method.batch} |" in shown
    assert f"{min(each.peak_gib for each in smaller if each.parallel.shard == 1):.1f} on each of 1" in shown


def test_a_device_that_nothing_fits_is_said_to_be_too_small():
    small = Device(name="small", memory_gib=3, peak_tflops=1, bandwidth_gb_s=None, source="")
    advice = advise(kontext_dev(), EDIT, small)
    assert advice.chosen is None
    assert "| kontext_dev | all | small | over 64 |" in table([advice], Course(model=kontext_dev()))


def test_a_settled_number_of_examples_is_shared_out_or_taken_in_parts():
    whole = advise(kontext_dev(), EDIT, H200, Method(lora_rank=16), examples=4).chosen
    assert whole is not None
    assert (whole.method.batch, whole.method.accumulate, whole.parallel.shard) == (1, 4, 1)
    larger = plan.plan(kontext_dev(), EDIT, Parallel(), H200, replace(whole.method, batch=2, accumulate=2))
    assert not larger.fits
    many = advise(kontext_dev(), EDIT, H200, examples=12).chosen
    assert many is not None
    assert many.method.batch * many.method.accumulate * many.parallel.shard == 12
    assert Course(model=kontext_dev(), steps=10).samples_of(whole) == 40
    four = advise(kontext_dev(), EDIT, device("RTX 4090"), Method(lora_rank=16), examples=4).chosen
    assert four is not None
    assert four.parallel.shard == 4
    assert advise(kontext_dev(), EDIT, device("RTX 4090"), Method(lora_rank=16), examples=6).chosen is None


def test_a_great_number_of_examples_is_planned_at_once():
    endless = Device(name="endless", memory_gib=1e9, peak_tflops=1, bandwidth_gb_s=None, source="")
    begun = time.process_time()
    chosen = advise(tiny(), EDIT, endless, Method(accumulate=7), examples=3 * 10**7).chosen  # no multiple of 7
    assert time.process_time() - begun < 1
    assert chosen is not None
    assert (chosen.method.batch, chosen.method.accumulate) == (3 * 10**7, 1)


def test_a_report_is_a_table_or_the_same_as_json():
    planned, at = Course(model=tiny(), size=(64, 64)), [Place(H200), Place(CPU, share=0.25)]
    shown = report(planned, at, is_json=False)
    assert (shown.count("| bf16 |"), shown.count("| fp32 |")) == (2, 2)
    assert shown.count("| tiny | all |") == shown.count("| tiny | LoRA, rank 16 |") == 2
    assert "hours" not in shown
    data = json.loads(report(planned, at, is_json=True))
    chosen = [each["chosen"] for each in data]
    assert [each["method"]["precision"] for each in chosen] == ["bf16", "fp32"] * 2
    assert [each["utilisation"] for each in chosen] == [0.14, 0.25] * 2
    assert all(each["fits"] and each["seconds"] > 0 for each in chosen)
    assert chosen[0]["peak_gib"] == pytest.approx(sum(chosen[0]["memory_gib"].values()))


@pytest.mark.parametrize(
    ("length", "samples"), [({"steps": 100}, 800), ({"samples": 800}, 800), ({"minutes": 3.0}, None)]
)
def test_hours_are_those_of_all_examples_at_their_rate(length: dict[str, Any], samples: int | None):
    planned = Course(model=tiny(), size=(64, 64), examples=8, methods=(Method(),), **length)
    (told,) = json.loads(report(planned, [Place(H200)], is_json=True))
    found = told["chosen"]
    assert found["samples"] == pytest.approx(samples or 180 * found["examples_s"])
    assert found["hours"] == pytest.approx(0.05 if samples is None else 100 * found["seconds"] / 3600)
    heads, _, row = [line.split(" | ") for line in report(planned, [Place(H200)], is_json=False).split("\n")[3:6]]
    assert row[heads.index("hours")] == f"{found['hours']:.3g}"
    with pytest.raises(ConfigError, match="one length accepted"):
        replace(planned, steps=1, samples=1, minutes=None)


def test_a_preset_is_planned_as_it_is_run():
    made = of_preset(nano_flow())
    assert (made.size, made.examples, made.minutes) == ((256, 256), 4 * 104, 20)
    assert (made.methods[0].optimiser, made.methods[0].precision, made.methods[0].trains_text) == ("muon", "bf16", True)
    lora = of_preset(PRESETS["kontext-lora"]())
    assert (lora.shape, lora.examples, lora.steps, lora.methods[0].lora_rank) == (EDIT, 4, 2000, 16)
    (told,) = json.loads(report(lora, [Place(H200)], is_json=True))
    method = told["chosen"]["method"]
    assert (method["batch"], method["accumulate"], method["checkpointing"]) == (1, 4, "full")  # 4 at once, or none, fit
    assert told["chosen"]["peak_gib"] < 40
    finer = of_preset(nano_finetune())
    (told,) = json.loads(report(finer, [Place(CPU, share=0.25)], is_json=True))
    assert told["chosen"]["method"]["precision"] == "bf16"
    with pytest.raises(ConfigError, match="one for flow or lora"):
        of_preset(PRESETS["tiny-ae"]())


def test_the_device_at_hand_is_measured_and_others_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(course, "PROBE_S", 0.1)
    for precision in ("fp32", "bf16"):
        (here,) = places("cpu", tiny().flow, precision)
        assert here.device.is_cpu
        assert here.device.source.startswith(precision)
        assert 0 < (here.share or 0) <= 1
    assert places("h200", tiny().flow) == [Place(H200)]
    with pytest.raises(ConfigError, match="hardware='abacus'"):
        places("abacus", tiny().flow)


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(ConfigError, match="size=1000x1000: multiples of 16"):
        report(Course(model=nano(), size=(1000, 1000)), [Place(H200)], is_json=False)
    with pytest.raises(ConfigError, match="examples=0"):
        Course(model=nano(), examples=0)
    for name, wrong in itertools.product(("lora_rank", "batch", "accumulate"), (-1, 0, 1.5, True)):
        with pytest.raises(ConfigError, match=f"{name}={wrong!r}: a whole number from 1"):
            Method(**{name: wrong})
    with pytest.raises(ConfigError, match=r"utilisation=1\.5"):
        Method(utilisation=1.5)
