"""Tiny networks with random weights, saved by transformers as the published ones are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PIXELS = 32


def byte_names() -> list[str]:
    """The 256 symbols that byte-level vocabularies write bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(rest))]


def clip_tokenizer(folder: Path) -> int:
    """CLIP's tokenizer without any merge: a token a letter. Returns its size; the last two are start and end."""
    from transformers import CLIPTokenizer

    names = byte_names()
    symbols = [*names, *(name + "</w>" for name in names), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(vocab={symbol: index for index, symbol in enumerate(symbols)}, merges=[]).save_pretrained(folder)
    return len(symbols)


def preprocessing(folder: Path, kind: str, **values: Any) -> None:
    """A preprocessor_config.json of the form that is published: the class named without its backend."""
    published = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255, "resample": 3}
    content = {"image_processor_type": kind, **published, **values}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


CLIP_COLOURS = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
IMAGENET_COLOURS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def towers(size: int, **text: Any) -> dict[str, Any]:
    """The settings of CLIP's two stacks, as small as they go."""
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    marks = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    return {
        "text_config": {**small, "vocab_size": size, "max_position_embeddings": 77, **marks, **text},
        "vision_config": {**small, "image_size": PIXELS, "patch_size": 8},
        "projection_dim": 8,
    }


def keep(build: Callable[[], Any], folder: Path, std: float = 0.3, seed: int = 3) -> Any:
    """Build a network, fill it with numbers that matter, the same every time, and save it."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = build().eval()
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * std)
    network.save_pretrained(folder)
    return network


def clip(folder: Path) -> Any:
    """A CLIP folder; returns the network."""
    from transformers import CLIPConfig, CLIPModel

    size = clip_tokenizer(folder)
    square = {"height": PIXELS, "width": PIXELS}
    edge = {"size": {"shortest_edge": PIXELS}, "crop_size": square, "do_center_crop": True}
    preprocessing(folder, "CLIPImageProcessor", **edge, **CLIP_COLOURS)
    return keep(lambda: CLIPModel(CLIPConfig(**towers(size))), folder)


def dino(folder: Path) -> Any:
    """A DINOv2 folder at the published size, 256 cropped to 224, patches of 14; returns the network."""
    from transformers import Dinov2Config, Dinov2Model

    square = {"height": 224, "width": 224}
    edge = {"size": {"shortest_edge": 256}, "crop_size": square, "do_center_crop": True, "do_convert_rgb": True}
    preprocessing(folder, "BitImageProcessor", **edge, **IMAGENET_COLOURS)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=518, patch_size=14)
    return keep(lambda: Dinov2Model(config), folder)


def owl(folder: Path, kind: str) -> Any:
    """An OWL-ViT ("owlvit") or OWLv2 ("owlv2") folder; returns the network."""
    import transformers

    name = {"owlvit": "OwlViT", "owlv2": "Owlv2"}[kind]
    size = clip_tokenizer(folder)
    square = {"height": PIXELS, "width": PIXELS}
    more = {"do_pad": True} if kind == "owlv2" else {"crop_size": square, "do_center_crop": False}
    preprocessing(folder, f"{name}ImageProcessor", size=square, **more, **CLIP_COLOURS)
    settings = {**towers(size, max_position_embeddings=24), "projection_dim": 16}  # the text's width, as published
    config = getattr(transformers, f"{name}Config")(**settings)
    return keep(lambda: getattr(transformers, f"{name}ForObjectDetection")(config), folder, 0.05)


def grounding_dino(folder: Path) -> Any:
    """A Grounding DINO folder; returns the network."""
    from transformers import BertTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "red", "hat", "cat"]
    BertTokenizer(vocab={word: index for index, word in enumerate(words)}).save_pretrained(folder)
    preprocessing(
        folder, "GroundingDinoImageProcessor", size={"shortest_edge": 64, "longest_edge": 107}, do_pad=True,
        **IMAGENET_COLOURS,
    )  # fmt: skip
    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    text = {
        "model_type": "bert", "vocab_size": 109, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64,
    }  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=12,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_text_len=16,
    )  # fmt: skip
    return keep(lambda: GroundingDinoForObjectDetection(config), folder, 0.1)
