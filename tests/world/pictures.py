"""What may happen to a picture on its way to a measure."""

import io

import numpy as np
from PIL import Image

SIGMA = 255 / 10 ** (31 / 20)
"""The standard deviation of white noise at a PSNR of 31 dB."""


def noisy(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, SIGMA, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, subsampling: int) -> np.ndarray:
    """Through JPEG 90. subsampling: Pillow's 0 is 4:4:4, 2 is 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=subsampling)
    return np.asarray(Image.open(file).convert("RGB"))
