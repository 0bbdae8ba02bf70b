"""The stream of texts: the same at any batch size and in any process, and it goes on where it stood."""

import signal
from itertools import islice

import pytest
import torch

from recast.context.text import EOS, FIRST_BYTE, PAD
from recast.errors import ConfigError, InputError
from recast.train import text_labels as labels
from recast.train.parallel import Ranks
from recast.train.text_batches import PLACES, UNIT, TextBatches, encode, write
from recast.train.text_labels import Said
from recast.world.heldout import is_held_out_string


def first(count: int, batch: int = 8, **wanted):
    return list(islice(TextBatches(batch=batch, max_length=144, seed=3, **wanted), count))


def test_bytes_classes_strings_and_roles_of_a_text():
    said = Said(text="é “AB” to 'C'", values={"time": "night"}, new="AB")
    batch = encode([said], 24, [7], 1)
    data = said.text.encode()
    assert batch.ids[0].tolist() == [byte + FIRST_BYTE for byte in data] + [EOS] + [PAD] * (23 - len(data))
    assert batch.lengths == (len(data) + 1,)
    assert batch.numbers == (7,)
    roles = batch.roles[0].tolist()
    at = data.index(b"A")
    assert roles[at : at + 2] == [1, 2]
    assert sum(roles) == 3
    time = list(labels.ATTRIBUTES).index("time")
    assert batch.classes[0, time] == labels.ATTRIBUTES["time"].index("night") + 1
    assert batch.classes[0].count_nonzero() == 1
    assert batch.strings.shape == (1, 2, PLACES)
    assert batch.strings[0, 1].tolist() == [labels.END] * PLACES
    old = encode([Said(text="'C'", old="C")], 24, [0], 1)
    assert old.roles[0, 1] == 1 + PLACES


def test_a_text_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="max_length=8"):
        encode([Said(text="make it night")], 8, [0], 1)


def test_text_number_n_is_the_same_at_any_batch_size_and_in_any_process():
    whole = [text for batch in first(2, 16) for text in batch.texts]
    small = [text for batch in first(4, 8) for text in batch.texts]
    assert whole == small
    assert len(set(whole)) > 20
    shared = [first(2, 16, ranks=Ranks(rank=r, size=2, data_rank=r, data_size=2)) for r in (0, 1)]
    assert [t for n in (0, 1) for r in (0, 1) for t in shared[r][n].texts] == whole
    assert [i for n in (0, 1) for r in (0, 1) for i in shared[r][n].numbers] == list(range(32))
    assert shared[0][0].of == 16


def test_it_goes_on_after_the_last_batch_that_was_handed_out():
    stream = TextBatches(batch=8, max_length=144, seed=3)
    batches = iter(stream)
    next(batches), next(batches)
    state = stream.state()
    after = next(batches)
    again = TextBatches(batch=8, max_length=144, seed=3)
    again.load_state(state)
    there = next(iter(again))
    assert there.texts == after.texts
    assert there.numbers == after.numbers
    assert torch.equal(there.classes, after.classes)
    with pytest.raises(ConfigError, match="seed 3 there, 4 here"):
        TextBatches(batch=8, max_length=144, seed=4).load_state(state)


def test_workers_write_the_same_texts():
    assert [b.texts for b in first(2, workers=1)] == [b.texts for b in first(2)]


def test_the_held_out_split_has_other_texts_and_held_out_titles():
    train = {each.text for unit in range(12) for each in write(3, unit)}
    held = [each for unit in range(40) for each in write(3, unit, split="held out")]
    assert not train & {each.text for each in held}
    assert any(each.new and is_held_out_string(each.new) for each in held)
    assert not any(each.new and is_held_out_string(each.new) for unit in range(40) for each in write(3, unit))


def test_slips_change_words_and_not_what_is_said():
    clean, slips = ([s for unit in range(10) for s in write(3, unit, slips=share)] for share in (0.0, 1.0))
    assert sum(a.text != b.text for a, b in zip(clean, slips, strict=True)) > 30
    assert [(a.values, a.new, a.old) for a in clean] == [(b.values, b.new, b.old) for b in slips]


def test_there_are_instructions_and_descriptions():
    said = [each for unit in range(10) for each in write(3, unit)]
    contexts = [each.values["edit.contexts"] for each in said]
    assert len(said) == 10 * UNIT
    assert {"0", "1"} <= set(contexts)
    assert 10 <= contexts.count("0") <= 30


@pytest.mark.parametrize(
    ("wanted", "error"), [({"batch": 6}, ConfigError), ({"slips": 2.0}, ConfigError), ({"split": "x"}, InputError)]
)
def test_what_cannot_work_is_refused(wanted, error):
    with pytest.raises(error):
        TextBatches(**{"batch": 8, "max_length": 144, **wanted})


def test_workers_leave_the_main_process_its_signals(monkeypatch):
    """Torch's handler of lost workers raises wherever the main process happens to be."""
    monkeypatch.setattr(torch.utils.data._utils.signal_handling, "_SIGCHLD_handler_set", False)
    before = signal.getsignal(signal.SIGCHLD)
    stream = iter(TextBatches(batch=4, max_length=144, workers=1))
    next(stream)
    assert signal.getsignal(signal.SIGCHLD) is before
    stream.close()
