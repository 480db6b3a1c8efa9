"""BatchNorm2d with fewer passes through memory and fewer exchanges between the threads that share a batch.

    x̂ = (d − r) / √(σ² + eps)       with d = x − μ₁ and r = mean(d), so that μ = μ₁ + r and σ² = mean(d²) − r²

μ₁ is the mean as first computed, and r is no more than its rounding error. So r² is far below σ², and the difference
loses no digits. As w and b are the same for all pixels of a channel, the sums that backward needs are the gradients of
w and b:

    mean(∂L/∂x̂) = w mean(∂L/∂y)       mean(x̂ ∂L/∂x̂) = w mean(x̂ ∂L/∂y)
    ∂L/∂x = w (∂L/∂y − mean(∂L/∂y) − x̂ mean(x̂ ∂L/∂y)) / √(σ² + eps)

∂L/∂x is computed in the memory of d. Threads exchange two sums at once: they exchange 3 times in forward and once in
backward, where the plain form does so 4 times and twice. NumPy computes row by row, and to begin a row takes about as
long as to compute 32 numbers. So 16 rows are joined into one. Measured on an x86-64 CPU with AVX-512, one thread,
float32, 32 images, forward and backward: 0.54 instead of 1.03 ms for 16×16 pixels with 32 channels, and 0.20 instead of
0.25 ms for 4×4 pixels with 128 channels.
"""

import math

from scratch.arrays import array_module, column_sums
from scratch.layers import BatchNorm2d

MOST = 16  # rows that are joined


class Joined:
    """Matrices (R, C) of which 16 rows at a time are joined, or 8, 4, 2 or 1, if 16 do not divide R."""

    def __init__(self, rows):
        R, self.C = rows.shape
        self.count = math.gcd(R, MOST)

    def rows(self, matrix):
        """(R, C) → (R / count, count · C)."""
        return matrix.reshape(-1, self.count * self.C)

    def repeated(self, vector):
        """A vector (C,), repeated for each of the rows that are joined."""
        return array_module(vector).tile(vector, self.count)

    def sums(self, rows):
        """The sum of each column: joined rows → (C,)."""
        return column_sums(rows).reshape(self.count, self.C).sum(axis=0)


class BatchNormOfJoinedRows(BatchNorm2d):
    """BatchNorm2d in the form above."""

    def standardize(self, rows):
        xp, join, count = array_module(rows), Joined(rows), len(rows)
        x = join.rows(rows)
        mean = self.batch.mean(join.sums(x) / count, count)
        d = x - join.repeated(mean)
        rest, squares = self.batch.mean(xp.stack([join.sums(d), join.sums(d * d)]) / count, count)
        variance = xp.maximum(squares - rest * rest, 0)
        inverse = self.inverse_deviation(variance, self.eps)
        scale = inverse * self.weight.value
        y = d * join.repeated(scale)
        y += join.repeated(self.bias.value - rest * scale)
        self.save(d, rest, inverse)
        return y.reshape(rows.shape), (mean, rest), variance

    def standardize_backward(self, dy):
        if not len(dy):
            return super().standardize_backward(dy)
        d, rest, inverse = self.recall()
        xp, join, count = array_module(dy), Joined(dy), len(dy)
        g = join.rows(dy)
        total = join.sums(g)
        with_x_hat = (join.sums(g * d) - rest * total) * inverse
        mean, mean_with_x_hat = self.batch.mean(xp.stack([total, with_x_hat]) / count, count)
        self.bias.accumulate(total)
        self.weight.accumulate(with_x_hat)
        slope = mean_with_x_hat * inverse
        d *= join.repeated(slope)
        d += join.repeated(mean - rest * slope)
        xp.subtract(g, d, out=d)
        d *= join.repeated(inverse * self.weight.value)
        return d.reshape(dy.shape)
