"""A block that adds what it learns to what it was given."""

import numpy as np

from scratch.layers.activation import ReLU
from scratch.layers.conv import Conv2d
from scratch.module import Module, Sequential


class ResidualBlock(Module):
    """y = x + F(x),   F(x) = conv1×1(relu(conv3×3(relu(x)))).       (He et al. 2016, arXiv:1603.05027)

    Shapes: x, y (N, H, W, C); F is `hidden` channels wide inside. Its activations stand before its convolutions
    ("pre-activation"), so that x passes to y by addition alone, and so does the gradient on its way back:

        ∂L/∂x = ∂L/∂y + ∂F/∂xᵀ ∂L/∂y

    Here are the 3×3 and 1×1 convolutions of the VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937, section 4.1).
    """

    def __init__(self, channels, hidden, *, dtype=np.float32, rng=None):
        self.branch = Sequential(
            ReLU(),
            Conv2d(channels, hidden, 3, padding=1, dtype=dtype, rng=rng),
            ReLU(),
            Conv2d(hidden, channels, 1, dtype=dtype, rng=rng),
        )

    def forward(self, x):
        return x + self.branch.forward(x)

    def backward(self, dy):
        return dy + self.branch.backward(dy)
