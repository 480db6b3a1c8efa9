"""Elementwise activations. Each saves what makes its derivative simplest."""

import math

from scratch.arrays import array_module, erf
from scratch.layers.checks import check_floating
from scratch.module import Module, elementwise


def relu_backward(dy, y):
    """∂L/∂y · [y > 0]."""
    return dy * (y > 0)


class ReLU(Module):
    """y = max(x, 0).       ∂L/∂x = ∂L/∂y · [x > 0]       (Nair & Hinton 2010)

    Any shape. The derivative at 0 is taken to be 0, as in PyTorch.
    """

    derivative = elementwise(relu_backward)

    def forward(self, x):
        check_floating(self, x)
        y = array_module(x).maximum(x, 0)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return self.derivative(dy, y)


def leaky_relu(x, slope):
    """(y, x > 0): y is x where x is positive, and slope · x elsewhere."""
    positive = x > 0
    return array_module(x).where(positive, x, slope * x), positive


def leaky_relu_backward(dy, positive, slope):
    """∂L/∂y, times the slope where x was not positive."""
    return array_module(dy).where(positive, dy, slope * dy)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope · x.       (Maas et al. 2013)

        ∂L/∂x = ∂L/∂y · (1 where x > 0, else negative_slope)

    Any shape.
    """

    formula, derivative = elementwise(leaky_relu), elementwise(leaky_relu_backward)

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def settings(self):
        return f"{self.negative_slope:g}"

    def forward(self, x):
        check_floating(self, x)
        y, positive = self.formula(x, self.negative_slope)
        self.save(positive)
        return y

    def backward(self, dy):
        (positive,) = self.recall()
        return self.derivative(dy, positive, self.negative_slope)


def sigmoid(x):
    """1 / (1 + e⁻ˣ), computed from e^(−|x|), which cannot overflow; accurate in both tails."""
    xp = array_module(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, 1) / (1 + e)


def sigmoid_backward(dy, y):
    """∂L/∂y · y (1 − y)."""
    return dy * (y * (1 - y))


class Sigmoid(Module):
    """y = sigmoid(x) = 1 / (1 + e⁻ˣ).       ∂L/∂x = ∂L/∂y · y (1 − y)

    Any shape.
    """

    formula, derivative = elementwise(sigmoid), elementwise(sigmoid_backward)

    def forward(self, x):
        check_floating(self, x)
        y = self.formula(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return self.derivative(dy, y)


def tanh_backward(dy, y):
    """∂L/∂y · (1 − y²)."""
    return dy * (1 - y * y)


class Tanh(Module):
    """y = tanh(x).       ∂L/∂x = ∂L/∂y · (1 − y²)

    Any shape.
    """

    derivative = elementwise(tanh_backward)

    def forward(self, x):
        check_floating(self, x)
        y = array_module(x).tanh(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return self.derivative(dy, y)


def silu(x):
    """(x · sigmoid(x), sigmoid(x))."""
    gate = sigmoid(x)
    return x * gate, gate


def silu_backward(dy, x, gate):
    """∂L/∂y · gate (1 + x (1 − gate)) with gate = sigmoid(x)."""
    return dy * (gate * (1 + x * (1 - gate)))


class SiLU(Module):
    """y = x · sigmoid(x), also called swish.       (Elfwing et al. 2018)

        ∂L/∂x = ∂L/∂y · sigmoid(x) (1 + x (1 − sigmoid(x)))

    Any shape. It saves two arrays, x and sigmoid(x): neither follows from y alone, because y is not monotonic.
    """

    formula, derivative = elementwise(silu), elementwise(silu_backward)

    def forward(self, x):
        check_floating(self, x)
        y, gate = self.formula(x)
        self.save(x, gate)
        return y

    def backward(self, dy):
        x, gate = self.recall()
        return self.derivative(dy, x, gate)


def gelu_backward(dy, x, cdf):
    """∂L/∂y · (Φ(x) + x φ(x)) with the normal density φ(x) = exp(−½x²)/√(2π)."""
    return dy * (cdf + x * (array_module(x).exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))))


def gelu_tanh(x):
    """(½ x (1 + t), t) with t = tanh(√(2/π) (x + 0.044715 x³))."""
    t = array_module(x).tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))
    return 0.5 * x * (1 + t), t


def gelu_tanh_backward(dy, x, t):
    """∂L/∂y · ½ (1 + t + x (1 − t²) √(2/π) (1 + 3 · 0.044715 x²))."""
    return dy * (0.5 * (1 + t + x * (1 - t * t) * (math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * (x * x)))))


class GELU(Module):
    """y = x Φ(x), with the distribution function Φ of N(0, 1).       ∂L/∂x = ∂L/∂y · (Φ(x) + x φ(x))

    Any shape. Φ(x) = ½ (1 + erf(x/√2)), and φ is the density of N(0, 1). With approximate="tanh":

        y = ½ x (1 + t),   t = tanh(√(2/π) (x + 0.044715 x³))
        ∂L/∂x = ∂L/∂y · ½ (1 + t + x (1 − t²) √(2/π) (1 + 3 · 0.044715 x²))

    The exact form needs SciPy's erf. (Hendrycks & Gimpel 2016, arXiv:1606.08415)
    """

    exact_derivative = elementwise(gelu_backward)
    formula, derivative = elementwise(gelu_tanh), elementwise(gelu_tanh_backward)

    def __init__(self, approximate="none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU takes approximate "none" or "tanh", got {approximate!r}')
        self.approximate = approximate

    def forward(self, x):
        check_floating(self, x)
        if self.approximate == "tanh":
            y, t = self.formula(x)
            self.save(x, t)
            return y
        cdf = 0.5 * (1 + erf(x * math.sqrt(0.5)))
        self.save(x, cdf)
        return x * cdf

    def backward(self, dy):
        derivative = self.derivative if self.approximate == "tanh" else self.exact_derivative
        return derivative(dy, *self.recall())
