"""The loss over target tokens, its weights, its noise by number, and the guided target."""

import pytest
import torch

from recast.errors import ShapeError
from recast.flow.path import clean_at
from recast.train import objective


def test_noise_knows_the_number_and_the_seed_alone():
    alone = objective.draw([7], 3, (4, 5))[0]
    among = objective.draw([2, 7, 9], 3, (4, 5))
    assert torch.equal(alone, among[1])
    assert not torch.equal(alone, among[2])
    assert not torch.equal(alone, objective.draw([7], 4, (4, 5))[0])
    state = torch.get_rng_state()
    objective.draw([1], 0, (3,))
    assert torch.equal(state, torch.get_rng_state())  # no global generator


def test_noise_is_normal_and_choices_are_even_and_neither_repeats():
    noise = objective.draw(range(2000), 0, (32,))
    assert abs(float(noise.mean())) < 0.01
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)
    choices = objective.even(range(5000), 0, 8)
    assert float(choices.min()) >= 0
    assert float(choices.max()) < 1
    torch.testing.assert_close(choices.mean(0), torch.full((8,), 0.5, dtype=torch.float64), atol=0.02, rtol=0)
    correlation = torch.corrcoef(choices.T) - torch.eye(8)
    assert float(correlation.abs().max()) < 0.06
    assert len({float(x) for x in choices[:, 0]}) > 4990


def test_the_loss_is_zero_for_the_true_velocity_and_one_channel_counts_once():
    clean, noise = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.1, 0.5, 0.9])

    def true(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        ends = torch.stack([clean_at(x, noise[i] - clean[i], float(t[i])) for i, x in enumerate(x_t)])
        torch.testing.assert_close(ends, clean)  # x_t is the point of the straight path
        return noise - clean

    assert float(objective.flow_matching_loss(true, clean, noise, t).max()) == 0.0
    wrong = torch.zeros(3, 5, 4)
    wrong[1, 2, 3] = 2.0  # one channel of one token of one sample
    losses = objective.flow_matching_loss(lambda x, t: true(x, t) + wrong, clean, noise, t)
    torch.testing.assert_close(losses, torch.tensor([0.0, 4.0 / 20, 0.0]), atol=1e-6, rtol=0)


def test_weights_move_the_mean_and_keep_its_scale():
    errors = torch.tensor([[1.0, 1.0, 5.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    weight = torch.tensor([[1.0, 1.0, 3.0, 1.0], [1.0, 3.0, 1.0, 1.0]])
    torch.testing.assert_close(objective.weighted(errors, weight), torch.tensor([3.0, 2.0]))
    torch.testing.assert_close(objective.weighted(errors, None), torch.tensor([2.0, 2.0]))
    with pytest.raises(ShapeError, match="weight"):
        objective.weighted(errors, weight[:1])


def test_what_is_not_of_the_target_is_refused():
    clean = torch.zeros(1, 3, 4)
    with pytest.raises(ShapeError, match="velocity"):  # a network that returns its context tokens too
        objective.flow_matching_loss(lambda x, t: torch.zeros(1, 6, 4), clean, clean, torch.zeros(1))


def test_a_token_must_change_if_one_of_its_pixels_does():
    masks = torch.zeros(1, 1, 32, 48, dtype=torch.bool)
    masks[0, 0, 15, 16] = True  # the lowest row of tokens' first row, the first pixel of its second column
    masks[0, 0, 31, 47] = True
    expected = torch.tensor([[False, True, False, False, False, True]])
    assert torch.equal(objective.token_mask(masks, 16), expected)
    with pytest.raises(ShapeError, match="multiples of 16"):
        objective.token_mask(masks[..., :40], 16)


def test_the_guided_target_leans_away_from_the_null_prediction():
    null, data = torch.tensor([[[1.0]], [[1.0]]]), torch.tensor([[[2.0]], [[3.0]]])
    torch.testing.assert_close(objective.guided_target(null, data, 1.0), data)
    torch.testing.assert_close(objective.guided_target(null, data, 3.0), torch.tensor([[[4.0]], [[7.0]]]))
    ramp = objective.guided_target(null, data, 3.0, torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(ramp, torch.tensor([[[2.0]], [[5.0]]]))  # scales 1 and 2
