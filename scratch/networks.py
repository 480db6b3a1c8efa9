"""Pairs of an encoder and a decoder that mirror each other, for any bottleneck between them."""

from itertools import pairwise

from scratch.layers import Conv2d, ConvTranspose2d, ReLU, ResidualBlock, Shift, Sigmoid
from scratch.module import Sequential

NETWORKS = ("convolution", "residual")


def halvings(height, width, at_most):
    """How often both sides of an image can be halved exactly, up to `at_most` times."""
    count = 0
    while count < at_most and height % 2 ** (count + 1) == 0 and width % 2 ** (count + 1) == 0:
        count += 1
    if count == 0:
        raise ValueError(f"images of {height}×{width} cannot be halved: both sides have to be even")
    return count


def convolutions(image_shape, channels, sigmoid, dtype, rng):
    """(encoder, decoder, feature shape): a convolution of kernel 4, stride 2, padding 1 and a ReLU for each halving.

    The decoder mirrors the encoder with transposed convolutions; its last layer is followed by a sigmoid, or by
    nothing where the output is logits. Of `channels` the first are used, one for each halving.
    """
    H, W, C = image_shape
    widths = (C, *channels[: halvings(H, W, len(channels))])
    settings = dict(kernel_size=4, stride=2, padding=1, dtype=dtype, rng=rng)
    down, up = [], []
    for fewer, more in zip(widths, widths[1:], strict=False):
        down += [Conv2d(fewer, more, **settings), ReLU()]
        up = [ConvTranspose2d(more, fewer, **settings), ReLU(), *up]
    up[-1:] = [Sigmoid()] if sigmoid else []
    scale = 2 ** (len(widths) - 1)
    return Sequential(*down), Sequential(*up), (H // scale, W // scale, widths[-1])


def residual(image_shape, options, latent_channels, logits, dtype, rng):
    """(encoder, decoder, feature shape) of the VQ-VAE as published (arXiv:1711.00937, section 4.1), for `hidden` = h:

        encoder   x − ½, a convolution of kernel 4, stride 2 and a ReLU for each of the `halvings`, conv3×3, residual
                  blocks, ReLU; h channels, after the first halving h/2
        decoder   conv3×3 from `latent_channels`, residual blocks, ReLU, a transposed convolution of kernel 4, stride 2
                  for each halving with a ReLU between two of them, + ½

    The output is linear, so that an image may leave [0, 1]; where it is logits, nothing is added to it. Raises
    ValueError where the image cannot be halved so often. The details are those of the authors' notebook; presets.py
    says where.
    """
    (H, W, C), hidden, depth = image_shape, options["hidden"], options["halvings"]
    if H % 2**depth or W % 2**depth:
        raise ValueError(f"images of {H}×{W} cannot be halved {depth} times: {2**depth} has to divide both sides")
    common = dict(dtype=dtype, rng=rng)
    halve = dict(kernel_size=4, stride=2, padding=1, **common)

    def blocks():
        narrow, count = options["residual_channels"], options["residual_blocks"]
        return [ResidualBlock(hidden, narrow, **common) for _ in range(count)]

    widths = [C, hidden // 2, *[hidden] * (depth - 1)]
    down = [Shift(-0.5)]
    for before, after in pairwise(widths):
        down += [Conv2d(before, after, **halve), ReLU()]
    down += [Conv2d(widths[-1], hidden, 3, padding=1, **common), *blocks(), ReLU()]

    up = [Conv2d(latent_channels, hidden, 3, padding=1, **common), *blocks()]
    for before, after in pairwise([hidden, *widths[-2::-1]]):
        up += [ReLU(), ConvTranspose2d(before, after, **halve)]
    if not logits:
        up.append(Shift(0.5))
    return Sequential(*down), Sequential(*up), (H // 2**depth, W // 2**depth, hidden)
