"""Faces, lettering and logos are taken whole or left whole; who finds them is a plug-in, and its absence is said."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from recast.errors import ConfigError, MissingWeights, ShapeError, WeightsError
from recast.retouch.detectors import Faces, Logos, Text, Unit, absences, atomic, contents, find_units, load_detectors
from tests.quality.features import onnx_models

FLOAT = TensorProto.FLOAT
BLANK = np.zeros((480, 640, 3), np.uint8)


class Fixed:
    """A detector that finds the same units in every picture."""

    def __init__(self, name, *units):
        self.name, self.kind, self.units = name, name, units

    def find(self, rgb):
        return list(self.units)


def a_map(*boxes):
    """Labels (20, 30) with region 1, 2, ... in the boxes (left, top, right, bottom)."""
    labels = np.zeros((20, 30), np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


class TestFaces:
    def test_a_face_is_where_yunet_says(self, tmp_path):
        cell = {"stride": 32, "column": 5, "row": 6, "cls": 0.9, "obj": 0.9, "kps": [0.0] * 10}
        model = onnx_models.yunet(tmp_path / "yunet.onnx", [cell | {"bbox": (0.5, 0.5, np.log(2.0), np.log(3.0))}])
        (unit,) = Faces(model).find(BLANK)
        assert (unit.kind, unit.box, unit.mask) == ("face", (144, 160, 208, 256), None)
        assert Faces(model, score=0.95).find(BLANK) == []

    @pytest.mark.parametrize(("height", "width"), [(480, 640), (960, 1280), (1280, 960), (64, 100)])
    def test_a_face_is_found_in_a_picture_of_any_size(self, tmp_path, height, width):
        """The stand-in scores red cells and no blue ones: the order of channels is checked as well."""
        model = onnx_models.red_yunet(tmp_path / "red.onnx", [0.5] * 10)
        side = 8 * round(max(1, max(height, width) / 640))
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[side * 5 : side * 6, side * 3 : side * 4, 0] = 255
        pixels[:side, :side, 2] = 255
        (unit,) = Faces(model, score=0.9).find(pixels)
        assert unit.box == (side * 3, side * 5, side * 4, side * 6)

    def test_faces_come_from_the_top_and_are_cut_to_the_picture(self, tmp_path):
        cells = [
            {"stride": 32, "column": column, "row": row, "cls": 0.9, "obj": 0.9, "kps": [0.0] * 10,
             "bbox": (0.5, 0.5, np.log(3.0), np.log(3.0))}
            for column, row in ((9, 9), (0, 0), (19, 19))
        ]  # fmt: skip
        units = Faces(onnx_models.yunet(tmp_path / "yunet.onnx", cells)).find(BLANK)
        assert [unit.box for unit in units] == [(0, 0, 64, 64), (256, 256, 352, 352)]  # the third is in the padding


class TestText:
    def test_a_line_is_found_grown_and_masked(self, tmp_path):
        detector = Text(onnx_models.text_detector(tmp_path / "det.onnx"))
        pixels = BLANK.copy()
        pixels[100:130, 50:300] = 255
        pixels[300:302, 50:52] = 255  # too small
        (unit,) = detector.find(pixels)
        left, top, right, bottom = unit.box
        reach = 249 * 29 * 1.5 / (249 + 29) / 2
        np.testing.assert_allclose(unit.box, (50 - reach, 100 - reach, 299 + reach, 129 + reach), atol=1.5)
        assert unit.mask.shape == (bottom - top, right - left)
        assert unit.mask.mean() > 0.95

    def test_a_slanted_line_has_a_slanted_mask(self, tmp_path):
        import cv2

        detector = Text(onnx_models.text_detector(tmp_path / "det.onnx"))
        pixels = BLANK.copy()
        cv2.line(pixels, (100, 100), (300, 250), (255, 255, 255), 20)
        (unit,) = detector.find(pixels)
        assert 0.15 < unit.mask.mean() < 0.6
        inside = unit.inside(pixels.shape)
        assert inside[pixels[..., 0] > 0].all()
        assert not inside[110, 290]

    def test_a_large_picture_is_shrunk_and_the_box_is_not(self, tmp_path):
        detector = Text(onnx_models.text_detector(tmp_path / "det.onnx"))
        pixels = np.zeros((1920, 1440, 3), np.uint8)
        pixels[800:900, 200:1200] = 255
        (unit,) = detector.find(pixels)
        reach = 1000 * 100 * 1.5 / 1100 / 2
        np.testing.assert_allclose(unit.box, (200 - reach, 800 - reach, 1200 + reach, 900 + reach), atol=6)

    def test_the_channels_come_in_the_order_of_training(self, tmp_path):
        blue = Text(onnx_models.text_detector(tmp_path / "det.onnx", channel=0))  # B, G, R
        pixels = BLANK.copy()
        pixels[100:130, 50:300, 0] = 255
        assert blue.find(pixels) == []
        pixels[200:230, 50:300, 2] = 255
        assert len(blue.find(pixels)) == 1


YOLO_V8 = (1, 4 + 3, 8400)
YOLO_V5 = (1, 25200, 5 + 3)


def yolo(path, shape, *rows):
    """A YOLO that finds the same boxes in every picture. rows: (x, y, width, height, score) in the input of 640."""
    table = np.zeros(shape, np.float32)
    for number, row in enumerate(rows):
        column = 100 * number + 7
        if shape == YOLO_V5:
            table[0, column, :5], table[0, column, 6] = (*row[:4], 0.9), row[4] / 0.9
        else:
            table[0, [0, 1, 2, 3, 5], column] = row
    return yolo_like(path, table)


def yolo_like(path, table):
    """A model with the input of a YOLO and the same output for every picture."""
    nodes = [helper.make_node("Identity", ["table"], ["output0"])]
    given = [helper.make_tensor_value_info("images", FLOAT, [1, 3, 640, 640])]
    made = [helper.make_tensor_value_info("output0", FLOAT, list(table.shape))]
    return onnx_models.save(path, nodes, given, made, {"table": table})


def red_yolo(path):
    """A YOLO of 1600 candidates, the cells of 16 px, scored by how red they are less how blue and how far from 0."""
    y, x = np.mgrid[8:640:16, 8:640:16].astype(np.float32)
    places = np.stack([x.ravel(), y.ravel(), *np.full((2, 1600), 16, np.float32)])[None]
    constants = {
        "places": places,
        "redness": np.array([1, -1, -1], np.float32).reshape(1, 3, 1, 1),
        "row": np.array([1, 1, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["images", "redness"], ["red"]),
        helper.make_node("Relu", ["red"], ["positive"]),
        helper.make_node("AveragePool", ["positive"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Reshape", ["cells", "row"], ["scores"]),
        helper.make_node("Concat", ["places", "scores"], ["output0"], axis=1),
    ]
    given = [helper.make_tensor_value_info("images", FLOAT, [1, 3, 640, 640])]
    made = [helper.make_tensor_value_info("output0", FLOAT, [1, 5, 1600])]
    return onnx_models.save(path, nodes, given, made, constants)


class TestLogos:
    @pytest.mark.parametrize("shape", [YOLO_V8, YOLO_V5], ids=["v8", "v5"])
    def test_a_logo_is_where_the_published_layouts_say(self, tmp_path, shape):
        """A picture of 640 x 480 lies 80 px down in the input."""
        rows = [(320, 320, 100, 60, 0.8), (322, 321, 100, 60, 0.6), (100, 200, 40, 40, 0.5), (50, 300, 20, 20, 0.2)]
        detector = Logos(yolo(tmp_path / "yolo.onnx", shape, *rows))
        assert [(unit.kind, unit.box, unit.mask) for unit in detector.find(BLANK)] == [
            ("logo", (80, 100, 120, 140), None),
            ("logo", (270, 210, 370, 270), None),
        ]
        assert len(Logos(detector.path, score=0.7).find(BLANK)) == 1
        tall = np.zeros((1280, 960, 3), np.uint8)  # halved, and 80 px to the right
        assert Logos(detector.path, score=0.7).find(tall)[0].box == (380, 580, 580, 700)

    def test_the_picture_comes_in_as_published(self, tmp_path):
        """Red and no other colour; the grey around, and black, score nothing; small pictures are enlarged."""
        detector = Logos(red_yolo(tmp_path / "red.onnx"), score=0.99)
        pixels = np.zeros((60, 80, 3), np.uint8)
        pixels[20:26, 40:46] = 255, 0, 0
        pixels[40:46, 10:16] = 0, 0, 255
        assert [unit.box for unit in detector.find(pixels)] == [(42, 22, 44, 24)]  # the rim is blurred

    def test_a_model_of_another_layout_is_refused(self, tmp_path):
        for shape in ((1, 4, 100), (1, 4), (2, 7, 100)):
            model = yolo_like(tmp_path / "other.onnx", np.zeros(shape, np.float32))
            with pytest.raises(WeightsError, match="holds no boxes with scores"):
                Logos(model).find(BLANK)
        for wrong in (1.5, -0.5, np.nan):
            model = yolo_like(tmp_path / "other.onnx", np.full((1, 5, 100), wrong, np.float32))
            with pytest.raises(WeightsError, match="not all from 0 to 1"):
                Logos(model).find(BLANK)
        with pytest.raises(ConfigError, match="score=2"):
            Logos(model, score=2)


class TestLoading:
    def test_files_come_from_flags_then_from_the_environment(self, tmp_path):
        faces = onnx_models.yunet(tmp_path / "yunet.onnx", [])
        text = onnx_models.text_detector(tmp_path / "det.onnx")
        assert load_detectors() == ()
        assert load_detectors({"faces": None, "text": None}) == ()
        (only,) = load_detectors({"faces": faces, "text": None})
        assert (only.name, only.kind, only.path) == ("faces", "face", faces)
        variables = {"RECAST_FACES": "none.onnx", "RECAST_TEXT": str(text), "RECAST_MODEL": "x"}
        assert [one.path for one in load_detectors({"faces": str(faces)}, variables)] == [faces, text]

    def test_what_was_asked_for_and_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(MissingWeights, match=r"faces='none\.onnx': no such file"):
            load_detectors({"faces": "none.onnx"})
        with pytest.raises(MissingWeights, match="text="):
            load_detectors(environment={"RECAST_TEXT": str(tmp_path)})
        with pytest.raises(ConfigError, match="'hands' came; faces, text, logos accepted"):
            load_detectors({"hands": "a.onnx"})
        with pytest.raises(ConfigError, match="score=0"):
            Faces(onnx_models.yunet(tmp_path / "yunet.onnx", []), score=0)

    def test_a_file_that_is_another_model_is_refused_when_it_is_used(self, tmp_path):
        junk = tmp_path / "junk.onnx"
        junk.write_bytes(b"junk")
        text = onnx_models.text_detector(tmp_path / "det.onnx")
        face = onnx_models.yunet(tmp_path / "yunet.onnx", [])
        for detector in (Faces(junk), Text(junk), Logos(junk), Faces(text), Text(face), Logos(text), Logos(face)):
            with pytest.raises(WeightsError, match="OpenCV cannot use it"):
                detector.find(BLANK)

    def test_absence_is_a_note(self):
        assert [note.partition(":")[0] for note in absences([])] == ["faces", "text", "logos"]
        assert "--logos FILE or RECAST_LOGOS brings one" in absences([Fixed("faces"), Fixed("text")])[0]
        assert "RECAST_TEXT" in absences([Fixed("faces")])[0]
        assert absences([Fixed("faces"), Fixed("text"), Fixed("logos")]) == []

    def test_what_two_pictures_show_alike_counts_once(self):
        one, other = Unit("face", (1, 1, 5, 5)), Unit("face", (2, 1, 5, 5))
        mask = Unit("face", (1, 1, 5, 5), np.ones((4, 4), bool))
        assert find_units([Fixed("a", one, other), Fixed("b", one, mask)], BLANK, BLANK) == [one, other, mask]


class TestAtomic:
    def test_more_than_the_share_takes_the_whole_unit(self):
        unit = Unit("face", (10, 5, 20, 15))  # 100 pixels
        labels, told = atomic(a_map((10, 5, 18, 7)), [unit])  # 16 of them
        np.testing.assert_array_equal(labels, a_map(unit.box))
        (note,) = [each.note(labels) for each in told]
        assert note == "face at 10,5,20,15: 16% changed, taken whole into region 1"
        assert told[0].note(labels, {1: 4}).endswith("taken whole into region 4")

    def test_the_share_or_less_leaves_the_whole_unit(self):
        unit = Unit("face", (10, 5, 20, 15))
        labels, told = atomic(a_map((10, 5, 15, 8)), [unit])  # 15 of them
        assert not labels.any()
        assert [each.note(labels) for each in told] == ["face at 10,5,20,15: 15% changed, kept as in the source"]
        labels, _ = atomic(a_map((5, 0, 15, 6)), [unit])  # 5 pixels of a larger region
        expected = a_map((5, 0, 15, 6))
        expected[5:15, 10:20] = 0
        np.testing.assert_array_equal(labels, expected)

    def test_a_unit_that_nothing_touches_changes_nothing(self):
        before = a_map((1, 1, 4, 4), (8, 1, 12, 3))
        kept = before.copy()
        labels, notes = atomic(before, [Unit("text", (20, 10, 28, 14))])
        np.testing.assert_array_equal(labels, kept)
        np.testing.assert_array_equal(before, kept)
        assert notes == []
        assert labels.dtype == np.int32

    def test_regions_that_share_a_unit_become_one(self):
        """Rejecting one of them would cut the unit in two. The third region keeps to itself, and moves up."""
        unit = Unit("face", (10, 5, 20, 15))
        labels, notes = atomic(a_map((2, 2, 13, 15), (17, 4, 24, 10), (26, 16, 28, 18)), [unit])
        expected = a_map((2, 2, 13, 15), (26, 16, 28, 18))
        expected[4:10, 17:24] = 1
        expected[5:15, 10:20] = 1
        np.testing.assert_array_equal(labels, expected)
        assert notes[0].note(labels).endswith("taken whole into region 1")

    def test_taking_one_unit_may_take_the_next(self):
        face, text = Unit("face", (2, 2, 12, 12)), Unit("text", (10, 8, 20, 12))  # 8 of its 40 pixels lie in the face
        for units in ([face, text], [text, face]):
            labels, notes = atomic(a_map((2, 2, 9, 9)), units)
            expected = a_map(face.box)
            expected[8:12, 10:20] = 1
            np.testing.assert_array_equal(labels, expected)
            assert len(notes) == 2

    def test_leaving_a_unit_cuts_no_other(self):
        face, text = Unit("face", (2, 2, 12, 12)), Unit("text", (11, 2, 30, 12))  # 10 of 190 pixels lie in the face
        labels, _ = atomic(a_map((2, 2, 11, 11), (28, 11, 29, 12)), [text, face])
        np.testing.assert_array_equal(labels, a_map(face.box))

    def test_a_mask_and_not_its_box_decides(self):
        mask = np.eye(10, dtype=bool)
        labels, _ = atomic(a_map((10, 5, 12, 7)), [Unit("text", (10, 5, 20, 15), mask)])
        expected = a_map((10, 5, 12, 7))
        expected[5:15, 10:20][mask] = 1
        np.testing.assert_array_equal(labels, expected)

    def test_regions_are_numbered_from_the_top(self):
        labels, _ = atomic(a_map((20, 10, 25, 12), (3, 3, 6, 6), (1, 10, 4, 12)), [Unit("face", (28, 1, 29, 2))])
        assert (labels[3, 3], labels[10, 1], labels[10, 20]) == (1, 2, 3)

    def test_what_does_not_fit_is_refused(self):
        for unit in (Unit("face", (25, 0, 31, 5)), Unit("face", (5, 5, 5, 9)), Unit("face", (-1, 0, 5, 5))):
            with pytest.raises(ShapeError, match="does not lie in 30x20"):
                atomic(a_map(), [unit])
        with pytest.raises(ShapeError, match=r"mask: \(2, 2\) came; \(4, 3\) accepted"):
            atomic(a_map(), [Unit("face", (0, 0, 3, 4), np.ones((2, 2), bool))])

    def test_what_a_region_contains_is_listed(self):
        labels = a_map((0, 0, 10, 10), (15, 0, 20, 5))
        units = [Unit("text", (2, 2, 4, 4)), Unit("face", (5, 5, 18, 9)), Unit("logo", (25, 15, 28, 18))]
        assert contents(labels, units) == {1: ("face", "text")}
        labels[5:9, 15:18] = 2
        assert contents(labels, units) == {1: ("face", "text"), 2: ("face",)}
