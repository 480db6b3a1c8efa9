"""A gradient by trying: central differences.

The gradient of any function, found by moving each of its inputs a little. It serves to check a backward.

For L = ⟨dy, f(x)⟩ = Σ dy · f(x), move one number of x at a time by a small step in both directions:

    dx[i] = (above − below) / (2 · step)

above is L with x[i] + step in place of x[i], and below is L with x[i] − step. The error is of the order step². With
only one direction, (above − L) / step, it would be of the order of step. A smaller step is not always better: the
difference of two nearly equal numbers has few right digits left. Near step = 1e-5, float64 has the most.

Shapes: x and dx have any one shape; f takes x and gives y; dy has the shape of y.

Where to begin: np.ndindex(*x.shape) goes through all places of x, whatever its shape. At each: move x[i], compute, move
the other way, compute, and put x[i] back as it was. Or work on a copy: x itself must not change.

In numbers, f(x) = x³ at x = 2:

    >>> central_difference(lambda x: x**3, np.array([2.0]), np.array([1.0]), 1e-5).round(6).tolist()
    [12.0]
"""

import numpy as np


def central_difference(f, x, dy, step):
    # yours:
    dx = np.zeros_like(x)
    moved = x.copy()
    for i in np.ndindex(*x.shape):
        moved[i] = x[i] + step
        above = np.sum(dy * f(moved))
        moved[i] = x[i] - step
        below = np.sum(dy * f(moved))
        moved[i] = x[i]
        dx[i] = (above - below) / (2 * step)
    # instead:
    # dx = ...  # TODO ∂L/∂x of L = Σ dy · f(x), shape of x
    # # for i in np.ndindex(*x.shape):
    # end
    return dx


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "Begin with dx = np.zeros_like(x) and moved = x.copy(). In the loop set moved[i] = x[i] + step and compute above = "
    "np.sum(dy * f(moved)).",
    "Then moved[i] = x[i] - step for below, and moved[i] = x[i] before the next place. dx[i] = (above - below) / (2 * "
    "step).",
)
ROUNDING = 1e-9  # above and below have about 16 digits each; divided by 2 · step = 2e-5, their last digit counts 1e-11


def tangent(x):
    return np.tanh(x)


def row_products(x):
    return np.prod(x, axis=-1)


def pairs(x):
    return x @ x.T


def cases(rng):
    for shape, f in (((4, 3), tangent), ((1, 5), row_products), ((3, 2), pairs), ((2, 3, 2), row_products)):
        x = rng.standard_normal(shape)
        yield {"f": f, "x": x, "dy": rng.standard_normal(np.shape(f(x))), "step": 1e-5}
