"""From feature maps to vectors and back.

Feature maps are (N, H, W, C) here and (N, C, H, W) in PyTorch. Both flatten in channel-first order, so the weights of a
linear layer after Flatten are PyTorch's, transposed.
"""

import math

from scratch.layers.checks import check_floating, check_shape, size
from scratch.module import Module


class Flatten(Module):
    """x (N, H, W, C) → y (N, C·H·W), channel by channel. A matrix (N, D) passes unchanged.

    y holds the numbers of x in another order, and ∂L/∂x those of ∂L/∂y in the order of x.
    """

    def forward(self, x):
        check_floating(self, x)
        self.save(x.shape)
        if x.ndim == 2:
            return x
        check_shape(self, x, ("N", "H", "W", "C"))
        N, H, W, C = x.shape
        return x.transpose(0, 3, 1, 2).reshape(N, C * H * W)

    def backward(self, dy):
        (shape,) = self.recall()
        if len(shape) == 2 or not self.needs_input_gradient:
            return dy
        N, H, W, C = shape
        return dy.reshape(N, C, H, W).transpose(0, 2, 3, 1)


class Unflatten(Module):
    """x (N, C·H·W) → y (N, H, W, C), the inverse of Flatten.

    As in PyTorch, `unflattened_size` is (C, H, W). `dim` has to be 1. ∂L/∂x is ∂L/∂y, flattened.
    """

    def __init__(self, dim, unflattened_size):
        if dim != 1 or len(unflattened_size) != 3:
            raise ValueError(f"Unflatten takes dim 1 and a size (C, H, W), got dim {dim} and {unflattened_size}")
        self.unflattened_size = tuple(size(length, "unflattened_size") for length in unflattened_size)

    def settings(self):
        return f"1, {self.unflattened_size}"

    def forward(self, x):
        C, H, W = self.unflattened_size
        check_floating(self, x)
        check_shape(self, x, ("N", C * H * W))
        self.save()
        return x.reshape(len(x), C, H, W).transpose(0, 2, 3, 1)

    def backward(self, dy):
        self.recall()
        return dy.transpose(0, 3, 1, 2).reshape(len(dy), math.prod(self.unflattened_size))
