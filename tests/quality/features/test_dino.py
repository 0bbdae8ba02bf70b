import numpy as np
import pytest
import torch
from PIL import Image

from recast.errors import MissingWeights, WeightsError
from recast.quality.features.dino import Dino
from tests.quality.features import folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dinov2")


@pytest.fixture(scope="module")
def network(folder):
    return folders.dino(folder)


@pytest.fixture(scope="module")
def dino(network, folder):
    return Dino(folder)


def photo(height=300, width=400, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_the_vector_is_the_class_token_of_the_published_preprocessing(dino, network):
    pixels = photo()
    resized = np.asarray(Image.fromarray(pixels).resize((341, 256), Image.Resampling.BICUBIC))
    crop = resized[16 : 16 + 224, 58 : 58 + 224] / 255
    values = (crop - folders.IMAGENET_COLOURS["image_mean"]) / folders.IMAGENET_COLOURS["image_std"]
    with torch.inference_mode():
        states = network(pixel_values=torch.from_numpy(values).permute(2, 0, 1)[None].float()).last_hidden_state
    expected = states[0, 0].numpy()
    np.testing.assert_allclose(dino.vector(pixels), expected / np.linalg.norm(expected), atol=2e-5)


def test_the_likeness_of_crops_does_not_see_the_background(dino):
    first, second = photo(), photo(seed=1)
    second[50:150, 100:200] = first[200:300, 10:110]
    boxes = (np.array([10, 200, 110, 300]), np.array([100, 50, 200, 150]))
    assert dino.likeness(first, second, boxes) == pytest.approx(1, abs=1e-6)
    assert dino.likeness(first, second) < 0.9999


def test_a_folder_of_another_network_is_refused(tmp_path, dino):
    folders.clip(tmp_path)
    with pytest.raises(WeightsError, match="dinov2"):
        Dino(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(MissingWeights, match=r"config\.json"):
        Dino(tmp_path)
