"""Each plan agrees with the core on this device; a fault is found, and the technique that has it is named."""

import math

import pytest
import torch

from recast.errors import ConfigError
from recast.selftest import one_thread
from recast.speed import accelerate, attention8, engine, quantize, selftest
from recast.speed.autoencoder import FastAutoencoder
from recast.speed.ops import Plain
from recast.speed.plan import PLANS, Plan
from recast.speed.selftest import Finding, Measured, check
from recast.speed.streaming import Held

CPU = torch.device("cpu")


def found(*plans: str) -> list[Finding]:
    with one_thread():
        return list(check(CPU, torch.float32, plans))


def test_every_plan_but_the_compiled_one_agrees():
    findings = {finding.plan.name: finding for finding in found()}
    assert {*findings} == {*PLANS, "lossless under a cap", "fp8 under a cap"} - {"compile"}
    assert all(finding.is_ok and not finding.suspects for finding in findings.values())
    assert findings["reference"].whole.distances == {"velocity": 0}
    assert 0.001 < findings["fp8"].whole.distances["velocity"] < selftest.EIGHT_BIT_LIMIT  # it was rounded
    assert {*findings["lossless"].whole.distances} == {"velocity", "encoding", "decoding"}
    said = " ".join(map(str, findings["fp8 under a cap"].whole.report))
    assert "0 of 3 blocks stay on the device; modulations pass through once a request; the MLP takes 36 tokens" in said
    assert "the autoencoder takes 16 rows at once" in said


def off_scale(call):
    return lambda *args, **kwargs: call(*args, **kwargs) * 1.5


FAULTS = {
    "engine": (Plain, "gelu", lambda call: lambda self, x, rows=False: call(self, 1.2 * x, rows=rows)),
    "eight-bit products": (quantize.EightBit, "_product", off_scale),
    "eight-bit attention": (attention8.Written, "__call__", lambda call: lambda self, *qkv: -4 * call(self, *qkv)),
    "autoencoder": (FastAutoencoder, "decode", off_scale),
}


@pytest.mark.parametrize("technique", FAULTS)
def test_a_fault_is_laid_to_the_technique_that_has_it(technique: str, monkeypatch: pytest.MonkeyPatch):
    owner, name, broken = FAULTS[technique]
    monkeypatch.setattr(owner, name, broken(getattr(owner, name)))
    (finding,) = found("fp8-attention")
    assert finding.suspects == (technique,)
    far = finding.whole.distances[finding.whole.worst]
    assert not far <= finding.whole.limits[finding.whole.worst]


def test_weights_that_do_not_arrive_are_laid_to_memory_and_the_pipeline_keeps_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Held, "send", lambda self, index, group, slot: lambda: slot.run.zero_())
    capped, whole = found("lossless under a cap", "lossless")
    assert capped.suspects == ("memory",)
    assert whole.is_ok


def test_an_unknown_plan_is_refused():
    with pytest.raises(ConfigError, match="plan='fastest': reference, exact,"):
        found("fastest")


def test_a_technique_that_raises_is_named_with_what_it_said(monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise KeyError("no such kernel")

    monkeypatch.setattr(attention8.Written, "__call__", broken)
    (finding,) = found("fp8-attention")
    assert (finding.suspects, finding.whole.error) == (("eight-bit attention",), "KeyError: 'no such kernel'")


def test_not_a_number_is_no_agreement(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine.Engine, "finish", lambda self, joint: joint.image.x[:, :, :16] * math.nan)
    (finding,) = found("exact")
    assert not finding.is_ok
    assert finding.suspects == ("engine",)
    assert finding.whole.worst == "velocity"


class Bench:
    """Plans that are well or not by a rule, without computing."""

    def __init__(self, is_bad, *, device: str = "cpu", dies: bool = False) -> None:
        self.is_bad, self.device, self.dies, self.is_alive = is_bad, torch.device(device), dies, True

    def absent(self, plan: Plan) -> set[str]:
        return {"attention"}

    def answers(self) -> bool:
        return self.is_alive

    def measured(self, plan: Plan) -> Measured:
        is_bad = self.is_bad(plan) or not self.is_alive
        self.is_alive = not (is_bad and self.dies)
        error = "CUDA error: an illegal memory access" if is_bad and self.dies else ""
        return Measured({"velocity": math.inf if is_bad else 0.0}, {"velocity": 1.0}, (), error)


def test_techniques_that_fail_only_together_are_named_together():
    finding = selftest._of_plan(Bench(lambda plan: plan.kernels and plan.eight_bit), PLANS["fp8"])
    assert finding.suspects == ("kernels", "eight-bit products")


def test_two_faults_are_both_named():
    finding = selftest._of_plan(Bench(lambda plan: plan.kernels or plan.graph), PLANS["lossless"])
    assert finding.suspects == ("kernels", "graph")


def test_what_a_device_cannot_do_is_not_blamed():
    finding = selftest._of_plan(Bench(lambda plan: plan.attention == "auto"), PLANS["lossless"])
    assert "attention" not in finding.suspects


def test_after_a_fault_that_ends_all_work_the_one_just_tried_is_blamed():
    """On CUDA an illegal access fails all that follows: whoever ran first is guilty, and not the engine."""
    bench = Bench(lambda plan: plan.side_stream, device="cuda", dies=True)
    finding = selftest._of_plan(bench, PLANS["lossless"])
    assert finding.suspects == ("side stream",)
    assert finding.whole.error.startswith("CUDA error")


def test_no_layer_is_left_out_of_eight_bits_for_its_width():
    report = accelerate(selftest._Bench(CPU, torch.float32).pipeline, "fp8").report
    assert [line for line in report if line.technique == "eight-bit products" and not line.is_applied] == []
    assert selftest.FLOW.head_dim == 128  # as published models have it
