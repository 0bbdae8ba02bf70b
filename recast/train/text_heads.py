"""Small heads that read a text encoder's outputs, and are thrown away: what they find, a flow transformer can find.

Attributes are read twice, because the flow reads twice: from the pooled vector, and from the tokens by one learned
query each. Titles are read a character at a time by one query for each place, and every token says which place of
which string it is, and which word it is part of.
Letters: `b` texts, `m` tokens, `c` width, `a` attributes, `v` values of all attributes together, `p` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recast.context.text import PAD, pool
from recast.train import text_labels as labels
from recast.train.text_batches import PLACES

ROLES = 1 + 2 * PLACES
"""Of a token: none, a place of the new title, a place of the old one."""


class Read(NamedTuple):
    """What the heads find in some texts, all as logits; -inf where an attribute has fewer values than another."""

    pooled: Tensor  # (b, a, values)
    queried: Tensor  # (b, a, values)
    strings: Tensor  # (b, 2, p, characters)
    roles: Tensor  # (tokens that are not padding, roles)
    words: Tensor  # (tokens that are not padding, words)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each thing read counts."""

    unsaid: float = 0.1  # an attribute that the text does not state, beside 1 for one that it does
    strings: float = 1.0
    roles: float = 1.0
    words: float = 1.0


class Heads(nn.Module):
    """Outputs (b, m, c) of an encoder → Read."""

    place: Tensor  # of each value in (a, values)
    owner: Tensor  # (v,): the attribute that each value is of

    def __init__(self, width: int) -> None:
        super().__init__()
        counts = [len(values) + 1 for values in labels.ATTRIBUTES.values()]
        total, self.most = sum(counts), max(counts)
        places = [a * self.most + value for a, count in enumerate(counts) for value in range(count)]
        self.register_buffer("place", torch.tensor(places), persistent=False)
        self.register_buffer("owner", torch.tensor(places) // self.most, persistent=False)
        self.attributes = len(counts)
        self.pooled = nn.Linear(width, total)
        self.key, self.value = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.query = nn.Parameter(torch.zeros(self.attributes, width))
        self.answer = nn.Linear(width, total)
        self.string_key = nn.Linear(width, width, bias=False)
        self.string_value = nn.Linear(width, width, bias=False)
        self.string_query = nn.Parameter(torch.zeros(2 * PLACES, width))
        self.character = nn.Linear(width, labels.END + 1)
        self.role, self.word = nn.Linear(width, ROLES), nn.Linear(width, len(labels.WORDS))

    def forward(self, tokens: Tensor, ids: Tensor) -> Read:
        """tokens (b, m, c); ids (b, m): the pooled vector leaves padding out, queries read it as the flow does."""
        found = attend(self.query, self.key(tokens), self.value(tokens))  # (b, a, c)
        queried = torch.einsum("bvc,vc->bv", found[:, self.owner], self.answer.weight) + self.answer.bias
        read = attend(self.string_query, self.string_key(tokens), self.string_value(tokens))
        own = tokens[ids != PAD]
        return Read(
            pooled=self._spread(self.pooled(pool(tokens, ids))),
            queried=self._spread(queried),
            strings=self.character(read).unflatten(1, (2, PLACES)),
            roles=self.role(own),
            words=self.word(own),
        )

    def _spread(self, logits: Tensor) -> Tensor:
        """(b, v) → (b, a, values)."""
        full = logits.new_full((len(logits), self.attributes * self.most), -torch.inf)
        return full.index_copy(1, self.place, logits).unflatten(1, (self.attributes, self.most))


def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What each query (q, c) finds among tokens (b, m, c): (b, q, c)."""
    weights = (torch.einsum("qc,bmc->bqm", query, keys) * query.shape[-1] ** -0.5).softmax(-1)
    return weights @ values


def initialise(heads: Heads, generator: torch.Generator) -> None:
    """Fill the heads with small random numbers, drawn on the CPU."""
    with torch.no_grad():
        for name, parameter in heads.named_parameters():
            std = 1.0 if "query" in name else heads.role.in_features**-0.5
            drawn = torch.randn(parameter.shape, generator=generator) * (0.0 if name.endswith("bias") else std)
            parameter.copy_(drawn)


def losses(
    read: Read, classes: Tensor, strings: Tensor, roles: Tensor, words: Tensor, weights: Weights
) -> dict[str, Tensor]:
    """What is to be added up, by name: scalars.

    classes (b, a), strings (b, 2, p); roles and words: of every token that is not padding. All int64.
    """
    said = torch.where(classes > 0, 1.0, weights.unsaid) * (classes != labels.UNKNOWN)

    def attributes(logits: Tensor) -> Tensor:
        each = F.cross_entropy(logits.flatten(0, 1).float(), classes.clamp(min=0).flatten(), reduction="none")
        return (each * said.flatten()).sum() / said.sum()

    spelled = F.cross_entropy(read.strings.flatten(0, 2).float(), strings.flatten(), reduction="none")
    until = until_end(strings).flatten()
    has = (strings[..., 0] != labels.END).repeat_interleave(PLACES, -1).flatten()  # an absent title is one end
    role = F.cross_entropy(read.roles.float(), roles, reduction="none")
    word = F.cross_entropy(read.words.float(), words.clamp(min=0), reduction="none")
    return {
        "pooled": attributes(read.pooled),
        "queried": attributes(read.queried),
        "strings": weights.strings * (mean_of(spelled, until & has) + weights.unsaid * mean_of(spelled, until & ~has)),
        "roles": weights.roles * (mean_of(role, roles > 0) + mean_of(role, roles == 0)),
        "words": weights.words * mean_of(word, words != labels.UNKNOWN),
    }


def until_end(strings: Tensor) -> Tensor:
    """Which places of strings (..., p) count: the characters and the first end."""
    ends = (strings == labels.END).cumsum(-1)
    return (ends == 0) | ((ends == 1) & (strings == labels.END))


def mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values; 0 of none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def correct(read: Read, classes: Tensor, strings: Tensor) -> dict[str, Tensor]:
    """Which of it is right: "pooled" and "queried" (b, a), "strings" (b, 2): the whole string, to its end."""
    right = (read.strings.argmax(-1) == strings) | ~until_end(strings)
    return {
        "pooled": (read.pooled.argmax(-1) == classes) | (classes == labels.UNKNOWN),
        "queried": (read.queried.argmax(-1) == classes) | (classes == labels.UNKNOWN),
        "strings": right.all(-1),
    }
