"""A convolution as one matrix product.

    P = im2col(x), one row for each patch          y = P w + b

Shapes: x (N, H, W, C), w (KH, KW, C, O), b (O,), y (N, I, J, O). In between w is flattened to (KH·KW·C, O), P has the
shape (N·I·J, KH·KW·C), and the product has one row for each position (n, i, j).

im2col and its backward col2im are given (they are exercises of their own). What is left is a linear layer between two
changes of shape.

Where to begin: flatten dy as forward flattened y. Then the three gradients are those of a linear layer whose input is
P. Last, bring each back to the shape that it should have.
"""

import numpy as np


def im2col(x, kernel_size, stride, padding):
    (N, H, W, C), (KH, KW) = x.shape, kernel_size
    I, J = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    patches = np.empty((N, I, J, KH, KW, C))
    for u, v in np.ndindex(KH, KW):
        patches[:, :, :, u, v] = padded[:, u : u + I * stride : stride, v : v + J * stride : stride]
    return patches


def col2im(dpatches, size, stride, padding):
    N, I, J, KH, KW, C = dpatches.shape
    H, W = size
    dpadded = np.zeros((N, H + 2 * padding, W + 2 * padding, C))
    for u, v in np.ndindex(KH, KW):
        dpadded[:, u : u + I * stride : stride, v : v + J * stride : stride] += dpatches[:, :, :, u, v]
    return dpadded[:, padding : padding + H, padding : padding + W]


def forward(x, w, b, stride, padding):
    KH, KW, C, O = w.shape
    patches = im2col(x, (KH, KW), stride, padding)
    N, I, J, _, _, _ = patches.shape
    P = patches.reshape(N * I * J, KH * KW * C)
    y = (P @ w.reshape(KH * KW * C, O) + b).reshape(N, I, J, O)
    return y, (P, w, x.shape[1:3], stride, padding)


def backward(dy, saved):
    P, w, size, stride, padding = saved
    KH, KW, C, O = w.shape
    N, I, J, _ = dy.shape
    # yours:
    rows = dy.reshape(N * I * J, O)
    db = rows.sum(axis=0)
    dw = (P.T @ rows).reshape(KH, KW, C, O)
    dP = rows @ w.reshape(KH * KW * C, O).T
    dx = col2im(dP.reshape(N, I, J, KH, KW, C), size, stride, padding)
    # instead:
    # rows = ...  # TODO dy, one row for each position: shape (N·I·J, O)
    # db = ...  # TODO ∂L/∂b, shape (O,)
    # dw = ...  # TODO ∂L/∂w, shape (KH, KW, C, O)
    # dP = ...  # TODO ∂L/∂P, shape (N·I·J, KH·KW·C)
    # dx = ...  # TODO ∂L/∂x, shape (N, H, W, C)
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "rows = dy.reshape(N * I * J, O). The linear layer is Y = P W + b with Y, P and W as matrices.",
    "Of a linear layer: dP = rows Wᵀ, dW = Pᵀ rows, db = the sum of the rows. W is w.reshape(KH * KW * C, O).",
    "col2im takes patches (N, I, J, KH, KW, C): reshape dP before it. dw is reshaped to the shape of w.",
)


def cases(rng):
    for N, H, W, C, O, KH, KW, stride, padding in ((5, 7, 6, 3, 4, 3, 2, 1, 0), (1, 6, 5, 2, 3, 2, 3, 2, 1)):
        yield {"x": rng.standard_normal((N, H, W, C)), "w": rng.standard_normal((KH, KW, C, O)),
               "b": rng.standard_normal(O), "stride": stride, "padding": padding}
