"""Heads: what they score, what they pass over, and that a title is right only as a whole."""

import torch

from recast.train import text_labels as labels
from recast.train.text_batches import PLACES, encode
from recast.train.text_heads import ROLES, Heads, Read, Weights, attend, correct, initialise, losses, until_end
from recast.train.text_labels import Said

SAID = [
    Said(text="make it night", values={"time": "night"}, unknown=("edit.kind",)),
    Said(text='change "AB" to "AC"', values={"edit.contexts": "1"}, new="AC", old="AB"),
]


def batch():
    return encode(SAID, 32, [0, 1], 2)


def truth() -> Read:
    """Logits that are all sure of what is so."""
    made = batch()
    counts = torch.tensor([len(values) + 1 for values in labels.ATTRIBUTES.values()])
    values = torch.zeros(2, len(counts), int(counts.max()))
    values.masked_fill_(torch.arange(values.shape[-1]) >= counts[:, None], -torch.inf)
    values.scatter_(2, made.classes.clamp(min=0)[..., None], 100.0)
    strings = torch.nn.functional.one_hot(made.strings, labels.END + 1) * 100.0
    roles = torch.nn.functional.one_hot(made.roles[made.ids != 0], ROLES) * 100.0
    words = torch.nn.functional.one_hot(made.words[made.ids != 0].clamp(min=0), len(labels.WORDS)) * 100.0
    return Read(values, values.clone(), strings, roles, words)


def lost(read: Read, **wanted: float) -> dict[str, float]:
    made = batch()
    own = made.ids != 0
    found = losses(read, made.classes, made.strings, made.roles[own], made.words[own], Weights(**wanted))
    return {name: float(value) for name, value in found.items()}


def test_the_truth_costs_nothing_and_is_right():
    assert all(value < 1e-6 for value in lost(truth()).values())
    made = batch()
    assert all(right.all() for right in correct(truth(), made.classes, made.strings).values())


def test_each_part_is_lost_by_itself():
    time = list(labels.ATTRIBUTES).index("time")
    read = truth()
    read.pooled[0, time, 0] = 200.0
    assert lost(read)["pooled"] > 1
    assert lost(read)["queried"] < 1e-6
    read = truth()
    read.strings[1, 0, 1] = 0.0
    assert lost(read)["strings"] > 0.5
    assert lost(read)["pooled"] < 1e-6
    read = truth()
    read.roles[-3] = 0.0
    assert lost(read)["roles"] > 0.01
    read = truth()
    read.words[1] = 0.0  # of "make"
    assert lost(read)["words"] > 0.01
    assert lost(read)["roles"] < 1e-6


def test_what_is_said_counts_more_than_what_is_not_and_what_is_unknown_not_at_all():
    names = list(labels.ATTRIBUTES)
    costs = []
    for row, name in ((0, "time"), (0, "style"), (0, "edit.kind")):
        read = truth()
        read.queried[row, names.index(name)] = torch.where(
            read.queried[row, names.index(name)].isinf(), -torch.inf, 0.0
        )
        each = torch.tensor(len(labels.ATTRIBUTES[name]) + 1.0).log()
        costs.append(lost(read)["queried"] / float(each))
    said, unsaid, unknown = costs
    assert unknown < 1e-6
    assert abs(unsaid / said - 0.1) < 1e-3


def test_a_string_is_right_as_a_whole_up_to_its_end():
    made = batch()
    read = truth()
    read.strings[1, 0, 10] = 0.0  # after the end
    assert correct(read, made.classes, made.strings)["strings"].all()
    read.strings[1, 0, 2] = torch.nn.functional.one_hot(torch.tensor(3), labels.END + 1) * 200.0  # one letter too many
    assert correct(read, made.classes, made.strings)["strings"].tolist() == [[True, True], [False, True]]
    assert until_end(made.strings)[1, 0].sum() == 3
    assert until_end(made.strings)[0, 0].sum() == 1


def test_heads_give_every_attribute_its_own_values():
    heads = Heads(16)
    initialise(heads, torch.Generator().manual_seed(0))
    made = batch()
    read = heads(torch.randn(2, 32, 16, generator=torch.Generator().manual_seed(1)), made.ids)
    counts = [len(values) + 1 for values in labels.ATTRIBUTES.values()]
    for logits in (read.pooled, read.queried):
        assert logits.isfinite().sum(-1).tolist() == [counts, counts]
    # One value of one attribute is one row of the last layer, read by that attribute's query.
    a, value = 5, 2
    row = sum(counts[:a]) + value
    tokens = torch.randn(2, 32, 16, generator=torch.Generator().manual_seed(1))
    found = attend(heads.query[a : a + 1], heads.key(tokens), heads.value(tokens))[:, 0]
    torch.testing.assert_close(read.queried[:, a, value], found @ heads.answer.weight[row] + heads.answer.bias[row])
    assert read.strings.shape == (2, 2, PLACES, labels.END + 1)
    assert read.roles.shape == (sum(made.lengths), ROLES)


def test_the_pooled_vector_leaves_padding_out():
    heads = Heads(16)
    initialise(heads, torch.Generator().manual_seed(0))
    made = batch()
    tokens = torch.randn(2, 32, 16, generator=torch.Generator().manual_seed(1))
    other = tokens + (made.ids == 0)[..., None] * 5.0
    torch.testing.assert_close(heads(tokens, made.ids).pooled, heads(other, made.ids).pooled)
    assert not torch.allclose(heads(tokens, made.ids).queried, heads(other, made.ids).queried)
