"""The KL divergence of a VAE, in closed form.

How far the Gaussians of a VAE's encoder are from the prior N(0, 1):

    KL(N(mu, σ²) ‖ N(0, 1)) = ½ (mu² + σ² − 1 − log σ²)        with logvar = log σ²

    var = exp(logvar)        elements = ½ (mu² + var − 1 − logvar)        kl = (1/N) Σₙ Σ elements

Shapes: mu, logvar (N, Z), kl a number, in nats. (Kingma & Welling 2014, arXiv:1312.6114, appendix B)

Where to begin: logvar stands in elements twice, once by itself and once inside of var. Its gradient is the sum of both
parts. A check on paper: at mu = 0 and logvar = 0 the divergence is 0, its minimum. What has to be true of the gradients
there?

In numbers, mu = 3 and σ² = 2:

    >>> kl, saved = forward(np.array([[3.0]]), np.array([[np.log(2)]]))
    >>> round(float(kl), 4)
    4.6534
    >>> [gradient.round(12).tolist() for gradient in backward(10.0, saved)]
    [[[30.0]], [[5.0]]]
"""

import numpy as np


def forward(mu, logvar):
    var = np.exp(logvar)
    elements = 0.5 * (mu**2 + var - 1 - logvar)
    kl = np.sum(elements) / len(mu)
    return kl, (mu, var)


def backward(dkl, saved):
    mu, var = saved
    # yours:
    delements = np.full(mu.shape, dkl / len(mu))
    dmu = delements * mu
    dvar = delements * 0.5
    dlogvar = dvar * var - delements * 0.5
    # instead:
    # delements = ...  # TODO ∂L/∂elements, shape (N, Z): every element has the same
    # dmu = ...  # TODO ∂L/∂mu, shape (N, Z)
    # dvar = ...  # TODO ∂L/∂var, shape (N, Z)
    # dlogvar = ...  # TODO ∂L/∂logvar, shape (N, Z): through var, and directly
    # end
    return dmu, dlogvar


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "kl = (1/N) Σ elements: each element has the derivative 1/N, times dkl. N is the number of rows, len(mu).",
    "The factor ½ stands before the whole bracket. So it is in the derivative by var, and by logvar; by mu it meets "
    "the 2 of 2 mu.",
    "var = exp(logvar), whose derivative is var. Through var: dvar · var. Directly, from −logvar: −½ delements.",
)


def cases(rng):
    for shape in ((5, 3), (1, 4), (6, 1)):
        yield {"mu": rng.standard_normal(shape), "logvar": rng.standard_normal(shape)}
