"""From a grid to a row of tokens and back, and what tells tokens where they stand."""

import numpy as np

from scratch.arrays import column_sums
from scratch.layers.checks import check_floating, check_input, check_shape, size
from scratch.module import Module, Parameter

SCALE = 0.02  # the deviation of the initial vectors, small beside features of size 1 (Radford et al. 2018)


class GridPositions(Module):
    """y[n, i, j] = x[n, i, j] + r[i] + c[j]: each place of a grid has the vector of its row plus that of its column.

    Shapes: x, y (N, H, W, C), r (`rows`) (H, C), c (`columns`) (W, C).

        ∂L/∂x = ∂L/∂y       ∂L/∂r[i] = Σ_{n, j} ∂L/∂y[n, i, j]       ∂L/∂c[j] = Σ_{n, i} ∂L/∂y[n, i, j]

    Attention treats its tokens as a set, so without such vectors a picture would be a bag of patches. The vectors are
    learned, as DALL·E's (Ramesh et al. 2021, arXiv:2102.12092, appendix B.2).
    """

    column_sums = staticmethod(column_sums)

    def __init__(self, height, width, channels, *, dtype=np.float32, rng=None):
        H, W, C = size(height, "height"), size(width, "width"), size(channels, "channels")
        rng = rng or np.random.default_rng()
        self.rows = Parameter((SCALE * rng.standard_normal((H, C))).astype(dtype))
        self.columns = Parameter((SCALE * rng.standard_normal((W, C))).astype(dtype))

    def forward(self, x):
        (H, C), W = self.rows.value.shape, len(self.columns.value)
        check_input(self, x, ("N", H, W, C), self.rows.value)
        self.save()
        return x + (self.rows.value[:, None] + self.columns.value)

    def backward(self, dy):
        self.recall()
        N, H, W, C = dy.shape
        of_places = self.column_sums(dy.reshape(N, H * W * C)).reshape(H, W, C)
        self.rows.accumulate(of_places.sum(axis=1))
        self.columns.accumulate(of_places.sum(axis=0))
        return dy


class TokenPositions(Module):
    """y[n, t] = x[n, t] + p[t]: each place of a row has a learned vector, as the words of DALL·E's captions.

    Shapes: x, y (N, T, C), p (`places`) (T, C).

        ∂L/∂x = ∂L/∂y       ∂L/∂p[t] = Σₙ ∂L/∂y[n, t]
    """

    column_sums = staticmethod(column_sums)

    def __init__(self, length, channels, *, dtype=np.float32, rng=None):
        shape = size(length, "length"), size(channels, "channels")
        self.places = Parameter((SCALE * (rng or np.random.default_rng()).standard_normal(shape)).astype(dtype))

    def forward(self, x):
        check_input(self, x, ("N", *self.places.value.shape), self.places.value)
        self.save()
        return x + self.places.value

    def backward(self, dy):
        self.recall()
        N, T, C = dy.shape
        self.places.accumulate(self.column_sums(dy.reshape(N, T * C)).reshape(T, C))
        return dy


class ToTokens(Module):
    """x (N, H, W, C) → y (N, H·W, C): the places of a grid as tokens, row by row."""

    def forward(self, x):
        check_floating(self, x)
        check_shape(self, x, ("N", "H", "W", "C"))
        self.save(x.shape)
        N, H, W, C = x.shape
        return x.reshape(N, H * W, C)

    def backward(self, dy):
        (shape,) = self.recall()
        return dy.reshape(shape)


class ToGrid(Module):
    """x (N, H·W, C) → y (N, H, W, C): tokens as the places of a grid, the inverse of ToTokens."""

    def __init__(self, height, width):
        self.height, self.width = size(height, "height"), size(width, "width")

    def forward(self, x):
        check_floating(self, x)
        check_shape(self, x, ("N", self.height * self.width, "C"))
        self.save()
        return x.reshape(len(x), self.height, self.width, -1)

    def backward(self, dy):
        self.recall()
        N, H, W, C = dy.shape
        return dy.reshape(N, H * W, C)
