"""Neighbouring outputs of a convolution in one direction, with fewer products than the formula takes.

Q outputs of a kernel with K taps, y_k = Σⱼ d_{k+j} gⱼ, are Q·K products. P = Q + K − 1 are enough. Take the taps as the
polynomial g(x) = Σⱼ gⱼ xʲ. The coefficients of xᵏ g(x) are the taps, moved by k. So y_k is their inner product with d.
A polynomial with P coefficients is known from its values at P points aᵢ:

    s(x) = Σᵢ s(aᵢ) nᵢ(x) / nᵢ(aᵢ)      with nᵢ(x) = Π_{j≠i} (x − aⱼ)      (Lagrange)

For s = xᵏ g the value at aᵢ is aᵢᵏ g(aᵢ). With ⟨nᵢ, d⟩ for the inner product of nᵢ's coefficients with d,

    y_k = Σᵢ aᵢᵏ · ⟨nᵢ, d⟩ · g(aᵢ) / nᵢ(aᵢ)

which is y = Aᵀ (D d · G g), P products between three linear maps. (Winograd 1980, Arithmetic complexity of
computations; Toom 1963 and Cook 1966 for products of polynomials; for networks: Lavin & Gray 2015, arXiv:1509.09308)
"""

import math
from functools import reduce

import numpy as np

from scratch.arrays import array_module

# A point b/c is written (b, c), and (1, 0) is infinity. The choice decides how much rounding errors grow: little where
# the directions (b, c) divide the half circle evenly, as these nearly do (docs/reference/minimal_filtering.md).
INFINITY = (1, 0)
POINTS = {
    3: ((2, 3), (-2, 3), INFINITY),
    4: ((0, 1), (1, 1), (-1, 1), INFINITY),
    5: ((1, 3), (-1, 3), (4, 3), (-4, 3), INFINITY),
    6: ((0, 1), (2, 3), (-2, 3), (3, 2), (-3, 2), INFINITY),
}


class Filtering:
    """F(Q, K): the maps for Q outputs of a kernel with K taps.

        image    D (P, P)   Dᵢₗ = the coefficient of xˡ in nᵢ(x) = Π_{j≠i} (cⱼ x − bⱼ)
        kernel   G (P, K)   Gᵢⱼ = bᵢʲ cᵢᴷ⁻¹⁻ʲ / Π_{j≠i} (cⱼ bᵢ − bⱼ cᵢ)
        output   A (P, Q)   Aᵢₖ = bᵢᵏ cᵢ^{Q−1−k}

    With points as fractions b/c, all numbers of D and A are integers. The powers of c that this multiplies them by are
    divided out in G. At infinity, nᵢ and g have their highest coefficients for values.
    """

    def __init__(self, outputs, taps, points=None):
        self.outputs, self.taps, self.products = outputs, taps, outputs + taps - 1
        points, rows = points or POINTS[self.products], range(self.products)
        others = [points[:i] + points[i + 1 :] for i in rows]
        values = [math.prod(c * points[i][0] - b * points[i][1] for b, c in others[i]) for i in rows]
        self.image = np.array([reduce(np.convolve, [(-b, c) for b, c in others[i]]) for i in rows], float)
        self.kernel = powers(points, taps) / np.array(values, float)[:, None]
        self.output = powers(points, outputs)

    def __repr__(self):
        return f"F({self.outputs}, {self.taps})"


def powers(points, count):
    """bᵏ c^{count−1−k} for each point (b, c) and each k: (points, count)."""
    return np.array([[b**k * c ** (count - 1 - k) for k in range(count)] for b, c in points], float)


def both_ways(matrix, a, out=None):
    """A matrix (p, k) along the first two axes: a (k, k, X) → out (p, p, X)."""
    xp = array_module(a)
    matrix = xp.asarray(matrix, a.dtype)
    if out is None:
        out = xp.empty((len(matrix), len(matrix), a.shape[2]), a.dtype)
    xp.matmul(matrix, xp.matmul(matrix, a).swapaxes(0, 1), out=out.swapaxes(0, 1))
    return out


def add_overlapping(tiles, cells, step):
    """cells[step·t + k] = Σ tiles[k, t]. Each tile has P cells, and the next one begins `step` < P cells later.

    Shapes: tiles (P, T, ...), cells (step·T + P − step, ...).
    """
    P, T = tiles.shape[:2]
    cells[step * T :] = 0
    for k in range(P):
        part = cells[k : k + step * T : step]
        if k < step:
            part[...] = tiles[k]
        else:
            part += tiles[k]


FILTERINGS = {taps: [Filtering(outputs, taps) for outputs in (2, 3, 4)] for taps in (2, 3)}
