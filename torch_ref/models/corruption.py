"""What a denoising autoencoder's encoder sees (Vincent et al. 2010, JMLR 11). Images are (N, C, H, W)."""

import math

import torch

MOST = {"gaussian": 1e6, "masking": 1.0, "salt_and_pepper": 1.0}  # {kind: what its amount has to be below}


def read_corruption(text):
    """(kind, amount) of "gaussian:0.1", "masking:0.3" or "salt_and_pepper:0.1". Raises ValueError for anything else."""
    kind, _, number = str(text).partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if kind not in MOST or not 0 < amount < MOST[kind]:
        raise ValueError("expected gaussian:SIGMA, masking:P or salt_and_pepper:P with 0 < SIGMA < 1e6 and 0 < P < 1")
    return kind, amount


class Corruption:
    """A corruption written as in "gaussian:0.1", "masking:0.3" or "salt_and_pepper:0.1"."""

    def __init__(self, text, image_shape):
        self.kind, self.amount = read_corruption(text)
        self.image_shape = image_shape

    def draw_noise(self, count, rng, dtype):
        """(N, H, W, C) from a NumPy generator."""
        draw = rng.standard_normal if self.kind == "gaussian" else rng.random
        return draw((count, *self.image_shape), dtype=dtype)

    def __call__(self, images, noise=None):
        if noise is None:
            noise = torch.randn_like(images) if self.kind == "gaussian" else torch.rand_like(images)
        if self.kind == "gaussian":
            return torch.add(images, noise, alpha=self.amount)
        corrupted = images.masked_fill(noise < self.amount, 0.0)
        if self.kind == "salt_and_pepper":
            corrupted = corrupted.masked_fill(noise < self.amount / 2, 1.0)
        return corrupted
