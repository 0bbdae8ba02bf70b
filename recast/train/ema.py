"""The exponential moving average of a network's trained parameters, sharded as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recast.train.sharded import local, reshard


class Average:
    """Averages of those parameters of a network that require a gradient, in fp32.

    tensors: by parameter name, as the bare network calls it; DTensors where the parameters are. To be made while the
    network is sharded, before its first forward pass.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._live = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        self.tensors: dict[str, Tensor] = {
            name: parameter.detach().clone().float() for name, parameter in self._live.items()
        }

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Keep `decay` of the average and take the rest from the parameters as they are."""
        averages = [local(tensor) for tensor in self.tensors.values()]
        live = [local(parameter.detach()).float() for parameter in self._live.values()]
        torch._foreach_lerp_(averages, live, 1 - decay)

    @staticmethod
    @contextmanager
    def all_in(averages: Iterable[Average]) -> Iterator[None]:
        """Put the averages into their networks; put the parameters back at the end, whatever happens inside."""
        chosen = list(averages)
        kept: list[dict[str, Tensor]] = []
        try:
            for average in chosen:
                reshard(average.network)
                kept.append({name: local(live.detach()).clone() for name, live in average._live.items()})
                average._fill(average.tensors)
            yield
        finally:
            for average, before in zip(chosen, kept, strict=False):
                reshard(average.network)
                average._fill(before)

    @torch.no_grad()
    def _fill(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            local(parameter.detach()).copy_(local(values[name]))
