"""Convolution and transposed convolution as their formulas, loop by loop. Read this file before conv.py.

Both are sums over the same triples (input pixel, kernel tap, output pixel). With stride (SH, SW) and padding (PH, PW),
kernel tap (u, v) connects position (i, j) of the small grid with position

    (row, col) = (i·SH + u − PH,  j·SW + v − PW)

of the large grid, whenever that lies inside it. A convolution reads the large grid and writes the small one:

    y[n, i, j, o] += x[n, row, col, c] · w[u, v, c, o]

A transposed convolution reads the small grid and writes the large one, along the very same connections:

    y[n, row, col, o] += x[n, i, j, c] · w[c, u, v, o]

Each summand is a product of two numbers. Its derivative by either number is the other. So the backward pass is the same
loop once more: where forward adds x·w to y, backward adds dy·w to dx and dy·x to dw.

These functions take stride and padding only, and they are too slow for training. Tests check that they agree with the
layers in conv.py and with PyTorch. (Dumoulin & Visin 2016, A guide to convolution arithmetic, arXiv:1603.07285)
"""

import numpy as np

from scratch.arrays import array_module


def connections(small, large, kernel, stride, padding):
    """Yields each (i, j, u, v, row, col): position (i, j) of the small grid meets (row, col) of the large one through
    tap (u, v)."""
    for i, j, u, v in np.ndindex(*small, *kernel):
        row, col = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
        if 0 <= row < large[0] and 0 <= col < large[1]:
            yield i, j, u, v, row, col


def conv2d(x, w, b, stride=(1, 1), padding=(0, 0)):
    """y[n, i, j, o] = b[o] + Σ_{u, v, c} x[n, i·SH + u − PH, j·SW + v − PW, c] · w[u, v, c, o].

    Shapes: x (N, H, W, C), w (KH, KW, C, O), b (O,), y (N, I, J, O) with I = ⌊(H + 2·PH − KH) / SH⌋ + 1.
    """
    (N, H, W, C), (KH, KW, _, O) = x.shape, w.shape
    I = (H + 2 * padding[0] - KH) // stride[0] + 1
    J = (W + 2 * padding[1] - KW) // stride[1] + 1
    y = array_module(x).zeros((N, I, J, O), x.dtype) + b
    for i, j, u, v, row, col in connections((I, J), (H, W), (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            y[n, i, j, o] += x[n, row, col, c] * w[u, v, c, o]
    return y


def conv2d_backward(dy, x, w, stride=(1, 1), padding=(0, 0)):
    """(∂L/∂x, ∂L/∂w, ∂L/∂b) from ∂L/∂y."""
    (N, H, W, C), (KH, KW, _, O) = x.shape, w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), dy.sum((0, 1, 2))
    for i, j, u, v, row, col in connections(dy.shape[1:3], (H, W), (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            dx[n, row, col, c] += dy[n, i, j, o] * w[u, v, c, o]
            dw[u, v, c, o] += dy[n, i, j, o] * x[n, row, col, c]
    return dx, dw, db


def conv_transpose2d(x, w, b, stride=(1, 1), padding=(0, 0)):
    """y[n, row, col, o] = b[o] + Σ x[n, i, j, c] · w[c, u, v, o], over all c and all i, j, u, v with
    row = i·SH + u − PH and col = j·SW + v − PW.

    Shapes: x (N, I, J, C), w (C, KH, KW, O), b (O,), y (N, H, W, O) with H = (I − 1)·SH − 2·PH + KH.
    """
    (N, I, J, C), (_, KH, KW, O) = x.shape, w.shape
    H = (I - 1) * stride[0] - 2 * padding[0] + KH
    W = (J - 1) * stride[1] - 2 * padding[1] + KW
    y = array_module(x).zeros((N, H, W, O), x.dtype) + b
    for i, j, u, v, row, col in connections((I, J), (H, W), (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            y[n, row, col, o] += x[n, i, j, c] * w[c, u, v, o]
    return y


def conv_transpose2d_backward(dy, x, w, stride=(1, 1), padding=(0, 0)):
    """(∂L/∂x, ∂L/∂w, ∂L/∂b) from ∂L/∂y."""
    (N, I, J, C), (_, KH, KW, O) = x.shape, w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), dy.sum((0, 1, 2))
    for i, j, u, v, row, col in connections((I, J), dy.shape[1:3], (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            dx[n, i, j, c] += dy[n, row, col, o] * w[c, u, v, o]
            dw[c, u, v, o] += dy[n, row, col, o] * x[n, i, j, c]
    return dx, dw, db
