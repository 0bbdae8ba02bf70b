"""Two streams of work on one GPU: the text's products, too small to fill it, beside the image's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch


class Aside(Protocol):
    """A place for work that may run beside what follows it."""

    def begin(self) -> AbstractContextManager[object]:
        """What is told within starts when all that was told before has happened."""
        ...

    def join(self) -> None:
        """What is told from here on starts when the work aside has happened."""
        ...


class SideStream:
    """A second CUDA stream. It is joined before any tensor that it reads is freed, so that none is written over."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def begin(self) -> AbstractContextManager[object]:
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        return torch.cuda.stream(self.stream)

    def join(self) -> None:
        torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)
