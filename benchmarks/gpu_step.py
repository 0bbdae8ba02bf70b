"""One network evaluation of `kontext_dev` on a GPU, random weights, bf16: recast beside diffusers eager, same run.

    python benchmarks/gpu_step.py [--repeats 20] [--preset kontext_dev] [--peer diffusers|none] [--smoke]

Rows: an edit at 1024 x 1024 (512 + 4096 + 4096 = 8,704 tokens) and text to image (4,608 tokens), batch 1. Arms take
turns; each sample is synchronised. Prints milliseconds (median and spread), peak memory and the largest difference
between the two networks' velocities, which carry the same weights. With --smoke: `tiny`, 64 x 64, on a CPU, appending
nothing: that the script runs from end to end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import record
import torch

from recast.config import preset
from recast.flow.transformer import FlowTransformer
from recast.latents.tokens import positions


def random_flow(name: str, device: torch.device) -> FlowTransformer:
    """The transformer of a preset with small random weights, made on the device in bf16."""
    with torch.device("meta"):
        model = FlowTransformer(preset(name).flow)
    model = model.to(torch.bfloat16).to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02) if parameter.ndim > 1 else parameter.fill_(0.5)
    return model.eval().requires_grad_(False)


def diffusers_twin(model: FlowTransformer) -> Any:
    """diffusers' network with the same weights (shared memory, but for the halves that diffusers swaps)."""
    import diffusers

    from recast.weights import names

    c, state = model.config, {}
    for ours, theirs in names.tensors_of(names.modules_of("flow", model.state_dict())).items():
        tensor = model.state_dict().get(ours)
        if tensor is None:  # guidance, where the network has none
            continue
        if ours.startswith(names.HALVES_SWAPPED):
            tensor = torch.cat(tensor.chunk(2)[::-1])
        for part, first, rows in names.spans(theirs, len(tensor), c.hidden_size):
            state[part] = tensor[first : first + rows]
    with torch.device("meta"):
        twin = diffusers.FluxTransformer2DModel(
            in_channels=c.in_channels,
            num_layers=c.depth,
            num_single_layers=c.depth_single_blocks,
            attention_head_dim=c.head_dim,
            num_attention_heads=c.num_heads,
            joint_attention_dim=c.context_in_dim,
            pooled_projection_dim=c.vec_in_dim,
            guidance_embeds=c.guidance_embed,
            axes_dims_rope=c.axes_dim,
        )
    twin.load_state_dict(state, assign=True)
    return twin.eval().requires_grad_(False)


def requests(model: FlowTransformer, side: int) -> dict[str, tuple[Any, Any]]:
    """For each row: our evaluation and the keyword arguments of diffusers'."""
    device, grid = model.img_in.weight.device, (side // 16, side // 16)
    n, c = grid[0] * grid[1], model.config

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16)

    text, pooled, x, context = (
        draw(1, 512, c.context_in_dim),
        draw(1, c.vec_in_dim or 0),
        draw(1, n, 64),
        draw(1, n, 64),
    )
    t, guidance = torch.tensor([0.6], device=device), torch.tensor([2.5], device=device)
    target, reference = (positions(grid, index=k).to(device) for k in (0, 1))
    rows = {}
    for name, with_context in (("edit", True), ("text to image", False)):
        condition = model.condition(
            positions=target,
            text=text,
            pooled=pooled,
            guidance=guidance if c.guidance_embed else None,
            context=context if with_context else None,
            context_positions=reference if with_context else None,
        )
        theirs = {
            "hidden_states": torch.cat([x, context], dim=1) if with_context else x,
            "encoder_hidden_states": text,
            "pooled_projections": pooled,
            "timestep": t.bfloat16(),
            "guidance": guidance if c.guidance_embed else None,
            "img_ids": (torch.cat([target, reference], dim=1) if with_context else target)[0],
            "txt_ids": torch.zeros(512, 3, device=device),
            "return_dict": False,
        }
        rows[f"{name} {side}x{side}"] = (lambda condition=condition: model(x, t, condition), theirs)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--preset", default="kontext_dev")
    parser.add_argument("--side", type=int, default=1024, help="pixels along one side (default 1024)")
    parser.add_argument("--peer", choices=["diffusers", "none"], default="diffusers")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    args = parser.parse_args(argv)
    if args.smoke:
        args.preset, args.side, args.repeats, args.device = "tiny", 64, 1, "cpu"
    device = torch.device(args.device)
    is_cuda = device.type == "cuda"
    model = random_flow(args.preset, device)
    twin = diffusers_twin(model) if args.peer == "diffusers" else None
    rows = []
    with torch.inference_mode():
        for name, (evaluate, theirs) in requests(model, args.side).items():
            arms: dict[str, Callable[[], Any]] = {"recast": evaluate}
            if twin is not None:
                arms["diffusers eager"] = lambda theirs=theirs: twin(**theirs)[0][:, : (args.side // 16) ** 2]
            out = {arm: run().float() for arm, run in arms.items()}  # warm-up
            samples: dict[str, list[float]] = {arm: [] for arm in arms}
            peaks = dict.fromkeys(arms, 0.0)
            for _ in range(args.repeats):
                for arm, run in arms.items():
                    if is_cuda:
                        torch.cuda.reset_peak_memory_stats()
                        torch.cuda.synchronize()
                    begun = time.perf_counter()
                    run()
                    if is_cuda:
                        torch.cuda.synchronize()
                        peaks[arm] = torch.cuda.max_memory_allocated() / 2**30
                    samples[arm].append(1000 * (time.perf_counter() - begun))
            for arm in arms:
                ordered = sorted(samples[arm])
                rows.append(
                    {
                        "row": name,
                        "arm": arm,
                        "median ms": statistics.median(ordered),
                        "p10 ms": ordered[len(ordered) // 10],
                        "p90 ms": ordered[-1 - len(ordered) // 10],
                        "peak GiB": peaks[arm],
                        "relative difference": ((out[arm] - out["recast"]).norm() / out["recast"].norm()).item(),
                    }
                )
    print(record.table(rows))
    if not args.smoke:
        record.append("gpu_step", {"preset": args.preset, "side": args.side, "repeats": args.repeats, "rows": rows})


if __name__ == "__main__":
    main()
