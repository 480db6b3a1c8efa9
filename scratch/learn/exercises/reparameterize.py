"""The reparameterization trick.

A sample of a Gaussian that can be differentiated:

    sigma = exp(½ logvar)        z = mu + sigma · eps        eps drawn from N(0, 1)

Then z is a draw of N(mu, sigma²). The randomness is an input, so z is a smooth function of mu and logvar.

Shapes: mu, logvar, eps, z (N, Z). (Kingma & Welling 2014, arXiv:1312.6114, section 2.4)

Where to begin: hold eps fixed. It is a number like any other, and nobody needs its gradient. Then go back step by step:
first z = mu + sigma · eps, then sigma = exp(½ logvar). Use the eps that forward used: another draw
belongs to another z.

In numbers, sigma = 2:

    >>> z, saved = forward(np.array([[1.0]]), np.array([[2 * np.log(2)]]), np.array([[3.0]]))
    >>> z.round(12).tolist()
    [[7.0]]
    >>> [gradient.round(12).tolist() for gradient in backward(np.array([[10.0]]), saved)]
    [[[10.0]], [[30.0]]]
"""

import numpy as np


def forward(mu, logvar, eps):
    sigma = np.exp(0.5 * logvar)
    z = mu + sigma * eps
    return z, (sigma, eps)


def backward(dz, saved):
    sigma, eps = saved
    # yours:
    dmu = dz
    dsigma = dz * eps
    dlogvar = dsigma * 0.5 * sigma
    # instead:
    # dmu = ...  # TODO ∂L/∂mu, shape (N, Z)
    # dsigma = ...  # TODO ∂L/∂sigma, shape (N, Z)
    # dlogvar = ...  # TODO ∂L/∂logvar, shape (N, Z)
    # end
    return dmu, dlogvar


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "z = mu + sigma · eps: if mu grows by h, so does z. If sigma grows by h, z grows by eps · h.",
    "The derivative of exp(½ logvar) is the exponential itself times the derivative of its argument.",
)


def cases(rng):
    for shape in ((5, 3), (1, 4), (6, 1)):
        yield {name: rng.standard_normal(shape) for name in ("mu", "logvar", "eps")}
