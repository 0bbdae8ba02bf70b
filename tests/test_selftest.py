"""The self-test on a broken installation: each fault is put in, found, and blamed on the right part."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from recast import pipeline as pipelines
from recast import selftest
from recast.context import images, t5, text
from recast.errors import ConfigError, InputError
from recast.flow import layers, schedule, transformer
from recast.loading import load
from recast.pipeline import Pipeline
from recast.selftest import EDITS, check
from recast.weights.adapters import Change
from tests.tiny import tiny_pipeline

Fault = Callable[[Pipeline], AbstractContextManager[Any]]
TEXT, ONE, TWO, GUIDED, LORA = EDITS


@pytest.fixture(scope="module")
def nano() -> Pipeline:
    return load("nano", device="cpu", dtype="fp32")


# Faults, each a way to break a pipeline for a while.


@contextmanager
def changed(network: nn.Module, change: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
    """`network` with some of its tensors replaced by what change(name, tensor) returns."""
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            new = change(name, tensor)
            if new is not None:
                tensor.copy_(new)
    try:
        yield
    finally:
        network.load_state_dict(kept)


def rounded(bits: int) -> Callable[[str, Tensor], Tensor | None]:
    """Matrices rounded to so many bits, with one scale for the whole of each."""

    def change(name: str, tensor: Tensor) -> Tensor | None:
        scale = tensor.abs().max() / (2 ** (bits - 1) - 1)
        return (tensor / scale).round() * scale if tensor.ndim > 1 else None

    return change


def upside_down(name: str, tensor: Tensor) -> Tensor | None:
    return tensor.flip(0) if name == "single_blocks.3.linear1.weight" else None


def one_nan(name: str, tensor: Tensor) -> Tensor | None:
    if name != "double_blocks.0.img_mlp.0.weight":
        return None
    tensor[3, 5] = math.nan
    return tensor


@contextmanager
def attending(flow: Any, kernel: Callable[[Tensor, Tensor, Tensor], Tensor], blocks: slice) -> Iterator[None]:
    chosen = [*flow.double_blocks, *flow.single_blocks][blocks]
    kept = [block.attend for block in chosen]
    for block in chosen:
        block.attend = kernel
    try:
        yield
    finally:
        for block, kernel in zip(chosen, kept, strict=True):
            block.attend = kernel


def kernel(pattern: str = "b k s e -> b s (k e)", **options: Any) -> Fault:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return rearrange(F.scaled_dot_product_attention(q, k, v, **options), pattern)

    return lambda p: attending(p.flow, attend, slice(None))


def drops_keys(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return layers.attention(q, k[:, :, :-8], v[:, :, :-8])


def unsupported(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    raise RuntimeError("no kernel image is available for execution on the device")


def halves(x: Tensor, rotary: Tensor) -> Tensor:
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * rotary.real - b * rotary.imag, a * rotary.imag + b * rotary.real], -1).to(x.dtype)


@contextmanager
def turning(rotate: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    with patch.object(layers, "rotate", rotate), patch.object(selftest, "rotate", rotate):
        yield


def decoding(value: float) -> Fault:
    def decode(latents: Tensor, band: int | None = None) -> Tensor:
        return torch.full((latents.shape[0], 3, 8 * latents.shape[2], 8 * latents.shape[3]), value)

    return lambda p: patch.object(p.autoencoder, "decode", decode)


def unscaled(p: Pipeline, direction: str) -> AbstractContextManager[Any]:
    """The autoencoder with its scale and shift left out on one way."""
    config, whole = p.config.autoencoder, getattr(p.autoencoder, direction)

    def encode(pixels: Tensor, **options: Any) -> Tensor:
        return whole(pixels, **options) / config.scale_factor + config.shift_factor

    def decode(latents: Tensor, **options: Any) -> Tensor:
        return whole((latents - config.shift_factor) * config.scale_factor, **options)

    return patch.object(p.autoencoder, direction, encode if direction == "encode" else decode)


table, places, apply, ids, buckets = (
    layers.rotary_table,
    images.positions,
    Change.apply,
    text.byte_ids,
    t5.buckets,
)
randn = torch.randn

FAULTS: dict[str, tuple[str, Any, Fault]] = {
    "black pictures": ("autoencoder, decoding", ONE, decoding(-1.0)),
    "pictures of NaN": ("autoencoder, decoding", ONE, decoding(math.nan)),
    "latents decoded without their scale": ("autoencoder, decoding", ONE, lambda p: unscaled(p, "decode")),
    "latents encoded without their scale": ("autoencoder, encoding", ONE, lambda p: unscaled(p, "encode")),
    "a transformer in four bits": ("weights of the flow transformer", ONE, lambda p: changed(p.flow, rounded(4))),
    "a transformer in eight bits, one scale": (
        "weights of the flow transformer",
        ONE,
        lambda p: changed(p.flow, rounded(8)),
    ),
    "an autoencoder in four bits": ("weights of the autoencoder", ONE, lambda p: changed(p.autoencoder, rounded(4))),
    "a text encoder in four bits": ("weights of the text encoder", ONE, lambda p: changed(p.text.network, rounded(4))),
    "a matrix upside down": ("flow transformer", ONE, lambda p: changed(p.flow, upside_down)),
    "a weight that is NaN": ("weights of the flow transformer", ONE, lambda p: changed(p.flow, one_nan)),
    "attention without its scale": ("attention kernel", ONE, kernel(scale=1.0)),
    "attention with a scale 10 % too large": ("attention kernel", ONE, kernel(scale=1.1 / 8)),
    "attention that looks back only": ("attention kernel", ONE, kernel(is_causal=True)),
    "attention with heads interleaved": ("attention kernel", ONE, kernel("b k s e -> b s (e k)")),
    "attention that drops keys in one block": (
        "attention kernel",
        ONE,
        lambda p: attending(p.flow, drops_keys, slice(4, 5)),
    ),
    "attention that gives NaN": (
        "attention kernel",
        ONE,
        lambda p: attending(p.flow, lambda q, k, v: layers.attention(q, k, v) * math.nan, slice(None)),
    ),
    "attention that this device cannot run": (
        "attention kernel",
        ONE,
        lambda p: attending(p.flow, unsupported, slice(None)),
    ),
    "rotary pairs taken from halves": ("rotary kernel", ONE, lambda p: turning(halves)),
    "rotary angles of another base": (
        "rotary positions",
        ONE,
        lambda p: patch.object(transformer, "rotary_table", lambda at, axes, theta: table(at, axes, 1000)),
    ),
    "rows and columns exchanged": (
        "rotary positions",
        LORA,  # as high as wide, the exchange would go unseen in a square
        lambda p: patch.object(transformer, "rotary_table", lambda at, *rest: table(at[..., [0, 2, 1]], *rest)),
    ),
    "context at the target's place": (
        "rotary positions",
        ONE,
        lambda p: patch.object(images, "positions", lambda grid, index=0: places(grid)),
    ),
    "two contexts at one place": (
        "rotary positions",
        TWO,
        lambda p: patch.object(images, "positions", lambda grid, index=0: places(grid, index=1)),
    ),
    "bytes counted from another id": ("text encoder", ONE, lambda p: patch.object(text, "FIRST_BYTE", 2)),
    "a prompt cut short": (
        "text encoder",
        TEXT,
        lambda p: patch.object(text, "byte_ids", lambda prompt, length: ids(prompt[:8], length)),
    ),
    "a vector pooled over the padding": (
        "text encoder",
        ONE,
        lambda p: patch.object(text, "pool", lambda tokens, ids: tokens.mean(1)),
    ),
    "text read backwards": (
        "text encoder",
        ONE,
        lambda p: patch.object(t5, "buckets", lambda relative, *rest: buckets(-relative, *rest)),
    ),
    "a LoRA that does nothing": (
        "adapters (LoRA)",
        LORA,
        lambda p: patch.object(Change, "apply", lambda self, weight, strength: None),
    ),
    "a LoRA at half of its strength": (
        "adapters (LoRA)",
        LORA,
        lambda p: patch.object(Change, "apply", lambda self, weight, strength: apply(self, weight, strength / 2)),
    ),
    "a schedule without its shift": (
        "sampler, schedule or guidance",
        ONE,
        lambda p: patch.object(schedule, "resolution_shift", lambda tokens: 0.0),
    ),
    "guidance that is off": (
        "sampler, schedule or guidance",
        GUIDED,
        lambda p: patch.object(pipelines, "guided", lambda wanted, unwanted, scale: wanted),
    ),
    "noise of another kind": (
        "random numbers (torch.Generator)",
        TEXT,
        lambda p: patch.object(
            pipelines.torch, "randn", lambda *shape, generator, dtype: randn(*shape, generator=generator)
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_blamed(fault: str, nano: Pipeline) -> None:
    suspect, edit, broken = FAULTS[fault]
    nano.text._cache.clear()  # type: ignore[attr-defined] # remembered prompts would hide a broken encoder
    with broken(nano):
        report = check(nano, edits=[edit])
    nano.text._cache.clear()  # type: ignore[attr-defined]
    assert not report.is_ok
    assert report.suspect == suspect


def test_limits_of_bf16_still_find_faults_that_only_an_edit_shows() -> None:
    half = load("nano", device="cpu", dtype="bf16")
    assert check(half, edits=[LORA]).is_ok
    for fault in ("a LoRA that does nothing", "a matrix upside down"):
        suspect, _, broken = FAULTS[fault]
        with broken(half):
            assert check(half, edits=[LORA]).suspect == suspect


def test_a_sound_installation_passes_and_is_left_as_it_was(nano: Pipeline) -> None:
    before = {name: tensor.clone() for name, tensor in nano.flow.state_dict().items()}
    threads = torch.get_num_threads()
    report = check(nano)
    assert report.is_ok, report.failures
    assert report.suspect is None
    assert list(report.edits) == [edit.name for edit in EDITS]
    assert all(torch.equal(before[name], tensor) for name, tensor in nano.flow.state_dict().items())
    assert not nano.flow._forward_hooks
    assert torch.get_num_threads() == threads


def test_other_kernels_stay_far_below_the_limits(nano: Pipeline) -> None:
    """The limits are for broken kernels, not for other ones."""
    try:
        torch._C._set_mkldnn_enabled(False)  # its public name also sets TF32, and warns
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            report = check(nano, edits=[TWO])
        worst = max(one.distance / one.limit for group in (report.parts, *report.edits.values()) for one in group)
        assert 0 < worst < 0.1
    finally:
        torch._C._set_mkldnn_enabled(True)


def test_a_note_says_what_is_plain_to_see(nano: Pipeline) -> None:
    with FAULTS["black pictures"][2](nano):
        assert "one colour all over" in [one.note for one in check(nano, edits=[ONE]).failures]
    with FAULTS["a LoRA that does nothing"][2](nano):
        assert "the LoRA changes nothing" in [one.note for one in check(nano, edits=[LORA]).failures]


def test_kept_values_name_the_command_that_made_them_and_the_files_they_are_of() -> None:
    golden = selftest.read_golden()
    assert golden["command"] == "python -m recast.selftest --write"
    assert golden["files"] == selftest.nano_checksums()
    assert all(len(edit["picture"]) == 8 * 8 * 3 for edit in golden["edits"].values())


def test_every_edit_is_there_for_another_feature() -> None:
    stages = {name: set(stages) for name, stages in selftest.read_golden()["edits"].items()}
    assert [name for name, seen in stages.items() if "adapter" in seen] == [LORA.name]
    assert [name for name, seen in stages.items() if "context" not in seen] == [TEXT.name]
    assert {"text", "noise", "positions", "latents", "picture"} <= set.intersection(*stages.values())


def test_kept_values_of_another_version_are_refused(tmp_path: Any) -> None:
    file = tmp_path / "golden.json"
    for content in ("", "{}", json.dumps({**selftest.read_golden(), "format": "recast-golden-0"})):
        file.write_text(content)
        with pytest.raises(InputError, match=r"python -m recast\.selftest --write"):
            selftest.read_golden(file)


def test_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="nano"):
        check(tiny_pipeline())
