"""What can be read from a text encoder's outputs: small heads learn it from the encoder as it is, which stays frozen.

    python benchmarks/text_reading.py nano recipes/nano-text nothing [--texts 25600] [--batch 64] [--device auto]
                                      [--no-record] [--smoke]

Each ENCODER is a model, a folder with a text_encoder in it, or `nothing`: random weights, what heads find by
themselves. Heads, texts and their order are the same for all. What such heads do not find in the outputs, a flow
transformer hardly will. Of the held-out split, by a learned query over the tokens and by their mean:

stated   share of the attributes that a text states
colours  of these, the colours
slips    the same as stated, with a typing slip in each text
titles   share of new titles spelled whole

Appends to results/text_reading.jsonl.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import record
import torch

import recast
from recast.context.t5 import T5Encoder
from recast.context.text import ByteT5
from recast.loading import pick_device
from recast.train.export import read_part, t5_config
from recast.train.text_batches import UNIT, encode, write
from recast.train.text_stage import TextStage, TextTraining, nano_encoder, new_encoder

NOTHING = "nothing"
LENGTH = 144  # tokens that `nano` pads to
RATE = 3e-3
SHOWN = {
    "stated, by query %": "queried/stated",
    "by mean %": "pooled/stated",
    "with slips %": "slips/queried/stated",
    "colours, by query %": "queried/colour",
    "by mean  %": "pooled/colour",
    "titles %": "title/new",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train heads on each encoder in turn, print what they read, append it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", nargs="+", metavar="ENCODER")
    parser.add_argument("--texts", type=int, default=25_600, help="that the heads learn from")
    parser.add_argument("--batch", type=int, default=64, help=f"of them a step, a multiple of {UNIT}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="two steps, to see that it runs; nothing is recorded")
    args = parser.parse_args(argv)
    texts, held_out = (2 * args.batch, UNIT) if args.smoke else (args.texts, TextTraining().validate)
    rows = []
    for name in args.encoders:
        started = time.perf_counter()
        stage = read(encoder_of(name).to(pick_device(args.device)), texts, args.batch, held_out)
        found = stage.validate()
        rows.append(
            {"encoder": name} | {shown: f"{100 * found.get(key, float('nan')):.1f}" for shown, key in SHOWN.items()}
        )
        if not (args.smoke or args.no_record):
            about = {"encoder": name, "texts": texts, "batch": args.batch, "held_out": held_out, "rate": RATE}
            record.append("text_reading", {**about, "seconds": time.perf_counter() - started, "figures": dict(found)})
    print(record.table(rows))


def encoder_of(name: str) -> T5Encoder:
    """The encoder of a model or a folder; of `nothing` one with random weights."""
    if name == NOTHING:
        return new_encoder(nano_encoder(), 0)
    if (Path(name) / "text_encoder").is_dir():
        tensors = read_part(Path(name), "text")
        encoder = T5Encoder(t5_config(tensors))
        encoder.load_state_dict(tensors)
        return encoder
    text = recast.load(name, device="cpu").text
    if not isinstance(text, ByteT5):
        raise SystemExit(f"{name}: reads by {type(text).__name__}; a model that reads bytes accepted, as nano is")
    return text.network


def read(encoder: T5Encoder, texts: int, batch: int, held_out: int) -> TextStage:
    """A stage whose heads have learned to read the frozen encoder's outputs."""
    precision = "bf16" if encoder.shared.weight.device.type == "cuda" else "fp32"
    stage = TextStage(
        encoder.float().requires_grad_(False), TextTraining(validate=held_out), max_length=LENGTH, precision=precision
    )
    heads, steps = stage.networks["heads"], texts // batch
    optimiser = torch.optim.AdamW(heads.parameters(), lr=RATE, weight_decay=0.01)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(
                1.0, (step + 1) / 20, 4 * (steps - step) / steps
            )  # warmed up, down in the last quarter
        said = [
            text
            for unit in range(step * batch // UNIT, (step + 1) * batch // UNIT)
            for text in write(0, unit, slips=0.1)
        ]
        prepared = stage.prepare(
            encode(said, LENGTH, range(step * batch, step * batch + len(said)), len(said)), step / steps
        )
        optimiser.zero_grad()
        stage.loss("text", prepared, step / steps).value.backward()
        optimiser.step()
    return stage


if __name__ == "__main__":
    main()
