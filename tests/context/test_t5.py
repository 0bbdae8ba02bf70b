"""Our T5 encoder is T5: the published buckets, and the published implementation on the same weights."""

from dataclasses import asdict

import pytest
import torch
import transformers
from torch.testing import assert_close

from recast.config import nano
from recast.context.t5 import Norm, T5Config, T5Encoder, buckets
from recast.context.text_files import load_byte_t5
from recast.nano import NANO

PUBLISHED_BUCKETS = {
    **{-200: 15, -128: 15, -91: 15, -90: 14, -64: 14, -63: 13, -46: 13, -45: 12, -32: 12, -23: 11, -22: 10},
    **{-16: 10, -12: 9, -11: 8, -8: 8, -1: 1, 0: 0, 1: 17, 7: 23, 8: 24, 12: 25, 16: 26, 32: 28, 64: 30, 128: 31},
}  # relative position (key - query) to bucket


def test_buckets_are_the_published_ones():
    relative = torch.tensor(list(PUBLISHED_BUCKETS))
    assert buckets(relative).tolist() == list(PUBLISHED_BUCKETS.values())


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (T5Config(vocab_size=40, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4), 300),
        (T5Config(vocab_size=50, d_model=24, d_kv=16, d_ff=40, num_layers=2, num_heads=3), 1),
        (
            T5Config(
                vocab_size=30,
                d_model=40,
                d_kv=6,
                d_ff=20,
                num_layers=1,
                num_heads=5,
                relative_attention_num_buckets=12,
                relative_attention_max_distance=20,
                layer_norm_epsilon=1e-2,
            ),
            70,
        ),
    ],
)
def test_encoder_equals_the_published_implementation_on_random_weights(config, length):
    sizes = {**asdict(config), "feed_forward_proj": "gated-gelu", "attn_implementation": "eager"}
    theirs = transformers.T5EncoderModel(transformers.T5Config(**sizes)).eval()
    generator = torch.Generator().manual_seed(0)
    for name, weight in theirs.named_parameters():  # large enough that scores, bias and norms all matter
        weight.data.normal_(mean="layer_norm" in name, std=0.2, generator=generator)
    ours = T5Encoder(config)
    ours.load_state_dict({n: w for n, w in theirs.state_dict().items() if n != "encoder.embed_tokens.weight"})
    ids = torch.randint(config.vocab_size, (2, length), generator=generator)
    with torch.no_grad():
        assert_close(ours(ids), theirs(ids).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_nano_encoder_equals_the_published_implementation_on_its_own_weights():
    theirs = transformers.T5EncoderModel.from_pretrained(NANO / "text_encoder", dtype=torch.float32)
    encoder = load_byte_t5(NANO, nano().text, "cpu", torch.float32)
    ids = [*(byte + 3 for byte in b"make the hat red"), 1]
    row = torch.tensor([ids + [0] * (144 - len(ids))])
    with torch.no_grad():
        expected = theirs(row).last_hidden_state
    text = encoder.encode(["make the hat red"])
    assert_close(text.tokens, expected, atol=1e-5, rtol=1e-5)
    assert_close(text.pooled, expected[:, : len(ids)].mean(1), atol=1e-5, rtol=1e-5)


def test_norm_takes_the_variance_in_float32():
    norm = Norm(T5Config(vocab_size=1, d_model=4, d_kv=1, d_ff=1, num_layers=1, num_heads=1)).half()
    assert_close(norm(torch.full((1, 4), 300.0).half()), torch.ones(1, 4).half())  # 300 squared overflows float16
