"""What an adversarial distillation in pixels does, as data; how is said in `add`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from recast.errors import ConfigError
from recast.train.distill.adversarial_settings import AdversarialSettings
from recast.train.distill.augment import KINDS, Kind
from recast.train.distill.heads import HeadSettings

Weighting = Literal["exponential", "sds", "nfsd"]
PIXEL_HEADS = HeadSettings(taps=(0.4, 0.6, 0.8, 1.0), width=128)
"""Four heads: on layers 5, 7, 10 and 12 of DINOv2 ViT-S; on all but the largest stage of the autoencoder's encoder."""


@dataclass(frozen=True, kw_only=True)
class AddSettings(AdversarialSettings):
    """What an adversarial distillation in pixels does, beside what all adversarial ones do.

    heads: their taps are parts of the depth of the features. distill_weighting: how much each noise level counts, and
    what is taught there, as `score.taught` says. crop_px: of pictures larger than that, what is decoded and judged is a
    square of this side, drawn; it must be whole tokens.
    """

    pictures: float = 1.0  # share of what counts as real that is pictures themselves, where they come
    heads: HeadSettings = PIXEL_HEADS
    distill: float = 2.5  # weight of the squared distance, in pixels, to where one step of the teacher leads
    distill_weighting: Weighting = "exponential"
    negative: str = "unrealistic, blurry, low quality"  # prompt of what to keep away from; read by nfsd alone
    r1: float = 1e-5
    crop_px: int | None = None
    augment: tuple[Kind, ...] = field(default=())  # of what the heads' features are taken of, real and fake alike

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_weights("distill")
        if self.distill_weighting not in get_args(Weighting):
            raise ConfigError(
                f"distill_weighting={self.distill_weighting!r}: {', '.join(get_args(Weighting))} accepted; choose one"
            )
        if self.crop_px is not None and not (isinstance(self.crop_px, int) and self.crop_px >= 1):
            raise ConfigError(f"crop_px={self.crop_px!r}: pixels from 1, a multiple of a token's, accepted; or none")
        wrong = [kind for kind in self.augment if kind not in KINDS]
        if wrong:
            raise ConfigError(f"augment={self.augment}: {', '.join(KINDS)} accepted; leave out {', '.join(wrong)}")
