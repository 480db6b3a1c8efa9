"""The cross-entropy, computed from logits.

The loss of logits a for images x, whose pixels are 0 or 1, or in between.

A logit a means the probability p = sigmoid(a) = 1 / (1 + exp(−a)) that the pixel is 1. The loss of a pixel is

    −x log p − (1 − x) log(1 − p)

Computed like this it is NaN where p is 0 or 1. But log p = a − log(1 + exp(a)) and log(1 − p) = −log(1 + exp(a)),
so it is

    softplus = log(1 + exp(a))        elements = softplus − x a        loss = (1/N) Σₙ Σ elements

Shapes: a, x (N, ...), loss a number.

Where to begin: go through the three steps from the last to the first, one line for each. a stands in two of them, so
that its gradient is a sum of two parts. When all is right, look at what da is in terms of p and x: it could not be
simpler.

In numbers, one pixel that is 1 and has the logit 0, so p = ½:

    >>> loss, saved = forward(np.array([[0.0]]), np.array([[1.0]]))
    >>> round(float(loss), 4)
    0.6931
    >>> backward(10.0, saved).tolist()
    [[-5.0]]
"""

import numpy as np


def sigmoid(a):
    e = np.exp(-np.abs(a))
    return np.where(a < 0, e, 1) / (1 + e)


def forward(a, x):
    softplus = np.logaddexp(0, a)  # log(exp(0) + exp(a)), without overflow
    elements = softplus - x * a
    loss = np.sum(elements) / len(x)
    return loss, (a, x)


def backward(dloss, saved):
    a, x = saved
    # yours:
    delements = np.full(a.shape, dloss / len(x))
    dsoftplus = delements
    da = dsoftplus * sigmoid(a) - delements * x
    # instead:
    # delements = ...  # TODO ∂L/∂elements, shape of a: every element has the same
    # dsoftplus = ...  # TODO ∂L/∂softplus, shape of a
    # da = ...  # TODO ∂L/∂a, shape of a: through softplus, and directly
    # end
    return da


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "loss = (1/N) Σ elements: every element has the derivative 1/N, times dloss. np.full(a.shape, number) makes an "
    "array of it.",
    "The derivative of log(1 + exp(a)) is exp(a) / (1 + exp(a)), which is sigmoid(a). The function sigmoid "
    "above does not overflow.",
    "elements = softplus − x a. Through softplus: dsoftplus · sigmoid(a). Directly: −x delements. Add the two.",
)


def cases(rng):
    for shape in ((5, 7), (1, 4), (6, 3, 4, 2)):
        yield {"a": 2 * rng.standard_normal(shape), "x": rng.random(shape)}
    yield {"a": np.array([[-800.0, 800.0, 0.0]]), "x": np.array([[1.0, 0.0, 1.0]])}  # far out: no overflow
