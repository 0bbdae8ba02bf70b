"""What benchmarks/gpu_edit.py compares: ways of computing, and requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One way of computing. peer: not ours. options: of `edit`, beside those of the case."""

    table: str
    plan: str = ""
    approximate: str | None = None
    cached: bool = False
    vram: str | None = None
    peer: str | None = None


ARMS: dict[str, Arm] = {
    "diffusers eager": Arm("lossless", peer="eager"),
    "diffusers compile": Arm("lossless", peer="compile"),
    "reference": Arm("lossless", "reference"),
    "exact": Arm("lossless", "exact"),
    "lossless": Arm("lossless", "lossless"),
    "lossless cached context": Arm("lossless", "lossless", cached=True),
    "lossless 24 GB": Arm("lossless", "lossless", vram="24gb"),
    "lossless 8 GB": Arm("lossless", "lossless", vram="8gb"),
    "diffusers torchao fp8 compile": Arm("near-lossless", peer="torchao"),
    "fp8": Arm("near-lossless", "fp8"),
    "fp8-attention": Arm("near-lossless", "fp8-attention"),
    "fp8 cached context": Arm("near-lossless", "fp8", cached=True),
    "fp8-attention cached context": Arm("near-lossless", "fp8-attention", cached=True),
    "fp8 12 GB": Arm("near-lossless", "fp8", vram="12gb"),
    "context reuse": Arm("approximate", "lossless", "context-reuse"),
    "fp8 context reuse": Arm("approximate", "fp8", "context-reuse"),
}


@dataclass(frozen=True)
class Case:
    """One request: width and height of the picture, context pictures of the same size, steps if not the usual.

    variants: pictures of one source, each by words of its own; a peer makes them one after another.
    """

    width: int
    height: int
    references: int
    steps: int | None = None
    variants: int = 1


CASES: dict[str, Case] = {
    "edit 1024x1024": Case(1024, 1024, 1),
    "text to image 1024x1024": Case(1024, 1024, 0),
    "edit 1024x1024 4 steps": Case(1024, 1024, 1, steps=4),
    "edit 1280x720": Case(1280, 720, 1),
    "edit 1280x720 4 steps": Case(1280, 720, 1, steps=4),
    "twenty variants 1280x720 4 steps": Case(1280, 720, 1, steps=4, variants=20),
    "two references 1024x1024": Case(1024, 1024, 2),
    "text to image 512x512": Case(512, 512, 0),
}
SMOKE = {
    "edit 64x64": Case(64, 64, 1),
    "text to image 64x64": Case(64, 64, 0),
    "three variants 64x64": Case(64, 64, 1, variants=3),
}
# What claims are made of, the most telling first; what a compiler takes minutes for, last.
EDIT, PICTURE = "edit 1024x1024", "text to image 1024x1024"
MUST: dict[str, tuple[str, ...]] = {
    "lossless": (EDIT, PICTURE),
    "diffusers eager": (EDIT, PICTURE),
    "reference": (EDIT,),  # what distances are from
    "fp8-attention": (EDIT, "edit 1280x720"),
    "fp8": (EDIT, "edit 1280x720 4 steps"),
    "fp8 cached context": (EDIT, "edit 1024x1024 4 steps", "twenty variants 1280x720 4 steps"),
    "fp8-attention cached context": ("edit 1280x720 4 steps",),
    "diffusers compile": (EDIT, PICTURE),
    "lossless 24 GB": (EDIT,),
    "fp8 12 GB": (EDIT,),
    "lossless 8 GB": (EDIT,),
    "diffusers torchao fp8 compile": (EDIT,),
}


@dataclass(frozen=True)
class Job:
    """Cases that one process measures, of one arm."""

    round: int
    arm: str
    cases: tuple[str, ...]


def jobs(arms: Sequence[str], cases: Sequence[str], rounds: int, *, must_first: bool) -> list[Job]:
    """Every arm with every case, round by round. must_first: all rounds of `MUST` before the others."""
    if not must_first:
        return [Job(number, arm, tuple(cases)) for number in range(rounds) for arm in arms]
    first = [(arm, tuple(case for case in own if case in cases)) for arm, own in MUST.items() if arm in arms]
    rest = [(arm, tuple(case for case in cases if case not in MUST.get(arm, ()))) for arm in arms]
    return [Job(number, *one) for part in (first, rest) for number in range(rounds) for one in part if one[1]]


STAGES = ("encode", "sample", "decode", "file")


def evaluations(row: dict[str, Any]) -> int:
    """Steps of all the pictures of a measured request."""
    return int(row["steps"] * row["variants"])


def slug(name: str) -> str:
    """The name of an arm or case as part of a file's name."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)
