"""Changes of pictures before a discriminator looks."""

import pytest
import torch

from recast.errors import ShapeError
from recast.train.distill.augment import DRAWS, KINDS, augmented

PIXELS = torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def drawn(**at: float) -> torch.Tensor:
    """Numbers that change nothing but what is named."""
    names = ("brightness", "saturation", "contrast", "down", "right", "row", "column")
    return torch.tensor([[at.get(name, 0.5) for name in names]] * 3)


def test_nothing_is_changed_that_is_not_asked_for():
    assert augmented(PIXELS, drawn(brightness=0.9), ()) is PIXELS
    torch.testing.assert_close(augmented(PIXELS, drawn(), ("colour", "translation")), PIXELS)
    with pytest.raises(ShapeError, match="7 numbers a picture"):
        augmented(PIXELS, torch.zeros(3, 2), KINDS)
    assert drawn().shape == (3, DRAWS)


def test_colours_move_by_brightness_saturation_and_contrast():
    torch.testing.assert_close(augmented(PIXELS, drawn(brightness=0.75), ("colour",)), PIXELS + 0.25)
    grey = augmented(PIXELS, drawn(saturation=0.0), ("colour",))
    torch.testing.assert_close(grey, PIXELS.mean(dim=1, keepdim=True).expand_as(PIXELS))
    flat = augmented(PIXELS, drawn(contrast=0.0), ("colour",))
    level = PIXELS.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(flat - level, (PIXELS - level) / 2)


def test_a_picture_moves_by_whole_pixels_and_leaves_grey_behind():
    moved = augmented(PIXELS, drawn(down=0.999, right=0.0), ("translation",))
    assert torch.equal(moved[:, :, :-2, 3:], PIXELS[:, :, 2:, :-3])
    assert not moved[:, :, -2:].any()
    assert not moved[:, :, :, :3].any()


def test_a_hole_is_half_as_high_and_wide_as_the_picture():
    cut = augmented(PIXELS, drawn(), ("cutout",))
    hole = (cut == 0).all(dim=1)
    assert hole[0].any(dim=1).sum() == 9  # a middle and four pixels on either side
    assert hole[0].any(dim=0).sum() == 13
    assert torch.equal(cut[~hole[:, None].expand_as(cut)], PIXELS[~hole[:, None].expand_as(cut)])
    corner = augmented(PIXELS, drawn(row=0.0, column=0.0), ("cutout",))
    assert (corner == 0).all(dim=1)[0].sum() == 5 * 7


def test_gradients_come_back_to_pixels_that_are_shown():
    pixels = PIXELS.clone().requires_grad_()
    augmented(pixels, torch.rand(3, DRAWS, generator=torch.Generator().manual_seed(1)), KINDS).square().sum().backward()
    assert pixels.grad is not None
    assert (pixels.grad.abs().flatten(1).max(dim=1).values > 0).all()
