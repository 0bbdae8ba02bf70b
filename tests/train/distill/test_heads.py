"""The discriminator's heads: where they sit, what they are told, and how they are judged."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from recast.config import nano, tiny
from recast.context.text import Text
from recast.errors import ConfigError, ShapeError
from recast.train.distill import heads as critic
from recast.train.distill.heads import Heads, HeadSettings
from recast.train.parallel import ALONE
from recast.train.settings import Parallel, Run

SMALL = HeadSettings(width=16, groups=4)
CONFIG = tiny().flow


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def new(seed: int = 0) -> Heads:
    return Heads(CONFIG, SMALL).initialise(seed)


def test_taps_are_parts_of_the_depth():
    assert HeadSettings().blocks(nano().flow) == (2, 5, 7)
    assert HeadSettings().blocks(tiny().flow) == (1, 2, 3)
    assert HeadSettings(taps=None).blocks(tiny().flow) == (0, 1, 2, 3, 4)
    assert HeadSettings(taps=(0.01, 1.0)).blocks(tiny().flow) == (0, 4)
    with pytest.raises(ConfigError, match="twice"):
        HeadSettings(taps=(0.6, 0.61)).blocks(tiny().flow)
    for wrong in ((), (0.0,), (1.2,)):
        with pytest.raises(ConfigError, match="parts of the depth"):
            HeadSettings(taps=wrong)
    with pytest.raises(ConfigError, match="multiple of the groups"):
        HeadSettings(width=20)


@pytest.mark.parametrize(("grid", "places"), [((4, 6), (4, 6)), ((32, 34), (16, 17)), ((32, 8), (32, 8))])
def test_there_is_a_logit_for_every_place(grid: tuple[int, int], places: tuple[int, int]):
    given = [drawn(2, grid[0] * grid[1], CONFIG.hidden_size, seed=k) for k in range(3)]
    logits = new()(given, grid, torch.tensor([0.2, 0.9]), drawn(2, 24))
    assert [each.shape for each in logits] == [(2, *places)] * 3
    with pytest.raises(ShapeError, match="3 inputs of"):
        new()(given[:2], grid, torch.tensor([0.2, 0.9]), drawn(2, 24))


def test_a_head_sees_the_tokens_where_they_stand():
    """Moving one token's content to another place moves the logits there: rows are not taken for columns."""
    heads, grid = new(), (3, 8)
    given = torch.zeros(1, 24, CONFIG.hidden_size)
    given[0, 8 * 1 + 6] = drawn(CONFIG.hidden_size)
    empty = heads([torch.zeros_like(given)] * 3, grid, torch.ones(1), drawn(1, 24))
    moved = heads([given] * 3, grid, torch.ones(1), drawn(1, 24))
    change = (moved[0] - empty[0])[0].abs()
    row, column = divmod(int(change.argmax()), 8)
    assert abs(row - 1) <= 2  # two kernels of three
    assert abs(column - 6) <= 2


def test_a_picture_is_judged_alone_whatever_stands_beside_it():
    heads, given = new(), [drawn(3, 16, CONFIG.hidden_size, seed=k) for k in range(3)]
    t, text = torch.tensor([0.1, 0.5, 0.9]), drawn(3, 24)
    whole = heads(given, (4, 4), t, text)
    alone = heads([each[1:2] for each in given], (4, 4), t[1:2], text[1:2])
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[1:2], other)


def test_heads_are_told_the_text_and_the_noise_level():
    heads, given = new(), [drawn(2, 16, CONFIG.hidden_size, seed=k) for k in range(3)]
    t, text = torch.tensor([0.3, 0.3]), drawn(2, 24)
    said = heads(given, (4, 4), t, text)
    swapped, noisier = heads(given, (4, 4), t, text.flip(0)), heads(given, (4, 4), t + 0.4, text)
    for one, other, third in zip(said, swapped, noisier, strict=True):
        assert ((one - other).abs().flatten(1).max(dim=1).values > 0.01).all()
        assert ((one - third).abs().flatten(1).max(dim=1).values > 0.01).all()


def test_the_seed_alone_decides_the_first_weights_and_heads_are_not_alike():
    one, same, other = new(0).state_dict(), new(0).state_dict(), new(1).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["heads.0.enter.weight"], one["heads.1.enter.weight"])
    assert float(one["heads.0.out.weight"].std()) < 0.05


def test_text_without_a_pooled_vector_is_the_mean_of_its_tokens():
    tokens = drawn(2, 5, 24)
    torch.testing.assert_close(critic.text_vector(Text(tokens, None)), tokens.mean(dim=1))
    assert critic.text_vector(Text(tokens, tokens[:, 0])) is not None
    wide = Heads(replace(CONFIG, vec_in_dim=None, context_in_dim=10), SMALL).initialise(0)
    wide([drawn(2, 16, 48)] * 3, (4, 4), torch.ones(2), drawn(2, 10))


def test_inputs_have_one_scale_whatever_the_blocks_is():
    found = critic.inputs([drawn(2, 4, 48), 300 * drawn(2, 4, 48, seed=1) + 7])
    for each in found:
        torch.testing.assert_close(each.std(dim=-1, unbiased=False), torch.ones(2, 4), atol=1e-3, rtol=0)


def test_the_hinge_is_taken_head_by_head_and_place_by_place_and_never_of_their_sum():
    """A sure head, or place, does not silence one that errs."""
    sure, wrong = torch.full((1, 1, 2), 3.0), torch.full((1, 1, 2), -3.0, requires_grad=True)
    loss = critic.real_hinge([sure, wrong])
    assert loss.tolist() == pytest.approx([(0 + 4) / 2])
    of_sum = F.relu(1 - (sure + wrong).mean())
    assert float(of_sum.detach()) == pytest.approx(1)
    (gradient,) = torch.autograd.grad(loss.sum(), wrong)
    assert gradient.flatten().tolist() == pytest.approx([-0.25, -0.25])
    places = torch.tensor([[[5.0, -5.0]]], requires_grad=True)
    assert critic.fake_hinge([places]).tolist() == pytest.approx([(6 + 0) / 2])
    (gradient,) = torch.autograd.grad(critic.fake_hinge([places]).sum(), places)
    assert gradient.flatten().tolist() == pytest.approx([0.5, 0])


def test_losses_count_heads_alike_and_keep_samples_apart():
    large, small = torch.tensor([[[2.0, 0.0], [0.0, 2.0]], [[-1.0] * 2] * 2]), torch.tensor([[[-2.0]], [[4.0]]])
    logits = [large, small]
    assert critic.real_hinge(logits).tolist() == pytest.approx([(0.5 + 3) / 2, (2 + 0) / 2])
    assert critic.fake_hinge(logits).tolist() == pytest.approx([(2 + 0) / 2, (0 + 5) / 2])
    assert critic.adversarial(logits).tolist() == pytest.approx([-(1 - 2) / 2, -(-1 + 4) / 2])
    assert critic.share_above(logits).tolist() == pytest.approx([(0.5 + 0) / 2, (0 + 1) / 2])
    assert critic.difference(logits, [large + 2, small]).tolist() == pytest.approx([2, 2])


def test_the_gradient_penalty_is_half_the_squared_norm_of_the_inputs_gradient():
    weight = drawn(5, seed=3).requires_grad_()
    given = [drawn(2, 4, 5).requires_grad_(), drawn(2, 4, 5, seed=1).requires_grad_()]
    logits = [(given[0] @ weight).view(2, 2, 2), (2 * given[1].square()[..., 0]).view(2, 2, 2)]
    found = critic.gradient_penalty(logits, given)
    one = 4 * weight.square().sum() / 2
    other = (4 * given[1][..., 0]).square().sum(dim=1) / 2
    torch.testing.assert_close(found, (one + other) / 2)
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    torch.testing.assert_close(gradient, 4 * weight.detach())


def test_heads_are_shared_out_whole_whatever_the_run_computes_again():
    heads = new()
    assert critic.shared(heads, Run(steps=1, checkpointing="full"), Parallel(), ALONE) is heads
    before = [each.clone() for each in heads.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, heads.parameters(), strict=True))


def test_flops_count_every_product():
    heads, grid = new(), (4, 4)
    per_token = 48 * 16 + 2 * 9 * 16 * 16 + 16
    assert heads.flops(grid) == 3 * 2 * 16 * per_token
    assert heads.flops((32, 32)) == 3 * 2 * (1024 * (48 * 16 + 9 * 256) + 256 * (9 * 256 + 16))
