"""Stages of pairs in the loop: a run that was stopped goes on as if it had not been."""

import copy

import pytest
import torch

from recast.errors import ConfigError
from recast.train.distill.consistency import ConsistencySettings, ConsistencyStage
from recast.train.distill.direct import DirectSettings, DirectStage
from recast.train.distill.distance import HUBER, distance
from recast.train.distill.pair_writing import PairSettings, write
from recast.train.distill.pairs import Pairs
from recast.train.distill.teacher import Teacher
from recast.train.flow_stage import FlowTraining
from recast.train.loop import run
from recast.train.parallel import ALONE
from recast.train.settings import Run, Settings
from tests.train.distill.toy import SMALL
from tests.train.pairs import pairs, stage
from tests.train.small_runs import Stream

ASKED = FlowTraining(edit=0.5, text_to_image=0.5, keep=0.0, text_dropout=0.0)


def reading(**parts):
    return stage(ASKED, flow=SMALL, **parts)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "pairs"
    told = PairSettings(count=8, steps=2, guidance=2.0, batches_per_shard=1)
    assert list(write(Teacher(reading().flow), reading(), Stream(ALONE), folder, told))[-1].pairs == 8
    return folder


def new(name, batches):
    held, made = [next(iter(batches))], reading(panel=[pairs(1)])
    if name == "direct":
        return DirectStage(made, DirectSettings(), held_out=held)
    told = ConsistencySettings(guidance=2.0, teacher_steps=2)
    return ConsistencyStage(made, Teacher(reading().flow), told, target=copy.deepcopy(made.flow), held_out=held)


@pytest.mark.parametrize("name", ["direct", "consistency"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, place, tmp_path):
    course = {"log_every_steps": 1, "peak_tflops": 1.0, "save_every_steps": 2}
    ends = {}
    for way, stops in (("straight", (9,)), ("stopped", (2, 9))):
        for stop in stops:
            made, settings = new(name, Pairs(place, batch=2)), Settings(run=Run(steps=4, **course))
            done = [0]
            told = {"should_stop": lambda done=done, stop=stop: done[0] >= stop}
            for last in run(made, Pairs(place, batch=2), settings, tmp_path / way, **told):
                done[0] = last.progress.step
        assert last.numbers["val_ema/endpoint"] > 0
        ends[way] = (
            last.numbers,
            {k: v.clone() for k, net in made.networks.items() for k, v in net.state_dict().items()},
        )
    assert ends["straight"][0] == ends["stopped"][0]
    assert all(torch.equal(value, ends["stopped"][1][key]) for key, value in ends["straight"][1].items())


def test_distances_by_hand():
    predicted, wanted = torch.tensor([[[0.05, -3.0]]]), torch.zeros(1, 1, 2)
    assert float(distance(predicted, wanted, "l1")) == pytest.approx(1.525)
    assert float(distance(predicted, wanted, "mse")) == pytest.approx((0.0025 + 9) / 2)
    assert float(distance(predicted, wanted, "huber")) == pytest.approx((0.00125 + HUBER * (3 - HUBER / 2)) / 2)


def test_a_text_encoder_that_is_trained_is_refused():
    with pytest.raises(ConfigError, match="train_text=true"):
        DirectStage(stage(FlowTraining(train_text=True), flow=SMALL), DirectSettings())
