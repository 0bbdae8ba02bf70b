"""The tree of errors. Everything recast raises on purpose is one of these.

    RecastError
    ├── ConfigError      a number or a combination of options that cannot work
    ├── ShapeError       a tensor whose shape would broadcast silently or not fit
    ├── InputError       a picture, a mask, a prompt or a recipe that cannot be used as it is
    ├── WeightsError     a checkpoint that does not fit the model, key by key
    │   └── MissingWeights   files that are not where they were said to be
    ├── TrainingError    a run that cannot go on as it is; what was saved stays good
    ├── GateFailed       something was made, and is not as good or not the same as was asked for
    ├── OutOfMemory      the work does not fit the device; says what would
    └── Cancelled        the caller stopped the work; nothing is broken

A message has four parts: which argument, what came, what is accepted, what to do.
"""


class RecastError(Exception):
    """The root: catch this to catch everything recast raises on purpose."""


class ConfigError(RecastError, ValueError):
    """An option, or a combination of options, that cannot work."""


class ShapeError(RecastError, ValueError):
    """A tensor whose shape does not fit, or would broadcast silently."""


class InputError(RecastError, ValueError):
    """A picture, mask, prompt or recipe that cannot be used as it came."""


class WeightsError(RecastError, ValueError):
    """A checkpoint that does not fit: missing, unexpected or misshapen tensors, or an unsafe format."""


class MissingWeights(WeightsError):
    """Weights that are not where they were said to be, or cannot be had without a licence."""


class TrainingError(RecastError):
    """A training run that cannot go on as it is. The newest checkpoint is whole; the message says what to change."""


class GateFailed(RecastError):
    """What was made does not hold what was asked of it: an edit that cannot be laid over its source, for one."""


class OutOfMemory(RecastError, MemoryError):
    """The work does not fit the device. The message says how much was needed and what would fit."""


class Cancelled(RecastError):
    """The caller stopped the work."""
