"""Convolution and transposed convolution as their formulas, loop by loop. Read this file before conv.py.

Both are sums over the same triples (input pixel, kernel tap, output pixel). With stride s and padding p, kernel
tap (u, v) connects position (i, j) of the small grid with position

    (r, q) = (i·s + u − p,  j·s + v − p)

of the large grid, whenever that lies inside it. A convolution reads the large grid and writes the small one:

    y[n, i, j, o] += x[n, r, q, c] · w[u, v, c, o]

A transposed convolution reads the small grid and writes the large one, along the very same connections:

    y[n, r, q, o] += x[n, i, j, c] · w[c, u, v, o]

Each summand is a product of two numbers, a·b. Its derivatives are b and a. So the backward pass is the same loop once
more: where forward adds x·w to y, backward adds dy·w to dx and dy·x to dw.

These functions take stride and padding only, and they are too slow for training. Tests check that they agree with the
layers in conv.py and with PyTorch. (Dumoulin & Visin 2016, A guide to convolution arithmetic, arXiv:1603.07285)
"""

import numpy as np

from scratch.arrays import array_module


def connections(small, large, kernel, stride, padding):
    """Every (i, j, u, v, r, q): position (i, j) of the small grid meets (r, q) of the large one through tap (u, v)."""
    for i, j, u, v in np.ndindex(*small, *kernel):
        r, q = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
        if 0 <= r < large[0] and 0 <= q < large[1]:
            yield i, j, u, v, r, q


def conv2d(x, w, b, stride=(1, 1), padding=(0, 0)):
    """y[n, i, j, o] = b[o] + Σ_{u, v, c} x[n, i·s + u − p, j·s + v − p, c] · w[u, v, c, o].

    Shapes: x (N, H, W, C), w (KH, KW, C, O), b (O,), y (N, OH, OW, O) with OH = ⌊(H + 2p − KH) / s⌋ + 1.
    """
    (N, H, W, C), (KH, KW, _, O) = x.shape, w.shape
    OH = (H + 2 * padding[0] - KH) // stride[0] + 1
    OW = (W + 2 * padding[1] - KW) // stride[1] + 1
    y = array_module(x).zeros((N, OH, OW, O), x.dtype) + b
    for i, j, u, v, r, q in connections((OH, OW), (H, W), (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            y[n, i, j, o] += x[n, r, q, c] * w[u, v, c, o]
    return y


def conv2d_backward(dy, x, w, stride=(1, 1), padding=(0, 0)):
    """(∂L/∂x, ∂L/∂w, ∂L/∂b) from ∂L/∂y."""
    (N, H, W, C), (KH, KW, _, O) = x.shape, w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), dy.sum((0, 1, 2))
    for i, j, u, v, r, q in connections(dy.shape[1:3], (H, W), (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            dx[n, r, q, c] += dy[n, i, j, o] * w[u, v, c, o]
            dw[u, v, c, o] += dy[n, i, j, o] * x[n, r, q, c]
    return dx, dw, db


def conv_transpose2d(x, w, b, stride=(1, 1), padding=(0, 0)):
    """y[n, r, q, o] = b[o] + Σ x[n, i, j, c] · w[c, u, v, o] over all i·s + u − p = r, j·s + v − p = q, and all c.

    Shapes: x (N, H, W, C), w (C, KH, KW, O), b (O,), y (N, OH, OW, O) with OH = (H − 1)·s − 2p + KH.
    """
    (N, H, W, C), (_, KH, KW, O) = x.shape, w.shape
    OH = (H - 1) * stride[0] - 2 * padding[0] + KH
    OW = (W - 1) * stride[1] - 2 * padding[1] + KW
    y = array_module(x).zeros((N, OH, OW, O), x.dtype) + b
    for i, j, u, v, r, q in connections((H, W), (OH, OW), (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            y[n, r, q, o] += x[n, i, j, c] * w[c, u, v, o]
    return y


def conv_transpose2d_backward(dy, x, w, stride=(1, 1), padding=(0, 0)):
    """(∂L/∂x, ∂L/∂w, ∂L/∂b) from ∂L/∂y."""
    (N, H, W, C), (_, KH, KW, O) = x.shape, w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), dy.sum((0, 1, 2))
    for i, j, u, v, r, q in connections((H, W), dy.shape[1:3], (KH, KW), stride, padding):
        for n, c, o in np.ndindex(N, C, O):
            dx[n, i, j, c] += dy[n, r, q, o] * w[c, u, v, o]
            dw[c, u, v, o] += dy[n, r, q, o] * x[n, i, j, c]
    return dx, dw, db
