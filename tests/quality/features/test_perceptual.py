"""LPIPS against the published modules, written out here as they are, on shared random weights."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recast.errors import InputError, MissingWeights, WeightsError
from recast.quality.features.perceptual import Lpips


def alexnet():
    """torchvision's `alexnet().features`, layer by layer."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        features = alexnet().eval()
        linear = [torch.rand(1, width, 1, 1) for width in (64, 192, 384, 256, 256)]
    return features, linear


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lpips")
    write(folder, *network)
    return folder


def write(folder, features, linear, *, safe=True, **more):
    trunk = {f"features.{name}": tensor for name, tensor in features.state_dict().items()} | more
    lines = {f"lin{index}.model.1.weight": tensor for index, tensor in enumerate(linear)}
    if safe:
        save_file(trunk, folder / "alexnet.safetensors")
        save_file(lines, folder / "alex.safetensors")
    else:
        torch.save(trunk, folder / "alexnet-owt-7be5be79.pth")
        torch.save(lines, folder / "alex.pth")


def pictures(height=72, width=88, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.uint8)


def published(network, first, second):
    """The maps of formula (1) of the paper, from the outputs of every second rectifier, in float64."""
    features, linear = network
    maps = []
    for pixels in (first, second):
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 * 2 - 1
        x = (x - torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).view(
            1, 3, 1, 1
        )
        taken = []
        for index, layer in enumerate(features):
            x = layer(x)
            if index in (1, 4, 7, 9, 11):
                taken.append(x[0].detach().double().numpy())
        maps.append([values / np.linalg.norm(values, axis=0) for values in taken])
    return [(weights.double().numpy()[0] * (a - b) ** 2).sum(0) for a, b, weights in zip(*maps, linear, strict=True)]


def test_the_distance_is_the_published_one(network, folder):
    first, second = pictures()
    expected = sum(values.mean() for values in published(network, first, second))
    assert Lpips(folder).distance(first, second) == pytest.approx(expected, rel=1e-4)


def test_the_map_is_the_sum_of_the_enlarged_maps(network, folder):
    import cv2

    first, second = pictures()
    expected = sum(
        cv2.resize(values, (88, 72), interpolation=cv2.INTER_LINEAR) for values in published(network, first, second)
    )
    np.testing.assert_allclose(Lpips(folder).map(first, second), expected, rtol=1e-3)


def test_equal_pictures_have_no_distance_and_order_does_not_matter(folder):
    lpips, (first, second) = Lpips(folder), pictures()
    assert lpips.distance(first, first) == 0
    assert lpips.distance(first, second) == lpips.distance(second, first) > 0


def test_the_distance_on_a_mask_sees_only_what_changed_near_it(folder):
    lpips = Lpips(folder)
    first = pictures(96, 400)[0]
    second = first.copy()
    second[:, :48] = 255 - second[:, :48]
    where = np.zeros((96, 400), bool)
    where[:, 350:] = True
    assert lpips.distance_on(first, second, where) == 0
    assert lpips.distance_on(first, second, ~where) > 0
    with pytest.raises(InputError, match="0 true"):
        lpips.distance_on(first, second, np.zeros((96, 400), bool))


def test_the_published_pth_names_hold_the_same_network(network, folder, tmp_path):
    write(tmp_path, *network, safe=False, **{"classifier.6.bias": torch.zeros(1000)})
    first, second = pictures()
    assert Lpips(tmp_path).distance(first, second) == Lpips(folder).distance(first, second)


def test_weights_of_another_network_are_refused_name_by_name(network, tmp_path):
    features, linear = network
    write(tmp_path, features, linear[:4])
    with pytest.raises(WeightsError, match=r"missing 1 \(lin4"):
        Lpips(tmp_path)
    write(tmp_path, features[:9], linear)
    with pytest.raises(WeightsError, match=r"missing 2 \(features\.10\.bias"):
        Lpips(tmp_path)


def test_a_pickle_that_runs_code_is_refused_unrun(network, tmp_path):
    class Harm:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "harm"),))

    write(tmp_path, *network, safe=False)
    torch.save({"lin0.model.1.weight": Harm()}, tmp_path / "alex.pth")
    with pytest.raises(WeightsError, match=r"alex\.pth"):
        Lpips(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingWeights, match=r"alexnet\.safetensors"):
        Lpips(tmp_path)


def test_pictures_of_two_sizes_or_too_small_are_refused(folder):
    lpips, (first, second) = Lpips(folder), pictures()
    with pytest.raises(InputError, match="one size"):
        lpips.distance(first, second[:-1])
    with pytest.raises(InputError, match="one size"):
        lpips.distance(first[:34], second[:34])
    assert lpips.map(first[:35, :35], second[:35, :35]).shape == (35, 35)
