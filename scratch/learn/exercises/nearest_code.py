"""The search for the nearest code.

A vector quantizer replaces each vector z by the nearest of its K codes:

    k[m] = argmin_j ‖z[m] − e[j]‖²        of equally near codes the first

Shapes: z (M, D), the codebook e (K, D), k (M,), integers from 0 to K − 1.

Where to begin: z[:, None] − e[None] would have the shape (M, K, D). With 65,536 vectors, 512 codes and D = 64 it would
take 17 GB. Multiply the square out instead,

    ‖z − e‖² = ‖z‖² − 2 z·e + ‖e‖²

so that all z·e are one matrix product and nothing is larger than (M, K). ‖z‖² is the same for every code. You may leave
it out: k stays right, and only the table notes that distances differ.

In numbers, two vectors and three codes:

    >>> nearest_code(np.array([[1.0, 0.0], [4.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 5.0], [9.0, 9.0]])).tolist()
    [0, 1]
"""

import numpy as np


def nearest_code(z, e):
    # yours:
    distances = np.sum(z**2, axis=1)[:, None] - 2 * z @ e.T + np.sum(e**2, axis=1)
    k = np.argmin(distances, axis=1)
    # instead:
    # distances = ...  # TODO ‖z[m] − e[j]‖² for every m and j, shape (M, K)
    # k = ...  # TODO the index of the nearest code, of equal ones the first, shape (M,)
    # end
    return k


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "z @ e.T has the shape (M, K), and its entry [m, j] is z[m]·e[j].",
    "‖z‖² is a number for each row, so its shape has to be (M, 1): np.sum(z**2, axis=1)[:, None]. ‖e‖² is a number "
    "for each column: (K,) is right.",
    "np.argmin(distances, axis=1) looks along the codes. Of equal ones it gives the first.",
)


def cases(rng):
    for M, K, D in ((12, 5, 3), (1, 4, 2), (9, 1, 2), (30, 16, 6)):
        yield {"z": rng.standard_normal((M, D)), "e": rng.standard_normal((K, D))}
    ties = np.array([[1.0, 0.0], [0.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
    yield {"z": np.array([[0.0, 0.0], [5.0, 1.0]]), "e": ties}
