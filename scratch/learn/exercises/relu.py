"""The rectified linear unit.

Every number by itself:

    y = max(x, 0)

Shapes: x and y have any one shape.

Where to begin: draw y over x. It has two parts, each a straight line. The derivative of each part is a number you can
read off. At the corner, x = 0, there is none; everybody takes 0 there, and so should you.

In numbers:

    >>> y, saved = forward(np.array([-2.0, 0.0, 3.0]))
    >>> y.tolist()
    [0.0, 0.0, 3.0]
    >>> [float(number) + 0.0 for number in backward(np.array([10.0, 20.0, 30.0]), saved)]
    [0.0, 0.0, 30.0]
"""

import numpy as np


def forward(x):
    y = np.maximum(x, 0)
    return y, x


def backward(dy, saved):
    x = saved
    # yours:
    dx = dy * (x > 0)
    # instead:
    # dx = ...  # TODO ∂L/∂x, shape of x
    # end
    return dx


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "Where x > 0, y = x: a change of x changes y by as much. Where x < 0, y = 0 whatever x is.",
    "(x > 0) is an array of True and False. In a product NumPy takes them as 1 and 0.",
)


def cases(rng):
    for shape in ((4, 5), (1, 3), (2, 3, 4, 2)):
        yield {"x": rng.standard_normal(shape)}
    yield {"x": rng.integers(-1, 2, (5, 6)).astype(float)}  # a third of the numbers are exactly 0
