"""Text encoders that leave the device when they have read a prompt, as they came or a layer at a time.

Their weights stay on the host (`recast.speed.lanes`, page-locked for CUDA) and are brought for a prompt that is not
remembered: `Evicted` brings all of them by one copy, `StreamedText` the layers of T5 through a ring of two, and the
rest (embedding, last norm, CLIP) as `Evicted` does. Nothing is copied back: the host's copy is the weights. Exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from recast.context.text import CachedEncoder, Text
from recast.errors import ConfigError
from recast.speed.lanes import Lane, lane_of
from recast.speed.packing import fill, layout_of, views
from recast.speed.streaming import Group, Ring

SLOTS = 2  # layers of T5 on the device


class Evicted:
    """A text encoder whose weights are on the device only while it reads a prompt."""

    def __init__(self, encoder: CachedEncoder, device: torch.device | str, *, lane: Lane | None = None) -> None:
        """encoder: any of ours; its networks' weights move to memory of their own, and must not be moved any more."""
        self.encoder = encoder
        self.lane = lane_of(torch.device(device)) if lane is None else lane
        self._whole = self._moved()

    @property
    def width(self) -> int:
        return self.encoder.width

    @property
    def device(self) -> torch.device:
        """Where a prompt is read, and what comes back is."""
        return self.lane.device

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder.dtype

    def to(self, device: torch.device | str) -> Self:
        """Self, from here on reading on `device`."""
        self.lane = lane_of(torch.device(device))
        self._whole = self._moved()
        return self

    def is_cached(self, prompt: str) -> bool:
        """As the encoder's."""
        return self.encoder.is_cached(prompt)

    def encode(self, prompts: Sequence[str]) -> Text:
        """As the encoder's, on `device`; weights come only for prompts that are not remembered."""
        known = not isinstance(prompts, str) and all(isinstance(p, str) and self.is_cached(p) for p in prompts)
        with ExitStack() as stack:
            if prompts and not known:
                stack.enter_context(self._present())
            text = self.encoder.encode(prompts)
        return Text(
            text.tokens.to(self.device), None if text.pooled is None else text.pooled.to(self.device), text.warnings
        )

    @contextmanager
    def _present(self) -> Iterator[None]:
        with self._whole.present():
            yield

    def _moved(self) -> _Parked:
        _move_buffers(self.encoder, self.lane.device)
        return _Parked([p for network in self.encoder.networks for p in network.parameters()], self.lane)


class StreamedText(Evicted):
    """`Evicted`, the layers of T5 not all at once: each comes while the ones before it compute."""

    def __init__(self, encoder: CachedEncoder, device: torch.device | str, *, lane: Lane | None = None) -> None:
        """Raises ConfigError for an encoder without a T5 of at least two layers."""
        layers = next((found for network in encoder.networks if (found := _layers(network)) is not None), None)
        if layers is None or len(layers) < SLOTS:
            raise ConfigError(f"text={type(encoder).__name__}: one with the layers of a T5 accepted; use Evicted")
        self.layers = layers
        super().__init__(encoder, device, lane=lane)

    @contextmanager
    def _present(self) -> Iterator[None]:
        coming: list[Iterator[list[Tensor]]] = []
        with ExitStack() as stack:
            stack.enter_context(self._whole.present())
            for index, (layer, parked) in enumerate(zip(self.layers, self._parked, strict=True)):
                stack.callback(parked.leave)
                before = layer.register_forward_pre_hook(self._arrives(index, coming))
                after = layer.register_forward_hook(lambda *_, parked=parked: parked.leave())
                stack.callback(before.remove)
                stack.callback(after.remove)
            stack.callback(lambda: [walk.close() for walk in coming])  # type: ignore[attr-defined]
            yield

    def _arrives(self, index: int, coming: list[Iterator[list[Tensor]]]) -> Callable[..., None]:
        def hook(*_: object) -> None:
            if index == 0:
                coming[:] = [self._ring.walk(0, len(self._parked))]
            self._parked[index].be(next(coming[0]))

        return hook

    def _moved(self) -> _Parked:
        _move_buffers(self.encoder, self.lane.device)
        self._parked = [_Parked(list(layer.parameters()), self.lane) for layer in self.layers]
        groups = [Group(one.layout, one.host, one.run) for one in self._parked]
        self._ring = Ring(groups, self.lane, slots=SLOTS, lasting=False)
        in_layers = {id(p) for layer in self.layers for p in layer.parameters()}
        every = [p for network in self.encoder.networks for p in network.parameters()]
        return _Parked([p for p in every if id(p) not in in_layers], self.lane)


class _Parked:
    """Parameters whose values are on the host, in one run, but for the moments they are needed."""

    def __init__(self, parameters: Sequence[nn.Parameter], lane: Lane) -> None:
        self.parameters, self.lane = parameters, lane
        tensors = [p.detach() for p in parameters]
        self.layout = layout_of(tensors)
        self.run = lane.hold(self.layout.size)
        fill(self.run, tensors, self.layout)
        self.host = views(self.run, self.layout)
        self.leave()

    def be(self, tensors: Sequence[Tensor]) -> None:
        for parameter, tensor in zip(self.parameters, tensors, strict=True):
            parameter.data = tensor

    def leave(self) -> None:
        self.be(self.host)

    @contextmanager
    def present(self) -> Iterator[None]:
        with torch.inference_mode(False):
            run = self.lane.empty(self.layout.size)
            self.lane.wait(self.lane.copy(run, self.run, self.lane.mark()))
            self.be(views(run, self.layout))
        try:
            yield
        finally:
            self.leave()  # the memory goes back to the stream that read it


def _layers(network: Any) -> Sequence[nn.Module] | None:
    """The layers of a T5: ours, or that of `transformers`."""
    stack = getattr(network, "encoder", network)
    return getattr(stack, "block", None)


def _move_buffers(encoder: CachedEncoder, device: torch.device) -> None:
    """What is no parameter is small, and stays on the device."""
    for network in encoder.networks:
        for module in network.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to(device))
