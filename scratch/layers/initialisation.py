"""Initial weights other than PyTorch's default, which is linear.uniform_parameter."""

import math

import numpy as np

from scratch.layers.conv import Conv2d, ConvTranspose2d
from scratch.layers.linear import Linear
from scratch.options.option import Choice, Option

WEIGHT_INITS = ("uniform", "truncated_normal")
WEIGHT_INIT = Option("weight_init", Choice(WEIGHT_INITS), "uniform",
                     "the initial weights: PyTorch's uniform ones or Sonnet's truncated normal ones")


def initialise_truncated_normal(module, rng):
    """Draw new weights for all linear layers and convolutions in `module`:

        W = ε / √fan_in,  ε ~ N(0, 1) given |ε| ≤ 2        b = 0

    fan_in is the number of inputs that one output sums over, ignoring the stride; for a transposed convolution it is
    its input channels times its kernel's taps. The variance of these weights is 0.77/fan_in; that of PyTorch's, uniform
    in ±1/√fan_in, is 1/(3 fan_in). Codebooks stay as they are. (The default of Sonnet 1, `create_weight_initializer`)
    """
    for layer in module.modules():
        if isinstance(layer, Linear | Conv2d | ConvTranspose2d):
            weight = layer.weight.value
            fan_in = weight.size // weight.shape[-1]  # the last axis counts outputs; each sums over the others
            weight[...] = truncated_normal(weight.shape, rng) / math.sqrt(fan_in)
            if layer.bias:
                layer.bias.value[...] = 0


def truncated_normal(shape, rng):
    """Numbers ε ~ N(0, 1) given |ε| ≤ 2: each number is drawn again until it lies within two deviations."""
    numbers = rng.standard_normal(shape)
    while (beyond := np.abs(numbers) > 2).any():
        numbers[beyond] = rng.standard_normal(np.count_nonzero(beyond))
    return numbers
