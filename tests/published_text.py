"""Small random CLIP and T5 encoders with their tokenizers, in the layout in which the large ones are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

LETTERS = " ".join("abcdefghijklmnopqrstuvwxyz" * 4)  # 104 tokens for CLIP and T5 alike

CLIP_SIZES = {"hidden_size": 128, "intermediate_size": 96, "num_attention_heads": 2, "num_hidden_layers": 2}
CLIP_JSON = {
    **{"_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"], "attention_dropout": 0.0},
    **{"bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05},
    **{"initializer_factor": 1.0, "initializer_range": 0.02, "max_position_embeddings": 77, "pad_token_id": 1},
    **{"model_type": "clip_text_model", "projection_dim": 768, "torch_dtype": "bfloat16", "vocab_size": 540},
    **CLIP_SIZES,
}
T5_SIZES = {"d_ff": 56, "d_kv": 8, "d_model": 32, "num_heads": 6, "num_layers": 2}
T5_JSON = {
    **{"_name_or_path": "google/t5-v1_1-xxl", "architectures": ["T5EncoderModel"], "classifier_dropout": 0.0},
    **{"decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1, "eos_token_id": 1},
    **{"feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": True, "is_gated_act": True},
    **{"layer_norm_epsilon": 1e-06, "model_type": "t5", "num_decoder_layers": 24, "output_past": True},
    **{"pad_token_id": 0, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32},
    **{"tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 500, **T5_SIZES},
}


def write_diffusers_text(folder: Path) -> Path:
    """Write text_encoder/, text_encoder_2/ (in two shards), tokenizer/ and tokenizer_2/ into a folder; the folder."""
    for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        (folder / name).mkdir()
    write_clip_tokenizer(folder / "tokenizer")
    write_t5_tokenizer(folder / "tokenizer_2")
    clip, t5 = random_weights()
    write_json(folder / "text_encoder" / "config.json", CLIP_JSON)
    save_file(clip, folder / "text_encoder" / "model.safetensors", {"format": "pt"})
    write_json(folder / "text_encoder_2" / "config.json", T5_JSON)
    names = sorted(t5)
    shards = {"model-00001-of-00002.safetensors": names[:7], "model-00002-of-00002.safetensors": names[7:]}
    for file, part in shards.items():
        save_file({name: t5[name] for name in part}, folder / "text_encoder_2" / file, {"format": "pt"})
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    write_json(folder / "text_encoder_2" / "model.safetensors.index.json", index)
    return folder


def write_json(file: Path, data: Any) -> None:
    file.write_text(json.dumps(data))


def write_clip_tokenizer(folder: Path) -> None:
    letters = sorted(ByteLevel.alphabet())
    merges = ["t h", "th e</w>", "r e", "re d</w>"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {word: i for i, word in enumerate(words)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


def write_t5_tokenizer(folder: Path) -> None:
    lines = [
        "a red house by the sea at night",
        "the hat is blue and the cat is white",
        "fire in the wood!",
        LETTERS,
    ] * 9
    with (folder / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            vocab_size=120,
            user_defined_symbols=[f"▁{letter}" for letter in LETTERS[:51:2]],
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )


def random_weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Both encoders' weights by their published names, large enough that every part of a network shows."""
    torch.manual_seed(0)
    clip = transformers.CLIPTextModel(transformers.CLIPTextConfig.from_dict(CLIP_JSON))
    t5 = transformers.T5EncoderModel(transformers.T5Config.from_dict(T5_JSON))
    for network in (clip, t5):
        for name, weight in network.named_parameters():
            weight.data.normal_(mean=float("norm.weight" in name or "norm1.weight" in name), std=0.15)
    clip = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in clip.state_dict().items()}
    t5 = {name: value for name, value in t5.state_dict().items() if name != "encoder.embed_tokens.weight"}
    return clip, t5
