"""The layers of scratch's that torch.nn does not have, and what stands between two convolutions."""

import math

from torch import nn


def normed_relu(norm, channels, dtype):
    """[norm, ReLU] for a number of channels, or without one a ReLU alone."""
    if norm == "group":
        return [nn.GroupNorm(math.gcd(8, channels), channels, dtype=dtype), nn.ReLU()]
    if norm == "batch":
        return [nn.BatchNorm2d(channels, dtype=dtype), nn.ReLU()]
    return [nn.ReLU()]


class ResidualBlock(nn.Module):
    """y = x + conv1×1(relu(conv3×3(relu(x)))), with a norm before each ReLU where there is one.

    No ReLU works in place: the addition needs x as it was.
    """

    def __init__(self, channels, hidden, dtype, norm="none"):
        super().__init__()
        bias = norm == "none"
        self.branch = nn.Sequential(
            *normed_relu(norm, channels, dtype),
            nn.Conv2d(channels, hidden, 3, padding=1, bias=bias, dtype=dtype),
            *normed_relu(norm, hidden, dtype),
            nn.Conv2d(hidden, channels, 1, bias=bias, dtype=dtype),
        )

    def forward(self, x):
        return x + self.branch(x)


class Shift(nn.Module):
    """y = x + offset."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, x):
        return x + self.offset
