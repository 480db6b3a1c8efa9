"""A codebook moved by averages.

No gradient moves the codes here: each is the mean of the vectors that recently chose it.

In a step, k (M,) says which code each of the vectors z (M, D) chose. With the decay γ,

    counts[j] ← γ counts[j] + (1 − γ) · (how many vectors chose code j)
    sums[j] ← γ sums[j] + (1 − γ) · (the sum of the vectors that chose code j)
    weight ← γ weight + (1 − γ)

All begin at 0. So after t steps weight = 1 − γᵗ, and the averages are too small by this factor: divide by it. A code
that no vector chose would be 0/0. Laplace smoothing keeps its count above 0. K is the number of codes:

    n_hat = counts / weight        total = Σ n_hat        smoothed = (n_hat + eps) / (total + K · eps) · total
    e[j] = (sums[j] / weight) / smoothed[j]

Shapes: counts (K,), sums (K, D), weight a number, e (K, D). smoothed is used for e alone. counts stays as it is:
written back into counts, eps would be added again at every step. (van den Oord et al. 2017, arXiv:1711.00937,
appendix A.1)

Where to begin: the formulas are all there. The work is the two sums over the vectors that chose code j, and leaving the
arrays that you were given unchanged.

In numbers, two codes, three vectors, the first step: each chosen code is the mean of its vectors, 2 and 9.

    >>> start = np.zeros(2), np.zeros((2, 1)), 0.0
    >>> counts, sums, weight, e = ema_codebook(*start, np.array([[1.0], [3], [9]]), np.array([0, 0, 1]), 0.9)
    >>> counts.round(9).tolist(), round(weight, 9), e.round(3).tolist()
    ([0.2, 0.1], 0.1, [[2.0], [9.0]])
"""

import numpy as np


def ema_codebook(counts, sums, weight, z, k, decay, eps=1e-5):
    """(counts, sums, weight, e) after a step; new arrays, the given ones stay as they are."""
    K = len(counts)
    # yours:
    chosen = np.eye(K)[k]  # (M, K), a 1 in the column of the chosen code
    counts = decay * counts + (1 - decay) * chosen.sum(axis=0)
    sums = decay * sums + (1 - decay) * chosen.T @ z
    weight = decay * weight + (1 - decay)
    n_hat = counts / weight
    smoothed = (n_hat + eps) / (n_hat.sum() + K * eps) * n_hat.sum()
    e = sums / weight / smoothed[:, None]
    # instead:
    # counts = ...  # TODO shape (K,)
    # sums = ...  # TODO shape (K, D)
    # weight = ...  # TODO a number
    # smoothed = ...  # TODO shape (K,)
    # e = ...  # TODO shape (K, D)
    # end
    return counts, sums, weight, e


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "np.bincount(k, minlength=K) counts how often each code occurs; without minlength it stops at the largest index.",
    "The sums of the vectors by code: total = np.zeros((K, D)); np.add.at(total, k, z). Or a matrix: np.eye(K)[k] has "
    "a row for each vector, with a 1 at its code; its transpose times z is the (K, D) of sums.",
    "counts *= decay would change the array that you were given. counts = decay * counts + … makes a new one.",
)


def cases(rng):
    for M, K, D, steps, decay in ((12, 5, 3, 3, 0.9), (1, 4, 2, 0, 0.99), (40, 6, 2, 8, 0.5)):
        weight = 1 - decay**steps
        yield {"counts": weight * rng.random(K) * 3, "sums": weight * rng.standard_normal((K, D)), "weight": weight,
               "z": rng.standard_normal((M, D)), "k": rng.integers(0, K, M), "decay": decay}
