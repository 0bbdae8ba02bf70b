"""Our autoencoder against diffusers' AutoencoderKL, on shared random weights, fp32, CPU."""

import pytest
import torch
from diffusers import AutoencoderKL

from recast import weights
from recast.config import AutoencoderConfig
from recast.latents.autoencoder import Autoencoder


@pytest.mark.parametrize(("channels", "groups", "blocks"), [((8, 16, 32, 32), 4, 2), ((8, 16), 8, 1)])
def test_encode_and_decode_agree(tmp_path, channels, groups, blocks):
    torch.manual_seed(0)
    theirs = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * len(channels),
        up_block_types=["UpDecoderBlock2D"] * len(channels),
        layers_per_block=blocks,
        latent_channels=16,
        norm_num_groups=groups,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    theirs.save_pretrained(tmp_path / "vae")
    checkpoint = weights.open_checkpoint(tmp_path, "autoencoder")
    assert isinstance(checkpoint.config, AutoencoderConfig)
    assert checkpoint.config.num_groups == groups
    with torch.device("meta"):
        ours = Autoencoder(checkpoint.config)
    weights.load_into(ours, checkpoint)
    pixels = torch.rand(2, 3, 48, 64) * 2 - 1
    with torch.inference_mode():
        mean = theirs.encode(pixels).latent_dist.mode()
        latents = ours.encode(pixels)
        assert (latents - 0.3611 * (mean - 0.1159)).abs().max() <= 2e-5
        expected = theirs.decode(latents / 0.3611 + 0.1159).sample
        assert expected.std() > 0.01
        assert (ours.decode(latents) - expected).abs().max() <= 2e-5
        assert (ours.decode(latents, band=16) - expected).abs().max() <= 2e-5
