"""The squared error of reconstructions.

How far reconstructions y are from images x:

    loss = (1/N) Σₙ Σ (y − x)²        summed over everything inside an image, averaged over the N images

Shapes: y, x (N, ...), loss a number. The images x are given, so only y needs a gradient.

dloss = ∂L/∂loss is a number. It is 1 where L is this loss and nothing else; in a model of several terms it is the
weight of this one.

Where to begin: one number y[n, c] stands in one square. When y[n, c] changes, how does this square change, how does
loss, and how does L?

In numbers, two images of one pixel each:

    >>> loss, saved = forward(np.array([[3.0], [1.0]]), np.array([[1.0], [2.0]]))
    >>> float(loss)
    2.5
    >>> backward(10.0, saved).tolist()
    [[20.0], [-10.0]]
"""

import numpy as np


def forward(y, x):
    difference = y - x
    loss = np.sum(difference**2) / len(x)
    return loss, difference


def backward(dloss, saved):
    difference = saved
    # yours:
    dy = dloss * 2 * difference / len(difference)
    # instead:
    # dy = ...  # TODO ∂L/∂y, shape of y
    # end
    return dy


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "The derivative of (y − x)² with respect to y is 2 (y − x).",
    "The sum passes a gradient on to each of its terms; the division by N divides it. N is len(difference): the "
    "number of images, not of pixels.",
)


def cases(rng):
    for shape in ((5, 7), (1, 4), (6, 3, 4, 2)):
        yield {"y": rng.standard_normal(shape), "x": rng.random(shape)}
