"""A transposed convolution.

It makes an image larger.

    P = x w          y = col2im(P) + b

Each input pixel times the kernel gives a patch, and the patches are added up where they overlap. w is flattened to
(C, KH·KW·O), and x to one row for each pixel, (N·I·J, C).

Shapes: x (N, I, J, C), w (C, KH, KW, O), b (O,), y (N, H, W, O) with H = (I − 1)·stride − 2·padding + KH, and W
likewise.

im2col and col2im are given, and each is the other's backward: ⟨im2col(dy), P⟩ = ⟨dy, col2im(P)⟩ for every dy and P.

Where to begin: go through forward's three steps from the last to the first. y = image + b; image = col2im(P); P = x w.
The backward of a transposed convolution is made of the same parts as the forward of a convolution.
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


def col2im(patches, size, stride, padding):
    N, I, J, KH, KW, C = patches.shape
    H, W = size
    padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C))
    for u, v in np.ndindex(KH, KW):
        padded[:, u : u + I * stride : stride, v : v + J * stride : stride] += patches[:, :, :, u, v]
    return padded[:, padding : padding + H, padding : padding + W]


def forward(x, w, b, stride, padding):
    (N, I, J, C), (_, KH, KW, O) = x.shape, w.shape
    size = (I - 1) * stride - 2 * padding + KH, (J - 1) * stride - 2 * padding + KW
    rows = x.reshape(N * I * J, C)
    P = rows @ w.reshape(C, KH * KW * O)
    y = col2im(P.reshape(N, I, J, KH, KW, O), size, stride, padding) + b
    return y, (x, w, stride, padding)


def backward(dy, saved):
    x, w, stride, padding = saved
    (N, I, J, C), (_, KH, KW, O) = x.shape, w.shape
    rows = x.reshape(N * I * J, C)
    # yours:
    db = dy.sum(axis=(0, 1, 2))
    dP = im2col(dy, (KH, KW), stride, padding).reshape(N * I * J, KH * KW * O)
    dw = (rows.T @ dP).reshape(C, KH, KW, O)
    dx = (dP @ w.reshape(C, KH * KW * O).T).reshape(N, I, J, C)
    # instead:
    # db = ...  # TODO ∂L/∂b, shape (O,)
    # dP = ...  # TODO ∂L/∂P, shape (N·I·J, KH·KW·O)
    # dw = ...  # TODO ∂L/∂w, shape (C, KH, KW, O)
    # dx = ...  # TODO ∂L/∂x, shape (N, I, J, C)
    # end
    return dx, dw, db


# --- for the checker --------------------------------------------------------------------------------------------------

HINTS = (
    "b is added at every pixel of every image, so db is a sum over three axes.",
    "The backward of col2im is im2col: dP = im2col(dy, (KH, KW), stride, padding), reshaped to rows.",
    "P = rows W is a linear layer without a bias: dW = rowsᵀ dP and drows = dP Wᵀ. Reshape both at the end.",
)


def cases(rng):
    for N, I, J, C, O, KH, KW, stride, padding in ((5, 6, 7, 3, 4, 3, 2, 1, 0), (1, 3, 2, 2, 3, 4, 3, 2, 1)):
        yield {"x": rng.standard_normal((N, I, J, C)), "w": rng.standard_normal((C, KH, KW, O)),
               "b": rng.standard_normal(O), "stride": stride, "padding": padding}
