"""LPIPS as a loss: the number that `recast.quality` measures by the same files, with a gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from recast.errors import ConfigError, MissingWeights, ShapeError, WeightsError
from recast.quality.features import perceptual as quality
from recast.train import runs
from recast.train.autoencoding import AutoencoderTraining
from recast.train.perceptual import LAYERS, LINEAR, TRUNK, Lpips
from recast.train.presets import tiny_ae
from recast.train.reconstruction import Weights

PUBLISHED = (64, 192, 384, 256, 256)


def written(folder: Path, widths: tuple[int, ...] = (4, 8, 8, 8, 6), *, zeros: bool = False) -> Path:
    """Random weights in the published layout, of these widths."""
    folder.mkdir(exist_ok=True)
    drawn = torch.Generator().manual_seed(3)
    trunk, into = {"classifier.1.weight": torch.zeros(2, 2)}, 3  # torchvision's file has a classifier too
    for (index, kernel, *_), width in zip(LAYERS, widths, strict=True):
        scale = 0.0 if zeros else (2 / (into * kernel**2)) ** 0.5
        trunk[f"features.{index}.weight"] = scale * torch.randn(width, into, kernel, kernel, generator=drawn)
        trunk[f"features.{index}.bias"] = scale * 0.1 * torch.randn(width, generator=drawn)
        into = width
    torch.save(trunk, folder / TRUNK[1])
    lines = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1, generator=drawn) for i, n in enumerate(widths)}
    save_file(lines, folder / LINEAR[0])
    return folder


def pictures(count: int = 2, side: int = 48) -> torch.Tensor:
    """(2, count, 3, side, side), of 8-bit levels in [-1, 1]."""
    levels = torch.randint(256, (2, count, 3, side, side), generator=torch.Generator().manual_seed(1))
    return levels.float() / 127.5 - 1


def test_it_is_the_number_that_quality_measures(tmp_path: Path):
    folder = written(tmp_path, PUBLISHED)
    a, b = pictures()
    rows = [np.ascontiguousarray(((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1)) for x in (a, b)]
    measured = [quality.Lpips(folder).distance(*pair) for pair in zip(*rows, strict=True)]
    assert Lpips(folder)(a, b).tolist() == pytest.approx(measured, rel=1e-4)


def test_descent_brings_a_picture_nearer(tmp_path: Path):
    made = Lpips(written(tmp_path))
    a, b = pictures(1)
    a.requires_grad_()
    before = made(a, b).sum()
    before.backward()
    assert a.grad is not None
    assert made(a.detach() - 0.05 * a.grad / a.grad.abs().max(), b).sum() < before
    assert made(b, b).tolist() == [0.0]


def test_where_no_unit_answers_distance_and_gradient_are_zero_and_not_nan(tmp_path: Path):
    a, b = pictures(1)
    a.requires_grad_()
    distance = Lpips(written(tmp_path, zeros=True))(a, b)
    distance.sum().backward()
    assert distance.tolist() == [0.0]
    assert a.grad is not None
    assert not a.grad.any()


def test_files_and_pictures_that_will_not_do_are_refused(tmp_path: Path):
    with pytest.raises(MissingWeights, match=r"alexnet\.safetensors"):
        Lpips(tmp_path)
    made = Lpips(written(tmp_path / "a"))
    with pytest.raises(ShapeError, match="35 pixels"):
        made(*pictures(1, 32))
    save_file({"lin0.model.1.weight": torch.zeros(1, 4, 1, 1)}, tmp_path / "a" / LINEAR[0])
    with pytest.raises(WeightsError, match=r"missing 4 \(lin1\.model\.1\.weight"):
        Lpips(tmp_path / "a")
    trunk = torch.load(tmp_path / "a" / TRUNK[1])
    for wrong, said in (({"state_dict": trunk}, "'state_dict'"), (trunk | {"features.0.bias": torch.ones(())}, "bias")):
        torch.save(wrong, tmp_path / "a" / TRUNK[1])
        with pytest.raises(WeightsError, match=said):
            Lpips(tmp_path / "a")


def test_an_autoencoder_is_trained_on_it_where_a_folder_is_named(tmp_path: Path):
    start = tiny_ae()
    folder = written(tmp_path / "lpips")
    training = replace(
        start.training, lpips=str(folder), weights=Weights(perceptual=0.3), crop=48, reads_lettering=True
    )
    titles = {"sizes": ((256, 144),), "categories": {"text": 1}, "kinds": None, "scene": "cartoon"}
    small = replace(start, training=training, data=replace(start.data, held_out=1, shown=1, batch_size=1, **titles))
    run = runs.ready(small, runs.Starts())
    (batch,) = (batch for batch, _ in zip(run.batches, range(1), strict=False))
    made = run.stage.loss("generator", run.stage.prepare(batch, 0.0), 0.0)
    assert made is not None
    assert made.parts["perceptual"] > 0
    assert run.stage.validate()["lettering"] == 0.0  # a title is there; an untrained autoencoder loses it
    assert set(run.settings.data["lpips"]) == {TRUNK[1], LINEAR[0]}  # another file is another run


@pytest.mark.parametrize("wrong", [{"weights": Weights(perceptual=0)}, {"crop": 32}])
def test_a_folder_that_would_count_for_nothing_or_crops_too_small_are_refused(wrong: dict):
    with pytest.raises(ConfigError, match="lpips"):
        AutoencoderTraining(**{"crop": 48, "late_crop": None, "lpips": "there", **wrong})
