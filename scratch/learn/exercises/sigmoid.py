"""The sigmoid.

Every number by itself:

    y = sigmoid(x) = 1 / (1 + exp(−x))

Shapes: x and y have any one shape.

forward saves y, not x. It computes y from exp(−|x|), which cannot overflow. Your backward should not compute an
exponential again: ∂y/∂x can be written with y alone.

Where to begin: differentiate 1 / (1 + exp(−x)) as you would on paper. Then look for y in the result. It helps that
1 − y = exp(−x) / (1 + exp(−x)).

In numbers:

    >>> y, saved = forward(np.array([0.0, np.log(3)]))
    >>> y.round(12).tolist()
    [0.5, 0.75]
    >>> backward(np.array([1.0, 16.0]), saved).round(12).tolist()
    [0.25, 3.0]
"""

import numpy as np


def forward(x):
    e = np.exp(-np.abs(x))
    y = np.where(x < 0, e, 1) / (1 + e)
    return y, y


def backward(dy, saved):
    y = saved
    # yours:
    dx = dy * y * (1 - y)
    # instead:
    # dx = ...  # TODO ∂L/∂x, shape of x; from dy and y alone
    # end
    return dx


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "With below = 1 + exp(−x), y = 1/below. So ∂y/∂below = −1/below², and ∂below/∂x = −exp(−x). Multiply them.",
    "∂y/∂x = exp(−x) / (1 + exp(−x))². This is a product of two fractions. Write each of them with y.",
)


def cases(rng):
    for shape in ((4, 5), (1, 3), (2, 3, 4, 2)):
        yield {"x": 2 * rng.standard_normal(shape)}
    yield {"x": np.array([[-800.0, -30.0, 0.0, 30.0, 800.0]])}  # far out: no overflow, no NaN
