"""The fully connected layer, and the initial weights that PyTorch uses by default."""

import math

import numpy as np

from scratch.arrays import column_sums
from scratch.layers.checks import check_input, size
from scratch.module import Module, Parameter


def uniform_parameter(shape, fan_in, dtype, rng, to_torch=None):
    """A parameter drawn from U(−1/√fan_in, 1/√fan_in), PyTorch's default for linear layers and convolutions.

    PyTorch writes it as kaiming_uniform with a slope of √5 (He et al. 2015, arXiv:1502.01852): the gain
    √(2 / (1 + 5)) times √3 / √fan_in is exactly 1/√fan_in. fan_in is the number of inputs that one output sums over.
    """
    bound = 1 / math.sqrt(fan_in)
    return Parameter(rng.uniform(-bound, bound, shape).astype(dtype), to_torch)


class Linear(Module):
    """y = x W + b.

    Shapes: x (N, C), W (C, O), b (O,), y (N, O).

        ∂L/∂x = ∂L/∂y Wᵀ       ∂L/∂W = xᵀ ∂L/∂y       ∂L/∂b = Σₙ ∂L/∂y

    PyTorch keeps W as (O, C); the state dict transposes.
    """

    column_sums = staticmethod(column_sums)

    def __init__(self, in_features, out_features, bias=True, *, dtype=np.float32, rng=None):
        in_features, out_features = size(in_features, "in_features"), size(out_features, "out_features")
        rng = rng or np.random.default_rng()
        self.weight = uniform_parameter((in_features, out_features), in_features, dtype, rng, to_torch=(1, 0))
        self.bias = uniform_parameter((out_features,), in_features, dtype, rng) if bias else None

    def settings(self):
        I, O = self.weight.value.shape
        return f"{I}, {O}" + ("" if self.bias else ", bias=False")

    def forward(self, x):
        W = self.weight.value
        check_input(self, x, ("N", W.shape[0]), W)
        self.save(x)
        y = x @ W
        if self.bias:
            y += self.bias.value
        return y

    def backward(self, dy):
        (x,) = self.recall()
        if self.bias:
            self.bias.accumulate(self.column_sums(dy))
        self.weight.accumulate(x.T @ dy)
        return dy @ self.weight.value.T if self.needs_input_gradient else None


class LinearOfTokens(Linear):
    """y = x W + b for each vector of the last axis, such as the tokens of a row: a Linear whose rows are these vectors.

    Shapes: x (..., C), W (C, O), b (O,), y (..., O). torch.nn.Linear takes both.
    """

    def forward(self, x):
        C, O = self.weight.value.shape
        check_input(self, x, ("...", C), self.weight.value)
        return super().forward(x.reshape(-1, C)).reshape(*x.shape[:-1], O)

    def backward(self, dy):
        dx = super().backward(dy.reshape(-1, dy.shape[-1]))
        return None if dx is None else dx.reshape(*dy.shape[:-1], -1)
