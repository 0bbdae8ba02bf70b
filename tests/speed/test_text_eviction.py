"""An encoder whose weights come and go reads as one that stays, and leaves nothing on the device."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor, nn

from recast.config import TextConfig
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text import ByteT5, CachedEncoder, Text
from recast.errors import ConfigError, InputError
from recast.speed.lanes import AtOnce
from recast.speed.text_eviction import Evicted, StreamedText
from tests.tiny import randomise

CPU = torch.device("cpu")
PROMPTS = ["a red hat", "", "the cat is white"]


def byte_t5() -> ByteT5:
    config = T5Config(vocab_size=384, d_model=24, d_kv=8, d_ff=32, num_layers=5, num_heads=3)
    network = randomise(T5Encoder(config), 0)
    assert isinstance(network, T5Encoder)
    return ByteT5(network, 32)


class Published(CachedEncoder):
    """T5 and CLIP of `transformers`, as `ClipT5` runs them, on ids made of letters."""

    def __init__(self) -> None:
        sizes = {"d_ff": 56, "d_kv": 8, "d_model": 32, "num_heads": 6, "num_layers": 4, "vocab_size": 300}
        self.t5 = transformers.T5EncoderModel(transformers.T5Config(**sizes, feed_forward_proj="gated-gelu")).encoder
        small = {"hidden_size": 32, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
        clip = transformers.CLIPTextModel(transformers.CLIPTextConfig(vocab_size=300, eos_token_id=2, **small))
        self.clip = getattr(clip, "text_model", clip)
        for seed, network in enumerate((self.t5, self.clip)):
            randomise(network, seed)
        super().__init__([self.t5, self.clip], 32, TextConfig().clip_length)

    def _encode(self, prompt: str) -> Text:
        ids = torch.tensor([[*prompt.encode(), *[1] * (32 - len(prompt))]], device=self.device)
        return Text(self.t5(input_ids=ids).last_hidden_state, self.clip(input_ids=ids).last_hidden_state[:, -1])


class Apart(AtOnce):
    """A device of its own as far as memory tells: counts what is on it, and spoils a run that is given back."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.sizes: list[int] = []
        self.copied = 0

    def empty(self, size: int) -> Tensor:
        self.sizes.append(size)
        return super().empty(size)

    def copy(self, into: Tensor, run: Tensor, after: object) -> None:
        self.copied += run.numel()
        super().copy(into, run, after)


@pytest.mark.parametrize("kind", [Evicted, StreamedText])
@pytest.mark.parametrize("make", [byte_t5, Published])
@pytest.mark.parametrize("inference", [False, True])
def test_it_reads_as_one_that_stays(kind: type[Evicted], make: type, inference: bool) -> None:
    encoder = make()
    wanted = encoder.encode(PROMPTS)
    encoder._cache.clear()
    away = kind(encoder, CPU)
    with torch.inference_mode(inference):
        for prompts in (PROMPTS[:1], PROMPTS):  # the second time, some are remembered
            found = away.encode(prompts)
    assert torch.equal(found.tokens, wanted.tokens)
    assert found.pooled is not None
    assert torch.equal(found.pooled, wanted.pooled)
    assert (away.width, away.dtype, away.device) == (encoder.width, torch.float32, CPU)


@pytest.mark.parametrize("kind", [Evicted, StreamedText])
def test_weights_are_those_of_the_device_while_it_reads_and_the_host_s_after(kind: type[Evicted]) -> None:
    encoder, lane = Published(), Apart()
    away = kind(encoder, CPU, lane=lane)
    host = addresses(encoder)
    at_work: list[set[int]] = []
    first = next(encoder.networks[0].parameters())  # whose device is the encoder's: it has to come with the rest
    assert all(first is not p for p in encoder.t5.block.parameters())
    for layer in encoder.t5.block:
        layer.register_forward_hook(lambda layer, *_: at_work.append({p.data_ptr() for p in layer.parameters()}))
    away.encode(PROMPTS[:1])
    assert len(at_work) == len(encoder.t5.block)
    assert not host & set.union(*at_work)
    assert addresses(encoder) == host
    everything = sum(p.numel() * 4 for network in encoder.networks for p in network.parameters())
    layers = [sum(p.numel() * 4 for p in layer.parameters()) for layer in encoder.t5.block]
    assert lane.copied >= everything
    if kind is StreamedText:
        assert sum(lane.sizes) < everything - sum(layers) + 2 * max(layers) + 20_000  # pieces begin 256 bytes apart
    else:
        assert sum(lane.sizes) >= everything


@pytest.mark.parametrize("kind", [Evicted, StreamedText])
def test_a_known_prompt_brings_no_weights(kind: type[Evicted]) -> None:
    lane = Apart()
    away = kind(byte_t5(), CPU, lane=lane)
    away.encode(["a"])
    copied = lane.copied
    assert away.is_cached("a")
    away.encode(["a", "a"])
    assert lane.copied == copied
    away.encode(["a", "b"])
    assert lane.copied == 2 * copied


@pytest.mark.parametrize("kind", [Evicted, StreamedText])
def test_an_error_while_reading_leaves_it_as_it_was(kind: type[Evicted], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = byte_t5()
    wanted = encoder.encode(["a"])
    encoder._cache.clear()
    away = kind(encoder, CPU)
    host = addresses(encoder)
    with monkeypatch.context() as patch:
        patch.setattr(encoder.network.encoder.block[3], "forward", broken)
        with pytest.raises(ZeroDivisionError):
            away.encode(["a"])
    assert addresses(encoder) == host
    assert torch.equal(away.encode(["a"]).tokens, wanted.tokens)
    with pytest.raises(InputError, match="prompts="):
        away.encode([])


def test_streaming_needs_the_layers_of_a_t5() -> None:
    class Flat(Published):
        def __init__(self) -> None:
            CachedEncoder.__init__(self, [nn.Linear(3, 3)], 3, 4)

    with pytest.raises(ConfigError, match="text=Flat: one with the layers of a T5"):
        StreamedText(Flat(), CPU)


def addresses(encoder: CachedEncoder) -> set[int]:
    return {p.data_ptr() for network in encoder.networks for p in network.parameters()}


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError
