"""Attention that looks back only.

Every token asks all tokens up to itself, and takes the mean of what they hold, weighted by how well they fit:

    a[i, j] = q[i] · k[j] / √D,   −∞ where j > i        p = softmax(a) over the keys j        o[i] = Σⱼ p[i, j] v[j]

Shapes: q, k, v, o (M, T, D), a, p (M, T, T): M rows of T tokens, the query, key and value of each with D numbers. In p,
the axis 1 is that of the queries i, the axis 2 that of the keys j.

Where to begin: forward is a product, a softmax, and a product. Go back through them in this order. A product o = p v
has the backward of a linear layer, once for each of the M rows of tokens: k.transpose(0, 2, 1) swaps the last two axes
of k. For the softmax, use what you know from the exercise gumbel_softmax. Where j > i, p is 0. What does that make of
da, whatever dp is? (Vaswani et al. 2017, arXiv:1706.03762)

In numbers, two tokens with one number each. The first one sees itself alone. The second one's query is 0, so that it
takes the plain mean:

    >>> q, k, v = np.array([[[5.0], [0.0]]]), np.array([[[1.0], [3.0]]]), np.array([[[2.0], [4.0]]])
    >>> o, saved = forward(q, k, v)
    >>> o.tolist()
    [[[2.0], [3.0]]]
    >>> [gradient.tolist() for gradient in backward(np.array([[[10.0], [8.0]]]), saved)]
    [[[[0.0], [8.0]]], [[[0.0], [0.0]]], [[[14.0], [4.0]]]]
"""

import numpy as np


def forward(q, k, v):
    _, T, D = q.shape
    root = np.sqrt(D)
    seen = np.tril(np.ones((T, T), bool))  # True where j ≤ i
    a = np.where(seen, q @ k.transpose(0, 2, 1) / root, -np.inf)
    p = np.exp(a - a.max(axis=-1, keepdims=True))
    p = p / p.sum(axis=-1, keepdims=True)
    o = p @ v
    return o, (q, k, v, p)


def backward(do, saved):
    q, k, v, p = saved
    root = np.sqrt(q.shape[-1])  # √D
    # yours:
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    da = p * (dp - np.sum(p * dp, axis=-1, keepdims=True))
    dq = da @ k / root
    dk = da.transpose(0, 2, 1) @ q / root
    # instead:
    # dv = ...  # TODO ∂L/∂v, shape (M, T, D): from all queries that see it
    # dp = ...  # TODO ∂L/∂p, shape (M, T, T)
    # da = ...  # TODO ∂L/∂a, shape (M, T, T): through the softmax
    # dq = ...  # TODO ∂L/∂q, shape (M, T, D)
    # dk = ...  # TODO ∂L/∂k, shape (M, T, D)
    # end
    return dq, dk, dv


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "o = p v, so dv = pᵀ do and dp = do vᵀ, for each of the M rows of tokens: p.transpose(0, 2, 1) @ do and "
    "do @ v.transpose(0, 2, 1).",
    "∂p[i, l]/∂a[i, j] = p[i, l] ([l = j] − p[i, j]), and rows do not mix. So da[i, j] is p[i, j] times dp[i, j] minus "
    "one number for each row i: the sum of p · dp over the keys, np.sum(p * dp, axis=-1, keepdims=True).",
    "Where p is 0, da is 0: the mask needs no line of its own in backward.",
    "a[i, j] = Σ_d q[i, d] k[j, d] / √D. So dq[i] = Σⱼ da[i, j] k[j] / √D, and dk[j] = Σᵢ da[i, j] q[i] / √D, which is "
    "a product with the transposed da.",
)


def cases(rng):
    for M, T, D in ((5, 6, 3), (1, 4, 8), (3, 1, 2)):
        q, k, v = rng.standard_normal((3, M, T, D))
        yield {"q": q, "k": k, "v": v}
