import numpy as np
import pytest

from recast.errors import InputError, MissingWeights, WeightsError
from recast.quality.features.reading import Reader, regions
from tests.quality.features import onnx_models

INKS = {
    "a": (255, 0, 0),
    "b": (0, 255, 0),
    "c": (0, 0, 255),
    " ": (100, 100, 100),
    "?": (255, 250, 0),
}  # ?: hardly more red than green


def strip(text, height=48, letter=40):
    """A line of text as the stand-ins read it: a coloured cell a letter, dark grey between them."""
    cells = []
    for character in text:
        cells += [np.full((height, letter, 3), INKS[character], np.uint8)]
        cells += [np.full((height, 24, 3), INKS[" "], np.uint8)]
    return np.concatenate(cells[:-1], 1)


def page(*placed, height=800, width=1000):
    """A black picture with strips at (left, top)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for (left, top), content in placed:
        pixels[top : top + content.shape[0], left : left + content.shape[1]] = content
    return pixels


@pytest.fixture
def folder(tmp_path):
    onnx_models.text_detector(tmp_path / "ch_PP-OCRv4_det_infer.onnx")
    onnx_models.text_recogniser(tmp_path / "ch_PP-OCRv4_rec_infer.onnx")
    (tmp_path / "ppocr_keys_v1.txt").write_text("a\nb\nc\n")
    return tmp_path


def test_a_line_is_read_with_its_place(folder):
    content = strip("abca")
    (line,) = Reader(folder).lines(page(((200, 300), content)))
    assert line.text == "abca"
    assert line.confidence == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(line.box.mean(0), (200 + content.shape[1] / 2, 300 + 24), atol=2)


def test_repeats_are_kept_where_a_blank_stands_between(folder):
    (line,) = Reader(folder).lines(page(((200, 300), strip("aabb"))))
    assert line.text == "aabb"


@pytest.mark.parametrize(("height", "width"), [(300, 500), (2400, 3000), (700, 1300)])
def test_boxes_are_in_the_pixels_of_a_picture_of_any_size(folder, height, width):
    content = strip("ab", 60, 60)
    (line,) = Reader(folder).lines(page(((100, 120), content), height=height, width=width))
    assert line.text == "ab"
    np.testing.assert_allclose(line.box.mean(0), (100 + content.shape[1] / 2, 150), atol=3)


def test_a_box_grows_by_area_times_growth_over_perimeter():
    """A region of 101 x 41 pixels, corner to corner 100 x 40: 1.6 * 4000 / 280 = 22.86 more on each side."""
    ink = np.zeros((200, 300), np.float32)
    ink[60:101, 50:151] = 0.9
    (box,) = regions(ink)
    reach = 1.6 * 100 * 40 / 280
    left, top, right, bottom = 50 - reach, 60 - reach, 150 + reach, 100 + reach
    np.testing.assert_allclose(box, [(left, top), (right, top), (right, bottom), (left, bottom)], atol=1e-3)


@pytest.mark.parametrize(("height", "level"), [(2, 0.9), (20, 0.4)], ids=["thin", "faint"])
def test_thin_and_faint_regions_are_no_text(height, level):
    ink = np.zeros((100, 100), np.float32)
    ink[40 : 40 + height, 20:80] = level
    assert regions(ink) == []


def test_a_slanted_line_is_read_along_its_slant(folder):
    import cv2

    pixels = page(((300, 380), strip("abc")))
    turn = cv2.getRotationMatrix2D((384, 404), -20, 1)
    (line,) = Reader(folder).lines(cv2.warpAffine(pixels, turn, (1000, 800)))
    assert line.text == "abc"
    along = line.box[1] - line.box[0]
    assert np.rad2deg(np.arctan2(along[1], along[0])) == pytest.approx(20, abs=2)


def test_a_line_that_runs_downward_is_read(folder):
    (line,) = Reader(folder).lines(page(((400, 200), np.rot90(strip("abc"), -1))))
    assert line.text == "abc"


def test_lines_come_from_the_top_and_from_the_left(folder):
    pixels = page(((600, 100), strip("b")), ((100, 104), strip("a")), ((100, 500), strip("c")))
    assert [line.text for line in Reader(folder).lines(pixels)] == ["a", "b", "c"]


def test_the_detector_is_given_blue_first_in_published_colours(folder):
    """A stand-in that sees the first channel alone: red and green letters are dark to it."""
    onnx_models.text_detector(folder / "ch_PP-OCRv4_det_infer.onnx", channel=0)
    pixels = page(((100, 100), strip("a")), ((300, 100), strip("c")), ((500, 100), strip("b")))
    (box,) = Reader(folder).boxes(pixels)
    np.testing.assert_allclose(box.mean(0), (320, 124), atol=2)


def test_unsure_lines_are_left_out(folder):
    pixels = page(((200, 300), strip("?")))
    (line,) = Reader(folder).lines(pixels)
    assert (line.text, 0.55 < line.confidence < 0.75) == ("a", True)
    assert Reader(folder, least_confidence=0.8).lines(pixels) == []


def test_a_picture_without_text_has_no_lines(folder):
    assert Reader(folder).lines(page()) == []


def test_characters_may_come_with_the_recogniser(folder):
    (folder / "ppocr_keys_v1.txt").unlink()
    onnx_models.text_recogniser(folder / "ch_PP-OCRv4_rec_infer.onnx", characters="x\ny\nz")
    assert Reader(folder).text(strip("abc"))[0] == "xyz"


def test_a_space_is_added_where_only_it_is_lacking(folder):
    onnx_models.text_recogniser(folder / "ch_PP-OCRv4_rec_infer.onnx", classes=4)
    (folder / "ppocr_keys_v1.txt").write_text("a\nb\n")
    assert Reader(folder).text(strip("abc"))[0] == "ab "


def test_a_list_of_another_network_is_refused(folder):
    (folder / "ppocr_keys_v1.txt").write_text("a\nb\nc\nd\ne\n")
    with pytest.raises(WeightsError, match="5 characters for 4 classes"):
        Reader(folder)


def test_a_recogniser_without_probabilities_is_refused(folder):
    onnx_models.text_recogniser(folder / "ch_PP-OCRv4_rec_infer.onnx", softmax=False)
    with pytest.raises(WeightsError, match="do not sum to 1"):
        Reader(folder)


def test_missing_and_doubled_files_are_named(folder):
    (folder / "second_det.onnx").write_bytes(b"")
    with pytest.raises(MissingWeights, match=r"second_det\.onnx"):
        Reader(folder)
    (folder / "second_det.onnx").unlink()
    (folder / "ppocr_keys_v1.txt").unlink()
    with pytest.raises(MissingWeights, match="no list of characters"):
        Reader(folder)


def test_pixels_of_another_shape_are_refused(folder):
    with pytest.raises(InputError, match=r"\(64, 64\)"):
        Reader(folder).lines(np.zeros((64, 64), np.uint8))
