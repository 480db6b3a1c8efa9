"""Simple priors, from which new latents are drawn. None of them is learned, and their captions say so.

A bottleneck's attribute `priors` lists those that it can use. `of(bottleneck, latents)` makes one; `latents` are those
of training images if `fitted` is True, else None. `draw(count, rng, dtype)` returns new latents.
"""

import math

import numpy as np

from scratch.arrays import each
from scratch.bottlenecks.vector_quantizer import of_each_codebook


class StandardNormal:
    """z ~ N(0, 1), shape (count, Z). The VAE's codes are trained towards this distribution, the plain AE's are not."""

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
    """A Gaussian with the mean μ and the covariance of given latents (M, Z).

    With the centred latents x (M, Z) the covariance is xᵀx / M. z = μ + xᵀ ε / √M with M numbers ε ~ N(0, 1) has
    exactly this covariance. So it needs no decomposition and may be singular.
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
    """Each code of a grid (I, J) is drawn independently, with the frequencies of the codes in given indices (M, I, J).

    With several grids, given as a list of such indices, each has frequencies of its own, and the grids are independent.
    So do the G groups of a grid (I, J, G).
    """

    fitted = True
    label = "frequency"
    caption = "codes drawn one by one by their frequency of use; no prior was learned"

    def __init__(self, indices, codes):
        self.grid = each(lambda k: k.shape[1:], indices)
        self.frequencies = each(lambda k: np.stack([np.bincount(part.ravel(), minlength=codes) / part.size
                                                    for part in of_each_codebook(k)]), indices)  # (G, K)

    @classmethod
    def of(cls, bottleneck, latents):
        return cls(latents, bottleneck.codes)

    def draw(self, count, rng, dtype):
        def drawn(frequencies, grid):
            parts = [rng.choice(len(p), size=(count, *grid[:2]), p=p) for p in frequencies]
            return np.stack(parts, axis=-1).reshape(count, *grid)

        return each(drawn, self.frequencies, self.grid)


PRIORS = {"standard_normal": StandardNormal, "fitted_gaussian": FittedGaussian, "code_frequencies": CodeFrequencies}
