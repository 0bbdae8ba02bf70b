"""The public editing sets, by their schema: which field holds what, under which licence.

None is fetched: they are read from files that lie on a disk. Fields as their cards and their users' loaders name them.
A set whose pictures lie in files of their own is read with the folder of these pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recast.errors import InputError
from recast.train.data.schema import Row, Schema


def _imgedit_turns(row: Row) -> Sequence[Row]:
    return list(row.get("data") or ())


def _seed_turns(row: Row) -> Sequence[Row]:
    """A chain: source_image, then instruction_1 leads to edit_image_1, and so on."""
    turns: list[dict[str, Any]] = []
    before = row.get("source_image")
    while f"edit_image_{len(turns) + 1}" in row:
        n = len(turns) + 1
        after = row[f"edit_image_{n}"]
        turns.append({"source": before, "target": after, "instruction": row.get(f"instruction_{n}"), "turn": n})
        turns[-1]["chain"] = row["source_image"]
        before = after
    return turns


def _pico_turns(row: Row) -> Sequence[Row]:
    """A chain of files: original_input_image, edit_turn1, edit_turn2, ..., final_image; a prompt between each two."""
    files = {each["id"]: each["url"] for each in row.get("files") or ()}
    prompts = row.get("metadata_edit_turn_prompts") or ()
    names = ["original_input_image", *(f"edit_turn{n}" for n in range(1, len(prompts))), "final_image"]
    missing = [name for name in names if name not in files]
    if missing:
        raise InputError(f"files: {missing[0]} is missing of {len(prompts)} turns; a chain without gaps accepted")
    chain = [files[name] for name in names]
    chain[0] = row.get("local_input_image", chain[0])
    return [
        {"source": before, "target": after, "instruction": prompt, "turn": n, "chain": files[names[0]]}
        for n, (before, after, prompt) in enumerate(zip(chain, chain[1:], prompts, strict=False), 1)
    ]


_CHAIN: Mapping[str, Any] = {
    "contexts": ("source",),
    "target": "target",
    "instructions": ("instruction",),
    "id": ("chain", "turn"),
    "group": ("chain",),
}

_ALL = (
    Schema(
        name="instructpix2pix",
        licence="unknown",
        storage="parquet",
        contexts=("original_image",),
        target="edited_image",
        instructions=("edit_prompt",),
        captions=("original_prompt", "edited_prompt"),
        group=("original_prompt",),
    ),
    Schema(
        name="magicbrush",
        licence="CC-BY-4.0",
        storage="parquet",
        contexts=("source_img",),
        target="target_img",
        mask="mask_img",
        instructions=("instruction",),
        id=("img_id", "turn_index"),
        group=("img_id",),
    ),
    Schema(
        name="ultraedit",
        licence="CC-BY-4.0",
        storage="parquet",
        contexts=("source_image",),
        target="edited_image",
        mask="mask_image",
        instructions=("edit_prompt",),
        captions=("source_caption", "target_caption"),
        kind="edit_object",
        scores=("ssim", "dinov2_sim", "clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image"),
    ),
    Schema(
        name="omniedit",
        licence="MIT",
        storage="parquet",
        contexts=("src_img",),
        target="edited_img",
        instructions=("edited_prompt_list",),
        id=("omni_edit_id",),
        kind="task",
        scores=("sc_score_1", "sc_score_2", "pq_score", "o_score"),
    ),
    Schema(
        name="seed-data-edit",
        licence="CC-BY-NC-4.0",
        storage="lines",
        contexts=("source_image",),
        target="target_image",
        instructions=("instruction",),
        group=("source_image",),
    ),
    Schema(
        name="seed-data-edit-turns",
        licence="CC-BY-NC-4.0",
        storage="lines",
        turns=_seed_turns,
        **_CHAIN,
    ),
    Schema(
        name="imgedit",
        licence="unknown",
        storage="parquet",
        contexts=("input_images",),
        target="output_images",
        instructions=("prompt",),
        id=("output_images",),
        group=("input_images",),
    ),
    Schema(
        name="imgedit-turns",
        licence="unknown",
        storage="parquet",
        contexts=("input_images",),
        target="output_images",
        instructions=("prompt",),
        id=("output_images",),
        group=("data",),
        turns=_imgedit_turns,
        turns_field="data",
    ),
    Schema(
        name="nhr-edit",
        licence="Apache-2.0",
        storage="lines",
        contexts=("source_file_name",),
        target="edited_file_name",
        instructions=("edit_instruction", "augmented_instructions"),
        id=("sample_id",),
        group=("source_file_name",),
        kind="category",
    ),
    Schema(
        name="hq-edit",
        licence="CC-BY-NC-4.0",
        storage="parquet",
        contexts=("input_image",),
        target="output_image",
        instructions=("edit",),
        inverse="inverse_edit",
        captions=("input", "output"),
        kind="edit_object",
        group=("input",),
    ),
    Schema(
        name="gpt-image-edit",
        licence="unknown",
        storage="list",
        contexts=("input",),
        target="output",
        instructions=("instruction",),
        captions=("input_description", None),
        id=("id",),
        group=("dataset_source", "input"),
        kind="task",
    ),
    Schema(
        name="pico-banana",
        licence="CC-BY-NC-ND-4.0",
        storage="lines",
        contexts=("local_input_image|open_image_input_url",),
        target="output_image",
        instructions=("text", "summarized_text"),
        id=("output_image",),
        group=("open_image_input_url",),
        kind="edit_type",
    ),
    Schema(
        name="pico-banana-turns",
        licence="CC-BY-NC-ND-4.0",
        storage="lines",
        turns=_pico_turns,
        **_CHAIN,
    ),
    Schema(
        name="subjects200k",
        licence="Apache-2.0",
        storage="parquet",
        target="image",
        halves=8,
        instructions=("description.description_1",),
        captions=("description.description_0", "description.description_1"),
        kind="description.category",
        group=("description.item",),
        scores=(
            "quality_assessment.compositeStructure",
            "quality_assessment.objectConsistency",
            "quality_assessment.imageQuality",
        ),
    ),
    Schema(
        name="humanedit",
        licence="CC-BY-4.0",
        storage="parquet",
        contexts=("INPUT_IMG",),
        target="OUTPUT_IMG",
        mask="MASK_IMG",
        has_mask="MASK",
        instructions=("EDITING_INSTRUCTION",),
        captions=("INPUT_CAPTION_BY_LLAMA", "OUTPUT_CAPTION_BY_LLAMA"),
        id=("IMAGE_ID",),
        kind="EDITING_TYPE",
    ),
    Schema(
        name="relighting",
        licence="unknown",
        storage="parquet",
        contexts=("file_name",),
        target="output",
        instructions=("instruction",),
    ),
)
SCHEMAS: Mapping[str, Schema] = {each.name: each for each in _ALL}


def schema(name: str) -> Schema:
    """The schema of a public set. Raises InputError for a name that is not among SCHEMAS."""
    if name not in SCHEMAS:
        raise InputError(f"schema={name!r}: no such set; {', '.join(SCHEMAS)} accepted; or write a Schema of your own")
    return SCHEMAS[name]
