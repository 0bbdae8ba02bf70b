import logging

import numpy as np
import pytest

from recast.cli import sight as joined
from recast.cli.sight import AuraFaces, RapidReader, WorldPeople, sight
from recast.errors import ConfigError, InputError, MissingWeights
from recast.nano import NANO
from recast.pixels.image import Picture
from recast.quality.features.alignment import TEMPLATE
from recast.thumbnails.boxes import Box
from recast.thumbnails.calibration import Pairs, calibrate
from recast.thumbnails.checks import Evidence, Expected, check
from recast.thumbnails.seeing import Sight
from recast.weights.files import checksum
from recast.world.draw import draw
from recast.world.scene import Character, Scene, Title
from tests.quality.features import onnx_models


@pytest.fixture(scope="module")
def auraface(tmp_path_factory):
    """A recogniser and a detector of the published layout: two faces, the second larger."""
    folder = tmp_path_factory.mktemp("auraface")
    cells = [
        {"stride": 8, "column": 10, "row": 10, "cls": 0.9, "obj": 0.9, "bbox": (0.5, 0.5, *np.log((10, 12))),
         "kps": np.ravel((TEMPLATE / 112 - 0.5) * 10)},
        {"stride": 16, "column": 25, "row": 15, "cls": 0.7, "obj": 0.7, "bbox": (0.5, 0.5, *np.log((10, 12))),
         "kps": np.ravel((TEMPLATE / 112 - 0.5) * 10)},
    ]  # fmt: skip
    return onnx_models.auraface(folder / "glintr100.onnx"), onnx_models.yunet(folder / "yunet.onnx", cells)


def test_people_of_the_world_are_seen_with_nano():
    seen = sight("nano", read="none")
    rgb = draw(Scene(background="studio", characters=(Character(place="left"),)), 320, 180)
    (face,) = seen.faces.faces(rgb)
    assert isinstance(face.box, Box)
    assert face.box.right < 0.5
    assert seen.faces.name == "world"
    assert 0 < seen.faces.limit < 1
    assert seen.why == {"text": "text: --read none was passed"}
    assert seen.style is not None


def test_another_model_has_no_recogniser_unless_one_is_named():
    seen = sight("kontext_dev", read="none", style=False)
    assert seen.faces is None
    assert "auraface" in seen.why["faces"]
    assert sight("kontext_dev", faces="world", read="none").faces.name == "world"
    assert sight("nano", faces="none", read="none").faces is None


def test_people_are_seen_with_every_nano_however_it_is_named(model):
    for nano in ("nano", "nano-turbo", NANO, str(NANO)):
        assert sight(nano, read="none", style=False).faces is not None
    assert sight(model, read="none", style=False).faces is None
    with pytest.raises(MissingWeights, match=r"absent\.safetensors"):
        sight("absent.safetensors", read="none", style=False)


def test_the_reader_tells_which_characters_it_has_learnt():
    """Those of its own network: Latin, Greek and Chinese letters, and no Hebrew, Arabic or Cyrillic ones."""
    known = RapidReader().characters
    assert set("aZ9éΩ中") <= known
    assert known.isdisjoint("שלםمرحЖ")


def test_a_title_that_the_reader_has_not_learnt_is_not_failed():
    rgb = draw(Scene(background="plain", title=Title(text="WOW", font="anton", place="top")), 320, 180)
    for text, verdict in (("שלום", "absent"), ("WOW", "pass")):
        seen = Evidence(source=Picture(rgb), expected=Expected(text=text), sight=Sight(text=RapidReader()))
        (found,) = check(seen, ["T4"])
        assert found.verdict == verdict, found.says


def test_a_reader_that_is_absent_is_said_and_one_that_was_named_is_an_error(monkeypatch):
    monkeypatch.setattr(joined, "_has_reader", lambda: False)
    seen = sight("nano", faces="none")
    assert seen.text is None
    assert "pip install 'recast[reading]'" in seen.why["text"]
    with pytest.raises(ConfigError, match="rapidocr is not installed"):
        sight("nano", faces="none", read="rapidocr")


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"faces": "arcface:x.onnx"}, ConfigError, "faces='arcface:x.onnx'"),
        ({"faces": "auraface"}, ConfigError, "auraface:FILE"),
        ({"faces": "auraface:x.onnx"}, MissingWeights, "detector: none came"),
        ({"faces": "auraface:x.onnx", "detector": "y.onnx"}, MissingWeights, "x.onnx"),
        ({"faces": "world", "detector": "y.onnx"}, ConfigError, "leave it out"),
        ({"faces": "world:absent.safetensors"}, MissingWeights, "absent.safetensors"),
        ({"faces": "none", "read": "tesseract"}, ConfigError, "rapidocr or none"),
    ],
)
def test_what_is_not_there_or_unknown_is_one_clear_error(options, error, why):
    with pytest.raises(error, match=why):
        sight("nano", **{"read": "none", **options})


def test_auraface_sees_faces_largest_first_in_shares_of_the_frame(auraface):
    recogniser, detector = auraface
    rgb = np.zeros((320, 640, 3), np.uint8)
    rgb[:, :200] = (255, 0, 0)
    rgb[:, 200:] = (0, 0, 255)
    seen = sight("kontext_dev", faces=f"auraface:{recogniser}", detector=detector, read="none")
    large, small = seen.faces.faces(rgb)
    assert small.box.center == pytest.approx((84 / 640, 84 / 320))
    assert (large.box.width, large.box.height) == pytest.approx((160 / 640, 192 / 320))
    assert small.identity @ large.identity < 0.5
    assert abs(np.linalg.norm(small.identity) - 1) < 1e-6
    (left, up), (right, _) = small.eyes
    assert left < small.box.center[0] < right
    assert up < small.box.center[1]
    assert seen.faces.smallest_px == 80


def test_auraface_has_the_limit_that_was_measured_of_it(auraface, tmp_path):
    recogniser, detector = auraface
    faces = AuraFaces(recogniser, detector)
    with pytest.raises(MissingWeights, match="calibrate it"):
        _ = faces.limit
    pairs = Pairs(np.array([0.9]), np.array([0.31]), 2)
    path = tmp_path / "limit.json"
    measured = calibrate(pairs, name="auraface", network=checksum(recogniser))
    measured.write(path)
    assert AuraFaces(recogniser, detector, calibration=path).limit == measured.limit
    with pytest.raises(InputError, match="calibrate this recogniser"):
        WorldPeople(calibration=path)


def test_text_is_read_offline_and_quietly(monkeypatch, capfd, caplog):
    """Twice: the lines of a whole picture, and one line that is cut out."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the reader opened a connection"))
    title = Title(text="WOW BIG", font="anton", plate="black", outline="none", colour="white", place="top")
    rgb = draw(Scene(background="plain", title=title), 320, 180)
    reader = RapidReader(shorter_px=224)
    with caplog.at_level(logging.DEBUG):
        (line,) = reader.read(rgb)
    assert line.text.replace(" ", "") == "WOWBIG"
    assert line.score > 0.5
    assert line.box.top < 0.2
    left, top, right, bottom = line.box.pixels(width=320, height=180)
    assert reader.read_line(rgb[top:bottom, left:right])[0].replace(" ", "") == "WOWBIG"
    assert reader.read_line(np.full((40, 80, 3), 255, np.uint8)) == ("", 0.0)
    assert capfd.readouterr() == ("", "")
    assert reader.name.startswith("rapidocr ")


def test_joining_loads_nothing_that_was_not_asked_for():
    seen = sight("kontext_dev", read="rapidocr", style=False)
    assert seen.text is not None
    assert "_engine" not in vars(seen.text)


def test_lines_are_in_reading_order():
    from recast.thumbnails.seeing import ReadLine

    boxes = [Box(0.6, 0.11, 0.9, 0.2), Box(0.1, 0.5, 0.9, 0.6), Box(0.1, 0.1, 0.4, 0.2)]
    lines = [ReadLine(str(n), box, 1.0) for n, box in enumerate(boxes)]
    assert [line.text for line in joined._in_order(lines)] == ["2", "0", "1"]
