"""The flow stage: what goes into a pass, what comes out of it, and that it learns."""

from dataclasses import replace

import pytest
import torch

from recast import cost
from recast.context.text import CachedEncoder, Text
from recast.errors import ConfigError
from recast.flow.path import interpolate
from recast.latents.tokens import pack, positions
from recast.train import objective, optim
from recast.train.flow_stage import FlowStage, FlowTraining, Prepared
from recast.train.initial import initialise
from recast.train.parallel import Ranks
from recast.train.presets import kontext_lora, nano_lora
from recast.train.settings import Optimiser
from recast.train.stage import trained
from recast.train.times import TimeLaw
from recast.train.uses import TARGET, Pass, Use, plan
from tests.train.pairs import pairs, stage

EDITS = FlowTraining(edit=1, text_to_image=0, keep=0, reverse=0, text_dropout=0)
TEXTS = FlowTraining(edit=0, text_to_image=1, keep=0, text_dropout=0)


def per_sample(made, batch) -> dict[int, float]:
    """The loss of each example, by number."""
    found = {}
    for each in made.prepare(batch, 0.0).passes:
        t = made.times(each)
        noise = objective.draw(each.numbers, made.run.seed, each.clean.shape[1:])
        with torch.no_grad():
            losses = made.errors(each, t, noise).mean(dim=1)
        found |= dict(zip(each.numbers, losses.tolist(), strict=True))
    return found


def test_the_loss_of_a_sample_is_the_same_in_any_order_and_company():
    made, batch = stage(), pairs(6)
    order = [3, 0, 5, 1, 4, 2]
    moved = pairs(6)
    for name in ("numbers", "ids", "instructions", "inverses", "captions", "bases", "kinds"):
        moved = replace(moved, **{name: tuple(getattr(batch, name)[i] for i in order)})
    moved = replace(moved, target=batch.target[order], contexts=tuple(c[order] for c in batch.contexts))
    whole, again, few = per_sample(made, batch), per_sample(made, moved), per_sample(made, pairs(2, first=3))
    assert len(whole) == 6
    assert len(set(whole.values())) == 6
    for number, loss in again.items():
        assert loss == pytest.approx(whole[number], rel=1e-5)
    for number, loss in few.items():
        assert loss == pytest.approx(whole[number], rel=1e-5)


def test_kept_encodings_are_those_that_are_made_anew(monkeypatch: pytest.MonkeyPatch):
    batch = pairs(3)
    kept = stage(replace(EDITS, kept_encodings=5))  # one fewer than pictures: the one used longest ago is made again
    encoded = []
    encode = kept.autoencoder.encode
    monkeypatch.setattr(kept.autoencoder, "encode", lambda pixels: encoded.append(len(pixels)) or encode(pixels))
    first, again = per_sample(kept, batch), per_sample(kept, pairs(2, first=1))
    assert encoded == [1] * 6
    assert first == pytest.approx(per_sample(stage(EDITS), batch), rel=1e-5)
    assert again == {number: first[number] for number in (1, 2)}  # to the bit, whatever the batch
    kept.maker.device = torch.device("meta")  # what is kept is found without the device
    kept.maker._tokens(pairs(2, first=1), TARGET, [0, 1])
    kept.maker.device = torch.device("cpu")
    per_sample(kept, batch)
    assert len(encoded) > 6


class Slow(CachedEncoder):
    """Another encoder than the byte encoder, as CLIP and T5-XXL are, which counts what it reads."""

    def __init__(self) -> None:
        super().__init__([torch.nn.Linear(1, 1)], 48, cache_entries=64)
        self.read: list[str] = []

    def _encode(self, prompt: str) -> Text:
        self.read.append(prompt)
        return Text(torch.zeros(1, 3, 48), torch.zeros(1, 48))


def test_every_encoder_reads_as_many_prompts_once_as_are_kept():
    made, slow = stage(EDITS), Slow()
    parts = {"flow": made.flow, "autoencoder": made.autoencoder, "optimiser": Optimiser(), "run": made.run}
    keeping = FlowStage(text=slow, training=replace(EDITS, kept_encodings=70), **parts)
    prompts = [f"make it {n}" for n in range(70)]  # more than an encoder keeps by itself
    for _ in range(2):
        keeping.encode(prompts)
    assert slow.read == prompts


def test_adapters_encode_two_hundred_pairs_once():
    """Their pictures and, of each, an instruction, its inverse and two captions."""
    assert nano_lora().training.kept_encodings >= 200 * 4
    assert kontext_lora().training.kept_encodings >= 200 * 4


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_no_context_is_the_text_to_image_model(attention: str):
    """The prediction of a use without context is that of the bare network on target and text alone."""
    made, batch = stage(TEXTS, flow={"context_attention": attention}), pairs(3)
    (each,) = made.prepare(batch, 0.0).passes
    assert each.context is None
    t = made.times(each)
    noise = objective.draw(each.numbers, 0, each.clean.shape[1:])
    x_t, target = interpolate(each.clean, noise, t)
    text = made.text.encode(each.prompts)
    condition = made.flow.condition(positions=positions((4, 4)), text=text.tokens, pooled=text.pooled)
    expected = (made.flow(x_t, t, condition) - target).square().mean(dim=-1)
    torch.testing.assert_close(made.errors(each, t, noise), expected)


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_the_context_has_a_gradient_in_an_edit_and_is_absent_from_text_to_image(attention: str):
    batch = pairs(3)
    made = stage(EDITS, flow={"context_attention": attention})
    (each,) = made.prepare(batch, 0.0).passes
    assert each.context is not None
    context = each.context.clone().requires_grad_(True)
    loss = made.loss("flow", Prepared((replace(each, context=context),), 3), 0.0)
    (gradient,) = torch.autograd.grad(loss.value, context)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    made = stage(TEXTS)
    assert all(each.context is None for each in made.prepare(batch, 0.0).passes)


def test_a_pass_holds_the_pictures_of_its_uses():
    """Targets, contexts, the way back and keeping, each against the encoder called on the picture itself."""
    training = FlowTraining(edit=0.5, text_to_image=0.3, keep=0.2, reverse=0.5)
    made, batch = stage(training), pairs(24, contexts=2, masks=True)
    found = made.prepare(batch, 0.0).passes
    assert sorted(number for each in found for number in each.numbers) == list(range(24))
    seen = set()
    for each in found:
        for row, use in enumerate(each.uses):
            seen.add((use.kind, use.target))
            slots = [use.target, *use.contexts]
            expected = []
            for slot in slots:
                pictures = batch.target if slot == -1 else batch.contexts[slot]
                pixels = pictures[use.example : use.example + 1].float() / 127.5 - 1
                expected.append(pack(made.autoencoder.encode(pixels))[0])
            torch.testing.assert_close(each.clean[row], expected[0], atol=1e-5, rtol=1e-4)
            if use.contexts:
                assert each.context is not None
                torch.testing.assert_close(each.context[row], torch.cat(expected[1:]), atol=1e-5, rtol=1e-4)
            if each.mask is not None:
                assert int(each.mask[row].sum()) == (2 if use.kind == "edit" else 0)
    assert seen == {("edit", -1), ("edit", 0), ("keep", 0), *(("text_to_image", slot) for slot in (-1, 0, 1))}


def seen_by_the_network(made, batch) -> list[dict[str, torch.Tensor | None]]:
    """What `condition` was called with, pass by pass."""
    calls = []
    inner = made.flow.condition

    def spy(**parts):
        calls.append(parts)
        return inner(**parts)

    made.flow.condition = spy
    made.loss("flow", made.prepare(batch, 0.0), 0.0)
    return calls


def test_contexts_sit_at_indexes_one_and_two_or_at_the_targets_own():
    (call,) = seen_by_the_network(stage(EDITS), pairs(2, contexts=2))
    places = call["context_positions"]
    assert torch.equal(places, torch.cat([positions((4, 4), index=1), positions((4, 4), index=2)], dim=1))
    (call,) = seen_by_the_network(stage(replace(EDITS, context_offset=False)), pairs(2, contexts=2))
    assert torch.equal(call["context_positions"], torch.cat([positions((4, 4), index=0)] * 2, dim=1))


def test_channels_put_the_context_beside_each_token_and_not_into_the_sequence():
    training = replace(EDITS, conditioning="channels")
    made = stage(training, flow={"in_channels": 128})
    (call,) = seen_by_the_network(made, pairs(2))
    (each,) = made.prepare(pairs(2), 0.0).passes
    assert call["context"] is None
    assert torch.equal(call["extra"], each.context)
    (call,) = seen_by_the_network(
        stage(replace(training, edit=0, text_to_image=1), flow={"in_channels": 128}), pairs(2)
    )
    assert float(call["extra"].abs().max()) == 0
    with pytest.raises(ConfigError, match="one context of the target's grid"):
        made.prepare(pairs(2, contexts=2), 0.0)
    with pytest.raises(ConfigError, match="in_channels=64: 128 needed"):
        stage(training)
    with pytest.raises(ConfigError, match="in_channels=128: 64 needed"):
        stage(EDITS, flow={"in_channels": 128})


def test_an_empty_prompt_is_the_encoding_of_the_empty_string_with_the_context_kept():
    (call,) = seen_by_the_network(stage(replace(EDITS, text_dropout=1.0)), pairs(2))
    text = stage().text.encode(["", ""])
    torch.testing.assert_close(call["text"], text.tokens)
    torch.testing.assert_close(call["pooled"], text.pooled)
    assert call["context"] is not None


def test_a_prompt_that_comes_again_is_read_once_and_each_row_gets_its_own(monkeypatch: pytest.MonkeyPatch):
    made, read = stage(EDITS), []
    network = made.text.network.forward
    monkeypatch.setattr(made.text.network, "forward", lambda ids: read.append(len(ids)) or network(ids))
    found = made.encode(["make it red", "make it blue", "make it red"])
    assert read == [2]
    expected = made.text.encode(["make it red", "make it blue", "make it red"])
    torch.testing.assert_close(found.tokens, expected.tokens)
    torch.testing.assert_close(found.pooled, expected.pooled)


def test_a_prompt_that_is_cut_is_told_of_once(caplog: pytest.LogCaptureFixture):
    made = stage(EDITS)
    length = made.text.max_length
    batch = pairs(2, instructions=("make it red", "x" * (length + 9)))
    seen_by_the_network(made, pairs(2))
    assert not caplog.messages
    for _ in range(2):
        seen_by_the_network(made, batch)
    (said,) = caplog.messages
    assert f"read {length - 1} of {length + 9} bytes" in said


def test_mask_weights_count_what_must_change_more():
    batch = pairs(3, masks=True)
    plain, heavy = stage(EDITS), stage(replace(EDITS, mask_weight=3.0))
    (each,) = plain.prepare(batch, 0.0).passes
    noise = objective.draw(each.numbers, 0, each.clean.shape[1:])
    errors = plain.errors(each, plain.times(each), noise)
    assert each.mask is not None
    inside, outside = errors[each.mask].view(3, 2).sum(1), errors[~each.mask].view(3, 14).sum(1)
    torch.testing.assert_close(plain.loss("flow", plain.prepare(batch, 0.0), 0).value, ((inside + outside) / 16).mean())
    expected = ((3 * inside + outside) / (3 * 2 + 14)).mean()
    torch.testing.assert_close(heavy.loss("flow", heavy.prepare(batch, 0.0), 0).value, expected)


def test_parts_are_means_by_use_and_by_time_and_nan_where_there_is_none():
    made, batch = stage(EDITS), pairs(5, first=3)
    loss = made.loss("flow", made.prepare(batch, 0.0), 0.0)
    own = per_sample(made, batch)
    t = made.times(made.prepare(batch, 0.0).passes[0])
    assert float(loss.value.detach()) == pytest.approx(sum(own.values()) / 5, rel=1e-5)
    assert float(loss.parts["edit"]) == pytest.approx(sum(own.values()) / 5, rel=1e-5)
    assert loss.parts["keep"].isnan()
    assert loss.parts["text_to_image"].isnan()
    for i in range(8):
        inside = [own[n + 3] for n in range(5) if i / 8 <= float(t[n]) < (i + 1) / 8]
        part = float(loss.parts[f"t{i}"])
        assert part == pytest.approx(sum(inside) / len(inside), rel=1e-5) if inside else part != part


def test_text_is_trained_by_a_phase_of_its_own_at_its_own_rate():
    frozen = stage(EDITS, optimiser=Optimiser(lr=1e-3))
    assert list(frozen.networks) == ["flow"]
    frozen.loss("flow", frozen.prepare(pairs(2), 0.0), 0.0).value.backward()
    assert all(p.grad is None for p in frozen.text.network.parameters())
    made = stage(replace(EDITS, train_text=True), optimiser=Optimiser(lr=1e-3, matrix_lr=2e-3))
    assert [(p.name, p.networks, p.optimiser.lr, p.optimiser.matrix_lr) for p in made.phases] == [
        ("flow", ("flow",), 1e-3, 2e-3),
        ("text", ("text",), 2.5e-4, 5e-4),
    ]
    prepared = made.prepare(pairs(2), 0.0)
    made.loss("flow", prepared, 0.0).value.backward()
    assert made.loss("text", prepared, 0.0) is None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in made.text.network.encoder.parameters())


def test_the_guided_target_feeds_the_null_prediction_without_a_gradient():
    flow = {"guidance_embed": True}
    made = stage(replace(EDITS, guidance_loss=3.0, guidance=1.5), flow=flow)
    calls = seen_by_the_network(made, pairs(2))
    assert [float(call["guidance"][0]) for call in calls] == [1.5, 1.5]
    (each,) = made.prepare(pairs(2), 0.0).passes
    t, noise = made.times(each), objective.draw(each.numbers, 0, each.clean.shape[1:])
    x_t, data = interpolate(each.clean, noise, t)
    with torch.no_grad():
        null = made.velocity(each, ["", ""], 1.5)(x_t, t)
        said = made.velocity(each, each.prompts, 1.5)(x_t, t)
        errors = made.errors(each, t, noise)
    torch.testing.assert_close(errors, (said - (null + 3 * (data - null))).square().mean(-1))
    with pytest.raises(ConfigError, match="guidance_loss=3"):
        stage(replace(EDITS, guidance_loss=3.0))


def test_other_processes_passes_are_run_along_and_do_not_count():
    """Sharded networks are gathered by all processes in each pass, so all run as many; the loss is not moved."""
    batch, training = pairs(2), FlowTraining(edit=0.5, text_to_image=0.5, keep=0.0)
    seeds = (seed for seed in range(50) if len({use.kind for use in plan(batch, training, seed)}) == 1)
    seed = next(seeds)
    alone = stage(training, run={"seed": seed})
    shared = stage(training, run={"seed": seed}, ranks=Ranks(rank=0, size=1, data_rank=0, data_size=2))
    passes = shared.prepare(batch, 0.0).passes
    assert len(alone.prepare(batch, 0.0).passes) == 1
    assert sorted(each.counts for each in passes) == [False, True]
    one, two = (made.loss("flow", made.prepare(batch, 0.0), 0.0) for made in (alone, shared))
    torch.testing.assert_close(one.value, two.value)
    torch.testing.assert_close(one.parts, two.parts, equal_nan=True)
    assert [each.counts for each in shared.prepare(pairs(2, contexts=0), 0.0).passes] == [True]


def test_flops_are_three_forward_passes_of_the_uses():
    made, batch = stage(EDITS), pairs(3)
    config = made.flow.config
    one = cost.step_work(config, target=16, text=32, context=16).total
    one += cost.condition_work(config, text=32, context=16).total
    assert made.flops(batch) == 3 * 3 * one
    assert stage(TEXTS).flops(batch) < made.flops(batch)
    assert made.count(replace(batch, of=7)) == 7


def test_a_frozen_matrix_is_not_counted_for_a_gradient_of_its_own():
    made, batch = stage(EDITS), pairs(3)
    config = made.flow.config
    work = cost.step_work(config, target=16, text=32, context=16)
    work = work.plus(cost.condition_work(config, text=32, context=16))
    made.networks = {"adapters": torch.nn.Identity()}
    assert made.flops(batch) == 3 * (2 * work.linear + 3 * work.attention)


def test_half_precision_runs_the_network_in_bf16_and_the_loss_in_fp32():
    batch = pairs(2)
    full, half = stage(EDITS), stage(EDITS, run={"precision": "bf16"})
    kinds = []
    half.flow.double_blocks[0].img_mlp.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    exact, rough = (made.loss("flow", made.prepare(batch, 0.0), 0.0).value for made in (full, half))
    assert kinds == [torch.bfloat16]
    assert rough.dtype == torch.float32
    assert 0 < abs(float((exact - rough).detach())) < 0.02 * float(exact.detach())


def step(made, opts: list[torch.optim.Optimizer], each: Pass) -> None:
    parameters = [parameter for _, parameter in trained(made.phases[0], made.networks)]
    for optimiser in opts:
        optimiser.zero_grad()
    made.loss("flow", Prepared((each,), len(each.uses)), 0.0).value.backward()
    optim.clip(parameters, optim.gradient_norm(parameters), 1.0)
    for optimiser in opts:
        optimiser.step()


@pytest.mark.slow
def test_eight_pairs_are_learned_by_heart_at_every_time():
    """Loss below 0.02 in each eighth of [0, 1]: at first it is 1."""
    # Little noise is the hardest to tell.
    training = replace(EDITS, times=TimeLaw(mu=-2.0, uniform_share=0.3), kept_encodings=24)
    optimiser = Optimiser(
        kind="muon", lr=1.5e-2, matrix_lr=1.5e-2, betas=(0.9, 0.99), weight_decay=0, warmup_steps=10, decay_from=0.2
    )
    flow = {"hidden_size": 96, "num_heads": 4, "axes_dim": (4, 10, 10), "depth": 1, "depth_single_blocks": 1}
    whole, steps = pairs(8), 320
    batch = replace(whole, target=whole.target[..., :32, :32], contexts=tuple(c[..., :32, :32] for c in whole.contexts))
    made = stage(training, optimiser=optimiser, flow=flow, held_out=[batch])
    initialise(made.flow, 0).requires_grad_(True)
    before = made.validate()
    assert before["edit/loss"] == pytest.approx(1.0, abs=0.1)
    (each,) = made.prepare(batch, 0.0).passes
    opts = optim.build(trained(made.phases[0], made.networks), optimiser)
    for at in range(steps):
        optim.set_rate(opts, optim.rate(optimiser, at, at / steps))
        uses: list[Use] = []
        for first in (16 * at, 16 * at + 8):  # the same eight pairs, with noise and times of their own
            uses += plan(replace(batch, numbers=tuple(range(first, first + 8))), training, 0)
        step(made, opts, replace(each, uses=tuple(uses), clean=each.clean.repeat(2, 1, 1), context=twice(each.context)))
    after = made.validate()
    assert max(after[f"edit/t{i}"] for i in range(8)) < 0.02


def twice(context: torch.Tensor | None) -> torch.Tensor:
    assert context is not None
    return context.repeat(2, 1, 1)
