"""The embedded default: weights, model card, golden values. Data, and where it lies.

Weights are kept packed, as NAME.zip, a third smaller and to the bit the same, and unpacked beside it when this is first
imported. NANO is the folder that has them.
"""

from pathlib import Path

from recast.nano.packed import unpacked

NANO = unpacked(Path(__file__).parent)
