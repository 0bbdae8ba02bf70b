"""What a plan leaves on the device, and what it does there when memory runs out without a cap."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from torch import Tensor, nn

from recast import cost
from recast.config import kontext_dev
from recast.errors import ConfigError
from recast.speed import accelerate, apply, exchange, quantize
from recast.speed.apply import Accelerated
from recast.speed.cap import lowered, passing
from recast.speed.engine import Engine
from recast.speed.forecast import kept_bytes
from recast.speed.linear import Plain
from recast.speed.memory import Masters, Memory, Numbers, peak_bytes
from recast.speed.plan import PLANS, Plan
from recast.speed.streaming import Streamed
from recast.speed.text_eviction import Evicted
from recast.speed.tuning import layers
from tests.cli.conftest import runs_out
from tests.tiny import tiny_pipeline

SOURCE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
OPTIONS = {"seed": 3, "steps": 3}
REQUEST = cost.Request(width=64, height=48, contexts=((64, 48),), evaluations=3)
MASTERS = get_args(Masters)
TUNED = replace(PLANS["lossless"], tuned=True)


@pytest.fixture
def as_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU counts as a device that weights can leave for the host."""
    numbers_of = exchange.numbers_of
    monkeypatch.setattr(exchange, "numbers_of", lambda *given: replace(numbers_of(*given), on_cuda=True))


def edit(fast: Accelerated) -> np.ndarray:
    result, note = fast.run(lambda pipeline: pipeline.edit(SOURCE, "make it red", **OPTIONS))
    assert (note is None) == (fast.memory is None)
    return result.pictures[0].rgb.astype(int)


@pytest.mark.parametrize("plan", ["exact", TUNED, "fp8-attention"], ids=str)
@pytest.mark.parametrize("gives_away", [False, True])
def test_without_a_cap_an_error_of_memory_is_met_by_weights_that_pass_through(
    plan: str | Plan, gives_away: bool, as_a_card: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = replace(tiny_pipeline().config.flow, context_attention="cached")
    wanted = edit(accelerate(tiny_pipeline(flow=cached), plan, request=REQUEST))
    given = tiny_pipeline(flow=cached)
    fast = accelerate(given, plan, request=REQUEST, gives_away=gives_away)
    engine = fast.pipeline.network
    assert bool(fast.work.layers) == (plan is TUNED)
    runs_out(monkeypatch, 1)
    assert np.abs(edit(fast) - wanted).max() <= 1
    assert isinstance(engine.blocks, Streamed)
    assert isinstance(engine.modulators, Streamed)
    assert isinstance(fast.pipeline.text, Evicted)
    assert not layers(engine.blocks.on_host()), "products are not timed beside weights that pass"
    assert engine.cache_context.__func__ is Engine.cache_context, "no context is kept"
    assert all(weight.is_meta for weight in given.flow.double_blocks.parameters()), "nothing else holds them"
    with pytest.raises(ConfigError, match="its weights moved to the accelerated one"):
        given.edit(SOURCE, "make it red", **OPTIONS)
    with pytest.raises(ConfigError, match="since memory ran out"):
        fast.set_adapters()


def held() -> int:
    """Bytes of every tensor there is, each storage once."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if issubclass(type(one), Tensor) and not one.is_meta]
    storages = {one.untyped_storage()._cdata: one.untyped_storage() for one in tensors}
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("gives_away", [False, True])
def test_in_eight_bits_the_weights_that_came_in_are_counted_and_where_given_away_they_go_one_by_one(
    gives_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What rounding adds to the bytes that are held, or takes from them, is what the formula says of it."""
    given, plan = tiny_pipeline(), replace(PLANS["fp8"], autoencoder="reference")
    blocks = [*given.flow.double_blocks, *given.flow.single_blocks]
    masters = [weakref.ref(weight.untyped_storage()) for block in blocks for weight in matrices(block)]
    alive, last = [], len(matrices(blocks.pop()))
    blocks.clear()
    of = quantize.EightBit.of

    def rounded(layer: Plain) -> quantize.EightBit:
        alive.append(sum(master() is not None for master in masters))
        return of(layer)

    monkeypatch.setattr(quantize.EightBit, "of", staticmethod(rounded))
    before = held()
    fast = accelerate(given, plan, request=REQUEST, gives_away=gives_away)
    more = held() - before

    def at_rest(numbers: Numbers) -> int:
        return peak_bytes(fast.pipeline.config, REQUEST, numbers, Memory(resident_blocks=5)).text

    numbers = fast.work.numbers
    assert more == at_rest(numbers) - at_rest(replace(numbers, blocks=4.0))
    assert (more < 0) == gives_away
    assert (alive[0], alive[-1]) == (len(masters), last if gives_away else len(masters))
    if gives_away:
        with pytest.raises(ConfigError, match="gives_away=False accepted"):
            fast.set_adapters()


def matrices(block: nn.Module) -> list[Tensor]:
    """The weights of a block that are rounded."""
    return [one for name, one in block.named_parameters() if one.ndim == 2 and "mod" not in name]


def test_what_is_given_away_until_it_is_rounded_is_counted_while_loading() -> None:
    """All of the bf16 weights, then fewer: of the published model that is more than anything that follows."""
    config, whole = kontext_dev(), Memory(resident_blocks=57)
    edit = cost.Request(width=1024, height=1024, contexts=((1024, 1024),))
    eight = Numbers(blocks=1.0, autoencoder=2)
    peaks = {masters: peak_bytes(config, edit, replace(eight, masters=masters), whole) for masters in MASTERS}
    plain = peak_bytes(config, edit, Numbers(autoencoder=2, masters="loading"), whole)
    assert peaks["loading"].denoise == peaks["host"].denoise < peaks["kept"].denoise
    assert plain.load < peaks["loading"].load < 1.02 * plain.load
    assert peaks["loading"].total < plain.total < peaks["kept"].total


def test_nothing_is_lowered_where_weights_have_nowhere_to_go_or_adapters_change_them(
    as_a_card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card = accelerate(tiny_pipeline(), "exact", request=REQUEST)
    on_a_card.set_adapters()
    monkeypatch.undo()
    for fast in (on_a_card, accelerate(tiny_pipeline(), "exact"), accelerate(tiny_pipeline(), "reference")):
        assert fast.lower() is None
        assert fast.pipeline.generate("red", width=32, height=32, steps=1, seed=1).pictures


def test_a_lower_recipe_has_room_for_what_an_option_keeps_and_finds_the_device_empty(
    as_a_card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = accelerate(tiny_pipeline(), "exact", approximate="context-reuse", request=REQUEST)
    kept, left = [], []
    monkeypatch.setattr(apply, "lowered", lambda *given: (kept.append(given[2].context_kv_bytes), lowered(*given))[1])
    monkeypatch.setattr(apply, "give_back", lambda: left.append(len(fast.pipeline.network.blocks)))
    assert fast.lower() is not None
    assert kept == [kept_bytes(fast.pipeline.config, REQUEST, fast.plan.approximate, item=4)] != [0]
    assert left == [0]


def test_a_lower_recipe_fits_what_is_free() -> None:
    """Of a card that others have filled since, less may be left than the next recipe would take."""
    config, whole = kontext_dev(), Memory(resident_blocks=57)
    edit = cost.Request(width=1024, height=1024, contexts=((1024, 1024),))
    numbers = Numbers(autoencoder=2, graph=True, masters="kept")
    for room, most in ((None, 0.85 * peak_bytes(config, edit, numbers, whole).total), (20e9, 20e9)):
        found = lowered(config, edit, numbers, whole, room)
        assert 0.8 * most < peak_bytes(config, edit, passing(numbers), found).total <= most
