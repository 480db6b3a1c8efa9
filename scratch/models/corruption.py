"""Corruptions. The encoder of a denoising autoencoder receives x̃ in place of the image x, and the target is still x:

    loss = reconstruction(decoder(bottleneck(encoder(x̃))), x)       x̃ = corrupt(x, noise)

To undo the noise, the model has to learn what images look like. Copying does not help, however large the code is.
(Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders", ICML; Vincent et al. 2010,
"Stacked denoising autoencoders", JMLR 11, which has all three kinds)

A corruption has no backward: it comes before the encoder, and ∂L/∂image is not needed. Training and the held-out loss
corrupt images; `encode` and `reconstruct` do not.
"""

import math

import numpy as np

from scratch.arrays import array_module
from scratch.options.option import Option, Text


class Corruption:
    """x̃ = corrupt(x, noise). Shapes: x, noise, x̃ (N, H, W, C).

    Each number of an image, one channel of one pixel, has noise of its own, like each element of the paper's vectors.
    """

    def __init__(self, amount, image_shape, *, dtype=np.float32, rng=None):
        self.amount, self.image_shape, self.dtype = amount, image_shape, dtype
        self.rng = rng or np.random.default_rng()

    def forward(self, x, noise=None):
        if noise is None:
            noise = array_module(x).asarray(self.draw_noise(len(x), self.rng))
        if noise.shape != x.shape or noise.dtype != x.dtype:
            raise ValueError(f"{type(self).__name__} takes images and noise of one shape and dtype, got images "
                             f"{x.shape} {x.dtype} and noise {noise.shape} {noise.dtype}")
        return self.corrupt(x, noise)

    def draw_noise(self, count, rng):
        """u ~ U[0, 1), which is below p with probability p."""
        return rng.random((count, *self.image_shape), dtype=self.dtype)


class Gaussian(Corruption):
    """x̃ = x + σ·ε,   ε ~ N(0, 1).

    As in the paper, x̃ is not clipped to [0, 1]. Clipping would make black brighter and white darker on average, and
    the noise would no longer be Gaussian. The PSNR of x̃ is −20 log₁₀ σ for every image.
    """

    def draw_noise(self, count, rng):
        return rng.standard_normal((count, *self.image_shape), dtype=self.dtype)

    def corrupt(self, x, eps):
        return x + self.amount * eps


class Masking(Corruption):
    """x̃ = x · [u ≥ p]: with probability p a number becomes 0. (The paper sets an exact share of them to 0.)"""

    def corrupt(self, x, u):
        return x * (u >= self.amount)


class SaltAndPepper(Corruption):
    """x̃ = x · [u ≥ p] + [u < p/2]: with probability p a number becomes 1 or 0, either as often."""

    def corrupt(self, x, u):
        return x * (u >= self.amount) + (u < self.amount / 2)


LARGEST_SIGMA = 1e6  # of noise on numbers in [0, 1]; the square of far larger ones is infinite in float32
CORRUPTIONS = {"gaussian": Gaussian, "masking": Masking, "salt_and_pepper": SaltAndPepper}


def read_corruption(text):
    """(kind, amount) of "gaussian:0.1", "masking:0.3" or "salt_and_pepper:0.1". Raises ValueError for anything else."""
    kind, _, number = text.partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    most = LARGEST_SIGMA if kind == "gaussian" else 1
    if kind not in CORRUPTIONS or not 0 < amount < most:
        raise ValueError(f"expected gaussian:SIGMA, masking:P or salt_and_pepper:P, as in masking:0.3, with "
                         f"0 < SIGMA < {LARGEST_SIGMA:g} and 0 < P < 1, got {text!r}")
    return kind, amount


CORRUPTION = Option(
    "corruption", Text("a corruption such as masking:0.3", "KIND:AMOUNT", read_corruption), None,
    "noise on the encoder's input: gaussian:SIGMA, masking:P or salt_and_pepper:P",
    source="Vincent et al., JMLR 11, 2010")
