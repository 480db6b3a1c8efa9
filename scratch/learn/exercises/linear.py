"""A fully connected layer.

    y = x w + b        that is        y[n, o] = Σᵢ x[n, i] w[i, o] + b[o]

Shapes: x (N, I), w (I, O), b (O,), y (N, O).

Where to begin: pick one number and follow it. x[n, i] stands in y[n, o] for every o, each time as x[n, i] w[i, o]. If
it grows by a small h, y[n, o] grows by w[i, o] h, and L by dy[n, o] w[i, o] h for each o. Add these up and divide by h:
that is dx[n, i]. Which matrix product computes all of them at once? Then do the same with w[i, o] and b[o].

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
    # dx = ...  # TODO ∂L/∂x, shape (N, I)
    # dw = ...  # TODO ∂L/∂w, shape (I, O)
    # db = ...  # TODO ∂L/∂b, shape (O,)
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "The shapes alone leave few choices. dx is (N, I), and you have dy (N, O) and w (I, O): the O has to be summed "
    "away.",
    "dx[n, i] = Σₒ dy[n, o] w[i, o]. A matrix product sums over the last axis of its first factor and the first axis "
    "of its second one, so w has to be transposed.",
    "dw[i, o] = Σₙ x[n, i] dy[n, o]: here the sum is over n, so x is transposed. b[o] is added in every row n of y, "
    "so db[o] is a sum over n as well.",
)


def cases(rng):
    for N, I, O in ((5, 3, 4), (1, 3, 2), (6, 1, 4)):
        yield {"x": rng.standard_normal((N, I)), "w": rng.standard_normal((I, O)), "b": rng.standard_normal(O)}
