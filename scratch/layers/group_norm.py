"""Normalisation of each image by itself."""

import numpy as np

from scratch.arrays import column_sums
from scratch.layers.checks import check_input
from scratch.layers.standardize import standardize, standardize_backward
from scratch.module import Module, Parameter


class GroupNorm(Module):
    """y = γ x̂ + β,   x̂ = (x − μ) / √(σ² + ε),   μ and σ² of the pixels of one image and the channels of one group.

    Shapes: x, y (N, H, W, C), γ (`weight`) and β (`bias`) (C,); the channels form num_groups groups of neighbours.

        ∂L/∂x̂ = γ ∂L/∂y       ∂L/∂γ = Σ_{n, h, w} x̂ ∂L/∂y       ∂L/∂β = Σ_{n, h, w} ∂L/∂y
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / √(σ² + ε)       over the pixels and channels of a group

    No image sees another, and evaluation does the same as training. With one group it is layer normalisation, with C
    groups instance normalisation. (Wu & He 2018, arXiv:1803.08494; docs/normalisation.md)

    Raises ValueError where the channels do not form so many equal groups.
    """

    def __init__(self, num_groups, num_channels, eps=1e-5, *, dtype=np.float32):
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm cannot part {num_channels} channels into {num_groups} equal groups")
        self.num_groups, self.eps = num_groups, eps
        self.weight = Parameter(np.ones(num_channels, dtype))
        self.bias = Parameter(np.zeros(num_channels, dtype))

    def forward(self, x):
        C = self.weight.value.size
        check_input(self, x, ("N", "H", "W", C), self.weight.value)
        x_hat, inverse, _, _ = standardize(x, self.mean, self.eps)
        self.save(x_hat, inverse)
        return x_hat * self.weight.value + self.bias.value

    def backward(self, dy):
        x_hat, inverse = self.recall()
        C = dy.shape[-1]
        self.bias.accumulate(column_sums(dy.reshape(-1, C)))
        self.weight.accumulate(column_sums((dy * x_hat).reshape(-1, C)))
        return standardize_backward(dy * self.weight.value, x_hat, inverse, self.mean)

    def mean(self, x):
        """The mean over the pixels and the channels of each group, at each of these channels: (N, 1, 1, C)."""
        N, H, W, C = x.shape
        of_channels = x.reshape(N, H * W, C).mean(axis=1)  # first, because long rows are added faster than short ones
        of_groups = of_channels.reshape(N, self.num_groups, C // self.num_groups).mean(axis=2)
        return of_groups.repeat(C // self.num_groups, axis=1).reshape(N, 1, 1, C)
