"""Where new latents come from. None of these priors was learned: each is a guess, and its caption says so.

A bottleneck names those that it can use in `priors`. `of(bottleneck, latents)` makes one; `latents` are those of
training images where `fitted` is True, else None.
"""

import math

import numpy as np

from scratch.arrays import each


class StandardNormal:
    """z ~ N(0, I): what the VAE was trained towards, and what the plain AE was not."""

    fitted = False
    label = "N(0, I)"
    caption = "z from N(0, I); no prior was learned"

    def __init__(self, latent_dim):
        self.latent_dim = latent_dim

    @classmethod
    def of(cls, bottleneck, latents):
        return cls(bottleneck.latent_dim)

    def draw(self, count, rng, dtype):
        return rng.standard_normal((count, self.latent_dim)).astype(dtype)


class FittedGaussian:
    """z ~ N(m, S) with the mean m and the covariance S of given latents (M, Z).

    With the centred latents X, S = XᵀX / M, and m + Xᵀ ε / √M with ε ~ N(0, I) in M dimensions has just this
    covariance: no decomposition is needed, and S may be singular.
    """

    fitted = True
    label = "fitted"
    caption = "z from a Gaussian fitted to the training codes; no prior was learned"

    def __init__(self, latents):
        self.mean = latents.mean(axis=0, dtype=np.float64)
        self.centred = latents - self.mean

    @classmethod
    def of(cls, bottleneck, latents):
        return cls(latents)

    def draw(self, count, rng, dtype):
        eps = rng.standard_normal((count, len(self.centred)))
        return (self.mean + eps @ self.centred / math.sqrt(len(self.centred))).astype(dtype)


class CodeFrequencies:
    """Every code of a grid (h, w) drawn on its own, as often as it is used over given indices (M, h, w).

    Of several grids, a list of such indices, each goes by its own frequencies, and nothing ties one to another.
    """

    fitted = True
    label = "frequency"
    caption = "codes drawn one by one by their frequency of use; no prior was learned"

    def __init__(self, indices, codes):
        self.grid = each(lambda k: k.shape[1:], indices)
        self.frequency = each(lambda k: np.bincount(k.ravel(), minlength=codes) / k.size, indices)

    @classmethod
    def of(cls, bottleneck, latents):
        return cls(latents, bottleneck.codes)

    def draw(self, count, rng, dtype):
        return each(lambda p, grid: rng.choice(len(p), size=(count, *grid), p=p), self.frequency, self.grid)


PRIORS = {"standard_normal": StandardNormal, "fitted_gaussian": FittedGaussian, "code_frequencies": CodeFrequencies}
