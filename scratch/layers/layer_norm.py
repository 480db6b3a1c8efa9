"""Layer normalisation: each vector by its own statistics."""

import numpy as np

from scratch.layers.checks import check_input, size
from scratch.layers.standardize import Standardizing
from scratch.module import Parameter


class LayerNorm(Standardizing):
    """y = w x̂ + b,   x̂ = (x − μ) / √(σ² + eps),   μ and σ² of the numbers of one vector.

    Shapes: x, y (..., C), w (`weight`) and b (`bias`) (C,), with C = normalized_shape.

        ∂L/∂x̂ = w ∂L/∂y       ∂L/∂w = Σ x̂ ∂L/∂y       ∂L/∂b = Σ ∂L/∂y       over all vectors
        ∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ mean(x̂ ∂L/∂x̂)) / √(σ² + eps)       over the numbers of a vector

    Vectors do not affect each other, and evaluation computes the same as training.
    (Ba, Kiros & Hinton 2016, arXiv:1607.06450; docs/reference/normalisation.md)
    """

    def __init__(self, normalized_shape, eps=1e-5, *, dtype=np.float32):
        C, self.eps = size(normalized_shape, "normalized_shape"), eps
        self.weight = Parameter(np.ones(C, dtype))
        self.bias = Parameter(np.zeros(C, dtype))

    def forward(self, x):
        check_input(self, x, ("...", self.weight.value.size), self.weight.value)
        y, _, _ = self.standardize(x)
        return y

    def backward(self, dy):
        return self.standardize_backward(dy)

    def mean(self, x):
        """The mean of each vector: (..., 1)."""
        return x.mean(axis=-1, keepdims=True)
