"""A diffusers pipeline in a folder becomes a system: no picture dropped, no size changed in silence."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FluxKontextPipeline,
    FluxTransformer2DModel,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from recast.errors import ConfigError, MissingWeights
from recast.quality import systems
from recast.quality.systems.contract import Failed
from tests.parity.peer import shifted_scheduler
from tests.quality.systems.conftest import context, words

LETTERS = [chr(code) for code in range(33, 127)]
WIDTH = 24


def clip() -> tuple[transformers.CLIPTextModel, transformers.CLIPTokenizer]:
    vocabulary = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    config = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, bos_token_id=len(vocabulary) - 2, eos_token_id=len(vocabulary) - 1,
    )  # fmt: skip
    words_of = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = transformers.CLIPTokenizer(vocab=words_of, merges=[], model_max_length=77)
    return transformers.CLIPTextModel(config), tokenizer


def t5() -> tuple[transformers.T5EncoderModel, transformers.T5Tokenizer]:
    special = [(word, 0.0) for word in ("<pad>", "</s>", "<unk>")]
    vocabulary = [*special, ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    config = transformers.T5Config(
        vocab_size=len(vocabulary), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=3,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return transformers.T5EncoderModel(config), transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0)


def autoencoder(channels: int, **more) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=1, latent_channels=channels, norm_num_groups=4,
        **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def kontext(tmp_path_factory):
    """A Kontext pipeline with every part of the published one, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = autoencoder(16, scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False)
    (encoder, tokenizer), (encoder_2, tokenizer_2) = clip(), t5()
    pipeline = FluxKontextPipeline(
        scheduler=shifted_scheduler(), vae=vae, transformer=transformer, text_encoder=encoder, tokenizer=tokenizer,
        text_encoder_2=encoder_2, tokenizer_2=tokenizer_2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("pipelines") / "tiny-kontext"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory):
    """The parts of a Stable Diffusion pipeline, saved as the class that is asked for."""
    torch.manual_seed(0)
    encoder, tokenizer = clip()
    made = {}

    def save(kind: type, channels: int = 4):
        if kind not in made:
            unet = UNet2DConditionModel(
                block_out_channels=(8, 8), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=1, norm_num_groups=4,
                in_channels=channels, cross_attention_dim=WIDTH, attention_head_dim=4, sample_size=4,
            )  # fmt: skip
            scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
            pipeline = kind(
                unet=unet, vae=autoencoder(4), text_encoder=encoder, tokenizer=tokenizer, scheduler=scheduler,
                safety_checker=None, feature_extractor=None, requires_safety_checker=False,
            )  # fmt: skip
            made[kind] = tmp_path_factory.mktemp("pipelines") / kind.__name__
            pipeline.save_pretrained(made[kind])
        return made[kind]

    return save


@pytest.fixture(scope="module")
def editor(kontext):
    return systems.named(
        f"diffusers:{kontext}", steps=2, guidance=2.5, extra={"_auto_resize": False}, device="cpu", dtype="fp32"
    )


def small(*contexts, width=64, height=32, seed=3):
    return words(contexts=contexts, width=width, height=height, seed=seed)


def test_an_edit_is_the_pipelines_own(editor, kontext):
    """Pixel for pixel what its own call gives."""
    made = editor.make(small(context(1, 64, 32)))
    pipeline = FluxKontextPipeline.from_pretrained(kontext)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=small().instruction, image=Image.fromarray(context(1, 64, 32)), width=64, height=32, max_area=64 * 32,
        num_inference_steps=2, guidance_scale=2.5, generator=torch.Generator().manual_seed(3), _auto_resize=False,
    ).images[0]  # fmt: skip
    np.testing.assert_array_equal(made.pixels, np.asarray(expected))
    assert made.pixels.std() > 1
    assert made.pixels.shape == (32, 64, 3)


def test_the_picture_the_words_and_the_seed_decide(editor):
    base = editor.make(small(context(1, 64, 32))).pixels
    np.testing.assert_array_equal(editor.make(small(context(1, 64, 32))).pixels, base)
    assert not np.array_equal(editor.make(small(context(2, 64, 32))).pixels, base)
    assert not np.array_equal(editor.make(small(context(1, 64, 32), seed=4)).pixels, base)
    assert not np.array_equal(editor.make(small()).pixels, base)


def test_a_size_between_whole_tokens_is_rounded_and_recorded(editor):
    made = editor.make(small(width=70, height=30))
    assert made.pixels.shape == (32, 64, 3)
    assert made.detail["asked_size"] == [70, 30]
    assert made.detail["got_size"] == [64, 32]
    assert made.detail["sent"] == {"width": 64, "height": 32, "max_area": 2048}


def test_a_second_picture_is_refused_where_a_list_would_be_a_batch(editor):
    with pytest.raises(Failed, match="FluxKontextPipeline takes one picture; 2 came"):
        editor.make(small(context(1), context(2)))


def test_a_pipeline_that_takes_lists_gets_every_picture_in_order(kontext, monkeypatch):
    system = systems.named(f"diffusers:{kontext}", takes_lists=True, device="cpu")
    given = {}

    def call(self, **arguments):
        given.update(arguments)
        return SimpleNamespace(images=[Image.fromarray(context(3))])

    monkeypatch.setattr(type(system.pipeline), "__call__", call)
    system.make(small(context(1), context(2)))
    assert [np.asarray(picture).tolist() for picture in given["image"]] == [context(1).tolist(), context(2).tolist()]


def test_a_text_pipeline_makes_pictures_and_refuses_to_edit(diffusion):
    system = systems.named(f"diffusers:{diffusion(StableDiffusionPipeline)}", steps=1, device="cpu")
    assert system.make(small()).pixels.shape == (32, 64, 3)
    with pytest.raises(Failed, match="StableDiffusionPipeline makes pictures from words alone; 1 came"):
        system.make(small(context(1)))


def test_an_editing_pipeline_without_a_picture_is_refused(diffusion):
    folder = diffusion(StableDiffusionInstructPix2PixPipeline, 8)
    system = systems.named(f"diffusers:{folder}", steps=2, device="cpu")
    assert system.make(small(context(1, 64, 32))).pixels.shape == (32, 64, 3)
    with pytest.raises(Failed, match="changes pictures; none came"):
        system.make(small())


def test_a_pipeline_that_needs_a_mask_is_refused_when_it_is_named(diffusion):
    with pytest.raises(ConfigError, match="StableDiffusionInpaintPipeline needs mask_image"):
        systems.named(f"diffusers:{diffusion(StableDiffusionInpaintPipeline, 9)}", device="cpu")


def test_an_argument_the_pipeline_lacks_is_refused_with_those_it_has(kontext):
    with pytest.raises(ConfigError, match=r"strength: not to be set for FluxKontextPipeline; accepted: .*max_area"):
        systems.named(f"diffusers:{kontext}", extra={"strength": 0.5}, device="cpu")


def test_what_the_pipeline_itself_refuses_is_a_failure_of_the_request(kontext):
    system = systems.named(f"diffusers:{kontext}", steps=1, extra={"max_sequence_length": 4096}, device="cpu")
    with pytest.raises(Failed, match=r"ValueError: .*max_sequence_length"):
        system.make(small())


def test_a_refusing_safety_checker_is_blocked(diffusion, monkeypatch):
    system = systems.named(f"diffusers:{diffusion(StableDiffusionPipeline)}", steps=1, device="cpu")
    black = torch.zeros(1, 3, 32, 64)
    monkeypatch.setattr(system.pipeline, "run_safety_checker", lambda *_: (black, [True]))
    with pytest.raises(Failed) as caught:
        system.make(small())
    assert caught.value.status == "blocked"


def test_the_description_names_the_files_by_their_hash(editor, kontext, tmp_path):
    told = editor.describe()
    json.dumps(told)
    assert told["pipeline"] == "FluxKontextPipeline"
    assert told["arguments"] == {"num_inference_steps": 2, "guidance_scale": 2.5, "_auto_resize": False}
    other = shutil.copytree(kontext, tmp_path / "other")
    same = systems.named(f"diffusers:{other}", device="cpu").describe()["files"]
    assert same == told["files"]
    scheduler = other / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("1.15", "1.25"))
    assert systems.named(f"diffusers:{other}", device="cpu").describe()["files"] != same


def test_it_costs_nothing_and_works_alone(editor):
    assert (editor.price_usd(small()), editor.concurrency, editor.name) == (0.0, 1, "tiny-kontext")


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    with pytest.raises(MissingWeights, match=r"no model_index\.json"):
        systems.named(f"diffusers:{tmp_path}")


def test_a_class_that_this_diffusers_lacks_is_a_config_error(kontext, tmp_path):
    other = shutil.copytree(kontext, tmp_path / "other")
    index = other / "model_index.json"
    index.write_text(index.read_text().replace("FluxKontextPipeline", "TomorrowPipeline"))
    with pytest.raises(ConfigError, match="TomorrowPipeline"):
        systems.named(f"diffusers:{other}")
