import numpy as np
import pytest
import torch
from PIL import Image

from recast.errors import InputError, MissingWeights, WeightsError
from recast.quality.features.clip import Clip, agreement, direction, retrieval, unit
from tests.quality.features import folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clip")


@pytest.fixture(scope="module")
def network(folder):
    return folders.clip(folder)


@pytest.fixture(scope="module")
def clip(network, folder):
    return Clip(folder)


def photo(height=50, width=70, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def published(pixels):
    """The published preprocessing by hand: shorter side to 32 bicubically, centre 32, CLIP's colours."""
    height, width = pixels.shape[:2]
    scale = folders.PIXELS / min(height, width)
    size = (int(width * scale), int(height * scale))
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    left, top = (resized.shape[1] - folders.PIXELS) // 2, (resized.shape[0] - folders.PIXELS) // 2
    crop = resized[top : top + folders.PIXELS, left : left + folders.PIXELS] / 255
    values = (crop - folders.CLIP_COLOURS["image_mean"]) / folders.CLIP_COLOURS["image_std"]
    return torch.from_numpy(values).permute(2, 0, 1)[None].float()


def peer(network, pixels, text):
    """The vectors of transformers' own forward pass, which the network was published for. Letters are tokens."""
    names = folders.byte_names()
    words = [[names.index(c) for c in word[:-1]] + [256 + names.index(word[-1])] for word in text.split()]
    tokens = [512, *(token for word in words for token in word), 513]
    with torch.inference_mode():
        out = network(input_ids=torch.tensor([tokens]), pixel_values=published(pixels))
    return out.image_embeds.numpy(), out.text_embeds.numpy()


@pytest.mark.parametrize(("height", "width"), [(50, 70), (90, 64)])
def test_vectors_are_those_of_the_published_preprocessing_and_network(clip, network, height, width):
    pixels = photo(height, width)
    expected = peer(network, pixels, "a red hat")
    np.testing.assert_allclose(clip.pictures([pixels]), expected[0], atol=2e-5)
    np.testing.assert_allclose(clip.texts(["a red hat"]), expected[1], atol=2e-5)


def test_a_picture_alone_and_among_others_has_the_same_vector(clip):
    first, second = photo(), photo(64, 40, 1)
    np.testing.assert_array_equal(clip.pictures([first, second])[1], clip.pictures([second])[0])
    assert agreement(*clip.pictures([first, first])) == pytest.approx(1)


def test_a_caption_that_would_be_cut_is_refused(clip):
    assert clip.texts(["x" * 75]).shape == (1, 8)
    with pytest.raises(InputError, match="78 tokens came"):
        clip.texts(["x" * 76])


def test_empty_input_is_refused(clip):
    with pytest.raises(InputError, match="empty caption"):
        clip.texts([" "])
    with pytest.raises(InputError, match="none came"):
        clip.pictures([])


def test_a_network_without_all_its_weights_is_refused(folder, network, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"visual_projection\.weight"):
        Clip(tmp_path / "clip")


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json", "config.json"])
def test_a_missing_file_is_named(folder, network, tmp_path, missing):
    for file in folder.iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(MissingWeights, match=missing):
        Clip(tmp_path)


def test_the_description_says_files_and_preprocessing(clip):
    description = clip.describe()
    assert description["preprocessing"] == "CLIPImageProcessorPil"
    assert len(description["files"]["model.safetensors"]) == 64


def on_sphere(*values):
    return unit(np.array([values], np.float64))[0]


def test_direction_is_the_cosine_of_both_moves():
    x, y, z = np.eye(3)
    assert direction(x, x + 0.2 * y, z, z + 0.7 * y) == pytest.approx(1)
    assert direction(x, x + 0.2 * y, z, z + 0.3 * x) == pytest.approx(0)
    assert direction(x, x - 0.2 * y, z, z + 0.7 * y) == pytest.approx(-1)


def test_direction_is_undefined_where_nothing_moved():
    before, after = on_sphere(1, 0, 0), on_sphere(1, 1, 0)
    assert direction(before, before, before, after) is None
    assert direction(before, after, before, before) is None


def scene(distractors=9, step=0.5, floor=0.1):
    """A picture that moved along axis 1, where the right caption points; distractors point elsewhere."""
    source, text = np.eye(16)[0], np.eye(16)[15]
    others = np.array([unit(text[None] + 0.5 * np.eye(16)[2 + index])[0] for index in range(distractors)])
    after = unit(source[None] + step * np.eye(16)[1])[0]
    right = unit(text[None] + 0.5 * np.eye(16)[1])[0]
    return {
        "before": source,
        "after": after,
        "text_before": text,
        "right": right,
        "distractors": others,
        "floor": floor,
    }


def test_retrieval_finds_the_edit_and_prints_its_chance():
    result = retrieval(**scene())
    assert (result.success, result.rank) == (True, 1)
    assert result.chance == pytest.approx(0.1)
    assert retrieval(**scene(12)).chance == pytest.approx(1 / 13)


def test_retrieval_fails_for_another_edit():
    given = scene()
    swapped = {**given, "right": given["distractors"][3], "distractors": given["distractors"].copy()}
    swapped["distractors"][3] = given["right"]
    assert not retrieval(**swapped).success
    assert retrieval(**swapped).rank > 1


def test_retrieval_fails_for_a_picture_that_moved_no_further_than_the_floor():
    result = retrieval(**scene(step=0.05))
    assert (result.success, result.rank) == (False, 1)
    assert retrieval(**scene(step=0.05, floor=0.01)).success


def test_retrieval_fails_for_an_unchanged_picture():
    given = scene()
    result = retrieval(**{**given, "after": given["before"], "floor": 0.0})
    assert (result.success, result.rank, result.cosines[0]) == (False, 10, None)


def test_a_tie_counts_against_the_edit():
    """Two captions that point equally far to either side of the picture's move."""
    given = scene()
    side, text = np.eye(16)[9], given["text_before"]
    given["right"], given["distractors"][0] = text + np.eye(16)[1] + side, text + np.eye(16)[1] - side
    result = retrieval(**given)
    assert result.cosines[0] == result.cosines[1] == max(result.cosines)
    assert (result.success, result.rank) == (False, 2)


def test_retrieval_needs_distractors_that_differ():
    with pytest.raises(InputError, match="at least"):
        retrieval(**scene(8))
    given = scene()
    with pytest.raises(InputError, match="equals the right caption"):
        retrieval(**{**given, "right": given["distractors"][0]})
    with pytest.raises(InputError, match="floor"):
        retrieval(**{**given, "floor": float("nan")})
