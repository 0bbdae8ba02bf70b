"""All that a run needs to go on, on disk: networks, optimisers, averages, and where it stands.

Tensors are kept by torch's distributed checkpoint (DCP), whole in name and shape whatever process held which part:
a checkpoint of any number of processes is read by any other. The rest is JSON. How the folder is published and
checked is `checkpoints`' matter.
"""

from __future__ import annotations

import json
import logging
import platform
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.optim import Optimizer

from recast.config import VERSION
from recast.errors import ConfigError, TrainingError, WeightsError
from recast.train import checkpoints
from recast.train.adapters import Adapters
from recast.train.checkpoints import MANIFEST
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import ASKED, Run, Settings, as_json, completed, differences
from recast.train.sharded import reshard
from recast.train.tensor_parallel import Order, orders, reordered

if TYPE_CHECKING:
    from recast.train.ema import Average

__all__ = ["MANIFEST", "MEDIAN_OF", "Parts", "Progress", "latest", "load", "progress", "read", "save"]

log = logging.getLogger(__name__)

MEDIAN_OF = 101
"""Steps that the running median of a gradient's norm is taken over."""

_RUN = "run.json"
_MAY_DIFFER = ("stage.training.kept_encodings",)
"""Of the stage: what is memory alone."""
_MUST_AGREE = ("seed", "accumulate", "precision", "average_half_life")
"""Of `Run`: what another value of would make another run. Its length, its intervals and its memory may differ."""


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0  # optimiser steps taken or skipped
    samples: int = 0  # examples seen, all processes together
    seconds: float = 0.0  # of wall clock, of all calls
    skipped: int = 0  # steps not taken, in all
    in_a_row: int = 0  # of them, the last ones
    norms: dict[str, list[float]] = field(default_factory=dict)  # of each phase's gradient, the last MEDIAN_OF
    phases: dict[str, int] = field(default_factory=dict)  # steps of each phase that has begun
    hardware: dict[str, float] = field(default_factory=dict)  # of the seconds, those on each kind of it
    judged: list[float] = field(default_factory=list)  # held-out losses that `Run.flat_over` looks at
    pace: float = 1.0  # how much faster the run goes through its course than planned, since it was flat

    def share(self, course: Run) -> float:
        """How much of the run is done: 1 or more when it is over."""
        return self.pace * course.share(self.step, self.seconds)


@dataclass(frozen=True)
class Parts:
    """What is saved and loaded in place."""

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, list[Optimizer]]  # of each phase
    averages: Mapping[str, Average]  # of some networks


def save(
    place: Path, parts: Parts, progress: Progress, stream: Mapping[str, Any], settings: Settings, ranks: Ranks = ALONE
) -> Path:
    """Write a checkpoint and publish it as `place`/checkpoints/step-00000500; keep the newest `settings.run.keep`.

    stream: where the batches stand, as JSON data. All processes call it, with the same step.
    Raises TrainingError, in all of them, if the disk is full or a process fails; what was saved before stays.
    """
    tensors = _tensors(parts)
    needed = sum(each.numel() * each.element_size() for each in tensors.values())
    said = {
        "progress": asdict(progress),
        "stream": stream,
        "settings": settings.as_data(),
        "processes": ranks.size,
        "versions": {"recast": VERSION, "torch": torch.__version__, "python": platform.python_version()},
    }
    publishing = checkpoints.publishing(
        place, progress.step, ranks, keep=settings.run.keep, needed_bytes=needed + (1 << 20)
    )
    with publishing as folder:
        if ranks.rank == 0:
            checkpoints.write_json(folder / _RUN, said)
        writer = dcp.FileSystemWriter(folder, sync_files=True)
        _dcp(lambda: dcp.save(tensors, storage_writer=writer, no_dist=ranks.size == 1), "save")
    return place / "checkpoints" / f"step-{progress.step:08d}"


def latest(place: Path, ranks: Ranks = ALONE) -> Path | None:
    """The newest checkpoint in `place` that is whole, None without one; damaged ones are passed over with a warning.

    With `ranks` of many processes all call it, and each reads a part.
    """
    return checkpoints.whole(place, ranks)


def progress(path: Path) -> Progress:
    """Where the run stood when it wrote this checkpoint."""
    return Progress(**json.loads((path / _RUN).read_text(encoding="utf-8"))["progress"])


def load(path: Path, parts: Parts, settings: Settings, ranks: Ranks = ALONE) -> tuple[Progress, dict[str, Any]]:
    """Fill the parts from a checkpoint, in place; where the run and its stream stood.

    All processes call it; their number may be another than when it was written.
    Raises ConfigError, with the differences, for the checkpoint of another run: other settings of stage or data, or
    another seed, accumulation, precision or half-life. Raises WeightsError if it holds other tensors.
    """
    said = json.loads((path / _RUN).read_text(encoding="utf-8"))
    _same_run(path, said["settings"], settings)
    stored = _stored(path)
    _allocate(parts, stored)
    tensors = _tensors(parts)
    _same_tensors(path, tensors, stored)
    reader = dcp.FileSystemReader(path)
    _dcp(lambda: dcp.load(tensors, storage_reader=reader, no_dist=ranks.size == 1), "load")
    _fill(parts, tensors)
    return Progress(**said["progress"]), said["stream"]


def read(
    path: Path, take: Literal["averaged", "raw"], networks: Sequence[str] | None = None
) -> dict[str, dict[str, Tensor]]:
    """The tensors of networks of a checkpoint, by network and name, whole, on the CPU; by this process alone.

    take: averaged, with the averages in the places of the weights that have one; or raw. networks: None for all.
    Raises WeightsError if the checkpoint is damaged, ConfigError for a network that it does not hold.
    """
    faults = checkpoints.faults(path)
    if faults:
        raise WeightsError(f"checkpoint={str(path)!r}: {'; '.join(faults[:10])}; take one that is whole")
    stored = _stored(path)
    held = {name.split("/")[1] for name in stored if name.startswith("networks/")}
    for name in networks or ():
        if name not in held:
            raise ConfigError(f"networks: {name!r} came, and {str(path)!r} holds {', '.join(sorted(held))}; name those")
    tensors = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype)
        for key, entry in stored.items()
        if key.startswith(("networks/", "averages/") if take == "averaged" else "networks/")
        and (networks is None or key.split("/")[1] in networks)
    }
    _dcp(lambda: dcp.load(tensors, storage_reader=dcp.FileSystemReader(path), no_dist=True), "load")
    found: dict[str, dict[str, Tensor]] = {}
    for key in sorted(tensors, reverse=True):  # networks first, so that averages replace theirs
        _, network, name = key.split("/", 2)
        found.setdefault(network, {})[name] = tensors[key]
    return found


def _tensors(parts: Parts) -> dict[str, Tensor]:
    """All tensors under the names they have on disk, in the published order of their rows.

    They are the parts' own memory, but for those that tensor parallel keeps in another order.
    """
    found: dict[str, Tensor] = {}
    for network, module in parts.networks.items():
        _gather_no_more(module)
        for name, tensor in module.state_dict().items():
            found[f"networks/{network}/{name}"] = tensor.detach()
    for network, average in parts.averages.items():
        order = orders(parts.networks[network])
        for name, tensor in average.tensors.items():
            found[f"averages/{network}/{name}"] = _published(tensor, order.get(name))
    for key, tensor, kept in _slots(parts):
        found[key] = _published(tensor, kept)
    return found


def _fill(parts: Parts, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors as they are on disk into the parts."""
    with torch.no_grad():
        for network, module in parts.networks.items():
            start = f"networks/{network}/"
            module.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
        for network, average in parts.averages.items():
            for name, order in orders(parts.networks[network]).items():
                if name in average.tensors:
                    average.tensors[name].copy_(reordered(tensors[f"averages/{network}/{name}"], order, publish=False))
        for key, tensor, kept in _slots(parts):
            if kept is not None:
                tensor.copy_(reordered(tensors[key], kept, publish=False))


def _published(tensor: Tensor, order: Order | None) -> Tensor:
    return tensor if order is None else reordered(tensor, order, publish=True)


def _slots(parts: Parts) -> Iterable[tuple[str, Tensor, Order | None]]:
    """What the optimisers keep of each parameter: name on disk, tensor, and in what order it is kept."""
    named = _parameters(parts)
    kept = {f"{network}.{name}": o for network, m in parts.networks.items() for name, o in orders(m).items()}
    for phase, optimisers in parts.optimisers.items():
        for optimiser in optimisers:
            for parameter, state in optimiser.state.items():
                name = named[parameter]
                for slot, tensor in state.items():
                    if not isinstance(tensor, Tensor):
                        raise TypeError(f"{type(optimiser).__name__}: {slot} of {name} is no tensor and is not kept")
                    order = kept.get(name) if tensor.shape == parameter.shape else None
                    yield f"optimisers/{phase}/{name}/{slot}", tensor, order


def _parameters(parts: Parts) -> dict[Tensor, str]:
    return {
        parameter: f"{network}.{name}"
        for network, module in parts.networks.items()
        for name, parameter in module.named_parameters()
    }


def _allocate(parts: Parts, stored: Mapping[str, TensorStorageMetadata]) -> None:
    """Give the optimisers the state that is stored of their parameters, and no other: those that never took a step
    have none.
    """
    named = _parameters(parts)
    for phase, optimisers in parts.optimisers.items():
        for optimiser in optimisers:
            optimiser.state.clear()
            for parameter in (p for group in optimiser.param_groups for p in group["params"]):
                start = f"optimisers/{phase}/{named[parameter]}/"
                for key in (key for key in stored if key.startswith(start)):
                    entry = stored[key]
                    if entry.size == parameter.shape:
                        made = torch.zeros_like(parameter, dtype=entry.properties.dtype, requires_grad=False)
                    else:
                        there = parameter.device if optimiser.defaults.get("fused") else None  # a count of steps
                        made = torch.zeros(entry.size, dtype=entry.properties.dtype, device=there)
                    optimiser.state[parameter][key.removeprefix(start)] = made


def _gather_no_more(module: nn.Module) -> None:
    """Put what FSDP has gathered back into shards, in the network, or where the network's parameters live."""
    reshard(module)
    if isinstance(module, Adapters):
        module.reshard()


def _stored(path: Path) -> dict[str, TensorStorageMetadata]:
    entries = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
    return {name: entry for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}


def _same_run(path: Path, there: Mapping[str, Any], settings: Settings) -> None:
    here = as_json(settings)
    run, stage = completed(there["run"], settings.run), completed(there["stage"], settings.stage)
    pairs = [("stage", stage, here["stage"])]
    pairs += [(f"run.{name}", run[name], here["run"][name]) for name in _MUST_AGREE]
    found = [line for name, old, new in pairs for line in differences(name, old, new, _MAY_DIFFER)]
    apart = differences("data", _without_asked(there["data"]), _without_asked(here["data"]))
    if apart:  # of which some may be two hashes: first what is known of the reason
        found += [*_asked(there["data"], here["data"]), *apart]
    if found:
        raise ConfigError(
            f"checkpoint={str(path)!r}: of a run with other settings: {'; '.join(found[:10])}; continue with its own, "
            "or begin another run in another folder, from these weights if need be"
        )


def _asked(old: Any, new: Any) -> list[str]:
    """How the settings differ by which two runs came to their data, wherever in that they are kept (`Loader.about`)."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return []
    found = differences("data", old[ASKED], new[ASKED]) if ASKED in old.keys() & new.keys() else []
    return found + [line for key in sorted(old.keys() & new.keys() - {ASKED}) for line in _asked(old[key], new[key])]


def _without_asked(data: Any) -> Any:
    """Data without those settings: two ways to the same data are one."""
    if not isinstance(data, dict):
        return data
    return {key: _without_asked(value) for key, value in data.items() if key != ASKED}


def _same_tensors(path: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, TensorStorageMetadata]) -> None:
    missing, unexpected = sorted(tensors.keys() - stored.keys()), sorted(stored.keys() - tensors.keys())
    misshapen = [
        f"{name} {tuple(stored[name].size)} for {tuple(tensors[name].shape)}"
        for name in sorted(tensors.keys() & stored.keys())
        if stored[name].size != tensors[name].shape
    ]
    if missing or unexpected or misshapen:
        raise WeightsError(
            f"checkpoint={str(path)!r}: holds other tensors than this run: missing {missing[:10]}, unexpected "
            f"{unexpected[:10]}, of another shape {misshapen[:10]}; continue with the networks it was made of"
        )


def _dcp(call: Any, verb: str) -> None:
    """Run DCP; its exceptions, which are not Exceptions, become ours."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*single process.*")  # which is as it should be
            call()
    except CheckpointException as problem:
        reasons = {rank: failure[0] for rank, failure in problem.failures.items()}
        raise TrainingError(f"checkpoint: could not {verb} it: {reasons}; those before are whole") from problem
