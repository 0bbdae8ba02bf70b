"""Results as an evaluation leaves them, with pictures: a small suite whose every outcome is drawn from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recast.pixels import image

CATEGORIES = ["local editing", "global editing", "text editing", "style reference", "character reference"]
SYSTEMS = {
    "no-op": (True, 0.02, 1.0, 0.03),
    "oracle": (True, 1.0, 1.0, 1.0),
    "autoencoder-floor": (True, 0.97, 0.96, 0.95),
    "stranger": (True, 0.05, 0.04, 0.02),
    "nano": (False, 0.48, 0.7, 0.55),
    "kontext-dev": (False, 0.74, 0.85, 0.69),
    "a-hosted-system-with-a-rather-long-name-2026-05": (False, 0.76, 0.81, 0.66),
}
WORDS = [
    "make the hat red", "change the title to “SALE 50%”", 'put a <b>yellow</b> star & a "5" on it', "make it night",
    "make it winter, with snow on the roof of the little house by the river, and keep everything else as it is",
    "paint it as a watercolour",
]  # fmt: skip
TITLES = {
    "instruction": ("Instruction Success", "share of the requested attributes that hold", "a coarse look"),
    "consistency": ("Character Consistency", "calibrated cosine of the identity", "faces below 40 px are not found"),
    "precision": ("Local Edit Precision", "√(edited × kept)", "the border of the edit counts for nothing"),
    "stability": ("Multi-turn Stability", "mean over turns of instructed × kept", "chains of the world only"),
}
TURNS = 8


def make(folder: Path, *, items: int = 24, side: int = 128, seed: int = 0) -> dict[str, Any]:
    """The results dictionary; its pictures lie under `folder`, which its paths lead from."""
    rng = np.random.default_rng(seed)
    listed = [_item(folder, i, side, rng) for i in range(items)]
    listed[1]["systems"]["nano"] |= _failed("blocked", "refused by a policy: <script>alert(1)</script>")
    listed[2]["systems"]["nano"] |= _failed("timeout", "no answer within 120 s")
    listed[5]["systems"]["kontext-dev"] |= _failed("bad_image", "cut after 812 bytes")
    columns = [
        {
            "id": name, "title": title, "unit": "%", "better": "higher", "formula": formula, "range": "0 … 1",
            "weakness": weakness, "version": 1,
        }
        for name, (title, formula, weakness) in TITLES.items()
    ]  # fmt: skip
    columns.append(
        {
            "id": "seconds", "title": "Generation Speed", "unit": "s", "better": "lower", "formula": "median seconds",
            "range": "> 0", "weakness": "one machine at one hour", "version": 1,
        }
    )  # fmt: skip
    cells = [
        cell for slug in SYSTEMS for category in ("all", *CATEGORIES) for cell in _cells(slug, category, items, rng)
    ]
    return {
        "schema": 1,
        "suite": {
            "name": "worldbench-1", "version": "1", "title": "Worldbench 1: edits whose answer is known",
            "sha256": "3f" * 32, "licence": "CC0-1.0", "items": items, "categories": CATEGORIES,
        },
        "created": "2026-01-02T03:04:05Z",
        "command": "recast evaluate worldbench-1 --model nano --out runs/nano",
        "versions": {"recast": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        "machine": {"cpu": "Example CPU 3.1 GHz", "cores": 2, "gpu": None},
        "systems": [
            {
                "id": slug, "name": slug, "control": control, "config_hash": "9a7b3c1d",
                "licence": None if control else "Apache-2.0",
                "describe": {"kind": "recast", "steps": 28, "sampling": {"guidance": 2.5, "schedule": "shifted"}},
                "notes": [] if control else ["seeds 0 to 23"],
            }
            for slug, (control, *_) in SYSTEMS.items()
        ],
        "columns": columns,
        "cells": cells,
        "differences": _differences(cells),
        "chains": [_chain(folder, slug, side, rng) for slug in ("no-op", "oracle", "nano", "kontext-dev")],
        "latency": [_latency(slug, rng) for slug in list(SYSTEMS)[4:]],
        "items": listed,
        "warnings": [f"text editing has {max(1, items // 5)} items: below 30, its interval is rough"],
    }  # fmt: skip


def _item(folder: Path, i: int, side: int, rng: np.random.Generator) -> dict[str, Any]:
    source = _scene(side, rng)
    answer = source.copy()
    box = (slice(side // 5, side // 2), slice(side // 4, 3 * side // 4))
    answer[box] = rng.integers(40, 230, 3)
    has_answer = i % 4 != 3
    key = f"{i:04d}"
    outcomes = {}
    for slug, (_, instruction, consistency, precision) in SYSTEMS.items():
        output = {"no-op": source, "oracle": answer}.get(slug)
        if output is None:
            output = answer.copy() if rng.random() < instruction else source.copy()
            if rng.random() > precision:
                at = rng.integers(0, side * 3 // 4, 2)
                output[at[0] : at[0] + side // 4, at[1] : at[1] + side // 4] = rng.integers(0, 255, 3)
            if slug == "nano" and i % 3 == 0:
                output[box] = (output[box] * 0.6).astype(np.uint8)
            output = np.clip(output + rng.normal(0, 3, output.shape), 0, 255).astype(np.uint8)
        scores = [float(np.clip(rng.normal(mean, 0.12), 0, 1)) for mean in (instruction, consistency, precision)]
        outcomes[slug] = {
            "picture": _save(folder, output, f"img/{slug}/{key}.png"), "status": "ok", "reason": None,
            "seconds": float(rng.gamma(9, 0.4)),
            "scores": {**dict(zip(list(TITLES)[:3], scores, strict=True)), "colour_shift": 1.25},
            "checks": {"instruction": "world", "precision": "world", "consistency": None},
            "flags": ["resized"] if i == 4 else [], "overlay": None,
        }  # fmt: skip
    contexts = [_save(folder, source, f"suite/{key}/source.png")]
    if i % 5 == 4:
        contexts.append(_save(folder, _scene(side, rng), f"suite/{key}/second.png"))
    return {
        "key": key, "turn": 0, "category": CATEGORIES[i % 5], "kind": "recolour", "base": f"base-{i // 2}",
        "instruction": WORDS[i % len(WORDS)], "contexts": contexts, "split": "held out" if i % 6 == 0 else None,
        "answer": _save(folder, answer, f"suite/{key}/answer.png") if has_answer else None, "systems": outcomes,
    }  # fmt: skip


def _failed(status: str, reason: str) -> dict[str, Any]:
    return {"picture": None, "status": status, "reason": reason, "seconds": None, "scores": {}, "checks": {}}


def _cells(slug: str, category: str, items: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    control, *means = SYSTEMS[slug]
    is_all = category == "all"
    n = items if is_all else items // 5
    made = []
    for name, mean in zip(TITLES, [*means, means[0] * means[2]], strict=True):
        value: float | None = float(np.clip(mean if is_all else rng.normal(mean, 0.08), 0, 1))
        half = 0.04 if is_all else 0.09
        if (name == "consistency" and category == "text editing") or (name == "stability" and not is_all):
            value = None
        made.append(
            {
                "system": slug, "category": category, "column": name, "value": value,
                "low": None if value is None else max(0.0, value - half),
                "high": None if value is None else min(1.0, value + half),
                "n": n, "clusters": max(1, n // 2), "failures": 2 if slug == "nano" and is_all else 0,
                "coverage": 0.86 if name == "consistency" and is_all else 1.0, "note": None,
            }
        )  # fmt: skip
    seconds = None if control else {"nano": 1.93, "kontext-dev": 14.7}.get(slug, 4.21)
    if is_all:
        low, high = (None, None) if seconds is None else (seconds * 0.9, seconds * 1.15)
        made.append(
            {
                "system": slug, "category": "all", "column": "seconds", "value": seconds, "low": low, "high": high,
                "n": items, "clusters": items, "failures": 0, "coverage": None, "note": None,
            }
        )  # fmt: skip
    return made


def _differences(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values = {(cell["system"], cell["column"]): cell["value"] for cell in cells if cell["category"] == "all"}
    names = list(SYSTEMS)[4:]
    made = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            for column in ("instruction", "consistency", "precision"):
                apart = values[a, column] - values[b, column]
                made.append(
                    {
                        "a": a, "b": b, "column": column,
                        "difference": apart, "low": apart - 0.035, "high": apart + 0.035,
                        "p": 0.0004 if abs(apart) > 0.1 else 0.21, "p_holm": 0.0036 if abs(apart) > 0.1 else 0.63,
                    }
                )  # fmt: skip
    return made


def _chain(folder: Path, slug: str, side: int, rng: np.random.Generator) -> dict[str, Any]:
    _, instruction, consistency, precision = SYSTEMS[slug]
    turns = np.arange(TURNS)
    curves: dict[str, list[float | None]] = {
        "instructed": list(np.clip(instruction - 0.01 * turns, 0, 1)), "kept": list(precision ** (turns / 3)),
        "quality": list(instruction * precision ** (turns / 3)), "held": list(instruction ** (turns + 1)),
        "identity": list(consistency ** (1 + turns / 4)), "colour_shift": list((1 - precision) * turns * 0.9),
        "sharpness": list((precision - 1) * turns * 0.2),
    }  # fmt: skip
    curves = {name: [float(value or 0) for value in values] for name, values in curves.items()}
    if slug == "nano":
        curves["identity"][5] = None
    low = {name: [None if v is None else v - 0.04 for v in values] for name, values in curves.items()}
    high = {name: [None if v is None else v + 0.04 for v in values] for name, values in curves.items()}
    picture = _scene(side, rng)
    paths = []
    for turn in range(TURNS):
        picture = np.clip(picture * (0.9 + 0.1 * precision) + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
        paths.append(_save(folder, picture, f"img/{slug}/chain-{turn}.png"))
    example = {"item": "chain-0001", "pictures": paths, "instructions": [WORDS[t % len(WORDS)] for t in range(TURNS)]}
    half_life = {"nano": 4}.get(slug)
    return {
        "system": slug, "category": "chain", "length": TURNS, "chains": 12, "curves": curves, "low": low, "high": high,
        "half_life": half_life, "example": example,
    }  # fmt: skip


def _latency(slug: str, rng: np.random.Generator) -> dict[str, Any]:
    centre = {"nano": 1.93, "kontext-dev": 14.7}.get(slug, 4.21)
    seconds = sorted(float(centre * x) for x in rng.gamma(30, 1 / 30, 40))
    return {
        "system": slug, "n": 40, "seconds": seconds, "p50": seconds[19], "p90": seconds[35], "p95": None,
        "server_p50": centre * 0.8 if centre == 4.21 else None, "width": 1024, "height": 1024,
        "note": "region eu, one afternoon" if centre == 4.21 else None,
    }  # fmt: skip


def _scene(side: int, rng: np.random.Generator) -> np.ndarray:
    """Sky over ground with a disc: flat colours with a soft gradient, so that a wrong row or channel is seen."""
    y, x = np.mgrid[:side, :side] / side
    sky, ground, disc = (rng.integers(60, 230, 3) for _ in range(3))
    picture = np.where((y < 0.62)[..., None], sky * (0.75 + 0.25 * y[..., None]), ground * (1.2 - 0.4 * y[..., None]))
    cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.7)
    picture = np.where((np.hypot(x - cx, y - cy) < 0.16)[..., None], disc, picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _save(folder: Path, rgb: np.ndarray, path: str) -> str:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    image.write(rgb, folder / path)
    return path
