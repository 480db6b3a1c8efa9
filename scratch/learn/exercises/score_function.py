"""The score-function estimator.

The gradient of an expectation E[f(z)] without differentiating f. It is also called REINFORCE.

For z drawn from q = N(mu, σ²) with logvar = log σ², how does the expectation E[f(z)] change with mu and logvar? As
∂q/∂mu = q · ∂log q/∂mu, and likewise for logvar,

    ∂E[f(z)]/∂mu = E[f(z) · ∂log q(z)/∂mu]

∂log q/∂mu is called the score. The expectation is estimated by the mean over S draws. f is only evaluated, so it need
not be smooth: it may count, round, or choose the nearest code.

    log q(z) = −½ ((z − mu)² / σ² + logvar + log 2π), summed over the Z numbers of z

Shapes: mu, logvar (Z,), z (S, Z), f(z) (S,): one value for each draw; score_mu, score_logvar (S, Z).
(Williams 1992, doi:10.1007/BF00992696)

Where to begin: differentiate log q by mu, and by logvar, with z held fixed. Here z is a number that was drawn, not a
function of mu: this is what differs from the reparameterization. For the second, 1/σ² is exp(−logvar).

In numbers, mu = 1, σ² = 4 and f(z) = z². The draw z = 5 has the scores 1 for mu and 1.5 for logvar, and the draw z = 1
has 0 and −0.5. So dmu = (25 · 1 + 1 · 0) / 2 and dlogvar = (25 · 1.5 − 1 · 0.5) / 2:

    >>> z = np.array([[5.0], [1.0]])
    >>> gradients = score_function(np.array([1.0]), np.array([np.log(4)]), z, lambda z: np.sum(z**2, axis=1))
    >>> [gradient.round(12).tolist() for gradient in gradients]
    [[12.5], [18.5]]
"""

import numpy as np


def score_function(mu, logvar, z, f):
    """(dmu, dlogvar): estimates of ∂E[f(z)]/∂mu and ∂E[f(z)]/∂logvar from the draws z."""
    # yours:
    score_mu = (z - mu) * np.exp(-logvar)
    score_logvar = 0.5 * ((z - mu) ** 2 * np.exp(-logvar) - 1)
    values = f(z)[:, None]
    dmu = np.mean(values * score_mu, axis=0)
    dlogvar = np.mean(values * score_logvar, axis=0)
    # instead:
    # score_mu = ...  # TODO ∂log q(z)/∂mu, shape (S, Z)
    # score_logvar = ...  # TODO ∂log q(z)/∂logvar, shape (S, Z)
    # dmu = ...  # TODO ∂E[f(z)]/∂mu: the mean over the draws of f(z) · score_mu, shape (Z,)
    # dlogvar = ...  # TODO ∂E[f(z)]/∂logvar: the same with score_logvar, shape (Z,)
    # end
    return dmu, dlogvar


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "Only (z − mu)²/σ² depends on mu. Its derivative is −2 (z − mu)/σ²; times −½ that is the score.",
    "By logvar: (z − mu)² exp(−logvar) has the derivative −(z − mu)² exp(−logvar), and logvar has 1. Then times −½.",
    "f(z) has the shape (S,), the scores (S, Z). f(z)[:, None] has the shape (S, 1), so that each draw's value "
    "multiplies its row. Then the mean over axis 0.",
)


def length(z):
    return np.sum(z**2, axis=1)


def far_out(z):
    return 1.0 * (np.sum(z, axis=1) > 1)  # has no useful derivative


def cases(rng):
    for (S, Z), f in (((50, 3), length), ((1, 4), length), ((200, 2), far_out)):
        mu, logvar = rng.standard_normal(Z), rng.standard_normal(Z)
        z = mu + np.exp(0.5 * logvar) * rng.standard_normal((S, Z))
        yield {"mu": mu, "logvar": logvar, "z": z, "f": f}
