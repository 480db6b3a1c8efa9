"""Group normalisation, step by step.

A backward in which every number depends on all others of its group.

The C channels form G groups of neighbours. The M = H·W·C/G numbers of an image and a group go together:

    mu = mean(x)           centred = x − mu           var = mean(centred²)
    inverse = 1 / √(var + eps)                        x_hat = centred · inverse
    y = w · x_hat + b

Shapes: x, y (N, H, W, C), w, b (C,). In between x has the shape (N, H, W, G, C/G), and mu, var and inverse the shape
(N, 1, 1, G, 1): one number for each image and group. w and b are reshaped to (G, C/G).

Where to begin: forward is a chain of six small steps. Go back one at a time, and trust only the step at hand; `check`
marks each of them. Two rules are enough. A number that stands in two places gets the sum of two gradients: centred is
in x_hat and in var. A number that was repeated, like inverse over its group, gets the sum over all places where it was
repeated. The backward of a mean over M numbers repeats its gradient, divided by M. (Wu & He 2018, arXiv:1803.08494)
"""

import numpy as np

GROUP = (1, 2, 4)  # the axes over which mu and var are means


def forward(x, w, b, G, eps):
    N, H, W, C = x.shape
    x = x.reshape(N, H, W, G, C // G)
    mu = x.mean(axis=GROUP, keepdims=True)
    centred = x - mu
    var = np.mean(centred**2, axis=GROUP, keepdims=True)
    inverse = (var + eps) ** -0.5
    x_hat = centred * inverse
    y = (x_hat * w.reshape(G, C // G) + b.reshape(G, C // G)).reshape(N, H, W, C)
    return y, (centred, inverse, x_hat, w)


def backward(dy, saved):
    centred, inverse, x_hat, w = saved
    (N, H, W, G, _), C = x_hat.shape, len(w)
    M = H * W * C // G
    dy = dy.reshape(N, H, W, G, C // G)
    # yours:
    db = dy.sum(axis=(0, 1, 2)).reshape(C)
    dw = np.sum(dy * x_hat, axis=(0, 1, 2)).reshape(C)
    dx_hat = dy * w.reshape(G, C // G)
    dinverse = np.sum(dx_hat * centred, axis=GROUP, keepdims=True)
    dvar = dinverse * -0.5 * inverse**3
    dcentred = dx_hat * inverse + dvar * 2 * centred / M
    dmu = -dcentred.sum(axis=GROUP, keepdims=True)
    dx = (dcentred + dmu / M).reshape(N, H, W, C)
    # instead:
    # db = ...  # TODO ∂L/∂b, shape (C,)
    # dw = ...  # TODO ∂L/∂w, shape (C,)
    # dx_hat = ...  # TODO ∂L/∂x_hat, shape (N, H, W, G, C/G)
    # dinverse = ...  # TODO ∂L/∂inverse, shape (N, 1, 1, G, 1)
    # dvar = ...  # TODO ∂L/∂var, shape (N, 1, 1, G, 1)
    # dcentred = ...  # TODO ∂L/∂centred, shape (N, H, W, G, C/G): from x_hat, and from var
    # dmu = ...  # TODO ∂L/∂mu, shape (N, 1, 1, G, 1)
    # dx = ...  # TODO ∂L/∂x, shape (N, H, W, C): from centred, and from mu
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "b and w were repeated over images and pixels: both gradients are sums over the axes (0, 1, 2), then "
    "reshaped to (C,).",
    "x_hat = centred · inverse. inverse was repeated over its group: dinverse is the sum of dx_hat · centred over "
    "GROUP, with keepdims=True. inverse = (var + eps)^(−½), whose derivative is −½ (var + eps)^(−3/2) = −½ inverse³.",
    "var = (1/M) Σ centred². So from var each centred gets dvar · 2 · centred / M, and from x_hat it gets dx_hat · "
    "inverse.",
    "centred = x − mu: mu gets −Σ dcentred over its group. mu = (1/M) Σ x: each x gets dmu / M, and dcentred "
    "directly.",
)


def cases(rng):
    for N, H, W, C, G in ((5, 3, 4, 6, 2), (1, 3, 2, 4, 4), (2, 2, 2, 3, 1)):
        yield {"x": 2 * rng.standard_normal((N, H, W, C)) + 1, "w": rng.standard_normal(C),
               "b": rng.standard_normal(C), "G": G, "eps": 1e-3}
