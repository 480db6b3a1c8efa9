"""What stands between two convolutions."""

import math

from scratch.layers.activation import ReLU
from scratch.layers.batch_norm import BatchNorm2d
from scratch.layers.group_norm import GroupNorm
from scratch.options.option import Choice, Option

NORMS = ("none", "group", "batch")
NORM = Option("norm", Choice(NORMS), "none", "the normalisation before each ReLU",
              source="arXiv:1803.08494, arXiv:1502.03167")
GROUPS = 8


def norm_and_relu(norm, channels, dtype):
    """[the norm, unless it is "none", and a ReLU], for so many channels.

    GroupNorm has 8 groups, or the largest part of 8 that divides the channels.
    """
    if norm == "group":
        return [GroupNorm(math.gcd(GROUPS, channels), channels, dtype=dtype), ReLU()]
    return [BatchNorm2d(channels, dtype=dtype), ReLU()] if norm == "batch" else [ReLU()]
