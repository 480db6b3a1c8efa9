"""A gradient through an argmin, and two losses.

A vector quantizer with both of its losses:

    k = argmin_j ‖z − e[j]‖²        q = e[k]
    codebook_loss = (1/N) Σ ‖sg[z] − e[k]‖²        moves the codes to the encoder's outputs
    commitment_loss = (1/N) Σ ‖z − sg[e[k]]‖²      keeps the encoder's outputs near their codes

sg[·] (stop-gradient) is a constant for the backward pass. So the two losses have the same value, and each has a
gradient by one side only.

Shapes: z, q (N, P, D): N images with P vectors each; the codebook e (K, D), k (N, P), the losses are numbers.

k jumps or stands still, so it has no useful derivative. The straight-through estimator acts as if q were z plus a
constant, q = z + sg[e[k] − z]. Then the decoder's gradient dq passes to z as it is. (van den Oord et al. 2017,
arXiv:1711.00937; Bengio et al. 2013, arXiv:1308.3432)

dcodebook_loss and dcommitment_loss are ∂L/∂codebook_loss and ∂L/∂commitment_loss, the weights of the two losses: 1 and
0.25 in lesson 5.

Where to begin: dz has two parts, one from q and one from commitment_loss. de has one, from codebook_loss:
with q = z + sg[e[k] − z], no gradient reaches e from q. A code may be chosen by many vectors, or by none.

In numbers, one image with one vector between two codes:

    >>> q, codebook_loss, commitment_loss, saved = forward(np.array([[[2.0]]]), np.array([[1.0], [5.0]]))
    >>> q.tolist(), float(codebook_loss), float(commitment_loss)
    ([[[1.0]]], 1.0, 1.0)
    >>> [gradient.tolist() for gradient in backward(np.array([[[100.0]]]), 10.0, 1.0, saved)]
    [[[[102.0]]], [[-20.0], [0.0]]]
"""

import numpy as np


def forward(z, e):
    k = np.argmin(np.sum((z[:, :, None] - e) ** 2, axis=-1), axis=-1)
    q = e[k]
    distance = np.sum((z - q) ** 2) / len(z)
    codebook_loss, commitment_loss = distance, distance
    return q, codebook_loss, commitment_loss, (z, e, k)


def backward(dq, dcodebook_loss, dcommitment_loss, saved):
    z, e, k = saved
    # yours:
    dz = dq + dcommitment_loss * 2 * (z - e[k]) / len(z)
    dchosen = dcodebook_loss * 2 * (e[k] - z) / len(z)
    de = np.zeros_like(e)
    np.add.at(de, k, dchosen)
    # instead:
    # dz = ...  # TODO ∂L/∂z, shape (N, P, D): from q, and from commitment_loss
    # dchosen = ...  # TODO ∂L/∂e[k], shape (N, P, D): from codebook_loss, one row for each vector
    # de = ...  # TODO ∂L/∂e, shape (K, D): what each code gets from all vectors that chose it
    # end
    return dz, de


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "From q: dq, unchanged. From commitment_loss: e[k] is a constant there, so it is the gradient of a squared error "
    "with respect to z, times dcommitment_loss. N is len(z).",
    "In codebook_loss z is the constant: the derivative of ‖z − e[k]‖² by e[k] is 2 (e[k] − z).",
    "de begins as zeros. de[k] = dchosen and de[k] += dchosen keep one row of dchosen for each code, even where k "
    "names the code several times. np.add.at(de, k, dchosen) adds all of them. A loop over the codes j with "
    "de[j] = dchosen[k == j].sum(axis=0) does, too.",
)


def cases(rng):
    for N, P, D, K in ((5, 6, 3, 7), (1, 3, 2, 8), (3, 1, 4, 2)):
        yield {"z": rng.standard_normal((N, P, D)), "e": rng.standard_normal((K, D))}
