"""The autoencoder's stage: which network learns from what and when, on crops of the world."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import recast
from recast import weights
from recast.config import AutoencoderConfig, nano, tiny
from recast.errors import ConfigError, InputError
from recast.latents.autoencoder import Autoencoder
from recast.pixels.image import from_pixels, to_pixels
from recast.quality import metrics
from recast.train import autoencoding, discriminator, reconstruction
from recast.train.autoencoding import AutoencoderStage, AutoencoderTraining
from recast.train.data.example import Batch
from recast.train.reconstruction import Weights
from recast.train.settings import Optimiser, Run
from recast.train.stage import trained
from recast.world import draw, sample
from tests.tiny import tiny_autoencoder

SMALL = AutoencoderTraining(crop=48, crops=2, disc_width=8, disc_from=0.5, disc_ramp=0.0, decoder_only_from=0.9)
SETTINGS = Optimiser(lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01, warmup_steps=5)


def fresh() -> Autoencoder:
    return tiny_autoencoder().requires_grad_(True).train()


def pictures(count: int, side: int = 64, split: str = "train") -> list[np.ndarray]:
    return [draw.draw(sample.scene(seed, split=split), side, side) for seed in range(count)]


def batch(numbers=(5, 6), side: int = 64, contexts: int = 1, of: int | None = None) -> Batch:
    """Noise as pictures; the same ones for the same numbers."""

    def picture(number: int, slot: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(100 * number + slot)
        return torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8)

    slots = [torch.stack([picture(number, slot) for number in numbers]) for slot in range(1 + contexts)]
    return Batch(
        numbers=tuple(numbers), of=of or len(numbers), ids=tuple(str(n) for n in numbers), target=slots[0],
        contexts=tuple(slots[1:]), instructions=(None,) * len(numbers), inverses=(None,) * len(numbers),
        captions=((None,) * (contexts + 1),) * len(numbers), masks=None, bases=(0,) * len(numbers),
    )  # fmt: skip


def stage(training: AutoencoderTraining = SMALL, autoencoder: Autoencoder | None = None, **kwargs) -> AutoencoderStage:
    kwargs.setdefault("held_out", pictures(2, split="held out"))
    kwargs.setdefault("run", Run(steps=10))
    return AutoencoderStage(
        autoencoding.networks(autoencoder or fresh(), training),
        training,
        optimiser=SETTINGS,
        discriminator_optimiser=replace(SETTINGS, betas=(0.5, 0.9)),
        **kwargs,
    )


def backward(made: AutoencoderStage, phase: str, share: float, given: Batch | None = None) -> dict[str, torch.Tensor]:
    """The gradients of one phase, by the parameters' names."""
    for network in made.networks.values():
        network.zero_grad(set_to_none=True)
    prepared = made.prepare(given or batch(), share)
    made.loss(phase, prepared, share).value.backward()
    return {
        f"{name}.{inner}": parameter.grad.clone()
        for name, network in made.networks.items()
        for inner, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def test_crops_are_of_every_picture_and_drawn_by_the_examples_number():
    made = stage()
    prepared = made.prepare(batch((5, 6)), 0)
    assert prepared.pixels.shape == (2 * 2 * 2, 3, 48, 48)
    alone = made.prepare(batch((6,)), 0)
    for name in ("pixels", "noise", "amplitude"):
        whole, part = getattr(prepared, name), getattr(alone, name)
        assert torch.equal(whole[:, 4:] if name == "noise" else whole[4:], part), name
    assert not torch.equal(prepared.pixels[:4], alone.pixels)
    target, context = batch((6,)).target, batch((6,)).contexts[0]
    for crop, source in zip(alone.pixels, (target, target, context, context), strict=True):
        windows = source[0].unfold(1, 48, 1).unfold(2, 48, 1)  # (3, 17, 17, 48, 48)
        level = ((crop + 1) * 127.5).round().byte()[:, None, None]
        assert (windows == level).all(dim=(0, 3, 4)).any()


def test_late_crops_hold_as_many_pixels():
    training = replace(SMALL, crop=32, crops=4, late_crop=64, late_from=0.5, weights=Weights(scales=1))
    made = stage(training)
    early, late = made.prepare(batch(), 0.4).pixels, made.prepare(batch(), 0.5).pixels
    assert (early.shape, late.shape) == ((16, 3, 32, 32), (4, 3, 64, 64))
    with pytest.raises(ConfigError, match="whole number"):
        replace(training, late_crop=96)


def test_the_loss_without_a_critic_is_that_of_a_plain_graph():
    """The detour over the pixels' gradient changes nothing: value and gradients are autograd's own."""
    made = stage(replace(SMALL, jitter=0.0))
    ours = backward(made, "generator", 0.0)
    prepared = made.prepare(batch(), 0.0)
    coder = made.autoencoder
    coder.zero_grad(set_to_none=True)
    mean, log_variance = coder.encoder([prepared.pixels]).chunk(2, dim=1)
    decoded = coder.decoder(mean + (log_variance / 2).exp() * prepared.noise[0])
    plain, _ = reconstruction.loss(decoded, prepared.pixels, SMALL.weights)
    plain = plain + SMALL.kl * 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    plain.backward()
    assert made.loss("generator", prepared, 0.0).value.item() == pytest.approx(plain.item(), rel=1e-6)
    for name, parameter in coder.named_parameters():
        assert torch.allclose(ours[f"autoencoder.{name}"], parameter.grad, rtol=1e-3, atol=1e-6), name


def test_the_critics_weights_are_the_ratios_of_gradients_taken_by_hand():
    made = stage()
    ours = backward(made, "generator", 0.7)
    prepared = made.prepare(batch(), 0.7)
    parts = made.loss("generator", prepared, 0.7).parts
    last = made.autoencoder.decoder.conv_out.weight
    latents, regularisation, _ = made._latents(prepared, 0.7)
    decoded = made._decode(latents)
    rebuilt, _ = reconstruction.loss(decoded, prepared.pixels, SMALL.weights)
    network = made.networks["discriminator"]
    logits, features = network(decoded)
    losses = {
        "adversarial": -logits.mean(),
        "feature_matching": discriminator.feature_matching(features, network(prepared.pixels)[1]),
    }
    (reference,) = torch.autograd.grad(rebuilt, last, retain_graph=True)
    total = rebuilt + regularisation
    for name, value in losses.items():
        (slope,) = torch.autograd.grad(value, last, retain_graph=True)
        weight = getattr(SMALL, name) * reference.norm() / (slope.norm() + 1e-4)
        assert parts[f"{name}_weight"].item() == pytest.approx(weight.item(), rel=1e-4)
        total = total + weight.detach() * value
    made.autoencoder.zero_grad(set_to_none=True)
    total.backward()
    for name, parameter in made.autoencoder.named_parameters():
        assert torch.allclose(ours[f"autoencoder.{name}"], parameter.grad, rtol=1e-3, atol=1e-5), name


def test_neither_phase_gives_a_gradient_to_the_others_network():
    made = stage()
    assert {name.split(".")[0] for name in backward(made, "generator", 0.7)} == {"autoencoder"}
    assert {name.split(".")[0] for name in backward(made, "discriminator", 0.7)} == {"discriminator"}
    assert all(p.requires_grad for network in made.networks.values() for p in network.parameters())


def test_the_critic_waits_and_then_grows():
    training = replace(SMALL, disc_from=0.5, disc_ramp=0.2)
    made = stage(training)
    prepared = made.prepare(batch(), 0.4)
    assert made.loss("discriminator", prepared, 0.4) is None
    assert "adversarial" not in made.loss("generator", prepared, 0.4).parts
    half, whole = (made.loss("generator", prepared, share).parts["adversarial_weight"] for share in (0.6, 0.8))
    assert half.item() == pytest.approx(whole.item() / 2, rel=1e-4)


def test_the_critic_judges_what_the_generator_made():
    made = stage()
    prepared = made.prepare(batch(), 0.7)
    made.loss("generator", prepared, 0.7)
    left = prepared.reconstruction.clone()
    after = made.loss("discriminator", prepared, 0.7).value
    again = made.loss("discriminator", made.prepare(batch(), 0.7), 0.7).value  # makes its own
    assert after.item() == pytest.approx(again.item(), rel=1e-5)
    logits = [made.networks["discriminator"](x)[0] for x in (prepared.pixels, left)]
    assert after.item() == pytest.approx(discriminator.hinge(*logits).item(), rel=1e-4)


@pytest.mark.parametrize("training", [replace(SMALL, decoder_only=True), SMALL], ids=["from the start", "late"])
def test_a_decoder_that_trains_alone_leaves_the_encoder_byte_by_byte(training):
    autoencoder = fresh()
    made = stage(training, autoencoder)
    optimiser = torch.optim.AdamW([p for _, p in trained(made.phases[0], made.networks)], lr=1e-2, weight_decay=0.1)
    share = 0.95
    if not training.decoder_only:  # with a history of momentum
        backward(made, "generator", 0.8)
        optimiser.step()
    else:
        assert all(name.startswith("autoencoder.decoder.") for name, _ in trained(made.phases[0], made.networks))
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    for _ in range(2):
        assert all(name.startswith("autoencoder.decoder.") for name in backward(made, "generator", share))
        optimiser.step()
    for name, value in autoencoder.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


def test_accumulated_halves_are_the_whole_batch():
    made = stage()
    whole = backward(made, "generator", 0.0, batch((1, 2)))
    one, two = (backward(made, "generator", 0.0, batch((n,))) for n in (1, 2))
    for name, slope in whole.items():
        assert torch.allclose(slope, (one[name] + two[name]) / 2, rtol=1e-3, atol=1e-6), name


def test_a_codebook_learns_and_is_judged_beside_the_plain_decoder():
    training = replace(SMALL, regulariser="vq", codebook_size=32)
    made = stage(training)
    before = made.networks["codebook"].codes.clone()
    slopes = backward(made, "generator", 0.0)
    assert slopes["autoencoder.encoder.conv_in.weight"].abs().sum() > 0
    assert not torch.equal(made.networks["codebook"].codes, before)
    moved = made.networks["codebook"].codes.clone()
    backward(made, "generator", 0.95)
    assert torch.equal(made.networks["codebook"].codes, moved)  # as still as the encoder
    assert {"psnr", "psnr_quantised", "perplexity"} <= set(made.validate())
    by_loss = stage(replace(training, codebook_follows="loss"))
    assert backward(by_loss, "generator", 0.0)["codebook.codes"].abs().sum() > 0
    assert "codebook.codes" in {name for name, _ in trained(by_loss.phases[0], by_loss.networks)}


@pytest.fixture(scope="module")
def good() -> Autoencoder:
    """The autoencoder inside the package."""
    made = Autoencoder(nano().autoencoder)
    weights.load_into(made, weights.open_checkpoint(Path(recast.__file__).parent / "nano", "autoencoder"))
    return made.float()


def test_bfloat16_changes_a_good_reconstruction_by_less_than_half_a_decibel(good):
    given = to_pixels(pictures(2, 256, split="held out")[1][96:160, 96:160])
    found = []
    for precision in ("fp32", "bf16"):
        made = stage(autoencoder=good, run=Run(steps=1, precision=precision))
        with torch.no_grad():
            with made._autocast():
                latents = made.autoencoder.encoder([given]).chunk(2, dim=1)[0]
            found.append(reconstruction.psnr(made._decode(latents), given).mean().item())
    assert found[0] > 20
    assert found[0] != found[1]
    assert abs(found[0] - found[1]) < 0.5


def test_held_out_numbers_are_those_of_the_pictures_one_by_one(good):
    given = [*pictures(2, 64, split="held out"), pictures(1, 64)[0][:48]]
    found = stage(
        autoencoder=good, held_out=given, measures={"bright": lambda i, p: p.mean() if i else None}
    ).validate()
    psnr, drift, bright = [], [], []
    for picture in given:
        trips = [picture]
        for _ in range(5):
            with torch.no_grad():
                trips.append(from_pixels(good.decode(good.encode(to_pixels(trips[-1]))))[0])
        psnr.append(metrics.psnr(trips[1], picture))
        drift.append(psnr[-1] - metrics.psnr(trips[5], picture))
        bright.append(trips[1].mean())
    assert found["psnr"] == pytest.approx(np.mean(psnr), abs=0.02)
    assert found["drift"] == pytest.approx(np.mean(drift), abs=0.05)
    assert found["drift"] > 0
    assert found["bright"] == pytest.approx(np.mean(bright[1:]), abs=0.1)


def test_strips_show_source_reconstruction_and_four_times_the_difference(good):
    given = pictures(2, 64)
    strips = stage(autoencoder=good, held_out=[*given, given[0][:48]]).samples()
    assert {name: strip.shape for name, strip in strips.items()} == {
        "reconstruction_64x64": (128, 192, 3), "reconstruction_64x48": (48, 192, 3)
    }  # fmt: skip
    source, found, apart = np.split(strips["reconstruction_64x64"][64:].astype(int), 3, axis=1)
    assert np.array_equal(source, given[1])
    assert np.array_equal(apart, (4 * abs(found - source)).clip(max=255))
    assert 0 < apart.mean() < 128


@pytest.mark.parametrize(("width", "height"), [(64, 48), (16, 80)])
def test_any_sides_that_are_multiples_of_sixteen_are_encoded(width, height):
    latents = fresh().encode(torch.zeros(1, 3, height, width))
    assert latents.shape == (1, 16, height // 8, width // 8)


class Flops(TorchDispatchMode):
    """Adds up torch's own count of every operation."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def test_flops_are_those_that_torch_counts():
    made = stage(autoencoder=Autoencoder(AutoencoderConfig(ch=16, num_groups=4, num_res_blocks=1)))
    for share in (0.0, 0.7, 0.95):
        prepared = made.prepare(batch(), share)
        with Flops() as counter:
            for phase in ("generator", "discriminator"):
                loss = made.loss(phase, prepared, share)
                if loss is not None:
                    loss.value.backward()
        # Not counted by the formula: the cosine transform, the similarity's windows, the first layers' inputs.
        assert made.flops(batch()) == pytest.approx(counter.total, rel=0.05), share
        assert made.flops(batch(of=8)) == 4 * made.flops(batch())


def test_what_cannot_work_is_refused():
    with pytest.raises(InputError, match="a picture of 32 x 32"):
        stage().prepare(batch(side=32), 0)
    with pytest.raises(ConfigError, match="try 48"):
        AutoencoderTraining(crop=50)
    with pytest.raises(ConfigError, match="disc_from=2"):
        AutoencoderTraining(disc_from=2)
    with pytest.raises(InputError, match="multiples of 16"):
        stage(held_out=[np.zeros((40, 64, 3), np.uint8)])
    with pytest.raises(InputError, match="no picture"):
        stage(held_out=[])
    made = autoencoding.networks(fresh(), SMALL)
    made.pop("discriminator")
    with pytest.raises(ConfigError, match="discriminator"):
        AutoencoderStage(
            made, SMALL, optimiser=SETTINGS, discriminator_optimiser=SETTINGS, run=Run(steps=1), held_out=pictures(1)
        )


def test_the_training_is_plain_data():
    assert json.loads(json.dumps(dataclasses.asdict(SMALL)))["weights"]["pixel"] == 1.0


@pytest.mark.slow
def test_it_learns_the_world():
    """50 steps of 4 crops, with a quarter of the usual reduction, raise held-out pictures by 3 dB."""
    training = replace(SMALL, crop=64, crops=1, adversarial=0, feature_matching=0, samples_posterior=False, jitter=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = Autoencoder(replace(tiny().autoencoder, ch_mult=(1, 2, 2)))
    held_out = [picture[96:160, 96:160] for picture in pictures(8, 256, split="held out")]
    made = stage(replace(training, decoder_only_from=1.0), autoencoder, held_out=held_out)
    seen = torch.stack([torch.tensor(p).movedim(-1, 0) for p in pictures(24, 256)])
    optimiser = torch.optim.AdamW(autoencoder.parameters(), lr=3e-3, betas=(0.9, 0.99))
    before, steps = made.validate(), 50
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 10) * min(1, (steps - step) / (0.4 * steps))
        numbers = tuple(range(4 * step, 4 * step + 4))
        given = replace(batch(numbers, contexts=0), target=seen[[n % len(seen) for n in numbers]])
        optimiser.zero_grad()
        made.loss("generator", made.prepare(given, step / steps), step / steps).value.backward()
        torch.nn.utils.clip_grad_norm_(autoencoder.parameters(), 1.0)
        optimiser.step()
    after = made.validate()
    assert after["psnr"] > before["psnr"] + 3, (before, after)
    assert after["loss"] < 0.8 * before["loss"]
    assert after["ssim"] > before["ssim"] + 0.1
