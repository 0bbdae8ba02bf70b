"""`recast doctor`: what this machine can run, and whether this installation computes what it should."""

from __future__ import annotations

import argparse
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recast.cli.machine import device_bytes, gemm_rate, memory_bytes
from recast.cli.options import setting
from recast.config import PRESETS, VERSION, ModelConfig
from recast.cost import Request, estimate
from recast.errors import RecastError

if TYPE_CHECKING:
    from recast.pipeline import Pipeline
    from recast.selftest import Report

HELP = """Check this installation: versions, hardware, weights, what fits into memory, five tiny edits whose results
are known, and of each plan of docs/speed.md what this device can do of it and whether its numbers are the core's. Exit
code 0 if nothing is broken, 1 otherwise; a warning is no fault.

  recast doctor
  recast doctor --device cuda --json"""

Mark = Literal["ok", "warn", "fail"]
OPENCV = "opencv-python-headless"  # or any other distribution that has cv2
NEEDED = ("torch", "numpy", "pillow", OPENCV, "einops", "safetensors")
OPTIONAL = {"transformers": "FLUX.1 models need it for their text encoders: pip install 'recast[text]'"}
PYTHON, TORCH = (3, 11), (2, 11)
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, in a line, and what to do about it."""

    name: str
    mark: Mark
    found: str
    advice: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "recast doctor [options]"
    parser.add_argument("--model", metavar="PATH", help="weights to look at as well; the five edits are made by nano")
    parser.add_argument("--variant", metavar="NAME", help="which model the files hold, where they do not tell")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; usual: the best there is")
    parser.add_argument(
        "--dtype", metavar="NAME", help="bf16 or fp32; usual: bf16 where the device is fast at it, else fp32"
    )
    parser.add_argument(
        "--plan",
        metavar="NAME",
        help="try this plan alone, named as the full run names it; compile, which takes its minute, is tried only so",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    checks = []
    for check in examine(
        device=setting(args, "device") or "auto",
        dtype=setting(args, "dtype") or "auto",
        model=setting(args, "model"),
        variant=args.variant,
        plan=args.plan,
    ):
        checks.append(check)
        if not args.json:
            print(_line(check), flush=True)
    failed = [check for check in checks if check.mark == "fail"]
    if args.json:
        from recast.cli.output import print_json

        print_json({"ok": not failed, "recast": VERSION, "checks": [asdict(check) for check in checks]})
    else:
        warned = sum(check.mark == "warn" for check in checks)
        print(f"{len(failed)} failed, {warned} warned, {len(checks)} checked")
    return 1 if failed else 0


def examine(*, device: str, dtype: str, model: str | None, variant: str | None, plan: str | None) -> Iterator[Check]:
    """Every check, each as soon as it is made. One that raises is a failed check, and the others go on."""
    yield _python()
    versions = [_package(name) for name in NEEDED]
    yield from versions
    if any(check.mark == "fail" for check in versions):
        return  # nothing below can run
    yield from (_optional(name, use) for name, use in OPTIONAL.items())
    yield from _guarded("cpu", _cpu)
    yield from _guarded("memory", _memory)
    yield from _guarded("disk", _disk)
    yield from _guarded("gpu", _gpus)
    yield from _guarded("arithmetic", _arithmetic)
    yield from _guarded("fits", lambda: _fits(device))
    yield from _guarded("weights", _nano_files)
    if model is not None and model not in PRESETS:
        yield from _guarded("model", lambda: _model_files(model, variant))
    yield from _guarded("self-test", lambda: _self_test(device, dtype))
    from recast.cli import plan_checks

    yield from _guarded("plans", lambda: plan_checks.checks(device, dtype, plan))


# What the machine is.


def _python() -> Check:
    is_new_enough = sys.version_info >= PYTHON
    wanted = ".".join(map(str, PYTHON))
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("python", "ok" if is_new_enough else "fail", found, "" if is_new_enough else f"use {wanted} or newer")


def _package(name: str) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        others = metadata.packages_distributions().get("cv2") if name == OPENCV else None
        return _package(others[0]) if others else Check(name, "fail", "not installed", "pip install recast")
    if name == "torch" and tuple(int(part) for part in version.split("+")[0].split(".")[:2]) < TORCH:
        return Check(name, "fail", version, f"use {'.'.join(map(str, TORCH))} or newer: pip install --upgrade torch")
    return Check(name, "ok", version)


def _optional(name: str, use: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "warn", "not installed", use)


def _cpu() -> Iterator[Check]:
    import torch

    level = torch.backends.cpu.get_cpu_capability()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    found = f"{cores} cores, {threads} threads, {level}"
    data = {"cores": cores, "threads": threads, "instructions": level}
    if level == "DEFAULT" and platform.machine() in ("x86_64", "AMD64"):
        yield Check(
            "cpu", "warn", found, "no vector instructions: several times slower; is this an emulated CPU?", data
        )
    elif threads > cores:
        yield Check(
            "cpu", "warn", found, f"more threads than cores wait for each other; set OMP_NUM_THREADS={cores}", data
        )
    else:
        yield Check("cpu", "ok", found, data=data)


def _memory() -> Iterator[Check]:
    total, free = memory_bytes()
    is_low = free < GIB
    yield Check(
        "memory",
        "warn" if is_low else "ok",
        f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB free",
        "nano needs half a GiB, and more for large pictures; close other programs" if is_low else "",
        {"bytes": total, "free_bytes": free},
    )


def _disk() -> Iterator[Check]:
    free = shutil.disk_usage(Path.cwd()).free
    is_low = free < GIB
    yield Check(
        "disk",
        "warn" if is_low else "ok",
        f"{free / GIB:.1f} GiB free here",
        "pictures may not be written; make room" if is_low else "",
        {"free_bytes": free},
    )


def _gpus() -> Iterator[Check]:
    import torch

    if torch.backends.mps.is_available():
        advice = "not chosen by itself; `recast doctor --device mps` says whether it computes what it should"
        yield Check("gpu", "ok", "Apple GPU (mps), sharing the machine's memory", advice)
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        if built:
            yield Check("gpu", "warn", f"none usable, though torch is built for CUDA {built}", "check the driver")
        elif not torch.backends.mps.is_available():
            yield Check("gpu", "ok", "none; pictures are made on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        total, free = device_bytes(torch.device("cuda", index))
        has_bf16 = torch.cuda.get_device_capability(index) >= (8, 0) or bool(torch.version.hip)
        name = torch.cuda.get_device_name(index)
        bf16 = "bf16" if has_bf16 else "no bf16"
        yield Check(
            f"gpu {index}",
            "ok" if has_bf16 else "warn",
            f"{name}, {total / GIB:.1f} GiB, {free / GIB:.1f} GiB free, {bf16}",
            "" if has_bf16 else "bf16 is emulated here, and slow; try --dtype fp32",
            {"name": name, "bytes": total, "free_bytes": free, "has_bf16": has_bf16},
        )


def _arithmetic() -> Iterator[Check]:
    """Which number format multiplies faster on this CPU, from 10 ms of matrix products each."""
    import torch

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    rates = {name: gemm_rate(torch.device("cpu"), dtype) for name, dtype in dtypes.items()}
    faster = max(rates, key=lambda name: rates[name])
    found = ", ".join(f"{name} {rate / 1e9:.3g} GFLOP/s" for name, rate in rates.items())
    data = {"flops_per_s": rates, "faster": faster}
    yield Check("arithmetic", "ok", found, f"on this CPU {faster} is faster; --dtype chooses", data)


# What is installed, and whether it works.


def _fits(device: str) -> Iterator[Check]:
    from recast.loading import pick_device

    target = pick_device(device)
    total, _ = device_bytes(target)
    needs = {name: _need(PRESETS[name]()) for name in PRESETS if name != "tiny"}
    fitting = [name for name, need in needs.items() if need <= total]
    sizes: dict[str, list[str]] = {}
    for name, need in needs.items():
        if need > total:
            sizes.setdefault(f"{need / GIB:.0f}", []).append(name)
    large = [f"{', '.join(names)} {'need' if names[1:] else 'needs'} {size}" for size, names in sizes.items()]
    found = f"into {total / GIB:.1f} GiB of {target.type}: {', '.join(fitting) or 'none'}"
    yield Check(
        "fits",
        "ok" if "nano" in fitting else "fail",
        found + (f"; too large in bf16: {', '.join(large)} GiB" if large else ""),
        "`recast estimate --model NAME` says what would fit" if large else "",
        {"needs_bytes": needs, "fitting": fitting, "device": str(target)},
    )


def _need(config: ModelConfig) -> int:
    """Bytes at the model's usual size in bf16, with one context picture where it takes them."""
    width, height = config.defaults.width, config.defaults.height
    contexts = ((width, height),) if config.takes_context else ()
    return estimate(config, Request(width=width, height=height, contexts=contexts, dtype="bf16")).peak_bytes


def _nano_files() -> Iterator[Check]:
    from recast import selftest

    kept, here = selftest.read_golden()["files"], selftest.nano_checksums()
    wrong = sorted(name for name in kept.keys() | here.keys() if kept.get(name) != here.get(name))
    if wrong:
        found = f"nano: {', '.join(wrong)} not as published"
        yield Check("weights", "fail", found, "install recast anew: pip install --force-reinstall recast")
    else:
        yield Check("weights", "ok", f"nano: {len(kept)} files with the published checksums", data={"sha256": here})


def _model_files(model: str, variant: str | None) -> Iterator[Check]:
    """The headers of the model's files: whole, complete, of a known model. The tensors themselves are not read."""
    from recast import loading, weights

    if weights.is_delta(model):
        files = loading.open_files(model)
        config, parts = files.config, dict(files.parts)
    else:
        config, parts = weights.read_config(model, variant=variant), weights.open_all(model, variant=variant)
    missing = [part for part in ("flow", "autoencoder") if part not in parts]
    broken = [f"{name} lacks {part.incomplete[0]}" for name, part in parts.items() if part.incomplete]
    size = sum(part.size_bytes for part in parts.values())
    found = f"{config.name}: {', '.join(parts)}; {size / GIB:.2f} GiB in files; licence: {config.licence}"
    if missing or broken:
        problem = "; ".join([*(f"no {part}" for part in missing), *broken])
        yield Check("model", "fail", f"{found}; {problem}", "put the missing files beside the others")
    else:
        yield Check("model", "ok", found, data={"parts": list(parts), "bytes": size})


def _self_test(device: str, dtype: str) -> Iterator[Check]:
    from recast import selftest
    from recast.loading import load

    pipeline = load("nano", device=device, dtype=dtype)
    started = time.perf_counter()
    report = selftest.check(pipeline)
    yield from _of_report(report, pipeline, time.perf_counter() - started)


def _of_report(report: Report, pipeline: Pipeline, seconds: float) -> Iterator[Check]:
    for name, findings in {"parts": report.parts, **report.edits}.items():
        failed = [one for one in findings if not one.is_ok]
        data = {"distances": {one.where: one.distance for one in findings if math.isfinite(one.distance)}}
        if not failed:
            worst = max(findings, key=lambda one: one.distance / one.limit)
            found = f"as it should be; nearest to its limit: {worst.where}, {worst.distance / worst.limit:.1%} of it"
            yield Check(f"self-test: {name}", "ok", found, data=data)
            continue
        first = failed[0]
        found = f"{first.where} differs by {first.distance:.2g}, at most {first.limit:g} accepted"
        yield Check(f"self-test: {name}", "fail", found, first.note, data)
    where = f"{pipeline.device.type} in {str(pipeline.dtype).removeprefix('torch.')}, {seconds:.1f} s"
    if report.is_ok:
        yield Check("self-test", "ok", f"five edits on {where}")
    else:
        yield Check("self-test", "fail", f"on {where}; suspect: {report.suspect}", _cure(report.suspect or ""))


def _cure(suspect: str) -> str:
    """What to try for a suspected part."""
    if suspect.startswith("weights"):
        return "install recast anew; if the weights were quantised, that was too coarse"
    if "kernel" in suspect or suspect == "flow transformer":
        return "try --dtype fp32, then --device cpu; if one passes, update torch and the driver"
    return "install recast anew; if it stays, report it with `recast doctor --json`"


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except RecastError as error:
        yield Check(name, "fail", " ".join(str(error).split()))
    except Exception as error:  # a broken installation may raise anything, and this verb is there to say so
        yield Check(name, "fail", " ".join(f"{type(error).__name__}: {error}".split()))


def _line(check: Check) -> str:
    line = f"{check.mark if check.mark != 'fail' else 'FAIL':5}{check.name:28}{check.found}"
    return f"{line}\n{'':33}{check.advice}" if check.advice else line
