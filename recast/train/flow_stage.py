"""The flow transformer's stage: what its loop asks, passes to velocities, velocities to a loss.

Source: arXiv 2506.15742, section 3; Esser et al. 2024 (arXiv 2403.03206), sections 3 and 5.3.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from recast import cost
from recast.config import FlowConfig
from recast.context.text import ByteT5, CachedEncoder, Text, TextEncoder, byte_ids, pool
from recast.errors import ConfigError
from recast.flow.transformer import Condition, FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import positions, unpack
from recast.pixels import image
from recast.train import objective, validation
from recast.train.compiling import uncompiled
from recast.train.data.example import Batch
from recast.train.parallel import ALONE, Ranks
from recast.train.passes import PassMaker, autocast
from recast.train.settings import Optimiser, Run
from recast.train.sharded import reshard
from recast.train.stage import Loss, Phase
from recast.train.uses import KINDS, TARGET, FlowTraining, Pass, Use, fixed

log = logging.getLogger(__name__)

BINS = 8
"""Of time, in which losses are logged."""
BACKWARD = 3
"""FLOPs of a forward and a backward pass, in forward passes."""


@dataclass(frozen=True)
class Prepared:
    """A batch, encoded."""

    passes: tuple[Pass, ...]
    count: int  # of this process's uses


class FlowStage:
    """Trains a flow transformer on pictures, and the text encoder with it where `training` says so.

    flow: on its device, wrapped for its processes (`parallel.wrap`), so is the network of `text` if it is trained.
    autoencoder: frozen. text: a ByteT5 where it is trained. adapters: what of the flow is trained and saved in its
    place, if not all of it. held_out: batches that are never trained on, judged as `uses.fixed` says.
    panel: batches that sample grids are made of. Both are the same in all processes.
    Raises ConfigError where these do not fit each other.
    """

    name = "flow"

    def __init__(
        self,
        *,
        flow: FlowTransformer,
        autoencoder: Autoencoder,
        text: TextEncoder,
        training: FlowTraining,
        optimiser: Optimiser,
        run: Run,
        ranks: Ranks = ALONE,
        adapters: nn.Module | None = None,
        held_out: Sequence[Batch] = (),
        panel: Sequence[Batch] = (),
        panel_settings: validation.Sampling | None = None,
    ) -> None:
        _check(flow.config, training, text)
        self.flow, self.autoencoder, self.text = flow, autoencoder.eval().requires_grad_(False), text
        self.training, self.run, self.ranks = training, run, ranks
        self.held_out, self.panel = held_out, panel
        self.sampling = panel_settings or validation.Sampling()
        self.networks: dict[str, nn.Module] = {"flow": flow} if adapters is None else {"adapters": adapters}
        self.phases = [Phase(name="flow", networks=tuple(self.networks), optimiser=optimiser)]
        if training.train_text:
            assert isinstance(text, ByteT5)
            text.cache_entries = 0  # encodings of the weights as they were
            self.networks["text"] = text.network.requires_grad_(True)
            slower = replace(
                optimiser, lr=optimiser.lr * training.text_rate, matrix_lr=optimiser.matrix_lr * training.text_rate
            )
            self.phases.append(Phase(name="text", networks=("text",), optimiser=slower))
        elif training.kept_encodings and isinstance(text, CachedEncoder):
            text.cache_entries = training.kept_encodings
        self.averaged = tuple(self.networks)
        self.device = next(flow.parameters()).device
        self._has_cut_text = False
        self.maker = PassMaker(self.autoencoder, training, run, self.device)

    # What the loop asks.

    def prepare(self, batch: Batch, share: float) -> Prepared:
        """The passes of this step, their pictures encoded."""
        uses = self.maker.uses(batch)
        return Prepared(self.maker.passes(batch, uses, with_dummies=self.ranks.data_size > 1), len(uses))

    def loss(self, phase: str, prepared: Prepared, share: float) -> Loss | None:
        """The mean loss of the examples, by use and by time. The text encoder's gradient comes with the flow's."""
        if phase != "flow":
            return None
        total = torch.zeros((), device=self.device)
        losses, kinds, times = [], [], []
        for each in prepared.passes:
            t = self.times(each)
            noise = objective.draw(each.numbers, self.run.seed, each.clean.shape[1:], self.device)
            per_sample = objective.weighted(self.errors(each, t.to(self.device), noise), self.weight(each))
            total = total + per_sample.sum() * float(each.counts)
            if each.counts:
                losses.append(per_sample.detach())
                kinds += [use.kind for use in each.uses]
                times.append(t)
        return Loss(total / prepared.count, parts(torch.cat(losses), kinds, torch.cat(times)))

    def flops(self, batch: Batch) -> float:
        """Of the transformer, and of the text encoder where it is trained. Encoding pictures is not counted.

        Under adapters the transformer's matrices are frozen and have no gradient of their own: their backward pass
        costs as much as the forward one, not twice as much. The adapters' own small products are not counted.
        """
        work = self.work(batch)
        frozen = work.linear if "adapters" in self.networks else 0
        total = float(BACKWARD * work.total - frozen)
        if self.training.guidance_loss is not None:
            total += work.total  # the prediction for the empty prompt has no backward pass
        if "text" in self.networks:
            matrices = sum(
                p.numel() for n, p in self.networks["text"].named_parameters() if p.ndim == 2 and "block" in n
            )
            total += BACKWARD * 2.0 * matrices * self._text_tokens() * len(self.maker.uses(batch))
        return total

    def work(self, batch: Batch) -> cost.Work:
        """Of one evaluation of the transformer for every use of the batch, its conditions included."""
        found = cost.Work()
        for _, each in self.works(batch):
            found = found.plus(each)
        return found

    def works(self, batch: Batch) -> list[tuple[Use, cost.Work]]:
        """Of the same, use by use."""
        side = self.autoencoder.config.pixels_per_token
        tokens = [
            picture.shape[-2] // side * (picture.shape[-1] // side) for picture in (*batch.contexts, batch.target)
        ]
        config, text, found = self.flow.config, self._text_tokens(), []
        for use in self.maker.uses(batch):
            in_sequence = use.contexts if self.training.conditioning == "sequence" else ()
            context = sum(tokens[slot] for slot in in_sequence)
            step = cost.step_work(config, target=tokens[use.target], text=text, context=context)
            found.append((use, step.plus(cost.condition_work(config, text=text, context=context))))
        return found

    def passes(self, batch: Batch, uses: Sequence[Use]) -> tuple[Pass, ...]:
        """Uses with contexts, and uses without, each encoded."""
        return self.maker.passes(batch, uses)

    def count(self, batch: Batch) -> int:
        """Uses of the whole batch."""
        return batch.of * self.training.uses

    def validate(self) -> Mapping[str, float]:
        """The held-out loss at fixed times with fixed noise: whole, by time, by use, by kind of edit, by mask."""
        if not self.held_out:
            return {}
        with self._judging():
            passes = [each for batch in self.held_out for each in self.passes(batch, fixed(batch, self.training))]
            return validation.measure(passes, self.errors, self.ranks, self.device)

    def samples(self) -> Mapping[str, np.ndarray]:
        """One picture: a row for each example of the panel, of contexts, instruction, result and truth."""
        rows = [
            validation.Row(
                contexts=tuple(picture_of(batch, slot, use.example) for slot in use.contexts),
                text=use.prompt,
                result=result,
                truth=picture_of(batch, use.target, use.example),
            )
            for batch in self.panel
            for use, result in self.answers(batch, validation.one_each(fixed(batch, self.training)))
        ]
        return {"panel": validation.draw_panel(rows)} if rows else {}

    def answers(self, batch: Batch, uses: Sequence[Use]) -> list[tuple[Use, np.ndarray]]:
        """The pictures (H, W, 3) uint8 that the flow makes of these uses, from noise that is always the same."""
        with self._judging():
            return [
                pair for each in self.passes(batch, uses) for pair in zip(each.uses, self._sample(each), strict=True)
            ]

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Without gradients, and with blocks as they are written: graphs for these few passes would cost more."""
        with torch.no_grad(), uncompiled() if self.run.compile else nullcontext():
            yield
        reshard(self.flow)

    # Velocities.

    def errors(self, each: Pass, t: Tensor, noise: Tensor) -> Tensor:
        """The squared error (k, n) of every target token of a pass at times t (k,) with noise (k, n, d)."""
        scale = self.training.guidance_loss
        velocity = self.velocity(each, each.prompts, self.training.guidance)
        if scale is None:
            return objective.flow_matching_errors(velocity, each.clean, noise, t)

        def aim(x_t: Tensor, t: Tensor, data: Tensor) -> Tensor:
            with torch.no_grad():
                null = self.velocity(each, [""] * len(each.uses), self.training.guidance)(x_t, t)
            return objective.guided_target(null, data, scale, t if self.training.guidance_loss_ramp else None)

        return objective.flow_matching_errors(velocity, each.clean, noise, t, aim=aim)

    def weight(self, each: Pass) -> Tensor | None:
        """How much each target token (k, n) of a pass counts, where some count more."""
        if each.mask is None or self.training.mask_weight == 1:
            return None
        return 1 + (self.training.mask_weight - 1) * each.mask

    def velocity(self, each: Pass, prompts: Sequence[str], guidance: float | Tensor) -> objective.Velocities:
        """The velocity function of the network for a pass under these prompts, (k, n, d) fp32."""

        def velocity(x_t: Tensor, t: Tensor) -> Tensor:
            with self.autocast():
                found: Tensor = self.flow(x_t, t, self.condition(each, prompts, guidance))
            return found.float()

        return velocity

    def condition(
        self, each: Pass, prompts: Sequence[str], guidance: float | Tensor, flow: FlowTransformer | None = None
    ) -> Condition:
        """What a pass asks of a network under these prompts: its positions, text and contexts, embedded.

        guidance: one scale, or (k,), for the embedding of networks that have one. flow: another network than the
        stage's own, a teacher. To be called within `autocast`.
        """
        flow = flow or self.flow
        text = self.encode(prompts)
        scales = torch.as_tensor(guidance, dtype=torch.float32, device=self.device)
        context, places, extra = None, None, None
        if self.training.conditioning == "channels":
            extra = torch.zeros_like(each.clean) if each.context is None else each.context
        elif each.context is not None:
            context, first = each.context, int(self.training.context_offset)
            indexed = enumerate(each.context_grids, start=first)
            places = torch.cat([positions(grid, index=index * first) for index, grid in indexed], dim=1).to(self.device)
        return flow.condition(
            positions=positions(each.grid).to(self.device),
            text=text.tokens,
            pooled=text.pooled,
            guidance=scales.expand(len(prompts)) if flow.config.guidance_embed else None,
            context=context,
            context_positions=places,
            extra=extra,
        )

    def encode(self, prompts: Sequence[str]) -> Text:
        """Text tokens (b, m, c) and pooled vectors, with a graph where the encoder is trained."""
        remembers = self.training.kept_encodings > 0 and not self.training.train_text
        if not isinstance(self.text, ByteT5) or remembers:
            with torch.no_grad():
                found = self.text.encode(prompts)
            return Text(found.tokens.to(self.device), None if found.pooled is None else found.pooled.to(self.device))
        if not self.training.train_text and len(every := dict.fromkeys(prompts)) < len(prompts):  # read once each
            found, row = self.encode(list(every)), {prompt: k for k, prompt in enumerate(every)}
            rows = torch.tensor([row[prompt] for prompt in prompts], device=self.device)
            return Text(found.tokens[rows], None if found.pooled is None else found.pooled[rows])
        read = [byte_ids(prompt, self.text.max_length) for prompt in prompts]
        said = [warning for _, warnings in read for warning in warnings]
        if said and not self._has_cut_text:
            self._has_cut_text = True
            log.warning("a prompt is cut, so may others be, of which nothing is said: %s", said[0])
        ids = torch.tensor([row for row, _ in read]).to(self.device, non_blocking=True)
        with torch.set_grad_enabled(self.training.train_text and torch.is_grad_enabled()):
            tokens = self.text.network(ids)
            return Text(tokens, pool(tokens, ids))

    def _text_tokens(self) -> int:
        return self.text.max_length if isinstance(self.text, ByteT5) else self.encode([""]).tokens.shape[1]

    def autocast(self) -> AbstractContextManager[None]:
        """The precision in which the run's networks compute."""
        return autocast(self.run, self.device)

    def times(self, each: Pass) -> Tensor:
        """The times (k,) of a pass's uses, by the run's law, on the CPU."""
        choice, quantile = torch.tensor([use.time for use in each.uses], dtype=torch.float64).unbind(dim=1)
        return self.training.times.times(choice, quantile, each.clean.shape[1])

    def _sample(self, each: Pass) -> list[np.ndarray]:
        """Pictures (H, W, 3) uint8 of a pass, from noise that is always the same."""
        condition_of = self.velocity(each, each.prompts, self.sampling.guidance)
        return self.pictures(validation.walk(each, condition_of, self.sampling, self.device), each.grid)

    def pictures(self, tokens: Tensor, grid: tuple[int, int]) -> list[np.ndarray]:
        """Clean tokens (k, n, d) of a grid, decoded: k pictures (H, W, 3) uint8."""
        with self.autocast():
            pixels = [self.autoencoder.decode(latents[None]) for latents in unpack(tokens, grid)]
        return [image.from_pixels(one.float().cpu())[0] for one in pixels]


def parts(losses: Tensor, kinds: Sequence[str], t: Tensor) -> dict[str, Tensor]:
    """Means of losses (b,) by use and by time, nan where there is none: every name is always there."""
    own = losses.float()
    places: dict[str, Tensor] = {kind: torch.tensor([each == kind for each in kinds]) for kind in KINDS}
    bins = (t * BINS).long().clamp(max=BINS - 1)
    places |= {f"t{i}": bins == i for i in range(BINS)}
    return {name: (own * place.to(own.device)).sum() / int(place.sum()) for name, place in places.items()}


def picture_of(batch: Batch, slot: int, example: int) -> np.ndarray:
    """A picture (H, W, 3) uint8 of an example: a context by its number, or TARGET."""
    pictures = batch.target if slot == TARGET else batch.contexts[slot]
    return np.ascontiguousarray(pictures[example].permute(1, 2, 0).cpu().numpy())


def _check(config: FlowConfig, training: FlowTraining, text: TextEncoder) -> None:
    wanted = config.out_channels if training.conditioning == "channels" else 0
    if config.extra_channels != wanted:
        raise ConfigError(
            f"in_channels={config.in_channels}: {config.out_channels + wanted} needed for "
            f"conditioning={training.conditioning!r}; change the model's config, or the conditioning"
        )
    if training.train_text and not isinstance(text, ByteT5):
        raise ConfigError(f"train_text=true: for the byte encoder alone, not {type(text).__name__}; set it to false")
    if training.guidance_loss is not None and not config.guidance_embed:
        raise ConfigError(
            f"guidance_loss={training.guidance_loss}: for guidance-distilled models, which have a guidance embedding; "
            "this one has none; leave it out"
        )
