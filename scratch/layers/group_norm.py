"""Normalisation of each image by itself."""

import numpy as np

from scratch.arrays import column_sums
from scratch.layers.linear import check_input
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
        x_hat, inverse, _, _ = standardize(self.grouped(x), (1, 3), self.eps)
        x_hat = x_hat.reshape(x.shape)
        self.save(x_hat, inverse)
        return x_hat * self.weight.value + self.bias.value

    def backward(self, dy):
        x_hat, inverse = self.recall()
        C = dy.shape[-1]
        self.bias.accumulate(column_sums(dy.reshape(-1, C)))
        self.weight.accumulate(column_sums((dy * x_hat).reshape(-1, C)))
        dx_hat = dy * self.weight.value
        dx = standardize_backward(self.grouped(dx_hat), self.grouped(x_hat), inverse, (1, 3))
        return dx.reshape(dy.shape)

    def grouped(self, x):
        """(N, H, W, C) as (N, H·W, G, C/G)."""
        N, H, W, C = x.shape
        return x.reshape(N, H * W, self.num_groups, C // self.num_groups)
