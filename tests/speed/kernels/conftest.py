"""Kernels run on a GPU where there is one, else in Triton's interpreter, whose bf16 and eight bits are put right.

The interpreter cuts fp32 off to bf16, rounds halves up to eight bits, and multiplies the bits of bf16 matrices as
whole numbers; a GPU rounds to nearest, ties to even, and multiplies the numbers.
"""

import numpy as np
import pytest
import torch

from tests.speed.kernels.inputs import DEVICE


@pytest.fixture(autouse=True)
def numbers_as_on_a_gpu(monkeypatch):
    if DEVICE != "cpu":
        yield
        return
    import triton.language as tl
    from triton.runtime import interpreter

    their_convert, their_dot = interpreter._convert_float, interpreter.InterpreterBuilder.create_dot
    ours = {tl.bfloat16: (torch.bfloat16, torch.uint16), tl.float8e4nv: (torch.float8_e4m3fn, torch.uint8)}

    def convert(data, source, target, rounding):
        if source != tl.float32 or target not in ours:
            return their_convert(data, source, target, rounding)
        dtype, bits = ours[target]
        return torch.tensor(data).to(dtype).view(bits).numpy()

    def dot(self, a, b, *rest):
        a, b = (self.cast_impl(x, tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b))
        return their_dot(self, a, b, *rest)

    monkeypatch.setattr(interpreter, "_convert_float", convert)
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)
    with np.errstate(over="ignore"):  # 1 / (1 + exp(many)) is 0, as it should be
        yield
