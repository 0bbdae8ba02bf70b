from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recast.errors import ConfigError, InputError, WeightsError
from recast.quality.features.boxes import Finder
from tests.quality.features import folders

KINDS = ("owlvit", "owlv2", "grounding-dino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of each kind one folder."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, path in made.items():
        folders.grounding_dino(path) if kind == "grounding-dino" else folders.owl(path, kind)
    return made


def photo(height=60, width=90, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def published(path, kind, pixels, text, threshold):
    """Boxes and scores by the processor that transformers ships for the network."""
    from transformers import (
        AutoImageProcessor,
        AutoModelForZeroShotObjectDetection,
        AutoTokenizer,
        GroundingDinoProcessor,
        Owlv2Processor,
        OwlViTProcessor,
    )

    classes = {"owlvit": OwlViTProcessor, "owlv2": Owlv2Processor, "grounding-dino": GroundingDinoProcessor}
    images = AutoImageProcessor.from_pretrained(path, backend="pil")
    processor = classes[kind](images, AutoTokenizer.from_pretrained(path))
    network = AutoModelForZeroShotObjectDetection.from_pretrained(path)
    text = text if kind == "grounding-dino" else [[text]]
    inputs = processor(text=text, images=pixels, input_data_format="channels_last", return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**inputs)
    if kind == "grounding-dino":
        outputs.input_ids = inputs["input_ids"]
    (found,) = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=[pixels.shape[:2]]
    )
    order = np.argsort(-found["scores"].numpy(), kind="stable")
    return found["boxes"].numpy()[order], found["scores"].numpy()[order]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(60, 90), (64, 40)])
def test_boxes_and_scores_are_those_of_the_published_processor(folder, kind, height, width):
    """All boxes are kept on both sides; ours are cut at the picture's border, and gone if nothing is left."""
    pixels = photo(height, width)
    found = Finder(folder[kind], score=1e-9, overlap=1.0).find(pixels, "red hat")
    prompt = "red hat." if kind == "grounding-dino" else "a photo of a red hat"
    boxes, scores = published(folder[kind], kind, pixels, prompt, 1e-9)
    boxes = np.clip(boxes, 0, [width, height, width, height])
    shows = (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, scores = boxes[shows], scores[shows]
    assert len(found) == len(scores) > 5
    np.testing.assert_allclose([box.score for box in found], scores, rtol=1e-4)
    ours = np.array([(box.left, box.top, box.right, box.bottom) for box in found])
    np.testing.assert_allclose(ours, boxes, atol=1e-2)


@pytest.fixture
def finder(folder):
    return lambda **options: Finder(folder["owlvit"], **options)


def scripted(measure, *things):
    """The finder with a network that finds things in every picture: score, then left, top, right, bottom of it."""
    scores, sides = torch.tensor([thing[0] for thing in things]), torch.tensor([thing[1:] for thing in things])
    answer = SimpleNamespace(
        logits=torch.logit(scores)[None, :, None],
        pred_boxes=torch.cat([(sides[:, :2] + sides[:, 2:]) / 2, sides[:, 2:] - sides[:, :2]], 1)[None],
    )
    measure._parts = replace(measure._parts, network=lambda **inputs: answer)
    return measure


TWO_HATS = (
    (0.3, 0.1, 0.1, 0.3, 0.5),  # two boxes around one hat that share 2/3 of what they cover
    (0.8, 0.1, 0.1, 0.3, 0.4),
    (0.5, 0.6, 0.5, 0.9, 0.9),
    (0.05, 0.4, 0.0, 0.5, 0.1),
)


def test_the_score_decides_what_is_kept_and_the_best_comes_first(finder):
    scores = [box.score for box in scripted(finder(overlap=1.0), *TWO_HATS).find(photo(), "hat")]
    assert scores == pytest.approx([0.8, 0.5, 0.3])
    assert scripted(finder(score=0.6), *TWO_HATS).count(photo(), "hat") == 1
    assert scripted(finder(score=0.9), *TWO_HATS).count(photo(), "hat") == 0


def test_boxes_of_one_thing_are_counted_once(finder):
    assert scripted(finder(), *TWO_HATS).count(photo(), "hat") == 2
    assert scripted(finder(overlap=0.8), *TWO_HATS).count(photo(), "hat") == 3


@pytest.mark.parametrize(
    ("kind", "expected"), [("owlvit", (9, 6, 27, 24)), ("grounding-dino", (9, 6, 27, 24)), ("owlv2", (9, 9, 27, 36))]
)
def test_boxes_are_in_pixels_of_the_picture_however_the_network_sees_it(folder, kind, expected):
    """A picture of 90 x 60: OWLv2 sees a square of 90, and what it finds below the picture is not there."""
    in_padding = (0.9, 0.1, 0.7, 0.5, 0.9)
    first, *rest = scripted(Finder(folder[kind]), TWO_HATS[1], in_padding).find(photo(), "hat")[::-1]
    assert (first.left, first.top, first.right, first.bottom) == pytest.approx(expected, abs=1e-4)
    assert len(rest) == (0 if kind == "owlv2" else 1)


def test_the_mask_is_the_union_of_the_boxes_with_a_margin(finder):
    measure = scripted(finder(), *TWO_HATS)
    expected = np.zeros((60, 90), bool)
    expected[6:24, 9:27] = expected[30:54, 54:81] = True
    np.testing.assert_array_equal(measure.mask(photo(), "hat", margin=0.0), expected)
    rows, columns = np.nonzero(measure.mask(photo(), "hat"))  # 2 % of the diagonal: 2.2 pixels
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 55, 7, 82)
    assert not scripted(finder(score=0.9), *TWO_HATS).mask(photo(), "hat").any()


def test_articles_case_and_full_stop_do_not_matter_but_words_do(finder):
    find = finder(score=1e-9, overlap=1.0).find
    assert find(photo(), "The red hat.") == find(photo(), "red hat")
    assert find(photo(), "red cat") != find(photo(), "red hat")


@pytest.mark.parametrize("kind", KINDS)
def test_a_phrase_that_cannot_be_read_whole_is_refused(folder, kind):
    measure = Finder(folder[kind])
    with pytest.raises(InputError, match="tokens"):
        measure.find(photo(), "hat " * 20)
    with pytest.raises(InputError, match="noun phrase"):
        measure.find(photo(), " the . ")


def test_a_limit_that_cannot_work_is_refused(finder):
    with pytest.raises(ConfigError, match="score=1"):
        finder(score=1.0)


def test_a_folder_of_another_network_is_refused(tmp_path):
    folders.clip(tmp_path)
    with pytest.raises(WeightsError, match="boxes"):
        Finder(tmp_path)


def test_the_description_says_the_prompt_and_the_limits(finder):
    description = finder().describe()
    assert (description["prompt"], description["score"]) == ("a photo of a {}", 0.1)
