"""Latents of unit scale, folded into the weights."""

import json
from dataclasses import replace

import pytest
import torch

from recast import weights
from recast.config import tiny
from recast.errors import ConfigError, InputError, WeightsError
from recast.latents.autoencoder import Autoencoder
from recast.train import normalise
from tests.tiny import randomise, tiny_autoencoder


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    """With means and scales that differ from channel to channel, and factors that are not 1 and 0."""
    made = Autoencoder(replace(tiny().autoencoder, scale_factor=0.7, shift_factor=-0.2))
    made.load_state_dict(tiny_autoencoder().state_dict())
    randomise(made.encoder.conv_out, 3, std=0.1)
    with torch.no_grad():
        made.encoder.conv_out.weight[:16] *= torch.linspace(0.2, 4, 16)[:, None, None, None]
        made.encoder.conv_out.bias += torch.linspace(-1, 2, 32)
    return made.eval().requires_grad_(False)


def pixels(count: int = 6, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return 2 * torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear") - 1


@pytest.fixture(scope="module")
def found(autoencoder) -> normalise.LatentStatistics:
    return normalise.statistics(autoencoder, pixels().split(2))


def test_statistics_do_not_depend_on_how_pictures_are_grouped(autoencoder, found):
    latents = autoencoder.encode(pixels()).double()
    assert torch.allclose(torch.tensor(found.mean).double(), latents.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(torch.tensor(found.std).double(), latents.std((0, 2, 3), correction=0), rtol=1e-6)
    other = normalise.statistics(autoencoder, pixels().split([1, 5]))
    assert other.mean == pytest.approx(found.mean, abs=1e-6)
    assert other.std == pytest.approx(found.std, rel=1e-6)
    assert (found.pictures, found.positions) == (6, 6 * 16 * 16)


def test_a_large_common_offset_costs_no_precision(autoencoder):
    """Sums of squares in float32, or without merging, would lose the spread."""
    far = Autoencoder(replace(autoencoder.config, shift_factor=-1e4, scale_factor=1.0))
    far.load_state_dict(autoencoder.state_dict())
    near = normalise.statistics(autoencoder, pixels().split(2))
    there = normalise.statistics(far, pixels().split(2))
    assert [0.7 * std for std in there.std] == pytest.approx(near.std, rel=1e-2)


@pytest.mark.parametrize("shifts", ["each", "shared"])
def test_latents_have_unit_spread_in_every_channel(autoencoder, found, shifts):
    made = normalise.normalised(autoencoder, found, shifts=shifts)
    latents = made.encode(pixels()).double()
    assert torch.allclose(latents.std((0, 2, 3), correction=0), torch.ones(16).double(), atol=1e-4)
    if shifts == "each":
        assert latents.mean((0, 2, 3)).abs().max() < 1e-4
        assert (made.config.scale_factor, made.config.shift_factor) == (1.0, 0.0)
    else:
        assert abs(latents.mean().item()) < 1e-4
    before = autoencoder.encode(pixels())
    std, mean = torch.tensor(found.std)[:, None, None], torch.tensor(found.mean)[:, None, None]
    shift = 0 if shifts == "each" else made.config.shift_factor
    expected = (before - mean) / std if shifts == "each" else (before / 0.7 - 0.2) / (std / 0.7) - shift
    assert torch.allclose(latents.float(), expected, atol=1e-4)


def test_the_log_variances_follow(autoencoder, found):
    made = normalise.normalised(autoencoder, found)
    before = autoencoder.encoder([pixels()]).chunk(2, dim=1)[1]
    after = made.encoder([pixels()]).chunk(2, dim=1)[1]
    std = torch.tensor(found.std) / 0.7
    assert torch.allclose(after, before - 2 * std.log()[:, None, None], atol=1e-4)


def test_shared_shifts_change_no_reconstruction(autoencoder, found):
    made = normalise.normalised(autoencoder, found, shifts="shared")
    before = autoencoder.decode(autoencoder.encode(pixels()))
    assert torch.allclose(made.decode(made.encode(pixels())), before, atol=1e-4)


def test_shifts_of_each_channel_change_the_first_convolution_at_the_border_alone(autoencoder, found):
    made = normalise.normalised(autoencoder, found, shifts="each")
    latents = autoencoder.encode(pixels())
    before = autoencoder.decoder.conv_in(latents / 0.7 - 0.2)
    apart = made.decoder.conv_in(made.encode(pixels())) - before
    assert apart[..., 1:-1, 1:-1].abs().max() < 1e-4 * before.abs().max()
    taps = normalise.border(autoencoder, found).float()
    assert torch.allclose(apart[0, :, 0, 1:-1], taps[:, 0].sum(1, keepdim=True).expand(-1, 14), atol=1e-3)
    corner = taps.sum((1, 2)) - taps[:, :2, :2].sum((1, 2))
    assert torch.allclose(apart[0, :, -1, -1], corner, atol=1e-3)
    assert apart[0, :, 0, 0].abs().max() > 0.1


def test_the_original_is_left_alone(autoencoder, found):
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    normalise.normalised(autoencoder, found)
    assert all(torch.equal(before[name], value) for name, value in autoencoder.state_dict().items())
    assert autoencoder.config.scale_factor == 0.7


def test_a_file_keeps_the_published_layout(autoencoder, found, tmp_path):
    made = normalise.normalised(autoencoder, found, shifts="shared")
    config = replace(tiny(), autoencoder=made.config)
    path = weights.save(tmp_path / "ae.safetensors", {"autoencoder": made}, config, layout="bfl")
    again = Autoencoder(made.config)
    weights.load_into(again, weights.open_checkpoint(path, "autoencoder"))
    assert torch.equal(again.encode(pixels()), made.encode(pixels()))
    assert set(again.state_dict()) == set(autoencoder.state_dict())


def test_statistics_lie_beside_the_weights_they_are_of(found, tmp_path):
    file, other = tmp_path / "ae.safetensors", tmp_path / "other.safetensors"
    file.write_bytes(b"weights")
    path = normalise.write(found, file)
    assert normalise.read(file) == found
    with pytest.raises(WeightsError, match="exists"):
        normalise.write(found, file)
    other.write_bytes(b"other weights")
    (tmp_path / "other.statistics.json").write_text(path.read_text())
    with pytest.raises(WeightsError, match="of other weights"):
        normalise.read(other)
    content = json.loads(path.read_text())
    content["std"][0] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="changed"):
        normalise.read(file)
    path.write_text("{}")
    with pytest.raises(WeightsError, match="not latent statistics"):
        normalise.read(file)


def test_what_cannot_work_is_refused(autoencoder, found):
    with pytest.raises(InputError, match="none came"):
        normalise.statistics(autoencoder, [])
    with pytest.raises(InputError, match="not finite"):
        normalise.statistics(autoencoder, [pixels() * torch.nan])
    with pytest.raises(ConfigError, match=r"channels \[3\]"):
        normalise.normalised(autoencoder, replace(found, std=(*found.std[:3], 0.0, *found.std[4:])))
    with pytest.raises(ConfigError, match="4 channels; 16"):
        normalise.normalised(autoencoder, replace(found, std=(1.0,) * 4, mean=(0.0,) * 4))
