"""Numbers brought to mean 0 and variance 1, which is what every norm does before it scales and shifts them.

A norm says over which axes: BatchNorm2d over the images and their pixels, GroupNorm over the pixels of one image and
the channels of one group.
"""

from scratch.arrays import array_module


def standardize(x, axes, eps):
    """(x̂, 1/s, μ, σ²):   x̂ = (x − μ) / s,   s = √(σ² + ε),   μ and σ² the mean and the variance over `axes`.

    The variance is the biased one, Σ(x − μ)² / n. Shapes: x, x̂ alike; 1/s, μ, σ² with 1 in place of each of the axes.
    """
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    inverse = 1 / array_module(x).sqrt(variance + eps)
    centred *= inverse
    return centred, inverse, mean, variance


def standardize_backward(dx_hat, x_hat, inverse, axes):
    """∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ · mean(∂L/∂x̂ · x̂)) / s, the means over `axes`.

    What is constant over the axes, and what goes with x̂, changes nothing in x̂: both are taken out of the gradient.
    docs/normalisation.md derives it.
    """
    dx = dx_hat - dx_hat.mean(axis=axes, keepdims=True)
    dx -= x_hat * (dx_hat * x_hat).mean(axis=axes, keepdims=True)
    dx *= inverse
    return dx
