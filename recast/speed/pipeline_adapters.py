"""The adapters of a pipeline, changed between requests: files to weights, and into its recipes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recast.errors import ConfigError
from recast.loading import AdapterFiles, adapter_files, recorded
from recast.pipeline import Pipeline
from recast.speed.adapters import Folding, Written
from recast.speed.engine import Engine
from recast.speed.linear import Linear, Plain
from recast.speed.quantize import EightBit
from recast.weights import checksum
from recast.weights.adapters import Adapter


class PipelineAdapters:
    """Which adapters are in a pipeline's weights. Masters of what they touch are kept, see `Folding`."""

    def __init__(
        self, pipeline: Pipeline, forget: Callable[[], None], *, keep_on: torch.device | str | None = None
    ) -> None:
        """forget: gives up what was computed with other weights. keep_on: where masters are kept, as `Folding` says.

        Raises ConfigError for a pipeline whose weights adapters are in already, or cannot be written to.
        """
        if pipeline.adapters:
            named = ", ".join(entry.file for entry in pipeline.adapters)
            raise ConfigError(
                f"adapters: {named} came with the pipeline and cannot be taken out; a pipeline loaded without any "
                "accepted; load it so, and set all of them here"
            )
        network = pipeline.network  # one that is no engine computes with the parameters of `flow` themselves
        engine = network if isinstance(network, Engine) else Engine(pipeline.flow)
        self._pipeline, self._forget = pipeline, forget
        self._folding = Folding(engine, requantise=_requantise, keep_on=keep_on)
        self._read: dict[str, Adapter] = {}  # those in the weights, by the hash of their file

    def set(self, files: AdapterFiles) -> Written:
        """Have these in the weights, and no others.

        Raises what `recast.loading.adapter_files`, `Folding.read` and `Folding.set` raise.
        """
        given = adapter_files(files)
        hashes = [checksum(path) for path, _ in given]
        read = dict(self._read)
        for key, (path, _) in zip(hashes, given, strict=True):
            read[key] = read.get(key) or self._folding.read(path)
        adapters = [(read[key], strength) for key, (_, strength) in zip(hashes, given, strict=True)]
        try:
            written = self._folding.set(*adapters)
        finally:
            self._forget()
        self._read = {key: read[key] for key in hashes}
        self._pipeline.adapters = tuple(
            recorded(path, adapter, strength) for (path, strength), (adapter, _) in zip(given, adapters, strict=True)
        )
        return written


def _requantise(layer: Linear, weight: torch.Tensor) -> None:
    if not isinstance(layer, EightBit):
        raise ConfigError(f"adapters: a layer is {type(layer).__name__}; plain and eight-bit ones accepted")
    layer.fill(Plain(weight, layer.bias))
