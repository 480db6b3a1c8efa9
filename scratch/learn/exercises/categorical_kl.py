"""The KL divergence of a dVAE.

How far a dVAE's choice of codes is from uniform, KL(softmax(a) ‖ uniform), in nats:

    logp = a − log Σⱼ exp(a[j])       p = exp(logp)
    elements = p (logp + log K)      kl = (1/N) Σₙ Σ elements

Shapes: a, logp, p, elements (N, I, J, K): N images, a grid of I × J positions, K codes; kl a number. The softmax is
over the last axis.

Where to begin: elements is a product, and p in it is a function of logp itself. So dlogp has two parts: directly, and
through p. In the first step a stands twice as well: by itself, and inside the sum, which is the same for all K. What is
the derivative of log Σⱼ exp(a[j]) by a[k]? forward has computed it already.
"""

import numpy as np


def forward(a):
    above = a - a.max(axis=-1, keepdims=True)  # the same softmax, without overflow
    logp = above - np.log(np.sum(np.exp(above), axis=-1, keepdims=True))
    p = np.exp(logp)
    elements = p * (logp + np.log(a.shape[-1]))
    kl = np.sum(elements) / len(a)
    return kl, (logp, p)


def backward(dkl, saved):
    logp, p = saved
    N, _, _, K = p.shape
    # yours:
    delements = np.full(p.shape, dkl / N)
    dp = delements * (logp + np.log(K))
    dlogp = delements * p + dp * p
    da = dlogp - p * np.sum(dlogp, axis=-1, keepdims=True)
    # instead:
    # delements = ...  # TODO ∂L/∂elements, shape (N, I, J, K): every element has the same
    # dp = ...  # TODO ∂L/∂p, shape (N, I, J, K): logp held fixed
    # dlogp = ...  # TODO ∂L/∂logp, shape (N, I, J, K): directly, and through p
    # da = ...  # TODO ∂L/∂a, shape (N, I, J, K): by itself, and through the sum
    # end
    return da


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "elements = p · (logp + log K): the derivative by p is the bracket, the derivative by logp, with p held fixed, is "
    "p.",
    "p = exp(logp), whose derivative is p: through p comes dp · p.",
    "The derivative of log Σⱼ exp(a[j]) by a[k] is exp(a[k]) / Σⱼ exp(a[j]) = p[k]. The log-sum is subtracted from all "
    "K numbers of a row, so its gradient is −Σ dlogp over the row. Multiply this by p.",
)


def cases(rng):
    for N, I, J, K in ((5, 2, 3, 7), (1, 2, 1, 3), (4, 1, 1, 8)):
        yield {"a": 2 * rng.standard_normal((N, I, J, K))}
