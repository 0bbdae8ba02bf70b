"""How strongly a teacher is guided: one scale, or edits at one of their own."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from recast.errors import ConfigError
from recast.train.uses import Pass


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Scales of guidance. Where the teacher has an embedding, it and its student are told them."""

    guidance: float = 3.0
    edit_guidance: float | None = None  # of what has contexts; None for the same

    def scale(self, *, is_edit: bool) -> float:
        """Of an example with contexts, or of one without."""
        return self.guidance if self.edit_guidance is None or not is_edit else self.edit_guidance

    def scale_of(self, each: Pass) -> float:
        """Of a pass."""
        return self.scale(is_edit=each.context is not None)

    def check_scales(self) -> None:
        """Raises ConfigError for a scale below 1, or one that is not finite."""
        for name in ("guidance", "edit_guidance"):
            scale = getattr(self, name)
            if scale is not None and not 1 <= scale < inf:
                raise ConfigError(f"{name}={scale}: a finite scale from 1 accepted; 2.5 to 3.5 is usual")
