"""The residual block: its output is its input plus what it has learned."""

import numpy as np

from scratch.layers.conv import Conv2d
from scratch.layers.norm import norm_and_relu
from scratch.module import Module, Sequential


class ResidualBlock(Module):
    """y = x + F(x),   F(x) = conv1×1(relu(conv3×3(relu(x)))).       (He et al. 2016, arXiv:1603.05027)

    Shapes: x, y (N, H, W, C); between its convolutions F has `hidden` channels. Each ReLU comes before its convolution
    ("pre-activation"). So x reaches y by addition alone, and ∂L/∂y reaches ∂L/∂x in the same way:

        ∂L/∂x = ∂L/∂y + ∂F/∂xᵀ ∂L/∂y

    The 3×3 and 1×1 convolutions are those of the VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937, section 4.1).
    With a norm (layers/norm.py), it comes before each ReLU, as in He et al., and the convolutions have no biases.
    """

    def __init__(self, channels, hidden, *, norm="none", dtype=np.float32, rng=None):
        settings = dict(bias=norm == "none", dtype=dtype, rng=rng)
        self.branch = Sequential(
            *norm_and_relu(norm, channels, dtype),
            Conv2d(channels, hidden, 3, padding=1, **settings),
            *norm_and_relu(norm, hidden, dtype),
            Conv2d(hidden, channels, 1, **settings),
        )

    def forward(self, x):
        return x + self.branch.forward(x)

    def backward(self, dy):
        return dy + self.branch.backward(dy)
