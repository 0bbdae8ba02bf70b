"""What requests share is computed once, and is what would have been computed."""

import copy

import torch

from recast.speed.engine import Engine
from recast.speed.placing import Banded
from recast.speed.recent import Recent
from recast.speed.request_cache import CachesContext, EncodesOnce, digest
from tests.flow.test_transformer import inputs
from tests.tiny import tiny_autoencoder, tiny_flow


def test_the_oldest_goes_first_and_use_makes_young():
    recent: Recent[str] = Recent(3)
    for key in "abcad":
        recent.get(key, lambda key=key: key.upper())
    assert [key in recent for key in "abcd"] == [True, False, True, True]
    by_size: Recent[str] = Recent(5, len)
    for text in ("aa", "bbb", "cccccc", "d"):
        assert by_size.get(text, lambda text=text: text) == text
    assert [text in by_size for text in ("aa", "bbb", "cccccc", "d")] == [False, True, False, True]
    assert by_size.held == 4


def test_a_picture_is_encoded_once(monkeypatch):
    autoencoder = tiny_autoencoder()
    once = EncodesOnce(autoencoder)
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1
    wanted = autoencoder.encode(pixels)
    assert torch.equal(once.encode(pixels), wanted)
    calls = []
    monkeypatch.setattr(autoencoder, "encode", lambda *a, **k: calls.append(a) or wanted)
    assert torch.equal(once.encode(pixels.clone()), wanted)
    assert calls == []
    changed = pixels.clone()
    changed[0, 0, 0, 0] += 1e-3
    once.encode(changed)
    once.encode(pixels, band=16)
    assert len(calls) == 2  # another pixel, and other bands
    assert once.config is autoencoder.config
    torch.testing.assert_close(once.decode(wanted), autoencoder.decode(wanted))


def test_a_context_is_computed_once_for_all_prompts_and_seeds(monkeypatch):
    engine = Engine(tiny_flow(context_attention="cached"))
    x, _, given = inputs()
    wanted = engine.along(engine.condition(**given), [0.6])(x, 0.6)
    cache = CachesContext(engine)
    first = engine.condition(**given)
    again = engine.condition(**{**given, "text": given["text"] + 1, "context": given["context"].clone()})
    assert again.context is first.context
    torch.testing.assert_close(engine.along(first, [0.6])(x, 0.6), wanted, rtol=0, atol=0)
    assert cache.recent.held == sum(part.nbytes for block in first.context for part in block)
    moved = engine.condition(**{**given, "context_positions": given["context_positions"] + 1})
    assert moved.context is not first.context
    cache.forget()
    assert engine.condition(**given).context is not first.context


def test_the_digest_knows_shape_and_dtype():
    one = torch.zeros(2, 3)
    assert len({digest(one), digest(one.reshape(3, 2)), digest(one.double()), digest(one, one)}) == 4


def test_what_wraps_an_autoencoder_can_be_copied():
    """Else a copy of a fast pipeline ran into the limit of recursion: it asks before it has anything."""
    for one in (EncodesOnce(tiny_autoencoder()), Banded(tiny_autoencoder(), 8)):
        assert copy.deepcopy(one).config == one.config
