"""Normalisation of a batch by itself, and of a single image by what the batches were like."""

import numpy as np

from scratch.layers.checks import check_input
from scratch.layers.standardize import Standardizing
from scratch.module import Buffer, Parameter, elementwise


def move(running, of_batch, kept, momentum):
    """running ← kept · running + momentum · of_batch, in place."""
    running *= kept
    running += momentum * of_batch


class BatchNorm2d(Standardizing):
    """y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε),   μ and σ² of each channel over all n = N·H·W pixels of the batch.

    Shapes: x, y (N, H, W, C), all else (C,); γ is `weight`, β is `bias`.

        ∂L/∂x̂ = γ ∂L/∂y       ∂L/∂γ = Σ_{n, h, w} x̂ ∂L/∂y       ∂L/∂β = Σ_{n, h, w} ∂L/∂y
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / √(σ² + ε)       over the pixels of the batch

    It couples the examples of a batch: the output for an image depends on the images beside it. Evaluation has no
    batch, and normalises by running statistics instead, which each forward in training mode moves by `momentum` m:

        running_mean ← (1 − m) running_mean + m μ       running_var ← (1 − m) running_var + m σ² n/(n − 1)

    The running variance is unbiased, that of the batch is not. A constant that is added to a channel of x is taken out
    again, so a bias before the norm has no gradient. (Ioffe & Szegedy 2015, arXiv:1502.03167; docs/normalisation.md)

    Raises ValueError for a batch of a single pixel in training mode: it has no variance.
    """

    couples_examples = True
    move = elementwise(move)

    def __init__(self, num_features, eps=1e-5, momentum=0.1, *, dtype=np.float32):
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, dtype))
        self.bias = Parameter(np.zeros(num_features, dtype))
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x):
        C = self.weight.value.size
        check_input(self, x, ("N", "H", "W", C), self.weight.value)
        rows = x.reshape(-1, C)
        if self.training and len(rows):
            if len(rows) < 2:
                raise ValueError("BatchNorm2d cannot take a variance over a batch of a single pixel: give it more")
            y, (mean, rest), variance = self.standardize(rows)
            self.track(mean + rest, variance, len(rows))
            return y.reshape(x.shape)
        inverse = self.inverse_deviation(self.running_var.value, self.eps)
        x_hat = rows - self.running_mean.value
        y = self.scale_and_shift(x_hat, inverse, self.weight.value, self.bias.value)
        self.num_batches_tracked.value += self.training  # a batch of no image, which tells nothing of the images
        self.save(x_hat, inverse)
        return y.reshape(x.shape)

    def backward(self, dy):
        return self.standardize_backward(dy.reshape(-1, dy.shape[-1])).reshape(dy.shape)

    def mean(self, rows):
        """The mean of each channel: (C,) of rows (N·H·W, C)."""
        return self.column_sums(rows) / max(len(rows), 1)  # of none there is no mean

    def track(self, mean, variance, count):
        """Move the running statistics towards those of a batch of `count` pixels, in place."""
        kept, unbiased = 1 - self.momentum, count / (count - 1)
        self.move(self.running_mean.value, mean, kept, self.momentum)
        self.move(self.running_var.value, variance, kept, self.momentum * unbiased)
        self.num_batches_tracked.value += 1
