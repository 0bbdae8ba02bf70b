"""What one process holds of a tensor that may be spread over many."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


def local(tensor: Any) -> Tensor:
    """A process's own numbers of a DTensor, sharing their memory; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def reshard(network: nn.Module) -> None:
    """Free what a forward pass without a backward one left gathered: it would hide later changes of the parameters."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
