"""float8_e4m3fn in fp64, from its definition: four significant bits, halves to even, steps of 2^-9 below 2^-6."""

import torch


def rounded(x: torch.Tensor) -> torch.Tensor:
    """x in fp64, |x| <= 448, rounded to the format and held in fp64."""
    exponent = torch.frexp(x.abs().clamp_min(1e-30))[1].double() - 1
    step = 2.0 ** (exponent.clamp_min(-6) - 3)
    return (x / step).round() * step
