"""The VQ-VAE as published: van den Oord et al. (arXiv:1711.00937), section 4.1."""

import math

from torch import nn

from torch_ref.layers import ResidualBlock, Shift
from torch_ref.layers.norm import NORM, normed_relu
from torch_ref.networks.network import Ends, network
from torch_ref.options import whole


@network("residual", {
    "hidden": whole(128, least=2),
    "residual_blocks": whole(2, least=0),
    "residual_channels": whole(32),
    "halvings": whole(2),
    "norm": NORM,
})
def residual(image_shape, reconstruction, bottleneck, options, dtype):
    """Ends of strided convolutions and residual blocks, for any number of halvings.

    The decoder takes the code vectors where the bottleneck has a grid of them; any other bottleneck gives back what it
    was given. Raises ValueError where the image cannot be halved so often.
    """
    H, W, C = image_shape
    hidden, depth, norm = options["hidden"], options["halvings"], options["norm"]
    if math.gcd(H, W) % 2**depth:
        raise ValueError(f"images of {H}×{W} cannot be halved {depth} times: {2**depth} has to divide both sides")
    inner = {"bias": norm == "none", "dtype": dtype}

    def add_blocks(network):
        for _ in range(options["residual_blocks"]):
            network.append(ResidualBlock(hidden, options["residual_channels"], norm, dtype=dtype))
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

    code_channels = bottleneck.code_channels(options)
    decoder = nn.Sequential(nn.Conv2d(code_channels or hidden, hidden, 3, padding=1, **inner))
    add_blocks(decoder)
    channels = hidden
    for left in reversed(range(1, depth)):
        width = hidden // 2 if left == 1 else hidden
        decoder.append(nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, **inner))
        decoder.extend(normed_relu(norm, width, dtype))
        channels = width
    decoder.append(nn.ConvTranspose2d(channels, reconstruction.outputs * C, 4, stride=2, padding=1, dtype=dtype))
    if reconstruction.is_image:
        decoder.append(Shift(0.5))
    return Ends(encoder, decoder, (hidden, H // 2**depth, W // 2**depth), hidden, code_channels is not None)
