"""The peer of benchmarks/gpu_edit.py: the network and autoencoder of diffusers in a loop of our own, timed by stage."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpu_edit_arms import STAGES, Arm, Case
from gpu_edit_ours import picture, random_flow, synchronise


@dataclass
class Peer:
    """diffusers' network and autoencoder with weights of the same shapes, its loop written out: Euler.

    prepare: from a case, what the network is given at every step beside the state, on the device.
    """

    prepare: Callable[[Case], dict[str, Any]]
    evaluate: Callable[[Any, Any, Any, dict[str, Any]], Any]
    autoencoder: Any
    device: Any
    channels: int
    num_requests: int = 0

    def request(self, case: Case, steps: int) -> dict[str, float]:
        """As `Ours.request`; the pictures go in and come out as tensors of the device."""
        self.num_requests += 1
        every = [self._one(case, steps) for _ in range(case.variants)]
        return {stage: sum(one[stage] for one in every) for stage in STAGES}

    def _one(self, case: Case, steps: int) -> dict[str, float]:
        import numpy as np
        import PIL.Image
        import torch

        from recast.latents.tokens import pack, unpack

        seconds, grid = {}, (case.height // 16, case.width // 16)
        dtype = next(self.autoencoder.parameters()).dtype

        def measured(stage: str, run: Callable[[], Any]) -> Any:
            begun = time.perf_counter()
            result = run()
            synchronise(self.device)
            seconds[stage] = time.perf_counter() - begun
            return result

        def encode() -> Any:
            pixels = [torch.from_numpy(one).to(self.device, dtype) for one in drawn]
            latents = [self.autoencoder.encode(p.permute(2, 0, 1)[None] / 127.5 - 1).latent_dist.mode() for p in pixels]
            return torch.cat([pack(one) for one in latents], dim=1) if latents else None

        def sample() -> Any:
            x = torch.randn(1, grid[0] * grid[1], self.channels, device=self.device, dtype=dtype)
            times = torch.linspace(1, 0, steps + 1, device=self.device)
            for t, t_next in pairwise(times):
                x = x + (t_next - t) * self.evaluate(x, t[None].to(dtype), context, given)
            return x

        with torch.inference_mode():
            given = self.prepare(case)
            drawn = [picture(case, i + 10 * self.num_requests) for i in range(case.references)]
            synchronise(self.device)
            context = measured("encode", encode)
            x = measured("sample", sample)
            pixels = measured("decode", lambda: self.autoencoder.decode(unpack(x, grid)).sample.float().cpu())
        rgb = ((pixels[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).to(torch.uint8).numpy()
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            PIL.Image.fromarray(np.ascontiguousarray(rgb)).save(Path(folder) / "picture.png")
        return {**seconds, "file": time.perf_counter() - begun}

    def velocity(self, case: Case) -> Any:
        """Not compared: benchmarks/gpu_step.py compares the two networks with the same weights."""
        import torch

        return torch.zeros(0)


def peer_of(args: argparse.Namespace, arm: Arm, config: Any, device: Any) -> Peer:
    """diffusers as it comes, with its regional compile, or with torchao's fp8 as well."""
    import diffusers
    import torch
    from gpu_step import diffusers_twin

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    twin = diffusers_twin(random_flow(config, device, dtype))
    if arm.peer == "torchao":
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

        quantize_(twin, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))
    if arm.peer in ("compile", "torchao"):
        if device.type != "cuda":
            raise SystemExit("compiled on CUDA only; here it would measure the compiler")
        twin.compile_repeated_blocks(fullgraph=True, dynamic=False)  # each shape its own kernels: the faster
    a, c = config.autoencoder, config.flow
    autoencoder = diffusers.AutoencoderKL(
        in_channels=a.in_channels,
        out_channels=a.out_ch,
        down_block_types=("DownEncoderBlock2D",) * len(a.ch_mult),
        up_block_types=("UpDecoderBlock2D",) * len(a.ch_mult),
        block_out_channels=tuple(a.ch * m for m in a.ch_mult),
        layers_per_block=a.num_res_blocks,
        latent_channels=a.z_channels,
        norm_num_groups=a.num_groups,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).to(device, dtype)

    def prepare(case: Case) -> dict[str, Any]:
        grid = case.height // 16, case.width // 16
        generator = torch.Generator(device).manual_seed(1)
        m = config.text.max_length
        return {
            "encoder_hidden_states": torch.randn(
                1, m, c.context_in_dim, device=device, dtype=dtype, generator=generator
            ),
            "pooled_projections": torch.randn(1, c.vec_in_dim or 0, device=device, dtype=dtype, generator=generator),
            "guidance": torch.tensor([2.5], device=device) if c.guidance_embed else None,
            "img_ids": places(grid, case.references, device),
            "txt_ids": torch.zeros(m, 3, device=device),
        }

    def evaluate(x: Any, t: Any, context: Any, given: dict[str, Any]) -> Any:
        tokens = x if context is None else torch.cat([x, context], dim=1)
        return twin(hidden_states=tokens, timestep=t, return_dict=False, **given)[0][:, : x.shape[1]]

    return Peer(prepare, evaluate, autoencoder.eval().requires_grad_(False), device, c.out_channels)


def places(grid: tuple[int, int], references: int, device: Any) -> Any:
    """Positions (n + r, 3) of target and context images."""
    import torch

    from recast.latents.tokens import positions

    return torch.cat([positions(grid, index=k) for k in range(references + 1)], dim=1)[0].to(device)
