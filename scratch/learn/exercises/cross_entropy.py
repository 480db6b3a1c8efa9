"""The cross-entropy of a choice among K.

How surprised the logits a are by the labels x that came, in nats:

    logp = a − log Σⱼ exp(aⱼ)        elements = −logp at the label, 0 where the label is −1
    loss = (1/N) Σₙ Σₜ elements

Shapes: a, logp (N, T, K): N rows of T places, K classes each, x (N, T) integers from 0 to K − 1, or −1 for a place that
does not count, as behind the end of a short sentence. elements (N, T), loss a number.

forward makes one_hot of the labels, shape (N, T, K): 1 at the label, 0 at all other classes, and nothing but 0 where
the label is −1. So elements = −Σⱼ one_hot[j] logp[j].

Where to begin: go back through the three steps, one line for each. In the first one a stands twice: by itself, and
inside the sum, whose derivative you know from the exercise categorical_kl. When all is right, look at what da is in
terms of exp(logp) and one_hot, at a place that counts and at one that does not.

In numbers, one place with three classes, whose logits are equal, and the first one came:

    >>> loss, saved = forward(np.zeros((1, 1, 3)), np.array([[0]]))
    >>> round(float(loss), 4)
    1.0986
    >>> backward(3.0, saved).round(4).tolist()
    [[[-2.0, 1.0, 1.0]]]
"""

import numpy as np


def forward(a, x):
    above = a - a.max(axis=-1, keepdims=True)  # the same probabilities, without overflow
    logp = above - np.log(np.sum(np.exp(above), axis=-1, keepdims=True))
    one_hot = np.where(x[..., None] == np.arange(a.shape[-1]), 1.0, 0.0)
    elements = -np.sum(one_hot * logp, axis=-1)
    loss = np.sum(elements) / len(a)
    return loss, (logp, one_hot)


def backward(dloss, saved):
    logp, one_hot = saved
    N, T, K = logp.shape
    # yours:
    delements = np.full((N, T), dloss / N)
    dlogp = -one_hot * delements[..., None]
    da = dlogp - np.exp(logp) * np.sum(dlogp, axis=-1, keepdims=True)
    # instead:
    # delements = ...  # TODO ∂L/∂elements, shape (N, T): every element has the same
    # dlogp = ...  # TODO ∂L/∂logp, shape (N, T, K)
    # da = ...  # TODO ∂L/∂a, shape (N, T, K): by itself, and through the sum
    # end
    return da


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "loss = (1/N) Σ elements: every element has the derivative 1/N, times dloss. np.full((N, T), number) makes an "
    "array of it.",
    "elements = −Σⱼ one_hot[j] logp[j]: dlogp is −one_hot times delements. delements[..., None] has the shape "
    "(N, T, 1).",
    "∂/∂aᵢ log Σⱼ exp(aⱼ) = exp(aᵢ) / Σⱼ exp(aⱼ), which is exp(logpᵢ). The log-sum is subtracted from all K numbers of "
    "a place, so what it gets is −Σ dlogp over them; then times exp(logp).",
    "Where the label is −1, dlogp is 0 at all classes, and so is da. Elsewhere da is (exp(logp) − one_hot) · dloss "
    "/ N.",
)


def cases(rng):
    for N, T, K in ((5, 6, 7), (1, 2, 3), (4, 1, 8)):
        x = rng.integers(0, K, (N, T))
        x[0, T - 1] = -1
        yield {"a": 2 * rng.standard_normal((N, T, K)), "x": x}
    yield {"a": np.array([[[-800.0, 800.0, 0.0]]]), "x": np.array([[0]])}  # far out: the loss is 1600, not infinite
