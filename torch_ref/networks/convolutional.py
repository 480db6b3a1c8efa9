"""Strided convolutions."""

import math

from torch import nn

from torch_ref.layers.norm import NORM, normed_relu
from torch_ref.networks.network import Ends, network
from torch_ref.options import widths

CHANNELS = widths(32, 64, 128)


@network("convolution", {"channels": CHANNELS, "norm": NORM})
def convolutions(image_shape, reconstruction, bottleneck, options, dtype):
    """Ends of a strided convolution and a ReLU for each halving; the decoder mirrors the encoder.

    The last halvings, and their channels, are left to the bottleneck where it makes some itself.
    Raises ValueError where the image cannot be halved as often as that needs.
    """
    geometry = dict(kernel_size=4, stride=2, padding=1, dtype=dtype)
    return halving_network(
        image_shape, reconstruction, bottleneck, options, dtype,
        down=lambda *channels, bias: nn.Conv2d(*channels, bias=bias, **geometry),
        up=lambda *channels, bias: nn.ConvTranspose2d(*channels, bias=bias, **geometry))


def halving_network(image_shape, reconstruction, bottleneck, options, dtype, *, down, up, shrink=None, grow=None):
    """Ends of [down, norm, ReLU, shrink] for each halving and of [grow, up, norm, ReLU] for each doubling.

    down and up make a convolution from (channels in, channels out, bias=...), shrink and grow a layer that changes the
    size, where the convolutions do not. Where a norm follows, a convolution needs no bias.
    """
    H, W, C = image_shape
    channels, norm = options["channels"], options["norm"]
    common = math.gcd(H, W)
    depth = min(len(channels), (common & -common).bit_length() - 1)  # how often 2 divides both sides
    if depth == 0:
        raise ValueError(f"images of {H}×{W} cannot be halved: both sides have to be even")
    counts = [C, *channels[:depth]]
    inside = bottleneck.halvings_inside
    depth -= inside
    if depth <= 0:
        times = {1: "twice"}.get(inside, f"{inside + 1} times")
        raise ValueError(f"images of {H}×{W} cannot be halved {times}, as the bottleneck needs: both sides have to "
                         f"be divisible by {2 ** (inside + 1)}, and channels have to name {inside + 1} widths")

    encoder, decoder = nn.Sequential(), nn.Sequential()
    bias = norm == "none"
    for i in range(depth):
        encoder.append(down(counts[i], counts[i + 1], bias=bias))
        encoder.extend(normed_relu(norm, counts[i + 1], dtype))
        if shrink:
            encoder.append(shrink())
    for i in reversed(range(depth)):
        width, has_bias = (counts[i], bias) if i > 0 else (reconstruction.outputs * C, True)
        if grow:
            decoder.append(grow())
        decoder.append(up(counts[i + 1], width, bias=has_bias))
        if i > 0:
            decoder.extend(normed_relu(norm, width, dtype))
    if reconstruction.is_image:
        decoder.append(nn.Sigmoid())
    return Ends(encoder, decoder, (counts[depth], H // 2**depth, W // 2**depth), counts[-1])
