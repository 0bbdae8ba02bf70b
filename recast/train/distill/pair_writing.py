"""Pairs made by a teacher and written to a folder, shard by shard, so that a stopped writer goes on where it was.

What a shard holds depends on the examples, the teacher and the settings alone: written in one go or in many, the files
are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from recast.context.text import CachedEncoder, TextEncoder
from recast.context.text_files import unread_networks
from recast.errors import ConfigError, InputError, TrainingError
from recast.flow.schedule import resolution_shift
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.loading import Files
from recast.train.adapters import fingerprint
from recast.train.distill.asking import asked
from recast.train.distill.pair_manifest import MANIFEST, Manifest, require_same_makers
from recast.train.distill.pairs import PROBE, Key, noise_of
from recast.train.distill.scales import Scales
from recast.train.distill.teacher import ALWAYS, WALKS, Teacher, WalkName
from recast.train.flow_stage import FlowStage
from recast.train.parallel import ALONE, Ranks
from recast.train.settings import as_json, completed
from recast.train.stage import Batches
from recast.train.uses import Pass
from recast.weights.files import TensorFile
from recast.weights.reading import load_into
from recast.weights.writing import DTYPE_NAMES, tensor_bytes
from recast.world.folder import write_whole

CHOOSING = (
    "edit", "text_to_image", "keep", "reverse", "uses", "context_dropout", "keep_instructions",
    "conditioning", "context_offset",
)  # fmt: skip
"""Settings of a `FlowTraining` that choose what the teacher is asked of an example; the others are a student's."""
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class PairSettings(Scales):
    """How pairs are made. A folder may be continued with a larger count, and with nothing else changed."""

    count: int = 30_000  # pairs at least: shards are written whole
    steps: int = 25  # of the teacher's walk
    sampler: WalkName = "euler"  # of it
    states: int = 1  # of the walk that are kept, its end the last: as many as a student has steps, or the end alone
    interval: tuple[float, float] = ALWAYS  # of times at which a teacher of two evaluations is guided
    rescale: float = 0.0  # share by which its spread is taken back (`teacher.rescaled`)
    shifts_schedule: bool = True  # by resolution
    seed: int = 0  # of the noise
    batches_per_shard: int = 8
    dtype: Literal["fp16", "bf16"] = "fp16"  # of stored tokens; fp16 is eight times as fine, to 65504

    def __post_init__(self) -> None:
        for name in ("count", "steps", "states", "batches_per_shard"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ConfigError(f"{name}={getattr(self, name)!r}: a whole number from 1 accepted")
        self.check_scales()
        if self.sampler not in WALKS:
            raise ConfigError(f"sampler={self.sampler!r}: {' or '.join(WALKS)} accepted; choose one")
        if self.steps % self.states:
            raise ConfigError(
                f"states={self.states}: a divisor of steps={self.steps} accepted: they part the walk evenly; choose "
                "one, or other steps"
            )
        low, high = self.interval
        if not 0 <= low <= high <= 1:
            raise ConfigError(f"interval={self.interval}: two times with 0 <= first <= second <= 1 accepted")
        if not 0 <= self.rescale <= 1:
            raise ConfigError(f"rescale={self.rescale}: a share from 0 to 1 accepted")
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype={self.dtype!r}: fp16 or bf16 accepted; choose one")


@dataclass(frozen=True)
class Written:
    """One shard more."""

    pairs: int  # in the folder so far
    of: int  # wanted
    shard: tuple[str, ...]  # its files


def made_by(teacher: FlowTransformer, autoencoder: Autoencoder, text: TextEncoder) -> dict[str, str]:
    """SHA-256 of the networks that pairs depend on, by name. To be taken before any of them is sharded."""
    found = {"teacher": fingerprint(teacher), "autoencoder": fingerprint(autoencoder.encoder)}
    if isinstance(text, CachedEncoder):
        found["text encoder"] = " ".join(fingerprint(network) for network in text.networks)
    return found


def asked_by(reading: FlowStage) -> dict[str, Any]:
    """What chooses that which is asked of each example, by the names that the command line has for it, as JSON data."""
    chosen = {f"training.{name}": as_json(getattr(reading.training, name)) for name in CHOOSING}
    return {**chosen, "run.seed": reading.run.seed}


def encoders_of(files: Files, dtype: torch.dtype) -> dict[str, str]:
    """What `made_by` says of a model's encoders where it is loaded in dtype, without loading its text encoder."""
    with torch.device("meta"):
        autoencoder = Autoencoder(files.config.autoencoder)
    load_into(autoencoder, files.parts["autoencoder"], dtype=torch.float32)
    digests = []
    for each in unread_networks(files.home, files.config.text):
        with each.weights.reading("cpu", dtype) as read:
            digests.append(fingerprint(each.network, read))
    return {"autoencoder": fingerprint(autoencoder.encoder), "text encoder": " ".join(digests)}


def write(
    teacher: Teacher,
    reading: FlowStage,
    batches: Batches,
    place: str | Path,
    settings: PairSettings,
    *,
    ranks: Ranks = ALONE,
    makers: Mapping[str, str] | None = None,
) -> Iterator[Written]:
    """Add shards to the folder `place` until it has `settings.count` pairs; yield after each. It may stop at any time.

    reading: turns batches of pictures into what is asked of the teacher; its own flow is not used, its prompts are
    never dropped. batches: a `data.loader.Loader`, at its beginning; a folder that has pairs continues after the last
    of them. makers: `made_by`, if the teacher is sharded already. All processes call it.
    Raises WeightsError for a folder of another teacher, autoencoder or text encoder, ConfigError for one of other
    settings or examples, TrainingError for an endpoint that is not finite in the stored format.
    """
    place = Path(place)
    if reading.training.text_dropout:
        raise ConfigError(
            f"text_dropout={reading.training.text_dropout}: 0 needed: without its prompt a pair shows nothing of it"
        )
    fresh = Manifest(
        made_by=dict(makers) if makers else made_by(teacher.flow, reading.autoencoder, reading.text),
        settings=_said(settings),
        stream=batches.state(),
        asked_by=asked_by(reading),
    )
    manifest = _started(place, fresh, settings)
    ranks.barrier()  # all have read it before one writes
    batches.load_state(manifest.stream)
    stream = iter(batches)
    try:
        while manifest.pairs < settings.count:
            rows: dict[Key, list[_Row]] = {}
            for _ in range(settings.batches_per_shard):
                for key, row in _made(teacher, reading, next(stream), settings):
                    rows.setdefault(key, []).append(row)
            manifest, names = _add_shard(place, manifest, rows, batches.state(), ranks)
            yield Written(manifest.pairs, settings.count, names)
    finally:
        batches.close()


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One pair, on the CPU as it is stored."""

    number: int
    id: str
    kind: str
    prompt: str
    is_copy: bool
    category: str
    base: int
    mask: Tensor | None  # (n,) bool, where it is known
    tensors: Mapping[str, Tensor]  # endpoint (n, d), context (r, d) if there is one, probe (PROBE,); states on the way

    @property
    def is_masked(self) -> bool:
        return self.mask is not None


def _said(settings: PairSettings) -> dict[str, Any]:
    """What a manifest says of them: not the count, which is what is wanted, not what the pairs are."""
    said: dict[str, Any] = as_json(settings)
    said.pop("count")
    return said


def _started(place: Path, fresh: Manifest, settings: PairSettings) -> Manifest:
    """The manifest to go on from: the folder's own, or the new one."""
    if not (place / MANIFEST).exists():
        if place.is_dir() and any(
            each.suffix != ".safetensors" and not each.name.startswith(".") for each in place.iterdir()
        ):
            raise InputError(f"place={str(place)!r}: holds other things than pairs; an empty or new folder accepted")
        place.mkdir(parents=True, exist_ok=True)
        return fresh
    found = Manifest.read(place)
    require_same_makers(place, found.made_by, fresh.made_by)
    require_same_settings(place, found, settings, fresh.asked_by)
    return found


def require_same_settings(place: Path, found: Manifest, settings: PairSettings, asking: Mapping[str, Any]) -> None:
    """Raises ConfigError where the pairs of a folder were made by other settings than these, whatever their count.

    asking: `asked_by`; of it a folder of an earlier version says nothing, and nothing is compared.
    """
    said = {**_said(settings), **asking}
    there = {**asking, **completed(found.settings, settings), **found.asked_by}
    apart = [f"{name} {there[name]!r} there, {said[name]!r} here" for name in said if there[name] != said[name]]
    if apart:
        raise ConfigError(
            f"place={str(place)!r}: pairs of other settings: {'; '.join(apart)}; its own accepted, with any count; "
            "continue with them, or write in an empty folder"
        )


def _made(teacher: Teacher, reading: FlowStage, batch: Any, settings: PairSettings) -> Iterator[tuple[Key, _Row]]:
    """The pairs of a batch of pictures, each with its shape."""
    for each in reading.prepare(batch, 0.0).passes:
        each = _as_stored(each, settings)
        noise = noise_of(each.numbers, settings.seed, each.clean.shape[1:])
        mu = resolution_shift(each.clean.shape[1]) if settings.shifts_schedule else 0.0
        with torch.no_grad(), reading.autocast():
            condition, null, scale = asked(reading, teacher.flow, each, settings.scale_of(each))
            walked = teacher.states(
                noise.to(reading.device),
                condition,
                null,
                steps=settings.steps,
                kept=settings.states,
                walk=settings.sampler,
                guidance=scale,
                mu=mu,
                interval=settings.interval,
                rescale=settings.rescale,
            )
        if not each.counts:
            continue  # run because other processes run one
        stored = walked.to("cpu", DTYPES[settings.dtype])
        context = None if each.context is None else each.context.to("cpu", DTYPES[settings.dtype])
        for i, use in enumerate(each.uses):
            if not stored[i].isfinite().all():
                raise TrainingError(
                    f"example {batch.ids[use.example]} ({use.prompt!r}): the teacher's endpoint is not finite in "
                    f"{settings.dtype}; lower the guidance ({settings.scale_of(each)}), or check the teacher's weights"
                )
            tensors = {"endpoint": stored[i, -1], "probe": noise[i].flatten()[:PROBE]}
            tensors |= {"states": stored[i, :-1]} if settings.states > 1 else {}
            tensors |= {} if context is None else {"context": context[i]}
            yield (
                Key(each.grid, each.context_grids),
                _Row(
                    number=use.number,
                    id=batch.ids[use.example],
                    kind=use.kind,
                    prompt=use.prompt,
                    is_copy=use.is_copy,
                    category=use.category,
                    base=use.base,
                    mask=each.mask[i].cpu() if use.has_mask and each.mask is not None else None,
                    tensors=tensors,
                ),
            )


def _as_stored(each: Pass, settings: PairSettings) -> Pass:
    """The same with its context rounded as it is kept, so that the teacher sees what the student will see."""
    if each.context is None:
        return each
    return replace(each, context=each.context.to(DTYPES[settings.dtype]).float())


def _add_shard(
    place: Path, manifest: Manifest, rows: Mapping[Key, list[_Row]], stream: Mapping[str, Any], ranks: Ranks
) -> tuple[Manifest, tuple[str, ...]]:
    """Write this process's part of a shard, then, in the first process, the manifest that names all parts."""
    shard = len({name.rpartition("-")[0] for name, _, _ in manifest.shards})
    name = f"pairs-{shard:05d}-{ranks.data_rank:02d}.safetensors"
    entry = None
    if ranks.gather(ranks.data_rank).index(ranks.data_rank) == ranks.rank:  # the first of those that share its part
        _write_part(place / name, rows)
        entry = (name, (place / name).stat().st_size, sum(map(len, rows.values())))
    entries = [each for each in ranks.gather(entry) if each is not None]
    longer = replace(manifest, stream=dict(stream), shards=(*manifest.shards, *sorted(entries)))
    if ranks.rank == 0:
        write_whole(place / MANIFEST, longer.text().encode())
        _sync(place)
    ranks.barrier()
    return longer, tuple(name for name, _, _ in sorted(entries))


def _write_part(path: Path, rows: Mapping[Key, list[_Row]]) -> None:
    """A file of pairs, whole or not at all; one that no manifest names is replaced."""
    groups, tensors = [], {}
    for number, (key, members) in enumerate(sorted(rows.items())):
        words = {
            "numbers": "number", "ids": "id", "kinds": "kind", "prompts": "prompt", "copies": "is_copy",
            "categories": "category", "bases": "base", "masked": "is_masked",
        }  # fmt: skip
        said = {plural: [getattr(row, one) for row in members] for plural, one in words.items()}
        groups.append({"grid": key.grid, "contexts": key.contexts, **said})
        for what in members[0].tensors:
            tensors[f"{number}/{what}"] = torch.stack([row.tensors[what] for row in members])
        if any(row.is_masked for row in members):
            empty = torch.zeros(key.grid[0] * key.grid[1], dtype=torch.bool)
            tensors[f"{number}/mask"] = torch.stack([empty if row.mask is None else row.mask for row in members])
    entries = {name: (DTYPE_NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # of a writer that was killed
    with TensorFile(part, entries, {"groups": json.dumps(groups)}) as file:
        for name, tensor in tensors.items():
            file.put(name, tensor_bytes(tensor))
    part.replace(path)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
