"""A convolution, loop by loop.

Forward and backward are both yours.

Kernel tap (u, v) connects position (i, j) of the output with position (r, q) = (i·s + u − p, j·s + v − p) of the image,
wherever that lies inside of it; s is the stride, p the padding. Along each connection

    y[n, i, j, o] += Σ_c x[n, r, q, c] w[u, v, c, o]        and y starts as b[o]

Shapes: x (N, H, W, C), w (KH, KW, C, O), b (O,), y (N, OH, OW, O) with OH = ⌊(H + 2p − KH) / s⌋ + 1.

`connections` gives every (i, j, u, v, r, q), so that all three arrays y, dx, dw can be filled by the same loop. In it,
x[:, r, q] has the shape (N, C), w[u, v] (C, O) and y[:, i, j] (N, O): a small matrix product each time.

Where to begin: a connection is a linear layer. If you have done the exercise `linear`, you know its backward; here the
results of all connections are added up.

In numbers, one row of pixels and a kernel of two taps:

    >>> x, w, b = np.array([1.0, 2, 3]).reshape(1, 1, 3, 1), np.array([10.0, 1]).reshape(1, 2, 1, 1), np.zeros(1)
    >>> y, saved = forward(x, w, b, stride=1, padding=0)
    >>> y.ravel().tolist()
    [12.0, 23.0]
    >>> [gradient.ravel().tolist() for gradient in backward(np.ones((1, 1, 2, 1)), saved)]
    [[10.0, 11.0, 1.0], [3.0, 5.0], [2.0]]
"""

import numpy as np


def connections(output_size, image_size, kernel_size, stride, padding):
    for i, j, u, v in np.ndindex(*output_size, *kernel_size):
        r, q = i * stride + u - padding, j * stride + v - padding
        if 0 <= r < image_size[0] and 0 <= q < image_size[1]:
            yield i, j, u, v, r, q


def forward(x, w, b, stride, padding):
    (N, H, W, _), (KH, KW, _, O) = x.shape, w.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    # yours:
    y = np.zeros((N, OH, OW, O)) + b
    for i, j, u, v, r, q in connections((OH, OW), (H, W), (KH, KW), stride, padding):
        y[:, i, j] += x[:, r, q] @ w[u, v]
    # instead:
    # y = ...  # TODO shape (N, OH, OW, O): begin with b everywhere, then
    # # for i, j, u, v, r, q in connections((OH, OW), (H, W), (KH, KW), stride, padding):
    # end
    return y, (x, w, stride, padding)


def backward(dy, saved):
    x, w, stride, padding = saved
    # yours:
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), dy.sum(axis=(0, 1, 2))
    for i, j, u, v, r, q in connections(dy.shape[1:3], x.shape[1:3], w.shape[:2], stride, padding):
        dx[:, r, q] += dy[:, i, j] @ w[u, v].T
        dw[u, v] += x[:, r, q].T @ dy[:, i, j]
    # instead:
    # db = ...  # TODO ∂L/∂b, shape (O,)
    # dx = ...  # TODO ∂L/∂x, shape (N, H, W, C)
    # dw = ...  # TODO ∂L/∂w, shape (KH, KW, C, O)
    # # for i, j, u, v, r, q in connections(dy.shape[1:3], x.shape[1:3], w.shape[:2], stride, padding):
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "forward: y = np.zeros((N, OH, OW, O)) + b puts b everywhere. Inside the loop, y[:, i, j] += x[:, r, q] @ w[u, "
    "v].",
    "backward: the same loop once more. Where forward adds x[:, r, q] @ w[u, v] to y[:, i, j], the backward of this "
    "one product adds something to dx[:, r, q] and something to dw[u, v].",
    "For y = x w: dx = dy wᵀ and dw = xᵀ dy. Use += : a pixel takes part in several outputs, a tap in all of them.",
)


def cases(rng):
    for N, H, W, C, O, KH, KW, stride, padding in ((5, 7, 6, 3, 4, 3, 2, 1, 0), (1, 6, 5, 2, 3, 2, 3, 2, 1)):
        yield {"x": rng.standard_normal((N, H, W, C)), "w": rng.standard_normal((KH, KW, C, O)),
               "b": rng.standard_normal(O), "stride": stride, "padding": padding}
