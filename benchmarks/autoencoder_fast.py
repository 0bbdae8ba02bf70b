"""The autoencoder of `recast.speed` beside the core's: seconds, peak memory, and the PSNR between what they give.

    python benchmarks/autoencoder_fast.py [--preset nano] [--sizes 256x256 1280x720] [--bands 0] [--repeats 5]
    python benchmarks/autoencoder_fast.py --device cuda --preset kontext_dev --sizes 1024x1024 2048x2048
    python benchmarks/autoencoder_fast.py --smoke    (tiny, on a CPU, appending nothing: that the script runs)

On the CPU in fp32; on CUDA in bf16, both (the core's autoencoder cast), and a fast one in fp32 statistics beside a
reference in fp32, which the PSNR is against. Arms take turns; each sample is synchronised. Times are wall clock, and on
the CPU those of all threads together too, which a busy machine disturbs less. Peak memory is what a pass adds to what
was there: on CUDA the allocator's, on the CPU the process's own, from a fresh process for each arm.
Presets without weights here (all but nano) get random ones, scaled so that activations keep their size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import record
import torch
from torch import Tensor

from recast.latents.autoencoder import Autoencoder

Arms = dict[str, Autoencoder]


def reference(name: str, device: torch.device) -> Autoencoder:
    """The core's autoencoder of a preset in fp32: nano's own weights, random ones for others."""
    import recast
    from recast.config import preset

    if name == "nano":
        made = recast.load("nano", device=device.type, dtype="fp32").autoencoder
    else:
        torch.manual_seed(0)
        made = Autoencoder(preset(name).autoencoder)  # the library's initialisation keeps activations in range
    made = made.eval().requires_grad_(False).to(device)
    made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as a pipeline does
    return made


def arms(name: str, device: torch.device) -> Arms:
    """What is compared; the first is what the PSNR is against."""
    from recast.speed.autoencoder import FastAutoencoder, by_kernel, in_runs

    core = reference(name, device)
    if device.type == "cpu":
        return {"core fp32": core, "fast fp32": FastAutoencoder(core)}
    bf16 = torch.bfloat16
    return {
        "core fp32": core,
        "core bf16": _Cast(reference(name, device).to(bf16)),
        "fast bf16, library": FastAutoencoder(core, dtype=bf16),
        "fast bf16, kernels": FastAutoencoder(core, dtype=bf16, norm_silu=by_kernel),
        "fast bf16, kernels, attention in runs": FastAutoencoder(core, dtype=bf16, norm_silu=by_kernel, attend=in_runs),
    }


class _Cast(Autoencoder):
    """The core's autoencoder in its own dtype, given and giving fp32 like the others."""

    def __init__(self, core: Autoencoder) -> None:
        torch.nn.Module.__init__(self)
        self.config, self.encoder, self.decoder = core.config, core.encoder, core.decoder

    def encode(self, pixels: Tensor, *, band: int | None = None) -> Tensor:
        return super().encode(pixels.to(self.decoder.conv_in.weight.dtype), band=band).float()

    def decode(self, latents: Tensor, *, band: int | None = None) -> Tensor:
        return super().decode(latents.to(self.decoder.conv_in.weight.dtype), band=band).float()


def photograph(width: int, height: int, device: torch.device) -> Tensor:
    """Pixels (1, 3, H, W) of the example photograph, enlarged."""
    from recast.pixels import image

    path = Path(__file__).parent.parent / "examples" / "cat.png"
    resized = image.read(path).to_pil().convert("RGB").resize((width, height))
    return image.to_pixels(image.read(resized).rgb).to(device)


def psnr(one: Tensor, other: Tensor) -> float | str:
    """In dB, against the range of `other`: 2 for pixels about [-1, 1]."""
    if torch.equal(one, other):
        return "equal"
    span = other.max() - other.min()
    return float(20 * torch.log10(span / (one - other).float().square().mean().sqrt()))


def sample(work: Callable[[], Tensor], device: torch.device) -> tuple[float, float]:
    """Seconds by the wall, and of all threads."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun, used = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun, time.process_time() - used


def status_mib(name: str) -> float:
    """A memory figure of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def peak_mib(work: Callable[[], Tensor], device: torch.device) -> float:
    """What a pass adds to the memory in use, at most, in MiB. On the CPU only right if it is the process's first."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / (1 << 20)
    started = status_mib("VmRSS")
    work()
    return status_mib("VmHWM") - started


def work_of(model: Autoencoder, direction: str, given: Tensor, band: int) -> Callable[[], Tensor]:
    """One pass, as a call."""
    return lambda: getattr(model, direction)(given, band=band or None)


def given_to(direction: str, core: Autoencoder, pixels: Tensor) -> Tensor:
    """Pixels for the way in; for the way back, their latents, in bands if they are many."""
    return pixels if direction == "encode" else core.encode(pixels, band=256 if pixels.shape[-2] > 256 else None)


def rows_of(models: Arms, pixels: Tensor, band: int, repeats: int) -> list[dict[str, Any]]:
    """Both directions of one size; peak memory follows where it needs a process of its own."""
    core, device = next(iter(models.values())), pixels.device
    rows = []
    for direction in ("encode", "decode"):
        given = given_to(direction, core, pixels)
        works = {name: work_of(model, direction, given, band) for name, model in models.items()}
        made = {name: work().cpu() for name, work in works.items()}  # the warm-up, too
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(repeats):
            for name, work in works.items():
                samples[name].append(sample(work, device))
        expected = next(iter(made.values()))
        for name, work in works.items():
            wall, used = zip(*samples[name], strict=True)
            row: dict[str, Any] = {
                "pass": direction,
                "size": f"{pixels.shape[-1]}x{pixels.shape[-2]}",
                "rows a band": band or "all",
                "arm": name,
                "best s": min(wall),
                "median s": statistics.median(wall),
                "spread s": max(wall) - min(wall),
            }
            if device.type == "cpu":
                row["threads' s, best"] = min(used)
            else:
                row["peak MiB"] = peak_mib(work, device)
            rows.append(row | {"PSNR dB": psnr(made[name], expected)})
    return rows


def alone_mib(name: str, arm: str, direction: str, size: str, band: int) -> float:
    """What a fresh process does on the CPU: one pass, its memory in MiB."""
    device = torch.device("cpu")
    models = arms(name, device)
    core = next(iter(models.values()))
    width, height = map(int, size.split("x"))
    pixels = photograph(width, height, device)
    with torch.inference_mode():
        # latents of unit variance in place of encoded ones: encoding would be the larger peak
        shape = (1, core.config.z_channels, height // core.config.downscale, width // core.config.downscale)
        given = pixels if direction == "encode" else torch.randn(shape)
        return peak_mib(work_of(models[arm], direction, given, band), device)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--sizes", nargs="+", default=["256x256", "1280x720"], metavar="WxH")
    parser.add_argument("--bands", type=int, nargs="+", default=[0], help="rows; 0 is the whole picture")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, to see that all of it runs")
    args = parser.parse_args(argv)
    if args.child:
        print(json.dumps(alone_mib(args.preset, *args.child[:3], int(args.child[3]))))
        return
    if args.smoke:
        args.preset, args.device, args.sizes, args.bands, args.repeats = "tiny", "cpu", ["48x64"], [16], 1
    device = torch.device(args.device)
    torch.backends.cudnn.allow_tf32 = False  # what the PSNR is against is fp32 throughout
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        models = arms(args.preset, device)
        for size in args.sizes:
            width, height = map(int, size.split("x"))
            for band in args.bands:
                rows += rows_of(models, photograph(width, height, device), band, args.repeats)
    if device.type == "cpu":
        for row in rows:
            band = 0 if row["rows a band"] == "all" else row["rows a band"]
            about = [row["arm"], row["pass"], row["size"]]
            if args.smoke:  # without the processes: what it says of memory is not true then
                row["peak MiB"] = alone_mib(args.preset, *about, band)
                continue
            command = [sys.executable, __file__, "--preset", args.preset, "--child", *about, str(band)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            row["peak MiB"] = json.loads(answer.stdout)
    print(record.table(rows))
    if not args.smoke:
        record.append("autoencoder_fast", {"preset": args.preset, "device": args.device, "rows": rows})


if __name__ == "__main__":
    main()
