"""What a distillation is put together from: where students begin, what they are asked, and what a plan counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recast import config, cost, weights
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.latents.tokens import positions
from recast.train import export
from recast.train import plan as training_plan
from recast.train.distill import pair_runs, plan, result, runs, start
from recast.train.distill.pairs import noise_of
from recast.train.distill.presets import PRESETS, preset
from recast.train.examples import Examples
from recast.train.hardware import device
from recast.train.parallel import Ranks
from recast.train.presets import Data
from recast.train.settings import Parallel
from tests import students
from tests.test_cost import Alive
from tests.tiny import randomise, tiny_autoencoder, tiny_flow, tiny_text
from tests.train.distill import adversaries
from tests.train.distill.toy import ends, pairs_of, picked, reading, teacher_of
from tests.train.small_runs import Stream
from tests.train.test_examples import folder

WORDS = torch.randn(2, 8, config.tiny().flow.context_in_dim, generator=torch.Generator().manual_seed(1))


def velocity(flow: Any, guidance: float | None) -> torch.Tensor:
    x_t, t = noise_of([0, 1], 0, (4, 64)), torch.tensor([0.9, 0.2])
    context = noise_of([2, 3], 0, (4, 64))
    condition = flow.condition(
        positions=positions((2, 2)),
        text=WORDS,
        pooled=WORDS.mean(dim=1),
        guidance=None if guidance is None else torch.full((2,), guidance),
        context=context,
        context_positions=positions((2, 2), index=1),
    )
    found: torch.Tensor = flow(x_t, t, condition)
    return found


def test_a_student_told_its_scale_for_good_does_what_it_does_at_that_scale():
    flow = tiny_flow()
    fixed = start.at_scale(flow, 2.5)
    assert not any(name.startswith("guidance_in") for name, _ in fixed.named_parameters())
    torch.testing.assert_close(velocity(fixed, None), velocity(flow, 2.5))
    assert not torch.allclose(velocity(fixed, None), velocity(flow, 4.0), atol=1e-3)
    assert flow.config.guidance_embed
    with pytest.raises(ConfigError, match="cached"):
        start.at_scale(tiny_flow(context_attention="cached"), 2.5)
    with pytest.raises(ConfigError, match="no guidance embedding"):
        start.at_scale(fixed, 2.5)


def test_a_student_begins_as_a_copy_of_its_own():
    flow = tiny_flow().to(torch.bfloat16)
    made = start.whole(flow)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in made.parameters())
    assert torch.equal(made.img_in.weight, flow.img_in.weight.float())
    made.img_in.weight.data.zero_()
    assert flow.img_in.weight.any()


def test_two_scales_are_refused_only_where_an_embedding_becomes_one(monkeypatch: pytest.MonkeyPatch):
    few = runs._Few(steps=4, sampler="euler", guidance=2.5, edit_guidance=1.0, shifts_schedule=True)
    starts = runs.Starts(init=Path("dev"))
    for attention in ("cached", "full"):
        monkeypatch.setattr(start, "read", lambda _, a=attention: tiny_flow(context_attention=a))
        teacher = tiny_flow(context_attention=attention, guidance_embed=False)
        if attention == "cached":
            assert runs._student(PRESETS["tiny-ladd"](), starts, teacher, few).config.guidance_embed
            continue
        for way, said in (("direct", "pairs of guidance=2.5.*write pairs"), ("ladd", "settings of guidance=2.5.* set")):
            with pytest.raises(ConfigError, match=said):
                runs._student(PRESETS[f"tiny-{way}"](), starts, teacher, few)


def test_a_student_of_another_network_or_a_run_that_is_not_over_is_refused(tmp_path: Path):
    small = config.tiny().flow
    start.require_kin(small, replace(small, guidance_embed=False))
    with pytest.raises(ConfigError, match="begin with a student of this teacher"):
        start.require_kin(replace(small, depth=1), small)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(MissingWeights, match="not over"):
        start.read(tmp_path / "run")
    with pytest.raises(MissingWeights, match="a distillation that is over"):
        result.published(tmp_path / "run")


@pytest.mark.parametrize("student", [students.trained, students.adapted])
def test_a_student_begins_as_a_delta_with_its_base(student: Any, tmp_path: Path):
    """As `nano-turbo` is shipped, and as `nano-dev` would be, whose embedding the base lacks."""
    base, wanted = students.write_base(tmp_path / "nano"), student()
    told = students.dev_config() if wanted.config.guidance_embed else students.turbo_config()
    result.write(tmp_path / "whole", wanted, told)
    file = base / "student.safetensors"
    export.delta(
        file, flow=tmp_path / "whole" / "flow.safetensors", base=base, config=told, rank=64, dtype=torch.float32
    )
    found = start.read(file)
    assert found.config == wanted.config
    assert all(each.requires_grad and each.dtype == torch.float32 for each in found.parameters())
    for name, tensor in wanted.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=1e-5, msg=name)
    file.rename(tmp_path / "student.safetensors")
    (base / "flow.safetensors").unlink()  # nor is the base in the package the one that it is over
    with pytest.raises((MissingWeights, WeightsError), match="is over"):
        start.read(tmp_path / "student.safetensors")


def test_students_of_nano_ask_for_what_the_registry_says():
    base = config.nano()
    dev = config.nano_dev()
    assert (dev.defaults.guidance, dev.defaults.edit_guidance, dev.flow.guidance_embed) == (3.0, 1.0, True)
    turbo = result.few_step(dev, base.flow, steps=4, sampler="euler", guidance=2.5, shifts_schedule=True)
    assert turbo == config.nano_turbo()
    told = result.few_step(
        config.kontext_dev(), config.kontext_dev().flow, steps=2, sampler="renoise", guidance=2.5, shifts_schedule=True
    )
    assert (told.name, told.defaults.guidance, told.defaults.sampler) == ("kontext_dev-turbo", 2.5, "renoise")
    for edits, said in ((2.5, None), (1.0, 1.0)):
        few = {"steps": 4, "sampler": "euler", "guidance": 2.5, "edit_guidance": edits, "shifts_schedule": True}
        told = result.few_step(config.kontext_dev(), config.kontext_dev().flow, **few)
        assert (told.defaults.guidance, told.defaults.edit_guidance) == (2.5, said)


def test_held_out_numbers_are_those_of_all_pairs_whatever_the_batches():
    from recast.train.distill.direct import DirectSettings, DirectStage

    made = reading()
    whole = pairs_of(made, teacher_of(made), range(6))
    parts = [picked(whole, rows, rows[0]) for rows in ([0, 1, 2, 3], [4, 5])]
    one, two = (dict(DirectStage(made, DirectSettings(), held_out=each).validate()) for each in ([whole], parts))
    assert one == pytest.approx(two, rel=1e-5)
    apart = (ends(made, teacher_of(made), range(6), steps=4) - whole.each.clean).square().mean()
    assert one["endpoint"] != pytest.approx(float(apart), rel=1e-3)  # the student is not guided


def test_the_plan_of_an_adversarial_step_counts_what_the_stage_counts():
    """The mean of a step of the discriminator and one of both, as the stage itself adds them up."""
    of = adversaries.made(discriminator_steps=2, on_policy=1.0, approximate_r1=0.1, mispaired=0.5)
    batch = adversaries.pair_batch(of, contexts=1)
    counted = []
    for _ in range(2):
        of.prepare(batch, 0.5)
        counted.append(of.flops(batch))
    told = preset("ladd", "tiny")
    settings = replace(of.settings, copies=0.0)
    (rows, columns), side = batch.each.grid, 16
    data = replace(told.data, sizes=((columns * side, rows * side),))
    model = replace(
        config.tiny(),
        flow=of.reading.flow.config,
        text=replace(config.tiny().text, max_length=of.reading.encode([""]).tokens.shape[1]),
    )
    work = plan.loads(replace(told, settings=settings, data=data), model, has_pairs=True)
    assert sum(each.evaluations * each.flops for each in work) * 4 == pytest.approx(sum(counted) / 2, rel=0.02)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_gradient_through_the_autoencoder_keeps_what_the_formula_says(part: str):
    autoencoder = tiny_autoencoder()
    size = {"encoder": (1, 3, 64, 64), "decoder": (1, 16, 8, 8)}[part]
    network = getattr(autoencoder, part)
    given = torch.randn(size).requires_grad_()
    with Alive(network) as alive:
        out = network([given] if part == "encoder" else given)
        kept = alive.now - out.numel() * 4
    told = cost.graph_bytes(autoencoder.config, part, width=64, height=64)  # type: ignore[arg-type]
    assert told == pytest.approx(kept, rel=0.15)


def test_a_plan_grows_with_what_stands_beside_the_student_and_shrinks_with_devices():
    kontext, h200 = config.kontext_dev(), device("H200")
    ladd, direct = preset("ladd", "kontext_dev"), preset("direct", "kontext_dev")
    of_ladd, of_direct = (plan.forecast(each, kontext, h200, has_pairs=True) for each in (ladd, direct))
    assert of_direct.fits
    assert of_ladd.layout.devices >= of_direct.layout.devices
    assert "teacher" not in of_direct.layout.memory_gib
    one, many = (
        plan.forecast(replace(ladd, lora=lora), kontext, h200, has_pairs=True).layout.devices
        for lora in (preset("guidance", "nano").lora, None)
    )
    assert one < many
    without = plan.loads(ladd, kontext, has_pairs=False)
    assert {each.name: each.evaluations for each in without}["teacher, to make what is real"] == 25


def test_a_plan_of_asked_processes_comes_first_with_what_they_are_told():
    model, told = config.kontext_dev(), preset("ladd", "kontext_dev")
    run = replace(told.run, checkpointing="selective", accumulate=8)
    wanted = replace(told, parallel=Parallel(shard=4), run=run, data=replace(told.data, batch_size=8))
    data = plan.as_data(wanted, model, has_pairs=True, places=[device("H200"), device("H100")])
    assert [each["is_asked"] for each in data["forecasts"]] == [True, True, False, False]
    first, small, least, _ = data["forecasts"]
    assert (first["layout"]["devices"], first["layout"]["batch"], first["layout"]["accumulate"]) == (4, 2, 8)
    assert first["layout"] == least["layout"]  # which is what the search comes to on its own
    assert (first["fits"], small["fits"]) == (True, False)
    said = plan.table(data)
    assert "| H200 | 4, asked for |" in said
    assert "| H100 | 4, asked for: too few |" in said
    copies = plan.asked(replace(wanted, parallel=Parallel(shard=4, replicate=2)), model, device("H200")).layout
    assert (copies.devices, copies.batch, copies.memory_gib["teacher"]) == (
        8,
        1,
        first["layout"]["memory_gib"]["teacher"],
    )
    with pytest.raises(ConfigError, match="tensor=2"):
        plan.asked(replace(told, parallel=Parallel(tensor=2)), model, device("H200"))


def test_a_plan_says_what_a_host_holds_and_where_the_minutes_are_too_few_for_a_step():
    model, told = config.kontext_dev(), preset("consistency", "kontext_dev")
    numbers = cost.flow_parameters(model.flow) / plan.GIB
    wanted = [replace(told, parallel=Parallel(shard=count)) for count in (1, 8)]
    alone, shared = (plan.asked(each, model, device("H200")).layout.host_gib for each in wanted)
    targets = 1 + bool(told.settings.target_decay)  # type: ignore[union-attr]
    assert (alone, shared) == pytest.approx((4 * targets * numbers, (2 + 4 * targets) * numbers))
    brief = replace(told, run=replace(told.run, steps=None, minutes=0.01))
    data = plan.as_data(brief, model, has_pairs=False, places=[device("H200")])
    assert data["forecasts"][0]["steps"] == 0
    assert "| 0: not one in this time |" in plan.table(data)


def test_a_teacher_that_is_shared_out_is_read_on_the_host_and_its_encoders_to_the_device(
    monkeypatch: pytest.MonkeyPatch,
):
    read: list[str] = []

    def load(model: str, *, device: str, dtype: str) -> SimpleNamespace:
        read.append(device)
        parts = (tiny_flow(), tiny_autoencoder(), tiny_text())
        return SimpleNamespace(**dict(zip(("flow", "autoencoder", "text"), (p.to(device) for p in parts), strict=True)))

    monkeypatch.setattr(start.loading, "load", load)
    there = torch.device("meta")
    several = start.teacher("nano", "fp32", Ranks(size=2, device=there))
    assert [each.device.type for each in (several.flow, several.text)] == ["cpu", "meta"]
    assert next(several.autoencoder.parameters()).is_meta
    assert start.teacher("nano", "fp32", Ranks(device=there)).flow.device == there
    assert read == ["cpu", "meta"]


@pytest.mark.parametrize("pictures", [0.5, 1.0])
def test_pictures_among_the_pairs_that_judge_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: float
):
    """Pairs of a run that held out more than the student does, or none of its own."""
    of = preset("ladd", "tiny")
    settings = replace(of.settings, pictures=pictures)  # type: ignore[arg-type]
    place = folder(tmp_path / "a", 20)

    def batches(held_out: int, starts: runs.Starts) -> Any:
        data = Data(places=(place,), batch_size=4, held_out=held_out, held_out_share=0.25)
        examples = Examples(data, config.tiny())
        told = replace(of, settings=settings, data=data)
        return runs._batches(told, starts, examples, judged, {}, Ranks(), None)

    monkeypatch.setattr(pair_runs, "stream", lambda *asked, **rest: Stream(Ranks()))
    apart = Examples(Data(places=(place,), held_out=4, held_out_share=0.25), config.tiny()).held_out()
    judged: Any = [SimpleNamespace(ids=tuple(each.id for each in apart))]
    made = batches(4, runs.Starts(pairs=tmp_path))
    pictured = made.pictures if pictures < 1 else made
    assert pictured.batching.batch_size == (2 if pictures < 1 else 4)
    with pytest.raises(ConfigError, match=r"held_out=2: .* is trained on, and pairs=.* judges by it"):
        batches(2, runs.Starts(pairs=tmp_path))


def test_the_text_encoder_of_a_student_is_not_trained():
    shape = plan.shape_of(preset("direct", "nano"), config.nano())
    method = training_plan.Method(precision="fp32")
    both = [
        training_plan.plan(config.nano(), shape, preset("direct", "nano").parallel, device("H200"), each)
        for each in (method, replace(method, trains_text=False))
    ]
    assert both[0].memory_gib["encoders"] > both[1].memory_gib["encoders"]
    assert both[0].executed_flops > both[1].executed_flops


def test_presets_are_found_by_model_and_way():
    assert preset("ladd", "nano") == preset("ladd", "nano-ladd")
    assert all(PRESETS[name]().what == name.rpartition("-")[2] for name in PRESETS)
    with pytest.raises(ConfigError, match="tiny-pairs"):
        preset("pairs", "large")
    with pytest.raises(ConfigError, match="critic=None"):
        replace(preset("ladd", "nano"), critic=None)


def test_an_encoders_file_is_linked_or_else_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own, there = tmp_path / "own", tmp_path / "there"
    own.write_text("words")
    there.symlink_to(own)  # as a download may keep its files
    result._link(there, tmp_path / "linked")
    assert (tmp_path / "linked").samefile(own)
    assert not (tmp_path / "linked").is_symlink()

    def refuse(*_: Any) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(result.os, "link", refuse)
    result._link(there, tmp_path / "copied")
    assert not (tmp_path / "copied").samefile(own)
    assert (tmp_path / "copied").read_text() == "words"


def test_a_written_student_is_read_back(tmp_path: Path):
    flow = randomise(tiny_flow(), 3)
    model = replace(config.tiny(), name="tiny-turbo", is_few_step=True)
    files = result.write(tmp_path, flow, model)
    assert sorted(file.name for file in files) == ["config.json", "flow.safetensors"]
    assert weights.read_config(tmp_path) == model
    assert torch.equal(start.read(tmp_path).img_in.weight, flow.img_in.weight)
