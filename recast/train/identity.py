"""The recipe of `recipes/identity.sh`: trains the networks that know the people of the world, and writes their file."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

import torch

from recast.train import export, loop
from recast.train.identity_batches import IdentityBatches
from recast.train.identity_stage import IdentityStage, IdentityTraining
from recast.train.settings import Run, Settings
from recast.world.identity_network import IdentityNetwork
from recast.world.recogniser import save

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recast.train.identity", description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="of wall clock, in all calls")
    parser.add_argument("--out", type=Path, default=Path("runs/identity"), help="the run's folder")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and of the pictures")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(given.out, minutes=given.minutes, seed=given.seed)


def train(
    out: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    training: IdentityTraining | None = None,
    families: int = 8,
    searched: int = 8,
) -> Path:
    """Train for so many minutes or steps, or go on with what `out` holds; the file of what was learned.

    families, searched: see `IdentityBatches`. Raises what `loop.run` raises.
    """
    training = training or IdentityTraining()
    stage = IdentityStage(training, seed=seed)
    batches = IdentityBatches(families=families, searched=searched, seed=2 * seed)
    course = Run(
        minutes=minutes, steps=steps, seed=seed, log_every_steps=20, validate_every_steps=100, save_every_steps=200
    )
    settings = Settings(run=course, stage=asdict(training), data={"kind": "identities"})
    for event in loop.run(stage, batches, settings, out):
        if event.numbers:
            said = " ".join(f"{name}={value:.4g}" for name, value in event.numbers.items())
            log.info("step=%d share=%.3f %s", event.progress.step, event.share, said)
    return save(trained(out), out / "identity.safetensors")


def trained(out: Path) -> IdentityNetwork:
    """The networks of the newest checkpoint of a run."""
    network = IdentityNetwork()
    network.load_state_dict(export.read_network(out, "identity", "raw"))
    return network.eval()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
