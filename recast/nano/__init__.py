"""The embedded default: weights, model card, golden values. Data, no code but where it lies."""

from pathlib import Path

NANO = Path(__file__).parent
