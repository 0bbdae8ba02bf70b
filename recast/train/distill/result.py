"""What a distillation leaves: a flow that says how it is asked, and a model made of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recast import loading, models, weights
from recast.config import FlowConfig, ModelConfig
from recast.context.text_files import find_clip_t5
from recast.errors import MissingWeights, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.train import adapters, export, state
from recast.train.card import Card, page
from recast.train.distill import pair_writing
from recast.train.distill.student import SamplerName
from recast.weights.files import arriving, read_header
from recast.weights.reading import read_tensor

FLOW, ADAPTER = "flow.safetensors", "adapter.safetensors"
ENCODER_FILES = (".json", ".safetensors", ".txt", ".model")
"""Endings of the files of published encoders and tokenizers."""
RANK = 16
"""Of a delta, where none is asked for and no adapters tell one."""


def few_step(
    base: ModelConfig,
    flow: FlowConfig,
    *,
    steps: int,
    sampler: SamplerName,
    guidance: float,
    shifts_schedule: bool,
    edit_guidance: float | None = None,
) -> ModelConfig:
    """The model of a student of few steps of `base`: by default it is asked for what it was trained for."""
    defaults = replace(
        base.defaults,
        steps=steps,
        sampler=sampler,
        guidance=guidance if flow.guidance_embed else None,
        edit_guidance=edit_guidance if flow.guidance_embed and edit_guidance != guidance else None,
        generate_true_guidance=1.0,
        edit_true_guidance=1.0,
    )
    return replace(
        base,
        name=f"{base.name.removesuffix('-dev')}-turbo",
        flow=flow,
        defaults=defaults,
        shifts_schedule=shifts_schedule,
        is_few_step=True,
        passed=(),
    )


def write(folder: Path, flow: nn.Module | Mapping[str, Tensor], config: ModelConfig) -> list[Path]:
    """A student whole, in `folder`: flow.safetensors, and config.json that says what it is and how it is asked."""
    made = weights.save(folder / ".flow", {"flow": flow}, config)
    files = [each.rename(folder / each.name) for each in sorted(made.iterdir())]
    made.rmdir()
    return files


def write_adapted(
    folder: Path, place: Path, flow: FlowTransformer, low_rank: adapters.Adapters, config: ModelConfig, base: str
) -> list[Path]:
    """A student that was trained by adapters, whole, and, unless its embedding was trained too, the adapters as a file.

    place: the run. flow: what the adapters are for, without them; the header of their file has its hash, and `base`.
    """
    file = adapters.save(
        folder / ADAPTER,
        low_rank,
        format="bfl",
        about={"base": base, "base_sha256": adapters.fingerprint(flow)},
        tensors=export.read_network(place, "adapters"),
    )
    flow.float()
    weights.fold(flow, weights.read_adapter(file, flow), 1.0)
    if config.is_few_step:
        return [*write(folder, flow, config), file]
    flow.guidance_in.load_state_dict(export.read_network(place, "guidance_in"))
    file.unlink()  # of no use without the embedding; `export --delta` writes both
    return write(folder, flow, config)


def published(run: Path) -> Path:
    """The weights of a run that is over. Raises MissingWeights for one that is not."""
    if not (run / "weights" / FLOW).is_file():
        raise MissingWeights(
            f"run={str(run)!r}: no weights/{FLOW} in it; a distillation that is over accepted; go on with it by its "
            "command"
        )
    return run / "weights"


def model(run: Path, base: str, out: Path) -> Path:
    """Write a whole model folder: the student of a run that is over, with autoencoder and text encoder of `base`.

    Its config asks by default for what the student was trained for. Raises WeightsError for a base with other encoders
    than the student's teacher had, and whatever `export.assemble` raises.
    """
    found, place = published(run), models.place(base)
    config, under = weights.read_config(found), weights.read_config(place)
    for name in ("autoencoder", "text"):
        if getattr(config, name) != getattr(under, name):
            raise WeightsError(
                f"base={base!r}: its {name} is another one than the student's teacher had ({getattr(under, name)}, "
                f"{getattr(config, name)}); that teacher accepted"
            )
    _require_encoders(run, base)
    card = Card(summary=_summary(config, base), made=_made(run))
    home = place if place.is_dir() else place.parent
    if config.text.kind == "clip_t5":
        return _with_published_encoders(out, found, home, config, card)
    return export.assemble(out, flow=found / FLOW, autoencoder=home, text=home, config=config, card=card)


def _with_published_encoders(out: Path, flow: Path, home: Path, config: ModelConfig, card: Card) -> Path:
    """Write the folder of a model that reads CLIP and T5: the flow in bf16, the rest as it is in the folder `home`.

    Encoders and tokenizers, which are most of what there is beside the flow, are links to the same files where the disk
    is the same, and else copies. Raises MissingWeights where one of them is not there.
    """
    opened = weights.open_checkpoint(home, "autoencoder")
    autoencoder = {name: read_tensor(source) for name, source in opened.tensors.items()}
    with arriving(out) as partial:
        weights.convert(flow, partial, "recast", parts=("flow",), dtype=torch.bfloat16, config=config)
        weights.save(partial / "ae.safetensors", {"autoencoder": autoencoder}, config, layout="bfl")
        for each in find_clip_t5(home):
            files = (
                [each] if each.is_file() else [file for file in sorted(each.iterdir()) if file.suffix in ENCODER_FILES]
            )
            for file in files:
                place = partial / file.relative_to(home)
                place.parent.mkdir(exist_ok=True)
                _link(file, place)
        held = {partial / FLOW: weights.open_checkpoint(partial).parameters}
        held[partial / "ae.safetensors"] = opened.parameters
        said = page(config, card, held, ["Text encoders and tokenizers are those of its teacher, as they are."])
        (partial / "README.md").write_text(said)
    return out


def _link(file: Path, place: Path) -> None:
    """The same file at another place, or a copy where there cannot be one."""
    try:
        os.link(file.resolve(), place)
    except OSError:
        shutil.copyfile(file, place)


def delta(run: Path, base: str, out: Path, *, rank: int | None = None) -> Path:
    """Write what the student of a run that is over changes of `base`, as one file (`export.delta`).

    rank: of its pairs; without one that of the run's adapters, or RANK. By that of the adapters, a student is held but
    for rounding if the run began with its teacher; what another beginning (`--init`) had changed may need a higher one.
    Raises WeightsError for a base with other encoders than the student's teacher had, and what `export.delta` raises.
    """
    found = published(run)
    config = weights.read_config(found)
    _require_encoders(run, base)
    whose = ""
    if rank is None:
        of_adapters = _adapters_rank(run)
        rank, whose = (RANK, "the usual") if of_adapters is None else (of_adapters, "of the run's adapters alone")
    made = _made(run)
    card = Card(summary=_summary(config, base), made=made)
    return export.delta(
        out, flow=found / FLOW, base=base, config=config, rank=rank, rank_is=whose, about=dict(made), card=card
    ).path


def _adapters_rank(run: Path) -> int | None:
    """The rank of a run's adapters, by their file or its newest checkpoint; None where neither tells of any."""
    file = run / "weights" / ADAPTER
    if file.is_file():
        return int(json.loads(read_header(file).metadata["recast"])["rank"])
    said = _said(run)
    lora = said["settings"]["stage"]["lora"] if said else None
    return int(lora["rank"]) if lora else None


def _summary(config: ModelConfig, base: str) -> str:
    """A line on what the student is."""
    teacher = f"`{base}`" if "/" not in base else "its teacher"
    if config.is_few_step:
        return f"A student of {teacher} that makes a picture in {config.defaults.steps} steps of one evaluation each."
    return f"A student of {teacher} that is told its guidance, and does in one evaluation what takes that model two."


def _require_encoders(run: Path, base: str) -> None:
    """Raises WeightsError unless the encoders of `base` are those that the run read, by its newest checkpoint.

    A run without checkpoints does not say; its config has been compared by then.
    """
    said = _said(run)
    if said is None:
        return
    there = said["settings"]["data"]["makers"]
    precision = loading.pick_dtype(said["settings"]["run"]["precision"], torch.device("cpu"))
    here = pair_writing.encoders_of(loading.open_files(base), precision)  # its flow is not taken, or is compared later
    for name, digest in here.items():
        if digest != there.get(name):
            raise WeightsError(
                f"base={base!r}: its {name} is {digest[:12]}, and the student was trained with "
                f"{str(there.get(name))[:12]}; the student's teacher accepted"
            )


def _said(run: Path) -> dict[str, Any] | None:
    """What the newest checkpoint of a run says of it; None without one."""
    newest = state.latest(run)
    if newest is None:
        return None
    found: dict[str, Any] = json.loads((newest / "run.json").read_text(encoding="utf-8"))
    return found


def _made(run: Path) -> dict[str, str]:
    """How a run went, in rows, by its newest checkpoint."""
    said = _said(run)
    if said is None:
        return {}
    stage, progress = said["settings"]["stage"], said["progress"]
    made = {
        "way": str(stage["what"]),
        "steps": f"{progress['step']:,}",
        "examples": f"{progress['samples']:,}",
        "minutes": f"{progress['seconds'] / 60:.1f}",
        "teacher": str(said["settings"]["data"]["makers"]["teacher"]),
    }
    return made | ({"adapters": f"rank {stage['lora']['rank']}"} if stage["lora"] else {})
