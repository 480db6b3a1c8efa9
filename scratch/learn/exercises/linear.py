"""A fully connected layer.

    y = x w + b        that is        y[n, o] = Σ_c x[n, c] w[c, o] + b[o]

Shapes: x (N, C), w (C, O), b (O,), y (N, O).

Where to begin: pick one number and follow it. x[n, c] stands in y[n, o] for every o, each time as x[n, c] w[c, o]. If
it grows by a small step, y[n, o] grows by w[c, o] · step, and L by dy[n, o] w[c, o] · step for each o. Add these up and
divide by step: that is dx[n, c]. Which matrix product computes all of them at once? Then do the same with w[c, o] and
b[o].

In numbers:

    >>> x, w, b = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), np.array([5.0])
    >>> y, saved = forward(x, w, b)
    >>> y.tolist()
    [[16.0]]
    >>> [gradient.tolist() for gradient in backward(np.array([[10.0]]), saved)]
    [[[30.0, 40.0]], [[10.0], [20.0]], [10.0]]
"""

import numpy as np


def forward(x, w, b):
    y = x @ w + b
    return y, (x, w)


def backward(dy, saved):
    x, w = saved
    # yours:
    dx = dy @ w.T
    dw = x.T @ dy
    db = np.sum(dy, axis=0)
    # instead:
    # dx = ...  # TODO ∂L/∂x, shape (N, C)
    # dw = ...  # TODO ∂L/∂w, shape (C, O)
    # db = ...  # TODO ∂L/∂b, shape (O,)
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "The shapes alone leave few choices. dx is (N, C), and you have dy (N, O) and w (C, O): the O has to be summed "
    "away.",
    "dx[n, c] = Σₒ dy[n, o] w[c, o]. A matrix product sums over the last axis of its first factor and the first axis "
    "of its second one, so w has to be transposed.",
    "dw[c, o] = Σₙ x[n, c] dy[n, o]: here the sum is over n, so x is transposed. b[o] is added in every row n of y, "
    "so db[o] is a sum over n as well.",
)


def cases(rng):
    for N, C, O in ((5, 3, 4), (1, 3, 2), (6, 1, 4)):
        yield {"x": rng.standard_normal((N, C)), "w": rng.standard_normal((C, O)), "b": rng.standard_normal(O)}
