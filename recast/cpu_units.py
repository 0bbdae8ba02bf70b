"""The vector and matrix units of this CPU, as PyTorch's libraries see them: they decide the last bits of a product."""

from __future__ import annotations

from functools import cache

import torch


@cache
def cpu_units() -> tuple[str, ...]:
    """Such as ("AVX512", "bf16", "AMX"): the widest vectors that are used, then what multiplies bf16 natively."""
    named = {"bf16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
    has = (name for name, asked in named.items() if getattr(torch.cpu, asked, bool)())
    return (torch.backends.cpu.get_cpu_capability(), *has)
