"""The layers between two convolutions: a norm, if one is chosen, and a ReLU."""

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
    """[norm, ReLU] for this number of channels; [ReLU] where the norm is "none".

    GroupNorm has 8 groups, or as many as the largest divisor that 8 and the channels share. The convolution before a
    norm has no bias in scratch/networks. Before BatchNorm2d it would have no effect. Before GroupNorm it would have
    one, and leaving it out is a choice (docs/reference/normalisation.md).
    """
    if norm == "group":
        return [GroupNorm(math.gcd(GROUPS, channels), channels, dtype=dtype), ReLU()]
    return [BatchNorm2d(channels, dtype=dtype), ReLU()] if norm == "batch" else [ReLU()]
