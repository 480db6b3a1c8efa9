"""Encoders and decoders under the same names as scratch's."""

import math

import torch
from torch import nn

from torch_ref.layers.residual import ResidualBlock, Shift, normed_relu


def convolutions(image_shape, channels, outputs, is_image, dtype, inside=0, norm="none", pooling=False):
    """(encoder, decoder, feature shape, the last of the channels): a strided convolution and a ReLU for each halving.

    The decoder mirrors the encoder; it gives `outputs` channels for each of the image's. The last `inside` halvings,
    and their channels, are left to the bottleneck. With `pooling`, 3×3 convolutions leave the size to max-pooling and
    upsampling. Where a norm follows, a convolution needs no bias.
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
    bias = norm == "none"
    for i in range(depth):
        if pooling:
            encoder.append(nn.Conv2d(widths[i], widths[i + 1], 3, padding=1, bias=bias, dtype=dtype))
        else:
            encoder.append(nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1, bias=bias, dtype=dtype))
        encoder.extend(normed_relu(norm, widths[i + 1], dtype))
        if pooling:
            encoder.append(nn.MaxPool2d(2))
    for i in reversed(range(depth)):
        width, has_bias = (widths[i], bias) if i > 0 else (outputs * C, True)
        if pooling:
            decoder.append(nn.Upsample(scale_factor=2))
            decoder.append(nn.Conv2d(widths[i + 1], width, 3, padding=1, bias=has_bias, dtype=dtype))
        else:
            decoder.append(
                nn.ConvTranspose2d(widths[i + 1], width, 4, stride=2, padding=1, bias=has_bias, dtype=dtype))
        if i > 0:
            decoder.extend(normed_relu(norm, width, dtype))
    if is_image:
        decoder.append(nn.Sigmoid())
    return encoder, decoder, (widths[depth], H // 2**depth, W // 2**depth), widths[-1]


def mlp(image_shape, widths, outputs, is_image, dtype):
    """(encoder, decoder, feature shape) of linear layers with ReLUs, for a bottleneck that expands to the last width.
    """
    H, W, C = image_shape
    encoder, decoder = nn.Sequential(nn.Flatten()), nn.Sequential(nn.ReLU(), nn.Flatten())
    features = H * W * C
    for width in widths:
        encoder.extend([nn.Linear(features, width, dtype=dtype), nn.ReLU()])
        features = width
    for width in reversed(widths[:-1]):
        decoder.extend([nn.Linear(features, width, dtype=dtype), nn.ReLU()])
        features = width
    encoder.append(nn.Unflatten(1, (widths[-1], 1, 1)))
    decoder.extend([nn.Linear(features, outputs * C * H * W, dtype=dtype), nn.Unflatten(1, (outputs * C, H, W))])
    if is_image:
        decoder.append(nn.Sigmoid())
    return encoder, decoder, (widths[-1], 1, 1)


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

    norm = options.get("norm", "none")
    inner = {"bias": norm == "none", "dtype": dtype}

    def add_blocks(network):
        for _ in range(options["residual_blocks"]):
            network.append(ResidualBlock(hidden, options["residual_channels"], dtype, norm))
        network.extend(normed_relu(norm, hidden, dtype))

    encoder = nn.Sequential(Shift(-0.5))
    channels = C
    for i in range(depth):
        width = hidden // 2 if i == 0 else hidden
        encoder.append(nn.Conv2d(channels, width, 4, stride=2, padding=1, **inner))
        encoder.extend(normed_relu(norm, width, dtype))
        channels = width
    encoder.append(nn.Conv2d(channels, hidden, 3, padding=1, **inner))
    add_blocks(encoder)

    decoder = nn.Sequential(nn.Conv2d(latent_channels, hidden, 3, padding=1, **inner))
    add_blocks(decoder)
    channels = hidden
    for left in reversed(range(1, depth)):
        width = hidden // 2 if left == 1 else hidden
        decoder.append(nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, **inner))
        decoder.extend(normed_relu(norm, width, dtype))
        channels = width
    decoder.append(nn.ConvTranspose2d(channels, outputs * C, 4, stride=2, padding=1, dtype=dtype))
    if is_image:
        decoder.append(Shift(0.5))
    return encoder, decoder, (hidden, H // 2**depth, W // 2**depth)
