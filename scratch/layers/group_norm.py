"""Group normalisation: each image by its own statistics."""

import numpy as np

from scratch.layers.checks import check_input
from scratch.layers.standardize import Standardizing
from scratch.module import Parameter


class GroupNorm(Standardizing):
    """y = w x̂ + b,   x̂ = (x − μ) / √(σ² + eps),   μ and σ² of the pixels of one image and the channels of one group.

    Shapes: x, y (N, H, W, C), w (`weight`) and b (`bias`) (C,); the channels form num_groups groups of neighbours.

        ∂L/∂x̂ = w ∂L/∂y       ∂L/∂w = Σ_{n, i, j} x̂ ∂L/∂y       ∂L/∂b = Σ_{n, i, j} ∂L/∂y
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / √(σ² + eps)       over the pixels and channels of a group

    The images of a batch do not affect each other, and evaluation computes the same as training. With one group this is
    layer normalisation, with C groups instance normalisation. A bias before the norm shifts its channel against the
    others of the group. So it has a gradient, unless each group is a single channel. (Wu & He 2018, arXiv:1803.08494;
    docs/reference/normalisation.md)

    Raises ValueError unless num_groups divides num_channels.
    """

    def __init__(self, num_groups, num_channels, eps=1e-5, *, dtype=np.float32):
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm cannot divide {num_channels} channels into {num_groups} equal groups: choose "
                             f"a number of groups that divides the channels")
        self.num_groups, self.eps = num_groups, eps
        self.weight = Parameter(np.ones(num_channels, dtype))
        self.bias = Parameter(np.zeros(num_channels, dtype))

    def settings(self):
        return f"{self.num_groups}, {self.weight.value.size}, eps={self.eps:g}"

    def forward(self, x):
        check_input(self, x, ("N", "H", "W", self.weight.value.size), self.weight.value)
        y, _, _ = self.standardize(x)
        return y

    def backward(self, dy):
        return self.standardize_backward(dy)

    def mean(self, x):
        """The mean over the pixels and channels of each group, repeated for each of its channels: (N, 1, 1, C)."""
        N, H, W, C = x.shape
        # Axis by axis, the longest rows first: this is faster, and short sums lose fewer digits than one long sum.
        of_channels = x.mean(axis=1).mean(axis=1)
        of_groups = of_channels.reshape(N, self.num_groups, C // self.num_groups).mean(axis=2)
        return of_groups.repeat(C // self.num_groups, axis=1).reshape(N, 1, 1, C)
