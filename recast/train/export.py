"""The best files of each stage, put together: a whole model folder that `recast` runs.

A part may come from a checkpoint of a run, as its weights or as their averages; from a run, whose newest checkpoint is
taken; from a model folder; or from one safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recast import weights
from recast.config import ModelConfig
from recast.context.t5 import T5Config, T5Encoder
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.train import state
from recast.weights.files import arriving, checksum, few, read_header

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


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model's page says beside what its files say."""

    summary: str = ""  # a paragraph or two
    made: Mapping[str, str] = field(default_factory=dict)  # how it was trained, in rows: part or phase → what was done
    measured: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # tables: title → rows
    limits: Sequence[str] = ()  # what it does not do, a line each


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

    flow, autoencoder, text: where each part is (see above). take: which weights of a checkpoint. limit_bytes: the most
    that all files together may weigh, None for no limit. Every name and shape is compared with what `config` says.
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
        (partial / "README.md").write_text(_page(partial, config, card or Card(), take, tensors))
        total = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
        if limit_bytes is not None and total > limit_bytes:
            raise WeightsError(
                f"out={str(out)!r}: {total:,} bytes, {limit_bytes:,} accepted; a smaller model, another dtype or a "
                "higher limit needed"
            )
    return out


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


def _page(
    folder: Path, config: ModelConfig, card: Card, take: Take, tensors: Mapping[Part, Mapping[str, Tensor]]
) -> str:
    """The model's page, in Markdown."""
    lines = [f"# {config.name}", ""]
    if card.summary:
        lines += [card.summary, ""]
    lines += ["## Files", "", "| file | parameters | bytes | SHA-256 |", "|---|---|---|---|"]
    for part, name in FILES.items():
        count = sum(tensor.numel() for tensor in tensors[part].values())
        size = (folder / name).stat().st_size
        lines.append(f"| `{name}` | {count:,} | {size:,} | `{checksum(folder / name)[:16]}…` |")
    lines += ["", f"Weights of checkpoints are {'their averages' if take == 'averaged' else 'as of the last step'}."]
    lines += [f"Context attention: `{config.flow.context_attention}`.", ""]
    for title, rows in {"How it was made": card.made, **card.measured}.items():
        if rows:
            lines += [f"## {title}", "", "| | |", "|---|---|"]
            lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
            lines.append("")
    if card.limits:
        lines += ["## What it does not do", "", *(f"- {each}" for each in card.limits), ""]
    lines += ["## Licence", "", f"{config.licence}.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
