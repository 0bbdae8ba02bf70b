"""The gate: when a student may follow its discriminator."""

import pytest
import torch

from recast.errors import TrainingError
from recast.train.distill.gate import WINDOW, Gate


def test_it_opens_by_the_accuracy_of_the_warm_up_and_stays_so():
    gate = Gate()
    for _ in range(5):
        gate.note(0.7)
    assert gate.is_undecided
    gate.decide(0.55, "stop")
    assert (gate.is_undecided, gate.is_open, gate.is_shut) == (False, True, False)
    gate.note(0.0)
    gate.decide(1.0, "stop")
    assert gate.is_open


def test_a_blind_discriminator_stops_the_run_with_what_to_change_or_shuts_for_good():
    gate = Gate()
    gate.note(0.51)
    with pytest.raises(TrainingError, match=r"accuracy=0\.51.*accuracy_needed=0\.55.*renoise_mean"):
        gate.decide(0.55, "stop")
    gate.decide(0.55, "skip")
    assert (gate.is_undecided, gate.is_open, gate.is_shut) == (False, False, True)
    gate.note(0.99)
    gate.decide(0.55, "skip")
    assert gate.is_shut


def test_without_a_warm_up_there_is_nothing_to_judge_by_and_it_opens():
    gate = Gate()
    gate.decide(0.9, "stop")
    assert gate.is_open


def test_the_accuracy_is_the_mean_and_then_follows_the_last_steps():
    gate = Gate()
    for value in (0.2, 0.4, 0.9):
        gate.note(value)
    assert float(gate.accuracy) == pytest.approx(0.5)
    for _ in range(8 * WINDOW):
        gate.note(0.8)
    assert float(gate.accuracy) == pytest.approx(0.8, abs=1e-3)


def test_the_student_has_every_nth_step_whatever_is_accumulated():
    gate, turns = Gate(), []
    for _ in range(12):
        gate.count()
        turns.append(gate.turn(3, 2))
    assert turns == [False] * 4 + [True] * 2 + [False] * 4 + [True] * 2


def test_it_goes_on_from_its_state():
    gate, again = Gate(), Gate()
    gate.count()
    gate.note(0.6)
    gate.decide(0.5, "stop")
    again.load_state_dict(gate.state_dict())
    assert again.is_open
    assert (int(again.batches), float(again.accuracy)) == (1, pytest.approx(0.6))
    assert all(isinstance(each, torch.Tensor) and each.device.type == "cpu" for each in gate.state_dict().values())
