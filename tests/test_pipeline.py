"""The pipeline on a tiny model: sizes, seeds, guidance, steps, recipes, and errors before any work."""

import copy
import gc
import weakref
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from recast.config import SAMPLERS, tiny
from recast.context.keeping import Carried
from recast.errors import ConfigError, InputError, OutOfMemory
from recast.flow import schedule
from recast.latents.autoencoder import Autoencoder
from recast.latents.tokens import pack
from recast.options import Options
from recast.pixels.image import Picture, read, read_recipe
from recast.recipe import Recipe
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def model():
    return tiny_pipeline()


def photo(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 48), (61, 47), (200, 33), (33, 200), (301, 299), (16, 16), (5, 9)])
def test_an_edit_has_exactly_the_size_of_its_source(model, size):
    result = model.edit(photo(*size), "red", steps=1, seed=0)
    assert (result.pictures[0].width, result.pictures[0].height) == size


def test_a_recipe_says_which_units_of_a_cpu_made_the_bits(model, monkeypatch):
    recipes = []
    for units in (("AVX2",), ("AVX512", "bf16", "AMX")):
        monkeypatch.setattr("recast.provenance.cpu_units", lambda units=units: units)
        recipes.append(model.edit(photo(), "red", steps=1, seed=0).recipes[0])
    (told,) = recipes[0].differences(recipes[1])
    assert told.startswith("device: 'cpu")
    assert "AVX2'" in told
    assert "AVX512 bf16 AMX'" in told


@pytest.mark.parametrize("asked", ["source", (96, 64)])
def test_a_size_asked_for_changes_the_model_s_grid_and_not_the_result_s(model, asked):
    run = model.start_edit(photo(70, 50), "red", steps=1, seed=0, size=asked)
    *_, step = run
    assert step.tokens.shape[1] == {"source": 5 * 4, (96, 64): 6 * 4}[asked]
    assert (run.result.pictures[0].width, run.result.pictures[0].height) == (70, 50)


def test_the_trained_sizes_are_used_only_when_asked_for(model):
    config = replace(tiny(), trained_sizes=((64, 64), (96, 48)))
    trained = tiny_pipeline()
    trained.config = config
    *_, auto = trained.start_edit(photo(80, 48), "red", steps=1, seed=0)
    *_, stretched = trained.start_edit(photo(80, 48), "red", steps=1, seed=0, size="trained")
    assert auto.tokens.shape[1] == 5 * 3
    assert stretched.tokens.shape[1] == 6 * 3
    with pytest.raises(ConfigError, match="lists no trained sizes"):
        model.edit(photo(), "red", size="trained")


def test_alpha_is_restored(model):
    alpha = photo(64, 48, seed=1)[..., 0]
    result = model.edit(Picture(photo(), alpha), "red", steps=1, seed=0)
    assert np.array_equal(result.pictures[0].alpha, alpha)


def test_seed_seven_of_a_batch_is_seed_seven_alone(model):
    together = model.edit(photo(), "red", steps=2, seed=5, num_images=4)
    alone = model.edit(photo(), "red", steps=2, seed=7)
    assert [r.seed for r in together.recipes] == [5, 6, 7, 8]
    assert np.array_equal(together.pictures[2].rgb, alone.pictures[0].rgb)
    assert not np.array_equal(together.pictures[1].rgb, alone.pictures[0].rgb)


def test_pictures_computed_together_equal_pictures_computed_alone(model):
    (alone,), (batched,) = (
        [list(model.start_generate("red", width=48, height=32, steps=3, seed=5, num_images=3, batch_size=b))[-1:]][0]
        for b in (1, 3)
    )
    torch.testing.assert_close(batched.tokens[2:], alone.tokens, rtol=0, atol=1e-5)


def test_noise_is_the_published_noise(model):
    """Golden values for a CPU generator, shape [1, 16, 128, 128], bf16, flattened."""
    for seed, golden in {
        0: [-1.125, -1.15625, -0.25, -0.43359375, 0.84765625, 0.69140625],
        42: [1.9296875, 1.484375, 0.90234375, -2.109375, 0.6796875, -1.234375],
    }.items():
        drawn = torch.randn((1, 16, 128, 128), generator=torch.Generator().manual_seed(seed), dtype=torch.bfloat16)
        assert drawn.flatten()[:6].tolist() == golden
        assert torch.equal(model._noise(torch.Generator().manual_seed(seed), (64, 64)), pack(drawn).float())


def test_a_run_counts_its_steps_and_ends_with_a_result(model):
    run = model.start_edit(photo(), "red", steps=3, seed=0, num_images=2)
    with pytest.raises(ConfigError, match="not through its steps"):
        _ = run.result
    steps = list(run)
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step.of for step in steps} == {6}
    assert [step.seeds for step in steps] == [(0,)] * 3 + [(1,)] * 3
    assert steps[2].t == steps[5].t == 0
    assert len(run.result.pictures) == 2


def test_stopping_a_run_stops_the_network(model, monkeypatch):
    calls = []
    forward = model.flow.forward
    monkeypatch.setattr(model.flow, "forward", lambda *a: calls.append(1) or forward(*a))
    for step in model.start_edit(photo(), "red", steps=8, seed=0):
        if step.index == 3:
            break
    gc.collect()
    assert len(calls) == 3


def test_a_preview_is_a_picture_of_the_source_s_size_and_the_last_is_the_result(model):
    run = model.start_edit(photo(61, 47), "red", steps=2, seed=0)
    previews = [step.preview()[0] for step in run]
    assert (previews[0].width, previews[0].height) == (61, 47)
    assert np.array_equal(previews[-1].rgb, run.result.pictures[0].rgb)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_gives_the_same_bytes_twice_and_its_own_picture(model, sampler):
    """In four steps: those of dpmpp_2m from 1 and to 0, and the one after the first, are Euler's."""
    first, again = (model.edit(photo(), "red", steps=4, seed=1, sampler=sampler).pictures[0] for _ in range(2))
    assert np.array_equal(first.rgb, again.rgb)
    other = model.edit(photo(), "red", steps=4, seed=1, sampler="euler" if sampler != "euler" else "heun").pictures[0]
    assert not np.array_equal(first.rgb, other.rgb)


def test_times_of_one_s_own_are_walked(model):
    ts = [step.t for step in model.start_edit(photo(), "red", times=[1, 0.7, 0.2, 0], seed=1)]
    assert ts == [0.7, 0.2, 0]


def test_times_are_shifted_by_the_target_s_tokens_alone(model):
    plain = [s.t for s in model.start_edit(photo(), "red", steps=3, seed=0)]
    with_reference = [s.t for s in model.start_edit(photo(), "red", steps=3, seed=0, references=[photo(200, 90)])]
    larger = [s.t for s in model.start_edit(photo(), "red", steps=3, seed=0, size=(128, 96))]
    assert plain == with_reference
    assert larger[0] > plain[0]


def test_references_of_other_sizes_reach_the_picture(model):
    bare, first, second = (
        model.edit(photo(), "red", steps=2, seed=1, references=r).pictures[0].rgb
        for r in ([], [photo(90, 40, seed=3)], [photo(90, 40, seed=4)])
    )
    assert not np.array_equal(bare, first)
    assert not np.array_equal(first, second)


def test_a_named_reference_is_called_by_its_number(model, monkeypatch):
    heard = []
    encode = model.text.encode
    monkeypatch.setattr(model.text, "encode", lambda prompts: heard.extend(prompts) or encode(prompts))
    result = model.edit(
        photo(), "put @logo on @logos, mail a@logo.com", steps=1, seed=0, references={"logo": photo(), "logos": photo()}
    )
    assert heard[0] == "put image 2 on image 3, mail a@logo.com"
    assert result.recipe.prompt == "put @logo on @logos, mail a@logo.com"
    assert [i.name for i in result.recipe.images] == [None, "logo", "logos"]


def test_a_name_may_hold_several_pictures(model, monkeypatch):
    heard = []
    encode = model.text.encode
    monkeypatch.setattr(model.text, "encode", lambda prompts: heard.extend(prompts) or encode(prompts))
    result = model.edit(photo(), "like @host", steps=1, seed=0, references={"host": [photo(seed=1), photo(seed=2)]})
    assert heard[0] == "like image 2 and image 3"
    assert [i.name for i in result.recipe.images] == [None, "host", "host"]


def test_a_name_that_no_reference_has_is_refused_and_a_reference_uncalled_is_reported(model):
    with pytest.raises(InputError, match="@lgoo names no reference; @logo accepted"):
        model.edit(photo(), "put @lgoo there", references={"logo": photo()})
    result = model.edit(photo(), "red, mail a@logo.com", steps=1, references={"logo": photo()})
    assert result.warnings == ("references[logo]: the prompt does not call @logo",)


def test_a_model_of_few_steps_says_what_it_was_not_distilled_for(model, monkeypatch):
    defaults = replace(model.config.defaults, steps=2, guidance=2.5, edit_guidance=None)
    few = replace(model.config, name="turbo", is_few_step=True, defaults=defaults)
    many = model.start_generate("red", steps=5, sampler="heun", true_guidance=2.0, width=32, height=32)
    assert many.request.warnings == []
    monkeypatch.setattr(model, "config", few)
    assert model.start_generate("red", width=32, height=32).request.warnings == []
    assert model.start_edit(photo(), "red", steps=2, sampler="euler", true_guidance=1).request.warnings == []
    result = model.edit(photo(), "red", times=[1, 0], true_guidance=2.0, references={"logo": photo()})
    assert result.warnings == (
        "steps=1: turbo was distilled for steps=2 alone; leave it out",
        "true_guidance=2.0: turbo was distilled for true_guidance=1.0 alone; leave it out",
        "references[logo]: the prompt does not call @logo",
    )
    assert result.recipe.warnings == result.warnings
    other = model.start_generate("red", sampler="renoise", guidance=4.0, width=32, height=32).request.warnings
    assert [each.split(":")[0] for each in other] == ["sampler=renoise", "guidance=4.0"]


@pytest.mark.parametrize("references", ["logo.png", 3])
def test_references_that_are_no_list_are_refused(model, references):
    with pytest.raises(InputError, match="put one in a list"):
        model.edit(photo(), "red", references=references)


def test_a_prompt_that_is_no_string_is_refused(model):
    with pytest.raises(InputError, match="prompt=None"):
        model.start_generate(None)


def test_a_finished_run_keeps_its_result(model):
    run = model.start_edit(photo(), "red", steps=1, seed=0)
    first = run.finish()
    assert list(run) == []
    assert run.finish() is first


def test_a_picture_is_not_lost_when_its_weights_cannot_be_hashed(model, monkeypatch):
    def gone():
        raise FileNotFoundError("flow.safetensors was moved")

    monkeypatch.setattr(model, "checksums", gone)
    result = model.edit(photo(), "red", steps=1, seed=0)
    assert result.recipe.weights == {}
    assert any("was moved" in warning for warning in result.warnings)
    assert result.recipe.warnings == result.warnings


def test_a_copy_does_not_hold_the_pipeline_it_was_made_of():
    """A faster pipeline begins as a copy; the weights of the one that came in may then go."""
    given = tiny_pipeline()
    copied, seen = copy.copy(given), weakref.ref(given)
    del given
    gc.collect()
    assert seen() is None
    assert copied.recalled() == copied.checksums()


def test_the_recipe_says_how_many_pictures_were_computed_together(model):
    result = model.generate("red", width=32, height=32, steps=1, seed=1, num_images=3, batch_size=2)
    assert [recipe.batch_size for recipe in result.recipes] == [2, 2, 1]


def test_renoising_in_a_batch_is_renoising_alone(model):
    """Each picture's own generator draws its fresh noise, in the same order as alone."""
    runs = [
        list(model.start_generate("red", width=32, height=32, steps=3, seed=5, sampler="renoise", **more))
        for more in ({"num_images": 2, "batch_size": 2}, {})
    ]
    torch.testing.assert_close(runs[0][-1].tokens[:1], runs[1][-1].tokens, rtol=0, atol=1e-5)


def test_another_patch_size_works_through_every_choice_of_size():
    """Eight pixels a token: nothing in the pipeline may assume sixteen."""
    small = replace(tiny().autoencoder, ch_mult=(1, 2, 4))
    config = replace(tiny(), autoencoder=small, trained_sizes=((64, 48),))
    base = tiny_pipeline()
    model = type(base)(config, base.flow, Autoencoder(small), base.text)
    for size in ("auto", "source", "trained", (40, 24)):
        picture = model.edit(photo(45, 27), "red", steps=1, seed=0, size=size).pictures[0]
        assert (picture.width, picture.height) == (45, 27)


def test_a_negative_prompt_costs_a_second_evaluation_and_changes_the_picture(model, monkeypatch):
    calls = []
    forward = model.flow.forward
    monkeypatch.setattr(model.flow, "forward", lambda *a: calls.append(1) or forward(*a))
    plain = model.edit(photo(), "red", steps=3, seed=1)
    assert len(calls) == 3
    away = model.edit(photo(), "red", steps=3, seed=1, negative_prompt="blue", true_guidance=3.0)
    assert len(calls) == 9
    assert not np.array_equal(plain.pictures[0].rgb, away.pictures[0].rgb)


def test_the_usual_names_are_accepted(model):
    ours = model.edit(photo(), "red", steps=2, guidance=3.0, true_guidance=2.0, num_images=1, seed=1)
    usual = model.edit(
        photo(), "red", num_inference_steps=2, guidance_scale=3.0, true_cfg_scale=2.0, num_images_per_prompt=1, seed=1
    )
    assert ours.recipe.output_sha256 == usual.recipe.output_sha256


def test_a_cut_prompt_is_reported_in_the_result(model):
    result = model.edit(photo(), "red " * 40, steps=1, seed=0)
    assert any("31 of 160" in warning for warning in result.warnings), result.warnings
    assert result.recipe.warnings == result.warnings


def test_a_recipe_says_everything_and_travels_in_the_file(model, tmp_path):
    result = model.edit(photo(61, 47), "red", steps=2, seed=3, references={"logo": photo(40, 30)})
    for suffix in ("png", "jpg", "webp"):
        path = result.save(tmp_path / f"out.{suffix}")
        recipe = Recipe.from_json(read_recipe(path))
        assert recipe == result.recipe
    assert (recipe.seed, recipe.steps, recipe.width, recipe.height) == (3, 2, 61, 47)
    assert recipe.images[0].sha256 == read(photo(61, 47)).sha256()
    assert set(recipe.versions) >= {"recast", "torch"}
    assert set(recipe.timings_s) == {"encode", "sample", "decode"}
    assert read(tmp_path / "out.png").sha256() == recipe.output_sha256
    assert read_recipe(result.save(tmp_path / "bare.png", with_recipe=False)) is None


def test_a_drawn_seed_is_recorded_and_replays(model):
    drawn = model.generate("red", width=32, height=32, steps=1)
    again = model.generate("red", width=32, height=32, steps=1, seed=drawn.recipe.seed)
    assert drawn.recipe.output_sha256 == again.recipe.output_sha256


def test_fifty_calls_do_not_grow_memory(model):
    process = psutil.Process()
    for i in range(10):
        model.edit(photo(seed=i), f"warm up {i}", steps=1, seed=i)
    gc.collect()
    before, tensors = process.memory_info().rss, _live_tensors()
    for i in range(50):
        model.edit(photo(seed=i), f"call {i % 10}", steps=1, seed=i)
    gc.collect()
    assert _live_tensors() <= tensors + 4 * 10  # the cache of prompts: two tensors a prompt, ten of them new
    assert process.memory_info().rss - before < 16 << 20


def _live_tensors() -> int:
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0: a whole number from 1"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"seed": "7"}, "seed='7'"),
        ({"seed": 2**63 - 1, "num_images": 2}, "seed="),
        ({"guidance": "x"}, "guidance='x': a finite number"),
        ({"guidance": float("nan")}, "guidance=nan"),
        ({"true_guidance": "3"}, "true_guidance='3'"),
        ({"negative_prompt": 3, "true_guidance": 2.0}, "negative_prompt=3"),
        ({"times": 5}, "times=5: a list of numbers"),
        ({"times": [0.5, 0]}, "fall from 1 to 0"),
        ({"size": 5}, "size=5"),
        ({"size": (64.0, 64.0)}, "size="),
        ({"seed": -1}, "seed=-1"),
        ({"sampler": "ddim"}, "euler, heun, ab2, dpmpp_2m or renoise"),
        ({"times": [1, 0.5]}, "fall from 1 to 0"),
        ({"times": [1, 0.5, 0.7, 0]}, "fall from 1 to 0"),
        ({"times": [1, 0], "steps": 3}, "times, steps: both given"),
        ({"steps": 3, "num_inference_steps": 3}, "given twice"),
        ({"stepz": 3}, "stepz: not an option of this call; accepted: .*steps"),
        ({"negative_prompt": "blue"}, "no effect at true_guidance=1"),
        ({"size": "huge"}, "size='huge'"),
        ({"size": (100, 64)}, "100"),
    ],
)
def test_options_that_cannot_work_are_refused_before_the_run(model, options, message):
    with pytest.raises(ConfigError, match=message):
        model.start_edit(photo(), "red", **options)


def test_guidance_for_a_model_that_has_no_embedding_is_refused():
    bare = tiny_pipeline(
        flow=replace(tiny().flow, guidance_embed=False), defaults=replace(tiny().defaults, guidance=None)
    )
    with pytest.raises(ConfigError, match="guidance=3: tiny has no guidance embedding; use true_guidance"):
        bare.generate("red", guidance=3)
    assert bare.generate("red", width=32, height=32, steps=1).recipe.guidance is None


def test_a_model_of_text_alone_does_not_pretend_to_edit():
    with pytest.raises(ConfigError, match="trained to make pictures from text alone"):
        tiny_pipeline(takes_context=False).edit(photo(), "red")


def test_a_width_that_is_no_multiple_is_refused_with_its_neighbours(model):
    with pytest.raises(ConfigError, match=r"width=100.*(96|112)"):
        model.generate("red", width=100, height=64)


def test_a_name_that_is_no_name_is_refused(model):
    with pytest.raises(InputError, match="'my logo' is no name"):
        model.edit(photo(), "red", references={"my logo": photo()})


def test_an_empty_file_is_one_error_that_names_the_reference(model, tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"references\[logo\]"):
        model.edit(photo(), "red", references={"logo": tmp_path / "empty.png"})


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: tried 9e15 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        MemoryError(),
    ],
    ids=["cpu", "cuda", "numpy"],
)
def test_running_out_of_memory_says_what_to_do(model, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(model.flow, "forward", fail)
    with pytest.raises(OutOfMemory, match=r"3 x 4 tokens .* use a smaller size"):
        model.edit(photo(), "red", steps=1)


def test_another_error_of_the_network_stays_itself(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(model.flow, "forward", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        model.edit(photo(), "red", steps=1)


def test_cached_context_works_through_the_whole_pipeline():
    cached = tiny_pipeline(flow=replace(tiny().flow, context_attention="cached"))
    result = cached.edit(photo(), "red", steps=2, seed=0, references=[photo(90, 40)])
    assert result.recipe.context_attention == "cached"
    assert (result.pictures[0].width, result.pictures[0].height) == (64, 48)


def test_large_pictures_go_through_in_bands(monkeypatch):
    import recast.pipeline as module

    model = tiny_pipeline()
    whole = model.edit(photo(96, 96), "red", steps=1, seed=0, size="source").pictures[0].rgb
    monkeypatch.setattr(module, "BAND_ABOVE_PX", 64 * 64)
    monkeypatch.setattr(module, "BAND_ROWS", 32)
    seen = []
    decode = model.autoencoder.decode
    monkeypatch.setattr(model.autoencoder, "decode", lambda z, band=None: seen.append(band) or decode(z, band=band))
    banded = model.edit(photo(96, 96), "red", steps=1, seed=0, size="source").pictures[0].rgb
    assert seen == [32]
    assert np.abs(banded.astype(int) - whole).max() <= 1


def test_a_source_of_which_all_is_carried_is_not_encoded_and_the_picture_is_the_same(monkeypatch):
    """With one token unknown the whole picture is encoded; where that token is what encoding gives, nothing differs."""
    model = tiny_pipeline()
    encoded, encode = [], model.autoencoder.encode
    monkeypatch.setattr(
        model.autoencoder, "encode", lambda x, band=None: encoded.append(tuple(x.shape)) or encode(x, band=band)
    )
    options = {"references": [photo(32, 48)], "steps": 2, "seed": 0}
    fresh = model.edit(photo(), "red", steps=1, seed=0).source_tokens
    tokens = fresh + torch.linspace(0, 1, fresh.shape[1])[:, None]  # the first as it is, the others not
    known = np.ones((3, 4), bool)
    encoded.clear()
    whole = model.edit(photo(), "red", carried=Carried(tokens, known.copy()), **options)
    assert encoded == [(1, 3, 48, 32)], "the reference alone"
    known[0, 0] = False
    most = model.edit(photo(), "red", carried=Carried(tokens, known), **options)
    assert encoded[1:] == [(1, 3, 48, 64), (1, 3, 48, 32)]
    assert torch.equal(whole.source_tokens, most.source_tokens)
    assert np.array_equal(whole.pictures[0].rgb, most.pictures[0].rgb)
    assert not torch.equal(whole.source_tokens, fresh)


def test_a_call_that_names_no_sampler_has_the_model_s_own():
    model = tiny_pipeline(defaults=replace(tiny().defaults, sampler="renoise", steps=3))
    usual, named, euler = (
        model.edit(photo(), "red", seed=0, **asked).recipe
        for asked in ({}, {"sampler": "renoise"}, {"sampler": "euler"})
    )
    assert [each.sampler for each in (usual, named, euler)] == ["renoise", "renoise", "euler"]
    assert usual.output_sha256 == named.output_sha256 != euler.output_sha256
    assert (usual.steps, model.start_generate("red", seed=0).request.sampler) == (3, "renoise")


@pytest.mark.parametrize("tokens", [12, 20, 256])
def test_the_times_of_a_recipe_are_taken_again_at_every_size(tokens):
    """Those of a recipe may begin a rounding below 1, those of a schedule begin at 1."""
    made = schedule.times(4, mu=schedule.resolution_shift(tokens))
    assert made[0] == 1
    for times in (made, [1 - 2**-24, *made[1:]]):
        assert Options(times=times).times == times
    with pytest.raises(ConfigError, match="fall from 1 to 0"):
        Options(times=[0.999, 0.5, 0.0])


def test_options_document_their_defaults():
    assert Options() == Options.of({})
