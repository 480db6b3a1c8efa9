"""A convolution, loop by loop.

Forward and backward are both yours.

Kernel tap (u, v) connects position (i, j) of the output with position

    (row, col) = (i·stride + u − padding, j·stride + v − padding)

of the image, wherever that lies inside it. Along each connection

    y[n, i, j, o] += Σ_c x[n, row, col, c] w[u, v, c, o]        and y starts as b[o]

Shapes: x (N, H, W, C), w (KH, KW, C, O), b (O,), y (N, I, J, O) with
I = ⌊(H + 2·padding − KH) / stride⌋ + 1, and J likewise.

`connections` gives every (i, j, u, v, row, col), so that the same loop can fill all three arrays y, dx and dw. In it,
x[:, row, col] has the shape (N, C), w[u, v] (C, O) and y[:, i, j] (N, O): a small matrix product each time.

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
        row, col = i * stride + u - padding, j * stride + v - padding
        if 0 <= row < image_size[0] and 0 <= col < image_size[1]:
            yield i, j, u, v, row, col


def forward(x, w, b, stride, padding):
    (N, H, W, _), (KH, KW, _, O) = x.shape, w.shape
    I, J = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    # yours:
    y = np.zeros((N, I, J, O)) + b
    for i, j, u, v, row, col in connections((I, J), (H, W), (KH, KW), stride, padding):
        y[:, i, j] += x[:, row, col] @ w[u, v]
    # instead:
    # y = ...  # TODO shape (N, I, J, O): begin with b everywhere, then
    # # for i, j, u, v, row, col in connections((I, J), (H, W), (KH, KW), stride, padding):
    # end
    return y, (x, w, stride, padding)


def backward(dy, saved):
    x, w, stride, padding = saved
    # yours:
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), dy.sum(axis=(0, 1, 2))
    for i, j, u, v, row, col in connections(dy.shape[1:3], x.shape[1:3], w.shape[:2], stride, padding):
        dx[:, row, col] += dy[:, i, j] @ w[u, v].T
        dw[u, v] += x[:, row, col].T @ dy[:, i, j]
    # instead:
    # db = ...  # TODO ∂L/∂b, shape (O,)
    # dx = ...  # TODO ∂L/∂x, shape (N, H, W, C)
    # dw = ...  # TODO ∂L/∂w, shape (KH, KW, C, O)
    # # for i, j, u, v, row, col in connections(dy.shape[1:3], x.shape[1:3], w.shape[:2], stride, padding):
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "forward: y = np.zeros((N, I, J, O)) + b puts b everywhere. Inside the loop, "
    "y[:, i, j] += x[:, row, col] @ w[u, v].",
    "backward: the same loop once more. Where forward adds x[:, row, col] @ w[u, v] to y[:, i, j], the backward of "
    "this one product adds something to dx[:, row, col] and something to dw[u, v].",
    "For y = x w: dx = dy wᵀ and dw = xᵀ dy. Use += : a pixel takes part in several outputs, a tap in all of them.",
)


def cases(rng):
    for N, H, W, C, O, KH, KW, stride, padding in ((5, 7, 6, 3, 4, 3, 2, 1, 0), (1, 6, 5, 2, 3, 2, 3, 2, 1)):
        yield {"x": rng.standard_normal((N, H, W, C)), "w": rng.standard_normal((KH, KW, C, O)),
               "b": rng.standard_normal(O), "stride": stride, "padding": padding}
