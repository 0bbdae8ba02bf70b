"""Small models with random weights, and the helpers that write odd files around them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recast.config import ModelConfig, tiny
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from tests.weights.models import randomised


@pytest.fixture
def config() -> ModelConfig:
    return tiny()


@pytest.fixture
def flow(config: ModelConfig) -> FlowTransformer:
    return randomised(FlowTransformer(config.flow))


@pytest.fixture
def autoencoder(config: ModelConfig) -> Autoencoder:
    return randomised(Autoencoder(config.autoencoder))


@pytest.fixture
def empty_flow(config: ModelConfig) -> FlowTransformer:
    with torch.device("meta"):
        return FlowTransformer(config.flow)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes tensors with the safetensors library, so that our own writer is not its own judge."""

    def write(tensors: dict[str, Tensor], name: str = "file.safetensors", **metadata: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path, metadata or None)
        return path

    return write


@pytest.fixture
def write_raw(tmp_path: Path) -> Callable[..., Path]:
    """Writes a header as it is given, and data after it: for files that no writer makes."""

    def write_raw(header: bytes | dict[str, Any], data: bytes = b"", name: str = "raw.safetensors") -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / name
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
        return path

    return write_raw
