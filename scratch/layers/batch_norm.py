"""Normalisation of a batch by itself, and of a single image by what the batches were like."""

import numpy as np

from scratch.arrays import array_module, column_sums
from scratch.layers.checks import check_input
from scratch.layers.standardize import standardize, standardize_backward
from scratch.module import Buffer, Module, Parameter


def column_means(rows):
    """The mean of each column of a matrix."""
    return column_sums(rows) / max(len(rows), 1)  # of none there is no mean, and nothing to take it from


class BatchNorm2d(Module):
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
            x_hat, inverse, mean, variance = standardize(rows, column_means, self.eps)
            self.track(mean, variance, len(rows))
            self.save(x_hat, inverse)
        else:
            inverse = 1 / array_module(x).sqrt(self.running_var.value + self.eps)
            x_hat = (rows - self.running_mean.value) * inverse
            self.num_batches_tracked.value += self.training  # a batch of no image, which tells nothing of the images
            self.save(x_hat, inverse)
        return (x_hat * self.weight.value + self.bias.value).reshape(x.shape)

    def backward(self, dy):
        x_hat, inverse = self.recall()
        rows = dy.reshape(x_hat.shape)
        self.bias.accumulate(column_sums(rows))
        self.weight.accumulate(column_sums(rows * x_hat))
        dx = standardize_backward(rows * self.weight.value, x_hat, inverse, column_means)
        return dx.reshape(dy.shape)

    def track(self, mean, variance, count):
        """Move the running statistics towards those of a batch of `count` pixels, in place."""
        unbiased = variance * (count / (count - 1))
        for running, of_batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.value *= 1 - self.momentum
            running.value += self.momentum * of_batch
        self.num_batches_tracked.value += 1
