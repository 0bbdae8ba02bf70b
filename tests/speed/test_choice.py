"""`--plan auto`: by what is free on the device, not by what it has."""

from __future__ import annotations

import pytest
import torch

from recast.config import kontext_dev
from recast.cost import Request
from recast.errors import ConfigError
from recast.speed.cap import free_bytes
from recast.speed.choice import Choice, choose

EDIT = Request(width=1024, height=1024, contexts=((1024, 1024),), evaluations=28)
CUDA = torch.device("cuda", 0)


def card(monkeypatch: pytest.MonkeyPatch, *, free: float, held: float = 0) -> None:
    """A card of 141 GB: so much is free, and so much this process's allocator holds."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free), 141 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: int(held))


def chosen() -> Choice:
    return choose(kontext_dev(), EDIT, device=CUDA, dtype=torch.bfloat16)


def test_what_others_hold_of_a_card_is_not_chosen_for(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, free=140e9)
    assert (chosen().plan.vram_bytes, chosen().passes) == (None, False)
    card(monkeypatch, free=23.5e9)
    assert (chosen().plan.vram_bytes, chosen().passes) == (24 * 10**9, True)
    assert "do not fit into 24.00 GB; 57 of 57 blocks stay on the device" in chosen().why


def test_what_the_process_itself_holds_is_its_own_and_no_more_than_the_card_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card(monkeypatch, free=3.5e9, held=20e9)
    assert free_bytes(CUDA) == 24e9
    card(monkeypatch, free=140.9e9)
    assert free_bytes(CUDA) == 141e9
    assert free_bytes(torch.device("cpu")) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="device='cuda:0': this PyTorch finds no CUDA device"):
        chosen()
