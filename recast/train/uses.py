"""What an example is used for in a step: an edit, a picture from its caption, or a picture kept as it is.

A pair says more than one thing: its target from its context, either picture from its caption, its context from its
target by the inverse instruction, its context from itself. What is drawn for example number n depends on the run's
seed and on n alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from recast.errors import ConfigError, InputError
from recast.train.data.example import Batch
from recast.train.objective import even
from recast.train.times import TimeLaw

Kind = Literal["edit", "text_to_image", "keep"]
KINDS: tuple[Kind, ...] = ("edit", "text_to_image", "keep")
TARGET = -1
"""The slot of a batch's targets; its contexts are slots 0, 1, ..."""
KEEP = (
    "keep everything as it is",
    "leave everything as it is",
    "change nothing",
    "don't change anything",
    "return the picture unchanged",
    "leave the picture alone",
    "keep the picture exactly the same",
)
CHOICES = 8
"""Even numbers drawn for each example; what each decides is said in `_use`."""


@dataclass(frozen=True, kw_only=True)
class FlowTraining:
    """What a flow stage trains on, and how. Shares are of the uses that an example has something for."""

    edit: float = 0.6
    text_to_image: float = 0.35  # the context is left out, of the sequence too
    keep: float = 0.05  # of examples with contexts: nothing is to change
    reverse: float = 0.1  # of edits that have an inverse instruction: from the target back to the context
    text_dropout: float = 0.1  # the prompt is empty, the context stays; never of keep
    uses: int = 1  # of every example in a step, each with noise and a time of its own; pictures are encoded once
    kept_encodings: int = 0  # pictures, and prompts of a frozen encoder, that are encoded once: where few come again
    context_dropout: float = 0.0  # of edits: the instruction stays, the context is left out
    keep_instructions: tuple[str, ...] = KEEP
    times: TimeLaw = field(default_factory=TimeLaw)
    mask_weight: float = 1.0  # of tokens that must change, where the mask is known, against 1 of the others
    conditioning: Literal["sequence", "channels"] = "sequence"  # channels: the context is concatenated to each token
    context_offset: bool = True  # False: contexts sit where the target sits, at index 0
    train_text: bool = False  # the text encoder too
    text_rate: float = 0.25  # of the flow's rates, where it is
    guidance: float = 1.0  # fed to the guidance embedding of models that have one
    guidance_loss: float | None = None  # scale of a guided target, for guidance-distilled bases; None for the plain one
    guidance_loss_ramp: bool = False  # the scale falls to 1 with t

    def __post_init__(self) -> None:
        for name in ("edit", "text_to_image", "keep", "reverse", "text_dropout", "context_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: a share from 0 to 1 accepted")
        if not (isinstance(self.uses, int) and self.uses >= 1):
            raise ConfigError(f"uses={self.uses!r}: a whole number from 1 accepted; 4 where making pictures is slow")
        if not (isinstance(self.kept_encodings, int) and self.kept_encodings >= 0):
            raise ConfigError(f"kept_encodings={self.kept_encodings!r}: a whole number from 0 accepted; 0 keeps none")
        if self.edit + self.text_to_image + self.keep == 0:
            raise ConfigError("edit=0, text_to_image=0, keep=0: one of them above 0 needed")
        if self.keep and not self.keep_instructions:
            raise ConfigError("keep_instructions=(): at least one needed; write some, or set keep=0")
        if self.conditioning not in ("sequence", "channels"):
            raise ConfigError(f"conditioning={self.conditioning!r}: sequence or channels accepted; choose one")
        for name in ("mask_weight", "text_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: a number above 0 accepted")
        if self.guidance_loss is not None and not self.guidance_loss >= 1:
            raise ConfigError(f"guidance_loss={self.guidance_loss}: a scale from 1 accepted, 3 to 4 is usual; or none")


@dataclass(frozen=True, kw_only=True)
class Use:
    """One example, as one step sees it."""

    example: int  # its place in the batch
    number: int  # its own: noise is drawn by it
    kind: Kind
    target: int  # the slot of the picture to be made
    contexts: tuple[int, ...]  # the slots of the pictures that are shown, in order
    prompt: str
    base: int = 0  # of its contexts: the one that is changed
    has_mask: bool = False  # the batch's mask says what must change in that one
    is_copy: bool = False  # an edit whose target is one of its contexts, to the pixel: nothing is to change
    category: str = ""  # of the edit, in the source's words
    time: tuple[float, float] = (1.0, 0.5)  # choice and quantile, as `TimeLaw.times` takes them


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Uses of one length, in tensors: k of them go through the network together."""

    uses: tuple[Use, ...]
    clean: Tensor  # (k, n, d)
    grid: tuple[int, int]  # rows and columns of the target's tokens
    context: Tensor | None  # (k, r, d), all contexts one after another
    context_grids: tuple[tuple[int, int], ...]
    mask: Tensor | None  # (k, n) bool: tokens that must change; None where nobody knows
    counts: bool = True  # False: run only because other processes run one, and judged by none

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(use.number for use in self.uses)

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(use.prompt for use in self.uses)


def plan(batch: Batch, training: FlowTraining, seed: int) -> list[Use]:
    """`training.uses` uses of every example of the batch, each drawn by a number of its own.

    An example is used for what it has: an edit needs an instruction, text to image a caption of a picture of the
    target's size. The shares of what it has nothing for go to the others; a picture that came without a context is
    made from its caption even where `text_to_image` is 0.
    Raises InputError for an example that has nothing for any use that the run trains.
    """
    numbers = [number * training.uses + k for number in batch.numbers for k in range(training.uses)]
    drawn = even(numbers, seed, CHOICES).tolist()
    return [
        replace(_use(batch, place // training.uses, training, row), number=number)
        for place, (number, row) in enumerate(zip(numbers, drawn, strict=True))
    ]


def fixed(batch: Batch, training: FlowTraining) -> list[Use]:
    """What a run is judged by: every example as an edit, if it has an instruction, and as text to image, if its target
    has a caption; as neither where the run does not train that.
    """
    found = []
    for example in range(len(batch.ids)):
        instruction, caption = batch.instructions[example], batch.captions[example][-1]
        if training.edit and batch.contexts and instruction is not None:
            found.append(_edit(batch, example, instruction))
        if _text_share(batch, training) and caption is not None:
            found.append(_text_to_image(batch, example, TARGET, caption))
    return found


def _use(batch: Batch, example: int, training: FlowTraining, drawn: Sequence[float]) -> Use:
    use_at, picture_at, reverse_at, empty_at, phrase_at, blind_at, choice, quantile = drawn
    instruction, inverse = batch.instructions[example], batch.inverses[example]
    captions = _captions(batch, example)
    has_base = bool(batch.contexts) and _fits(batch, batch.bases[example])
    shares = {
        "edit": training.edit if batch.contexts and instruction is not None else 0.0,
        "text_to_image": _text_share(batch, training) if captions else 0.0,
        "keep": training.keep if has_base else 0.0,
    }
    if not sum(shares.values()):
        raise InputError(
            f"example {batch.ids[example]}: {len(batch.contexts)} contexts, instruction={instruction!r}, "
            f"{len(captions)} captions; something for one use needed (edit={training.edit}, "
            f"text_to_image={training.text_to_image}, keep={training.keep}); leave it out, or train what it has"
        )
    kind = _pick(shares, use_at)
    is_empty = empty_at < training.text_dropout
    if kind == "keep":
        phrase = training.keep_instructions[int(phrase_at * len(training.keep_instructions))]
        use = Use(
            example=example,
            number=batch.numbers[example],
            kind="keep",
            target=batch.bases[example],
            contexts=tuple(range(len(batch.contexts))),
            prompt=phrase,
            base=batch.bases[example],
            time=(choice, quantile),
        )
        return use
    if kind == "text_to_image":
        slot, caption = captions[int(picture_at * len(captions))]
        return _text_to_image(batch, example, slot, "" if is_empty else caption, (choice, quantile))
    assert instruction is not None
    if blind_at < training.context_dropout:
        return _text_to_image(batch, example, TARGET, "" if is_empty else instruction, (choice, quantile))
    is_back = inverse is not None and has_base and reverse_at < training.reverse
    wanted = inverse if is_back and inverse is not None else instruction
    return _edit(batch, example, "" if is_empty else wanted, (choice, quantile), is_back=is_back)


def _edit(
    batch: Batch, example: int, prompt: str, time: tuple[float, float] = (1.0, 0.5), *, is_back: bool = False
) -> Use:
    slots = list(range(len(batch.contexts)))
    target = TARGET
    if is_back:
        target = batch.bases[example]
        slots[target] = TARGET
    wanted = _picture(batch, example, target)
    return Use(
        example=example,
        number=batch.numbers[example],
        kind="edit",
        target=target,
        contexts=tuple(slots),
        prompt=prompt,
        base=batch.bases[example],
        has_mask=batch.masks is not None and example not in batch.unmasked,
        is_copy=any(torch.equal(_picture(batch, example, slot), wanted) for slot in slots),
        category=batch.kinds[example] if batch.kinds else "",
        time=time,
    )


def _picture(batch: Batch, example: int, slot: int) -> Tensor:
    """The pixels (3, H, W) of one slot of an example."""
    return (batch.target if slot == TARGET else batch.contexts[slot])[example]


def _text_to_image(batch: Batch, example: int, slot: int, prompt: str, time: tuple[float, float] = (1.0, 0.5)) -> Use:
    return Use(
        example=example,
        number=batch.numbers[example],
        kind="text_to_image",
        target=slot,
        contexts=(),
        prompt=prompt,
        time=time,
    )


def _captions(batch: Batch, example: int) -> list[tuple[int, str]]:
    """Slots and captions of the pictures that have one and are of the target's size; captions end with the target's."""
    slots = [*range(len(batch.contexts)), TARGET]
    pairs = zip(slots, batch.captions[example], strict=True)
    return [(slot, caption) for slot, caption in pairs if caption is not None and _fits(batch, slot)]


def _fits(batch: Batch, slot: int) -> bool:
    return slot == TARGET or batch.contexts[slot].shape == batch.target.shape


def _text_share(batch: Batch, training: FlowTraining) -> float:
    """Of text to image; all of it where there is no context to edit."""
    return training.text_to_image if batch.contexts else 1.0


def _pick(shares: dict[str, float], at: float) -> str:
    """The name at `at` in [0, 1) of the shares laid end to end."""
    left = at * sum(shares.values())
    for name, share in shares.items():
        if left < share:
            return name
        left -= share
    return next(name for name, share in reversed(shares.items()) if share)
