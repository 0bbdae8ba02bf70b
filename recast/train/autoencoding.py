"""Training an autoencoder: what its two phases are, what each learns from, and how it is judged.

The generator learns to reconstruct crops; late in the run a critic of patches joins, and at the end the decoder goes
on alone, so that the latents stay as they are. The gradient of everything that looks at pixels is taken with respect
to the pixels first, and sent through the decoder once: the critic's parameters see none of it, and the last layer's
gradients, which the adaptive weights need, cost one convolution each.
Sources: Rombach et al. 2022 (arXiv 2112.10752); Esser et al. 2021 (arXiv 2012.09841).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from recast.cost import decode_work, encode_work
from recast.errors import ConfigError, InputError
from recast.latents.autoencoder import Autoencoder
from recast.train import discriminator as critic
from recast.train import reconstruction, regularise
from recast.train.data.example import Batch
from recast.train.discriminator import PatchDiscriminator
from recast.train.held_out import HeldOut, Measure
from recast.train.objective import draw, generator
from recast.train.parallel import ALONE, Ranks
from recast.train.perceptual import LEAST_PX
from recast.train.reconstruction import Perceptual, Weights
from recast.train.regularise import Codebook
from recast.train.settings import Optimiser, Run
from recast.train.stage import Loss, Phase


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining:
    """What is lost and when. Shares are of the run, from 0 to 1."""

    crop: int = 128  # pixels a side, a multiple of 16
    crops: int = 4  # of every picture
    late_crop: int | None = None  # from `late_from` on, as many of these as hold the same number of pixels
    late_from: float = 0.72
    weights: Weights = field(default_factory=Weights)
    regulariser: Literal["kl", "vq"] = "kl"
    kl: float = 1e-4  # of the mean divergence; latents should end with a standard deviation from 0.5 to 3
    samples_posterior: bool = True  # the decoder is given a draw, else the mean
    codebook: float = 1.0  # weight of the codebook's loss
    codebook_size: int = 4096
    codebook_follows: Literal["average", "loss"] = "average"
    commitment: float = 0.25
    jitter: float = 0.08  # most noise on what the decoder is given, of the latents' own standard deviation
    jitter_share: float = 0.5  # of the crops
    adversarial: float = 0.5  # strength of the critic's gradient, of the reconstruction's; 0 for no critic
    feature_matching: float = 0.25  # the same of the distance of the critic's features
    disc_from: float = 0.6  # an earlier critic makes the decoder paint textures that are not there
    disc_ramp: float = 0.05  # over which both grow to their strength
    disc_width: int = 64
    disc_layers: int = 3
    disc_norm: Literal["group", "none"] = "group"
    decoder_only_from: float = 0.85  # the encoder stays as it is from here on
    decoder_only: bool = False  # from the start: the finish of a trained autoencoder
    lpips: str | None = None  # a folder of the published weights (`perceptual`), for weights.perceptual; none: left out
    reads_lettering: bool = False  # of held-out pictures of the world: the share of titles that still read right

    def __post_init__(self) -> None:
        for name in ("crop", "late_crop"):
            side = getattr(self, name)
            if side is not None and (side < 16 or side % 16):
                raise ConfigError(f"{name}={side}: a multiple of 16 accepted; try {max(1, round(side / 16)) * 16}")
        if self.crops < 1:
            raise ConfigError(f"crops={self.crops}: a whole number from 1 accepted")
        if self.late_crop and (self.crops * self.crop**2) % self.late_crop**2:
            raise ConfigError(
                f"late_crop={self.late_crop}: {self.crops} crops of {self.crop} pixels a side must hold a whole number "
                f"of late ones; with twice the side, 4 crops make one"
            )
        for name in ("late_from", "jitter_share", "disc_from", "disc_ramp", "decoder_only_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 to 1 accepted")
        for name in ("kl", "codebook", "jitter", "adversarial", "feature_matching"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a number from 0 accepted")
        if self.lpips is not None and not self.weights.perceptual:
            raise ConfigError(f"lpips={self.lpips!r}: weights.perceptual=0 came with it; a weight above 0 accepted")
        if self.lpips is not None and min(self.crop, self.late_crop or self.crop) < LEAST_PX:
            raise ConfigError(f"crop={self.crop}, late_crop={self.late_crop}: with lpips, 48 and more accepted")
        if self.regulariser not in ("kl", "vq"):
            raise ConfigError(f"regulariser={self.regulariser!r}: kl or vq accepted; choose one")

    def crops_at(self, share: float) -> tuple[int, int]:
        """Crops of a picture, and pixels along one side of each."""
        if self.late_crop is None or share < self.late_from:
            return self.crops, self.crop
        return self.crops * self.crop**2 // self.late_crop**2, self.late_crop

    def has_critic(self, share: float = 1.0) -> bool:
        """Whether the critic has begun by then; without a share, whether it ever does."""
        return (self.adversarial > 0 or self.feature_matching > 0) and share >= self.disc_from

    def is_encoder_frozen(self, share: float) -> bool:
        return self.decoder_only or share >= self.decoder_only_from


@dataclass
class Prepared:
    """A batch on the device. n crops: of each example in turn, of its target, then of its contexts."""

    pixels: Tensor  # (n, 3, s, s) in [-1, 1]
    noise: Tensor  # (2, n, c, s/8, s/8), unit: for the posterior, for the jitter
    amplitude: Tensor  # (n,): of the jitter; 0 for none
    reconstruction: Tensor | None = None  # (n, 3, s, s), which the generator leaves for the critic


def networks(
    autoencoder: Autoencoder,
    training: AutoencoderTraining,
    seed: int = 0,
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
) -> dict[str, nn.Module]:
    """The autoencoder and what else its training needs, fresh and by the seed, by the stage's names.

    wrap: makes a network ready in place, such as `parallel.wrap` with its settings. Encoder and decoder are given to it
    each for itself: gradients that are averaged together would give a frozen encoder some that are zero, and weight
    decay would then move it.
    """
    made: dict[str, nn.Module] = {"autoencoder": autoencoder}
    if training.has_critic():
        critics = PatchDiscriminator(width=training.disc_width, layers=training.disc_layers, norm=training.disc_norm)
        made["discriminator"] = critics.initialise(seed)
    if training.regulariser == "vq":
        made["codebook"] = Codebook(
            training.codebook_size,
            autoencoder.config.z_channels,
            follow=training.codebook_follows,
            commitment=training.commitment,
            seed=seed,
        )
    parts = (autoencoder.encoder, autoencoder.decoder, made.get("discriminator"), made.get("codebook"))
    for part in parts:
        if part is not None and wrap(part) is not part:
            raise ConfigError("wrap: another network came back; one that works in place accepted; see parallel.wrap")
    return made


class AutoencoderStage:
    """An autoencoder as `stage.Stage`: phases "generator" and, with a critic, "discriminator".

    A decoder-only end by `decoder_only_from` fixes the encoder that is trained, while its EMA still comes nearer to it;
    latents that must not move at all come from a run of its own, from exported weights, with `decoder_only`.
    """

    name = "autoencoder"

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        training: AutoencoderTraining,
        *,
        optimiser: Optimiser,
        discriminator_optimiser: Optimiser,
        run: Run,
        held_out: Sequence[np.ndarray],
        ranks: Ranks = ALONE,
        perceptual: Perceptual | None = None,
        measures: Mapping[str, Measure] | None = None,
    ) -> None:
        """networks: as `networks` makes them, on the device of `ranks`.

        held_out: pictures (H, W, 3) uint8, sides multiples of 16.
        measures: what else to say of a held-out picture, by name, from its number and its reconstruction, such as how
        much of its lettering reads right; None where there is nothing to say.
        Raises ConfigError for networks that are not those of the training, InputError for held-out pictures.
        """
        wanted = {"autoencoder"}
        wanted |= {"discriminator"} if training.has_critic() else set()
        wanted |= {"codebook"} if training.regulariser == "vq" else set()
        if set(networks) != wanted:
            raise ConfigError(
                f"networks: {sorted(networks)} came; {sorted(wanted)} accepted; see autoencoding.networks"
            )
        autoencoder = networks["autoencoder"]
        assert isinstance(autoencoder, Autoencoder)
        self.autoencoder, self.training, self.networks = autoencoder, training, dict(networks)
        self.averaged = ("autoencoder",)
        self.run, self.ranks, self.device, self.perceptual = run, ranks, ranks.device, perceptual
        self.held_out = HeldOut(held_out, self.device, measures or {})
        if training.decoder_only:
            autoencoder.encoder.requires_grad_(False)
        moved = ["autoencoder", *(["codebook"] if training.regulariser == "vq" else [])]
        self.phases = [Phase(name="generator", networks=tuple(moved), optimiser=optimiser)]
        if training.has_critic():
            self.phases.append(
                Phase(name="discriminator", networks=("discriminator",), optimiser=discriminator_optimiser)
            )
        self._share = 0.0  # of the run, at the batch that was prepared last: for `flops`

    def prepare(self, batch: Batch, share: float) -> Prepared:
        """Crops of the target and the contexts of every example, drawn by its number.

        Raises InputError for a picture that is smaller than a crop.
        """
        self._share = share
        pictures = [batch.target, *batch.contexts]
        count, side = self.training.crops_at(share)
        for picture in pictures:
            if min(picture.shape[-2:]) < side:
                raise InputError(
                    f"crop={side}: a picture of {picture.shape[-1]} x {picture.shape[-2]} came ({batch.ids[0]}); at "
                    "least as large a one accepted; choose smaller crops, or larger pictures"
                )
        pictures = [picture.to(self.device) for picture in pictures]
        config = self.autoencoder.config
        shape = (config.z_channels, side // config.downscale, side // config.downscale)
        crops, amplitudes = [], []
        for i, number in enumerate(batch.numbers):
            own = generator(self.run.seed, number, "crops")
            for picture in pictures:
                for _ in range(count):
                    y, x = (int(torch.randint(s - side + 1, (), generator=own)) for s in picture.shape[-2:])
                    crops.append(picture[i, :, y : y + side, x : x + side])
            chance, strength = torch.rand(2, len(pictures) * count, generator=own)
            amplitudes.append(self.training.jitter * strength * (chance < self.training.jitter_share))
        noise = draw(batch.numbers, self.run.seed, (2, len(pictures) * count, *shape), self.device)
        pixels = torch.stack(crops).float() / 127.5 - 1
        return Prepared(
            pixels.contiguous(memory_format=torch.channels_last),
            rearrange(noise, "b two n c h w -> two (b n) c h w"),
            torch.cat(amplitudes).to(self.device),
        )

    def loss(self, phase: str, prepared: Prepared, share: float) -> Loss | None:
        """The loss of "generator", or of "discriminator", which is None until it begins."""
        if phase == "generator":
            return self._generator_loss(prepared, share)
        return self._critic_loss(prepared, share) if self.training.has_critic(share) else None

    def _generator_loss(self, prepared: Prepared, share: float) -> Loss:
        """Reconstruction, regularisation and, once it has begun, what the critic says."""
        latents, regularisation, parts = self._latents(prepared, share)
        seen: list[Tensor] = []
        last = self.autoencoder.decoder.conv_out
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        try:
            decoded = self._decode(latents)
        finally:
            hook.remove()
        pixels = decoded.detach().requires_grad_()
        value, rows = reconstruction.loss(pixels, prepared.pixels, self.training.weights, self.perceptual)
        (gradient,) = torch.autograd.grad(value, pixels)
        value, parts = value.detach(), parts | rows
        if self.training.has_critic(share):
            more, weight, rows = self._criticism(pixels, prepared.pixels, seen[0], last.weight.shape, gradient, share)
            value, gradient, parts = value + weight, gradient + more, parts | rows
        prepared.reconstruction = pixels.detach()
        return Loss(value + _carried(decoded, gradient) + regularisation, parts)

    def _criticism(
        self,
        pixels: Tensor,
        real: Tensor,
        last_input: Tensor,
        last_shape: Sequence[int],
        reconstruction_gradient: Tensor,
        share: float,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The gradient with respect to the pixels that the critic adds, its loss, and its parts."""
        network, training = self.networks["discriminator"], self.training
        logits, features = network(pixels)
        with torch.no_grad():
            _, wanted = network(real)
        losses = {
            "adversarial": critic.adversarial(logits),
            "feature_matching": critic.feature_matching(features, wanted),
        }
        strength = critic.ramp(share, training.disc_from, training.disc_ramp)
        reference = self._last_gradient(last_input, last_shape, reconstruction_gradient)
        total, value = torch.zeros_like(pixels), torch.zeros((), device=pixels.device)
        parts: dict[str, Tensor] = {}
        for name, each in losses.items():
            if not getattr(training, name):
                continue
            (gradient,) = torch.autograd.grad(each, pixels, retain_graph=True)
            adaptive = critic.adaptive_weight(reference, self._last_gradient(last_input, last_shape, gradient))
            weight = strength * getattr(training, name) * adaptive
            total, value = total + weight * gradient, value + weight * each.detach()
            parts |= {name: each.detach(), f"{name}_weight": weight}
        return total, value, parts

    def _last_gradient(self, last_input: Tensor, shape: Sequence[int], gradient: Tensor) -> Tensor:
        return self._mean(critic.last_layer_gradient(last_input, shape, gradient))

    def _critic_loss(self, prepared: Prepared, share: float) -> Loss:
        """The hinge loss of the critic, on the crops and the reconstructions of them that the generator left."""
        if prepared.reconstruction is None:
            with torch.no_grad():
                prepared.reconstruction = self._decode(self._latents(prepared, share)[0])
        logits, _ = self.networks["discriminator"](torch.cat([prepared.pixels, prepared.reconstruction.detach()]))
        real, fake = logits.chunk(2)
        parts = {"logits_real": real.detach().mean(), "logits_fake": fake.detach().mean()}
        return Loss(critic.hinge(real, fake), parts)

    def _latents(self, prepared: Prepared, share: float) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What the decoder is given (n, c, h, w), the weighted loss of the regulariser, and its parts."""
        training, is_frozen = self.training, self.training.is_encoder_frozen(share)
        nothing = torch.zeros((), device=self.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen):
            with self._autocast():
                moments = self.autoencoder.encoder([prepared.pixels])
            mean, log_variance = regularise.posterior(moments)
            if training.regulariser == "vq":
                book = self.networks["codebook"]
                assert isinstance(book, Codebook)
                latents, loss, codes, perplexity = book(mean)
                if torch.is_grad_enabled():
                    book.follow(mean, codes, self._mean)
                weighted = training.codebook * loss
                parts = {"codebook": loss.detach(), "perplexity": perplexity}
            else:
                divergence = regularise.kl(mean, log_variance)
                weighted, parts = training.kl * divergence, {"kl": divergence.detach()}
                is_drawn = training.samples_posterior
                latents = regularise.sample(mean, log_variance, prepared.noise[0]) if is_drawn else mean
        if training.jitter:
            latents = regularise.jitter(latents, prepared.noise[1], prepared.amplitude)
        return latents, nothing if is_frozen else weighted, parts

    def _decode(self, latents: Tensor) -> Tensor:
        with self._autocast():
            pixels: Tensor = self.autoencoder.decoder(latents)
        return pixels.float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16")

    def _mean(self, x: Tensor) -> Tensor:
        """Of a tensor over all processes."""
        if self.ranks.size == 1:
            return x
        x = x.contiguous()
        torch.distributed.all_reduce(x)
        return x / self.ranks.size

    def flops(self, batch: Batch) -> float:
        """Of a whole batch, at the crops and with the critic of the batch prepared last."""
        count, side = self.training.crops_at(self._share)
        config = self.autoencoder.config
        crops = batch.of * (1 + len(batch.contexts)) * count
        encoder = encode_work(config, width=side, height=side).total
        work = encoder * (1 if self.training.is_encoder_frozen(self._share) else 3)
        work += 3 * decode_work(config, width=side, height=side).total
        if self.training.has_critic(self._share):
            # For the generator two passes and two ways back to the pixels, for itself two passes and their ways back.
            network = self.networks["discriminator"]
            assert isinstance(network, PatchDiscriminator)
            work += (2 + 2 + 6) * network.flops(side, side)
        return float(crops * work)

    def count(self, batch: Batch) -> int:
        return batch.of

    def validate(self) -> Mapping[str, float]:
        """Numbers of the held-out pictures, see `HeldOut.numbers`; with a codebook also through it."""
        numbers = self.held_out.numbers(self.autoencoder, self.training.weights, self.perceptual)
        if self.training.regulariser == "vq":
            book = self.networks["codebook"]
            assert isinstance(book, Codebook)
            numbers |= self.held_out.through(self.autoencoder, book)
        return numbers

    def samples(self) -> Mapping[str, np.ndarray]:
        """Strips of held-out pictures: source, reconstruction, four times their difference."""
        return self.held_out.strips(self.autoencoder)


def _carried(decoded: Tensor, gradient: Tensor) -> Tensor:
    """Zero, whose gradient with respect to `decoded` is `gradient`."""
    product = (decoded * gradient).sum()
    return product - product.detach()
