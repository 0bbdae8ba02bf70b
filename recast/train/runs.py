"""A preset and the places it starts from to a run that needs only to be started."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recast import loading, weights
from recast.config import ModelConfig
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import ByteT5, TextEncoder
from recast.errors import ConfigError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.train import adapters, autoencoding, export, normalise, panel, parallel
from recast.train.adapter_stage import AdapterStage
from recast.train.autoencoding import AutoencoderStage, AutoencoderTraining
from recast.train.data.loader import Loader
from recast.train.data.order import Shuffled
from recast.train.examples import Examples, kind_of
from recast.train.flow_stage import FlowStage
from recast.train.initial import initialise
from recast.train.parallel import Ranks
from recast.train.perceptual import Lpips
from recast.train.presets import Preset
from recast.train.readable import lettering
from recast.train.settings import Settings
from recast.train.stage import Batches, Stage
from recast.train.text_batches import TextBatches
from recast.train.text_stage import TextStage, TextTraining, nano_encoder, new_encoder
from recast.train.uses import FlowTraining
from recast.train.validation import Sampling


@dataclass(frozen=True, kw_only=True)
class Starts:
    """What a run starts from, each a run, one of its checkpoints, a model folder, a file, or None for nothing.

    init: of what is trained. autoencoder: what a flow is trained on: weights, not a run. text: what it is trained with.
    base: the model that adapters are for, a name or a path as `recast.load` takes it.
    """

    init: Path | None = None
    autoencoder: Path | None = None
    text: Path | None = None
    base: str | None = None


@dataclass(frozen=True)
class Ready:
    """A run before its first step.

    write: its weights, averaged, into a folder; the files. verdict: why the run is over before its length, in a few
    words, as soon as there is nothing more for it to do; None until then.
    """

    stage: Stage
    batches: Batches
    settings: Settings
    write: Callable[[Path, Path], list[Path]]  # (the run's place, the folder)
    verdict: Callable[[], str | None] = lambda: None


def published(run: Ready, place: Path) -> list[Path]:
    """The weights of a run that is over, whole, in `place`/weights, instead of earlier ones; the files."""
    fresh, folder, old = place / ".weights", place / "weights", place / ".weights.old"
    for left in (fresh, old):  # by a call that was cut off
        if left.exists():
            shutil.rmtree(left)
    fresh.mkdir(parents=True)
    files = run.write(place, fresh)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return [folder / file.relative_to(fresh) for file in files]


def ready(
    preset: Preset, starts: Starts, *, ranks: Ranks = parallel.ALONE, event: Callable[..., None] | None = None
) -> Ready:
    """Everything that `loop.run` takes. event: is told of examples that cannot be used (`journal.Journal.event`).

    Raises ConfigError, InputError or MissingWeights for what does not fit together, before anything is trained.
    """
    for place in preset.data.places:
        kind_of(place)
    making = {"ae": _autoencoder, "text": _text, "flow": _flow, "lora": _flow}[preset.what]
    return making(preset, starts, ranks, event)


def latents(autoencoder: Autoencoder) -> dict[str, Any]:
    """What tells an autoencoder's latents from another's, as JSON data; before it is sharded."""
    factors = {"scale": autoencoder.config.scale_factor, "shift": autoencoder.config.shift_factor}
    return {"encoder": adapters.fingerprint(autoencoder.encoder), **factors}


# What is trained.


def _autoencoder(preset: Preset, starts: Starts, ranks: Ranks, event: Callable[..., None] | None) -> Ready:
    training, data = preset.training, preset.data
    assert isinstance(training, AutoencoderTraining)
    if training.decoder_only and starts.init is None:
        raise ConfigError("init: missing; training the decoder alone starts from a trained autoencoder; pass --init")
    autoencoder = _new_autoencoder(preset.model, starts.init, preset.run.seed)
    networks = autoencoding.networks(
        autoencoder,
        training,
        preset.run.seed,
        lambda network: parallel.wrap(network, preset.run, preset.parallel, ranks),
    )
    autoencoder.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    examples = Examples(data, preset.model, least=1, event=event)
    judged = examples.batches(examples.held_out())
    pictures = [picture for batch in judged for picture in _rows(batch.target)]
    truths = [truth for batch in judged for truth in batch.truths]
    distance = None if training.lpips is None else Lpips(training.lpips).to(ranks.device)
    stage = AutoencoderStage(
        networks,
        training,
        optimiser=preset.optimiser,
        discriminator_optimiser=preset.critic or preset.optimiser,
        run=preset.run,
        held_out=pictures,
        ranks=ranks,
        perceptual=distance,
        measures={"lettering": lettering(pictures, truths)} if training.reads_lettering else None,
    )
    batches = examples.loader(ranks, event)
    about = {**batches.about(), **({} if distance is None else {"lpips": distance.files})}

    def write(place: Path, folder: Path) -> list[Path]:
        started = replace(preset.model, autoencoder=autoencoder.config)  # with the factors of what it started from
        trained = _new_autoencoder(started, place, 0).to(ranks.device)
        crops = _crops(examples.loader(Ranks(device=ranks.device)), data.statistics, training.crop)
        found = normalise.statistics(trained, (crop.to(ranks.device) for crop in crops))
        # Of a decoder alone, latents are what they were, and so is what a flow was trained on.
        made = trained if training.decoder_only else normalise.normalised(trained, found, shifts="shared")
        config = replace(preset.model, autoencoder=made.config)
        file = weights.save(folder / "ae.safetensors", {"autoencoder": made}, config, layout="bfl")
        return [file, normalise.write(found, file)]

    return Ready(stage, batches, _settings(preset, about), write)


def _text(preset: Preset, starts: Starts, ranks: Ranks, event: Callable[..., None] | None) -> Ready:
    training, data = preset.training, preset.data
    assert isinstance(training, TextTraining)
    if ranks.size > 1:
        raise ConfigError(f"text: {ranks.size} processes came; one accepted: the encoder is small; start it alone")
    encoder = _new_encoder(preset.model, starts.init, preset.run.seed).to(ranks.device)
    length = preset.model.text.max_length
    stage = TextStage(encoder, training, max_length=length, seed=preset.run.seed, precision=preset.run.precision)
    batches = TextBatches(
        batch=data.batch_size or 128,
        max_length=length,
        seed=data.seed,
        slips=data.slips,
        workers=data.workers,
        ranks=ranks,
    )

    def write(place: Path, folder: Path) -> list[Path]:
        return [export.write_text_encoder(folder, export.read_part(place, "text"))]

    return Ready(stage, batches, _settings(preset, {"kind": "texts", "seed": data.seed}), write)


def _flow(preset: Preset, starts: Starts, ranks: Ranks, event: Callable[..., None] | None) -> Ready:
    training, data = preset.training, preset.data
    assert isinstance(training, FlowTraining)
    if preset.what == "lora":
        if starts.init is not None:
            raise ConfigError("init: adapters start from nothing; leave it out; --model names the base")
        if starts.base is None and preset.model.name != "nano":
            raise ConfigError(f"model: missing; the preset is for {preset.model.name}; pass its weights by --model")
        base = loading.load(starts.base or "nano", device=str(ranks.device), dtype=preset.run.precision)
        model, flow, autoencoder, text = base.config, base.flow, base.autoencoder, base.text
        lora = adapters.attach(flow, preset.lora or adapters.LoRA(), seed=preset.run.seed)
        digest = adapters.fingerprint(flow)
    else:
        model, lora = preset.model, None
        if starts.autoencoder is None or (starts.autoencoder / "checkpoints").is_dir():  # of a run: not of unit scale
            raise ConfigError(f"ae={starts.autoencoder}: weights of an autoencoder needed; pass --ae RUN/weights")
        flow = _new_flow(model, training, starts.init, preset.run.seed)
        autoencoder = _new_autoencoder(model, starts.autoencoder, preset.run.seed).to(ranks.device)
        model = replace(model, autoencoder=autoencoder.config)
        text = _read_text(model, starts, preset.run.seed, ranks, training.train_text)
    parallel.wrap(flow, preset.run, preset.parallel, ranks)
    if training.train_text and isinstance(text, ByteT5):
        parallel.wrap(text.network, preset.run, preset.parallel, ranks)
    examples = Examples(data, model, event=event)
    judged = examples.held_out()
    parts: dict[str, Any] = {
        "flow": flow,
        "autoencoder": autoencoder,
        "text": text,
        "training": training,
        "optimiser": preset.optimiser,
        "run": preset.run,
        "ranks": ranks,
        "held_out": examples.batches(judged, ranks),
        "panel": examples.batches(judged[: data.shown], ranks),
        "panel_settings": _sampling(model),
    }
    if lora is None:
        stage = FlowStage(**parts)
    else:
        stage = AdapterStage(adapters=lora, usual=model.defaults, prompts=preset.asks, **parts)
    batches = examples.loader(ranks, event)
    about: dict[str, Any] = batches.about()
    about["latents"] = latents(autoencoder)
    about |= {"base": digest} if lora is not None else {}

    def write(place: Path, folder: Path) -> list[Path]:
        if lora is not None:
            panel.published(place)
            said, file = {"base": model.name, "base_sha256": digest}, folder / "adapter.safetensors"
            return [adapters.save(file, lora, about=said, tensors=export.read_network(place, "adapters"))]
        trained = export.read_part(place, "flow")
        files = [weights.save(folder / "flow.safetensors", {"flow": trained}, model, layout="bfl")]
        if training.train_text:
            files.append(export.write_text_encoder(folder, export.read_part(place, "text")))
        return files

    return Ready(stage, batches, _settings(preset, about), write)


def _sampling(model: ModelConfig) -> Sampling:
    """How the panel's pictures are made; by a model distilled for few steps, in these."""
    usual = model.defaults
    few: dict[str, Any] = {}
    if model.is_few_step:
        few = {"steps": usual.steps, "sampler": usual.sampler}
    return Sampling(guidance=usual.guidance or 1.0, shifts_schedule=model.shifts_schedule, **few)


# Networks, new or read.


def _new_flow(model: ModelConfig, training: FlowTraining, init: Path | None, seed: int) -> FlowTransformer:
    config = model.flow
    if training.conditioning == "channels":
        config = replace(config, in_channels=2 * config.out_channels)
    flow = initialise(FlowTransformer(config), seed)
    return flow if init is None else _filled(flow, export.read_part(init, "flow"), f"init={str(init)!r}")


def _new_autoencoder(model: ModelConfig, place: Path | None, seed: int) -> Autoencoder:
    """From nothing, by the seed; or from `place`, with the factors that its file names."""
    if place is not None and not (place / "checkpoints").is_dir():
        opened = weights.open_checkpoint(place, "autoencoder")
        made = Autoencoder(opened.config)  # type: ignore[arg-type]
        weights.load_into(made, opened, dtype=torch.float32, device="cpu")
        return made
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Autoencoder(model.autoencoder)
    if place is None:
        return made
    return _filled(made, export.read_part(place, "autoencoder"), f"autoencoder={str(place)!r}")


def _new_encoder(model: ModelConfig, place: Path | None, seed: int) -> T5Encoder:
    """From nothing, in the sizes that suit the model; or from `place`, in its own."""
    if model.text.kind != "byte_t5":
        raise ConfigError(f"text.kind={model.text.kind!r}: byte_t5 can be trained; published encoders stay as they are")
    if place is None:
        width = model.flow.context_in_dim
        small = T5Config(vocab_size=384, d_model=width, d_kv=8, d_ff=2 * width, num_layers=2, num_heads=3)
        return new_encoder(nano_encoder() if width == nano_encoder().d_model else small, seed)
    tensors = export.read_part(place, "text")
    return _filled(T5Encoder(export.t5_config(tensors)), tensors, f"text={str(place)!r}")


def _read_text(model: ModelConfig, starts: Starts, seed: int, ranks: Ranks, is_trained: bool) -> TextEncoder:
    if model.text.kind != "byte_t5":
        if starts.text is None:
            raise ConfigError("text: missing; the folder of the model's text encoders accepted; pass --text")
        return loading.load_clip_t5(starts.text, model.text, ranks.device, torch.bfloat16)
    place = starts.text or (starts.init if is_trained else None)
    if place is None and not is_trained:
        raise ConfigError("text: missing; a trained text encoder accepted, or training.train_text=true; pass --text")
    return ByteT5(_new_encoder(model, place, seed).to(ranks.device), model.text.max_length)


def _filled(network: nn.Module, tensors: dict[str, Tensor], place: str) -> Any:
    """The network with these tensors. Raises ConfigError if they are not all and only its own."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if wanted != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
        apart = sorted(set(wanted.items()) ^ {(name, tuple(t.shape)) for name, t in tensors.items()})
        raise ConfigError(
            f"{place}: holds another network than the preset's: {apart[0]}, and {len(apart) - 1} more differences; "
            "the weights of an earlier run of the same model accepted"
        )
    network.load_state_dict(tensors)
    return network


# Examples.


def _crops(batches: Loader, count: int, side: int) -> Iterator[Tensor]:
    """Middles of targets, (b, 3, s, s) in [-1, 1], of `count` pictures, or of all if they are fewer."""
    left = count
    if isinstance(batches.stream, Shuffled):
        left = min(left, batches.stream.count)
    for batch in batches:
        pictures = batch.target[:left]
        height, width = (min(each, side) // 16 * 16 for each in pictures.shape[-2:])
        top, beside = (pictures.shape[-2] - height) // 2, (pictures.shape[-1] - width) // 2
        yield pictures[..., top : top + height, beside : beside + width].float() / 127.5 - 1
        left -= len(pictures)
        if left <= 0:
            return batches.close()


def _rows(pictures: Tensor) -> list[np.ndarray]:
    """(b, 3, H, W) uint8 as pictures (H, W, 3)."""
    return [np.ascontiguousarray(picture) for picture in pictures.permute(0, 2, 3, 1).numpy()]


def _settings(preset: Preset, about: dict[str, Any]) -> Settings:
    return Settings(
        run=preset.run,
        parallel=preset.parallel,
        stage={name: getattr(preset, name) for name in ("what", "model", "training", "optimiser", "critic", "lora")},
        data=about,
    )
