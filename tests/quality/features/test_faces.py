import numpy as np
import pytest

from recast.errors import ConfigError, InputError, MissingWeights, WeightsError
from recast.quality.features.alignment import TEMPLATE
from recast.quality.features.faces import ELIGIBLE_PX, Detector, Face, Faces, Recogniser
from recast.quality.features.onnx_files import first_nodes
from tests.quality.features import onnx_models

BLANK = np.zeros((640, 640, 3), np.uint8)


def cell(stride, column, row, score=0.9, size=(1.0, 1.0), points=TEMPLATE / 112, **changes):
    """A face of `size` in cells around the centre of a cell; points relative to the cell's corner, in cells."""
    content = {
        "stride": stride, "column": column, "row": row, "cls": score, "obj": score,
        "bbox": (0.5, 0.5, *np.log(size)), "kps": np.ravel(points),
    }  # fmt: skip
    return {**content, **changes}


@pytest.fixture
def detector(tmp_path):
    return lambda *cells, **options: Detector(onnx_models.yunet(tmp_path / "yunet.onnx", list(cells)), **options)


@pytest.fixture
def recogniser(tmp_path):
    return Recogniser(onnx_models.auraface(tmp_path / "glintr100.onnx"))


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_face_is_decoded_to_the_pixel_at_every_stride(detector, stride):
    points = [(-1.0, -0.5), (1.25, -0.5), (0.0, 0.25), (-0.75, 1.0), (0.5, 1.5)]
    (face,) = detector(cell(stride, 7, 11, 0.9, (4.0, 6.0), points)).faces(BLANK)
    centre = np.array([7.5, 11.5]) * stride
    half = np.array([2, 3]) * stride
    np.testing.assert_allclose(face.box, [*(centre - half), *(centre + half)], rtol=1e-6)
    np.testing.assert_allclose(face.points, np.add(points, (7, 11)) * stride, rtol=1e-6)
    assert face.score == pytest.approx(0.9)


def test_the_score_is_the_geometric_mean_of_both_scores_cut_to_one(detector):
    (face,) = detector(cell(16, 3, 3, cls=7.0, obj=0.49)).faces(BLANK)
    assert face.score == pytest.approx(0.7)


def test_faces_below_the_score_are_dropped_and_the_rest_come_best_first(detector):
    cells = [cell(8, 2, 2, 0.7), cell(8, 20, 20, 0.59), cell(32, 10, 10, 0.8)]
    assert [face.score for face in detector(*cells).faces(BLANK)] == pytest.approx([0.8, 0.7])


def test_of_overlapping_faces_the_best_stays(detector):
    """Two boxes of 10 x 10 cells, shifted by s cells, share (10 - s) / (10 + s): 0.33 at 5, 0.25 at 6."""
    near = [cell(8, 20, 20, 0.7, (10, 10)), cell(8, 25, 20, 0.9, (10, 10))]
    far = [cell(8, 20, 20, 0.7, (10, 10)), cell(8, 26, 20, 0.9, (10, 10))]
    assert [face.score for face in detector(*near).faces(BLANK)] == pytest.approx([0.9])
    assert len(detector(*far).faces(BLANK)) == 2


@pytest.mark.parametrize(("height", "width"), [(640, 640), (960, 1280), (1280, 960), (64, 100)])
def test_a_face_is_found_where_it_is_in_a_picture_of_any_size(tmp_path, height, width):
    """The stand-in scores red cells: blue and green ones score nothing, so the channels' order is checked as well."""
    found = Detector(onnx_models.red_yunet(tmp_path / "red.onnx", list(np.full(10, 0.5))), score=0.9)
    shrunk = max(1, max(height, width) / 640)
    pixels = np.zeros((height, width, 3), np.uint8)
    side = round(8 * shrunk)
    left, top = side * 3, side * 5
    pixels[top : top + side, left : left + side, 0] = 255
    pixels[:side, :side, 2] = 255  # blue: no face
    (face,) = found.faces(pixels)
    np.testing.assert_allclose(face.box, [left, top, left + side, top + side])
    np.testing.assert_allclose(face.points, np.tile([left + side / 2, top + side / 2], (5, 1)))


def test_the_points_keep_the_detectors_order(detector):
    """The subject's right eye is the image's left one, first in the template too: a swap would mirror the face."""
    (face,) = detector(cell(32, 8, 8, 0.9, (4, 4), TEMPLATE / 28)).faces(BLANK)
    assert face.points[0, 0] < face.points[1, 0]
    assert face.points[3, 0] < face.points[4, 0]


@pytest.mark.parametrize("angle", [0, 30, 90, 180])
def test_eye_to_chin_follows_the_faces_own_axis(angle):
    """Eyes 30 px above the centre of a circle, mouth 20 below; the chin where the axis leaves a box of half side 50."""
    turn = np.deg2rad(angle)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = np.array([(-20, -30), (20, -30), (0, 0), (-15, 20), (15, 20)]) @ turned.T + 100
    face = Face(np.array([50.0, 50, 150, 150]), points, 0.9)
    reach = 50 / max(abs(np.sin(turn)), abs(np.cos(turn)))
    assert face.eye_to_chin_px == pytest.approx(30 + reach)


def test_a_file_that_is_not_yunet_is_refused_by_its_outputs(tmp_path):
    with pytest.raises(WeightsError, match="no output bbox_16"):
        Detector(onnx_models.auraface(tmp_path / "other.onnx"))


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(MissingWeights, match="nowhere"):
        Detector(tmp_path / "nowhere.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsError, match=r"broken\.onnx"):
        Recogniser(tmp_path / "broken.onnx")


def test_a_threshold_that_cannot_work_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"score=1\.5"):
        Detector(tmp_path / "yunet.onnx", score=1.5)


def test_pixels_of_another_type_are_refused(detector):
    with pytest.raises(InputError, match="float64"):
        detector().faces(np.zeros((64, 64, 3)))


def crops(seed=0):
    """A crop whose quarters have four colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return colours.repeat(56, 0).repeat(56, 1)


@pytest.mark.parametrize(
    ("head", "name", "before", "expected"),
    [
        ("", "", 0, False),
        ("SubMul", "", 0, True),  # by operator
        ("SubMul", "_minus", 6, True),  # the seventh and the eighth node
        ("SubMul", "late", 7, False),  # the eighth and the ninth
    ],
)
def test_the_value_range_is_decided_by_the_first_eight_nodes(tmp_path, head, name, before, expected):
    path = onnx_models.auraface(tmp_path / "net.onnx", head=head, name=name, before=before)
    assert Recogniser(path).normalises_itself is expected


def test_first_nodes_agree_with_the_onnx_package(tmp_path):
    import onnx

    path = onnx_models.auraface(tmp_path / "net.onnx", head="SubMul", name="any", before=3)
    expected = [(node.name, node.op_type) for node in onnx.load(path).graph.node]
    assert first_nodes(path, 5) == expected[:5]
    assert first_nodes(path, 99) == expected


def test_both_kinds_of_graph_give_the_same_unit_vector_of_rgb(tmp_path, recogniser):
    inside = Recogniser(onnx_models.auraface(tmp_path / "inside.onnx", head="SubMul"))
    crop = crops()
    expected = (crop[::56, ::56].transpose(2, 0, 1).reshape(-1) - 127.5) / 127.5
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(recogniser.vector(crop), expected, atol=5e-5)  # a pool of 3136 float32
    np.testing.assert_allclose(inside.vector(crop), expected, atol=5e-5)  # a pool of 3136 float32


def test_the_self_test_prefers_the_value_range_that_fits(recogniser):
    first, stranger = crops(1), crops(2)
    again = np.clip(first.astype(int) + 9, 0, 255).astype(np.uint8)
    decided, other = recogniser.margins(first, again, stranger)
    assert decided > other


def test_a_recogniser_of_another_form_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="640"):
        Recogniser(onnx_models.yunet(tmp_path / "yunet.onnx", []))


def face_at(column, row, cells=4.0, **options):
    """A cell of stride 32 whose face lies as the template does, scaled to `cells` cells a side."""
    points = (TEMPLATE / 112 - 0.5) * cells + 0.5
    return cell(32, column, row, size=(cells, cells), points=points, **options)


def portrait(*faces):
    """A picture 640 x 640 with crops pasted where `face_at(column, row)` finds them: ((column, row), crop)."""
    pixels = BLANK.copy()
    for (column, row), crop in faces:
        left, top = (column * 32 + 16 - 64, row * 32 + 16 - 64)
        pixels[top : top + 128, left : left + 128] = np.repeat(np.repeat(crop[::56, ::56], 64, 0), 64, 1)
    return pixels


@pytest.fixture
def faces(detector, recogniser):
    return lambda *cells: Faces(detector(*cells), recogniser)


def test_the_same_face_is_itself_and_another_is_not(faces):
    measure = faces(face_at(5, 5))
    source, other = portrait(((5, 5), crops(1))), portrait(((5, 5), crops(2)))
    same, changed = measure.identity(source, source), measure.identity(source, other)
    assert same.similarity == pytest.approx(1, abs=1e-5)
    assert changed.similarity < 0.9
    assert (same.eligible, same.reason, same.pairs[0][:2]) == (True, None, (0, 0))


def test_a_shift_of_the_landmarks_shows_in_the_similarity(detector, recogniser):
    """What the crop averages moves by a quarter of the face: alignment is part of the measure."""
    right = Faces(detector(face_at(5, 5)), recogniser)
    pixels = portrait(((5, 5), crops(1)))
    _, straight = right.embed(pixels)
    _, moved = Faces(detector(face_at(6, 5)), recogniser).embed(pixels)
    assert float(straight[0] @ moved[0]) < 0.95


def test_faces_are_paired_for_the_largest_sum_and_the_worst_pair_counts(faces):
    """Two people trade places, and one is replaced by a stranger: places do not matter, the stranger does."""
    measure = faces(face_at(4, 5), face_at(12, 5))
    source = portrait(((4, 5), crops(1)), ((12, 5), crops(2)))
    traded = portrait(((4, 5), crops(2)), ((12, 5), crops(1)))
    stranger = portrait(((4, 5), crops(2)), ((12, 5), crops(3)))
    kept = measure.identity(source, traded)
    assert kept.similarity == pytest.approx(1, abs=1e-5)
    assert {pair[:2] for pair in kept.pairs} == {(0, 1), (1, 0)}
    replaced = measure.identity(source, stranger)
    assert replaced.similarity == min(cosine for *_, cosine in replaced.pairs) < 0.9
    assert max(cosine for *_, cosine in replaced.pairs) == pytest.approx(1, abs=1e-5)


class Scripted(Detector):
    """A detector that gives prepared faces, one list a call."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def faces(self, pixels):
        return self._answers.pop(0)


def still(size=128.0, left=100.0):
    """A face whose box has this side: from eyes to chin it measures 0.54 of it."""
    points = TEMPLATE / 112 * size + (left, 100)
    return Face(np.array([left, 100, left + size, 100 + size]), points, 0.9)


@pytest.mark.parametrize(
    ("before", "after", "eligible", "reason"),
    [
        ([], [still()], False, "no_face_in_source"),
        ([still(80)], [still()], False, "faces_too_small"),
        ([still()], [], True, "no_face"),
        ([still(), still(left=300.0)], [still()], True, "fewer_faces"),
    ],
)
def test_a_pair_without_a_similarity_says_why(recogniser, before, after, eligible, reason):
    likeness = Faces(Scripted(before, after), recogniser).identity(BLANK, BLANK)
    assert (likeness.similarity, likeness.eligible, likeness.reason) == (None, eligible, reason)
    assert (likeness.source_faces, likeness.output_faces) == (len(before), len(after))


def test_small_faces_of_the_source_are_not_held_to_their_identity(recogniser):
    assert still(80).eye_to_chin_px < ELIGIBLE_PX <= still(90).eye_to_chin_px
    likeness = Faces(Scripted([still(), still(80, 300.0)], [still()]), recogniser).identity(BLANK + 9, BLANK + 9)
    assert likeness.pairs[0][0] == 0
    assert likeness.similarity == pytest.approx(1)


def test_the_description_says_files_and_runtime(faces):
    description = faces().describe()
    assert len(description["recogniser"]["sha256"]) == 64
    assert description["detector"]["threads"] == 1
    assert description["recogniser"]["onnxruntime"]
