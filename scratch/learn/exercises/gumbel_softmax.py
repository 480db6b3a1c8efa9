"""A relaxed draw: the Gumbel-softmax.

One of K codes is drawn, in a form that can be differentiated:

    s = (a + g) / tau        y = softmax(s) over the last axis

a are the logits, g the noise, drawn from the Gumbel distribution. argmax(a + g) is an exact draw from softmax(a); y is
a smooth stand-in, which comes near the one-hot vector of that draw as the temperature tau goes to 0.

Shapes: a, g, s, y (N, P, K): N images with P positions each. (Jang et al. 2017, arXiv:1611.01144)

Where to begin: first the softmax alone, in one row y = (y₁, …, y_K). From yᵢ = exp(sᵢ) / Σ exp(sⱼ) it follows that
∂yᵢ/∂sⱼ = yᵢ ([i = j] − yⱼ). So ds[j] is a sum over all i. Split it into the part with [i = j] and the rest: the rest
has one sum that is the same for every j. Then a is one step further.

In numbers: two codes with equal chances, tau = ½:

    >>> y, saved = forward(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), 0.5)
    >>> y.tolist()
    [[[0.5, 0.5]]]
    >>> backward(np.array([[[10.0, 6.0]]]), saved).tolist()
    [[[2.0, -2.0]]]
"""

import numpy as np


def forward(a, g, tau):
    s = (a + g) / tau
    y = np.exp(s - s.max(axis=-1, keepdims=True))
    y = y / y.sum(axis=-1, keepdims=True)
    return y, (y, tau)


def backward(dy, saved):
    y, tau = saved
    # yours:
    ds = y * (dy - np.sum(y * dy, axis=-1, keepdims=True))
    da = ds / tau
    # instead:
    # ds = ...  # TODO ∂L/∂s, shape (N, P, K): through the softmax
    # da = ...  # TODO ∂L/∂a, shape (N, P, K)
    # end
    return da


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "ds[j] = Σᵢ dy[i] ∂yᵢ/∂sⱼ = Σᵢ dy[i] yᵢ ([i = j] − yⱼ). The term i = j of the first part is dy[j] yⱼ.",
    "The rest is −yⱼ Σᵢ dy[i] yᵢ: one sum for each position, np.sum(y * dy, axis=-1, keepdims=True).",
    "s = (a + g) / tau, so a change of a counts 1/tau times in s.",
)


def cases(rng):
    for N, P, K, tau in ((5, 6, 7, 0.7), (1, 2, 3, 1.6), (2, 1, 8, 0.3)):
        yield {"a": rng.standard_normal((N, P, K)), "g": rng.gumbel(size=(N, P, K)), "tau": tau}
