"""Batch normalisation: by the statistics of the batch in training, by running statistics in evaluation."""

import numpy as np

from scratch.layers.checks import check_input
from scratch.layers.standardize import Standardizing
from scratch.module import Buffer, Parameter, elementwise


def move(running, of_batch, kept, momentum):
    """running ← kept · running + momentum · of_batch, in place."""
    running *= kept
    running += momentum * of_batch


class BatchNorm2d(Standardizing):
    """y = w x̂ + b,   x̂ = (x − μ) / √(σ² + eps),   μ and σ² of each channel over all M = N·H·W pixels of the batch.

    Shapes: x, y (N, H, W, C), all else (C,); w is `weight`, b is `bias`.

        ∂L/∂x̂ = w ∂L/∂y       ∂L/∂w = Σ_{n, i, j} x̂ ∂L/∂y       ∂L/∂b = Σ_{n, i, j} ∂L/∂y
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / √(σ² + eps)       over the pixels of the batch

    The examples of a batch are coupled: the output for one image depends on the others. Evaluation normalises by
    running statistics instead. Each forward in training mode moves them:

        running_mean ← (1 − momentum) running_mean + momentum · μ
        running_var ← (1 − momentum) running_var + momentum · σ² M/(M − 1)

    The running variance is unbiased; the batch is normalised by its biased variance. A constant added to a channel of x
    is subtracted with the mean, so the gradient of a bias before the norm is zero.
    (Ioffe & Szegedy 2015, arXiv:1502.03167; docs/reference/normalisation.md)

    Raises ValueError in training mode for a batch of a single pixel, which has no variance.
    """

    move = elementwise(move)

    def __init__(self, num_features, eps=1e-5, momentum=0.1, *, dtype=np.float32):
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, dtype))
        self.bias = Parameter(np.zeros(num_features, dtype))
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def settings(self):
        return f"{self.weight.value.size}, eps={self.eps:g}, momentum={self.momentum:g}"

    def forward(self, x):
        C = self.weight.value.size
        check_input(self, x, ("N", "H", "W", C), self.weight.value)
        rows = x.reshape(-1, C)
        if self.training and len(rows):
            y, mean, variance, count = self.standardize_batch(rows)
            if count < 2:
                raise ValueError("BatchNorm2d cannot take a variance over a batch of a single pixel: "
                                 "give it at least two")
            if self.batch.writes:
                self.track(mean, variance, count)
            return y.reshape(x.shape)
        inverse = self.inverse_deviation(self.running_var.value, self.eps)
        x_hat = rows - self.running_mean.value
        y = self.scale_and_shift(x_hat, inverse, self.weight.value, self.bias.value)
        self.num_batches_tracked.value += self.training  # in training: an empty batch, which moves no average
        self.save(x_hat, inverse)
        return y.reshape(x.shape)

    def backward(self, dy):
        return self.standardize_backward(dy.reshape(-1, dy.shape[-1])).reshape(dy.shape)

    def standardize_batch(self, rows):
        """(y, μ, σ², M) of rows (N·H·W, C), standardised over the batch; x̂ and 1 / √(σ² + eps) are saved."""
        (count,) = self.batch.total(len(rows))
        y, (mean, rest), variance = self.standardize(rows)
        return y, mean + rest, variance, count

    def mean(self, rows):
        """The mean of each channel over the batch: (C,) of rows (N·H·W, C)."""
        return self.batch.mean(self.mean_of_share(rows), len(rows))

    def mean_of_share(self, rows):
        """The mean of each channel over the rows themselves; 0 of none."""
        return self.column_sums(rows) / max(len(rows), 1)

    def track(self, mean, variance, count):
        """Move the running statistics towards those of a batch of `count` pixels, in place."""
        kept, unbiased = 1 - self.momentum, count / (count - 1)
        self.move(self.running_mean.value, mean, kept, self.momentum)
        self.move(self.running_var.value, variance, kept, self.momentum * unbiased)
        self.num_batches_tracked.value += 1
