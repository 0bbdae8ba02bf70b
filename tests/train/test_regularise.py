"""The posterior, the codebook and the jitter."""

import math

import pytest
import torch

from recast.errors import ConfigError, ShapeError
from recast.train import regularise
from recast.train.regularise import Codebook


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_unit_gaussian_has_no_divergence_and_others_that_of_the_book():
    zero = torch.zeros(2, 4, 3, 3)
    assert regularise.kl(zero, zero) == 0
    assert regularise.kl(zero + 2, zero).item() == pytest.approx(2.0)  # half the square
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(0.3, math.exp(-0.7)), torch.distributions.Normal(0.0, 1.0)
    )
    assert regularise.kl(zero + 0.3, zero - 1.4).item() == pytest.approx(expected.item(), rel=1e-5)


def test_log_variances_are_kept_where_exponentials_are_numbers():
    mean, log_variance = regularise.posterior(torch.cat([torch.ones(1, 2, 1, 1), torch.full((1, 2, 1, 1), 1e4)], dim=1))
    assert (mean == 1).all()
    assert (log_variance == 20).all()
    assert regularise.kl(mean, log_variance).isfinite()
    assert (regularise.posterior(torch.full((1, 2, 1, 1), -1e4))[1] == -30).all()


def test_a_draw_has_the_posteriors_mean_and_spread():
    mean, log_variance = torch.full((1, 1, 300, 300), 2.0), torch.full((1, 1, 300, 300), 2 * math.log(0.5))
    drawn = regularise.sample(mean, log_variance, noise(1, 1, 300, 300))
    assert drawn.mean().item() == pytest.approx(2.0, abs=0.01)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.01)


def test_jitter_is_relative_to_each_examples_own_spread():
    latents = noise(3, 4, 32, 32) * torch.tensor([1.0, 10.0, 1.0])[:, None, None, None]
    latents.requires_grad_()
    made = regularise.jitter(latents, noise(3, 4, 32, 32, seed=1), torch.tensor([0.1, 0.1, 0.0]))
    added = (made - latents).detach().flatten(1).std(dim=1)
    assert added.tolist() == pytest.approx([0.1, 1.0, 0.0], rel=0.05)
    (slope,) = torch.autograd.grad(made.sum(), latents)
    assert torch.equal(slope, torch.ones_like(slope))  # the spread takes none
    with pytest.raises(ShapeError, match="one number an example"):
        regularise.jitter(latents, latents, torch.ones(3, 1))


def test_every_position_gets_its_nearest_code_and_passes_its_gradient_on():
    book, latents = Codebook(16, 3, seed=1), noise(2, 3, 4, 5).requires_grad_()
    made = book(latents)
    apart = (latents[:, None] - book.codes[None, :, :, None, None]).square().sum(2)
    assert torch.equal(made.codes, apart.argmin(1))
    assert torch.allclose(made.latents, book.codes[made.codes].movedim(-1, 1), atol=1e-6)
    slope = noise(2, 3, 4, 5, seed=2)
    (passed,) = torch.autograd.grad((made.latents * slope).sum(), latents)
    assert torch.equal(passed, slope)


def test_the_commitment_weighs_the_term_that_moves_the_encoder():
    """In the legacy order of the two terms it weighs the codebook's instead."""
    latents = noise(2, 3, 4, 5).requires_grad_()
    slopes = {}
    for commitment in (0.25, 1.0):
        book = Codebook(16, 3, follow="loss", commitment=commitment, seed=1)
        made = book(latents)
        slopes[commitment] = torch.autograd.grad(made.loss, [latents, book.codes])
        apart = latents.detach() - book.codes.detach()[made.codes].movedim(-1, 1)
        assert torch.allclose(slopes[commitment][0], commitment * 2 * apart / latents.numel(), atol=1e-7)
        assert made.loss.item() == pytest.approx((1 + commitment) * apart.square().mean().item(), rel=1e-5)
    assert torch.allclose(slopes[0.25][0] * 4, slopes[1.0][0], atol=1e-7)
    assert torch.allclose(slopes[0.25][1], slopes[1.0][1])
    assert slopes[1.0][1].abs().sum() > 0


def test_codes_follow_the_mean_of_what_chose_them():
    book = Codebook(4, 2, decay=0.5, dead_below=0.0)
    with torch.no_grad():
        book.codes.copy_(torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]]))
    centres = torch.tensor([[1.0, 1.0], [9.0, 1.0], [1.0, 9.0], [9.0, 9.0]])
    latents = (centres.repeat(16, 1) + 0.01 * noise(64, 2)).T.reshape(1, 2, 8, 8)
    for _ in range(40):
        book.follow(latents, book(latents).codes)
    assert torch.allclose(book.codes, centres, atol=0.02)
    assert book(latents).perplexity.item() == pytest.approx(4.0, rel=1e-4)
    assert not any(parameter.requires_grad for parameter in book.parameters())


def test_dead_codes_are_revived_until_all_are_used():
    latents = noise(4, 3, 16, 16)
    book, kept = Codebook(32, 3, decay=0.8, seed=3), Codebook(32, 3, decay=0.8, seed=3, dead_below=0.0)
    for each in (book, kept):
        with torch.no_grad():
            each.codes[1:] += 100.0  # out of reach
            each.sums.copy_(each.codes)
    revived = 0
    for _ in range(100):
        revived += book.follow(latents, book(latents).codes)
        assert torch.allclose(book.sums, book.codes * book.counts[:, None], atol=1e-3)  # else the next batch undoes it
        assert kept.follow(latents, kept(latents).codes) == 0
    assert revived > 0
    assert book(latents).perplexity > 20
    assert kept(latents).perplexity < 2
    assert (book(latents).latents - latents).square().mean() < 0.5 * (kept(latents).latents - latents).square().mean()


def test_two_halves_of_a_batch_move_the_book_as_the_whole_does():
    latents = noise(4, 3, 8, 8)
    whole, half = Codebook(8, 3, seed=1), Codebook(8, 3, seed=1)
    other = latents[2:]

    def mean(mine: torch.Tensor) -> torch.Tensor:
        """Over two processes, of which the second has the other half."""
        codes = half(other).codes
        counts = torch.bincount(codes.flatten(), minlength=8).float()
        sums = torch.zeros(8, 3).index_add_(0, codes.flatten(), other.movedim(1, -1).reshape(-1, 3))
        return (mine + torch.cat([counts[:, None], sums], dim=1)) / 2

    halved = lambda x: x / 2  # noqa: E731  # a mean over processes is half of the sum
    whole.follow(latents, whole(latents).codes, halved)
    half.follow(latents[:2], half(latents[:2]).codes, mean)
    assert torch.allclose(whole.codes, half.codes, atol=1e-6)


def test_a_batch_that_is_not_finite_moves_nothing():
    book, latents = Codebook(8, 3), noise(1, 3, 4, 4)
    before = {name: value.clone() for name, value in book.state_dict().items()}
    latents[0, 0, 0, 0] = math.nan
    assert book.follow(latents, book(latents).codes) == 0
    assert all(torch.equal(before[name], value) for name, value in book.state_dict().items())


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="size=1"):
        Codebook(1, 3)
    with pytest.raises(ConfigError, match="follow='none'"):
        Codebook(8, 3, follow="none")
    with pytest.raises(ShapeError, match="3, h, w"):
        Codebook(8, 3)(torch.zeros(1, 4, 2, 2))
