"""Where a student begins: at its teacher, or at a student that is there already."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch

from recast import loading, weights
from recast.config import FlowConfig
from recast.errors import ConfigError, MissingWeights
from recast.flow.layers import sinusoid
from recast.flow.transformer import FlowTransformer
from recast.pipeline import Pipeline
from recast.train.parallel import Ranks
from recast.train.settings import Precision


def teacher(model: str, precision: Precision, ranks: Ranks) -> Pipeline:
    """A teacher with its encoders; among several processes its flow is on the CPU, to be shared out from there.

    model: as `recast.load` takes it. Shared out (`parallel.wrap`), a device holds its own part and never the whole.
    Autoencoder and text encoder are on each process's device.
    """
    home = ranks.device if ranks.size == 1 else torch.device("cpu")
    base = loading.load(model, device=str(home), dtype=precision)
    base.autoencoder.to(ranks.device)
    base.text.to(ranks.device)
    return base


def whole(flow: FlowTransformer) -> FlowTransformer:
    """A copy of a network in fp32 on the CPU, to be trained."""
    with torch.device("meta"):
        made = FlowTransformer(flow.config)
    tensors = {name: tensor.detach().to("cpu", torch.float32, copy=True) for name, tensor in flow.state_dict().items()}
    made.load_state_dict(tensors, assign=True)
    return made.requires_grad_(True)


def read(place: Path) -> FlowTransformer:
    """The student of an earlier run that is over, or the flow of a model folder or file, in fp32 on the CPU.

    Of a delta it is its base, changed by it. Raises MissingWeights for a run that is not over, a folder without a flow,
    or a delta whose base is not there.
    """
    if (place / "checkpoints").is_dir() or (place / "journal.jsonl").is_file():
        if not (place / "weights").is_dir():
            raise MissingWeights(f"init={str(place)!r}: a run that is not over; go on with it first, by its command")
        place = place / "weights"
    if weights.is_delta(place):
        files = loading.open_files(place)
        return loading.load_flow(files, files.config, torch.float32, torch.device("cpu")).requires_grad_(True)
    opened = weights.open_checkpoint(place, "flow")
    assert isinstance(opened.config, FlowConfig)
    with torch.device("meta"):
        made = FlowTransformer(opened.config)
    weights.load_into(made, opened, dtype=torch.float32, device="cpu")
    return made.requires_grad_(True)


def at_scale(flow: FlowTransformer, guidance: float) -> FlowTransformer:
    """A copy of a network with a guidance embedding that has none and does what `flow` does at this scale.

    What the embedding adds to the modulation vector is then the same for all times, and goes into a bias.
    Raises ConfigError for a network without an embedding, and for one with cached contexts, whose own pass has the
    bias but not the embedding.
    """
    if flow.config.context_attention == "cached":
        raise ConfigError("flow: context_attention='cached'; 'full' accepted; keep the embedding, told the scale")
    if not flow.config.guidance_embed:
        raise ConfigError("flow: has no guidance embedding; one that has accepted; take it as it is")
    made = copy.deepcopy(flow)
    made.config = replace(flow.config, guidance_embed=False)
    with torch.no_grad():
        like = flow.time_in.out_layer.bias
        scale = torch.tensor([float(guidance)], device=like.device, dtype=like.dtype)
        made.time_in.out_layer.bias.add_(flow.guidance_in(sinusoid(scale))[0])
    del made.guidance_in
    return made


def require_kin(student: FlowConfig, teacher: FlowConfig) -> None:
    """Raises ConfigError for a student that is another network than its teacher in more than its embedding."""
    if replace(student, guidance_embed=teacher.guidance_embed) != teacher:
        raise ConfigError(
            f"init: {student}, and the teacher is {teacher}; the same but for guidance_embed accepted; begin with a "
            "student of this teacher, or leave --init out"
        )
