"""Adam.

One step of the optimiser that trains all models here:

    m ← beta1 · m + (1 − beta1) · dtheta          a moving average of the gradient
    v ← beta2 · v + (1 − beta2) · dtheta²         and of its square
    m_hat = m / (1 − beta1ᵗ)                      both begin at 0, so the first ones are too small by this factor
    v_hat = v / (1 − beta2ᵗ)
    theta ← theta − lr · m_hat / (√v_hat + eps)

Shapes: theta, dtheta, m, v have any one shape. t = 1 at the first step. (Kingma & Ba 2015, arXiv:1412.6980)

Where to begin: the formulas are all there. Write them, and leave the arrays that you were given unchanged. Then answer
on paper: at t = 1, how large is the step, whatever the size of dtheta? Why would eps inside the root be something else?

In numbers, the first step is lr long, whether the gradient is 4 or 400:

    >>> start = np.array([1.0, 1.0]), np.array([4.0, -400.0]), np.zeros(2), np.zeros(2)
    >>> theta, m, v = adam(*start, t=1, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8)
    >>> theta.round(6).tolist(), m.round(6).tolist()
    ([0.9, 1.1], [0.4, -40.0])
"""

import numpy as np


def adam(theta, dtheta, m, v, t, lr, beta1, beta2, eps):
    """(theta, m, v) after a step; new arrays, the given ones stay as they are."""
    # yours:
    m = beta1 * m + (1 - beta1) * dtheta
    v = beta2 * v + (1 - beta2) * dtheta**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    theta = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    # instead:
    # m = ...  # TODO shape of theta
    # v = ...  # TODO shape of theta
    # m_hat = ...  # TODO shape of theta
    # v_hat = ...  # TODO shape of theta
    # theta = ...  # TODO shape of theta
    # end
    return theta, m, v


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "m = beta1 * m + (1 - beta1) * dtheta makes a new array. m *= beta1 would change the one that you were given.",
    "t is the number of this step, beginning at 1: beta1**t. With t = 0 the correction would divide by 0.",
    "eps is added to the root, not under it: np.sqrt(v_hat) + eps.",
)


def cases(rng):
    for shape, t, eps in (((4, 3), 3, 0.1), ((1,), 1, 1e-3), ((2, 3, 2), 40, 1e-8)):
        first = t == 1
        yield {"theta": rng.standard_normal(shape), "dtheta": rng.standard_normal(shape),
               "m": np.zeros(shape) if first else rng.standard_normal(shape),
               "v": np.zeros(shape) if first else rng.random(shape),
               "t": t, "lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": eps}
