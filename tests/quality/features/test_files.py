import hashlib
import subprocess
import sys

import pytest

from recast.errors import MissingWeights
from recast.quality.features import files
from recast.quality.features.files import Models

LAYOUT = {
    "yunet": ["face_detection_yunet_2023mar.onnx"],
    "auraface": ["glintr100.onnx"],
    "clip": ["config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.json"],
    "dinov2": ["config.json", "preprocessor_config.json", "pytorch_model.bin"],
    "lpips": ["alexnet-owt-7be5be79.pth", "alex.pth"],
    "ocr": ["ch_PP-OCRv4_det_infer.onnx", "ch_PP-OCRv4_rec_infer.onnx", "ppocr_keys_v1.txt"],
    "boxes": ["config.json", "preprocessor_config.json", "model.safetensors", "vocab.txt"],
}
MEASURE = {"yunet": "identity", "auraface": "identity", "dinov2": "dino"}  # where it is not named like its folder
PLACES = [(folder, name) for folder, names in LAYOUT.items() for name in names if name != "ppocr_keys_v1.txt"]


@pytest.fixture
def models(tmp_path):
    """A folder of the documented layout; what is in the files does not matter here."""
    for folder, names in LAYOUT.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(f"{folder} {name}".encode())
    return tmp_path


def test_every_measure_of_a_whole_folder_is_ready_with_the_hashes_of_its_files(models):
    found = Models.within(models, judge_url="http://localhost/v1", judge_model="m").available()
    assert {name for name, entry in found.items() if entry.ready} == {
        "identity", "clip", "dino", "lpips", "ocr", "boxes", "judge"
    }  # fmt: skip
    for folder, names in LAYOUT.items():
        for name in names:
            expected = hashlib.sha256(f"{folder} {name}".encode()).hexdigest()
            assert found[MEASURE.get(folder, folder)].files[name] == expected


@pytest.mark.parametrize(("folder", "name"), PLACES)
def test_a_missing_file_is_named_with_its_place_and_costs_its_measure_alone(models, folder, name):
    (models / folder / name).unlink()
    found = Models.within(models, judge_url="http://localhost/v1", judge_model="m").available()
    absent = {key: entry for key, entry in found.items() if not entry.ready}
    assert absent.keys() == {MEASURE.get(folder, folder)}
    (entry,) = absent.values()
    assert str(models / folder) in entry.reason
    assert name in entry.reason or "rec*.onnx" in entry.reason or "det*.onnx" in entry.reason
    assert entry.files is None


def test_without_any_path_every_measure_says_where_its_files_would_lie():
    found = Models().available()
    assert not any(entry.ready for entry in found.values())
    for name, folder in {"identity": "yunet", "clip": "clip", "dino": "dinov2", "lpips": "lpips", "ocr": "ocr"}.items():
        assert f"MODELS/{folder}/" in found[name].reason
    assert "judge_url and judge_model not given" in found["judge"].reason


def test_a_changed_published_file_is_reported_and_not_refused(models, monkeypatch):
    found = Models.within(models).available()["identity"]
    assert found.ready
    assert [note.split()[0] for note in found.notes] == ["face_detection_yunet_2023mar.onnx", "glintr100.onnx"]
    for name, sha256 in found.files.items():
        monkeypatch.setitem(files.PUBLISHED, name, sha256)
    assert Models.within(models).available()["identity"].notes == ()


def test_a_package_that_is_not_installed_is_named(models, monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == "onnxruntime" else name)
    found = Models.within(models).available()
    assert "package onnxruntime" in found["identity"].reason
    assert "package onnxruntime" in found["ocr"].reason
    assert found["clip"].ready


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(MissingWeights, match="no such folder"):
        Models.within(tmp_path / "typo")


def test_asking_what_is_there_imports_no_network_library():
    code = (
        "import sys; from recast.quality.features import files, judge, faces, reading, perceptual, clip; "
        "files.Models().available(); "
        "print([name for name in ('torch', 'transformers', 'onnxruntime', 'cv2', 'requests') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
