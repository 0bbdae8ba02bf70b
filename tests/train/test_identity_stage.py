import math

import pytest
import torch

from recast.errors import ConfigError
from recast.train import journal
from recast.train.identity import train, trained
from recast.train.identity_batches import HIDDEN, NAMES, SHAPE, IdentityBatch, IdentityBatches
from recast.train.identity_stage import IdentityStage, IdentityTraining, contrast, finding, told_apart
from recast.world.identity_network import STRIDE, USUAL_PX, Found, IdentityNetwork, folded
from recast.world.recogniser import load

EVERY = torch.ones(4, 4, dtype=torch.bool)


def test_contrast_is_the_published_loss():
    """Two people on orthogonal axes, two pictures each, at temperature 1: -1 + log(e + 2) for each picture."""
    vectors, who = torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1])
    assert float(contrast(vectors, who, EVERY, 1.0)) == pytest.approx(math.log(math.e + 2) - 1)
    assert float(contrast(vectors, who, EVERY, 0.05)) < 1e-6
    assert float(contrast(vectors, torch.tensor([0, 1, 0, 1]), EVERY, 0.05)) > 10


def test_people_whom_nothing_tells_apart_do_not_repel():
    vectors, who = torch.eye(2)[[0, 0, 0, 0]], torch.tensor([0, 0, 1, 1])
    assert float(contrast(vectors, who, ~EVERY, 1.0)) == pytest.approx(0)
    assert float(contrast(vectors, who, EVERY, 1.0)) == pytest.approx(math.log(3))


def test_a_hidden_attribute_tells_nobody_apart():
    classes = torch.zeros(4, len(NAMES), dtype=torch.long)
    classes[1, 0], classes[2, 0] = 3, HIDDEN
    shape = torch.ones(4, len(SHAPE))
    shape[3, 2] = 1.2
    told = told_apart(batch(classes=classes, shape=shape), 0.12)
    assert told.tolist() == [
        [False, True, False, True],
        [True, False, False, True],
        [False, False, False, True],
        [True, True, True, False],
    ]


def test_the_right_map_of_centres_costs_nothing_and_every_error_something():
    faces = (torch.tensor([[30.0, 18.0, 24.0, 32.0, 0.2, 1.0]]), torch.zeros(0, 6))
    right = exact(faces[0][0])
    heat, place = finding(right, faces)
    assert float(heat) < 0.01
    assert float(place) < 0.01
    moved = right._replace(heat=right.heat.roll(2, -1))
    assert float(finding(moved, faces)[0]) > 5
    for name, less in {"offset": 1, "size": 1, "gap": 1, "seen": 25}.items():
        worse = right._replace(**{name: getattr(right, name) - less})
        assert float(finding(worse, faces)[1]) > 0.15, name


def test_a_folded_network_says_what_the_trained_one_does():
    torch.manual_seed(0)
    network = IdentityNetwork()
    crops, pictures = torch.randn(8, 3, 64, 64), torch.randn(2, 3, 48, 64)
    for _ in range(3):
        network.namer(crops), network.finder(pictures)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 2)
                part.bias.uniform_(-1, 1)
    network.eval()
    plain = folded(network)
    assert not [name for name, _ in plain.named_parameters() if "norm" in name]
    torch.testing.assert_close(plain.namer(crops), network.namer(crops), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(plain.finder(pictures), network.finder(pictures), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_run_goes_on_where_it_was_and_leaves_a_file_that_is_read(tmp_path):
    options = {"training": IdentityTraining(validate=16), "families": 1, "searched": 1}
    file = train(tmp_path, steps=1, **options)
    kept = {name: each.bfloat16().float() for name, each in folded(trained(tmp_path)).state_dict().items()}
    torch.testing.assert_close(load(file).state_dict(), kept, rtol=0, atol=0)
    before = file.read_bytes()
    train(tmp_path, steps=2, **options)
    assert file.read_bytes() != before
    assert [each["step"] for each in journal.read(tmp_path) if each.get("event") == "resumed"] == [1]


def test_the_loss_falls_on_one_batch_that_is_seen_again():
    torch.manual_seed(0)
    stage, one = IdentityStage(IdentityTraining(), seed=1), IdentityBatches(families=1, searched=2).batch(0)
    parameters = [each for network in stage.networks.values() for each in network.parameters()]
    optimiser = torch.optim.Adam(parameters, 2e-3)
    losses = []
    for _ in range(8):
        loss = stage.loss("identity", one, 0.0).value
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert stage.flops(one) > 3 * 2 * 8 * 3 * 16 * 9 * 32 * 32  # more than the first layer's on its crops


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="temperature=0"):
        IdentityTraining(temperature=0)


def batch(**parts):
    given = {"crops": torch.zeros(0), "who": torch.arange(4), "pictures": torch.zeros(0), "faces": ()}
    return IdentityBatch(**{**given, **parts})


def exact(face):
    """What a perfect finder says of two pictures of 48 x 64 pixels, the first with this face."""
    x, y, wide, high, gap, _ = face.tolist()
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    heat = torch.full((2, 12, 16), -20.0)
    heat[0, int(y / STRIDE), int(x / STRIDE)] = 20.0
    offset = torch.stack([x / STRIDE - columns - 0.5, y / STRIDE - rows - 0.5], -1)
    size = torch.tensor([wide, high]).div(USUAL_PX).log()
    return Found(
        heat,
        offset.expand(2, 12, 16, 2),
        size.expand(2, 12, 16, 2),
        torch.full((2, 12, 16), gap),
        torch.full((2, 12, 16), 20.0),
    )
