"""What stands between two convolutions."""

import math

from torch import nn

from torch_ref.options import choice, complete

NORM = choice("none", "group", "batch")


def normed_relu(norm, channels, dtype):
    """[norm, ReLU] for a number of channels; with norm "none" the ReLU alone. Raises ValueError for any other name."""
    complete({"norm": norm}, {"norm": NORM})
    if norm == "group":
        return [nn.GroupNorm(math.gcd(8, channels), channels, dtype=dtype), nn.ReLU()]
    if norm == "batch":
        return [nn.BatchNorm2d(channels, dtype=dtype), nn.ReLU()]
    return [nn.ReLU()]
