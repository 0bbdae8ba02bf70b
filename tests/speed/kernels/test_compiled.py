"""Every kernel becomes machine code for GPUs that are not here; that it computes the right thing, others test."""

import json
import os
import subprocess
import sys

IN_EIGHT_BITS = {"gelu._rows", "rows._kernel", "round_heads._survey", "round_heads._round"}
KERNELS = {"modulated_norm._kernel", "qk_norm_rope._kernel", "gelu._flat", "head._kernel"}
KERNELS |= {"group_norm._measure", "group_norm._join", "group_norm._apply"}
SHARED_BYTES = 99 * 1024  # of a program, on the smallest of the cards: compute capability 8.6 and 8.9


def test_every_kernel_compiles_without_spilling(tmp_path):
    away = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    options = ["--capability", "90", "80", "--size", "small", "--dtype", "bfloat16", "--rounding", "fast"]
    command = [sys.executable, "-m", "tests.speed.kernels.compiled", *options]
    done = subprocess.run(command, env=os.environ | away, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    made = [json.loads(line) for line in done.stdout.splitlines()]
    for capability, kernels in {90: KERNELS | IN_EIGHT_BITS, 80: KERNELS}.items():
        assert {one["kernel"] for one in made if one["capability"] == capability} == kernels
    for one in made:
        assert one["stack"] == 0, one
        assert one["shared"] <= SHARED_BYTES, one
