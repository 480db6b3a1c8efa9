"""Numbers brought to mean 0 and variance 1, which is what every norm does before it scales and shifts them.

A norm says which numbers go together by its function `mean`, which gives the mean of them, in a shape that broadcasts:
BatchNorm2d's is over the images and their pixels, GroupNorm's over the pixels of one image and the channels of a group.
"""

from scratch.arrays import array_module


def standardize(x, mean, eps):
    """(x̂, 1/s, μ, σ²):   x̂ = (x − μ) / s,   s = √(σ² + ε),   μ = mean(x),   σ² = mean((x − μ)²).

    The variance is the biased one. Shapes: x, x̂ alike; 1/s, μ, σ² as `mean` gives them.
    """
    mu = mean(x)
    centred = x - mu
    variance = mean(centred * centred)
    inverse = 1 / array_module(x).sqrt(variance + eps)
    centred *= inverse
    return centred, inverse, mu, variance


def standardize_backward(dx_hat, x_hat, inverse, mean):
    """∂L/∂x = (∂L/∂x̂ − mean(∂L/∂x̂) − x̂ · mean(∂L/∂x̂ · x̂)) / s.

    What is the same for all numbers that go together, and what goes with x̂, changes nothing in x̂: both are taken out
    of the gradient. docs/normalisation.md derives it.
    """
    dx = dx_hat - mean(dx_hat)
    dx -= x_hat * mean(dx_hat * x_hat)
    dx *= inverse
    return dx
