"""Prompts become the text the published encoders make of them, nothing is lost in silence, and no file is trusted."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from recast.config import TextConfig, nano
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import ByteT5, byte_ids
from recast.context.text_files import _Weights, load_byte_t5, load_clip_t5
from recast.errors import ConfigError, InputError, MissingWeights, WeightsError
from recast.nano import NANO
from tests.published_text import CLIP_JSON, LETTERS, T5_JSON, random_weights, write_diffusers_text, write_json

CONFIG = TextConfig(max_length=64)  # of 77 for CLIP: so that each of the two can be the one that cuts
PROMPTS = ["", "A red house, by the sea #! at night!", "ﬁre  ½ in 日本", LETTERS]


def small_byte_t5(max_length=32, **options):
    torch.manual_seed(0)
    config = T5Config(vocab_size=259, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3)
    return ByteT5(T5Encoder(config), max_length, **options)


def count_calls(network):
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    return calls


# The byte encoder.


def test_byte_ids_are_bytes_plus_three_then_the_end_then_padding():
    assert byte_ids("aé", 8) == ([100, 198, 172, 1, 0, 0, 0, 0], ())


def test_byte_encoder_reads_padding_and_leaves_it_out_of_the_pooled_vector():
    encoder = small_byte_t5()
    text = encoder.encode(["hat"])
    ids = torch.tensor([byte_ids("hat", 32)[0]])
    with torch.no_grad():
        expected = encoder.network(ids)
    assert_close(text.tokens, expected, atol=0, rtol=0)
    assert_close(text.pooled, expected[:, :4].mean(1))
    with torch.no_grad():
        assert not torch.allclose(text.tokens[:, :4], encoder.network(ids[:, :4]), atol=1e-3)


def test_a_prompt_of_the_full_length_is_whole_and_one_byte_more_is_reported():
    assert byte_ids("x" * 31, 32)[1] == ()
    ids, warnings = byte_ids("x" * 30 + "yz", 32)
    assert ids == [ord("x") + 3] * 30 + [ord("y") + 3, 1]
    assert warnings == ("prompt: the encoder read 31 of 32 bytes; left out from 'z' on; shorten the prompt",)


def test_a_cut_inside_a_character_leaves_the_whole_character_out():
    ids, (warning,) = byte_ids("é" * 40, 32)  # 31 bytes of room: 15 characters and a half
    assert bytes(i - 3 for i in ids if i > 2).decode() == "é" * 15
    assert ids[30:] == [1, 0]
    assert "read 30 of 80 bytes" in warning


def test_every_cut_of_a_batch_is_reported_once():
    text = small_byte_t5(8).encode(["short", "one long prompt", "another long prompt", "one long prompt"])
    assert [warning.split("'")[1] for warning in text.warnings] == ["g prompt", " long prompt"]


# The cache.


def test_a_known_prompt_does_not_run_the_network_and_gives_the_same_bits():
    encoder = small_byte_t5(8)
    calls = count_calls(encoder.network)
    first = encoder.encode(["a", "a long prompt"])
    again = encoder.encode(["a long prompt"])
    assert len(calls) == 2
    assert torch.equal(again.tokens, first.tokens[1:])
    assert torch.equal(again.pooled, first.pooled[1:])
    assert again.warnings == first.warnings != ()


def test_an_encoding_does_not_depend_on_the_rest_of_the_batch():
    alone = small_byte_t5().encode(["a"])
    among = small_byte_t5().encode(["b", "a", "something else"])
    assert torch.equal(alone.tokens[0], among.tokens[1])
    assert torch.equal(alone.pooled[0], among.pooled[1])


def test_the_cache_drops_the_prompt_unused_for_longest():
    encoder = small_byte_t5(cache_entries=2)
    for prompt in ("a", "b", "a", "c"):
        encoder.encode([prompt])
    assert [prompt for prompt in "abc" if encoder.is_cached(prompt)] == ["a", "c"]


def test_a_cache_of_no_entries_follows_weights_that_change():
    encoder = small_byte_t5(cache_entries=0)
    before = encoder.encode(["a"]).tokens
    encoder.network.shared.weight.mul_(2)
    assert not torch.allclose(encoder.encode(["a"]).tokens, before)


def test_changing_a_result_does_not_change_the_next_one():
    encoder = small_byte_t5()
    text = encoder.encode(["a"])
    expected = text.tokens.clone()
    text.tokens.zero_()
    assert torch.equal(encoder.encode(["a"]).tokens, expected)


def test_the_cache_outlives_a_move_and_results_follow_the_device():
    encoder = small_byte_t5()
    encoder.encode(["a"])
    assert encoder.to("meta") is encoder
    text = encoder.encode(["a"])
    assert (encoder.device.type, text.tokens.device.type, text.pooled.device.type) == ("meta",) * 3


@pytest.mark.parametrize("prompts", ["a string", [], [3], ["half a pair \ud83d"]])
def test_what_is_no_list_of_texts_is_refused(prompts):
    with pytest.raises(InputError, match="accepted"):
        small_byte_t5().encode(prompts)


# Loading the byte encoder.


@pytest.fixture
def nano_copy(tmp_path):
    shutil.copytree(NANO / "text_encoder", tmp_path / "text_encoder", copy_function=shutil.copyfile)
    return tmp_path


def test_nano_encoder_loads_in_the_dtype_asked_for():
    encoder = load_byte_t5(NANO, nano().text, "cpu", torch.bfloat16)
    text = encoder.encode(["", "x"])
    assert (encoder.width, encoder.dtype, encoder.device) == (192, torch.bfloat16, torch.device("cpu"))
    assert (text.tokens.shape, text.pooled.shape) == ((2, 144, 192), (2, 192))
    assert text.tokens.dtype == text.pooled.dtype == torch.bfloat16


def test_a_file_is_mapped_once_however_many_tensors_it_has():
    """Each mapping's pages count as memory taken, again and again: 62 MiB of a file of 3.5."""
    encoder = load_byte_t5(NANO, nano().text, "cpu", torch.bfloat16)  # as stored: nothing is copied
    places = [weight.data_ptr() for weight in encoder.network.parameters()]
    assert max(places) - min(places) < (NANO / "text_encoder" / "model.safetensors").stat().st_size


def resident_bytes(file: Path) -> int:
    """How much of a file's mappings is in this process's memory, each of them counted."""
    found, is_of_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(":"):
            is_of_it = bool(rest) and rest[-1] == str(file)
        elif is_of_it and name == "Rss:":
            found += 1024 * int(rest[0])
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells which pages are resident")
def test_what_is_cast_leaves_no_page_of_its_file_in_memory(tmp_path):
    """Else a file that is cast would fill memory twice; what is mapped fills it once."""
    file = tmp_path / "model.safetensors"
    save_file({f"weight {i}": torch.full((1 << 19,), i, dtype=torch.float16) for i in range(16)}, file)
    encoder = _Weights(tmp_path)
    with encoder.reading("cpu", torch.bfloat16) as read:
        assert all((read(name) == int(name.split()[1])).all() for name in encoder.shapes)
        assert resident_bytes(file) < file.stat().st_size / 4  # those the header is on, and around them
    with encoder.reading("cpu", torch.float16) as read:
        assert all((read(name) == int(name.split()[1])).all() for name in encoder.shapes)
        assert 0.9 < resident_bytes(file) / file.stat().st_size < 1.1


def test_weights_that_do_not_fit_are_named(nano_copy):
    file = nano_copy / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    tensors["extra"] = tensors.pop("encoder.final_layer_norm.weight")
    tensors["shared.weight"] = tensors["shared.weight"][:300]
    save_file(tensors, file)
    with pytest.raises(WeightsError) as error:
        load_byte_t5(nano_copy, nano().text, "cpu", torch.float32)
    for problem in (
        "1 missing, ['encoder.final_layer_norm.weight']",
        "1 unexpected, ['extra']",
        "1 misshapen, ['shared.weight']",
    ):
        assert problem in str(error.value)


def test_a_broken_file_is_a_weights_error(nano_copy):
    file = nano_copy / "text_encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_byte_t5(nano_copy, nano().text, "cpu", torch.float32)


def test_a_config_without_a_size_or_that_is_no_json_is_a_weights_error(nano_copy):
    file = nano_copy / "text_encoder" / "config.json"
    for content, named in (('{"vocab_size": 384}', "d_model"), ("{", "JSON")):
        file.write_text(content)
        with pytest.raises(WeightsError, match=named):
            load_byte_t5(nano_copy, nano().text, "cpu", torch.float32)


def test_pickled_weights_are_not_read(nano_copy):
    folder = nano_copy / "text_encoder"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingWeights, match=r"without model\.safetensors"):
        load_byte_t5(nano_copy, nano().text, "cpu", torch.float32)


def test_float16_is_refused(tmp_path):
    for load in (load_byte_t5, load_clip_t5):
        with pytest.raises(ConfigError, match="bfloat16 or float32"):
            load(tmp_path, CONFIG, "cpu", torch.float16)


def test_the_byte_encoder_starts_without_transformers_or_the_compiler_of_torch():
    """Each costs more than a second, of the few a cold start may take."""
    program = f"""
import sys, torch
from recast.config import nano
from recast.context.text_files import load_byte_t5
load_byte_t5({str(NANO)!r}, nano().text, "cpu", torch.float32).encode(["a red hat"])
assert not [name for name in ("transformers", "tokenizers", "torch._dynamo") if name in sys.modules]
"""
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# CLIP and T5: small random encoders in the published layouts, read by transformers on its own and by us.


@pytest.fixture(scope="module")
def diffusers_folder(tmp_path_factory):
    return write_diffusers_text(tmp_path_factory.mktemp("diffusers"))


def published(folder, prompts, words=None):
    """What `transformers` makes of `prompts`: T5's tokens and CLIP's pooled vector, by its own readers throughout."""
    words = words or folder
    clip = transformers.CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    t5 = transformers.T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32)
    clip_words = transformers.CLIPTokenizer.from_pretrained(words / "tokenizer")
    t5_words = transformers.T5Tokenizer.from_pretrained(words / "tokenizer_2")
    how = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    with torch.no_grad():
        pooled = clip(clip_words(prompts, max_length=77, **how).input_ids).pooler_output
        tokens = t5(t5_words(prompts, max_length=64, **how).input_ids).last_hidden_state
    return tokens, pooled


def check_equals_published(encoder, tokens, pooled):
    text = encoder.encode(PROMPTS)
    assert_close(text.tokens, tokens, atol=1e-5, rtol=1e-4)
    assert_close(text.pooled, pooled, atol=1e-5, rtol=1e-4)


def test_the_diffusers_layout_gives_the_published_text_and_opens_no_connection(diffusers_folder, monkeypatch):
    def connect(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    encoder = load_clip_t5(diffusers_folder, CONFIG, "cpu", torch.float32)
    assert (encoder.width, encoder.dtype, encoder.device.type) == (32, torch.float32, "cpu")
    check_equals_published(encoder, *published(diffusers_folder, PROMPTS))


def test_both_forms_of_the_tokenizers_read_the_same(diffusers_folder, tmp_path):
    for name, kind in (("tokenizer", transformers.CLIPTokenizer), ("tokenizer_2", transformers.T5Tokenizer)):
        kind.from_pretrained(diffusers_folder / name).save_pretrained(tmp_path / name)
        assert not {"spiece.model", "vocab.json"} & {file.name for file in (tmp_path / name).iterdir()}
    for name in ("text_encoder", "text_encoder_2"):
        (tmp_path / name).symlink_to(diffusers_folder / name)
    check_equals_published(load_clip_t5(tmp_path, CONFIG, "cpu", torch.float32), *published(diffusers_folder, PROMPTS))


def stand_alone(folder, words, clip, t5, t5_file):
    """The layout of stand-alone files, and the tokenizers of `words`."""
    for name in ("tokenizer", "tokenizer_2"):
        (folder / name).symlink_to(words / name)
    save_file(clip, folder / "clip_l.safetensors")
    save_file(t5, folder / t5_file)


def published_with(words, tmp_path, clip, t5):
    """What `transformers` makes of the prompts with these float32 weights, from a folder it reads itself."""
    for name, sizes, tensors in (("text_encoder", CLIP_JSON, clip), ("text_encoder_2", T5_JSON, t5)):
        (tmp_path / "published" / name).mkdir(parents=True)
        write_json(tmp_path / "published" / name / "config.json", sizes)
        save_file(tensors, tmp_path / "published" / name / "model.safetensors", {"format": "pt"})
    return published(tmp_path / "published", PROMPTS, words)


def test_stand_alone_float16_files_give_the_published_text(diffusers_folder, tmp_path):
    """With the leftovers such files have: a second embedding, position ids and the projection that is not used."""
    clip, t5 = ({name: value.half() for name, value in weights.items()} for weights in random_weights())
    leftovers = {"text_projection.weight": torch.ones(9), "text_model.embeddings.position_ids": torch.arange(77)}
    second = {"encoder.embed_tokens.weight": t5["shared.weight"].clone()}
    stand_alone(tmp_path, diffusers_folder, clip | leftovers, t5 | second, "t5xxl_fp16.safetensors")
    clip, t5 = ({name: value.float() for name, value in weights.items()} for weights in (clip, t5))
    expected = published_with(diffusers_folder, tmp_path, clip, t5)
    check_equals_published(load_clip_t5(tmp_path, CONFIG, "cpu", torch.float32), *expected)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_stand_alone_float8_files_are_widened(diffusers_folder, tmp_path, is_scaled):
    """And names may lack the prefixes `text_model.` and `encoder.`."""
    clip, t5 = random_weights()
    stored, widened = {}, {}
    for name, value in t5.items():
        has_scale = is_scaled and "SelfAttention.q" in name
        scale = torch.tensor(0.004) if has_scale else torch.tensor(1.0)
        narrow = (value / scale).to(torch.float8_e4m3fn)
        stored[name.removeprefix("encoder.")], widened[name] = narrow, narrow.float() * scale
        if has_scale:
            layer = name.removeprefix("encoder.").removesuffix("weight")
            stored |= {layer + "scale_weight": scale, layer + "scale_input": torch.tensor(7.0)}
    if is_scaled:
        stored["scaled_fp8"] = torch.empty(0).to(torch.float8_e4m3fn)
    bare = {name.removeprefix("text_model."): value for name, value in clip.items()}
    stand_alone(tmp_path, diffusers_folder, bare, stored, "t5xxl_fp8_e4m3fn.safetensors")
    expected = published_with(diffusers_folder, tmp_path, clip, widened)
    check_equals_published(load_clip_t5(tmp_path, CONFIG, "cpu", torch.float32), *expected)


def test_each_encoder_reports_its_own_cut(diffusers_folder):
    encoder = load_clip_t5(diffusers_folder, CONFIG, "cpu", torch.float32)
    words = LETTERS.split()
    assert encoder.encode([" ".join(words[:63])]).warnings == ()  # 64, less T5's end
    assert [w.split(";")[0] for w in encoder.encode([" ".join(words[:64])]).warnings] == [
        "prompt: T5 read 63 of 64 tokens"
    ]
    assert encoder.encode([LETTERS]).warnings == (
        f"prompt: T5 read 63 of 104 tokens; left out from {' '.join(words[63:83]) + ' …'!r} on; shorten the prompt",
        f"prompt: CLIP read 75 of 104 tokens; left out from {' '.join(words[75:95]) + ' …'!r} on; shorten the prompt",
    )


def test_clip_and_t5_encodings_are_remembered_and_do_not_depend_on_the_batch(diffusers_folder):
    encoder = load_clip_t5(diffusers_folder, CONFIG, "cpu", torch.float32)
    calls = count_calls(encoder.t5), count_calls(encoder.clip)
    among = encoder.encode(["a hat", "", LETTERS])
    again = encoder.encode(["", LETTERS])
    assert [len(of) for of in calls] == [3, 3]
    alone = load_clip_t5(diffusers_folder, CONFIG, "cpu", torch.float32).encode([LETTERS])
    for text in (again, alone):
        assert torch.equal(text.tokens[-1], among.tokens[-1])
        assert torch.equal(text.pooled[-1], among.pooled[-1])


def test_missing_files_are_named_with_their_sources(tmp_path):
    with pytest.raises(MissingWeights) as error:
        load_clip_t5(tmp_path, CONFIG, "cpu", torch.float32)
    for part in (
        "clip_l.safetensors (from openai/clip-vit-large-patch14)",
        "t5xxl_fp16.safetensors (from google/t5-v1_1-xxl)",
        "tokenizer (from openai/clip-vit-large-patch14)",
        "tokenizer_2 (from google/t5-v1_1-xxl)",
    ):
        assert part in str(error.value)


@pytest.fixture
def folder_copy(diffusers_folder, tmp_path):
    shutil.copytree(diffusers_folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("text_encoder_2/model-00002-of-00002.safetensors", r"without model-00002-of-00002\.safetensors"),
        ("text_encoder/config.json", r"config\.json: not there"),
        ("tokenizer/merges.txt", r"tokenizer\.json or vocab\.json and merges\.txt accepted"),
        ("tokenizer_2/spiece.model", r"tokenizer\.json or spiece\.model accepted"),
    ],
)
def test_a_missing_part_is_an_error_and_never_made_up(folder_copy, removed, message):
    (folder_copy / removed).unlink()
    with pytest.raises(MissingWeights, match=message):
        load_clip_t5(folder_copy, CONFIG, "cpu", torch.float32)


def test_a_tokenizer_that_is_another_models_or_broken_is_refused(folder_copy):
    whole = folder_copy / "tokenizer" / "tokenizer.json"
    transformers.T5Tokenizer.from_pretrained(folder_copy / "tokenizer_2").backend_tokenizer.save(str(whole))
    for message in ("with <.startoftext.> and <.endoftext.>, accepted", "the published tokenizer accepted"):
        with pytest.raises(WeightsError, match=message):
            load_clip_t5(folder_copy, CONFIG, "cpu", torch.float32)
        whole.write_text("{}")


def test_a_stand_alone_file_of_another_network_is_a_weights_error(diffusers_folder, tmp_path):
    clip, _ = random_weights()
    stand_alone(tmp_path, diffusers_folder, clip, {"img_in.weight": torch.ones(1)}, "t5xxl_fp16.safetensors")
    with pytest.raises(WeightsError, match=r"t5xxl_fp16\.safetensors: no tensor block\.0"):
        load_clip_t5(tmp_path, CONFIG, "cpu", torch.float32)


def test_without_transformers_the_error_says_what_to_install(diffusers_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'recast\[text\]'"):
        load_clip_t5(diffusers_folder, CONFIG, "cpu", torch.float32)
