"""Layer normalisation, in one formula.

The same backward as that of a group norm, this time without the small steps between.

Each vector of C numbers is brought to mean 0 and variance 1, by itself:

    mu = mean(x)        var = mean((x − mu)²)        inverse = 1 / √(var + eps)
    x_hat = (x − mu) · inverse                       y = x_hat · w + b

Shapes: x, x_hat, y (N, T, C), N rows of T tokens, w, b (C,), mu, var, inverse (N, T, 1).

Where to begin: db, dw and dx_hat are one line each. Then take a single vector. Each x_hat[i] depends on each x[j], in
three ways: directly where i = j, through mu, and through inverse. Two derivatives are all you need:

    ∂mu/∂x[j] = 1/C        ∂inverse/∂x[j] = −inverse² · x_hat[j] / C

With them, write ∂x_hat[i]/∂x[j], and sum it with dx_hat[i] over i. What remains are two means over the C numbers.
(Ba, Kiros & Hinton 2016, arXiv:1607.06450)

In numbers, a vector of two, with eps = 0. Its x_hat is always −1 and 1, so it has no gradient:

    >>> y, saved = forward(np.array([[[3.0, 7.0]]]), np.array([2.0, 1.0]), np.array([0.0, 5.0]), 0.0)
    >>> y.tolist()
    [[[-2.0, 6.0]]]
    >>> [gradient.tolist() for gradient in backward(np.array([[[1.0, 4.0]]]), saved)]
    [[[[0.0, 0.0]]], [-1.0, 4.0], [1.0, 4.0]]
"""

import numpy as np


def forward(x, w, b, eps):
    mu = x.mean(axis=-1, keepdims=True)
    centred = x - mu
    var = np.mean(centred**2, axis=-1, keepdims=True)
    inverse = (var + eps) ** -0.5
    x_hat = centred * inverse
    y = x_hat * w + b
    return y, (inverse, x_hat, w)


def backward(dy, saved):
    inverse, x_hat, w = saved
    # yours:
    db = dy.sum(axis=(0, 1))
    dw = np.sum(dy * x_hat, axis=(0, 1))
    dx_hat = dy * w
    shift = np.mean(dx_hat, axis=-1, keepdims=True)
    stretch = np.mean(dx_hat * x_hat, axis=-1, keepdims=True)
    dx = (dx_hat - shift - x_hat * stretch) * inverse
    # instead:
    # db = ...  # TODO ∂L/∂b, shape (C,)
    # dw = ...  # TODO ∂L/∂w, shape (C,)
    # dx_hat = ...  # TODO ∂L/∂x_hat, shape (N, T, C)
    # shift = ...  # TODO the mean that comes through mu, shape (N, T, 1)
    # stretch = ...  # TODO the mean that comes through inverse, shape (N, T, 1)
    # dx = ...  # TODO ∂L/∂x, shape (N, T, C): directly, through mu, and through inverse
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "b was repeated over all vectors: db is the sum of dy over the axes (0, 1). y = x_hat · w + b, so dw is the same "
    "sum of dy · x_hat, and dx_hat = dy · w.",
    "x_hat[i] = (x[i] − mu) · inverse. By the product rule, ∂x_hat[i]/∂x[j] = ([i = j] − 1/C) · inverse + "
    "(x[i] − mu) · ∂inverse/∂x[j].",
    "(x[i] − mu) · inverse is x_hat[i], so the last part is −inverse · x_hat[i] · x_hat[j] / C. Altogether: inverse · "
    "([i = j] − 1/C − x_hat[i] · x_hat[j] / C).",
    "Summed with dx_hat[i] over i, 1/C leaves shift, the mean of dx_hat, and x_hat[i]/C leaves stretch, the mean of "
    "dx_hat · x_hat. In the last part, x_hat[j] stands in front.",
)


def cases(rng):
    for N, T, C in ((5, 3, 6), (1, 4, 7), (2, 1, 3)):
        yield {"x": 2 * rng.standard_normal((N, T, C)) + 1, "w": rng.standard_normal(C), "b": rng.standard_normal(C),
               "eps": 1e-3}
