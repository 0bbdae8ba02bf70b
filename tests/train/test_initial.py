"""A fresh transformer: nothing flows yet, everything can learn."""

import torch

from recast.train.initial import initialise
from tests.tiny import tiny_flow


def test_fresh_weights_are_drawn_by_seed_and_name_and_differ_from_each_other():
    one, two, other = (initialise(tiny_flow(seed), at) for seed, at in ((0, 3), (1, 3), (0, 4)))
    drawn = {n: p for n, p in one.named_parameters() if p.ndim == 2 and float(p.abs().max()) > 0}
    assert all(torch.equal(p, dict(two.named_parameters())[n]) for n, p in one.named_parameters())
    assert all(not torch.equal(p, dict(other.named_parameters())[n]) for n, p in drawn.items())
    assert len({float(p[0, 0]) for p in drawn.values()}) == len(drawn)
    deeper = initialise(tiny_flow(depth_single_blocks=4), 3)
    assert torch.equal(deeper.single_blocks[1].linear1.weight, one.single_blocks[1].linear1.weight)


def test_every_block_passes_its_input_on_and_the_velocity_is_zero():
    flow = initialise(tiny_flow(), 0)
    generator = torch.Generator().manual_seed(0)
    text, vector = torch.randn(1, 4, 48, generator=generator), torch.randn(1, 48, generator=generator)
    image = torch.randn(1, 5, 48, generator=generator)
    rotary = torch.ones(1, 1, 9, 8, dtype=torch.complex64)
    same_text, same_image = flow.double_blocks[0](text, image, vector, rotary)
    assert torch.equal(same_text, text)
    assert torch.equal(same_image, image)
    assert float(flow.final_layer(image, vector).abs().max()) == 0
    scale = flow.single_blocks[0].linear1.weight.std()
    assert 0.5 < float(scale) / (2 / (48 + 48 * 3 + 192)) ** 0.5 < 2
