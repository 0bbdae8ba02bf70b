"""A folder of exactly KontextBench's layout, from the first question to the table, with stand-ins for all models."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from recast.cli.main import main
from recast.quality import run as running
from recast.quality import scoring, suites, systems, table
from recast.quality.features.alignment import TEMPLATE
from recast.quality.store import Store
from recast.quality.systems.contract import Failed, Made
from recast.quality.systems.controls import controls
from tests.quality.features import folders, onnx_models

SIDE = 256
INKS = {"a": (255, 0, 0), "b": (0, 255, 0), "c": (0, 0, 255)}
ROWS = (
    ("Instruction Editing - Local", "Make her smile"),
    ("Instruction Editing - Local", "Add a red hat"),
    ("Instruction Editing - Global", "Make it night"),
    ("Character Reference", "The same person is cooking"),
    ("Text Editing", 'Replace "abc" with "cab"'),
    ("Text Editing", 'Remove the word "abc"'),
    ("Style Reference", "Using this style, a ship"),
)
TEXTS = {'Replace "abc" with "cab"': "cab", 'Remove the word "abc"': ""}
BASES = 3


def base(number):
    """A dim picture of few large patches, with a line of text that the stand-in reader reads."""
    rng = np.random.default_rng(number)
    patches = rng.integers(0, 70, (4, 4, 3)).astype(np.uint8)
    return written(np.kron(patches, np.ones((SIDE // 4, SIDE // 4, 1), np.uint8)), "abc")


def written(picture, text):
    """The picture with its line of text: a coloured cell a letter, on black."""
    made = picture.copy()
    made[194:254, 10:250] = 0
    made[206:242, 40 : 40 + 60 * len(text) - 20] = 100  # what a reader takes for one line
    for place, letter in enumerate(text):
        made[206:242, 40 + 60 * place : 80 + 60 * place] = INKS[letter]
    return made


@pytest.fixture(scope="module")
def kontext(tmp_path_factory):
    """test/metadata.jsonl and test/images/, as published, every instruction on every base."""
    folder = tmp_path_factory.mktemp("kontext") / "kontext-bench"
    (folder / "test" / "images").mkdir(parents=True)
    lines = []
    for number in range(BASES * len(ROWS)):
        category, instruction = ROWS[number % len(ROWS)]
        name = f"images/{number:04d}.png"
        Image.fromarray(base(number // len(ROWS))).save(folder / "test" / name)
        row = {"file_name": name, "instruction": instruction, "category": category, "key": f"{number:04d}"}
        lines.append(json.dumps(row))
    (folder / "test" / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Identity, OCR and CLIP. Boxes, DINOv2, LPIPS and a judge are missing."""
    folder = tmp_path_factory.mktemp("models")
    face = {
        "stride": 32, "column": 2, "row": 2, "cls": 0.9, "obj": 0.9,
        "bbox": (0.5, 0.5, *np.log((4.0, 4.0))), "kps": np.ravel((TEMPLATE / 112 - 0.5) * 4 + 0.5),
    }  # fmt: skip
    onnx_models.yunet(folder / "yunet" / "face_detection_yunet_2023mar.onnx", [face])
    onnx_models.auraface(folder / "auraface" / "glintr100.onnx")
    onnx_models.text_detector(folder / "ocr" / "det.onnx")
    onnx_models.text_recogniser(folder / "ocr" / "rec.onnx")
    (folder / "ocr" / "keys.txt").write_text("a\nb\nc\n")
    (folder / "clip").mkdir()
    folders.clip(folder / "clip")
    return folder


class Writer:
    """A system that can write, and is refused one picture; all else it gives back as it is."""

    name, concurrency = "writer", 1

    def describe(self):
        return {"adapter": "test"}

    def price_usd(self, request):
        return 0.0

    def make(self, request):
        if request.item == "0005":  # a removal
            raise Failed("blocked", "a policy refused it")
        source = request.contexts[0]
        text = TEXTS.get(request.instruction)
        return Made(pixels=source if text is None else written(source, text), seconds=0.5)


@pytest.fixture(scope="module")
def found(kontext, models, tmp_path_factory):
    """The table of a run with the controls and the writer."""
    suite, folder = suites.load(kontext), tmp_path_factory.mktemp("run")
    store = Store(folder)
    store.begin(running.about(suite, "recast evaluate"))
    judges = scoring.judges(suite, models)
    for system in (
        *controls(suite, lambda picture: np.clip(picture.astype(int) + 3, 0, 255).astype(np.uint8)),
        Writer(),
    ):
        for _ in running.make(suite, system, store):
            pass
        for _ in scoring.score(suite, store, running.slug(system.name), judges):
            pass
    return table.results([folder], resamples=200)[0]


def cell(found, system, column, category="all"):
    (chosen,) = [c for c in found["cells"] if (c["system"], c["column"], c["category"]) == (system, column, category)]
    return chosen


def test_doing_nothing_is_zero_on_instruction_and_all_on_what_was_to_stay(found):
    assert cell(found, "no-op", "instruction")["value"] == 0
    assert cell(found, "no-op", "consistency")["value"] == pytest.approx(1, abs=0.02)
    assert cell(found, "no-op", "precision")["value"] == 0


def test_a_stranger_keeps_neither_the_face_nor_the_picture(found):
    assert cell(found, "stranger", "consistency")["value"] < 0.4
    distances = [item["systems"]["stranger"]["scores"].get("kept") for item in found["items"]]
    distances = [value for value in distances if value is not None]
    assert len(distances) == 4 * BASES  # local and text
    assert np.mean(distances) < 0.2


def test_the_writer_is_worth_what_it_wrote_and_a_refusal_is_zero(found):
    texts = cell(found, "writer", "instruction", "Text Editing")
    assert texts["value"] == pytest.approx((2 * BASES - 1) / (2 * BASES), abs=0.01)
    assert (texts["n"], texts["failures"], texts["coverage"]) == (2 * BASES, 1, 1)
    (refused,) = [item for item in found["items"] if item["key"] == "0005"]
    shown = refused["systems"]["writer"]
    assert shown["scores"] == {"instruction": 0, "kept": 0, "precision": 0, "consistency": 0}
    assert shown["reason"] == "a policy refused it"
    precision = cell(found, "writer", "precision", "Text Editing")["value"]
    assert 0.75 < precision <= texts["value"] ** 0.5


def test_where_a_model_is_missing_the_coverage_falls_and_says_so(found):
    whole = cell(found, "writer", "instruction")
    assert (whole["n"], whole["coverage"]) == (5 * BASES, pytest.approx(5 / 7))
    assert any("writer, instruction, all: only 71%" in line for line in found["warnings"])
    hat = found["items"][1]["systems"]["writer"]
    assert hat["checks"]["instruction"] == "none"
    assert "boxes/" in hat["reasons"]["instruction"]
    assert "judge" in hat["reasons"]["instruction"]


def test_the_check_of_every_item_is_named(found):
    checks = {item["category"]: item["systems"]["no-op"]["checks"]["instruction"] for item in found["items"]}
    assert checks == {
        "Instruction Editing - Local": "none",
        "Instruction Editing - Global": "clip",
        "Character Reference": "clip",
        "Text Editing": "ocr",
        "Style Reference": "clip",
    }


def test_evaluate_runs_the_folder_and_names_what_it_could_not_measure(kontext, models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(systems, "named", lambda spec, **options: Writer())
    argv = ["evaluate", str(kontext), "--model", "nano", "--models", str(models), "--out", str(tmp_path), "--quiet"]
    assert main([*argv, "--category", "Text Editing", "--json"]) == 0
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert cell(printed, "writer", "instruction")["value"] == pytest.approx(5 / 6, abs=0.01)
    assert cell(printed, "no-op", "instruction")["value"] == 0
    assert "not measured: boxes: " in said.err
    assert "not the published" not in said.err
    assert any("the published set has 1026" in line for line in printed["warnings"])
    before = (tmp_path / "systems" / "writer" / "scores.jsonl").read_bytes()
    assert main([*argv, "--category", "Text Editing"]) == 0
    assert (tmp_path / "systems" / "writer" / "scores.jsonl").read_bytes() == before
