"""Dropout: in training a random share of the numbers is set to 0."""

import numpy as np

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module


class Dropout(Module):
    """y = x · [u ≥ p] / (1 − p),   u ~ U(0, 1) for each number.       ∂L/∂x = ∂L/∂y · [u ≥ p] / (1 − p)

    Any shape; u is the `noise` of forward, in the shape of x. The division keeps the mean: E[y] = x. In evaluation, and
    with p = 0, y is x. (Srivastava et al. 2014)

    Raises ValueError unless 0 ≤ p < 1, and for noise of another shape than x.
    """

    def __init__(self, p=0.5, *, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout takes a probability p with 0 ≤ p < 1, got {p}")
        self.p, self.rng = p, rng or np.random.default_rng()

    def draw_noise(self, shape, dtype):
        return self.rng.random(shape, dtype=dtype)

    def forward(self, x, noise=None):
        check_floating(self, x)
        if not self.training or self.p == 0:
            self.save(None)
            return x
        xp = array_module(x)
        if noise is None:
            noise = xp.asarray(self.draw_noise(x.shape, x.dtype))
        if noise.shape != x.shape:
            raise ValueError(f"Dropout takes noise of its input's shape {x.shape}, got {noise.shape}")
        kept = (noise >= self.p) / xp.asarray(1 - self.p, x.dtype)
        self.save(kept)
        return x * kept

    def backward(self, dy):
        (kept,) = self.recall()
        return dy if kept is None else dy * kept
