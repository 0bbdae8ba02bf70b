"""Prompts → text tokens (b, m, c) and a pooled vector (b, c): what to make, in the network's terms.

Two encoders: `ByteT5`, the small one of `nano`, and `ClipT5`, the pair the published FLUX.1 models were trained
with. Both pad to a fixed length and read the padding without a mask: it is part of these models, not waste.
A prompt that does not fit is cut, and the cut is reported in `Text.warnings`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from recast.config import TextConfig
from recast.context.t5 import T5Encoder
from recast.errors import InputError

log = logging.getLogger(__name__)

CLIP_SPECIAL = "<|startoftext|>", "<|endoftext|>"
PAD, EOS, FIRST_BYTE = 0, 1, 3  # T5's ids; the byte encoder leaves its 2, "unknown", unused


@dataclass(frozen=True)
class Text:
    """Encoded prompts: tokens (b, m, c), pooled (b, c) or None where an encoder has no such vector."""

    tokens: Tensor
    pooled: Tensor | None
    warnings: tuple[str, ...] = ()  # what was left out of prompts that were too long


class TextEncoder(Protocol):
    """What the rest of recast asks of an encoder; another one fits if it has these."""

    @property
    def width(self) -> int: ...  # c of the tokens
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def to(self, device: torch.device | str) -> Self: ...
    def encode(self, prompts: Sequence[str]) -> Text: ...


class CachedEncoder(ABC):
    """What both encoders share: prompts go through one at a time, and the last ones are remembered.

    One at a time, so that an encoding is the same bits whatever stands beside it in a batch. Remembered on the
    CPU (4 MiB a prompt for T5-XXL), so that a move to another device loses nothing.
    """

    def __init__(self, networks: Sequence[nn.Module], width: int, cache_entries: int) -> None:
        self.networks, self.width, self.cache_entries = networks, width, cache_entries
        self._cache: dict[str, Text] = {}  # in order of use, the oldest first
        for network in networks:
            network.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return next(self.networks[0].parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.networks[0].parameters()).dtype

    def to(self, device: torch.device | str) -> Self:
        """Self, its networks moved to `device`."""
        for network in self.networks:
            network.to(device)
        return self

    def is_cached(self, prompt: str) -> bool:
        """Whether encoding `prompt` needs no network, so that the weights may stay where they are."""
        return prompt in self._cache

    def encode(self, prompts: Sequence[str]) -> Text:
        """The text of `prompts`, one row each, on this encoder's device.

        Raises InputError for anything but a list of one or more strings that UTF-8 can hold.
        """
        if isinstance(prompts, str) or not prompts:
            raise InputError(f"prompts={prompts!r}: a list of one or more strings accepted; try [prompt]")
        parts = [self._recall(prompt) for prompt in prompts]
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Text(
            torch.cat([part.tokens for part in parts]).to(self.device),
            torch.cat(pooled).to(self.device) if pooled else None,
            tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        )

    def _recall(self, prompt: str) -> Text:
        text = self._cache.pop(prompt, None)
        if text is None:
            _check_prompt(prompt)
            with torch.no_grad():
                text = self._encode(prompt)
            text = Text(text.tokens.cpu(), None if text.pooled is None else text.pooled.cpu(), text.warnings)
        self._cache[prompt] = text
        while len(self._cache) > self.cache_entries:
            self._cache.pop(next(iter(self._cache)))
        return text

    @abstractmethod
    def _encode(self, prompt: str) -> Text:
        """The text (1, m, c) of one prompt, computed."""


class ByteT5(CachedEncoder):
    """T5 over the prompt's UTF-8 bytes; the pooled vector is the mean over the tokens that are not padding.

    Who trains `network` should set `cache_entries` to 0, or see encodings by yesterday's weights.
    """

    def __init__(self, network: T5Encoder, max_length: int, cache_entries: int = 64) -> None:
        super().__init__([network], network.shared.embedding_dim, cache_entries)
        self.network, self.max_length = network, max_length

    def _encode(self, prompt: str) -> Text:
        ids, warnings = byte_ids(prompt, self.max_length)
        rows = torch.tensor([ids], device=self.device)
        tokens = self.network(rows)
        return Text(tokens, pool(tokens, rows), warnings)


def byte_ids(prompt: str, max_length: int) -> tuple[list[int], tuple[str, ...]]:
    """The prompt's bytes + 3, the end, padding up to max_length; and a warning if bytes were left out.

    The cut falls between characters: no half character is read.
    """
    data = prompt.encode()
    kept = data[: max_length - 1].decode(errors="ignore")
    ids = [byte + FIRST_BYTE for byte in kept.encode()] + [EOS]
    warnings = _cut("the encoder", len(ids) - 1, len(data), "bytes", prompt[len(kept) :])
    return ids + [PAD] * (max_length - len(ids)), warnings


def pool(tokens: Tensor, ids: Tensor) -> Tensor:
    """The mean (b, c) of tokens (b, m, c) over the places where ids (b, m) are not padding; summed in float32."""
    own = (ids != PAD).unsqueeze(-1).float()
    return ((tokens.float() * own).sum(1) / own.sum(1)).to(tokens.dtype)


class ClipT5(CachedEncoder):
    """T5-XXL for the tokens; CLIP-L for the pooled vector: its last norm at the first end token, unprojected.

    clip, t5: the bare text stacks of `transformers`. The tokenizers: `tokenizers.Tokenizer`.
    """

    def __init__(
        self,
        clip: Any,
        t5: Any,
        clip_tokenizer: Any,
        t5_tokenizer: Any,
        config: TextConfig,
        cache_entries: int = 64,
    ) -> None:
        super().__init__([t5, clip], t5.config.d_model, cache_entries)
        self.clip, self.t5, self.config = clip, t5, config
        self.clip_tokenizer, self.t5_tokenizer = clip_tokenizer, t5_tokenizer

    def _encode(self, prompt: str) -> Text:
        ids, t5_cut = _token_ids("T5", self.t5_tokenizer, prompt, [], EOS, PAD, self.config.max_length)
        tokens = self.t5(input_ids=torch.tensor([ids], device=self.device)).last_hidden_state
        start, end = (self.clip_tokenizer.token_to_id(name) for name in CLIP_SPECIAL)
        length = self.config.clip_length
        ids, clip_cut = _token_ids("CLIP", self.clip_tokenizer, prompt, [start], end, end, length)
        states = self.clip(input_ids=torch.tensor([ids], device=self.device)).last_hidden_state
        # The end has the highest id. `eos_token_id` of the published config.json, 2, is another token, "#".
        return Text(tokens, states[:, ids.index(max(ids))], t5_cut + clip_cut)


def _token_ids(
    who: str, tokenizer: Any, prompt: str, start: list[int], end: int, pad: int, length: int
) -> tuple[list[int], tuple[str, ...]]:
    encoding = tokenizer.encode(prompt, add_special_tokens=False)
    total, room = len(encoding.ids), length - len(start) - 1
    left_out = prompt[encoding.offsets[room][0] :] if total > room else ""
    ids = [*start, *encoding.ids[:room], end]
    return ids + [pad] * (length - len(ids)), _cut(who, min(total, room), total, "tokens", left_out)


def _cut(who: str, used: int, total: int, unit: str, left_out: str) -> tuple[str, ...]:
    if used == total:
        return ()
    first = left_out if len(left_out) <= 40 else left_out[:40] + "…"
    return (f"prompt: {who} read {used} of {total} {unit}; left out from {first!r} on; shorten the prompt",)


def _check_prompt(prompt: str) -> None:
    try:
        prompt.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise InputError(f"prompt={prompt!r}: a string of whole characters accepted; {error}") from None
