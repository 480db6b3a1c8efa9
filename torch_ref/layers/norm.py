"""What stands between two convolutions."""

import math

from torch import nn

NORMS = ("none", "group", "batch")


def normed_relu(norm, channels, dtype):
    """[norm, ReLU] for a number of channels; with norm "none" the ReLU alone. Raises ValueError for any other name."""
    if norm == "group":
        return [nn.GroupNorm(math.gcd(8, channels), channels, dtype=dtype), nn.ReLU()]
    if norm == "batch":
        return [nn.BatchNorm2d(channels, dtype=dtype), nn.ReLU()]
    if norm != "none":
        raise ValueError(f"norm is {norm!r}: expected one of {', '.join(NORMS)}")
    return [nn.ReLU()]
