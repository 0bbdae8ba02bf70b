"""The editor: any generator, and all that was not asked for left as it was."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from recast.config import tiny
from recast.errors import Cancelled, ConfigError, GateFailed, InputError
from recast.pixels.image import Picture, read, read_recipe
from recast.recipe import Ingredient, Recipe
from recast.retouch.editor import Edited, Editor
from recast.retouch.original import Original, read_original, write_original
from recast.run import Result
from tests.tiny import tiny_pipeline

RED = (200, 30, 40)


def photo(width: int = 320, height: int = 240) -> np.ndarray:
    return skimage.data.astronaut()[:height, :width].copy()


class Painter:
    """A generator of the bare protocol: paints rectangles, drifts by a level, and answers in whatever size it likes."""

    def __init__(self, *boxes, drift=1, size=None, everywhere=False):
        self.boxes, self.drift, self.size, self.everywhere = boxes, drift, size, everywhere
        self.seen = []

    def generate(self, prompt, **options):
        return self._result([np.zeros((16, 16, 3), np.uint8)], [None])

    def edit(self, image, prompt, **options):
        picture = read(image)
        self.seen.append((picture, options))
        rgb = (picture.rgb.astype(int) + self.drift).clip(0, 255).astype(np.uint8)
        if self.everywhere:
            rgb = np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint8)
        for left, top, right, bottom in self.boxes:
            rgb[top:bottom, left:right] = RED
        if self.size:
            rgb = np.asarray(Picture(rgb).to_pil().resize(self.size))
        seeds = range(options.get("num_images", 1))
        return self._result([rgb for _ in seeds], [picture for _ in seeds])

    def _result(self, made, sources):
        pictures = [Picture(rgb) for rgb in made]
        recipes = [
            Recipe(
                task="edit", prompt="x", seed=seed, times=(1, 0), sampler="euler", guidance=None, true_guidance=1.0,
                width=picture.width, height=picture.height, model="painter", weights={}, device="cpu", dtype="fp32",
                threads=1, output_sha256=picture.sha256(),
                images=() if source is None else (
                    Ingredient(sha256=source.sha256(), width=source.width, height=source.height, fit={}),
                ),
            )
            for seed, (picture, source) in enumerate(zip(pictures, sources, strict=True))
        ]  # fmt: skip
        return Result(tuple(pictures), tuple(recipes))


def apart(result, source) -> np.ndarray:
    return (np.asarray(result) != np.asarray(source)).any(-1)


def is_red(pixels) -> bool:
    """Within what the correction of a drift of one level may move."""
    return bool((np.abs(pixels.astype(int) - RED) <= 3).all())


def test_only_what_was_painted_differs_and_the_certificate_says_so():
    source = photo()
    result = Editor(Painter((100, 80, 160, 140))).edit(source, "a red square")
    assert isinstance(result, Edited)
    made = result.edits[0]
    assert made.verdict == "local"
    assert not apart(result.pictures[0].rgb, source)[~made.support].any()
    assert is_red(result.pictures[0].rgb[90:130, 110:150])
    assert made.support.mean() < 0.15
    assert json.loads(result.certificate())["preserved"] == int((~made.support).sum())
    assert np.array_equal(result.raws[0].rgb[0, 0], source[0, 0] + 1)


def test_the_result_has_the_source_s_size_whatever_the_generator_s():
    source = photo()
    result = Editor(Painter((100, 80, 160, 140), size=(480, 360))).edit(source, "a red square")
    assert (result.pictures[0].width, result.pictures[0].height) == (320, 240)
    assert (result.raws[0].width, result.raws[0].height) == (480, 360)
    assert not apart(result.pictures[0].rgb, source)[~result.edits[0].support].any()


def test_sixteen_bits_stay_sixteen_bits(tmp_path):
    deep = Original(photo().astype(np.uint16) * 257 + 77)
    result = Editor(Painter((100, 80, 160, 140))).edit(deep, "a red square")
    path = result.save(tmp_path / "deep.png")
    back = read_original(path)
    assert back.depth == 16
    assert np.array_equal(back.samples[~result.edits[0].support], deep.samples[~result.edits[0].support])
    assert read(path).sha256() == result.recipe.output_sha256 == result.pictures[0].sha256()


def test_off_is_what_the_generator_made():
    painter = Painter((100, 80, 160, 140))
    result = Editor(painter, preserve="off").edit(photo(), "x")
    assert np.array_equal(result.pictures[0].rgb, painter.edit(photo(), "x").pictures[0].rgb)
    assert result.edits == ()
    assert result.recipe.preserving.mode == "off"


def test_a_whole_new_picture_is_handed_out_with_a_warning_and_refused_when_strict():
    painter = Painter(everywhere=True)
    result = Editor(painter).edit(photo(), "make it noise")
    assert result.edits[0].verdict in ("global", "reframed")
    assert result.certificate() is None
    assert any("not merged, so every pixel may differ" in note for note in result.warnings)
    assert result.recipe.warnings == result.warnings
    for options in ({}, {"boxes": [(0, 0, 50, 50)]}):
        with pytest.raises(GateFailed, match=r"global|reframed"):
            Editor(painter).edit(photo(), "make it noise", preserve="strict", **options)


def test_nothing_changed_is_said():
    result = Editor(Painter(drift=0)).edit(photo(), "nothing")
    assert np.array_equal(result.pictures[0].rgb, photo())
    assert any("nothing changed" in note for note in result.warnings)


def test_a_region_outside_the_box_is_left_out_and_said():
    source = photo()
    result = Editor(Painter((20, 20, 60, 60), (200, 150, 260, 200))).edit(source, "x", boxes=[(180, 130, 280, 220)])
    assert not apart(result.pictures[0].rgb, source)[:100, :100].any()
    assert is_red(result.pictures[0].rgb[170, 230])
    assert any("1 of 2 changed regions lie outside" in note for note in result.warnings)
    missed = Editor(Painter((20, 20, 60, 60))).edit(source, "x", boxes=[(180, 130, 280, 220)])
    assert np.array_equal(missed.pictures[0].rgb, source)
    assert any("nothing changed where it was asked for" in note for note in missed.warnings)


def test_strict_cuts_a_region_at_the_mask_and_auto_says_how_far_it_goes_beyond():
    source, mask = photo(), np.zeros((240, 320), np.float32)
    mask[80:140, 100:130] = 1
    whole = Editor(Painter((100, 80, 160, 140))).edit(source, "x", mask=mask)
    beyond = whole.edits[0].support[mask == 0].sum()
    assert beyond > 1800  # the other half of what was painted
    assert f"{beyond:,} pixels outside mask and boxes may differ" in whole.warnings[-1]
    result = Editor(Painter((100, 80, 160, 140))).edit(source, "x", mask=mask, preserve="strict")
    assert not apart(result.pictures[0].rgb, source)[mask == 0].any()
    assert is_red(result.pictures[0].rgb[110, 115])
    assert not any("outside mask and boxes" in note for note in result.warnings)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"preserve": "always"}, ConfigError, "auto, strict, off accepted"),
        ({"mask": np.zeros((240, 320), np.float32)}, InputError, "mask: dark everywhere"),
        ({"mask": np.ones((24, 32), np.float32)}, InputError, "320x240 accepted"),
        ({"boxes": [(0, 0, 999, 10)]}, InputError, "boxes"),
        ({"context": "crop"}, ConfigError, "context='crop'"),
        ({"context": "half"}, ConfigError, "auto, whole, crop"),
        ({"preserve": "off", "boxes": [(0, 0, 9, 9)]}, ConfigError, "this generator takes none"),
    ],
)
def test_what_cannot_be_is_refused_before_the_generator_is_asked(options, error, said):
    painter = Painter()
    with pytest.raises(error, match=said):
        Editor(painter).start_edit(photo(), "x", **options)
    assert painter.seen == []


def test_every_picture_of_several_is_merged():
    source = photo()
    result = Editor(Painter((100, 80, 160, 140))).edit(source, "x", num_images=3)
    assert len(result.edits) == len(result.pictures) == len(result.recipes) == 3
    assert [recipe.seed for recipe in result.recipes] == [0, 1, 2]


class Moody(Painter):
    """Paints noise for some of the seeds."""

    def __init__(self, *boxes, noisy):
        super().__init__(*boxes)
        self.noisy = noisy

    def _result(self, made, sources):
        noise = np.random.default_rng(0).integers(0, 256, made[0].shape, dtype=np.uint8)
        return super()._result([noise if seed in self.noisy else rgb for seed, rgb in enumerate(made)], sources)


def test_of_several_strict_pictures_those_that_can_be_kept_are_handed_out():
    editor = Editor(Moody((100, 80, 160, 140), noisy={0, 2}), preserve="strict")
    result = editor.edit(photo(), "x", num_images=4)
    assert [recipe.seed for recipe in result.recipes] == [1, 3]
    assert len(result.pictures) == len(result.edits) == len(result.raws) == 2
    assert list(result.failures) == [0, 2]
    assert [note.partition(": preserve")[0] for note in result.warnings if "not delivered" in note] == [
        "not delivered: seed 0", "not delivered: seed 2"
    ]  # fmt: skip
    assert is_red(result.pictures[0].rgb[110, 130])
    with pytest.raises(GateFailed, match=r"seed 0: .*; seed 1: "):
        Editor(Moody(noisy={0, 1}), preserve="strict").edit(photo(), "x", num_images=2)


def test_regions_can_be_left_out_by_their_ids_and_the_recipe_says_which():
    editor, source = Editor(Painter((20, 20, 60, 60), (100, 80, 160, 140))), photo()
    result = editor.edit(source, "x", rejected=[2])
    assert [region.is_accepted for region in result.edits[0].regions] == [True, False]
    assert not apart(result.pictures[0].rgb, source)[:, 80:].any()
    assert is_red(result.pictures[0].rgb[40, 40])
    assert result.recipe.preserving.rejected == (2,)
    assert "regions: 2 of 2 left out by choice" in result.warnings
    both = editor.edit(source, "x", boxes=[(10, 10, 70, 70)], rejected=[])
    assert is_red(both.pictures[0].rgb[110, 130]), "what the merge by itself leaves out is taken too"
    gone = editor.edit(source, "x", rejected=[1, 7])
    assert any(note.startswith("rejected: of 2 regions none is 7") for note in gone.warnings)
    unmerged = Editor(Painter(everywhere=True)).edit(source, "x", rejected=[1])
    assert unmerged.certificate() is None
    assert apart(unmerged.pictures[0].rgb, source).mean() > 0.9, "the edit as it is, not the source"
    assert any(note.startswith("rejected: of 0 regions") for note in unmerged.warnings)
    for options in ({"rejected": [0]}, {"rejected": ["1"]}, {"rejected": [1], "preserve": "off"},
                    {"rejected": [1], "num_images": 2}):  # fmt: skip
        with pytest.raises(ConfigError, match="rejected"):
            editor.edit(source, "x", **options)


def test_the_recipe_says_how_the_rest_was_kept(tmp_path):
    source = photo()
    result = Editor(Painter((100, 80, 160, 140))).edit(source, "x", boxes=[(90, 70, 170, 150)], preserve="strict")
    path = result.save(tmp_path / "out.png")
    recipe = Recipe.from_json(read_recipe(path))
    assert recipe == result.recipe
    assert (recipe.preserving.mode, recipe.preserving.boxes) == ("strict", ((90, 70, 170, 150),))
    assert recipe.images[0].sha256 == read(source).sha256()
    assert recipe.output_sha256 == read(path).sha256()
    assert "merge" in recipe.timings_s


def test_a_source_looked_at_warns_of_its_16_bits_as_one_read_does(tmp_path):
    path = tmp_path / "deep.png"
    write_original(Original(photo().astype(np.uint16) * 257), path)
    editor = Editor(Painter((100, 80, 160, 140)), preserve="off")
    assert warned_of(editor, editor.look_at(path)) == warned_of(editor, path) == ("16 bits per channel reduced to 8",)


def warned_of(editor, image):
    """The warnings of the picture that the generator gets."""
    seen = []
    real = type(editor.generator).edit
    editor.generator.edit = lambda source, *a, **k: seen.append(source) or real(editor.generator, source, *a, **k)
    editor.edit(image, "x")
    return seen[0].warnings


def test_a_lossy_file_carries_no_certificate_and_says_so(tmp_path):
    result = Editor(Painter((100, 80, 160, 140))).edit(photo(), "x")
    assert b"recast.certificate" in result.save(tmp_path / "out.png").read_bytes()
    with pytest.warns(UserWarning, match="the certificate does not hold"):
        path = result.save(tmp_path / "out.jpg")
    assert b"recast-certificate" not in path.read_bytes()


def test_a_forecast_that_cannot_be_made_is_said():
    result = Editor(Painter((100, 80, 160, 140))).edit(photo(), "x", on_forecast=lambda forecast: False)
    assert any("forecast: none was made" in note for note in result.warnings)


def test_words_alone_go_to_the_generator():
    assert Editor(Painter()).generate("x").pictures[0].width == 16


# on the pipeline


@pytest.fixture(scope="module")
def model():
    return tiny_pipeline(defaults=replace(tiny().defaults, max_tokens=400))


def small_mask(height: int = 96, width: int = 128) -> np.ndarray:
    mask = np.zeros((height, width), np.float32)
    mask[30:50, 40:60] = 1
    return mask


def test_the_sampler_keeps_the_source_s_tokens_where_the_mask_says(model):
    result = Editor(model).edit(photo(128, 96), "x", mask=small_mask(), steps=3, seed=0)
    tokens, source = result.tokens[0].reshape(6, 8, -1), result.source_tokens.reshape(6, 8, -1)
    same = (tokens == source).all(-1).numpy()
    expected = np.ones((6, 8), bool)
    expected[0:5, 1:5] = False  # rows 30..49 are tokens 1 to 3, columns 40..59 tokens 2 and 3; and one more around
    assert np.array_equal(same, expected)


def test_boxes_bind_the_sampler_when_strict_and_only_then(model, monkeypatch):
    held = []
    start = type(model).start_edit
    monkeypatch.setattr(
        type(model), "start_edit", lambda self, *a, mask=None, **o: held.append(mask) or start(self, *a, mask=mask, **o)
    )
    for mode in ("auto", "strict"):
        run = Editor(_signed(model)).start_edit(photo(128, 96), "x", boxes=[(40, 30, 60, 50)], preserve=mode, steps=1)
        assert run.request.preserving.boxes == ((40, 30, 60, 50),)
    assert held[0] is None
    assert np.array_equal(held[1], small_mask())


def _signed(model):
    """The model, whose start_edit is a stand-in with another signature, as something that takes masks."""

    class Known:
        config = model.config

        def start_edit(self, image, prompt, *, mask=None, carried=None, **options):
            return model.start_edit(image, prompt, mask=mask, **options)

    return Known()


def test_a_forecast_comes_a_third_of_the_way_for_each_picture(model):
    told, at = [], []
    run = Editor(model).start_edit(
        photo(128, 96), "x", steps=7, seed=4, num_images=2, on_forecast=told.append, preserve="off"
    )
    for step in run:
        at.append((step.index, len(told)))
    assert [(one.seed, one.step, one.of) for one in told] == [(4, 3, 14), (5, 10, 14)]
    assert (3, 0) in at
    assert (4, 1) in at
    assert told[0].mask.shape == (96, 128)


def test_a_forecast_can_stop_the_run_or_narrow_it(model):
    with pytest.raises(Cancelled, match="seed 4: stopped at its forecast, step 2 of 4"):
        Editor(model).edit(photo(128, 96), "x", steps=4, seed=4, on_forecast=lambda forecast: False)
    result = Editor(model).edit(photo(128, 96), "x", steps=4, seed=4, on_forecast=lambda forecast: small_mask())
    same = (result.tokens[0] == result.source_tokens).all(-1).reshape(6, 8).numpy()
    assert same[5].all()
    assert not same[2, 2]
    assert result.recipe.preserving.narrowed is not None
    free = Editor(model).edit(photo(128, 96), "x", steps=4, seed=4)
    assert not (free.tokens[0] == free.source_tokens).all(-1).any()
    assert free.recipe.preserving.narrowed is None


def test_a_forecast_is_answered_by_a_mask_a_truth_value_or_nothing(model):
    source = photo(128, 96)
    with pytest.raises(Cancelled):
        Editor(model).edit(source, "x", steps=4, seed=4, on_forecast=lambda forecast: forecast.mask.all() & False)
    with pytest.raises(InputError, match="on_forecast: 'stop' came back"):
        Editor(model).edit(source, "x", steps=4, seed=4, on_forecast=lambda forecast: "stop")
    with pytest.raises(ConfigError, match="narrow: the last step is done"):
        Editor(model).edit(source, "x", steps=1, seed=4, on_forecast=lambda forecast: small_mask())


def test_what_else_a_generator_has_the_editor_has(model):
    editor = Editor(model)
    assert (editor.config, editor.checksums(), editor.adapters) == (model.config, model.checksums(), model.adapters)
    assert (editor.device, editor.dtype, editor.autoencoder) == (model.device, model.dtype, model.autoencoder)
    assert copy.copy(editor).generator is model
    assert not hasattr(Editor(Painter()), "config")


def test_what_the_autoencoder_loses_is_given_back_before_the_merge(model):
    """The autoencoder here is random: without its loss given back nothing of the source can be told again."""
    source, far = photo(128, 96), np.s_[80:, 80:]  # tokens that the mask keeps
    errors = []
    for gives_back, note in ((True, "added back where the edit left the source alone"), (False, "switched off")):
        asked = {"mask": small_mask(), "steps": 2, "seed": 0}
        made = Editor(model, gives_back=gives_back).edit(source, "x", **asked).edits[0]
        switched = Editor(model, gives_back=not gives_back).edit(source, "x", **asked, gives_back=gives_back)
        assert switched.recipe.preserving.gives_back == gives_back
        assert np.array_equal(switched.edits[0].edited.samples, made.edited.samples)
        assert made.report["residual"] == note
        errors.append(np.abs(made.edited.samples.astype(int) - source)[far].mean())
    assert errors[0] < 8  # the decoder looks at the whole picture, so what changed shows faintly everywhere
    assert errors[1] > 30


def test_a_crop_is_edited_at_its_own_size_and_the_rest_of_a_large_picture_stays(model):
    source = np.tile(skimage.data.astronaut(), (1, 2, 1))  # 1024 x 512: 2048 tokens of at most 400
    box = (300, 200, 340, 240)
    run = Editor(model).start_edit(source, "x @logo", boxes=[box], steps=1, seed=0, references={"logo": photo(64, 64)})
    assert [one.width for one in run.request.pictures] == [1024, 64]
    result = run.finish()
    left, top, right, bottom = result.recipe.preserving.crop
    assert left <= 300 - 64
    assert right >= 340 + 64
    assert result.raws[0].width == right - left < 400
    outside = np.ones((512, 1024), bool)
    outside[top:bottom, left:right] = False
    assert not apart(result.pictures[0].rgb, source)[outside].any()
    assert [one.name for one in result.recipe.images] == [None, "logo"]
    assert any("was edited at its own size" in note for note in result.warnings)
    again = Editor(model).edit(
        source,
        "x @logo",
        boxes=[box],
        steps=1,
        seed=0,
        references={"logo": photo(64, 64)},
        context=result.recipe.preserving.crop,
    )
    assert again.recipe.output_sha256 == result.recipe.output_sha256
    whole = Editor(model).start_edit(source, "x", boxes=[box], steps=1, seed=0, context="whole")
    assert whole.request.preserving.crop is None
