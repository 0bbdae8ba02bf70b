"""The held-out loss: fixed triples, split by time, use, kind and mask; and the panel."""

import numpy as np
import pytest
import torch

from recast.errors import ConfigError, TrainingError
from recast.flow.path import interpolate
from recast.train import validation
from recast.train.parallel import ALONE, Ranks
from recast.train.uses import TARGET, Pass, Use
from tests.train.pairs import pairs, stage

CPU = torch.device("cpu")


def a_pass(count: int = 2, *, first: int = 0, context: bool = True, mask: bool = False) -> Pass:
    uses = tuple(
        Use(
            example=i,
            number=first + i,
            kind="edit" if context else "text_to_image",
            target=TARGET,
            contexts=(0,) if context else (),
            prompt="x",
            has_mask=mask,
            category="" if not context else "colour" if i else "shape",
        )
        for i in range(count)
    )
    inside = torch.zeros(count, 3, dtype=torch.bool)
    inside[:, 0] = True
    clean = torch.zeros(count, 3, 4)
    return Pass(
        uses=uses,
        clean=clean,
        grid=(1, 3),
        context=clean if context else None,
        context_grids=(),
        mask=inside if mask else None,
    )


def test_errors_are_taken_at_the_middles_of_eight_times_with_noise_by_number():
    asked = []

    def errors(each: Pass, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        asked.append((t.tolist(), noise))
        return torch.ones(2, 3)

    validation.measure([a_pass()], errors, ALONE, CPU)
    first = list(asked)
    assert [t for t, _ in first] == [[(i + 0.5) / 8] * 2 for i in range(8)]
    validation.measure([a_pass(first=1)], errors, ALONE, CPU)
    for (_, one), (_, two) in zip(first, asked[8:], strict=True):
        assert torch.equal(one[1], two[0])  # both of number 1
        assert not torch.equal(one[0], one[1])
    assert len({float(noise[0, 0, 0]) for _, noise in first}) == 8


def test_numbers_are_means_by_time_use_kind_and_mask():
    def errors(each: Pass, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        base = (
            torch.tensor([[4.0, 1.0, 1.0], [8.0, 2.0, 2.0]]) if each.context is not None else torch.full((2, 3), 10.0)
        )
        return base * t[:, None]

    found = validation.measure([a_pass(mask=True), a_pass(context=False)], errors, ALONE, CPU)
    assert found["edit/loss"] == pytest.approx(3 * 0.5)
    assert found["text_to_image/loss"] == pytest.approx(10 * 0.5)
    assert found["loss"] == pytest.approx((2 + 4 + 10 + 10) / 4 * 0.5)
    assert found["t0"] == pytest.approx((2 + 4 + 10 + 10) / 4 / 16)
    assert found["edit/t7"] == pytest.approx(3 * 15 / 16)
    assert found["kind/shape"] == pytest.approx(2 * 0.5)
    assert found["kind/colour"] == pytest.approx(4 * 0.5)
    assert found["inside"] == pytest.approx(6 * 0.5)
    assert found["outside"] == pytest.approx(1.5 * 0.5)
    assert not any(name.startswith("keep") for name in found)


def test_processes_share_the_work_and_call_the_network_equally_often_and_alike():
    """A sharded network is gathered more often for a context: in no turn may one process have one and another none."""
    passes = [a_pass(mask=True), a_pass(first=9, context=False), a_pass(first=5)]
    shares: list[dict[str, float]] = []
    calls: list[list[bool]] = []

    class Part(Ranks):
        def mean(self, values):  # type: ignore[no-untyped-def]
            shares.append({name: float(value) for name, value in values.items()})
            return shares[-1]

    def errors(each: Pass, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        calls[-1].append(each.context is not None)
        return (noise.square().mean(-1) + each.numbers[0]) * t[:, None]

    calls.append([])
    whole = validation.measure(passes, errors, ALONE, CPU)
    for rank in range(5):
        calls.append([])
        validation.measure(passes, errors, Part(data_rank=rank, data_size=5), CPU)
    assert len(calls[0]) == 24
    assert calls[1:] == [[True] * 4 + [False] * 2] * 5
    for name, value in whole.items():
        total, count = (sum(share[f"{name} {i}"] for share in shares) for i in (0, 1))
        assert total / count == pytest.approx(value)


def test_nothing_to_judge_is_an_error():
    with pytest.raises(TrainingError, match="held_out"):
        validation.measure([], lambda each, t, noise: noise, ALONE, CPU)


def test_a_stage_judges_its_held_out_batches_the_same_each_time():
    made = stage(held_out=[pairs(2, masks=True), pairs(2, first=2, contexts=0)])
    found = made.validate()
    assert found == made.validate()
    assert {"edit/t3", "text_to_image/loss", "kind/colour", "kind/shape", "inside", "outside"} <= set(found)
    with torch.no_grad():
        made.flow.final_layer.linear.weight.mul_(2)
    assert made.validate()["loss"] != found["loss"]
    assert stage().validate() == {}


def test_the_walk_follows_the_velocity_from_the_fixed_noise():
    each = a_pass()
    target = torch.full((2, 3, 4), 0.25)
    sampling = validation.Sampling(steps=3)
    ended = validation.walk(each, lambda x, t: (x - target) / t[:, None, None], sampling, CPU)
    torch.testing.assert_close(ended, target)
    noise = validation.fixed_noise(each, "panel")
    still = validation.walk(each, lambda x, t: torch.zeros_like(x), sampling, CPU)
    assert torch.equal(still, noise)
    x, _ = interpolate(each.clean, noise, torch.ones(2))
    assert torch.equal(x, noise)
    with pytest.raises(ConfigError, match="steps=0"):
        validation.Sampling(steps=0)


def test_the_panel_shows_contexts_text_result_and_truth_in_their_places():
    def plain(value: int, height: int = 32, width: int = 48) -> np.ndarray:
        return np.full((height, width, 3), value, np.uint8)

    two = validation.Row(contexts=(plain(10), plain(20)), text="make it red", result=plain(30), truth=plain(40))
    none = validation.Row(contexts=(), text="", result=plain(50, 16, 48), truth=plain(60, 16, 48))
    sheet = validation.draw_panel([two, none])
    gap, text = validation.GAP, validation.TEXT_WIDTH
    lefts = [gap, gap + 52, gap + 104 + text, gap + 104 + text + 52]
    for left, value in zip(lefts, (10, 20, 30, 40), strict=True):
        assert (sheet[gap : gap + 32, left : left + 48] == value).all()
    below = 2 * gap + 32
    assert (sheet[below : below + 16, lefts[2] : lefts[2] + 48] == 50).all()
    assert (sheet[below : below + 16, lefts[3] : lefts[3] + 48] == 60).all()
    assert (sheet[below : below + 16, : gap + 100] == 255).all()  # no contexts
    words = sheet[gap : gap + 32, gap + 104 : gap + 104 + text - gap]
    assert (words < 128).any()
    assert sheet.shape == (3 * gap + 48, lefts[3] + 48 + gap, 3)


def test_a_stage_draws_its_panel_from_fixed_noise():
    made = stage(panel=[pairs(2), pairs(1, contexts=0)], panel_settings=validation.Sampling(steps=2))
    sheet = made.samples()["panel"]
    assert np.array_equal(sheet, made.samples()["panel"])
    assert sheet.dtype == np.uint8
    context = pairs(2).contexts[0][0].permute(1, 2, 0).numpy()
    gap = validation.GAP
    assert np.array_equal(sheet[gap : gap + 64, gap : gap + 64], context)
    truth = pairs(2).target[1].permute(1, 2, 0).numpy()
    assert np.array_equal(sheet[2 * gap + 64 : 2 * gap + 128, -gap - 64 : -gap], truth)
    result = sheet[gap : gap + 64, -2 * gap - 128 : -2 * gap - 64]
    assert len(np.unique(result)) > 2
    assert stage().samples() == {}
