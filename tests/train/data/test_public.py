"""Every public set, on a small file of exactly its schema."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.errors import ConfigError, InputError
from recast.train.data.order import Selected
from recast.train.data.public import SCHEMAS, schema
from recast.train.data.split import families, split
from recast.train.data.tables import ListSource, ParquetSource
from tests.train.data.sets import picture, png

COUNT = 4


def shown(seed: int, width: int = 32, height: int = 32) -> dict[str, Any]:
    """A picture as the hub stores it in a table."""
    return {"bytes": png(picture(seed, width, height)), "path": None}


def clear(seed: int) -> dict[str, Any]:
    """A mask that is transparent where an edit is."""
    rgba = np.dstack([picture(seed), np.full((32, 32), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    return {"bytes": png(rgba), "path": None}


def beside(folder: Path, name: str, seed: int) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(png(picture(seed)))
    return name


def two_halves(n: int) -> dict[str, Any]:
    whole = np.zeros((48, 96, 3), np.uint8)
    whole[8:40, 8:40], whole[8:40, 56:88] = picture(n), picture(n + 100)
    return {"bytes": png(whole), "path": None}


TABLES: dict[str, Callable[[int], dict[str, Any]]] = {
    "instructpix2pix": lambda n: {
        "original_prompt": f"before {n}",
        "original_image": shown(n),
        "edit_prompt": f"edit {n}",
        "edited_prompt": f"after {n}",
        "edited_image": shown(n + 100),
    },
    "magicbrush": lambda n: {
        "img_id": str(n // 2),
        "turn_index": n % 2 + 1,
        "source_img": shown(n),
        "mask_img": clear(n),
        "instruction": f"edit {n}",
        "target_img": shown(n + 100),
    },
    "ultraedit": lambda n: {
        "clip_sim_source": 0.3,
        "clip_sim_target": 0.3,
        "clip_sim_dir": 0.2,
        "clip_sim_image": 0.9,
        "dinov2_sim": 0.8,
        "ssim": 0.7,
        "source_caption": f"before {n}",
        "target_caption": f"after {n}",
        "idx": n,
        "edit_prompt": f"edit {n}",
        "edit_object": "hat",
        "source_image": shown(n),
        "edited_image": shown(n + 100),
        "mask_image": clear(n),
    },
    "omniedit": lambda n: {
        "omni_edit_id": f"task_{n}",
        "task": "swap",
        "src_img": shown(n),
        "edited_img": shown(n + 100),
        "edited_prompt_list": [f"edit {n}", f"please edit {n}"],
        "width": 32,
        "height": 32,
        "sc_score_1": 9,
        "sc_score_2": 8,
        "sc_reasoning": "good",
        "pq_score": 7,
        "pq_reasoning": "good",
        "o_score": 8.0,
    },
    "hq-edit": lambda n: {
        "input": f"before {n}",
        "input_image": shown(n),
        "edit": f"edit {n}",
        "edit_object": "hat",
        "inverse_edit": f"back {n}",
        "output": f"after {n}",
        "output_image": shown(n + 100),
    },
    "subjects200k": lambda n: {
        "image": two_halves(n),
        "collection": "collection_1",
        "quality_assessment": {"compositeStructure": 5, "objectConsistency": 4, "imageQuality": 5},
        "description": {
            "item": f"bear {n}",
            "description_0": f"before {n}",
            "description_1": f"edit {n}",
            "category": "toy",
            "description_valid": True,
        },
    },
    "humanedit": lambda n: {
        "IMAGE_ID": f"id{n}",
        "EDITING_TYPE": "Add",
        "CORE": 1,
        "MASK": n % 2,
        "EDITING_INSTRUCTION": f"edit {n}",
        "OUTPUT_DESCRIPTION": "hat",
        "INPUT_CAPTION_BY_LLAMA": f"before {n}",
        "OUTPUT_CAPTION_BY_LLAMA": f"after {n}",
        "INPUT_IMG": shown(n),
        "MASK_IMG": clear(n),
        "OUTPUT_IMG": shown(n + 100),
    },
    "relighting": lambda n: {"output": shown(n + 100), "file_name": shown(n), "instruction": f"edit {n}"},
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_a_public_set(tmp_path, name):
    path = tmp_path / "train-00000.parquet"
    pq.write_table(pa.Table.from_pylist([TABLES[name](n) for n in range(COUNT)]), path, row_group_size=3)
    source = ParquetSource([path], schema(name))
    assert (source.length, source.blocks) == (COUNT, [3, 1])
    assert len({source.id(n) for n in range(COUNT)}) == COUNT
    for n in (3, 0, 2, 1):  # in any order
        example = source.example(n)
        np.testing.assert_array_equal(example.contexts[0], picture(n))
        np.testing.assert_array_equal(example.target, picture(n + 100))
        assert example.instruction in (f"edit {n}", f"please edit {n}")
        assert example.licence == SCHEMAS[name].licence
        assert source.shape(n).contexts == ((32, 32),)
        assert set(example.scores) == set(SCHEMAS[name].scores)
        if name in ("magicbrush", "ultraedit") or (name == "humanedit" and n % 2):
            assert example.mask.sum() == 8 * 32
        else:
            assert example.mask is None
        if SCHEMAS[name].captions[0]:
            assert example.captions[0] == f"before {n}"
    assert source.example(1).inverse == ("back 1" if name == "hq-edit" else None)


def test_several_instructions_are_chosen_from_by_number(tmp_path):
    pq.write_table(pa.Table.from_pylist([TABLES["omniedit"](n) for n in range(40)]), tmp_path / "a.parquet")
    said = [ParquetSource([tmp_path / "a.parquet"], schema("omniedit")).record(n).instruction for n in range(40)]
    assert 8 < sum(each.startswith("please") for each in said) < 32
    again = ParquetSource([tmp_path / "a.parquet"], schema("omniedit"))
    assert [again.record(n).instruction for n in range(40)] == said


def test_pictures_of_a_source_stay_on_one_side_of_the_split(tmp_path):
    rows = [TABLES["magicbrush"](n) for n in range(60)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=7)
    source = ParquetSource([tmp_path / "a.parquet"], schema("magicbrush"))
    ((train, judged),) = split([source], [6], 0.3)
    ids = [[each.id(n) for n in range(each.length)] for each in (train, judged)]
    assert sorted(ids[0] + ids[1]) == sorted(source.id(n) for n in range(60))
    assert len(ids[1]) == 6
    groups = [{each.partition("/")[0] for each in found} for found in ids]
    assert not groups[0] & groups[1]
    ((_, most),) = split([source], [18], 0.3)
    assert {most.id(n) for n in range(6)} == set(ids[1])  # who holds out more, holds out the same and more
    assert sum(train.blocks) == 54  # and what lies together is still read together
    blocks = np.repeat(np.arange(len(train.blocks)), train.blocks)
    assert all(train.indices[n] // 7 == train.indices[n - 1] // 7 for n in range(1, 54) if blocks[n] == blocks[n - 1])


def test_a_set_that_is_published_in_two_splits_is_taken_in_these(tmp_path):
    """Whatever is asked for: no row of a file named dev, as the hub names it, is ever trained on."""
    for name, first in (("train", 0), ("dev", 4)):
        rows = [TABLES["omniedit"](first + n) for n in range(4)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}-00000-of-00001.parquet")
    source = ParquetSource(sorted(tmp_path.glob("*.parquet")), schema("omniedit"))
    for count in (0, 2, 9):
        ((train, judged),) = split([source], [count], 0.1)
        assert {train.id(n) for n in range(train.length)} == {f"task_{n}" for n in range(4)}
        assert {judged.id(n) for n in range(judged.length)} == {f"task_{n}" for n in range(4, 8)}
    every = {origin.pictures for origin in source.origins()}
    assert len(every) == 8, "its pictures are known, for others to be compared with"
    assert [origin.pictures for origin in train.origins()] == [each.pictures for each in islice(source.origins(), 4, 8)]
    ((train, judged),) = split([Selected(source, ["task_1", "task_6"])], [2], 0.5)
    assert (train.id(0), judged.id(0)) == ("task_1", "task_6"), "of some of its rows too"
    alone = ParquetSource([tmp_path / "dev-00000-of-00001.parquet"], schema("omniedit"))
    assert split([alone], [0], 0.1) == [(alone, None)]


def test_rows_that_do_not_name_their_picture_stop_a_split_or_are_trained_on(tmp_path, monkeypatch):
    rows = [TABLES["magicbrush"](n) for n in range(20)]
    rows[7]["img_id"] = None
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    source = ParquetSource([tmp_path / "a.parquet"], schema("magicbrush"))
    with pytest.raises(InputError, match=r"row 7: no img_id, .* or data\.held_out=0"):
        split([source], [4], 0.5)
    skipping = ParquetSource([tmp_path / "a.parquet"], schema("magicbrush"), on_bad="skip")
    assert [n for n, origin in enumerate(skipping.origins()) if not origin.pictures] == [7]
    ((train, judged),) = split([skipping], [4], 0.5)
    assert 7 in train.indices
    assert judged.length == 4
    monkeypatch.setattr(ParquetSource, "_read", lambda *asked: pytest.fail("nothing is held out, nothing is read"))
    assert split([source], [0], 0.5) == [(source, None)]


def test_runs_of_whole_sets_are_known_by_what_they_have_always_said(tmp_path):
    """`about` decides whether a checkpoint goes on."""
    pq.write_table(pa.Table.from_pylist([TABLES["relighting"](0)]), tmp_path / "a.parquet")
    (tmp_path / "list.json").write_text(json.dumps(lists(tmp_path)["gpt-image-edit"]))
    table = ParquetSource([tmp_path / "a.parquet"], schema("relighting"))
    listed = ListSource([tmp_path / "list.json"], schema("gpt-image-edit"))
    for source in (table, listed):
        assert source.about() | {"sha256": "", "place": ""} == {
            "kind": source.schema.storage,
            "schema": source.schema.name,
            "place": "",
            "part": "all",
            "held_out": 0.01,
            "examples": source.length,
            "sha256": "",
            "licence": source.schema.licence,
        }


@pytest.mark.parametrize("name", TABLES)
def test_every_table_names_its_source_pictures(tmp_path, name):
    pq.write_table(pa.Table.from_pylist([TABLES[name](n) for n in range(COUNT)]), tmp_path / "a.parquet")
    origins = list(ParquetSource([tmp_path / "a.parquet"], schema(name)).origins())
    assert len({origin.pictures for origin in origins}) == (2 if name == "magicbrush" else COUNT)


def test_imgedit_and_its_conversations(tmp_path):
    def turn(n, k):
        return {
            "input_images": [beside(tmp_path, f"r/{n}/o{k}.png", 10 * n + k)],
            "output_images": [beside(tmp_path, f"r/{n}/r{k}.png", 100 + 10 * n + k)],
            "prompt": f"edit {n} {k}",
        }

    pq.write_table(pa.Table.from_pylist([turn(n, 0) for n in range(2)]), tmp_path / "one.parquet")
    source = ParquetSource([tmp_path / "one.parquet"], schema("imgedit"), pictures=tmp_path)
    assert source.example(1).id == "r/1/r0.png"
    np.testing.assert_array_equal(source.example(1).target, picture(110))
    rows = [{"data": [turn(n, k) for k in range(n + 1)]} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "many.parquet")
    turns = ParquetSource([tmp_path / "many.parquet"], schema("imgedit-turns"), pictures=tmp_path)
    assert [turns.example(n).instruction for n in range(6)] == [
        f"edit {n} {k}" for n, k in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))
    ]
    assert sorted(map(len, families(list(turns.origins())))) == [1, 2, 3]
    with pytest.raises(InputError, match="pictures="):
        ParquetSource([tmp_path / "one.parquet"], schema("imgedit")).example(0)


def lists(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Two rows of every set that is stored as JSON."""

    def at(name: str, seed: int) -> str:
        return beside(folder, name, seed)

    return {
        "seed-data-edit": [
            {"source_image": at(f"s/{n}.png", n), "target_image": at(f"t/{n}.png", n + 100), "instruction": f"edit {n}"}
            for n in range(2)
        ],
        "nhr-edit": [
            {
                "sample_id": f"s{n}",
                "source_file_name": at(f"images/0{n}/a.jpg", n),
                "edited_file_name": at(f"images/0{n}/b.jpg", n + 100),
                "edit_instruction": f"edit {n}",
                "augmented_instructions": [f"edit {n}"],
                "img_width": 32,
                "img_height": 32,
                "category": "Add",
                "style": "photo",
                "kind": "source",
            }
            for n in range(2)
        ],
        "gpt-image-edit": [
            {
                "id": f"hqedit_edit_{n}",
                "dataset_source": "hqedit",
                "task": "edit",
                "input": at(f"input/{n}.png", n),
                "output": at(f"output/{n}.png", n + 100),
                "instruction": f"edit {n}",
                "instruction_type": "original",
                "input_description": f"before {n}",
            }
            for n in range(2)
        ],
        "pico-banana": [
            {
                "open_image_input_url": "https://example.org/o/" + at(f"{n}_o.jpg", n),
                "text": f"edit {n}",
                "output_image": at(f"images/positive-edit/{n}.png", n + 100),
                "edit_type": "Add",
                "summarized_text": f"edit {n}",
            }
            for n in range(2)
        ],
    }


@pytest.mark.parametrize("name", ["seed-data-edit", "nhr-edit", "gpt-image-edit", "pico-banana"])
def test_a_list_of_a_public_set(tmp_path, name):
    rows = lists(tmp_path)[name]
    path = tmp_path / "list.json"
    text = json.dumps(rows) if SCHEMAS[name].storage == "list" else "\n".join(map(json.dumps, rows))
    path.write_text(text)
    source = ListSource([path], schema(name))
    assert len({origin.pictures for origin in source.origins()}) == 2
    for n in range(2):
        example = source.example(n)
        assert example.instruction == f"edit {n}"
        np.testing.assert_array_equal(example.contexts[0], picture(n))
        np.testing.assert_array_equal(example.target, picture(n + 100))


def test_chains_of_edits_give_one_example_a_turn(tmp_path):
    seed = {"source_image": beside(tmp_path, "a.png", 0)}
    for n in (1, 2, 3):
        seed |= {f"edit_image_{n}": beside(tmp_path, f"a{n}.png", n), f"instruction_{n}": f"edit {n}"}
    pico = {
        "files": [
            {"id": "edit_turn1", "url": beside(tmp_path, "m/1.png", 1)},
            {"id": "edit_turn2", "url": beside(tmp_path, "m/2.png", 2)},
            {"id": "final_image", "url": beside(tmp_path, "m/3.png", 3)},
            {"id": "original_input_image", "url": "https://example.org/" + beside(tmp_path, "o.jpg", 0)},
        ],
        "metadata_edit_turn_prompts": ["edit 1", "edit 2", "edit 3"],
    }
    for name, row in (("seed-data-edit-turns", seed), ("pico-banana-turns", pico)):
        (tmp_path / "list.jsonl").write_text(json.dumps(row))
        source = ListSource([tmp_path / "list.jsonl"], schema(name))
        assert source.length == 3
        for n in range(3):
            example = source.example(n)
            assert example.instruction == f"edit {n + 1}"
            np.testing.assert_array_equal(example.contexts[0], picture(n))
            np.testing.assert_array_equal(example.target, picture(n + 1))
        assert len({source.id(n) for n in range(3)}) == 3
        assert len({origin.pictures for origin in source.origins()}) == 1
    del pico["files"][1]
    (tmp_path / "list.jsonl").write_text(json.dumps(pico))
    with pytest.raises(InputError, match=r"row 1: .*edit_turn2 is missing"):
        ListSource([tmp_path / "list.jsonl"], schema("pico-banana-turns"))


def test_every_schema_is_tried_here():
    others = {"imgedit", "imgedit-turns", "seed-data-edit-turns", "pico-banana-turns"}
    lists_tried = {"seed-data-edit", "nhr-edit", "gpt-image-edit", "pico-banana"}
    assert set(SCHEMAS) == set(TABLES) | others | lists_tried


def test_files_that_are_not_of_the_schema_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([TABLES["relighting"](0)]), path)
    with pytest.raises(InputError, match="no column 'edited_image'"):
        ParquetSource([path], schema("instructpix2pix"))
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match="no whole Parquet"):
        ParquetSource([path], schema("relighting"))
    with pytest.raises(ConfigError, match="stored as"):
        ParquetSource([path], schema("nhr-edit"))
    with pytest.raises(InputError, match="no such set"):
        schema("laion")
    (tmp_path / "a.jsonl").write_text("{}\nno json")
    with pytest.raises(InputError, match="line 2"):
        ListSource([tmp_path / "a.jsonl"], schema("nhr-edit"))
