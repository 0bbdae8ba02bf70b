"""Text encoders from local safetensors files: every name accounted for, and never two copies of the weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from recast.config import TextConfig
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import CLIP_SPECIAL, ByteT5, ClipT5
from recast.errors import ConfigError, MissingWeights, WeightsError

log = logging.getLogger(__name__)

T5_SPECIAL = "<pad>", "</s>"
T5_SOURCE, CLIP_SOURCE = "google/t5-v1_1-xxl", "openai/clip-vit-large-patch14"
UNUSED = {"embeddings.position_ids", "text_projection.weight", "logit_scale", "scaled_fp8"}  # in some files


def load_byte_t5(folder: Path | str, config: TextConfig, device: torch.device | str, dtype: torch.dtype) -> ByteT5:
    """The byte encoder of the model in `folder`, from its text_encoder/config.json and model.safetensors.

    Raises MissingWeights if a file is not there, WeightsError if one does not fit, ConfigError for float16.
    """
    _refuse_float16(dtype)
    t5 = _unread_byte_t5(Path(folder))
    t5.fill(device, dtype)
    return ByteT5(cast(T5Encoder, t5.network), config.max_length)


def load_clip_t5(path: Path | str, config: TextConfig, device: torch.device | str, dtype: torch.dtype) -> ClipT5:
    """CLIP-L and T5-XXL from the folder `path`, in one of two layouts, told apart by text_encoder_2/.

    diffusers: text_encoder/ (CLIP) and text_encoder_2/ (T5), each with its config.json. Stand-alone:
    clip_l.safetensors, and t5xxl_fp16.safetensors or t5xxl_fp8_e4m3fn.safetensors; float8, with its scales if
    there are any, is widened to dtype. Both: tokenizer/ (CLIP) and tokenizer_2/ (T5).
    Raises MissingWeights if a file is not there, WeightsError if one does not fit, ConfigError for float16.
    """
    _refuse_float16(dtype)
    clip_at, t5_at, clip_words_at, t5_words_at = find_clip_t5(Path(path))
    unread_clip, unread_t5 = _unread_clip_t5(clip_at, t5_at)
    clip, t5, hf = cast(Any, unread_clip.network), cast(Any, unread_t5.network), _transformers()
    clip_tokenizer = _tokenizer(clip_words_at, hf.CLIPTokenizer, CLIP_SPECIAL, clip.config.vocab_size)
    t5_tokenizer = _tokenizer(t5_words_at, hf.T5Tokenizer, T5_SPECIAL, t5.config.vocab_size)
    unread_clip.fill(device, dtype)
    unread_t5.fill(device, dtype)
    # A buffer that no file holds: it would stay on meta.
    clip.embeddings.position_ids = torch.arange(clip.config.max_position_embeddings, device=device)[None]
    log.info("text encoders loaded clip=%s t5=%s dtype=%s device=%s", clip_at, t5_at, dtype, device)
    return ClipT5(clip, t5, clip_tokenizer, t5_tokenizer, config)


def unread_networks(folder: Path, config: TextConfig) -> list[Unread]:
    """The networks of the text encoder in a folder, in the order in which the encoder has them; nothing is read.

    Raises MissingWeights if a file is not there, WeightsError if one does not fit.
    """
    if config.kind == "byte_t5":
        found = [_unread_byte_t5(folder)]
    else:
        clip, t5 = _unread_clip_t5(*find_clip_t5(folder)[:2])
        found = [t5, clip]
    for each in found:
        each.check()
    return found


@dataclass(frozen=True)
class Unread:
    """A network of a text encoder on the meta device, and where its weights lie."""

    network: nn.Module
    weights: _Weights

    def check(self) -> None:
        """Raises WeightsError unless the files hold every tensor of the network and no other."""
        self.weights.check(_shapes(self.network))

    def fill(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Give the network its tensors, each cast to dtype before the next is read. Raises what `check` raises."""
        self.check()
        with self.weights.reading(device, dtype) as read:
            tensors = {name: read(name) for name in _shapes(self.network)}
        self.network.load_state_dict(tensors, assign=True)


def _unread_byte_t5(folder: Path) -> Unread:
    weights = _Weights(folder / "text_encoder")
    sizes = _read_json(weights.place / "config.json")
    try:
        config = T5Config(**{field.name: sizes[field.name] for field in fields(T5Config)})
    except KeyError as name:
        raise WeightsError(f"{weights.place}/config.json: no {name}; a T5 v1.1 encoder's accepted") from None
    with torch.device("meta"):
        return Unread(T5Encoder(config), weights)


def _unread_clip_t5(clip_at: Path, t5_at: Path) -> tuple[Unread, Unread]:
    clip_weights = _Weights(clip_at).rename("embeddings.token_embedding.weight")
    t5_weights = _Weights(t5_at).rename("block.0.layer.0.SelfAttention.q.weight")
    hf = _transformers()
    with torch.device("meta"):
        clip = hf.CLIPTextModel(_clip_config(hf, clip_weights))
        t5 = hf.T5EncoderModel(_t5_config(hf, t5_weights)).encoder
    clip = getattr(clip, "text_model", clip)  # where transformers keeps the stack depends on its version
    return Unread(clip, clip_weights), Unread(t5, t5_weights)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ConfigError("text.kind='clip_t5': needs `transformers`; pip install 'recast[text]'") from None
    return transformers


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _refuse_float16(dtype: torch.dtype) -> None:
    if dtype == torch.float16:
        raise ConfigError("dtype=float16: T5 overflows in it; bfloat16 or float32 accepted; try bfloat16")


def stand_alone_files(folder: Path) -> list[Path]:
    """The encoder files that `load_clip_t5` reads from a folder of stand-alone files; none in any other layout."""
    try:
        return [place for place in find_clip_t5(folder)[:2] if place.is_file()]
    except MissingWeights:
        return []


def find_clip_t5(path: Path) -> tuple[Path, Path, Path, Path]:
    """Where CLIP, T5, CLIP's tokenizer and T5's are: folders, or a file for each network."""
    if (path / "text_encoder_2").is_dir():
        clip, t5 = path / "text_encoder", path / "text_encoder_2"
    else:
        clip, t5 = path / "clip_l.safetensors", path / "t5xxl_fp16.safetensors"
        float8 = path / "t5xxl_fp8_e4m3fn.safetensors"
        t5 = float8 if float8.is_file() and not t5.is_file() else t5
    clip_words, t5_words = path / "tokenizer", path / "tokenizer_2"
    sources = {clip: CLIP_SOURCE, t5: T5_SOURCE, clip_words: CLIP_SOURCE, t5_words: T5_SOURCE}
    missing = [f"{place.name} (from {source})" for place, source in sources.items() if not place.exists()]
    if missing:
        raise MissingWeights(
            f"{path}: without {', '.join(missing)}; the diffusers layout accepted, or clip_l.safetensors, "
            "t5xxl_fp16.safetensors or t5xxl_fp8_e4m3fn.safetensors, tokenizer/ and tokenizer_2/; copy them there"
        )
    return clip, t5, clip_words, t5_words


class _Weights:
    """The tensors of one encoder in a safetensors file, or in a folder; each is read only when its turn comes."""

    def __init__(self, place: Path) -> None:
        self.place, files = place, [place]
        if place.is_dir():
            index = place / "model.safetensors.index.json"
            shards = _read_json(index)["weight_map"].values() if index.is_file() else ["model.safetensors"]
            files = [place / Path(name).name for name in sorted(set(shards))]
        missing = ", ".join(file.name for file in files if not file.is_file())
        if missing:
            raise MissingWeights(f"{place}: without {missing}; safetensors files accepted; copy them there")
        self.stored: dict[str, tuple[Path, str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            try:
                with safe_open(file, framework="pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 - the handle is no mapping
                        self.stored[name] = file, name
                        self.shapes[name] = tuple(opened.get_slice(name).get_shape())
            except SafetensorError as error:
                raise WeightsError(f"{file}: {error}; safetensors accepted; copy the file again") from None

    def rename(self, landmark: str) -> Self:
        """Self, its names without the prefix of `landmark`; T5's embedding, twice in some files, has one name."""
        prefix = next((name.removesuffix(landmark) for name in self.shapes if name.endswith(landmark)), "")
        plain = {name: name.removeprefix(prefix).replace("shared.", "embed_tokens.") for name in self.shapes}
        self.stored = {plain[name]: source for name, source in self.stored.items()}
        self.shapes = {plain[name]: shape for name, shape in self.shapes.items()}
        return self

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise WeightsError(f"{self.place}: no tensor {name}; a whole text encoder accepted; is it one?")
        return self.shapes[name]

    def depth(self, prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".")[0] for name in self.shapes if name.startswith(prefix)})

    def check(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Raises WeightsError unless these are the tensors that are there, by name and shape."""
        input_scales = {name.removesuffix("weight") + "scale_input" for name in wanted}
        spare = UNUSED | input_scales | set(map(_scale_of, wanted))
        problems = {
            "missing": wanted.keys() - self.shapes.keys(),
            "unexpected": self.shapes.keys() - wanted.keys() - spare,
            "misshapen": {name for name in wanted if self.shapes.get(name, wanted[name]) != wanted[name]},
        }
        listed = [f"{len(names)} {kind}, {sorted(names)[:10]}" for kind, names in problems.items() if names]
        if listed:
            raise WeightsError(f"{self.place}: {'; '.join(listed)}; every tensor of the encoder and no other accepted")

    @contextmanager
    def reading(self, device: torch.device | str, dtype: torch.dtype) -> Iterator[Callable[[str], Tensor]]:
        """Gives one tensor by its name, cast to dtype; it is read when it is asked for.

        Mapped, and no copy, where the file has it as it is wanted on a CPU. All such have one mapping of a file: the
        pages of each count again. What is cast or sent to another device is read through a mapping of its own, since
        a page that was read stays resident as long as its mapping.
        """
        with ExitStack() as held:
            files = {file: held.enter_context(safe_open(file, framework="pt")) for file, _ in self.stored.values()}

            def read(name: str) -> Tensor:
                file, stored_name = self.stored[name]
                mapped: Tensor = files[file].get_tensor(stored_name)  # none of its pages is read yet
                is_scaled = _scale_of(name) in self.stored  # of float8 weights
                if mapped.dtype == dtype and torch.device(device).type == "cpu" and not is_scaled:
                    return mapped
                tensor = self._alone(name).to(device)
                if is_scaled:
                    tensor = tensor.float() * self._alone(_scale_of(name)).to(device)
                return tensor.to(dtype)

            yield read

    def _alone(self, name: str) -> Tensor:
        """A tensor as it is stored, whose mapping goes with it."""
        file, stored_name = self.stored[name]
        with safe_open(file, framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(stored_name)
        return tensor


def _scale_of(name: str) -> str:
    return name.removesuffix("weight") + "scale_weight"


def _clip_config(hf: Any, weights: _Weights) -> Any:
    """The config.json beside the weights, or what their shapes say: heads of 64, as in every published CLIP."""
    if weights.place.is_dir():
        return hf.CLIPTextConfig.from_dict(_read_json(weights.place / "config.json"))
    vocab_size, width = weights.shape("embeddings.token_embedding.weight")
    return hf.CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=weights.shape("encoder.layers.0.mlp.fc1.weight")[0],
        num_hidden_layers=weights.depth("encoder.layers."),
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=weights.shape("embeddings.position_embedding.weight")[0],
        hidden_act="quick_gelu",
    )


def _t5_config(hf: Any, weights: _Weights) -> Any:
    """The config.json beside the weights, or what their shapes say."""
    if weights.place.is_dir():
        return hf.T5Config.from_dict(_read_json(weights.place / "config.json"))
    first = "block.0.layer"
    num_buckets, num_heads = weights.shape(f"{first}.0.SelfAttention.relative_attention_bias.weight")
    vocab_size, width = weights.shape("embed_tokens.weight")
    return hf.T5Config(
        vocab_size=vocab_size,
        d_model=width,
        d_kv=weights.shape(f"{first}.0.SelfAttention.q.weight")[0] // num_heads,
        d_ff=weights.shape(f"{first}.1.DenseReluDense.wi_0.weight")[0],
        num_layers=weights.depth("block."),
        num_heads=num_heads,
        relative_attention_num_buckets=num_buckets,
        feed_forward_proj="gated-gelu",
    )


def _tokenizer(folder: Path, kind: Any, special: tuple[str, ...], num_embeddings: int) -> Any:
    """The `tokenizers.Tokenizer` in `folder`: its tokenizer.json, or else converted from the older files.

    These are looked for first, because `from_pretrained` makes up a vocabulary where there is none.
    """
    whole = folder / "tokenizer.json"
    older = [name for name in kind.vocab_files_names.values() if name != whole.name]
    if not whole.is_file() and not all((folder / name).is_file() for name in older):
        wanted = " and ".join(older)
        raise MissingWeights(f"{folder}: no tokenizer; {whole.name} or {wanted} accepted; copy it there")
    try:
        from tokenizers import Tokenizer

        if whole.is_file():
            words = Tokenizer.from_file(str(whole))
        else:
            words = kind.from_pretrained(str(folder), local_files_only=True).backend_tokenizer
    except Exception as error:  # for a broken file these libraries raise whatever they like
        raise WeightsError(f"{folder}: {error}; the published tokenizer accepted; copy it again") from None
    words.no_truncation()
    words.no_padding()
    if words.get_vocab_size() > num_embeddings or any(words.token_to_id(name) is None for name in special):
        raise WeightsError(
            f"{folder}: {words.get_vocab_size()} tokens for {num_embeddings} embeddings; a tokenizer of the same "
            f"model, with {' and '.join(special)}, accepted; is it another model's?"
        )
    return words


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        raise MissingWeights(f"{file}: not there; the one beside the published weights accepted; copy it") from None
    except ValueError as error:
        raise WeightsError(f"{file}: {error}; JSON accepted; copy it again") from None
