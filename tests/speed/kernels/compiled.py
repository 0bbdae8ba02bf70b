"""Every kernel compiled by its own wrapper for a GPU that is not here, and what each one needs there.

    TRITON_INTERPRET=0 python -m tests.speed.kernels.compiled --capability 90 --size flux

Prints a line of JSON for each: kernel, dtype, warps, registers, bytes of stack (spilled numbers) and of shared memory.
Tensors are of torch's meta device, and a launch stops once its machine code is there. Needs no GPU, and Triton
without its interpreter.
"""

import argparse
import json
import re
import subprocess
import tempfile
from itertools import product
from pathlib import Path
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from recast.speed.fused import NEEDED_FOR_ROWS, Fused, Rounding
from recast.speed.kernels import group_norm, round_heads

SIZES = {  # width, MLP's width, width of a head, channels of the autoencoder
    "flux": (3072, 12288, 128, (128, 512)),
    "small": (192, 768, 64, (32,)),
}


def compile_all(capability: int, size: str, dtypes: list[torch.dtype], roundings: list[Rounding]) -> list[dict]:
    """Machine code of every kernel for a compute capability, 90 for 9.0; what each needs."""
    made: list[dict] = []
    Fused()  # imports every kernel
    run = JITFunction.run

    def compiled(self, *args, grid, warmup, **options):
        kernel = run(self, *args, grid=grid, warmup=True, **options)
        made.append({"kernel": f"{self.fn.__module__.rsplit('.', 1)[1]}.{self.fn.__name__}", **needs(kernel)})
        return kernel

    with mock.patch.object(JITFunction, "run", compiled), triton.knobs.runtime.scope():
        triton.knobs.runtime.interpret = True  # with kernels imported, read by `launch.on` alone: it asks for no CUDA
        driver.set_active(Elsewhere(capability))
        for dtype, rounding in product(dtypes, roundings):
            first = len(made)
            call_all(Fused(rounding), dtype, size, rows=divmod(capability, 10) >= NEEDED_FOR_ROWS)
            for one in made[first:]:
                one |= {"dtype": str(dtype).removeprefix("torch."), "rounding": rounding, "capability": capability}
    return made


def call_all(ops: Fused, dtype: torch.dtype, size: str, *, rows: bool) -> None:
    """Every function of the interface, with the tensors of an edit. rows: those that write eight bits as well."""

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    (width, inner, head, channels), tokens = SIZES[size], 64
    x, wide, learned = empty(1, tokens, width), empty(1, tokens, inner), empty(head)
    shift, scale, gate = empty(1, 1, 3 * width).chunk(3, dim=-1)
    turns = torch.empty(1, 1, tokens, head // 2, dtype=torch.complex64, device="meta")
    ops.enter(x, shift, scale)
    ops.leave_enter(x, x, gate, shift, scale)
    ops.norm_rotate(empty(1, tokens, 3, width // head, head), learned, learned, turns)
    ops.gelu(wide)
    ops.head(x, x, gate, shift, scale, empty(64, width), empty(64))
    if rows:
        ops.leave_enter(x, x, gate, shift, scale, rows=True)
        ops.gelu(wide, rows=True)
        ops.to_rows(x)
        round_heads.rounded(*empty(1, tokens, 3, width // head, head).unbind(2), smooth=True, rotate=True)
    for c in channels:
        picture = empty(1, c, 64, 64).to(memory_format=torch.channels_last)
        group_norm.group_norm_silu(picture, empty(c), empty(c), c // 4, 1e-6)


class Elsewhere:
    """A driver for a GPU of that compute capability that nothing runs on."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return self.target.arch  # kernels are kept by device: one for each capability

    def get_current_stream(self, device: int) -> int:
        return 0


def needs(kernel) -> dict:
    """Registers of a thread, bytes of its stack, bytes of shared memory; from the machine code itself."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        said = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"(REG|STACK):(\d+)", said.stdout))
    return {
        "warps": kernel.metadata.num_warps,
        "registers": int(found["REG"]),
        "stack": int(found["STACK"]),
        "shared": kernel.metadata.shared,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capability", type=int, nargs="+", default=[90])
    parser.add_argument("--size", choices=SIZES, default="flux")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--rounding", nargs="+", default=["exact", "fast"])
    asked = parser.parse_args()
    for one in asked.capability:
        for line in compile_all(one, asked.size, [getattr(torch, name) for name in asked.dtype], asked.rounding):
            print(json.dumps(line), flush=True)
