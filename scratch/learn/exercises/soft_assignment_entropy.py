"""A loss that rewards equal use of all codes.

Its point is that it has a gradient:

    a[m, k] = −‖z[m] − e[k]‖² / tau        p = softmax(a) over k        mean[k] = (1/M) Σₘ p[m, k]
    gap = log K + Σₖ mean[k] log mean[k]

p says how much vector m belongs to each code, and mean how much each code is used. gap ≥ 0 is how far the entropy of
the use is below that of equal use, in nats. The entropy of hard counts looks similar, but it has no gradient, because
an argmin has none.

Shapes: z (M, D), the codebook e (K, D), a, p (M, K), mean (K,), gap a number; tau > 0 is a temperature.

Where to begin: five steps back, one line each. gap → mean → p → a, and then from a to z and to e. For the softmax, a
change of one a[m, k] changes all p[m, ·] of its row, as they add up to 1. For the last step, ∂a[m, k]/∂z[m] is a vector
of D numbers. Over which index do you have to sum to get dz, and over which to get de?
(Yu et al. 2024, arXiv:2310.05737, penalise this entropy)
"""

import numpy as np


def forward(z, e, tau):
    a = -np.sum((z[:, None] - e) ** 2, axis=-1) / tau
    p = np.exp(a - a.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    mean = p.mean(axis=0)
    gap = np.log(len(e)) + np.sum(mean * np.log(mean))
    return gap, (z, e, p, mean, tau)


def backward(dgap, saved):
    z, e, p, mean, tau = saved
    # yours:
    dmean = dgap * (np.log(mean) + 1)
    dp = np.tile(dmean / len(z), (len(z), 1))
    da = p * (dp - np.sum(p * dp, axis=1, keepdims=True))
    difference = z[:, None] - e
    dz = np.sum(da[:, :, None] * -2 * difference / tau, axis=1)
    de = np.sum(da[:, :, None] * 2 * difference / tau, axis=0)
    # instead:
    # dmean = ...  # TODO ∂L/∂mean, shape (K,)
    # dp = ...  # TODO ∂L/∂p, shape (M, K)
    # da = ...  # TODO ∂L/∂a, shape (M, K): through the softmax
    # dz = ...  # TODO ∂L/∂z, shape (M, D)
    # de = ...  # TODO ∂L/∂e, shape (K, D)
    # end
    return dz, de


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "The derivative of mean log mean is log mean + 1. mean is a mean over M rows, so each row of dp is dmean / M.",
    "The softmax, in a row: da[k] = p[k] (dp[k] − Σⱼ p[j] dp[j]). The sum is one number for each row (keepdims=True).",
    "difference = z[:, None] - e has the shape (M, K, D). ∂a/∂z = −2 difference / tau and ∂a/∂e = "
    "+2 difference / tau. Multiply by da[:, :, None]. z[m] is in a[m, k] for every k: sum over axis 1. e[k] is there "
    "for every m: sum over axis 0.",
)


def cases(rng):
    for M, D, K, tau in ((7, 3, 5, 1.6), (1, 2, 4, 1.0), (10, 4, 3, 0.7)):
        yield {"z": rng.standard_normal((M, D)), "e": rng.standard_normal((K, D)), "tau": tau}
