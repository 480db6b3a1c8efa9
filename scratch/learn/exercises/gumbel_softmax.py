"""A relaxed draw: the Gumbel-softmax.

One of K codes is drawn, in a form that can be differentiated:

    scaled = (a + g) / tau        y = softmax(scaled) over the last axis

a are the logits, g the noise, drawn from the Gumbel distribution. argmax(a + g) is an exact draw from softmax(a). y is
a smooth stand-in: it tends to the one-hot vector of that draw as the temperature tau goes to 0.

Shapes: a, g, scaled, y (N, I, J, K): N images with a grid of I × J positions each. (Jang et al. 2017, arXiv:1611.01144)

Where to begin: first the softmax alone, at one position, y = (y[1], …, y[K]). From
y[k] = exp(scaled[k]) / Σⱼ exp(scaled[j]) it follows that ∂y[k]/∂scaled[j] = y[k] ([k = j] − y[j]). So dscaled[j] is a
sum over all k. Split it into the part with [k = j] and the rest: the rest has one sum that is the same for every j.
Then a is one step further.

In numbers: two codes with equal chances, tau = ½:

    >>> y, saved = forward(np.zeros((1, 1, 1, 2)), np.zeros((1, 1, 1, 2)), 0.5)
    >>> y.tolist()
    [[[[0.5, 0.5]]]]
    >>> backward(np.array([[[[10.0, 6.0]]]]), saved).tolist()
    [[[[2.0, -2.0]]]]
"""

import numpy as np


def forward(a, g, tau):
    scaled = (a + g) / tau
    y = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    y = y / y.sum(axis=-1, keepdims=True)
    return y, (y, tau)


def backward(dy, saved):
    y, tau = saved
    # yours:
    dscaled = y * (dy - np.sum(y * dy, axis=-1, keepdims=True))
    da = dscaled / tau
    # instead:
    # dscaled = ...  # TODO ∂L/∂scaled, shape (N, I, J, K): through the softmax
    # da = ...  # TODO ∂L/∂a, shape (N, I, J, K)
    # end
    return da


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "dscaled[j] = Σₖ dy[k] ∂y[k]/∂scaled[j] = Σₖ dy[k] y[k] ([k = j] − y[j]). The first part has only the term k = j, "
    "dy[j] y[j].",
    "The rest is −y[j] Σₖ dy[k] y[k]: one sum for each position, np.sum(y * dy, axis=-1, keepdims=True).",
    "scaled = (a + g) / tau, so a change of a counts 1/tau times in scaled.",
)


def cases(rng):
    for N, I, J, K, tau in ((5, 2, 3, 7, 0.7), (1, 2, 1, 3, 1.6), (2, 1, 1, 8, 0.3)):
        yield {"a": rng.standard_normal((N, I, J, K)), "g": rng.gumbel(size=(N, I, J, K)), "tau": tau}
