"""The best files of each stage, put together: a whole model folder that `recast` runs, or a delta over one.

A part may come from a checkpoint of a run, as its weights or as their averages; from a run, whose newest checkpoint is
taken; from a model folder; or from one safetensors file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recast import models, weights
from recast.config import ModelConfig, to_dict
from recast.context.t5 import T5Config, T5Encoder
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.loading import check_over
from recast.train import state
from recast.train.card import Card, page
from recast.train.deltas import EMBEDDING, split
from recast.weights.files import arriving, few, read_header
from recast.weights.locate import FORMAT
from recast.world.folder import write_whole

Part = Literal["flow", "autoencoder", "text"]
Take = Literal["averaged", "raw"]
FILES: Mapping[Part, str] = {
    "flow": "flow.safetensors",
    "autoencoder": "ae.safetensors",
    "text": "text_encoder/model.safetensors",
}
"""Where each part lies in a model folder."""
NANO_LIMIT_BYTES = 50 * 10**6
"""What `nano` may weigh, all files together."""
_TEXT_LANDMARK = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def assemble(
    out: Path | str,
    *,
    flow: Path | str,
    autoencoder: Path | str,
    text: Path | str,
    config: ModelConfig,
    take: Take = "averaged",
    card: Card | None = None,
    limit_bytes: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Write a whole model folder at `out`, in the layout of `recast/nano`, and return it; or nothing at all.

    flow, autoencoder, text: where each part is (see above). config: its defaults are the steps, sampler and guidance
    that the model is to be asked with. take: which weights of a checkpoint. limit_bytes: the most that all files
    together may weigh, None for no limit. Every name and shape is compared with what `config` says.
    Raises MissingWeights for a part that is not there, WeightsError for one that does not fit or is not finite, for a
    folder in use, and for one that is too heavy.
    """
    out = Path(out)
    sources: dict[Part, Path] = {"flow": Path(flow), "autoencoder": Path(autoencoder), "text": Path(text)}
    tensors = {part: read_part(path, part, take) for part, path in sources.items()}
    encoder = t5_config(tensors["text"])
    _check_fits("text", tensors["text"], encoder.d_model, config)
    with torch.device("meta"):
        wanted: dict[Part, nn.Module] = {
            "flow": FlowTransformer(config.flow),
            "autoencoder": Autoencoder(config.autoencoder),
            "text": T5Encoder(encoder),
        }
    for part, network in wanted.items():
        _check(part, tensors[part], network, sources[part])
    parts = {"flow": tensors["flow"], "autoencoder": tensors["autoencoder"], "text_encoder": tensors["text"]}
    with arriving(out) as partial:
        weights.save(partial, parts, config, dtype=dtype, text_encoder_config=_text_json(encoder, dtype))
        files = {partial / name: sum(map(torch.numel, tensors[part].values())) for part, name in FILES.items()}
        (partial / "README.md").write_text(page(config, card or Card(), files, [_taken(take)]))
        total = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
        if limit_bytes is not None and total > limit_bytes:
            raise WeightsError(
                f"out={str(out)!r}: {total:,} bytes, {limit_bytes:,} accepted; a smaller model, another dtype or a "
                "higher limit needed"
            )
    return out


def delta(
    out: Path | str,
    *,
    flow: Path | str,
    base: Path | str,
    config: ModelConfig,
    rank: int = 64,
    rank_is: str = "",
    most_error: float = 0.1,
    take: Take = "averaged",
    dtype: torch.dtype = torch.bfloat16,
    about: Mapping[str, Any] | None = None,
    card: Card | None = None,
    variant: str | None = None,
    device: str = "cpu",
) -> weights.Delta:
    """Write what a trained flow changes of its base as one file, its page beside it; what the file says of itself.

    out: a .safetensors file; in the folder of the base, or in the package beside `nano`, `recast.load` reads it as a
    model. flow: where the student is (see above). base: the model it was made from, a name or a path. config: of the
    student, as `assemble` takes it. rank: of each pair; a change of that rank or less, as low-rank adapters make it, is
    held but for rounding to `dtype`. rank_is: where it was not asked for, what it is, for the error. most_error: the
    largest share of the change's length that may be lost. about: JSON data for the header. variant: of the base, where
    its files do not tell. device: where the decompositions are done.
    Raises WeightsError for a student of another network and for one that a delta of this rank does not hold.
    """
    if not (isinstance(rank, int) and rank >= 1):
        raise ConfigError(f"rank={rank!r}: a whole number from 1 accepted; 64 is usual")
    out, place = Path(out), models.place(base)
    model, under = weights.read_config(place, variant=variant), weights.open_checkpoint(place, "flow", variant=variant)
    said = weights.Delta(path=out, base=weights.Base(name=model.name, sha256=weights.digest(under)), config=config)
    check_over(said, model)
    trained = read_part(flow, "flow", take)
    if config.flow.guidance_embed != any(name.startswith(EMBEDDING) for name in trained):
        raise WeightsError(
            f"flow={str(flow)!r}: guidance_embed={config.flow.guidance_embed} in the config, and the other in the "
            "tensors; the student's own config accepted"
        )
    made = split(trained, under, rank=rank, dtype=dtype, device=device)
    if made.error > most_error:
        raise WeightsError(
            f"rank={rank}{rank_is and f' ({rank_is})'}: leaves {made.error:.3f} of the student's change, "
            f"{made.worst[0]:.3f} of {made.worst[1]}; at most most_error={most_error:g} accepted; pass "
            f"rank={made.rank_for(most_error)}, a higher most_error once its pictures were judged, or write a "
            "whole model"
        )
    kept = {"worst": {made.worst[1]: round(made.worst[0], 6)}, **(about or {})}
    said = replace(said, rank=made.rank, error=round(made.error, 6), about=kept)
    written = weights.save_delta(out, made.tensors, said)
    write_delta_page(written, card)
    return written


def write_delta_page(delta: weights.Delta, card: Card | None = None) -> Path:
    """Write the page of a delta beside it, NAME.md for NAME.safetensors, over one that is there; its path."""
    held = (
        f"It changes `{delta.base.name}`, whose flow transformer has the hash `{delta.base.sha256}`: {holding(delta)}, "
        f"which leave {delta.error:.2%} of the change's length. It needs that model's files."
    )
    card = replace(card or Card(), base=delta.base.name)
    text = page(delta.config, card, {delta.path: delta.parameters}, [held])
    place = delta.path.with_suffix(".md")
    write_whole(place, text.encode())
    return place


def holding(delta: weights.Delta) -> str:
    """What a delta holds its change in, in words. Of a rank above what its matrices gain by, it has no pairs."""
    return f"pairs of rank {delta.rank} and less" if delta.rank else "whole changes (no pair of that rank is smaller)"


def mark_passed(place: Path | str, bar: str) -> ModelConfig:
    """Write into a model folder's config, or a delta's, that it passed a benchmark's bar; the config as it is then.

    The file is replaced whole; of a delta, the tensors stay and its hash changes. Raises what reading it raises.
    """
    place = models.place(place)
    config = weights.read_config(place)
    config = replace(config, passed=tuple(dict.fromkeys([*config.passed, bar])))
    if weights.is_delta(place):
        fresh = place.with_name(f".{place.stem}.marked.safetensors")
        fresh.unlink(missing_ok=True)
        weights.save_delta(fresh, _read_file(place), replace(weights.read_delta(place), config=config))
        os.replace(fresh, place)
    else:
        content = {"format": FORMAT, **to_dict(config)}
        write_whole(place / "config.json", (json.dumps(content, indent=1) + "\n").encode())
    return config


def write_text_encoder(
    out: Path | str, network: T5Encoder | Mapping[str, Tensor], dtype: torch.dtype = torch.bfloat16
) -> Path:
    """Write `out`/text_encoder: config.json and model.safetensors, as transformers' T5EncoderModel has them.

    Raises WeightsError for tensors of no such encoder, and where something lies there.
    """
    from safetensors.torch import save_file

    tensors = dict(network.state_dict() if isinstance(network, nn.Module) else network)
    config = t5_config(tensors)
    with torch.device("meta"):
        _check("text", tensors, T5Encoder(config), Path(out))
    with arriving(Path(out) / "text_encoder") as partial:
        partial.mkdir()
        ready = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
        save_file(ready, partial / "model.safetensors", metadata={"format": "pt"})
        (partial / "config.json").write_text(json.dumps(_text_json(config, dtype), indent=2) + "\n")
    return Path(out) / "text_encoder"


def averaged(checkpoint: Path | str) -> dict[str, dict[str, Tensor]]:
    """The networks of a checkpoint, by name, with the averages in the places of the weights that have one."""
    return state.read(Path(checkpoint), "averaged")


def read_network(source: Path | str, name: str, take: Take = "averaged") -> dict[str, Tensor]:
    """One network of a checkpoint, or of the newest whole one of a run, by the name that its stage gave it.

    Raises MissingWeights where there is no whole checkpoint, ConfigError for a network that it does not
    hold, or another `take`.
    """
    if take not in ("averaged", "raw"):
        raise ConfigError(f"take={take!r}: averaged or raw accepted; choose one")
    checkpoint = _checkpoint(Path(source))
    if checkpoint is None:
        raise MissingWeights(
            f"source={str(source)!r}: no whole checkpoint there; a run or one of its checkpoints accepted; name one"
        )
    return state.read(checkpoint, take, [name])[name]


def read_part(source: Path | str, part: Part, take: Take = "averaged") -> dict[str, Tensor]:
    """The tensors of one part, from wherever it is: a run, a checkpoint, a model folder or a safetensors file.

    Raises MissingWeights where there is none, ConfigError for another `take`.
    """
    source = Path(source)
    if source.is_dir():
        if (source / FILES[part]).is_file() and _checkpoint(source) is None:
            return _read_file(source / FILES[part])
        return read_network(source, part, take)
    return _read_file(source)


def t5_config(tensors: Mapping[str, Tensor]) -> T5Config:
    """The sizes of a T5 encoder, from the shapes of its tensors. Raises WeightsError for those of anything else."""
    try:
        buckets, heads = tensors[_TEXT_LANDMARK].shape
        vocabulary, width = tensors["shared.weight"].shape
        inner = tensors["encoder.block.0.layer.0.SelfAttention.q.weight"].shape[0]
        hidden = tensors["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"].shape[0]
    except KeyError as name:
        raise WeightsError(f"text: no tensor {name}; a T5 v1.1 encoder's accepted; is it another part?") from None
    return T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=inner // heads,
        d_ff=hidden,
        num_layers=len({name.split(".")[2] for name in tensors if name.startswith("encoder.block.")}),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
    )


def _checkpoint(source: Path) -> Path | None:
    """The checkpoint that is meant: the folder itself, or the newest whole one of a run."""
    if (source / state.MANIFEST).is_file():
        return source
    return state.latest(source) if (source / "checkpoints").is_dir() else None


def _taken(take: Take) -> str:
    return f"Weights of checkpoints are {'their averages' if take == 'averaged' else 'as of the last step'}."


def _read_file(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    read_header(path)  # refuses what is no whole safetensors file, and says why
    return dict(load_file(path))


def _check_fits(part: str, tensors: Mapping[str, Tensor], width: int, config: ModelConfig) -> None:
    if width != config.flow.context_in_dim or config.flow.vec_in_dim not in (None, width):
        raise WeightsError(
            f"{part}: {width} channels; the flow reads {config.flow.context_in_dim} and {config.flow.vec_in_dim}; an "
            "encoder of that width accepted"
        )


def _check(part: str, tensors: Mapping[str, Tensor], network: nn.Module, source: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problems = {
        "missing": wanted.keys() - shapes.keys(),
        "unexpected": shapes.keys() - wanted.keys(),
        "misshapen": {name for name in wanted if shapes.get(name, wanted[name]) != wanted[name]},
        "not finite": {name for name, tensor in tensors.items() if not tensor.isfinite().all()},
    }
    listed = [f"{kind}: {few(names)}" for kind, names in problems.items() if names]
    if listed:
        raise WeightsError(
            f"{part}={str(source)!r}: {'; '.join(listed)}; every tensor that the config asks for and no other accepted"
        )


def _text_json(config: T5Config, dtype: torch.dtype) -> dict[str, Any]:
    """config.json as transformers writes it for a T5 v1.1 encoder."""
    return {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        **asdict(config),
        "feed_forward_proj": "gated-gelu",
        "dense_act_fn": "gelu_new",
        "is_gated_act": True,
        "is_encoder_decoder": False,
        "use_cache": False,
        "dropout_rate": 0.0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "tie_word_embeddings": True,
        "dtype": str(dtype).removeprefix("torch."),
    }
