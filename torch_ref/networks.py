"""Encoders and decoders under the same names as scratch's."""

import math

import torch
from torch import nn

from torch_ref.layers import ResidualBlock, Shift


def convolutions(image_shape, channels, outputs, is_image, dtype, inside=0):
    """(encoder, decoder, feature shape, the last of the channels): a strided convolution and a ReLU for each halving.

    The decoder mirrors the encoder; it gives `outputs` channels for each of the image's. The last `inside` halvings,
    and their channels, are left to the bottleneck.
    """
    H, W, C = image_shape
    common = math.gcd(H, W)
    depth = min(len(channels), (common & -common).bit_length() - 1)  # how often 2 divides both sides
    if depth == 0:
        raise ValueError(f"images of {H}×{W} cannot be halved: both sides have to be even")
    widths = [C, *channels[:depth]]
    depth -= inside
    if depth == 0:
        raise ValueError(f"images of {H}×{W} cannot be halved twice, as two levels of codes need: both sides have to "
                         f"be divisible by 4, and channels have to name two widths")

    encoder, decoder = nn.Sequential(), nn.Sequential()
    for i in range(depth):
        encoder.append(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1, dtype=dtype))
        encoder.append(nn.ReLU())
    for i in reversed(range(depth)):
        width = widths[i] if i > 0 else outputs * C
        decoder.append(nn.ConvTranspose2d(widths[i + 1], width, 4, stride=2, padding=1, dtype=dtype))
        if i > 0:
            decoder.append(nn.ReLU())
    if is_image:
        decoder.append(nn.Sigmoid())
    return encoder, decoder, (widths[depth], H // 2**depth, W // 2**depth), widths[-1]


@torch.no_grad()
def start_from_truncated_normal(module):
    """Sonnet 1's initial weights for one layer, to be applied to all of a model's."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        outputs = 1 if isinstance(module, nn.ConvTranspose2d) else 0  # the axis; a transposed one has its inputs first
        std = (module.weight.shape[outputs] / module.weight.numel()) ** 0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def residual(image_shape, options, latent_channels, outputs, is_image, dtype):
    """(encoder, decoder, feature shape) of the VQ-VAE as published (arXiv:1711.00937, section 4.1), for any number of
    halvings."""
    H, W, C = image_shape
    hidden, depth = options["hidden"], options["halvings"]
    if math.gcd(H, W) % 2**depth:
        raise ValueError(f"images of {H}×{W} cannot be halved {depth} times: {2**depth} has to divide both sides")

    def add_blocks(network):
        for _ in range(options["residual_blocks"]):
            network.append(ResidualBlock(hidden, options["residual_channels"], dtype))
        network.append(nn.ReLU())

    encoder = nn.Sequential(Shift(-0.5))
    channels = C
    for i in range(depth):
        width = hidden // 2 if i == 0 else hidden
        encoder.append(nn.Conv2d(channels, width, 4, stride=2, padding=1, dtype=dtype))
        encoder.append(nn.ReLU())
        channels = width
    encoder.append(nn.Conv2d(channels, hidden, 3, padding=1, dtype=dtype))
    add_blocks(encoder)

    decoder = nn.Sequential(nn.Conv2d(latent_channels, hidden, 3, padding=1, dtype=dtype))
    add_blocks(decoder)
    channels = hidden
    for left in reversed(range(1, depth)):
        width = hidden // 2 if left == 1 else hidden
        decoder.append(nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, dtype=dtype))
        decoder.append(nn.ReLU())
        channels = width
    decoder.append(nn.ConvTranspose2d(channels, outputs * C, 4, stride=2, padding=1, dtype=dtype))
    if is_image:
        decoder.append(Shift(0.5))
    return encoder, decoder, (hidden, H // 2**depth, W // 2**depth)
