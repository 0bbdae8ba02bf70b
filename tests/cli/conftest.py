"""A tiny model on the disk, pictures to edit, and a way to run the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recast import weights
from recast.cli import main
from recast.config import tiny
from recast.pixels import image
from recast.speed.engine import Engine
from tests.tiny import tiny_pipeline, tiny_text

Recast = Callable[..., int]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `tiny` model, random weights, as `recast.load` reads it."""
    pipeline, text = tiny_pipeline(), tiny_text()
    parts = {
        "flow": pipeline.flow,
        "autoencoder": pipeline.autoencoder,
        "text_encoder": text.network,
    }
    sizes = {
        "vocab_size": 384, "d_model": tiny().flow.context_in_dim, "d_kv": 8, "d_ff": 32, "num_layers": 1,
        "num_heads": 3, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return weights.save(folder, parts, tiny(), text_encoder_config=sizes)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> Path:
    """An empty current folder; the tiny model is the usual one, in fp32 on every machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECAST_MODEL", str(model))
    monkeypatch.setenv("RECAST_DTYPE", "fp32")
    monkeypatch.setenv("RECAST_DEVICE", "cpu")
    monkeypatch.delenv("RECAST_VARIANT", raising=False)
    return tmp_path


@pytest.fixture
def photo(here: Path) -> Path:
    return picture(here / "photo.png")


def picture(path: Path, seed: int = 0, *, width: int = 48, height: int = 32) -> Path:
    """Noise, so that a wrong row or channel cannot go unseen."""
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image.write(rgb, path)


@pytest.fixture
def recast() -> Recast:
    """The command line in this process, as a function of its words; returns the exit code."""
    return lambda *argv: main([str(word) for word in argv])


def runs_out(monkeypatch: pytest.MonkeyPatch, *at: int) -> None:
    """Memory runs out in these evaluations of the engine, counted from 0."""
    evaluate, count = Engine.evaluate, iter(range(1000))

    def evaluated(*given: Any, **more: Any) -> Any:
        if next(count) in at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return evaluate(*given, **more)

    monkeypatch.setattr(Engine, "evaluate", evaluated)
