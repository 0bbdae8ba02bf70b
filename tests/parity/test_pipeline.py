"""Whole runs against diffusers' pipelines: the same weights, noise and embeddings, fp32, CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxKontextPipeline, FluxTransformer2DModel
from PIL import Image

from recast import weights
from recast.config import tiny
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import pack
from recast.pipeline import Pipeline
from tests.parity.peer import shifted_scheduler
from tests.tiny import randomise, tiny_text

STEPS, SEED, PROMPT = 8, 7, "make it night"


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[FluxKontextPipeline, Pipeline]:
    """diffusers' Kontext pipeline and ours, on the files that diffusers wrote."""
    folder = tmp_path_factory.mktemp("kontext")
    transformer = FluxTransformer2DModel(
        in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=3,
        joint_attention_dim=24, pooled_projection_dim=24, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    randomise(transformer, 0)
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 32, 32), down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=1, latent_channels=16, norm_num_groups=4,
        scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    scheduler = shifted_scheduler()
    theirs = FluxKontextPipeline(
        scheduler=scheduler, vae=vae, transformer=transformer,
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    )  # fmt: skip
    theirs.set_progress_bar_config(disable=True)
    transformer.save_pretrained(folder / "transformer")
    vae.save_pretrained(folder / "vae")
    parts = weights.open_all(folder, variant="kontext_dev")
    config = replace(tiny(), flow=parts["flow"].config, autoencoder=parts["autoencoder"].config)
    with torch.device("meta"):
        flow, autoencoder = FlowTransformer(config.flow), Autoencoder(config.autoencoder)
    weights.load_into(flow, parts["flow"])
    weights.load_into(autoencoder, parts["autoencoder"])
    return theirs, Pipeline(config, flow, autoencoder, tiny_text())


def run_theirs(pipeline: FluxKontextPipeline, ours: Pipeline, width: int, height: int, **given) -> torch.Tensor:
    """Final packed latents of diffusers' pipeline, from our noise and our encoded prompts."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((1, 16, height // 8, width // 8), generator=generator, dtype=torch.bfloat16)

    def embed(prompt: str, suffix: str = "") -> dict[str, torch.Tensor]:
        text = ours.text.encode([prompt])
        return {f"{suffix}prompt_embeds": text.tokens.clone(), f"{suffix}pooled_prompt_embeds": text.pooled.clone()}

    negative = given.pop("negative", None)
    return pipeline(
        **embed(PROMPT), **(embed(negative, "negative_") if negative is not None else {}),
        width=width, height=height, max_area=width * height, num_inference_steps=STEPS, guidance_scale=2.5,
        latents=pack(noise).float(), output_type="latent", _auto_resize=False, **given,
    ).images  # fmt: skip


def last_tokens(run) -> torch.Tensor:
    *_, step = run
    return step.tokens


def test_an_edit_agrees(both):
    theirs, ours = both
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    expected = run_theirs(theirs, ours, 96, 64, image=Image.fromarray(rgb))
    got = last_tokens(ours.start_edit(rgb, PROMPT, steps=STEPS, seed=SEED, guidance=2.5, size="source"))
    assert expected.std() > 0.1
    assert (got - expected).abs().max() <= 1e-4


def test_an_edit_with_a_negative_prompt_agrees(both):
    theirs, ours = both
    rgb = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    expected = run_theirs(theirs, ours, 48, 48, image=Image.fromarray(rgb), negative="blurry", true_cfg_scale=2.0)
    run = ours.start_edit(
        rgb, PROMPT, steps=STEPS, seed=SEED, guidance=2.5, size="source", negative_prompt="blurry", true_guidance=2.0
    )
    assert (last_tokens(run) - expected).abs().max() <= 1e-4


def test_text_to_image_agrees(both):
    theirs, ours = both
    expected = run_theirs(theirs, ours, 80, 48)
    got = last_tokens(ours.start_generate(PROMPT, width=80, height=48, steps=STEPS, seed=SEED, guidance=2.5))
    assert expected.std() > 0.1
    assert (got - expected).abs().max() <= 1e-4
