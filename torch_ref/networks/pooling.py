"""Convolutions that keep the size, and layers without weights that change it."""

from torch import nn

from torch_ref.layers.norm import NORM
from torch_ref.networks.convolutional import CHANNELS, halving_network
from torch_ref.networks.network import network


@network("pooling", {"channels": CHANNELS, "norm": NORM})
def pooling(image_shape, reconstruction, bottleneck, options, dtype):
    """As `convolutions`, with 3×3 convolutions that leave the size to max-pooling and upsampling."""

    def convolve(*channels, bias):
        return nn.Conv2d(*channels, 3, padding=1, bias=bias, dtype=dtype)

    return halving_network(
        image_shape, reconstruction, bottleneck, options, dtype, down=convolve, up=convolve,
        shrink=lambda: nn.MaxPool2d(2), grow=lambda: nn.Upsample(scale_factor=2))
