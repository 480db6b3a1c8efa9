"""How weights begin, where it is not as PyTorch's do (linear.uniform_parameter)."""

import math

import numpy as np

from scratch.layers.conv import Conv2d, ConvTranspose2d
from scratch.layers.linear import Linear
from scratch.options.option import Choice, Option

WEIGHT_INITS = ("uniform", "truncated_normal")
WEIGHT_INIT = Option("weight_init", Choice(WEIGHT_INITS), "uniform",
                     "how weights begin: as PyTorch's or as Sonnet's")


def initialise_truncated_normal(module, rng):
    """Draw the weights of all linear layers and convolutions in `module` anew:

        W = t / √fan_in,  t ~ N(0, 1) given |t| ≤ 2        b = 0

    fan_in is the number of inputs that one output sums over, without regard to a stride; a transposed convolution
    counts its input channels times its kernel. Uniform numbers in ±1/√fan_in have a variance of 1/(3 fan_in), these
    0.77/fan_in. Embeddings and codebooks stay as they are. (The default of Sonnet 1, `create_weight_initializer`)
    """
    for layer in module.modules():
        if isinstance(layer, Linear | Conv2d | ConvTranspose2d):
            weight = layer.weight.value
            fan_in = weight.size // weight.shape[-1]  # the last axis counts outputs, all others what they sum over
            weight[...] = truncated_normal(weight.shape, rng) / math.sqrt(fan_in)
            if layer.bias:
                layer.bias.value[...] = 0


def truncated_normal(shape, rng):
    """Standard normal numbers, each drawn again until it lies within two deviations."""
    numbers = rng.standard_normal(shape)
    while (beyond := np.abs(numbers) > 2).any():
        numbers[beyond] = rng.standard_normal(np.count_nonzero(beyond))
    return numbers
