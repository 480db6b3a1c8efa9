"""Max pooling.

Of each window only the largest number goes on.

    y[n, i, j, c] = max_{u, v} x[n, i·stride + u, j·stride + v, c]        u, v from 0 to kernel_size − 1

Shapes: x (N, H, W, C), y (N, I, J, C) with I = ⌊(H − kernel_size) / stride⌋ + 1, and J likewise. Where the stride is
smaller than the kernel, windows overlap.

forward saves winner (N, I, J, C): which number of its window was the largest, counted row by row as u·kernel_size + v.
Of several equal ones it is the first.

Where to begin: with the winner known, y[n, i, j, c] is a copy of one number of x. The others of that window do not
change y, as long as they stay smaller. And where windows overlap, one number can win twice.

In numbers: two windows of 2 × 2 overlap, and 5 is the largest number of both.

    >>> y, saved = forward(np.array([[1.0, 5, 2], [3, 4, 0]]).reshape(1, 2, 3, 1), kernel_size=2, stride=1)
    >>> y.ravel().tolist()
    [5.0, 5.0]
    >>> backward(np.array([10.0, 1]).reshape(1, 1, 2, 1), saved).reshape(2, 3).tolist()
    [[0.0, 11.0, 0.0], [0.0, 0.0, 0.0]]
"""

import numpy as np


def forward(x, kernel_size, stride):
    N, H, W, C = x.shape
    I, J = (H - kernel_size) // stride + 1, (W - kernel_size) // stride + 1
    y, winner = np.empty((N, I, J, C)), np.empty((N, I, J, C), int)
    for i, j in np.ndindex(I, J):
        row, col = i * stride, j * stride
        window = x[:, row : row + kernel_size, col : col + kernel_size].reshape(N, kernel_size**2, C)
        y[:, i, j], winner[:, i, j] = window.max(axis=1), window.argmax(axis=1)
    return y, (winner, x.shape, kernel_size, stride)


def backward(dy, saved):
    winner, shape, kernel_size, stride = saved
    # yours:
    dx = np.zeros(shape)
    for n, i, j, c in np.ndindex(*winner.shape):
        u, v = divmod(winner[n, i, j, c], kernel_size)
        dx[n, i * stride + u, j * stride + v, c] += dy[n, i, j, c]
    # instead:
    # dx = ...  # TODO ∂L/∂x, shape (N, H, W, C); loops will do
    # # for n, i, j, c in np.ndindex(*winner.shape):
    # end
    return dx


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "dx begins as zeros. Each dy[n, i, j, c] goes to exactly one place of dx.",
    "winner = u·kernel_size + v, so u, v = divmod(winner[n, i, j, c], kernel_size). The place is (n, i·stride + u, "
    "j·stride + v, c).",
    "A number that won in two windows has two gradients: += and not =.",
)


def cases(rng):
    for N, H, W, C, kernel_size, stride in ((5, 6, 7, 3, 3, 2), (1, 5, 4, 2, 3, 1), (3, 7, 5, 1, 2, 3)):
        yield {"x": rng.standard_normal((N, H, W, C)), "kernel_size": kernel_size, "stride": stride}
    yield {"x": rng.integers(0, 3, (2, 5, 5, 2)).astype(float), "kernel_size": 3,
               "stride": 2}  # many equal numbers
