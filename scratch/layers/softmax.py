"""Softmax, and its logarithm, which stays finite where a probability underflows."""

from scratch.arrays import array_module
from scratch.layers.checks import check_floating
from scratch.module import Module, elementwise


def below_largest(a, largest):
    """(a − max a, exp(a − max a)). No argument of exp is above 0, so no exponential can overflow."""
    a = a - largest
    return a, array_module(a).exp(a)


def log_softmax(a):
    """log pₖ = aₖ − log Σⱼ exp(aⱼ) over the last axis."""
    a, exponentials = below_largest(a, a.max(axis=-1, keepdims=True))
    a -= array_module(a).log(exponentials.sum(axis=-1, keepdims=True))
    return a


def softmax(a):
    """pₖ = exp(aₖ) / Σⱼ exp(aⱼ) over the last axis."""
    _, exponentials = below_largest(a, a.max(axis=-1, keepdims=True))
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials


def softmax_backward(dy, y, mean):
    """y (∂L/∂y − Σ y ∂L/∂y); `mean` is the sum, the mean of ∂L/∂y under the probabilities y."""
    return y * (dy - mean)


class Softmax(Module):
    """yₖ = exp(xₖ) / Σⱼ exp(xⱼ) over the last axis.

    Any shape.

        ∂yₖ/∂xⱼ = yₖ ([k = j] − yⱼ)       ∂L/∂xⱼ = yⱼ (∂L/∂yⱼ − Σₖ yₖ ∂L/∂yₖ)

    Adding a constant to all x leaves y as it is, so the gradients of a row sum to 0.
    Raises ValueError for another `dim` than −1. (Bridle 1990)
    """

    derivative = elementwise(softmax_backward)

    def __init__(self, dim=-1):
        if dim != -1:
            raise ValueError(f"Softmax takes dim −1, the last axis, got {dim}: transpose the input first")

    def forward(self, x):
        check_floating(self, x)
        y = softmax(x)
        self.save(y)
        return y

    def backward(self, dy):
        (y,) = self.recall()
        return self.derivative(dy, y, (dy * y).sum(axis=-1, keepdims=True))
