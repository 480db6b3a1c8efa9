"""Elementwise activations. Each saves the one array from which its derivative is cheapest to write."""

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module


def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ), from e^(−|x|), which cannot overflow; accurate in both tails."""
    xp = array_module(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, 1) / (1 + e)


class ReLU(Module):
    """y = max(x, 0).       ∂L/∂x = ∂L/∂y · [x > 0]       (Nair & Hinton 2010)

    Any shape. The derivative at 0 is taken to be 0, as PyTorch does.
    """

    def forward(self, x):
        check_floating(self, x)
        y = array_module(x).maximum(x, 0)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return dy * (y > 0)


class LeakyReLU(Module):
    """y = x where x > 0, else a·x.       ∂L/∂x = ∂L/∂y · (1 where x > 0, else a)       (Maas et al. 2013)

    Any shape; a is `negative_slope`.
    """

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        check_floating(self, x)
        self.save(x > 0)
        return array_module(x).where(x > 0, x, self.negative_slope * x)

    def backward(self, dy):
        (positive,) = self.recall()
        return array_module(dy).where(positive, dy, self.negative_slope * dy)


class Sigmoid(Module):
    """y = σ(x) = 1 / (1 + e⁻ˣ).       ∂L/∂x = ∂L/∂y · y (1 − y)

    Any shape.
    """

    def forward(self, x):
        check_floating(self, x)
        y = sigmoid(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return dy * (y * (1 - y))


class Tanh(Module):
    """y = tanh(x).       ∂L/∂x = ∂L/∂y · (1 − y²)

    Any shape.
    """

    def forward(self, x):
        check_floating(self, x)
        y = array_module(x).tanh(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return dy * (1 - y * y)


class SiLU(Module):
    """y = x σ(x), also called swish.       ∂L/∂x = ∂L/∂y · σ(x) (1 + x (1 − σ(x)))       (Elfwing et al. 2018)

    Any shape.
    """

    def forward(self, x):
        check_floating(self, x)
        s = sigmoid(x)
        self.save(x, s)
        return x * s

    def backward(self, dy):
        x, s = self.recall()
        return dy * (s * (1 + x * (1 - s)))
